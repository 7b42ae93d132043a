//! Tests of the chain of manifests: whatever was confirmed is read back as what it adds up to, no damage to what is needed goes unnoticed, and what
//! is not needed may be gone.

use std::collections::BTreeSet;
use std::sync::Mutex;

use bytes::Bytes;
use gregor_model::names::Incarnation;

use super::*;
use crate::random_job::{RandomJob, other_attempt};

/// What the manifests up to the last confirmed one add up to, as it is read from the archive, without what readers had passed by then.
async fn read_back(job: &RandomJob) -> Result<History, ArchiveError> {
    let mut history = load(&job.store, &job.latest()).await?.history;
    history.forget_read(&job.spec.job);
    Ok(history)
}

async fn job_of(folder: &std::path::Path, seed: u64, confirmed: usize) -> RandomJob {
    let mut job = RandomJob::begin(folder, seed).await;
    while job.confirmed.len() < confirmed {
        job.step().await;
    }
    job
}

/// Creates a manifest that is none of `job`'s own, and makes it the latest.
async fn seal(job: &mut RandomJob, manifest: &Manifest) -> ManifestRef {
    let key = job.keys.manifest(manifest.number, Term(99), 9);
    ManifestRef { number: manifest.number, object: write_manifest(&job.store, &key, manifest).await.unwrap() }
}

/// The next manifest of a job, with nothing in it.
fn next(job: &RandomJob) -> Manifest {
    Manifest {
        number: CheckpointNumber(job.register.created.0 + 1),
        incarnation: job.register.incarnation,
        branch: job.register.branch,
        term: job.register.term,
        created_at_ms: 0,
        predecessor: job.register.latest.clone(),
        pages: None,
        full: None,
        segments: vec![],
        parts: vec![],
        left_out: vec![],
        releases: vec![],
        bases: vec![],
        merges: vec![],
        times: None,
    }
}

#[tokio::test]
async fn histories_of_any_length_are_read_back_as_what_was_confirmed() {
    let (mut bases, mut merged, mut full) = (0, 0, 0);
    for seed in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let mut job = job_of(folder.path(), seed, 1).await;
        for step in 0..45 {
            let before = (job.register.latest.clone(), job.history.clone());
            job.step().await;
            assert_eq!(read_back(&job).await.as_ref(), Ok(&job.history), "seed {seed}, step {step}");
            if job.register.latest != before.0 {
                let mut found = load_before(&job.store, &job.latest()).await.unwrap();
                found.forget_read(&job.spec.job);
                assert_eq!(found, before.1, "seed {seed}, before step {step}");
            }
        }
        bases += job.history.tasks.values().filter(|task| task.base.is_some()).count();
        merged += job.history.tasks.values().flat_map(|task| &task.chain).filter(|link| link.segments > 1).count();
        full += usize::from(load(&job.store, &job.latest()).await.unwrap().full().is_some());
    }
    assert!(bases > 10 && merged > 10 && full == 8, "{bases} bases, {merged} merged links, {full} of 8 begin with a full manifest");
}

#[tokio::test]
async fn a_page_in_which_nothing_has_changed_is_named_again_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let job = job_of(folder.path(), 2, 12).await;
    let term = Term(50);
    let announced = Mutex::new(vec![]);
    let write = async |history: &History, before: Option<&Full>| {
        announced.lock().unwrap().clear();
        let announce = |key: &str| announced.lock().unwrap().push(key.to_owned());
        write_full(&job.store, (&job.keys, term), (&Pages::of(history), before), &announce).await.unwrap()
    };
    let first = write(&job.history, None).await;
    let keys: Vec<String> = first.objects().map(|object| object.key.clone()).collect();
    assert_eq!(*announced.lock().unwrap(), keys, "each is told before it is there");
    assert!(first.tasks.len() == 2 && !first.parts.is_empty(), "{first:?}");
    let again = write(&job.history, Some(&first)).await;
    assert_eq!((&again, announced.lock().unwrap().len()), (&first, 0));
    // One task of the second stage.
    let mut changed = job.history.clone();
    other_attempt(changed.tasks.values_mut().last().unwrap());
    let after = write(&changed, Some(&first)).await;
    assert_eq!((&after.tasks[0], &after.parts), (&first.tasks[0], &first.parts));
    assert_ne!(after.tasks[1], first.tasks[1]);
    assert_eq!(*announced.lock().unwrap(), [after.tasks[1].key.clone()]);
    // Without the last one, as after a start that found none, the same bytes come under the same keys.
    let anew = write(&job.history, None).await;
    assert_eq!(anew, first);
}

