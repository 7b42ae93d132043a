//! What coordination knows of a job: tokens, the numbers ever created, and which manifest is the truth. With the `local` coordinator it is one
//! file, replaced whole; with ZooKeeper the same facts stand in several nodes. Refuses moves that the protocol forbids: a number used twice, a
//! decision that was made already.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::Kind;
use crate::limits::SAVEPOINTS_MAX;
use crate::manifest::{ManifestRef, ObjectRef};
use crate::names::{Attempt, Boot, Branch, CheckpointNumber, Generation, Incarnation, JobName, SavepointName, StreamName, Term};

/// How the register of the `local` coordinator is stored. Version 1 had no savepoints, no ancestors of streams, and kept the records of
/// checkpoints that were no restore points any more.
pub const REGISTER: Kind = Kind { name: "register", version: 2 };

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
    /// The last confirmed, which are restore points, the last aborted, and the one that is being made, in the order of their numbers.
    pub checkpoints: Vec<CheckpointRecord>,
    /// Checkpoints that are kept until somebody deletes them, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub savepoints: Vec<SavepointRecord>,
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
    /// Incarnations that it had before the job went back to an earlier checkpoint, the oldest first. A position in one of them that the
    /// checkpoint gone back to holds is the same place in this one, which began with their records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Incarnation>,
}

/// A checkpoint with a name: it is kept until somebody deletes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SavepointRecord {
    /// Its name.
    pub name: SavepointName,
    /// The checkpoint.
    pub number: CheckpointNumber,
    /// When it was named, milliseconds since 1970.
    pub created_at_ms: u64,
    /// The checkpoint's manifest.
    pub manifest: ObjectRef,
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
    /// It is no restore point: it was not confirmed, or it was retired.
    #[error("checkpoint {0} is no restore point (any more); `gregor checkpoint list` names those that are")]
    NotKept(CheckpointNumber),
    /// The name is taken.
    #[error("savepoint {name} is there already, of checkpoint {number}; choose another name, or delete it first")]
    SavepointTaken {
        /// The name.
        name: SavepointName,
        /// What it names.
        number: CheckpointNumber,
    },
    /// There is no such savepoint.
    #[error("there is no savepoint {0}; `gregor savepoint list` names those that are")]
    NoSavepoint(SavepointName),
    /// There are too many.
    #[error("there are {SAVEPOINTS_MAX} savepoints already; delete one first")]
    TooManySavepoints,
}

impl Register {
    /// The checkpoint that is not decided, if there is one.
    #[must_use]
    pub fn undecided(&self) -> Option<CheckpointNumber> {
        self.checkpoints.iter().find(|record| record.status == Status::Created).map(|record| record.number)
    }

    /// Creates N, and retires restore points beyond `keep` (at least one is kept), and aborted checkpoints likewise: their records go. Answers
    /// the numbers of those.
    ///
    /// # Errors
    /// N was used, or a checkpoint is undecided.
    pub fn create(&mut self, number: CheckpointNumber, created_at_ms: u64, keep: u32) -> Result<Vec<CheckpointNumber>, Forbidden> {
        if number <= self.created {
            return Err(Forbidden::NumberUsed { number, created: self.created });
        }
        if let Some(undecided) = self.undecided() {
            return Err(Forbidden::Undecided(undecided));
        }
        let retired = self.retiring(keep);
        self.created = number;
        self.checkpoints.retain(|record| !retired.contains(&record.number));
        self.checkpoints.push(CheckpointRecord { number, created_at_ms, status: Status::Created, manifest: None });
        Ok(retired)
    }

    /// The records that retire when the next checkpoint is created: confirmed ones before the last `keep`, and aborted ones likewise.
    fn retiring(&self, keep: u32) -> Vec<CheckpointNumber> {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX).max(1);
        let of = |status| self.checkpoints.iter().rev().filter(move |record| record.status == status).skip(keep);
        let mut retiring: Vec<_> = of(Status::Confirmed).chain(of(Status::Aborted)).map(|record| record.number).collect();
        retiring.sort_unstable();
        retiring
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

    /// Confirms N as a return to an earlier checkpoint: a new branch begins with its manifest. `streams` replace those that there were.
    ///
    /// # Errors
    /// N is not waiting for a decision.
    pub fn go_back(&mut self, number: CheckpointNumber, manifest: ObjectRef, streams: Vec<StreamRecord>) -> Result<(), Forbidden> {
        self.confirm(number, manifest)?;
        self.branch = self.branch.next();
        self.streams = streams;
        Ok(())
    }

