//! A job as it was submitted and found valid: stages in the order of the job file, ports in the order of each component's description.
//! Reading the TOML text is `server`'s; here a job is compared with the one that the last checkpoint was made by. Refuses cycles of stages,
//! streams without a writer or with two, and partition counts that do not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::limits::{Limits, MIB};
use crate::names::{JobName, PortName, StageName, StoreName, StreamName, TaskId};

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

/// Why stages do not make a job.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidJob {
    /// Two stages of one name.
    #[error("stage {0:?} is there twice; give each stage a name of its own")]
    StageTwice(String),
    /// A stream that two outputs write.
    #[error(
        "stream {0:?} is written by more than one output, dead letters and [[stream]] counted; a stream has one writer: give each a stream of its own"
    )]
    WrittenTwice(String),
    /// A stream that records from outside come to, and that no stage reads.
    #[error("stream {0:?} takes records from outside, but no stage reads it; let one read it, or leave its [[stream]] out")]
    NotRead(String),
    /// A stream that is read but written by no stage.
    #[error(
        "stage {stage:?} reads stream {stream:?}, which no stage of this job writes and no [[stream]] declares; the streams that there are: {written}"
    )]
    NotWritten {
        /// The reading stage.
        stage: String,
        /// The stream.
        stream: String,
        /// The streams that there are.
        written: String,
    },
    /// Stages that wait for each other.
    #[error("stages {0} read each other's streams in a circle; break it, an input could never end")]
    Cycle(String),
    /// Inputs of one stage with different partition counts.
    #[error(
        "stage {stage:?}: input {port:?} has {found} partitions, the inputs before it {expected}; the inputs of a stage must have equal counts"
    )]
    Partitions {
        /// The stage.
        stage: String,
        /// The input that differs.
        port: String,
        /// Its count.
        found: u32,
        /// The count of the inputs before it.
        expected: u32,
    },
    /// A stage without an input.
    #[error("stage {0:?} has no input; a task is made for each partition of its inputs")]
    NoInput(String),
}

/// Something that may not change between two runs on the same data but did.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} is now {now}, at the last checkpoint it was {before}; put it back, or start anew with another --data and output folder")]
pub struct Changed {
    /// What it is, with its stage.
    pub what: String,
    /// Its value then.
    pub before: String,
    /// Its value now.
    pub now: String,
}

impl Job {
    /// Checks what stages must fulfil together.
    ///
    /// # Errors
    /// See [`InvalidJob`].
    pub fn check(&self) -> Result<(), InvalidJob> {
        let mut names = BTreeSet::new();
        for stage in &self.stages {
            if !names.insert(&stage.name) {
                return Err(InvalidJob::StageTwice(stage.name.to_string()));
            }
            if stage.inputs.is_empty() {
                return Err(InvalidJob::NoInput(stage.name.to_string()));
            }
        }
        self.check_streams()?;
        self.order().map(drop)
    }

    fn check_streams(&self) -> Result<(), InvalidJob> {
        let mut written = BTreeSet::new();
        for (_, name, _) in self.streams() {
            if !written.insert(name) {
                return Err(InvalidJob::WrittenTwice(name.to_string()));
            }
        }
        let is_read = |name| self.stages.iter().flat_map(Stage::streams_read).any(|read| read == name);
        if let Some(unread) = self.produced.iter().find(|stream| !is_read(&stream.name)) {
            return Err(InvalidJob::NotRead(unread.name.to_string()));
        }
        for stage in &self.stages {
            for name in stage.streams_read() {
                if !written.contains(name) {
                    let written = written.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                    return Err(InvalidJob::NotWritten { stage: stage.name.to_string(), stream: name.to_string(), written });
                }
            }
        }
        Ok(())
    }

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

