//! A host process: started, watched through what it writes, signalled, and killed when the test lets go of it. Refuses to outlive its test.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::clock;

/// A running process.
pub(crate) struct Host {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    started: Instant,
    peak_kib: u64,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// What it wrote as its result.
    pub(crate) stdout: String,
    /// What it told.
    pub(crate) stderr: String,
    /// From its start to its end.
    pub(crate) elapsed: Duration,
    /// The most memory that it was seen to hold, in KiB.
    pub(crate) peak_kib: u64,
}

impl Host {
    /// Starts a command that reads from `stdin`, with its output in files `<log>.out` and `<log>.err`.
    pub(crate) fn start(command: &mut Command, stdin: Stdio, log: &Path) -> Self {
        let (stdout, stderr) = (log.with_extension("out"), log.with_extension("err"));
        command.stdin(stdin).stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        let child = command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE").spawn().unwrap();
        Self { child, stdout, stderr, started: clock::now(), peak_kib: 0 }
    }

    /// What it has told until now.
    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// The last checkpoint that it has said to be confirmed.
    pub(crate) fn confirmed(&self) -> Option<u64> {
        last_confirmed(&self.stderr())
    }

    /// Bytes that it has read until now, from files and all else.
    pub(crate) fn bytes_read(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap_or_default();
        io.lines().find_map(|line| line.strip_prefix("rchar:")?.trim().parse().ok()).unwrap_or(0)
    }

    /// Whether it has ended; meanwhile notes its memory.
    pub(crate) fn is_over(&mut self) -> bool {
        self.look().is_some()
    }

    /// Sends a signal. Its having ended already is not an error.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = kill_process(pid, signal);
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let status = clock::wait("the process to end", || self.look());
        Ended {
            code: status.code(),
            signal: status.signal(),
            stdout: text(&self.stdout),
            stderr: self.stderr(),
            elapsed: self.started.elapsed(),
            peak_kib: self.peak_kib,
        }
    }

    fn look(&mut self) -> Option<ExitStatus> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
        self.peak_kib = self.peak_kib.max(peak.unwrap_or(0));
        self.child.try_wait().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Demands this exit code.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "exit code (signal {:?}); stderr:\n{}", self.signal, self.stderr);
        self
    }

    /// Demands that stderr contains this.
    #[track_caller]
    pub(crate) fn says(self, fragment: &str) -> Self {
        assert!(self.stderr.contains(fragment), "stderr lacks {fragment:?}:\n{}", self.stderr);
        self
    }

    /// Demands that no thread of the host panicked. (What a guest says of its own panics stands in lines that begin otherwise.)
    #[track_caller]
    pub(crate) fn calm(self) -> Self {
        let panicked = |line: &str| line.starts_with("thread ") && line.contains(" panicked at ");
        assert!(!self.stderr.lines().any(panicked) && !self.stderr.contains("please report it"), "a panic:\n{}", self.stderr);
        self
    }

    /// Demands that nobody was warned of anything, but for lines with one of these fragments.
    #[track_caller]
    pub(crate) fn unwarned(self, listed: &[&str]) -> Self {
        for line in self.stderr.lines() {
            let loud = ["WARN", "ERROR", "warning", "error"].iter().any(|word| line.contains(word));
            assert!(!loud || listed.iter().any(|fragment| line.contains(fragment)), "an unlisted warning {line:?} in:\n{}", self.stderr);
        }
        self
    }

    /// The last checkpoint that it has said to be confirmed.
    pub(crate) fn confirmed(&self) -> Option<u64> {
        last_confirmed(&self.stderr)
    }

    /// The checkpoint that it went on from; none if it began, or did not get so far.
    pub(crate) fn resumed(&self) -> Option<u64> {
        self.figure("resumed checkpoint=")
    }

    /// The number that follows the first occurrence of `label`.
    pub(crate) fn figure(&self, label: &str) -> Option<u64> {
        let (_, rest) = self.stderr.split_once(label)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// The records that the line which begins with `label` speaks of.
    pub(crate) fn records(&self, label: &str) -> Option<u64> {
        self.line(label)?.split_once("records=")?.1.split(' ').next()?.parse().ok()
    }

    /// The line that begins with `label`, with it.
    pub(crate) fn line(&self, label: &str) -> Option<&str> {
        self.stderr.lines().find(|line| line.starts_with(label))
    }
}

/// The last number of a progress line; the line that a kill cut short does not count.
fn last_confirmed(stderr: &str) -> Option<u64> {
    let (whole, _) = stderr.rsplit_once('\n')?;
    whole.lines().rev().find_map(|line| line.strip_prefix("checkpoint=")?.split(' ').next()?.parse().ok())
}

fn text(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}
