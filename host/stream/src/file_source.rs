//! Reads one partition of a file input, split after split, as batches of records. Nothing past a file's planned length is read, and a batch is
//! given only while its file is what it was when the plan was made. Refuses files that changed, whose compressed data is cut off or corrupt, or whose
//! quotes never close, and positions that do not fit the plan; a record over the limit is measured, and no more of it is kept than a record may have.
//!
//! Places are bytes of a file's content, which of a compressed file is what it holds once decompressed: to go on in its middle, it is decompressed
//! from its beginning, and what lies before is passed over.

use std::sync::Arc;

use gregor_model::columns::Columns;
use gregor_model::job::Format;
use gregor_model::limits::VALUE_BYTES_MAX;
use gregor_model::plan::{Plan, PlannedFile, Split};

use crate::compression::Compression;
use crate::csv::Header;
use crate::error::SourceError;
use crate::file_source::batch::{Batch, Bounds, HeaderLine, Room, Unreadable, take_header, timestamp_of};
use crate::file_source::content::{Content, ReadError};
use crate::file_source::window::{Line, PASSED_BYTES_MAX, Passed, Passing, Window};
use crate::input_folder::InputFolder;

mod batch;
mod content;
mod window;

/// Where a source begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceStart {
    /// The partition of the input.
    pub partition: u32,
    /// Index of the split in the partition's list.
    pub split: u32,
    /// Byte of the next record's first character in the file's content; what lies before the split means its beginning, so 0 always does.
    pub offset: u64,
}

/// How bytes become records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The format.
    pub format: Format,
    /// Bytes of a record's key and value, at most; the contract's bounds on each hold besides.
    pub record_bytes_max: u64,
    /// What becomes of a record that no task can read.
    pub passed_over: PassedOver,
}

/// What becomes of a record that is over the limit or none of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    /// It is measured, never kept.
    Dropped,
    /// As many of its bytes as a record may have are told.
    Kept,
}

/// A record that was passed over, as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Its first bytes, decompressed, without the end of its line: at most as many as a record may have.
    pub bytes: Vec<u8>,
    /// The time at which the file was modified, milliseconds since 1970.
    pub timestamp: i64,
}

/// What a source gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// Records.
    Batch(FileBatch),
    /// A record over the limit, which was passed over.
    TooLong {
        /// The split that it begins in.
        split: u32,
        /// Byte of its first character in the file's content.
        offset: u64,
        /// Its bytes, without the end of the line.
        length: u64,
        /// What it begins with, where it is kept.
        raw: Option<Raw>,
        /// Byte of the next record's first character.
        end_offset: u64,
    },
    /// A record that is none of its format, which was passed over.
    Unreadable {
        /// The split that it begins in.
        split: u32,
        /// Byte of its first character in the file's content.
        offset: u64,
        /// What is wrong with it, such as "can't be read as csv: it has 2 fields, the header line of its file has 3".
        reason: String,
        /// All of it, where it is kept.
        raw: Option<Raw>,
        /// Byte of the next record's first character.
        end_offset: u64,
    },
    /// What is no record was passed over, and there is more of it than is read at once: ask again.
    Passing,
    /// All splits are read.
    End {
        /// The number of splits: the position of the end.
        split: u32,
    },
}

/// Records of one split, at least one; at most 1,024, and 256 KiB unless it is a single one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBatch {
    /// The records; offsets are bytes in the file's content, timestamps its modification time in milliseconds since 1970.
    pub columns: Arc<Columns>,
    /// The split that they begin in.
    pub split: u32,
    /// Byte of the next record's first character: with `split` the position after the batch.
    pub end_offset: u64,
    /// Bytes of the file's content up to there since the batch before: of its records, their ends, and what between them is none.
    pub bytes: u64,
}

/// Reads one partition of a file input. It blocks.
#[derive(Debug)]
pub struct FileSource {
    folder: Arc<InputFolder>,
    plan: Arc<Plan>,
    partition: usize,
    reading: Reading,
    /// The split that is being read, and the next record in it.
    split: u32,
    offset: u64,
    open: Option<Open>,
    window: Window,
    /// Bytes of data of the batch before: the next one is about as large.
    data_bytes: usize,
}

