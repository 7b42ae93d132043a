//! Threads are made here and nowhere else: each has a name, is joined before the job ends, and ends the job when it panics. Refuses detached
//! threads. Also the flag that tells all of them to end.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::event::Event;
use crate::setup::RunError;

/// Tells threads that the job is over; waits that listen to it end early.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shutdown {
    inner: Arc<(Mutex<bool>, Condvar)>,
}

impl Shutdown {
    /// Tells everybody.
    pub(crate) fn begin(&self) {
        *self.inner.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.inner.1.notify_all();
    }

    /// Whether it was told.
    pub(crate) fn begun(&self) -> bool {
        *self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for this long, or until it is told: the back-off of retries.
    pub(crate) fn wait(&self, time: Duration) {
        let begun = self.inner.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.inner.1.wait_timeout_while(begun, time, |begun| !*begun));
    }
}

/// The threads of a job.
#[derive(Debug)]
pub(crate) struct Threads {
    handles: Vec<JoinHandle<()>>,
    events: Sender<Event>,
}

/// Fails the job when its thread panics, so that nobody waits for what will never come.
struct Alarm {
    thread: String,
    events: Sender<Event>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error =
                RunError::Failed(format!("thread {} has panicked: an invariant of gregor is broken; please report it", self.thread));
            drop(self.events.send(Event::Failed(error)));
        }
    }
}

impl Threads {
    /// No thread yet; `events` hears of panics.
    pub(crate) const fn new(events: Sender<Event>) -> Self {
        Self { handles: Vec::new(), events }
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// The system has no more threads to give.
    pub(crate) fn start(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
        let alarm = Alarm { thread: name.clone(), events: self.events.clone() };
        let handle = Builder::new()
            .name(name.clone())
            .spawn(move || {
                let _alarm = alarm;
                body();
            })
            .map_err(|error| RunError::Failed(format!("can't start thread {name}: {error}; raise the limit on processes (ulimit -u)")))?;
        self.handles.push(handle);
        Ok(())
    }

    /// Waits for all of them; whether any has panicked.
    pub(crate) fn join(self) -> Joined {
        let panicked = self.handles.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
        if panicked == 0 { Joined::Well } else { Joined::Panicked(panicked) }
    }
}

/// How threads ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// All of them returned.
    Well,
    /// That many panicked: an invariant of ours is broken.
    Panicked(usize),
}
