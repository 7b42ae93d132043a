//! Threads are made here and nowhere else: each has a name and a priority, is joined before the job ends, and ends the job when it panics. Refuses
//! detached threads. Also the flag that tells all of them to end.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Sender;
use gregor_model::limits::GUEST_STACK_BYTES;
use tokio::runtime::Runtime;

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
    /// How many threads the system has left, where a test says so.
    #[cfg(test)]
    room: Option<usize>,
}

/// Which threads the processor serves first when there are more of them than cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Those that others wait for: workers, and the one that commits.
    Normal,
    /// Those that work ahead or behind: sources, savers, appliers. A task that freezes wakes a saver; were they equals, the saver would often take
    /// the task's core at once, and the pause of microseconds would last a time slice.
    Background,
}

/// What is added to the nice value of a background thread: its share of a contended core is then a tenth of what a worker gets.
///
/// Chosen by a rough measurement: the word count with a checkpoint every 20 ms on two cores that others kept busy, the host's process raised above
/// them. The pause at a freeze, 99 of 100: 6.8 to 9.4 ms in six rounds with 0; 3.3 to 7.1 ms in nine with 5; 0.03 to 2.5 ms in eight of nine with 10,
/// and 13.6 ms in the ninth, which took 11 s where others took 7 to 10. Fewer checkpoints were made, the higher the value: up to 71, 59 and 48.
const BACKGROUND_NICE: i32 = 10;

/// Stack of each thread, in bytes: a guest's, and what the host needs above and below it, for which the 2 MiB that threads have by default are
/// ample. Said here, since the default can be lowered from outside (`RUST_MIN_STACK`), and a guest that is still within its limit would
/// then end the process. Only what is touched takes memory.
const STACK_BYTES: usize = GUEST_STACK_BYTES + 2 * 1024 * 1024;

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
        Self {
            handles: Vec::new(),
            events,
            #[cfg(test)]
            room: None,
        }
    }

    /// As if the system had no more than so many threads left.
    #[cfg(test)]
    pub(crate) const fn with_room(mut self, room: usize) -> Self {
        self.room = Some(room);
        self
    }

    /// How many were started and not yet waited for.
    #[cfg(test)]
    pub(crate) const fn count(&self) -> usize {
        self.handles.len()
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// The system has no more threads to give.
    pub(crate) fn start(&mut self, (name, priority): (String, Priority), body: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
        let refused = |error: std::io::Error| {
            RunError::Failed(format!("can't start thread {name}: {error}; raise the limit on processes (ulimit -u)"))
        };
        #[cfg(test)]
        if self.room.is_some_and(|room| self.handles.len() >= room) {
            return Err(refused(std::io::ErrorKind::WouldBlock.into()));
        }
        let alarm = Alarm { thread: name.clone(), events: self.events.clone() };
        let handle = Builder::new()
            .name(name.clone())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _alarm = alarm;
                take(priority);
                body();
            })
            .map_err(refused)?;
        self.handles.push(handle);
        Ok(())
    }

    /// Waits for all of them; whether any has panicked.
    pub(crate) fn join(&mut self) -> Joined {
        let panicked = self.handles.drain(..).map(JoinHandle::join).filter(Result::is_err).count();
        if panicked == 0 { Joined::Well } else { Joined::Panicked(panicked) }
    }
}

/// The threads on which archive and coordinator work; they end when it is dropped.
///
/// # Errors
/// The system has no more threads to give.
pub(crate) fn io_threads(count: usize) -> Result<Runtime, RunError> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(count).thread_name("gregor-io").enable_all().build();
    built.map_err(|error| RunError::Failed(format!("can't start the io threads: {error}")))
}

/// Takes a priority for the calling thread. Where the system refuses, the thread runs as any other: slower, not wrong.
#[cfg(target_os = "linux")]
fn take(priority: Priority) {
    use rustix::process::{getpriority_process, setpriority_process};

    if priority == Priority::Normal {
        return;
    }
    // On Linux a nice value belongs to a thread, and its id stands where other systems expect a process.
    let id = Some(rustix::thread::gettid());
    let lowered = getpriority_process(id).and_then(|nice| {
        take_batch_policy(nice);
        setpriority_process(id, nice + BACKGROUND_NICE)
    });
    if let Err(error) = lowered {
        tracing::debug!(%error, "a background thread keeps the priority of the others");
    }
}

/// Takes the scheduling policy whose threads never interrupt another one when they are woken: they wait for its next tick, or for an idle core. A
/// freeze itself takes 5 to 12 µs, but with a nice value alone the saver that it wakes sometimes took the task's core at once, for 2 to 5 ms: in
/// twelve runs of `gregor bench` each, with a checkpoint every 50 ms on two cores of a virtual machine, 41 of 896 freezes were so interrupted
/// for more than a millisecond, and 11 of 897 with this policy, all of those in runs in which others took much of the machine's time.
#[cfg(target_os = "linux")]
fn take_batch_policy(nice: i32) {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id, thread_schedule_policy,
    };

    // A process that runs under another one was given it on purpose.
    if thread_schedule_policy() != Ok(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other)) {
        return;
    }
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    // The library sets a nice value with the policy, by a scale of its own: the one that the thread has.
    let values = (0..=99).filter_map(|value| ThreadPriorityValue::try_from(value).ok()).map(ThreadPriority::Crossplatform);
    let same = values.into_iter().find(|value| value.to_posix(policy).is_ok_and(|found| found == nice));
    if let Some(Err(error)) = same.map(|value| set_thread_priority_and_policy(thread_native_id(), value, policy)) {
        tracing::debug!(%error, "a background thread keeps the scheduling policy of the others");
    }
}

/// Elsewhere a nice value belongs to the whole process.
#[cfg(not(target_os = "linux"))]
const fn take(_: Priority) {}

/// How threads ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// All of them returned.
    Well,
    /// That many panicked: an invariant of ours is broken.
    Panicked(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn background_threads_yield_to_the_others() {
        use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy};
        let policy = || thread_schedule_policy().unwrap();
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let (events, _heard) = crossbeam_channel::bounded(1);
        let mut threads = Threads::new(events);
        let found: Vec<(i32, ThreadSchedulePolicy)> = [Priority::Normal, Priority::Background]
            .into_iter()
            .map(|priority| {
                let (tell, told) = crossbeam_channel::bounded(1);
                threads.start((format!("{priority:?}"), priority), move || tell.send((nice(), policy())).unwrap()).unwrap();
                told.recv().unwrap()
            })
            .collect();
        let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        assert_eq!(found, [(nice(), policy()), ((nice() + BACKGROUND_NICE).min(19), batch)]);
        assert_ne!(policy(), batch);
        assert_eq!(threads.join(), Joined::Well);
    }

    #[test]
    fn a_panic_is_heard_of_and_counted() {
        let (events, heard) = crossbeam_channel::bounded(1);
        let mut threads = Threads::new(events);
        threads.start(("unlucky".to_owned(), Priority::Normal), || panic!("on purpose")).unwrap();
        assert!(matches!(heard.recv(), Ok(Event::Failed(RunError::Failed(reason))) if reason.contains("unlucky")));
        assert_eq!(threads.join(), Joined::Panicked(1));
    }
}
