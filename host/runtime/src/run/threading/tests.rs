//! Starts that fail half-way: whichever thread the system refuses, those before it end and are joined.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use gregor_archive::{LocalStore, Store};
use gregor_coordination::local::LocalCoordinator;
use gregor_model::job::{CheckpointSettings, Job};
use gregor_model::keys::JobKeys;
use gregor_model::limits::Limits;
use gregor_model::names::{Attempt, Boot, Branch, Incarnation, JobName, Term};
use gregor_model::spec::Marker;
use gregor_model::steps::{Steps, Unobserved};
use gregor_state::{Backend, BackendOptions};
use tokio::runtime::Runtime;

use super::*;
use crate::clock::Clock;
use crate::folders::Folders;
use crate::in_flight::InFlight;
use crate::input::Inputs;
use crate::pauses::Histogram;
use crate::setup::LostOutputs;

const WORKERS: usize = 3;
const LANES: usize = 2;
/// Workers, sources, appliers, savers, the one that keeps chains short, the one that collects, the one that commits.
const ALL: usize = WORKERS + SOURCE_THREADS + LANES + SAVE_THREADS + 3;

/// A job without tasks, and the threads that it would have.
fn job(folder: &Path, io: &Runtime, room: usize) -> (Threading, Posts, Receiver<Event>) {
    let steps: Arc<dyn Steps> = Arc::new(Unobserved);
    let name = JobName::new("threads").unwrap();
    let (incarnation, boot) = (Incarnation(7), Boot(8));
    let (events, heard) = bounded(8);
    let (to_save, frozen) = bounded(SAVE_THREADS);
    let lanes: Vec<_> = (0..LANES).map(|_| bounded(1)).collect();
    let shutdown = Shutdown::default();
    let job = Job { name: name.clone(), stages: Vec::new(), checkpoint: CheckpointSettings::default(), limits: Limits::default() };
    let marker = Marker { job: name.clone(), incarnation };
    let folders = Arc::new(Folders::open(&job, &marker, &steps, LostOutputs::Refuse).unwrap());
    let archive: Arc<dyn Store> = Arc::new(LocalStore::open(&folder.join("archive"), Arc::clone(&steps)).unwrap());
    let coordinator = Arc::new(LocalCoordinator::open(&folder.join("coordination"), &name, steps).unwrap());
    let keys = JobKeys::new(&name, incarnation);
    let saver = Saver {
        archive: Arc::clone(&archive),
        io: io.handle().clone(),
        keys: keys.clone(),
        boot,
        parts: Arc::new(AtomicU64::new(0)),
        in_flight: InFlight::default(),
        delta_folder: folder.to_owned(),
        folders: Arc::clone(&folders),
        events: events.clone(),
        shutdown: shutdown.clone(),
    };
    let committer = Committer {
        archive: Arc::clone(&archive),
        coordinator: coordinator.clone(),
        io: io.handle().clone(),
        keys: keys.clone(),
        term: Term(1),
        whose: (incarnation, Attempt(1)),
        keep: 3,
        folders,
        full: None,
        sealed: None,
        in_flight: InFlight::default(),
        events: events.clone(),
        shutdown: shutdown.clone(),
    };
    let (to_keep, keeping) = bounded(1);
    let options = BackendOptions { block_cache_bytes: 0, write_buffer_bytes: 1 << 20, clean_bytes_per_task: 0, open_stores_max: 1 };
    let keeper = Keeper {
        archive: Arc::clone(&archive),
        io: io.handle().clone(),
        keys: keys.clone(),
        boot,
        parts: Arc::clone(&saver.parts),
        files: AtomicU64::new(0),
        in_flight: InFlight::default(),
        backend: Backend::new(&options, Arc::new(Unobserved)),
        folder: folder.to_owned(),
        rate: 1,
        clock: Clock::start(),
        events: events.clone(),
        shutdown: shutdown.clone(),
    };
    let collector = Collector {
        archive,
        coordinator,
        io: io.handle().clone(),
        keys,
        claim: (boot, Term(1)),
        in_flight: InFlight::default(),
        grace: Duration::ZERO,
        rate: 1,
        clock: Clock::start(),
        shutdown: shutdown.clone(),
    };
    let shared = Arc::new(Shared {
        incarnation,
        branch: Branch(0),
        attempt: Attempt(1),
        limits: Limits::default(),
        inputs: Arc::new(Inputs::new(Vec::new())),
        events: events.clone(),
        to_save,
        to_apply: lanes.iter().map(|(sender, _)| sender.clone()).collect(),
        to_keep,
        pauses: Histogram::default(),
        clock: Clock::start(),
    });
    let threading = Threading {
        components: Vec::new(),
        threads: Threads::new(events).with_room(room),
        cells: Arc::new(Vec::new()),
        ready: Arc::new(Ready::new(0)),
        shared,
        shutdown,
    };
    let lanes = lanes.into_iter().map(|(_, receiver)| receiver).collect();
    (threading, Posts { workers: WORKERS, lanes, saver, frozen, committer, keeper, to_keep: keeping, collector }, heard)
}

#[test]
fn a_start_that_fails_at_any_thread_leaves_none_behind() {
    let folder = tempfile::tempdir().unwrap();
    let io = Runtime::new().unwrap();
    for room in 0..ALL {
        let (mut threading, posts, heard) = job(folder.path(), &io, room);
        let shutdown = threading.shutdown.clone();
        // Each thread holds it; once they have ended, two are left: the one here, and that of `Threading`.
        let cells = Arc::clone(&threading.cells);
        let Err(error) = threading.start(posts) else { panic!("{room} threads were enough") };
        assert!(error.to_string().contains("can't start thread gregor-"), "{error}");
        assert!(shutdown.begun());
        assert_eq!(threading.threads.count(), 0, "with room for {room}");
        assert_eq!(Arc::strong_count(&cells), 2, "with room for {room}");
        assert!(heard.try_recv().is_err(), "a thread has told something");
    }
}

#[test]
fn with_room_for_all_of_them_they_start_and_end() {
    let folder = tempfile::tempdir().unwrap();
    let io = Runtime::new().unwrap();
    let (mut threading, posts, _heard) = job(folder.path(), &io, ALL);
    let orders = threading.start(posts).unwrap();
    assert_eq!(threading.threads.count(), ALL);
    threading.shut_down();
    drop(orders);
    assert_eq!(threading.join(), Joined::Well);
}
