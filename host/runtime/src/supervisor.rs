//! The supervisor: one loop over one closed `Event` enum. It observes, asks `model` what follows, and gives orders: to tasks through their cells,
//! to the thread that commits through its channel. Here, and nowhere else, state, outputs and input positions become durable together: by the
//! confirmation of a manifest. Refuses to block on a task, and to do anything else for the job while a checkpoint is undecided.

mod facts;
mod publish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use gregor_coordination::CommitPermit;
use gregor_model::coordinator::{Content, Move, Observed, Patience, Phase};
use gregor_model::due::{Due, due};
use gregor_model::history::History;
use gregor_model::job::Job;
use gregor_model::manifest::{Manifest, ManifestRef, ObjectRef};
use gregor_model::names::{Branch, CheckpointNumber, Incarnation, StreamName, TaskId, Term};
use gregor_model::seal::{PublishedRun, SavedGroup, Sealing, seal};

use crate::cell::{Cell, ConfirmedSegment};
use crate::clock::Clock;
use crate::commit::Order;
use crate::event::{Event, Saved};
use crate::input::{InputQueue, Inputs, RunCache};
use crate::ready::{Ready, Urgency};
use crate::setup::{Command, Progress, Report, RunError};

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
    /// Bytes of all outside inputs, where they are bounded.
    pub(crate) input_bytes: Option<u64>,
    pub(crate) events: Receiver<Event>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) orders: Sender<Order>,
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
}

/// A stop that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    /// Nobody did.
    No,
    /// At the latest at this time.
    Until(Duration),
}

/// The checkpoint that is being made.
#[derive(Default)]
struct Current {
    permit: Option<CommitPermit>,
    created_at: Duration,
    created_at_ms: u64,
    /// What its manifest was sealed from.
    groups: Vec<Saved>,
    runs: Vec<PublishedRun>,
    manifest: Option<(Manifest, ObjectRef)>,
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
    last_decision: Duration,
    last_confirmed: Duration,
    timers: Vec<(Duration, usize)>,
    runs: RunCache,
    progress: ProgressMeter,
    confirmed: u64,
}

/// Whether `_SUCCESS` is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Success {
    /// It is too early.
    Open,
    /// It was ordered.
    Ordered,
    /// It is there, or there is no output folder.
    Done,
}

/// When progress was last reported, and how much there was.
struct ProgressMeter {
    at: Duration,
    records: u64,
    rate: f64,
}

