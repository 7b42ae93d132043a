//! Tests of the local coordinator: fencing, damage, and the failure of every durable step.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use gregor_model::digest::Digest;
use gregor_model::names::{Attempt, Generation, Incarnation, StreamName};
use gregor_model::register::{Forbidden, Status, StreamRecord};
use gregor_model::steps::{Side, Unobserved};

use super::*;

/// Fails one announcement, counted from 1.
struct FailAt {
    announced: AtomicU64,
    at: u64,
}

impl Steps for FailAt {
    fn announce(&self, step: DurableStep, side: Side) -> Result<(), StepFailure> {
        let number = self.announced.fetch_add(1, Ordering::Relaxed) + 1;
        assert_eq!(step, DurableStep::RegisterWrite, "{side:?}");
        if number == self.at { Err(StepFailure { number, step }) } else { Ok(()) }
    }
}

fn job() -> JobName {
    JobName::new("wordcount").unwrap()
}

fn begin(boot: u128) -> Begin {
    let streams =
        vec![StreamRecord { name: StreamName::new("words").unwrap(), incarnation: Incarnation(boot), partitions: 8, ancestors: vec![] }];
    Begin { boot: Boot(boot), fresh: Incarnation(boot), streams }
}

fn object(key: &str) -> ObjectRef {
    ObjectRef { key: key.to_owned(), sha256: Digest::of(key.as_bytes()) }
}

fn open(folder: &Path) -> LocalCoordinator {
    LocalCoordinator::open(folder, &job(), Arc::new(Unobserved)).unwrap()
}

/// The calls of a run, each with what the register must be after it, as the model says.
const CALLS: usize = 8;

async fn call(coordinator: &LocalCoordinator, index: usize, permit: &mut Option<CommitPermit>) -> Result<(), CoordinationError> {
    match index {
        0 => coordinator.begin(&begin(1)).await.map(drop),
        1 => coordinator.set_spec(&object("spec")).await,
        2 => coordinator.create(CheckpointNumber(1), 10, 3).await.map(|made| *permit = Some(made)),
        3 => coordinator.confirm(permit.take().unwrap(), &object("m1")).await,
        4 => coordinator.create(CheckpointNumber(2), 20, 3).await.map(|made| *permit = Some(made)),
        5 => coordinator.abort(CheckpointNumber(2)).await,
        6 => coordinator.create(CheckpointNumber(3), 30, 3).await.map(|made| *permit = Some(made)),
        7 => coordinator.confirm(permit.take().unwrap(), &object("m3")).await,
        other => panic!("there is no call {other}"),
    }
}

fn modelled() -> Vec<Option<Register>> {
    let mut register = Register::first(job(), begin(1));
    let mut after = vec![None, Some(register.clone())];
    type Move = dyn FnMut(&mut Register);
    let mut moves: Vec<Box<Move>> = vec![
        Box::new(|register| register.set_spec(&object("spec")).unwrap()),
        Box::new(|register| drop(register.create(CheckpointNumber(1), 10, 3).unwrap())),
        Box::new(|register| register.confirm(CheckpointNumber(1), object("m1")).unwrap()),
        Box::new(|register| drop(register.create(CheckpointNumber(2), 20, 3).unwrap())),
        Box::new(|register| register.abort(CheckpointNumber(2)).unwrap()),
        Box::new(|register| drop(register.create(CheckpointNumber(3), 30, 3).unwrap())),
        Box::new(|register| register.confirm(CheckpointNumber(3), object("m3")).unwrap()),
    ];
    for make in &mut moves {
        make(&mut register);
        after.push(Some(register.clone()));
    }
    after
}

#[tokio::test]
async fn calls_do_what_the_model_says_and_a_new_start_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(folder.path());
    let mut permit = None;
    let expected = modelled();
    assert_eq!(coordinator.read().await.unwrap(), None);
    for index in 0..CALLS {
        call(&coordinator, index, &mut permit).await.unwrap();
        assert_eq!(coordinator.read().await.unwrap(), expected[index + 1], "call {index}");
        assert_eq!(read_register(folder.path(), &job()).unwrap(), expected[index + 1], "call {index}, without the coordinator");
        assert_eq!(open(folder.path()).read().await.unwrap(), expected[index + 1], "call {index}, another start");
    }
}

