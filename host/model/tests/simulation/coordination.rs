//! ZooKeeper as the protocol sees it: nodes that are written in one transaction or not at all, on conditions; an election whose nodes go with their
//! sessions; writes that are late, come twice, or get lost. Refuses to know what a write means: what follows from what is said by `Register`.

use std::collections::BTreeMap;
use std::rc::Rc;

use gregor_model::manifest::ObjectRef;
use gregor_model::names::{Boot, CheckpointNumber, Term};
use gregor_model::register::{CheckpointRecord, Forbidden, Register, Status, StreamRecord};
use gregor_model::start::Begin;

use crate::breaks::Break;

/// A write that a process wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    Begin(Begin),
    Create { number: CheckpointNumber, created_at_ms: u64, keep: u32 },
    Confirm { number: CheckpointNumber, manifest: ObjectRef },
    Abort(CheckpointNumber),
    GoBack { number: CheckpointNumber, manifest: ObjectRef, streams: Vec<StreamRecord> },
}

/// A transaction on its way.
#[derive(Debug, Clone)]
pub(crate) struct Multi {
    /// The claim of the sender; none while it is claiming.
    pub(crate) claim: Option<(Term, Boot)>,
    /// The sender's node of the election, to be checked.
    pub(crate) ballot: Option<u64>,
    /// The version of the generation node, to be checked.
    pub(crate) generation: Option<u64>,
    /// What was read.
    pub(crate) before: Rc<Register>,
    /// What shall be.
    pub(crate) after: Rc<Register>,
}

/// A process's place in the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ballot {
    pub(crate) id: u64,
    pub(crate) host: usize,
    pub(crate) boot: Boot,
}

/// What the servers hold.
pub(crate) struct Coordination {
    pub(crate) register: Rc<Register>,
    /// Version of the generation node.
    pub(crate) generation: u64,
    /// The election, the leader first.
    pub(crate) ballots: Vec<Ballot>,
    ballots_made: u64,
    /// The last write of each process that arrived.
    arrived: BTreeMap<Boot, u64>,
    /// Transactions that changed something.
    pub(crate) version: u64,
}

impl Coordination {
    pub(crate) fn new(register: Register) -> Self {
        Self { register: Rc::new(register), generation: 0, ballots: Vec::new(), ballots_made: 0, arrived: BTreeMap::new(), version: 0 }
    }

    /// A new session stands for election.
    pub(crate) fn join(&mut self, host: usize, boot: Boot) -> u64 {
        self.ballots_made += 1;
        self.ballots.push(Ballot { id: self.ballots_made, host, boot });
        self.ballots_made
    }

    pub(crate) fn has_ballot(&self, id: u64) -> bool {
        self.ballots.iter().any(|ballot| ballot.id == id)
    }

    pub(crate) fn leads(&self, id: Option<u64>) -> bool {
        self.ballots.first().is_some_and(|first| Some(first.id) == id)
    }

    /// Whether a process's write is none that its later ones have passed. ZooKeeper takes the writes of a session in the order in which they were
    /// sent, and none of a session that has ended: a write that is sent again is late by that one alone. Without it, a number could be
    /// created a second time once its node has retired, since nothing but that node tells that it was.
    pub(crate) fn is_in_order(&mut self, boot: Boot, write: u64) -> bool {
        let last = self.arrived.entry(boot).or_insert(write);
        *last = write.max(*last);
        *last == write
    }

    /// Carries a transaction out if all that it expects is so; answers whether it did.
    pub(crate) fn carry_out(&mut self, multi: &Multi) -> bool {
        let (before, after) = (&multi.before, &multi.after);
        if multi.ballot.is_some_and(|ballot| !self.has_ballot(ballot)) || multi.generation.is_some_and(|version| version != self.generation)
        {
            return false;
        }
        let moves_claim = claim_node(before) != claim_node(after);
        if moves_claim && claim_node(&self.register) != claim_node(before) {
            return false;
        }
        let mut now = (*self.register).clone();
        if moves_claim {
            let Register { branch, term, generation, attempt, boot, ref streams, .. } = **after;
            now = Register { branch, term, generation, attempt, boot, streams: streams.clone(), ..now };
        }
        let taken = set(&mut now.latest, &before.latest, &after.latest)
            && set(&mut now.savepoints, &before.savepoints, &after.savepoints)
            && set_checkpoints(&mut now.checkpoints, &before.checkpoints, &after.checkpoints);
        if !taken {
            return false;
        }
        // The highest number ever created is that of the newest node: none is below it.
        now.created = now.created.max(after.created.min(now.checkpoints.last().map_or(CheckpointNumber(0), |record| record.number)));
        self.generation += u64::from(moves_claim);
        self.version += 1;
        self.register = Rc::new(now);
        true
    }
}