#[tokio::test]
async fn every_document_that_is_needed_is_missed_by_name_and_all_others_may_be_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = job_of(folder.path(), 4, 20).await;
    let mut loaded = load(&job.store, &job.latest()).await.unwrap();
    while loaded.manifests.len() < 3 {
        job.step().await;
        loaded = load(&job.store, &job.latest()).await.unwrap();
    }
    let needed: BTreeSet<&str> =
        loaded.manifests.iter().map(|(object, _)| object).chain(&loaded.pages).map(|object| &*object.key).collect();
    assert!(loaded.full().is_some(), "{needed:?}");
    for key in &needed {
        let file = folder.path().join(key);
        let bytes = std::fs::read(&file).unwrap();
        for damage in ["gone", "cut", "altered"] {
            match damage {
                "gone" => std::fs::remove_file(&file).unwrap(),
                "cut" => std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap(),
                _ => std::fs::write(&file, [&bytes[..bytes.len() - 2], b" \n"].concat()).unwrap(),
            }
            let outcome = load(&job.store, &job.latest()).await;
            std::fs::write(&file, &bytes).unwrap();
            let named = match outcome {
                Err(ArchiveError::Missing { key }) if damage == "gone" => key,
                Err(ArchiveError::Corrupt { key, .. }) if damage != "gone" => key,
                other => panic!("{damage} {key}: {other:?}"),
            };
            assert_eq!(named, *key, "{damage}");
        }
    }
    let listed = job.store.list(job.keys.root()).await.unwrap();
    let others: Vec<_> = listed.iter().filter(|object| !needed.contains(&*object.key)).collect();
    assert!(others.iter().any(|object| object.key.contains("/manifests/")), "no manifest lies before the last full one");
    for object in others {
        job.store.delete(&object.key).await.unwrap();
    }
    assert_eq!(read_back(&job).await.as_ref(), Ok(&job.history));
}

#[tokio::test]
async fn a_history_that_version_1_began_is_read_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // Short enough that no full manifest was written.
    let mut job = RandomJob::begin(folder.path(), 6).await;
    while job.register.created.0 < 6 {
        job.step().await;
    }
    let manifests: Vec<Manifest> =
        load(&job.store, &job.latest()).await.unwrap().manifests.into_iter().map(|(_, manifest)| manifest).collect();
    assert!(manifests.len() > 2 && manifests.iter().all(|manifest| manifest.full.is_none()), "{}", manifests.len());
    let mut pages = vec![];
    for page in [&manifests[..2], &manifests[2..]] {
        let (first, last) = (page[0].number, page[page.len() - 1].number);
        let key = format!("{}/pages/{:010}-{:010}-1", job.keys.root(), first.0, last.0);
        pages.push(PageRef { first, last, object: create_document(&job.store, PAGE, &key, &page).await.unwrap() });
    }
    let full = Manifest { pages: Some(pages.clone()), ..next(&job) };
    let latest = seal(&mut job, &full).await;
    let loaded = load(&job.store, &latest).await.unwrap();
    assert_eq!((loaded.manifests.len(), loaded.pages.len(), loaded.full()), (1, 2, None));
    job.history.apply(&full).unwrap();
    assert_eq!(load_from(&job, &latest).await, job.history);
    // The next full one is of version 2, and needs nothing of all that.
    let term = job.register.term;
    let pages = write_full(&job.store, (&job.keys, term), (&Pages::of(&job.history), None), &|_| ()).await.unwrap();
    let number = CheckpointNumber(full.number.0 + 1);
    let manifest = Manifest { number, predecessor: Some(latest), full: Some(pages), ..next(&job) };
    let latest = seal(&mut job, &manifest).await;
    job.history.apply(&manifest).unwrap();
    assert_eq!(load_from(&job, &latest).await, job.history);
    assert_eq!(load(&job.store, &latest).await.unwrap().manifests.len(), 1);
}

