//! Lines, rows and whole files into columns: the hot loop of a file source. Refuses records that their format does not know, and says when a batch
//! is full and when a record is over the limit.

use gregor_model::columns::Columns;
use gregor_model::job::Format;
use gregor_model::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use memchr::memchr_iter;

use crate::csv::{self, Header, MARK};
use crate::file_source::Reading;
use crate::file_source::window::{Ends, Window};
use crate::format::read_line;
use crate::json;

/// Bytes that a record counts besides its data, as `Columns::bytes` does.
const RECORD_BYTES: usize = 24;
/// Bytes that a line may have besides its key and value: TAB and CR, and a mark before the first one.
const FRAME_BYTES: usize = 2 + MARK.len();

/// How bytes become records, and how long these may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    format: Format,
    record_bytes_max: usize,
}

impl Bounds {
    pub(crate) fn new(reading: Reading) -> Self {
        let key_bytes_max = match reading.format {
            Format::Tsv => KEY_BYTES_MAX,
            Format::Lines | Format::JsonLines | Format::Csv | Format::Bytes => 0,
        };
        let record_bytes_max = usize::try_from(reading.record_bytes_max).unwrap_or(usize::MAX);
        Self { format: reading.format, record_bytes_max: record_bytes_max.min(VALUE_BYTES_MAX + key_bytes_max) }
    }

    /// Bytes without a record's end among them that may still become one. (An object of CSV is never shorter than its row.)
    pub(crate) const fn framed_bytes_max(&self) -> usize {
        self.record_bytes_max + FRAME_BYTES
    }

    /// What ends a record.
    pub(crate) const fn ends(&self) -> Ends {
        match self.format {
            Format::Lines | Format::Tsv | Format::JsonLines => Ends::Line,
            Format::Csv => Ends::Row(csv::Place::Begin),
            Format::Bytes => Ends::File,
        }
    }

    fn allow(&self, key: Option<&[u8]>, value: &[u8]) -> bool {
        let key_bytes = key.map_or(0, <[u8]>::len);
        key_bytes <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX && key_bytes + value.len() <= self.record_bytes_max
    }
}

/// Whether a batch takes more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Room {
    /// All whole records of the window are taken, and there is room for more.
    Left,
    /// The next record does not fit.
    Full,
    /// The next record is over the limit, and the batch is empty.
    TooLong,
    /// The next record is none of its format, and the batch is empty.
    Unreadable(Unreadable),
}

impl Room {
    /// Of a record that is none, the bytes that it takes.
    fn of_length(self, length: usize) -> Self {
        match self {
            Self::Unreadable(unreadable) => Self::Unreadable(Unreadable { length, ..unreadable }),
            other => other,
        }
    }
}

/// A record that is none of its format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// What is wrong with it.
    pub(crate) reason: String,
    /// Bytes of the content that it takes, its end included.
    pub(crate) length: usize,
}

/// The header line of a CSV file.
#[derive(Debug)]
pub(crate) enum HeaderLine {
    /// Here it is.
    Found(Header),
    /// It does not end in the window.
    Cut,
    /// It is longer than any record.
    TooLong,
    /// It is no header.
    Unreadable(String),
}

/// Takes the header line, and the empty lines before it, from a window that begins where the file does.
pub(crate) fn take_header(window: &mut Window, bounds: Bounds) -> HeaderLine {
    loop {
        let bytes = window.bytes();
        // The mark is passed over first: a quote behind it opens a field.
        let mark = if window.at() == 0 { MARK.iter().zip(bytes).take_while(|(mark, byte)| mark == byte).count() } else { 0 };
        if mark == bytes.len() && mark < MARK.len() && !window.is_last() {
            return HeaderLine::Cut;
        }
        let mark = if mark == MARK.len() { mark } else { 0 };
        let Some((line, length)) = next_row(bytes.get(mark..).unwrap_or_default(), window.is_last()) else { return HeaderLine::Cut };
        if line.len() > bounds.record_bytes_max {
            return HeaderLine::TooLong;
        }
        let header = (!line.is_empty()).then(|| Header::parse(line));
        window.pass(mark + length);
        match header {
            Some(Ok(header)) => return HeaderLine::Found(header),
            Some(Err(reason)) => return HeaderLine::Unreadable(reason),
            None => {}
        }
    }
}

