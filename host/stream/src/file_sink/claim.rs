//! How a job makes an output folder its own: by a marker, created once. Refuses a folder that holds anything else, and every other job's.

use std::fs::File as Folder;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::Dir;
use gregor_model::spec::{FOLDER_MARKER, MARKER, Marker};
use gregor_model::steps::{DurableStep, Steps, Unobserved, durable};
use rustix::fs::{Access, AtFlags, accessat};

use crate::error::SinkError;
use crate::file_sink::OutputFolder;

/// Bytes of a marker, at most: a line, a job's name and its incarnation.
const MARKER_BYTES_MAX: u64 = 4096;

impl OutputFolder {
    /// Opens the folder that a job names and makes sure that it carries the job's marker; creates the folder if it is missing. A folder that is
    /// empty but for what a crash of this function left is taken.
    ///
    /// # Errors
    /// [`SinkError::Refused`]: it holds files and no marker, or the marker of another job or of an earlier life of this one; it is no folder, or
    /// may not be written. [`SinkError::Io`] or an injected failure: may be tried again.
    pub fn open(folder: &Path, job: &Marker, steps: Arc<dyn Steps>) -> Result<Self, SinkError> {
        create_folder(folder).map_err(|error| refused_or_failed(folder, "create", error))?;
        let opened = Self::at(folder, job, steps)?;
        if !opened.is_marked()? {
            opened.check_unused()?;
            opened.mark()?;
        }
        // A marker that was linked by a process which died then may not be durable yet.
        opened.sync_folder()?;
        Ok(opened)
    }

    /// Looks whether [`OutputFolder::open`] would take the folder, and changes nothing: it is there and this job's, or unused, or can be made.
    ///
    /// # Errors
    /// As of [`OutputFolder::open`].
    pub fn look(folder: &Path, job: &Marker) -> Result<(), SinkError> {
        match std::fs::symlink_metadata(folder) {
            Ok(_) => {
                let there = Self::at(folder, job, Arc::new(Unobserved))?;
                if there.is_marked()? { Ok(()) } else { there.check_unused() }
            }
            // Made below the first folder above it that is there: that one must be a folder, and may be written.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_there = |above: &&Path| above.symlink_metadata().is_ok();
                let above = folder.ancestors().skip(1).map(or_here).find(is_there).unwrap_or(Path::new("/"));
                check_writable(above).map_err(|error| refused_or_failed(folder, "make", error))
            }
            Err(error) => Err(refused_or_failed(folder, "look at", error)),
        }
    }

    /// Opens a folder that is there.
    fn at(folder: &Path, job: &Marker, steps: Arc<dyn Steps>) -> Result<Self, SinkError> {
        let path = folder.to_path_buf();
        // Opened as a file, since cap-std opens folders in a way that can't be synced.
        let folder = Folder::open(folder).map_err(|error| refused_or_failed(&path, "open", error))?;
        accessat(&folder, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|error| refused_or_failed(&path, "write into", error.into()))?;
        let copy = folder.try_clone().map_err(|error| refused_or_failed(&path, "open", error))?;
        Ok(Self { path, dir: Dir::from_std_file(copy), folder, marker: job.clone(), steps })
    }

    /// Whether the folder carries this job's marker.
    fn is_marked(&self) -> Result<bool, SinkError> {
        let file = match self.dir.open(FOLDER_MARKER) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(self.failed("open", FOLDER_MARKER, error)),
        };
        let mut bytes = Vec::new();
        file.take(MARKER_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| self.failed("read", FOLDER_MARKER, error))?;
        let found: Marker = MARKER.decode(&bytes).map_err(|error| {
            self.refused(format!("its marker {FOLDER_MARKER} {error}; name an empty folder, or empty this one if nothing in it is needed"))
        })?;
        if found.job != self.marker.job {
            let (other, own) = (found.job, &self.marker.job);
            return Err(self.refused(format!(
                "it holds the output of job {:?}, not of {:?}; name another folder",
                other.as_str(),
                own.as_str()
            )));
        }
        if found.incarnation != self.marker.incarnation {
            return Err(self.refused(format!(
                "it holds the output of an earlier start of job {:?} (incarnation {}, this one is {}); to go on with that one, use its --data; \
                 to start anew, empty the folder or name another",
                found.job.as_str(),
                found.incarnation,
                self.marker.incarnation
            )));
        }
        Ok(true)
    }

    /// Checks that nothing is in the folder but what a crash between creating and naming a marker leaves.
    fn check_unused(&self) -> Result<(), SinkError> {
        let is_leftover = |name: &str| name.starts_with(FOLDER_MARKER) && name.ends_with(".tmp");
        match self.names()?.iter().find(|name| !is_leftover(name)) {
            None => Ok(()),
            Some(name) => Err(self.refused(format!(
                "it is not empty (it holds {name:?}) and has no marker of this job; name an empty folder, or empty this one if nothing in it is needed"
            ))),
        }
    }

    /// Creates the marker: once, so that of two jobs that find the folder empty one is refused.
    fn mark(&self) -> Result<(), SinkError> {
        let temporary = self.marker_temporary();
        let bytes = MARKER.encode(&self.marker).map_err(|error| self.refused(format!("the marker {error}")))?;
        durable(&*self.steps, DurableStep::OutputRelease, || {
            self.remove(&temporary)?;
            self.create(&temporary, &bytes)?;
            match self.dir.hard_link(&temporary, &self.dir, FOLDER_MARKER) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.is_marked()?;
                }
                linked => linked.map_err(|error| self.failed("create", FOLDER_MARKER, error))?,
            }
            self.remove(&temporary)?;
            self.sync_folder()
        })
    }

    /// The marker's name while it is written.
    pub(super) fn marker_temporary(&self) -> String {
        format!("{FOLDER_MARKER}.{}.tmp", self.marker.incarnation)
    }
}

/// Creates a folder and what is missing above it, and makes their names durable.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().map_or(Path::new("."), or_here);
    if parent != folder {
        create_folder(parent)?;
    }
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        created => created?,
    }
    Folder::open(parent)?.sync_all()
}

/// A path above another; the empty one is where the process stands.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Whether a folder can be made in this one.
fn check_writable(folder: &Path) -> io::Result<()> {
    let folder = Folder::open(folder)?;
    if !folder.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(accessat(&folder, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
}

/// What the folder's owner can mend is refused; what may pass is an error of the system.
fn refused_or_failed(folder: &Path, doing: &'static str, source: io::Error) -> SinkError {
    let hint = match source.kind() {
        io::ErrorKind::PermissionDenied => "may not be written",
        io::ErrorKind::ReadOnlyFilesystem => "lies on a read-only file system",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "or a name above it is a file",
        io::ErrorKind::NotFound => "can't be made there",
        _ => return SinkError::Io { doing, name: String::new(), folder: folder.to_path_buf(), source },
    };
    SinkError::Refused {
        folder: folder.to_path_buf(),
        reason: format!("it {hint} ({source}); name a folder that this user may write into"),
    }
}
