//! Writes output files into a folder of a job: under hidden temporary names first, which become final names once a confirmed manifest says so.
//! Each step can be done again after a crash at any instant. Refuses a folder that is not this job's, and never puts one file in the place of
//! another.
//!
//! What a folder holds:
//!
//! | name                          | what                                                              | made by                            |
//! |-------------------------------|-------------------------------------------------------------------|------------------------------------|
//! | `._gregor`                    | the job's marker, a document of kind "marker" (see `model::spec`) | [`OutputFolder::open`]             |
//! | `._gregor.<incarnation>.tmp`  | the marker while it is written                                    | [`OutputFolder::open`]             |
//! | `._<incarnation>-….tmp`       | a segment's output that is not released                           | [`OutputFolder::write_temporary`]  |
//! | `part-…`                      | a released file                                                   | [`OutputFolder::release`]          |
//! | `_SUCCESS`                    | all of it is there                                                | [`OutputFolder::succeed`]          |

use std::fs::File as Folder;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::{Dir, File, OpenOptions};
use gregor_model::digest::{Digest, Digester};
use gregor_model::manifest::Release;
use gregor_model::recovery::OnDisk;
use gregor_model::spec::{Marker, SUCCESS};
use gregor_model::steps::{DurableStep, Steps, durable};
use rustix::fs::{AtFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::SinkError;

mod claim;

/// Bytes read at once to digest a file.
const DIGEST_BYTES: usize = 128 * 1024;

/// A folder that a job writes output files into. To be shared by all tasks that write there.
pub struct OutputFolder {
    path: PathBuf,
    dir: Dir,
    /// The same folder, to be synced.
    folder: Folder,
    marker: Marker,
    steps: Arc<dyn Steps>,
}

/// What stands under a release's two names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Under the temporary one.
    pub temporary: OnDisk,
    /// Under the final one.
    pub name: OnDisk,
}

impl OutputFolder {
    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a file under a hidden temporary name (see `model::segment::temporary_name`), syncs file and folder. A file of that name, left by
    /// a failed try of the same attempt, is replaced.
    ///
    /// # Errors
    /// [`SinkError::Refused`]: the name is none of this job's temporary names. [`SinkError::Io`] or an injected failure: may be tried again.
    pub fn write_temporary(&self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        self.check_temporary(name)?;
        durable(&*self.steps, DurableStep::OutputWrite, || {
            self.remove(name)?;
            self.create(name, bytes)?;
            self.sync_folder()
        })
    }