/// The row that stands first in these bytes, without its end, and the bytes that it takes; none if it does not end there.
fn next_row(bytes: &[u8], is_last: bool) -> Option<(&[u8], usize)> {
    let mut place = csv::Place::Begin;
    match csv::find_end(&mut place, bytes) {
        Some(lf) => bytes.get(..lf).map(|line| (without_cr(line), lf + 1)),
        // The last row of a file may have no end, as the last line. (One whose quotes are open is none.)
        None => (is_last && !bytes.is_empty() && place != csv::Place::Quoted).then_some((bytes, bytes.len())),
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A line without the mark that some programs put in front of a file.
fn without_mark(line: &[u8], at: u64) -> &[u8] {
    if at == 0 { line.strip_prefix(MARK).unwrap_or(line) } else { line }
}

/// Records of one batch.
#[derive(Debug)]
pub(crate) struct Batch {
    bounds: Bounds,
    columns: Columns,
    /// What a row of CSV becomes, and one of its fields.
    object: Vec<u8>,
    field: Vec<u8>,
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
        Self { bounds, columns, object: Vec::new(), field: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Takes records from the window, while they fit. Of CSV the file's header is known.
    pub(crate) fn take(&mut self, window: &mut Window, header: Option<&Header>) -> Room {
        match (self.bounds.format, header) {
            (Format::Lines | Format::Tsv, _) => self.take_lines(window, Self::push_line),
            (Format::JsonLines, _) => self.take_lines(window, Self::push_json),
            (Format::Csv, Some(header)) => self.take_rows(window, header),
            (Format::Csv, None) => Room::Left,
            (Format::Bytes, _) => self.take_whole(window),
        }
    }

    fn take_lines(&mut self, window: &mut Window, push: impl Fn(&mut Self, &[u8], u64) -> Room) -> Room {
        let (bytes, at) = (window.bytes(), window.at());
        let (mut taken, mut room) = (0, Room::Left);
        for lf in memchr_iter(b'\n', bytes) {
            let line = bytes.get(taken..lf).unwrap_or_default();
            room = push(self, without_cr(line), at + taken as u64).of_length(lf + 1 - taken);
            if room != Room::Left {
                break;
            }
            taken = lf + 1;
        }
        // The last line of a file may have no end. (A CR at its end is no end, and belongs to the value.)
        let last = bytes.get(taken..).unwrap_or_default();
        if room == Room::Left && !last.is_empty() && window.is_last() {
            room = push(self, last, at + taken as u64).of_length(last.len());
            if room == Room::Left {
                taken = bytes.len();
            }
        }
        window.pass(taken);
        room
    }

    fn take_rows(&mut self, window: &mut Window, header: &Header) -> Room {
        let (bytes, at) = (window.bytes(), window.at());
        let (mut taken, mut room) = (0, Room::Left);
        while let Some((line, length)) = next_row(bytes.get(taken..).unwrap_or_default(), window.is_last()) {
            if !line.is_empty() {
                room = self.push_row(line, (at + taken as u64, header)).of_length(length);
            }
            if room != Room::Left {
                break;
            }
            taken += length;
        }
        window.pass(taken);
        room
    }

    fn take_whole(&mut self, window: &mut Window) -> Room {
        let bytes = window.bytes();
        if bytes.is_empty() || !window.is_last() {
            return Room::Left;
        }
        let (room, length) = (self.push((None, bytes), window.at()), bytes.len());
        if room == Room::Left {
            window.pass(length);
        }
        room
    }

    fn push_line(&mut self, line: &[u8], offset: u64) -> Room {
        self.push(read_line(self.bounds.format, line), offset)
    }

    /// A line of white space is no record. One over the limit is measured, whatever it is: not all of it may have been in memory.
    fn push_json(&mut self, line: &[u8], offset: u64) -> Room {
        let line = without_mark(line, offset);
        if line.len() > self.bounds.record_bytes_max {
            return self.too_long();
        }
        if json::is_blank(line) {
            return Room::Left;
        }
        match json::check(line) {
            Ok(_) => self.push((None, line), offset),
            Err(reason) => self.refuse(format!("can't be read as json-lines: {reason}")),
        }
    }

    fn push_row(&mut self, line: &[u8], (offset, header): (u64, &Header)) -> Room {
        if line.len() > self.bounds.record_bytes_max {
            return self.too_long();
        }
        let (mut object, mut field) = (std::mem::take(&mut self.object), std::mem::take(&mut self.field));
        object.clear();
        let made = header.object(line, &mut field, &mut object);
        let room = match made {
            Err(reason) => self.refuse(format!("can't be read as csv: it {reason}")),
            Ok(()) if !self.bounds.allow(None, &object) => self.refuse(format!(
                "can't be read as csv: as a JSON object it has {} bytes, limits.record allows {}",
                object.len(),
                self.bounds.record_bytes_max
            )),
            Ok(()) => self.push((None, &object), offset),
        };
        (self.object, self.field) = (object, field);
        room
    }

    fn too_long(&self) -> Room {
        if self.is_empty() { Room::TooLong } else { Room::Full }
    }

    /// A record that is none of its format is told once all before it are given.
    fn refuse(&self, reason: String) -> Room {
        if self.is_empty() { Room::Unreadable(Unreadable { reason, length: 0 }) } else { Room::Full }
    }

    fn push(&mut self, (key, value): (Option<&[u8]>, &[u8]), offset: u64) -> Room {
        let columns = &self.columns;
        let n = columns.value_ends.len();
        let bytes = columns.data.len() + key.map_or(0, <[u8]>::len) + value.len() + (n + 1) * RECORD_BYTES;
        if n >= BATCH_RECORDS_MAX || (n > 0 && bytes > BATCH_BYTES_MAX) {
            return Room::Full;
        }
        if !self.bounds.allow(key, value) {
            return self.too_long();
        }
        let columns = &mut self.columns;
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
        let Self { bounds, mut columns, .. } = self;
        let n = columns.len();
        columns.timestamps = vec![timestamp_of(modified_ns); n];
        match bounds.format {
            Format::Tsv if columns.nulls.is_empty() => {}
            Format::Tsv => columns.nulls.resize(n.div_ceil(4), 0),
            Format::Lines | Format::JsonLines | Format::Csv | Format::Bytes => columns.nulls = keyless(n),
        }
        columns
    }
}

/// The time of a file's records, milliseconds since 1970, from when it was modified in nanoseconds.
pub(crate) fn timestamp_of(modified_ns: i128) -> i64 {
    // Times beyond 64 bits of milliseconds are no times; the end of the range is what comes closest.
    let modified_ms = modified_ns.div_euclid(1_000_000);
    i64::try_from(modified_ms).unwrap_or(if modified_ms < 0 { i64::MIN } else { i64::MAX })
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
