//! Feeds a task's input from the confirmed runs of a stream partition: from memory where this host has made them lately, otherwise from the
//! archive. Refuses bytes whose digest is not the one that was confirmed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gregor_archive::Store;
use gregor_model::columns::Columns;
use gregor_model::digest::Digest;
use gregor_model::names::Incarnation;
use gregor_model::segment::Position;
use tokio::runtime::Handle;

use super::{Batch, Feed, Fetched, Item, More};
use crate::failure;
use crate::setup::RunError;

/// Bytes of runs that are kept in memory for readers on this host, in one job.
const RUN_CACHE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A confirmed run.
#[derive(Debug)]
pub(crate) struct RunRef {
    /// Key of the part that holds it.
    pub(crate) part: String,
    /// First byte in the part.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) length: u64,
    /// Digest of them.
    pub(crate) sha256: Digest,
    /// Offset of its first record.
    pub(crate) first_offset: u64,
    /// Records.
    pub(crate) records: u64,
    /// The bytes, where they are still in memory.
    pub(crate) cached: Option<Cached>,
}

/// Bytes in memory that count against the cache's bound until they are dropped.
#[derive(Debug)]
pub(crate) struct Cached {
    bytes: Bytes,
    used: Arc<AtomicU64>,
}

/// Bounds what is kept in memory of runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunCache {
    used: Arc<AtomicU64>,
}

impl RunCache {
    /// Keeps bytes if there is room.
    pub(crate) fn keep(&self, bytes: Bytes) -> Option<Cached> {
        let length = bytes.len() as u64;
        // Added first and taken back: two at once may both be turned away near the bound, never both let in beyond it.
        if self.used.fetch_add(length, Ordering::Relaxed) + length > RUN_CACHE_BYTES_MAX {
            self.used.fetch_sub(length, Ordering::Relaxed);
            return None;
        }
        Some(Cached { bytes, used: Arc::clone(&self.used) })
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

/// Reads one partition of a stream.
pub(crate) struct RunFeed {
    /// The stream and partition, for errors.
    name: String,
    incarnation: Incarnation,
    /// Offset of the next record wanted.
    next: u64,
    runs: VecDeque<RunRef>,
    blocks: VecDeque<Columns>,
    final_head: Option<u64>,
    archive: Arc<dyn Store>,
    io: Handle,
}

impl RunFeed {
    /// Reads from an offset on; runs are handed in by `extend`.
    pub(crate) fn new(name: String, (incarnation, next): (Incarnation, u64), (archive, io): (Arc<dyn Store>, Handle)) -> Self {
        Self { name, incarnation, next, runs: VecDeque::new(), blocks: VecDeque::new(), final_head: None, archive, io }
    }

    fn load(&self, run: &RunRef) -> Result<Vec<Columns>, RunError> {
        let bytes = match &run.cached {
            Some(cached) => cached.bytes.clone(),
            None => {
                let range = run.offset..run.offset + run.length;
                self.io.block_on(gregor_archive::read_part_range(&*self.archive, &run.part, range, run.sha256)).map_err(failure::archive)?
            }
        };
        let blocks = gregor_stream::decode_run(&bytes, run.first_offset);
        blocks.map_err(|error| RunError::Corrupt(format!("{}: run at byte {} of object {}: {error}", self.name, run.offset, run.part)))
    }

    fn position(&self) -> Position {
        Position::Stream { incarnation: self.incarnation, offset: self.next }
    }
}

impl Feed for RunFeed {
    fn fetch(&mut self) -> Result<Fetched, RunError> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                // A position may lie within a block, when the task before stopped there.
                let skipped = block.offsets.partition_point(|&offset| offset < self.next);
                let columns = if skipped == 0 { block } else { block.part(skipped..block.len()) };
                let Some(&last) = columns.offsets.last() else { continue };
                self.next = last + 1;
                let bytes = columns.data.len() as u64;
                return Ok(Fetched::Item(Item::Batch(Batch { columns: Arc::new(columns), after: self.position(), bytes })));
            }
            if let Some(run) = self.runs.front() {
                // It leaves the list once it is here: after a failure it is tried again.
                if run.first_offset + run.records > self.next {
                    self.blocks = self.load(run)?.into();
                }
                self.runs.pop_front();
                continue;
            }
            return match self.final_head {
                Some(head) if self.next >= head => Ok(Fetched::Item(Item::End(self.position()))),
                // Ends are told after all runs.
                Some(head) => Err(RunError::Corrupt(format!("{}: the runs up to {} are there, its end is {head}", self.name, self.next))),
                None => Ok(Fetched::Nothing),
            };
        }
    }

    fn extend(&mut self, more: More) {
        self.runs.extend(more.runs);
        self.final_head = more.final_head.or(self.final_head);
    }
}
