//! Records in columns: the one layout that blocks on disk, batches in memory and guest calls share. Pure data with checked access; how a
//! block is framed on disk is `stream`'s, how it crosses into a guest is `guest`'s. Refuses ends that decrease or point past their data, so
//! that a slice taken from valid columns is always in range.

use thiserror::Error;

/// What is wrong with columns that somebody handed us.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ColumnsError {
    /// Two columns that must have the same number of entries have not.
    #[error("column {column} has {found} entries, expected {expected}")]
    Length {
        /// The column's name in the contract.
        column: &'static str,
        /// Entries found.
        found: usize,
        /// Entries expected.
        expected: usize,
    },
    /// An end lies before the one before it, or past the data.
    #[error("column {column} entry {index} is {found}, outside {low}..={high}")]
    End {
        /// The column's name in the contract.
        column: &'static str,
        /// Index of the entry.
        index: usize,
        /// The value found.
        found: u32,
        /// Lowest valid value.
        low: u32,
        /// Highest valid value.
        high: usize,
    },
    /// The last end does not reach the end of the data.
    #[error("{unused} bytes of data belong to no record")]
    Trailing {
        /// Bytes left over.
        unused: usize,
    },
}

/// n byte strings in columns, borrowed and checked: how bulk state calls get their keys and values.
#[derive(Debug, Clone, Copy)]
pub struct Strings<'a> {
    data: &'a [u8],
    ends: &'a [u32],
    nulls: &'a [u8],
}

impl<'a> Strings<'a> {
    /// Checks and borrows columns. `nulls` is empty or has one bit a string (bit i%8 of byte i/8; 1 = absent).
    ///
    /// # Errors
    /// Ends decrease or point past `data`; `data` has bytes past the last end; `nulls` has another length than ⌈n/8⌉.
    pub fn new(data: &'a [u8], ends: &'a [u32], nulls: &'a [u8]) -> Result<Self, ColumnsError> {
        let mut low = 0;
        for (index, &found) in ends.iter().enumerate() {
            check_end("ends", (index, found), (low, data.len()))?;
            low = found;
        }
        check_trailing(low, data.len())?;
        if !nulls.is_empty() && nulls.len() != ends.len().div_ceil(8) {
            return Err(ColumnsError::Length { column: "nulls", found: nulls.len(), expected: ends.len().div_ceil(8) });
        }
        Ok(Self { data, ends, nulls })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether any of them is absent.
    #[must_use]
    pub fn has_absent(&self) -> bool {
        (0..self.len()).any(|index| bit(self.nulls, index))
    }

    /// All of them in order; `None` where one is absent.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let Self { data, ends, nulls } = *self;
        let mut start = 0;
        ends.iter().enumerate().map(move |(index, &end)| {
            let string = slice(data, start, end);
            start = end;
            (!bit(nulls, index)).then_some(string)
        })
    }
}

/// n byte strings in columns, owned: what bulk state calls answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringsBuf {
    /// All of them, back to back.
    pub data: Vec<u8>,
    /// End of each in `data`.
    pub ends: Vec<u32>,
    /// One bit each: absent. Empty = none is.
    pub nulls: Vec<u8>,
}

impl StringsBuf {
    /// Appends a string, or an absent one.
    ///
    /// # Errors
    /// All strings together would pass 4 GiB.
    pub fn push(&mut self, string: Option<&[u8]>) -> Result<(), ColumnsError> {
        let index = self.ends.len();
        self.data.extend_from_slice(string.unwrap_or_default());
        self.ends.push(end_of(&self.data)?);
        if string.is_none() || !self.nulls.is_empty() {
            self.nulls.resize((index + 1).div_ceil(8), 0);
        }
        if string.is_none()
            && let Some(byte) = self.nulls.get_mut(index / 8)
        {
            *byte |= 1 << (index % 8);
        }
        Ok(())
    }

    /// Borrows them, checked.
    ///
    /// # Errors
    /// The fields contradict each other, which `push` never makes.
    pub fn as_strings(&self) -> Result<Strings<'_>, ColumnsError> {
        Strings::new(&self.data, &self.ends, &self.nulls)
    }
}

/// The headers of n records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// How many each record has.
    pub counts: Vec<u32>,
    /// name, value, name, value … back to back.
    pub data: Vec<u8>,
    /// End of each name.
    pub name_ends: Vec<u32>,
    /// End of each value.
    pub value_ends: Vec<u32>,
}

