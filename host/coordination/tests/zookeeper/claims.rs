//! Who may write, what is written, and what two do at the same time.

use gregor_coordination::zookeeper::{Options, Root, ZooKeeperCoordinator, read_register};
use gregor_coordination::{CoordinationError, Coordinator};
use gregor_model::register::Forbidden;
use zookeeper::Client;

use super::clock;
use super::house::{begin, fenced, job, name, number, object, open, options};
use super::server::ZooKeeper;

#[tokio::test]
async fn of_two_boots_the_older_is_fenced() {
    let server = ZooKeeper::start();
    let older = open(server.address(), 1);
    older.begin(&begin(1)).await.unwrap();
    let lost = older.create(number(1), 10, 3).await.unwrap();
    // Two processes with one host id: the later one is taken for a restart.
    let newer = open(server.address(), 1);
    let register = newer.begin(&begin(2)).await.unwrap();
    fenced(older.confirm(lost, &object("m1")).await);
    fenced(older.abort(number(1)).await);
    fenced(older.create(number(2), 10, 3).await.map(drop));
    fenced(older.set_spec(&object("spec")).await);
    fenced(older.may_show().await);
    newer.may_show().await.unwrap();
    assert_eq!(newer.read().await, Ok(Some(register)));
    newer.abort(number(1)).await.unwrap();
    let permit = newer.create(number(2), 20, 3).await.unwrap();
    newer.confirm(permit, &object("m2")).await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_without_a_claim() {
    let server = ZooKeeper::start();
    let coordinator = open(server.address(), 1);
    for _ in 0..2 {
        fenced(coordinator.create(number(1), 10, 3).await.map(drop));
        fenced(coordinator.set_spec(&object("spec")).await);
        fenced(coordinator.abort(number(1)).await);
        fenced(coordinator.may_show().await);
        // The second time there is a register, but another host's.
        open(server.address(), 2).begin(&begin(2)).await.unwrap();
    }
    fenced(ZooKeeperCoordinator::visit(options(server.address(), 3)).unwrap().begin(&begin(3)).await.map(drop));
}

#[tokio::test]
async fn a_permit_is_worth_nothing_after_an_abort_or_a_new_claim() {
    let server = ZooKeeper::start();
    let coordinator = open(server.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    let permit = coordinator.create(number(1), 10, 3).await.unwrap();
    coordinator.abort(number(1)).await.unwrap();
    let refused = coordinator.confirm(permit, &object("m1")).await.unwrap_err();
    assert_eq!(refused, CoordinationError::Forbidden { job: job(), forbidden: Forbidden::NotOpen(number(1)) });
    let permit = coordinator.create(number(2), 20, 3).await.unwrap();
    let before = coordinator.begin(&begin(2)).await.unwrap();
    fenced(coordinator.confirm(permit, &object("m2")).await);
    assert_eq!(coordinator.read().await, Ok(Some(before)));
}

#[tokio::test]
async fn a_restart_takes_over_at_once_while_another_host_waits() {
    let server = ZooKeeper::start();
    let first = open(server.address(), 1);
    first.begin(&begin(1)).await.unwrap();
    let other = open(server.address(), 2);
    let claim = begin(9);
    let mut waiting = Box::pin(other.begin(&claim));
    let candidates = || server.ephemerals().iter().filter(|path| path.contains("/election/")).count();
    let restarted = async {
        clock::wait("the other host to stand behind", || (candidates() == 2).then_some(()));
        let again = open(server.address(), 1);
        (again.begin(&begin(2)).await.unwrap(), again)
    };
    let begun = clock::now();
    let (register, again) = tokio::select! {
        biased;
        outcome = &mut waiting => panic!("the one that waited went before the restart: {outcome:?}"),
        restarted = restarted => restarted,
    };
    assert_eq!((register.boot, candidates()), (begin(2).boot, 2));
    println!("the restart led after {:?}", begun.elapsed());
    fenced(first.set_spec(&object("spec")).await);
    fenced(first.may_show().await);
    again.may_show().await.unwrap();
    again.close().await.unwrap();
    assert_eq!(waiting.await.unwrap().boot, begin(9).boot, "a close lets the other host go on");
}

#[tokio::test]
async fn a_restart_goes_on_at_once_and_another_host_after_a_close() {
    let server = ZooKeeper::start();
    let first = open(server.address(), 1);
    first.begin(&begin(1)).await.unwrap();
    let second = open(server.address(), 1);
    assert_eq!(second.begin(&begin(2)).await.unwrap().boot, begin(2).boot);
    second.close().await.unwrap();
    drop(first);
    assert_eq!(server.ephemerals(), Vec::<String>::new(), "a close removes the nodes");
    let third = open(server.address(), 3);
    assert_eq!(third.begin(&begin(3)).await.unwrap().term.0, 3);
    let closed = second.read().await.unwrap_err();
    assert!(matches!(closed, CoordinationError::Poisoned { .. }), "{closed}");
}

#[tokio::test]
async fn a_host_that_waits_can_be_called_off() {
    let server = ZooKeeper::start();
    let holder = open(server.address(), 1);
    let before = holder.begin(&begin(1)).await.unwrap();
    let waiting = open(server.address(), 2);
    let candidates = || server.ephemerals().iter().filter(|path| path.contains("/election/")).count();
    let claim = begin(2);
    tokio::select! {
        biased;
        outcome = waiting.begin(&claim) => panic!("two lead: {outcome:?}"),
        () = async { clock::wait("it to stand behind", || (candidates() == 2).then_some(())) } => {}
    }
    assert_eq!(waiting.read().await, Ok(Some(before)), "it can still look");
    assert_eq!(candidates(), 1, "it holds up nobody");
    holder.close().await.unwrap();
    assert_eq!(waiting.begin(&claim).await.unwrap().boot, claim.boot, "it may want the job again");
}

#[tokio::test]
async fn jobs_of_one_root_share_nothing_but_the_root() {
    let server = ZooKeeper::start();
    let first = open(server.address(), 1);
    let register = first.begin(&begin(1)).await.unwrap();
    let other = gregor_model::names::JobName::new("wordcount-2").unwrap();
    let second = ZooKeeperCoordinator::open(Options { job: other, ..options(server.address(), 2) }).unwrap();
    assert_eq!(second.read().await, Ok(None));
    second.begin(&begin(2)).await.unwrap();
    assert_eq!(first.read().await, Ok(Some(register)));
    first.may_show().await.unwrap();
    second.may_show().await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_costs_two_transactions_and_its_node_is_the_documented_one() {
    let server = ZooKeeper::start();
    let coordinator = open(server.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    let client = Client::connect(&server.address().to_string()).await.unwrap();
    let before = server.transactions();
    for n in 1..=10 {
        let permit = coordinator.create(number(n), 1_795_341_600_000, 2).await.unwrap();
        coordinator.confirm(permit, &object("m")).await.unwrap();
    }
    assert_eq!(server.transactions() - before, 20, "with those that retire older ones");
    let root = "/gregor/test/tenants/default/jobs/wordcount";
    let mut kept = client.list_children(&format!("{root}/checkpoints")).await.unwrap();
    kept.sort();
    assert_eq!(kept, ["0000000008", "0000000009", "0000000010"]);
    let (data, _) = client.get_data(&format!("{root}/checkpoints/0000000010")).await.unwrap();
    let expected = format!(
        "{{\"version\":1,\"number\":10,\"created-at\":\"2026-11-22T10:00:00.000Z\",\"status\":\"confirmed\",\"manifest\":\"m\",\"sha256\":\"{}\"}}",
        object("m").sha256
    );
    assert_eq!(String::from_utf8(data).unwrap(), expected);
}

#[tokio::test]
async fn a_savepoint_conflicts_with_retirement_and_keeps_what_it_names() {
    let server = ZooKeeper::start();
    let coordinator = open(server.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    for n in 1..=3 {
        let permit = coordinator.create(number(n), n, 1).await.unwrap();
        coordinator.confirm(permit, &object(&format!("m{n}"))).await.unwrap();
    }
    // The fourth retires the second; who is first wins, and nobody believes what is not so.
    let visitor = ZooKeeperCoordinator::visit(options(server.address(), 2)).unwrap();
    let two = name("two");
    let (named, permit) = tokio::join!(visitor.save_point(&two, number(2), 5), coordinator.create(number(4), 4, 1));
    coordinator.confirm(permit.unwrap(), &object("m4")).await.unwrap();
    let register = coordinator.read().await.unwrap().unwrap();
    match named {
        Ok(savepoint) => assert_eq!(register.restore_point(number(2)).map(|kept| kept.object), Some(savepoint.manifest)),
        Err(error) => {
            assert_eq!(error, CoordinationError::Forbidden { job: job(), forbidden: Forbidden::NotKept(number(2)) });
            assert_eq!(register.restore_point(number(2)), None);
        }
    }
    visitor.save_point(&name("four"), number(4), 6).await.unwrap();
    coordinator.create(number(5), 5, 1).await.map(drop).unwrap();
    coordinator.abort(number(5)).await.unwrap();
    let late = visitor.save_point(&name("late"), number(1), 7).await.unwrap_err();
    assert_eq!(late, CoordinationError::Forbidden { job: job(), forbidden: Forbidden::NotKept(number(1)) });
    assert_eq!(visitor.delete_savepoint(&name("four")).await, Ok(()));
    let gone = visitor.delete_savepoint(&name("four")).await.unwrap_err();
    assert_eq!(gone, CoordinationError::Forbidden { job: job(), forbidden: Forbidden::NoSavepoint(name("four")) });
}

#[tokio::test]
async fn of_two_that_want_one_name_one_gets_it() {
    let server = ZooKeeper::start();
    let coordinator = open(server.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    for n in 1..=2 {
        let permit = coordinator.create(number(n), n, 3).await.unwrap();
        coordinator.confirm(permit, &object(&format!("m{n}"))).await.unwrap();
    }
    let savers = [2, 3].map(|host| ZooKeeperCoordinator::visit(options(server.address(), host)).unwrap());
    for round in 0..20 {
        let wanted = name(&format!("round-{round}"));
        let outcomes = tokio::join!(savers[0].save_point(&wanted, number(1), 1), savers[1].save_point(&wanted, number(2), 2));
        let register = coordinator.read().await.unwrap().unwrap();
        let stands = register.savepoints.iter().find(|savepoint| savepoint.name == wanted).unwrap().clone();
        let (got, refused) = match outcomes {
            (Ok(got), Err(refused)) | (Err(refused), Ok(got)) => (got, refused),
            other => panic!("round {round}: {other:?}"),
        };
        assert_eq!(got, stands, "round {round}");
        let forbidden = Forbidden::SavepointTaken { name: wanted, number: stands.number };
        assert_eq!(refused, CoordinationError::Forbidden { job: job(), forbidden }, "round {round}");
    }
}

#[tokio::test]
async fn credentials_are_needed_where_they_were_set() {
    let server = ZooKeeper::start();
    let with =
        |user: &str, password: &str| Options { credentials: Some((user.to_owned(), password.to_owned())), ..options(server.address(), 1) };
    let owner = ZooKeeperCoordinator::open(with("gregor", "geh:eim")).unwrap();
    let register = owner.begin(&begin(1)).await.unwrap();
    let others = [options(server.address(), 2), with("gregor", "wrong"), with("samsa", "geh:eim")];
    for other in others {
        let refused = read_register(other.clone()).unwrap_err();
        assert!(matches!(refused, CoordinationError::Refused { .. }), "{refused}");
        let refused = ZooKeeperCoordinator::open(other).map(drop).unwrap_err();
        assert!(matches!(refused, CoordinationError::Refused { .. }), "{refused}");
        assert!(!refused.to_string().contains("eim"), "a password is told: {refused}");
    }
    assert_eq!(read_register(with("gregor", "geh:eim")), Ok(Some(register)));
    for wrong in [with("", "x"), with("a:b", "x")] {
        assert!(matches!(read_register(wrong), Err(CoordinationError::Refused { .. })));
    }
}

#[tokio::test]
async fn what_stands_in_a_node_and_is_none_of_ours_is_refused_and_left_alone() {
    let server = ZooKeeper::start();
    let coordinator = open(server.address(), 1);
    coordinator.begin(&begin(1)).await.unwrap();
    let permit = coordinator.create(number(1), 1, 3).await.unwrap();
    coordinator.confirm(permit, &object("m1")).await.unwrap();
    drop(coordinator);
    let client = Client::connect(&server.address().to_string()).await.unwrap();
    let root = "/gregor/test/tenants/default/jobs/wordcount";
    for node in ["generation", "latest", "checkpoints/0000000001"] {
        let path = format!("{root}/{node}");
        let (good, _) = client.get_data(&path).await.unwrap();
        let newer = String::from_utf8(good.clone()).unwrap().replace("\"version\":1", "\"version\":2").into_bytes();
        for bad in [Vec::new(), b"{}".to_vec(), good[..good.len() - 1].to_vec(), newer] {
            client.set_data(&path, &bad, None).await.unwrap();
            let refused = read_register(options(server.address(), 2)).unwrap_err();
            assert!(matches!(refused, CoordinationError::Corrupt { .. }), "{node}: {refused}");
            let refused = ZooKeeperCoordinator::open(options(server.address(), 2)).map(drop).unwrap_err();
            assert!(matches!(refused, CoordinationError::Corrupt { .. }), "{node}: {refused}");
            assert_eq!(client.get_data(&path).await.unwrap().0, bad, "{node}");
        }
        client.set_data(&path, &good, None).await.unwrap();
    }
    let (good, _) = client.get_data(&format!("{root}/generation")).await.unwrap();
    client.delete(&format!("{root}/generation"), None).await.unwrap();
    let refused = read_register(options(server.address(), 2)).unwrap_err();
    assert!(matches!(refused, CoordinationError::Corrupt { .. }), "a job without its generation: {refused}");
    assert!(!good.is_empty());
}

#[tokio::test]
async fn roots_share_nothing() {
    let server = ZooKeeper::start();
    open(server.address(), 1).begin(&begin(1)).await.unwrap();
    let elsewhere = Options { root: Root::new("/elsewhere").unwrap(), ..options(server.address(), 2) };
    assert_eq!(read_register(elsewhere.clone()), Ok(None));
    let client = Client::connect(&server.address().to_string()).await.unwrap();
    assert_eq!(client.check_stat("/elsewhere").await.unwrap(), None, "a visitor makes no node");
    let coordinator = ZooKeeperCoordinator::open(elsewhere).unwrap();
    assert_eq!(coordinator.begin(&begin(2)).await.unwrap().term.0, 1);
}
