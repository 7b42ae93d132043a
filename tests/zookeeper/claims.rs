//! Two hosts and one job: who waits, who takes over, who is fenced off. Refuses to tell hosts apart by anything but their data folders.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use rand::Rng;
use rustix::process::Signal;

use super::house::{EXPIRED, LIBRARY, RECORDS, SESSION, Site, WAITS};
use crate::harness::disturbance::{Instant, until, until_another};
use crate::harness::host::{Ended, Host};
use crate::harness::shared::Shared;
use crate::harness::{clock, seed};

/// How much later than its session's end a dead host may be replaced: the machine is busy, and sessions end in whole ticks.
const SLACK: Duration = Duration::from_secs(4);
/// What a host says that lost the job to another.
const FENCED: &str = "this process may not write for job sequences: boot ";
/// What it says if a write of its own was under way then, and the register has forgotten the checkpoint that it was for.
const UNTOLD: &str = "another host took the job meanwhile, and what became of the write can't be told any more; start again";

/// Demands that a host ended because another one had taken the job.
#[track_caller]
fn displaced(ended: Ended) {
    let ended = ended.calm().code(1).unwarned(&[EXPIRED, LIBRARY, FENCED, UNTOLD, WAITS]);
    assert!(ended.stderr.contains(FENCED) || ended.stderr.contains(UNTOLD), "it does not say why it ended:\n{}", ended.stderr);
}

/// Waits until a host says that it waits.
#[track_caller]
fn waits(host: &mut Host) {
    clock::wait("the host to say that it waits", || {
        assert!(!host.is_over(), "it does not wait:\n{}", host.stderr());
        host.stderr().contains(WAITS).then_some(())
    });
}

#[test]
fn a_second_host_waits_says_for_whom_and_takes_over_when_the_first_is_killed() {
    let mut random = seed::random("a_second_host_waits_says_for_whom_and_takes_over_when_the_first_is_killed");
    let server = Shared::server();
    let site = Site::new(&mut random, RECORDS, (server.address(), SESSION * 3));
    let mut first = site.start("data");
    site.confirmed_above(0, &mut first);
    let id = site.znodes().children(&format!("{}/hosts", site.root()));
    let [id] = &id[..] else { panic!("{id:?} for one host") };
    let mut second = site.start("other");
    waits(&mut second);
    assert!(second.stderr().contains(id.as_str()), "it does not say that it waits for {id}:\n{}", second.stderr());
    let before = site.confirmed_above(3, &mut first);
    first.signal(Signal::KILL);
    let killed = clock::now();
    first.end();
    site.confirmed_above(before + 1, &mut second);
    let took = killed.elapsed();
    println!("replaced after {took:?}");
    assert!(took < SESSION * 3 + SLACK, "it took {took:?} until the dead host was replaced");
    let ended = second.end();
    assert!(ended.resumed().is_some_and(|from| from >= before), "{}", ended.stderr);
    site.finished_by(ended, "other", &[WAITS]);
}

#[test]
fn a_signal_ends_a_host_that_waits_and_nobody_waits_behind_it() {
    let mut random = seed::random("a_signal_ends_a_host_that_waits_and_nobody_waits_behind_it");
    let server = Shared::server();
    let site = Site::new(&mut random, RECORDS / 2, (server.address(), SESSION * 10));
    let mut first = site.start("data");
    site.confirmed_above(0, &mut first);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut second = site.start("other");
        waits(&mut second);
        let asked = clock::now();
        second.signal(signal);
        second.end().calm().code(code).says("is the last confirmed one; the same command goes on from there");
        assert!(asked.elapsed() < SESSION * 5, "it ended {:?} after the signal", asked.elapsed());
    }
    site.finished_by(first.end(), "data", &[]);
}

#[test]
fn a_signal_ends_a_host_that_never_reached_zookeeper() {
    let mut random = seed::random("a_signal_ends_a_host_that_never_reached_zookeeper");
    // A server that takes connections and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let site = Site::new(&mut random, 1_000, (silent.local_addr().unwrap(), SESSION));
    for (data, signal, code) in [("data", Signal::TERM, 143), ("other", Signal::INT, 130)] {
        let mut host = site.start(data);
        clock::wait("the host to look for ZooKeeper", || {
            assert!(!host.is_over(), "it does not wait:\n{}", host.stderr());
            site.lab.path(data).exists().then_some(())
        });
        if signal == Signal::TERM {
            // A wrong address is not to look like a job that does nothing.
            clock::wait("the host to say what it waits for", || host.stderr().contains("can't reach ZooKeeper").then_some(()));
        }
        host.signal(signal);
        host.end().calm().code(code).says("stopped before");
    }
}

#[test]
fn a_host_that_stood_still_for_longer_than_its_session_is_fenced_off_and_changes_nothing() {
    let mut random = seed::random("a_host_that_stood_still_for_longer_than_its_session_is_fenced_off_and_changes_nothing");
    let server = Shared::server();
    let site = Site::new(&mut random, RECORDS, (server.address(), SESSION));
    let folders = ["data", "other"];
    let mut running = site.start(folders[0]);
    let mut above = 0;
    let mut turns = 0;
    while turns < 3 {
        let delay = Duration::from_micros(random.random_range(0..60_000));
        until_another(&mut running, delay);
        running.signal(Signal::STOP);
        if running.is_over() {
            break;
        }
        let mut successor = site.start(folders[(turns + 1) % 2]);
        above = site.confirmed_above(above.max(site.latest(&mut site.znodes())), &mut successor);
        running.signal(Signal::CONT);
        displaced(running.end());
        running = successor;
        turns += 1;
    }
    println!("{turns} hosts stood still and were replaced");
    assert!(turns >= 2, "the job was over after {turns} turns");
    site.finished_by(running.end(), folders[turns % 2], &[EXPIRED, LIBRARY, WAITS]);
}

#[test]
fn a_host_that_awakes_after_its_successor_has_finished_changes_nothing() {
    let mut random = seed::random("a_host_that_awakes_after_its_successor_has_finished_changes_nothing");
    let server = Shared::server();
    let site = Site::new(&mut random, RECORDS / 2, (server.address(), SESSION));
    let mut first = site.start("data");
    let delay = Duration::from_micros(random.random_range(0..60_000));
    until(&mut first, Instant::Confirmed(3, delay));
    first.signal(Signal::STOP);
    assert!(!first.is_over(), "it was over before it stood still");
    site.finished_by(site.start("other").end(), "other", &[WAITS]);
    let nodes = site.tree();
    first.signal(Signal::CONT);
    displaced(first.end());
    assert!(site.tree() == nodes, "it changed the job's nodes");
    // Whoever starts now finds the job as its successor left it.
    site.finished_by(site.start("data").end(), "data", &[]);
}
