//! What the confirmed manifests of a job add up to: for each task its last segment and the chain of deltas that make its state, for each stream
//! partition its head, and the releases that are open. Refuses manifests that do not follow each other, segments that do not extend the one
//! confirmed before (invariant 2 of the checkpoint page), and ranges that leave a gap.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::digest::Digest;
use crate::job::Job;
use crate::manifest::{Manifest, ObjectRef, PartEntry, Release, SegmentEntry};
use crate::names::{CheckpointNumber, StoreName, StreamName, TaskId};
use crate::segment::SegmentHeader;

/// What the manifests up to one of them add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The last manifest taken in.
    pub number: Option<CheckpointNumber>,
    /// Every task that was ever confirmed.
    pub tasks: BTreeMap<TaskId, TaskHistory>,
    /// Offset after the last confirmed record of each stream partition.
    pub heads: BTreeMap<(StreamName, u32), u64>,
    /// Output files that wait for their final name.
    pub releases: Vec<Release>,
}

/// A task, as confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskHistory {
    /// Its last segment.
    pub segment: Digest,
    /// The header of that.
    pub header: SegmentHeader,
    /// All of its segments, from the first to the last.
    pub chain: Vec<Link>,
}

/// A segment in the chain that makes a task's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The segment.
    pub segment: Digest,
    /// Its deltas.
    pub deltas: Vec<DeltaLink>,
}

/// A delta and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaLink {
    /// The store.
    pub store: StoreName,
    /// The part that holds it.
    pub part: ObjectRef,
    /// First byte in the part.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Digest of the delta.
    pub sha256: Digest,
    /// Keys in it.
    pub entries: u64,
}

/// Why manifests do not make a history.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// A manifest names another predecessor than the one before it.
    #[error("manifest {number} follows {predecessor:?}, but the one before it is {before:?}")]
    Predecessor {
        /// The manifest.
        number: CheckpointNumber,
        /// What it says.
        predecessor: Option<CheckpointNumber>,
        /// What there is.
        before: Option<CheckpointNumber>,
    },
    /// A segment whose parent is not the one confirmed before it.
    #[error("manifest {number}: task {task} has a segment that does not extend the one confirmed before it")]
    Parent {
        /// The manifest.
        number: CheckpointNumber,
        /// The task.
        task: TaskId,
    },
    /// An entry that contradicts itself.
    #[error("manifest {number}: task {task}: {problem}")]
    Entry {
        /// The manifest.
        number: CheckpointNumber,
        /// The task.
        task: TaskId,
        /// What is wrong.
        problem: &'static str,
    },
    /// Records that do not begin where the partition ended.
    #[error("manifest {number}: partition {partition} of stream {stream} goes on at {found}, its head is {head}")]
    Gap {
        /// The manifest.
        number: CheckpointNumber,
        /// The stream.
        stream: StreamName,
        /// The partition.
        partition: u32,
        /// The offset found.
        found: u64,
        /// The offset expected.
        head: u64,
    },
}

impl History {
    /// Takes in the next manifest.
    ///
    /// # Errors
    /// It does not follow from what was taken in; nothing of it is kept then but what was taken in before the contradiction, so the history
    /// must not be used further.
    pub fn apply(&mut self, manifest: &Manifest) -> Result<(), HistoryError> {
        let number = manifest.number;
        let predecessor = manifest.predecessor.as_ref().map(|reference| reference.number);
        if predecessor != self.number || self.number.is_some_and(|before| before >= number) {
            return Err(HistoryError::Predecessor { number, predecessor, before: self.number });
        }
        for entry in &manifest.segments {
            self.extend(manifest, entry)?;
        }
        for part in &manifest.parts {
            self.advance(number, part)?;
        }
        self.releases.clone_from(&manifest.releases);
        self.number = Some(number);
        Ok(())
    }

    fn extend(&mut self, manifest: &Manifest, entry: &SegmentEntry) -> Result<(), HistoryError> {
        let (number, task) = (manifest.number, entry.header.task);
        let wrong = |problem| HistoryError::Entry { number, task, problem };
        if entry.header.hash() != entry.hash {
            return Err(wrong("the segment's header does not match its hash"));
        }
        if entry.header.incarnation != manifest.incarnation || entry.header.branch != manifest.branch {
            return Err(wrong("the segment belongs to another incarnation or branch"));
        }
        if entry.deltas.len() != entry.header.delta.len() {
            return Err(wrong("the deltas' places do not match the header"));
        }
        if entry.header.parent != self.tasks.get(&task).map(|before| before.segment) {
            return Err(HistoryError::Parent { number, task });
        }
        let deltas = entry.header.delta.iter().zip(&entry.deltas).map(|(delta, place)| {
            let part = usize::try_from(place.part).ok().and_then(|index| manifest.parts.get(index)).ok_or_else(|| wrong("no such part"))?;
            let (store, part) = (delta.store.clone(), part.object.clone());
            Ok(DeltaLink { store, part, offset: place.offset, length: delta.length, sha256: delta.sha256, entries: delta.entries })
        });
        let link = Link { segment: entry.hash, deltas: deltas.collect::<Result<_, _>>()? };
        let mut chain = self.tasks.remove(&task).map(|before| before.chain).unwrap_or_default();
        chain.push(link);
        self.tasks.insert(task, TaskHistory { segment: entry.hash, header: entry.header.clone(), chain });
        Ok(())
    }

    fn advance(&mut self, number: CheckpointNumber, part: &PartEntry) -> Result<(), HistoryError> {
        for range in &part.ranges {
            let head = self.heads.entry((range.stream.clone(), range.partition)).or_insert(0);
            if range.first_offset != *head {
                let (stream, partition) = (range.stream.clone(), range.partition);
                return Err(HistoryError::Gap { number, stream, partition, found: range.first_offset, head: *head });
            }
            *head += range.records;
        }
        Ok(())
    }

    /// Whether the job has nothing more to do: every task has ended and no release is open. `tasks` is the number of tasks of each stage.
    #[must_use]
    pub fn finished(&self, tasks: &[u32]) -> bool {
        self.releases.is_empty() && (0_u16..).zip(tasks).all(|(stage, &count)| self.stage_ended(stage, count))
    }

    /// Whether every task of a stage has ended, in confirmed segments.
    #[must_use]
    pub fn stage_ended(&self, stage: u16, tasks: u32) -> bool {
        (0..tasks).all(|partition| self.tasks.get(&TaskId { stage, partition }).is_some_and(|task| task.header.ended()))
    }

    /// Whether no record will ever be added to a stream: every task of the stage that writes it has ended.
    #[must_use]
    pub fn is_final(&self, job: &Job, tasks: &[u32], stream: &StreamName) -> bool {
        job.writer_of(stream).is_some_and(|(stage, _)| tasks.get(usize::from(stage)).is_some_and(|&count| self.stage_ended(stage, count)))
    }

    /// The head of a stream partition.
    #[must_use]
    pub fn head(&self, stream: &StreamName, partition: u32) -> u64 {
        self.heads.get(&(stream.clone(), partition)).copied().unwrap_or(0)
    }

    /// Forgets the chains of deltas, which only recovery needs, so that a running job does not grow with the number of its checkpoints.
    pub fn forget_chains(&mut self) {
        for task in self.tasks.values_mut() {
            task.chain.clear();
        }
    }
}
