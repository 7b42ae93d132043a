//! Durable writes, and reads of inputs, that failed are tried again a few times: a disk may be full, or a store out of reach, for a moment.
//! Refuses to try for ever, and to try what can't succeed: corrupt data and refused jobs.

use std::time::Duration;

use gregor_model::limits::SAVE_TRIES;

use crate::setup::RunError;
use crate::threads::Shutdown;

/// Wait before the second try; it grows fourfold each time.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// Tries of one piece of work, which may be spread over several calls.
#[derive(Debug)]
pub(crate) struct Tries {
    failed: u32,
    wait: Duration,
}

impl Default for Tries {
    fn default() -> Self {
        Self { failed: 0, wait: RETRY_WAIT }
    }
}

impl Tries {
    /// Waits until it is time for another try; `doing` names what failed.
    ///
    /// # Errors
    /// `failed` itself, where this was the last try, the job is over, or another try would not help.
    pub(crate) fn wait_for_another(&mut self, shutdown: &Shutdown, doing: &str, failed: RunError) -> Result<(), RunError> {
        let RunError::Failed(reason) = failed else { return Err(failed) };
        self.failed += 1;
        if self.failed >= SAVE_TRIES || shutdown.begun() {
            return Err(RunError::Failed(format!("can't {doing}: {reason}")));
        }
        tracing::info!(tried = self.failed, reason, doing, "failed, and is tried again");
        shutdown.wait(self.wait);
        self.wait *= 4;
        Ok(())
    }
}

/// Does a durable write, again if it fails.
///
/// # Errors
/// That of the last try; `doing` names what could not be done.
pub(crate) fn durably<T>(shutdown: &Shutdown, doing: &str, act: impl Fn() -> Result<T, RunError>) -> Result<T, RunError> {
    let mut tries = Tries::default();
    loop {
        match act() {
            Ok(done) => return Ok(done),
            Err(failed) => tries.wait_for_another(shutdown, doing, failed)?,
        }
    }
}
