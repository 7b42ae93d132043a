//! What a host has: local stores that outlive its process, and the process that holds the job or waits for it. Plain values; refuses to act.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use gregor_model::coordinator::Phase;
use gregor_model::digest::Digest;
use gregor_model::history::History;
use gregor_model::manifest::{BaseEntry, Manifest, ManifestRef, ObjectRef, Release};
use gregor_model::names::{Attempt, Boot, Branch, CheckpointNumber, Incarnation, TaskId, Term};
use gregor_model::recovery::Held;
use gregor_model::seal::{PublishedRun, SavedGroup, SavedMerges};
use gregor_model::segment::{OnEnd, SegmentHeader};
use gregor_model::upkeep::Upkeep;

use crate::archive::Content;
use crate::coordination::Intent;
use crate::problem::{Delta, Line, Record, State, TASKS};

/// A task's store on disk.
#[derive(Clone)]
pub(crate) struct LocalStore {
    /// What it says that it holds at least.
    pub(crate) marker: Option<Held>,
    /// What it was, from the marker on, each with the last segment applied: a crash leaves any of these.
    pub(crate) states: Vec<(Option<Digest>, State)>,
}

impl LocalStore {
    pub(crate) fn empty() -> Self {
        Self { marker: None, states: vec![(None, State::default())] }
    }

    pub(crate) fn now(&self) -> &(Option<Digest>, State) {
        self.states.last().unwrap()
    }
}

/// A host.
pub(crate) struct Host {
    /// The process, if one is up.
    pub(crate) process: Option<Boot>,
    /// Its node of the election, as it believes.
    pub(crate) ballot: Option<u64>,
    pub(crate) paused: bool,
    /// How wrong its clock is, in milliseconds.
    pub(crate) clock_off_ms: i64,
    /// Stores of the second stage's tasks.
    pub(crate) local: [LocalStore; 2],
    /// The job, where the process holds it or asks for it.
    pub(crate) leader: Option<Box<Leader>>,
    /// Where unconfirmed segments of the last process ended: only a wrong start looks at it.
    pub(crate) dead_positions: [u64; 4],
    /// What was the latest before the claim: only a wrong start looks at it.
    pub(crate) looked: Option<ManifestRef>,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self {
            process: None,
            ballot: None,
            paused: false,
            clock_off_ms: 0,
            local: [LocalStore::empty(), LocalStore::empty()],
            leader: None,
            dead_positions: [0; 4],
            looked: None,
        }
    }
}

/// How far a start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Claiming,
    Loading,
    Deciding,
    Releasing,
    Restoring,
    Running,
    /// Going back to this checkpoint: first what is undecided, then the number, the manifest, the confirmation.
    BackDeciding(CheckpointNumber),
    BackCreating(CheckpointNumber),
    BackSealing(CheckpointNumber),
    BackConfirming,
}

/// A write that has no answer yet.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) id: u64,
    pub(crate) intent: Intent,
    pub(crate) sent: bool,
    /// Whether a message may still be on its way: nothing is sent again before its time is out.
    pub(crate) waits: bool,
}

/// Where a task's segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flight {
    None,
    Asked,
    Saved,
}

/// A closed segment.
#[derive(Clone)]
pub(crate) struct Frozen {
    pub(crate) hash: Digest,
    pub(crate) header: SegmentHeader,
    pub(crate) delta: Delta,
    pub(crate) runs: [Vec<Record>; 2],
    pub(crate) lines: Vec<Line>,
    /// Whether a saver has taken it up.
    pub(crate) taken: bool,
}

/// A running task.
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) sequence: u64,
    pub(crate) parent: Option<Digest>,
    pub(crate) position: u64,
    pub(crate) on_end: OnEnd,
    pub(crate) changed: bool,
    pub(crate) active: Delta,
    pub(crate) lines: Vec<Line>,
    pub(crate) runs: [Vec<Record>; 2],
    pub(crate) frozen: Option<Frozen>,
    pub(crate) confirmed: Option<(Digest, Delta)>,
}

/// The checkpoint that is being made.
#[derive(Default)]
pub(crate) struct Current {
    pub(crate) created_at: u64,
    pub(crate) created_at_ms: u64,
    pub(crate) groups: Vec<SavedGroup>,
    pub(crate) runs: Vec<PublishedRun>,
    pub(crate) manifest: Option<Rc<Manifest>>,
    pub(crate) object: Option<ObjectRef>,
    pub(crate) kept: (Vec<BaseEntry>, Vec<SavedMerges>),
}

