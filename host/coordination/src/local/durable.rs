//! Small files that are replaced whole and survive a loss of power at any instant: temporary, sync, rename, sync of the folder. Refuses files
//! larger than any document of ours, and anything under a file's name that is no file: that is not the same as nothing.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use gregor_model::limits::DOCUMENT_BYTES_MAX;

/// Why a file could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// What is there is no file of ours.
    Content(String),
    /// The system did not let us.
    Unreachable(String),
}

/// The bytes of a file; none if there is nothing under its name.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    let unreachable = |error: io::Error| ReadError::Unreachable(error.to_string());
    // Without following links: one that leads nowhere is something, and must not be taken for nothing.
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(ReadError::Content("is not a regular file".to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreachable(error)),
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(unreachable)?.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreachable)?;
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(ReadError::Content(format!("is longer than {DOCUMENT_BYTES_MAX} bytes")));
    }
    Ok(Some(bytes))
}

/// Puts a file in the place of another, or of none. After an error either of them is there.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_of(path)?;
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    sync_folder_of(path)
}

/// Makes what is there durable, whichever process wrote it, and removes what a replacement that was cut short left behind.
pub(super) fn settle(path: &Path) -> io::Result<()> {
    ignore_absent(fs::remove_file(temporary_of(path)?))?;
    ignore_absent(File::open(path).and_then(|file| file.sync_all()))?;
    sync_folder_of(path)
}

/// Creates a folder with the parents that are missing, durably. Those that are there are synced too, as far as we may: the process that made
/// them may have died before its sync.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let path = path.canonicalize()?;
    for folder in path.ancestors() {
        match sync(folder) {
            // Folders above our own may belong to others: whoever can't read them did not make them either.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && folder != path => break,
            synced => synced?,
        }
    }
    Ok(())
}

/// The name under which the next content of a file is prepared. No job's name begins with a dot.
fn temporary_of(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| io::Error::from(ErrorKind::InvalidFilename))?;
    Ok(path.with_file_name(format!(".{name}.tmp")))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn ignore_absent(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
