//! Tests of the chain of manifests: whatever its length and gaps, all of it is read back, and no damage to it goes unnoticed.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use gregor_model::digest::Digest;
use gregor_model::manifest::ObjectRef;
use gregor_model::names::{Branch, CheckpointNumber, Incarnation, JobName};
use gregor_model::steps::Unobserved;

use super::*;
use crate::local::LocalStore;

const TERM: Term = Term(2);

/// A chain in an archive, as the runtime makes it.
struct Chain {
    store: LocalStore,
    keys: JobKeys,
    /// All that was confirmed.
    manifests: Vec<Manifest>,
    latest: Option<ManifestRef>,
}

impl Chain {
    fn new(folder: &Path) -> Self {
        let keys = JobKeys::new(&JobName::new("wordcount").unwrap(), Incarnation(7));
        Self { store: LocalStore::open(folder, Arc::new(Unobserved)).unwrap(), keys, manifests: vec![], latest: None }
    }

    async fn confirm(&mut self, number: u64) {
        let number = CheckpointNumber(number);
        let pages = match is_full_due(&self.manifests) {
            true => Some(next_pages(&self.store, (&self.keys, TERM), &self.manifests).await.unwrap()),
            false => None,
        };
        let manifest = Manifest { predecessor: self.latest.clone(), pages, ..manifest(number) };
        self.seal(manifest, 0).await;
    }

    async fn seal(&mut self, manifest: Manifest, sealing: u32) {
        let key = self.keys.manifest(manifest.number, TERM, sealing);
        let object = create_document(&self.store, MANIFEST, &key, &manifest).await.unwrap();
        self.latest = Some(ManifestRef { number: manifest.number, object });
        self.manifests.push(manifest);
    }

    async fn load(&self) -> Result<Vec<Manifest>, ArchiveError> {
        load_manifests(&self.store, self.latest.as_ref().unwrap()).await
    }

    /// What is to be read back: pages have no lists of pages in them.
    fn expected(&self) -> Vec<Manifest> {
        let mut expected = self.manifests.clone();
        let last_full = expected.iter().rposition(|manifest| manifest.pages.is_some()).unwrap_or(0);
        for manifest in &mut expected[..last_full] {
            manifest.pages = None;
        }
        expected
    }
}

fn manifest(number: CheckpointNumber) -> Manifest {
    Manifest {
        number,
        incarnation: Incarnation(7),
        branch: Branch(0),
        term: TERM,
        created_at_ms: number.0 * 1000,
        predecessor: None,
        pages: None,
        segments: vec![],
        parts: vec![],
        left_out: vec![],
        releases: vec![],
    }
}

#[tokio::test]
async fn a_history_of_any_length_is_read_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    // Numbers with gaps, as aborted checkpoints leave them: 1, 2, 4, 7, 8, 10, …
    for index in 0..FULL_MANIFEST_EVERY * 3 + 5 {
        chain.confirm(1 + index * 3 / 2 + index / 7).await;
        let near_a_page = (index + 2) % FULL_MANIFEST_EVERY < 4;
        if index < 3 || near_a_page || index % 17 == 0 {
            assert_eq!(chain.load().await.unwrap(), chain.expected(), "after {} manifests", index + 1);
        }
    }
    let full: Vec<u64> = (0..).zip(&chain.manifests).filter(|(_, manifest)| manifest.pages.is_some()).map(|(index, _)| index).collect();
    assert_eq!(full, [64, 128, 192]);
    let last = chain.manifests[192].pages.as_ref().unwrap();
    assert_eq!(last.len(), 3);
    assert_eq!(last[..2], chain.manifests[128].pages.as_ref().unwrap()[..], "unchanged pages by reference");
}

#[tokio::test]
async fn recovery_goes_on_with_what_it_loaded_as_if_it_had_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    for number in 1..=FULL_MANIFEST_EVERY * 2 + 3 {
        chain.confirm(number).await;
        chain.manifests = chain.load().await.unwrap();
    }
    let numbers: Vec<u64> = chain.manifests.iter().map(|manifest| manifest.number.0).collect();
    assert_eq!(numbers, (1..=FULL_MANIFEST_EVERY * 2 + 3).collect::<Vec<_>>());
}

#[tokio::test]
async fn making_a_page_again_makes_the_same_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    for number in 1..=FULL_MANIFEST_EVERY {
        chain.confirm(number).await;
    }
    // A full manifest that was aborted after its page was made.
    let first = next_pages(&chain.store, (&chain.keys, TERM), &chain.manifests).await.unwrap();
    let again = next_pages(&chain.store, (&chain.keys, TERM), &chain.manifests).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(next_pages(&chain.store, (&chain.keys, TERM), &[]).await.unwrap(), []);
    let cut = next_pages(&chain.store, (&chain.keys, TERM), &chain.manifests[1..]).await;
    assert!(matches!(cut, Err(ArchiveError::Corrupt { .. })), "a page with a gap before it: {cut:?}");
}