/// The file of the current split, which the window shows a piece of.
#[derive(Debug)]
struct Open {
    content: Content,
    /// Of a CSV file, once it is read.
    header: Option<Header>,
    /// The record over the limit that the window stands in.
    passing: Option<Passing>,
}

impl FileSource {
    /// Begins at a position. No file is opened yet.
    ///
    /// # Errors
    /// [`SourceError::Corrupt`]: partition, split or offset lie outside the plan, or a split names no file.
    pub fn open(folder: Arc<InputFolder>, plan: Arc<Plan>, at: SourceStart, reading: Reading) -> Result<Self, SourceError> {
        let corrupt = |what, found, limit| Err(SourceError::Corrupt { what, found, limit });
        let partition = at.partition as usize;
        let Some(splits) = plan.partitions.get(partition) else {
            return corrupt("the partition", u64::from(at.partition), (plan.partitions.len() as u64).saturating_sub(1));
        };
        for split in splits {
            match plan.files.get(split.file as usize) {
                None => return corrupt("the file of a split", u64::from(split.file), (plan.files.len() as u64).saturating_sub(1)),
                Some(file) if split.end > file.length => return corrupt("the end of a split", split.end, file.length),
                Some(_) if split.start > split.end => return corrupt("the beginning of a split", split.start, split.end),
                // A file that is decompressed can't be cut: one that an older program cut was read as it is, at places of its own bytes.
                Some(file) if Compression::of(&file.name) != Compression::None && (split.start, split.end) != (0, file.length) => {
                    return corrupt("the length of a split of a compressed file", split.end - split.start, file.length);
                }
                Some(_) => {}
            }
        }
        match splits.get(at.split as usize) {
            // How long the content of a compressed file is shows at its end.
            Some(split) if at.offset > split.end && compression_of(&plan, *split) == Compression::None => {
                return corrupt("the offset", at.offset, split.end);
            }
            None if at.split as usize > splits.len() => return corrupt("the split", u64::from(at.split), splits.len() as u64),
            _ => {}
        }
        let (split, offset) = (at.split, at.offset);
        Ok(Self { folder, plan, partition, reading, split, offset, open: None, window: Window::default(), data_bytes: 0 })
    }

    /// The next records, the next one that is left out, or the end. Reads some MiB of the file's content at most; blocks as long as that takes.
    ///
    /// # Errors
    /// [`SourceError::Changed`] if the file is not what it was: when it is opened, when it ends too early, or at the end of a split, before the
    /// split's last records are given. [`SourceError::Damaged`] if it can't be read to its end. Any error of the system; calling again then tries
    /// the same records again.
    #[expect(clippy::should_implement_trait, reason = "it ends with a value and may be called again after an error, unlike an iterator")]
    pub fn next(&mut self) -> Result<Fetched, SourceError> {
        while let Some((split, _)) = self.current() {
            let is_over = match &self.open {
                Some(_) => self.window.is_ended(),
                None => compression_of(&self.plan, split) == Compression::None && self.offset.max(split.start) >= split.end,
            };
            if is_over {
                self.open = None;
                self.split += 1;
                self.offset = 0;
            } else if let Some(fetched) = self.fetch()? {
                return Ok(fetched);
            }
        }
        Ok(Fetched::End { split: self.split })
    }

    /// Looks whether the file that is being read is still what it was, by its name and by what is open: to be asked before a freeze, so that no
    /// segment is made of a file that changed under its reader.
    ///
    /// # Errors
    /// [`SourceError::Changed`], or an error of the system.
    pub fn check(&mut self) -> Result<(), SourceError> {
        let (Some((_, planned)), Some(open)) = (self.current(), &self.open) else { return Ok(()) };
        self.folder.check_open(open.content.file(), planned)?;
        self.folder.check_named(planned)
    }

    fn current(&self) -> Option<(Split, &PlannedFile)> {
        let split = *self.plan.partitions.get(self.partition)?.get(self.split as usize)?;
        Some((split, self.plan.files.get(split.file as usize)?))
    }

