#![cfg(test)]
//! A whole archive with one object altered, and keys that came from altered documents. A history is loaded as it was, or refused by the name of an
//! object; no key leads out of the archive's folder. Nothing panics. (The documents by themselves have their tests in `model`.)

#[path = "../../../tests/fuzz/fuzzer.rs"]
mod fuzzer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gregor_archive::history::{Loaded, load};
use gregor_archive::{ArchiveError, LocalStore, Store as _, incarnations, reach, read_checked, read_footer, read_part_range};
use gregor_model::digest::Digest;
use gregor_model::keys::JobKeys;
use gregor_model::manifest::{MANIFEST, Manifest, ManifestRef, ObjectRef, PartEntry};
use gregor_model::names::{CheckpointNumber, Incarnation, JobName};
use gregor_model::part::FooterAt;
use gregor_model::spec::{MARKER, Marker};
use gregor_model::steps::Unobserved;
use tokio::runtime::Runtime;

use fuzzer::{Fuzz, Outcome, files, mutate, peak_bytes, root};

/// An archive of its own.
struct Archive {
    io: Runtime,
    folder: tempfile::TempDir,
    store: LocalStore,
}

impl Archive {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&folder.path().join("archive"), Arc::new(Unobserved)).unwrap();
        Self { io: Runtime::new().unwrap(), folder, store }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join("archive").join(key)
    }

    /// Puts bytes under a key, whatever was there.
    fn put(&self, key: &str, bytes: &[u8]) -> ObjectRef {
        fs::create_dir_all(self.path(key).parent().unwrap()).unwrap();
        fs::write(self.path(key), bytes).unwrap();
        ObjectRef { key: key.to_owned(), sha256: Digest::of(bytes) }
    }

    fn load(&self, latest: &ManifestRef) -> Result<Loaded, ArchiveError> {
        self.io.block_on(load(&self.store, latest))
    }
}

/// The archive of version 1: its page of manifests, and its full manifest, each with its key.
fn stored() -> ((String, Vec<u8>), (String, Vec<u8>)) {
    let folder = "host/archive/tests/fixtures/archive-v1";
    let prefix = format!("tenants/default/jobs/wordcount/{}", Incarnation(7));
    let object = |key: &str| (format!("{prefix}/{key}"), fs::read(root().join(folder).join(&prefix).join(key)).unwrap());
    (object("pages/0000000001-0000000003-2"), object("manifests/0000000004-2-0"))
}

fn latest(object: ObjectRef) -> ManifestRef {
    ManifestRef { number: CheckpointNumber(4), object }
}

#[test]
fn an_altered_object_is_refused_by_its_name() {
    let archive = Archive::new();
    let ((page_key, page), (key, manifest)) = stored();
    archive.put(&page_key, &page);
    let at = latest(archive.put(&key, &manifest));
    let whole = archive.load(&at).unwrap();
    for (altered, seed) in [(&key, &manifest), (&page_key, &page)] {
        let format = format!("archive-{}", altered.rsplit('/').nth(1).unwrap());
        let seeds = [seed.clone()];
        Fuzz { format: &format, seeds: &seeds, rounds: 1_000 }.run(mutate::bytes, |input| {
            archive.put(altered, input);
            match archive.load(&at) {
                Ok(loaded) => {
                    assert!(input == &seed[..] && loaded == whole, "an altered object was believed");
                    Outcome::Read
                }
                Err(error) => {
                    assert!(error.to_string().contains(altered.as_str()), "{error}");
                    Outcome::Refused
                }
            }
        });
        archive.put(altered, seed);
    }
}

#[test]
fn a_chain_that_lies_is_loaded_or_refused_by_the_name_of_an_object() {
    let archive = Archive::new();
    let ((page_key, page), (key, manifest)) = stored();
    archive.put(&page_key, &page);
    let seeds = [manifest, files("tests/fixtures", |name| name == "manifest-v2").remove(0)];
    let named = |error: ArchiveError| assert!(error.to_string().starts_with("object "), "{error}");
    Fuzz { format: "archive-chain", seeds: &seeds[..1], rounds: 3_000 }.run(mutate::signed, |input| {
        let at = latest(archive.put(&key, input));
        let loaded = archive.load(&at).map_err(named).map(|loaded| assert!(loaded.history.number <= Some(CheckpointNumber(4))));
        // What a check of the archive and a collection do with it.
        let _ = archive.io.block_on(reach::restore_point(&archive.store, &at, None));
        follow(&archive, input, &seeds[1]);
        if loaded.is_ok() { Outcome::Read } else { Outcome::Refused }
    });
}

/// Follows every key and place in a manifest that can be read, as a recovery does.
fn follow(archive: &Archive, input: &[u8], part: &[u8]) {
    let Ok(manifest) = MANIFEST.decode::<Manifest>(input) else { return };
    let own = archive.put("own", part);
    for entry in &manifest.parts {
        let _ = archive.io.block_on(read_footer(&archive.store, entry));
        let _ = archive.io.block_on(read_footer(&archive.store, &PartEntry { object: own.clone(), ..entry.clone() }));
    }
    for entry in &manifest.segments {
        for (delta, place) in entry.header.delta.iter().zip(&entry.deltas) {
            let range = place.offset..place.offset.saturating_add(delta.length);
            let _ = archive.io.block_on(read_part_range(&archive.store, "own", range, delta.sha256));
        }
    }
    for entry in &manifest.bases {
        for file in &entry.base.files {
            let _ = archive.io.block_on(reach::hash_object(&archive.store, &file.object, file.length));
        }
    }
}

