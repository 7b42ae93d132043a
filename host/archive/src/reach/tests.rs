//! Tests of what restore points need and what nobody does: for random jobs each object is one or the other, and nothing that is needed ever goes.

use std::path::Path;

use bytes::Bytes;
use gregor_model::garbage::Submitted;
use gregor_model::names::{Boot, Term};

use super::*;
use crate::random_job::{KEEP, RandomJob};

/// Random jobs of one test, each with a seed of its own that its assertions name.
const SEEDS: std::ops::Range<u64> = 0..6;
const LATER_MS: u64 = u64::MAX;

fn alone() -> Living {
    Living { other: None, in_flight: BTreeSet::new(), submitted: Submitted::Yes }
}

async fn job_of(folder: &Path, seed: u64, steps: usize) -> RandomJob {
    let mut job = RandomJob::begin(folder, seed).await;
    while job.confirmed.len() < steps {
        job.step().await;
    }
    job
}

async fn list(job: &RandomJob) -> Vec<Listed> {
    job.store.list(job.keys.root()).await.unwrap()
}

fn keys(listed: &[Listed]) -> BTreeSet<String> {
    listed.iter().map(|object| object.key.clone()).collect()
}

async fn garbage_of(job: &RandomJob, living: &Living) -> Result<Vec<Listed>, ArchiveError> {
    garbage(&job.store, (&job.keys, list(job).await), (&job.register, living), (LATER_MS, Duration::ZERO)).await
}

/// Demands that everything the job can go back to is there as it was confirmed.
async fn whole(job: &RandomJob, when: &str) {
    let (spec, needed) = spec_of(&job.store, &job.register).await.unwrap();
    assert_eq!(spec.as_ref(), Some(&job.spec), "{when}");
    let listed = keys(&list(job).await);
    assert!(needed.keys().all(|key| listed.contains(key)), "{when}: the spec needs {needed:?}");
    for at in job.register.restore_points() {
        let (loaded, needed) = restore_point(&job.store, &at, spec.as_ref()).await.unwrap();
        assert_eq!(loaded.history, job.confirmed[&at.number], "{when}: checkpoint {}", at.number);
        let lacking: Vec<&String> = needed.keys().filter(|key| !listed.contains(*key)).collect();
        assert!(lacking.is_empty(), "{when}: checkpoint {} lacks {lacking:?}", at.number);
        for object in needed.values() {
            let bytes = job.store.read(&object.key, None).await.unwrap();
            assert_eq!(hash_object(&job.store, object, bytes.len() as u64).await, Ok(bytes.len() as u64), "{when}");
        }
    }
}

#[tokio::test]
async fn what_is_not_garbage_is_reachable_and_a_job_goes_on_after_every_collection() {
    let (mut deleted, mut kept, mut named) = (0, 0, 0);
    for seed in SEEDS {
        let folder = tempfile::tempdir().unwrap();
        let mut job = job_of(folder.path(), seed, 1).await;
        for round in 0..14 {
            let when = format!("seed {seed}, round {round}");
            for _ in 0..job.below(9) {
                job.step().await;
            }
            job.name_or_forget();
            let (listed, reachable) = (keys(&list(&job).await), reachable(&job.store, &job.register).await.unwrap());
            let garbage = garbage_of(&job, &alone()).await.unwrap();
            let found = keys(&garbage);
            assert!(found.is_disjoint(&reachable), "{when}: {:?}", found.intersection(&reachable));
            let neither: Vec<&String> = listed.iter().filter(|key| !found.contains(*key) && !reachable.contains(*key)).collect();
            assert_eq!(neither, [&job.keys.marker()], "{when}");
            assert!(reachable.is_subset(&listed), "{when}");
            for object in &garbage {
                job.store.delete(&object.key).await.unwrap();
            }
            (deleted, kept, named) = (deleted + garbage.len(), kept + reachable.len(), named + job.register.savepoints.len());
            whole(&job, &when).await;
            assert_eq!(garbage_of(&job, &alone()).await, Ok(vec![]), "{when}: a second collection");
        }
        assert!(job.register.restore_points().len() <= usize::try_from(KEEP).unwrap() + 1 + job.register.savepoints.len(), "seed {seed}");
    }
    println!("{deleted} deleted, {kept} kept, {named} savepoints");
    assert!(deleted > 500 && kept > 500 && named > 50, "{deleted} deleted, {kept} kept, {named} savepoints");
}

