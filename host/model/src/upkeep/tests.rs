//! Tests of when a chain is cut.

use super::*;
use crate::digest::Digest;
use crate::history::{DeltaLink, Link};
use crate::limits::MIB;
use crate::manifest::{Base, BaseFile, ObjectRef};
use crate::names::{Attempt, Branch, Incarnation, Sequence, StoreName};
use crate::segment::{DeltaContent, RunsHeader, SegmentHeader};

const TASK: TaskId = TaskId { stage: 0, partition: 3 };
const NOW_MS: u64 = 10_000;

fn object(key: &str) -> ObjectRef {
    ObjectRef { key: key.to_owned(), sha256: Digest::of(key.as_bytes()) }
}

fn header() -> SegmentHeader {
    SegmentHeader {
        incarnation: Incarnation(1),
        task: TASK,
        branch: Branch(0),
        attempt: Attempt(1),
        sequence: Sequence(1),
        parent: None,
        inputs: vec![],
        watermark: None,
        component: Digest::of(b"component"),
        schemas: vec![],
        delta: vec![],
        runs: RunsHeader::of(&[]),
        files: vec![],
    }
}

fn link((number, segments, bytes): (u64, u64, u64)) -> Link {
    let digest = |side: &str| Digest::of(format!("{side} {number}").as_bytes());
    let (store, part) = (StoreName::new("counts").unwrap(), object("part"));
    let delta =
        DeltaLink { store, content: DeltaContent::Changes, part, offset: 8, length: bytes, sha256: Digest::of(b"delta"), entries: bytes };
    Link { first: digest("first"), segment: digest("last"), segments, deltas: vec![delta] }
}

fn history(base: Option<u64>, links: &[(u64, u64)]) -> TaskHistory {
    let file = |length| BaseFile { name: "000001.sst".to_owned(), object: object("base"), length };
    let base = base.map(|length| Base { segment: Digest::of(b"base"), created_at_ms: NOW_MS, files: vec![file(length)] });
    let chain = (0..).zip(links).map(|(number, &(segments, bytes))| link((number, segments, bytes))).collect();
    TaskHistory { segment: Digest::of(b"last"), header: header(), base, chain }
}

fn check(base: Option<u64>, links: &[(u64, u64)], expected: Upkeep) {
    let found = upkeep(TASK, &history(base, links), &CheckpointSettings::default(), (NOW_MS, NOW_MS));
    assert_eq!(found, expected, "base {base:?}, links {links:?}");
}

#[test]
fn a_base_is_due_once_deltas_outgrow_the_threshold_and_never_for_small_ones() {
    check(None, &[], Upkeep::None);
    check(None, &[(1, 2 * MIB)], Upkeep::None);
    check(None, &[(1, 2 * MIB), (1, 1)], Upkeep::Base);
    check(Some(100), &[(1, 2 * MIB)], Upkeep::None);
    check(Some(100 * MIB), &[(1, 50 * MIB)], Upkeep::None);
    check(Some(100 * MIB), &[(1, 50 * MIB), (1, 1)], Upkeep::Base);
}

#[test]
fn a_base_is_due_when_the_last_one_is_old_and_something_changed_since() {
    let settings = CheckpointSettings::default();
    let later = NOW_MS + 2 * 3_600_000;
    let old = history(Some(100), &[(1, 10)]);
    assert_eq!(upkeep(TASK, &old, &settings, (later, later)), Upkeep::Base);
    assert_eq!(upkeep(TASK, &history(Some(100), &[]), &settings, (later, later)), Upkeep::None);
    // Without a base, age counts from when the process first saw the task.
    assert_eq!(upkeep(TASK, &history(None, &[(1, 10)]), &settings, (later, later)), Upkeep::None);
    assert_eq!(upkeep(TASK, &history(None, &[(1, 10)]), &settings, (later, NOW_MS)), Upkeep::Base);
}

#[test]
fn the_bases_of_many_tasks_do_not_fall_due_together() {
    let hour = Duration::from_secs(3600);
    let due: Vec<u64> = (0..64).map(|partition| jittered_ms(TaskId { stage: 1, partition }, hour)).collect();
    assert!(due.iter().all(|&ms| (2_700_000..=4_500_000).contains(&ms)), "{due:?}");
    let distinct: std::collections::BTreeSet<_> = due.iter().collect();
    assert!(distinct.len() > 32, "{due:?}");
}

#[test]
fn eight_neighbours_of_like_size_are_merged_the_oldest_first() {
    check(None, &[(1, 10); 7], Upkeep::None);
    check(None, &[(1, 10); 8], Upkeep::Merge { first: 0, last: 7 });
    let mut links = vec![(8, 80)];
    links.extend([(1, 10); 9]);
    check(None, &links, Upkeep::Merge { first: 1, last: 8 });
    check(None, &[(8, 80); 8], Upkeep::Merge { first: 0, last: 7 });
    // Too heavy to be worth it.
    check(Some(1 << 40), &[(1, 9 * MIB); 8], Upkeep::None);
}

#[test]
fn however_many_checkpoints_there_are_the_chain_stays_short() {
    let mut links: Vec<(u64, u64)> = vec![];
    let mut rewritten = 0;
    for _ in 0..5_000 {
        links.push((1, 100));
        while let Upkeep::Merge { first, last } = upkeep(TASK, &history(None, &links), &CheckpointSettings::default(), (NOW_MS, NOW_MS)) {
            let merged = links[first..=last].iter().fold((0, 0), |sum, link| (sum.0 + link.0, sum.1 + link.1));
            rewritten += merged.1;
            links.splice(first..=last, [merged]);
        }
        assert!(links.len() < CHAIN_LINKS_MAX, "{links:?}");
    }
    assert_eq!(links.iter().map(|link| link.0).sum::<u64>(), 5_000);
    assert!(rewritten <= 5 * 500_000, "{rewritten} bytes were written to keep 500,000");
}
