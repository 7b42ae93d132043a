//! The thread that moves the engine's epoch on, so that a running guest is interrupted and looked at every few milliseconds. Refuses to
//! outlive its owner: dropping it stops and joins the thread.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use gregor_model::limits::EPOCH_TICK;

use crate::error::GuestError;

/// The running ticker.
#[derive(Debug)]
pub(crate) struct Ticker {
    /// Dropped to stop the thread; nothing is ever sent.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread `epoch-ticker`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(engine: wasmtime::Engine) -> Result<Self, GuestError> {
        let (stop, stopped) = sync_channel::<()>(0);
        let tick = move || {
            while stopped.recv_timeout(EPOCH_TICK) == Err(RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        };
        let thread = Builder::new().name("epoch-ticker".to_owned()).spawn(tick).map_err(GuestError::Ticker)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the epoch ticker panicked; guests were not interrupted any more");
        }
    }
}
