//! The data folder of a host (`--data`): its layout, its version, the host's id, and the lock that keeps a second process out. Refuses a folder
//! in use, a folder that holds anything else, one whose register folder is gone, and a version that this program does not know; then nothing
//! is touched.
//!
//! ```text
//! <data>/version          a document of kind "data": the host's id. Written last, so a folder that has it is complete
//! <data>/lock             held (flock) by the process that works on the folder; its content means nothing
//! <data>/coordination/    the register of each job
//! <data>/archive/         checkpoints, unless the job's `checkpoint.location` says otherwise
//! <data>/state/           local stores: a cache that may be deleted while nobody holds the lock
//! <data>/scratch/         what `checkpoint verify` puts together; emptied by whoever comes next
//! <data>/components/      compiled components: a cache likewise, of this user alone
//! <data>/logs/            what tasks said, for people: nothing reads it, it may be deleted at any time
//! ```

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use gregor_model::document::Kind;
use gregor_model::names::HostId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::durable;

/// How the version file is stored.
pub const DATA: Kind = Kind { name: "data", version: 1 };

const VERSION: &str = "version";
const LOCK: &str = "lock";
const COORDINATION: &str = "coordination";
const COMPONENTS: &str = "components";
const FOLDERS: [&str; 4] = [COORDINATION, "archive", "state", COMPONENTS];

/// Why a data folder can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DataError {
    /// Another process holds the lock (exit code 2).
    #[error("data folder {0:?} is in use by another gregor process; stop that one, or choose another --data")]
    InUse(PathBuf),
    /// The folder is none of ours (exit code 2).
    #[error("{path:?} is not a data folder of gregor: {reason}; choose another --data")]
    NotData {
        /// The folder.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The system did not let us (exit code 2).
    #[error("data folder {path:?} can't be used: {reason}")]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It is damaged, or from a newer version (exit code 3).
    #[error("{path:?} {problem}; nothing was touched")]
    Corrupt {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// What the version file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Version {
    /// The host that the folder belongs to.
    pub host: HostId,
}

/// A data folder. While a value made by [`DataFolder::open`] lives, no other process can open it.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    host: HostId,
    /// Closing it gives up the lock.
    _lock: Option<File>,
}

impl DataFolder {
    /// Takes a data folder for this process; makes it first if there is nothing. `fresh` is the host's id in that case.
    ///
    /// # Errors
    /// See [`DataError`]; nothing was touched then, but for folders made anew.
    pub fn open(path: &Path, fresh: HostId) -> Result<Self, DataError> {
        // Before the first change: a folder of a newer version, or of somebody else, stays as it is.
        let found = look(path)?;
        durable::create_folder(path).map_err(|error| unusable(path, &error))?;
        let lock = lock(path)?;
        // Another process may have made it between the look and the lock.
        let version = match found.map_or_else(|| look(path), |version| Ok(Some(version)))? {
            Some(version) => complete(path, version),
            None => make(path, fresh),
        }?;
        Ok(Self { path: path.to_owned(), host: version.host, _lock: Some(lock) })
    }

    /// Looks at a data folder without the lock; creates and changes nothing. What is read may be replaced meanwhile.
    ///
    /// # Errors
    /// There is no data folder, or see [`DataError`].
    pub fn look(path: &Path) -> Result<Self, DataError> {
        let reason = || "there is none, or it is empty".to_owned();
        let version = look(path)?.ok_or_else(|| DataError::NotData { path: path.to_owned(), reason: reason() })?;
        Ok(Self { path: path.to_owned(), host: version.host, _lock: None })
    }

    /// The host that the folder belongs to.
    #[must_use]
    pub const fn host(&self) -> HostId {
        self.host
    }

    /// The registers.
    #[must_use]
    pub fn coordination(&self) -> PathBuf {
        self.path.join(COORDINATION)
    }

    /// The archive of jobs that name no other place.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.path.join("archive")
    }

    /// Local stores.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// What tasks said; made by whoever writes there first.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Compiled components.
    #[must_use]
    pub fn components(&self) -> PathBuf {
        self.path.join(COMPONENTS)
    }
}

/// The version of a data folder; none if there is nothing yet, or a folder whose making was cut short.
fn look(path: &Path) -> Result<Option<Version>, DataError> {
    let file = path.join(VERSION);
    let bytes = match durable::read(&file) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return unmade(path).map(|()| None),
        Err(durable::ReadError::Content(problem)) => return Err(DataError::Corrupt { path: file, problem }),
        Err(durable::ReadError::Unreachable(reason)) => return Err(DataError::Unusable { path: path.to_owned(), reason }),
    };
    let version = DATA.decode(&bytes).map_err(|error| DataError::Corrupt { path: file, problem: error.to_string() })?;
    if !path.join(COORDINATION).is_dir() {
        let problem = "is gone, with all that was known of the jobs; restore it, or start anew with another --data".to_owned();
        return Err(DataError::Corrupt { path: path.join(COORDINATION), problem });
    }
    Ok(Some(version))
}

/// Whether a folder without a version holds nothing but what the making of one leaves behind when it is cut short.
fn unmade(path: &Path) -> Result<(), DataError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(path, &error)),
    };
    for entry in entries {
        let name = entry.map_err(|error| unusable(path, &error))?.file_name();
        let name = name.to_string_lossy();
        let known = name == LOCK || name == format!(".{VERSION}.tmp") || (FOLDERS.contains(&name.as_ref()) && is_empty(&path.join(&*name)));
        // Another process may be through with the making since we looked for the version; the lock tells.
        if !known && !path.join(VERSION).exists() {
            let reason = format!("it has no file {VERSION:?} but holds {name:?}");
            return Err(DataError::NotData { path: path.to_owned(), reason });
        }
    }
    Ok(())
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn lock(path: &Path) -> Result<File, DataError> {
    let file = File::options().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(|error| unusable(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
    }
}

/// Makes the layout of an empty folder whose lock is held; the version comes last.
fn make(path: &Path, fresh: HostId) -> Result<Version, DataError> {
    let version = Version { host: fresh };
    let bytes = DATA.encode(&version).map_err(|error| DataError::Unusable { path: path.to_owned(), reason: error.to_string() })?;
    create_folders(path)?;
    durable::replace(&path.join(VERSION), &bytes).map_err(|error| unusable(path, &error))?;
    Ok(version)
}

/// Makes sure that a folder that has a version is on the disk, and puts the caches back where they were deleted.
fn complete(path: &Path, version: Version) -> Result<Version, DataError> {
    durable::settle(&path.join(VERSION)).map_err(|error| unusable(path, &error))?;
    create_folders(path)?;
    Ok(version)
}

/// Creates the folders that are not there.
fn create_folders(path: &Path) -> Result<(), DataError> {
    // What lies there is run as machine code: whatever the umask says, nobody else may write to it, from its first moment on.
    match fs::DirBuilder::new().mode(0o700).create(path.join(COMPONENTS)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(unusable(path, &error)),
        Ok(()) | Err(_) => {}
    }
    for folder in FOLDERS {
        durable::create_folder(&path.join(folder)).map_err(|error| unusable(path, &error))?;
    }
    Ok(())
}

fn unusable(path: &Path, error: &std::io::Error) -> DataError {
    DataError::Unusable { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
