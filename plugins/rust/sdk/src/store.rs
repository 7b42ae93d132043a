//! A task's stores. Refuses to cache: the host does, and knows when what it keeps is still true.

use crate::bindings::gregor::task::state;
use crate::{StateError, columns};

/// One named key-value store of this task, kept by the host and part of every checkpoint. Keys are ordered by their bytes and have at most
/// 1 MiB, values at most 16 MiB. What a call writes is seen by its own reads at once, and by everything else only if the call succeeds.
///
/// The bulk forms cost 4–10 ns a key where the others cost 150–300 ns.
#[derive(Debug)]
pub struct Store {
    handle: state::Store,
    /// Columns of bulk calls; they keep their memory from call to call.
    keys: state::Columns,
    values: state::Columns,
    amounts: Vec<i64>,
}

impl Store {
    /// Opens a store by its name in the component's [`Description`](crate::Description).
    ///
    /// # Errors
    /// The description has no store of this name.
    pub fn open(name: &str) -> Result<Self, StateError> {
        Ok(Self { handle: state::open(name)?, keys: columns::empty(), values: columns::empty(), amounts: Vec::new() })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The key is too long.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.handle.get(key.as_ref())?)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// The key or the value is too long.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), StateError> {
        Ok(self.handle.put(key.as_ref(), value.as_ref())?)
    }

    /// Removes a key; it need not be there.
    ///
    /// # Errors
    /// The key is too long.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), StateError> {
        Ok(self.handle.delete(key.as_ref())?)
    }

    /// Adds to a counter, of which an absent one counts as 0, and answers the sum. A counter is a value of 8 bytes: see [`counter`].
    ///
    /// # Errors
    /// The key is too long, its value is not a counter, or the sum does not fit.
    pub fn add(&self, key: impl AsRef<[u8]>, amount: i64) -> Result<i64, StateError> {
        Ok(self.handle.add(key.as_ref(), amount)?)
    }

    /// Adds the same amount for each key, in order; a key may occur more than once.
    ///
    /// # Errors
    /// As [`add`](Self::add); then nothing of it was done.
    pub fn add_many<K: AsRef<[u8]>>(&mut self, keys: impl IntoIterator<Item = K>, amount: i64) -> Result<(), StateError> {
        columns::clear(&mut self.keys);
        for key in keys {
            columns::push(&mut self.keys, Some(key.as_ref()));
        }
        if self.keys.ends.is_empty() { Ok(()) } else { Ok(self.handle.add_many(&self.keys, &[amount])?) }
    }

    /// Adds an amount for each key, in order; a key may occur more than once.
    ///
    /// # Errors
    /// As [`add`](Self::add); then nothing of it was done.
    pub fn add_each<K: AsRef<[u8]>>(&mut self, pairs: impl IntoIterator<Item = (K, i64)>) -> Result<(), StateError> {
        columns::clear(&mut self.keys);
        self.amounts.clear();
        for (key, amount) in pairs {
            columns::push(&mut self.keys, Some(key.as_ref()));
            self.amounts.push(amount);
        }
        if self.amounts.is_empty() { Ok(()) } else { Ok(self.handle.add_many(&self.keys, &self.amounts)?) }
    }

    /// The values of many keys, in their order.
    ///
    /// # Errors
    /// A key is too long.
    pub fn get_many<K: AsRef<[u8]>>(&mut self, keys: impl IntoIterator<Item = K>) -> Result<Values, StateError> {
        columns::clear(&mut self.keys);
        for key in keys {
            columns::push(&mut self.keys, Some(key.as_ref()));
        }
        let values = if self.keys.ends.is_empty() { columns::empty() } else { self.handle.get_many(&self.keys)? };
        Ok(Values { columns: values })
    }

    /// Sets the values of many keys, in order; no value deletes the key.
    ///
    /// # Errors
    /// A key or a value is too long; then nothing of it was done.
    pub fn put_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, pairs: impl IntoIterator<Item = (K, Option<V>)>) -> Result<(), StateError> {
        columns::clear(&mut self.keys);
        columns::clear(&mut self.values);
        for (key, value) in pairs {
            columns::push(&mut self.keys, Some(key.as_ref()));
            columns::push(&mut self.values, value.as_ref().map(AsRef::as_ref));
        }
        if self.keys.ends.is_empty() { Ok(()) } else { Ok(self.handle.put_many(&self.keys, &self.values)?) }
    }

    /// Visits the keys of a range in order. The scan sees the store as it is now, also when the call writes later, and ends with the call.
    ///
    /// # Errors
    /// An end of the range is too long.
    pub fn scan(&self, range: KeyRange) -> Result<Scan, StateError> {
        Ok(Scan { cursor: self.handle.scan(&range.range)? })
    }
}

