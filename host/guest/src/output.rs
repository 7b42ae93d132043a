//! Output records in columns, as a guest emits them, and everything that is checked about them before anybody believes them. Pure. Refuses,
//! naming the column: lengths that differ, ends that fall or point past the data, indexes out of range, absent strings that have bytes.

use gregor_model::columns::ColumnsError;
use gregor_model::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Headers of output records, borrowed from the guest.
#[derive(Debug, Clone, Copy)]
pub struct HeaderColumns<'a> {
    /// How many each record has.
    pub counts: &'a [u32],
    /// name, value, name, value … back to back.
    pub data: &'a [u8],
    /// End of each name in `data`.
    pub name_ends: &'a [u32],
    /// End of each value in `data`.
    pub value_ends: &'a [u32],
}

/// m output records, borrowed from the guest and checked. The fields are those of `output-batch` in the contract.
#[derive(Debug, Clone, Copy)]
pub struct OutputColumns<'a> {
    /// Output of each record: m indexes into the description, or one for all.
    pub outputs: &'a [u32],
    /// The record of the batch that each derives from: m indexes, or none: all from the first. Empty in `on-end`.
    pub causes: &'a [u32],
    /// Event times, milliseconds since 1970: m, or none: the time of the cause.
    pub timestamps: &'a [i64],
    /// Target partitions: m, where -1 leaves the choice to the host, or none. Not below -1.
    pub partitions: &'a [i32],
    /// key, value, key, value … back to back.
    pub data: &'a [u8],
    /// End of each key in `data`.
    pub key_ends: &'a [u32],
    /// End of each value in `data`.
    pub value_ends: &'a [u32],
    /// Two bits a record, at bit 2*(i%4) of byte i/4: bit 0 key absent, bit 1 value absent; bits past the last record are 0. Empty = none.
    pub nulls: &'a [u8],
    /// Headers, where any record has one.
    pub headers: Option<HeaderColumns<'a>>,
}

/// One output record, borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRecord<'a> {
    /// The output, as an index into the description.
    pub output: u32,
    /// The record of the batch that it derives from; none = the first, or in `on-end` no record at all.
    pub cause: Option<u32>,
    /// Event time in milliseconds since 1970; none = that of the cause.
    pub timestamp: Option<i64>,
    /// Target partition; none = the host chooses.
    pub partition: Option<u32>,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and values of its headers.
    pub headers: Vec<(&'a [u8], &'a [u8])>,
}

/// What an emit is checked against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// How many outputs the component has.
    pub(crate) outputs: usize,
    /// How many records the batch of the call has; none in `on-end`.
    pub(crate) batch: Option<usize>,
}

/// How much was emitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    /// Records.
    pub(crate) records: u64,
    /// Bytes of keys, values and headers.
    pub(crate) bytes: u64,
}

impl<'a> OutputColumns<'a> {
    /// How many records there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.key_ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.key_ends.is_empty()
    }

    /// All records in order. For paths where a few nanoseconds a record do not matter; others read the columns.
    pub fn iter(&self) -> impl Iterator<Item = OutputRecord<'a>> + use<'a> {
        let columns = *self;
        let (mut start, mut header, mut header_start) = (0, 0, 0);
        (0..columns.len()).map_while(move |index| {
            let (middle, end) = (*columns.key_ends.get(index)?, *columns.value_ends.get(index)?);
            let flags = flags(columns.nulls, index);
            let record = OutputRecord {
                output: columns.outputs.get(index).or_else(|| columns.outputs.first()).copied()?,
                cause: columns.causes.get(index).copied(),
                timestamp: columns.timestamps.get(index).copied(),
                partition: columns.partitions.get(index).and_then(|&partition| u32::try_from(partition).ok()),
                key: (flags & 1 == 0).then(|| slice(columns.data, start, middle)),
                value: (flags & 2 == 0).then(|| slice(columns.data, middle, end)),
                headers: columns.headers.map_or_else(Vec::new, |headers| headers.take(index, &mut header, &mut header_start)),
            };
            start = end;
            Some(record)
        })
    }

    /// Checks everything that a guest could lie about; answers how much it is.
    ///
    /// # Errors
    /// The first contradiction or passed limit, in words for the component's author.
    pub(crate) fn check(&self, frame: Frame) -> Result<Volume, String> {
        let m = self.len();
        lengths(&[("value-ends", self.value_ends.len())], m)?;
        if self.outputs.len() != 1 {
            lengths(&[("outputs", self.outputs.len())], m)?;
        }
        let optional = [("causes", self.causes.len()), ("timestamps", self.timestamps.len()), ("partitions", self.partitions.len())];
        for (column, found) in optional.into_iter().filter(|&(_, found)| found != 0) {
            lengths(&[(column, found)], m)?;
        }
        self.check_indexes(frame)?;
        check_ends(self)?;
        check_nulls(self)?;
        let headers = self.headers.as_ref().map_or(Ok(0), |headers| headers.check(m))?;
        let records = u64::try_from(m).unwrap_or(u64::MAX);
        Ok(Volume { records, bytes: u64::try_from(self.data.len()).unwrap_or(u64::MAX).saturating_add(headers) })
    }

    fn check_indexes(&self, frame: Frame) -> Result<(), String> {
        in_range("outputs", self.outputs, frame.outputs)?;
        match frame.batch {
            Some(records) => in_range("causes", self.causes, records)?,
            None if self.causes.is_empty() => {}
            None => return Err("column causes must be empty in on-end, where there is no batch".to_owned()),
        }
        match self.partitions.iter().position(|&partition| partition < -1) {
            Some(index) => {
                Err(format!("column partitions entry {index} is {}, below -1", self.partitions.get(index).copied().unwrap_or_default()))
            }
            None => Ok(()),
        }
    }
}

