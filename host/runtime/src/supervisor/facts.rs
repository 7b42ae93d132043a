//! What the supervisor observes of the job, for the decisions in `model`. Refuses to act.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gregor_model::coordinator::Phase;
use gregor_model::due::{Activity, Budget, Change, Facts, Waiting};

use super::ending::{Stopping, Success};
use super::{Ended, Flight, Supervisor};
use crate::cell::Figures;
use crate::setup::Until;

impl Supervisor {
    /// What is judged when asking whether a checkpoint is due.
    pub(super) fn facts(&self, now: Duration) -> Facts {
        let settled = !self.parts.performed.is_empty() || !self.saved.is_empty();
        let changed = settled || self.any(|figures| &figures.changed);
        // A writer that is held back waits for a manifest in which its reader has moved on.
        let waiting = settled || self.any(|figures| &figures.waiting) || self.any(|figures| &figures.held);
        let idle = self.all_idle();
        // Whether a job that is to end then has worked off all that there is shows in what is confirmed.
        let waiting = waiting || self.parts.until == Until::Idle && idle && changed;
        let stopping = self.stopping != Stopping::No;
        Facts {
            change: if changed { Change::Some } else { Change::None },
            budget: if self.any(|figures| &figures.pressed) { Budget::Pressed } else { Budget::Calm },
            waiting: if waiting { Waiting::Some } else { Waiting::None },
            activity: match (idle, stopping) {
                (false, _) => Activity::Busy,
                (true, false) => Activity::Idle,
                (true, true) => Activity::Stopping,
            },
            since_decision: now.saturating_sub(self.last_decision),
            interval: self.parts.job.checkpoint.interval,
        }
    }

    /// Whether the job is over.
    pub(super) fn ended(&self) -> Option<Ended> {
        if self.success == Success::Done && self.phase == Phase::Idle && self.parts.history.finished(&self.parts.tasks) {
            return Some(Ended::Finished);
        }
        match self.stopping {
            Stopping::No => None,
            Stopping::Until(until) => (self.is_settled() || self.parts.clock.now() >= until).then_some(Ended::Stopped),
            Stopping::Idle => self.is_settled().then_some(Ended::Idle),
        }
    }

    /// Whether all that was done is confirmed, and nothing is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.phase == Phase::Idle
            && self.all_idle()
            && self.releasing.is_empty()
            && self.parts.performed.is_empty()
            && self.saved.is_empty()
            && self.flights.iter().all(|flight| *flight == Flight::None)
            && !self.any(|figures| &figures.changed)
    }

    /// Whether every task has ended in the confirmed manifest.
    pub(super) fn all_ended(&self) -> bool {
        (0_u16..).zip(&self.parts.tasks).all(|(stage, &count)| self.parts.history.stage_ended(stage, count))
    }

    /// Whether all that is left is `_SUCCESS`: the closing manifest comes after it.
    pub(super) fn is_completing(&self) -> bool {
        self.success != Success::Done && self.all_ended()
    }

    /// Records taken from outside since the job began.
    pub(super) fn records(&self) -> u64 {
        self.parts.cells.iter().map(|cell| cell.figures.records.load(Ordering::Relaxed)).sum()
    }

    fn all_idle(&self) -> bool {
        // An order that was not obeyed yet is work; asked first, since a task stops being idle before it takes its orders.
        self.parts.cells.iter().all(|cell| !cell.is_ordered() && cell.figures.idle.load(Ordering::SeqCst))
    }

    fn any(&self, figure: impl Fn(&Figures) -> &AtomicBool) -> bool {
        self.parts.cells.iter().any(|cell| figure(&cell.figures).load(Ordering::Relaxed))
    }
}
