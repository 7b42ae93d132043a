//! Every key of a job file in one place: names, defaults, ranges, meanings. The reader takes its settings from here, and the reference
//! (`host/server/job-file.md`) is compared with it by a test. Refuses defaults that stand anywhere else.

use std::time::Duration;

use gregor_model::limits::{KEY_BYTES_MAX, KIB, MIB, STREAM_PARTITIONS_DEFAULT, STREAM_PARTITIONS_MAX, VALUE_BYTES_MAX};

#[cfg(test)]
use super::amounts::Amount;
use super::amounts::{Count, Permille, Setting, Size};

/// Keys of the file itself.
pub(crate) const ROOT: [&str; 13] = [
    "name",
    "stage",
    "stream",
    "checkpoint",
    "state",
    "limits",
    "component",
    "inputs",
    "outputs",
    "config",
    "on-error",
    "retries",
    "dead-letter",
];
/// Keys that a job of one stage may write at the top level.
pub(crate) const SHORT_FORM: [&str; 7] = ["component", "inputs", "outputs", "config", "on-error", "retries", "dead-letter"];
/// Keys of a `[[stage]]`.
pub(crate) const STAGE: [&str; 8] = ["name", "component", "inputs", "outputs", "config", "on-error", "retries", "dead-letter"];
/// Keys of a `[[stream]]`.
pub(crate) const STREAM: [&str; 2] = ["name", PARTITIONS.key];
/// Keys of an input.
pub(crate) const INPUT: [&str; 2] = ["from", "format"];
/// Keys of an output.
pub(crate) const OUTPUT: [&str; 3] = ["to", "format", "partitions"];
/// Keys of `[checkpoint]`.
pub(crate) const CHECKPOINT: [&str; 13] = [
    "location",
    INTERVAL.key,
    THRESHOLD.key,
    KEEP.key,
    "guarantee",
    BASE_INTERVAL.key,
    BASE_RATE.key,
    COLLECT_GRACE.key,
    COLLECT_RATE.key,
    GRACE.key,
    DEADLINE.key,
    OUTAGE_LIMIT.key,
    STOP_TIMEOUT.key,
];
/// Keys of `[state]`.
pub(crate) const STATE: [&str; 1] = ["backend"];
/// Keys of `[limits]`.
pub(crate) const LIMITS: [&str; 7] =
    [MEMORY.key, CALL_TIME.key, RECORD.key, EMIT_RECORDS.key, EMIT_BYTES.key, DIRTY_BYTES.key, UNPUBLISHED_BYTES.key];

/// Most stages of one job: far more than anybody drew yet, and their indexes fit 16 bits.
pub(crate) const STAGES_MAX: usize = 1000;
/// Most streams of records from outside: each needs a stage that reads it.
pub(crate) const PRODUCED_MAX: usize = STAGES_MAX;
/// Most keys of a stage's `config`.
pub(crate) const CONFIG_KEYS_MAX: usize = 1000;
/// Bytes of a job file that are read; one that is longer is something else.
pub(crate) const JOB_FILE_BYTES_MAX: u64 = MIB;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const GIB: u64 = 1024 * MIB;

/// `retries` of a stage.
pub(crate) const RETRIES: Setting<Count> = Setting {
    key: "retries",
    default: Count(1),
    low: Count(0),
    high: Count(100),
    meaning: "how often a failed batch is tried again before it is bisected",
};
/// `partitions` of an output to a stream.
pub(crate) const PARTITIONS: Setting<Count> = Setting {
    key: "partitions",
    default: Count(STREAM_PARTITIONS_DEFAULT as u64),
    low: Count(1),
    high: Count(STREAM_PARTITIONS_MAX as u64),
    meaning: "partitions of the stream, of an output or a `[[stream]]`, fixed at its creation; each is a task of the stages that read it",
};
/// `interval` of `[checkpoint]`.
pub(crate) const INTERVAL: Setting<Duration> =
    Setting { key: "interval", default: Duration::from_secs(10), low: MS, high: DAY, meaning: "time between two checkpoints, at least" };
/// `threshold` of `[checkpoint]`.
pub(crate) const THRESHOLD: Setting<Permille> = Setting {
    key: "threshold",
    default: Permille(500),
    low: Permille(10),
    high: Permille(100_000),
    meaning: "a new base is due once the deltas outgrow this share of the last one",
};
/// `keep` of `[checkpoint]`.
pub(crate) const KEEP: Setting<Count> =
    Setting { key: "keep", default: Count(3), low: Count(1), high: Count(1000), meaning: "restore points that are kept" };
/// `base-interval` of `[checkpoint]`.
pub(crate) const BASE_INTERVAL: Setting<Duration> = Setting {
    key: "base-interval",
    default: HOUR,
    low: SECOND,
    high: Duration::from_secs(30 * 24 * 3600),
    meaning: "a new base is due at the latest after this time, if anything changed; a quarter more or less for each task",
};
/// `base-rate` of `[checkpoint]`: below a MiB a second, a base of some size would never be done.
pub(crate) const BASE_RATE: Setting<Size> = Setting {
    key: "base-rate",
    default: Size(64 * MIB),
    low: Size(MIB),
    high: Size(10 * GIB),
    meaning: "bytes a second that bases and merged deltas may take of the archive",
};
/// `collect-grace` of `[checkpoint]`.
pub(crate) const COLLECT_GRACE: Setting<Duration> = Setting {
    key: "collect-grace",
    default: Duration::from_secs(600),
    low: Duration::ZERO,
    high: Duration::from_secs(30 * 24 * 3600),
    meaning: "how long an object that nobody needs any more stays in the archive, for those who are reading it",
};
/// `collect-rate` of `[checkpoint]`.
pub(crate) const COLLECT_RATE: Setting<Count> =
    Setting { key: "collect-rate", default: Count(200), low: Count(1), high: Count(100_000), meaning: "objects that are deleted a second" };
