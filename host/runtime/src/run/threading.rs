//! Starts the threads of a job. Refuses to name a thread twice, and to start one that nobody joins.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Select, Sender, bounded};
use gregor_guest::Component;
use gregor_state::{Apply, ImageSource, StateError};

use super::SAVE_THREADS;
use crate::cell::Cell;
use crate::collect::Collector;
use crate::commit::{Committer, Order};
use crate::event::Event;
use crate::failure;
use crate::input::SOURCE_THREADS;
use crate::keep::{KeepOrder, KeepResult, KeepWork, Keeper, Kept};
use crate::ready::{Ready, Urgency};
use crate::save::{Frozen, Saver};
use crate::setup::{Command, RunError};
use crate::task::{Applying, Shared};
use crate::threads::{Joined, Priority, Shutdown, Threads};

/// Orders that wait for the committing thread: a decision, releases, `_SUCCESS`; the supervisor gives no second of a kind before the first is
/// carried out.
const ORDERS_MAX: usize = 8;

/// The threads of a job, and what tells them to end.
pub(super) struct Threading {
    /// The guests' components, whose calls end with the job.
    pub(super) components: Vec<Component>,
    pub(super) threads: Threads,
    pub(super) cells: Arc<Vec<Cell>>,
    pub(super) ready: Arc<Ready>,
    pub(super) shared: Arc<Shared>,
    pub(super) shutdown: Shutdown,
}

/// The channels to the threads that work for tasks, both ends. There is room in each for all that may wait there, and for what tells threads to
/// end: no task ever waits for one.
pub(super) struct Channels {
    pub(super) to_save: Sender<Option<Frozen>>,
    pub(super) frozen: Receiver<Option<Frozen>>,
    /// One for each thread that applies.
    pub(super) lanes: Vec<(Sender<Option<Applying>>, Lane)>,
    pub(super) to_keep: Sender<Option<KeepWork>>,
    pub(super) keeping: Receiver<Option<KeepWork>>,
}

impl Channels {
    /// For so many tasks and threads that apply.
    pub(super) fn new(tasks: usize, appliers: usize) -> Self {
        let (to_save, frozen) = bounded(tasks + SAVE_THREADS);
        let (to_keep, keeping) = bounded(tasks + 1);
        // Of a task: what is applied, what is done for its chain, and the mark at the end.
        let lanes = (0..appliers).map(|_| bounded(3 * tasks + 1)).collect();
        Self { to_save, frozen, lanes, to_keep, keeping }
    }
}

/// What comes to a thread that applies. None ends it.
pub(super) type Lane = Receiver<Option<Applying>>;

/// What the threads work on.
pub(super) struct Posts {
    /// How many run guests.
    pub(super) workers: usize,
    /// Confirmed maps, a channel for each thread that applies.
    pub(super) lanes: Vec<Lane>,
    /// Who saves.
    pub(super) saver: Saver,
    /// Segments that wait to be saved.
    pub(super) frozen: Receiver<Option<Frozen>>,
    /// Who commits.
    pub(super) committer: Committer,
    /// Who keeps chains short.
    pub(super) keeper: Keeper,
    /// Work for it.
    pub(super) to_keep: Receiver<Option<KeepWork>>,
    /// Who collects.
    pub(super) collector: Collector,
}

/// The ways to threads that end when they are dropped.
pub(super) struct Ways {
    /// To the one that commits.
    pub(super) orders: Sender<Order>,
    /// To the one that collects.
    pub(super) collect: Sender<()>,
}

impl Threading {
    /// Starts all threads; answers the ways to the one that commits and the one that collects, which end when those are dropped.
    ///
    /// # Errors
    /// The system gives no more threads. Those that had been started have ended.
    pub(super) fn start(&mut self, posts: Posts) -> Result<Ways, RunError> {
        self.start_all(posts).inspect_err(|_| {
            self.shut_down();
            self.join();
        })
    }

