//! Sessions that expire, servers that are killed, data that is lost.

use std::time::Duration;

use gregor_coordination::zookeeper::{Options, ZooKeeperCoordinator, read_register};
use gregor_coordination::{CoordinationError, Coordinator};

use super::clock;
use super::house::{begin, fenced, number, object, open, options};
use super::proxy::{Network, Proxy};
use super::server::ZooKeeper;

/// Cuts a host off until its session has expired.
fn expire(server: &ZooKeeper, proxy: &Proxy) {
    proxy.set(Network::Cut);
    clock::wait("the session to expire", || server.ephemerals().is_empty().then_some(()));
}

#[tokio::test]
async fn a_host_whose_session_expired_goes_on_with_a_new_one_when_nobody_took_the_job() {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(server.address());
    let coordinator = open(proxy.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    let permit = coordinator.create(number(1), 10, 3).await.unwrap();
    coordinator.may_show().await.unwrap();
    expire(&server, &proxy);
    proxy.set(Network::Whole);
    coordinator.confirm(permit, &object("m1")).await.unwrap();
    coordinator.may_show().await.unwrap();
    let register = coordinator.read().await.unwrap().unwrap();
    assert_eq!((register.boot, register.term.0), (begin(1).boot, 1), "the claim is the same");
    assert_eq!(register.latest.unwrap().number, number(1));
    clock::wait("both nodes to be there again", || (server.ephemerals().len() == 2).then_some(()));
}

#[tokio::test]
async fn a_host_whose_session_expired_comes_back_by_itself() {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(server.address());
    let coordinator = open(proxy.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    let before = server.ephemerals();
    expire(&server, &proxy);
    proxy.set(Network::Whole);
    clock::wait("its nodes to be there again", || (server.ephemerals().len() == before.len()).then_some(()));
}

#[tokio::test]
async fn a_host_whose_session_expired_is_fenced_when_another_took_the_job() {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(server.address());
    let coordinator = open(proxy.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    let permit = coordinator.create(number(1), 10, 3).await.unwrap();
    proxy.set(Network::Cut);
    // It waits until the session has expired, and no longer.
    let other = open(server.address(), 2);
    let register = other.begin(&begin(2)).await.unwrap();
    let manifest = object("m1");
    let (confirmed, ()) = tokio::join!(coordinator.confirm(permit, &manifest), async { proxy.set(Network::Whole) });
    fenced(confirmed);
    fenced(coordinator.may_show().await);
    fenced(coordinator.create(number(2), 20, 3).await.map(drop));
    assert_eq!(other.read().await, Ok(Some(register)));
}

#[tokio::test]
async fn nothing_is_shown_while_another_host_may_have_taken_the_job() {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(server.address());
    let short = Options { outage_limit: Duration::from_secs(1), ..options(proxy.address(), 1) };
    let coordinator = ZooKeeperCoordinator::open(short).unwrap();
    coordinator.begin(&begin(1)).await.unwrap();
    coordinator.may_show().await.unwrap();
    expire(&server, &proxy);
    let refused = coordinator.may_show().await.unwrap_err();
    assert!(matches!(refused, CoordinationError::Unavailable { .. }), "{refused}");
    let refused = coordinator.create(number(1), 10, 3).await.map(drop).unwrap_err();
    assert!(matches!(refused, CoordinationError::Unavailable { .. }), "nothing was written: {refused}");
    proxy.set(Network::Whole);
    clock::wait("its nodes to be there again", || (server.ephemerals().len() == 2).then_some(()));
    coordinator.may_show().await.unwrap();
}

#[tokio::test]
async fn calls_wait_for_a_killed_server_that_comes_back_with_its_data() {
    let mut server = ZooKeeper::start();
    let coordinator = open(server.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    let permit = coordinator.create(number(1), 10, 3).await.unwrap();
    server.kill();
    let manifest = object("m1");
    let (confirmed, ()) = tokio::join!(coordinator.confirm(permit, &manifest), async { server.restart() });
    confirmed.unwrap();
    let permit = coordinator.create(number(2), 20, 3).await.unwrap();
    server.restart();
    coordinator.confirm(permit, &object("m2")).await.unwrap();
    assert_eq!(read_register(options(server.address(), 2)).unwrap().unwrap().latest.unwrap().number, number(2));
}

#[tokio::test]
async fn a_server_that_lost_its_data_is_refused_and_not_filled_again() {
    let mut server = ZooKeeper::start();
    let coordinator = open(server.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    let permit = coordinator.create(number(1), 10, 3).await.unwrap();
    server.restart_empty();
    let refused = coordinator.confirm(permit, &object("m1")).await.unwrap_err();
    assert!(matches!(refused, CoordinationError::Corrupt { .. }), "{refused}");
    let refused = coordinator.read().await.unwrap_err();
    assert!(matches!(refused, CoordinationError::Corrupt { .. }), "{refused}");
    drop(coordinator);
    assert_eq!(read_register(options(server.address(), 2)), Ok(None));
    let client = zookeeper::Client::connect(&server.address().to_string()).await.unwrap();
    assert_eq!(client.check_stat("/gregor").await.unwrap(), None);
}

#[tokio::test]
async fn replies_that_come_late_do_no_harm() {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(server.address());
    let coordinator = open(proxy.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    let created = Network::RepliesLateAfter(br#""status":"created""#);
    for (n, network) in (1..).zip([Network::RepliesLate, created, Network::HalfClosed, Network::RepliesLost, Network::RequestsLost]) {
        proxy.set(network);
        let late = server.transactions();
        let heal = async {
            // Long enough that the library gives the connection up: what it says then is swallowed, held, or half heard.
            let begun = clock::now();
            clock::wait("the connection to be given up", || (begun.elapsed() > super::house::SESSION / 2).then_some(()));
            let bait_is_left = matches!(proxy.network(), Network::RepliesLateAfter(_));
            assert!(!bait_is_left, "nothing was held back");
            proxy.set(Network::Whole);
        };
        let (permit, ()) = tokio::join!(coordinator.create(number(n), n, 3), heal);
        coordinator.confirm(permit.unwrap(), &object("m")).await.unwrap();
        assert!(server.transactions() >= late + 2, "{network:?}");
        assert_eq!(coordinator.read().await.unwrap().unwrap().latest.unwrap().number, number(n), "{network:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let short = Options { outage_limit: Duration::from_millis(300), ..options(address, 1) };
    let refused = ZooKeeperCoordinator::open(short.clone()).map(drop).unwrap_err();
    let CoordinationError::Unavailable { record, .. } = &refused else { panic!("{refused}") };
    assert!(record.contains(&address.to_string()), "{refused}");
    assert!(matches!(read_register(short), Err(CoordinationError::Unavailable { .. })));
}
