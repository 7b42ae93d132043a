//! The piece of a file's content that is in memory: filled from the back, taken record by record from the front. Refuses to hold more than one
//! record over its first size, and to read past the end of its split.

use gregor_model::limits::{MIB, SOURCE_READ_BYTES};
use memchr::memchr;

use crate::csv;
use crate::file_source::content::{Content, ReadError};

/// What is left in the window when no whole record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nothing more is to come: the split is read to its end.
    None,
    /// The beginning of a record, or nothing yet: fill.
    Cut,
    /// The beginning of a record that is longer than any may be.
    TooLong,
}

/// Bytes that are passed over at once: a fraction of a second, after which the reader may look whether it is still wanted. A record over the limit
/// has no end that anybody promised.
pub(crate) const PASSED_BYTES_MAX: u64 = 8 * MIB;

/// What ends a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ends {
    /// The next LF.
    Line,
    /// The next LF outside of quotes.
    Row(csv::Place),
    /// The end of the file.
    File,
}

impl Ends {
    /// Where in these bytes, which go on where those before ended, the record's last byte is.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Line => memchr(b'\n', bytes),
            Self::Row(place) => csv::find_end(place, bytes),
            Self::File => None,
        }
    }
}

/// A record over the limit of which the beginning is passed.
#[derive(Debug)]
pub(crate) struct Passing {
    /// Place in the content of its first byte.
    pub(crate) start: u64,
    ends: Ends,
    /// The last byte that was passed.
    last: Option<u8>,
    /// What it begins with, where that is kept; perhaps more than the record.
    head: Option<Vec<u8>>,
}

impl Passing {
    /// Nothing of it is passed yet.
    pub(crate) const fn begin(start: u64, ends: Ends, head: Option<Vec<u8>>) -> Self {
        Self { start, ends, last: None, head }
    }
}

/// How far a record over the limit was passed.
#[derive(Debug)]
pub(crate) enum Passed {
    /// To its end; how many bytes it has without that, and what was kept of it.
    Whole(u64, Option<Vec<u8>>),
    /// There is more of it.
    Part(Passing),
    /// To the end of the file, and its quotes are still open.
    Unclosed,
}

#[derive(Debug, Default)]
pub(crate) struct Window {
    buffer: Vec<u8>,
    /// What is valid in the buffer.
    begin: usize,
    end: usize,
    /// Place in the content of the byte at `begin`.
    at: u64,
    /// Where the split ends: known of a compressed file only once it is read.
    split_end: Option<u64>,
}

impl Window {
    /// Starts anew, with nothing in memory, at a byte of the content. Without an end, it is where the content ends.
    pub(crate) const fn begin(&mut self, at: u64, split_end: Option<u64>) {
        (self.begin, self.end, self.at, self.split_end) = (0, 0, at, split_end);
    }

    /// Place in the content of the next record's first byte.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Bytes of memory that it holds.
    #[cfg(test)]
    pub(crate) const fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// What is in memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.begin..self.end).unwrap_or_default()
    }

    /// Whether what is in memory reaches the end of the split.
    pub(crate) fn is_last(&self) -> bool {
        self.split_end == Some(self.at + (self.end - self.begin) as u64)
    }

    /// Whether all of the split is taken.
    pub(crate) fn is_ended(&self) -> bool {
        self.split_end == Some(self.at)
    }

    /// Lets go of the first `length` bytes of what is in memory.
    pub(crate) const fn pass(&mut self, length: usize) {
        self.begin += length;
        self.at += length as u64;
    }

    /// What is to be done once all whole records are taken.
    pub(crate) fn rest(&self, record_bytes_max: usize) -> Line {
        let rest = self.end - self.begin;
        if rest > record_bytes_max {
            Line::TooLong
        } else if !self.is_last() {
            Line::Cut
        } else {
            Line::None
        }
    }

    /// Reads more behind what is in memory, making room first: until there is no room any more, but of a plain file in one system call.
    pub(crate) fn fill(&mut self, content: &mut Content) -> Result<(), ReadError> {
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        if self.buffer.is_empty() {
            self.buffer.resize(SOURCE_READ_BYTES, 0);
        } else if self.end == self.buffer.len() {
            // One record takes all of it. Records over the limit are passed over, so this ends at twice the limit.
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        loop {
            let from = self.at + self.end as u64;
            let left = self.split_end.map_or(u64::MAX, |end| end.saturating_sub(from));
            let free = self.buffer.get_mut(self.end..).unwrap_or_default();
            let length = free.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if length == 0 {
                return Ok(());
            }
            match content.read(from, free.get_mut(..length).unwrap_or_default())? {
                0 if self.split_end.is_some() => return Err(ReadError::TooShort),
                0 => {
                    self.split_end = Some(from);
                    return Ok(());
                }
                read => self.end += read,
            }
            if matches!(content, Content::Plain(_)) {
                return Ok(());
            }
        }
    }

    /// Passes over what lies before a byte, some MiB of it at a time; whether it was reached. The content may end before.
    pub(crate) fn pass_to(&mut self, content: &mut Content, target: u64) -> Result<bool, ReadError> {
        let until = self.at.saturating_add(PASSED_BYTES_MAX);
        loop {
            let left = usize::try_from(target.saturating_sub(self.at)).unwrap_or(usize::MAX);
            self.pass(left.min(self.end - self.begin));
            if self.at >= target || self.is_last() {
                return Ok(true);
            }
            if self.at >= until {
                return Ok(false);
            }
            self.fill(content)?;
        }
    }

    /// Passes over one record, however long, keeping nothing more of it; some MiB of it at a time.
    pub(crate) fn pass_record(&mut self, content: &mut Content, passing: Passing) -> Result<Passed, ReadError> {
        let Passing { start, mut ends, mut last, head } = passing;
        let until = self.at.saturating_add(PASSED_BYTES_MAX);
        loop {
            let bytes = self.bytes();
            if let Some(lf) = ends.find(bytes) {
                let before = lf.checked_sub(1).map_or(last, |before| bytes.get(before).copied());
                self.pass(lf + 1);
                return Ok(Passed::Whole(self.at - start - if before == Some(b'\r') { 2 } else { 1 }, head));
            }
            last = bytes.last().copied().or(last);
            self.pass(bytes.len());
            if self.is_last() {
                let is_unclosed = matches!(ends, Ends::Row(csv::Place::Quoted));
                return Ok(if is_unclosed { Passed::Unclosed } else { Passed::Whole(self.at - start, head) });
            }
            if self.at >= until {
                return Ok(Passed::Part(Passing { start, ends, last, head }));
            }
            self.fill(content)?;
        }
    }
}
