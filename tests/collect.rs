//! `gregor checkpoint collect`: what kills leave behind goes, what the job could go back to stays, however often it is interrupted. Refuses to judge
//! by itself what is needed: `verify` reads it.

use std::collections::BTreeSet;

use rand::Rng;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::lab::{Lab, files_below};
use crate::harness::{clock, corpus, jobs, output, seed};
use crate::verify::{objects, well};

const COLLECT: [&str; 7] = ["checkpoint", "collect", "job.toml", "--data", "data", "--grace", "0 s"];

/// Collects, and answers what was deleted and kept.
#[track_caller]
fn collect(lab: &Lab) -> (u64, u64) {
    let told = lab.gregor(&[&COLLECT[..], &["--output", "json"]].concat()).code(0).stdout;
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("no {name}: {told}"));
    assert_eq!(number("bytes") > 0, number("deleted") > 0, "{told}");
    (number("deleted"), number("kept"))
}

/// A job that was killed `times` times after some checkpoints of each start.
fn killed(lab: &Lab, times: u32) {
    let mut confirmed = 0;
    for _ in 0..times {
        let mut host = lab.start(&[]);
        clock::wait("a few checkpoints", || {
            assert!(!host.is_over(), "the job was over before it could be killed:\n{}", host.stderr());
            host.confirmed().filter(|&number| number >= confirmed + 3)
        });
        host.signal(Signal::KILL);
        let ended = host.end();
        assert_eq!(ended.signal, Some(9));
        confirmed = ended.confirmed().unwrap_or(confirmed).max(confirmed);
    }
}

/// Leaves what a process leaves that died between a write and its confirmation: objects of a boot that is not there any more. Answers how many.
fn litter(lab: &Lab) -> u64 {
    let all = objects(lab);
    let parts: Vec<(&String, &Vec<u8>)> = all.iter().filter(|(key, _)| key.contains("/parts/")).collect();
    let (root, _) = parts[0].0.split_once("/parts/").unwrap();
    for (number, (_, bytes)) in (1..).zip(&parts) {
        let kind = if number % 2 == 0 { "parts" } else { "bases" };
        lab.write(&format!("data/archive/{root}/{kind}/{:032x}/{number:010}", 0xdead_u64), bytes);
    }
    parts.len() as u64
}

#[test]
fn after_kills_a_collection_leaves_exactly_what_can_be_gone_back_to_and_the_job_ends_as_ever() {
    let mut random = seed::random("after_kills_a_collection_leaves_exactly_what_can_be_gone_back_to_and_the_job_ends_as_ever");
    let lab = Lab::with_job(&(jobs::word_count("10 ms") + jobs::STEP_BY_STEP));
    let text = corpus::plain(&mut random, 30_000_000, 3_000);
    lab.write("in/a.txt", &text);
    killed(&lab, 3);
    let litter = litter(&lab);
    let before = objects(&lab);
    // As a write leaves it that a kill cut short.
    let part = before.keys().find(|key| key.contains("/parts/")).unwrap();
    lab.write(&format!("data/archive/{part}#1"), "half");
    let (deleted, kept) = collect(&lab);
    let after = objects(&lab);
    assert_eq!((after.len() as u64, (before.len() - after.len()) as u64), (kept, deleted), "the leftover is no object");
    assert_eq!(files_below(&lab.path("data/archive")).len(), after.len(), "leftovers are gone, however they came about");
    assert!(deleted >= litter && after.keys().all(|key| before.contains_key(key)), "{deleted} of {} objects are gone", before.len());
    assert_eq!(well(&lab), kept, "what is left is what verify reads, marker included");
    assert_eq!(collect(&lab), (0, kept), "a second time");
    lab.run(&[]).code(0);
    output::complete(&lab.path("out"));
    corpus::same(&output::counts(&lab.path("out")), &corpus::count([text.as_slice()]));
    collect(&lab);
    assert_eq!(well(&lab), objects(&lab).len() as u64);
}

#[test]
fn a_collection_that_is_cut_short_or_fails_at_any_object_does_no_harm() {
    let mut random = seed::random("a_collection_that_is_cut_short_or_fails_at_any_object_does_no_harm");
    let lab = Lab::with_job(&(jobs::word_count("10 ms") + jobs::STEP_BY_STEP));
    lab.write("in/a.txt", corpus::plain(&mut random, 30_000_000, 3_000));
    killed(&lab, 2);
    litter(&lab);
    lab.replace("data", "then");
    let (deleted, kept) = collect(&lab);
    let expected: BTreeSet<String> = objects(&lab).into_keys().collect();
    assert!(deleted > 2, "{deleted} objects make no good test");
    let mut faults: Vec<String> = ["fail", "fail-after", "kill-before", "kill-after"].iter().map(|kind| format!("{kind}:1")).collect();
    for kind in ["fail", "kill-before", "kill-after"] {
        faults.push(format!("{kind}:{}", random.random_range(1..=deleted)));
    }
    faults.push(format!("kill-after:{deleted}"));
    for fault in faults {
        lab.replace("then", "data");
        let ended = lab.gregor(&[&COLLECT[..], &["--fault", &fault]].concat());
        assert!(ended.code == Some(1) || ended.signal == Some(9), "{fault}: {:?}\n{}", ended.code, ended.stderr);
        assert!(well(&lab) >= kept - 1, "{fault}");
        collect(&lab);
        let found: BTreeSet<String> = objects(&lab).into_keys().collect();
        assert!(found == expected, "{fault}: {:?}", found.symmetric_difference(&expected));
    }
}

#[test]
fn a_collection_waits_for_the_grace_and_for_the_end_of_the_job() {
    let mut random = seed::random("a_collection_waits_for_the_grace_and_for_the_end_of_the_job");
    let lab = Lab::with_job(&(jobs::word_count("10 ms") + jobs::STEP_BY_STEP));
    lab.write("in/a.txt", corpus::plain(&mut random, 24_000_000, 3_000));
    let mut host = lab.start(&[]);
    clock::wait("a few checkpoints", || {
        assert!(!host.is_over(), "the job was over too soon:\n{}", host.stderr());
        host.confirmed().filter(|&number| number >= 4)
    });
    lab.gregor(&COLLECT).code(2).says("stop it first");
    host.signal(Signal::KILL);
    host.end();
    let litter = litter(&lab);
    let before = objects(&lab);
    let told = lab.gregor(&["checkpoint", "collect", "job.toml", "--data", "data"]).code(0).stdout;
    // It may have been killed in the middle of a write, too.
    let kept = format!("deleted objects=0 bytes=0, kept objects={}", before.len());
    assert!(
        told.strip_prefix(&kept).is_some_and(|rest| rest == "\n" || rest.starts_with(", removed ")),
        "ten minutes are not over: {told}"
    );
    assert_eq!(objects(&lab), before);
    let (deleted, _) = collect(&lab);
    assert!(deleted >= litter, "only {deleted} objects were deleted of what {litter} were left there");
    lab.gregor(&["checkpoint", "collect", "job.toml", "--data", "nowhere"]).code(2).says("is not a data folder");
    assert!(!lab.path("nowhere").exists(), "a folder was made for a job that is not there");
}
