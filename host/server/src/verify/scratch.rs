//! The folder in which a verification puts state together: `scratch` in the data folder, so that files of the local store can be linked and need
//! not be copied. Refuses a second verification at the same time: each empties the folder.
//!
//! ```text
//! <data>/scratch/lock     held (flock) by the verification at work; its content means nothing
//! <data>/scratch/work/    emptied at its beginning and at its end
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use crate::exit::Failure;

/// The folder. It is emptied when this is dropped.
pub(super) struct Scratch {
    work: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Takes the scratch folder of a data folder.
    ///
    /// # Errors
    /// Another verification is at work, or the folder can't be made.
    pub(super) fn take(data: &Path) -> Result<Self, Failure> {
        let folder = data.join("scratch");
        let work = folder.join("work");
        let what = || format!("can't use {} to put state together", folder.display());
        fs::create_dir_all(&folder).with_context(what).map_err(Failure::failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"));
        let lock = lock.with_context(what).map_err(Failure::failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::refused(anyhow!("another verification is at work in {}; wait for it", folder.display())));
            }
            Err(TryLockError::Error(error)) => return Err(Failure::failed(anyhow::Error::new(error).context(what()))),
        }
        remove(&work).and_then(|()| fs::create_dir(&work)).with_context(what).map_err(Failure::failed)?;
        Ok(Self { work, _lock: lock })
    }

    /// A path in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.work) {
            tracing::warn!(folder = %self.work.display(), %error, "a folder that is not needed any more could not be removed");
        }
    }
}

/// Removes a folder that may be there.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts a copy of a store's folder there: SST files, which never change, by links, all else copied. Nothing if there is no such folder.
pub(super) fn copy_store(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_store(&path, &target)?;
        } else if path.extension().is_none_or(|ending| ending != "sst") || fs::hard_link(&path, &target).is_err() {
            // Also where the file system has no links.
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
