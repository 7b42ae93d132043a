//! Disturbing a job: instants at which something is done to a process, and the account of what it did. Refuses to let anything pass that
//! forgets a confirmed checkpoint.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rustix::process::Signal;

use super::clock;
use super::host::{Ended, Host};

/// After what a process is disturbed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Instant {
    /// So long after it was started.
    Started(Duration),
    /// So long after it has spoken: from then on it listens to signals.
    Spoken(Duration),
    /// So long after it has confirmed a checkpoint above this one.
    Confirmed(u64, Duration),
}

/// Waits for the instant, or the end of the process.
pub(crate) fn until(host: &mut Host, instant: Instant) {
    let delay = match instant {
        Instant::Started(delay) => delay,
        Instant::Spoken(delay) => {
            clock::wait("a first word", || (host.is_over() || !host.stderr().is_empty()).then_some(()));
            delay
        }
        Instant::Confirmed(above, delay) => {
            clock::wait("a new checkpoint", || (host.is_over() || host.confirmed().is_some_and(|number| number > above)).then_some(()));
            delay
        }
    };
    let begun = clock::now();
    clock::wait("the instant", || (host.is_over() || begun.elapsed() >= delay).then_some(()));
}

/// Waits until so long after the next checkpoint that the process confirms, or its end.
pub(crate) fn until_another(host: &mut Host, delay: Duration) {
    let above = host.confirmed().unwrap_or(0);
    until(host, Instant::Confirmed(above, delay));
}

/// What disturbances did.
#[derive(Debug, Default)]
pub(crate) struct Toll {
    /// Processes that were disturbed.
    pub(crate) disturbed: u32,
    /// Those of them that had confirmed a checkpoint that was new.
    pub(crate) after_confirm: u32,
    /// Those that went on from a checkpoint.
    pub(crate) resumed: u32,
    /// The last checkpoint that is known to be confirmed.
    pub(crate) confirmed: u64,
}

impl Toll {
    /// Takes a process that has ended in, and checks that nothing confirmed was forgotten.
    #[track_caller]
    pub(crate) fn note(&mut self, ended: &Ended) {
        if let Some(from) = ended.resumed() {
            assert!(from >= self.confirmed, "went on from {from}, but {} was confirmed:\n{}", self.confirmed, ended.stderr);
            self.resumed += 1;
        }
        let confirmed = ended.confirmed().unwrap_or(0);
        self.disturbed += 1;
        self.after_confirm += u32::from(confirmed > self.confirmed);
        self.confirmed = self.confirmed.max(confirmed).max(ended.resumed().unwrap_or(0));
    }
}

/// Chooses the next instant.
pub(crate) type Choose = fn(&mut StdRng, &Toll) -> Instant;

/// Two of three instants wait for progress, so that the job ends some day; the third hits anything, also what recovers.
pub(crate) fn any_instant(random: &mut StdRng, toll: &Toll) -> Instant {
    if toll.disturbed % 3 == 2 {
        Instant::Started(Duration::from_micros(random.random_range(0..400_000)))
    } else {
        Instant::Confirmed(toll.confirmed, Duration::from_micros(random.random_range(0..40_000)))
    }
}

/// Disturbs the processes that `start` starts with `act` until that was done `times` times, then lets the job end.
pub(crate) fn disturb(
    start: &dyn Fn() -> Host,
    (random, times, choose): (&mut StdRng, u32, Choose),
    mut act: impl FnMut(Host) -> Ended,
) -> (Toll, Ended) {
    let mut toll = Toll::default();
    loop {
        let mut host = start();
        if toll.disturbed == times {
            return (toll, host.end().calm());
        }
        until(&mut host, choose(random, &toll));
        // Whoever was over before is done: one that failed by itself counts as no disturbance.
        let ended = if host.is_over() { host.end().calm().code(0) } else { act(host).calm() };
        if ended.code == Some(0) {
            return (toll, ended);
        }
        toll.note(&ended);
    }
}

/// Kills a process. It may have been over before.
#[track_caller]
pub(crate) fn kill(host: Host) -> Ended {
    host.signal(Signal::KILL);
    let ended = host.end();
    assert!(ended.signal == Some(9) || ended.code == Some(0), "it was killed, and ended with {:?}:\n{}", ended.code, ended.stderr);
    ended
}
