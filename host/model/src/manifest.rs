//! The manifest of a checkpoint: what N consists of. It lists this N's segments and parts only and names its predecessor; every 64th also names
//! pages, objects that hold the manifests before it 64 at a time, so that recovery reads few objects and a checkpoint costs what changed.
//! Refuses nothing here: whether a manifest counts is said by the coordinator's record, never by its being there.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::document::Kind;
use crate::names::{Branch, CheckpointNumber, Incarnation, StreamName, TaskId, Term};
use crate::part::FooterAt;
use crate::segment::SegmentHeader;

/// How a manifest is stored.
pub const MANIFEST: Kind = Kind { name: "manifest", version: 1 };
/// How a page of manifests is stored: a list of [`Manifest`]s in the order of their numbers.
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
    /// All manifests before it, in pages: present in a full manifest.
    pub pages: Option<Vec<PageRef>>,
    /// The segments of N, in the order of their tasks.
    pub segments: Vec<SegmentEntry>,
    /// The parts of N.
    pub parts: Vec<PartEntry>,
    /// Tasks that were asked but had not saved in time.
    pub left_out: Vec<TaskId>,
    /// Output files that wait for their final name, of N and of checkpoints before it.
    pub releases: Vec<Release>,
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
