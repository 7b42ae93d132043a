//! What can go wrong with the state of a task. Refuses to be a list of causes: each variant is there because its caller acts differently.

use std::path::PathBuf;

use gregor_model::steps::StepFailure;
use thiserror::Error;

/// Why a call on the state failed.
///
/// The first five are answers to the guest, as the contract lists them. The next five are limits: the guest call traps. What is unfinished may
/// be tried again. The rest end the attempt or the process.
#[derive(Debug, Error)]
pub enum StateError {
    /// The task has no store of this number.
    #[error("the task has no store number {0}; open a store that the component's description lists")]
    NoSuchStore(u16),
    /// A key or value is longer than the limit; its length in bytes.
    #[error("a key or value of {0} bytes is over the limit; keys have at most 1 MiB, values 16 MiB")]
    TooLarge(u64),
    /// `add` on a value that is not 8 bytes long; the length found.
    #[error("a value of {0} bytes is not a counter; `add` needs values of 8 bytes that `add` itself wrote")]
    NotACounter(u64),
    /// `add` beyond the range of a signed 64-bit number.
    #[error("the sum leaves the range of a signed 64-bit number; add a smaller amount")]
    Overflow,
    /// Columns that contradict each other; what is wrong.
    #[error("the columns contradict each other: {0}")]
    InvalidColumns(String),
    /// More cursors are open than a call may have.
    #[error("a call may have {0} open cursors; drop some before opening more")]
    TooManyCursors(usize),
    /// The cursor is closed, or was opened by an earlier call.
    #[error("the cursor is closed; a cursor ends with the call that opened it")]
    NoSuchCursor,
    /// One call writes, or asks for, more bytes than a call may.
    #[error("a call may {action} {bytes_max} bytes of state; do less in one call")]
    CallTooLarge {
        /// What it may do with them.
        action: &'static str,
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// One call names more keys than a call may.
    #[error("a call may name {0} keys at once; name fewer in one call")]
    TooManyKeys(usize),
    /// The changes of one store since the last checkpoint fill what a map can address.
    #[error("the changes of one store since its last freeze fill 4 GiB; lower limits.dirty-bytes so that checkpoints come sooner")]
    Full,
    /// A file from the archive is not what its name says: the archive is damaged, not this store.
    #[error("{path} is not what was saved: {reason}; restore the archive from a copy")]
    Altered {
        /// The local copy: a delta, or an image or a file of one.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// Work beside the store failed: a delta, an image, a merge. The store is as it was, and the work may be tried again.
    #[error("failed to {action} at {path}: {reason}; the store is as it was, free or repair the disk")]
    Unfinished {
        /// What failed.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The caller broke the order of calls: a defect of ours, after which nobody goes on.
    #[error("the order of state calls was broken: {0}; this is a defect of gregor, please report it")]
    Misuse(&'static str),
    /// The disk or RocksDB failed, now or before. The store is not used again; it is rebuilt from the archive at the next start.
    #[error(
        "the store in {folder} is out of order, it failed to {action}: {reason}; repair or free the disk and start again, the archive has all of it"
    )]
    Broken {
        /// The store's folder.
        folder: PathBuf,
        /// What failed.
        action: &'static str,
        /// What the system said.
        reason: String,
    },
    /// A durable step was made to fail.
    #[error(transparent)]
    Step(#[from] StepFailure),
}
