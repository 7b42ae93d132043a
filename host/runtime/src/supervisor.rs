//! The supervisor: one loop over one closed `Event` enum. It observes, asks `model` what follows, and gives orders: to tasks through their cells,
//! to the thread that commits through its channel. Here, and nowhere else, state, outputs and input positions become durable together: by the
//! confirmation of a manifest. Refuses to block on a task, and to do anything else for the job while a checkpoint is undecided.

mod checkpoint;
mod ending;
mod facts;
mod progress;
mod publish;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use gregor_model::coordinator::{Observed, Phase};
use gregor_model::due::{Due, due};
use gregor_model::history::History;
use gregor_model::job::Job;
use gregor_model::manifest::ManifestRef;
use gregor_model::names::{Branch, CheckpointNumber, Incarnation, StreamName, TaskId, Term};
use gregor_model::seal::PublishedRun;

use crate::cell::Cell;
use crate::clock::Clock;
use crate::commit::Order;
use crate::event::{Event, Saved};
use crate::in_flight::InFlight;
use crate::input::{InputQueue, Inputs, RunCache};
use crate::ready::{Ready, Urgency};
use crate::setup::{Command, Report, RunError, Until};
use checkpoint::Current;
use ending::{Stopping, Success};
use progress::{PROGRESS_EVERY, ProgressMeter};
use upkeep::Keeping;

/// What the supervisor is made of.
pub(crate) struct Parts {
    pub(crate) job: Job,
    /// Tasks of each stage.
    pub(crate) tasks: Vec<u32>,
    pub(crate) incarnation: Incarnation,
    pub(crate) branch: Branch,
    pub(crate) term: Term,
    pub(crate) cells: Arc<Vec<Cell>>,
    pub(crate) ready: Arc<Ready>,
    pub(crate) inputs: Arc<Inputs>,
    /// Who reads a stream partition.
    pub(crate) readers: BTreeMap<(StreamName, u32), Vec<Reader>>,
    pub(crate) history: History,
    pub(crate) latest: Option<ManifestRef>,
    /// The highest number ever created.
    pub(crate) created: CheckpointNumber,
    pub(crate) performed: BTreeSet<(TaskId, u16, String)>,
    /// When the job ends.
    pub(crate) until: Until,
    /// Manifests since the last full one.
    pub(crate) since_full: u64,
    /// What was written and no confirmed manifest names yet.
    pub(crate) in_flight: InFlight,
    /// Bytes of all outside inputs, where they are bounded.
    pub(crate) input_bytes: Option<u64>,
    pub(crate) events: Receiver<Event>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) orders: Sender<Order>,
    /// To the one that collects; holds one order.
    pub(crate) collect: Sender<()>,
    pub(crate) reports: Sender<Report>,
    pub(crate) clock: Clock,
}

/// A task's input that reads a stream partition.
pub(crate) struct Reader {
    /// The queue.
    pub(crate) queue: Arc<InputQueue>,
    /// The task's index.
    pub(crate) task: usize,
    /// The input's index in its stage.
    pub(crate) input: usize,
    /// Runs that it has not confirmed as read: offset after the last record, bytes.
    pub(crate) backlog: std::collections::VecDeque<(u64, u64)>,
}

/// Where a task's current segment is, as the supervisor knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    /// There is none.
    None,
    /// The task was asked to freeze, or its segment is being saved.
    Asked,
    /// It is saved and waits for a manifest.
    Saved,
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The job is finished.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// It was to run until it is idle, and is.
    Idle,
}

/// The supervisor.
pub(crate) struct Supervisor {
    parts: Parts,
    phase: Phase,
    current: Current,
    flights: Vec<Flight>,
    /// Saved segments that no manifest has taken yet.
    saved: Vec<Saved>,
    /// Releases that were ordered and not yet performed.
    releasing: BTreeSet<(TaskId, u16, String)>,
    success: Success,
    stopping: Stopping,
    /// Why the job ends once it has stopped.
    failure: Option<RunError>,
    last_decision: Duration,
    last_confirmed: Duration,
    timers: Vec<(Duration, usize)>,
    runs: RunCache,
    progress: ProgressMeter,
    confirmed: u64,
    since_full: u64,
    keeping: Keeping,
}

impl Supervisor {
    /// Takes over; no task has run yet.
    pub(crate) fn new(parts: Parts) -> Self {
        let flights = vec![Flight::None; parts.cells.len()];
        let now = parts.clock.now();
        Self {
            flights,
            phase: Phase::Idle,
            current: Current::default(),
            saved: Vec::new(),
            releasing: BTreeSet::new(),
            success: Success::Open,
            stopping: Stopping::No,
            failure: None,
            last_decision: now,
            last_confirmed: now,
            timers: Vec::new(),
            runs: RunCache::default(),
            progress: ProgressMeter { at: now, records: 0, rate: 0.0 },
            confirmed: 0,
            since_full: parts.since_full,
            keeping: Keeping::new(parts.clock.wall_ms()),
            parts,
        }
    }

