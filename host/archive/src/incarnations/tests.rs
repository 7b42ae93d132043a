//! Tests of what the archive knows of a job.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use gregor_model::names::Term;
use gregor_model::steps::Unobserved;

use super::*;
use crate::local::LocalStore;
use crate::object::create_document;

fn job(name: &str) -> JobName {
    JobName::new(name).unwrap()
}

async fn fill(folder: &Path) -> LocalStore {
    let store = LocalStore::open(folder, Arc::new(Unobserved)).unwrap();
    for (name, incarnation) in [("a", 1), ("a", 2), ("a", 3), ("ab", 4)] {
        let marker = Marker { job: job(name), incarnation: Incarnation(incarnation) };
        create_document(&store, MARKER, &JobKeys::new(&job(name), marker.incarnation).marker(), &marker).await.unwrap();
    }
    let second = JobKeys::new(&job("a"), Incarnation(2));
    for number in [9, 10, 100] {
        store.create(&second.manifest(CheckpointNumber(number), Term(1), 0), Bytes::new()).await.unwrap();
    }
    store
}

#[tokio::test]
async fn each_incarnation_is_found_with_its_highest_manifest_and_its_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let store = fill(folder.path()).await;
    let tombstone = Marker { job: job("a"), incarnation: Incarnation(3) };
    create_document(&store, MARKER, &JobKeys::new(&job("a"), Incarnation(3)).tombstone(), &tombstone).await.unwrap();
    let found = |incarnation, highest: Option<u64>, deleted| Archived {
        incarnation: Incarnation(incarnation),
        highest: highest.map(CheckpointNumber),
        deleted,
    };
    let expected = [found(1, None, Deleted::No), found(2, Some(100), Deleted::No), found(3, None, Deleted::Yes)];
    assert_eq!(incarnations(&store, &job("a")).await.unwrap(), expected);
    assert_eq!(incarnations(&store, &job("ab")).await.unwrap(), [found(4, None, Deleted::No)]);
    assert_eq!(incarnations(&store, &job("b")).await.unwrap(), []);
}

#[tokio::test]
async fn nothing_that_is_not_understood_is_passed_over() {
    let second = JobKeys::new(&job("a"), Incarnation(2));
    let keys = ["tenants/default/jobs/a/backup/x".to_owned(), format!("{}/latest", second.manifests()), second.tombstone()];
    for key in keys {
        let folder = tempfile::tempdir().unwrap();
        let store = fill(folder.path()).await;
        store.create(&key, Bytes::from_static(b"?")).await.unwrap();
        let outcome = incarnations(&store, &job("a")).await;
        assert!(matches!(&outcome, Err(ArchiveError::Corrupt { key: named, .. }) if key.starts_with(named)), "{key}: {outcome:?}");
    }
    // The tombstone of another job was put here.
    let folder = tempfile::tempdir().unwrap();
    let store = fill(folder.path()).await;
    create_document(&store, MARKER, &second.tombstone(), &Marker { job: job("b"), incarnation: Incarnation(2) }).await.unwrap();
    let outcome = incarnations(&store, &job("a")).await;
    assert!(matches!(outcome, Err(ArchiveError::Corrupt { .. })), "{outcome:?}");
}
