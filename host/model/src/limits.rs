//! Every bound in one place, with its unit and its reason. Refuses to hold anything without a bound.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One kibibyte, in bytes.
pub const KIB: u64 = 1024;
/// One mebibyte, in bytes.
pub const MIB: u64 = 1024 * KIB;

/// Records of one batch: enough to spread the price of a call (70–100 ns) thin; from the contract.
pub const BATCH_RECORDS_MAX: usize = 1024;
/// Bytes of one batch, unless it is a single record; a batch fits the second-level cache; from the contract.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a key, in states and records; from the contract.
pub const KEY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a value, in states and records; from the contract.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that one `cursor.next` answers, about; from the contract.
pub const CURSOR_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of keys and values that one call may write, and that its cursors may keep aside: as much as it may emit; half of the default dirty bytes.
pub const CALL_WRITE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that one bulk `get` answers: as much as a guest's memory holds by default.
pub const BULK_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Keys of one bulk call on state. A key costs the host some 40 bytes while the call lasts, whatever the guest pays for it, so 40 MiB.
pub const BULK_KEYS_MAX: usize = 1 << 20;
/// Files in level 0 of a store above which its applier waits for a compaction: RocksDB stops writers at 36, but never ingestion.
pub const LEVEL_ZERO_FILES_MAX: u64 = 24;
/// Random bytes a call to `context.random`; from the contract.
pub const RANDOM_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of a component that is taken in: four times the largest useful one seen (Python, 18 MiB).
pub const COMPONENT_BYTES_MAX: u64 = 80 * MIB;
/// Partitions of a file input: bounds tasks; from the interface page.
pub const FILE_PARTITIONS_MAX: u32 = 256;
/// Partitions of a stream: bounds tasks and what a footer lists.
pub const STREAM_PARTITIONS_MAX: u32 = 1024;
/// Partitions of a stream whose job file names none; from the interface page.
pub const STREAM_PARTITIONS_DEFAULT: u32 = 8;
/// Largest split of an input file, in bytes; from the interface page.
pub const SPLIT_BYTES_MAX: u64 = 64 * MIB;
/// Smallest split worth a task of its own, in bytes: below it, opening costs more than sharing gains.
pub const SPLIT_BYTES_MIN: u64 = MIB;
/// Splits that a file input is cut into, about, when it is small: work for a few cores.
pub const SPLITS_WANTED: u64 = 16;
/// Files of one input: bounds the plan, which a start reads at once, to some 100 MiB where names are short; a document's limit bounds it at all events.
pub const INPUT_FILES_MAX: usize = 1_000_000;
/// Bytes that a file source reads at once: large enough that the price of a system call vanishes, small enough for the second-level cache.
pub const SOURCE_READ_BYTES: usize = 512 * 1024;
/// Records of one stored block, by its format: far above what is written today, so that a larger batch stays readable.
pub const BLOCK_RECORDS_MAX: usize = 64 * 1024;
/// Records of a stream partition, of a part, and records or bytes of anything that a task counts: what a stored document may claim. Far above what a
/// job lives to see, and so far below 2^64 that sums of a few can't overflow.
pub const RECORDS_MAX: u64 = 1 << 62;
/// Bytes of one part of a bundle, about: a segment that outgrows it starts another.
pub const PART_BYTES: u64 = 64 * MIB;
/// Bytes of any document of ours (manifest, plan, register): what recovery is willing to read at once.
pub const DOCUMENT_BYTES_MAX: u64 = 256 * MIB;
/// Bytes that a base is taken to have at least, when deltas are weighed against it: below it, a new base costs more than a longer chain; from
/// the checkpoint page.
pub const BASE_BYTES_MIN: u64 = 4 * MIB;
/// Links of a chain above which a base is due whatever its deltas weigh; from the checkpoint page.
pub const CHAIN_LINKS_MAX: usize = 64;
/// Neighbours of like size that are merged into one delta; from the checkpoint page.
pub const MERGED_LINKS: usize = 8;
/// Bytes of deltas that are merged at once: above it a base is nearer than a merge is worth.
pub const MERGED_BYTES_MAX: u64 = 64 * MIB;
/// Every how many checkpoints a full manifest is written; from the checkpoint page.
pub const FULL_MANIFEST_EVERY: u64 = 64;
/// Savepoints of a job: each is a record of the register, and pins what it reaches in the archive.
pub const SAVEPOINTS_MAX: usize = 256;
/// Bytes of deltas below which an apply goes through write batches, above through ingestion; from the checkpoint page.
pub const APPLY_BATCH_BYTES: u64 = 4 * MIB;
/// Bytes applied after which a store is flushed and marked; from the checkpoint page.
pub const APPLIED_MARK_BYTES: u64 = 64 * MIB;
/// Times that a durable write to the archive is tried before the job stops.
pub const SAVE_TRIES: u32 = 3;
/// Times that a call is tried again that failed for a reason outside of its records, before the job stops.
pub const RETRYABLE_TRIES: u32 = 10;
/// Wait before the first of these tries; it doubles each time.
pub const RETRYABLE_WAIT: Duration = Duration::from_millis(100);
/// Wait between two of these tries, at most; half a minute altogether. A task reaches nothing outside of its host, so what passes at all passes soon.
pub const RETRYABLE_WAIT_MAX: Duration = Duration::from_secs(5);
/// Log lines of one task kept a second; more are counted and dropped.
pub const LOG_LINES_A_SECOND: u32 = 100;
/// Records of one task left out of which is told a second, each with its place and why; the others are counted.
pub const SKIP_LINES_A_SECOND: u32 = 10;
/// Bytes of one log line of a task; the rest is cut off.
pub const LOG_LINE_BYTES_MAX: usize = 4096;
/// Metric series of one task; from the list of what a guest can make grow.
pub const METRIC_SERIES_MAX: usize = 256;
/// Open cursors of one call.
pub const CURSORS_MAX: usize = 64;
/// Open store handles of one instance.
pub const STORE_HANDLES_MAX: usize = 1024;
/// Tables of one instance, entries each: function tables of the largest guests have some ten thousand.
pub const TABLE_ENTRIES_MAX: usize = 1_000_000;
/// Core instances, memories and tables of one component instance: Python has 109 core instances (languages page).
pub const CORE_INSTANCES_MAX: u32 = 150;
/// Wall-clock limit of a call as a multiple of its CPU limit; from the contract.
pub const WALL_TIMES_CPU: u32 = 30;
/// Stack of a guest, in bytes.
pub const GUEST_STACK_BYTES: usize = 1024 * 1024;

