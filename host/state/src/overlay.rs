//! What one guest call has written and nobody else sees yet: kept if the call returns ok, dropped otherwise. It is emptied, not freed, between
//! calls. Refuses to read anything below it: who adds to a counter says what it was.

use hashbrown::HashTable;

use crate::index::{Place, spread};
use crate::layer::Layer;

/// Entries up to which an overlay keeps its memory between calls: a few batches' worth.
const KEPT_ENTRIES: usize = 1 << 14;
/// Bytes of keys and values up to which it does.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// What the overlay knows of an entry beside its key and value.
#[derive(Debug, Clone, Copy)]
struct Meta {
    hash: u32,
    /// Where the layers below have the key, so that a commit need not look for it again.
    below: Option<Place>,
}

/// The writes of one call to one store.
#[derive(Default)]
pub(crate) struct Overlay {
    /// Hash in the high, entry in the low half.
    table: HashTable<u64>,
    layer: Layer,
    metas: Vec<Meta>,
    /// Counts changes, so that cursors opened between two changes share one copy.
    version: u64,
}

/// One write, as a commit takes it.
pub(crate) struct Write<'a> {
    pub(crate) hash: u32,
    pub(crate) key: &'a [u8],
    /// None = a deletion.
    pub(crate) value: Option<&'a [u8]>,
    /// Where the layers below had the key when it was written, if somebody looked.
    pub(crate) below: Option<Place>,
}

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.layer.is_empty()
    }

    /// Keys written.
    pub(crate) fn len(&self) -> usize {
        self.layer.len()
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Bytes that the call has written, each key once.
    pub(crate) fn bytes(&self) -> usize {
        self.layer.data_bytes() + self.layer.len() * crate::layer::ENTRY_OVERHEAD_BYTES
    }

    /// The entry of a key, if the call wrote it.
    pub(crate) fn find(&self, hash: u32, key: &[u8]) -> Option<u32> {
        if self.layer.is_empty() {
            return None;
        }
        self.table.find(spread(hash), |&slot| is_slot_of(&self.layer, slot, (hash, key))).map(|&slot| entry_of(slot))
    }

    /// The value of an entry; none = deleted.
    pub(crate) fn value(&self, entry: u32) -> Option<&[u8]> {
        self.layer.value(entry)
    }

    /// Sets the value of a key, or deletes it.
    pub(crate) fn write(&mut self, hash: u32, key: &[u8], value: Option<&[u8]>) {
        match self.find(hash, key) {
            Some(entry) => self.set(entry, value),
            None => self.insert((hash, key), value, None),
        }
    }

    /// Sets the value of an entry, or deletes it.
    pub(crate) fn set(&mut self, entry: u32, value: Option<&[u8]>) {
        self.version += 1;
        self.layer.set(entry, value);
        self.layer.reclaim();
    }

    /// Adds a key that the call hasn't written yet. `below` is where the layers below have it, if known.
    pub(crate) fn insert(&mut self, (hash, key): (u32, &[u8]), value: Option<&[u8]>, below: Option<Place>) {
        self.version += 1;
        let entry = self.layer.push(key, value);
        self.metas.push(Meta { hash, below });
        self.table.insert_unique(spread(hash), u64::from(hash) << 32 | u64::from(entry), |&slot| spread(hash_of(slot)));
    }

    /// All writes, in the order in which their keys came.
    pub(crate) fn writes(&self) -> impl Iterator<Item = Write<'_>> {
        (0..).zip(&self.metas).map(|(entry, meta)| Write {
            hash: meta.hash,
            key: self.layer.key(entry),
            value: self.layer.value(entry),
            below: meta.below,
        })
    }

    /// Takes back the keys that were added after there were `len` of them: how a bulk call that fails leaves nothing.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.version += 1;
        for (entry, meta) in (len..).zip(self.metas.drain(len.min(self.metas.len())..)) {
            if let Ok(found) = self.table.find_entry(spread(meta.hash), |&slot| entry_of(slot) as usize == entry) {
                found.remove();
            }
        }
        self.layer.truncate(len);
    }

    /// The writes with keys in `start..end`, as a layer that stays as it is now.
    pub(crate) fn copy(&self, (start, end): (Option<&[u8]>, Option<&[u8]>)) -> Layer {
        let mut copy = Layer::default();
        for write in self.writes() {
            if start.is_none_or(|start| write.key >= start) && end.is_none_or(|end| write.key < end) {
                copy.push(write.key, write.value);
            }
        }
        copy
    }

    /// Empties it for the next call. Memory beyond a few batches' worth is given back.
    pub(crate) fn clear(&mut self) {
        self.version += 1;
        self.table.clear();
        if self.table.capacity() > 2 * KEPT_ENTRIES {
            self.table = HashTable::new();
        }
        self.metas.clear();
        self.metas.shrink_to(KEPT_ENTRIES);
        self.layer.clear();
        self.layer.shrink_to(KEPT_BYTES);
    }
}

fn is_slot_of(layer: &Layer, slot: u64, (hash, key): (u32, &[u8])) -> bool {
    hash_of(slot) == hash && layer.key(entry_of(slot)) == key
}

fn hash_of(slot: u64) -> u32 {
    u32::try_from(slot >> 32).unwrap_or_default()
}

fn entry_of(slot: u64) -> u32 {
    u32::try_from(slot & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