/// The number in a counter's value: 8 bytes, signed, little-endian.
///
/// # Errors
/// The value has another length.
pub fn counter(value: &[u8]) -> Result<i64, StateError> {
    let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
    value.try_into().map(i64::from_le_bytes).map_err(|_| StateError::NotACounter(length))
}

/// The answers of [`Store::get_many`].
#[derive(Debug)]
pub struct Values {
    columns: state::Columns,
}

impl Values {
    /// All values in the order of the keys; none where a key is not there.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        (0..self.columns.ends.len()).map(|index| columns::get(&self.columns, index))
    }
}

/// Which keys a scan visits, and in which direction. Made from [`all`](Self::all) or [`prefix`](Self::prefix) and narrowed.
#[derive(Debug, Clone)]
pub struct KeyRange {
    range: state::Range,
}

impl KeyRange {
    /// All keys, from the first to the last.
    #[must_use]
    pub const fn all() -> Self {
        Self { range: state::Range { start: None, end: None, reverse: false } }
    }

    /// The keys that begin with these bytes.
    #[must_use]
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref();
        Self { range: state::Range { start: Some(prefix.to_vec()), end: after_prefix(prefix), reverse: false } }
    }

    /// Nothing before this key.
    #[must_use]
    pub fn from(mut self, key: impl AsRef<[u8]>) -> Self {
        self.range.start = Some(key.as_ref().to_vec());
        self
    }

    /// Nothing before or at this key.
    #[must_use]
    pub fn after(self, key: impl AsRef<[u8]>) -> Self {
        // The very next byte string.
        let mut start = key.as_ref().to_vec();
        start.push(0);
        self.from(start)
    }

    /// Nothing at or behind this key.
    #[must_use]
    pub fn before(mut self, key: impl AsRef<[u8]>) -> Self {
        self.range.end = Some(key.as_ref().to_vec());
        self
    }

    /// From the last key to the first.
    #[must_use]
    pub const fn reversed(mut self) -> Self {
        self.range.reverse = true;
        self
    }
}

/// The first key behind all that begin with `prefix`; none where all keys from it on do.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(end)
}

/// A place in a scan.
#[derive(Debug)]
pub struct Scan {
    cursor: state::Cursor,
}

impl Scan {
    /// The next pairs, at most `max` of them (at least 1) and about 1 MiB. None are left when the answer is empty.
    ///
    /// # Errors
    /// The host could not go on.
    pub fn next(&mut self, max: u32) -> Result<Pairs, StateError> {
        let (keys, values) = self.cursor.next_many(max.max(1))?;
        Ok(Pairs { keys, values })
    }
}

/// Keys and values in the order of a scan.
#[derive(Debug)]
pub struct Pairs {
    keys: state::Columns,
    values: state::Columns,
}

impl Pairs {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.ends.len()
    }

    /// Whether there is none: the scan is at its end.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.ends.is_empty()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.keys.data.len() + self.values.data.len()
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        let string = |columns, index| columns::get(columns, index).unwrap_or_default();
        (0..self.len()).map(move |index| (string(&self.keys, index), string(&self.values, index)))
    }

    /// The last pair.
    #[must_use]
    pub fn last(&self) -> Option<(&[u8], &[u8])> {
        self.iter().next_back()
    }
}

#[cfg(test)]
mod tests;
