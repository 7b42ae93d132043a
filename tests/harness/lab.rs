//! A folder of its own for each test: inputs, the job, its data and its output. Refuses to keep anything when the test ends; a test that
//! fails prints the job and what the last process told.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::host::{Ended, Host};
use super::plugins;

/// Bytes of a process's output that a failing test prints, from its end.
const TAIL_BYTES: usize = 6_000;

/// A test's folder.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
    runs: Cell<u32>,
}

impl Lab {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("gregor-test-").tempdir().unwrap(), runs: Cell::new(0) }
    }

    /// An empty folder on a disk: in memory, room that RocksDB sets aside counts against the size that a file may have.
    pub(crate) fn on_disk() -> Self {
        let folder = tempfile::Builder::new().prefix("gregor-test-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { folder, runs: Cell::new(0) }
    }

    /// A folder with a job in it.
    pub(crate) fn with_job(text: &str) -> Self {
        let lab = Self::new();
        lab.job(text);
        lab
    }

    /// A path below it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes `job.toml`; `{plugins}` in it stands for the folder of compiled tasks, `{lab}` for this folder.
    pub(crate) fn job(&self, text: &str) {
        let text = text.replace("{plugins}", plugins().to_str().unwrap()).replace("{lab}", self.folder.path().to_str().unwrap());
        self.write("job.toml", text);
    }

    /// What `job.toml` says.
    pub(crate) fn job_text(&self) -> String {
        fs::read_to_string(self.path("job.toml")).unwrap()
    }

    /// Changes `job.toml`. Panics if there is nothing to change, since the test would then test nothing.
    #[track_caller]
    pub(crate) fn edit_job(&self, from: &str, to: &str) {
        let before = self.job_text();
        assert!(before.contains(from), "{from:?} is not in the job:\n{before}");
        self.write("job.toml", before.replace(from, to));
    }

    /// Starts `gregor run job.toml --data data` with more arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Host {
        self.start_on("data", arguments)
    }

    /// The same with another data folder: another host.
    pub(crate) fn start_on(&self, data: &str, arguments: &[&str]) -> Host {
        self.spawn(Command::new(env!("CARGO_BIN_EXE_gregor")).args(["run", "job.toml", "--data", data]).args(arguments))
    }

    /// The same, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end().calm()
    }

    /// Any command of `gregor`, to its end.
    pub(crate) fn gregor(&self, arguments: &[&str]) -> Ended {
        self.spawn(Command::new(env!("CARGO_BIN_EXE_gregor")).args(arguments)).end().calm()
    }

    /// A script of `sh` in which `$GREGOR` is the binary, to its end.
    pub(crate) fn shell(&self, script: &str) -> Ended {
        self.spawn(Command::new("sh").args(["-c", script]).env("GREGOR", env!("CARGO_BIN_EXE_gregor"))).end().calm()
    }

    /// Starts `gregor stream produce` with these arguments, and the content of a file as its input.
    pub(crate) fn start_produce(&self, arguments: &[&str], input: &str) -> Host {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gregor"));
        command.args(["stream", "produce"]).args(arguments);
        self.spawn_reading(&mut command, Stdio::from(fs::File::open(self.path(input)).unwrap()))
    }

    /// `gregor stream produce STREAM job.toml --data data` with more arguments and this input, to its end.
    pub(crate) fn produce(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Ended {
        self.write("stdin", input);
        self.start_produce(&[arguments, &["job.toml", "--data", "data"]].concat(), "stdin").end().calm()
    }

    fn spawn(&self, command: &mut Command) -> Host {
        self.spawn_reading(command, Stdio::null())
    }

    fn spawn_reading(&self, command: &mut Command, stdin: Stdio) -> Host {
        self.runs.set(self.runs.get() + 1);
        let log = self.path(&format!("log/{:06}", self.runs.get()));
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        Host::start(command.current_dir(self.folder.path()), stdin, &log)
    }

    /// As if the job had never run: no history, no state, no output. Compiled components stay, since compiling them is most of a short run.
    pub(crate) fn forget(&self) {
        for name in ["out", "log"] {
            remove(&self.path(name));
        }
        // A data folder without its folder of registers is a damaged one: only what is in them goes.
        for entry in
            ["data/coordination", "data/archive", "data/state"].iter().filter_map(|name| fs::read_dir(self.path(name)).ok()).flatten()
        {
            remove(&entry.unwrap().path());
        }
    }

    /// Puts a copy of `from` in the place of `to`, times of modification included.
    pub(crate) fn replace(&self, from: &str, to: &str) {
        remove(&self.path(to));
        if self.path(from).exists() {
            copy(&self.path(from), &self.path(to));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        println!("--- {}\n{}", self.path("job.toml").display(), fs::read_to_string(self.path("job.toml")).unwrap_or_default());
        for ending in ["out", "err"] {
            let log = self.path(&format!("log/{:06}.{ending}", self.runs.get()));
            let bytes = fs::read(&log).unwrap_or_default();
            let tail = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
            println!("--- {}\n{}", log.display(), String::from_utf8_lossy(tail));
        }
    }
}

/// Removes a file or folder that may be there.
pub(crate) fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

/// All files below a folder, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
        fs::File::options().write(true).open(to).unwrap().set_modified(fs::metadata(from).unwrap().modified().unwrap()).unwrap();
    }
}
