//! The fault injector behind `gregor run --fault` and `--count-steps`: it numbers the durable steps of a run from 1, and makes one of them fail or
//! kills the process at it. Refuses to be clever: no step is told from another by what it does, only by its number.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use gregor_model::steps::{DurableStep, Side, StepFailure, Steps};

use crate::cli::{Fault, FaultKind};

/// Steps that may be under way at once and are remembered: more than threads that take any.
const OPEN_MAX: usize = 1024;

/// Numbers steps, and does what the fault says at its step.
pub(crate) struct Faults {
    fault: Option<Fault>,
    numbered: Mutex<Numbered>,
}

/// Steps announced so far.
#[derive(Default)]
struct Numbered {
    last: u64,
    /// Steps that began; one that failed by itself stays until it is pushed out.
    open: Vec<Open>,
}

struct Open {
    number: u64,
    step: DurableStep,
    thread: ThreadId,
}

impl Faults {
    /// An injector of at most one fault.
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self { fault, numbered: Mutex::default() }
    }

    /// Steps that began so far.
    pub(crate) fn count(&self) -> u64 {
        self.lock().last
    }

    /// A number is a number, whoever died holding it.
    fn lock(&self) -> MutexGuard<'_, Numbered> {
        self.numbered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_at(&self, kind: FaultKind, number: u64) -> bool {
        self.fault.is_some_and(|fault| fault.kind == kind && fault.step.get() == number)
    }
}

impl Steps for Faults {
    fn announce(&self, step: DurableStep, side: Side) -> Result<(), StepFailure> {
        let (number, kill) = match side {
            Side::Before => (self.lock().begin(step), FaultKind::KillBefore),
            Side::After => (self.lock().end(step), FaultKind::KillAfter),
        };
        if self.is_at(kind_of(side), number) || (self.is_at(kill, number) && kill_self().is_err()) {
            return Err(StepFailure { number, step });
        }
        Ok(())
    }
}

/// The fault that is an error on this side of a step. A step fails before it begins; it never fails after.
const fn kind_of(side: Side) -> FaultKind {
    match side {
        Side::Before => FaultKind::Fail,
        Side::After => FaultKind::KillAfter,
    }
}

impl Numbered {
    fn begin(&mut self, step: DurableStep) -> u64 {
        self.last += 1;
        if self.open.len() >= OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push(Open { number: self.last, step, thread: thread::current().id() });
        self.last
    }

    /// The number of a step that is done: the last one of its kind that this thread began or, where an async step went on in another thread, that
    /// anybody did. 0 where none is known, which is no fault's number.
    fn end(&mut self, step: DurableStep) -> u64 {
        let thread = thread::current().id();
        let mine = self.open.iter().rposition(|open| open.step == step && open.thread == thread);
        let found = mine.or_else(|| self.open.iter().rposition(|open| open.step == step));
        found.map_or(0, |at| self.open.remove(at).number)
    }
}

/// Ends this process as `kill -9` does; returns only if the system refuses.
fn kill_self() -> rustix::io::Result<()> {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gregor_model::steps::durable;

    #[derive(Debug, PartialEq)]
    enum Error {
        Made(u64),
        Own,
    }

    impl From<StepFailure> for Error {
        fn from(failure: StepFailure) -> Self {
            Self::Made(failure.number)
        }
    }

    #[test]
    fn the_nth_step_fails_without_being_begun_and_all_are_counted() {
        let faults = Faults::new(Some("fail:3".parse().unwrap()));
        let mut done = Vec::new();
        let outcomes: Vec<_> = (1..=4)
            .map(|n| {
                durable(&faults, DurableStep::ArchivePut, || {
                    done.push(n);
                    Ok::<_, Error>(())
                })
            })
            .collect();
        assert_eq!(outcomes, [Ok(()), Ok(()), Err(Error::Made(3)), Ok(())]);
        assert_eq!((done, faults.count()), (vec![1, 2, 4], 4));
    }

    #[test]
    fn an_end_belongs_to_its_own_beginning() {
        let mut numbered = Numbered::default();
        assert_eq!(
            [DurableStep::ArchivePut, DurableStep::OutputWrite, DurableStep::ArchivePut].map(|step| numbered.begin(step)),
            [1, 2, 3]
        );
        let ends = [DurableStep::ArchivePut, DurableStep::OutputWrite, DurableStep::ArchivePut, DurableStep::ArchivePut];
        assert_eq!(ends.map(|step| numbered.end(step)), [3, 2, 1, 0]);
    }

    #[test]
    fn a_step_that_fails_by_itself_is_counted_once() {
        let faults = Faults::new(None);
        assert_eq!(durable(&faults, DurableStep::ArchivePut, || Err::<(), _>(Error::Own)), Err(Error::Own));
        assert_eq!(durable(&faults, DurableStep::ArchivePut, || Ok::<_, Error>(())), Ok(()));
        assert_eq!(faults.count(), 2);
    }
}
