//! The keys and values of one layer of a store: an arena of bytes and a list of entries that point into it, so that a record costs no
//! allocation. An entry keeps its number for the life of its layer, whatever happens to its value; cursors and the index rely on that.
//! Refuses to know where a key is (the index does) and to remove one: a deleted key is an entry without a value.

pub(crate) mod order;

use std::sync::OnceLock;

use order::Runs;

/// Bytes that an entry takes beside its key and value: 16 here, 4 in a sorted run, and 9 in the index at a load between 7/16 and 7/8.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 40;
/// Bytes that the arena of a layer can address.
pub(crate) const ARENA_BYTES_MAX: usize = u32::MAX as usize;
/// Dead bytes below which an arena is not rewritten: less is not worth a pass.
const GARBAGE_BYTES_MIN: usize = 1024 * 1024;
/// `value_len` of an entry without a value.
const TOMBSTONE: u32 = u32::MAX;

/// Where an entry's bytes are. 16 bytes, so that four fill a cache line.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key_at: u32,
    key_len: u32,
    value_at: u32,
    value_len: u32,
}

/// One layer. See the module.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    entries: Vec<Entry>,
    arena: Vec<u8>,
    /// Bytes of the arena that belong to no entry any more.
    garbage: usize,
    /// Entries in order of their keys, while the layer still grows.
    runs: Runs,
    /// Entries in order of their keys, once it doesn't.
    order: OnceLock<Vec<u32>>,
}

impl Layer {
    /// Entries, those without a value included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that it takes in memory, about, dead ones included.
    pub(crate) fn bytes(&self) -> usize {
        self.arena.len() + self.entries.len() * ENTRY_OVERHEAD_BYTES
    }

    /// Bytes of its keys and values.
    pub(crate) fn data_bytes(&self) -> usize {
        self.arena.len() - self.garbage
    }

    /// The key of an entry.
    pub(crate) fn key(&self, entry: u32) -> &[u8] {
        self.entries.get(entry as usize).map(|entry| self.slice(entry.key_at, entry.key_len)).unwrap_or_default()
    }

    /// The value of an entry; none = deleted.
    pub(crate) fn value(&self, entry: u32) -> Option<&[u8]> {
        let entry = self.entries.get(entry as usize)?;
        (entry.value_len != TOMBSTONE).then(|| self.slice(entry.value_at, entry.value_len))
    }

    /// Appends an entry and answers its number. The caller has made sure of the room.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> u32 {
        let number = position(self.entries.len());
        let key_at = self.append(key);
        let (value_at, value_len) = match value {
            Some(value) => (self.append(value), position(value.len())),
            None => (key_at, TOMBSTONE),
        };
        self.entries.push(Entry { key_at, key_len: position(key.len()), value_at, value_len });
        number
    }

    /// Replaces the value of an entry: in place when it is not longer than the one before.
    pub(crate) fn set(&mut self, number: u32, value: Option<&[u8]>) {
        let Some(entry) = self.entries.get_mut(number as usize) else { return };
        let before = if entry.value_len == TOMBSTONE { 0 } else { entry.value_len as usize };
        let Some(value) = value else {
            entry.value_len = TOMBSTONE;
            self.garbage += before;
            return;
        };
        let at = entry.value_at as usize;
        if entry.value_len != TOMBSTONE && value.len() <= before {
            if let Some(place) = self.arena.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
            entry.value_len = position(value.len());
            self.garbage += before - value.len();
        } else {
            let value_at = position(self.arena.len());
            (entry.value_at, entry.value_len) = (value_at, position(value.len()));
            self.arena.extend_from_slice(value);
            self.garbage += before;
        }
    }

    /// Rewrites the arena when more than half of it is dead. Entries keep their numbers.
    pub(crate) fn reclaim(&mut self) {
        if self.garbage < GARBAGE_BYTES_MIN || self.garbage * 2 < self.arena.len() {
            return;
        }
        let mut packed = Vec::with_capacity((self.arena.len() - self.garbage) * 2);
        for entry in &mut self.entries {
            let (key_at, value_at) = (entry.key_at as usize, entry.value_at as usize);
            entry.key_at = position(packed.len());
            packed.extend_from_slice(self.arena.get(key_at..key_at + entry.key_len as usize).unwrap_or_default());
            if entry.value_len == TOMBSTONE {
                continue;
            }
            entry.value_at = position(packed.len());
            packed.extend_from_slice(self.arena.get(value_at..value_at + entry.value_len as usize).unwrap_or_default());
        }
        self.arena = packed;
        self.garbage = 0;
    }

    /// Drops the entries from `len` on, which nobody may refer to any more. Layers that are truncated are never sorted.
    pub(crate) fn truncate(&mut self, len: usize) {
        for entry in self.entries.drain(len.min(self.entries.len())..) {
            let value = if entry.value_len == TOMBSTONE { 0 } else { entry.value_len };
            self.garbage += entry.key_len as usize + value as usize;
        }
    }

    /// Forgets everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.arena.clear();
        self.garbage = 0;
        self.runs = Runs::default();
        self.order = OnceLock::new();
    }

    /// Gives back memory beyond `bytes` of arena: one huge call must not pin its peak for ever.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.arena.shrink_to(bytes);
        self.entries.shrink_to(bytes / ENTRY_OVERHEAD_BYTES);
    }

    fn append(&mut self, bytes: &[u8]) -> u32 {
        let at = position(self.arena.len());
        self.arena.extend_from_slice(bytes);
        at
    }

    fn slice(&self, at: u32, len: u32) -> &[u8] {
        self.arena.get(at as usize..at as usize + len as usize).unwrap_or_default()
    }
}

/// A position as it is kept.
///
/// The assertion pairs with the checks before each write (`store::Room`): a layer that outgrows its offsets would answer other keys' bytes.
fn position(at: usize) -> u32 {
    let position = u32::try_from(at).unwrap_or(TOMBSTONE);
    assert!(position != TOMBSTONE, "a layer outgrew its 32-bit offsets");
    position
}

#[cfg(test)]
mod tests;
