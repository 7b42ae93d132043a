//! Reads one partition of a file input, split after split, as batches of records. Nothing past a file's planned length is read, and a batch is
//! given only while its file is what it was when the plan was made. Refuses files that changed, and positions that do not fit the plan; a line
//! over the limit is measured, never kept.

use std::sync::Arc;

use cap_std::fs::File;
use gregor_model::columns::Columns;
use gregor_model::job::Format;
use gregor_model::plan::{Plan, PlannedFile, Split};

use crate::error::SourceError;
use crate::file_source::batch::{Batch, Bounds, Room};
use crate::file_source::window::{Line, Passed, Passing, ReadError, Window};
use crate::input_folder::InputFolder;

mod batch;
mod window;

/// Where a source begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceStart {
    /// The partition of the input.
    pub partition: u32,
    /// Index of the split in the partition's list.
    pub split: u32,
    /// Byte of the next record's first character in the file; what lies before the split means its beginning, so 0 always does.
    pub offset: u64,
}

/// How bytes become records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The format.
    pub format: Format,
    /// Bytes of a record's key and value, at most; the contract's bounds on each hold besides.
    pub record_bytes_max: u64,
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
        /// Byte of its first character in the file.
        offset: u64,
        /// Its bytes, without the end of the line.
        length: u64,
        /// Byte of the next record's first character.
        end_offset: u64,
    },
    /// The beginning of a record over the limit was passed over, which is longer than is read at once: ask again.
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
    /// The records; offsets are bytes in the file, timestamps its modification time in milliseconds since 1970.
    pub columns: Arc<Columns>,
    /// The split that they begin in.
    pub split: u32,
    /// Byte of the next record's first character: with `split` the position after the batch.
    pub end_offset: u64,
    /// Bytes of the file that the records take, ends of lines included.
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
    open: Option<File>,
    window: Window,
    /// The line over the limit that the window stands in.
    passing: Option<Passing>,
    /// Bytes of data of the batch before: the next one is about as large.
    data_bytes: usize,
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
                Some(_) => {}
            }
        }
        match splits.get(at.split as usize) {
            Some(split) if at.offset > split.end => return corrupt("the offset", at.offset, split.end),
            None if at.split as usize > splits.len() => return corrupt("the split", u64::from(at.split), splits.len() as u64),
            _ => {}
        }
        let (split, offset) = (at.split, at.offset);
        let window = Window::default();
        Ok(Self { folder, plan, partition, reading, split, offset, open: None, window, passing: None, data_bytes: 0 })
    }

    /// The next records, the next record over the limit, or the end. Reads some MiB of the file at most; blocks as long as that takes.
    ///
    /// # Errors
    /// [`SourceError::Changed`] if the file is not what it was: when it is opened, when it ends too early, or at the end of a split, before the
    /// split's last records are given. Any error of the system; calling again then tries the same records again.
    #[expect(clippy::should_implement_trait, reason = "it ends with a value and may be called again after an error, unlike an iterator")]
    pub fn next(&mut self) -> Result<Fetched, SourceError> {
        while let Some((split, _)) = self.current() {
            if self.offset.max(split.start) < split.end {
                return self.fetch();
            }
            self.open = None;
            self.split += 1;
            self.offset = 0;
        }
        Ok(Fetched::End { split: self.split })
    }

    /// Looks whether the file that is being read is still what it was, by its name and by what is open: to be asked before a freeze, so that no
    /// segment is made of a file that changed under its reader.
    ///
    /// # Errors
    /// [`SourceError::Changed`], or an error of the system.
    pub fn check(&mut self) -> Result<(), SourceError> {
        let (Some((_, planned)), Some(file)) = (self.current(), &self.open) else { return Ok(()) };
        self.folder.check_open(file, planned)?;
        self.folder.check_named(planned)
    }

    fn current(&self) -> Option<(Split, &PlannedFile)> {
        let split = *self.plan.partitions.get(self.partition)?.get(self.split as usize)?;
        Some((split, self.plan.files.get(split.file as usize)?))
    }

    /// Reads from the current split, which has records left. The source moves on only if that succeeds.
    fn fetch(&mut self) -> Result<Fetched, SourceError> {
        let plan = Arc::clone(&self.plan);
        let splits = plan.partitions.get(self.partition).map(Vec::as_slice).unwrap_or_default();
        let Some(split) = splits.get(self.split as usize) else { return Ok(Fetched::End { split: self.split }) };
        let Some(planned) = plan.files.get(split.file as usize) else { return Ok(Fetched::End { split: self.split }) };
        let start = self.offset.max(split.start);
        let (file, passing) = match (self.open.take(), self.passing.take()) {
            (Some(file), passing) if passing.is_some() || self.window.at() == start => (file, passing),
            // After an error, too: a line that was being passed over is then passed from its beginning.
            _ => {
                let file = self.folder.open_planned(planned)?;
                self.window.begin(start, split.end);
                (file, None)
            }
        };
        let fetched = self.read(&file, planned.modified_ns, passing).map_err(|error| match error {
            // The planned length is there no more: the check below names what is.
            ReadError::TooShort => match self.folder.check_open(&file, planned) {
                Err(changed) => changed,
                Ok(()) => self.folder.failed("read", &planned.name, std::io::ErrorKind::UnexpectedEof.into()),
            },
            ReadError::System(error) => self.folder.failed("read", &planned.name, error),
        })?;
        if fetched == Fetched::Passing {
            self.open = Some(file);
            return Ok(fetched);
        }
        if self.window.at() == split.end {
            self.folder.check_open(&file, planned)?;
            self.folder.check_named(planned)?;
        }
        self.offset = self.window.at();
        self.open = Some(file);
        Ok(fetched)
    }

    fn read(&mut self, file: &File, modified_ns: i128, passing: Option<Passing>) -> Result<Fetched, ReadError> {
        if let Some(passing) = passing {
            return self.pass(file, passing);
        }
        let bounds = Bounds::new(self.reading);
        let offset = self.window.at();
        let mut batch = Batch::new(bounds, self.data_bytes);
        loop {
            match batch.take_lines(&mut self.window) {
                Room::Left => match self.window.rest(bounds.line_bytes_max()) {
                    Line::Cut => self.window.fill(file)?,
                    Line::TooLong if batch.is_empty() => break,
                    Line::TooLong | Line::None => return Ok(self.batch(batch, offset, modified_ns)),
                },
                Room::Full => return Ok(self.batch(batch, offset, modified_ns)),
                Room::TooLong => break,
            }
        }
        self.pass(file, Passing::begin(offset))
    }

    fn pass(&mut self, file: &File, passing: Passing) -> Result<Fetched, ReadError> {
        Ok(match self.window.pass_line(file, passing)? {
            Passed::Whole(length) => Fetched::TooLong { split: self.split, offset: passing.start, length, end_offset: self.window.at() },
            Passed::Part(passing) => {
                self.passing = Some(passing);
                Fetched::Passing
            }
        })
    }

    fn batch(&mut self, batch: Batch, offset: u64, modified_ns: i128) -> Fetched {
        let columns = batch.finish(modified_ns);
        self.data_bytes = columns.data.len();
        let end_offset = self.window.at();
        Fetched::Batch(FileBatch { columns: Arc::new(columns), split: self.split, end_offset, bytes: end_offset - offset })
    }
}

#[cfg(test)]
mod tests;