/// How long a report waits for its reader.
const REPORT_WAIT: Duration = Duration::from_secs(5);
/// Time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

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
            last_decision: now,
            last_confirmed: now,
            timers: Vec::new(),
            runs: RunCache::default(),
            progress: ProgressMeter { at: now, records: 0, rate: 0.0 },
            confirmed: 0,
            parts,
        }
    }

    /// Runs until the job is finished or stopped. `runs` are the confirmed runs that readers have not read.
    ///
    /// # Errors
    /// The job can't go on; it stands at its last confirmed checkpoint.
    pub(crate) fn run(&mut self, runs: Vec<PublishedRun>) -> Result<Ended, RunError> {
        self.progress.records = self.progress().records;
        // All of them before the first one runs: a worker holds its task for a whole turn.
        self.parts.cells.iter().for_each(|cell| cell.task().begin());
        self.publish(runs, &BTreeMap::new());
        for index in 0..self.parts.cells.len() {
            self.parts.ready.wake(index, Urgency::Normal);
        }
        // The process before this one may have died between the last segments and the closing manifest.
        self.complete()?;
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
            self.step(Observed::Waited(now.saturating_sub(self.current.created_at)))?;
        }
        let next_timer = self.timers.iter().map(|(at, _)| at.saturating_sub(now)).min();
        Ok(wait.min(next_timer.unwrap_or(wait)).max(Duration::from_millis(1)))
    }

    fn begin_checkpoint(&mut self) -> Result<(), RunError> {
        let number = self.parts.created.next();
        let ids = |flights: &[Flight], wanted: &[Flight]| {
            let cells = self.parts.cells.iter().zip(flights).filter(|(_, flight)| wanted.contains(flight));
            cells.map(|(cell, _)| cell.id).collect::<BTreeSet<_>>()
        };
        let tasks = ids(&self.flights, &[Flight::None, Flight::Asked]);
        let content = if self.saved.is_empty() && self.parts.performed.is_empty() { Content::Empty } else { Content::Some };
        self.current = Current { created_at: self.parts.clock.now(), created_at_ms: self.parts.clock.wall_ms(), ..Current::default() };
        self.step(Observed::Due { number, tasks, content })
    }

    /// Tells the machine what happened and carries out what it answers.
    fn step(&mut self, observed: Observed) -> Result<(), RunError> {
        let settings = &self.parts.job.checkpoint;
        let patience = Patience { grace: settings.grace, deadline: settings.deadline };
        match self.phase.step(observed, patience) {
            Move::Wait => Ok(()),
            Move::Create(number) => {
                self.parts.created = number;
                self.order(Order::Create(number, self.current.created_at_ms))
            }
            Move::Ask(_) => {
                self.ask();
                Ok(())
            }
            Move::Seal(number, left_out) => self.seal(number, left_out),
            Move::Confirm(number) => self.confirm(number),
            Move::Abort(number) => self.order(Order::Abort(number)),
        }
    }

    /// Asks every task without a segment on its way to freeze.
    fn ask(&mut self) {
        for (index, (cell, flight)) in self.parts.cells.iter().zip(&mut self.flights).enumerate() {
            if *flight == Flight::None {
                *flight = Flight::Asked;
                cell.order(|orders| orders.freeze = true);
                self.parts.ready.wake(index, Urgency::First);
            }
        }
    }

    fn seal(&mut self, number: CheckpointNumber, left_out: BTreeSet<TaskId>) -> Result<(), RunError> {
        let sealing = Sealing {
            number,
            incarnation: self.parts.incarnation,
            branch: self.parts.branch,
            term: self.parts.term,
            created_at_ms: self.current.created_at_ms,
            predecessor: self.parts.latest.clone(),
            left_out,
            performed: self.parts.performed.clone(),
        };
        let saved = std::mem::take(&mut self.saved);
        let groups: Vec<SavedGroup> = saved.iter().map(|saved| saved.group.clone()).collect();
        let (manifest, runs) = seal(&self.parts.history, &self.parts.job, sealing, &groups)
            .map_err(|error| RunError::Failed(format!("checkpoint {number} can't be sealed: {error}")))?;
        self.current.groups = saved;
        self.current.runs = runs;
        self.order(Order::Seal(Box::new(manifest)))
    }

    fn confirm(&mut self, number: CheckpointNumber) -> Result<(), RunError> {
        let permit = self.current.permit.take().filter(|permit| permit.number() == number);
        let (Some(permit), Some((_, object))) = (permit, &self.current.manifest) else {
            return Err(RunError::Failed(format!("checkpoint {number} was to be confirmed without permit or manifest: please report it")));
        };
        let object = object.clone();
        self.order(Order::Confirm(permit, object))
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
                self.step(Observed::Created)
            }
            Event::Sealed(manifest, object) => {
                self.current.manifest = Some((manifest, object));
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
            Event::Failed(error) => Err(error),
        }
    }

    fn answered(&mut self, task: usize, flight: Flight) -> Result<(), RunError> {
        if let Some(known) = self.flights.get_mut(task) {
            *known = flight;
        }
        let Some(id) = self.parts.cells.get(task).map(|cell| cell.id) else { return Ok(()) };
        self.step(match flight {
            Flight::Saved => Observed::Saved(id),
            Flight::None | Flight::Asked => Observed::Unchanged(id),
        })
    }

    fn take_saved(&mut self, saved: Saved) -> Result<(), RunError> {
        let tasks: Vec<usize> = saved.deltas.iter().map(|(task, _)| *task).collect();
        self.saved.push(saved);
        tasks.into_iter().try_for_each(|task| self.answered(task, Flight::Saved))
    }

    /// The manifest is the truth: tell everybody.
    fn take_confirmed(&mut self, number: CheckpointNumber) -> Result<(), RunError> {
        let Current { groups, runs, manifest, created_at, .. } = std::mem::take(&mut self.current);
        let Some((manifest, object)) = manifest else { return Err(over()) };
        // Our own manifest must follow from our own history; anything else is a broken invariant, after which nobody goes on.
        self.parts.history.apply(&manifest).map_err(|error| RunError::Failed(format!("confirmed manifest: {error}; please report it")))?;
        self.parts.history.forget_chains();
        self.parts.latest = Some(ManifestRef { number, object });
        self.confirmed += 1;
        self.last_confirmed = self.parts.clock.now();
        let mut memory = BTreeMap::new();
        let mut bytes = 0;
        for saved in groups {
            bytes += saved.bytes;
            remember(&saved, &mut memory);
            self.tell_confirmed(saved);
        }
        self.publish(runs, &memory);
        self.parts
            .performed
            .retain(|done| manifest.releases.iter().any(|open| (open.task, open.output, &open.name) == (done.0, done.1, &done.2)));
        self.release(&manifest)?;
        let took = self.parts.clock.now().saturating_sub(created_at);
        self.decided()?;
        let progress = self.progress();
        self.report(Report::Confirmed { checkpoint: number, took, bytes, progress });
        self.complete()
    }

    fn decided(&mut self) -> Result<(), RunError> {
        self.last_decision = self.parts.clock.now();
        self.step(Observed::Decided)
    }

    /// Tells the tasks of a group that their segments are confirmed.
    fn tell_confirmed(&mut self, saved: Saved) {
        for (segment, (task, deltas)) in saved.group.segments.into_iter().zip(saved.deltas) {
            if let (Some(cell), Some(flight)) = (self.parts.cells.get(task), self.flights.get_mut(task)) {
                *flight = Flight::None;
                cell.order(|orders| orders.confirmed = Some(ConfirmedSegment { segment: segment.hash, deltas }));
                self.parts.ready.wake(task, Urgency::First);
            }
        }
    }

    /// Orders the releases that are open and not yet under way.
    fn release(&mut self, manifest: &Manifest) -> Result<(), RunError> {
        let mut wanted = Vec::new();
        for open in &manifest.releases {
            let name = (open.task, open.output, open.name.clone());
            if !self.parts.performed.contains(&name) && self.releasing.insert(name) {
                wanted.push(open.clone());
            }
        }
        if wanted.is_empty() { Ok(()) } else { self.order(Order::Release(wanted)) }
    }

    /// Orders `_SUCCESS` once every task has ended and every release is performed.
    fn complete(&mut self) -> Result<(), RunError> {
        if self.success == Success::Open && self.all_ended() && self.releasing.is_empty() {
            self.success = Success::Ordered;
            return self.order(Order::Succeed);
        }
        Ok(())
    }

    fn stop(&mut self, command: Command) -> Result<(), RunError> {
        let now = self.parts.clock.now();
        let until = match command {
            Command::Stop => now + self.parts.job.checkpoint.stop_timeout,
            Command::StopNow => now,
        };
        self.stopping = Stopping::Until(until);
        for (index, cell) in self.parts.cells.iter().enumerate() {
            cell.order(|orders| orders.close = true);
            self.parts.ready.wake(index, Urgency::First);
        }
        Ok(())
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

    fn tell_progress(&mut self) {
        let now = self.parts.clock.now();
        let since = now.saturating_sub(self.progress.at);
        if since < PROGRESS_EVERY {
            return;
        }
        tracing::debug!(phase = ?self.phase, flights = ?self.flights, facts = ?self.facts(now), success = ?self.success, "supervising");
        for cell in self.parts.cells.iter() {
            tracing::trace!(task = %cell.id, figures = ?cell.figures, "task");
        }
        let records = self.records();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let fresh = records.saturating_sub(self.progress.records) as f64;
        self.progress = ProgressMeter { at: now, records, rate: fresh / since.as_secs_f64() };
        let progress = self.progress();
        // A reader that is slow must not hold up the job: the next one comes in a second.
        drop(self.parts.reports.try_send(Report::Progress(progress)));
    }

    fn report(&self, report: Report) {
        // Nobody listens any more, or reads so slowly that the job would stand still: it goes on all the same.
        drop(self.parts.reports.send_timeout(report, REPORT_WAIT));
    }

    fn progress(&self) -> Progress {
        let bytes = self.parts.cells.iter().map(|cell| cell.figures.bytes.load(std::sync::atomic::Ordering::Relaxed)).sum::<u64>();
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let share = self.parts.input_bytes.map(|total| if total == 0 { 1.0 } else { (bytes as f64 / total as f64).min(1.0) });
        Progress {
            checkpoint: self.latest(),
            checkpoint_age: self.parts.clock.now().saturating_sub(self.last_confirmed),
            records: self.records(),
            records_per_second: self.progress.rate,
            input_share: share,
        }
    }
}

/// Remembers where the bytes of a group's runs are, by part and place.
fn remember(saved: &Saved, memory: &mut BTreeMap<(String, u64), Bytes>) {
    let Some(part) = &saved.group.part else { return };
    for (at, bytes) in part.footer.runs.iter().zip(&saved.runs) {
        memory.insert((part.object.key.clone(), at.offset), bytes.clone());
    }
}

/// The other end of a channel is gone: a thread has ended that should not have.
fn over() -> RunError {
    RunError::Failed("a thread of the job has ended early; please report it".to_owned())
}
