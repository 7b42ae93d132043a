//! Feeds inputs to a reader: first those that were found before (`tests/fuzz/cases/<format>/`), then seeds, then mutations of them. Each test that
//! reads a stored format takes this file in by its path. Refuses to run without an end: rounds are counted, and a reader that takes a minute for
//! one input ends the process. Nothing here is random between two runs: the seed is fixed, and printed, unless `GREGOR_FUZZ_SEED` sets it;
//! `GREGOR_FUZZ_TIMES` multiplies the rounds (`make fuzz` sets both).
//!
//! The input that is being read lies in `target/fuzz/<format>.now`, so that one which ends the process is found there; one that fails a check is
//! kept beside it, and its path is in the failure. To keep it for good, move it among the cases.

#[allow(dead_code, reason = "each test takes what its format needs")]
#[path = "mutate.rs"]
pub(crate) mod mutate;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use mutate::Random;

/// What one input may take, at most.
const INPUT_TIME_MAX: Duration = Duration::from_secs(60);

/// What a reader made of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is one of the format.
    Read,
    /// It was refused with an error.
    Refused,
}

/// One format under test.
pub(crate) struct Fuzz<'a> {
    /// Its name: of its cases, and in all that is printed.
    pub(crate) format: &'a str,
    /// Inputs that must be read.
    pub(crate) seeds: &'a [Vec<u8>],
    /// How many mutations are tried.
    pub(crate) rounds: u32,
}

impl Fuzz<'_> {
    /// Tries cases, seeds and mutations; `check` panics where an input is not treated as it must be. Answers how many mutations were read, and how
    /// many refused.
    pub(crate) fn run(&self, mutate: impl Fn(&mut Random, &[Vec<u8>]) -> Vec<u8>, check: impl Fn(&[u8]) -> Outcome) -> (u32, u32) {
        let (alive, ticks) = sync_channel(1);
        let (format, now) = (self.format.to_owned(), self.now());
        let watch = move || loop {
            match ticks.recv_timeout(INPUT_TIME_MAX) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("{format}: no end after {INPUT_TIME_MAX:?} with the input {}", now.display());
                    std::process::abort();
                }
            }
        };
        let watch = std::thread::Builder::new().name("watch".to_owned()).spawn(watch).expect("a thread");
        // The other end of the channel goes with the last input, whatever became of it.
        let tried = catch_unwind(AssertUnwindSafe(|| self.all(alive, &mutate, &check)));
        watch.join().expect("a watch that ends");
        tried.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn all(
        &self,
        alive: SyncSender<()>,
        mutate: &impl Fn(&mut Random, &[Vec<u8>]) -> Vec<u8>,
        check: &impl Fn(&[u8]) -> Outcome,
    ) -> (u32, u32) {
        fs::create_dir_all(folder()).unwrap();
        let now = File::create(self.now()).unwrap();
        let one = |what: &str, input: &[u8]| {
            now.write_all_at(input, 0).and_then(|()| now.set_len(input.len() as u64)).unwrap();
            let _ = alive.try_send(());
            catch_unwind(AssertUnwindSafe(|| check(input))).unwrap_or_else(|panic| {
                let kept = folder().join(format!("{}-{:08x}", self.format, mutate::hash(input)));
                fs::write(&kept, input).unwrap();
                eprintln!("{}: {what} fails, it is kept as {}", self.format, kept.display());
                resume_unwind(panic)
            })
        };
        for path in cases(self.format) {
            one(&format!("case {}", path.display()), &fs::read(&path).unwrap());
        }
        for (index, seed) in self.seeds.iter().enumerate() {
            assert_eq!(one(&format!("seed {index}"), seed), Outcome::Read, "{}: seed {index} is none of the format", self.format);
        }
        let (seed, times) = (setting("GREGOR_FUZZ_SEED", 1), setting("GREGOR_FUZZ_TIMES", 1));
        let rounds = u64::from(self.rounds).saturating_mul(times);
        let (mut read, mut refused) = (0, 0);
        let mut random = Random::new(seed);
        for round in 0..rounds {
            let input = mutate(&mut random, self.seeds);
            match one(&format!("round {round} of GREGOR_FUZZ_SEED={seed}"), &input) {
                Outcome::Read => read += 1,
                Outcome::Refused => refused += 1,
            }
        }
        println!("{}: {rounds} inputs, {read} read, {refused} refused, GREGOR_FUZZ_SEED={seed}", self.format);
        let _ = fs::remove_file(self.now());
        (read, refused)
    }

    /// The input that is being read.
    fn now(&self) -> PathBuf {
        folder().join(format!("{}.now", self.format))
    }
}

/// The checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Files below a folder of the checkout, by name, with their bytes: seeds.
#[allow(dead_code, reason = "not every format has files to begin with")]
pub(crate) fn files(folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let found = listed(&root().join(folder));
    let found: Vec<_> = found.iter().filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted)).collect();
    assert!(!found.is_empty(), "nothing in {folder} is a seed");
    found.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Bytes of address space that the process has had at most: a reader that makes room for what an input only claims shows here, even if it never
/// touches that room.
#[allow(dead_code, reason = "in a process with others that reserve address space this says nothing")]
pub(crate) fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn folder() -> PathBuf {
    root().join("target/fuzz")
}

fn cases(format: &str) -> Vec<PathBuf> {
    let folder = root().join("tests/fuzz/cases").join(format);
    if folder.is_dir() { listed(&folder) } else { Vec::new() }
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

fn setting(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the one place where these tests read the environment")]
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}
