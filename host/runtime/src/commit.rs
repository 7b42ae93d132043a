//! The hand of the coordinator: writes numbers, manifests, decisions and releases, one after the other on a thread of its own, and tells the
//! supervisor. Refuses to decide anything: what to write is said by the supervisor's machine in `model`.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use gregor_archive::{Store, history};
use gregor_coordination::{CommitPermit, CoordinationError, Coordinator};
use gregor_model::keys::JobKeys;
use gregor_model::manifest::{Full, Manifest, ObjectRef, Release};
use gregor_model::names::{Attempt, CheckpointNumber, Incarnation, Term};
use gregor_model::snapshot::Pages;
use tokio::runtime::Handle;

use crate::event::Event;
use crate::failure;
use crate::folders::Folders;
use crate::in_flight::InFlight;
use crate::retry::durably;
use crate::setup::{RunError, Setup};
use crate::start::Started;
use crate::threads::Shutdown;
use crate::waiting::unless;

/// What to write.
pub(crate) enum Order {
    /// A number, with the time of its creation in milliseconds since 1970.
    Create(CheckpointNumber, u64),
    /// A manifest; with the pages that make it a full one, where it is to be one.
    Seal(Box<Manifest>, Option<Box<Pages>>),
    /// A confirmation.
    Confirm(CommitPermit, ObjectRef),
    /// An abort.
    Abort(CheckpointNumber),
    /// Final names of output files.
    Release(Vec<Release>),
    /// `_SUCCESS`.
    Succeed,
}

/// What the thread needs.
pub(crate) struct Committer {
    /// Where manifests go.
    archive: Arc<dyn Store>,
    /// Where decisions go.
    coordinator: Arc<dyn Coordinator>,
    /// The async runtime that both need.
    io: Handle,
    /// The job's keys.
    keys: JobKeys,
    /// This leader.
    term: Term,
    /// The job's incarnation, and the attempt of its tasks.
    whose: (Incarnation, Attempt),
    /// `checkpoint.keep`.
    keep: u32,
    /// Output folders.
    folders: Arc<Folders>,
    /// What the last confirmed full manifest names.
    full: Option<Full>,
    /// What the manifest names that is sealed and waits for its confirmation, if it is full.
    sealed: Option<Full>,
    /// What was written and no confirmed manifest names yet.
    in_flight: InFlight,
    /// To the supervisor.
    events: Sender<Event>,
    /// Ends waits.
    shutdown: Shutdown,
}

impl Committer {
    /// Commits for a job that was started.
    pub(crate) fn new(
        (setup, started): (&Setup, &Started),
        io: &Handle,
        (in_flight, events, shutdown): (InFlight, Sender<Event>, Shutdown),
    ) -> Self {
        Self {
            archive: Arc::clone(&setup.archive),
            coordinator: Arc::clone(&setup.coordinator),
            io: io.clone(),
            keys: started.keys.clone(),
            term: started.register.term,
            whose: (started.register.incarnation, started.register.attempt),
            keep: setup.job.checkpoint.keep,
            folders: Arc::clone(&started.folders),
            full: started.full.clone(),
            sealed: None,
            in_flight,
            events,
            shutdown,
        }
    }

