//! What time it is, for commands that run no job, and for the one that measures jobs: when a savepoint is made, how old garbage is, how long a run took;
//! and for people, in logs. Refuses to be asked by anything that decides in a user's job; the runtime has a clock of its own.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Wall-clock time in milliseconds since 1970; it may jump. 0 before 1970.
#[expect(clippy::disallowed_methods, reason = "this is the place of this crate where the clock is read")]
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Time since some moment of the machine; it never goes back.
pub(crate) fn monotonic() -> Duration {
    since_zero(clock_gettime(ClockId::Monotonic))
}

/// CPU time of all threads of this process.
pub(crate) fn cpu() -> Duration {
    since_zero(clock_gettime(ClockId::ProcessCPUTime))
}

fn since_zero(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Wall-clock time for people: UTC, to the millisecond.
#[expect(clippy::disallowed_methods, reason = "this is the place of this crate where the clock is read")]
pub(crate) fn wall_text() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