    fn start_all(&mut self, posts: Posts) -> Result<Ways, RunError> {
        let Posts { workers, lanes, saver, frozen, committer, keeper, to_keep, collector } = posts;
        self.start_workers(workers)?;
        self.start_sources()?;
        self.start_appliers((keeper.folder.clone(), lanes))?;
        self.start_savers(saver, &frozen)?;
        self.threads.start(("gregor-keeper".to_owned(), Priority::Background), move || keeper.serve(&to_keep))?;
        let (collect, orders) = bounded(1);
        self.threads.start(("gregor-collector".to_owned(), Priority::Background), move || collector.serve(&orders))?;
        Ok(Ways { orders: self.start_committer(committer)?, collect })
    }

    /// Tells all threads that the job is over; a call into a guest that is under way ends at once, however long it might take.
    pub(super) fn shut_down(&self) {
        self.components.iter().for_each(Component::end_calls);
        self.shutdown.begin();
        self.ready.close();
    }

    /// Brings the local stores up to the last checkpoint and marks them there, so that the next start has nothing to apply. Gives up after `time`,
    /// or at a second signal: it is nothing that the job needs.
    pub(super) fn mark_stores(&self, time: Duration, commands: &Receiver<Command>) {
        let (done, all) = bounded(0);
        for cell in self.cells.iter() {
            if let Err(error) = cell.task().mark(&done) {
                tracing::warn!(task = %cell.id, %error, "the local store could not be marked; the next start takes longer");
            }
        }
        drop(done);
        if !all_done(&all, commands, time) {
            tracing::info!("the time for stopping is over before all local stores are marked; the next start takes longer");
        }
    }

    /// Waits until all threads have ended. To be called after [`Self::shut_down`], when nobody is left who receives events or gives orders.
    pub(super) fn join(&mut self) -> Joined {
        self.shared.inputs.close();
        self.shared.close(SAVE_THREADS);
        self.threads.join()
    }

    /// Those that run guests.
    fn start_workers(&mut self, count: usize) -> Result<(), RunError> {
        for number in 0..count.max(1) {
            let (cells, ready, events) = self.common();
            self.threads.start((format!("gregor-worker-{number}"), Priority::Normal), move || work(&cells, &ready, &events))?;
        }
        Ok(())
    }

    /// Those that read ahead.
    fn start_sources(&mut self) -> Result<(), RunError> {
        for number in 0..SOURCE_THREADS {
            let (_, ready, events) = self.common();
            let (shared, shutdown) = (Arc::clone(&self.shared), self.shutdown.clone());
            let serve = move || shared.inputs.serve(&ready, &events, &shutdown);
            self.threads.start((format!("gregor-source-{number}"), Priority::Background), serve)?;
        }
        Ok(())
    }

