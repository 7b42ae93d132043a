//! A task's stores beside a model of plain maps, and the archive that both are recovered from: a base, where there is one, and a chain of deltas,
//! some of them merged. Every step is done on both and compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gregor_model::columns::StringsBuf;
use gregor_model::digest::Digest;
use gregor_model::names::{Branch, Incarnation, StoreName};
use gregor_model::steps::Steps;
use tempfile::TempDir;

use crate::{Apply, Backend, BackendOptions, DeltaFile, Direction, Frozen, KeyRange, StateError, TaskStores, merge};

pub(super) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) const STORES: [&str; 2] = ["counts", "default"];
pub(super) const OWNER: (Incarnation, Branch) = (Incarnation(7), Branch(1));

pub(super) fn options(clean_bytes_per_task: usize) -> BackendOptions {
    BackendOptions { block_cache_bytes: 4 << 20, write_buffer_bytes: 8 << 20, clean_bytes_per_task, open_stores_max: 2 }
}

pub(super) fn stores(backend: &Backend, folder: &Path) -> TaskStores {
    TaskStores::new(backend, folder.to_owned(), STORES.iter().map(|name| StoreName::new(*name).unwrap()).collect())
}

pub(super) fn strings<'a>(items: impl IntoIterator<Item = Option<&'a [u8]>>) -> StringsBuf {
    let mut strings = StringsBuf::default();
    for item in items {
        strings.push(item).unwrap();
    }
    strings
}

/// What the archive has of one segment, or of several that were merged.
pub(super) struct Saved {
    /// The last segment in it.
    pub(super) segment: Digest,
    /// Those before it.
    pub(super) merged: Vec<Digest>,
    pub(super) deltas: Vec<DeltaFile>,
}

/// What the archive has of a whole store.
pub(super) struct Base {
    pub(super) segment: Digest,
    /// Its files, under their names.
    pub(super) folder: PathBuf,
}

/// A task, its model, and its archive.
pub(super) struct Twin {
    pub(super) backend: Backend,
    root: TempDir,
    attempt: usize,
    pub(super) stores: TaskStores,
    /// As the current call sees it.
    pub(super) call: Vec<Map>,
    /// As committed.
    pub(super) committed: Vec<Map>,
    /// As of the last freeze.
    frozen: Vec<Map>,
    /// As of the last confirmed segment.
    pub(super) confirmed: Vec<Map>,
    /// What the confirmed chain stands on.
    pub(super) base: Option<Base>,
    /// The confirmed chain.
    pub(super) archive: Vec<Saved>,
    /// The stores after each confirmed segment.
    states: Vec<(Digest, Vec<Map>)>,
    /// Segments sealed so far, and folders and files made: what their names are made of.
    made: u64,
    offered: Option<Offer>,
    pub(super) applying: Option<Apply>,
}

/// A segment that is saved and not confirmed.
struct Offer {
    segment: Digest,
    local: Vec<DeltaFile>,
    archived: Vec<DeltaFile>,
}