impl<'a> HeaderColumns<'a> {
    /// Checks the headers of `records` records; answers their bytes.
    fn check(&self, records: usize) -> Result<u64, String> {
        lengths(&[("headers.counts", self.counts.len())], records)?;
        let total = self.counts.iter().fold(0_usize, |sum, &count| sum.saturating_add(count as usize));
        lengths(&[("headers.name-ends", self.name_ends.len()), ("headers.value-ends", self.value_ends.len())], total)?;
        let mut low = 0;
        for (index, (&middle, &end)) in self.name_ends.iter().zip(self.value_ends).enumerate() {
            check_end("headers.name-ends", (index, middle), (low, self.data.len()))?;
            check_end("headers.value-ends", (index, end), (middle, self.data.len()))?;
            if std::str::from_utf8(slice(self.data, low, middle)).is_err() {
                return Err(format!("column headers.data: the name of header {index} is not UTF-8"));
            }
            low = end;
        }
        check_trailing("headers.data", low, self.data.len())?;
        Ok(u64::try_from(self.data.len()).unwrap_or(u64::MAX))
    }

    /// The headers of the next record, of which `header` and `start` keep the place.
    fn take(&self, record: usize, header: &mut usize, start: &mut u32) -> Vec<(&'a [u8], &'a [u8])> {
        let count = self.counts.get(record).map_or(0, |&count| count as usize);
        let mut taken = Vec::with_capacity(count.min(self.name_ends.len()));
        for _ in 0..count {
            let (Some(&middle), Some(&end)) = (self.name_ends.get(*header), self.value_ends.get(*header)) else { break };
            taken.push((slice(self.data, *start, middle), slice(self.data, middle, end)));
            *header += 1;
            *start = end;
        }
        taken
    }
}

impl Volume {
    /// This and that.
    #[must_use]
    pub(crate) const fn plus(self, more: Self) -> Self {
        Self { records: self.records.saturating_add(more.records), bytes: self.bytes.saturating_add(more.bytes) }
    }
}

fn check_ends(columns: &OutputColumns<'_>) -> Result<(), String> {
    let length = columns.data.len();
    let mut low = 0;
    for (index, (&middle, &end)) in columns.key_ends.iter().zip(columns.value_ends).enumerate() {
        // One comparison each on the way that all good records take; which of them failed is found out below.
        let good = low <= middle && middle <= end && end as usize <= length;
        if !good || (middle - low) as usize > KEY_BYTES_MAX || (end - middle) as usize > VALUE_BYTES_MAX {
            check_end("key-ends", (index, middle), (low, length))?;
            check_end("value-ends", (index, end), (middle, length))?;
            let (key, value) = (middle - low, end - middle);
            return Err(format!(
                "record {index} has a key of {key} bytes and a value of {value} bytes; at most {KEY_BYTES_MAX} and {VALUE_BYTES_MAX} are allowed"
            ));
        }
        low = end;
    }
    check_trailing("data", low, length)
}

/// Columns are copied as they are: a bit past the last record would become the next one's, and bytes of an absent string nobody's.
fn check_nulls(columns: &OutputColumns<'_>) -> Result<(), String> {
    let m = columns.len();
    let Some(&last) = columns.nulls.last() else { return Ok(()) };
    lengths(&[("nulls", columns.nulls.len())], m.div_ceil(4))?;
    if !m.is_multiple_of(4) && last >> (2 * (m % 4)) != 0 {
        return Err(format!("column nulls has bits after those of its {m} records"));
    }
    let mut start = 0;
    for (index, (&middle, &end)) in columns.key_ends.iter().zip(columns.value_ends).enumerate() {
        let flags = flags(columns.nulls, index);
        if (flags & 1 != 0 && middle != start) || (flags & 2 != 0 && end != middle) {
            return Err(format!("column nulls says that record {index} lacks a key or value for which column data has bytes"));
        }
        start = end;
    }
    Ok(())
}

fn lengths(columns: &[(&'static str, usize)], expected: usize) -> Result<(), String> {
    match columns.iter().find(|(_, found)| *found != expected) {
        Some(&(column, found)) => Err(ColumnsError::Length { column, found, expected }.to_string()),
        None => Ok(()),
    }
}

/// Checks that all indexes lie below `count`.
pub(crate) fn in_range(column: &str, indexes: &[u32], count: usize) -> Result<(), String> {
    match indexes.iter().position(|&index| index as usize >= count) {
        Some(at) => Err(format!("column {column} entry {at} is {}, there are {count}", indexes.get(at).copied().unwrap_or_default())),
        None => Ok(()),
    }
}

fn check_end(column: &'static str, (index, found): (usize, u32), (low, high): (u32, usize)) -> Result<(), String> {
    if found < low || found as usize > high {
        return Err(ColumnsError::End { column, index, found, low, high }.to_string());
    }
    Ok(())
}

fn check_trailing(column: &str, last: u32, length: usize) -> Result<(), String> {
    match length.checked_sub(last as usize) {
        Some(0) | None => Ok(()),
        Some(unused) => Err(format!("column {column}: {unused} bytes at its end belong to no record")),
    }
}

fn flags(nulls: &[u8], index: usize) -> u8 {
    nulls.get(index / 4).map_or(0, |byte| byte >> (2 * (index % 4)))
}

fn slice(data: &[u8], start: u32, end: u32) -> &[u8] {
    data.get(start as usize..end as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests;
