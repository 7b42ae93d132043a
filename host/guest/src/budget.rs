//! The time of one entry into a guest: CPU time of the calling thread, and wall-clock time. Reads the clocks when a call begins and at each
//! tick while it runs, never in between. Refuses to blame a record for wall-clock time: a busy machine or a stopped process is not its fault.

use std::time::Duration;

use gregor_model::limits::WALL_TIMES_CPU;
use rustix::time::{ClockId, clock_gettime};

use crate::failure::Stop;

/// What one entry may take, and when it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    cpu_max: Duration,
    cpu_began: Duration,
    wall_began: Duration,
}

impl Budget {
    /// Begins now, on this thread, which must be the one that enters the guest.
    pub(crate) fn begin(cpu_max: Duration) -> Self {
        Self { cpu_max, cpu_began: thread_cpu(), wall_began: wall() }
    }

    /// CPU time since the beginning.
    pub(crate) fn spent(&self) -> Duration {
        thread_cpu().saturating_sub(self.cpu_began)
    }

    /// Whether the guest may go on.
    ///
    /// # Errors
    /// One of the two times is spent.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        if self.spent() > self.cpu_max {
            return Err(Stop::Cpu(self.cpu_max));
        }
        let wall_max = self.cpu_max.saturating_mul(WALL_TIMES_CPU);
        if wall().saturating_sub(self.wall_began) > wall_max {
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
        let nothing = Budget::begin(Duration::ZERO);
        let mut sum = 0_u64;
        while nothing.spent() == Duration::ZERO {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(matches!(nothing.check(), Err(Stop::Cpu(Duration::ZERO))));
        assert!(Budget::begin(Duration::from_secs(3600)).check().is_ok());
    }

    #[test]
    fn wall_time_alone_is_told_apart() {
        let budget = Budget { wall_began: Duration::ZERO, ..Budget::begin(Duration::from_millis(1)) };
        let budget = Budget { cpu_began: thread_cpu() + Duration::from_secs(3600), ..budget };
        assert!(matches!(budget.check(), Err(Stop::Wall(wall)) if wall == Duration::from_millis(30)));
    }
}
