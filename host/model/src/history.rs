//! What the confirmed manifests of a job add up to: for each task its last segment, its base and the chain of deltas that make its state, for
//! each stream partition its head, the parts with runs that somebody has yet to read, and the releases that are open. Refuses manifests that do
//! not follow each other, segments that do not extend the one confirmed before (invariant 2 of the checkpoint page), bases and merged deltas of
//! other segments than those in the chain, and ranges that leave a gap.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::job::{Job, Source, Writer};
use crate::limits::RECORDS_MAX;
use crate::manifest::{Base, Manifest, MergeEntry, ObjectRef, PartEntry, PartRange, Place, Release, SegmentEntry};
use crate::names::{CheckpointNumber, StoreName, StreamName, TaskId};
use crate::seal::origin_of;
use crate::segment::{DeltaContent, DeltaHeader, InputProgress, OnEnd, Position, SegmentHeader};

/// What the manifests up to one of them add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The last manifest taken in.
    pub number: Option<CheckpointNumber>,
    /// Every task that was ever confirmed.
    pub tasks: BTreeMap<TaskId, TaskHistory>,
    /// Offset after the last confirmed record of each stream partition.
    pub heads: BTreeMap<(StreamName, u32), u64>,
    /// Parts with runs, in the order of their confirmation; those that every reader has passed go, see [`forget_read`](Self::forget_read).
    pub parts: Vec<LivePart>,
    /// Output files that wait for their final name.
    pub releases: Vec<Release>,
}

/// A task, as confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskHistory {
    /// Its last segment.
    pub segment: Digest,
    /// The header of that.
    pub header: SegmentHeader,
    /// What its chain begins with.
    pub base: Option<Base>,
    /// Its segments since the base, from the first to the last.
    pub chain: Vec<Link>,
}

/// A segment, or several neighbours merged, in the chain that makes a task's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Link {
    /// The first segment.
    pub first: Digest,
    /// The last segment; the same where nothing was merged.
    pub segment: Digest,
    /// How many segments.
    pub segments: u64,
    /// Its deltas.
    pub deltas: Vec<DeltaLink>,
}

impl Link {
    /// Bytes of its deltas.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.deltas.iter().map(|delta| delta.length).fold(0, u64::saturating_add)
    }
}

/// A delta and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeltaLink {
    /// The store.
    pub store: StoreName,
    /// What it holds.
    #[serde(default, skip_serializing_if = "DeltaContent::is_changes")]
    pub content: DeltaContent,
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

