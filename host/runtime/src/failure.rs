//! From the adapters' errors to how a job ends. Refuses to invent: what an adapter says is passed on whole.

use gregor_archive::ArchiveError;
use gregor_coordination::CoordinationError;
use gregor_state::StateError;
use gregor_stream::{SinkError, SourceError};

use crate::setup::RunError;

/// An input failed. `name` is its stage and port.
pub(crate) fn source(name: &str, error: SourceError) -> RunError {
    let message = format!("{name}: {error}");
    match error {
        SourceError::Missing { .. } | SourceError::Refused { .. } | SourceError::Changed { .. } | SourceError::Damaged { .. } => {
            RunError::Refused(message)
        }
        SourceError::Corrupt { .. } => RunError::Corrupt(message),
        SourceError::Io { .. } => RunError::Failed(message),
    }
}

/// An output folder failed.
pub(crate) fn sink(error: SinkError) -> RunError {
    match error {
        SinkError::Refused { .. } => RunError::Refused(error.to_string()),
        SinkError::Conflict { .. } | SinkError::Io { .. } | SinkError::Injected(_) => RunError::Failed(error.to_string()),
    }
}

/// The archive failed.
pub(crate) fn archive(error: ArchiveError) -> RunError {
    match error {
        // What is created twice has the same bytes both times: others are not ours.
        ArchiveError::Missing { .. } | ArchiveError::Corrupt { .. } | ArchiveError::Exists { .. } => RunError::Corrupt(error.to_string()),
        ArchiveError::Folder { .. } => RunError::Refused(error.to_string()),
        ArchiveError::Unavailable { .. } => RunError::Failed(error.to_string()),
    }
}

/// Coordination failed.
pub(crate) fn coordination(error: CoordinationError) -> RunError {
    match error {
        CoordinationError::Corrupt { .. } => RunError::Corrupt(error.to_string()),
        other => RunError::Failed(other.to_string()),
    }
}

/// A task's state failed. `task` names it for people.
pub(crate) fn state(task: &str, error: StateError) -> RunError {
    match error {
        StateError::Altered { .. } => RunError::Corrupt(format!("task {task}: {error}")),
        other => RunError::Failed(format!("task {task}: {other}")),
    }
}
