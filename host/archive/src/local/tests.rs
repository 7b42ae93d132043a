//! Tests of the local archive: create-once under races, what is refused, and the failure of every durable step.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use gregor_model::steps::{StepFailure, Unobserved};

use super::*;

fn open(folder: &Path) -> LocalStore {
    LocalStore::open(folder, Arc::new(Unobserved)).unwrap()
}

/// Fails one announcement, counted from 1.
struct FailAt {
    announced: AtomicU64,
    at: u64,
}

impl Steps for FailAt {
    fn announce(&self, step: DurableStep, _: Side) -> Result<(), StepFailure> {
        let number = self.announced.fetch_add(1, Ordering::Relaxed) + 1;
        if number == self.at { Err(StepFailure { number, step }) } else { Ok(()) }
    }
}

/// Lets 16 threads, each with a store and a runtime of its own as separate processes have them, create an object each at once.
fn race(folder: &Path, key: &str, content: impl Fn(u64) -> Bytes + Sync) -> Vec<Result<(), ArchiveError>> {
    let barrier = Barrier::new(16);
    std::thread::scope(|scope| {
        let racer = |index| {
            let (barrier, content) = (&barrier, &content);
            scope.spawn(move || {
                let store = open(folder);
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                barrier.wait();
                runtime.block_on(store.create(key, content(index)))
            })
        };
        let threads: Vec<_> = (0..16).map(racer).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[tokio::test]
async fn of_16_racing_writers_with_different_content_one_wins_each_key() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let key = format!("new/folder-{round}/object");
        // Long enough that a writer is interrupted in the middle.
        let content = |index: u64| Bytes::from(index.to_le_bytes().repeat(10_000));
        let outcomes = race(folder.path(), &key, content);
        let winners: Vec<u64> = (0..).zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(index, _)| index).collect();
        let [winner] = winners.as_slice() else { panic!("round {round}: {outcomes:?}") };
        let refused = outcomes.iter().filter(|outcome| **outcome == Err(ArchiveError::Exists { key: key.clone() })).count();
        assert_eq!(refused, 15, "round {round}: {outcomes:?}");
        assert_eq!(open(folder.path()).read(&key, None).await.unwrap(), content(*winner), "round {round}");
    }
    assert_eq!(open(folder.path()).sweep("new").await.unwrap(), 0, "leftovers of writers that lived on");
}

#[tokio::test]
async fn racing_writers_with_the_same_content_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let key = format!("object-{round}");
        let outcomes = race(folder.path(), &key, |_| Bytes::from(vec![7; 50_000]));
        assert_eq!(outcomes, vec![Ok(()); 16], "round {round}");
    }
}

#[tokio::test]
async fn an_object_is_never_replaced_whatever_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.create("a/b", Bytes::from_static(b"content")).await.unwrap();
    store.create("a/b", Bytes::from_static(b"content")).await.unwrap();
    for other in ["", "content and more", "conte", "CONTENT"] {
        let outcome = store.create("a/b", Bytes::from(other)).await;
        assert_eq!(outcome, Err(ArchiveError::Exists { key: "a/b".to_owned() }), "{other:?}");
    }
    assert_eq!(store.read("a/b", None).await.unwrap(), "content");
    store.create("empty", Bytes::new()).await.unwrap();
    store.create("empty", Bytes::new()).await.unwrap();
    assert_eq!(store.read("empty", None).await.unwrap(), "");
    assert_eq!(store.create("empty", Bytes::from("x")).await, Err(ArchiveError::Exists { key: "empty".to_owned() }));
}

#[tokio::test]
async fn a_range_is_answered_exactly_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.create("object", Bytes::from_static(b"0123456789")).await.unwrap();
    for start in 0..12_u64 {
        for end in 0..12_u64 {
            let outcome = store.read("object", Some(start..end)).await;
            if start <= end && end <= 10 {
                let (from, to) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
                assert_eq!(outcome.unwrap(), &b"0123456789"[from..to], "{start}..{end}");
            } else {
                assert!(matches!(outcome, Err(ArchiveError::Corrupt { .. })), "{start}..{end}: {outcome:?}");
            }
        }
    }
    let outcome = store.read("object", Some(0..u64::MAX)).await;
    assert!(matches!(outcome, Err(ArchiveError::Corrupt { .. })), "{outcome:?}");
    assert_eq!(store.read("other", Some(0..1)).await, Err(ArchiveError::Missing { key: "other".to_owned() }));
}

#[tokio::test]
async fn a_document_of_absurd_length_is_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // A sparse file: long, but without blocks.
    File::create(folder.path().join("object")).unwrap().set_len(DOCUMENT_BYTES_MAX + 1).unwrap();
    let outcome = store.read("object", None).await;
    assert!(matches!(outcome, Err(ArchiveError::Corrupt { .. })), "{outcome:?}");
    assert_eq!(store.read("object", Some(0..3)).await.unwrap(), vec![0; 3]);
}