/// A part with runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LivePart {
    /// The part.
    pub part: PartEntry,
    /// The segments whose runs in it were confirmed: task, attempt, sequence.
    pub origins: BTreeSet<(TaskId, u64, u64)>,
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
    /// More records than there can be.
    #[error("manifest {number}: partition {partition} of stream {stream} would have more than {RECORDS_MAX} records")]
    Records {
        /// The manifest.
        number: CheckpointNumber,
        /// The stream.
        stream: StreamName,
        /// The partition.
        partition: u32,
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
        for entry in &manifest.bases {
            self.take_base((number, entry.task), &entry.base)?;
        }
        for entry in &manifest.merges {
            self.merge(manifest, entry)?;
        }
        for entry in &manifest.segments {
            self.extend(manifest, entry)?;
        }
        let origins: BTreeSet<_> = manifest.segments.iter().map(|entry| origin_of(&entry.header)).collect();
        for part in &manifest.parts {
            self.advance(number, part)?;
            if !part.ranges.is_empty() {
                self.parts.push(LivePart { part: part.clone(), origins: origins.clone() });
            }
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
        if !entry.header.is_countable() {
            return Err(wrong("its inputs count more than there can be"));
        }
        if entry.header.parent != self.tasks.get(&task).map(|before| before.segment) {
            return Err(HistoryError::Parent { number, task });
        }
        let deltas = places(manifest, &entry.header.delta, &entry.deltas).ok_or_else(|| wrong("no such part"))?;
        let link = Link { first: entry.hash, segment: entry.hash, segments: 1, deltas };
        let (base, mut chain) = self.tasks.remove(&task).map(|before| (before.base, before.chain)).unwrap_or_default();
        // Without stores there is no state, and nothing to restore.
        if !entry.header.schemas.is_empty() {
            chain.push(link);
        }
        self.tasks.insert(task, TaskHistory { segment: entry.hash, header: entry.header.clone(), base, chain });
        Ok(())
    }

    /// A base takes the place of all links up to its segment.
    fn take_base(&mut self, (number, task): (CheckpointNumber, TaskId), base: &Base) -> Result<(), HistoryError> {
        let wrong = |problem| HistoryError::Entry { number, task, problem };
        let history = self.tasks.get_mut(&task).ok_or_else(|| wrong("has a base but was never confirmed"))?;
        let last = history.chain.iter().position(|link| link.segment == base.segment);
        let last = last.ok_or_else(|| wrong("the base is of a segment that is not in the confirmed chain"))?;
        history.chain.drain(..=last);
        history.base = Some(base.clone());
        Ok(())
    }

    /// Merged deltas take the place of the links that they cover.
    fn merge(&mut self, manifest: &Manifest, entry: &MergeEntry) -> Result<(), HistoryError> {
        let wrong = |problem| HistoryError::Entry { number: manifest.number, task: entry.task, problem };
        let history = self.tasks.get_mut(&entry.task).ok_or_else(|| wrong("has merged deltas but was never confirmed"))?;
        let (first, last) =
            history.merged(entry).ok_or_else(|| wrong("merged deltas are of segments that are not in the confirmed chain"))?;
        if entry.places.len() != entry.delta.len() {
            return Err(wrong("the merged deltas' places do not match them"));
        }
        let deltas = places(manifest, &entry.delta, &entry.places).ok_or_else(|| wrong("no such part"))?;
        let segments = history.chain.iter().take(last + 1).skip(first).map(|link| link.segments).fold(0, u64::saturating_add);
        let link = Link { first: entry.first, segment: entry.last, segments, deltas };
        history.chain.splice(first..=last, [link]);
        Ok(())
    }

    fn advance(&mut self, number: CheckpointNumber, part: &PartEntry) -> Result<(), HistoryError> {
        for range in &part.ranges {
            let head = self.heads.entry((range.stream.clone(), range.partition)).or_insert(0);
            if range.first_offset != *head {
                let (stream, partition) = (range.stream.clone(), range.partition);
                return Err(HistoryError::Gap { number, stream, partition, found: range.first_offset, head: *head });
            }
            let next = head.checked_add(range.records).filter(|next| *next <= RECORDS_MAX);
            let too_many = || HistoryError::Records { number, stream: range.stream.clone(), partition: range.partition };
            *head = next.ok_or_else(too_many)?;
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

    /// Whether no record will ever be added to a stream: every task of the stage that writes it has ended, or whoever produces it has said so.
    #[must_use]
    pub fn is_final(&self, job: &Job, tasks: &[u32], stream: &StreamName) -> bool {
        match job.writer_of(stream) {
            Some((Writer::Stage(stage), _)) => tasks.get(usize::from(stage)).is_some_and(|&count| self.stage_ended(stage, count)),
            Some((Writer::Producer(task), _)) => self.tasks.get(&task).is_some_and(|task| task.header.ended()),
            None => false,
        }
    }

    /// Whether all that there is was worked off, though more may come from outside: every input is done, or stands at the head of a stream that
    /// is not final.
    #[must_use]
    pub fn is_caught_up(&self, job: &Job, tasks: &[u32]) -> bool {
        let mut inputs = (0_u16..).zip(&job.stages).zip(tasks).flat_map(|((stage, inputs), &count)| {
            let ids = (0..count).map(move |partition| TaskId { stage, partition });
            ids.flat_map(|id| inputs.inputs.iter().enumerate().map(move |(at, input)| (id, at, input)))
        });
        inputs.all(|(id, at, input)| {
            let progress = self.tasks.get(&id).and_then(|task| task.header.inputs.get(at));
            let offset = match progress {
                Some(progress) if progress.on_end == OnEnd::Done => return true,
                Some(InputProgress { position: Position::Stream { offset, .. }, .. }) => *offset,
                // A reader without a confirmed segment has read nothing.
                _ => 0,
            };
            matches!(&input.source, Source::Stream { name } if offset == self.head(name, id.partition) && !self.is_final(job, tasks, name))
        })
    }

    /// The head of a stream partition.
    #[must_use]
    pub fn head(&self, stream: &StreamName, partition: u32) -> u64 {
        self.heads.get(&(stream.clone(), partition)).copied().unwrap_or(0)
    }

    /// Forgets parts whose runs every reader has passed. A stream that no stage of the job reads keeps all of its runs.
    pub fn forget_read(&mut self, job: &Job) {
        let mut readers: BTreeMap<&StreamName, Vec<(u16, usize)>> = BTreeMap::new();
        // The job may come from a stored spec, with more stages than there are numbers for.
        for (stage_index, stage) in (0..=u16::MAX).zip(&job.stages) {
            for (input_index, input) in stage.inputs.iter().enumerate() {
                if let Source::Stream { name } = &input.source {
                    readers.entry(name).or_default().push((stage_index, input_index));
                }
            }
        }
        let Self { tasks, parts, .. } = self;
        // A reader without a confirmed segment has read nothing.
        let has_passed = |(stage, input): (u16, usize), range: &PartRange| {
            let progress = tasks.get(&TaskId { stage, partition: range.partition }).and_then(|task| task.header.inputs.get(input));
            let end = range.first_offset.saturating_add(range.records);
            progress.is_some_and(|progress| matches!(progress.position, Position::Stream { offset, .. } if offset >= end))
        };
        let is_read = |range: &PartRange| {
            let of_stream = readers.get(&range.stream).map(Vec::as_slice).unwrap_or_default();
            !of_stream.is_empty() && of_stream.iter().all(|&reader| has_passed(reader, range))
        };
        parts.retain(|live| !live.part.ranges.iter().all(is_read));
    }

    /// Every object of the archive that this history needs, by key: parts with deltas or unread runs, and files of bases.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<&str, &ObjectRef> {
        let bases = self.tasks.values().filter_map(|task| task.base.as_ref()).flat_map(|base| &base.files).map(|file| &file.object);
        let deltas = self.tasks.values().flat_map(|task| &task.chain).flat_map(|link| &link.deltas).map(|delta| &delta.part);
        let runs = self.parts.iter().map(|live| &live.part.object);
        bases.chain(deltas).chain(runs).map(|object| (object.key.as_str(), object)).collect()
    }
}

impl TaskHistory {
    /// Bytes of the deltas since the base.
    #[must_use]
    pub fn delta_bytes(&self) -> u64 {
        self.chain.iter().map(Link::bytes).fold(0, u64::saturating_add)
    }

    /// The first and the last link that merged deltas cover; none if they cover no whole links.
    #[must_use]
    pub fn merged(&self, entry: &MergeEntry) -> Option<(usize, usize)> {
        let first = self.chain.iter().position(|link| link.first == entry.first)?;
        let last = self.chain.iter().position(|link| link.segment == entry.last)?;
        (first <= last).then_some((first, last))
    }

    /// Whether a base covers links of the chain, all or the first of them.
    #[must_use]
    pub fn has_link(&self, segment: Digest) -> bool {
        self.chain.iter().any(|link| link.segment == segment)
    }
}

/// Joins what deltas hold with where they lie; none if a place names no part.
fn places(manifest: &Manifest, delta: &[DeltaHeader], places: &[Place]) -> Option<Vec<DeltaLink>> {
    let joined = delta.iter().zip(places).map(|(delta, place)| {
        let part = usize::try_from(place.part).ok().and_then(|index| manifest.parts.get(index))?;
        let DeltaHeader { store, content, entries, length, sha256 } = delta.clone();
        Some(DeltaLink { store, content, part: part.object.clone(), offset: place.offset, length, sha256, entries })
    });
    joined.collect()
}

#[cfg(test)]
mod tests;
