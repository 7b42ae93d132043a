//! An archive that fails now and then, is slow, is full, or holds halves of objects: a job ends with the output of an undisturbed one, or stops with
//! exit 1, says why, and goes on at its next start. And nothing that nobody needs stays there for ever. Refuses faults of the local disk: `disk` has
//! them.

use rand::Rng;
use rand::rngs::StdRng;

use crate::harness::lab::{Lab, files_below, remove};
use crate::harness::ledger::{Ledger, RECORDS, SHORT_CHAINS};
use crate::harness::seed;

/// Starts of one job, at most.
const STARTS_MAX: u32 = 60;

/// The settings with bases and collection, without waiting for garbage to grow old.
fn collecting() -> String {
    format!("{SHORT_CHAINS}\ncollect-grace = \"0 s\"\ncollect-rate = 100000")
}

/// Demands that all restore points can be read whole; says of how many objects they are made.
#[track_caller]
fn verified(lab: &Lab) -> u64 {
    let told = lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data", "--output", "json"]).code(0).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    told["objects"].as_u64().unwrap_or_else(|| panic!("no objects: {told}"))
}

/// Starts a job with a fault until it is finished; how often it stopped before. What it tells then must be that it was made to fail.
fn persist(ledger: &Ledger, random: &mut StdRng, fault: &str) -> u32 {
    for stops in 0..STARTS_MAX {
        let ended = ledger.lab.run(&["--fault", &format!("{fault}:{}", random.random::<u64>())]);
        match ended.code {
            Some(0) => return stops,
            Some(1) => assert!(ended.stderr.contains("it was made to fail"), "another failure:\n{}", ended.stderr),
            code => panic!("exit {code:?}, signal {:?}:\n{}", ended.signal, ended.stderr),
        }
        if stops % 3 == 1 {
            remove(&ledger.lab.path("data/state"));
        }
    }
    panic!("{fault}: not finished after {STARTS_MAX} starts");
}

#[test]
fn an_archive_that_fails_now_and_then_costs_starts_and_no_records() {
    let mut random = seed::random("an_archive_that_fails_now_and_then_costs_starts_and_no_records");
    let mut stopped = 0;
    for round in 0..4 {
        let ledger = Ledger::new(&mut random, &collecting(), RECORDS / 2);
        let stops = persist(&ledger, &mut random, "flaky");
        println!("round {round}: stopped {stops} times");
        ledger.exact();
        verified(&ledger.lab);
        stopped += stops;
        if stopped >= 3 {
            return;
        }
    }
    panic!("only {stopped} operations failed for good: the test has tested little");
}

#[test]
fn an_archive_that_is_slow_makes_a_job_slow() {
    let mut random = seed::random("an_archive_that_is_slow_makes_a_job_slow");
    let ledger = Ledger::new(&mut random, &collecting(), RECORDS / 3);
    let stops = persist(&ledger, &mut random, "slow");
    assert_eq!(stops, 0, "being slow is no failure");
    ledger.exact();
    verified(&ledger.lab);
}

/// Files in the archive that are no objects.
/// Bytes of a block of `ulimit -f`, by POSIX.
const BLOCK_BYTES: u64 = 512;

/// Bytes of the largest part in the archive.
fn part_bytes_max(lab: &Lab) -> u64 {
    let parts = files_below(&lab.path("data/archive")).into_iter().filter(|file| file.to_string_lossy().contains("/parts/"));
    parts.map(|file| file.metadata().unwrap().len()).max().expect("a part")
}

fn leftovers(lab: &Lab) -> usize {
    files_below(&lab.path("data/archive")).iter().filter(|file| file.to_str().is_some_and(|name| name.contains('#'))).count()
}

