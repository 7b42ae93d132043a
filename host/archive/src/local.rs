//! An archive under a local folder: a key is a path. `object_store` writes and syncs a temporary file, links it to its name and syncs the
//! folder, so an object is whole and never replaced. Added here, since `object_store` leaves it out: new folders are durable even if another
//! process, or one that died, made them; an object found under its name is synced before it counts as created; and a listing fails rather than
//! leave out what it can't look at. Refuses keys that are not plain segments, so that no key leads out of the folder.

mod folders;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gregor_model::limits::DOCUMENT_BYTES_MAX;
use gregor_model::steps::{DurableStep, Side, Steps};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{GetOptions, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};

use self::folders::{DurableFolders, Entry};
use crate::error::ArchiveError;
use crate::store::{Listed, Store};

/// An archive under a local folder.
pub struct LocalStore {
    objects: LocalFileSystem,
    folder: PathBuf,
    folders: Arc<DurableFolders>,
    steps: Arc<dyn Steps>,
}

impl LocalStore {
    /// Opens the archive in `folder`, and creates the folder where it is missing.
    ///
    /// # Errors
    /// The folder can't be made, or not be written to.
    pub fn open(folder: &Path, steps: Arc<dyn Steps>) -> Result<Self, ArchiveError> {
        let unusable = |error: io::Error| ArchiveError::Folder { folder: folder.display().to_string(), reason: error.to_string() };
        folders::create_root(folder).map_err(unusable)?;
        Self::at(folder, steps)
    }

