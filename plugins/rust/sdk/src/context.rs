//! All that would otherwise differ from one execution to the next. Refuses to read a real clock or a real source of randomness: time stands still
//! during a call, and a call that is repeated after a failure draws the same random bytes. Its time is a later one.

use crate::bindings::gregor::task::context as host;

/// Who this task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskId {
    /// The job's name.
    pub job: String,
    /// The stage's name.
    pub stage: String,
    /// The task's number: its input partition.
    pub task: u32,
    /// How many tasks the stage has.
    pub tasks: u32,
}

/// This task.
#[must_use]
pub fn this() -> TaskId {
    let host::TaskId { job, stage, task, tasks } = host::this();
    TaskId { job, stage, task, tasks }
}

/// The time of the call, in milliseconds since 1970. It stands still during a call. A call that is repeated, after a failure or a restart, has a time
/// of its own: what a record shall give however often it is processed, must not depend on it.
#[must_use]
pub fn now() -> i64 {
    host::now()
}

/// `len` random bytes, at most 64 KiB, drawn from the job, the task and the first offset of the call: a repeated call draws the same.
#[must_use]
pub fn random(len: u32) -> Vec<u8> {
    host::random(len)
}

/// A value of the stage's `config`, as its text in the job file; none where the job file has none.
#[must_use]
pub fn config(key: &str) -> Option<String> {
    host::config(key)
}
