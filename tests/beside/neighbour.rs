//! The good job: it counts words, over and over, beside whatever the process does meanwhile, and each count is compared with a plain one. Refuses to
//! be disturbed.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use gregor_runtime::setup::Outcome;

use crate::deeds::Bench;
use crate::harness::{clock, corpus, output, seed};
use crate::jobs;

/// Bytes of text that are counted each time: some checkpoints' worth.
const TEXT_BYTES: usize = 200_000;

/// The good job, as seen by those who run beside it.
pub(crate) struct Neighbour {
    /// How often it was done from its beginning to its end.
    done: AtomicUsize,
    /// Whether it failed: nobody shall wait for it then.
    failed: AtomicBool,
}

impl Neighbour {
    /// Waits until it was done once from its beginning to its end, all of it from now on.
    pub(crate) fn wait_for_a_whole_run(&self) {
        let before = self.done.load(Ordering::SeqCst);
        let done = || self.done.load(Ordering::SeqCst) >= before + 2 || self.failed.load(Ordering::SeqCst);
        clock::wait("the good job to be done once more", || done().then_some(()));
    }
}

/// Says that it failed, unless it is told that it did not.
struct Watch<'n>(&'n Neighbour);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.failed.store(thread::panicking(), Ordering::SeqCst);
    }
}

/// Says that all is over when it goes, also by a panic: nobody waits for ever then.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Acts beside the good job, which must have been exact each time.
pub(crate) fn beside<T>(bench: &Bench, act: impl FnOnce(&Neighbour) -> T) -> T {
    let neighbour = Neighbour { done: AtomicUsize::new(0), failed: AtomicBool::new(false) };
    let over = AtomicBool::new(false);
    let text = corpus::plain(&mut seed::random("the good job"), TEXT_BYTES, 3_000);
    thread::scope(|scope| {
        let good = || {
            let _watch = Watch(&neighbour);
            while !over.load(Ordering::SeqCst) {
                let folder = tempfile::tempdir().unwrap();
                exact(bench, folder.path(), &text);
                neighbour.done.fetch_add(1, Ordering::SeqCst);
            }
        };
        let good = thread::Builder::new().name("good".to_owned()).spawn_scoped(scope, good).unwrap();
        let ending = Over(&over);
        let answer = act(&neighbour);
        drop(ending);
        good.join().expect("the good job is not exact");
        println!("the good job was done {} times", neighbour.done.load(Ordering::SeqCst));
        assert!(neighbour.done.load(Ordering::SeqCst) > 1, "nothing ran beside the good job");
        answer
    })
}

fn exact(bench: &Bench, folder: &Path, text: &[u8]) {
    fs::create_dir(folder.join("in")).unwrap();
    fs::write(folder.join("in/text.txt"), text).unwrap();
    let ended = jobs::word_count(folder, bench.words());
    assert!(matches!(ended.outcome, Ok(Outcome::Finished(_))), "{:?}", ended.outcome);
    output::complete(&folder.join("out"));
    corpus::same(&output::counts(&folder.join("out")), &corpus::count([text]));
}
