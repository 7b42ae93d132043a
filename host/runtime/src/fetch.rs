//! Brings pieces of objects from the archive to the disk: deltas, and the files of bases. The next few megabytes are read while the last ones are
//! hashed and written, so a fetch is as fast as the slowest of archive, processor and disk, not as all of them together. Refuses to hold more than
//! two such blocks of an object in memory, and to call a file whole that has another digest than the one confirmed.

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use gregor_archive::{ArchiveError, Store};
use gregor_model::digest::{Digest, Digester};
use gregor_model::history::DeltaLink;
use gregor_model::limits::MIB;
use gregor_model::manifest::BaseFile;
use gregor_model::names::StoreName;
use gregor_state::DeltaFile;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::failure;
use crate::setup::RunError;

/// Bytes of one block: large enough that opening the object again for each costs nothing beside reading it; two of them for each worker that
/// restores are little beside the block cache.
const BLOCK_BYTES: u64 = 8 * MIB;

/// What fetches for one task. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetch {
    /// Where objects come from.
    pub(crate) archive: Arc<dyn Store>,
    /// The async runtime that the archive needs.
    pub(crate) io: Handle,
    /// The task, for people.
    pub(crate) task: String,
}

/// Bytes of an object that become a file.
pub(crate) struct Piece<'a> {
    key: &'a str,
    range: Range<u64>,
    sha256: Digest,
}

impl<'a> From<&'a BaseFile> for Piece<'a> {
    fn from(file: &'a BaseFile) -> Self {
        Self { key: &file.object.key, range: 0..file.length, sha256: file.object.sha256 }
    }
}

impl<'a> From<&'a DeltaLink> for Piece<'a> {
    fn from(delta: &'a DeltaLink) -> Self {
        Self { key: &delta.part.key, range: delta.offset..delta.offset.saturating_add(delta.length), sha256: delta.sha256 }
    }
}

/// A file that is being written.
struct Growing {
    file: File,
    digester: Digester,
}

impl Fetch {
    /// Writes a piece to `path`, a new file, which is not durable yet.
    ///
    /// # Errors
    /// The object is missing, too short or altered, or the disk fails.
    pub(crate) fn file(&self, piece: &Piece<'_>, path: &Path) -> Result<File, RunError> {
        self.io.block_on(self.write(piece, path))
    }

    /// Writes a delta to `path`, for a task with these stores.
    ///
    /// # Errors
    /// As [`file`](Self::file), or the task has no such store.
    pub(crate) fn delta(&self, delta: &DeltaLink, stores: &[StoreName], path: PathBuf) -> Result<DeltaFile, RunError> {
        let place = stores.iter().position(|store| *store == delta.store).and_then(|store| u16::try_from(store).ok());
        let Some(store) = place else {
            let (task, key, store) = (&self.task, &delta.part.key, &delta.store);
            return Err(RunError::Corrupt(format!("task {task}: object {key} holds store {store} that the task has not")));
        };
        self.file(&delta.into(), &path)?;
        Ok(DeltaFile { store, content: delta.content, path, length: delta.length, sha256: delta.sha256, entries: delta.entries })
    }

    async fn write(&self, piece: &Piece<'_>, path: &Path) -> Result<File, RunError> {
        let unwritable = |error: io::Error| self.unwritable(path, &error);
        let Range { start, end } = piece.range;
        let created = path.to_owned();
        let mut growing = joined(spawn_blocking(move || Growing::create(&created))).await.map_err(unwritable)?;
        let mut read_to = end.min(start.saturating_add(BLOCK_BYTES));
        let mut block = self.read(piece.key, start..read_to).await?;
        while read_to < end {
            let next = end.min(read_to.saturating_add(BLOCK_BYTES));
            let (grown, read) = tokio::join!(joined(spawn_blocking(move || growing.grow(&block))), self.read(piece.key, read_to..next));
            (growing, block, read_to) = (grown.map_err(unwritable)?, read?, next);
        }
        let Growing { file: whole, digester } = joined(spawn_blocking(move || growing.grow(&block))).await.map_err(unwritable)?;
        let found = digester.finish();
        if found == piece.sha256 {
            return Ok(whole);
        }
        let problem = format!("was altered: its bytes {start}..{end} have sha-256 {found}, expected {}", piece.sha256);
        Err(failure::archive(ArchiveError::Corrupt { key: piece.key.to_owned(), problem }))
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, RunError> {
        self.archive.read(key, Some(range)).await.map_err(failure::archive)
    }

    /// The disk did not take a file.
    pub(crate) fn unwritable(&self, path: &Path, error: &io::Error) -> RunError {
        RunError::Failed(format!("task {}: can't write {}: {error}; free some space", self.task, path.display()))
    }
}

impl Growing {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, digester: Digester::default() })
    }

    fn grow(mut self, block: &Bytes) -> io::Result<Self> {
        self.digester.update(block);
        self.file.write_all(block)?;
        Ok(self)
    }
}

/// What blocking work came to; a panic in it is an error like any other.
pub(crate) async fn joined<T>(work: JoinHandle<io::Result<T>>) -> io::Result<T> {
    work.await.map_err(io::Error::other)?
}
