#![cfg(test)]
//! Hostile guests beside a good job, in one process and on one engine: each is refused or stopped within its limit, by an error that names the limit,
//! while the good job counts words, exactly; and what they took comes back. A process of its own, since its memory is looked at. Refuses to take the
//! limit's word for it: where the limit is a number that can be raised, the same guest is run once more under a higher one, and must fare otherwise.

mod deeds;
mod guests;
#[path = "../harness"]
mod harness {
    pub(crate) mod clock;
    #[expect(dead_code, reason = "the system's tests use the rest")]
    pub(crate) mod corpus;
    #[expect(dead_code, reason = "the system's tests use the rest")]
    pub(crate) mod output;
    pub(crate) mod seed;
}
mod jobs;
mod neighbour;
mod process;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use deeds::{Bench, table};
use gregor_guest::Cache;
use gregor_model::limits::{AdmissionLimits, GUEST_STACK_BYTES};
use harness::{clock, seed};
use neighbour::beside;
use process::Taken;

/// Rounds of all guests after which memory is compared.
const ROUNDS: usize = 2;
/// By how much the memory of the process may be larger after all rounds than after the first: each job of a round leaving a quarter of a megabyte
/// behind would be more.
const SLACK_BYTES: u64 = 8 << 20;
/// Set to 1, it makes glibc keep what is free in one place, instead of one for each thread that there ever was at a time: memory that is larger from
/// round to round is lost then, and not only free.
const ONE_PLACE: &str = "MALLOC_ARENA_MAX";

/// One test at a time: all look at the same process.
static ALONE: Mutex<()> = Mutex::new(());

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn plugins() -> PathBuf {
    let folder = root().join("target/plugins");
    assert!(folder.join("hostile/hostile.wasm").is_file(), "{} is not complete: run `make plugins`", folder.display());
    folder
}

#[test]
fn every_hostile_guest_is_stopped_by_its_limit_while_another_job_of_the_process_stays_exact() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let bench = Bench::new();
    let table = table();
    let failures = beside(&bench, |neighbour| table.iter().flat_map(|deed| bench.check(deed, neighbour)).collect::<Vec<String>>());
    assert!(table.len() >= 40, "only {} deeds", table.len());
    assert!(failures.is_empty(), "{} of {} deeds:\n{}", failures.len(), table.len(), failures.join("\n"));
}

#[test]
fn the_deepest_types_that_compile_do_no_harm_to_a_host_that_loads_them() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = deeds::engine(AdmissionLimits::default());
    let (mut good, mut bad) = (100, 100_000);
    while bad - good > good / 100 {
        let depth = usize::midpoint(good, bad);
        *(if engine.admit(&guests::nested_component_types(depth)).is_ok() { &mut good } else { &mut bad }) = depth;
    }
    println!("{good} types in one another are compiled, {bad} are not");
    let bytes = guests::nested_component_types(good);
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    cache.keep(&[engine.admit(&bytes).unwrap()]);
    // On the smallest stack that whoever calls guests has.
    let load = || engine.admit_from(Some(&cache), &bytes).map(drop);
    let caller = thread::Builder::new().stack_size(2 * GUEST_STACK_BYTES);
    thread::scope(|scope| caller.spawn_scoped(scope, load).unwrap().join().unwrap()).unwrap();
}

#[test]
fn what_hostile_guests_took_comes_back() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    match seed::given(ONE_PLACE) {
        Some(_) => memory_comes_back(),
        None => {
            let again = ["--exact", "what_hostile_guests_took_comes_back", "--nocapture"];
            let ended = Command::new(std::env::current_exe().unwrap()).args(again).env(ONE_PLACE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&ended.stdout);
            println!("{said}\n{}", String::from_utf8_lossy(&ended.stderr));
            assert!(ended.status.success() && said.contains("test result: ok. 1 passed"), "{}", ended.status);
        }
    }
}

fn memory_comes_back() {
    let bench = Bench::new();
    let table = table();
    let mut taken = Vec::new();
    for round in 0..=ROUNDS {
        table.iter().filter(|deed| deed.is_cheap()).for_each(|deed| bench.once(deed));
        // A thread that was waited for is counted for a moment longer.
        let first: Option<&Taken> = taken.first();
        let is_gone = |now: &Taken| first.is_none_or(|first| now.threads <= first.threads && now.descriptors <= first.descriptors);
        taken.push(clock::wait("threads and descriptors to go", || Some(Taken::now()).filter(is_gone)));
        println!("after round {round}: {:?}", taken.last().unwrap());
    }
    let (Some(first), Some(last)) = (taken.first(), taken.last()) else { panic!("no rounds") };
    assert!(last.memory_bytes < first.memory_bytes + SLACK_BYTES, "{taken:#?}");
}
