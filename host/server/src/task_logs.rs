//! What tasks say, in files below the data folder: one a stage, and one old one beside it. Lines are bounded in rate and length before they get
//! here; here are bounds on how many wait and on how large a file grows. Refuses to hold up anybody: a line that finds no room, or that the disk
//! does not take, is dropped and counted, and the count is written where the lines are missing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use gregor_model::limits::{LOG_FILE_BYTES_MAX, LOG_LINES_WAITING_MAX};
use gregor_model::names::TaskId;

use crate::{clock, output};

/// The end of the lines' way where they are put in.
pub(crate) struct TaskLogs {
    waiting: Sender<Line>,
    /// Lines that found no room since the other end looked last.
    dropped: std::sync::Arc<AtomicU64>,
}

/// The other end: who writes them.
pub(crate) struct Writer {
    lines: Receiver<Line>,
    dropped: std::sync::Arc<AtomicU64>,
    folder: PathBuf,
    file_bytes_max: u64,
    files: BTreeMap<String, LogFile>,
    /// Lines that are missing and of which no file says so.
    missing: u64,
    /// Whether the last line could not be written: it is told once.
    failing: bool,
}

/// A line on its way.
struct Line {
    stage: String,
    text: String,
}

/// A file that is written to.
struct LogFile {
    file: File,
    bytes: u64,
}

/// A way for the lines of a job, to files in this folder, which is made by the first of them.
pub(crate) fn way(folder: PathBuf) -> (TaskLogs, Writer) {
    let (waiting, lines) = bounded(LOG_LINES_WAITING_MAX);
    let dropped = std::sync::Arc::<AtomicU64>::default();
    let writer = Writer {
        lines,
        dropped: std::sync::Arc::clone(&dropped),
        folder,
        file_bytes_max: LOG_FILE_BYTES_MAX,
        files: BTreeMap::new(),
        missing: 0,
        failing: false,
    };
    (TaskLogs { waiting, dropped }, writer)
}

