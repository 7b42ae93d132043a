//! Lines into columns: the hot loop of a file source. Refuses nothing; says when a batch is full and when a line is over the limit.

use gregor_model::columns::Columns;
use gregor_model::job::Format;
use gregor_model::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use memchr::memchr_iter;

use crate::file_source::Reading;
use crate::file_source::window::Window;
use crate::format::read_line;

/// Bytes that a record counts besides its data, as `Columns::bytes` does.
const RECORD_BYTES: usize = 24;
/// Bytes that a line may have besides its key and value: TAB and CR.
const FRAME_BYTES: usize = 2;

/// How lines become records, and how long they may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    format: Format,
    record_bytes_max: usize,
}

impl Bounds {
    pub(crate) fn new(reading: Reading) -> Self {
        let key_bytes_max = match reading.format {
            Format::Lines => 0,
            Format::Tsv => KEY_BYTES_MAX,
        };
        let record_bytes_max = usize::try_from(reading.record_bytes_max).unwrap_or(usize::MAX);
        Self { format: reading.format, record_bytes_max: record_bytes_max.min(VALUE_BYTES_MAX + key_bytes_max) }
    }

    /// Bytes without an LF among them that may still become a record.
    pub(crate) const fn line_bytes_max(&self) -> usize {
        self.record_bytes_max + FRAME_BYTES
    }

    fn allow(&self, key: Option<&[u8]>, value: &[u8]) -> bool {
        let key_bytes = key.map_or(0, <[u8]>::len);
        key_bytes <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX && key_bytes + value.len() <= self.record_bytes_max
    }
}

/// Whether a batch takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// All whole lines of the window are taken, and there is room for more.
    Left,
    /// The next line does not fit.
    Full,
    /// The next line is over the limit, and the batch is empty.
    TooLong,
}

/// Records of one batch.
#[derive(Debug)]
pub(crate) struct Batch {
    bounds: Bounds,
    columns: Columns,
}

impl Batch {
    /// An empty batch with room for about `data_bytes`.
    pub(crate) fn new(bounds: Bounds, data_bytes: usize) -> Self {
        let columns = Columns {
            offsets: Vec::with_capacity(BATCH_RECORDS_MAX),
            data: Vec::with_capacity(data_bytes + data_bytes / 8),
            key_ends: Vec::with_capacity(BATCH_RECORDS_MAX),
            value_ends: Vec::with_capacity(BATCH_RECORDS_MAX),
            ..Columns::default()
        };
        Self { bounds, columns }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Takes lines from the window, while they fit.
    pub(crate) fn take_lines(&mut self, window: &mut Window) -> Room {
        let (bytes, at) = (window.bytes(), window.at());
        let (mut taken, mut room) = (0, Room::Left);
        for lf in memchr_iter(b'\n', bytes) {
            let line = bytes.get(taken..lf).unwrap_or_default();
            room = self.push(line.strip_suffix(b"\r").unwrap_or(line), at + taken as u64);
            if room != Room::Left {
                break;
            }
            taken = lf + 1;
        }
        // The last line of a file may have no end. (A CR at its end is no end, and belongs to the value.)
        let last = bytes.get(taken..).unwrap_or_default();
        if room == Room::Left && !last.is_empty() && window.is_last() {
            room = self.push(last, at + taken as u64);
            if room == Room::Left {
                taken = bytes.len();
            }
        }
        window.pass(taken);
        room
    }

    fn push(&mut self, line: &[u8], offset: u64) -> Room {
        let (key, value) = read_line(self.bounds.format, line);
        let columns = &mut self.columns;
        let n = columns.value_ends.len();
        let bytes = columns.data.len() + line.len() + (n + 1) * RECORD_BYTES;
        if n >= BATCH_RECORDS_MAX || (n > 0 && bytes > BATCH_BYTES_MAX) {
            return Room::Full;
        }
        if !self.bounds.allow(key, value) {
            return if n == 0 { Room::TooLong } else { Room::Full };
        }
        match key {
            Some(key) => columns.data.extend_from_slice(key),
            None if self.bounds.format == Format::Tsv => set_keyless(&mut columns.nulls, n),
            None => {}
        }
        columns.key_ends.push(end_of(&columns.data));
        columns.data.extend_from_slice(value);
        columns.value_ends.push(end_of(&columns.data));
        columns.offsets.push(offset);
        Room::Left
    }

    /// The columns, all records at the time at which their file was modified.
    pub(crate) fn finish(self, modified_ns: i128) -> Columns {
        let Self { bounds, mut columns } = self;
        let n = columns.len();
        // Times beyond 64 bits of milliseconds are no times; the end of the range is what comes closest.
        let modified_ms = modified_ns.div_euclid(1_000_000);
        let timestamp = i64::try_from(modified_ms).unwrap_or(if modified_ms < 0 { i64::MIN } else { i64::MAX });
        columns.timestamps = vec![timestamp; n];
        match bounds.format {
            Format::Lines => columns.nulls = keyless(n),
            Format::Tsv if columns.nulls.is_empty() => {}
            Format::Tsv => columns.nulls.resize(n.div_ceil(4), 0),
        }
        columns
    }
}

/// Nulls of n records without a key.
fn keyless(n: usize) -> Vec<u8> {
    let mut nulls = vec![0b0101_0101; n.div_ceil(4)];
    if let Some(last) = nulls.last_mut().filter(|_| !n.is_multiple_of(4)) {
        *last &= (1 << (2 * (n % 4))) - 1;
    }
    nulls
}

fn set_keyless(nulls: &mut Vec<u8>, index: usize) {
    nulls.resize(index / 4 + 1, 0);
    if let Some(last) = nulls.last_mut() {
        *last |= 1 << (2 * (index % 4));
    }
}

/// The end of the data. A batch holds 256 KiB or one record of at most 17 MiB, so it fits.
fn end_of(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}
