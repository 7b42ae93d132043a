//! Segments: what one task changed between two freezes, as it is named, hashed and chained. A segment knows no checkpoint number, and its
//! hash covers content and never a place, since compaction moves bytes. Refuses nothing by itself: what may be confirmed is decided in `seal`.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::limits::RECORDS_MAX;
use crate::names::{Attempt, Branch, Incarnation, ProductionId, Sequence, StoreName, StreamName, TaskId};
use crate::part::Origin;

/// The canonical header of a segment. Its hash is the SHA-256 of its JSON as `serde_json` writes it, fields in this order: all of them are
/// integers, texts and lists, so there is one such text only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SegmentHeader {
    /// The job's incarnation.
    pub incarnation: Incarnation,
    /// The task.
    pub task: TaskId,
    /// The line of history.
    pub branch: Branch,
    /// The execution of the task that made it.
    pub attempt: Attempt,
    /// Its number within the attempt.
    pub sequence: Sequence,
    /// The segment before it; none for the first of a task.
    pub parent: Option<Digest>,
    /// Each input's progress after it, in the order of the stage's inputs.
    pub inputs: Vec<InputProgress>,
    /// The task's output watermark in milliseconds since 1970, where it has one.
    pub watermark: Option<i64>,
    /// The component that made it.
    pub component: Digest,
    /// The schema version of each store.
    pub schemas: Vec<u32>,
    /// Changes, one entry for each store that changed.
    pub delta: Vec<DeltaHeader>,
    /// Output runs for streams of our own.
    pub runs: RunsHeader,
    /// Output files, still under temporary names.
    pub files: Vec<FileHeader>,
}

impl SegmentHeader {
    /// The segment's hash.
    #[must_use]
    pub fn hash(&self) -> Digest {
        // Most headers fit: hashes are taken often, by whoever confirms and whoever reads.
        let mut text = Vec::with_capacity(1536);
        // Serializing integers, texts and lists into memory cannot fail; were it to, the empty text's hash matches no segment.
        let written = serde_json::to_writer(&mut text, self);
        Digest::of(written.map_or(&[][..], |()| &text))
    }

    /// Which task, attempt and segment it is.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        Origin { task: self.task, attempt: self.attempt, sequence: self.sequence }
    }

    /// Whether what its inputs count can be: a task goes on counting from there.
    #[must_use]
    pub fn is_countable(&self) -> bool {
        self.inputs.iter().all(|input| input.records <= RECORDS_MAX && input.bytes <= RECORDS_MAX)
    }

    /// Whether the task has nothing more to do: each of its inputs has ended and `on-end` is through.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.inputs.iter().all(|input| input.on_end == OnEnd::Done)
    }
}

/// How far a task has read an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InputProgress {
    /// The next record.
    pub position: Position,
    /// Whether the end has come, and what was done about it.
    pub on_end: OnEnd,
    /// Records of this input that the task has taken since the job began.
    pub records: u64,
    /// Bytes of this input that the task has taken since the job began.
    pub bytes: u64,
    /// Event time of the last record taken, in milliseconds since 1970.
    pub last_timestamp: i64,
}

/// The end of a bounded input, for one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnEnd {
    /// It has not come.
    Open,
    /// It has come (`at-end`); `on-end` was not called, or has answered `more`.
    AtEnd,
    /// `on-end` has answered `done`.
    Done,
}

/// A place in an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Position {
    /// In a file input.
    File {
        /// Digest of the plan object.
        plan: Digest,
        /// Index of the split in the partition's list; its length = all splits are read.
        split: u32,
        /// Byte of the next record's first character in the uncompressed file.
        offset: u64,
    },
    /// In a stream of our own.
    Stream {
        /// The stream's incarnation.
        incarnation: Incarnation,
        /// Offset of the next record.
        offset: u64,
    },
    /// Of records from outside: what was last put on a stream by `gregor stream produce`. (A program that is older refuses such a segment.)
    Outside {
        /// The name that was given to it, so that it is not put there twice.
        id: Option<ProductionId>,
    },
}

/// What a delta file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeltaContent {
    /// All that changed: puts and deletions. Applied as it is.
    #[default]
    Changes,
    /// The deleted keys again, as puts of nothing: no reader of SST files shows a deletion, and whoever merges deltas must keep them.
    Deletions,
}

impl DeltaContent {
    /// Whether these are changes: what headers leave out.
    #[must_use]
    pub const fn is_changes(&self) -> bool {
        matches!(self, Self::Changes)
    }
}

