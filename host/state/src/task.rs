//! The stores of one task, as whoever runs the task holds them: calls (this file), scans and bulk calls (`bulk`), checkpoints and recovery
//! (`lifecycle`). A call sees its own writes at once; nobody else does before [`TaskStores::commit`].
//!
//! Refuses to be shared: a task belongs to one worker at a time, so nothing here is locked.

mod bulk;
mod lifecycle;

use std::path::PathBuf;
use std::sync::Arc;

use gregor_model::digest::Digest;
use gregor_model::limits::CALL_WRITE_BYTES_MAX;
use gregor_model::names::StoreName;

use crate::backend::Backend;
use crate::counter;
use crate::cursor::{Cursor, CursorId};
use crate::error::StateError;
use crate::index::{KeyHasher, Known, Swept};
use crate::layer::ENTRY_OVERHEAD_BYTES;
use crate::local::Local;
use crate::store::{Base, Store, check_key, check_value};
use bulk::Resolved;

/// Clean entries that are looked at after a call, at least, when there are too many: 8192 take about half a millisecond.
const SWEEP_STEPS: usize = 8192;

/// Whether a confirmed segment can move down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// It can.
    Free,
    /// The segment before it is still being applied.
    Taken,
}

/// The stores of one task. See the module.
pub struct TaskStores {
    local: Arc<Local>,
    hasher: KeyHasher,
    stores: Vec<Store>,
    cursors: Vec<(CursorId, Cursor)>,
    /// Cursors opened so far: no id is given twice.
    cursors_opened: u64,
    /// Bytes copied for cursors in this call.
    copied_bytes: usize,
    /// Whether a freeze waits for its confirm.
    frozen: Slot,
    /// Whether a confirmed segment waits for its apply.
    lower: Slot,
    /// A segment without changes that was confirmed meanwhile.
    after: Option<Digest>,
    /// Whether clean values may be over their budget.
    sweep: Swept,
    /// Scratch of bulk calls, kept for its memory.
    resolved: Resolved,
}

