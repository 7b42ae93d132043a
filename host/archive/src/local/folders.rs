//! The folders of a local archive: made so that they survive a loss of power, and walked without leaving anything out. Refuses to go deeper
//! than keys do, since a link may lead a walk in a circle.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

/// Folders remembered as durable; a host writes into some ten of them per job. Beyond it they are synced once more.
const REMEMBERED_MAX: usize = 4096;
/// How deep a walk goes below its prefix: a key has eight segments.
const DEPTH_MAX: usize = 32;

/// What lies in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// An object; it was never changed after it was made, so the time of its last change is that of its creation.
    Object { path: PathBuf, bytes: u64, created_at_ms: u64 },
    /// What a create that was cut short left behind.
    Leftover(PathBuf),
}

/// Makes folders durable, each once.
///
/// `object_store` syncs the folders that it makes itself, after it made them. That is not enough: a second writer that finds them may answer
/// before the first has synced them, and a process that is killed in between leaves folders that nobody ever syncs.
#[derive(Debug)]
pub(super) struct DurableFolders {
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl DurableFolders {
    /// Folders below `root`, which is durable itself.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, durable: Mutex::new(HashSet::new()) }
    }

    /// Creates a folder below the root with its parents, and makes sure that all of them are on the disk.
    pub(super) fn ensure(&self, folder: &Path) -> io::Result<()> {
        if self.is_durable(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        let fresh: Vec<&Path> = folder.ancestors().take_while(|folder| *folder != self.root && !self.is_durable(folder)).collect();
        for folder in &fresh {
            sync_folder_of(folder)?;
        }
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() + fresh.len() > REMEMBERED_MAX {
            durable.clear();
        }
        durable.extend(fresh.into_iter().map(Path::to_owned));
        Ok(())
    }

    fn is_durable(&self, folder: &Path) -> bool {
        folder == self.root || self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(folder)
    }
}

/// Creates the root of an archive with its parents, durably; those that are there are synced too, as far as we may.
pub(super) fn create_root(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    for ancestor in folder.ancestors() {
        match sync(ancestor) {
            // Folders above our own may belong to others: whoever can't read them did not make them either.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && ancestor != folder => break,
            synced => synced?,
        }
    }
    Ok(())
}

/// Makes the entry of a file or folder durable.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// All that lies below a folder; nothing if there is no such folder.
pub(super) fn walk(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut pending = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        if depth > DEPTH_MAX {
            return Err(io::Error::other(format!("{} lies too deep for an archive", folder.display())));
        }
        for path in entries(&folder)? {
            if is_staged(&path) {
                found.push(Entry::Leftover(path));
            } else if let Some(metadata) = look(&path)? {
                if metadata.is_dir() {
                    pending.push((path, depth + 1));
                } else {
                    found.push(Entry::Object { path, bytes: metadata.len(), created_at_ms: created_at_ms(&metadata) });
                }
            }
        }
    }
    Ok(found)
}

/// Milliseconds since 1970; 0 where the file system does not tell, which makes the object old.
fn created_at_ms(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The names of the folders in a folder, sorted.
pub(super) fn folders_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for path in entries(folder)? {
        if look(&path)?.is_some_and(|metadata| metadata.is_dir()) {
            names.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        // Of the folder that was asked for: nothing was ever put there. Of one below it: it was removed while we walked.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Looks at a path, through links; none if it was removed meanwhile. A link that leads nowhere is an error: it may stand for objects.
fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

/// Whether this is a name under which `object_store` prepares an object: `<name>#<digits>`. No key has a `#`.
fn is_staged(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('#').is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}
