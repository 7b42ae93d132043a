//! Writes one store's part of a delta, key by key in rising order: changes as RocksDB takes them in, and the deleted keys once more where they
//! can be read. Refuses to leave files behind that nobody finished.
//!
//! A deletion in an SST file is there for RocksDB alone: a reader sees no key. Whoever merges deltas has to keep it all the same, since a base
//! below may hold the key; so each deleted key is also written as a put of nothing, into a file of its own that is never applied.

use std::path::{Path, PathBuf};

use gregor_model::segment::DeltaContent;
use rocksdb::SstFileWriter;

use super::{DeltaFile, digest_of, remove};
use crate::backend::Backend;
use crate::error::StateError;

/// Where a store's file of a kind is.
pub(crate) fn path_of((folder, stem): (&Path, &str), store: u16, content: DeltaContent) -> PathBuf {
    folder.join(match content {
        DeltaContent::Changes => format!("{stem}-{store}.sst"),
        DeltaContent::Deletions => format!("{stem}-{store}-deleted.sst"),
    })
}

/// The files of one store while they are written. See the module.
pub(crate) struct DeltaWriter<'a> {
    backend: &'a Backend,
    place: (&'a Path, &'a str),
    store: u16,
    changes: Option<Sst<'a>>,
    deletions: Option<Sst<'a>>,
}

/// One file while it is written.
struct Sst<'a> {
    writer: SstFileWriter<'a>,
    path: PathBuf,
    entries: u64,
}

impl<'a> DeltaWriter<'a> {
    /// Files are made when there is something to write.
    pub(crate) fn new(backend: &'a Backend, place: (&'a Path, &'a str), store: u16) -> Self {
        Self { backend, place, store, changes: None, deletions: None }
    }

    /// Adds a value. The key is above all before it.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.changes()?.add(|writer| writer.put(key, value))
    }

    /// Adds a deletion. The key is above all before it.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<(), StateError> {
        self.changes()?.add(|writer| writer.delete(key))?;
        if self.deletions.is_none() {
            self.deletions = Some(self.create(DeltaContent::Deletions)?);
        }
        let Some(deletions) = &mut self.deletions else { return Ok(()) };
        deletions.add(|writer| writer.put(key, []))
    }

    /// Ends the files and hands them out: none, changes, or changes and deletions.
    pub(crate) fn finish(mut self) -> Result<Vec<DeltaFile>, StateError> {
        let store = self.store;
        let mut files = Vec::with_capacity(2);
        for (sst, content) in [(&mut self.changes, DeltaContent::Changes), (&mut self.deletions, DeltaContent::Deletions)] {
            let Some(Sst { writer, path, entries }) = sst else { continue };
            writer.finish().map_err(|error| failed(path, error.to_string()))?;
            let (length, sha256) = digest_of(path).map_err(|error| failed(path, error.to_string()))?;
            files.push(DeltaFile { store, content, path: path.clone(), length, sha256, entries: *entries });
        }
        (self.changes, self.deletions) = (None, None);
        Ok(files)
    }

    fn changes(&mut self) -> Result<&mut Sst<'a>, StateError> {
        let sst = match self.changes.take() {
            Some(sst) => sst,
            None => self.create(DeltaContent::Changes)?,
        };
        Ok(self.changes.insert(sst))
    }

    fn create(&self, content: DeltaContent) -> Result<Sst<'a>, StateError> {
        let path = path_of(self.place, self.store, content);
        let mut writer = SstFileWriter::create(self.backend.family_options());
        writer.open(&path).map_err(|error| {
            remove(&path);
            failed(&path, error.to_string())
        })?;
        Ok(Sst { writer, path, entries: 0 })
    }
}

impl Drop for DeltaWriter<'_> {
    /// Whatever was not handed out is of no use.
    fn drop(&mut self) {
        for sst in [&self.changes, &self.deletions].into_iter().flatten() {
            remove(&sst.path);
        }
    }
}

impl<'a> Sst<'a> {
    fn add(&mut self, add: impl FnOnce(&mut SstFileWriter<'a>) -> Result<(), rocksdb::Error>) -> Result<(), StateError> {
        add(&mut self.writer).map_err(|error| failed(&self.path, error.to_string()))?;
        self.entries += 1;
        Ok(())
    }
}

fn failed(path: &Path, reason: String) -> StateError {
    StateError::Unfinished { action: "write a delta", path: path.to_owned(), reason }
}
