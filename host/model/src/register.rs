//! What coordination knows of a job: tokens, the numbers ever created, and which manifest is the truth. With the `local` coordinator it is one
//! file, replaced whole; with ZooKeeper the same facts stand in several nodes. Refuses moves that the protocol forbids: a number used twice, a
//! decision that was made already.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::Kind;
use crate::limits::CHECKPOINT_RECORDS_MIN;
use crate::manifest::{ManifestRef, ObjectRef};
use crate::names::{Attempt, Boot, Branch, CheckpointNumber, Generation, Incarnation, JobName, StreamName, Term};

/// How the register of the `local` coordinator is stored.
pub const REGISTER: Kind = Kind { name: "register", version: 1 };

/// What coordination knows of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Register {
    /// The job.
    pub job: JobName,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The line of history.
    pub branch: Branch,
    /// The leader's token: with the `local` coordinator the number of starts.
    pub term: Term,
    /// Raised with every attempt of any task.
    pub generation: Generation,
    /// The attempt of every task: all of them get a new one at a start.
    pub attempt: Attempt,
    /// The host process that may write.
    pub boot: Boot,
    /// The job as it was submitted; none until the archive has it, before the first checkpoint.
    pub spec: Option<ObjectRef>,
    /// The streams that the job writes.
    pub streams: Vec<StreamRecord>,
    /// The highest number ever created.
    pub created: CheckpointNumber,
    /// The last confirmed checkpoint.
    pub latest: Option<ManifestRef>,
    /// The last checkpoints, in the order of their numbers.
    pub checkpoints: Vec<CheckpointRecord>,
}

/// A stream of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StreamRecord {
    /// Its name.
    pub name: StreamName,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its partitions.
    pub partitions: u32,
}

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckpointRecord {
    /// N.
    pub number: CheckpointNumber,
    /// When it was created, milliseconds since 1970.
    pub created_at_ms: u64,
    /// What became of it.
    pub status: Status,
    /// Its manifest, if it was confirmed.
    pub manifest: Option<ObjectRef>,
}

/// What became of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is being made.
    Created,
    /// It is the truth.
    Confirmed,
    /// It will never be.
    Aborted,
}

impl Status {
    /// As people and JSON name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Confirmed => "confirmed",
            Self::Aborted => "aborted",
        }
    }
}

/// A move that the protocol forbids.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// The number is not above all that were ever created.
    #[error("checkpoint {number} can't be created after {created}")]
    NumberUsed {
        /// The number wanted.
        number: CheckpointNumber,
        /// The highest ever created.
        created: CheckpointNumber,
    },
    /// Another checkpoint is not decided yet.
    #[error("checkpoint {0} is not decided yet")]
    Undecided(CheckpointNumber),
    /// It is not there, or was decided already.
    #[error("checkpoint {0} is not waiting for a decision")]
    NotOpen(CheckpointNumber),
}

impl Register {
    /// The checkpoint that is not decided, if there is one.
    #[must_use]
    pub fn undecided(&self) -> Option<CheckpointNumber> {
        self.checkpoints.iter().find(|record| record.status == Status::Created).map(|record| record.number)
    }

    /// Creates N. `keep` is the job's `checkpoint.keep`; older records beyond it (at least 16) are dropped.
    ///
    /// # Errors
    /// N was used, or a checkpoint is undecided.
    pub fn create(&mut self, number: CheckpointNumber, created_at_ms: u64, keep: u32) -> Result<(), Forbidden> {
        if number <= self.created {
            return Err(Forbidden::NumberUsed { number, created: self.created });
        }
        if let Some(undecided) = self.undecided() {
            return Err(Forbidden::Undecided(undecided));
        }
        self.created = number;
        self.checkpoints.push(CheckpointRecord { number, created_at_ms, status: Status::Created, manifest: None });
        let most = CHECKPOINT_RECORDS_MIN.max(usize::try_from(keep).unwrap_or(usize::MAX));
        let surplus = self.checkpoints.len().saturating_sub(most);
        self.checkpoints.drain(..surplus);
        Ok(())
    }

    /// Confirms N: its manifest is the truth from now on.
    ///
    /// # Errors
    /// N is not waiting for a decision.
    pub fn confirm(&mut self, number: CheckpointNumber, manifest: ObjectRef) -> Result<(), Forbidden> {
        let record = self.open(number)?;
        record.status = Status::Confirmed;
        record.manifest = Some(manifest.clone());
        self.latest = Some(ManifestRef { number, object: manifest });
        Ok(())
    }

    /// Aborts N.
    ///
    /// # Errors
    /// N is not waiting for a decision.
    pub fn abort(&mut self, number: CheckpointNumber) -> Result<(), Forbidden> {
        self.open(number)?.status = Status::Aborted;
        Ok(())
    }

    fn open(&mut self, number: CheckpointNumber) -> Result<&mut CheckpointRecord, Forbidden> {
        self.checkpoints
            .iter_mut()
            .find(|record| record.number == number && record.status == Status::Created)
            .ok_or(Forbidden::NotOpen(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn register() -> Register {
        Register {
            job: JobName::new("j").unwrap(),
            incarnation: Incarnation(1),
            branch: Branch(0),
            term: Term(1),
            generation: Generation(1),
            attempt: Attempt(1),
            boot: Boot(1),
            spec: None,
            streams: vec![],
            created: CheckpointNumber(0),
            latest: None,
            checkpoints: vec![],
        }
    }

    fn object(key: &str) -> ObjectRef {
        ObjectRef { key: key.to_owned(), sha256: Digest::of(key.as_bytes()) }
    }

    #[test]
    fn a_number_is_never_used_twice_even_after_an_abort() {
        let mut register = register();
        register.create(CheckpointNumber(1), 0, 3).unwrap();
        assert_eq!(register.create(CheckpointNumber(2), 0, 3), Err(Forbidden::Undecided(CheckpointNumber(1))));
        register.abort(CheckpointNumber(1)).unwrap();
        assert!(register.create(CheckpointNumber(1), 0, 3).is_err());
        assert_eq!(register.confirm(CheckpointNumber(1), object("m")), Err(Forbidden::NotOpen(CheckpointNumber(1))));
        assert_eq!(register.latest, None);
    }

    #[test]
    fn the_first_decision_is_the_truth() {
        let mut register = register();
        register.create(CheckpointNumber(1), 0, 3).unwrap();
        register.confirm(CheckpointNumber(1), object("m")).unwrap();
        assert_eq!(register.abort(CheckpointNumber(1)), Err(Forbidden::NotOpen(CheckpointNumber(1))));
        assert_eq!(register.latest.map(|latest| latest.number), Some(CheckpointNumber(1)));
    }

    #[test]
    fn records_are_bounded_but_the_highest_number_is_not_forgotten() {
        let mut register = register();
        for number in 1..=100 {
            register.create(CheckpointNumber(number), 0, 20).unwrap();
            register.confirm(CheckpointNumber(number), object("m")).unwrap();
        }
        assert_eq!((register.checkpoints.len(), register.created), (20, CheckpointNumber(100)));
    }
}
