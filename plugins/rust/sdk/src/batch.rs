//! Records in: a batch in columns, seen as records that borrow from it. Refuses to copy: a record is a few numbers and two slices.

use crate::Port;
use crate::bindings::gregor::task::types::{HeaderColumns, RecordBatch};

/// 1 to 1,024 records of one partition of one input.
#[derive(Debug)]
pub struct Batch {
    columns: RecordBatch,
}

impl Batch {
    /// Takes what the host handed over, which the host has checked.
    pub(crate) const fn new(columns: RecordBatch) -> Self {
        Self { columns }
    }

    /// The input that the records come from.
    #[must_use]
    pub const fn input(&self) -> Port {
        Port(self.columns.input)
    }

    /// The partition that the records come from.
    #[must_use]
    pub const fn partition(&self) -> u32 {
        self.columns.partition
    }

    /// How many records there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a batch has at least one record")]
    pub const fn len(&self) -> usize {
        self.columns.value_ends.len()
    }

    /// All records in order.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records { batch: self, index: 0, start: 0, first_header: 0 }
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = Record<'a>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.records()
    }
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    batch: &'a RecordBatch,
    index: u32,
    first_header: u32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// Its index in the batch.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Its offset in its partition; for a file: the byte at which it begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.batch.offsets.get(place(self.index)).copied().unwrap_or_default()
    }

    /// Its event time, in milliseconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.batch.timestamps.get(place(self.index)).copied().unwrap_or_default()
    }

    /// Its key, if it has one.
    #[must_use]
    pub const fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// Its value; none is a tombstone.
    #[must_use]
    pub const fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// Its headers, in order: name and value.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        let headers = self.batch.headers.as_ref();
        let count = headers.and_then(|headers| headers.counts.get(place(self.index))).copied().unwrap_or_default();
        Headers { columns: headers, at: self.first_header, end: self.first_header.saturating_add(count) }
    }
}

/// The records of a batch, in order.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    batch: &'a Batch,
    index: u32,
    start: u32,
    first_header: u32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let columns = &self.batch.columns;
        let (index, at) = (self.index, place(self.index));
        let (middle, end) = (*columns.key_ends.get(at)?, *columns.value_ends.get(at)?);
        let flags = columns.nulls.get(at / 4).map_or(0, |byte| byte >> (2 * (at % 4)));
        let record = Record {
            batch: columns,
            index,
            first_header: self.first_header,
            key: (flags & 1 == 0).then(|| slice(&columns.data, self.start, middle)),
            value: (flags & 2 == 0).then(|| slice(&columns.data, middle, end)),
        };
        if let Some(headers) = &columns.headers {
            self.first_header = self.first_header.saturating_add(headers.counts.get(at).copied().unwrap_or_default());
        }
        self.start = end;
        self.index += 1;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.len().saturating_sub(place(self.index));
        (left, Some(left))
    }
}

impl ExactSizeIterator for Records<'_> {}

/// The headers of a record, in order: name and value. A name that is not UTF-8, which the host never hands over, reads as empty.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    columns: Option<&'a HeaderColumns>,
    at: u32,
    end: u32,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let columns = self.columns.filter(|_| self.at < self.end)?;
        let at = place(self.at);
        let start = match at.checked_sub(1) {
            Some(before) => *columns.value_ends.get(before)?,
            None => 0,
        };
        let (middle, end) = (*columns.name_ends.get(at)?, *columns.value_ends.get(at)?);
        self.at += 1;
        let name = str::from_utf8(slice(&columns.data, start, middle)).unwrap_or_default();
        Some((name, slice(&columns.data, middle, end)))
    }
}

/// An index of the contract as one of this machine's; both have 32 bits where a task runs.
fn place(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// A slice between two ends, which the host has checked; empty, never a panic, where they are wrong all the same.
#[inline]
fn slice(data: &[u8], start: u32, end: u32) -> &[u8] {
    data.get(place(start)..place(end)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
