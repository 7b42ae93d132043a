//! What a task's host does for its guest: state, output, identity, logs. Everything is staged; whoever made the call commits or rolls back.
//! Refuses partitions that are not there and whatever passes a limit.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::Sender;
use gregor_guest::{
    CursorId, Direction, Level, LogLine, MetricKind, MetricUpdate, OutputColumns, ScanRange, ServiceError, Services, StateRefusal,
    TaskIdentity,
};
use gregor_model::columns::{Columns, Record, Strings, StringsBuf};
use gregor_model::limits::{LOG_LINES_A_SECOND, METRIC_SERIES_MAX, SKIP_LINES_A_SECOND};
use gregor_model::names::TaskId;
use gregor_state::{KeyRange, StateError, TaskStores};
use gregor_stream::{OutputError, Outputs, Target};

use crate::clock::Clock;
use crate::setup::Report;

/// The services of one task.
pub(crate) struct TaskServices {
    /// Its stores.
    pub(crate) stores: TaskStores,
    /// What it has emitted.
    pub(crate) outputs: Outputs,
    /// The batch of the call, for `select` and for the event times of what derives from it.
    pub(crate) batch: Option<Arc<Columns>>,
    /// Event time of the last record of the input that `on-end` is called for.
    pub(crate) last_timestamp: i64,
    identity: TaskIdentity,
    config: Arc<BTreeMap<String, String>>,
    log: TaskLog,
    /// What is told of records that are left out.
    skips: TaskLog,
    series: BTreeMap<String, Series>,
    cursors: Cursors,
}

/// The open cursors of a call, by the numbers that the guest's side knows.
#[derive(Default)]
struct Cursors {
    last: u32,
    open: BTreeMap<u32, gregor_state::CursorId>,
}

impl Cursors {
    fn get(&self, cursor: CursorId) -> Result<gregor_state::CursorId, ServiceError> {
        self.open.get(&cursor.0).copied().ok_or_else(|| refuse(StateError::NoSuchCursor))
    }
}

/// What the services of a task are made of.
pub(crate) struct Parts {
    pub(crate) stores: TaskStores,
    pub(crate) outputs: Outputs,
    pub(crate) identity: TaskIdentity,
    pub(crate) config: Arc<BTreeMap<String, String>>,
    pub(crate) log: TaskLog,
}

/// A metric of a task, as it stands now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Series {
    Counter(u64),
    Gauge(f64),
    Histogram { count: u64, sum: f64 },
}

/// Name and labels, in the guest's order.
fn series_name(update: &MetricUpdate<'_>) -> String {
    if update.labels.is_empty() {
        return update.name.to_owned();
    }
    let labels: Vec<String> = update.labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    format!("{}{{{}}}", update.name, labels.join(","))
}

/// Sends log lines on, bounded in rate.
pub(crate) struct TaskLog {
    stage: String,
    task: TaskId,
    reports: Sender<Report>,
    clock: Clock,
    /// Lines a second.
    rate: u32,
    second: u64,
    lines: u32,
    dropped: u64,
}

impl TaskLog {
    /// A task's log.
    pub(crate) fn new((stage, task): (String, TaskId), reports: Sender<Report>, clock: Clock) -> Self {
        Self { stage, task, reports, clock, rate: LOG_LINES_A_SECOND, second: 0, lines: 0, dropped: 0 }
    }

    /// Another log of the same task, with a bound of its own.
    fn beside(&self, rate: u32) -> Self {
        let mut log = Self::new((self.stage.clone(), self.task), self.reports.clone(), self.clock);
        log.rate = rate;
        log
    }

    fn write(&mut self, level: &'static str, line: impl FnOnce() -> String) {
        if self.admits() {
            self.send(level, line());
        }
    }

    /// Whether there is room for a line; if not, it counts as dropped.
    fn admits(&mut self) -> bool {
        let second = self.clock.now().as_secs();
        if second != self.second {
            (self.second, self.lines) = (second, 0);
            self.tell_dropped();
        }
        if self.lines >= self.rate {
            self.dropped += 1;
            return false;
        }
        self.lines += 1;
        true
    }

    /// Says how many lines are missing, if any are.
    fn tell_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            self.send("warn", format!("{dropped} log lines were dropped: over {} a second", self.rate));
            if self.dropped > 0 {
                // Nobody heard of them.
                self.dropped = dropped;
            }
        }
    }

    fn send(&mut self, level: &'static str, line: String) {
        let report = Report::TaskLog { stage: self.stage.clone(), task: self.task, level, line };
        // A reader that is slow, or gone, must not hold up a task.
        if self.reports.try_send(report).is_err() {
            self.dropped += 1;
        }
    }
}

