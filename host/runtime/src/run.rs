//! Runs one job from its start to its end: builds tasks, queues and threads, lets the supervisor run, and joins everything. Refuses to return
//! while any thread of the job is alive.

mod build;
mod posts;
mod threading;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, bounded};
use gregor_model::limits::MIB;
use gregor_model::seal::PublishedRun;
use tokio::runtime::Runtime;

use crate::clock::Clock;
use crate::in_flight::InFlight;
use crate::input::Inputs;
use crate::metrics::Sums;
use crate::ready::Ready;
use crate::setup::{Command, Outcome, Report, RunError, Setup, Summary};
use crate::start::{Standing, Start, Started, start};
use crate::supervisor::{self, Ended, Supervisor};
use crate::threads::{Joined, Shutdown, Threads, io_threads};
use build::Plan;
pub(crate) use build::beginning;
use threading::{Channels, Threading, Ways};

/// Events that wait for the supervisor. Tasks send few a turn; a full channel makes them wait for it, never the other way round.
const EVENTS_MAX: usize = 1024;
/// Threads that save: while one waits for the disk, the other sorts.
const SAVE_THREADS: usize = 2;
/// Cores for each thread that applies.
const CORES_PER_APPLIER: usize = 4;
/// Clean values kept in memory, in all tasks together.
const CLEAN_BYTES_MAX: u64 = 512 * MIB;
/// RocksDB's block cache of one process.
const BLOCK_CACHE_BYTES: usize = 128 * 1024 * 1024;
/// RocksDB's write buffers of one process.
const WRITE_BUFFER_BYTES: usize = 128 * 1024 * 1024;
/// RocksDBs open at a time: 7 descriptors each, measured.
const OPEN_STORES_MAX: usize = 64;

/// Runs a job until it is finished, asked to stop, or can't go on. Blocks.
///
/// # Errors
/// See [`RunError`]. The job stands at its last confirmed checkpoint; running it again goes on from there.
pub fn run(mut setup: Setup, commands: Receiver<Command>, reports: Sender<Report>) -> Result<Outcome, RunError> {
    // Another job may run the same components, and goes on when this one ends.
    setup.components.iter_mut().for_each(|component| *component = component.apart());
    let clock = Clock::start();
    let io = io_threads(2)?;
    let tell = |report| drop(reports.send(report));
    // Nobody takes commands before the supervisor does: one that waits means that the job is to stop.
    match start(&setup, io.handle(), (&tell, &|| !commands.is_empty()))? {
        Start::Finished(history) => Ok(Outcome::AlreadyFinished(so_far(Standing::of(&setup.job, &history)))),
        Start::Stopped(Some(standing)) => Ok(Outcome::Stopped(so_far(standing))),
        Start::Stopped(None) => Ok(Outcome::StoppedUnread),
        Start::Go(started) => {
            let Standing { checkpoint, records } = Standing::of(&setup.job, &started.history);
            tell(Report::Resumed { checkpoint, records });
            House::build(setup, *started, (io, clock), (commands, reports))?.live()
        }
    }
}

/// The figures of a run that did nothing.
fn so_far(Standing { checkpoint, records }: Standing) -> Summary {
    Summary { checkpoint, records, ..Summary::default() }
}

/// Everything that a running job consists of.
struct House {
    supervisor: Supervisor,
    runs: Vec<PublishedRun>,
    threading: Threading,
    io: Runtime,
    clock: Clock,
    delta_folder: PathBuf,
}

