//! Brings files of a base from the archive to the disk: the next piece is read while the last one is hashed and written, and a file that is whole is
//! made durable while the next one comes. So a restore is as fast as the slowest of archive, processor and disk, not as all of them together.
//! Refuses to hold more than two pieces of a file in memory, and to call a file whole that has another digest than the one confirmed.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use gregor_archive::{ArchiveError, Store};
use gregor_model::digest::Digester;
use gregor_model::limits::MIB;
use gregor_model::manifest::BaseFile;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::failure;
use crate::setup::RunError;

/// Bytes of one piece: large enough that opening the object again for each costs nothing beside reading it; two of them for each worker that
/// restores are little beside the block cache.
const PIECE_BYTES: u64 = 8 * MIB;

/// Files on their way; at most one of them waits to be durable.
pub(super) struct Fetch<'a> {
    archive: &'a dyn Store,
    io: &'a Handle,
    /// The task, for people.
    task: &'a str,
    syncing: Option<(PathBuf, JoinHandle<io::Result<()>>)>,
}

/// A file that is being written.
struct Growing {
    file: File,
    digester: Digester,
}

impl<'a> Fetch<'a> {
    /// For a task, from an archive; `io` is the runtime that it needs.
    pub(super) fn new(task: &'a str, archive: &'a dyn Store, io: &'a Handle) -> Self {
        Self { archive, io, task, syncing: None }
    }

    /// Brings one file to `path`, a new one, and begins to make it durable.
    ///
    /// # Errors
    /// The object is missing, too short or altered, or the disk fails.
    pub(super) fn file(&mut self, file: &BaseFile, path: PathBuf) -> Result<(), RunError> {
        let (io, written) = (self.io, self.write(file, &path));
        let whole = io.block_on(written)?;
        self.finish()?;
        self.syncing = Some((path, io.spawn_blocking(move || whole.sync_all())));
        Ok(())
    }

    /// Waits until the last file is durable.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) fn finish(&mut self) -> Result<(), RunError> {
        let Some((path, syncing)) = self.syncing.take() else { return Ok(()) };
        let synced = self.io.block_on(joined(syncing));
        synced.map_err(|error| self.unwritable(&path, &error))
    }

    async fn write(&self, file: &BaseFile, path: &Path) -> Result<File, RunError> {
        let unwritable = |error: io::Error| self.unwritable(path, &error);
        let created = path.to_owned();
        let mut growing = joined(spawn_blocking(move || Growing::create(&created))).await.map_err(unwritable)?;
        let mut end = file.length.min(PIECE_BYTES);
        let mut piece = self.read(file, 0, end).await?;
        while end < file.length {
            let next = file.length.min(end.saturating_add(PIECE_BYTES));
            let (grown, read) = tokio::join!(joined(spawn_blocking(move || growing.grow(&piece))), self.read(file, end, next));
            (growing, piece, end) = (grown.map_err(unwritable)?, read?, next);
        }
        let Growing { file: whole, digester } = joined(spawn_blocking(move || growing.grow(&piece))).await.map_err(unwritable)?;
        let found = digester.finish();
        if found == file.object.sha256 {
            return Ok(whole);
        }
        let problem = format!("was altered: its bytes 0..{} have sha-256 {found}, expected {}", file.length, file.object.sha256);
        Err(failure::archive(ArchiveError::Corrupt { key: file.object.key.clone(), problem }))
    }

    async fn read(&self, file: &BaseFile, from: u64, to: u64) -> Result<Bytes, RunError> {
        self.archive.read(&file.object.key, Some(from..to)).await.map_err(failure::archive)
    }

    fn unwritable(&self, path: &Path, error: &io::Error) -> RunError {
        RunError::Failed(format!("task {}: can't write {}: {error}; free some space", self.task, path.display()))
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        // After an error: what is under way ends before anybody removes the folder.
        drop(self.finish());
    }
}

impl Growing {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, digester: Digester::default() })
    }

    fn grow(mut self, piece: &Bytes) -> io::Result<Self> {
        self.digester.update(piece);
        self.file.write_all(piece)?;
        Ok(self)
    }
}

/// What blocking work came to; a panic in it is an error like any other.
async fn joined<T>(work: JoinHandle<io::Result<T>>) -> io::Result<T> {
    work.await.map_err(io::Error::other)?
}