#[tokio::test]
async fn a_collection_that_stops_at_any_object_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let job = job_of(folder.path(), 3, 16).await;
    let garbage = garbage_of(&job, &alone()).await.unwrap();
    assert!(garbage.len() > 15, "{}", garbage.len());
    for object in &garbage {
        job.store.delete(&object.key).await.unwrap();
        whole(&job, &object.key).await;
    }
}

#[tokio::test]
async fn what_is_younger_than_the_grace_stays() {
    let folder = tempfile::tempdir().unwrap();
    let job = job_of(folder.path(), 1, 20).await;
    let of_age = |object: &Listed| if object.key.ends_with('1') { 5_000 } else { 4_000 };
    let listed: Vec<Listed> = list(&job).await.into_iter().map(|object| Listed { created_at_ms: of_age(&object), ..object }).collect();
    let at = async |now_ms, grace_ms| {
        let observed = (&job.register, &alone());
        garbage(&job.store, (&job.keys, listed.clone()), observed, (now_ms, Duration::from_millis(grace_ms))).await.unwrap()
    };
    let all = at(15_000, 10_000).await;
    assert!(all.iter().any(|object| object.created_at_ms == 5_000), "{all:?}");
    let older = at(14_999, 10_000).await;
    assert_eq!(older, all.iter().filter(|object| object.created_at_ms == 4_000).cloned().collect::<Vec<_>>());
    assert!(!older.is_empty());
    assert_eq!(at(13_999, 10_000).await, []);
    assert!(all.windows(2).all(|pair| pair[0].created_at_ms <= pair[1].created_at_ms), "the oldest first: {all:?}");
    // A clock that stands before the archive's own makes nothing old.
    assert_eq!(at(0, 1).await, []);
}

#[tokio::test]
async fn objects_of_the_living_in_flight_or_of_no_kind_stay() {
    for seed in SEEDS {
        let folder = tempfile::tempdir().unwrap();
        let job = job_of(folder.path(), seed, 25).await;
        let strange =
            ["else", "parts/what/1", "manifests/3", "manifests/a-b-c", "bases/1"].map(|name| format!("{}/{name}", job.keys.root()));
        for key in &strange {
            job.store.create(key, Bytes::from_static(b"x")).await.unwrap();
        }
        let dead = keys(&garbage_of(&job, &alone()).await.unwrap());
        assert!(strange.iter().all(|key| !dead.contains(key)), "seed {seed}: {dead:?}");
        let living = (job.register.boot, job.register.term);
        let beside = Living { other: Some(living), ..alone() };
        let found = keys(&garbage_of(&job, &beside).await.unwrap());
        let is_theirs = |key: &String| key.contains(&format!("/{}/", living.0)) || owned_by_term(key, living.1);
        assert!(!found.iter().any(is_theirs), "seed {seed}: {found:?}");
        assert_eq!(found, dead.iter().filter(|key| !is_theirs(key)).cloned().collect(), "seed {seed}");
        let in_flight: BTreeSet<String> = dead.iter().step_by(2).cloned().collect();
        let found = keys(&garbage_of(&job, &Living { in_flight: in_flight.clone(), ..alone() }).await.unwrap());
        assert_eq!(found, dead.difference(&in_flight).cloned().collect(), "seed {seed}");
    }
}

