//! Every durable step of a small job: made to fail before or after it happened, and the process killed before and after it. What the next run leaves must be what an
//! undisturbed one leaves. Steps are numbered by one seam in the host, so none can be forgotten here. Refuses to sample, but for the job with bases and
//! collection: of its hundreds of steps there are some of each kind.

use rand::Rng;

use crate::harness::lab::{Lab, remove};
use crate::harness::ledger::{Ledger, RECORDS, SHORT_CHAINS};
use crate::harness::{clock, corpus, jobs, output, seed};

/// Numbers beyond the last step of any run seen that are tried before a test believes that there are no more: runs differ by timing.
const BEYOND: u64 = 3;
/// Steps of one run, at most: a job that takes more is too large for this test.
const STEPS_MAX: u64 = 2_000;

/// Both outputs, sorted.
type Outputs = [Vec<Vec<u8>>; 2];

/// A job of three stages and some checkpoints, and what an undisturbed run of it leaves.
struct Small {
    lab: Lab,
    expected: Outputs,
    /// Fewest and most durable steps of an undisturbed run.
    steps: (u64, u64),
}

impl Small {
    fn new(test: &str) -> Self {
        let mut random = seed::random(test);
        let lab = Lab::with_job(&jobs::word_count_and_words("1 ms").replace("partitions = 4", "partitions = 2"));
        let vocabulary = random.random_range(50..500);
        let files: Vec<Vec<u8>> = (0..3).map(|_| corpus::plain(&mut random, 150_000, vocabulary)).collect();
        for (at, text) in files.iter().enumerate() {
            lab.write(&format!("in/{at}.txt"), text);
        }
        let mut steps = Vec::new();
        for _ in 0..3 {
            lab.forget();
            let ended = lab.run(&["--count-steps"]).code(0);
            steps.push(ended.figure("steps=").expect("--count-steps says steps=N"));
        }
        corpus::same(&output::counts(&lab.path("out/counts")), &corpus::count(files.iter().map(Vec::as_slice)));
        let expected = outputs(&lab);
        let steps = (*steps.iter().min().unwrap(), *steps.iter().max().unwrap());
        assert!(steps.0 > 20 && steps.1 < STEPS_MAX, "{steps:?} steps make no good test");
        Self { lab, expected, steps }
    }

    /// Tries a fault at each step: `prepare`, run with the fault, run without, compare. Says how many faults came about.
    fn at_every_step(&self, fault: &str, prepare: impl Fn(&Lab)) -> u64 {
        let (mut hits, mut misses) = (0, 0);
        let begun = clock::now();
        for n in 1..=STEPS_MAX {
            prepare(&self.lab);
            if self.try_step(fault, n) {
                hits += 1;
                misses = 0;
            } else {
                misses += 1;
            }
            if misses >= BEYOND {
                println!("{fault}: {hits} of {n} steps were hit, in {:?}; an undisturbed run takes {:?}", begun.elapsed(), self.steps);
                return hits;
            }
        }
        panic!("{fault}: still hit at step {STEPS_MAX}");
    }

    /// Whether the n-th step was reached, and the fault came about.
    fn try_step(&self, fault: &str, n: u64) -> bool {
        let ended = self.lab.run(&["--count-steps", "--fault", &format!("{fault}:{n}")]);
        let told = format!("{fault}:{n} ended with {:?}, signal {:?}:\n{}", ended.code, ended.signal, ended.stderr);
        let hit = match (ended.code, ended.signal) {
            (None, Some(9)) if !fault.starts_with("fail") => true,
            (Some(1), None) if fault.starts_with("fail") => {
                assert!(ended.stderr.contains("was made to fail"), "another failure: {told}");
                true
            }
            // A step that was tried again, or whose failure hurts nobody; or the run was over before the n-th.
            (Some(0), None) => {
                let taken = ended.figure("steps=").unwrap_or_else(|| panic!("no steps=N: {told}"));
                assert!(fault.starts_with("fail") || taken < n, "the process should be dead: {told}");
                taken >= n
            }
            _ => panic!("{told}"),
        };
        if ended.code != Some(0) {
            let again = self.lab.run(&[]);
            assert_eq!(again.code, Some(0), "the run after {told}\n--- and then:\n{}", again.stderr);
        }
        let found = outputs(&self.lab);
        let lengths = |outputs: &Outputs| outputs.each_ref().map(Vec::len);
        assert!(found == self.expected, "(counts, words) {:?}, expected {:?}, after {told}", lengths(&found), lengths(&self.expected));
        hit
    }
}