/// n records of one partition, owned. The fields are those of `record-batch` in the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Offsets, strictly increasing. (Blocks on disk leave them out where they are consecutive.)
    pub offsets: Vec<u64>,
    /// Event times, milliseconds since 1970.
    pub timestamps: Vec<i64>,
    /// key, value, key, value … back to back.
    pub data: Vec<u8>,
    /// End of each key in `data`.
    pub key_ends: Vec<u32>,
    /// End of each value in `data`.
    pub value_ends: Vec<u32>,
    /// Two bits a record, at bit 2*(i%4) of byte i/4: bit 0 key absent, bit 1 value absent. Empty = none.
    pub nulls: Vec<u8>,
    /// Headers, where any record has one.
    pub headers: Option<Headers>,
}

/// One record of columns, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset in its partition.
    pub offset: u64,
    /// Event time, milliseconds since 1970.
    pub timestamp: i64,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
}

impl Columns {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.value_ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.value_ends.is_empty()
    }

    /// Bytes that the records take in memory, about: data and 24 bytes a record, and of headers data and 8 bytes each.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers = self.headers.as_ref().map_or(0, Headers::bytes);
        self.data.len() + 24 * self.len() + headers
    }

    /// Checks that the columns agree with each other, as everything that comes from a guest, a disk or the network must be.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn check(&self) -> Result<(), ColumnsError> {
        let n = self.len();
        let same = [("offsets", self.offsets.len()), ("timestamps", self.timestamps.len()), ("key-ends", self.key_ends.len())];
        for (column, found) in same {
            if found != n {
                return Err(ColumnsError::Length { column, found, expected: n });
            }
        }
        check_pairs(&self.data, ("key-ends", &self.key_ends), ("value-ends", &self.value_ends))?;
        if !self.nulls.is_empty() && self.nulls.len() != n.div_ceil(4) {
            return Err(ColumnsError::Length { column: "nulls", found: self.nulls.len(), expected: n.div_ceil(4) });
        }
        self.headers.as_ref().map_or(Ok(()), |headers| headers.check(n))
    }

    /// Appends a record without headers.
    ///
    /// # Errors
    /// The data would pass 4 GiB.
    pub fn push(&mut self, record: Record<'_>) -> Result<(), ColumnsError> {
        let index = self.len();
        self.data.extend_from_slice(record.key.unwrap_or_default());
        self.key_ends.push(end_of(&self.data)?);
        self.data.extend_from_slice(record.value.unwrap_or_default());
        self.value_ends.push(end_of(&self.data)?);
        self.offsets.push(record.offset);
        self.timestamps.push(record.timestamp);
        let flags = u8::from(record.key.is_none()) | (u8::from(record.value.is_none()) << 1);
        if flags != 0 || !self.nulls.is_empty() {
            self.nulls.resize((index + 1).div_ceil(4), 0);
        }
        if let Some(byte) = self.nulls.get_mut(index / 4) {
            *byte |= flags << (2 * (index % 4));
        }
        if let Some(headers) = &mut self.headers {
            headers.counts.push(0);
        }
        Ok(())
    }

    /// The record at an index, if there is one.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        let start = match index.checked_sub(1) {
            Some(before) => *self.value_ends.get(before)?,
            None => 0,
        };
        let (middle, end) = (*self.key_ends.get(index)?, *self.value_ends.get(index)?);
        let flags = self.nulls.get(index / 4).map_or(0, |byte| byte >> (2 * (index % 4)));
        Some(Record {
            offset: *self.offsets.get(index)?,
            timestamp: *self.timestamps.get(index)?,
            key: (flags & 1 == 0).then(|| slice(&self.data, start, middle)),
            value: (flags & 2 == 0).then(|| slice(&self.data, middle, end)),
        })
    }

    /// All records in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// The headers of the record at an index: (name, value) pairs.
    #[must_use]
    pub fn headers_of(&self, index: usize) -> Vec<(&[u8], &[u8])> {
        self.headers.as_ref().map(|headers| headers.of(index)).unwrap_or_default()
    }

    /// The records `range` as columns of their own: how a batch is bisected.
    #[must_use]
    pub fn part(&self, range: std::ops::Range<usize>) -> Self {
        let mut part = Self { headers: self.headers.is_some().then(Headers::default), ..Self::default() };
        for index in range {
            let Some(record) = self.get(index) else { break };
            // Columns that fit in memory once fit again: a part is never longer than the whole.
            if part.push(record).is_err() {
                break;
            }
            let copied = self.headers_of(index);
            if let Some(headers) = &mut part.headers {
                headers.set_last(&copied);
            }
        }
        part
    }

    /// Drops the records from `len` on: how staged output is rolled back.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        let end = len.checked_sub(1).and_then(|last| self.value_ends.get(last)).map_or(0, |&end| end as usize);
        self.data.truncate(end);
        self.offsets.truncate(len);
        self.timestamps.truncate(len);
        self.key_ends.truncate(len);
        self.value_ends.truncate(len);
        self.nulls.truncate(len.div_ceil(4));
        if let Some(last) = self.nulls.last_mut().filter(|_| !len.is_multiple_of(4)) {
            *last &= (1 << (2 * (len % 4))) - 1;
        }
        if let Some(headers) = &mut self.headers {
            headers.truncate(len);
        }
    }
}