/// A store's changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeltaHeader {
    /// The store.
    pub store: StoreName,
    /// What the file holds.
    #[serde(default, skip_serializing_if = "DeltaContent::is_changes")]
    pub content: DeltaContent,
    /// Keys that changed.
    pub entries: u64,
    /// Bytes of the SST file.
    pub length: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// All runs of a segment. The list itself stands in the footers of its parts; its digest here binds each run's length and digest to the
/// segment's hash, without a manifest that grows with tasks × partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunsHeader {
    /// How many.
    pub count: u64,
    /// Records in all of them.
    pub records: u64,
    /// Digest of the JSON list of the [`Run`]s, sorted by stream, partition, ordinal.
    pub sha256: Digest,
}

impl RunsHeader {
    /// Sums up the runs of a segment, in any order.
    #[must_use]
    pub fn of(runs: &[Run]) -> Self {
        let mut sorted: Vec<&Run> = runs.iter().collect();
        sorted.sort_by(|a, b| (&a.stream, a.partition, a.ordinal).cmp(&(&b.stream, b.partition, b.ordinal)));
        Self {
            count: sorted.len() as u64,
            records: sorted.iter().map(|run| run.records).sum(),
            sha256: Digest::of(&serde_json::to_vec(&sorted).unwrap_or_default()),
        }
    }
}

/// Consecutive blocks that one task wrote for one stream partition in one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The stream.
    pub stream: StreamName,
    /// The partition.
    pub partition: u32,
    /// Its place among the segment's runs for this partition, from 0: a segment that outgrows memory is written in several parts.
    pub ordinal: u32,
    /// Bytes.
    pub length: u64,
    /// Records.
    pub records: u64,
    /// Digest of the bytes.
    pub sha256: Digest,
}

/// An output file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileHeader {
    /// Index of the stage's output.
    pub output: u16,
    /// Its temporary name in the output's folder.
    pub temporary: String,
    /// Bytes.
    pub length: u64,
    /// Records.
    pub records: u64,
    /// Digest of the bytes.
    pub sha256: Digest,
}

/// Name of the hidden file that a task writes until its segment is confirmed: from task, attempt and sequence, so that no two attempts ever
/// write the same one. `stage` is the stage's name, `port` the output's.
#[must_use]
pub fn temporary_name(incarnation: Incarnation, (stage, port): (&str, &str), header: (u32, Attempt, Sequence)) -> String {
    let (task, attempt, sequence) = header;
    format!("._{incarnation}-{stage}-{port}-{task}-{attempt}-{sequence}.tmp")
}

/// Whether a name is that of a temporary file of this incarnation that an attempt before `attempt` has written. Those go at a start, once all open
/// releases are performed. Those of later attempts never do: a host that was asleep between its claim and this may wake up when another one has
/// claimed the job, and confirmed files that still wait for their names.
#[must_use]
pub fn is_leftover(name: &str, incarnation: Incarnation, attempt: Attempt) -> bool {
    let rest = name.strip_prefix("._").and_then(|rest| rest.strip_prefix(&incarnation.to_string())).and_then(|rest| rest.strip_prefix('-'));
    let words = rest.and_then(|rest| rest.strip_suffix(".tmp")).map(|rest| rest.split('-').collect::<Vec<_>>());
    // Stage, port, task, attempt, sequence; names of stages and ports hold no dash.
    match words.as_deref() {
        Some([_, _, _, of, _]) => of.parse().is_ok_and(|of| Attempt(of) < attempt),
        _ => false,
    }
}

/// Final name of an output file: `part-<stage>[-<port>]-<task>-<N>`; the port is named only where the stage has several file outputs in that
/// folder.
#[must_use]
pub fn final_name(stage: &str, port: Option<&str>, task: u32, number: u64) -> String {
    match port {
        Some(port) => format!("part-{stage}-{port}-{task}-{number}"),
        None => format!("part-{stage}-{task}-{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_files_of_earlier_attempts_are_leftovers() {
        let name = |incarnation, attempt| temporary_name(Incarnation(incarnation), ("s", "out_1"), (3, Attempt(attempt), Sequence(9)));
        let cases = [
            (name(1, 4), true, "an earlier attempt"),
            (name(1, 5), false, "this attempt"),
            (name(1, 6), false, "a later attempt"),
            (name(2, 4), false, "another incarnation"),
            (final_name("s", None, 3, 9), false, "a final name"),
            ("._gregor".to_owned(), false, "the marker"),
            (name(1, 4).replace("-9.tmp", ".tmp"), false, "no name of ours"),
        ];
        for (name, expected, what) in cases {
            assert_eq!(is_leftover(&name, Incarnation(1), Attempt(5)), expected, "{what}: {name}");
        }
    }
}
