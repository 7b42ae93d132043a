//! The trait that every archive fulfils. Refuses overwriting and appending: what was created once stays as it is until it is deleted.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::ArchiveError;

/// A place that keeps objects by key. Implementations: [`crate::LocalStore`]; later S3 and HDFS.
///
/// Keys are segments of `a-z 0-9 _ - .` joined by `/` (see `gregor_model::keys`); a prefix is a key without its last segments, without a slash
/// at its end. Guarantees demanded:
/// * *Create-once*: of any number of writers that race for a key, at most one content ever stands under it.
/// * *Whole*: an object is there with all of its bytes, or not at all; [`list`](Self::list) never shows a part of one.
/// * *Durable*: what [`create`](Self::create) returned `Ok` for survives a loss of power.
/// * *Read your writes*: what was created is read and listed at once, by every process.
/// * A future that is dropped may or may not have had its effect.
///
/// Calls are made inside a tokio runtime.
#[async_trait]
pub trait Store: Send + Sync {
    /// Creates an object, never replaces one. If it is there already with the very same bytes, it counts as created and is made durable: so a
    /// create whose answer was lost, or that failed half-way, is simply tried again. Announces `DurableStep::ArchivePut`.
    ///
    /// # Errors
    /// [`ArchiveError::Exists`] if other bytes stand under the key; see there for the others.
    async fn create(&self, key: &str, bytes: Bytes) -> Result<(), ArchiveError>;

    /// The bytes `range` of an object, exactly those; without a range all of them, which is for documents only: at most
    /// `limits::DOCUMENT_BYTES_MAX`.
    ///
    /// # Errors
    /// The object is missing, does not have these bytes, or is too long to be read whole; see [`ArchiveError`].
    async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, ArchiveError>;

    /// All objects below a prefix, in the order of their keys' bytes; none if nothing is there.
    ///
    /// # Errors
    /// Something below the prefix can't be looked at: nothing is left out silently.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ArchiveError>;

    /// The next segments of keys below a prefix that have more segments after them, in the order of their bytes; none if nothing is there.
    /// Costs what it answers, not what lies below.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, ArchiveError>;

    /// Deletes an object; one that is not there counts as deleted. It may come back after a loss of power, and is deleted again then.
    /// Announces `DurableStep::ArchiveDelete`.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    async fn delete(&self, key: &str) -> Result<(), ArchiveError>;

    /// Removes what creates that were cut short left below a prefix, and says how many leftovers that were. They are no objects: nobody ever
    /// sees them, they only take space. The caller knows that nobody else writes below the prefix, and has not begun to write itself.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    async fn sweep(&self, prefix: &str) -> Result<u64, ArchiveError>;
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// When it was created, by the archive's own clock, in milliseconds since 1970.
    pub created_at_ms: u64,
}