#[test]
fn a_page_that_lies_is_loaded_or_refused_by_the_name_of_an_object() {
    let archive = Archive::new();
    let ((page_key, page), (key, manifest)) = stored();
    let manifest: Manifest = MANIFEST.decode(&manifest).unwrap();
    let seeds = [page];
    Fuzz { format: "archive-page", seeds: &seeds, rounds: 2_000 }.run(mutate::signed, |input| {
        let object = archive.put(&page_key, input);
        let mut manifest = manifest.clone();
        manifest.pages.iter_mut().flatten().for_each(|page| page.object = object.clone());
        let at = latest(archive.put(&key, &MANIFEST.encode(&manifest).unwrap()));
        assert_eq!(MANIFEST.decode::<Manifest>(&fs::read(archive.path(&key)).unwrap()).as_ref(), Ok(&manifest));
        match archive.load(&at) {
            Ok(_) => Outcome::Read,
            Err(error) => {
                assert!(error.to_string().starts_with("object "), "{error}");
                Outcome::Refused
            }
        }
    });
}

/// Keys as they may stand in a document: pieces of good ones, dots, slashes, whatever.
fn key(random: &mut mutate::Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let pieces = ["..", ".", "", "/", "a", "%2e%2e", "secret", "archive", "\0", "é", "tenants", "..\\..", "A", " ", "-", "#1", "a#1"];
    if random.below(2) == 0 {
        return mutate::bytes(random, seeds);
    }
    (0..=random.below(5)).map(|_| *random.one(&pieces)).collect::<Vec<_>>().join("/").into_bytes()
}

#[test]
fn no_key_leads_out_of_the_archive() {
    let archive = Archive::new();
    fs::write(archive.folder.path().join("secret"), "outside").unwrap();
    archive.put("secret", b"inside");
    let seeds = [b"secret".to_vec()];
    Fuzz { format: "key", seeds: &seeds, rounds: 3_000 }.run(key, |input| {
        let Ok(key) = String::from_utf8(input.to_vec()) else { return Outcome::Refused };
        let object = ObjectRef { key: key.clone(), sha256: Digest::of(b"outside") };
        assert!(archive.io.block_on(read_checked(&archive.store, &object)).is_err(), "{key:?} leads out");
        let read = archive.io.block_on(archive.store.read(&key, None));
        assert!(read.as_ref().map_or(true, |bytes| bytes.as_ref() == b"inside"), "{key:?} leads to {read:?}");
        let _ = (archive.io.block_on(archive.store.list(&key)), archive.io.block_on(archive.store.folders(&key)));
        if archive.io.block_on(archive.store.create(&key, b"made"[..].into())).is_ok() && key != "secret" {
            archive.io.block_on(archive.store.delete(&key)).unwrap();
        }
        let outside: Vec<_> = fs::read_dir(archive.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(outside.len(), 2, "{key:?} made something outside: {outside:?}");
        if read.is_ok() { Outcome::Read } else { Outcome::Refused }
    });
}

#[test]
fn a_tombstone_that_lies_is_refused_by_its_name() {
    let archive = Archive::new();
    let job = JobName::new("wordcount").unwrap();
    let keys = JobKeys::new(&job, Incarnation(7));
    let seeds = [MARKER.encode(&Marker { job: job.clone(), incarnation: Incarnation(7) }).unwrap()];
    Fuzz { format: "tombstone", seeds: &seeds, rounds: 1_000 }.run(mutate::signed, |input| {
        archive.put(&keys.tombstone(), input);
        match archive.io.block_on(incarnations(&archive.store, &job)) {
            Ok(found) => {
                assert_eq!(found.len(), 1);
                Outcome::Read
            }
            Err(error) => {
                assert!(error.to_string().contains("tombstone"), "{error}");
                Outcome::Refused
            }
        }
    });
}

#[test]
fn ranges_that_claim_exabytes_take_no_room() {
    let archive = Archive::new();
    let object = archive.put("part", b"a few bytes");
    let before = peak_bytes();
    for (start, end) in [(0, u64::MAX), (0, 1 << 40), (5, 1 << 33), (u64::MAX - 1, u64::MAX), (9, 3)] {
        let refused = archive.io.block_on(read_part_range(&archive.store, "part", start..end, object.sha256));
        assert!(matches!(refused, Err(ArchiveError::Corrupt { .. })), "{refused:?}");
        let footer = FooterAt { offset: start, length: end, sha256: object.sha256 };
        let part = PartEntry { object: object.clone(), length: end, footer, ranges: Vec::new() };
        assert!(archive.io.block_on(read_footer(&archive.store, &part)).is_err());
        assert!(archive.io.block_on(reach::hash_object(&archive.store, &object, end.max(12))).is_err());
    }
    // A document that is longer than any is not even begun.
    let long = fs::File::create(archive.path("long")).unwrap();
    long.set_len(1 << 40).unwrap();
    let long = ObjectRef { key: "long".to_owned(), sha256: object.sha256 };
    assert!(matches!(archive.io.block_on(read_checked(&archive.store, &long)), Err(ArchiveError::Corrupt { .. })));
    assert!(archive.io.block_on(archive.store.list("")).is_err() || Path::new(&archive.path("long")).exists());
    let taken = peak_bytes() - before;
    assert!(taken < 1 << 30, "an archive of some bytes made the reader reserve {taken} bytes");
}
