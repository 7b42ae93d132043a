//! The RocksDB of one task: opened when it is needed, closed when others need its place. Refuses to go on after a failed write, and to open a
//! folder that somebody else's history left behind.
//!
//! What RocksDB holds is a cache of what the archive holds, so it has no log of its own: after a kill it is as old as its last flush, and the
//! marker says at least how old that is.

mod image;
pub(crate) mod marker;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use gregor_model::digest::Digest;
use gregor_model::limits::LEVEL_ZERO_FILES_MAX;
use gregor_model::names::{Branch, Incarnation, StoreName};
use gregor_model::steps::{DurableStep, durable};
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, ErrorKind, FlushOptions, IngestExternalFileOptions, Options,
    ReadOptions, WaitForCompactOptions, WriteBatch,
};

use crate::backend::Backend;
use crate::cursor::{Direction, KeyRange};
use crate::delta;
use crate::error::StateError;
use crate::layer::Layer;
use marker::Marker;

/// Name of RocksDB's folder.
const DB: &str = "db";
/// The file that every RocksDB has: without it there is none.
const CURRENT: &str = "CURRENT";
/// Bytes of one write batch: bounds what RocksDB copies at once.
const WRITE_BATCH_BYTES: usize = 1024 * 1024;

/// The RocksDB of one task. See the module.
pub(crate) struct Local {
    backend: Backend,
    folder: PathBuf,
    stores: Vec<StoreName>,
    disk: Mutex<Disk>,
    broken: OnceLock<(&'static str, String)>,
    used: AtomicU64,
    progress: Mutex<Progress>,
}

/// What is known of RocksDB's folder.
enum Disk {
    /// Nobody has looked.
    Unasked,
    /// There is no RocksDB.
    Absent,
    /// There is one.
    Closed,
    /// It is open.
    Open(Arc<DB>),
}

/// What was applied.
#[derive(Default)]
pub(crate) struct Progress {
    /// Whose state this is: what the next marker says.
    pub(crate) owner: Option<(Incarnation, Branch)>,
    /// The last segment that RocksDB has completely.
    pub(crate) applied: Option<Digest>,
    /// Bytes applied since the last marker.
    pub(crate) unmarked_bytes: u64,
    /// Stores whose last delta was ingested rather than written.
    pub(crate) ingesting: Vec<u16>,
}

impl Local {
    pub(crate) fn new(backend: &Backend, folder: PathBuf, stores: Vec<StoreName>) -> Arc<Self> {
        Arc::new(Self {
            backend: backend.clone(),
            folder,
            stores,
            disk: Mutex::new(Disk::Unasked),
            broken: OnceLock::new(),
            used: AtomicU64::new(0),
            progress: Mutex::new(Progress::default()),
        })
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses once anything durable has failed.
    pub(crate) fn check(&self) -> Result<(), StateError> {
        match self.broken.get() {
            None => Ok(()),
            Some((action, reason)) => Err(StateError::Broken { folder: self.folder.clone(), action, reason: reason.clone() }),
        }
    }

    /// The marker, if there is a store that it speaks of.
    pub(crate) fn marker(&self) -> Result<Option<Marker>, StateError> {
        self.check()?;
        let marker = marker::read(&self.folder, &self.stores);
        Ok(marker.filter(|_| self.folder.join(DB).join(CURRENT).exists()))
    }

    /// Whether there is a RocksDB to read from.
    pub(crate) fn exists(self: &Arc<Self>) -> Result<bool, StateError> {
        let mut disk = self.lock();
        self.look(&mut disk)?;
        Ok(!matches!(*disk, Disk::Absent))
    }

    /// Reads one key, and hands on what was found.
    pub(crate) fn get<T>(self: &Arc<Self>, store: u16, key: &[u8], found: impl FnOnce(Option<&[u8]>) -> T) -> Result<T, StateError> {
        let Some(db) = self.reader()? else { return Ok(found(None)) };
        let value = db.get_pinned_cf(self.family(&db, store)?, key).map_err(|error| self.fail("read a key", &error))?;
        Ok(found(value.as_deref()))
    }

    /// Reads many keys, which are in order and differ, and hands on what was found, with the position of the key.
    pub(crate) fn get_many(
        self: &Arc<Self>,
        store: u16,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), StateError> {
        let Some(db) = self.reader()? else {
            (0..keys.len()).for_each(|at| found(at, None));
            return Ok(());
        };
        let values = db.batched_multi_get_cf_slice(self.family(&db, store)?, keys.iter().copied(), true);
        for (at, value) in values.into_iter().enumerate() {
            found(at, value.map_err(|error| self.fail("read keys", &error))?.as_deref());
        }
        Ok(())
    }

    /// Reads pairs in the order of a range, from its beginning or after a key, until `visit` answers that it has enough.
    pub(crate) fn page(
        self: &Arc<Self>,
        store: u16,
        (range, after): (&KeyRange, Option<&[u8]>),
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        let Some(db) = self.reader()? else { return Ok(()) };
        let mut options = ReadOptions::default();
        if let Some(start) = &range.start {
            options.set_iterate_lower_bound(start.as_slice());
        }
        if let Some(end) = &range.end {
            options.set_iterate_upper_bound(end.as_slice());
        }
        let mut iterator = db.raw_iterator_cf_opt(self.family(&db, store)?, options);
        match (range.direction, after) {
            (Direction::Forward, None) => iterator.seek_to_first(),
            (Direction::Reverse, None) => iterator.seek_to_last(),
            (Direction::Forward, Some(key)) => iterator.seek(key),
            (Direction::Reverse, Some(key)) => iterator.seek_for_prev(key),
        }
        let mut more = true;
        while more && let Some((key, value)) = iterator.item() {
            if after != Some(key) {
                more = visit(key, value);
            }
            match range.direction {
                Direction::Forward => iterator.next(),
                Direction::Reverse => iterator.prev(),
            }
        }
        iterator.status().map_err(|error| self.fail("scan", &error))
    }

    /// Writes a layer in batches, in order, without a log.
    pub(crate) fn write(self: &Arc<Self>, store: u16, layer: &Layer) -> Result<(), StateError> {
        let db = self.writer()?;
        let family = self.family(&db, store)?;
        let mut batch = WriteBatch::default();
        for &entry in layer.order() {
            match layer.value(entry) {
                Some(value) => batch.put_cf(family, layer.key(entry), value),
                None => batch.delete_cf(family, layer.key(entry)),
            }
            if batch.size_in_bytes() >= WRITE_BATCH_BYTES {
                db.write_without_wal(&batch).map_err(|error| self.fail("apply a delta", &error))?;
                batch.clear();
            }
        }
        db.write_without_wal(&batch).map_err(|error| self.fail("apply a delta", &error))
    }

    /// Makes an SST file part of RocksDB. The file is moved, and never changed. Waits for a compaction when level 0 is full: nothing else would
    /// hold ingestion back.
    pub(crate) fn ingest(self: &Arc<Self>, store: u16, path: &Path) -> Result<(), StateError> {
        let db = self.writer()?;
        let family = self.family(&db, store)?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        db.ingest_external_file_cf_opts(family, &options, vec![path]).map_err(|error| self.fail("ingest a delta", &error))?;
        // RocksDB links the file and removes the first name afterwards, but only when it can.
        delta::remove(path);
        let files = db
            .property_int_value_cf(family, rocksdb::properties::num_files_at_level(0))
            .map_err(|error| self.fail("count files", &error))?;
        if files.is_some_and(|files| files > LEVEL_ZERO_FILES_MAX) {
            db.wait_for_compact(&WaitForCompactOptions::default()).map_err(|error| self.fail("compact", &error))?;
        }
        Ok(())
    }

    /// Flushes one family: before the first ingestion after batches.
    pub(crate) fn flush(self: &Arc<Self>, store: u16) -> Result<(), StateError> {
        let db = self.writer()?;
        db.flush_cf(self.family(&db, store)?).map_err(|error| self.fail("flush", &error))
    }

    /// Flushes all families, then writes the marker, and answers the segment that it names. Does nothing when nothing was ever applied: then there
    /// is nothing to say.
    pub(crate) fn mark(self: &Arc<Self>) -> Result<Option<Digest>, StateError> {
        self.check()?;
        // Taken before the flush: the marker says *at least*.
        let (owner, applied) = {
            let progress = self.progress();
            (progress.owner, progress.applied)
        };
        let Some(segment) = applied else { return Ok(None) };
        let Some((incarnation, branch)) = owner else {
            return Err(StateError::Misuse("a store is marked before it has an owner"));
        };
        let marked = durable(self.backend.steps(), DurableStep::StoreMark, || {
            self.flush_all(&*self.writer()?)?;
            marker::write(&self.folder, &self.stores, Marker { incarnation, branch, segment })
                .map_err(|error| self.poison("write the marker", error.to_string()))
        });
        marked.map_err(|error| self.poisoned("mark the store", error))?;
        self.progress().unmarked_bytes = 0;
        Ok(Some(segment))
    }

    /// Removes everything: first the marker, so that a kill half-way leaves nothing that looks valid.
    pub(crate) fn wipe(self: &Arc<Self>) -> Result<(), StateError> {
        self.check()?;
        let mut disk = self.lock();
        if let Disk::Open(db) = &*disk
            && Arc::strong_count(db) > 1
        {
            return Err(StateError::Misuse("a store is wiped while it is in use"));
        }
        *disk = Disk::Closed;
        self.remove_all().map_err(|error| self.poisoned("wipe the store", error))?;
        *disk = Disk::Absent;
        let mut progress = self.progress();
        *progress = Progress { owner: progress.owner, ..Progress::default() };
        Ok(())
    }

    /// Takes the store out of use for good, and answers the error that says so.
    pub(crate) fn poisoned(&self, action: &'static str, error: StateError) -> StateError {
        match error {
            StateError::Step(failure) => self.poison(action, failure.to_string()),
            error => error,
        }
    }

    /// RocksDB, if it is open, with nothing going on in its background: so that a test can copy its files.
    #[cfg(test)]
    pub(crate) fn pause(&self) -> Option<Arc<DB>> {
        let Disk::Open(db) = &*self.lock() else { return None };
        db.pause_background_work().unwrap();
        Some(Arc::clone(db))
    }

    pub(crate) fn is_open(&self) -> bool {
        // A store whose lock is taken is being used, and so open.
        self.disk.try_lock().map_or(true, |disk| matches!(*disk, Disk::Open(_)))
    }

    /// When it was last used.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Closes RocksDB unless somebody uses it, and tells whether it did. It is flushed first: RocksDB would do that too while it closes, but
    /// keep a failure to itself, and then later reads would see the past.
    pub(crate) fn close_unused(&self) -> bool {
        let Ok(mut disk) = self.disk.try_lock() else { return false };
        let Disk::Open(db) = &*disk else { return false };
        if Arc::strong_count(db) > 1 {
            return false;
        }
        if let Err(error) = self.flush_all(db) {
            tracing::error!(folder = %self.folder.display(), %error, "a store could not be flushed before it was closed");
        }
        *disk = Disk::Closed;
        true
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// RocksDB for reading, if there is one.
    fn reader(self: &Arc<Self>) -> Result<Option<Arc<DB>>, StateError> {
        let mut disk = self.lock();
        self.look(&mut disk)?;
        if matches!(*disk, Disk::Absent) { Ok(None) } else { self.open(&mut disk).map(Some) }
    }

    /// RocksDB for writing, created if there is none.
    fn writer(self: &Arc<Self>) -> Result<Arc<DB>, StateError> {
        let mut disk = self.lock();
        self.look(&mut disk)?;
        self.open(&mut disk)
    }

    /// Finds out whether there is a RocksDB, and removes one that is not the owner's: nobody can say what is in it.
    fn look(&self, disk: &mut Disk) -> Result<(), StateError> {
        self.check()?;
        if !matches!(disk, Disk::Unasked) {
            return Ok(());
        }
        let exists =
            self.folder.join(DB).join(CURRENT).try_exists().map_err(|error| self.poison("look for the store", error.to_string()))?;
        let foreign = self.progress().owner.is_some_and(|owner| {
            marker::read(&self.folder, &self.stores).is_none_or(|marker| (marker.incarnation, marker.branch) != owner)
        });
        if exists && foreign {
            tracing::info!(folder = %self.folder.display(), "the local store has no marker of this history and is removed");
            self.remove_all().map_err(|error| self.poisoned("wipe the store", error))?;
        }
        *disk = if exists && !foreign { Disk::Closed } else { Disk::Absent };
        Ok(())
    }

    fn open(self: &Arc<Self>, disk: &mut Disk) -> Result<Arc<DB>, StateError> {
        self.used.store(self.backend.use_number(), Ordering::Relaxed);
        if let Disk::Open(db) = disk {
            return Ok(Arc::clone(db));
        }
        std::fs::create_dir_all(self.folder.join(DB)).map_err(|error| self.poison("create the store's folder", error.to_string()))?;
        let db = self.open_files(self.backend.db_options()).map_err(|(action, error)| self.fail(action, &error))?;
        Ok(self.opened(disk, db))
    }

    /// Opens RocksDB's folder, or says what failed.
    fn open_files(&self, options: &Options) -> Result<DB, (&'static str, rocksdb::Error)> {
        let path = self.folder.join(DB);
        let mut names: Vec<String> = self.stores.iter().map(family_name).collect();
        if path.join(CURRENT).exists() {
            // Stores that an older version of the component had: RocksDB wants all families opened.
            names.extend(DB::list_cf(options, &path).map_err(|error| ("list the families", error))?);
        }
        names.push(DEFAULT_COLUMN_FAMILY_NAME.to_owned());
        names.sort();
        names.dedup();
        let families = names.into_iter().map(|name| ColumnFamilyDescriptor::new(name, self.backend.family_options().clone()));
        DB::open_cf_descriptors(options, &path, families).map_err(|error| ("open RocksDB", error))
    }

    /// Takes note that RocksDB is open.
    fn opened(self: &Arc<Self>, disk: &mut Disk, db: DB) -> Arc<DB> {
        let db = Arc::new(db);
        *disk = Disk::Open(Arc::clone(&db));
        self.backend.opened(self);
        db
    }

    fn family<'a>(&self, db: &'a DB, store: u16) -> Result<&'a ColumnFamily, StateError> {
        let name = self.stores.get(usize::from(store)).ok_or(StateError::NoSuchStore(store))?;
        db.cf_handle(&family_name(name)).ok_or_else(|| self.poison("find a column family", format!("there is none of store {name}")))
    }

