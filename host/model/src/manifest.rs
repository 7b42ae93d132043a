//! The manifest of a checkpoint: what N consists of. It lists this N's segments and parts only and names its predecessor; every 64th is full:
//! it also says what all manifests before it add up to, in pages that are unchanged most of the time, so that recovery reads few objects, old
//! manifests may go, and a checkpoint costs what changed.
//! Refuses nothing here: whether a manifest counts is said by the coordinator's record, never by its being there.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::document::Kind;
use crate::names::{Branch, CheckpointNumber, Incarnation, StreamName, TaskId, Term};
use crate::part::FooterAt;
use crate::segment::{DeltaHeader, SegmentHeader};

/// How a manifest is stored. Version 1 had neither bases nor merged deltas, and full ones named pages of manifests.
pub const MANIFEST: Kind = Kind { name: "manifest", version: 2 };
/// How a page of manifests is stored: a list of [`Manifest`]s in the order of their numbers. Only read: manifests of version 1 name such pages.
pub const PAGE: Kind = Kind { name: "manifest-page", version: 1 };

/// An object of the archive, by key and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ObjectRef {
    /// Its key.
    pub key: String,
    /// The digest of all of its bytes.
    pub sha256: Digest,
}

/// A confirmed manifest, by number and object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManifestRef {
    /// Its checkpoint.
    pub number: CheckpointNumber,
    /// Its object.
    pub object: ObjectRef,
}

/// A page: the manifests of consecutive confirmed checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PageRef {
    /// The first checkpoint in it.
    pub first: CheckpointNumber,
    /// The last checkpoint in it.
    pub last: CheckpointNumber,
    /// Its object.
    pub object: ObjectRef,
}

/// The manifest of one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// N.
    pub number: CheckpointNumber,
    /// The job's incarnation.
    pub incarnation: Incarnation,
    /// The line of history.
    pub branch: Branch,
    /// The leader that sealed it.
    pub term: Term,
    /// When N was created, milliseconds since 1970.
    pub created_at_ms: u64,
    /// The confirmed checkpoint before it.
    pub predecessor: Option<ManifestRef>,
    /// All manifests before it, in pages: present in a full manifest of version 1, never written any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<Vec<PageRef>>,
    /// What all manifests before it add up to: present in a full manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Full>,
    /// The segments of N, in the order of their tasks.
    pub segments: Vec<SegmentEntry>,
    /// The parts of N.
    pub parts: Vec<PartEntry>,
    /// Tasks that were asked but had not saved in time.
    pub left_out: Vec<TaskId>,
    /// Output files that wait for their final name, of N and of checkpoints before it.
    pub releases: Vec<Release>,
    /// Bases that take the place of what their tasks' chains began with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<BaseEntry>,
    /// Merged deltas that take the place of several in their tasks' chains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merges: Vec<MergeEntry>,
    /// How long the steps before it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

/// How long the steps of a checkpoint took until it was sealed, for people: nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Times {
    /// From falling due until the number was written down, milliseconds.
    pub create_ms: u64,
    /// From then until all that it consists of was saved, milliseconds.
    pub save_ms: u64,
}

/// What the manifests before a full one add up to, in objects that the next full one names again where nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Full {
    /// Tasks, in the order of their ids: documents of kind [`TASKS`](crate::snapshot::TASKS).
    pub tasks: Vec<ObjectRef>,
    /// Parts with runs that somebody has yet to read, in the order of their confirmation: documents of kind [`PARTS`](crate::snapshot::PARTS).
    pub parts: Vec<ObjectRef>,
    /// Heads of stream partitions, in order.
    pub heads: Vec<Head>,
}

/// The head of a stream partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Head {
    /// The stream.
    pub stream: StreamName,
    /// The partition.
    pub partition: u32,
    /// Offset after its last record.
    pub offset: u64,
}

/// A base: the files of a task's stores as they were after a confirmed segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BaseEntry {
    /// The task.
    pub task: TaskId,
    /// The base.
    pub base: Base,
}

/// A full image of a task's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Base {
    /// The last segment that it covers; it covers all before it.
    pub segment: Digest,
    /// When it was made, milliseconds since 1970.
    pub created_at_ms: u64,
    /// Its files, in the order of their names.
    pub files: Vec<BaseFile>,
}

impl Base {
    /// Bytes of all of its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).fold(0, u64::saturating_add)
    }
}

/// A file of a base, an object of its own: most of them stay from one base to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BaseFile {
    /// Its name in the store's folder.
    pub name: String,
    /// Where its bytes are.
    pub object: ObjectRef,
    /// Bytes.
    pub length: u64,
}

/// Deltas of neighbouring segments of a task, merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MergeEntry {
    /// The task.
    pub task: TaskId,
    /// The first segment that is covered.
    pub first: Digest,
    /// The last segment that is covered.
    pub last: Digest,
    /// What the deltas hold, one entry for each store and content.
    pub delta: Vec<DeltaHeader>,
    /// Where each of them lies.
    pub places: Vec<Place>,
}

/// A segment in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SegmentEntry {
    /// Its hash.
    pub hash: Digest,
    /// Its header.
    pub header: SegmentHeader,
    /// Where each entry of the header's delta lies.
    pub deltas: Vec<Place>,
}

/// A place in a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// Index into the manifest's parts.
    pub part: u32,
    /// First byte in it.
    pub offset: u64,
}

/// A part in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartEntry {
    /// Its object; the digest covers all of its bytes.
    pub object: ObjectRef,
    /// Its length in bytes.
    pub length: u64,
    /// Its footer.
    pub footer: FooterAt,
    /// The stream partitions of which it holds runs, sorted.
    pub ranges: Vec<PartRange>,
}

/// The records of one stream partition in one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartRange {
    /// The stream.
    pub stream: StreamName,
    /// The partition.
    pub partition: u32,
    /// Offset of the first record.
    pub first_offset: u64,
    /// How many records.
    pub records: u64,
}

/// An output file that waits for its final name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Release {
    /// The task that wrote it.
    pub task: TaskId,
    /// Index of the stage's output.
    pub output: u16,
    /// Its name until now.
    pub temporary: String,
    /// Its name from now on.
    pub name: String,
    /// Bytes.
    pub length: u64,
    /// Digest.
    pub sha256: Digest,
}
