//! One script of calls: it gives the same register as the model, with both coordinators, and whatever becomes of requests and replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gregor_coordination::local::LocalCoordinator;
use gregor_coordination::zookeeper::{ZooKeeperCoordinator, read_register};
use gregor_coordination::{CommitPermit, CoordinationError, Coordinator};
use gregor_model::register::Register;
use gregor_model::steps::{Side, Unobserved};

use super::house::{At, begin, job, name, number, object, open, options, streams};
use super::proxy::{Network, Proxy};
use super::server::ZooKeeper;

const CALLS: usize = 14;

async fn call(coordinator: &dyn Coordinator, index: usize, permit: &mut Option<CommitPermit>) -> Result<(), CoordinationError> {
    match index {
        0 => coordinator.begin(&begin(1)).await.map(drop),
        1 => coordinator.set_spec(&object("spec")).await,
        2 => coordinator.create(number(1), 10, 1).await.map(|made| *permit = Some(made)),
        3 => coordinator.confirm(permit.take().unwrap(), &object("m1")).await,
        4 => coordinator.create(number(2), 20, 1).await.map(|made| *permit = Some(made)),
        5 => coordinator.abort(number(2)).await,
        6 => coordinator.save_point(&name("one"), number(1), 25).await.map(drop),
        7 => coordinator.create(number(3), 30, 1).await.map(|made| *permit = Some(made)),
        8 => coordinator.confirm(permit.take().unwrap(), &object("m3")).await,
        9 => coordinator.create(number(4), 40, 1).await.map(|made| *permit = Some(made)),
        10 => coordinator.go_back(permit.take().unwrap(), &object("m4"), &streams(7)).await.map(drop),
        11 => coordinator.delete_savepoint(&name("one")).await,
        12 => coordinator.create(number(5), 50, 1).await.map(|made| *permit = Some(made)),
        13 => coordinator.confirm(permit.take().unwrap(), &object("m5")).await,
        other => panic!("there is no call {other}"),
    }
}

/// The register after each call, as the model says.
fn modelled() -> Vec<Register> {
    let mut register = Register::first(job(), begin(1));
    let mut after = vec![register.clone()];
    type Move = fn(&mut Register);
    let moves: [Move; CALLS - 1] = [
        |register| register.set_spec(&object("spec")).unwrap(),
        |register| drop(register.create(number(1), 10, 1).unwrap()),
        |register| register.confirm(number(1), object("m1")).unwrap(),
        |register| drop(register.create(number(2), 20, 1).unwrap()),
        |register| register.abort(number(2)).unwrap(),
        |register| drop(register.save_point(&name("one"), number(1), 25).unwrap()),
        |register| drop(register.create(number(3), 30, 1).unwrap()),
        |register| register.confirm(number(3), object("m3")).unwrap(),
        |register| drop(register.create(number(4), 40, 1).unwrap()),
        |register| register.go_back(number(4), object("m4"), streams(7)).unwrap(),
        |register| register.delete_savepoint(&name("one")).unwrap(),
        |register| drop(register.create(number(5), 50, 1).unwrap()),
        |register| register.confirm(number(5), object("m5")).unwrap(),
    ];
    for make in moves {
        make(&mut register);
        after.push(register.clone());
    }
    after
}

async fn check(coordinator: &dyn Coordinator, what: &str) {
    let mut permit = None;
    assert_eq!(coordinator.read().await, Ok(None), "{what}");
    for (index, expected) in modelled().into_iter().enumerate() {
        call(coordinator, index, &mut permit).await.unwrap_or_else(|error| panic!("{what}, call {index}: {error}"));
        assert_eq!(coordinator.read().await, Ok(Some(expected)), "{what}, call {index}");
    }
}