    /// Indexes of the stages so that each comes after all that it reads from.
    ///
    /// # Errors
    /// Stages read each other in a circle.
    pub fn order(&self) -> Result<Vec<u16>, InvalidJob> {
        let mut order: Vec<u16> = Vec::new();
        while order.len() < self.stages.len() {
            let ready = (0_u16..).zip(&self.stages).find(|(index, stage)| {
                !order.contains(index)
                    && stage.streams_read().all(|name| match self.writer_of(name) {
                        Some((Writer::Stage(writer), _)) => order.contains(&writer),
                        Some((Writer::Producer(_), _)) | None => true,
                    })
            });
            let Some((index, _)) = ready else {
                let stuck: Vec<&str> =
                    (0_u16..).zip(&self.stages).filter(|(index, _)| !order.contains(index)).map(|(_, stage)| stage.name.as_str()).collect();
                return Err(InvalidJob::Cycle(stuck.join(", ")));
            };
            order.push(index);
        }
        Ok(order)
    }

    /// How many tasks each stage has, given the partitions of each file input by (stage, input index).
    ///
    /// # Errors
    /// The inputs of a stage have different counts.
    pub fn tasks(&self, file_partitions: &BTreeMap<(u16, u16), u32>) -> Result<Vec<u32>, InvalidJob> {
        (0_u16..)
            .zip(&self.stages)
            .map(|(index, stage)| {
                let mut count = None;
                for (at, input) in (0_u16..).zip(&stage.inputs) {
                    let found = match &input.source {
                        Source::File { .. } => file_partitions.get(&(index, at)).copied().unwrap_or(1),
                        Source::Stream { name } => self.writer_of(name).map_or(1, |(_, partitions)| partitions),
                    };
                    let expected = *count.get_or_insert(found);
                    if found != expected {
                        return Err(InvalidJob::Partitions {
                            stage: stage.name.to_string(),
                            port: input.port.to_string(),
                            found,
                            expected,
                        });
                    }
                }
                Ok(count.unwrap_or(1))
            })
            .collect()
    }

    /// The stage of a task.
    #[must_use]
    pub fn stage_of(&self, task: TaskId) -> Option<&Stage> {
        self.stages.get(usize::from(task.stage))
    }

    /// What differs from the job that the last checkpoint was made by, leaving out what may change: `[checkpoint]` but its location, `[limits]`, and
    /// of a stage `on-error`, `dead-letter` and `retries`, which alter nothing that is stored: a job that stopped at a record can so go on without
    /// it. A stream of dead letters that a stage reads can't be given up by that, since its reader may not change: [`check`](Self::check) finds a
    /// stream without a writer. One that begins on resume is claimed then (`Register::claimed`), one that is given up keeps its records.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Option<Changed> {
        let changed = |what: String, before: String, now: String| (before != now).then_some(Changed { what, before, now });
        let names = |job: &Self| job.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>().join(", ");
        let location = |job: &Self| job.checkpoint.location.clone().unwrap_or_else(|| "inside --data".to_owned());
        changed("the job's name".to_owned(), before.name.to_string(), self.name.to_string())
            .or_else(|| changed("the list of stages".to_owned(), names(before), names(self)))
            .or_else(|| changed("the list of [[stream]]".to_owned(), text_of(&before.produced), text_of(&self.produced)))
            .or_else(|| changed("checkpoint.location".to_owned(), location(before), location(self)))
            .or_else(|| before.stages.iter().zip(&self.stages).find_map(|(before, now)| now.changed_since(before)))
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

    fn changed_since(&self, before: &Self) -> Option<Changed> {
        let fields = [
            ("component", before.component.to_string(), self.component.to_string()),
            ("inputs", text_of(&before.inputs), text_of(&self.inputs)),
            ("outputs", text_of(&before.outputs), text_of(&self.outputs)),
            ("stores", text_of(&before.stores), text_of(&self.stores)),
            ("config", text_of(&before.config), text_of(&self.config)),
        ];
        fields.into_iter().find(|(_, before, now)| before != now).map(|(field, before, now)| Changed {
            what: format!("stage {:?}: {field}", self.name.as_str()),
            before,
            now,
        })
    }
}

/// A value as people read it in an error.
fn text_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| error.to_string())
}

#[cfg(test)]
mod tests;
