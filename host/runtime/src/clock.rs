//! The clock: the only place that asks what time it is. Refuses to be read from `model`, which gets times as arguments.

use std::time::{Duration, Instant, SystemTime};

/// Reads time. Copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Time since its start; it never goes back.
    pub(crate) fn now(self) -> Duration {
        self.start.elapsed()
    }

    /// Wall-clock time in milliseconds since 1970; it may jump. 0 before 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
    pub(crate) fn wall_ms(self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