    fn flush_all(&self, db: &DB) -> Result<(), StateError> {
        let mut families = Vec::with_capacity(self.stores.len());
        for store in 0..u16::try_from(self.stores.len()).unwrap_or(u16::MAX) {
            families.push(self.family(db, store)?);
        }
        db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(|error| self.fail("flush", &error))
    }

    fn remove_all(&self) -> Result<(), StateError> {
        durable(self.backend.steps(), DurableStep::StoreWipe, || {
            self.remove_files().map_err(|(action, error)| self.poison(action, error.to_string()))
        })
    }

    /// Removes the marker, then RocksDB's folder, or says what failed.
    fn remove_files(&self) -> Result<(), (&'static str, std::io::Error)> {
        marker::remove(&self.folder).map_err(|error| ("remove the marker", error))?;
        match std::fs::remove_dir_all(self.folder.join(DB)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(("remove the store", error)),
            _ => Ok(()),
        }
    }

    /// Takes the store out of use because RocksDB failed. Where it found damage the marker goes, so that the next start rebuilds the store
    /// instead of finding the same damage for ever.
    fn fail(&self, action: &'static str, error: &rocksdb::Error) -> StateError {
        if self.is_damage(error)
            && let Err(error) = marker::remove(&self.folder)
        {
            tracing::error!(folder = %self.folder.display(), %error, "the marker of a damaged store could not be removed; remove the folder");
        }
        self.poison(action, error.to_string())
    }

    /// Whether the files themselves are at fault: trying again finds the same.
    fn is_damage(&self, error: &rocksdb::Error) -> bool {
        match error.kind() {
            // The last two: files of a RocksDB that this one can't read.
            ErrorKind::Corruption | ErrorKind::NotSupported | ErrorKind::InvalidArgument => true,
            // A manifest that is gone is to RocksDB a disk that fails.
            ErrorKind::IOError => {
                let folder = self.folder.join(DB);
                std::fs::read_to_string(folder.join(CURRENT))
                    .is_ok_and(|manifest| folder.join(manifest.trim_end()).try_exists().is_ok_and(|exists| !exists))
            }
            _ => false,
        }
    }

    fn poison(&self, action: &'static str, reason: String) -> StateError {
        // Whatever failed first is the cause; what fails after it is a consequence.
        let (action, reason) = self.broken.get_or_init(|| (action, reason));
        StateError::Broken { folder: self.folder.clone(), action, reason: reason.clone() }
    }
}

/// The column family of a store. The prefix keeps a store named `default` apart from RocksDB's own.
fn family_name(store: &StoreName) -> String {
    format!("s-{store}")
}