#[test]
fn half_an_object_is_no_object() {
    let mut random = seed::random("half_an_object_is_no_object");
    let ledger = Ledger::in_folder(Lab::on_disk(), &mut random, (&collecting(), RECORDS / 3));
    // What is compiled is kept in a file that is large.
    ledger.killed_at(4, &[]);
    let (mut torn, mut killed) = (0, 0);
    for _ in 0..100 {
        // The system kills a process whose file grows beyond the limit, in the middle of a write. A part holds deltas of both tasks: the largest one
        // seen is larger than most files that are no objects.
        let part = part_bytes_max(&ledger.lab) / BLOCK_BYTES;
        let blocks = random.random_range(part * 2 / 3..part);
        let ended = ledger.lab.shell(&format!("ulimit -c 0; ulimit -f {blocks}; exec \"$GREGOR\" run job.toml --data data"));
        if ended.code == Some(0) {
            ledger.exact();
            ledger.lab.forget();
            ledger.killed_at(4, &[]);
            continue;
        }
        assert_eq!(ended.signal, Some(25), "{blocks} blocks: exit {:?}:\n{}", ended.code, ended.stderr);
        killed += 1;
        torn += usize::from(leftovers(&ledger.lab) > 0);
        if torn >= 2 {
            break;
        }
        // Some checkpoints, so that the next one is killed elsewhere.
        let reached = ledger.register().created.0;
        let mut host = ledger.lab.start(&[]);
        crate::harness::clock::wait("two checkpoints", || (host.is_over() || host.confirmed() > Some(reached + 1)).then_some(()));
        host.signal(rustix::process::Signal::KILL);
        host.end();
    }
    println!("killed {killed} times, {torn} times in the middle of an object");
    assert!(torn > 0, "killed {killed} times, never in the middle of an object");
    ledger.lab.run(&[]).code(0);
    ledger.exact();
    verified(&ledger.lab);
    assert_eq!(leftovers(&ledger.lab), 0, "what was cut short is still there");
}

#[test]
fn a_full_archive_stops_the_job_and_loses_nothing() {
    let mut random = seed::random("a_full_archive_stops_the_job_and_loses_nothing");
    let ledger = Ledger::new(&mut random, &format!("location = \"archive\"\n{SHORT_CHAINS}"), RECORDS / 2);
    // A small disk for the archive alone, in a name space of its own; then a large one with the same files. Where the machine forbids that
    // (exit 99), files that may not grow take its place.
    let ended = ledger.lab.shell(
        "mkdir -p archive; exec unshare --user --map-root-user --mount sh -c '
            mount -t tmpfs -o size=600k tmpfs archive || exit 99
            \"$GREGOR\" run job.toml --data data
            echo first=$?
            mount -o remount,size=2g tmpfs archive || exit 99
            \"$GREGOR\" run job.toml --data data
            echo second=$?
            \"$GREGOR\" checkpoint verify job.toml --data data' || exit 99",
    );
    if ended.code == Some(99) || ended.stderr.contains("unshare") {
        println!("this machine forbids a disk of one's own: {}", ended.stderr);
        let ended = ledger.lab.shell("trap '' XFSZ; ulimit -f 8; exec \"$GREGOR\" run job.toml --data data");
        assert!(matches!(ended.code, Some(1 | 2)), "exit {:?}:\n{}", ended.code, ended.stderr);
        ledger.lab.run(&[]).code(0);
    } else {
        println!("{:?}; {:?}", ended.stdout, ended.line("resumed"));
        assert!(ended.stdout.contains("first=1") && ended.stdout.contains("second=0"), "{:?}\n{}", ended.stdout, ended.stderr);
        ended.code(0).says("space");
    }
    ledger.exact();
}

#[test]
fn after_kills_and_a_collection_nothing_is_left_that_nobody_needs() {
    let mut random = seed::random("after_kills_and_a_collection_nothing_is_left_that_nobody_needs");
    let ledger = Ledger::new(&mut random, SHORT_CHAINS, RECORDS);
    for checkpoint in [10, 20, 30, 40, 50, 60] {
        ledger.killed_at(checkpoint + random.random_range(0..8), &[]);
    }
    for ended in [false, true] {
        if ended {
            ledger.lab.run(&[]).code(0);
        }
        let before = files_below(&ledger.lab.path("data/archive")).len();
        ledger.lab.gregor(&["checkpoint", "collect", "job.toml", "--data", "data", "--grace", "0 s"]).code(0);
        let left = files_below(&ledger.lab.path("data/archive"));
        let needed = verified(&ledger.lab);
        println!("{before} files before, {} after, {needed} are needed", left.len());
        assert_eq!(left.len() as u64, needed, "{left:#?}");
        assert!(ended || left.len() < before, "nothing was left to be collected");
    }
    ledger.exact();
}
