//! What a job needs to run, and what it tells while it runs: the seam between `runtime` and `server`. Refuses to know a command line, a
//! terminal or a concrete adapter: those are handed in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gregor_archive::Store;
use gregor_coordination::Coordinator;
use gregor_guest::Component;
use gregor_model::job::Job;
use gregor_model::names::{Boot, CheckpointNumber, Incarnation, TaskId};
use gregor_model::steps::Steps;
use thiserror::Error;

use crate::stand_ins::StandIns;

/// Everything that varies between one run and another.
pub struct Setup {
    /// The job, checked (`Job::check`), its ports in the order of the components' descriptions.
    pub job: Job,
    /// The component of each stage, admitted. Jobs of one process may share an engine, and components: only this job's calls end with it.
    pub components: Vec<Component>,
    /// The folder for the local stores (`--data`/state), locked by the caller.
    pub state_folder: PathBuf,
    /// Where checkpoints are saved.
    pub archive: Arc<dyn Store>,
    /// Where they are decided.
    pub coordinator: Arc<dyn Coordinator>,
    /// Who is told of durable steps.
    pub steps: Arc<dyn Steps>,
    /// Random token of this process on this job.
    pub boot: Boot,
    /// Random token for the job, should it begin now.
    pub fresh: Incarnation,
    /// Threads that run guests, 1 to 64.
    pub workers: usize,
    /// What becomes of an output file that is neither under its temporary nor under its final name.
    pub lost_outputs: LostOutputs,
    /// When the job ends.
    pub until: Until,
    /// What stands in for parts of the host while its costs are measured; nothing, as by default, for a user's job.
    pub stand_ins: StandIns,
}

/// What becomes of an output file that a checkpoint released and that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostOutputs {
    /// The job stops with an error that names it.
    Refuse,
    /// Somebody has consumed it (`--outputs-consumed`).
    Consumed,
}

/// When a job ends that nobody asks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When its inputs have ended; never, where one does not.
    Finished,
    /// Also when it has worked off all that there is, as confirmed: it stops then, with a last checkpoint.
    Idle,
}

/// What the outside asks of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Close the inputs, take a last checkpoint within `checkpoint.stop-timeout`, end.
    Stop,
    /// End at once.
    StopNow,
}

/// What a running job tells. Best effort: a reader that is slow loses `Progress` only.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Recovery is through; tasks run from here.
    Resumed {
        /// The checkpoint that the job goes on from; none = from the beginning.
        checkpoint: Option<CheckpointNumber>,
        /// Records read from outside up to it.
        records: u64,
    },
    /// About once a second.
    Progress(Progress),
    /// A checkpoint was confirmed.
    Confirmed {
        /// Its number.
        checkpoint: CheckpointNumber,
        /// From its creation to its confirmation.
        took: Duration,
        /// Bytes saved for it.
        bytes: u64,
        /// Records read from outside that are part of it, since the job began.
        covered: u64,
        /// How far the job is.
        progress: Progress,
    },
    /// Something that a person should know.
    Warning(String),
    /// A line of a task's log.
    TaskLog {
        /// The stage's name.
        stage: String,
        /// The task.
        task: TaskId,
        /// `trace`, `debug`, `info`, `warn` or `error`.
        level: &'static str,
        /// The line.
        line: String,
    },
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// The last confirmed checkpoint.
    pub checkpoint: Option<CheckpointNumber>,
    /// Since it was confirmed.
    pub checkpoint_age: Duration,
    /// Records read from outside since the job began.
    pub records: u64,
    /// The same a second, over the last second or so.
    pub records_per_second: f64,
    /// Share of the outside input's bytes that was read, 0 to 1; none where it has no end.
    pub input_share: Option<f64>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All of its input is worked off; the last checkpoint says so.
    Finished(Summary),
    /// It had been finished before; nothing was done.
    AlreadyFinished(Summary),
    /// It was asked to stop.
    Stopped(Summary),
    /// It was to run until it is idle, and is: all that there is was worked off, and the last checkpoint says so.
    Idle(Summary),
    /// It was asked to stop before it was known where the job stands: the coordinator was out of reach. Nothing was done.
    StoppedUnread,
}

/// Figures of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// The last confirmed checkpoint.
    pub checkpoint: Option<CheckpointNumber>,
    /// Records read from outside since the job began.
    pub records: u64,
    /// Records that were left out by `on-error = "skip"` or a task's own rejection in this run, dead letters among them.
    pub skipped: u64,
    /// Checkpoints confirmed in this run.
    pub confirmed: u64,
    /// Pauses of tasks at freezes in this run.
    pub pauses: Pauses,
    /// The same pauses as a histogram: how many took at most so long and longer than the entry before, in ascending order.
    pub pause_counts: Vec<(Duration, u64)>,
    /// What the tasks counted in this run, by stage and name; of each stage at most `METRIC_SERIES_MAX`, and none of a job that failed.
    pub metrics: Vec<Metric>,
    /// How long the run took.
    pub elapsed: Duration,
}

/// A metric that a stage's tasks made in one run, summed over the tasks: of a counter what was added, of a gauge what was set last. A histogram is
/// two of them, `<name>.count` and `<name>.sum`.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The stage's name.
    pub stage: String,
    /// The metric's name, with its labels if it has any: `name{label="value"}`.
    pub name: String,
    /// The sum.
    pub value: MetricValue,
}

/// A metric's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricValue {
    /// A count.
    Count(u64),
    /// Any number.
    Number(f64),
}

/// Distribution of the pauses that tasks saw at freezes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pauses {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// Why a job did not end well. Each variant is an exit code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RunError {
    /// The job failed; it stands at its last checkpoint (exit 1).
    #[error("{0}")]
    Failed(String),
    /// Job, input, component or output folder are not what they must be (exit 2).
    #[error("{0}")]
    Refused(String),
    /// Stored data is corrupt, lost or from a newer version; nothing was touched (exit 3).
    #[error("{0}")]
    Corrupt(String),
}

#[cfg(test)]
pub(crate) mod tests;
