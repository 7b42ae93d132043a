//! All that would otherwise differ from one execution to the next. Refuses to read a real clock or a real source of randomness: time stands still
//! during a call, and a call that is repeated after a failure draws the same random bytes, as [`random`] says. Its time is a later one.

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

/// `len` random bytes, at most 64 KiB. They are no secret: they are drawn from the names of job and task, what is called, and its place.
///
/// The place of `process` is input, file and first offset of the batch: a repeated call draws the same. The place of `on_end` is the input,
/// the task's last checkpoint, and the number of pieces since then: each piece draws its own, and a piece that is tried again, or repeated by a
/// host that goes on from that checkpoint, the same. What `init` draws belongs to the call for which the instance was made, and differs from
/// what that one draws; a fresh instance draws others, so that a result must not depend on it.
#[must_use]
pub fn random(len: u32) -> Vec<u8> {
    host::random(len)
}

/// A value of the stage's `config`, as its text in the job file; none where the job file has none.
#[must_use]
pub fn config(key: &str) -> Option<String> {
    host::config(key)
}
