//! A network between host and ZooKeeper that fails: cut, slow, deaf on one side, closed by half; for moments and for longer than a session.
//! Refuses to judge how a host finds its way back: what counts is what the job has left.

use std::time::Duration;

use rand::Rng;
use rand::seq::SliceRandom as _;

use super::house::{EXPIRED, OUTAGE, RECORDS, SESSION, Site};
use crate::harness::disturbance::{Instant, until, until_another};
use crate::harness::proxy::{Network, Proxy};
use crate::harness::shared::Shared;
use crate::harness::{clock, seed};

/// All that a network can do wrong.
const FAULTS: [Network; 5] = [Network::Cut, Network::RequestsLost, Network::RepliesLost, Network::RepliesLate, Network::HalfClosed];

#[test]
fn a_job_behind_a_network_that_fails_at_random_loses_and_repeats_nothing() {
    let mut random = seed::random("a_job_behind_a_network_that_fails_at_random_loses_and_repeats_nothing");
    let server = Shared::server();
    let proxy = Proxy::start(server.address());
    let site = Site::new(&mut random, RECORDS, (server.address(), SESSION * 2));
    let mut host = site.start_at("data", proxy.address());
    let mut faults = FAULTS;
    faults.shuffle(&mut random);
    let mut brought = 0;
    for fault in faults {
        let delay = Duration::from_micros(random.random_range(0..30_000));
        until_another(&mut host, delay);
        let time = Duration::from_millis(random.random_range(50..2_500));
        println!("{fault:?} for {time:?}");
        proxy.set(fault);
        until(&mut host, Instant::Started(time));
        proxy.set(Network::Whole);
        brought += u32::from(!host.is_over());
    }
    assert!(brought >= 4, "the job was over after {brought} faults");
    site.finished_by(host.end(), "data", &OUTAGE);
}

#[test]
fn a_confirmation_whose_reply_was_lost_is_found_out_and_the_job_goes_on() {
    let mut random = seed::random("a_confirmation_whose_reply_was_lost_is_found_out_and_the_job_goes_on");
    let server = Shared::server();
    let proxy = Proxy::start(server.address());
    let site = Site::new(&mut random, RECORDS, (server.address(), SESSION));
    let mut znodes = site.znodes();
    let mut host = site.start_at("data", proxy.address());
    site.confirmed_above(0, &mut host);
    for lost in 0..3 {
        proxy.set(Network::RepliesLateAfter(br#""status":"confirmed""#));
        clock::wait("a confirmation to be sent", || {
            assert!(!host.is_over(), "the job is over, {lost} replies were lost:\n{}", host.stderr());
            (proxy.network() == Network::RepliesLate).then_some(())
        });
        proxy.set(Network::RepliesLost);
        let before = site.latest(&mut znodes);
        until(&mut host, Instant::Started(Duration::from_millis(random.random_range(20..200))));
        let confirmed = site.latest(&mut znodes);
        assert!(confirmed <= before + 1, "the host went on without having heard that {before} was confirmed");
        until(&mut host, Instant::Started(Duration::from_millis(20)));
        assert_eq!(site.latest(&mut znodes), confirmed, "the host went on without having heard that {confirmed} was confirmed");
        proxy.set(Network::Whole);
    }
    site.finished_by(host.end(), "data", &OUTAGE);
}

#[test]
fn a_host_whose_session_expires_keeps_its_tasks_and_goes_on_with_another() {
    let mut random = seed::random("a_host_whose_session_expires_keeps_its_tasks_and_goes_on_with_another");
    let server = Shared::server();
    let proxy = Proxy::start(server.address());
    let site = Site::new(&mut random, RECORDS, (server.address(), SESSION));
    let mut znodes = site.znodes();
    let mut host = site.start_at("data", proxy.address());
    site.confirmed_above(3, &mut host);
    let claimed = znodes.json(&site.node("generation"));
    let mut expired = 0;
    for _ in 0..3 {
        proxy.set(Network::RequestsLost);
        clock::wait("the session to expire", || site.present(&mut znodes).is_empty().then_some(()));
        let confirmed = site.latest(&mut znodes);
        // It works until its budgets are full; then its tasks wait, and say the same twice.
        let records = clock::wait("the tasks to wait", || {
            let told = records_told(&host.stderr());
            told.windows(2).last().filter(|pair| pair[0] == pair[1]).map(|pair| pair[1])
        });
        println!("checkpoint {confirmed}, {records} records when the tasks waited");
        assert!(!host.is_over() && site.latest(&mut znodes) == confirmed, "something was confirmed without a session");
        proxy.set(Network::Whole);
        site.confirmed_above(confirmed, &mut host);
        expired += 1;
    }
    // The tasks that the first session had claimed are those that end the job: nobody claimed anything since.
    assert_eq!(znodes.json(&site.node("generation")), claimed);
    let ended = host.end();
    assert!(ended.resumed().is_none() && ended.stderr.matches(EXPIRED).count() >= expired, "{}", ended.stderr);
    site.finished_by(ended, "data", &OUTAGE);
}

/// The records of all progress lines.
fn records_told(stderr: &str) -> Vec<u64> {
    let (whole, _) = stderr.rsplit_once('\n').unwrap_or_default();
    whole.lines().filter_map(|line| line.strip_prefix("checkpoint=")?.split_once("records=")?.1.split(' ').next()?.parse().ok()).collect()
}

#[test]
fn a_host_without_a_session_works_on_until_its_budgets_are_full() {
    let mut random = seed::random("a_host_without_a_session_works_on_until_its_budgets_are_full");
    let server = Shared::server();
    let proxy = Proxy::start(server.address());
    let site = Site::new(&mut random, RECORDS, (server.address(), SESSION));
    // There is room for all of the first stage's records.
    site.lab.edit_job("unpublished-bytes = \"64 KiB\"", "unpublished-bytes = \"64 MiB\"");
    let mut host = site.start_at("data", proxy.address());
    let mut znodes = site.znodes();
    // A start makes it when it needs nobody's answer any more, before its tasks begin.
    let deltas = site.lab.path("data/state/deltas");
    clock::wait("the folder of deltas", || (host.is_over() || deltas.exists()).then_some(()));
    proxy.set(Network::Cut);
    let confirmed = site.latest(&mut znodes);
    let all = u64::try_from(RECORDS).unwrap();
    clock::wait("all records to be read", || {
        assert!(!host.is_over(), "the host is over:\n{}", host.stderr());
        records_told(&host.stderr()).last().filter(|&&records| records >= all).copied()
    });
    clock::wait("the session to expire", || site.present(&mut znodes).is_empty().then_some(()));
    assert!(!host.is_over() && site.latest(&mut znodes) == confirmed, "something was confirmed without a session");
    proxy.set(Network::Whole);
    site.finished_by(host.end(), "data", &OUTAGE);
}