#[tokio::test]
async fn every_object_of_a_history_is_needed_and_damage_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    for number in 1..=FULL_MANIFEST_EVERY + 3 {
        chain.confirm(number).await;
    }
    let listed = chain.store.list(chain.keys.root()).await.unwrap();
    let mut needed = 0;
    for object in &listed {
        let file = folder.path().join(&object.key);
        let bytes = std::fs::read(&file).unwrap();
        let in_page =
            object.key.contains("/manifests/") && *object.key < *chain.keys.manifest(CheckpointNumber(FULL_MANIFEST_EVERY + 1), TERM, 0);
        for damage in ["gone", "cut", "altered"] {
            match damage {
                "gone" => std::fs::remove_file(&file).unwrap(),
                "cut" => std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap(),
                _ => std::fs::write(&file, [&bytes[..bytes.len() - 2], b" \n"].concat()).unwrap(),
            }
            let outcome = chain.load().await;
            std::fs::write(&file, &bytes).unwrap();
            // What is in a page is read from there.
            if in_page {
                assert!(outcome.is_ok(), "{}: {outcome:?}", object.key);
                continue;
            }
            needed += 1;
            let named = match outcome {
                Err(ArchiveError::Missing { key }) if damage == "gone" => key,
                Err(ArchiveError::Corrupt { key, .. }) if damage != "gone" => key,
                other => panic!("{damage} {}: {other:?}", object.key),
            };
            assert_eq!(named, object.key, "{damage}");
        }
    }
    assert_eq!(needed, 3 * 4, "one page, the full manifest and two after it");
    assert_eq!(chain.load().await.unwrap(), chain.expected());
}

/// Writes a manifest whatever it says, and reads the history that ends in it.
async fn load_with(spoil: impl FnOnce(&mut Manifest)) -> Result<Vec<Manifest>, ArchiveError> {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    for number in [1, 2, 4] {
        chain.confirm(number).await;
    }
    let mut last = Manifest { predecessor: chain.latest.clone(), ..manifest(CheckpointNumber(5)) };
    spoil(&mut last);
    chain.seal(last, 1).await;
    chain.load().await
}

#[tokio::test]
async fn manifests_that_do_not_follow_each_other_are_refused() {
    assert_eq!(load_with(|_| {}).await.map(|manifests| manifests.len()), Ok(4));
    let outcomes = [
        ("another incarnation", load_with(|last| last.incarnation = Incarnation(8)).await),
        ("a predecessor above it", load_with(|last| last.number = CheckpointNumber(3)).await),
        ("its predecessor's number", load_with(|last| last.number = CheckpointNumber(4)).await),
        ("a predecessor of another number", load_with(|last| last.predecessor.as_mut().unwrap().number = CheckpointNumber(3)).await),
        ("pages that hold nothing", load_with(|last| last.pages = Some(vec![])).await),
    ];
    for (what, outcome) in outcomes {
        assert!(matches!(outcome, Err(ArchiveError::Corrupt { .. })), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_page_that_is_not_what_it_is_called_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    for number in 1..=FULL_MANIFEST_EVERY {
        chain.confirm(number).await;
    }
    let page = write_page(&chain.store, (&chain.keys, TERM), &chain.manifests[..10]).await.unwrap();
    let short = PageRef { last: CheckpointNumber(FULL_MANIFEST_EVERY), ..page.clone() };
    let number = CheckpointNumber(FULL_MANIFEST_EVERY + 1);
    for (sealing, page) in (0..).zip([page, short]) {
        let last = Manifest { predecessor: chain.latest.clone(), pages: Some(vec![page]), ..manifest(number) };
        let key = chain.keys.manifest(number, TERM, sealing);
        let object = create_document(&chain.store, MANIFEST, &key, &last).await.unwrap();
        let outcome = load_manifests(&chain.store, &ManifestRef { number, object }).await;
        assert!(matches!(outcome, Err(ArchiveError::Corrupt { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn another_kind_of_document_is_no_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::new(folder.path());
    let bytes = Bytes::from_static(b"[]\n");
    chain.store.create("x", bytes.clone()).await.unwrap();
    let object = ObjectRef { key: "x".to_owned(), sha256: Digest::of(&bytes) };
    let outcome = load_manifests(&chain.store, &ManifestRef { number: CheckpointNumber(1), object }).await;
    assert!(matches!(&outcome, Err(ArchiveError::Corrupt { key, .. }) if key == "x"), "{outcome:?}");
}
