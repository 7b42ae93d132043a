//! A task: its guest, its inputs, and the segment that it is working on. One worker runs it at a time, a turn of a few batches after the other;
//! between two batches it obeys orders. Refuses to take input beyond its budgets, to freeze while a segment of its own is unconfirmed, and to
//! keep anything of a call that failed.

mod call;
mod code;
mod dead_letter;
mod freeze;
mod seed;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use gregor_guest::CallLimits;
use gregor_model::digest::Digest;
use gregor_model::history::TaskHistory;
use gregor_model::job::Stage;
use gregor_model::limits::Limits;
use gregor_model::names::{Attempt, Branch, Incarnation, Sequence, TaskId};
use gregor_model::segment::InputProgress;
use gregor_state::{Apply, ImageSource, TaskStores};

use crate::cell::ConfirmedSegment;
use crate::clock::Clock;
use crate::event::Event;
use crate::failure;
use crate::input::{InputQueue, Inputs};
use crate::keep::{KeepOrder, KeepWork, Kept};
use crate::pauses::Histogram;
use crate::restore::Restore;
use crate::save::Frozen;
use crate::services::{Parts, Series, TaskServices};
use crate::setup::RunError;
use code::Code;
pub(crate) use code::Program;
use seed::Pieces;

/// What the tasks of a job share.
pub(crate) struct Shared {
    /// The job's incarnation.
    pub(crate) incarnation: Incarnation,
    /// The line of history.
    pub(crate) branch: Branch,
    /// The attempt of every task of this process.
    pub(crate) attempt: Attempt,
    /// What a task may use.
    pub(crate) limits: Limits,
    /// All inputs.
    pub(crate) inputs: Arc<Inputs>,
    /// To the supervisor.
    pub(crate) events: Sender<Event>,
    /// To the threads that save; holds each task at most once, and as many ends as there are threads. None ends a thread.
    pub(crate) to_save: Sender<Option<Frozen>>,
    /// To the threads that apply, one channel each; holds each task at most three times: to apply, for its chain, and to mark it at the end. A task always uses the
    /// same. None ends the thread.
    pub(crate) to_apply: Vec<Sender<Option<Applying>>>,
    /// To the thread that keeps chains short; holds each task at most once. None ends the thread.
    pub(crate) to_keep: Sender<Option<KeepWork>>,
    /// How long freezes took.
    pub(crate) pauses: Histogram,
    /// The clock.
    pub(crate) clock: Clock,
}

impl Shared {
    /// Tells the threads that save and apply to end. They work off what stands before it, quickly after a shutdown.
    pub(crate) fn close(&self, savers: usize) {
        // There is room for all of it, so that this never waits. A send fails only when the threads are gone already.
        (0..savers).for_each(|_| drop(self.to_save.send(None)));
        self.to_apply.iter().for_each(|lane| drop(lane.send(None)));
        drop(self.to_keep.send(None));
    }
}

/// Work for an applier.
pub(crate) enum Applying {
    /// Bring a confirmed map of the task with this index into its local store.
    Apply(usize, Apply),
    /// Take an image of a store, or mark it, for the one that keeps chains short.
    Keep(Kept, ImageSource, KeepOrder),
    /// Mark a store at the end of a job; whoever waits for it learns that it is over when this is dropped.
    Mark(String, ImageSource, Sender<()>),
}

/// Who a task is, for people and for headers.
pub(crate) struct Identity {
    /// Its id.
    pub(crate) id: TaskId,
    /// Its index among all tasks.
    pub(crate) index: usize,
    /// The job's name, which seeds its random numbers.
    pub(crate) job: String,
    /// Stage and number, for people.
    pub(crate) name: String,
    /// Its stage.
    pub(crate) stage: Arc<Stage>,
}

/// One input of a task.
pub(crate) struct TaskInput {
    /// Where its records come from.
    pub(crate) queue: Arc<InputQueue>,
    /// How far it was read.
    pub(crate) progress: InputProgress,
    /// Whether its records come from outside, not from a stage of this job.
    pub(crate) origin: Origin,
    /// Where it stands, for people, and how to look whether it has changed.
    pub(crate) watch: Option<crate::save::FileWatch>,
}

/// Where an input's records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From outside.
    Outside,
    /// From a stage of this job.
    Stream,
}

/// The segment that waits for its confirmation.
enum Flight {
    /// There is none.
    Landed,
    /// Frozen; it is being saved, or waits for the decision.
    Aloft,
    /// Confirmed, but the map below is still being applied.
    Waiting(ConfirmedSegment),
}

/// A task.
pub(crate) struct Task {
    identity: Identity,
    shared: Arc<Shared>,
    guest: Guest,
    inputs: Vec<TaskInput>,
    next_input: usize,
    parent: Option<Digest>,
    sequence: Sequence,
    /// How far it has come with ends of inputs, for the random numbers of `on-end`.
    pieces: Pieces,
    flight: Flight,
    /// Whether positions or flags have changed since the last freeze.
    moved: bool,
    /// Whether a flag was raised since the last freeze: somebody waits for the manifest that says so.
    flagged: bool,
    closed: bool,
    retry: Retry,
}

