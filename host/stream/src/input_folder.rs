//! A folder that a job reads from, and the only way to anything in it: names are looked up below the folder by `cap-std`, so that neither `..`
//! nor a link leads out. Links that stay inside are followed if they are relative. Refuses names that lead out, names that are not UTF-8, and
//! everything that is neither a file nor a folder: a pipe would block its reader for ever.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use gregor_model::plan::PlannedFile;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::SourceError;

/// A folder that a job names as an input.
#[derive(Debug)]
pub struct InputFolder {
    dir: Dir,
    path: PathBuf,
}

/// How a change of a file is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) length: u64,
    pub(crate) modified_ns: i128,
}

/// What a name stands for, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    File(Identity),
    /// A folder, by device and inode.
    Folder(u64, u64),
    /// A device, pipe or socket.
    Other,
    /// Nothing, or a link to nothing.
    Nothing,
}

impl InputFolder {
    /// Opens the folder that a job file names; the folder itself may be a link.
    ///
    /// # Errors
    /// It is not there, is no folder, or may not be read.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        let path = folder.to_path_buf();
        match Dir::open_ambient_dir(folder, ambient_authority()) {
            Ok(dir) => Ok(Self { dir, path }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                let hint = format!("there is no such folder ({error}); check the path in the job file");
                Err(SourceError::Missing { path, hint })
            }
            Err(source) => Err(SourceError::Io { doing: "open", name: String::new(), folder: path, source }),
        }
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// What a name below the folder stands for.
    pub(crate) fn look_up(&self, name: &str) -> Result<Found, SourceError> {
        match self.dir.metadata(name) {
            Ok(metadata) if metadata.is_file() => Ok(Found::File(Identity::of(&metadata))),
            Ok(metadata) if metadata.is_dir() => Ok(Found::Folder(metadata.dev(), metadata.ino())),
            Ok(_) => Ok(Found::Other),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Found::Nothing),
            Err(error) => Err(self.failed("look at", name, error)),
        }
    }

    /// Opens a planned file and checks that it is what it was.
    pub(crate) fn open_planned(&self, planned: &PlannedFile) -> Result<File, SourceError> {
        let mut options = OpenOptions::new();
        // Were a pipe put in the place of the file, opening it would wait for a writer.
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = match self.dir.open_with(&planned.name, &options) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.changed(planned, Found::Nothing)),
            Err(error) => return Err(self.failed("open", &planned.name, error)),
        };
        self.check_open(&file, planned)?;
        Ok(file)
    }

    /// Checks that an open file is what was planned.
    pub(crate) fn check_open(&self, file: &File, planned: &PlannedFile) -> Result<(), SourceError> {
        let metadata = file.metadata().map_err(|error| self.failed("look at", &planned.name, error))?;
        let found = if metadata.is_file() { Found::File(Identity::of(&metadata)) } else { Found::Other };
        self.check(found, planned)
    }

    /// Checks that the name of a planned file stands for what was planned.
    pub(crate) fn check_named(&self, planned: &PlannedFile) -> Result<(), SourceError> {
        self.check(self.look_up(&planned.name)?, planned)
    }

    fn check(&self, found: Found, planned: &PlannedFile) -> Result<(), SourceError> {
        if found == Found::File(Identity::planned(planned)) { Ok(()) } else { Err(self.changed(planned, found)) }
    }

    fn changed(&self, planned: &PlannedFile, found: Found) -> SourceError {
        let now = match found {
            Found::File(identity) => identity.to_string(),
            Found::Folder(..) => "a folder in its place".to_owned(),
            Found::Other => "no file in its place, but a device, pipe or socket".to_owned(),
            Found::Nothing => "nothing in its place".to_owned(),
        };
        let before = Identity::planned(planned).to_string();
        SourceError::Changed { file: planned.name.clone(), folder: self.path.clone(), before, now }
    }

    /// The error for a name that is not taken.
    pub(crate) fn refused(&self, name: &str, reason: impl Into<String>) -> SourceError {
        SourceError::Refused { name: name.to_owned(), folder: self.path.clone(), reason: reason.into() }
    }

    /// The error for a file that can't be read on.
    pub(crate) fn damaged(&self, name: &str, at: u64, reason: String) -> SourceError {
        SourceError::Damaged { file: name.to_owned(), folder: self.path.clone(), at, reason }
    }

    /// The error for a failed system call on a name.
    pub(crate) fn failed(&self, doing: &'static str, name: &str, source: io::Error) -> SourceError {
        // cap-std tells of a name that leads out by an error that is not the system's.
        if source.kind() == io::ErrorKind::PermissionDenied && source.raw_os_error().is_none() {
            let reason =
                "it leads out of the folder (a link to an absolute path does, too); put the file itself there, or name its own folder";
            return self.refused(name, reason);
        }
        if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
            return self.refused(name, "it is a link that leads back to itself; remove it");
        }
        SourceError::Io { doing, name: name.to_owned(), folder: self.path.clone(), source }
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { length: metadata.len(), modified_ns }
    }

    const fn planned(file: &PlannedFile) -> Self {
        Self { length: file.length, modified_ns: file.modified_ns }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanoseconds) = (self.modified_ns.div_euclid(1_000_000_000), self.modified_ns.rem_euclid(1_000_000_000));
        write!(f, "{} bytes, modified {seconds}.{nanoseconds:09} s after 1970", self.length)
    }
}
