//! Collection: deletes from the archive what no restore point needs, while the job runs. Refuses to go on when another process holds the job, and
//! to delete faster than its rate. What fails here is tried again after the next full manifest; nothing depends on it.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use gregor_archive::{Store, reach};
use gregor_coordination::Coordinator;
use gregor_model::garbage::{Living, Submitted};
use gregor_model::keys::JobKeys;
use gregor_model::names::{Boot, Term};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::failure;
use crate::in_flight::InFlight;
use crate::setup::RunError;
use crate::threads::Shutdown;
use crate::waiting::unless;

/// The thread's things.
pub(crate) struct Collector {
    /// What is collected.
    pub(crate) archive: Arc<dyn Store>,
    /// Who says what is kept.
    pub(crate) coordinator: Arc<dyn Coordinator>,
    /// The async runtime that both need.
    pub(crate) io: Handle,
    /// The job's keys.
    pub(crate) keys: JobKeys,
    /// This process and its claim.
    pub(crate) claim: (Boot, Term),
    /// What was written and no confirmed manifest names yet.
    pub(crate) in_flight: InFlight,
    /// How old garbage must be.
    pub(crate) grace: Duration,
    /// Objects a second.
    pub(crate) rate: u32,
    /// The clock.
    pub(crate) clock: Clock,
    /// Ends waits.
    pub(crate) shutdown: Shutdown,
}

impl Collector {
    /// The body of the thread: one collection for each order.
    pub(crate) fn serve(&self, orders: &Receiver<()>) {
        while orders.recv().is_ok() {
            if self.shutdown.begun() {
                continue;
            }
            match self.collect() {
                Ok(deleted) => tracing::debug!(deleted, "collected"),
                Err(error) => tracing::info!(%error, "a collection was given up; it is tried again"),
            }
        }
    }

    fn collect(&self) -> Result<u64, RunError> {
        let archive = &*self.archive;
        // In this order: see `gregor_model::garbage`.
        let listed = self.io.block_on(archive.list(self.keys.root())).map_err(failure::archive)?;
        let in_flight = self.in_flight.keys();
        // It may be out of reach for long: the end of the job does not wait for that.
        let register = unless(&self.io, &|| self.shutdown.begun(), self.coordinator.read());
        let register = register.ok_or_else(|| RunError::Failed("the job is stopping".to_owned()))?.map_err(failure::coordination)?;
        let Some(register) = register.filter(|register| (register.boot, register.term) == self.claim) else {
            return Err(RunError::Failed("another process holds the job".to_owned()));
        };
        let submitted = if register.spec.is_some() { Submitted::Yes } else { Submitted::No };
        let living = Living { other: None, in_flight, submitted };
        let garbage = reach::garbage(archive, (&self.keys, listed), (&register, &living), (self.clock.wall_ms(), self.grace));
        let mut deleted = 0;
        for object in self.io.block_on(garbage).map_err(failure::archive)? {
            if self.shutdown.begun() {
                break;
            }
            self.io.block_on(archive.delete(&object.key)).map_err(failure::archive)?;
            deleted += 1;
            self.shutdown.wait(Duration::from_secs(1) / self.rate.max(1));
        }
        Ok(deleted)
    }
}
