//! What the host does for a guest, as a trait that the runtime implements, so that this crate need not know stores, streams and logs.
//! Refuses to pass on what it has not checked: columns agree, lengths are within limits, indexes within range.

use gregor_model::columns::{Strings, StringsBuf};
use wasmtime::component::{ComponentType, Lift};

use crate::error::ServiceError;
use crate::output::OutputColumns;

/// A cursor that a service opened; unique among the open cursors of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CursorId(pub u32);

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first key to the last.
    Forward,
    /// From the last key to the first.
    Reverse,
}

/// Which keys a scan visits, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRange {
    /// First key; none = the first of all.
    pub start: Option<Vec<u8>>,
    /// First key that is not visited any more; none = to the end.
    pub end: Option<Vec<u8>>,
    /// The order.
    pub direction: Direction,
}

/// Who a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskIdentity {
    /// The job's name.
    pub job: String,
    /// The stage's name.
    pub stage: String,
    /// The task's number: its input partition.
    pub task: u32,
    /// How many tasks the stage has.
    pub tasks: u32,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Level {
    /// Every detail.
    #[component(name = "trace")]
    Trace,
    /// For those who look for an error.
    #[component(name = "debug")]
    Debug,
    /// Worth knowing.
    #[component(name = "info")]
    Info,
    /// Something is not as it should be.
    #[component(name = "warn")]
    Warn,
    /// Something failed.
    #[component(name = "error")]
    Error,
}

/// A line of a task's log. Message and fields together have at most [`gregor_model::limits::LOG_LINE_BYTES_MAX`] bytes.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// How much it matters. Lines on standard output are `Info`, on standard error `Warn`.
    pub level: Level,
    /// The text, one line of any characters.
    pub message: &'a str,
    /// Names and values. Lines that the guest printed have one: `stream`, `stdout` or `stderr`.
    pub fields: &'a [(String, String)],
}

/// What happened to a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// A sum grew by this.
    Counter(u64),
    /// A value is now this.
    Gauge(f64),
    /// A distribution took this in.
    Histogram(f64),
}

/// An update of a metric series of a task.
#[derive(Debug, Clone, Copy)]
pub struct MetricUpdate<'a> {
    /// The metric's name, at most [`gregor_model::limits::METRIC_TEXT_BYTES_MAX`] bytes.
    pub name: &'a str,
    /// The labels, at most [`gregor_model::limits::METRIC_LABELS_MAX`], in the guest's order.
    pub labels: &'a [(String, String)],
    /// What happened.
    pub kind: MetricKind,
}

/// What the host does for a guest. `store` is an index into the component's description. Implementations: the runtime's tasks, and the
/// capability-free services in which a component describes itself.
///
/// Guarantees demanded: what a call writes is seen by its own reads at once; a bulk write that fails did nothing; a cursor sees the store as
/// it was when opened; nothing blocks on another task.
pub trait Services: Send + 'static {
    /// The value of a key, of at most `KEY_BYTES_MAX` bytes as every key here.
    ///
    /// # Errors
    /// See [`ServiceError`], here and below.
    fn get(&mut self, store: u16, key: &[u8]) -> Result<Option<Vec<u8>>, ServiceError>;

    /// Sets the value of a key, of at most `VALUE_BYTES_MAX` bytes as every value here.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn put(&mut self, store: u16, key: &[u8], value: &[u8]) -> Result<(), ServiceError>;

    /// Removes a key, which need not be there.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn delete(&mut self, store: u16, key: &[u8]) -> Result<(), ServiceError>;

    /// Adds to a counter; answers the sum.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn add(&mut self, store: u16, key: &[u8], amount: i64) -> Result<i64, ServiceError>;

    /// The values of many keys, none of them absent, in their order. A key may be asked for many times, so that the implementation ends the
    /// call with [`ServiceError::Trap`] before the answer outgrows what the task may hold: here it could only be refused when it is built.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn get_many(&mut self, store: u16, keys: Strings<'_>) -> Result<StringsBuf, ServiceError>;

    /// Sets many values, as many as there are keys; an absent one deletes its key.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn put_many(&mut self, store: u16, keys: Strings<'_>, values: Strings<'_>) -> Result<(), ServiceError>;

    /// Adds to many counters. There are as many amounts as keys, or one for all.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn add_many(&mut self, store: u16, keys: Strings<'_>, amounts: &[i64]) -> Result<(), ServiceError>;

    /// Opens a cursor. At most `CURSORS_MAX` are open at a time; all are closed by the end of the call.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn scan(&mut self, store: u16, range: ScanRange) -> Result<CursorId, ServiceError>;

    /// The next keys and values of a cursor, at most `max` (at least 1) and about `CURSOR_BYTES_MAX`; none = the end.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn next(&mut self, cursor: CursorId, max: u32) -> Result<(StringsBuf, StringsBuf), ServiceError>;

    /// Closes a cursor.
    fn close(&mut self, cursor: CursorId);

    /// Takes emitted records, at least one. Whether the partitions exist is for the implementation to check.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn emit(&mut self, batch: &OutputColumns<'_>) -> Result<(), ServiceError>;

    /// Forwards records of the batch of this call, at least one.
    ///
    /// # Errors
    /// See [`ServiceError`].
    fn select(&mut self, output: u32, indexes: &[u32]) -> Result<(), ServiceError>;

    /// A value of the stage's configuration.
    fn config(&self, key: &str) -> Option<String>;

    /// Who the task is.
    fn identity(&self) -> TaskIdentity;

    /// Takes a log line; may drop it.
    fn log(&mut self, line: LogLine<'_>);

    /// Takes an update of a metric; may drop it. The implementation bounds the number of series.
    fn metric(&mut self, update: MetricUpdate<'_>);
}