#[tokio::test]
async fn a_failed_durable_step_leaves_the_old_or_the_new_register_and_ends_the_coordinator() {
    let expected = modelled();
    for at in 1..=2 * u64::try_from(CALLS).unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let steps = Arc::new(FailAt { announced: AtomicU64::new(0), at });
        let coordinator = LocalCoordinator::open(folder.path(), &job(), steps).unwrap();
        let mut permit = None;
        let mut failed = None;
        for index in 0..CALLS {
            if let Err(error) = call(&coordinator, index, &mut permit).await {
                assert!(matches!(error, CoordinationError::Undecided { .. }), "step {at}, call {index}: {error}");
                failed = Some(index);
                break;
            }
        }
        let failed = failed.unwrap_or_else(|| panic!("step {at} did not fail"));
        let poisoned = [coordinator.read().await.map(drop), coordinator.begin(&begin(9)).await.map(drop)];
        for outcome in poisoned {
            assert!(matches!(outcome, Err(CoordinationError::Poisoned { .. })), "step {at}: {outcome:?}");
        }
        let found = open(folder.path()).read().await.unwrap();
        // Odd announcements come before the write, even ones after it.
        let side = if at % 2 == 1 { &expected[failed] } else { &expected[failed + 1] };
        assert_eq!(&found, side, "step {at}, call {failed}");
    }
}

#[tokio::test]
async fn a_write_that_the_disk_refuses_keeps_the_old_register() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(folder.path());
    let before = coordinator.begin(&begin(1)).await.unwrap();
    // A folder in the place of the temporary file refuses every user, root as well.
    let temporary = folder.path().join("default/.wordcount.tmp");
    fs::create_dir(&temporary).unwrap();
    let refused = coordinator.set_spec(&object("spec")).await.unwrap_err();
    assert!(matches!(refused, CoordinationError::Undecided { .. }), "{refused}");
    fs::remove_dir(&temporary).unwrap();
    assert!(matches!(coordinator.set_spec(&object("spec")).await, Err(CoordinationError::Poisoned { .. })), "it is not used further");
    assert_eq!(open(folder.path()).read().await.unwrap(), Some(before));
}

#[tokio::test]
async fn every_altered_or_shortened_register_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(folder.path());
    let mut permit = None;
    for index in 0..CALLS {
        call(&coordinator, index, &mut permit).await.unwrap();
    }
    let file = file_of(folder.path(), &job());
    let bytes = fs::read(&file).unwrap();
    let altered = (0..bytes.len()).map(|at| {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        altered
    });
    let shortened = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    for (index, damaged) in altered.chain(shortened).enumerate() {
        fs::write(&file, &damaged).unwrap();
        let mut outcomes = vec![read_register(folder.path(), &job()).map(drop)];
        // A start syncs folders up to the root: slow on a busy disk, and it reads the file with the same function.
        if index % 16 == 0 {
            outcomes.push(LocalCoordinator::open(folder.path(), &job(), Arc::new(Unobserved)).map(drop));
        }
        for outcome in outcomes {
            let Err(CoordinationError::Corrupt { record: named, .. }) = outcome else { panic!("damage {index}: {outcome:?}") };
            assert_eq!(named, file.display().to_string());
        }
        assert_eq!(fs::read(&file).unwrap(), damaged, "damage {index}");
    }
}

#[tokio::test]
async fn what_is_there_but_no_register_is_never_taken_for_absent() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(folder.path(), &job());
    let newer = gregor_model::document::Kind { version: REGISTER.version + 1, ..REGISTER };
    let another = Register::first(JobName::new("another").unwrap(), begin(1));
    let contents = [newer.encode(&Register::first(job(), begin(1))).unwrap(), REGISTER.encode(&another).unwrap()];
    for content in contents {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        let outcome = read_register(folder.path(), &job());
        assert!(matches!(outcome, Err(CoordinationError::Corrupt { .. })), "{outcome:?}");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let outcome = read_register(folder.path(), &job());
    assert!(matches!(outcome, Err(CoordinationError::Corrupt { .. })), "a folder: {outcome:?}");
    fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    let outcome = LocalCoordinator::open(folder.path(), &job(), Arc::new(Unobserved)).map(drop);
    assert!(matches!(outcome, Err(CoordinationError::Corrupt { .. })), "a link to nowhere: {outcome:?}");
}

