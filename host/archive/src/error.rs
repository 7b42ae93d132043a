//! What can go wrong in the archive, one variant for each thing that the caller does about it. Refuses to hide which object it was.

use thiserror::Error;

/// Why the archive did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArchiveError {
    /// An object that is needed is not there (exit code 3).
    #[error("object {key} is missing from the archive; restore it from a copy, or go back to a checkpoint that does not need it")]
    Missing {
        /// Its key.
        key: String,
    },
    /// An object is not what it must be (exit code 3).
    #[error("object {key} of the archive {problem}; restore it from a copy, or go back to a checkpoint that does not need it")]
    Corrupt {
        /// Its key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An object of that key, with other content, was there before: two writers that should not know of each other.
    #[error("object {key} is in the archive already, with other content; it is never replaced")]
    Exists {
        /// Its key.
        key: String,
    },
    /// The archive did not answer, or has no room: trying again may help; if not, the job stops (exit code 1).
    #[error("object {key} of the archive can't be reached: {reason}")]
    Unavailable {
        /// The key, or the prefix.
        key: String,
        /// What the system said: no space, no permission, an injected failure.
        reason: String,
    },
    /// The archive's folder can't be used at all (exit code 2).
    #[error("archive folder {folder} can't be used: {reason}")]
    Folder {
        /// The folder.
        folder: String,
        /// What the system said.
        reason: String,
    },
}
