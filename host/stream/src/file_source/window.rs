//! The piece of a file that is in memory: filled from the back, taken line by line from the front. Refuses to hold more than one line over its
//! first size, and to read past the end of its split.

use std::io;

use cap_std::fs::{File, FileExt};
use gregor_model::limits::{MIB, SOURCE_READ_BYTES};
use memchr::memchr;

/// Why the file can't be read on.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It ends before the split does.
    TooShort,
    /// The system failed.
    System(io::Error),
}

/// What is left in the window when no whole line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nothing, and the split is read to its end.
    None,
    /// The beginning of a line, or nothing yet: fill.
    Cut,
    /// The beginning of a line that is longer than any record.
    TooLong,
}

/// Bytes of a line over the limit that are passed over at once: a fraction of a second, after which the reader may look whether it is still
/// wanted. A line has no end that anybody promised.
pub(crate) const PASSED_BYTES_MAX: u64 = 8 * MIB;

/// A line over the limit of which the beginning is passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passing {
    /// Place in the file of its first byte.
    pub(crate) start: u64,
    /// The last byte that was passed.
    last: Option<u8>,
}

impl Passing {
    /// Nothing of it is passed yet.
    pub(crate) const fn begin(start: u64) -> Self {
        Self { start, last: None }
    }
}

/// How far a line over the limit was passed.
#[derive(Debug)]
pub(crate) enum Passed {
    /// To its end; how many bytes it has without that.
    Whole(u64),
    /// There is more of it.
    Part(Passing),
}

#[derive(Debug, Default)]
pub(crate) struct Window {
    buffer: Vec<u8>,
    /// What is valid in the buffer.
    begin: usize,
    end: usize,
    /// Place in the file of the byte at `begin`.
    at: u64,
    /// Where the split ends.
    split_end: u64,
}

impl Window {
    /// Starts anew, with nothing in memory, at a byte of the file.
    pub(crate) fn begin(&mut self, at: u64, split_end: u64) {
        (self.begin, self.end, self.at, self.split_end) = (0, 0, at, split_end);
    }

    /// Place in the file of the next line's first byte.
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
    pub(crate) const fn is_last(&self) -> bool {
        self.at + (self.end - self.begin) as u64 == self.split_end
    }

    /// Lets go of the first `length` bytes of what is in memory.
    pub(crate) const fn pass(&mut self, length: usize) {
        self.begin += length;
        self.at += length as u64;
    }

    /// What is to be done once all whole lines are taken.
    pub(crate) const fn rest(&self, line_bytes_max: usize) -> Line {
        let rest = self.end - self.begin;
        if rest > line_bytes_max {
            Line::TooLong
        } else if !self.is_last() {
            Line::Cut
        } else {
            Line::None
        }
    }

    /// Reads more behind what is in memory, in one system call, making room first.
    pub(crate) fn fill(&mut self, file: &File) -> Result<(), ReadError> {
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        if self.buffer.is_empty() {
            self.buffer.resize(SOURCE_READ_BYTES, 0);
        } else if self.end == self.buffer.len() {
            // One line takes all of it. Lines over the limit are passed over, so this ends at twice the limit.
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        let from = self.at + self.end as u64;
        let wanted = usize::try_from(self.split_end.saturating_sub(from)).unwrap_or(usize::MAX);
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let length = free.len().min(wanted);
        let free = free.get_mut(..length).unwrap_or_default();
        let read = loop {
            match file.read_at(free, from) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(ReadError::System)?,
            }
        };
        if read == 0 {
            return Err(ReadError::TooShort);
        }
        self.end += read;
        Ok(())
    }

    /// Passes over one line, however long, keeping nothing of it; some MiB of it at a time.
    pub(crate) fn pass_line(&mut self, file: &File, passing: Passing) -> Result<Passed, ReadError> {
        let Passing { start, mut last } = passing;
        let until = self.at.saturating_add(PASSED_BYTES_MAX);
        loop {
            let bytes = self.bytes();
            if let Some(lf) = memchr(b'\n', bytes) {
                let before = lf.checked_sub(1).map_or(last, |before| bytes.get(before).copied());
                self.pass(lf + 1);
                return Ok(Passed::Whole(self.at - start - if before == Some(b'\r') { 2 } else { 1 }));
            }
            last = bytes.last().copied().or(last);
            self.pass(bytes.len());
            if self.is_last() {
                return Ok(Passed::Whole(self.at - start));
            }
            if self.at >= until {
                return Ok(Passed::Part(Passing { start, last }));
            }
            self.fill(file)?;
        }
    }
}
