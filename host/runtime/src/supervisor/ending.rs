//! How a job comes to its end: output files that are released, `_SUCCESS` after the last of them, and a stop that was asked for. Refuses `_SUCCESS`
//! before every task has ended and every release is performed.

use std::time::Duration;

use crossbeam_channel::Receiver;
use gregor_model::manifest::Manifest;

use super::{Parts, Supervisor};
use crate::commit::Order;
use crate::ready::Urgency;
use crate::setup::{Command, RunError, Until};

/// Whether `_SUCCESS` is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Success {
    /// It is too early.
    Open,
    /// It was ordered.
    Ordered,
    /// It is there, or there is no output folder.
    Done,
}

/// A stop that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    /// Nobody did.
    No,
    /// At the latest at this time.
    Until(Duration),
    /// All that there is was worked off: it takes as long as it takes.
    Idle,
}

impl Supervisor {
    /// Orders the releases that are open and not yet under way.
    pub(super) fn release(&mut self, manifest: &Manifest) -> Result<(), RunError> {
        let mut wanted = Vec::new();
        for open in &manifest.releases {
            let name = (open.task, open.output, open.name.clone());
            if !self.parts.performed.contains(&name) && self.releasing.insert(name) {
                wanted.push(open.clone());
            }
        }
        if wanted.is_empty() { Ok(()) } else { self.order(Order::Release(wanted)) }
    }

    /// Orders `_SUCCESS` once every task has ended and every release is performed.
    pub(super) fn complete(&mut self) -> Result<(), RunError> {
        if self.success == Success::Open && self.all_ended() && self.releasing.is_empty() {
            self.success = Success::Ordered;
            return self.order(Order::Succeed);
        }
        Ok(())
    }

    /// What is left of the time for a stop, where all tasks have come to rest before its end.
    pub(crate) fn time_to_stop(&self) -> Option<Duration> {
        let left = match self.stopping {
            Stopping::No => return None,
            Stopping::Until(until) => until.saturating_sub(self.parts.clock.now()),
            Stopping::Idle => self.parts.job.checkpoint.stop_timeout,
        };
        (self.is_settled() && !left.is_zero()).then_some(left)
    }

    /// Where a second signal comes in while nothing is left for the supervisor to do.
    pub(crate) const fn commands(&self) -> &Receiver<Command> {
        &self.parts.commands
    }

    /// Ends the job for a task that can't go on, as a stop does: a last checkpoint keeps what came before.
    pub(super) fn give_up(&mut self, error: RunError) -> Result<(), RunError> {
        // Others may follow from the first one.
        self.failure.get_or_insert(error);
        if self.stopping == Stopping::No { self.stop(Command::Stop) } else { Ok(()) }
    }

    /// Stops a job that was to run until it is idle, once it is.
    pub(super) fn stop_if_idle(&mut self) -> Result<(), RunError> {
        let Parts { until, history, job, tasks, .. } = &self.parts;
        let idle = *until == Until::Idle && self.stopping == Stopping::No && history.is_caught_up(job, tasks);
        // One whose tasks have ended comes to its own end, with `_SUCCESS`.
        if idle && !self.all_ended() {
            self.stopping = Stopping::Idle;
            self.close();
        }
        Ok(())
    }

    /// Closes the inputs of all tasks, and says until when the job may take to end.
    pub(super) fn stop(&mut self, command: Command) -> Result<(), RunError> {
        let now = self.parts.clock.now();
        let until = match command {
            Command::Stop => now + self.parts.job.checkpoint.stop_timeout,
            Command::StopNow => now,
        };
        self.stopping = Stopping::Until(until);
        self.close();
        Ok(())
    }

    /// Closes the inputs of all tasks.
    fn close(&self) {
        for (index, cell) in self.parts.cells.iter().enumerate() {
            cell.order(|orders| orders.close = true);
            self.parts.ready.wake(index, Urgency::First);
        }
    }
}
