//! Where the records of one output stand until a freeze: a lane for each partition of a stream, a file's bytes for a file. Each keeps a mark
//! of where it ended when the current call came to it. Refuses, of records, what a file's format can't hold.

use gregor_model::columns::{Columns, Headers, Record};
use gregor_model::job::Format;
use gregor_model::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};

use crate::format::write_record;

/// A record's headers: (name, value) pairs.
pub(crate) type HeaderPairs<'a> = &'a [(&'a [u8], &'a [u8])];

/// Bytes that a record takes in columns besides its data: offset, timestamp, two ends. As `Columns::bytes` counts.
const RECORD_BYTES: usize = 24;

/// One partition of a stream.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    closed: Vec<Columns>,
    open: Columns,
    /// Bytes of `open`, headers included.
    open_bytes: usize,
    /// Where the lane ended when the current call came to it.
    mark: Option<LaneMark>,
}

#[derive(Debug, Clone, Copy)]
struct LaneMark {
    closed: usize,
    open: usize,
    open_bytes: usize,
}

/// The file of this segment.
#[derive(Debug, Default)]
pub(crate) struct StagedFile {
    bytes: Vec<u8>,
    records: u64,
    /// Bytes and records when the current call came to it.
    mark: Option<(usize, u64)>,
}

impl Lane {
    /// Sets the mark of the current call; whether there was none.
    pub(crate) fn begin(&mut self) -> bool {
        let is_first = self.mark.is_none();
        if is_first {
            self.mark = Some(LaneMark { closed: self.closed.len(), open: self.open.len(), open_bytes: self.open_bytes });
        }
        is_first
    }

    /// Appends a record of `size` bytes; by how many bytes the lane has grown.
    pub(crate) fn push(&mut self, record: &Record<'_>, headers: HeaderPairs<'_>, size: usize) -> usize {
        let grown = size + RECORD_BYTES;
        if !self.open.is_empty() && (self.open.len() >= BATCH_RECORDS_MAX || self.open_bytes + grown > BATCH_BYTES_MAX) {
            let next = as_large_as(&self.open);
            self.closed.push(std::mem::replace(&mut self.open, next));
            self.open_bytes = 0;
        }
        // A block is at most 256 KiB or one record of bounded size, so its ends fit 32 bits; were one not to, encoding refuses the block.
        let _ = self.open.push(*record);
        if !headers.is_empty() {
            let records = self.open.len();
            self.open.headers.get_or_insert_with(|| Headers { counts: vec![0; records], ..Headers::default() }).set_last(headers);
        }
        self.open_bytes += grown;
        grown
    }

    /// Keeps what came since the mark.
    pub(crate) const fn commit(&mut self) {
        self.mark = None;
    }

    /// Drops what came since the mark.
    pub(crate) fn rollback(&mut self) {
        let Some(mark) = self.mark.take() else { return };
        if self.closed.len() > mark.closed {
            // The block that was open at the mark was closed since: it is the first one past the mark.
            self.closed.truncate(mark.closed + 1);
            self.open = self.closed.pop().unwrap_or_default();
        }
        self.open.truncate(mark.open);
        self.open_bytes = mark.open_bytes;
    }

    /// All blocks, if there is a record.
    pub(crate) fn take(&mut self) -> Option<Vec<Columns>> {
        if self.open.is_empty() {
            // A block is closed only by a record that then stands in the open one.
            return None;
        }
        let mut lane = std::mem::take(self);
        lane.closed.push(lane.open);
        Some(lane.closed)
    }
}

impl StagedFile {
    /// Bytes and the number of records, if there is a record.
    pub(crate) fn take(&mut self) -> Option<(Vec<u8>, u64)> {
        let file = std::mem::take(self);
        (file.records > 0).then_some((file.bytes, file.records))
    }

    /// Sets the mark of the current call; whether there was none.
    pub(crate) const fn begin(&mut self) -> bool {
        let is_first = self.mark.is_none();
        if is_first {
            self.mark = Some((self.bytes.len(), self.records));
        }
        is_first
    }

    /// Appends a record; by how many bytes the file has grown.
    pub(crate) fn push(&mut self, format: Format, record: &Record<'_>) -> Result<usize, String> {
        let before = self.bytes.len();
        write_record(format, record, &mut self.bytes)?;
        self.records += 1;
        Ok(self.bytes.len() - before)
    }

    /// Keeps what came since the mark.
    pub(crate) const fn commit(&mut self) {
        self.mark = None;
    }

    /// Drops what came since the mark.
    pub(crate) fn rollback(&mut self) {
        if let Some((bytes, records)) = self.mark.take() {
            self.bytes.truncate(bytes);
            self.records = records;
        }
    }
}

/// Empty columns with room for what these hold: the next block of a lane is about as large.
fn as_large_as(columns: &Columns) -> Columns {
    let n = columns.len();
    Columns {
        offsets: Vec::with_capacity(n),
        timestamps: Vec::with_capacity(n),
        data: Vec::with_capacity(columns.data.len()),
        key_ends: Vec::with_capacity(n),
        value_ends: Vec::with_capacity(n),
        nulls: Vec::with_capacity(columns.nulls.len()),
        headers: None,
    }
}
