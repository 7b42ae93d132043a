//! Calls for many keys at once, and scans. A bulk call finds all its keys first and reads those that no map knows from RocksDB in one sorted
//! sweep; only then it writes, and if it fails it has written nothing. Refuses to answer or to write more in one call than the limits say.

use gregor_model::columns::{ColumnsError, Strings, StringsBuf};
use gregor_model::limits::{BULK_ANSWER_BYTES_MAX, BULK_KEYS_MAX, CALL_WRITE_BYTES_MAX, CURSORS_MAX};

use super::TaskStores;
use crate::counter;
use crate::cursor::{Cursor, CursorId, KeyRange};
use crate::error::StateError;
use crate::index::{FIND_MANY, Known, Swept};
use crate::layer::ENTRY_OVERHEAD_BYTES;
use crate::store::{Base, Hashed, Store, check_key, check_value};

/// Keys read from RocksDB at once at first, and after large values: 32 values have at most 512 MiB.
const READ_KEYS_MIN: usize = 32;
/// Keys read at once, at most: more don't get cheaper.
const READ_KEYS_MAX: usize = 1024;
/// Keys for whose places there is room from one call to the next: as many as a batch has, some times over.
const RESOLVED_KEPT: usize = 16 * 1024;
/// Bytes of an average value up to which more keys are read at once.
const SMALL_VALUE_BYTES: usize = 4096;

/// Hash and place of each key of a bulk call.
pub(super) type Resolved = Vec<(u32, Base)>;

impl TaskStores {
    /// The values of many keys, in their order.
    ///
    /// # Errors
    /// The store is unknown, a key absent or too long, the answer too large, or the disk fails.
    pub fn get_many(&mut self, store: u16, keys: Strings<'_>) -> Result<StringsBuf, StateError> {
        let mut resolved = std::mem::take(&mut self.resolved);
        let answer = self.resolve(store, keys, &mut resolved).and_then(|()| answer(self.store(store)?, keys, &resolved));
        self.put_back(resolved);
        self.sweep(0);
        answer
    }

    /// Sets the values of many keys, in order; an absent value deletes the key.
    ///
    /// # Errors
    /// The store is unknown, there are more or fewer values than keys, a key is absent, a key or a value too long, or the call writes too
    /// much. Then nothing was written.
    pub fn put_many(&mut self, store: u16, keys: Strings<'_>, values: Strings<'_>) -> Result<(), StateError> {
        check_lengths("values", values.len(), keys.len())?;
        check_number(keys)?;
        let mut bytes = 0;
        for (key, value) in keys.iter().zip(values.iter()) {
            let (key, value) = (present(key)?, value.unwrap_or_default());
            check_key(key)?;
            check_value(value)?;
            bytes += key.len() + value.len() + ENTRY_OVERHEAD_BYTES;
        }
        self.check_room(store, bytes)?;
        let Self { stores, hasher, .. } = self;
        let found = stores.get_mut(usize::from(store)).ok_or(StateError::NoSuchStore(store))?;
        for (key, value) in keys.iter().zip(values.iter()) {
            let key = present(key)?;
            found.overlay.write(hasher.hash(key), key, value);
        }
        Ok(())
    }

    /// Adds to many counters, in order; a key may occur more than once. `amounts` has one entry a key, or a single one for all.
    ///
    /// # Errors
    /// The store is unknown, there are more or fewer amounts than keys, a key is absent or too long, a value is no counter, a sum out of
    /// range, the call writes too much, or the disk fails. Then nothing was added.
    pub fn add_many(&mut self, store: u16, keys: Strings<'_>, amounts: &[i64]) -> Result<(), StateError> {
        if amounts.len() != 1 {
            check_lengths("amounts", amounts.len(), keys.len())?;
        }
        self.check_room(store, 0)?;
        let room = CALL_WRITE_BYTES_MAX.saturating_sub(self.stores.iter().map(|store| store.overlay.bytes()).sum());
        let mut resolved = std::mem::take(&mut self.resolved);
        let added = self.resolve(store, keys, &mut resolved).and_then(|()| {
            let amounts = amounts.iter().copied().cycle();
            add_all(self.store_mut(store)?, keys.iter().flatten().zip(&resolved).zip(amounts), room)
        });
        self.put_back(resolved);
        self.sweep(0);
        added
    }

