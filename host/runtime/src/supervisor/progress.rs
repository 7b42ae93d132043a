//! What the supervisor tells while the job runs. Refuses to wait for a reader for long: the job goes on without being watched.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Supervisor;
use crate::setup::{Progress, Report};

/// How long a report waits for its reader.
const REPORT_WAIT: Duration = Duration::from_secs(5);
/// Time between two reports of progress.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// When progress was last reported, and how much there was.
pub(super) struct ProgressMeter {
    pub(super) at: Duration,
    pub(super) records: u64,
    pub(super) rate: f64,
}

impl Supervisor {
    /// Tells how far the job is, if it is time to.
    pub(super) fn tell_progress(&mut self) {
        let now = self.parts.clock.now();
        let since = now.saturating_sub(self.progress.at);
        if since < PROGRESS_EVERY {
            return;
        }
        tracing::debug!(phase = ?self.phase, flights = ?self.flights, facts = ?self.facts(now), success = ?self.success, "supervising");
        for cell in self.parts.cells.iter() {
            tracing::trace!(task = %cell.id, figures = ?cell.figures, "task");
        }
        let records = self.records();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let fresh = records.saturating_sub(self.progress.records) as f64;
        self.progress = ProgressMeter { at: now, records, rate: fresh / since.as_secs_f64() };
        let progress = self.progress();
        // A reader that is slow must not hold up the job: the next one comes in a second.
        drop(self.parts.reports.try_send(Report::Progress(progress)));
    }

    /// Tells what should not be missed.
    pub(super) fn report(&self, report: Report) {
        // Nobody listens any more, or reads so slowly that the job would stand still: it goes on all the same.
        drop(self.parts.reports.send_timeout(report, REPORT_WAIT));
    }

    /// How far the job is.
    pub(super) fn progress(&self) -> Progress {
        let bytes = self.parts.cells.iter().map(|cell| cell.figures.bytes.load(Ordering::Relaxed)).sum::<u64>();
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let share = self.parts.input_bytes.map(|total| if total == 0 { 1.0 } else { (bytes as f64 / total as f64).min(1.0) });
        Progress {
            checkpoint: self.latest(),
            checkpoint_age: self.parts.clock.now().saturating_sub(self.last_confirmed),
            records: self.records(),
            records_per_second: self.progress.rate,
            input_share: share,
        }
    }
}
