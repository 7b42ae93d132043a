//! Checkpoints and recovery of a task's stores. All of it happens between calls, on the task's own worker. Refuses, as misuse, every order of
//! calls that would put a segment into RocksDB which isn't confirmed, or lose one.

use std::path::Path;

use gregor_model::digest::Digest;
use gregor_model::limits::APPLIED_MARK_BYTES;
use gregor_model::names::{Branch, Incarnation};
use gregor_model::segment::DeltaContent;
use gregor_model::steps::{DurableStep, durable};

use super::{Slot, TaskStores};
use crate::apply::{Applied, Apply};
use crate::cursor::{Direction, KeyRange};
use crate::delta::{self, DeltaFile, Frozen};
use crate::error::StateError;
use crate::image::ImageSource;
use crate::index::Swept;
use crate::local::marker::Marker;
use crate::store::Store;

/// Pairs that [`TaskStores::entries`] fetches at once.
const ENTRIES_AT_ONCE: usize = 4096;

impl TaskStores {
    /// Closes the changes since the last freeze off and hands them out: a pointer swap. None = nothing has changed.
    ///
    /// # Errors
    /// Misuse: a call is under way, or the frozen map before this one isn't confirmed. Or the store is out of order.
    pub fn freeze(&mut self) -> Result<Option<Frozen>, StateError> {
        self.local.check()?;
        if self.frozen == Slot::Taken {
            return Err(StateError::Misuse("a freeze before the segment of the last one is confirmed"));
        }
        self.check_between_calls()?;
        let layers: Vec<_> = (0..).zip(&mut self.stores).filter_map(|(number, store)| Some((number, store.index.freeze()?))).collect();
        if layers.is_empty() {
            return Ok(None);
        }
        self.frozen = Slot::Taken;
        Ok(Some(Frozen::new(self.local.backend().clone(), layers)))
    }

    /// Whether a confirmed segment can move down now.
    #[must_use]
    pub fn lower_slot(&self) -> Slot {
        self.lower
    }

    /// Takes note that the segment of the last freeze is confirmed. Its map moves down, and has to be applied: the answer is the work for an
    /// applier. None = the segment had no changes. The files are those that [`Frozen::write_deltas`] made; they are consumed.
    ///
    /// # Errors
    /// Misuse: the segment before it is still being applied, or there are files without a frozen map. Or the disk fails.
    pub fn confirm(&mut self, deltas: Vec<DeltaFile>, segment: Digest) -> Result<Option<Apply>, StateError> {
        self.local.check()?;
        if self.frozen == Slot::Free {
            if !deltas.is_empty() {
                return Err(StateError::Misuse("deltas are confirmed that no freeze made"));
            }
            // Nothing to apply. A marker may name this segment as soon as RocksDB has the ones before it.
            match self.lower {
                Slot::Free => self.local.progress().applied = Some(segment),
                Slot::Taken => self.after = Some(segment),
            }
            return Ok(None);
        }
        if self.lower == Slot::Taken {
            return Err(StateError::Misuse("a segment is confirmed while the one before it is being applied"));
        }
        // Whether RocksDB was empty must be known before the applier creates it.
        for number in (0..).take(self.stores.len()) {
            self.ask(number)?;
        }
        let layers = (0..).zip(&mut self.stores).filter_map(|(number, store)| Some((number, store.index.confirm()?))).collect();
        (self.frozen, self.lower) = (Slot::Free, Slot::Taken);
        Ok(Some(Apply::new(self.local.clone(), layers, deltas, segment)))
    }

    /// Takes note that the confirmed map is in RocksDB. Its values stay as clean ones, as far as their budget goes.
    pub fn applied(&mut self, done: Applied) {
        let segment = self.after.take().unwrap_or(done.segment);
        self.local.progress().applied = Some(segment);
        self.stores.iter_mut().for_each(|store| store.index.applied());
        self.lower = Slot::Free;
        self.sweep = Swept::InPart;
        self.sweep(0);
    }

    /// What the local store is at least at. Reads a small file, not RocksDB. None = there is no store, or none that could be trusted.
    ///
    /// # Errors
    /// The store is out of order.
    pub fn marker(&self) -> Result<Option<Marker>, StateError> {
        self.local.marker()
    }

    /// Whose state this is: what later markers say. A store on disk whose marker says otherwise is removed before it would be read.
    pub fn set_owner(&mut self, incarnation: Incarnation, branch: Branch) {
        self.local.progress().owner = Some((incarnation, branch));
    }

    /// Forgets everything, in memory and on disk.
    ///
    /// # Errors
    /// Misuse: a segment is being saved or applied. Or the disk fails; then the store is out of order.
    pub fn wipe(&mut self) -> Result<(), StateError> {
        self.check_idle()?;
        self.local.wipe()?;
        self.forget();
        Ok(())
    }

