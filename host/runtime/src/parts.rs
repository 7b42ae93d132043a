//! Puts parts into the archive, each under a key of its own, and numbers them. Refuses to give up at the first failure: after a few tries it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gregor_archive::Store;
use gregor_model::digest::Digest;
use gregor_model::keys::JobKeys;
use gregor_model::manifest::ObjectRef;
use gregor_model::names::Boot;
use gregor_model::part::PartBuilder;
use gregor_model::seal::SavedPart;
use tokio::runtime::Handle;

use crate::failure;
use crate::in_flight::InFlight;
use crate::retry::durably;
use crate::setup::RunError;
use crate::threads::Shutdown;

/// Writes the parts of segments.
pub(crate) struct PartWriter {
    /// Where parts go.
    pub(crate) archive: Arc<dyn Store>,
    /// The async runtime that the archive needs.
    pub(crate) io: Handle,
    /// The job's keys.
    pub(crate) keys: JobKeys,
    /// This process.
    pub(crate) boot: Boot,
    /// Number of the last part of this process.
    pub(crate) last: Arc<AtomicU64>,
    /// What was written and no confirmed manifest names yet.
    pub(crate) in_flight: InFlight,
    /// Ends waits.
    pub(crate) shutdown: Shutdown,
}

impl PartWriter {
    /// Puts a part into the archive, under the next number. Blocks.
    ///
    /// # Errors
    /// The archive refused it, several times.
    pub(crate) fn create(&self, builder: PartBuilder) -> Result<SavedPart, RunError> {
        let part = builder.finish().map_err(|error| RunError::Failed(error.to_string()))?;
        let key = self.keys.part(self.boot, self.last.fetch_add(1, Ordering::Relaxed) + 1);
        self.in_flight.add(&key);
        let bytes = Bytes::from(part.bytes);
        let (length, sha256) = (bytes.len() as u64, Digest::of(&bytes));
        durably(&self.shutdown, "save a checkpoint", || {
            self.io.block_on(self.archive.create(&key, bytes.clone())).map_err(failure::archive)
        })?;
        let object = ObjectRef { key, sha256 };
        Ok(SavedPart { object, length, footer_at: part.footer_at, footer: part.footer })
    }
}
