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
use std::sync::{Mutex, PoisonError};

use deeds::{Bench, table};
use neighbour::beside;
use process::Taken;

/// Rounds of all guests after which memory is compared.
const ROUNDS: usize = 2;
/// By how much the memory of the process may be larger after all rounds than after the first. One instance's memory, left behind each round, would be
/// more: the limit of 16 MiB, of dozens of guests.
const SLACK_BYTES: u64 = 48 << 20;

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
fn what_hostile_guests_took_comes_back() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let bench = Bench::new();
    let table = table();
    let mut taken = Vec::new();
    for round in 0..=ROUNDS {
        table.iter().filter(|deed| deed.is_cheap()).for_each(|deed| bench.once(deed));
        taken.push(Taken::now());
        println!("after round {round}: {:?}", taken.last().unwrap());
    }
    let (Some(first), Some(last)) = (taken.first(), taken.last()) else { panic!("no rounds") };
    assert_eq!((last.threads, last.descriptors), (first.threads, first.descriptors), "{taken:#?}");
    assert!(last.memory_bytes < first.memory_bytes + SLACK_BYTES, "{taken:#?}");
}
