//! What the threads of a job are made of. Refuses to start any.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crossbeam_channel::Sender;
use gregor_model::register::Register;
use gregor_state::Backend;

use super::build::Plan;
use super::threading::{Channels, Posts};
use crate::collect::Collector;
use crate::commit::Committer;
use crate::event::Event;
use crate::input::Inputs;
use crate::keep::Keeper;
use crate::parts::PartWriter;
use crate::pauses::Histogram;
use crate::save::Saver;
use crate::task::Shared;

impl Plan<'_> {
    /// What the tasks share.
    pub(super) fn shared(&self, (events, inputs): (&Sender<Event>, &Arc<Inputs>), channels: &Channels) -> Shared {
        let Register { incarnation, branch, attempt, .. } = self.started.register;
        Shared {
            incarnation,
            branch,
            attempt,
            limits: self.setup.job.limits.clone(),
            inputs: Arc::clone(inputs),
            events: events.clone(),
            to_save: channels.to_save.clone(),
            to_apply: channels.lanes.iter().map(|(sender, _)| sender.clone()).collect(),
            to_keep: channels.to_keep.clone(),
            pauses: Histogram::default(),
            clock: self.clock,
        }
    }

    /// What the threads work on.
    pub(super) fn posts(&self, (events, backend): (&Sender<Event>, &Backend), channels: Channels) -> Posts {
        let Channels { frozen, lanes, keeping, .. } = channels;
        let saver = self.saver(events);
        Posts {
            workers: self.setup.workers,
            lanes: lanes.into_iter().map(|(_, receiver)| receiver).collect(),
            frozen,
            committer: self.committer(events),
            keeper: self.keeper(&saver, backend),
            to_keep: keeping,
            collector: self.collector(),
            saver,
        }
    }

    /// Who saves segments.
    fn saver(&self, events: &Sender<Event>) -> Saver {
        let parts = PartWriter {
            archive: Arc::clone(&self.setup.archive),
            io: self.io.handle().clone(),
            keys: self.started.keys.clone(),
            boot: self.setup.boot,
            last: Arc::new(AtomicU64::new(0)),
            in_flight: self.in_flight.clone(),
            shutdown: self.shutdown.clone(),
        };
        Saver {
            parts,
            delta_folder: self.delta_folder.to_owned(),
            folders: Arc::clone(&self.started.folders),
            events: events.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    /// Who commits.
    fn committer(&self, events: &Sender<Event>) -> Committer {
        Committer::new((self.setup, self.started), self.io.handle(), (self.in_flight.clone(), events.clone(), self.shutdown.clone()))
    }

    /// Who keeps chains short.
    fn keeper(&self, saver: &Saver, backend: &Backend) -> Keeper {
        Keeper {
            archive: Arc::clone(&self.setup.archive),
            io: self.io.handle().clone(),
            keys: self.started.keys.clone(),
            boot: self.setup.boot,
            parts: Arc::clone(&saver.parts.last),
            files: AtomicU64::new(0),
            in_flight: self.in_flight.clone(),
            backend: backend.clone(),
            folder: self.delta_folder.to_owned(),
            rate: self.setup.job.checkpoint.base_rate_bytes,
            clock: self.clock,
            events: saver.events.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    /// Who collects.
    fn collector(&self) -> Collector {
        Collector {
            archive: Arc::clone(&self.setup.archive),
            coordinator: Arc::clone(&self.setup.coordinator),
            io: self.io.handle().clone(),
            keys: self.started.keys.clone(),
            claim: (self.setup.boot, self.started.register.term),
            in_flight: self.in_flight.clone(),
            grace: self.setup.job.checkpoint.collect_grace,
            rate: self.setup.job.checkpoint.collect_rate,
            clock: self.clock,
            shutdown: self.shutdown.clone(),
        }
    }
}
