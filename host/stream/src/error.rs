//! What can go wrong here, in one family for each thing that is being done, and in each a variant for each thing that the caller does about it.
//! Refuses to carry a message that does not name the file, port or byte at fault.

use std::io;
use std::path::PathBuf;

use gregor_model::columns::ColumnsError;
use gregor_model::steps::StepFailure;
use thiserror::Error;

/// Why bytes are not blocks, or columns can't be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    /// Stored bytes are damaged: refused, exit 3.
    #[error("block at byte {at} is corrupt: {reason}")]
    Corrupt {
        /// Where the block begins in its run.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// Stored bytes come from a newer program: refused, exit 3.
    #[error("block at byte {at} has version {found}, this program knows up to {known}; use the newer gregor that wrote it")]
    NewerVersion {
        /// Where the block begins in its run.
        at: usize,
        /// The version found.
        found: u8,
        /// The newest version known.
        known: u8,
    },
    /// Columns that are to be stored contradict themselves: a broken invariant of ours.
    #[error("records can't be stored as a block: {0}")]
    Columns(#[from] ColumnsError),
    /// Columns that are to be stored are more than a block holds: a broken invariant of ours.
    #[error("records can't be stored as a block: {what} is {found}, a block holds at most {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: usize,
        /// How large it may be.
        limit: usize,
    },
}

/// Why a record that a task emits is not taken. The call fails, and with it the record that caused it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OutputError {
    /// There is no such output.
    #[error("output {found} is not there: the task has {count} outputs, numbered from 0 in the order of its description")]
    Output {
        /// The index found.
        found: u32,
        /// How many there are.
        count: usize,
    },
    /// There is no such partition.
    #[error("output {port:?}: partition {found} is not there: it has {count} partitions, numbered from 0")]
    Partition {
        /// The output's port.
        port: String,
        /// The partition found.
        found: u32,
        /// How many there are.
        count: u32,
    },
    /// The record can't be written in the output's format so that it reads back.
    #[error("output {port:?}: format {format} can't hold the record: {reason}")]
    Format {
        /// The output's port.
        port: String,
        /// The format's name in job files.
        format: &'static str,
        /// What was found and what is expected.
        reason: String,
    },
    /// A key or value over the contract's bound, or a call over its budget.
    #[error("output {port:?}: {what} is {found}, at most {limit} is allowed")]
    TooLarge {
        /// The output's port.
        port: String,
        /// What is too large, with its unit.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// How large it may be.
        limit: u64,
    },
}

/// Why an input can't be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// Nothing is there: exit 2.
    #[error("input {} is not there: {hint}", .path.display())]
    Missing {
        /// The folder, and the pattern below it.
        path: PathBuf,
        /// What to look at.
        hint: String,
    },
    /// Something is there that is not taken: exit 2.
    #[error("input {name:?} in folder {} is refused: {reason}", .folder.display())]
    Refused {
        /// Pattern or name, below the folder.
        name: String,
        /// The folder.
        folder: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A file is not what it was when the job began: the job stops, exit 2.
    #[error(
        "input file {file:?} in folder {} changed since the job began: it had {before}, now it has {now}; \
         put it back, or start anew with another --data and output folder", .folder.display()
    )]
    Changed {
        /// The file, below the folder.
        file: String,
        /// The folder.
        folder: PathBuf,
        /// Length and modification time in the plan.
        before: String,
        /// Length and modification time found, or that it is gone.
        now: String,
    },
    /// A file is not what its name and format say: the job stops, exit 2.
    #[error("input file {file:?} in folder {} can't be read on from byte {at} of its content: {reason}", .folder.display())]
    Damaged {
        /// The file, below the folder.
        file: String,
        /// The folder.
        folder: PathBuf,
        /// Byte of its content (decompressed, if it is compressed) up to which records were read.
        at: u64,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Plan and position contradict each other: exit 3.
    #[error("position in the input can't be used: {what} is {found}, expected at most {limit}")]
    Corrupt {
        /// What does not fit.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The largest value that would fit.
        limit: u64,
    },
    /// The operating system failed: may be tried again.
    #[error("can't {doing} {name:?} in folder {}: {source}", .folder.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file, below the folder; empty for the folder itself.
        name: String,
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Why an output folder can't be used.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The folder is not this job's to write: exit 2.
    #[error("output folder {} is refused: {reason}", .folder.display())]
    Refused {
        /// The folder.
        folder: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A file that a confirmed checkpoint names is gone, or another one stands in its place: the job stops.
    #[error("output file {name:?} in folder {} can't be released: {reason}", .folder.display())]
    Conflict {
        /// The folder.
        folder: PathBuf,
        /// The final name.
        name: String,
        /// What was found, and what to do.
        reason: String,
    },
    /// The operating system failed, as with a full disk: may be tried again.
    #[error("can't {doing} {name:?} in output folder {}: {source}", .folder.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file; empty for the folder itself.
        name: String,
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A failure made on purpose, to be treated as one of the operating system.
    #[error(transparent)]
    Injected(#[from] StepFailure),
}
