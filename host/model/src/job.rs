//! A job as it was submitted: stages in the order of the job file, ports in the order of each component's description. Refuses to read the TOML
//! text, which is `server`'s; what stages must fulfil together stands in `check`, what may change when a job goes on in `changed`.

mod changed;
mod check;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::limits::{Limits, MIB};
use crate::names::{JobName, PortName, StageName, StoreName, StreamName, TaskId};
pub use changed::Changed;
pub use check::InvalidJob;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// Its stages, in the order of the job file.
    pub stages: Vec<Stage>,
    /// Streams whose records come from outside, by `gregor stream produce`, in the order of the job file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub produced: Vec<Produced>,
    /// When and where checkpoints are made.
    pub checkpoint: CheckpointSettings,
    /// What a task may use.
    pub limits: Limits,
}

/// One component of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stage {
    /// Its name.
    pub name: StageName,
    /// The component, by content.
    pub component: Digest,
    /// Inputs, in the order of the component's description.
    pub inputs: Vec<Input>,
    /// Outputs, in the order of the component's description.
    pub outputs: Vec<Output>,
    /// Stores, in the order of the component's description.
    pub stores: Vec<Store>,
    /// What the task reads as its configuration: each value as its TOML text (of strings: what is between the quotes).
    pub config: BTreeMap<String, String>,
    /// What becomes of a record that the task does not survive.
    pub on_error: OnError,
    /// How often a failed batch is tried again before it is bisected.
    pub retries: u32,
}

/// An input port and what it reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Input {
    /// The port's name.
    pub port: PortName,
    /// What it reads.
    pub source: Source,
}

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source {
    /// Files below a folder.
    File {
        /// The folder, absolute; names never leave it.
        folder: String,
        /// Glob below the folder, or the name of a single file; `**` of a folder given without a pattern.
        pattern: String,
        /// How bytes become records.
        format: Format,
    },
    /// A stream of this job.
    Stream {
        /// The stream's name.
        name: StreamName,
    },
}

/// A stream whose records come from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Produced {
    /// The stream's name.
    pub name: StreamName,
    /// How many partitions it has, 1 to 1,024.
    pub partitions: u32,
}

/// An output port and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Output {
    /// The port's name.
    pub port: PortName,
    /// Where it goes.
    pub sink: Sink,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Sink {
    /// Files in a folder, one a task and checkpoint.
    File {
        /// The folder, absolute.
        folder: String,
        /// How records become bytes.
        format: Format,
    },
    /// A stream of our own.
    Stream {
        /// The stream's name.
        name: StreamName,
        /// How many partitions it has, 1 to 1,024.
        partitions: u32,
    },
}

/// How records look in a file. (A program that is older than a format refuses a stored job that names it.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One value a line, no key.
    Lines,
    /// Key, TAB, value a line.
    Tsv,
    /// One JSON document a line, no key.
    JsonLines,
    /// A header line, then rows; each becomes a JSON object, no key.
    Csv,
    /// The whole file is one value, no key.
    Bytes,
}

impl Format {
    /// The name in job files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Tsv => "tsv",
            Self::JsonLines => "json-lines",
            Self::Csv => "csv",
            Self::Bytes => "bytes",
        }
    }
}

/// Who writes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The tasks of the stage with this index.
    Stage(u16),
    /// `gregor stream produce`, in the name of this task, which has no component and no state.
    Producer(TaskId),
}

/// Where the stages of writers of records from outside are counted from: job files have fewer stages.
const PRODUCERS_FROM: u16 = 0x8000;

/// Index in [`Job::produced`] of the stream on which records are put in the name of a task, if it is such a one.
#[must_use]
pub fn produced_by(task: TaskId) -> Option<usize> {
    task.stage.checked_sub(PRODUCERS_FROM).map(usize::from)
}

/// The task in whose name records are put on the stream with this index in [`Job::produced`].
const fn producer(index: u16) -> TaskId {
    TaskId { stage: PRODUCERS_FROM.saturating_add(index), partition: 0 }
}

/// A store of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Store {
    /// Its name.
    pub name: StoreName,
    /// The version of its keys' and values' meaning.
    pub schema_version: u32,
}

/// What becomes of a record that the task does not survive. (A program that is older than a variant refuses a stored job that names it.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The job stops at its last checkpoint, exit 1.
    Stop,
    /// The record is left out and counted.
    Skip,
    /// The record is left out of the task's input, counted, and put on a stream of the job as it came, see [`crate::dead_letter`].
    DeadLetter {
        /// The stream's name.
        stream: StreamName,
        /// How many partitions it has, 1 to 1,024.
        partitions: u32,
    },
}

