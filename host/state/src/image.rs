//! Images: the files of a task's RocksDB at exactly one confirmed segment, of which a base is made. They are hard links: taking them copies
//! nothing, whatever the size of the store, and later compactions don't disturb them. Refuses to hash, to upload and to sync: the caller does,
//! and only for what the archive hasn't got yet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gregor_model::digest::Digest;

use crate::delta::digest_of;
use crate::error::StateError;
use crate::local::Local;

/// Files that RocksDB writes beside a store and opens it without: its log, its lock, its options, its own identity, write-ahead logs (which are
/// off, and empty).
const NOT_NEEDED: [&str; 4] = ["LOG", "LOCK", "OPTIONS", "IDENTITY"];

/// What an image is taken from. Made between calls on the task's worker, used by the task's applier.
pub struct ImageSource {
    local: Arc<Local>,
}

/// The files of a store at one segment, below a folder of their own. They may be read until [`Image::discard`]; whoever drops an image without
/// it leaves the folder behind.
#[derive(Debug)]
pub struct Image {
    /// The last segment that is applied: the files are the store after exactly this one.
    pub segment: Digest,
    /// The folder.
    pub folder: PathBuf,
    /// All files that opening needs, by name.
    pub files: Vec<ImageFile>,
}

/// One file of an image. Never changed, and never written again under the same name with other content by the same RocksDB, except for
/// `CURRENT` and the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Its name, without a folder: what it has to be called where the image is restored.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub length: u64,
}

impl ImageSource {
    pub(crate) fn new(local: Arc<Local>) -> Self {
        Self { local }
    }

    /// Flushes and marks the store, and links its files into a new folder below `folder`, which exists and is on the same file system (on another
    /// one they are copied). Blocks for the flush. None = nothing was ever applied, so there is nothing to take.
    ///
    /// Nothing may be applied to this store meanwhile; and a store that was kept from an earlier start has had all deltas after its marker.
    ///
    /// # Errors
    /// Misuse: something was applied and nobody said whose state this is. `Unfinished`: the files can't be linked; the store is as it was. Or the
    /// store can't be flushed or marked; then it is out of order.
    pub fn take(self, folder: &Path) -> Result<Option<Image>, StateError> {
        let place = folder.join(format!("image-{}", self.local.backend().scratch_number()));
        // The number is new in this process: what is there was left by one before.
        remove_folder(&place);
        let taken = self.local.link_into(&place).and_then(|segment| {
            let Some(segment) = segment else { return Ok(None) };
            let files = list(&place).map_err(|error| StateError::Unfinished {
                action: "list an image",
                path: place.clone(),
                reason: error.to_string(),
            })?;
            Ok(Some(Image { segment, folder: place.clone(), files }))
        });
        if taken.is_err() {
            remove_folder(&place);
        }
        taken
    }

    /// Flushes and marks the store, and takes nothing: before deltas are merged, so that the marker does not name a segment in their middle.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn mark(self) -> Result<(), StateError> {
        self.local.mark().map(drop)
    }
}

impl Image {
    /// Removes the folder. The store keeps its files.
    pub fn discard(self) {
        remove_folder(&self.folder);
    }
}

impl ImageFile {
    /// Length in bytes and SHA-256 of the file, as it is now. Reads it, a piece at a time.
    ///
    /// # Errors
    /// `Unfinished`: the file can't be read.
    pub fn digest(&self) -> Result<(u64, Digest), StateError> {
        digest_of(&self.path).map_err(|error| StateError::Unfinished {
            action: "read an image",
            path: self.path.clone(),
            reason: error.to_string(),
        })
    }
}

impl std::fmt::Debug for ImageSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageSource").finish_non_exhaustive()
    }
}

/// The files of an image that opening needs, by name.
fn list(folder: &Path) -> io::Result<Vec<ImageFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let log = Path::new(&name).extension().is_some_and(|extension| extension == "log");
        if !log && !NOT_NEEDED.iter().any(|prefix| name.starts_with(prefix)) {
            files.push(ImageFile { name, path: entry.path(), length: entry.metadata()?.len() });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Removes a folder that nobody needs any more. A left-over takes room, and lies in a folder that is emptied at every start.
pub(crate) fn remove_folder(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "a folder that is not needed any more could not be removed");
    }
}