impl House {
    fn build(
        setup: Setup,
        started: Started,
        (io, clock): (Runtime, Clock),
        (commands, reports): (Receiver<Command>, Sender<Report>),
    ) -> Result<Self, RunError> {
        let delta_folder = fresh_folder(&setup.state_folder.join("deltas"))?;
        let (events, from_all) = bounded(EVENTS_MAX);
        let total: usize = started.tasks.iter().map(|&count| usize::try_from(count).unwrap_or(usize::MAX)).sum();
        let channels = Channels::new(total, setup.workers.div_ceil(CORES_PER_APPLIER).max(1));
        let in_flight = InFlight::default();
        let shutdown = Shutdown::default();
        let plan = Plan {
            setup: &setup,
            started: &started,
            io: &io,
            delta_folder: &delta_folder,
            clock,
            reports: &reports,
            in_flight: in_flight.clone(),
            shutdown: shutdown.clone(),
        };
        let wiring = plan.inputs()?;
        let inputs = Arc::new(Inputs::new(wiring.queues.clone()));
        let shared = Arc::new(plan.shared((&events, &inputs), &channels));
        let backend = plan.backend();
        let (cells, readers) = plan.tasks((&shared, &backend), wiring)?;
        let cells = Arc::new(cells);
        let runs = plan.unread_runs()?;
        let ready = Arc::new(Ready::new(total));
        let posts = plan.posts((&events, &backend), channels);
        let mut threading = Threading {
            components: setup.components,
            threads: Threads::new(events),
            cells: Arc::clone(&cells),
            ready: Arc::clone(&ready),
            shared,
            shutdown,
        };
        let Ways { orders, collect } = threading.start(posts)?;
        let input_bytes = started.plans.values().flat_map(|planned| &planned.plan.files).map(|file| file.length).sum();
        // Of a stream from outside nobody knows how long it will be.
        let input_bytes = setup.job.produced.is_empty().then_some(input_bytes);
        let parts = supervisor::Parts {
            tasks: started.tasks,
            incarnation: started.register.incarnation,
            branch: started.register.branch,
            term: started.register.term,
            cells,
            ready,
            inputs,
            readers,
            history: started.history,
            latest: started.register.latest,
            created: started.register.created,
            performed: started.performed,
            until: setup.until,
            since_full: started.since_full,
            in_flight,
            input_bytes,
            events: from_all,
            commands,
            orders,
            collect,
            reports,
            clock,
            job: setup.job,
        };
        Ok(Self { supervisor: Supervisor::new(parts), runs, threading, io, clock, delta_folder })
    }

    /// Runs the supervisor, then takes everything down in order.
    fn live(mut self) -> Result<Outcome, RunError> {
        let ended = self.supervisor.run(std::mem::take(&mut self.runs));
        let Threading { cells, shared, .. } = &self.threading;
        let summary = Summary {
            checkpoint: self.supervisor.latest(),
            records: cells.iter().map(|cell| cell.figures.records.load(Ordering::Relaxed)).sum(),
            skipped: cells.iter().map(|cell| cell.figures.skipped.load(Ordering::Relaxed)).sum(),
            confirmed: self.supervisor.confirmed(),
            pauses: shared.pauses.summary(),
            pause_counts: shared.pauses.counts(),
            metrics: Vec::new(),
            elapsed: self.clock.now(),
        };
        // Of a job that is finished no store is needed again.
        if !matches!(ended, Ok(Ended::Finished))
            && let Some(time) = self.supervisor.time_to_stop()
        {
            self.threading.mark_stores(time, self.supervisor.commands());
        }
        self.threading.shut_down();
        // The supervisor holds the receiver of events and the sender of orders: without it nobody waits for either. The others are told to end.
        let Self { supervisor, mut threading, io, delta_folder, .. } = self;
        drop(supervisor);
        let joined = threading.join();
        let mut metrics = Sums::default();
        for cell in threading.cells.iter() {
            if let (stage, Some(series)) = cell.task().metrics() {
                metrics.add(stage, series);
            }
        }
        let summary = Summary { metrics: metrics.finish(), ..summary };
        drop(io);
        // What is left there is of no use to anybody; the next start clears it as well.
        drop(std::fs::remove_dir_all(delta_folder));
        if let Joined::Panicked(count) = joined {
            return Err(RunError::Failed(format!("{count} threads have panicked: an invariant of gregor is broken; please report it")));
        }
        Ok(match ended? {
            Ended::Finished => Outcome::Finished(summary),
            Ended::Stopped => Outcome::Stopped(summary),
            Ended::Idle => Outcome::Idle(summary),
        })
    }
}

/// An empty folder, whatever was there.
fn fresh_folder(path: &Path) -> Result<PathBuf, RunError> {
    let failed = |error: std::io::Error| RunError::Failed(format!("can't make the folder {}: {error}", path.display()));
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    std::fs::create_dir_all(path).map_err(failed)?;
    Ok(path.to_owned())
}
