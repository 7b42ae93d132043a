#![cfg(test)]
//! The checkpoint protocol under random schedules: the pure machines of `model`, driven through crashes, pauses, lost and repeated messages, jumping
//! clocks and returns, with the invariants of the checkpoint page judged after every step that can break them; and the same with decisions made
//! wrong on purpose, each of which must be noticed. Refuses to test how the runtime carries a decision out: `tests/kills.rs` of the host does that.
//!
//! `GREGOR_TEST_SEED=<n>` runs that schedule alone, and prints its last actions where it fails.

mod archive;
mod breaks;
mod coordination;
mod keeping;
mod problem;
mod process;
mod random;
mod running;
mod starting;
mod tasks;
mod truth;
mod world;

use breaks::Break;
use truth::Violation;
use world::World;

/// Schedules of the sound protocol, over both tests.
const SCHEDULES: u64 = 8_000;
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

/// Runs schedules of the sound protocol. Two tests share them, so that two threads do.
fn check(seeds: impl Iterator<Item = u64>) {
    let (mut count, mut confirmed) = (0_u64, [0_u64; 4]);
    for seed in told().map_or_else(|| Box::new(seeds) as Box<dyn Iterator<Item = u64>>, |seed| Box::new(std::iter::once(seed))) {
        let mut world = World::new(seed, None);
        if let Err(violation) = world.run() {
            panic!("{}", tell(seed, None, &violation));
        }
        count += 1;
        confirmed.iter_mut().zip(world.truth.confirmed).for_each(|(sum, more)| *sum += more);
    }
    let [checkpoints, returns, bases, merges] = confirmed;
    println!("{count} schedules: {checkpoints} checkpoints, {returns} returns, {bases} bases, {merges} merges confirmed");
    let rare = returns.min(bases).min(merges);
    assert!(told().is_some() || checkpoints > count && rare > count / 50, "schedules in which nothing happens show nothing");
}

#[test]
fn the_promises_hold_in_every_even_schedule() {
    check((0..SCHEDULES).step_by(2));
}

#[test]
fn the_promises_hold_in_every_odd_schedule() {
    check((1..SCHEDULES).step_by(2));
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