/// Objects on their way into the archive.
pub(crate) struct Saving {
    pub(crate) object: Option<(ObjectRef, Rc<Content>)>,
    pub(crate) then: Then,
    pub(crate) failures: u32,
}

/// What follows when they are there.
pub(crate) enum Then {
    Offer(SavedGroup),
    Base(BaseEntry),
    Merged(SavedMerges),
}

/// A collection under way.
#[derive(Default)]
pub(crate) struct Collection {
    pub(crate) listed: Option<Vec<Rc<str>>>,
    pub(crate) in_flight: Option<BTreeSet<String>>,
    pub(crate) reachable: Option<Rc<BTreeSet<String>>>,
    pub(crate) garbage: Option<Vec<Rc<str>>>,
}

/// A process that holds the job, or is about to.
pub(crate) struct Leader {
    pub(crate) stage: Stage,
    pub(crate) boot: Boot,
    /// The claim; none before it stands.
    pub(crate) claim: Option<(Term, Boot)>,
    pub(crate) attempt: Attempt,
    pub(crate) branch: Branch,
    pub(crate) stream: Incarnation,
    pub(crate) created: CheckpointNumber,
    pub(crate) latest: Option<ManifestRef>,
    pub(crate) undecided: Option<CheckpointNumber>,
    pub(crate) history: History,
    pub(crate) since_full: u64,
    pub(crate) op: Option<Op>,
    pub(crate) phase: Phase,
    pub(crate) current: Current,
    pub(crate) flights: [Flight; 4],
    pub(crate) saved: Vec<SavedGroup>,
    pub(crate) saving: Vec<Saving>,
    pub(crate) performed: BTreeSet<(TaskId, u16, String)>,
    pub(crate) releasing: Vec<Release>,
    pub(crate) bases: Vec<BaseEntry>,
    pub(crate) merges: Vec<SavedMerges>,
    /// Tasks whose chains are worked on, and what is to be done, until it is taken up.
    pub(crate) busy: BTreeMap<usize, Option<Upkeep>>,
    pub(crate) in_flight: BTreeSet<String>,
    pub(crate) collection: Option<Collection>,
    pub(crate) tasks: Vec<Task>,
    /// A task that does not freeze.
    pub(crate) stalled: Option<usize>,
    /// Confirmed runs, by partition and offset.
    pub(crate) visible: [BTreeMap<u64, Record>; 2],
    pub(crate) success: bool,
    pub(crate) last_decision: u64,
    pub(crate) began_ms: u64,
    pub(crate) parts: u64,
    pub(crate) confirmed: u64,
}

impl Leader {
    /// A process that is about to claim the job.
    pub(crate) fn new(boot: Boot) -> Self {
        Self {
            stage: Stage::Claiming,
            boot,
            claim: None,
            attempt: Attempt(0),
            branch: Branch(0),
            stream: Incarnation(0),
            created: CheckpointNumber(0),
            latest: None,
            undecided: None,
            history: History::default(),
            since_full: 0,
            op: None,
            phase: Phase::default(),
            current: Current::default(),
            flights: [Flight::None; 4],
            saved: Vec::new(),
            saving: Vec::new(),
            performed: BTreeSet::new(),
            releasing: Vec::new(),
            bases: Vec::new(),
            merges: Vec::new(),
            busy: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            collection: None,
            tasks: Vec::new(),
            stalled: None,
            visible: [BTreeMap::new(), BTreeMap::new()],
            success: false,
            last_decision: 0,
            began_ms: 0,
            parts: 0,
            confirmed: 0,
        }
    }

    /// Whether every task has ended in the confirmed manifest.
    pub(crate) fn all_ended(&self, counts: &[u32]) -> bool {
        (0_u16..).zip(counts).all(|(stage, &count)| self.history.stage_ended(stage, count))
    }

    /// Whether a task is to freeze and can: not while its last segment still waits to be applied.
    pub(crate) fn may_freeze(&self, at: usize) -> bool {
        let task = &self.tasks[at];
        self.flights[at] == Flight::Asked && task.frozen.is_none() && task.confirmed.is_none() && self.stalled != Some(at)
    }

    pub(crate) fn next_part(&mut self) -> u64 {
        self.parts += 1;
        self.parts
    }
}

/// The index of a task.
pub(crate) fn index_of(task: TaskId) -> usize {
    TASKS.iter().position(|known| *known == task).unwrap()
}
