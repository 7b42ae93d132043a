//! What a verification has found. Refuses to count as damage what retired while it was looked at: a running job deletes what it does not need.

use std::collections::BTreeSet;

use gregor_archive::ArchiveError;
use gregor_model::names::CheckpointNumber;
use gregor_model::register::Register;
use serde::Serialize;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Problem {
    /// The object's key, or the path of a file.
    pub(super) object: String,
    /// What is wrong with it.
    pub(super) problem: String,
}

/// Who needs what is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// The job, always.
    Job,
    /// A restore point.
    RestorePoint(CheckpointNumber),
    /// The checkpoint, as long as it is the last one.
    Latest(CheckpointNumber),
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Objects that were read.
    pub(super) objects: u64,
    /// Bytes of them.
    pub(super) bytes: u64,
    /// What people should know, and is no damage.
    pub(super) notes: Vec<String>,
    problems: BTreeSet<(Problem, Whose)>,
}

impl Findings {
    /// Takes note of a problem.
    pub(super) fn add(&mut self, object: &str, problem: String, whose: Whose) {
        self.problems.insert((Problem { object: object.to_owned(), problem }, whose));
    }

    /// Takes note of what the archive said, of whatever object it says it of.
    pub(super) fn add_error(&mut self, error: ArchiveError, whose: Whose) {
        let (object, problem) = said(error);
        self.add(&object, problem, whose);
    }

    /// Whether there is any problem.
    pub(super) fn any(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Forgets the problems of what nobody can go back to any more, by what coordination says now.
    pub(super) fn forget_retired(&mut self, now: &Register) {
        let kept: BTreeSet<CheckpointNumber> = now.restore_points().iter().map(|kept| kept.number).collect();
        let latest = now.latest.as_ref().map(|latest| latest.number);
        self.problems.retain(|(_, whose)| match whose {
            Whose::Job => true,
            Whose::RestorePoint(number) => kept.contains(number),
            Whose::Latest(number) => latest == Some(*number),
        });
    }

    /// The problems, each once, in the order of their objects.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.problems.iter().map(|(problem, _)| problem.clone()).collect();
        problems.dedup();
        problems
    }
}

/// The object that an error speaks of, and what it says of it.
pub(super) fn said(error: ArchiveError) -> (String, String) {
    match error {
        ArchiveError::Missing { key } => (key, "is missing".to_owned()),
        ArchiveError::Corrupt { key, problem } => (key, problem),
        ArchiveError::Exists { key } => (key, "is there with other content".to_owned()),
        ArchiveError::Unavailable { key, reason } => (key, format!("can't be read: {reason}")),
        ArchiveError::Folder { folder, reason } => (folder, format!("can't be used: {reason}")),
    }
}
