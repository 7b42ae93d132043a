//! What the nodes say about a write: that it happened, that it is still to be done, or that it never will be. Decided on what one consistent
//! read saw, so that a write whose answer was lost is told from one that was never done. Refuses to write without the claim, and to guess:
//! where the nodes don't tell, the answer is that nobody knows.

use gregor_model::manifest::ObjectRef;
use gregor_model::names::{CheckpointNumber, JobName, SavepointName};
use gregor_model::register::{Register, Status, StreamRecord};
use gregor_model::start::Begin;

use super::difference::{Op, Unwritable, difference};
use super::election::Rank;
use super::facts::{Claim, Facts};
use super::paths::Paths;
use crate::error::CoordinationError;

/// A write that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Intent {
    Begin(Begin),
    SetSpec(ObjectRef),
    Create { number: CheckpointNumber, created_at_ms: u64, keep: u32 },
    Confirm { number: CheckpointNumber, manifest: ObjectRef },
    Abort(CheckpointNumber),
    GoBack { number: CheckpointNumber, manifest: ObjectRef, streams: Vec<StreamRecord> },
    SavePoint { name: SavepointName, number: CheckpointNumber, created_at_ms: u64 },
    DeleteSavepoint(SavepointName),
}

/// Whether the write was sent already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was not, or the server answered that it did nothing.
    Never,
    /// It was, and nobody knows what became of it. `generation` is the version of the generation node that it expected.
    Maybe { generation: Option<i32> },
}

/// What a decision depends on besides the facts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) paths: &'a Paths,
    pub(super) job: &'a JobName,
    pub(super) intent: &'a Intent,
    pub(super) sent: Sent,
    /// The claim that the write needs; none, if this process has none.
    pub(super) claim: Option<Claim>,
    /// The path of this process's node in the election.
    pub(super) own: Option<&'a str>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The write took effect; this is the register now.
    Done(Box<Register>),
    /// Write this; if it takes effect, this is the register.
    Write(Vec<Op>, Box<Register>),
    /// It is another host's turn: stand for the election, then ask again.
    Wait,
}

/// What the register says of a write that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// It took effect.
    There,
    /// It did not.
    Absent,
    /// Its traces are gone.
    Lost,
}

/// What to do next for a write.
pub(super) fn next(situation: &Situation<'_>, facts: &Facts) -> Result<Next, CoordinationError> {
    let Situation { paths, job, intent, sent, .. } = *situation;
    let corrupt = |problem| CoordinationError::Corrupt { record: paths.generation(), problem };
    let register = facts.register(job).map_err(corrupt)?;
    if let Sent::Maybe { generation } = sent {
        match (evidence(intent, (register.as_ref(), facts), generation), &register) {
            (Evidence::There, Some(register)) => return Ok(Next::Done(Box::new(register.clone()))),
            (Evidence::Lost, _) => {
                let reason = "another host took the job meanwhile, and what became of the write can't be told any more".to_owned();
                return Err(CoordinationError::Undecided { job: job.clone(), reason });
            }
            _ => {}
        }
    }
    let after = match (intent, &register) {
        (Intent::Begin(begin), register) => {
            match facts.rank {
                Rank::Leads => {}
                Rank::Absent | Rank::Behind(_) => return Ok(Next::Wait),
            }
            match register {
                Some(register) => register.clone().claimed(begin.clone()),
                None => Register::first(job.clone(), begin.clone()),
            }
        }
        (_, None) => return Err(fenced(job, "the job was never begun")),
        (intent, Some(register)) => {
            if needs_claim(intent) {
                check_claim(situation, facts, register)?;
            }
            let mut after = register.clone();
            apply(intent, &mut after, job)?;
            after
        }
    };
    let inconsistent = |error: gregor_model::start::Inconsistent| corrupt(format!("could not be written: the next register {error}"));
    after.check(job).map_err(inconsistent)?;
    if register.as_ref() == Some(&after) {
        return Ok(Next::Done(Box::new(after)));
    }
    let unwritable = |Unwritable { path, problem }| CoordinationError::Refused { what: format!("node {path}"), problem };
    let changes = difference(paths, facts, (register.as_ref(), &after)).map_err(unwritable)?;
    Ok(Next::Write(fence(situation, facts, changes), Box::new(after)))
}

/// Whether this process may show something now, on what was just read.
pub(super) fn may_show(job: &JobName, claim: Option<Claim>, facts: &Facts) -> Result<Next, CoordinationError> {
    let register = held(job, claim, facts)?;
    match facts.rank {
        Rank::Leads => Ok(Next::Done(Box::new(register))),
        Rank::Behind(_) => Ok(Next::Wait),
        Rank::Absent => Err(fenced(job, REPLACED)),
    }
}

/// The register, if this process's claim on it stands.
pub(super) fn held(job: &JobName, claim: Option<Claim>, facts: &Facts) -> Result<Register, CoordinationError> {
    let corrupt = |problem| CoordinationError::Corrupt { record: format!("of job {job}"), problem };
    let Some(register) = facts.register(job).map_err(corrupt)? else { return Err(fenced(job, "the job was never begun")) };
    check_holder(job, claim, Claim { term: register.term, boot: register.boot })?;
    Ok(register)
}

const REPLACED: &str = "another process with this host's id took its place in the election; give each host its own --data";

/// Restore points of a job, at most: each is a node, all of them are read at once, and ZooKeeper takes requests of 1 MiB. Twice what a job file may
/// ask for, and some: before a checkpoint is created there is one more than are kept, and aborted ones beside them.
const KEEP_MAX: u32 = 2010;

