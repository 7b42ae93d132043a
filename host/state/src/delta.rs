//! A frozen map on its way into the archive: for each changed store one sorted SST file of puts and point deletes, and where keys were deleted a
//! second one that lists them, for whoever merges deltas. Refuses ranges and merge operands: a delta holds absolute values only, so applying it
//! twice is applying it once.
//!
//! The file is RocksDB's own format (block-based table, lz4, bloom filter), so that it can be ingested as it is. Two files with the same content
//! differ in bytes; equality means keys and values.

pub(crate) mod writer;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gregor_model::digest::{Digest, Digester};
use gregor_model::segment::DeltaContent;
use gregor_model::steps::{DurableStep, durable};

use crate::backend::Backend;
use crate::error::StateError;
use crate::index::{FIND_MANY, warm};
use crate::layer::Layer;
use writer::{DeltaWriter, path_of};

/// Bytes read at once when a file is hashed.
const HASH_CHUNK_BYTES: usize = 256 * 1024;

/// One store's part of a segment's delta, as a local file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaFile {
    /// The store, by its number in the component's description.
    pub store: u16,
    /// What the file holds.
    pub content: DeltaContent,
    /// Where the file is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Keys in it, deleted ones included.
    pub entries: u64,
}

/// What a task changed in its stores between two freezes. It never changes; cheap to clone and safe to share.
#[derive(Clone)]
pub struct Frozen {
    backend: Backend,
    layers: Arc<[(u16, Arc<Layer>)]>,
}

impl Frozen {
    pub(crate) fn new(backend: Backend, layers: Vec<(u16, Arc<Layer>)>) -> Self {
        Self { backend, layers: layers.into() }
    }

    /// Bytes that it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|(_, layer)| layer.bytes() as u64).sum()
    }

    /// Writes the changes of each changed store, `<stem>-<store number>.sst` in `folder`, which must exist; and, where keys were deleted, these
    /// once more, `<stem>-<store number>-deleted.sst`: see [`DeltaContent`]. Sorts, writes and hashes: about half a microsecond a key, so not on a
    /// task's thread. The files need not be durable: what is durable is the copy in the archive.
    ///
    /// # Errors
    /// A file can't be written. What was written is removed; the call may be repeated.
    pub fn write_deltas(&self, folder: &Path, stem: &str) -> Result<Vec<DeltaFile>, StateError> {
        let layers = self.layers.iter().map(|(store, layer)| (*store, layer));
        write_stores(&self.backend, (folder, stem), layers, |layer, writer| write(layer, writer))
    }
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frozen").field("stores", &self.layers.len()).field("bytes", &self.bytes()).finish()
    }
}

impl DeltaFile {
    /// Checks that the file is what it is said to be.
    pub(crate) fn check(&self) -> Result<(), StateError> {
        let altered = |reason: String| StateError::Altered { path: self.path.clone(), reason };
        let (length, sha256) = digest_of(&self.path).map_err(|error| StateError::Unfinished {
            action: "read a delta",
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        if length != self.length {
            return Err(altered(format!("it has {length} bytes instead of {}", self.length)));
        }
        if sha256 != self.sha256 {
            return Err(altered(format!("its digest is {sha256} instead of {}", self.sha256)));
        }
        Ok(())
    }
}

/// Removes a file that nobody needs any more. A left-over is harmless: it lies in a folder that is emptied at every start.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "a delta that is not needed any more could not be removed");
    }
}

/// Writes the files of several stores, all of them or none; `fill` adds the keys of one.
pub(crate) fn write_stores<T>(
    backend: &Backend,
    place: (&Path, &str),
    stores: impl Iterator<Item = (u16, T)>,
    mut fill: impl FnMut(T, &mut DeltaWriter<'_>) -> Result<(), StateError>,
) -> Result<Vec<DeltaFile>, StateError> {
    let mut deltas: Vec<DeltaFile> = Vec::new();
    for (store, content) in stores {
        let written = durable(backend.steps(), DurableStep::DeltaWrite, || {
            let mut writer = DeltaWriter::new(backend, place, store);
            fill(content, &mut writer)?;
            writer.finish()
        });
        match written {
            Ok(files) => deltas.extend(files),
            Err(error) => {
                deltas.iter().for_each(|delta| remove(&delta.path));
                // A step may be made to fail when its files are there.
                [DeltaContent::Changes, DeltaContent::Deletions].iter().for_each(|content| remove(&path_of(place, store, *content)));
                return Err(error);
            }
        }
    }
    Ok(deltas)
}

/// Adds a layer.
fn write(layer: &Layer, writer: &mut DeltaWriter<'_>) -> Result<(), StateError> {
    for some in layer.order().chunks(FIND_MANY) {
        // In order of the keys is in no order of the memory.
        warm(some.iter().map(|&entry| layer.key(entry)));
        for &entry in some {
            match layer.value(entry) {
                Some(value) => writer.put(layer.key(entry), value),
                None => writer.delete(layer.key(entry)),
            }?;
        }
    }
    Ok(())
}

/// Length and digest of a file.
pub(crate) fn digest_of(path: &Path) -> std::io::Result<(u64, Digest)> {
    let mut file = File::open(path)?;
    let mut digester = Digester::default();
    let mut chunk = vec![0; HASH_CHUNK_BYTES];
    let mut length = 0;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((length, digester.finish()));
        }
        digester.update(chunk.get(..read).unwrap_or_default());
        length += read as u64;
    }
}
