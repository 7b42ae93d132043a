//! Starts that fail half-way: whichever thread the system refuses, those before it end and are joined.

use tokio::runtime::Runtime;

use super::*;
use crate::clock::Clock;
use crate::in_flight::InFlight;
use crate::input::Inputs;
use crate::run::build::Plan;
use crate::setup::tests::without_stages;
use crate::start::{Start, start};

const WORKERS: usize = 3;
const LANES: usize = 2;
/// Workers, sources, appliers, savers, the one that keeps chains short, the one that collects, the one that commits.
const ALL: usize = WORKERS + SOURCE_THREADS + LANES + SAVE_THREADS + 3;

/// What such a job runs on, with room for so many threads.
fn job(folder: &Path, io: &Runtime, room: usize) -> (Threading, Posts, Receiver<Event>) {
    let setup = without_stages(folder, WORKERS);
    let started = start(&setup, io.handle(), (&|_| (), &|| false)).unwrap();
    let Start::Go(started) = started else { panic!("the job does not start") };
    let (events, heard) = bounded(8);
    let (reports, _told) = bounded(1);
    let (shutdown, delta_folder) = (Shutdown::default(), folder.join("deltas"));
    let plan = Plan {
        setup: &setup,
        started: &started,
        io,
        delta_folder: &delta_folder,
        clock: Clock::start(),
        reports: &reports,
        in_flight: InFlight::default(),
        shutdown: shutdown.clone(),
    };
    let channels = Channels::new(0, LANES);
    let shared = Arc::new(plan.shared((&events, &Arc::new(Inputs::new(Vec::new()))), &channels));
    let posts = plan.posts((&events, &plan.backend()), channels);
    let threading = Threading {
        components: Vec::new(),
        threads: Threads::new(events).with_room(room),
        cells: Arc::new(Vec::new()),
        ready: Arc::new(Ready::new(0)),
        shared,
        shutdown,
    };
    (threading, posts, heard)
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

#[test]
fn a_second_signal_ends_the_wait_for_the_marks_of_local_stores() {
    let (long, none) = (Duration::from_secs(3600), Duration::ZERO);
    let (marking, all) = bounded::<()>(0);
    let (signals, commands) = bounded(1);
    signals.send(Command::StopNow).unwrap();
    assert!(!all_done(&all, &commands, long), "a store is being marked");
    assert!(!all_done(&all, &commands, none));
    // Nobody is left who could send a signal.
    drop(signals);
    assert!(!all_done(&all, &commands, none), "taken for done when nobody listened any more");
    drop(marking);
    assert!(all_done(&all, &commands, long));
}