#[tokio::test]
async fn the_same_calls_give_the_same_register_with_both_coordinators() {
    let folder = tempfile::tempdir().unwrap();
    check(&LocalCoordinator::open(folder.path(), &job(), Arc::new(Unobserved)).unwrap(), "local").await;
    let server = ZooKeeper::start();
    check(&open(server.address(), 1), "zookeeper").await;
    let seen = read_register(options(server.address(), 2)).unwrap();
    assert_eq!(seen.as_ref(), modelled().last(), "read by a visitor");
    assert_eq!(open(server.address(), 3).read().await.unwrap().as_ref(), modelled().last(), "read by another host");
}

/// Each write of the script meets this network once; the connection breaks after it.
async fn check_with_lost(lost: Network) {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(server.address());
    let switch = proxy.switch();
    // The odd announcements are first tries: those of a write that is made again find the network whole.
    let met = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&met);
    let mut tries = 0;
    let again = u64::from(lost == Network::RequestsLost);
    let steps = At::new(Side::Before, move || {
        tries += 1;
        if again == 0 || tries % 2 == 1 {
            counted.fetch_add(1, Ordering::Relaxed);
            switch.set(lost);
        }
        true
    });
    let coordinator = ZooKeeperCoordinator::open(gregor_coordination::zookeeper::Options { steps, ..options(proxy.address(), 1) }).unwrap();
    let mut permit = None;
    for (index, expected) in modelled().into_iter().enumerate() {
        let heal = async {
            super::clock::wait("the write to be sent", || (met.load(Ordering::Relaxed) > u64::try_from(index).unwrap()).then_some(()));
            let swallowed = server.transactions();
            if lost == Network::RepliesLost {
                super::clock::wait("the write to arrive", || seen_by_server(&server, index, &expected).then_some(swallowed));
            }
            proxy.set(Network::Cut);
            proxy.set(Network::Whole);
        };
        let (outcome, ()) = tokio::join!(call(&coordinator, index, &mut permit), heal);
        outcome.unwrap_or_else(|error| panic!("{lost:?}, call {index}: {error}"));
        assert_eq!(coordinator.read().await, Ok(Some(expected)), "{lost:?}, call {index}");
    }
    assert_eq!(met.load(Ordering::Relaxed), u64::try_from(CALLS).unwrap(), "each write was sent once into the failing network");
}

fn seen_by_server(server: &ZooKeeper, index: usize, expected: &Register) -> bool {
    let seen = read_register(options(server.address(), 99)).unwrap();
    assert!(seen.is_none() || index > 0 || seen.as_ref() == Some(expected), "{seen:?}");
    seen.as_ref() == Some(expected)
}

#[tokio::test]
async fn a_write_whose_reply_is_lost_is_found_done() {
    check_with_lost(Network::RepliesLost).await;
}

#[tokio::test]
async fn a_write_that_never_arrived_is_made_again() {
    check_with_lost(Network::RequestsLost).await;
}

#[tokio::test]
async fn a_step_made_to_fail_afterwards_is_found_done_and_one_made_to_fail_before_did_nothing() {
    let server = ZooKeeper::start();
    let mut times = 0;
    let fail_first = move || {
        times += 1;
        times != 2
    };
    let options = |side| {
        let steps = At::new(side, fail_first);
        gregor_coordination::zookeeper::Options { steps, ..options(server.address(), 1) }
    };
    let coordinator = ZooKeeperCoordinator::open(options(Side::After)).unwrap();
    coordinator.begin(&begin(1)).await.unwrap();
    let before = server.transactions();
    coordinator.set_spec(&object("spec")).await.unwrap();
    assert_eq!(server.transactions(), before + 1, "it was written once");
    drop(coordinator);
    let coordinator = ZooKeeperCoordinator::open(options(Side::Before)).unwrap();
    let begun = coordinator.begin(&begin(2)).await.unwrap();
    let failed = coordinator.create(number(1), 10, 3).await.unwrap_err();
    assert!(matches!(failed, CoordinationError::Unavailable { .. }), "{failed}");
    assert_eq!(coordinator.read().await, Ok(Some(begun)));
}
