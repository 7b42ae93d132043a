//! The marker: a small file beside RocksDB that says which segment the store is at least at. Written after a flush of all families, whole or not
//! at all. Refuses to be trusted for more than that: whether the segment is in the confirmed chain is for the caller to find out.
//!
//! ```text
//! {"version":1,"incarnation":"<32 hex>","branch":0,"segment":"<64 hex>","stores":["counts"]}
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use gregor_model::digest::Digest;
use gregor_model::names::{Branch, Incarnation, StoreName};
use serde::{Deserialize, Serialize};

/// Version of the format.
const VERSION: u32 = 1;
/// Name of the file.
const MARKER: &str = "marker";
/// Name of the next one while it is written.
const TEMPORARY: &str = "marker.tmp";
/// Bytes of a marker, at most: a thousand names of stores.
const MARKER_BYTES_MAX: u64 = 128 * 1024;

/// What a local store is at least at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The job whose state it is.
    pub incarnation: Incarnation,
    /// The line of history that it belongs to.
    pub branch: Branch,
    /// Hash of the last segment that was surely applied and flushed.
    pub segment: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    incarnation: Incarnation,
    branch: Branch,
    segment: Digest,
    /// Names in order: deltas name stores by number, so another order is another store.
    stores: Vec<StoreName>,
}

/// Reads the marker of a folder. One that can't be read, or is of another version or other stores, is none: the store is only a cache.
pub(super) fn read(folder: &Path, stores: &[StoreName]) -> Option<Marker> {
    let path = folder.join(MARKER);
    let warn = |reason: &str| tracing::warn!(path = %path.display(), reason, "a marker is not usable; the local store will be rebuilt");
    let text = match fs::metadata(&path).and_then(|file| if file.len() > MARKER_BYTES_MAX { Ok(Vec::new()) } else { fs::read(&path) }) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn(&error.to_string());
            return None;
        }
    };
    let document: Document = match serde_json::from_slice(&text) {
        Ok(document) => document,
        Err(error) => {
            warn(&error.to_string());
            return None;
        }
    };
    if document.version != VERSION {
        warn("it is of another version");
        return None;
    }
    if document.stores != stores {
        warn("the component has other stores now");
        return None;
    }
    Some(Marker { incarnation: document.incarnation, branch: document.branch, segment: document.segment })
}

/// Replaces the marker of a folder: temporary file, sync, rename, sync of the folder.
pub(super) fn write(folder: &Path, stores: &[StoreName], marker: Marker) -> io::Result<()> {
    let Marker { incarnation, branch, segment } = marker;
    let document = Document { version: VERSION, incarnation, branch, segment, stores: stores.to_vec() };
    let temporary = folder.join(TEMPORARY);
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(&document)?)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(MARKER))?;
    sync_folder(folder)
}

/// Removes the marker of a folder, for good.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(MARKER)) {
        Ok(()) => sync_folder(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