type ClaimNode<'r> = (u64, u64, u64, u64, Boot, &'r [StreamRecord]);

fn claim_node(of: &Register) -> ClaimNode<'_> {
    (of.branch.0, of.term.0, of.generation.0, of.attempt.0, of.boot, &of.streams)
}

/// Sets a node that changes, if it is what was read.
fn set<T: PartialEq + Clone>(now: &mut T, before: &T, after: &T) -> bool {
    if before == after {
        return true;
    }
    let same = now == before;
    if same {
        now.clone_from(after);
    }
    same
}

fn set_checkpoints(now: &mut Vec<CheckpointRecord>, before: &[CheckpointRecord], after: &[CheckpointRecord]) -> bool {
    let find = |list: &[CheckpointRecord], number| list.iter().position(|record| record.number == number);
    for old in before.iter().filter(|old| find(after, old.number).is_none()) {
        match find(now, old.number).filter(|&at| now[at] == *old) {
            Some(at) => now.remove(at),
            None => return false,
        };
    }
    for new in after {
        let known = find(before, new.number).map(|at| &before[at]);
        match (known, find(now, new.number)) {
            (Some(known), _) if known == new => {}
            (Some(known), Some(at)) if now[at] == *known => now[at] = new.clone(),
            (None, None) => now.push(new.clone()),
            _ => return false,
        }
    }
    now.sort_by_key(|record| record.number);
    true
}

/// The register after a write, as the model says.
pub(crate) fn after(register: &Register, intent: &Intent, broken: Option<Break>) -> Result<Register, Forbidden> {
    let mut after = register.clone();
    match intent {
        Intent::Begin(begin) => after = after.claimed(begin.clone()),
        Intent::Create { number, created_at_ms, keep } => {
            if broken == Some(Break::ReuseNumber) && *number <= after.created {
                after.checkpoints.retain(|record| record.number != *number);
                after.created = CheckpointNumber(number.0 - 1);
            }
            after.create(*number, *created_at_ms, *keep).map(drop)?;
        }
        Intent::Confirm { number, manifest } => after.confirm(*number, manifest.clone())?,
        Intent::Abort(number) => after.abort(*number)?,
        Intent::GoBack { number, manifest, streams } => {
            let branch = after.branch;
            after.go_back(*number, manifest.clone(), streams.clone())?;
            if broken == Some(Break::GoBackOnBranch) {
                after.branch = branch;
            }
        }
    }
    Ok(after)
}

/// What the register says of a write that was sent and had no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    There,
    Absent,
    Lost,
}

/// As `decide.rs` of the crate `coordination` judges.
pub(crate) fn evidence(register: &Register, intent: &Intent) -> Evidence {
    let record = |number| register.checkpoints.iter().find(|record: &&CheckpointRecord| record.number == number);
    let of_number = |number: CheckpointNumber, there: bool| match record(number) {
        _ if there => Evidence::There,
        None if number <= register.created => Evidence::Lost,
        _ => Evidence::Absent,
    };
    match intent {
        Intent::Begin(begin) if register.boot == begin.boot => Evidence::There,
        Intent::Begin(_) => Evidence::Absent,
        Intent::Create { number, created_at_ms, .. } => {
            of_number(*number, record(*number).is_some_and(|record| record.created_at_ms == *created_at_ms))
        }
        Intent::Confirm { number, manifest } | Intent::GoBack { number, manifest, .. } => {
            of_number(*number, record(*number).is_some_and(|record| record.manifest.as_ref() == Some(manifest)))
        }
        Intent::Abort(number) => of_number(*number, record(*number).is_some_and(|record| record.status == Status::Aborted)),
    }
}
