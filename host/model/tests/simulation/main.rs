#![cfg(test)]
//! The checkpoint protocol under random schedules: the pure machines of `model`, driven through crashes, pauses, lost and repeated messages, jumping
//! clocks and returns, with the invariants of the checkpoint page judged after every step that can break them; and the same with decisions made
//! wrong on purpose, each of which must be noticed. Refuses to test how the runtime carries a decision out: `tests/kills.rs` of the host does that.
//!
//! `GREGOR_TEST_SEED=<n>` runs that schedule alone, and prints its last actions where it fails.

mod archive;
mod breaks;
mod coordination;
mod coverage;
mod folder;
mod keeping;
mod problem;
mod process;
mod random;
mod running;
mod starting;
mod tasks;
mod truth;
mod world;

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread::available_parallelism;

use breaks::Break;
use coverage::Coverage;
use truth::Violation;
use world::World;

/// Schedules of the sound protocol.
const SCHEDULES: u64 = 100_000;
/// Schedules within which a wrong decision must be noticed.
const NOTICED_WITHIN: u64 = 10_000;

/// A seed that the test was told.
fn told() -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the one place where this test reads the environment")]
    let told = std::env::var("GREGOR_TEST_SEED").ok();
    told.map(|text| text.parse().expect("GREGOR_TEST_SEED is a number"))
}

/// Runs a schedule again, for people to read.
fn tell(seed: u64, broken: Option<Break>, violation: &Violation) -> String {
    let mut world = World::new(seed, broken).remember();
    drop(world.run());
    let Violation { invariant, what } = violation;
    format!("GREGOR_TEST_SEED={seed}: invariant {invariant}: {what}\nits last actions:\n{}", world.last_actions())
}

/// Runs schedules of the sound protocol until there are no more seeds, or one of them fails.
fn check(seeds: &Mutex<Range<u64>>) -> Coverage {
    let mut seen = Coverage::default();
    loop {
        // Taken before the loop's body, not in its head: there the lock would be held as long as the schedule runs.
        let seed = seeds.lock().unwrap().next();
        let Some(seed) = seed else { return seen };
        let mut world = World::new(seed, None);
        if let Err(violation) = world.run() {
            // The others need not go on.
            *seeds.lock().unwrap() = 0..0;
            panic!("{}", tell(seed, None, &violation));
        }
        seen.add(&world.truth.seen);
    }
}

#[test]
fn the_promises_hold_in_every_schedule() {
    let range = told().map_or(0..SCHEDULES, |seed| seed..seed + 1);
    let count = range.end - range.start;
    let seeds = Mutex::new(range);
    let mut seen = Coverage::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(|| check(&seeds))).collect();
        for thread in threads {
            seen.add(&thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    println!("{count} schedules: {seen}");
    let rare = seen.rare(count);
    assert!(told().is_some() || rare.is_empty(), "schedules in which this hardly ever happens show nothing of it: {rare:?}");
}

#[test]
fn every_wrong_decision_is_noticed() {
    let mut unnoticed = Vec::new();
    for broken in Break::ALL {
        let noticed = (0..NOTICED_WITHIN).find_map(|seed| Some((seed, World::new(seed, Some(broken)).run().err()?)));
        match noticed {
            Some((seed, Violation { invariant, what })) => {
                let words: String = what.chars().take(90).collect();
                println!("{broken:?}: invariant {invariant} after {} schedules: {words}", seed + 1);
            }
            None => unnoticed.push(broken),
        }
    }
    assert!(unnoticed.is_empty(), "nobody notices {unnoticed:?} within {NOTICED_WITHIN} schedules");
}