    /// Opens a cursor on the store as it is now, with what this call wrote so far. It ends with the call.
    ///
    /// # Errors
    /// The store is unknown, a bound too long, too many cursors are open, or the call keeps too much aside for them.
    pub fn scan(&mut self, store: u16, range: KeyRange) -> Result<CursorId, StateError> {
        self.local.check()?;
        range.start.iter().chain(&range.end).try_for_each(|key| check_key(key))?;
        if self.cursors.len() >= CURSORS_MAX {
            return Err(StateError::TooManyCursors(CURSORS_MAX));
        }
        let room = CALL_WRITE_BYTES_MAX.saturating_sub(self.copied_bytes);
        let found = self.store_mut(store)?;
        if found.copy_bytes() > room {
            return Err(StateError::CallTooLarge { action: "keep aside for its cursors", bytes_max: CALL_WRITE_BYTES_MAX });
        }
        let (copied, bytes) = found.copy_overlay(range.borrow());
        let cursor = Cursor::new(store, found, range, copied);
        let id = CursorId(self.cursors_opened);
        self.cursors_opened += 1;
        self.copied_bytes += bytes;
        self.cursors.push((id, cursor));
        Ok(id)
    }

    /// The next keys and values of a cursor: at most `max` pairs, and about 1 MiB. No pair = the end.
    ///
    /// # Errors
    /// The cursor is closed, or the disk fails.
    pub fn next(&mut self, cursor: CursorId, max: usize) -> Result<(StringsBuf, StringsBuf), StateError> {
        let Self { local, stores, cursors, .. } = self;
        local.check()?;
        let (_, cursor) = cursors.iter_mut().find(|(id, _)| *id == cursor).ok_or(StateError::NoSuchCursor)?;
        let store = stores.get(usize::from(cursor.store())).ok_or(StateError::NoSuchStore(cursor.store()))?;
        cursor.next(store, local, max)
    }

    /// Closes a cursor; one that is closed stays so.
    pub fn close(&mut self, cursor: CursorId) {
        self.cursors.retain(|(id, _)| *id != cursor);
    }

    /// Keeps the room for the next call, but not that of an unusual one.
    fn put_back(&mut self, mut resolved: Resolved) {
        resolved.clear();
        resolved.shrink_to(RESOLVED_KEPT);
        self.resolved = resolved;
    }

    /// Finds all keys below the overlay, and reads those from RocksDB that no layer knows.
    fn resolve(&mut self, store: u16, keys: Strings<'_>, resolved: &mut Resolved) -> Result<(), StateError> {
        self.local.check()?;
        check_number(keys)?;
        let found = self.store(store)?;
        resolved.clear();
        let mut unread = false;
        let mut rest = keys.iter();
        loop {
            let mut some: [Hashed<'_>; FIND_MANY] = [(0, &[]); FIND_MANY];
            let mut taken = 0;
            for (place, key) in some.iter_mut().zip(rest.by_ref()) {
                let key = present(key)?;
                check_key(key)?;
                *place = (self.hasher.hash(key), key);
                taken += 1;
            }
            let some = some.get(..taken).unwrap_or_default();
            if some.is_empty() {
                break;
            }
            let mut hashes = some.iter().map(|(hash, _)| *hash);
            found.index.find_many(some, |place| {
                let base = found.base(place);
                unread |= matches!(base, Base::Unread);
                resolved.push((hashes.next().unwrap_or_default(), base));
            });
        }
        if !unread {
            return Ok(());
        }
        if self.ask(store)? != Known::All {
            self.load(store, keys, resolved)?;
        }
        let found = self.store(store)?;
        for ((hash, base), key) in resolved.iter_mut().zip(keys.iter().flatten()) {
            if matches!(base, Base::Unread) {
                *base = found.index.find(*hash, key).map_or(Base::Nowhere, Base::At);
            }
        }
        Ok(())
    }

    /// Reads what is unread, in order of the keys, each once.
    fn load(&mut self, store: u16, keys: Strings<'_>, resolved: &Resolved) -> Result<(), StateError> {
        self.sweep = Swept::InPart;
        let Self { local, stores, .. } = self;
        let found = stores.get_mut(usize::from(store)).ok_or(StateError::NoSuchStore(store))?;
        let unread = resolved.iter().zip(keys.iter().flatten()).filter(|((_, base), _)| matches!(base, Base::Unread));
        let mut unread: Vec<(&[u8], u32)> = unread.map(|((hash, _), key)| (key, *hash)).collect();
        unread.retain(|(key, hash)| found.overlay.find(*hash, key).is_none());
        unread.sort_unstable();
        unread.dedup();
        let (mut rest, mut at_once, mut bytes) = (unread.as_slice(), READ_KEYS_MIN, 0_usize);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(at_once.min(rest.len()));
            let names: Vec<&[u8]> = now.iter().map(|(key, _)| *key).collect();
            let before = bytes;
            local.get_many(store, &names, &mut |at, value| {
                bytes += value.map_or(0, <[u8]>::len);
                if let Some((key, hash)) = now.get(at) {
                    found.index.learn((*hash, key), value);
                }
            })?;
            if bytes > BULK_ANSWER_BYTES_MAX {
                return Err(StateError::CallTooLarge { action: "read at once", bytes_max: BULK_ANSWER_BYTES_MAX });
            }
            let small = (bytes - before) / now.len() <= SMALL_VALUE_BYTES;
            at_once = if small { READ_KEYS_MAX.min(2 * at_once) } else { READ_KEYS_MIN };
            rest = later;
        }
        Ok(())
    }
}