    /// Looks what stands under the two names of a release, reading what has the right length. Nothing is changed.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn observe(&self, release: &Release) -> Result<Observed, SinkError> {
        check_name(&self.path, &release.name)?;
        self.check_temporary(&release.temporary)?;
        Ok(Observed { temporary: self.on_disk(&release.temporary, release)?, name: self.on_disk(&release.name, release)? })
    }

    /// Gives a file its final name, never in the place of another file, and syncs the folder. To be called for every open release, also for one
    /// that is seen to be done: a name that a crashed process gave may not be durable yet. Done again, it changes nothing.
    ///
    /// # Errors
    /// [`SinkError::Conflict`]: another file has the final name, or neither name is there. [`SinkError::Io`] or an injected failure: may be tried
    /// again.
    pub fn release(&self, release: &Release) -> Result<(), SinkError> {
        check_name(&self.path, &release.name)?;
        self.check_temporary(&release.temporary)?;
        durable(&*self.steps, DurableStep::OutputRelease, || {
            self.check_length(release)?;
            match self.rename(&release.temporary, &release.name) {
                Ok(()) => {}
                Err(Errno::EXIST | Errno::NOENT) => self.settle(release)?,
                Err(error) => return Err(self.failed("release", &release.name, error.into())),
            }
            self.sync_folder()
        })
    }

    /// Removes a temporary file that nobody will release, or that was released and is there still; whether it was there. Syncs the folder in any
    /// case, so that a final name which an earlier try gave without syncing it is durable, too.
    ///
    /// # Errors
    /// The name is none of this job's temporary names, or the file can't be removed.
    pub fn remove_temporary(&self, name: &str) -> Result<bool, SinkError> {
        self.check_temporary(name)?;
        let was_there = self.remove(name)?;
        self.sync_folder()?;
        Ok(was_there)
    }

    /// Removes the temporary files of this incarnation that `keep` does not want; how many there were.
    ///
    /// # Errors
    /// The folder can't be listed or a file can't be removed.
    pub fn sweep(&self, keep: &dyn Fn(&str) -> bool) -> Result<usize, SinkError> {
        let mut removed = 0;
        for name in self.names()? {
            let is_dead = self.is_temporary(&name) && !keep(&name);
            if (is_dead || name == self.marker_temporary()) && self.remove(&name)? {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Creates `_SUCCESS`: the output is complete. Done again, it changes nothing.
    ///
    /// # Errors
    /// [`SinkError::Io`] or an injected failure: may be tried again.
    pub fn succeed(&self) -> Result<(), SinkError> {
        durable(&*self.steps, DurableStep::OutputRelease, || {
            match self.create(SUCCESS, b"") {
                Err(SinkError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
                created => created?,
            }
            self.sync_folder()
        })
    }

    /// Removes `_SUCCESS`, durably, and does nothing where it is not there: more output will come. Done again, it changes nothing.
    ///
    /// # Errors
    /// [`SinkError::Io`] or an injected failure: may be tried again.
    pub fn reopen(&self) -> Result<(), SinkError> {
        match self.dir.symlink_metadata(SUCCESS) {
            // Its removal is durable, if there was one: the folder was synced when it was opened.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.failed("look at", SUCCESS, error)),
            Ok(_) => durable(&*self.steps, DurableStep::OutputRelease, || {
                self.remove(SUCCESS)?;
                self.sync_folder()
            }),
        }
    }

    /// Renames without overwriting; where the file system can't, links and unlinks, which a crash may part: then both names are there.
    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        match renameat_with(&self.folder, from, &self.folder, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(&self.folder, from, &self.folder, to, AtFlags::empty())?;
                rustix::fs::unlinkat(&self.folder, from, AtFlags::empty())
            }
            renamed => renamed,
        }
    }

    /// Finishes a release of which the final name is there or the temporary one is not.
    fn settle(&self, release: &Release) -> Result<(), SinkError> {
        let observed = self.observe(release)?;
        match (observed.name, observed.temporary) {
            (OnDisk::Same, _) => self.remove(&release.temporary).map(drop),
            (OnDisk::Other, _) => Err(self.conflict(release, "another file has that name; move it away and start again")),
            (OnDisk::Absent, OnDisk::Absent) => Err(self.conflict(
                release,
                "neither it nor its temporary file is there; if it was consumed under its final name, start again with --outputs-consumed",
            )),
            (OnDisk::Absent, OnDisk::Same | OnDisk::Other) => {
                Err(self.conflict(release, "the folder changed while it was looked at; keep others from writing there and start again"))
            }
        }
    }

    /// Checks, without reading it, that the temporary file is not plainly another one.
    fn check_length(&self, release: &Release) -> Result<(), SinkError> {
        match self.dir.symlink_metadata(&release.temporary) {
            Ok(metadata) if !metadata.is_file() || metadata.len() != release.length => {
                let (found, expected) = (metadata.len(), release.length);
                Err(self
                    .conflict(release, &format!("its temporary file has {found} bytes, the checkpoint says {expected}; it was altered")))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("look at", &release.temporary, error)),
            _ => Ok(()),
        }
    }

    fn on_disk(&self, name: &str, release: &Release) -> Result<OnDisk, SinkError> {
        let failed = |error| self.failed("read", name, error);
        let metadata = match self.dir.symlink_metadata(name) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(OnDisk::Absent),
            Err(error) => return Err(failed(error)),
        };
        if !metadata.is_file() || metadata.len() != release.length {
            return Ok(OnDisk::Other);
        }
        let found = digest_of(self.dir.open(name).map_err(failed)?).map_err(failed)?;
        Ok(if found == release.sha256 { OnDisk::Same } else { OnDisk::Other })
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let mut file = self.dir.open_with(name, &options).map_err(|error| self.failed("create", name, error))?;
        file.write_all(bytes).map_err(|error| self.failed("write", name, error))?;
        file.sync_all().map_err(|error| self.failed("sync", name, error))
    }

    /// Removes a file; whether it was there.
    fn remove(&self, name: &str) -> Result<bool, SinkError> {
        match self.dir.remove_file(name) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("remove", name, error)),
        }
    }

    fn sync_folder(&self) -> Result<(), SinkError> {
        self.folder.sync_all().map_err(|error| self.failed("sync", "", error))
    }

    /// All names in the folder; one that is not UTF-8 is none of ours, and stands there with its odd characters replaced.
    fn names(&self) -> Result<Vec<String>, SinkError> {
        let failed = |error| self.failed("list", "", error);
        let entries = self.dir.entries().map_err(failed)?;
        entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn is_temporary(&self, name: &str) -> bool {
        name.strip_prefix("._").and_then(|rest| rest.strip_prefix(&format!("{}-", self.marker.incarnation))).is_some()
            && name.ends_with(".tmp")
    }

    fn check_temporary(&self, name: &str) -> Result<(), SinkError> {
        check_name(&self.path, name)?;
        if self.is_temporary(name) {
            return Ok(());
        }
        Err(self.refused(format!("{name:?} is no temporary name of incarnation {}", self.marker.incarnation)))
    }

    fn refused(&self, reason: String) -> SinkError {
        SinkError::Refused { folder: self.path.clone(), reason }
    }

    fn conflict(&self, release: &Release, reason: &str) -> SinkError {
        SinkError::Conflict { folder: self.path.clone(), name: release.name.clone(), reason: reason.to_owned() }
    }

    fn failed(&self, doing: &'static str, name: &str, source: io::Error) -> SinkError {
        SinkError::Io { doing, name: name.to_owned(), folder: self.path.clone(), source }
    }
}

/// A name that stands in the folder itself.
fn check_name(folder: &Path, name: &str) -> Result<(), SinkError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(SinkError::Refused { folder: folder.to_path_buf(), reason: format!("{name:?} is no name of a file in it") });
    }
    Ok(())
}

fn digest_of(mut file: File) -> io::Result<Digest> {
    let mut digester = Digester::default();
    let mut buffer = vec![0; DIGEST_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(read) => digester.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
