//! Where runs work: a folder of this process on the disk that is measured, removed at its end. Refuses to leave anything of a run to the next one but
//! compiled components.
//!
//! ```text
//! <data>/gregor-bench-<pid>/input/       what the jobs name as their input; its one file is never read
//! <data>/gregor-bench-<pid>/components/  compiled components
//! <data>/gregor-bench-<pid>/run/         the run at work
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// What its name begins with; the process's id follows.
const PREFIX: &str = "gregor-bench-";

/// The folder.
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Makes it, in the folder that was named or the system's for temporary files.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn new(data: Option<&Path>) -> anyhow::Result<Self> {
        let data = data.map_or_else(std::env::temp_dir, Path::to_owned);
        let root = data.join(format!("{PREFIX}{}", std::process::id()));
        let what = || format!("can't make {}", root.display());
        fs::create_dir_all(&data).with_context(what)?;
        sweep(&data);
        // Compiled components are trusted only where nobody else may write.
        let mut private = DirBuilder::new();
        private.mode(0o700);
        private.create(&root).with_context(what)?;
        let folder = Self { root: root.canonicalize().with_context(what)? };
        private.create(folder.root.join("components")).with_context(what)?;
        fs::create_dir(folder.root.join("input")).with_context(what)?;
        fs::write(folder.root.join("input/records"), "generated\n").with_context(what)?;
        Ok(folder)
    }

    /// The folder of the run.
    pub(super) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Empties the folder of the run.
    ///
    /// # Errors
    /// It can't be removed or made.
    pub(super) fn empty(&self) -> anyhow::Result<()> {
        let run = self.run();
        let emptied = match fs::remove_dir_all(&run) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir(&run),
        };
        emptied.with_context(|| format!("can't empty {}", run.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            tracing::warn!(folder = %self.root.display(), %error, "the folder of the runs could not be removed");
        }
    }
}

/// Removes what processes left that were interrupted. Whatever can't be removed is somebody else's, or is told by who makes a folder in its place.
fn sweep(data: &Path) {
    let entries = fs::read_dir(data).into_iter().flatten().flatten();
    let left = entries.filter(|entry| {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
    });
    for entry in left {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::info!(folder = %entry.path().display(), %error, "what an interrupted run has left could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_finds_nothing_of_the_run_before_and_nothing_is_left_at_the_end() {
        let data = tempfile::tempdir().unwrap();
        // No process has the first of these numbers: it is above the largest that there can be. One has the second.
        fs::create_dir_all(data.path().join("gregor-bench-4194305/run/data")).unwrap();
        fs::create_dir_all(data.path().join("gregor-bench-1")).unwrap();
        let folder = Folder::new(Some(data.path())).unwrap();
        assert!(!data.path().join("gregor-bench-4194305").exists() && data.path().join("gregor-bench-1").exists());
        folder.empty().unwrap();
        fs::create_dir(folder.run().join("data")).unwrap();
        folder.empty().unwrap();
        assert!(fs::read_dir(folder.run()).unwrap().next().is_none());
        let root = folder.run().parent().unwrap().to_owned();
        drop(folder);
        assert!(!root.exists() && data.path().exists());
    }
}