    /// Puts the deltas of one segment, or of several that were merged, into RocksDB, after those of the segments before. The files are consumed;
    /// those that list deletions are not read, and need not be given. Restoring a segment again, and all that follow it, changes nothing.
    ///
    /// # Errors
    /// A file isn't what it is said to be; the store is unknown; Misuse: the task has changes; or the disk fails.
    pub fn restore(&mut self, segment: Digest, deltas: Vec<DeltaFile>) -> Result<(), StateError> {
        self.check_idle()?;
        if self.dirty_bytes() > 0 {
            return Err(StateError::Misuse("a restore into stores that have changes"));
        }
        let (changes, deletions): (Vec<_>, Vec<_>) = deltas.into_iter().partition(|delta| delta.content == DeltaContent::Changes);
        // All that can be refused is refused before anything is changed.
        for delta in &changes {
            self.store(delta.store)?;
            delta.check()?;
        }
        // What was read before is older than what comes.
        self.forget();
        let mut bytes = 0;
        for delta in &changes {
            let ingested = durable(self.local.backend().steps(), DurableStep::StoreRestore, || self.local.ingest(delta.store, &delta.path));
            ingested.map_err(|error| self.local.poisoned("restore a delta", error))?;
            bytes += delta.length;
        }
        deletions.iter().for_each(|delta| delta::remove(&delta.path));
        let due = {
            let mut progress = self.local.progress();
            progress.applied = Some(segment);
            progress.unmarked_bytes += bytes;
            progress.unmarked_bytes >= APPLIED_MARK_BYTES && progress.owner.is_some()
        };
        if due { self.local.mark().map(drop) } else { Ok(()) }
    }

    /// What an image is taken from: cheap, and made between calls. The image itself is work for the applier of this task.
    #[must_use]
    pub fn image(&self) -> ImageSource {
        ImageSource::new(self.local.clone())
    }

    /// Makes the files of an image the store, as it was at `segment`. `folder` holds exactly these files, whose digests the caller has checked, is
    /// on the file system of the store, and is moved. Files that the caller has just written need not be durable yet: they are synced here. Stores
    /// that the task has and the image has not are empty. Where an owner is set, the marker names `segment` afterwards.
    ///
    /// # Errors
    /// Misuse: the task has changes, or the store was not wiped. `Altered`: RocksDB refuses the files; wipe the store. `Unfinished`: they can't be
    /// moved or opened. Only when a later step fails, the store is out of order.
    pub fn restore_image(&mut self, segment: Digest, folder: &Path) -> Result<(), StateError> {
        self.check_idle()?;
        if self.dirty_bytes() > 0 {
            return Err(StateError::Misuse("an image is restored into stores that have changes"));
        }
        // What was read before was read from an empty store.
        self.forget();
        self.local.adopt(folder)?;
        let owned = {
            let mut progress = self.local.progress();
            progress.applied = Some(segment);
            progress.owner.is_some()
        };
        if owned { self.mark() } else { Ok(()) }
    }

    /// Flushes everything that was applied and writes the marker. Nothing is written when nothing was ever applied.
    ///
    /// # Errors
    /// Misuse: nobody said whose state this is. Or the disk fails; then the store is out of order.
    pub fn mark(&mut self) -> Result<(), StateError> {
        self.local.mark().map(drop)
    }

    /// Visits every key and value of every store (number, key, value), in order: for tests and `verify`.
    ///
    /// # Errors
    /// Too many cursors are open, or the disk fails.
    pub fn entries(&mut self, mut visit: impl FnMut(u16, &[u8], &[u8])) -> Result<(), StateError> {
        for number in (0..).take(self.stores.len()) {
            let cursor = self.scan(number, KeyRange { start: None, end: None, direction: Direction::Forward })?;
            loop {
                let (keys, values) = self.next(cursor, ENTRIES_AT_ONCE)?;
                if keys.ends.is_empty() {
                    break;
                }
                let columns = keys.as_strings().and_then(|keys| Ok((keys, values.as_strings()?)));
                let (keys, values) = columns.map_err(|error| StateError::InvalidColumns(error.to_string()))?;
                for (key, value) in keys.iter().flatten().zip(values.iter().flatten()) {
                    visit(number, key, value);
                }
            }
            self.close(cursor);
        }
        Ok(())
    }

    /// Drops all layers.
    fn forget(&mut self) {
        let hasher = &self.hasher;
        self.stores.iter_mut().for_each(|store| *store = Store::new(hasher.clone()));
        self.after = None;
        self.sweep = Swept::Wholly;
    }

    fn check_between_calls(&self) -> Result<(), StateError> {
        if self.cursors.is_empty() && self.stores.iter().all(|store| store.overlay.is_empty()) {
            return Ok(());
        }
        Err(StateError::Misuse("a checkpoint or a recovery in the middle of a call"))
    }

    fn check_idle(&self) -> Result<(), StateError> {
        self.local.check()?;
        self.check_between_calls()?;
        if self.frozen == Slot::Taken || self.lower == Slot::Taken {
            return Err(StateError::Misuse("a recovery while a segment is being saved or applied"));
        }
        Ok(())
    }
}
