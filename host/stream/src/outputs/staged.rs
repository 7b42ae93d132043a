//! Where the records of one output stand until a freeze: a lane for each partition of a stream, a file's bytes for a file. Each keeps a mark
//! of where it ended when the current call came to it. Refuses, of records, what a file's format can't hold.
//!
//! A lane is its run so far, encoded, and one open block in columns. A block is encoded as soon as it is full, while the cache still holds it:
//! kept in columns until the freeze, blocks of short records took three times the memory, and the page faults alone cost more than encoding.

use gregor_model::columns::{Columns, Headers, Record};
use gregor_model::job::Format;
use gregor_model::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};

use crate::block::encode_block;
use crate::error::BlockError;
use crate::format::write_record;

/// A record's headers: (name, value) pairs.
pub(crate) type HeaderPairs<'a> = &'a [(&'a [u8], &'a [u8])];

/// Bytes that a record takes in columns besides its data: offset, timestamp, two ends. As `Columns::bytes` counts.
const RECORD_BYTES: usize = 24;
/// Bytes that a header takes in columns besides its data: two ends.
const HEADER_BYTES: usize = 8;
/// Bytes that a record takes in a run besides its data, about: two lengths, and a timestamp if it has one of its own.
const STORED_RECORD_BYTES: usize = 8;

/// One partition of a stream.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    run: LaneRun,
    /// Bytes of the open block as a batch counts them, headers included.
    open_bytes: usize,
    /// Where the lane ended when the current call came to it.
    mark: Option<LaneMark>,
    /// The block that was open at the mark, if the current call has filled it: a rollback opens it again.
    aside: Option<Columns>,
    /// Columns without a record, kept for their memory.
    spare: Columns,
}

/// The records of a lane.
#[derive(Debug, Default)]
pub(crate) struct LaneRun {
    /// Full blocks, encoded.
    pub(crate) bytes: Vec<u8>,
    /// Records in them.
    pub(crate) records: u64,
    /// The block that takes the next record.
    pub(crate) open: Columns,
    /// A block that could not be encoded: told when the run is sealed.
    pub(crate) broken: Option<BlockError>,
}

#[derive(Debug, Clone, Copy)]
struct LaneMark {
    bytes: usize,
    records: u64,
    open: usize,
    open_bytes: usize,
}

/// The file of this segment.
#[derive(Debug, Default)]
pub(crate) struct StagedFile {
    bytes: Vec<u8>,
    records: u64,
    /// What its first record has settled for all others.
    columns: Vec<String>,
    /// Bytes and records when the current call came to it.
    mark: Option<(usize, u64)>,
}

impl Lane {
    /// Sets the mark of the current call; whether there was none.
    pub(crate) fn begin(&mut self) -> bool {
        let is_first = self.mark.is_none();
        if is_first {
            let LaneRun { bytes, records, open, .. } = &self.run;
            self.mark = Some(LaneMark { bytes: bytes.len(), records: *records, open: open.len(), open_bytes: self.open_bytes });
        }
        is_first
    }

    /// Appends a record of `size` bytes; by how many bytes the lane has grown, about.
    pub(crate) fn push(&mut self, record: &Record<'_>, headers: HeaderPairs<'_>, size: usize) -> usize {
        let counted = size + RECORD_BYTES + headers.len() * HEADER_BYTES;
        if !self.run.open.is_empty() && (self.run.open.len() >= BATCH_RECORDS_MAX || self.open_bytes + counted > BATCH_BYTES_MAX) {
            self.close();
        }
        let open = &mut self.run.open;
        if let Err(error) = open.push(*record) {
            // A block is at most 256 KiB or one record of bounded size, so its ends fit 32 bits.
            self.run.broken.get_or_insert(error.into());
        }
        if !headers.is_empty() {
            let records = open.len();
            open.headers.get_or_insert_with(|| Headers { counts: vec![0; records], ..Headers::default() }).set_last(headers);
        }
        self.open_bytes += counted;
        size + STORED_RECORD_BYTES
    }

    /// Encodes the open block and begins the next one.
    fn close(&mut self) {
        let LaneRun { bytes, records, open, broken } = &mut self.run;
        let is_first_of_call = self.aside.is_none();
        if let Err(error) = encode_block(open, bytes) {
            broken.get_or_insert(error);
        }
        *records += open.len() as u64;
        let closed = std::mem::replace(open, std::mem::take(&mut self.spare));
        if is_first_of_call {
            self.aside = Some(closed);
        } else {
            self.spare = emptied(closed);
        }
        self.open_bytes = 0;
    }

    /// Keeps what came since the mark.
    pub(crate) fn commit(&mut self) {
        self.mark = None;
        if let Some(aside) = self.aside.take() {
            self.spare = emptied(aside);
        }
    }

    /// Drops what came since the mark.
    pub(crate) fn rollback(&mut self) {
        let Some(mark) = self.mark.take() else { return };
        if let Some(aside) = self.aside.take() {
            self.spare = emptied(std::mem::replace(&mut self.run.open, aside));
        }
        self.run.bytes.truncate(mark.bytes);
        self.run.records = mark.records;
        self.run.open.truncate(mark.open);
        self.open_bytes = mark.open_bytes;
    }

    /// All records, if there is one; what is staged then begins anew.
    pub(crate) fn take(&mut self) -> Option<LaneRun> {
        if self.run.open.is_empty() {
            // A block is closed only by a record that then stands in the open one.
            return None;
        }
        self.open_bytes = 0;
        let next = LaneRun { open: std::mem::take(&mut self.spare), ..LaneRun::default() };
        Some(std::mem::replace(&mut self.run, next))
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
        if self.records == 0 {
            // The record that settled them may have been dropped.
            self.columns.clear();
        }
        write_record((format, &mut self.columns), record, &mut self.bytes)?;
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

/// The same columns without their records, their memory kept.
fn emptied(mut columns: Columns) -> Columns {
    columns.truncate(0);
    columns.headers = None;
    columns
}
