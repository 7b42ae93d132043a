//! The time of one entry into a guest: CPU time of the calling thread, and wall-clock time. Reading the first takes a system call of half a
//! microsecond, as long as a small batch; so it is read at ticks only, and what comes before the first tick is counted by the wall clock.
//! Refuses to blame a record for wall-clock time: a busy machine or a stopped process is not its fault.

use std::time::Duration;

use gregor_model::limits::{EPOCH_TICK, WALL_TIMES_CPU};
use rustix::time::{ClockId, clock_gettime};

use crate::failure::Stop;

/// What one entry may take, and when it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    cpu_max: Duration,
    wall_began: Duration,
    first_tick: Option<FirstTick>,
}

/// What was known when a tick found the guest running for the first time.
#[derive(Debug, Clone, Copy)]
struct FirstTick {
    /// The thread's CPU time then.
    cpu: Duration,
    /// Time that the guest had taken by then. At most one tick: if more has passed, the thread was not running.
    before: Duration,
}

impl Budget {
    /// Begins now, on this thread, which must be the one that enters the guest.
    pub(crate) fn begin(cpu_max: Duration) -> Self {
        Self { cpu_max, wall_began: wall(), first_tick: None }
    }

    /// CPU time since the beginning, to within one tick; without a tick, by the wall clock.
    pub(crate) fn spent(&self) -> Duration {
        match self.first_tick {
            Some(FirstTick { cpu, before }) => before.saturating_add(thread_cpu().saturating_sub(cpu)),
            None => wall().saturating_sub(self.wall_began),
        }
    }

    /// Whether the guest may go on; called at each tick.
    ///
    /// # Errors
    /// One of the two times is spent.
    pub(crate) fn check(&mut self) -> Result<(), Stop> {
        let wall = wall().saturating_sub(self.wall_began);
        self.first_tick.get_or_insert_with(|| FirstTick { cpu: thread_cpu(), before: wall.min(EPOCH_TICK) });
        if self.spent() > self.cpu_max {
            return Err(Stop::Cpu(self.cpu_max));
        }
        let wall_max = self.cpu_max.saturating_mul(WALL_TIMES_CPU);
        if wall > wall_max {
            return Err(Stop::Wall(wall_max));
        }
        Ok(())
    }
}

/// CPU time that this thread has used.
fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn wall() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_of_nothing_is_spent_at_once_and_an_hour_is_not() {
        let mut nothing = Budget { wall_began: Duration::ZERO, ..Budget::begin(Duration::ZERO) };
        assert!(matches!(nothing.check(), Err(Stop::Cpu(Duration::ZERO))));
        assert!(Budget::begin(Duration::from_secs(3600)).check().is_ok());
    }

    #[test]
    fn work_counts_from_tick_to_tick() {
        let mut budget = Budget::begin(Duration::from_millis(20));
        budget.check().unwrap();
        let mut sum = 0_u64;
        while budget.check().is_ok() {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(matches!(budget.check(), Err(Stop::Cpu(_))), "it was this thread that worked");
        assert!(budget.spent() > Duration::from_millis(20));
    }

    #[test]
    fn time_in_which_the_thread_did_not_run_is_not_the_guests() {
        let mut budget = Budget { wall_began: Duration::ZERO, ..Budget::begin(2 * EPOCH_TICK) };
        let wall_max = 2 * EPOCH_TICK * WALL_TIMES_CPU;
        assert!(matches!(budget.check(), Err(Stop::Wall(wall)) if wall == wall_max));
        let asleep = FirstTick { cpu: thread_cpu() + Duration::from_secs(3600), before: Duration::ZERO };
        budget.first_tick = Some(asleep);
        assert!(matches!(budget.check(), Err(Stop::Wall(wall)) if wall == wall_max));
    }
}
