//! Servers of ZooKeeper that are killed and started again. Refuses to stop one gently: a server that says good-bye is the easy case.

use std::time::Duration;

use rand::Rng;

use super::house::{OUTAGE, RECORDS, SESSION, Site};
use crate::harness::disturbance::{Instant, until, until_another};
use crate::harness::seed;
use crate::harness::zookeeper::ZooKeeper;

#[test]
fn a_server_that_is_killed_and_started_again_on_its_data_costs_time_only() {
    let mut random = seed::random("a_server_that_is_killed_and_started_again_on_its_data_costs_time_only");
    let mut server = ZooKeeper::start();
    // Enough for a fast machine to be at it still when the server has come back twice.
    let site = Site::new(&mut random, RECORDS * 4, (server.address(), SESSION * 2));
    let mut host = site.start("data");
    // Each is down for so long; the last one for several sessions.
    for down in [Duration::ZERO, Duration::from_millis(random.random_range(0..1_500)), SESSION * 2 * 3] {
        let delay = Duration::from_micros(random.random_range(0..30_000));
        until_another(&mut host, delay);
        server.kill();
        until(&mut host, Instant::Started(down));
        assert!(!host.is_over(), "the host is over:\n{}", host.stderr());
        server.restart();
    }
    site.finished_by(host.end(), "data", &OUTAGE);
}

#[test]
fn a_job_fails_when_the_outage_limit_has_passed_and_its_next_start_goes_on() {
    let mut random = seed::random("a_job_fails_when_the_outage_limit_has_passed_and_its_next_start_goes_on");
    let mut server = ZooKeeper::start();
    let site = Site::new(&mut random, RECORDS / 3, (server.address(), SESSION));
    site.lab.edit_job("[checkpoint]", "[checkpoint]\noutage-limit = \"3 s\"");
    let mut host = site.start("data");
    let confirmed = site.confirmed_above(3, &mut host);
    server.kill();
    let address = server.address().to_string();
    let failed = host.end().calm().code(1).says(&address).says("can't be reached").says("tried for 3s");
    assert!(failed.confirmed().is_some_and(|number| number >= confirmed), "{}", failed.stderr);
    // While nobody answers, a start says the same.
    site.start("data").end().calm().code(1).says(&address).says("can't be reached");
    server.restart();
    let ended = site.start("data").end();
    assert!(ended.resumed().is_some_and(|from| from >= confirmed), "{}", ended.stderr);
    site.finished_by(ended, "data", &OUTAGE);
}
