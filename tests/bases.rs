//! Bases, merged deltas and full manifests: made while a job runs, and gone on from when its local store is there, is gone, or is an old one.
//! Refuses to believe that a job is well because it ended: its output tells of every change of state.

use std::fs;

use crate::harness::host::Ended;
use crate::harness::lab::{files_below, remove};
use crate::harness::ledger::{Ledger, NO_BASES, RECORDS, SHORT_CHAINS};
use crate::harness::seed;

/// Makes a start tell what it does with local stores.
const TELLING: [&str; 2] = ["--log", "gregor_runtime=info"];

/// How often a start has said that a task's state came from there.
fn told(ended: &Ended, what: &str) -> usize {
    ended.stderr.lines().filter(|line| line.contains("the state is") && line.contains(what)).count()
}

/// A figure of each line in which a start has told of a state.
fn figures(ended: &Ended, label: &str) -> Vec<u64> {
    let lines = ended.stderr.lines().filter(|line| line.contains("the state is"));
    let figure = |line: &str| line.split_once(label)?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    lines.filter_map(figure).collect()
}

#[test]
fn a_job_of_many_checkpoints_makes_bases_merged_deltas_and_full_manifests() {
    let mut random = seed::random("a_job_of_many_checkpoints_makes_bases_merged_deltas_and_full_manifests");
    let ledger = Ledger::new(&mut random, SHORT_CHAINS, RECORDS);
    ledger.lab.run(&[]).code(0).unwarned(&[]);
    ledger.exact();
    let kinds = ledger.kinds();
    println!("{kinds:?} in {} manifests", ledger.manifests().len());
    assert!(kinds.bases > 0 && kinds.merges > 0 && kinds.full > 0, "{kinds:?} in {} manifests", ledger.manifests().len());
    ledger.lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]).code(0);
}

#[test]
fn a_store_that_was_deleted_comes_back_from_a_base_and_merged_deltas() {
    let mut random = seed::random("a_store_that_was_deleted_comes_back_from_a_base_and_merged_deltas");
    let ledger = Ledger::new(&mut random, SHORT_CHAINS, RECORDS);
    let (mut from_base, mut from_merged) = (0, 0);
    // How far tasks are behind the checkpoints is up to the machine: so often as it takes.
    for checkpoint in (14..160).step_by(8) {
        if checkpoint > 46 && from_base > 0 && from_merged > 0 {
            break;
        }
        let ended = ledger.killed_at(checkpoint, &TELLING);
        if ended.resumed().is_some() {
            assert_eq!((told(&ended, "from the archive"), told(&ended, "local store")), (2, 0), "{}", ended.stderr);
            from_base += figures(&ended, "base_bytes=").into_iter().filter(|&bytes| bytes > 0).count();
            let (deltas, segments) = (figures(&ended, "deltas="), figures(&ended, "segments="));
            from_merged += deltas.iter().zip(&segments).filter(|(deltas, segments)| **deltas > 0 && deltas < segments).count();
        }
        remove(&ledger.lab.path("data/state"));
    }
    let ended = ledger.lab.run(&TELLING).code(0);
    println!(
        "{from_base} states came from bases, {from_merged} from merged deltas; and then:\n{}",
        ended.line("resumed").unwrap_or_default()
    );
    ledger.exact();
    assert!(from_base > 0 && from_merged > 0, "{from_base} states came from bases, {from_merged} from merged deltas");
}

#[test]
fn a_store_that_is_there_is_kept_over_bases_and_merged_deltas() {
    let mut random = seed::random("a_store_that_is_there_is_kept_over_bases_and_merged_deltas");
    let ledger = Ledger::new(&mut random, SHORT_CHAINS, RECORDS);
    let mut kept = 0;
    for checkpoint in [12, 24, 36, 48] {
        let ended = ledger.killed_at(checkpoint, &TELLING);
        kept += told(&ended, "local store");
    }
    let ended = ledger.lab.run(&TELLING).code(0).unwarned(&["INFO"]);
    ledger.exact();
    kept += told(&ended, "local store");
    // A kill between a mark and the manifest that makes it part of the chain costs a store; it does not happen each time.
    println!("{kept} of 8 states were kept");
    assert!(kept >= 4, "{kept} of 8 states were kept");
}

#[test]
fn a_store_in_the_middle_of_merged_deltas_is_rebuilt() {
    let mut random = seed::random("a_store_in_the_middle_of_merged_deltas_is_rebuilt");
    let ledger = Ledger::new(&mut random, NO_BASES, RECORDS);
    // A start without store marks what it restores: here at a segment that no merge has touched.
    ledger.killed_at(3, &[]);
    remove(&ledger.lab.path("data/state"));
    ledger.killed_at(4, &[]);
    assert_eq!(ledger.kinds().merges, 0, "merged before the store could be copied");
    ledger.lab.replace("data/state", "then/state");
    ledger.killed(&[], |_| ledger.kinds().merges >= 2);
    // The last of them may not be confirmed.
    ledger.killed_at(ledger.latest() + 6, &[]);
    ledger.lab.replace("then/state", "data/state");
    let ended = ledger.lab.run(&TELLING).code(0);
    assert!(told(&ended, "from the archive") >= 1, "an old store was taken:\n{}", ended.stderr);
    ledger.exact();
}

#[test]
fn a_base_that_cannot_be_saved_only_waits() {
    let mut random = seed::random("a_base_that_cannot_be_saved_only_waits");
    let ledger = Ledger::new(&mut random, NO_BASES, RECORDS);
    ledger.killed_at(5, &[]);
    // Where the folder of bases would be made there is a file.
    let marker = files_below(&ledger.lab.path("data/archive")).into_iter().find(|file| file.ends_with("marker")).expect("a marker");
    let bases = marker.with_file_name("bases");
    fs::write(&bases, "in the way").unwrap();
    ledger.lab.edit_job(NO_BASES, SHORT_CHAINS);
    // The first of three tries: the job may be over before the last.
    let ended = ledger.killed(&TELLING, |host| host.stderr().contains("save a base") && host.confirmed() >= Some(20));
    assert!(ended.stderr.contains("/bases/"), "the reason is not told:\n{}", ended.stderr);
    assert_eq!(ledger.kinds().bases, 0);
    fs::remove_file(&bases).unwrap();
    ledger.lab.run(&[]).code(0).unwarned(&[]);
    ledger.exact();
    assert!(ledger.kinds().bases > 0, "no base was made when there was room for one");
}

#[test]
fn a_base_that_is_old_is_renewed_however_small_the_deltas() {
    let mut random = seed::random("a_base_that_is_old_is_renewed_however_small_the_deltas");
    let ledger = Ledger::new(&mut random, &format!("{NO_BASES}\nbase-interval = \"1 s\""), RECORDS);
    // An interval begins when the process does.
    ledger.killed(&[], |_| ledger.kinds().bases >= 2);
    ledger.lab.run(&[]).code(0);
    ledger.exact();
}