impl Headers {
    fn bytes(&self) -> usize {
        self.data.len() + 8 * self.value_ends.len()
    }

    /// Gives the last record these headers; it must have had none.
    pub fn set_last(&mut self, headers: &[(&[u8], &[u8])]) {
        let mut taken = 0;
        for (name, value) in headers {
            self.data.extend_from_slice(name);
            let name_end = end_of(&self.data);
            self.data.extend_from_slice(value);
            let (Ok(name_end), Ok(value_end)) = (name_end, end_of(&self.data)) else { break };
            self.name_ends.push(name_end);
            self.value_ends.push(value_end);
            taken += 1;
        }
        if let Some(count) = self.counts.last_mut() {
            *count = taken;
        }
    }

    /// The headers of record `index`.
    #[must_use]
    pub fn of(&self, index: usize) -> Vec<(&[u8], &[u8])> {
        let first: usize = self.counts.iter().take(index).map(|&count| count as usize).sum();
        let count = self.counts.get(index).map_or(0, |&count| count as usize);
        (first..first + count).map_while(|at| self.pair(at)).collect()
    }

    fn pair(&self, at: usize) -> Option<(&[u8], &[u8])> {
        let start = match at.checked_sub(1) {
            Some(before) => *self.value_ends.get(before)?,
            None => 0,
        };
        let (middle, end) = (*self.name_ends.get(at)?, *self.value_ends.get(at)?);
        Some((slice(&self.data, start, middle), slice(&self.data, middle, end)))
    }

    fn truncate(&mut self, len: usize) {
        self.counts.truncate(len);
        let total: usize = self.counts.iter().map(|&count| count as usize).sum();
        self.name_ends.truncate(total);
        self.value_ends.truncate(total);
        self.data.truncate(self.value_ends.last().map_or(0, |&end| end as usize));
    }

    fn check(&self, records: usize) -> Result<(), ColumnsError> {
        if self.counts.len() != records {
            return Err(ColumnsError::Length { column: "headers.counts", found: self.counts.len(), expected: records });
        }
        let total = self.counts.iter().fold(0_usize, |sum, &count| sum.saturating_add(count as usize));
        for (column, found) in [("headers.name-ends", self.name_ends.len()), ("headers.value-ends", self.value_ends.len())] {
            if found != total {
                return Err(ColumnsError::Length { column, found, expected: total });
            }
        }
        check_pairs(&self.data, ("headers.name-ends", &self.name_ends), ("headers.value-ends", &self.value_ends))
    }
}

/// Checks two interleaved columns of ends: first₀ ≤ second₀ ≤ first₁ ≤ …, the last of them at the end of the data.
fn check_pairs(data: &[u8], first: (&'static str, &[u32]), second: (&'static str, &[u32])) -> Result<(), ColumnsError> {
    let mut low = 0;
    for (index, (&middle, &end)) in first.1.iter().zip(second.1).enumerate() {
        check_end(first.0, (index, middle), (low, data.len()))?;
        check_end(second.0, (index, end), (middle, data.len()))?;
        low = end;
    }
    check_trailing(low, data.len())
}

fn check_end(column: &'static str, (index, found): (usize, u32), (low, high): (u32, usize)) -> Result<(), ColumnsError> {
    if found < low || found as usize > high {
        return Err(ColumnsError::End { column, index, found, low, high });
    }
    Ok(())
}

const fn check_trailing(last: u32, length: usize) -> Result<(), ColumnsError> {
    match length.checked_sub(last as usize) {
        Some(0) | None => Ok(()),
        Some(unused) => Err(ColumnsError::Trailing { unused }),
    }
}

fn end_of(data: &[u8]) -> Result<u32, ColumnsError> {
    u32::try_from(data.len()).map_err(|_| ColumnsError::End { column: "data", index: 0, found: u32::MAX, low: 0, high: u32::MAX as usize })
}

/// A slice between two ends that were checked; empty, never a panic, where they were not.
fn slice(data: &[u8], start: u32, end: u32) -> &[u8] {
    data.get(start as usize..end as usize).unwrap_or_default()
}

fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

#[cfg(test)]
mod tests;
