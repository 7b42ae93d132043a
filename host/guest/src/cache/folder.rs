//! The folder of compiled components: files that appear whole, and nobody's but this user's. Refuses a folder or file that belongs to another
//! user or that group or others may write to, and files that are none. All names are looked up in the one folder that was opened and judged.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

/// What the names of whole files end with.
pub(super) const ENDING: &str = ".cwasm";
/// What the names of files end with that are being written.
const UNFINISHED: &str = ".tmp";

/// The folder, held open.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Its name.
    pub(super) name: String,
    /// Its length.
    pub(super) bytes: u64,
    /// When it was written or used last, in nanoseconds since 1970.
    pub(super) used_ns: i128,
}

impl Folder {
    /// Opens a folder, if it is this user's alone.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(said)?;
        trust(&rustix::fs::fstat(&folder).map_err(said)?)?;
        Ok(Self(folder))
    }

    /// All bytes of a file; none if there is no such file.
    pub(super) fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, String> {
        // Without following links, and without waiting for whoever writes to a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(said(error)),
        };
        let found = rustix::fs::fstat(&file).map_err(said)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err("it is no regular file".to_owned());
        }
        // A folder that was open to others for a while may hold what they left.
        trust(&found)?;
        let size = u64::try_from(found.st_size).unwrap_or(u64::MAX);
        if size > bytes_max {
            return Err(format!("it has {size} bytes, at most {bytes_max} are read"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        std::fs::File::from(file).take(bytes_max).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(Some(bytes))
    }

    /// Writes a file that holds these parts, in the place of the one that may be there. It appears whole or not at all while the system runs;
    /// nothing is synced, since a file that a loss of power cut short is found out by its digest.
    pub(super) fn write(&self, name: &str, parts: &[&[u8]]) -> Result<(), String> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let unfinished = format!("{}-{}{UNFINISHED}", std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
        let written = self.fill(&unfinished, parts).and_then(|()| rustix::fs::renameat(&self.0, &unfinished, &self.0, name).map_err(said));
        if written.is_err() {
            // Best effort: the next sweep removes it too.
            let _ = self.remove(&unfinished);
        }
        written
    }

    fn fill(&self, name: &str, parts: &[&[u8]]) -> Result<(), String> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR).map_err(said)?);
        parts.iter().try_for_each(|part| file.write_all(part)).map_err(|error| error.to_string())
    }

    /// Notes that a file was used now.
    pub(super) fn touch(&self, name: &str) -> Result<(), String> {
        let at = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
        let now = Timestamps { last_access: at(UTIME_OMIT), last_modification: at(UTIME_NOW) };
        rustix::fs::utimensat(&self.0, name, &now, AtFlags::SYMLINK_NOFOLLOW).map_err(said)
    }

    /// Removes a file; that it is gone already is fine.
    pub(super) fn remove(&self, name: &str) -> Result<(), String> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(said(error)),
        }
    }

    /// Removes what was never finished.
    pub(super) fn sweep(&self) {
        let swept = self.names(UNFINISHED).and_then(|names| names.iter().try_for_each(|name| self.remove(name)));
        if let Err(reason) = swept {
            tracing::info!(reason, "compiled components that were never finished can't be removed");
        }
    }

    /// All whole files, in no order.
    pub(super) fn files(&self) -> Result<Vec<File>, String> {
        let mut files = Vec::new();
        for name in self.names(ENDING)? {
            match rustix::fs::statat(&self.0, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => files.push(File::of(name, &found)),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(said(error)),
            }
        }
        Ok(files)
    }

    /// Names of files with this ending. What else lies here is not ours.
    fn names(&self, ending: &str) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self.0.as_fd()).map_err(said)? {
            let entry = entry.map_err(said)?;
            names.extend(entry.file_name().to_str().ok().filter(|name| name.ends_with(ending)).map(str::to_owned));
        }
        Ok(names)
    }
}

impl File {
    fn of(name: String, found: &Stat) -> Self {
        let used_ns = i128::from(found.st_mtime) * 1_000_000_000 + i128::from(found.st_mtime_nsec);
        Self { name, bytes: u64::try_from(found.st_size).unwrap_or(u64::MAX), used_ns }
    }
}

fn trust(found: &Stat) -> Result<(), String> {
    let us = rustix::process::geteuid().as_raw();
    judge(found.st_uid, Mode::from_raw_mode(found.st_mode), us)
}

/// Whether what belongs to `owner` and has this mode can only have been written by the user `us`.
pub(super) fn judge(owner: u32, mode: Mode, us: u32) -> Result<(), String> {
    if owner != us {
        return Err(format!("it belongs to user {owner}, this process to user {us}; `chown -R {us}` it, or remove it"));
    }
    if mode.intersects(Mode::WGRP | Mode::WOTH) {
        return Err(format!("others may write to it (mode {:o}); remove it, or empty it and `chmod go-w` it", mode.as_raw_mode()));
    }
    Ok(())
}

fn said(error: Errno) -> String {
    error.to_string()
}