/// The values of keys whose places are known.
fn answer(store: &Store, keys: Strings<'_>, resolved: &Resolved) -> Result<StringsBuf, StateError> {
    let mut values = StringsBuf::default();
    values.ends.reserve(resolved.len());
    for ((hash, base), key) in resolved.iter().zip(keys.iter().flatten()) {
        let value = match store.overlay.find(*hash, key) {
            Some(entry) => store.overlay.value(entry),
            None => store.value(*base),
        };
        values.push(value).map_err(|error| invalid(&error))?;
        if values.data.len() > BULK_ANSWER_BYTES_MAX {
            return Err(StateError::CallTooLarge { action: "read at once", bytes_max: BULK_ANSWER_BYTES_MAX });
        }
    }
    Ok(values)
}

/// Adds all, or takes back what it added. `room` is what the call may still write, in bytes.
fn add_all<'a>(
    store: &mut Store,
    adds: impl Iterator<Item = ((&'a [u8], &'a (u32, Base)), i64)>,
    mut room: usize,
) -> Result<(), StateError> {
    let before = store.overlay.len();
    let mut changed = Vec::new();
    for ((key, (hash, base)), amount) in adds {
        let added = match store.overlay.find(*hash, key) {
            Some(entry) => counter::add(store.overlay.value(entry), amount).map(|sum| {
                // Keys that this very call brought in are taken back whole.
                if (entry as usize) < before {
                    changed.push((entry, store.overlay.value(entry).and_then(|value| value.first_chunk::<8>()).copied()));
                }
                store.overlay.set(entry, Some(&sum.to_le_bytes()));
            }),
            None => counter::add(store.value(*base), amount).and_then(|sum| {
                let bytes = key.len() + size_of::<i64>() + ENTRY_OVERHEAD_BYTES;
                room = room.checked_sub(bytes).ok_or(StateError::CallTooLarge { action: "write", bytes_max: CALL_WRITE_BYTES_MAX })?;
                store.insert((*hash, key), &sum.to_le_bytes(), *base);
                Ok(())
            }),
        };
        if let Err(error) = added {
            for (entry, value) in changed.into_iter().rev() {
                store.overlay.set(entry, value.as_ref().map(<[u8; 8]>::as_slice));
            }
            store.overlay.truncate(before);
            return Err(error);
        }
    }
    Ok(())
}

fn present(key: Option<&[u8]>) -> Result<&[u8], StateError> {
    key.ok_or_else(|| StateError::InvalidColumns("a key is absent; every key must be there".to_owned()))
}

fn check_number(keys: Strings<'_>) -> Result<(), StateError> {
    if keys.len() > BULK_KEYS_MAX { Err(StateError::TooManyKeys(BULK_KEYS_MAX)) } else { Ok(()) }
}

fn check_lengths(column: &'static str, found: usize, expected: usize) -> Result<(), StateError> {
    if found == expected { Ok(()) } else { Err(invalid(&ColumnsError::Length { column, found, expected })) }
}

fn invalid(error: &ColumnsError) -> StateError {
    StateError::InvalidColumns(error.to_string())
}
