//! Work for an applier: brings one confirmed segment into RocksDB. Blocks, so it has threads of its own. Refuses to decide what is confirmed, and
//! to change a map: the task reads the very same one meanwhile.

use std::sync::Arc;

use gregor_model::digest::Digest;
use gregor_model::limits::{APPLIED_MARK_BYTES, APPLY_BATCH_BYTES};
use gregor_model::segment::DeltaContent;
use gregor_model::steps::{DurableStep, durable};

use crate::delta::{self, DeltaFile};
use crate::error::StateError;
use crate::layer::Layer;
use crate::local::Local;

/// One confirmed segment on its way into RocksDB.
pub struct Apply {
    local: Arc<Local>,
    layers: Vec<(u16, Arc<Layer>)>,
    deltas: Vec<DeltaFile>,
    segment: Digest,
}

/// Proof that a segment is in RocksDB: gives the task's stores their confirmed slot back.
#[derive(Debug)]
pub struct Applied {
    pub(crate) segment: Digest,
}

/// How a delta gets into RocksDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the memtable.
    Batch,
    /// As the file that it is in the archive.
    Ingestion,
}

impl Apply {
    pub(crate) fn new(local: Arc<Local>, layers: Vec<(u16, Arc<Layer>)>, deltas: Vec<DeltaFile>, segment: Digest) -> Self {
        Self { local, layers, deltas, segment }
    }

    /// Applies the segment: small changes in sorted batches, large ones by ingesting their delta files. Flushes and marks the store when enough
    /// was applied since it last did. All delta files are gone afterwards.
    ///
    /// # Errors
    /// The disk or RocksDB failed; the store is out of use, and rebuilt at the next start.
    pub fn run(self) -> Result<Applied, StateError> {
        self.local.check()?;
        let mut bytes = 0;
        for (store, layer) in &self.layers {
            bytes += layer.data_bytes() as u64;
            self.apply(*store, layer)?;
        }
        for delta in &self.deltas {
            delta::remove(&delta.path);
        }
        let due = {
            let mut progress = self.local.progress();
            progress.applied = Some(self.segment);
            progress.unmarked_bytes += bytes;
            progress.unmarked_bytes >= APPLIED_MARK_BYTES
        };
        if due {
            self.local.mark()?;
        }
        Ok(Applied { segment: self.segment })
    }

    fn apply(&self, store: u16, layer: &Layer) -> Result<(), StateError> {
        let delta = self.deltas.iter().find(|delta| delta.store == store && delta.content == DeltaContent::Changes);
        let before = if self.local.progress().ingesting.contains(&store) { Way::Ingestion } else { Way::Batch };
        let way = if delta.is_some() { way(before, layer.data_bytes() as u64) } else { Way::Batch };
        let applied = durable(self.local.backend().steps(), DurableStep::DeltaApply, || match (way, delta) {
            (Way::Ingestion, Some(delta)) => {
                // What waits in the memtable would be flushed by the ingestion anyway, if a key overlaps: better here, and always.
                if before == Way::Batch {
                    self.local.flush(store)?;
                }
                self.local.ingest(store, &delta.path)
            }
            _ => self.local.write(store, layer),
        });
        applied.map_err(|error| self.local.poisoned("apply a delta", error))?;
        let mut progress = self.local.progress();
        progress.ingesting.retain(|&other| other != store);
        if way == Way::Ingestion {
            progress.ingesting.push(store);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Apply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apply").field("segment", &self.segment).field("stores", &self.layers.len()).finish_non_exhaustive()
    }
}

/// Ingestion above the limit, and on down to half of it, so that deltas about as large as the limit don't pay for a flush each.
fn way(before: Way, bytes: u64) -> Way {
    let limit = match before {
        Way::Batch => APPLY_BATCH_BYTES,
        Way::Ingestion => APPLY_BATCH_BYTES / 2,
    };
    if bytes >= limit { Way::Ingestion } else { Way::Batch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_changes_late() {
        assert_eq!(way(Way::Batch, APPLY_BATCH_BYTES - 1), Way::Batch);
        assert_eq!(way(Way::Batch, APPLY_BATCH_BYTES), Way::Ingestion);
        assert_eq!(way(Way::Ingestion, APPLY_BATCH_BYTES / 2), Way::Ingestion);
        assert_eq!(way(Way::Ingestion, APPLY_BATCH_BYTES / 2 - 1), Way::Batch);
    }
}