/// Whether the write must find this process's claim.
const fn needs_claim(intent: &Intent) -> bool {
    !matches!(intent, Intent::Begin(_) | Intent::SavePoint { .. } | Intent::DeleteSavepoint(_))
}

fn check_claim(situation: &Situation<'_>, facts: &Facts, register: &Register) -> Result<(), CoordinationError> {
    check_holder(situation.job, situation.claim, Claim { term: register.term, boot: register.boot })?;
    if facts.rank == Rank::Absent {
        return Err(fenced(situation.job, REPLACED));
    }
    Ok(())
}

fn check_holder(job: &JobName, claim: Option<Claim>, holder: Claim) -> Result<(), CoordinationError> {
    match claim {
        Some(claim) if claim == holder => Ok(()),
        Some(Claim { term, boot }) => {
            Err(fenced(job, &format!("boot {boot} held it in term {term}, now boot {} does in term {}", holder.boot, holder.term)))
        }
        None => Err(fenced(job, "it has not claimed the job")),
    }
}

/// Makes the move in the model.
fn apply(intent: &Intent, register: &mut Register, job: &JobName) -> Result<(), CoordinationError> {
    let forbidden = CoordinationError::forbidden(job);
    match intent {
        Intent::Create { keep, .. } if *keep > KEEP_MAX => {
            let problem =
                format!("keeps {keep} checkpoints, in ZooKeeper {KEEP_MAX} at most are; name savepoints, or lower `checkpoint.keep`");
            Err(CoordinationError::Refused { what: format!("job {job}"), problem })
        }
        Intent::Begin(begin) => {
            *register = register.clone().claimed(begin.clone());
            Ok(())
        }
        Intent::SetSpec(spec) => {
            register.set_spec(spec).map_err(|refused| CoordinationError::Spec { job: job.clone(), refused: Box::new(refused) })
        }
        Intent::Create { number, created_at_ms, keep } => register.create(*number, *created_at_ms, *keep).map(drop).map_err(forbidden),
        Intent::Confirm { number, manifest } => register.confirm(*number, manifest.clone()).map_err(forbidden),
        Intent::Abort(number) => register.abort(*number).map_err(forbidden),
        Intent::GoBack { number, manifest, streams } => register.go_back(*number, manifest.clone(), streams.clone()).map_err(forbidden),
        Intent::SavePoint { name, number, created_at_ms } => {
            register.save_point(name, *number, *created_at_ms).map(drop).map_err(forbidden)
        }
        Intent::DeleteSavepoint(name) => register.delete_savepoint(name).map_err(forbidden),
    }
}

/// What is to be seen of a write that was sent. A write leaves traces that no other write can: confirmed means under this very manifest, and
/// keys of manifests hold the term of the leader that sealed them.
fn evidence(intent: &Intent, (register, facts): (Option<&Register>, &Facts), expected: Option<i32>) -> Evidence {
    let Some(register) = register else { return Evidence::Absent };
    let record = |number: CheckpointNumber| register.checkpoints.iter().find(|record| record.number == number);
    // A number that was created and has no record any more was retired by a later one.
    let of_number = |number: CheckpointNumber, there: bool| match record(number) {
        _ if there => Evidence::There,
        None if number <= register.created => Evidence::Lost,
        _ => Evidence::Absent,
    };
    let told = |there: bool| if there { Evidence::There } else { Evidence::Absent };
    match intent {
        Intent::Begin(begin) => {
            let moved = facts.generation.as_ref().map(|generation| generation.version) != expected;
            told(register.boot == begin.boot && moved)
        }
        Intent::SetSpec(spec) => told(register.spec.as_ref() == Some(spec)),
        Intent::Create { number, created_at_ms, .. } => {
            of_number(*number, record(*number).is_some_and(|record| record.created_at_ms == *created_at_ms))
        }
        Intent::Confirm { number, manifest } | Intent::GoBack { number, manifest, .. } => {
            of_number(*number, record(*number).is_some_and(|record| record.manifest.as_ref() == Some(manifest)))
        }
        Intent::Abort(number) => of_number(*number, record(*number).is_some_and(|record| record.status == Status::Aborted)),
        Intent::SavePoint { name, number, .. } => {
            told(register.savepoints.iter().any(|savepoint| savepoint.name == *name && savepoint.number == *number))
        }
        Intent::DeleteSavepoint(name) => told(!register.savepoints.iter().any(|savepoint| savepoint.name == *name)),
    }
}

/// Puts in front of the changes what must hold when they are made: this process's node of the election is there, and the generation is the one
/// that was read.
fn fence(situation: &Situation<'_>, facts: &Facts, mut changes: Vec<Op>) -> Vec<Op> {
    let is_begin = matches!(situation.intent, Intent::Begin(_));
    let mut ops = Vec::with_capacity(changes.len() + 2);
    if is_begin || needs_claim(situation.intent) {
        ops.extend(situation.own.map(|own| Op::Check { path: own.to_owned(), version: None }));
        let path = situation.paths.generation();
        let is_set = changes.iter().any(|op| matches!(op, Op::Set { path: set, .. } if *set == path));
        if let Some(generation) = facts.generation.as_ref().filter(|_| !is_set) {
            ops.push(Op::Check { path, version: Some(generation.version) });
        }
    }
    ops.append(&mut changes);
    ops
}

fn fenced(job: &JobName, reason: &str) -> CoordinationError {
    CoordinationError::Fenced { job: job.clone(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
