//! Merges the deltas of consecutive segments into one that says the same. Refuses to touch what it merges, and to lose a deletion: the base
//! below may hold the key.
//!
//! ```text
//! changes of segment 1, 2, … n ──ingest──► family `default`   ──its pairs──────────────┐
//!                                                                                      ├─► changes, deletions
//! deletions of segment 1, 2, … n ─ingest─► family `deletions` ──keys not in the other──┘
//! ```
//!
//! The order of ingestion decides which value of a key is the last one. A key that was deleted and put again is shown by the first family, so it
//! is a put; one that was put and deleted is not, and stays a deletion. Both are read in order and written as they come, so the memory that a
//! merge takes does not grow with what it merges.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gregor_model::segment::DeltaContent;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, DEFAULT_COLUMN_FAMILY_NAME, IngestExternalFileOptions, ReadOptions,
};

use crate::backend::Backend;
use crate::delta::writer::DeltaWriter;
use crate::delta::{DeltaFile, write_stores};
use crate::error::StateError;
use crate::image::remove_folder;

/// The family that takes the lists of deleted keys; changes go to RocksDB's own.
const DELETIONS: &str = "deletions";

/// Merges the deltas of consecutive segments, the oldest first, into files `<stem>-<store number>.sst` and, where a deletion is left,
/// `<stem>-<store number>-deleted.sst` in `folder`, which must exist. Applied at once they equal all of `deltas` applied in order. Each list holds
/// the changes of its segment and the deletions that were written with them. A store that none of them changes gets no file. Works in a new folder
/// below `scratch`, which is made if there is none, and removes it. Blocks: reads and writes everything once.
///
/// # Errors
/// `Altered`: a file isn't what it is said to be, or deletions are missing. `Unfinished`: the disk fails. Nothing is left then.
pub fn merge(backend: &Backend, scratch: &Path, deltas: &[Vec<DeltaFile>], place: (&Path, &str)) -> Result<Vec<DeltaFile>, StateError> {
    deltas.iter().flatten().try_for_each(DeltaFile::check)?;
    let stores: BTreeSet<u16> = deltas.iter().flatten().map(|delta| delta.store).collect();
    write_stores(backend, place, stores.into_iter().map(|store| (store, store)), |store, writer| {
        let scratch = Scratch::open(backend, scratch)?;
        for delta in deltas.iter().flatten().filter(|delta| delta.store == store) {
            scratch.ingest(delta)?;
        }
        scratch.check(deltas.iter().flatten().filter(|delta| delta.store == store))?;
        scratch.write(writer)
    })
}

/// A RocksDB for one store's merge, gone when it is dropped.
struct Scratch {
    /// None only while it is dropped.
    db: Option<DB>,
    folder: PathBuf,
}

impl Scratch {
    fn open(backend: &Backend, folder: &Path) -> Result<Self, StateError> {
        let folder = folder.join(format!("merge-{}", backend.scratch_number()));
        // The number is new in this process: what is there was left by one before.
        remove_folder(&folder);
        let mut scratch = Self { db: None, folder };
        std::fs::create_dir_all(&scratch.folder).map_err(|error| scratch.failed("make a folder", &error))?;
        let families = [DEFAULT_COLUMN_FAMILY_NAME, DELETIONS].map(|name| {
            let mut options = backend.family_options().clone();
            // It is read once: whatever a compaction would do, the reading does.
            options.set_disable_auto_compactions(true);
            ColumnFamilyDescriptor::new(name, options)
        });
        let opened = DB::open_cf_descriptors(backend.db_options(), &scratch.folder, families);
        scratch.db = Some(opened.map_err(|error| scratch.failed("open a scratch store", &error))?);
        Ok(scratch)
    }

    /// Takes in a file by a link, or a copy where links are not to be had: its name and its bytes stay.
    fn ingest(&self, delta: &DeltaFile) -> Result<(), StateError> {
        let (db, family) = self.family(delta.content)?;
        let mut options = IngestExternalFileOptions::default();
        options.set_link_files(true);
        db.ingest_external_file_cf_opts(family, &options, vec![&delta.path]).map_err(|error| self.failed("ingest a delta", &error))
    }

    /// Checks that RocksDB found as many keys as there are said to be, and that every deletion is listed: a key whose deletion is lost here would
    /// come back to life at the next recovery.
    fn check<'a>(&self, deltas: impl Iterator<Item = &'a DeltaFile>) -> Result<(), StateError> {
        let (db, _) = self.family(DeltaContent::Changes)?;
        let files = db.live_files().map_err(|error| self.failed("look at a scratch store", &error))?;
        let (changes, lists): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.column_family_name == DEFAULT_COLUMN_FAMILY_NAME);
        let (mut said, mut path) = ((0, 0), PathBuf::new());
        for delta in deltas {
            match delta.content {
                DeltaContent::Changes => said.0 += delta.entries,
                DeltaContent::Deletions => said.1 += delta.entries,
            }
            path.clone_from(&delta.path);
        }
        let found = (changes.iter().map(|file| file.num_entries).sum(), lists.iter().map(|file| file.num_entries).sum());
        let deletions: u64 = changes.iter().map(|file| file.num_deletions).sum();
        if said != found || deletions != found.1 {
            let (changes, listed) = found;
            let reason = format!(
                "it and the deltas before it hold {changes} changes, {deletions} of them deletions, and list {listed} deletions, instead of {} and {}",
                said.0, said.1
            );
            return Err(StateError::Altered { path, reason });
        }
        Ok(())
    }

    /// Writes what is left of both families.
    fn write(&self, writer: &mut DeltaWriter<'_>) -> Result<(), StateError> {
        let (mut changes, mut deletions) = (self.iterator(DeltaContent::Changes)?, self.iterator(DeltaContent::Deletions)?);
        loop {
            match (changes.item(), deletions.key()) {
                (None, None) => break,
                (Some((key, _)), Some(deleted)) if deleted < key => {
                    writer.delete(deleted)?;
                    deletions.next();
                }
                (None, Some(deleted)) => {
                    writer.delete(deleted)?;
                    deletions.next();
                }
                (Some((key, value)), deleted) => {
                    writer.put(key, value)?;
                    // It was deleted before it was put for the last time.
                    if deleted == Some(key) {
                        deletions.next();
                    }
                    changes.next();
                }
            }
        }
        for iterator in [&changes, &deletions] {
            iterator.status().map_err(|error| self.failed("read a scratch store", &error))?;
        }
        Ok(())
    }

    fn iterator(&self, content: DeltaContent) -> Result<DBRawIterator<'_>, StateError> {
        let (db, family) = self.family(content)?;
        let mut options = ReadOptions::default();
        // Nobody reads it again: the cache is for the stores of tasks.
        options.fill_cache(false);
        let mut iterator = db.raw_iterator_cf_opt(family, options);
        iterator.seek_to_first();
        Ok(iterator)
    }

    fn family(&self, content: DeltaContent) -> Result<(&DB, &ColumnFamily), StateError> {
        let name = match content {
            DeltaContent::Changes => DEFAULT_COLUMN_FAMILY_NAME,
            DeltaContent::Deletions => DELETIONS,
        };
        let found = self.db.as_ref().and_then(|db| Some((db, db.cf_handle(name)?)));
        found.ok_or(StateError::Misuse("a merge has lost its scratch store"))
    }

    fn failed(&self, action: &'static str, error: &dyn std::error::Error) -> StateError {
        StateError::Unfinished { action, path: self.folder.clone(), reason: error.to_string() }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.db = None;
        remove_folder(&self.folder);
    }
}
