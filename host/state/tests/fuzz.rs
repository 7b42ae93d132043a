#![cfg(test)]
//! Altered deltas and markers against a local store. A delta whose bytes are not those that were confirmed never reaches RocksDB, neither in a restore
//! nor in a merge: it is refused by its path, and the store stays as it was. A marker that can't be read is none. Refuses to feed RocksDB files
//! that were altered and signed again: digests stand in confirmed manifests, and what they name was written by a host.

#[path = "../../../tests/fuzz/fuzzer.rs"]
mod fuzzer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gregor_model::digest::Digest;
use gregor_model::names::{Branch, Incarnation, StoreName};
use gregor_model::segment::DeltaContent;
use gregor_model::steps::Unobserved;
use gregor_state::{Backend, BackendOptions, DeltaFile, Marker, StateError, TaskStores, merge};

use fuzzer::{Fuzz, Outcome, mutate};

const OWNER: (Incarnation, Branch) = (Incarnation(7), Branch(1));

/// A task's stores, and the deltas of its first segment with their bytes.
struct House {
    root: tempfile::TempDir,
    backend: Backend,
    stores: TaskStores,
    deltas: Vec<(DeltaFile, Vec<u8>)>,
}

impl House {
    fn new() -> Self {
        let options =
            BackendOptions { block_cache_bytes: 4 << 20, write_buffer_bytes: 8 << 20, clean_bytes_per_task: 1 << 20, open_stores_max: 2 };
        let backend = Backend::new(&options, Arc::new(Unobserved));
        let root = tempfile::tempdir().unwrap();
        ["spool", "altered", "merged", "scratch"].iter().for_each(|folder| fs::create_dir(root.path().join(folder)).unwrap());
        let mut writer = stores(&backend, &root.path().join("writer"));
        for key in 0..200_u32 {
            writer.put(0, &key.to_be_bytes(), &[7; 50]).unwrap();
        }
        writer.delete(0, b"gone").unwrap();
        writer.commit();
        let frozen = writer.freeze().unwrap().unwrap();
        let deltas = frozen.write_deltas(&root.path().join("spool"), "one").unwrap();
        let deltas: Vec<_> =
            deltas.into_iter().map(|delta| (fs::read(&delta.path).unwrap(), delta)).map(|(bytes, delta)| (delta, bytes)).collect();
        assert_eq!(deltas.len(), 2, "changes and deletions");
        let mut stores = stores(&backend, &root.path().join("task"));
        stores.set_owner(OWNER.0, OWNER.1);
        Self { root, backend, stores, deltas }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The delta of this content, with these bytes in its place.
    fn delta(&self, content: DeltaContent, bytes: &[u8]) -> DeltaFile {
        let (delta, _) = self.deltas.iter().find(|(delta, _)| delta.content == content).unwrap();
        let path = self.path("altered").join(format!("{content:?}.sst"));
        fs::write(&path, bytes).unwrap();
        DeltaFile { path, ..delta.clone() }
    }

    fn whole(&self, content: DeltaContent) -> Vec<u8> {
        self.deltas.iter().find(|(delta, _)| delta.content == content).unwrap().1.clone()
    }

    fn entries(&mut self) -> usize {
        let mut entries = 0;
        self.stores.entries(|_, _, _| entries += 1).unwrap();
        entries
    }
}

fn stores(backend: &Backend, folder: &Path) -> TaskStores {
    TaskStores::new(backend, folder.to_owned(), vec![StoreName::new("counts").unwrap(), StoreName::new("default").unwrap()])
}

#[test]
fn an_altered_delta_is_never_restored() {
    let mut house = House::new();
    assert_eq!(house.entries(), 0);
    let whole = house.whole(DeltaContent::Changes);
    let house = std::cell::RefCell::new(house);
    Fuzz { format: "delta", seeds: std::slice::from_ref(&whole), rounds: 1_500 }.run(mutate::bytes, |input| {
        let mut house = house.borrow_mut();
        let delta = house.delta(DeltaContent::Changes, input);
        let path = delta.path.clone();
        match house.stores.restore(Digest::of(b"one"), vec![delta]) {
            Ok(()) => {
                assert_eq!(input, whole, "an altered delta was restored");
                assert_eq!(house.entries(), 200);
                house.stores.wipe().unwrap();
                Outcome::Read
            }
            Err(error) => {
                assert!(matches!(error, StateError::Altered { .. }) && error.to_string().contains(&path.display().to_string()), "{error}");
                assert_eq!(house.entries(), 0, "a part of an altered delta was restored");
                Outcome::Refused
            }
        }
    });
}

#[test]
fn an_altered_delta_is_never_merged() {
    let house = House::new();
    for content in [DeltaContent::Changes, DeltaContent::Deletions] {
        let whole = house.whole(content);
        let other = [DeltaContent::Changes, DeltaContent::Deletions].into_iter().find(|other| *other != content).unwrap();
        let format = format!("merge-{content:?}").to_lowercase();
        Fuzz { format: &format, seeds: std::slice::from_ref(&whole), rounds: 300 }.run(mutate::bytes, |input| {
            let deltas = vec![house.delta(content, input), house.delta(other, &house.whole(other))];
            let merged = merge(&house.backend, &house.path("scratch"), &[deltas], (&house.path("merged"), "merged"));
            match merged {
                Ok(_) => {
                    assert_eq!(input, whole, "an altered delta was merged");
                    fs::remove_dir_all(house.path("merged")).unwrap();
                    fs::create_dir(house.path("merged")).unwrap();
                    Outcome::Read
                }
                Err(error) => {
                    assert!(matches!(error, StateError::Altered { .. }), "{error}");
                    assert_eq!(fs::read_dir(house.path("merged")).unwrap().count(), 0, "something is left of a merge that failed");
                    Outcome::Refused
                }
            }
        });
    }
}

#[test]
fn a_delta_that_claims_another_length_is_refused() {
    let mut house = House::new();
    let whole = house.whole(DeltaContent::Changes);
    for length in [0, 1, whole.len() as u64 - 1, whole.len() as u64 + 1, 1 << 40, u64::MAX] {
        let delta = DeltaFile { length, entries: u64::MAX, ..house.delta(DeltaContent::Changes, &whole) };
        let refused = house.stores.restore(Digest::of(b"one"), vec![delta]);
        assert!(matches!(refused, Err(StateError::Altered { .. })), "{length}: {refused:?}");
    }
}

#[test]
fn a_marker_that_cannot_be_read_is_none() {
    let mut house = House::new();
    let delta = house.delta(DeltaContent::Changes, &house.whole(DeltaContent::Changes));
    house.stores.restore(Digest::of(b"one"), vec![delta]).unwrap();
    house.stores.mark().unwrap();
    let file = house.path("task").join("marker");
    let seeds = [fs::read(&file).unwrap()];
    let expected = Marker { incarnation: OWNER.0, branch: OWNER.1, segment: Digest::of(b"one") };
    assert_eq!(house.stores.marker().unwrap(), Some(expected));
    let (read, refused) = Fuzz { format: "store-marker", seeds: &seeds, rounds: 4_000 }.run(mutate::json, |input| {
        fs::write(&file, input).unwrap();
        // One that was changed may name another segment: then it is looked for in the confirmed chain, and the store is wiped if it isn't there.
        match house.stores.marker().unwrap() {
            Some(_) => Outcome::Read,
            None => Outcome::Refused,
        }
    });
    assert!(read > 10 && refused > 100, "{read} read, {refused} refused: the mutations miss the format");
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(house.stores.marker().unwrap(), None, "a marker of a terabyte");
}