/// `grace` of `[checkpoint]`.
pub(crate) const GRACE: Setting<Duration> = Setting {
    key: "grace",
    default: Duration::from_secs(10),
    low: MS,
    high: DAY,
    meaning: "how long a checkpoint waits for a slow task once another has saved; then it is left out",
};
/// `deadline` of `[checkpoint]`.
pub(crate) const DEADLINE: Setting<Duration> = Setting {
    key: "deadline",
    default: Duration::from_secs(600),
    low: MS,
    high: DAY,
    meaning: "how long a checkpoint for which nothing was saved may take before it is aborted",
};
/// `outage-limit` of `[checkpoint]`.
pub(crate) const OUTAGE_LIMIT: Setting<Duration> = Setting {
    key: "outage-limit",
    default: Duration::from_secs(600),
    low: SECOND,
    high: DAY,
    meaning: "how long the coordinator may be out of reach before the job fails; the local one never is",
};
/// `stop-timeout` of `[checkpoint]`.
pub(crate) const STOP_TIMEOUT: Setting<Duration> = Setting {
    key: "stop-timeout",
    default: Duration::from_secs(30),
    low: MS,
    high: DAY,
    meaning: "how long a stop may take for its last checkpoint",
};
/// `memory` of `[limits]`: at least a page of WebAssembly, at most what 32 bits address.
pub(crate) const MEMORY: Setting<Size> = Setting {
    key: "memory",
    default: Size(64 * MIB),
    low: Size(64 * KIB),
    high: Size(4 * GIB),
    meaning: "linear memory of the task's instance",
};
/// `call-time` of `[limits]`.
pub(crate) const CALL_TIME: Setting<Duration> = Setting {
    key: "call-time",
    default: SECOND,
    low: MS,
    high: HOUR,
    meaning: "CPU time of one call; on the wall clock, thirty times that",
};
/// `record` of `[limits]`: no more than the contract lets a key and a value have.
pub(crate) const RECORD: Setting<Size> = Setting {
    key: "record",
    default: Size(MIB),
    low: Size(KIB),
    high: Size((KEY_BYTES_MAX + VALUE_BYTES_MAX) as u64 / KIB * KIB),
    meaning: "an input record, key and value; a longer one is a poison record",
};
/// `emit-records` of `[limits]`.
pub(crate) const EMIT_RECORDS: Setting<Count> = Setting {
    key: "emit-records",
    default: Count(1_000_000),
    low: Count(1),
    high: Count(100_000_000),
    meaning: "records that one call may emit",
};
/// `emit-bytes` of `[limits]`.
pub(crate) const EMIT_BYTES: Setting<Size> =
    Setting { key: "emit-bytes", default: Size(64 * MIB), low: Size(KIB), high: Size(GIB), meaning: "bytes that one call may emit" };
/// `dirty-bytes` of `[limits]`.
pub(crate) const DIRTY_BYTES: Setting<Size> = Setting {
    key: "dirty-bytes",
    default: Size(128 * MIB),
    low: Size(64 * KIB),
    high: Size(16 * GIB),
    meaning: "changes of state that are in no confirmed checkpoint; half of it asks for one, all of it pauses the task's inputs",
};
/// `unpublished-bytes` of `[limits]`.
pub(crate) const UNPUBLISHED_BYTES: Setting<Size> = Setting {
    key: "unpublished-bytes",
    default: Size(64 * MIB),
    low: Size(64 * KIB),
    high: Size(16 * GIB),
    meaning: "output that is in no confirmed checkpoint; half of it asks for one, all of it pauses the task's inputs",
};

/// A row of the reference: key, default, range, meaning.
#[cfg(test)]
pub(crate) fn row<A: Amount>(table: &str, setting: &Setting<A>) -> String {
    let range = format!("{} to {}", setting.low.show(), setting.high.show());
    format!("| `{table}{}` | `{}` | {range} | {} |", setting.key, setting.default.show(), setting.meaning)
}

/// All rows of the reference.
#[cfg(test)]
pub(crate) fn rows() -> Vec<String> {
    let (checkpoint, limits) = ("checkpoint.", "limits.");
    vec![
        row("", &RETRIES),
        row("outputs.….", &PARTITIONS),
        row(checkpoint, &INTERVAL),
        row(checkpoint, &THRESHOLD),
        row(checkpoint, &KEEP),
        row(checkpoint, &BASE_INTERVAL),
        row(checkpoint, &BASE_RATE),
        row(checkpoint, &COLLECT_GRACE),
        row(checkpoint, &COLLECT_RATE),
        row(checkpoint, &GRACE),
        row(checkpoint, &DEADLINE),
        row(checkpoint, &OUTAGE_LIMIT),
        row(checkpoint, &STOP_TIMEOUT),
        row(limits, &MEMORY),
        row(limits, &CALL_TIME),
        row(limits, &RECORD),
        row(limits, &EMIT_RECORDS),
        row(limits, &EMIT_BYTES),
        row(limits, &DIRTY_BYTES),
        row(limits, &UNPUBLISHED_BYTES),
    ]
}