    /// The body of the thread.
    pub(crate) fn serve(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            if self.shutdown.begun() {
                continue;
            }
            let event = self.carry_out(order).unwrap_or_else(Event::Failed);
            if self.events.send(event).is_err() {
                break;
            }
        }
    }

    fn carry_out(&mut self, order: Order) -> Result<Event, RunError> {
        match order {
            Order::Create(number, created_at_ms) => self.create(number, created_at_ms).map(Event::Created),
            Order::Seal(manifest, pages) => {
                self.seal(*manifest, pages.as_deref()).map(|(manifest, object)| Event::Sealed(Box::new(manifest), object))
            }
            Order::Confirm(permit, object) => self.confirm(permit, &object).map(Event::Confirmed),
            Order::Abort(number) => {
                self.decided(self.coordinator.abort(number))?.map_err(failure::coordination)?;
                Ok(Event::Aborted)
            }
            Order::Release(releases) => {
                // Another host may have taken the job since the confirmation: it performs them then.
                self.decided(self.coordinator.may_show())?.map_err(failure::coordination)?;
                for release in &releases {
                    durably(&self.shutdown, "release an output file", || self.folders.perform(release))?;
                }
                Ok(Event::Released(releases))
            }
            Order::Succeed => {
                self.decided(self.coordinator.may_show())?.map_err(failure::coordination)?;
                // What a host that was taken for dead has written since this one began.
                durably(&self.shutdown, "remove dead temporary files", || self.folders.sweep(self.whose))?;
                durably(&self.shutdown, "say that the output is complete", || self.folders.succeed())?;
                Ok(Event::Succeeded)
            }
        }
    }

    /// Waits for the coordinator, which decides by itself what became of a write, for as long as the job is to go on.
    fn decided<T>(&self, call: impl Future<Output = T>) -> Result<T, RunError> {
        let ended = || RunError::Failed("the job ended before the coordinator had answered; the next start finds out".to_owned());
        unless(&self.io, &|| self.shutdown.begun(), call).ok_or_else(ended)
    }

    /// Writes down a number, with the time of its creation in milliseconds since 1970.
    ///
    /// # Errors
    /// The coordinator refuses it, or can't be reached.
    pub(crate) fn create(&self, number: CheckpointNumber, created_at_ms: u64) -> Result<CommitPermit, RunError> {
        self.decided(self.coordinator.create(number, created_at_ms, self.keep))?.map_err(failure::coordination)
    }

    /// Puts a manifest into the archive; with pages, as a full one.
    ///
    /// # Errors
    /// The archive refused it, several times.
    pub(crate) fn seal(&mut self, mut manifest: Manifest, pages: Option<&Pages>) -> Result<(Manifest, ObjectRef), RunError> {
        let doing = format!("save the manifest of checkpoint {}", manifest.number);
        if let Some(pages) = pages {
            let full = durably(&self.shutdown, &doing, || {
                let whose = (&self.keys, self.term);
                let announce = |key: &str| self.in_flight.add(key);
                let written = history::write_full(&*self.archive, whose, (pages, self.full.as_ref()), &announce);
                self.io.block_on(written).map_err(failure::archive)
            })?;
            manifest.full = Some(full);
        }
        // One sealing a number: an attempt that could change the generation in between comes with more hosts.
        let key = self.keys.manifest(manifest.number, self.term, 0);
        self.in_flight.add(&key);
        let object = durably(&self.shutdown, &doing, || {
            self.io.block_on(history::write_manifest(&*self.archive, &key, &manifest)).map_err(failure::archive)
        })?;
        self.sealed.clone_from(&manifest.full);
        Ok((manifest, object))
    }

    /// Makes a manifest the truth.
    ///
    /// # Errors
    /// Another host has the job, the coordinator can't be reached, or it is not known what became of the write.
    pub(crate) fn confirm(&mut self, permit: CommitPermit, object: &ObjectRef) -> Result<CheckpointNumber, RunError> {
        let number = permit.number();
        match self.decided(self.coordinator.confirm(permit, object))? {
            Ok(()) => {}
            // The write may have been done: what stands there now is the truth.
            Err(CoordinationError::Undecided { job, reason }) => {
                let register = self.decided(self.coordinator.read())?.map_err(failure::coordination)?;
                let confirmed = register.and_then(|register| register.latest).is_some_and(|latest| latest.number == number);
                if !confirmed {
                    return Err(RunError::Failed(format!("checkpoint {number} of job {job} is undecided: {reason}; start again")));
                }
            }
            Err(error) => return Err(failure::coordination(error)),
        }
        if let Some(full) = self.sealed.take() {
            self.full = Some(full);
        }
        Ok(number)
    }
}