#[tokio::test]
async fn no_key_leads_out_of_the_folder() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("secret"), b"secret").unwrap();
    let store = open(&root.path().join("archive"));
    let keys = [
        "../secret",
        "a/../../secret",
        "/secret",
        "",
        "/",
        ".",
        "..",
        "a//b",
        "a/",
        "a/./b",
        "a#1",
        "a b",
        "A",
        "ä",
        "a\\b",
        "a%2e%2e/b",
        "\0",
    ];
    for key in keys {
        let outcomes = [store.read(key, None).await.map(drop), store.create(key, Bytes::new()).await, store.delete(key).await];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(ArchiveError::Corrupt { .. })), "{key:?}: {outcome:?}");
        }
    }
    assert_eq!(fs::read(root.path().join("secret")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn listing_shows_objects_only_and_sweeping_removes_leftovers_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for key in ["jobs/a/2", "jobs/a/1", "jobs/a/b/3", "jobs/ab", "other"] {
        store.create(key, Bytes::from(key)).await.unwrap();
    }
    // As a process that was killed before and after its link leaves them.
    fs::write(folder.path().join("jobs/a/9#1"), b"half").unwrap();
    fs::hard_link(folder.path().join("jobs/a/1"), folder.path().join("jobs/a/1#23")).unwrap();
    fs::write(folder.path().join("other#1"), b"half").unwrap();
    // The archive's own clock is that of the file system.
    let age = File::open(folder.path().join("jobs/a/2")).unwrap();
    age.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_234_567)).unwrap();
    let names = async |prefix| {
        let listed = store.list(prefix).await.unwrap();
        assert!(listed.iter().all(|object| object.bytes == object.key.len() as u64), "{listed:?}");
        let aged: Vec<&str> = listed.iter().filter(|object| object.created_at_ms == 1_234_567).map(|object| &*object.key).collect();
        assert_eq!(aged, ["jobs/a/2"], "{listed:?}");
        listed.into_iter().map(|object| object.key).collect::<Vec<_>>()
    };
    let below_a = ["jobs/a/1", "jobs/a/2", "jobs/a/b/3"];
    assert_eq!(names("jobs/a").await, below_a);
    assert_eq!(names("jobs").await, ["jobs/a/1", "jobs/a/2", "jobs/a/b/3", "jobs/ab"]);
    assert_eq!(store.list("nothing/here").await.unwrap(), []);
    assert_eq!(store.folders("jobs").await.unwrap(), ["a"]);
    assert_eq!(store.folders("nothing/here").await.unwrap(), Vec::<String>::new());
    assert_eq!(store.sweep("jobs").await.unwrap(), 2);
    assert_eq!(store.sweep("jobs").await.unwrap(), 0);
    assert!(folder.path().join("other#1").exists(), "outside the prefix");
    assert_eq!(names("jobs/a").await, below_a);
    assert_eq!(store.read("jobs/a/1", None).await.unwrap(), "jobs/a/1");
}

#[tokio::test]
async fn a_listing_fails_rather_than_leave_something_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.create("jobs/a", Bytes::new()).await.unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("jobs/b")).unwrap();
    for outcome in [store.list("jobs").await.map(drop), store.folders("jobs").await.map(drop)] {
        let Err(ArchiveError::Unavailable { reason, .. }) = &outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("jobs/b"), "{reason}");
    }
    fs::remove_file(folder.path().join("jobs/b")).unwrap();
    // A folder that lies on another disk is part of the archive; one that contains itself is an error, not an endless walk.
    std::os::unix::fs::symlink(folder.path(), folder.path().join("jobs/b")).unwrap();
    let outcome = store.list("jobs").await;
    assert!(matches!(outcome, Err(ArchiveError::Unavailable { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_failed_durable_step_leaves_nothing_or_the_object_and_may_be_repeated() {
    for at in 1..=4 {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path(), Arc::new(FailAt { announced: AtomicU64::new(0), at })).unwrap();
        let created = store.create("a/b", Bytes::from_static(b"x")).await;
        assert_eq!(matches!(&created, Err(ArchiveError::Unavailable { .. })), at <= 2, "{at}: {created:?}");
        let listed = store.list("a").await.unwrap().len();
        assert_eq!(listed, usize::from(at > 1), "step {at}");
        if created.is_err() {
            store.create("a/b", Bytes::from_static(b"x")).await.unwrap();
            continue;
        }
        let deleted = store.delete("a/b").await;
        assert!(matches!(&deleted, Err(ArchiveError::Unavailable { .. })), "{at}: {deleted:?}");
        assert_eq!(store.list("a").await.unwrap().len(), usize::from(at == 3), "step {at}");
        store.delete("a/b").await.unwrap();
        assert_eq!(store.list("a").await.unwrap(), []);
    }
}

#[tokio::test]
async fn what_the_disk_refuses_is_an_error_that_may_pass() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.create("file", Bytes::new()).await.unwrap();
    store.create("folder/file", Bytes::new()).await.unwrap();
    for key in ["file/below", "folder"] {
        let outcome = store.create(key, Bytes::from_static(b"x")).await;
        assert!(matches!(&outcome, Err(ArchiveError::Unavailable { key: named, .. }) if named == key), "{key}: {outcome:?}");
    }
    // The folder of an object vanishes under a running host: it is made again, not remembered as being there.
    fs::remove_dir_all(folder.path().join("folder")).unwrap();
    store.create("folder/file", Bytes::from_static(b"again")).await.unwrap();
    assert_eq!(store.read("folder/file", None).await.unwrap(), "again");
}

#[tokio::test]
async fn looking_creates_nothing_and_opening_makes_the_parents() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a/b/archive");
    let outcome = LocalStore::look(&folder, Arc::new(Unobserved)).map(drop);
    assert!(matches!(outcome, Err(ArchiveError::Folder { .. })), "{outcome:?}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    open(&folder).create("object", Bytes::from_static(b"x")).await.unwrap();
    let store = LocalStore::look(&folder, Arc::new(Unobserved)).unwrap();
    assert_eq!(store.read("object", None).await.unwrap(), "x");
    fs::write(root.path().join("file"), b"").unwrap();
    let outcome = LocalStore::open(&root.path().join("file"), Arc::new(Unobserved)).map(drop);
    assert!(matches!(outcome, Err(ArchiveError::Folder { .. })), "{outcome:?}");
}