    /// Reads from the current split. The source moves on only if that succeeds. Nothing: the split has no more records.
    fn fetch(&mut self) -> Result<Option<Fetched>, SourceError> {
        let plan = Arc::clone(&self.plan);
        let splits = plan.partitions.get(self.partition).map(Vec::as_slice).unwrap_or_default();
        let Some(&split) = splits.get(self.split as usize) else { return Ok(None) };
        let Some(planned) = plan.files.get(split.file as usize) else { return Ok(None) };
        let mut open = match self.open.take() {
            Some(open) => open,
            // After an error, too: a record that was being passed over is then passed from its beginning.
            None => self.begin(planned, split)?,
        };
        let fetched = self.read(&mut open, (split, planned.modified_ns)).map_err(|error| self.explain(error, &open, planned))?;
        if fetched == Some(Fetched::Passing) {
            self.open = Some(open);
            return Ok(fetched);
        }
        if self.window.is_ended() {
            self.folder.check_open(open.content.file(), planned)?;
            self.folder.check_named(planned)?;
            if self.offset > self.window.at() {
                return Err(SourceError::Corrupt { what: "the offset", found: self.offset, limit: self.window.at() });
            }
        }
        self.offset = self.window.at();
        self.open = Some(open);
        Ok(fetched)
    }

    /// Opens a split's file, and puts the window where reading begins: before a header line, before compressed data, or at the next record.
    fn begin(&mut self, planned: &PlannedFile, split: Split) -> Result<Open, SourceError> {
        let file = self.folder.open_planned(planned)?;
        let compression = Compression::of(&planned.name);
        match (compression, self.reading.format) {
            (Compression::None, Format::Csv) => self.window.begin(0, Some(split.end)),
            (Compression::None, _) => self.window.begin(self.offset.max(split.start), Some(split.end)),
            (Compression::Gzip | Compression::Zstd, _) => self.window.begin(0, None),
        }
        Ok(Open { content: Content::new(file, compression, planned.length), header: None, passing: None })
    }

    fn explain(&self, error: ReadError, open: &Open, planned: &PlannedFile) -> SourceError {
        match error {
            // The planned length is there no more: the check below names what is.
            ReadError::TooShort => match self.folder.check_open(open.content.file(), planned) {
                Err(changed) => changed,
                Ok(()) => self.folder.failed("read", &planned.name, std::io::ErrorKind::UnexpectedEof.into()),
            },
            ReadError::System(error) => self.folder.failed("read", &planned.name, error),
            // What was written over meanwhile looks like damage.
            ReadError::Damaged(reason) => match self.folder.check_open(open.content.file(), planned) {
                Err(changed) => changed,
                Ok(()) => self.folder.damaged(&planned.name, self.window.at(), reason),
            },
        }
    }

    fn read(&mut self, open: &mut Open, (split, modified_ns): (Split, i128)) -> Result<Option<Fetched>, ReadError> {
        let start = self.offset.max(split.start);
        if !self.reach(open, (split, start))? {
            return Ok(Some(Fetched::Passing));
        }
        if let Some(passing) = open.passing.take() {
            return self.pass(open, passing, modified_ns).map(Some);
        }
        let bounds = Bounds::new(self.reading);
        let until = self.window.at().saturating_add(PASSED_BYTES_MAX);
        let mut batch = Batch::new(bounds, self.data_bytes);
        loop {
            match batch.take(&mut self.window, open.header.as_ref()) {
                Room::Left => match self.window.rest(bounds.framed_bytes_max()) {
                    // Empty lines, more of them than is read at once.
                    Line::Cut if self.window.at() >= until && batch.is_empty() => return Ok(Some(Fetched::Passing)),
                    Line::Cut if self.window.at() >= until => return Ok(Some(self.batch(batch, start, modified_ns))),
                    Line::Cut => self.window.fill(&mut open.content)?,
                    Line::TooLong if batch.is_empty() => break,
                    Line::None if batch.is_empty() && !self.window.is_ended() => return Err(unclosed()),
                    Line::None if batch.is_empty() => return Ok(None),
                    Line::TooLong | Line::None => return Ok(Some(self.batch(batch, start, modified_ns))),
                },
                Room::Full => return Ok(Some(self.batch(batch, start, modified_ns))),
                Room::TooLong => break,
                Room::Unreadable(unreadable) => {
                    return Ok(Some(self.unreadable(unreadable, modified_ns)));
                }
            }
        }
        // All of the record, or more than a record may have of it, is in memory now.
        let head = self.kept(self.window.bytes());
        self.pass(open, Passing::begin(self.window.at(), bounds.ends(), head), modified_ns).map(Some)
    }