impl Drop for TaskLog {
    /// A task that fell silent after a flood told nobody how much of it is missing.
    fn drop(&mut self) {
        self.tell_dropped();
    }
}

impl TaskServices {
    /// Puts them together.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { stores, outputs, identity, config, log } = parts;
        let skips = log.beside(SKIP_LINES_A_SECOND);
        Self {
            stores,
            outputs,
            batch: None,
            last_timestamp: 0,
            identity,
            config,
            log,
            skips,
            series: BTreeMap::new(),
            cursors: Cursors::default(),
        }
    }

    /// Whether it is told that one more record was left out; if many are, the others are counted.
    pub(crate) fn tells_of_skip(&mut self) -> bool {
        self.skips.admits()
    }

    /// Says of a record that was left out what became of it, which one it was, and why.
    pub(crate) fn tell_skip(&mut self, became: &str, reason: &str) {
        self.skips.send("warn", format!("{became}: {reason}"));
    }

    /// Keeps what the call staged.
    pub(crate) fn commit(&mut self) {
        self.cursors.open.clear();
        self.stores.commit();
        self.outputs.commit();
        self.batch = None;
    }

    /// Drops what the call staged.
    pub(crate) fn rollback(&mut self) {
        self.cursors.open.clear();
        self.stores.rollback();
        self.outputs.rollback();
        self.batch = None;
    }

    /// Its metrics, as they stand.
    pub(crate) fn metrics(&self) -> &BTreeMap<String, Series> {
        &self.series
    }

    fn timestamp_of(&self, cause: u32) -> i64 {
        let cause = usize::try_from(cause).unwrap_or(usize::MAX);
        self.batch.as_ref().map_or(self.last_timestamp, |batch| batch.timestamps.get(cause).copied().unwrap_or(self.last_timestamp))
    }
}

impl Services for TaskServices {
    fn get(&mut self, store: u16, key: &[u8]) -> Result<Option<Vec<u8>>, ServiceError> {
        self.stores.get(store, key).map_err(refuse)
    }

    fn put(&mut self, store: u16, key: &[u8], value: &[u8]) -> Result<(), ServiceError> {
        self.stores.put(store, key, value).map_err(refuse)
    }

    fn delete(&mut self, store: u16, key: &[u8]) -> Result<(), ServiceError> {
        self.stores.delete(store, key).map_err(refuse)
    }

    fn add(&mut self, store: u16, key: &[u8], amount: i64) -> Result<i64, ServiceError> {
        self.stores.add(store, key, amount).map_err(refuse)
    }

    fn get_many(&mut self, store: u16, keys: Strings<'_>) -> Result<StringsBuf, ServiceError> {
        self.stores.get_many(store, keys).map_err(refuse)
    }

    fn put_many(&mut self, store: u16, keys: Strings<'_>, values: Strings<'_>) -> Result<(), ServiceError> {
        self.stores.put_many(store, keys, values).map_err(refuse)
    }

    fn add_many(&mut self, store: u16, keys: Strings<'_>, amounts: &[i64]) -> Result<(), ServiceError> {
        self.stores.add_many(store, keys, amounts).map_err(refuse)
    }

    fn scan(&mut self, store: u16, range: ScanRange) -> Result<CursorId, ServiceError> {
        let ScanRange { start, end, direction } = range;
        let direction = match direction {
            Direction::Forward => gregor_state::Direction::Forward,
            Direction::Reverse => gregor_state::Direction::Reverse,
        };
        let opened = self.stores.scan(store, KeyRange { start, end, direction }).map_err(refuse)?;
        // Numbers need to differ among the open ones only, of which a call has few.
        self.cursors.last = self.cursors.last.wrapping_add(1);
        self.cursors.open.insert(self.cursors.last, opened);
        Ok(CursorId(self.cursors.last))
    }

    fn next(&mut self, cursor: CursorId, max: u32) -> Result<(StringsBuf, StringsBuf), ServiceError> {
        let cursor = self.cursors.get(cursor)?;
        self.stores.next(cursor, usize::try_from(max).unwrap_or(usize::MAX)).map_err(refuse)
    }

    fn close(&mut self, cursor: CursorId) {
        if let Some(cursor) = self.cursors.open.remove(&cursor.0) {
            self.stores.close(cursor);
        }
    }

