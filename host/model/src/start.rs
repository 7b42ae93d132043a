//! How a register begins, how it passes to the next boot, and what a register must fulfil to be believed. Refuses a register that contradicts
//! itself, tokens that could not be raised any more, and a second spec.

use thiserror::Error;

use crate::manifest::ObjectRef;
use crate::names::{Attempt, Boot, Branch, CheckpointNumber, Generation, Incarnation, JobName, StreamName, Term};
use crate::register::{CheckpointRecord, Register, Status, StreamRecord};

/// What a host process brings along when it claims a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// Its random token.
    pub boot: Boot,
    /// The job's incarnation, should the job begin now.
    pub fresh: Incarnation,
    /// The streams that the job writes. They count until the job has a spec; from then on those of the register do, and of these only such as the
    /// register has not: streams of dead letters, which a job may begin to write when it goes on.
    pub streams: Vec<StreamRecord>,
}

/// A register that must not be believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("contradicts itself: {0}")]
pub struct Inconsistent(pub String);

/// A spec is set once.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the job has a spec already, {}; it can't become {}", before.key, wanted.key)]
pub struct SpecSet {
    /// The spec that it has.
    pub before: ObjectRef,
    /// The one that was to be set.
    pub wanted: ObjectRef,
}

/// A stream has the partitions that it was created with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "stream {stream} was created with {created} partitions, now it would have {wanted}; give dead letters a stream that was not there before"
)]
pub struct Repartitioned {
    /// The stream.
    pub stream: StreamName,
    /// How many it has.
    pub created: u32,
    /// How many it would have.
    pub wanted: u32,
}

/// The streams that there are, and those of `more` that are new.
fn joined(mut streams: Vec<StreamRecord>, more: Vec<StreamRecord>) -> Vec<StreamRecord> {
    for stream in more {
        if !streams.iter().any(|known| known.name == stream.name) {
            streams.push(stream);
        }
    }
    streams
}

impl Register {
    /// The register of a job that has none: a new incarnation, the first of every token.
    #[must_use]
    pub fn first(job: JobName, begin: Begin) -> Self {
        Self {
            job,
            incarnation: begin.fresh,
            branch: Branch(0),
            term: Term(1),
            generation: Generation(1),
            attempt: Attempt(1),
            boot: begin.boot,
            spec: None,
            streams: begin.streams,
            created: CheckpointNumber(0),
            latest: None,
            checkpoints: Vec::new(),
            savepoints: Vec::new(),
        }
    }

    /// The register after another boot claimed the job: term, generation and all attempts are raised; a checkpoint that is undecided stays so.
    /// Until there is a spec nothing was promised, so the streams of this start replace those of the one that was cut short; from then on streams
    /// are only added, and one that is not written any more keeps its place and its records.
    #[must_use]
    pub fn claimed(self, begin: Begin) -> Self {
        let streams = if self.spec.is_some() { joined(self.streams, begin.streams) } else { begin.streams };
        Self { term: self.term.next(), generation: self.generation.next(), attempt: self.attempt.next(), boot: begin.boot, streams, ..self }
    }

    /// The first stream that a job that has begun would write with another number of partitions than it was created with.
    ///
    /// # Errors
    /// That stream.
    pub fn check_streams(&self, streams: &[StreamRecord]) -> Result<(), Repartitioned> {
        let created =
            |wanted: &&StreamRecord| self.streams.iter().find(|stream| stream.name == wanted.name).map(|stream| stream.partitions);
        let differs = |wanted: &StreamRecord| created(&wanted).filter(|&created| self.spec.is_some() && created != wanted.partitions);
        streams
            .iter()
            .find_map(|wanted| Some((wanted, differs(wanted)?)))
            .map_or(Ok(()), |(wanted, created)| Err(Repartitioned { stream: wanted.name.clone(), created, wanted: wanted.partitions }))
    }