async fn load_from(job: &RandomJob, latest: &ManifestRef) -> History {
    let mut history = load(&job.store, latest).await.unwrap().history;
    history.forget_read(&job.spec.job);
    history
}

/// Reads a history whose last manifest says something that it should not.
async fn load_with(spoil: impl FnOnce(&mut Manifest)) -> Result<Loaded, ArchiveError> {
    let folder = tempfile::tempdir().unwrap();
    let mut job = job_of(folder.path(), 9, 4).await;
    let confirmed = load(&job.store, &job.latest()).await.unwrap().manifests;
    let again = confirmed.into_iter().flat_map(|(_, manifest)| manifest.segments).next().unwrap();
    let mut last = Manifest { segments: vec![again], ..next(&job) };
    spoil(&mut last);
    let latest = seal(&mut job, &last).await;
    load(&job.store, &latest).await
}

#[tokio::test]
async fn manifests_that_do_not_follow_each_other_are_refused() {
    let nothing = |last: &mut Manifest| last.segments.clear();
    let whole = load_with(nothing).await.map(|loaded| loaded.manifests.len());
    assert_eq!(whole, Ok(5));
    let before = |last: &mut Manifest, below: u64| {
        let before = last.predecessor.as_mut().unwrap();
        before.number = CheckpointNumber(before.number.0 - below);
    };
    let outcomes = [
        (
            "another incarnation",
            load_with(|last| {
                nothing(last);
                last.incarnation = Incarnation(8)
            })
            .await,
        ),
        (
            "a predecessor above it",
            load_with(|last| {
                nothing(last);
                last.number = CheckpointNumber(1)
            })
            .await,
        ),
        (
            "its predecessor's number",
            load_with(|last| {
                nothing(last);
                last.number = last.predecessor.as_ref().unwrap().number
            })
            .await,
        ),
        (
            "a predecessor of another number",
            load_with(|last| {
                nothing(last);
                before(last, 1)
            })
            .await,
        ),
        (
            "pages of manifests that hold nothing",
            load_with(|last| {
                nothing(last);
                last.pages = Some(vec![])
            })
            .await,
        ),
        ("a segment that was confirmed before", load_with(|_| {}).await),
    ];
    for (what, outcome) in outcomes {
        assert!(matches!(outcome, Err(ArchiveError::Corrupt { .. })), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn pages_that_do_not_make_a_history_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = job_of(folder.path(), 3, 12).await;
    let term = job.register.term;
    let good = write_full(&job.store, (&job.keys, term), (&Pages::of(&job.history), None), &|_| ()).await.unwrap();
    let twice = Full { tasks: [&good.tasks[..], &good.tasks[..1]].concat(), ..good.clone() };
    let swapped = Full { tasks: good.parts.clone(), parts: good.tasks.clone(), ..good.clone() };
    let unordered = Full { tasks: good.tasks.iter().rev().cloned().collect(), ..good.clone() };
    for (number, (what, full, named)) in (job.register.created.0 + 1..).zip([
        ("twice", twice, &good.tasks[0]),
        ("kind", swapped, &good.parts[0]),
        ("order", unordered, &good.tasks[0]),
    ]) {
        let manifest = Manifest { number: CheckpointNumber(number), full: Some(full), ..next(&job) };
        let latest = seal(&mut job, &manifest).await;
        let outcome = load(&job.store, &latest).await;
        assert!(matches!(&outcome, Err(ArchiveError::Corrupt { key, .. }) if *key == named.key), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn another_kind_of_document_is_no_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let job = RandomJob::begin(folder.path(), 0).await;
    let bytes = Bytes::from_static(b"[]\n");
    job.store.create("x", bytes.clone()).await.unwrap();
    let object = ObjectRef { key: "x".to_owned(), sha256: Digest::of(&bytes) };
    let outcome = load(&job.store, &ManifestRef { number: CheckpointNumber(1), object }).await;
    assert!(matches!(&outcome, Err(ArchiveError::Corrupt { key, .. }) if key == "x"), "{outcome:?}");
}