impl Twin {
    pub(super) fn new(clean_bytes: usize, steps: Arc<dyn Steps>) -> Self {
        let backend = Backend::new(&options(clean_bytes), steps);
        let root = tempfile::tempdir().unwrap();
        for folder in ["archive", "spool", "task"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let mut stores = stores(&backend, &root.path().join("task"));
        stores.set_owner(OWNER.0, OWNER.1);
        let empty = vec![Map::new(); STORES.len()];
        Self {
            backend,
            root,
            attempt: 0,
            stores,
            call: empty.clone(),
            committed: empty.clone(),
            frozen: empty.clone(),
            confirmed: empty,
            base: None,
            archive: Vec::new(),
            states: Vec::new(),
            made: 0,
            offered: None,
            applying: None,
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.root.path().join("task")
    }

    pub(super) fn put(&mut self, store: u16, key: &[u8], value: &[u8]) {
        self.stores.put(store, key, value).unwrap();
        self.call[usize::from(store)].insert(key.to_vec(), value.to_vec());
    }

    pub(super) fn commit(&mut self) {
        self.stores.commit();
        self.committed.clone_from(&self.call);
    }

    pub(super) fn rollback(&mut self) {
        self.stores.rollback();
        self.call.clone_from(&self.committed);
    }

    /// Freezes and saves, if nothing is on offer; answers whether something is on offer now.
    pub(super) fn save(&mut self) -> Result<bool, StateError> {
        if self.offered.is_some() {
            return Ok(true);
        }
        let segment = Digest::of(&self.number().to_le_bytes());
        let frozen = self.stores.freeze()?;
        self.frozen.clone_from(&self.committed);
        let local = frozen.as_ref().map_or(Ok(Vec::new()), |frozen| self.write(frozen, &segment))?;
        let archived = local.iter().map(|delta| copy_to(delta, &self.root.path().join("archive"))).collect();
        self.offered = Some(Offer { segment, local, archived });
        Ok(true)
    }

    /// Confirms what is on offer, if the slot below is free.
    pub(super) fn confirm(&mut self) -> Result<(), StateError> {
        if self.offered.as_ref().is_none_or(|offer| !offer.local.is_empty() && self.applying.is_some()) {
            return Ok(());
        }
        let Some(Offer { segment, local, archived }) = self.offered.take() else { return Ok(()) };
        // The archive comes first: what fails from here on is found there.
        self.confirmed.clone_from(&self.frozen);
        self.archive.push(Saved { segment, merged: Vec::new(), deltas: archived });
        self.states.push((segment, self.confirmed.clone()));
        if let Some(apply) = self.stores.confirm(local, segment)? {
            self.applying = Some(apply);
        }
        Ok(())
    }

    pub(super) fn apply(&mut self) -> Result<(), StateError> {
        if let Some(apply) = self.applying.take() {
            let applied = apply.run()?;
            self.stores.applied(applied);
        }
        Ok(())
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), StateError> {
        self.apply()?;
        self.save()?;
        self.confirm()?;
        self.apply()
    }

    /// Ends the attempt without any ceremony and starts the next one on the same folder.
    pub(super) fn restart(&mut self) -> Result<(), StateError> {
        self.applying = None;
        let folder = self.folder();
        self.start_on(&folder)
    }

    /// What a kill leaves: the files as they are now, nothing flushed. The next attempt runs on a copy of them.
    pub(super) fn kill(&mut self) -> Result<(), StateError> {
        let copy = self.root.path().join(format!("copy-{}", self.attempt));
        let open = self.stores.local.pause();
        copy_folder(&self.folder(), &copy);
        if let Some(db) = open {
            db.continue_background_work().unwrap();
        }
        self.applying = None;
        // Closes RocksDB, which flushes; but not the copy.
        self.stores = stores(&self.backend, &self.root.path().join("nowhere"));
        fs::remove_dir_all(self.folder()).unwrap();
        fs::rename(&copy, self.folder()).unwrap();
        self.restart()
    }

    /// Starts a new attempt and recovers it as a host does: from the marker if its segment is in the chain, from nothing otherwise.
    fn start_on(&mut self, folder: &Path) -> Result<(), StateError> {
        self.attempt += 1;
        self.offered = None;
        self.call.clone_from(&self.confirmed);
        self.committed.clone_from(&self.confirmed);
        self.frozen.clone_from(&self.confirmed);
        // The one before is gone before the next one opens the folder.
        self.stores = stores(&self.backend, &self.root.path().join("nowhere"));
        self.stores = stores(&self.backend, folder);
        let marker = self.stores.marker()?;
        self.stores.set_owner(OWNER.0, OWNER.1);
        let from = match marker.and_then(|marker| self.known(marker.segment)) {
            Some(from) => from,
            None => {
                self.stores.wipe()?;
                if let Some(base) = &self.base {
                    self.stores.restore_image(base.segment, &copy_base(base, &self.root.path().join("spool")))?;
                }
                0
            }
        };
        let spool = self.root.path().join("spool");
        for saved in &self.archive[from..] {
            self.stores.restore(saved.segment, saved.deltas.iter().map(|delta| copy_to(delta, &spool)).collect())?;
        }
        self.stores.mark()
    }

    /// Where the chain goes on after a segment. One that was merged with later ones is gone over again with them.
    fn known(&self, segment: Digest) -> Option<usize> {
        if self.base.as_ref().is_some_and(|base| base.segment == segment) {
            return Some(0);
        }
        let last = |saved: &Saved| saved.segment == segment;
        let place = self.archive.iter().position(|saved| last(saved) || saved.merged.contains(&segment))?;
        Some(if last(&self.archive[place]) { place + 1 } else { place })
    }

    /// Takes an image, checks it and makes it the base of the chain. Answers whether there was anything to take.
    pub(super) fn rebase(&mut self) -> Result<bool, StateError> {
        let Some(image) = self.stores.image().take(&self.root.path().join("spool"))? else {
            assert!(self.archive.is_empty() || self.applying.is_some(), "there is something to take");
            return Ok(false);
        };
        let from = self.known(image.segment).unwrap();
        let folder = self.root.path().join("archive").join(format!("base-{}", self.number()));
        fs::create_dir(&folder).unwrap();
        for file in &image.files {
            let (length, sha256) = file.digest().unwrap();
            let bytes = fs::read(&file.path).unwrap();
            assert_eq!((file.length, length, sha256), (length, bytes.len() as u64, Digest::of(&bytes)));
            fs::write(folder.join(&file.name), bytes).unwrap();
        }
        let segment = image.segment;
        let linked = image.folder.clone();
        image.discard();
        assert!(!linked.exists());
        self.archive.drain(..from);
        self.base = Some(Base { segment, folder });
        Ok(true)
    }

    /// Restores the base elsewhere, and then what follows, and compares both with the model.
    pub(super) fn compare_base(&mut self) {
        let Some(base) = &self.base else { return };
        let name = format!("elsewhere-{}", self.attempt);
        let folder = self.root.path().join(&name);
        let mut elsewhere = stores(&self.backend, &folder);
        elsewhere.restore_image(base.segment, &copy_base(base, &self.root.path().join("spool"))).unwrap();
        assert!(entries(&mut elsewhere) == self.state(base.segment), "the base is not the store at its segment");
        let spool = self.root.path().join("spool");
        for saved in &self.archive {
            elsewhere.restore(saved.segment, saved.deltas.iter().map(|delta| copy_to(delta, &spool)).collect()).unwrap();
            assert!(entries(&mut elsewhere) == self.state(saved.segment), "base and deltas are not the store at their segment");
        }
        assert!(entries(&mut elsewhere) == self.confirmed);
        elsewhere.wipe().unwrap();
    }

    /// Merges neighbours of the chain.
    pub(super) fn merge(&mut self, range: std::ops::Range<usize>) -> Result<(), StateError> {
        let archive = self.root.path().join("archive");
        let stem = format!("merged-{}", self.number());
        let deltas: Vec<_> = self.archive[range.clone()].iter().map(|saved| saved.deltas.clone()).collect();
        let before: Vec<_> = deltas.iter().flatten().map(|delta| fs::read(&delta.path).unwrap()).collect();
        let merged = merge(&self.backend, &self.root.path().join("spool"), &deltas, (&archive, &stem));
        // What is merged stays as it is, whatever happens.
        assert!(before == deltas.iter().flatten().map(|delta| fs::read(&delta.path).unwrap()).collect::<Vec<_>>());
        let merged = merged?;
        assert!(!fs::read_dir(self.root.path().join("spool")).unwrap().any(|entry| entry.unwrap().file_type().unwrap().is_dir()));
        let mut parts: Vec<_> = self.archive.drain(range.clone()).collect();
        let last = parts.pop().unwrap();
        let segments = parts.iter().flat_map(|saved| saved.merged.iter().copied().chain([saved.segment])).chain(last.merged);
        let saved = Saved { segment: last.segment, merged: segments.collect(), deltas: merged };
        self.archive.insert(range.start, saved);
        Ok(())
    }

    /// The stores after a confirmed segment.
    pub(super) fn state(&self, segment: Digest) -> &[Map] {
        &self.states.iter().find(|(other, _)| *other == segment).unwrap().1
    }

    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Compares everything with the model of the current call.
    pub(super) fn compare(&mut self) {
        for (number, model) in (0..).zip(&self.call) {
            for direction in [Direction::Forward, Direction::Reverse] {
                let found = collect(&mut self.stores, number, KeyRange { start: None, end: None, direction }, 1000);
                let expected: Vec<_> = match direction {
                    Direction::Forward => model.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
                    Direction::Reverse => model.iter().rev().map(|(key, value)| (key.clone(), value.clone())).collect(),
                };
                assert!(found == expected, "store {number} {direction:?}: {} pairs instead of {}", found.len(), expected.len());
            }
        }
    }

    fn write(&self, frozen: &Frozen, segment: &Digest) -> Result<Vec<DeltaFile>, StateError> {
        frozen.write_deltas(&self.root.path().join("spool"), &segment.to_string())
    }
}

/// All that a task's stores hold.
pub(super) fn entries(stores: &mut TaskStores) -> Vec<Map> {
    let mut found = vec![Map::new(); STORES.len()];
    stores.entries(|store, key, value| drop(found[usize::from(store)].insert(key.to_vec(), value.to_vec()))).unwrap();
    found
}

/// All pairs of a range, `max` at a time.
pub(super) fn collect(stores: &mut TaskStores, store: u16, range: KeyRange, max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let cursor = stores.scan(store, range).unwrap();
    let mut found = Vec::new();
    loop {
        let (keys, values) = stores.next(cursor, max).unwrap();
        assert!(keys.ends.len() <= max && keys.ends.len() == values.ends.len());
        if keys.ends.is_empty() {
            break;
        }
        let (keys, values) = (keys.as_strings().unwrap(), values.as_strings().unwrap());
        found.extend(keys.iter().flatten().map(<[u8]>::to_vec).zip(values.iter().flatten().map(<[u8]>::to_vec)));
    }
    stores.close(cursor);
    found
}

/// A copy of a base's files, as a restore takes it.
pub(super) fn copy_base(base: &Base, folder: &Path) -> PathBuf {
    let copy = folder.join("base");
    fs::remove_dir_all(&copy).ok();
    copy_folder(&base.folder, &copy);
    copy
}

pub(super) fn copy_to(delta: &DeltaFile, folder: &Path) -> DeltaFile {
    let path = folder.join(delta.path.file_name().unwrap());
    fs::copy(&delta.path, &path).unwrap();
    DeltaFile { path, ..delta.clone() }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