    fn unreadable(&mut self, Unreadable { reason, length }: Unreadable, modified_ns: i128) -> Fetched {
        let offset = self.window.at();
        let raw = self.window.bytes().get(..length).and_then(|line| self.kept(without_end(line)));
        let raw = raw.map(|bytes| Raw { bytes, timestamp: timestamp_of(modified_ns) });
        self.window.pass(length);
        Fetched::Unreadable { split: self.split, offset, reason, raw, end_offset: self.window.at() }
    }

    /// As many of these bytes as a record may have, where they are kept at all.
    fn kept(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let most = usize::try_from(self.reading.record_bytes_max).unwrap_or(usize::MAX).min(VALUE_BYTES_MAX);
        match self.reading.passed_over {
            PassedOver::Dropped => None,
            PassedOver::Kept => Some(bytes.get(..most).unwrap_or(bytes).to_vec()),
        }
    }

    /// Reads the header line, if the format has one, and goes to where the next record begins; whether it was reached.
    fn reach(&mut self, open: &mut Open, (split, start): (Split, u64)) -> Result<bool, ReadError> {
        let bounds = Bounds::new(self.reading);
        let until = self.window.at().saturating_add(PASSED_BYTES_MAX);
        while self.reading.format == Format::Csv && open.header.is_none() {
            match take_header(&mut self.window, bounds) {
                HeaderLine::Found(header) => open.header = Some(header),
                HeaderLine::Unreadable(reason) => {
                    return Err(ReadError::Damaged(format!("{reason}; correct the file, or read it as lines")));
                }
                HeaderLine::TooLong => return Err(self.header_too_long()),
                HeaderLine::Cut => match self.window.rest(bounds.framed_bytes_max()) {
                    Line::Cut if self.window.at() >= until => return Ok(false),
                    Line::Cut => self.window.fill(&mut open.content)?,
                    Line::TooLong => return Err(self.header_too_long()),
                    Line::None if self.window.is_ended() => return Ok(true),
                    Line::None => return Err(unclosed()),
                },
            }
        }
        match open.content {
            Content::Plain(_) if self.window.at() < start => self.window.begin(start, Some(split.end)),
            _ => return self.window.pass_to(&mut open.content, start),
        }
        Ok(true)
    }

    fn header_too_long(&self) -> ReadError {
        let limit = self.reading.record_bytes_max;
        ReadError::Damaged(format!("its header line has more than the {limit} bytes of limits.record; is it CSV with a header line?"))
    }

    fn pass(&mut self, open: &mut Open, passing: Passing, modified_ns: i128) -> Result<Fetched, ReadError> {
        let offset = passing.start;
        Ok(match self.window.pass_record(&mut open.content, passing)? {
            Passed::Whole(length, head) => {
                let raw = head.map(|mut bytes| {
                    // What follows the record in the file, or ends it, is none of it.
                    bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
                    Raw { bytes, timestamp: timestamp_of(modified_ns) }
                });
                Fetched::TooLong { split: self.split, offset, length, raw, end_offset: self.window.at() }
            }
            Passed::Part(passing) => {
                open.passing = Some(passing);
                Fetched::Passing
            }
            Passed::Unclosed => return Err(unclosed()),
        })
    }

    fn batch(&mut self, batch: Batch, start: u64, modified_ns: i128) -> Fetched {
        let columns = batch.finish(modified_ns);
        self.data_bytes = columns.data.len();
        let end_offset = self.window.at();
        // A position in the middle of a header line counts for what lies behind it.
        let bytes = end_offset.saturating_sub(start);
        Fetched::Batch(FileBatch { columns: Arc::new(columns), split: self.split, end_offset, bytes })
    }
}

/// A line or row without what ends it.
fn without_end(line: &[u8]) -> &[u8] {
    let Some(line) = line.strip_suffix(b"\n") else { return line };
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn compression_of(plan: &Plan, split: Split) -> Compression {
    plan.files.get(split.file as usize).map_or(Compression::None, |file| Compression::of(&file.name))
}

fn unclosed() -> ReadError {
    ReadError::Damaged(
        "a quote before the end of the file is never closed, so that no row ends there; close it, or read the file as lines".to_owned(),
    )
}

#[cfg(test)]
mod tests;
