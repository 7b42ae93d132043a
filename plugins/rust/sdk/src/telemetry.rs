//! Logs and metrics. Best effort: limited in rate and size by the host, and not undone when a call fails. Refuses to be a way for data:
//! what must not be lost is emitted.

use crate::bindings::gregor::task::telemetry as host;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Every detail.
    Trace,
    /// For those who look for an error.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

/// Writes a line into the task's log, with fields. The macros [`info!`](crate::info) and its like are shorter.
pub fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Trace => host::Level::Trace,
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, message, &owned(fields));
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A sum that only grows.
#[derive(Debug)]
pub struct Counter(host::Counter);

impl Counter {
    /// The series of this name and these labels.
    #[must_use]
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        Self(host::Counter::new(name, &owned(labels)))
    }

    /// Adds to it.
    pub fn add(&self, n: u64) {
        self.0.add(n);
    }
}

/// A value that goes up and down.
#[derive(Debug)]
pub struct Gauge(host::Gauge);

impl Gauge {
    /// The series of this name and these labels.
    #[must_use]
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        Self(host::Gauge::new(name, &owned(labels)))
    }

    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }
}

/// A distribution of values.
#[derive(Debug)]
pub struct Histogram(host::Histogram);

impl Histogram {
    /// The series of this name and these labels.
    #[must_use]
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        Self(host::Histogram::new(name, &owned(labels)))
    }

    /// Takes one value in.
    pub fn observe(&self, value: f64) {
        self.0.observe(value);
    }
}

/// Writes a line into the task's log: `log!(Level::Info, "half way"; share = 0.5)`. The text is formatted as by [`format!`]; fields follow a
/// semicolon.
#[macro_export]
macro_rules! log {
    ($level:expr, $format:literal $(, $argument:expr)* $(,)? $(; $($name:ident = $value:expr),+ $(,)?)?) => {
        $crate::telemetry::log(
            $level,
            &::std::format!($format $(, $argument)*),
            &[$($((::std::stringify!($name), ::std::string::ToString::to_string(&$value).as_str())),+)?],
        )
    };
}

/// Logs every detail; see [`log!`](crate::log).
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => { $crate::log!($crate::telemetry::Level::Trace, $($line)+) };
}

/// Logs what helps to find an error; see [`log!`](crate::log).
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::log!($crate::telemetry::Level::Debug, $($line)+) };
}

/// Logs what is worth knowing; see [`log!`](crate::log).
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::log!($crate::telemetry::Level::Info, $($line)+) };
}

/// Logs what is not as it should be; see [`log!`](crate::log).
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::log!($crate::telemetry::Level::Warn, $($line)+) };
}

/// Logs what failed; see [`log!`](crate::log).
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::log!($crate::telemetry::Level::Error, $($line)+) };
}
