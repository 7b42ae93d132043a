//! Time in tests: the only place that reads a clock or sleeps. Refuses to wait without a bound, and to wait for time to pass where an event
//! can be watched.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. A bound against hanging on a busy machine, never a measurement.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Now, for figures that are printed and for instants at which something is killed.
#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Looks until there is something to see, and gives it. Panics with `what` after three minutes.
#[expect(clippy::disallowed_methods, reason = "the tests' one sleep")]
pub(crate) fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
