//! Everything that the supervisor is told, in one closed enum. Refuses a second channel into the supervisor.

use std::time::Duration;

use bytes::Bytes;
use gregor_coordination::CommitPermit;
use gregor_model::manifest::{Manifest, ObjectRef, Release};
use gregor_model::names::CheckpointNumber;
use gregor_model::seal::SavedGroup;
use gregor_state::DeltaFile;

use crate::keep::KeepResult;
use crate::setup::{Command, RunError};

/// What happened.
pub(crate) enum Event {
    /// The outside asks something.
    Asked(Command),
    /// A task has become idle, or its figures have passed a mark: judge anew.
    Stirred,
    /// A task asks to be woken after this time.
    WakeIn {
        /// The task's index.
        task: usize,
        /// How long.
        after: Duration,
    },
    /// A task has nothing to freeze.
    Unchanged {
        /// The task's index.
        task: usize,
    },
    /// Segments are in the archive.
    Saved(Saved),
    /// A checkpoint is written down.
    Created(CommitPermit),
    /// A manifest is in the archive.
    Sealed(Box<Manifest>, ObjectRef),
    /// A checkpoint is confirmed.
    Confirmed(CheckpointNumber),
    /// A checkpoint is aborted.
    Aborted,
    /// Output files have their final names.
    Released(Vec<Release>),
    /// `_SUCCESS` is there.
    Succeeded,
    /// Something came, or nothing, of what was ordered for these tasks' chains.
    Kept(Vec<usize>, KeepResult),
    /// A task can't go on, for a reason that lies in a record or in its guest; it is whole, and takes no more input.
    GaveUp(RunError),
    /// The job can't go on.
    Failed(RunError),
}

/// Segments that were saved together.
pub(crate) struct Saved {
    /// What the manifest needs of them.
    pub(crate) group: SavedGroup,
    /// For each segment the index of its task, and the delta files, kept until they are applied.
    pub(crate) deltas: Vec<(usize, Vec<DeltaFile>)>,
    /// The bytes of each run of the parts' footers, in their order, for readers on this host.
    pub(crate) runs: Vec<Bytes>,
    /// Bytes put into the archive.
    pub(crate) bytes: u64,
}
