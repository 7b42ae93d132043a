//! Merges of deltas: applied at once they equal what was merged, applied in order, whatever the base below. Each is compared with plain maps.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gregor_model::digest::Digest;
use gregor_model::segment::DeltaContent;
use gregor_model::steps::Unobserved;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::model::{Map, STORES, copy_to, entries, options, stores};
use crate::{Backend, DeltaFile, StateError, merge};

/// Where deltas are made and merged.
struct Workshop {
    backend: Backend,
    root: TempDir,
    made: u32,
}

/// What a segment does to a store: keys and values, none = deleted.
type Changes<'a> = &'a [(u16, &'a str, Option<&'a str>)];

impl Workshop {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("deltas")).unwrap();
        Self { backend: Backend::new(&options(0), Arc::new(Unobserved)), root, made: 0 }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.root.path().join("deltas")
    }

    fn stem(&mut self) -> String {
        self.made += 1;
        format!("d{}", self.made)
    }

    /// The deltas of a segment.
    fn segment(&mut self, changes: Changes<'_>) -> Vec<DeltaFile> {
        let mut task = stores(&self.backend, &self.root.path().join("unused"));
        for &(store, key, value) in changes {
            match value {
                Some(value) => task.put(store, key.as_bytes(), value.as_bytes()).unwrap(),
                None => task.delete(store, key.as_bytes()).unwrap(),
            }
        }
        task.commit();
        let stem = self.stem();
        task.freeze().unwrap().map_or(Vec::new(), |frozen| frozen.write_deltas(&self.folder(), &stem).unwrap())
    }

    fn merge(&mut self, deltas: &[Vec<DeltaFile>]) -> Result<Vec<DeltaFile>, StateError> {
        let (stem, folder) = (self.stem(), self.folder());
        let scratch = self.root.path().join("scratch");
        let merged = merge(&self.backend, &scratch, deltas, (&folder, &stem));
        assert!(!scratch.exists() || fs::read_dir(&scratch).unwrap().next().is_none(), "the scratch store is left behind");
        for delta in deltas.iter().flatten() {
            assert!(delta.path.exists(), "a merge consumed {}", delta.path.display());
        }
        merged
    }

    /// All pairs after these deltas, in order.
    fn state(&self, deltas: &[Vec<DeltaFile>]) -> Vec<Map> {
        let folder = tempfile::tempdir_in(self.root.path()).unwrap();
        let mut task = stores(&self.backend, &folder.path().join("task"));
        for segment in deltas {
            let copies = segment.iter().map(|delta| copy_to(delta, folder.path())).collect();
            task.restore(Digest::of(b"segment"), copies).unwrap();
        }
        entries(&mut task)
    }
}

fn shape(deltas: &[DeltaFile]) -> Vec<(u16, DeltaContent, u64)> {
    deltas.iter().map(|delta| (delta.store, delta.content, delta.entries)).collect()
}

#[test]
fn the_last_word_on_a_key_counts_and_a_deletion_is_kept_for_the_base() {
    use DeltaContent::{Changes, Deletions};
    let mut workshop = Workshop::new();
    let keys = ["", "again", "deleted", "twice", "untouched"];
    let base = workshop.segment(&keys.map(|key| (0, key, Some("base"))));
    let deltas = [
        workshop.segment(&[(0, "", None), (0, "again", None), (0, "twice", None), (0, "short", Some("1"))]),
        workshop.segment(&[(0, "again", Some("back")), (0, "deleted", Some("2")), (0, "twice", Some("2"))]),
        Vec::new(),
        workshop.segment(&[(0, "deleted", None), (0, "short", None), (0, "twice", None)]),
    ];
    let merged = workshop.merge(&deltas).unwrap();
    assert_eq!(shape(&merged), [(0, Changes, 5), (0, Deletions, 4)]);
    let expected: Map = [("again", "back"), ("untouched", "base")].map(|(key, value)| (key.into(), value.into())).into();
    assert!(workshop.state(&[base, merged]) == [expected, Map::new()]);
}

#[test]
fn a_store_that_nobody_wrote_has_no_file_and_one_without_deletions_no_list() {
    use DeltaContent::{Changes, Deletions};
    let mut workshop = Workshop::new();
    assert_eq!(workshop.merge(&[]).unwrap(), []);
    assert_eq!(workshop.merge(&[Vec::new(), Vec::new()]).unwrap(), []);
    let deltas = [workshop.segment(&[(1, "a", None)]), workshop.segment(&[(1, "a", Some("1")), (1, "b", Some(""))])];
    assert_eq!(shape(&workshop.merge(&deltas).unwrap()), [(1, Changes, 2)]);
    let deltas = [workshop.segment(&[(0, "a", None)]), workshop.segment(&[(1, "b", Some(""))])];
    assert_eq!(shape(&workshop.merge(&deltas).unwrap()), [(0, Changes, 1), (0, Deletions, 1), (1, Changes, 1)]);
}