    /// Looks at the archive in `folder`: creates nothing.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn look(folder: &Path, steps: Arc<dyn Steps>) -> Result<Self, ArchiveError> {
        Self::at(folder, steps)
    }

    fn at(folder: &Path, steps: Arc<dyn Steps>) -> Result<Self, ArchiveError> {
        let unusable = |reason: String| ArchiveError::Folder { folder: folder.display().to_string(), reason };
        let folder = folder.canonicalize().map_err(|error| unusable(error.to_string()))?;
        let objects = LocalFileSystem::new_with_prefix(&folder).map_err(|error| unusable(reason_of(&error)))?.with_fsync(true);
        Ok(Self { objects, folders: Arc::new(DurableFolders::new(folder.clone())), folder, steps })
    }

    fn announce(&self, key: &str, step: DurableStep, side: Side) -> Result<(), ArchiveError> {
        self.steps.announce(step, side).map_err(|failure| unavailable(key, failure.to_string()))
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        let location = location_of(key)?;
        let folders = Arc::clone(&self.folders);
        let parent = self.path_of(key)?.parent().map(Path::to_owned).unwrap_or_default();
        blocking(key, move || folders.ensure(&parent)).await?;
        let options = PutOptions::from(PutMode::Create);
        match self.objects.put_opts(&location, PutPayload::from(bytes.clone()), options).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => self.adopt(key, &bytes).await,
            // Either nothing stands under the name, or the link was made and only its folder's sync failed: the next try finds out.
            Err(error) => Err(unavailable(key, reason_of(&error))),
        }
    }

    /// Takes an object that stands under the key for the one that was to be created, if it is the same.
    async fn adopt(&self, key: &str, bytes: &Bytes) -> Result<(), ArchiveError> {
        let length = bytes.len() as u64;
        let found = match self.read(key, Some(0..length)).await {
            Err(ArchiveError::Corrupt { .. }) => return Err(ArchiveError::Exists { key: key.to_owned() }),
            Err(ArchiveError::Missing { .. }) => {
                return Err(unavailable(key, "its name is taken by a folder, or was a moment ago".to_owned()));
            }
            found => found?,
        };
        let path = self.path_of(key)?;
        let same = found == *bytes && fs_length(key, &path).await? == length;
        if !same {
            return Err(ArchiveError::Exists { key: key.to_owned() });
        }
        // Whoever made it may have died between its link and its sync.
        blocking(key, move || {
            File::open(&path)?.sync_all()?;
            folders::sync_folder_of(&path)
        })
        .await
    }

    /// Where the object of a key lies, or the folder of a prefix.
    fn path_of(&self, key: &str) -> Result<PathBuf, ArchiveError> {
        Ok(self.folder.join(location_of(key)?.as_ref()))
    }

    async fn walk(&self, prefix: &str) -> Result<Vec<Entry>, ArchiveError> {
        let path = self.path_of(prefix)?;
        blocking(prefix, move || folders::walk(&path)).await
    }

    fn key_of(&self, path: &Path) -> Result<String, ArchiveError> {
        let key = path.strip_prefix(&self.folder).ok().and_then(Path::to_str);
        key.map(str::to_owned).ok_or_else(|| unavailable(&path.display().to_string(), "its name is not a key".to_owned()))
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        self.announce(key, DurableStep::ArchivePut, Side::Before)?;
        self.put(key, bytes).await?;
        self.announce(key, DurableStep::ArchivePut, Side::After)
    }

    async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, ArchiveError> {
        let mut found = match self.objects.get_opts(&location_of(key)?, GetOptions::default()).await {
            Err(object_store::Error::NotFound { .. }) => return Err(ArchiveError::Missing { key: key.to_owned() }),
            found => found.map_err(|error| unavailable(key, reason_of(&error)))?,
        };
        let length = found.meta.size;
        let corrupt = |problem: String| ArchiveError::Corrupt { key: key.to_owned(), problem };
        found.range = match range {
            // Checked against the file, so no length from a stored document makes us allocate more than there is.
            Some(range) if range.start <= range.end && range.end <= length => range,
            Some(range) => return Err(corrupt(format!("is {length} bytes long, its bytes {}..{} are needed", range.start, range.end))),
            None if length <= DOCUMENT_BYTES_MAX => 0..length,
            None => return Err(corrupt(format!("is {length} bytes long, a document has at most {DOCUMENT_BYTES_MAX}"))),
        };
        found.bytes().await.map_err(|error| unavailable(key, reason_of(&error)))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ArchiveError> {
        let mut listed = Vec::new();
        for entry in self.walk(prefix).await? {
            if let Entry::Object { path, bytes, created_at_ms } = entry {
                listed.push(Listed { key: self.key_of(&path)?, bytes, created_at_ms });
            }
        }
        listed.sort();
        Ok(listed)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, ArchiveError> {
        let path = self.path_of(prefix)?;
        blocking(prefix, move || folders::folders_in(&path)).await
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        self.announce(key, DurableStep::ArchiveDelete, Side::Before)?;
        match self.objects.delete(&location_of(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(unavailable(key, reason_of(&error))),
        }
        self.announce(key, DurableStep::ArchiveDelete, Side::After)
    }

    async fn sweep(&self, prefix: &str) -> Result<u64, ArchiveError> {
        let leftovers: Vec<PathBuf> = self
            .walk(prefix)
            .await?
            .into_iter()
            .filter_map(|entry| if let Entry::Leftover(path) = entry { Some(path) } else { None })
            .collect();
        blocking(prefix, move || {
            leftovers.iter().try_for_each(fs::remove_file)?;
            Ok(leftovers.len() as u64)
        })
        .await
    }
}

/// Does blocking work on files off the async workers.
async fn blocking<T: Send + 'static>(key: &str, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, ArchiveError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| unavailable(key, error.to_string()))?.map_err(|error| unavailable(key, error.to_string()))
}

async fn fs_length(key: &str, path: &Path) -> Result<u64, ArchiveError> {
    let path = path.to_owned();
    blocking(key, move || Ok(fs::metadata(path)?.len())).await
}

/// A key as `object_store` names it. Keys come from stored documents too, so they are checked here and not trusted.
fn location_of(key: &str) -> Result<Location, ArchiveError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    let corrupt = |problem: &str| ArchiveError::Corrupt { key: key.to_owned(), problem: problem.to_owned() };
    if key.is_empty() || key.starts_with('/') || key.ends_with('/') || !key.bytes().all(plain) {
        return Err(corrupt("can't be one: its key is not made of segments of a-z 0-9 _ - . joined by /"));
    }
    Location::parse(key).map_err(|_| corrupt("can't be one: its key has an empty segment, or one of dots only"))
}

fn unavailable(key: &str, reason: String) -> ArchiveError {
    ArchiveError::Unavailable { key: key.to_owned(), reason }
}

/// An error with what caused it: `object_store` says what it was doing, its sources say why that failed.
fn reason_of(error: &object_store::Error) -> String {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        // Most of its errors repeat their source in their own text.
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        source = cause.source();
    }
    reason
}

#[cfg(test)]
mod tests;