/// Whether a key is of a manifest or page of this term or a later one: terms rise.
fn owned_by_term(key: &str, Term(term): Term) -> bool {
    let words: Vec<&str> = key.split('/').skip(5).collect();
    let found = match words.as_slice() {
        ["manifests", name] => name.split('-').nth(1),
        ["pages", of, _] => Some(*of),
        _ => None,
    };
    found.is_some_and(|found| found.parse::<u64>().unwrap() >= term)
}

#[tokio::test]
async fn nothing_is_called_garbage_while_a_restore_point_can_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = job_of(folder.path(), 5, 24).await;
    job.name_or_forget();
    for _ in 0..9 {
        job.step().await;
    }
    let reachable = reachable(&job.store, &job.register).await.unwrap();
    let documents = reachable.iter().filter(|key| ["/manifests/", "/pages/", "/specs/"].iter().any(|kind| key.contains(kind)));
    let mut tried = 0;
    for key in documents {
        let file = folder.path().join(key);
        let bytes = std::fs::read(&file).unwrap();
        for damage in ["gone", "altered"] {
            match damage {
                "gone" => std::fs::remove_file(&file).unwrap(),
                _ => std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap(),
            }
            let outcome = garbage_of(&job, &alone()).await;
            std::fs::write(&file, &bytes).unwrap();
            let named = match outcome {
                Err(ArchiveError::Missing { key } | ArchiveError::Corrupt { key, .. }) => key,
                other => panic!("{damage} {key}: {other:?}"),
            };
            assert_eq!(named, *key, "{damage}");
            tried += 1;
        }
    }
    assert!(tried > 20, "only {tried} damages were tried");
    assert!(!garbage_of(&job, &alone()).await.unwrap().is_empty());
}

#[tokio::test]
async fn before_a_job_has_begun_or_was_confirmed_only_what_no_start_can_name_is_garbage() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = RandomJob::begin(folder.path(), 0).await;
    assert_eq!(garbage_of(&job, &alone()).await, Ok(vec![]), "spec, plan and marker");
    job.register.spec = None;
    let before = Living { submitted: Submitted::No, ..alone() };
    assert_eq!(garbage_of(&job, &before).await, Ok(vec![]));
    job.store.create(&job.keys.part(Boot(9), 1), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(keys(&garbage_of(&job, &before).await.unwrap()), BTreeSet::from([job.keys.part(Boot(9), 1)]));
}

#[tokio::test]
async fn every_byte_of_an_object_counts_whatever_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let job = RandomJob::begin(folder.path(), 0).await;
    let piece = usize::try_from(HASH_BYTES).unwrap();
    for length in [0, 1, piece - 1, piece, piece + 1] {
        let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
        let object = ObjectRef { key: format!("of/{length}"), sha256: Digest::of(&bytes) };
        job.store.create(&object.key, Bytes::from(bytes.clone())).await.unwrap();
        assert_eq!(hash_object(&job.store, &object, length as u64).await, Ok(length as u64));
        let file = folder.path().join(&object.key);
        for at in [0, length / 2, length.saturating_sub(1)].into_iter().filter(|at| *at < length) {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            std::fs::write(&file, &altered).unwrap();
            let outcome = hash_object(&job.store, &object, length as u64).await;
            assert!(matches!(&outcome, Err(ArchiveError::Corrupt { key, .. }) if *key == object.key), "byte {at} of {length}: {outcome:?}");
        }
        std::fs::write(&file, [&bytes[..], b"more"].concat()).unwrap();
        let outcome = hash_object(&job.store, &object, length as u64 + 4).await;
        assert!(matches!(outcome, Err(ArchiveError::Corrupt { .. })), "longer than {length}: {outcome:?}");
        std::fs::remove_file(&file).unwrap();
        let outcome = hash_object(&job.store, &object, length as u64 + 1).await;
        assert_eq!(outcome, Err(ArchiveError::Missing { key: object.key.clone() }), "{length}");
    }
}