    /// Those that feed confirmed deltas to RocksDB, one for each channel.
    fn start_appliers(&mut self, (folder, lanes): (PathBuf, Vec<Lane>)) -> Result<(), RunError> {
        for (number, lane) in lanes.into_iter().enumerate() {
            let (cells, ready, events) = self.common();
            let (shared, folder) = (Arc::clone(&self.shared), folder.clone());
            let shutdown = self.shutdown.clone();
            self.threads.start((format!("gregor-applier-{number}"), Priority::Background), move || {
                while let Ok(Some(work)) = lane.recv() {
                    // What is not applied now is applied at the next start: the archive has it.
                    match work {
                        _ if shutdown.begun() => {}
                        Applying::Apply(task, work) => apply((&cells, &ready, &events), task, work),
                        Applying::Keep(kept, source, order) => keep((&shared, &folder), kept, (source, order)),
                        Applying::Mark(task, source, _done) => mark(&task, source),
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Those that save segments.
    fn start_savers(&mut self, saver: Saver, frozen: &Receiver<Option<Frozen>>) -> Result<(), RunError> {
        let saver = Arc::new(saver);
        for number in 0..SAVE_THREADS {
            let (saver, frozen) = (Arc::clone(&saver), frozen.clone());
            self.threads.start((format!("gregor-saver-{number}"), Priority::Background), move || saver.serve(&frozen))?;
        }
        Ok(())
    }

    /// The one that commits.
    fn start_committer(&mut self, committer: Committer) -> Result<Sender<Order>, RunError> {
        let (orders, to_carry_out) = bounded(ORDERS_MAX);
        self.threads.start(("gregor-commit".to_owned(), Priority::Normal), move || committer.serve(&to_carry_out))?;
        Ok(orders)
    }

    fn common(&self) -> (Arc<Vec<Cell>>, Arc<Ready>, Sender<Event>) {
        (Arc::clone(&self.cells), Arc::clone(&self.ready), self.shared.events.clone())
    }
}

/// Waits until all have dropped their senders of `all`, on which nothing is ever sent; false if `time` was over before, or a command came.
fn all_done(all: &Receiver<()>, commands: &Receiver<Command>, time: Duration) -> bool {
    let mut select = Select::new();
    let done = select.recv(all);
    select.recv(commands);
    match select.select_timeout(time) {
        Err(_) => false,
        Ok(ready) if ready.index() == done => ready.recv(all).is_err(),
        // Where nobody is left who could ask for anything, only the time counts.
        Ok(ready) => ready.recv(commands).is_err() && all.recv_timeout(time) == Err(RecvTimeoutError::Disconnected),
    }
}

/// The body of a worker: one task's turn after the other.
fn work(cells: &[Cell], ready: &Ready, events: &Sender<Event>) {
    while let Some(index) = ready.next() {
        let Some(cell) = cells.get(index) else { continue };
        let outcome = cell.task().turn(cell);
        match outcome {
            Ok(turn) => ready.done(index, turn),
            // A task that has failed is never made ready again: another turn of it would fail for a reason that hides this one.
            Err(error) => {
                if events.send(Event::Failed(error)).is_err() {
                    break;
                }
            }
        }
    }
}

/// Applies a confirmed map and tells its task.
fn apply((cells, ready, events): (&[Cell], &Ready, &Sender<Event>), task: usize, work: Apply) {
    let Some(cell) = cells.get(task) else { return };
    match work.run() {
        Ok(applied) => {
            cell.order(|orders| orders.applied = Some(applied));
            ready.wake(task, Urgency::First);
        }
        // A send fails only when the job is over.
        Err(error) => drop(events.send(Event::Failed(failure::state(&cell.id.to_string(), error)))),
    }
}

/// Marks a store at the end.
fn mark(task: &str, source: ImageSource) {
    // It is a cache: what was applied stays, and is applied again at the next start.
    if let Err(error) = source.mark() {
        tracing::warn!(task, %error, "the local store could not be marked; the next start takes longer");
    }
}

/// Takes an image of a store, or marks it, and hands it on.
fn keep((shared, folder): (&Shared, &Path), kept: Kept, (source, order): (ImageSource, KeepOrder)) {
    let task = kept.task;
    let taken = match order {
        KeepOrder::Base(known) => source.take(folder).map(|image| image.map(|image| KeepWork::Base(kept.clone(), image, known))),
        KeepOrder::Merge(links) => source.mark().map(|()| Some(KeepWork::Merge(kept.clone(), links))),
    };
    // Sends fail only when the job is over; there is room for each task.
    match taken {
        Ok(Some(work)) => drop(shared.to_keep.send(Some(work))),
        Ok(None) => drop(shared.events.send(Event::Kept(vec![task], KeepResult::Nothing))),
        Err(error @ StateError::Unfinished { .. }) => {
            drop(shared.events.send(Event::Kept(vec![task], KeepResult::Failed(failure::state(&kept.name, error)))));
        }
        Err(error) => drop(shared.events.send(Event::Failed(failure::state(&kept.name, error)))),
    }
}

#[cfg(test)]
mod tests;