impl TaskLogs {
    /// Takes a line; never waits.
    pub(crate) fn take(&self, (stage, task): (&str, TaskId), (level, line): (&str, &str)) {
        let line = Line { stage: stage.to_owned(), text: text(level, Some((stage, task)), line) };
        if self.waiting.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Writer {
    /// Writes lines until nobody is left who could put one in.
    pub(crate) fn write_all(mut self) {
        let lines = self.lines.clone();
        for line in &lines {
            self.take(&line);
        }
        let missing = self.missing.saturating_add(self.dropped.swap(0, Ordering::Relaxed));
        if missing > 0 {
            output::tell(&format!("warning: {missing} log lines of tasks are missing in {:?}", self.folder));
        }
    }

    fn take(&mut self, line: &Line) {
        self.missing = self.missing.saturating_add(self.dropped.swap(0, Ordering::Relaxed));
        match self.write(line) {
            Ok(()) => {
                self.failing = false;
                self.missing = 0;
            }
            Err(error) => {
                self.missing = self.missing.saturating_add(1);
                // Opened anew for the next line: the folder may have been mended, or the disk.
                self.files.remove(&line.stage);
                if !std::mem::replace(&mut self.failing, true) {
                    let path = self.path(&line.stage);
                    output::tell(&format!("warning: log lines of tasks are dropped, since {path:?} can't be written: {error}"));
                }
            }
        }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = String::new();
        // Whatever was cut short by an error shall not run into this line.
        if self.failing {
            text.push('\n');
        }
        if self.missing > 0 {
            text.push_str(&self::text(
                "warn",
                None,
                &format!("{} log lines are missing here: they came too fast, or the disk failed", self.missing),
            ));
        }
        text.push_str(&line.text);
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let (path, max) = (self.path(&line.stage), self.file_bytes_max);
        if self.files.get(&line.stage).is_some_and(|open| open.bytes > 0 && open.bytes.saturating_add(bytes) > max) {
            self.files.remove(&line.stage);
            fs::rename(&path, path.with_extension("log.1"))?;
        }
        let open = match self.files.entry(line.stage.clone()) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(vacant) => vacant.insert(LogFile::open(&path)?),
        };
        open.file.write_all(text.as_bytes())?;
        open.bytes = open.bytes.saturating_add(bytes);
        Ok(())
    }

    fn path(&self, stage: &str) -> PathBuf {
        self.folder.join(format!("{stage}.log"))
    }
}

impl LogFile {
    /// Opens a file to write at its end, with the folders above it.
    fn open(path: &Path) -> io::Result<Self> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let file = File::options().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

/// A line as it stands in a file: the form is a stable surface.
fn text(level: &str, task: Option<(&str, TaskId)>, line: &str) -> String {
    let task = task.map_or_else(String::new, |(stage, task)| format!(" task={stage}/{}", task.partition));
    format!("{} level={level}{task} {}\n", clock::wall_text(), output::harmless(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId { stage: 0, partition: 7 };

    /// Writes lines to files of at most so many bytes.
    fn write(folder: &Path, (lines, file_bytes_max): (&[&str], u64)) {
        let (logs, mut writer) = way(folder.to_owned());
        writer.file_bytes_max = file_bytes_max;
        lines.iter().for_each(|line| logs.take(("count", TASK), ("info", line)));
        drop(logs);
        writer.write_all();
    }

    /// What a file says, without the times.
    fn said(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let said = text.lines().map(|line| {
            let (time, rest) = line.split_once(' ').unwrap();
            assert!(time.len() == "2026-11-23T18:40:01.123Z".len() && time.ends_with('Z'), "{line}");
            rest.to_owned()
        });
        said.collect()
    }

    #[test]
    fn lines_are_appended_with_time_level_and_task_and_can_not_be_forged() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("logs/job");
        write(&folder, (&["one", "two\nlevel=error \u{1b}[2J"], 1 << 20));
        write(&folder, (&["three"], 1 << 20));
        let expected = ["one", "two\\nlevel=error \\u{1b}[2J", "three"].map(|line| format!("level=info task=count/7 {line}"));
        assert_eq!(said(&folder.join("count.log")), expected);
    }

    #[test]
    fn a_file_that_is_full_becomes_the_old_one_and_the_one_before_goes() {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..10).map(|at| format!("line {at}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        // Room for three lines each.
        let room = 3 * u64::try_from(text("info", Some(("count", TASK)), "line 0").len()).unwrap();
        write(folder.path(), (&lines, room));
        let names =
            |name: &str| said(&folder.path().join(name)).iter().map(|line| line.rsplit_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>();
        assert_eq!(
            (names("count.log.1"), names("count.log")),
            (vec!["6".to_owned(), "7".to_owned(), "8".to_owned()], vec!["9".to_owned()])
        );
        // A file that an earlier run left full counts too.
        write(folder.path(), (&lines[..3], room));
        assert_eq!(
            (names("count.log.1"), names("count.log")),
            (vec!["9".to_owned(), "0".to_owned(), "1".to_owned()], vec!["2".to_owned()])
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_disk_that_fails_costs_lines_which_are_counted_where_they_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("job");
        let (logs, mut writer) = way(folder.clone());
        let line = |line: &str| Line { stage: "count".to_owned(), text: text("info", None, line) };
        writer.take(&line("before"));
        // A folder cannot be written to as a file.
        writer.files.clear();
        fs::rename(folder.join("count.log"), folder.join("kept")).unwrap();
        fs::create_dir(folder.join("count.log")).unwrap();
        (0..5).for_each(|_| writer.take(&line("lost")));
        assert_eq!(writer.missing, 5);
        fs::remove_dir(folder.join("count.log")).unwrap();
        fs::rename(folder.join("kept"), folder.join("count.log")).unwrap();
        writer.take(&line("after"));
        let text = fs::read_to_string(folder.join("count.log")).unwrap().replace("\n\n", "\n");
        fs::write(folder.join("count.log"), text).unwrap();
        let missing = "level=warn 5 log lines are missing here: they came too fast, or the disk failed";
        assert_eq!(said(&folder.join("count.log")), ["level=info before", missing, "level=info after"]);
        drop(logs);
    }

    #[test]
    fn lines_that_nobody_takes_are_counted_and_hold_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, writer) = way(folder.path().to_owned());
        (0..LOG_LINES_WAITING_MAX + 3).for_each(|_| logs.take(("count", TASK), ("info", "line")));
        drop(logs);
        writer.write_all();
        let said = said(&folder.path().join("count.log"));
        assert_eq!(said.len(), LOG_LINES_WAITING_MAX + 1);
        assert!(said[0].starts_with("level=warn 3 log lines are missing here"), "{}", said[0]);
    }
}