#[test]
fn a_delta_that_is_altered_or_lacks_its_deletions_is_not_merged() {
    let mut workshop = Workshop::new();
    let deltas = [workshop.segment(&[(0, "a", Some("1")), (1, "a", Some("1"))]), workshop.segment(&[(1, "a", None), (1, "b", Some("2"))])];
    let files = |folder: &Path| fs::read_dir(folder).unwrap().count();
    let before = files(&workshop.folder());
    let mut without = deltas.to_vec();
    without[1].retain(|delta| delta.content == DeltaContent::Changes);
    assert!(matches!(workshop.merge(&without), Err(StateError::Altered { .. })));
    let list = deltas[1].last().unwrap();
    let good = fs::read(&list.path).unwrap();
    for bytes in [good[..good.len() - 1].to_vec(), Vec::new(), good.iter().map(|byte| byte ^ 1).collect()] {
        fs::write(&list.path, bytes).unwrap();
        assert!(matches!(workshop.merge(&deltas), Err(StateError::Altered { .. })));
    }
    // No SST file at all, and the digest says so.
    let bytes = b"no table";
    fs::write(&list.path, bytes).unwrap();
    let mut foreign = deltas.to_vec();
    *foreign[1].last_mut().unwrap() = DeltaFile { length: bytes.len() as u64, sha256: Digest::of(bytes), ..list.clone() };
    assert!(matches!(workshop.merge(&foreign), Err(StateError::Unfinished { .. })));
    assert_eq!(files(&workshop.folder()), before, "a merge that failed left files behind");
    let absent = [vec![DeltaFile { path: workshop.folder().join("absent"), ..list.clone() }]];
    let place = workshop.folder();
    assert!(matches!(merge(&workshop.backend, &place, &absent, (&place, "merged")), Err(StateError::Unfinished { .. })));
}

/// What a random segment does, and to plain maps as well.
fn random_segment(workshop: &mut Workshop, random: &mut StdRng, state: &mut [Map]) -> Vec<DeltaFile> {
    let mut task = stores(&workshop.backend, &workshop.root.path().join("unused"));
    let both = random.random_bool(0.6);
    for _ in 0..random.random_range(0..60) {
        let store = if both { random.random_range(0..2_u16) } else { 0 };
        let map = &mut state[usize::from(store)];
        let key = random.random_range(0..50_u32).to_string().into_bytes();
        match random.random_range(0..3) {
            0 => {
                task.delete(store, &key).unwrap();
                map.remove(&key);
            }
            1 => {
                let value = vec![b'v'; random.random_range(0..300)];
                task.put(store, &key, &value).unwrap();
                map.insert(key, value);
            }
            _ => {
                // A sum over what the base holds: it is folded to a value at the freeze.
                let before =
                    map.get(&key).filter(|value| value.len() == 8).map_or(0, |value| i64::from_le_bytes(value[..].try_into().unwrap()));
                task.put(store, &key, &before.to_le_bytes()).unwrap();
                let sum = task.add(store, &key, 3).unwrap();
                map.insert(key, sum.to_le_bytes().to_vec());
            }
        }
    }
    task.commit();
    let stem = workshop.stem();
    task.freeze().unwrap().map_or(Vec::new(), |frozen| frozen.write_deltas(&workshop.folder(), &stem).unwrap())
}

#[test]
fn merged_deltas_equal_those_that_were_merged_and_so_do_merges_of_merges() {
    for seed in 0..25_u64 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut workshop = Workshop::new();
        let mut state = vec![Map::new(); STORES.len()];
        let mut chain: Vec<_> = (0..random.random_range(2..9)).map(|_| random_segment(&mut workshop, &mut random, &mut state)).collect();
        // How much of the chain the base holds is for chance to say: merging never touches it.
        let base = random.random_range(0..chain.len());
        while chain.len() > base + 1 {
            let start = random.random_range(base..chain.len() - 1);
            let end = random.random_range(start + 1..chain.len()) + 1;
            let merged = workshop.merge(&chain[start..end]).unwrap();
            chain.splice(start..end, [merged]);
            assert!(workshop.state(&chain) == state, "after the merge of {start}..{end}");
        }
        // What was applied before does no harm.
        let again: Vec<_> = chain.iter().chain(&chain[base..]).cloned().collect();
        assert!(workshop.state(&again) == state);
    }
}