/// How often a running guest is looked at: bounds by how much a call can pass its limit of time, and how late a stop is seen.
pub const EPOCH_TICK: Duration = Duration::from_millis(5);
/// Bytes of a component's compiled form: five times what the largest one seen takes (Python, 100 MB).
pub const COMPILED_BYTES_MAX: u64 = 512 * MIB;
/// Stack on which a component is compiled, in bytes: twice what threads have by default. Types that are nested too deep for it are refused.
pub const COMPILE_STACK_BYTES: usize = 4 * 1024 * 1024;
/// Stack on which a component is validated again that was compiled before, in bytes: four times as much, so that what fitted then fits now.
pub const VALIDATE_STACK_BYTES: usize = 16 * 1024 * 1024;
/// Functions of a trap's stack that are told, the innermost ones: a deep recursion repeats itself.
pub const TRACE_FRAMES_MAX: NonZeroUsize = NonZeroUsize::new(24).unwrap();
/// Bytes of one file of task logs; one old file of a stage is kept beside it, so that a stage takes twice as much. At the most that a task may log,
/// 100 lines of 4 KiB a second, it holds the last forty seconds; at a line a second, days.
pub const LOG_FILE_BYTES_MAX: u64 = 16 * MIB;
/// Log lines that wait to be written to files: what a thousand lines a second of all tasks come to in four seconds, in which a disk may stall.
pub const LOG_LINES_WAITING_MAX: usize = 4096;
/// Input ports of a component, and output ports: more than any task can tell apart, few enough to list in an error.
pub const PORTS_MAX: usize = 256;
/// Stores of a component: each is a column family with buffers of its own in every task.
pub const STORES_MAX: usize = 64;
/// Bytes of a text for people in a component's description: its name, its version, a port's schema.
pub const DESCRIPTION_TEXT_BYTES_MAX: usize = 4096;
/// Fields of one log line of a task; the rest is left out.
pub const LOG_FIELDS_MAX: usize = 32;
/// Labels of a metric series; the rest is left out.
pub const METRIC_LABELS_MAX: usize = 16;
/// Bytes of a metric's name, or of the name or value of a label; the rest is cut off.
pub const METRIC_TEXT_BYTES_MAX: usize = 256;
/// Open metric handles of one instance, of all kinds: four to a series, for a task that makes them anew instead of keeping them.
pub const METRIC_HANDLES_MAX: usize = 4 * METRIC_SERIES_MAX;
/// Open pollables of one instance: the largest program seen waits for three things at a time.
pub const POLLABLES_MAX: usize = 1024;

/// What it may cost to take a component in. Its bytes are bounded too, but a few kilobytes can be made that take hours to compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// CPU time of the process that compiles it, all threads together, in whole seconds. By the wall clock `WALL_TIMES_CPU` times as much. Default
    /// 120 s: eight times what the largest interpreter seen takes (Python, 15 s).
    pub compile_time: Duration,
    /// Bytes that the process which compiles may have of its own. Default 4 GiB: QuickJS takes 54 times the size of its component,
    /// measured, so that the largest interpreter seen (Python, 18 MiB) takes a quarter of this.
    pub compile_memory_bytes: u64,
    /// CPU time that `describe` may take. Default 1 s: it answers a constant, but an interpreter may have to start for it.
    pub describe_time: Duration,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self { compile_time: Duration::from_secs(120), compile_memory_bytes: 4096 * MIB, describe_time: Duration::from_secs(1) }
    }
}

/// `[limits]` of a job file: for each task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of the instance, in bytes. Default 64 MiB.
    pub memory_bytes: u64,
    /// CPU time of one guest call. Default 1 s.
    pub call_time: Duration,
    /// Bytes of one input record (key and value); a longer one is a poison record. Default 1 MiB.
    pub record_bytes: u64,
    /// Records that a call may emit. Default 1,000,000.
    pub emit_records: u64,
    /// Bytes that a call may emit. Default 64 MiB.
    pub emit_bytes: u64,
    /// Bytes of changes that a task may hold unconfirmed; half of it asks for a checkpoint. Default 128 MiB.
    pub dirty_bytes: u64,
    /// Bytes of output that a task may hold unconfirmed; half of it asks for a checkpoint. Default 64 MiB.
    pub unpublished_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 * MIB,
            call_time: Duration::from_secs(1),
            record_bytes: MIB,
            emit_records: 1_000_000,
            emit_bytes: 64 * MIB,
            dirty_bytes: 128 * MIB,
            unpublished_bytes: 64 * MIB,
        }
    }
}
