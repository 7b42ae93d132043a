//! A ZooKeeper that is not the one that the archive knows: it lost its data, or belongs to another cluster. Refuses to repair anything: what is
//! there must stay as it was.

use std::fs;
use std::path::PathBuf;

use super::house::{OUTAGE, RECORDS, SESSION, Site};
use crate::harness::host::Ended;
use crate::harness::shared::Shared;
use crate::harness::zookeeper::ZooKeeper;
use crate::harness::{lab, seed};

/// What a refused start must not touch: the archive, the output, and this host's own data but for its lock.
fn kept(site: &Site) -> Vec<(PathBuf, Vec<u8>)> {
    let folders = ["archive", "out", "data/state", "other/state"];
    let paths = folders.iter().flat_map(|name| lab::files_below(&site.lab.path(name)));
    paths.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// Demands that a start was refused because coordination data was lost.
#[track_caller]
fn refused(ended: Ended) {
    let ended = ended.calm().code(3).says("sequences").says("lost");
    assert!(ended.resumed().is_none() && ended.confirmed().is_none(), "it went on:\n{}", ended.stderr);
}

#[test]
fn a_start_is_refused_when_zookeeper_knows_nothing_of_a_job_that_the_archive_knows() {
    let mut random = seed::random("a_start_is_refused_when_zookeeper_knows_nothing_of_a_job_that_the_archive_knows");
    let server = Shared::server();
    let mut other = ZooKeeper::start();
    let site = Site::new(&mut random, RECORDS / 5, (other.address(), SESSION));
    let mut host = site.start("data");
    site.confirmed_above(5, &mut host);
    drop(host);
    let before = kept(&site);
    // Neither another cluster's servers know the job...
    for data in ["data", "other"] {
        refused(site.start_at(data, server.address()).end());
    }
    // ... nor its own after their data was lost.
    other.restart_empty();
    for data in ["data", "other"] {
        refused(site.start(data).end());
    }
    assert!(kept(&site) == before, "a refused start has touched what was there");
    let tenants = site.znodes().children(&format!("{}/tenants", site.root()));
    assert!(tenants.is_empty(), "a refused start has made {tenants:?}");
}

#[test]
fn a_host_whose_zookeeper_loses_its_data_meanwhile_ends_and_touches_nothing_more() {
    let mut random = seed::random("a_host_whose_zookeeper_loses_its_data_meanwhile_ends_and_touches_nothing_more");
    let mut server = ZooKeeper::start();
    let site = Site::new(&mut random, RECORDS, (server.address(), SESSION));
    let mut host = site.start("data");
    site.confirmed_above(5, &mut host);
    server.restart_empty();
    let ended = host.end().calm().code(3).says("lost its data").says(&site.root());
    let confirmed = ended.confirmed().expect("a checkpoint before the loss");
    let nodes = site.znodes().tree(&site.root());
    assert!(nodes.iter().all(|(path, _)| !path.contains("/jobs/")), "the job was made anew: {nodes:?}");
    println!("checkpoint {confirmed} was the last one");
    refused(site.start("data").end());
}

#[test]
fn a_cluster_that_has_a_job_of_this_name_refuses_the_archive_of_another_cluster() {
    let mut random = seed::random("a_cluster_that_has_a_job_of_this_name_refuses_the_archive_of_another_cluster");
    let server = Shared::server();
    let sites = [(), ()].map(|()| Site::new(&mut random, RECORDS / 5, (server.address(), SESSION)));
    for site in &sites {
        let mut host = site.start("data");
        site.confirmed_above(2, &mut host);
    }
    // The second job's hosts are given the first one's archive, with its own beside it or not.
    let [first, second] = &sites;
    second.lab.edit_job("location = \"archive\"", &format!("location = \"{}\"", first.lab.path("archive").display()));
    let before = (kept(first), kept(second));
    let ended = second.start("data").end().calm();
    assert!(matches!(ended.code, Some(2 | 3)), "it ended with {:?}:\n{}", ended.code, ended.stderr);
    assert!((kept(first), kept(second)) == before, "a refused start has touched what was there");
    second.lab.edit_job(&format!("location = \"{}\"", first.lab.path("archive").display()), "location = \"archive\"");
    for site in &sites {
        site.finished_by(site.start("data").end(), "data", &OUTAGE);
    }
}