    /// Gives a restore point a name; the same name for the same checkpoint again is no change.
    ///
    /// # Errors
    /// It is no restore point, the name is taken, or there are too many.
    pub fn save_point(&mut self, name: &SavepointName, number: CheckpointNumber, created_at_ms: u64) -> Result<SavepointRecord, Forbidden> {
        if let Some(taken) = self.savepoints.iter().find(|savepoint| savepoint.name == *name) {
            let same = taken.number == number;
            let refused = || Forbidden::SavepointTaken { name: name.clone(), number: taken.number };
            return if same { Ok(taken.clone()) } else { Err(refused()) };
        }
        if self.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(Forbidden::TooManySavepoints);
        }
        let manifest = self.restore_point(number).ok_or(Forbidden::NotKept(number))?.object;
        let savepoint = SavepointRecord { name: name.clone(), number, created_at_ms, manifest };
        self.savepoints.push(savepoint.clone());
        self.savepoints.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(savepoint)
    }

    /// Deletes a savepoint: its checkpoint is kept no longer than others.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn delete_savepoint(&mut self, name: &SavepointName) -> Result<(), Forbidden> {
        let before = self.savepoints.len();
        self.savepoints.retain(|savepoint| savepoint.name != *name);
        if self.savepoints.len() < before { Ok(()) } else { Err(Forbidden::NoSavepoint(name.clone())) }
    }

    /// The manifest of a confirmed checkpoint that is kept.
    #[must_use]
    pub fn restore_point(&self, number: CheckpointNumber) -> Option<ManifestRef> {
        self.restore_points().into_iter().find(|kept| kept.number == number)
    }

    /// Everything that the job can go back to, and so all that must not be collected: confirmed checkpoints that have not retired, savepoints,
    /// and the latest. In the order of their numbers, each once.
    #[must_use]
    pub fn restore_points(&self) -> Vec<ManifestRef> {
        let confirmed = self.checkpoints.iter().filter_map(|record| Some((record.number, record.manifest.clone()?)));
        let named = self.savepoints.iter().map(|savepoint| (savepoint.number, savepoint.manifest.clone()));
        let latest = self.latest.iter().map(|latest| (latest.number, latest.object.clone()));
        let mut kept: Vec<_> = confirmed.chain(named).chain(latest).map(|(number, object)| ManifestRef { number, object }).collect();
        kept.sort_by_key(|kept| kept.number);
        kept.dedup_by_key(|kept| kept.number);
        kept
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
            savepoints: vec![],
        }
    }

    fn name(text: &str) -> SavepointName {
        SavepointName::new(text).unwrap()
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
    fn only_restore_points_and_what_came_after_them_are_kept_and_the_highest_number_is_not_forgotten() {
        let mut register = register();
        for number in (1..=100).map(CheckpointNumber) {
            let retired = register.create(number, 0, 3).unwrap();
            assert!(retired.iter().all(|retired| register.restore_point(*retired).is_none()), "{retired:?}");
            if number.0 % 7 == 0 {
                register.abort(number).unwrap();
            } else {
                register.confirm(number, object("m")).unwrap();
            }
            assert!(register.checkpoints.len() <= 7, "{number}: {:?}", register.checkpoints);
        }
        let kept: Vec<u64> = register.restore_points().iter().map(|kept| kept.number.0).collect();
        assert_eq!((kept, register.created), (vec![96, 97, 99, 100], CheckpointNumber(100)));
    }

    #[test]
    fn a_job_that_never_comes_to_a_checkpoint_collects_no_records() {
        let mut register = register();
        for number in (1..=100).map(CheckpointNumber) {
            register.create(number, 0, 3).unwrap();
            register.abort(number).unwrap();
        }
        assert_eq!((register.checkpoints.len(), register.created), (4, CheckpointNumber(100)));
    }

    #[test]
    fn a_savepoint_keeps_its_checkpoint_until_it_is_deleted() {
        let mut register = register();
        for number in (1..=20).map(CheckpointNumber) {
            register.create(number, 0, 1).unwrap();
            register.confirm(number, object("m")).unwrap();
            if number.0 == 2 {
                register.save_point(&name("two"), number, 5).unwrap();
                assert_eq!(register.save_point(&name("two"), number, 6).unwrap().created_at_ms, 5);
            }
        }
        assert!(register.restore_point(CheckpointNumber(2)).is_some());
        assert_eq!(register.save_point(&name("three"), CheckpointNumber(3), 7), Err(Forbidden::NotKept(CheckpointNumber(3))));
        let taken = Forbidden::SavepointTaken { name: name("two"), number: CheckpointNumber(2) };
        assert_eq!(register.save_point(&name("two"), CheckpointNumber(20), 7), Err(taken));
        register.delete_savepoint(&name("two")).unwrap();
        assert_eq!(register.delete_savepoint(&name("two")), Err(Forbidden::NoSavepoint(name("two"))));
        assert!(register.restore_point(CheckpointNumber(2)).is_none());
    }

    #[test]
    fn going_back_is_a_confirmation_that_begins_a_branch() {
        let mut register = register();
        register.create(CheckpointNumber(1), 0, 3).unwrap();
        assert_eq!(register.go_back(CheckpointNumber(2), object("m"), vec![]), Err(Forbidden::NotOpen(CheckpointNumber(2))));
        register.go_back(CheckpointNumber(1), object("m"), vec![]).unwrap();
        assert_eq!((register.branch, register.latest.map(|latest| latest.number)), (Branch(1), Some(CheckpointNumber(1))));
    }
}