fn outputs(lab: &Lab) -> Outputs {
    ["out/counts", "out/words"].map(|folder| {
        output::complete(&lab.path(folder));
        output::records(&lab.path(folder))
    })
}

/// Tries a fault at every step of a job that begins.
fn check(test: &str, fault: &str) {
    let small = Small::new(test);
    let hits = small.at_every_step(fault, Lab::forget);
    assert!(hits * 2 > small.steps.0, "only {hits} faults of some {:?} came about", small.steps);
}

#[test]
fn every_durable_step_may_fail() {
    check("every_durable_step_may_fail", "fail");
}

#[test]
fn every_durable_step_may_happen_and_be_taken_for_failed() {
    check("every_durable_step_may_happen_and_be_taken_for_failed", "fail-after");
}

#[test]
fn the_process_may_die_before_every_durable_step() {
    check("the_process_may_die_before_every_durable_step", "kill-before");
}

#[test]
fn the_process_may_die_after_every_durable_step() {
    check("the_process_may_die_after_every_durable_step", "kill-after");
}

/// What becomes of the local store before a recovery.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    Kept,
    Lost,
}

/// Tries these faults at every step of a job that goes on near its end: the first with its local store, the second without.
fn check_recovery(test: &str, faults: [&str; 2]) {
    let small = Small::new(test);
    small.lab.forget();
    let late = format!("kill-after:{}", small.steps.0 * 4 / 5);
    let killed = small.lab.run(&["--fault", &late]);
    assert_eq!(killed.signal, Some(9), "{}", killed.stderr);
    for name in ["data", "out"] {
        small.lab.replace(name, &format!("then/{name}"));
    }
    for (fault, store) in faults.into_iter().zip([Store::Kept, Store::Lost]) {
        let hits = small.at_every_step(fault, |lab| {
            for name in ["data", "out"] {
                lab.replace(&format!("then/{name}"), name);
            }
            if store == Store::Lost {
                remove(&lab.path("data/state"));
            }
        });
        assert!(hits > 3, "only {hits} faults came about");
    }
}

#[test]
fn every_durable_step_of_a_recovery_may_fail() {
    check_recovery("every_durable_step_of_a_recovery_may_fail", ["fail-after", "fail"]);
}

#[test]
fn the_process_may_die_around_every_durable_step_of_a_recovery() {
    check_recovery("the_process_may_die_around_every_durable_step_of_a_recovery", ["kill-before", "kill-after"]);
}

/// All kinds of steps, by their names, and how many of each are tried: more of those that do different things.
const KINDS: [(&str, u32); 10] = [
    ("archive-put", 3),
    ("archive-delete", 2),
    ("register-write", 1),
    ("output-write", 1),
    ("output-release", 1),
    ("delta-write", 1),
    ("delta-apply", 1),
    ("store-mark", 1),
    ("store-wipe", 1),
    ("store-restore", 1),
];

/// Whether a step of this kind is taken where the local store is missing: only who lacks it wipes and restores it.
fn lacks_store(kind: &str) -> bool {
    ["store-wipe", "store-restore"].contains(&kind)
}