impl OnError {
    /// Whether a record at fault is left out, so that the job goes on.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        matches!(self, Self::Skip | Self::DeadLetter { .. })
    }
}

/// `[checkpoint]` of a job file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct CheckpointSettings {
    /// Where the archive is: a folder, absolute; none = inside `--data`.
    pub location: Option<String>,
    /// Time between two checkpoints, at least. Default 10 s.
    pub interval: Duration,
    /// A new base once the deltas outgrow this share of the last one, in thousandths. Default 500.
    pub threshold_permille: u32,
    /// A new base at the latest after this time, if anything has changed. Default 1 h.
    pub base_interval: Duration,
    /// Bytes a second that bases may take of the archive. Default 64 MiB.
    pub base_rate_bytes: u64,
    /// Restore points that are kept. Default 3.
    pub keep: u32,
    /// How long an object that nobody needs any more stays in the archive, for those who are reading it. Default 10 minutes.
    pub collect_grace: Duration,
    /// Objects that are deleted a second. Default 200.
    pub collect_rate: u32,
    /// How long sealing waits for a slow task once another has saved. Default 10 s.
    pub grace: Duration,
    /// How long a checkpoint with nothing saved may take before it is aborted. Default 10 minutes.
    pub deadline: Duration,
    /// How long the coordinator may be out of reach before the job fails. Default 10 minutes.
    pub outage_limit: Duration,
    /// How long a stop may take for its last checkpoint. Default 30 s.
    pub stop_timeout: Duration,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self {
            location: None,
            interval: Duration::from_secs(10),
            threshold_permille: 500,
            base_interval: Duration::from_secs(3600),
            base_rate_bytes: 64 * MIB,
            keep: 3,
            collect_grace: Duration::from_secs(600),
            collect_rate: 200,
            grace: Duration::from_secs(10),
            deadline: Duration::from_secs(600),
            outage_limit: Duration::from_secs(600),
            stop_timeout: Duration::from_secs(30),
        }
    }
}

impl Job {
    /// The streams of the job, those of dead letters and of records from outside among them: writer, name, partitions.
    pub fn streams(&self) -> impl Iterator<Item = (Writer, &StreamName, u32)> {
        let of_stages = (0_u16..)
            .zip(&self.stages)
            .flat_map(|(index, stage)| stage.streams_written().map(move |(name, partitions)| (Writer::Stage(index), name, partitions)));
        // The job may come from a stored spec, with more of them than there are numbers for.
        let produced = (0..=u16::MAX).zip(&self.produced);
        of_stages.chain(produced.map(|(index, stream)| (Writer::Producer(producer(index)), &stream.name, stream.partitions)))
    }

    /// Who writes a stream, and its partitions.
    #[must_use]
    pub fn writer_of(&self, stream: &StreamName) -> Option<(Writer, u32)> {
        self.streams().find(|(_, name, _)| *name == stream).map(|(writer, _, partitions)| (writer, partitions))
    }

    /// Whether what a source gives comes from outside of the job: from files, or from `gregor stream produce`.
    #[must_use]
    pub fn is_outside(&self, source: &Source) -> bool {
        match source {
            Source::File { .. } => true,
            Source::Stream { name } => self.produced.iter().any(|stream| stream.name == *name),
        }
    }

    /// The stage of a task.
    #[must_use]
    pub fn stage_of(&self, task: TaskId) -> Option<&Stage> {
        self.stages.get(usize::from(task.stage))
    }
}

impl Sink {
    /// The stream that it is, with its partitions; none for files.
    #[must_use]
    pub const fn stream(&self) -> Option<(&StreamName, u32)> {
        match self {
            Self::Stream { name, partitions } => Some((name, *partitions)),
            Self::File { .. } => None,
        }
    }
}

impl OnError {
    /// The stream of dead letters, with its partitions, if there is one.
    #[must_use]
    pub const fn stream(&self) -> Option<(&StreamName, u32)> {
        match self {
            Self::DeadLetter { stream, partitions } => Some((stream, *partitions)),
            Self::Stop | Self::Skip => None,
        }
    }
}

impl Stage {
    /// The streams that the stage reads.
    pub fn streams_read(&self) -> impl Iterator<Item = &StreamName> {
        self.inputs.iter().filter_map(|input| match &input.source {
            Source::Stream { name } => Some(name),
            Source::File { .. } => None,
        })
    }

    /// The streams that the stage writes, with their partitions: outputs in order, then dead letters.
    pub fn streams_written(&self) -> impl Iterator<Item = (&StreamName, u32)> {
        self.outputs.iter().filter_map(|output| output.sink.stream()).chain(self.on_error.stream())
    }
}

#[cfg(test)]
mod tests;
