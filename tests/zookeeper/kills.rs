//! Hosts that are killed at random instants and started again on their data. Refuses to wait for a session: a restart is the same host.

use std::fs;

use super::house::{LONG_SESSION, RECORDS, Site};
use crate::harness::disturbance::{any_instant, disturb, kill};
use crate::harness::shared::Shared;
use crate::harness::{clock, lab, seed};

/// Kills of one run.
const KILLS: u32 = 36;

#[test]
fn a_host_killed_at_random_instants_goes_on_at_once_and_repeats_nothing() {
    let mut random = seed::random("a_host_killed_at_random_instants_goes_on_at_once_and_repeats_nothing");
    let server = Shared::server();
    let site = Site::new(&mut random, RECORDS * 2, (server.address(), LONG_SESSION));
    site.lab.edit_job("collect-grace = \"2 s\"", "collect-grace = \"0 ms\"");
    let begun = clock::now();
    let (toll, ended) = disturb(&|| site.start("data"), (&mut random, KILLS, any_instant), kill);
    let took = begun.elapsed();
    println!("killed: {toll:?} in {took:?}");
    assert!(toll.disturbed >= 30 && toll.after_confirm * 2 >= toll.disturbed, "{toll:?}");
    assert!(ended.resumed().is_none_or(|from| from >= toll.confirmed), "{} < {}", ended.stderr, toll.confirmed);
    // Had each start waited for the session of its predecessor, this would have taken three times as long.
    assert!(took < LONG_SESSION * toll.disturbed / 3, "{took:?} for {} restarts", toll.disturbed);
    site.finished_by(ended, "data", &[]);
    let kept = lab::files_below(&site.lab.path("archive"));
    let kept_in = |folder: &str| kept.iter().filter(|path| path.to_str().unwrap().contains(folder)).count();
    let (bases, manifests) = (kept_in("/bases/"), kept_in("/manifests/"));
    println!("{bases} files of bases and {manifests} manifests are kept");
    assert!(bases > 0, "no base was ever made");
    let confirmed = site.latest(&mut site.znodes());
    assert!(u64::try_from(manifests).unwrap() < confirmed, "{manifests} manifests of {confirmed} checkpoints: nothing was collected");
}

#[test]
fn a_host_killed_after_its_local_store_was_deleted_goes_on_from_the_archive() {
    let mut random = seed::random("a_host_killed_after_its_local_store_was_deleted_goes_on_from_the_archive");
    let server = Shared::server();
    let site = Site::new(&mut random, RECORDS, (server.address(), LONG_SESSION));
    let (toll, ended) = disturb(&|| site.start("data"), (&mut random, 6, any_instant), |host| {
        let ended = kill(host);
        lab::remove(&site.lab.path("data/state"));
        ended
    });
    println!("killed, and the store deleted: {toll:?}");
    assert!(toll.disturbed >= 4 && toll.resumed >= 2, "{toll:?}");
    site.finished_by(ended, "data", &[]);
    assert!(fs::exists(site.lab.path("data/state")).unwrap(), "the store was never made again");
}