    /// Runs until the job is finished or stopped. `runs` are the confirmed runs that readers have not read.
    ///
    /// # Errors
    /// The job can't go on; it stands at its last confirmed checkpoint. Of several reasons the first is told.
    pub(crate) fn run(&mut self, runs: Vec<PublishedRun>) -> Result<Ended, RunError> {
        let ended = self.supervise(runs);
        let Some(first) = self.failure.take() else { return ended };
        if let Err(error) = ended {
            tracing::warn!(%error, "no last checkpoint was taken");
        }
        Err(first)
    }

    fn supervise(&mut self, runs: Vec<PublishedRun>) -> Result<Ended, RunError> {
        self.progress.records = self.progress().records;
        // All of them before the first one runs: a worker holds its task for a whole turn.
        self.parts.cells.iter().for_each(|cell| cell.task().begin());
        self.publish(runs, &BTreeMap::new());
        for index in 0..self.parts.cells.len() {
            self.parts.ready.wake(index, Urgency::Normal);
        }
        // The process before this one may have died between the last segments and the closing manifest.
        self.complete()?;
        self.stop_if_idle()?;
        loop {
            self.tell_progress();
            if let Some(ended) = self.ended() {
                return Ok(ended);
            }
            self.wake_sleepers();
            let wait = self.judge()?;
            if let Some(event) = self.next_event(wait)? {
                self.take_in(event)?;
            }
        }
    }

    /// The last confirmed checkpoint.
    pub(crate) fn latest(&self) -> Option<CheckpointNumber> {
        self.parts.latest.as_ref().map(|latest| latest.number)
    }

    /// Checkpoints confirmed in this run.
    pub(crate) const fn confirmed(&self) -> u64 {
        self.confirmed
    }

    fn next_event(&self, wait: Duration) -> Result<Option<Event>, RunError> {
        // Commands come through their own channel, and are made events here.
        let mut select = crossbeam_channel::Select::new();
        select.recv(&self.parts.events);
        select.recv(&self.parts.commands);
        let Ok(operation) = select.select_timeout(wait) else { return Ok(None) };
        if operation.index() == 1 {
            return match operation.recv(&self.parts.commands) {
                Ok(command) => Ok(Some(Event::Asked(command))),
                // Nobody can ask any more; what comes is told by tasks alone.
                Err(_) => self.events_only(wait),
            };
        }
        operation.recv(&self.parts.events).map(Some).map_err(|_| over())
    }

    fn events_only(&self, wait: Duration) -> Result<Option<Event>, RunError> {
        match self.parts.events.recv_timeout(wait) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(over()),
        }
    }

    /// Judges whether a checkpoint is due, and how long to wait for the next event.
    fn judge(&mut self) -> Result<Duration, RunError> {
        let now = self.parts.clock.now();
        let mut wait = PROGRESS_EVERY;
        if self.phase == Phase::Idle && !self.is_completing() {
            match due(self.facts(now)) {
                Due::Now => self.begin_checkpoint()?,
                Due::In(left) => wait = wait.min(left),
                Due::Unknown => {}
            }
        } else if let Phase::Saving(_) = self.phase {
            let waited = now.saturating_sub(self.current.created_at);
            self.step(Observed::Waited(waited))?;
            wait = wait.min(checkpoint::patience_left(&self.phase, waited, self.patience()).unwrap_or(wait));
        }
        if let Stopping::Until(until) = self.stopping {
            wait = wait.min(until.saturating_sub(now));
        }
        let next_timer = self.timers.iter().map(|(at, _)| at.saturating_sub(now)).min();
        Ok(wait.min(next_timer.unwrap_or(wait)).max(Duration::from_millis(1)))
    }

    fn order(&self, order: Order) -> Result<(), RunError> {
        self.parts.orders.send(order).map_err(|_| over())
    }

    fn take_in(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Asked(command) => self.stop(command),
            Event::Stirred => Ok(()),
            Event::WakeIn { task, after } => {
                self.timers.push((self.parts.clock.now() + after, task));
                Ok(())
            }
            Event::Unchanged { task } => self.answered(task, Flight::None),
            Event::Saved(saved) => self.take_saved(saved),
            Event::Created(permit) => {
                self.current.permit = Some(permit);
                self.current.written_at = self.parts.clock.now();
                self.step(Observed::Created)
            }
            Event::Sealed(manifest, object) => {
                self.current.manifest = Some((*manifest, object));
                self.step(Observed::Sealed)
            }
            Event::Confirmed(number) => self.take_confirmed(number),
            Event::Aborted => self.decided(),
            Event::Released(releases) => {
                for release in releases {
                    let name = (release.task, release.output, release.name);
                    self.releasing.remove(&name);
                    self.parts.performed.insert(name);
                }
                self.complete()
            }
            Event::Succeeded => {
                self.success = Success::Done;
                Ok(())
            }
            Event::Kept(tasks, result) => {
                self.take_kept(&tasks, result);
                Ok(())
            }
            Event::GaveUp(error) => self.give_up(error),
            Event::Failed(error) => Err(error),
        }
    }

    fn wake_sleepers(&mut self) {
        let now = self.parts.clock.now();
        let ready = &self.parts.ready;
        self.timers.retain(|&(at, task)| {
            let due = at <= now;
            if due {
                ready.wake(task, Urgency::Normal);
            }
            !due
        });
    }
}

/// The other end of a channel is gone: a thread has ended that should not have.
fn over() -> RunError {
    RunError::Failed("a thread of the job has ended early; please report it".to_owned())
}