/// A job killed before its first full manifest, with bases and merged deltas, that collects what is not needed: each start recovers, and goes on
/// over bases, merges, a full manifest and a collection.
fn check_upkeep(test: &str, fault: &str) {
    let mut random = seed::random(test);
    let ledger = Ledger::new(&mut random, &format!("{SHORT_CHAINS}\ncollect-grace = \"0 s\"\ncollect-rate = 100000"), RECORDS);
    ledger.killed_at(56, &[]);
    for name in ["data", "out"] {
        ledger.lab.replace(name, &format!("then/{name}"));
    }
    let prepare = |kind: &str| {
        for name in ["data", "out"] {
            ledger.lab.replace(&format!("then/{name}"), name);
        }
        if lacks_store(kind) {
            remove(&ledger.lab.path("data/state"));
        }
    };
    let undisturbed = ["archive-put", "store-restore"].map(|kind| {
        prepare(kind);
        ledger.lab.run(&["--count-steps"]).code(0)
    });
    let mut hits = 0;
    for (kind, times) in KINDS {
        let [with_store, without] = &undisturbed;
        let counted = if lacks_store(kind) { without } else { with_store };
        let count = counted.figure(&format!("{kind}=")).expect("--count-steps says how many of each kind");
        assert!(count > 0, "no step {kind} is taken");
        for _ in 0..times {
            prepare(kind);
            let chosen = format!("{fault}:{kind}/{}", random.random_range(1..=count));
            let ended = ledger.lab.run(&["--fault", &chosen]);
            let told = format!("{chosen} of {count} ended with {:?}, signal {:?}:\n{}", ended.code, ended.signal, ended.stderr);
            assert!(matches!((ended.code, ended.signal), (Some(0 | 1), None) | (None, Some(9))), "{told}");
            assert!(ended.code != Some(1) || ended.stderr.contains("was made to fail"), "another failure: {told}");
            hits += u32::from(ended.code != Some(0));
            let again = ledger.lab.run(&[]);
            assert_eq!(again.code, Some(0), "the run after {told}\n--- and then:\n{}", again.stderr);
            ledger.exact();
            ledger.lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]).code(0);
        }
    }
    // One that is tried again, or whose failure only postpones, ends no process.
    let least = if fault.starts_with("kill") { 8 } else { 1 };
    println!("{fault}: {hits} processes were ended");
    assert!(hits >= least, "{fault}: only {hits} processes were ended");
}

#[test]
fn steps_of_upkeep_and_collection_may_fail() {
    check_upkeep("steps_of_upkeep_and_collection_may_fail", "fail");
}

#[test]
fn steps_of_upkeep_and_collection_may_happen_and_be_taken_for_failed() {
    check_upkeep("steps_of_upkeep_and_collection_may_happen_and_be_taken_for_failed", "fail-after");
}

#[test]
fn the_process_may_die_before_steps_of_upkeep_and_collection() {
    check_upkeep("the_process_may_die_before_steps_of_upkeep_and_collection", "kill-before");
}

#[test]
fn the_process_may_die_after_steps_of_upkeep_and_collection() {
    check_upkeep("the_process_may_die_after_steps_of_upkeep_and_collection", "kill-after");
}

#[test]
fn a_collector_that_is_killed_at_any_step_does_no_harm() {
    let mut random = seed::random("a_collector_that_is_killed_at_any_step_does_no_harm");
    let ledger = Ledger::new(&mut random, SHORT_CHAINS, RECORDS);
    ledger.killed_at(66, &[]);
    let collect =
        |more: &[&str]| ledger.lab.gregor(&[&["checkpoint", "collect", "job.toml", "--data", "data", "--grace", "0 s"], more].concat());
    ledger.lab.replace("data", "then/data");
    let mut deaths = 0;
    // Each goes on where the one before has died.
    for fault in ["kill-before", "kill-after"] {
        ledger.lab.replace("then/data", "data");
        for round in 0.. {
            let ended = collect(&["--fault", &format!("{fault}:archive-delete/{}", 1 + round % 3)]);
            ledger.lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]).code(0);
            if ended.code == Some(0) {
                break;
            }
            assert_eq!(ended.signal, Some(9), "{}", ended.stderr);
            deaths += 1;
            if deaths % 20 == 0 {
                break;
            }
        }
        collect(&[]).code(0);
        remove(&ledger.lab.path("data/state"));
    }
    println!("{deaths} collectors died");
    assert!(deaths >= 10, "only {deaths} collectors died");
    ledger.lab.run(&[]).code(0);
    ledger.exact();
}
