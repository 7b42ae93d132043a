//! Durable writes, and reads of inputs, that failed are tried again a few times: a disk may be full, or a store out of reach, for a moment.
//! Refuses to try for ever, and to try what can't succeed: corrupt data and refused jobs.

use std::time::Duration;

use gregor_model::limits::SAVE_TRIES;

use crate::setup::RunError;
use crate::threads::Shutdown;

/// Wait before the second try; it grows fourfold each time.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// Does a durable write or a read of an input, again if it fails.
///
/// # Errors
/// That of the last try; `doing` names what could not be done.
pub(crate) fn durably<T>(shutdown: &Shutdown, doing: &str, mut act: impl FnMut() -> Result<T, RunError>) -> Result<T, RunError> {
    let mut wait = RETRY_WAIT;
    let mut tried = 1;
    loop {
        match act() {
            Err(RunError::Failed(reason)) if tried < SAVE_TRIES && !shutdown.begun() => {
                tracing::info!(tried, reason, doing, "failed, and is tried again");
                shutdown.wait(wait);
                wait *= 4;
                tried += 1;
            }
            Err(RunError::Failed(reason)) => return Err(RunError::Failed(format!("can't {doing}: {reason}"))),
            outcome => return outcome,
        }
    }
}