    /// Takes the spec; the same one again is no change.
    ///
    /// # Errors
    /// There is another one.
    pub fn set_spec(&mut self, spec: &ObjectRef) -> Result<(), SpecSet> {
        match &self.spec {
            Some(before) if before != spec => Err(SpecSet { before: before.clone(), wanted: spec.clone() }),
            _ => {
                self.spec = Some(spec.clone());
                Ok(())
            }
        }
    }

    /// Whether this can be a register of `job`: checked before each write and after each read.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn check(&self, job: &JobName) -> Result<(), Inconsistent> {
        let tokens = [self.branch.0, self.term.0, self.generation.0, self.attempt.0, self.created.0];
        if self.job != *job {
            return Err(Inconsistent(format!("it is the register of job {}, not of {job}", self.job)));
        }
        if tokens.contains(&u64::MAX) || self.term.0 == 0 {
            return Err(Inconsistent(format!("branch, term, generation, attempt, highest checkpoint are {tokens:?}")));
        }
        self.check_records()?;
        self.check_latest()
    }

    fn check_records(&self) -> Result<(), Inconsistent> {
        let newest = self.checkpoints.last().map_or(CheckpointNumber(0), |record| record.number);
        if newest != self.created {
            return Err(Inconsistent(format!("its newest checkpoint is {newest}, the highest ever created {}", self.created)));
        }
        let mut before = CheckpointNumber(0);
        for record in &self.checkpoints {
            let number = record.number;
            if number <= before {
                return Err(Inconsistent(format!("checkpoint {number} comes after checkpoint {before}")));
            }
            if (record.status == Status::Confirmed) != record.manifest.is_some() {
                return Err(Inconsistent(format!("checkpoint {number} is {} but its manifest says otherwise", record.status.name())));
            }
            if record.status == Status::Created && number != self.created {
                return Err(Inconsistent(format!("checkpoint {number} is undecided, {} was created after it", self.created)));
            }
            before = number;
        }
        Ok(())
    }

    fn check_latest(&self) -> Result<(), Inconsistent> {
        let confirmed = |record: &&CheckpointRecord| record.status == Status::Confirmed;
        let oldest = self.checkpoints.first().map_or(CheckpointNumber(0), |record| record.number);
        let right = match (&self.latest, self.checkpoints.iter().rfind(confirmed)) {
            (Some(latest), Some(record)) => record.number == latest.number && record.manifest.as_ref() == Some(&latest.object),
            // Confirmed so long ago that its record was dropped: all that are left were aborted, but for the last.
            (Some(latest), None) => latest.number < oldest && latest.number > CheckpointNumber(0),
            (None, Some(_)) => false,
            (None, None) => true,
        };
        if right { Ok(()) } else { Err(Inconsistent("the latest checkpoint is not the last confirmed one".to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    type Spoil = fn(&mut Register);

    fn job() -> JobName {
        JobName::new("j").unwrap()
    }

    fn begin(boot: u128) -> Begin {
        let streams =
            vec![StreamRecord { name: StreamName::new("s").unwrap(), incarnation: Incarnation(boot), partitions: 2, ancestors: vec![] }];
        Begin { boot: Boot(boot), fresh: Incarnation(boot), streams }
    }

    fn object(key: &str) -> ObjectRef {
        ObjectRef { key: key.to_owned(), sha256: Digest::of(key.as_bytes()) }
    }

    #[test]
    fn every_claim_raises_all_tokens_and_keeps_the_incarnation() {
        let mut register = Register::first(job(), begin(1));
        for (boot, token) in (2..9).zip(2..) {
            register = register.claimed(begin(boot));
            assert_eq!((register.term, register.generation, register.attempt), (Term(token), Generation(token), Attempt(token)));
            assert_eq!((register.boot, register.incarnation, register.branch), (Boot(boot), Incarnation(1), Branch(0)));
        }
        assert_eq!(register.check(&job()), Ok(()));
    }

    #[test]
    fn streams_are_those_of_the_start_that_set_the_spec() {
        let mut register = Register::first(job(), begin(1)).claimed(begin(2));
        assert_eq!(register.streams, begin(2).streams);
        register.set_spec(&object("spec")).unwrap();
        assert_eq!(register.claimed(begin(3)).streams, begin(2).streams);
    }

    #[test]
    fn a_job_that_goes_on_may_begin_to_write_a_stream_and_none_is_taken_from_it() {
        let named = |name: &str, boot| StreamRecord { name: StreamName::new(name).unwrap(), ..begin(boot).streams.remove(0) };
        let mut register = Register::first(job(), begin(1));
        register.set_spec(&object("spec")).unwrap();
        let register = register.claimed(Begin { streams: vec![named("s", 2), named("dead", 2)], ..begin(2) });
        assert_eq!(register.streams, [named("s", 1), named("dead", 2)], "the new one is added, the old one stays as it was");
        let register = register.claimed(begin(3));
        assert_eq!(register.streams, [named("s", 1), named("dead", 2)], "one that is given up keeps its place");
        let register = register.claimed(Begin { streams: vec![named("dead", 4), named("s", 4)], ..begin(4) });
        assert_eq!(register.streams, [named("s", 1), named("dead", 2)], "and is the same stream when it is taken up again");
    }

    #[test]
    fn a_stream_keeps_the_partitions_that_it_was_created_with() {
        let other = |partitions| vec![StreamRecord { partitions, ..begin(1).streams.remove(0) }];
        let mut register = Register::first(job(), begin(1));
        assert_eq!(register.check_streams(&other(3)), Ok(()), "nothing was promised yet");
        register.set_spec(&object("spec")).unwrap();
        assert_eq!(register.check_streams(&other(2)), Ok(()));
        let refused = Repartitioned { stream: StreamName::new("s").unwrap(), created: 2, wanted: 3 };
        assert_eq!(register.check_streams(&other(3)), Err(refused));
    }

    #[test]
    fn a_spec_is_set_once() {
        let mut register = Register::first(job(), begin(1));
        register.set_spec(&object("a")).unwrap();
        register.set_spec(&object("a")).unwrap();
        assert_eq!(register.set_spec(&object("b")), Err(SpecSet { before: object("a"), wanted: object("b") }));
        assert_eq!(register.spec, Some(object("a")));
    }

    #[test]
    fn every_register_that_moves_can_make_is_consistent() {
        let mut register = Register::first(job(), begin(1));
        for number in (1..200).map(CheckpointNumber) {
            register.create(number, 0, 3).unwrap();
            assert_eq!(register.check(&job()), Ok(()), "created {number}");
            if number.0 % 30 < 2 {
                register.confirm(number, object("m")).unwrap()
            } else {
                register.abort(number).unwrap()
            }
            assert_eq!(register.check(&job()), Ok(()), "decided {number}");
        }
    }

    #[test]
    fn a_register_that_contradicts_itself_is_refused() {
        let mut good = Register::first(job(), begin(1));
        for number in (1..=3).map(CheckpointNumber) {
            good.create(number, 0, 3).unwrap();
            good.confirm(number, object("m")).unwrap();
        }
        let spoils: [(&str, Spoil); 10] = [
            ("job", |register| register.job = JobName::new("other").unwrap()),
            ("term 0", |register| register.term = Term(0)),
            ("last term", |register| register.term = Term(u64::MAX)),
            ("last number", |register| register.created = CheckpointNumber(u64::MAX)),
            ("created below", |register| register.created = CheckpointNumber(2)),
            ("no records", |register| register.checkpoints.clear()),
            ("order", |register| register.checkpoints.swap(0, 1)),
            ("no manifest", |register| register.checkpoints[2].manifest = None),
            ("no latest", |register| register.latest = None),
            ("another latest", |register| register.latest.as_mut().unwrap().number = CheckpointNumber(2)),
        ];
        assert_eq!(good.check(&job()), Ok(()));
        for (what, spoil) in spoils {
            let mut register = good.clone();
            spoil(&mut register);
            assert!(register.check(&job()).is_err(), "{what}");
        }
    }
}