#[tokio::test]
async fn leftovers_of_a_cut_write_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let before = open(folder.path()).begin(&begin(1)).await.unwrap();
    let temporary = folder.path().join("default/.wordcount.tmp");
    fs::write(&temporary, b"gregor reg").unwrap();
    let coordinator = open(folder.path());
    assert!(!temporary.exists());
    assert_eq!(coordinator.read().await.unwrap(), Some(before));
}

#[tokio::test]
async fn every_start_raises_the_tokens_and_leaves_an_undecided_checkpoint_to_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(folder.path());
    coordinator.begin(&begin(1)).await.unwrap();
    let lost = coordinator.create(CheckpointNumber(1), 10, 3).await.unwrap();
    let second = open(folder.path());
    let register = second.begin(&begin(2)).await.unwrap();
    assert_eq!((register.term, register.generation, register.attempt), (Term(2), Generation(2), Attempt(2)));
    assert_eq!((register.incarnation, register.boot), (Incarnation(1), Boot(2)));
    assert_eq!(register.undecided(), Some(CheckpointNumber(1)));
    let refused = second.create(CheckpointNumber(2), 20, 3).await.unwrap_err();
    assert_eq!(refused, CoordinationError::Forbidden { job: job(), forbidden: Forbidden::Undecided(CheckpointNumber(1)) });
    // The first process is still there, as after SIGSTOP on a file system without locks: it changes nothing.
    let fenced = coordinator.confirm(lost, &object("m1")).await.unwrap_err();
    assert!(matches!(fenced, CoordinationError::Fenced { .. }), "{fenced}");
    second.abort(CheckpointNumber(1)).await.unwrap();
    let statuses: Vec<Status> = second.read().await.unwrap().unwrap().checkpoints.iter().map(|record| record.status).collect();
    assert_eq!(statuses, [Status::Aborted]);
}

#[tokio::test]
async fn nothing_is_written_without_a_claim_and_no_permit_outlives_one() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(folder.path());
    for _ in 0..2 {
        let refused = coordinator.create(CheckpointNumber(1), 0, 3).await.unwrap_err();
        assert!(matches!(refused, CoordinationError::Fenced { .. }), "{refused}");
        open(folder.path()).begin(&begin(1)).await.unwrap();
        // The second time there is a register, but another coordinator's.
    }
    let coordinator = open(folder.path());
    coordinator.begin(&begin(2)).await.unwrap();
    let permit = coordinator.create(CheckpointNumber(1), 0, 3).await.unwrap();
    let before = coordinator.begin(&begin(3)).await.unwrap();
    let fenced = coordinator.confirm(permit, &object("m1")).await.unwrap_err();
    assert!(matches!(fenced, CoordinationError::Fenced { .. }), "{fenced}");
    assert_eq!(coordinator.read().await.unwrap(), Some(before));
}

#[tokio::test]
async fn a_permit_is_worth_nothing_after_the_abort() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(folder.path());
    coordinator.begin(&begin(1)).await.unwrap();
    let permit = coordinator.create(CheckpointNumber(1), 0, 3).await.unwrap();
    coordinator.abort(CheckpointNumber(1)).await.unwrap();
    let refused = coordinator.confirm(permit, &object("m1")).await.unwrap_err();
    assert_eq!(refused, CoordinationError::Forbidden { job: job(), forbidden: Forbidden::NotOpen(CheckpointNumber(1)) });
    assert_eq!(coordinator.read().await.unwrap().unwrap().latest, None);
}

#[tokio::test]
async fn jobs_of_one_folder_share_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let other = JobName::new("other").unwrap();
    open(folder.path()).begin(&begin(1)).await.unwrap();
    let before = read_register(folder.path(), &job()).unwrap();
    let coordinator = LocalCoordinator::open(folder.path(), &other, Arc::new(Unobserved)).unwrap();
    assert_eq!(coordinator.read().await.unwrap(), None);
    coordinator.begin(&begin(2)).await.unwrap();
    assert_eq!(read_register(folder.path(), &job()).unwrap(), before);
}