/// The guest, or what it will be made of once the state is restored.
enum Guest {
    /// State is to be restored first.
    Asleep { program: Program, parts: Option<Box<Parts>>, restore: Box<Restore> },
    /// It runs.
    Awake(Code),
}

/// A batch that failed for a reason outside of its records.
#[derive(Default)]
struct Retry {
    /// The item to be tried again.
    item: Option<(usize, call::Work)>,
    /// How often it was tried.
    tried: u32,
    /// Not before this time.
    not_before: Duration,
}

/// How a task begins.
pub(crate) struct Beginning {
    /// Who it is.
    pub(crate) identity: Identity,
    /// Its component, or what stands in for it.
    pub(crate) program: Program,
    /// What its services are made of; the stores not yet restored.
    pub(crate) parts: Parts,
    /// How its state is restored.
    pub(crate) restore: Restore,
    /// Its inputs, positioned.
    pub(crate) inputs: Vec<TaskInput>,
}

impl Task {
    /// A task that goes on from the last confirmed segment, or from the beginning.
    pub(crate) fn new(shared: Arc<Shared>, beginning: Beginning, history: Option<&TaskHistory>) -> Self {
        let Beginning { identity, program, parts, restore, inputs } = beginning;
        Self {
            identity,
            shared,
            guest: Guest::Asleep { program, parts: Some(Box::new(parts)), restore: Box::new(restore) },
            inputs,
            next_input: 0,
            parent: history.map(|task| task.segment),
            sequence: Sequence(0),
            pieces: history.map(|task| Pieces::after(&task.header)).unwrap_or_default(),
            flight: Flight::Landed,
            moved: false,
            flagged: false,
            closed: false,
            retry: Retry::default(),
        }
    }

    /// Its id.
    pub(crate) const fn id(&self) -> TaskId {
        self.identity.id
    }

    /// Records and bytes taken from outside since the job began.
    pub(crate) fn taken_from_outside(&self) -> (u64, u64) {
        let outside = self.inputs.iter().filter(|input| input.origin == Origin::Outside);
        outside.fold((0, 0), |(records, bytes), input| (records + input.progress.records, bytes + input.progress.bytes))
    }

    /// Restores the state and makes the instance, at the first turn: on the worker, so that tasks are restored side by side and each goes on as
    /// soon as it is ready.
    fn wake(&mut self) -> Result<(), RunError> {
        let Guest::Asleep { program, parts, restore } = &mut self.guest else { return Ok(()) };
        let Some(mut parts) = parts.take() else { return Ok(()) };
        restore.run(&self.identity.name, &mut parts.stores)?;
        let limits = &self.shared.limits;
        let limits = CallLimits {
            memory_bytes: limits.memory_bytes,
            call_time: limits.call_time,
            emit_records: limits.emit_records,
            emit_bytes: limits.emit_bytes,
        };
        let code = Code::new(program, TaskServices::new(*parts), limits)
            .map_err(|error| RunError::Failed(format!("task {} can't start: {error}", self.identity.name)))?;
        self.guest = Guest::Awake(code);
        Ok(())
    }

    /// The code and its services. Only called after [`Self::wake`].
    fn instance(&mut self) -> Result<&mut Code, RunError> {
        match &mut self.guest {
            Guest::Awake(instance) => Ok(instance),
            Guest::Asleep { .. } => Err(RunError::Failed(format!("task {} was run before it was restored", self.identity.name))),
        }
    }

    fn stores(&mut self) -> Result<&mut TaskStores, RunError> {
        Ok(&mut self.instance()?.services().stores)
    }

    /// What its guest counted in this run, with the stage's name.
    pub(crate) fn metrics(&mut self) -> (&str, Option<&BTreeMap<String, Series>>) {
        let series = match &mut self.guest {
            Guest::Awake(instance) => Some(instance.services().metrics()),
            Guest::Asleep { .. } => None,
        };
        (self.identity.stage.name.as_str(), series)
    }

    /// Has its local store marked behind all that is still to be applied to it, unless that was done. `done` is dropped after it.
    pub(crate) fn mark(&mut self, done: &Sender<()>) -> Result<(), RunError> {
        let name = self.identity.name.clone();
        // A task that never ran has restored nothing, and so has one without stores.
        if matches!(self.guest, Guest::Asleep { .. }) || self.identity.stage.stores.is_empty() {
            return Ok(());
        }
        let parent = self.parent;
        let stores = self.stores()?;
        let marker = stores.marker().map_err(|error| failure::state(&name, error))?;
        if parent.is_some() && marker.map(|marker| marker.segment) != parent {
            let source = stores.image();
            self.send_to_applier(Applying::Mark(name, source, done.clone()));
        }
        Ok(())
    }

    fn failed(&self, message: impl std::fmt::Display) -> RunError {
        RunError::Failed(format!("task {}: {message}", self.identity.name))
    }
}
