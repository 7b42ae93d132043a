//! Sealing: from what the tasks have saved to the manifest of N, and to the offsets of the records in it. Refuses a segment whose parent is not
//! the one confirmed before: such an attempt has been replaced, or its segment was confirmed already.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::digest::Digest;
use crate::history::History;
use crate::job::{Job, Sink};
use crate::manifest::{BaseEntry, Manifest, ManifestRef, MergeEntry, ObjectRef, PartEntry, PartRange, Place, Release, SegmentEntry};
use crate::names::{Branch, CheckpointNumber, Incarnation, StreamName, TaskId, Term};
use crate::part::{Footer, FooterAt, Origin, RunAt};
use crate::segment::{DeltaHeader, SegmentHeader, final_name};

/// A part that is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedPart {
    /// Its object.
    pub object: ObjectRef,
    /// Its length in bytes.
    pub length: u64,
    /// Where its footer lies.
    pub footer_at: FooterAt,
    /// Its footer.
    pub footer: Footer,
}

/// A segment that is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSegment {
    /// Its hash.
    pub hash: Digest,
    /// Its header.
    pub header: SegmentHeader,
    /// Where each entry of the header's delta begins in the group's first part.
    pub deltas: Vec<u64>,
}

/// Segments that were saved together, in one part; those that have neither delta nor runs need none, and the runs of one that outgrew memory
/// have several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedGroup {
    /// The parts, in the order of the runs' ordinals; all deltas lie in the first.
    pub parts: Vec<SavedPart>,
    /// The segments.
    pub segments: Vec<SavedSegment>,
}

/// Deltas that were merged and saved together, in one part; segments that changed nothing need none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedMerges {
    /// The part.
    pub part: Option<SavedPart>,
    /// The merges.
    pub merges: Vec<SavedMerge>,
}

/// Merged deltas of neighbouring segments of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedMerge {
    /// The task.
    pub task: TaskId,
    /// The first segment that is covered.
    pub first: Digest,
    /// The last segment that is covered.
    pub last: Digest,
    /// What the deltas hold.
    pub delta: Vec<DeltaHeader>,
    /// Where each of them begins in the part.
    pub offsets: Vec<u64>,
}

/// What an offered segment is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It extends the confirmed one: it goes into the manifest.
    Taken,
    /// It is the confirmed one: a repeated offer.
    Confirmed,
    /// Anything else: its attempt was replaced.
    Replaced,
}

/// Judges an offer.
#[must_use]
pub fn judge(history: &History, offer: &SavedSegment) -> Verdict {
    let confirmed = history.tasks.get(&offer.header.task).map(|task| task.segment);
    if confirmed == Some(offer.hash) {
        Verdict::Confirmed
    } else if offer.header.parent == confirmed {
        Verdict::Taken
    } else {
        Verdict::Replaced
    }
}

/// Whose manifest it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealing {
    /// N.
    pub number: CheckpointNumber,
    /// The job's incarnation.
    pub incarnation: Incarnation,
    /// The line of history.
    pub branch: Branch,
    /// The leader.
    pub term: Term,
    /// When N was created, milliseconds since 1970.
    pub created_at_ms: u64,
    /// The confirmed checkpoint before it.
    pub predecessor: Option<ManifestRef>,
    /// Tasks that were asked but have not saved.
    pub left_out: BTreeSet<TaskId>,
    /// Final names, by folder, of the releases that were performed since.
    pub performed: BTreeSet<(TaskId, u16, String)>,
    /// Bases that wait for a manifest.
    pub bases: Vec<BaseEntry>,
    /// Merged deltas that wait for a manifest.
    pub merges: Vec<SavedMerges>,
}

/// A run with the offset of its first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedRun {
    /// The part that holds it.
    pub part: ObjectRef,
    /// Its place there.
    pub at: RunAt,
    /// Offset of its first record in its partition.
    pub first_offset: u64,
}

/// A job without a stage, output or port that its own segment names: an invariant of ours is broken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("segment of task {task} names output {output}, which the job has not")]
pub struct UnknownOutput {
    /// The task.
    pub task: TaskId,
    /// The output's index.
    pub output: u16,
}

/// Makes the manifest of N (not yet a full one) and gives offsets to its runs.
///
/// # Errors
/// A segment names an output that the job has not.
pub fn seal(history: &History, job: &Job, sealing: Sealing, groups: &[SavedGroup]) -> Result<(Manifest, Vec<PublishedRun>), UnknownOutput> {
    let (mut parts, mut segments, mut published) = (Vec::new(), Vec::new(), Vec::new());
    let mut heads = history.heads.clone();
    // One segment a task: an offer that was repeated before its number was decided stands in two groups. Taken twice, it would double its records,
    // and no history would follow from the manifest.
    let mut tasks = BTreeSet::new();
    for group in groups {
        let extends = |offer: &&SavedSegment| judge(history, offer) == Verdict::Taken && tasks.insert(offer.header.task);
        let taken: Vec<&SavedSegment> = group.segments.iter().filter(extends).collect();
        if taken.is_empty() {
            continue;
        }
        let index = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        segments.extend(taken.iter().map(|offer| SegmentEntry {
            hash: offer.hash,
            header: offer.header.clone(),
            deltas: offer.deltas.iter().map(|&offset| Place { part: index, offset }).collect(),
        }));
        let origins: BTreeSet<_> = taken.iter().map(|offer| origin_of(&offer.header)).collect();
        for part in &group.parts {
            let runs = publish(&part.object, &part.footer, &origins, &mut heads);
            parts.push(PartEntry { object: part.object.clone(), length: part.length, footer: part.footer_at, ranges: ranges_of(&runs) });
            published.extend(runs);
        }
    }
    segments.sort_by_key(|entry| entry.header.task);
    let releases = releases(history, job, &sealing, &segments)?;
    let Sealing { number, incarnation, branch, term, created_at_ms, predecessor, left_out, bases, merges, .. } = sealing;
    let bases = bases.into_iter().filter(|entry| is_taken(history, entry)).collect();
    let merges = take_merges(history, merges, &mut parts);
    let left_out = left_out.into_iter().collect();
    let manifest = Manifest {
        number,
        incarnation,
        branch,
        term,
        created_at_ms,
        predecessor,
        pages: None,
        full: None,
        segments,
        parts,
        left_out,
        releases,
        bases,
        merges,
        times: None,
    };
    Ok((manifest, published))
}

