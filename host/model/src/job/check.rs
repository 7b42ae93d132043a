//! What the stages of a job must fulfil together. Refuses cycles of stages, streams without a writer or with two, and partition counts that do not
//! fit.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{Job, Source, Stage, Writer};

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
}
