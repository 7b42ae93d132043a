//! Parts: the objects in which a host saves deltas and output runs. Only their layout and their footer live here; `runtime` fills them,
//! `archive` keeps them. Refuses footers whose entries point outside the part.
//!
//! ```text
//! offset        length   content
//! 0             8        "GRGPART" and the version, 1
//! 8             …        deltas (SST files) and runs (blocks), back to back, in the order of the footer
//! f             n        footer: a document of kind "part-footer" (see `document`), JSON of `Footer`
//! f + n         8        n, little-endian
//! f + n + 8     8        "GRGPEND" and the version, 1
//! ```
//! Whoever reads a part knows f, n and the footer's digest from the manifest; the trailer serves people and repair.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::document::{DocumentError, Kind};
use crate::limits::RECORDS_MAX;
use crate::names::{Attempt, Boot, Sequence, StoreName, TaskId};
use crate::segment::{DeltaContent, DeltaHeader, Run};

/// First bytes of a part.
pub const PART_HEAD: [u8; 8] = *b"GRGPART\x01";
/// Last bytes of a part.
pub const PART_TAIL: [u8; 8] = *b"GRGPEND\x01";
/// How a footer is stored. Version 1 did not say what deltas hold: all of them were changes.
pub const FOOTER: Kind = Kind { name: "part-footer", version: 2 };

/// What a part holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Footer {
    /// The host process that wrote it.
    pub boot: Boot,
    /// Deltas.
    pub deltas: Vec<DeltaAt>,
    /// Runs, sorted by stream, partition, task, sequence, ordinal: offsets are given in this order.
    pub runs: Vec<RunAt>,
}

/// A delta and its place in a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeltaAt {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// The segment.
    pub sequence: Sequence,
    /// The store.
    pub store: StoreName,
    /// What it holds.
    #[serde(default, skip_serializing_if = "DeltaContent::is_changes")]
    pub content: DeltaContent,
    /// First byte in the part.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Digest.
    pub sha256: Digest,
}

/// A run and its place in a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunAt {
    /// The writing task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// The segment.
    pub sequence: Sequence,
    /// First byte in the part.
    pub offset: u64,
    /// The run.
    #[serde(flatten)]
    pub run: Run,
}

/// Why a part can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PartError {
    /// The footer can't be read.
    #[error("its footer {0}")]
    Footer(#[from] DocumentError),
    /// An entry lies outside the part.
    #[error("its footer names bytes {offset}..{end} in a part whose content ends at {limit}")]
    Range {
        /// First byte.
        offset: u64,
        /// Byte after the last.
        end: u64,
        /// Where the footer begins.
        limit: u64,
    },
    /// Its runs claim more records than there can be.
    #[error("its footer claims more than {RECORDS_MAX} records")]
    Records,
}

/// Puts a part together in memory.
#[derive(Debug)]
pub struct PartBuilder {
    bytes: Vec<u8>,
    footer: Footer,
}

/// A finished part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// What its footer says.
    pub footer: Footer,
    /// Where the footer lies.
    pub footer_at: FooterAt,
}

/// The place of a footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FooterAt {
    /// First byte in the part.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Digest.
    pub sha256: Digest,
}

/// Which segment bytes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// The segment.
    pub sequence: Sequence,
}

impl PartBuilder {
    /// An empty part of a host process.
    #[must_use]
    pub fn new(boot: Boot) -> Self {
        Self { bytes: PART_HEAD.to_vec(), footer: Footer { boot, deltas: Vec::new(), runs: Vec::new() } }
    }

    /// Bytes so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was put in.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.footer.deltas.is_empty() && self.footer.runs.is_empty()
    }

    /// Puts a delta in: the bytes that `header` speaks of.
    pub fn delta(&mut self, of: Origin, header: &DeltaHeader, bytes: &[u8]) {
        let Origin { task, attempt, sequence } = of;
        let DeltaHeader { store, content, sha256, .. } = header.clone();
        let offset = self.bytes.len() as u64;
        self.footer.deltas.push(DeltaAt { task, attempt, sequence, store, content, offset, length: bytes.len() as u64, sha256 });
        self.bytes.extend_from_slice(bytes);
    }

    /// Puts a run in.
    pub fn run(&mut self, of: Origin, run: Run, bytes: &[u8]) {
        let Origin { task, attempt, sequence } = of;
        let offset = self.bytes.len() as u64;
        self.footer.runs.push(RunAt { task, attempt, sequence, offset, run });
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes footer and trailer.
    ///
    /// # Errors
    /// The footer can't be written as JSON, which its types exclude.
    pub fn finish(mut self) -> Result<Part, DocumentError> {
        self.footer.runs.sort_by(|a, b| key(a).cmp(&key(b)));
        let offset = self.bytes.len() as u64;
        let footer = FOOTER.encode(&self.footer)?;
        let footer_at = FooterAt { offset, length: footer.len() as u64, sha256: Digest::of(&footer) };
        self.bytes.extend_from_slice(&footer);
        self.bytes.extend_from_slice(&footer_at.length.to_le_bytes());
        self.bytes.extend_from_slice(&PART_TAIL);
        Ok(Part { bytes: self.bytes, footer: self.footer, footer_at })
    }
}

fn key(at: &RunAt) -> (&str, u32, TaskId, Sequence, u32) {
    (at.run.stream.as_str(), at.run.partition, at.task, at.sequence, at.run.ordinal)
}

impl Footer {
    /// Reads a footer that lies at `at` in its part.
    ///
    /// # Errors
    /// The bytes are not a footer, an entry points outside the part's content, or its runs claim more records than there can be.
    pub fn decode(bytes: &[u8], at: FooterAt) -> Result<Self, PartError> {
        let footer: Self = FOOTER.decode(bytes)?;
        let deltas = footer.deltas.iter().map(|delta| (delta.offset, delta.length));
        for (offset, length) in deltas.chain(footer.runs.iter().map(|at| (at.offset, at.run.length))) {
            let end = offset.checked_add(length).filter(|end| *end <= at.offset && offset >= PART_HEAD.len() as u64);
            if end.is_none() {
                return Err(PartError::Range { offset, end: offset.saturating_add(length), limit: at.offset });
            }
        }
        // Offsets are given by adding these up.
        if footer.runs.iter().map(|at| at.run.records).fold(0, u64::saturating_add) > RECORDS_MAX {
            return Err(PartError::Records);
        }
        Ok(footer)
    }
}