/// Whether a base's segment is in the confirmed chain; one that is not was made under an attempt that was replaced.
fn is_taken(history: &History, entry: &BaseEntry) -> bool {
    history.tasks.get(&entry.task).is_some_and(|task| task.has_link(entry.base.segment))
}

/// Merged deltas whose segments are links of the confirmed chain, with their parts.
fn take_merges(history: &History, saved: Vec<SavedMerges>, parts: &mut Vec<PartEntry>) -> Vec<MergeEntry> {
    let mut taken = Vec::new();
    for SavedMerges { part, merges } in saved {
        let index = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let entries = merges.into_iter().map(|SavedMerge { task, first, last, delta, offsets }| {
            let places = offsets.into_iter().map(|offset| Place { part: index, offset }).collect();
            MergeEntry { task, first, last, delta, places }
        });
        let before = taken.len();
        taken.extend(entries.filter(|entry| history.tasks.get(&entry.task).is_some_and(|task| task.merged(entry).is_some())));
        if let Some(part) = part.filter(|_| taken.len() > before) {
            parts.push(PartEntry { object: part.object, length: part.length, footer: part.footer_at, ranges: Vec::new() });
        }
    }
    taken
}

/// Gives offsets to the runs of a part that belong to the segments named, in the order of the footer, and moves the heads. The same in sealing
/// and in recovery, so that both agree.
pub fn publish(
    part: &ObjectRef,
    footer: &Footer,
    origins: &BTreeSet<(TaskId, u64, u64)>,
    heads: &mut BTreeMap<(StreamName, u32), u64>,
) -> Vec<PublishedRun> {
    let mut runs = Vec::new();
    for at in &footer.runs {
        if !origins.contains(&(at.task, at.attempt.0, at.sequence.0)) {
            continue;
        }
        let head = heads.entry((at.run.stream.clone(), at.run.partition)).or_insert(0);
        runs.push(PublishedRun { part: part.clone(), at: at.clone(), first_offset: *head });
        *head += at.run.records;
    }
    runs
}

/// A segment's origin as footers name it.
#[must_use]
pub const fn origin_of(header: &SegmentHeader) -> (TaskId, u64, u64) {
    let Origin { task, attempt, sequence } = header.origin();
    (task, attempt.0, sequence.0)
}

fn ranges_of(runs: &[PublishedRun]) -> Vec<PartRange> {
    let mut ranges: Vec<PartRange> = Vec::new();
    for run in runs {
        let (stream, partition, records) = (&run.at.run.stream, run.at.run.partition, run.at.run.records);
        match ranges.last_mut().filter(|range| range.stream == *stream && range.partition == partition) {
            Some(range) => range.records += records,
            None => ranges.push(PartRange { stream: stream.clone(), partition, first_offset: run.first_offset, records }),
        }
    }
    ranges
}

fn releases(history: &History, job: &Job, sealing: &Sealing, segments: &[SegmentEntry]) -> Result<Vec<Release>, UnknownOutput> {
    let still_open =
        history.releases.iter().filter(|open| !sealing.performed.contains(&(open.task, open.output, open.name.clone()))).cloned();
    let mut releases: Vec<Release> = still_open.collect();
    for entry in segments {
        let task = entry.header.task;
        for file in &entry.header.files {
            let name = output_name(job, task, file.output, sealing.number).ok_or(UnknownOutput { task, output: file.output })?;
            let (output, temporary, length, sha256) = (file.output, file.temporary.clone(), file.length, file.sha256);
            releases.push(Release { task, output, temporary, name, length, sha256 });
        }
    }
    Ok(releases)
}

/// The final name of an output file of N; the port is part of it where the stage writes several ports into the same folder.
fn output_name(job: &Job, task: TaskId, output: u16, number: CheckpointNumber) -> Option<String> {
    let stage = job.stage_of(task)?;
    let own = stage.outputs.get(usize::from(output))?;
    let Sink::File { folder, .. } = &own.sink else { return None };
    let shares = stage.outputs.iter().filter(|other| matches!(&other.sink, Sink::File { folder: theirs, .. } if theirs == folder)).count();
    let port = (shares > 1).then(|| own.port.as_str());
    Some(final_name(stage.name.as_str(), port, task.partition, number.0))
}

#[cfg(test)]
mod tests;