impl TaskStores {
    /// The stores of a task whose RocksDB is, or will be, in `folder`. Touches no disk: RocksDB is opened at the first read of a key that no map
    /// knows, or when the first delta is applied. Store numbers are positions in `stores`, which has at most 65,536 of them.
    #[must_use]
    pub fn new(backend: &Backend, folder: PathBuf, stores: Vec<StoreName>) -> Self {
        let hasher = KeyHasher::default();
        Self {
            stores: stores.iter().map(|_| Store::new(hasher.clone())).collect(),
            local: Local::new(backend, folder, stores),
            hasher,
            cursors: Vec::new(),
            cursors_opened: 0,
            copied_bytes: 0,
            frozen: Slot::Free,
            lower: Slot::Free,
            after: None,
            sweep: Swept::Wholly,
            resolved: Resolved::default(),
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The store is unknown, the key too long, or the disk fails.
    pub fn get(&mut self, store: u16, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        check_key(key)?;
        let hash = self.hasher.hash(key);
        let found = self.store(store)?;
        if let Some(entry) = found.overlay.find(hash, key) {
            return Ok(found.overlay.value(entry).map(<[u8]>::to_vec));
        }
        let base = self.base(store, (hash, key))?;
        let value = self.store(store)?.value(base).map(<[u8]>::to_vec);
        self.sweep(0);
        Ok(value)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// The store is unknown, the key or the value too long, or the call has written too much.
    pub fn put(&mut self, store: u16, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        check_key(key)?;
        check_value(value)?;
        self.check_room(store, key.len() + value.len() + ENTRY_OVERHEAD_BYTES)?;
        let hash = self.hasher.hash(key);
        self.store_mut(store)?.overlay.write(hash, key, Some(value));
        Ok(())
    }

    /// Removes a key, whether or not it is there.
    ///
    /// # Errors
    /// The store is unknown, the key too long, or the call has written too much.
    pub fn delete(&mut self, store: u16, key: &[u8]) -> Result<(), StateError> {
        check_key(key)?;
        self.check_room(store, key.len() + ENTRY_OVERHEAD_BYTES)?;
        let hash = self.hasher.hash(key);
        self.store_mut(store)?.overlay.write(hash, key, None);
        Ok(())
    }

    /// Adds to a counter, 8 bytes little-endian; an absent one counts as 0. Answers the sum.
    ///
    /// # Errors
    /// The store is unknown, the key too long, the value no counter, the sum out of range, the call has written too much, or the disk fails.
    /// Then nothing has changed.
    pub fn add(&mut self, store: u16, key: &[u8], amount: i64) -> Result<i64, StateError> {
        check_key(key)?;
        self.check_room(store, key.len() + size_of::<i64>() + ENTRY_OVERHEAD_BYTES)?;
        let hash = self.hasher.hash(key);
        let found = self.store_mut(store)?;
        if let Some(entry) = found.overlay.find(hash, key) {
            let sum = counter::add(found.overlay.value(entry), amount)?;
            found.overlay.set(entry, Some(&sum.to_le_bytes()));
            return Ok(sum);
        }
        let base = self.base(store, (hash, key))?;
        let found = self.store_mut(store)?;
        let sum = counter::add(found.value(base), amount)?;
        found.insert((hash, key), &sum.to_le_bytes(), base);
        self.sweep(0);
        Ok(sum)
    }

    /// Ends a call that went well: what it wrote is what the task's state is now. Closes all cursors.
    pub fn commit(&mut self) {
        let written = self.stores.iter().map(|store| store.overlay.len()).sum();
        self.stores.iter_mut().for_each(Store::commit);
        self.end_call();
        self.sweep(written);
    }

    /// Ends a call that failed: what it wrote is forgotten. Closes all cursors.
    pub fn rollback(&mut self) {
        self.stores.iter_mut().for_each(Store::rollback);
        self.end_call();
    }

    /// Bytes of changes that no confirmed checkpoint has, about, with what the maps take for them: active and frozen.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        self.stores.iter().map(|store| store.index.dirty_bytes() as u64).sum()
    }

    fn end_call(&mut self) {
        self.cursors.clear();
        self.copied_bytes = 0;
    }

    fn store(&self, store: u16) -> Result<&Store, StateError> {
        self.stores.get(usize::from(store)).ok_or(StateError::NoSuchStore(store))
    }

    fn store_mut(&mut self, store: u16) -> Result<&mut Store, StateError> {
        self.stores.get_mut(usize::from(store)).ok_or(StateError::NoSuchStore(store))
    }

    /// Where the layers below the overlay have a key; reads RocksDB if none of them does.
    fn base(&mut self, store: u16, key: (u32, &[u8])) -> Result<Base, StateError> {
        self.local.check()?;
        let found = self.store(store)?;
        match found.base(found.index.find(key.0, key.1)) {
            Base::Unread if self.ask(store)? == Known::All => return Ok(Base::Nowhere),
            Base::Unread => {}
            base => return Ok(base),
        }
        let Self { local, stores, .. } = self;
        let found = stores.get_mut(usize::from(store)).ok_or(StateError::NoSuchStore(store))?;
        let place = local.get(store, key.1, |value| found.index.learn(key, value))?;
        self.sweep = Swept::InPart;
        Ok(place.map_or(Base::Nowhere, Base::At))
    }

    /// Whether RocksDB can have keys that the index hasn't; looks for RocksDB the first time.
    fn ask(&mut self, store: u16) -> Result<Known, StateError> {
        let known = self.store(store)?.index.known();
        if known != Known::Unasked {
            return Ok(known);
        }
        let known = if self.local.exists()? { Known::Some } else { Known::All };
        self.store_mut(store)?.index.set_known(known);
        Ok(known)
    }

    /// Checks that the call may write `bytes` more into a store.
    fn check_room(&self, store: u16, bytes: usize) -> Result<(), StateError> {
        self.local.check()?;
        let found = self.store(store)?;
        // The sum over all stores is only made when this one alone has its share.
        if (found.overlay.bytes() + bytes) * self.stores.len() > CALL_WRITE_BYTES_MAX {
            let written: usize = self.stores.iter().map(|store| store.overlay.bytes()).sum();
            if written + bytes > CALL_WRITE_BYTES_MAX {
                return Err(StateError::CallTooLarge { action: "write", bytes_max: CALL_WRITE_BYTES_MAX });
            }
        }
        found.check_room()
    }

    /// Keeps clean values within their budget, a piece at a time; `written` entries came in since the last time.
    fn sweep(&mut self, written: usize) {
        if self.sweep == Swept::Wholly {
            return;
        }
        let budget = self.local.backend().clean_bytes_per_task();
        let total: usize = self.stores.iter().map(|store| store.index.clean_bytes()).sum();
        let largest = self.stores.iter_mut().max_by_key(|store| store.index.clean_bytes());
        self.sweep = largest.map_or(Swept::Wholly, |store| {
            let share = store.index.clean_bytes().saturating_sub(total.saturating_sub(budget));
            store.index.sweep(share, SWEEP_STEPS.max(4 * written))
        });
    }
}

impl std::fmt::Debug for TaskStores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskStores").field("stores", &self.stores.len()).field("dirty_bytes", &self.dirty_bytes()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