    fn emit(&mut self, batch: &OutputColumns<'_>) -> Result<(), ServiceError> {
        for record in batch.iter() {
            let timestamp = record.timestamp.unwrap_or_else(|| self.timestamp_of(record.cause.unwrap_or(0)));
            let target = Target { output: record.output, partition: record.partition };
            let staged = Record { offset: 0, timestamp, key: record.key, value: record.value };
            self.outputs.append(target, &staged, &record.headers).map_err(trap)?;
        }
        Ok(())
    }

    fn select(&mut self, output: u32, indexes: &[u32]) -> Result<(), ServiceError> {
        let Some(batch) = self.batch.clone() else {
            return Err(ServiceError::Trap("select was called outside of process, where there is no batch to select from".to_owned()));
        };
        for &index in indexes {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            let Some(record) = batch.get(index) else {
                return Err(ServiceError::Trap(format!("select names record {index} of a batch of {}", batch.len())));
            };
            let headers = batch.headers_of(index);
            self.outputs.append(Target { output, partition: None }, &record, &headers).map_err(trap)?;
        }
        Ok(())
    }

    fn config(&self, key: &str) -> Option<String> {
        self.config.get(key).cloned()
    }

    fn identity(&self) -> TaskIdentity {
        self.identity.clone()
    }

    fn log(&mut self, line: LogLine<'_>) {
        let level = match line.level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.log.write(level, || {
            let mut text = line.message.to_owned();
            for (name, value) in line.fields {
                text.push_str(&format!(" {name}={value:?}"));
            }
            text
        });
    }

    fn metric(&mut self, update: MetricUpdate<'_>) {
        let name = series_name(&update);
        if !self.series.contains_key(&name) && self.series.len() >= METRIC_SERIES_MAX {
            return;
        }
        let series = self.series.entry(name);
        match update.kind {
            MetricKind::Counter(n) => {
                if let Series::Counter(sum) = series.or_insert(Series::Counter(0)) {
                    *sum = sum.saturating_add(n);
                }
            }
            MetricKind::Gauge(value) => *series.or_insert(Series::Gauge(value)) = Series::Gauge(value),
            MetricKind::Histogram(value) => {
                if let Series::Histogram { count, sum } = series.or_insert(Series::Histogram { count: 0, sum: 0.0 }) {
                    *count = count.saturating_add(1);
                    *sum += value;
                }
            }
        }
    }
}

/// What the guest is told of an error of the state; what is the host's own fault ends the call.
fn refuse(error: StateError) -> ServiceError {
    match error {
        StateError::NoSuchStore(_) => ServiceError::Trap(error.to_string()),
        StateError::TooLarge(found) => ServiceError::Refused(StateRefusal::TooLarge(found)),
        StateError::NotACounter(found) => ServiceError::Refused(StateRefusal::NotACounter(found)),
        StateError::Overflow => ServiceError::Refused(StateRefusal::Overflow),
        StateError::InvalidColumns(problem) => ServiceError::Refused(StateRefusal::InvalidColumns(problem)),
        StateError::TooManyCursors(_)
        | StateError::NoSuchCursor
        | StateError::CallTooLarge { .. }
        | StateError::TooManyKeys(_)
        | StateError::Full => ServiceError::Trap(error.to_string()),
        StateError::Altered { .. }
        | StateError::Misuse(_)
        | StateError::Step(_)
        | StateError::Unfinished { .. }
        | StateError::Broken { .. } => ServiceError::Broken(error.to_string()),
    }
}

fn trap(error: OutputError) -> ServiceError {
    ServiceError::Trap(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reports: usize, lines: u64) -> Vec<String> {
        let (sender, reports) = crossbeam_channel::bounded(reports);
        let mut log = TaskLog::new(("stage".to_owned(), TaskId { stage: 0, partition: 0 }), sender, Clock::start());
        (0..lines).for_each(|at| log.write("info", || format!("line {at}")));
        drop(log);
        reports.iter().map(|report| if let Report::TaskLog { line, .. } = report { line } else { panic!("no line") }).collect()
    }

    #[test]
    fn a_task_that_falls_silent_after_a_flood_is_not_silent_about_what_is_missing() {
        let lines = written(4_096, 1_000);
        let kept = lines.iter().filter(|line| line.starts_with("line ")).count();
        // More than once, if a second began meanwhile.
        let dropped = lines.iter().filter_map(|line| line.split_once(" log lines were dropped")?.0.parse::<usize>().ok());
        assert_eq!(kept + dropped.sum::<usize>(), 1_000, "{lines:?}");
        assert!(lines.last().unwrap().ends_with("over 100 a second"), "{lines:?}");
        assert_eq!(written(4_096, 3), ["line 0", "line 1", "line 2"]);
    }
}
