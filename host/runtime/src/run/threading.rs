//! Starts the threads of a job. Refuses to name a thread twice, and to start one that nobody joins.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crossbeam_channel::{Receiver, Sender, bounded};
use gregor_state::Apply;

use super::build::Plan;
use super::{SAVE_THREADS, SOURCE_THREADS};
use crate::cell::Cell;
use crate::commit::{Committer, Order};
use crate::event::Event;
use crate::failure;
use crate::input::Inputs;
use crate::ready::{Ready, Urgency};
use crate::save::{Frozen, Saver};
use crate::setup::RunError;
use crate::threads::{Shutdown, Threads};

/// Orders that wait for the committing thread: a decision, releases, `_SUCCESS`; the supervisor gives no second of a kind before the first is
/// carried out.
const ORDERS_MAX: usize = 8;

/// What threads are made of.
pub(super) struct Threading {
    pub(super) threads: Threads,
    pub(super) cells: Arc<Vec<Cell>>,
    pub(super) ready: Arc<Ready>,
    pub(super) inputs: Arc<Inputs>,
    pub(super) events: Sender<Event>,
    pub(super) shutdown: Shutdown,
}

impl Threading {
    /// Those that run guests.
    pub(super) fn start_workers(&mut self, count: usize) -> Result<(), RunError> {
        for number in 0..count.max(1) {
            let (cells, ready, events) = (Arc::clone(&self.cells), Arc::clone(&self.ready), self.events.clone());
            self.threads.start(format!("gregor-worker-{number}"), move || work(&cells, &ready, &events))?;
        }
        Ok(())
    }

    /// Those that read ahead.
    pub(super) fn start_sources(&mut self) -> Result<(), RunError> {
        for number in 0..SOURCE_THREADS {
            let (inputs, ready, events) = (Arc::clone(&self.inputs), Arc::clone(&self.ready), self.events.clone());
            let shutdown = self.shutdown.clone();
            self.threads.start(format!("gregor-source-{number}"), move || inputs.serve(&ready, &events, &shutdown))?;
        }
        Ok(())
    }

    /// Those that feed confirmed deltas to RocksDB, one for each channel.
    pub(super) fn start_appliers(&mut self, lanes: Vec<Receiver<Option<(usize, Apply)>>>) -> Result<(), RunError> {
        for (number, lane) in lanes.into_iter().enumerate() {
            let (cells, ready, events) = (Arc::clone(&self.cells), Arc::clone(&self.ready), self.events.clone());
            let shutdown = self.shutdown.clone();
            self.threads.start(format!("gregor-applier-{number}"), move || {
                while let Ok(Some((task, work))) = lane.recv() {
                    // What is not applied now is applied at the next start: the archive has it.
                    if !shutdown.begun() {
                        apply((&cells, &ready, &events), task, work);
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Those that save segments.
    pub(super) fn start_savers(&mut self, plan: &Plan<'_>, frozen: &Receiver<Option<Frozen>>) -> Result<(), RunError> {
        let saver = Arc::new(Saver {
            archive: Arc::clone(&plan.setup.archive),
            io: plan.io.handle().clone(),
            keys: plan.started.keys.clone(),
            boot: plan.setup.boot,
            parts: AtomicU64::new(0),
            delta_folder: plan.delta_folder.to_owned(),
            folders: Arc::clone(&plan.started.folders),
            events: self.events.clone(),
            shutdown: self.shutdown.clone(),
        });
        for number in 0..SAVE_THREADS {
            let (saver, frozen) = (Arc::clone(&saver), frozen.clone());
            self.threads.start(format!("gregor-saver-{number}"), move || saver.serve(&frozen))?;
        }
        Ok(())
    }

    /// The one that commits.
    pub(super) fn start_committer(&mut self, plan: &Plan<'_>) -> Result<Sender<Order>, RunError> {
        let (orders, to_carry_out) = bounded(ORDERS_MAX);
        let manifests = &plan.started.manifests;
        let since_full = manifests.iter().rposition(|manifest| manifest.pages.is_some()).unwrap_or(0);
        let committer = Committer {
            archive: Arc::clone(&plan.setup.archive),
            coordinator: Arc::clone(&plan.setup.coordinator),
            io: plan.io.handle().clone(),
            keys: plan.started.keys.clone(),
            term: plan.started.register.term,
            keep: plan.setup.job.checkpoint.keep,
            folders: Arc::clone(&plan.started.folders),
            recent: manifests.get(since_full..).unwrap_or_default().to_vec(),
            sealed: None,
            events: self.events.clone(),
            shutdown: self.shutdown.clone(),
        };
        self.threads.start("gregor-commit".to_owned(), move || committer.serve(&to_carry_out))?;
        Ok(orders)
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
