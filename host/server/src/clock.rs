//! What time it is, for commands that run no job: when a savepoint is made, how old garbage is. Refuses to be asked by anything that runs one; the
//! runtime has a clock of its own.

use std::time::SystemTime;

/// Wall-clock time in milliseconds since 1970; it may jump. 0 before 1970.
#[expect(clippy::disallowed_methods, reason = "this is the place of this crate where the clock is read")]
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
