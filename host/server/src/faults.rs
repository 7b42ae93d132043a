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

    /// What becomes of a side of a step: pure, so that killing can be judged without dying.
    fn judge(&self, side: Side, number: u64) -> Act {
        let Some(fault) = self.fault.filter(|fault| fault.step.get() == number) else { return Act::GoOn };
        match (fault.kind, side) {
            (FaultKind::Fail, Side::Before) | (FaultKind::FailAfter, Side::After) => Act::Fail,
            (FaultKind::KillBefore, Side::Before) | (FaultKind::KillAfter, Side::After) => Act::Kill,
            (FaultKind::Fail | FaultKind::KillBefore, Side::After) => Act::GoOn,
            (FaultKind::FailAfter | FaultKind::KillAfter, Side::Before) => Act::GoOn,
        }
    }
}

/// What becomes of a side of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    GoOn,
    Fail,
    Kill,
}

impl Steps for Faults {
    fn announce(&self, step: DurableStep, side: Side) -> Result<(), StepFailure> {
        let number = match side {
            Side::Before => self.lock().begin(step),
            Side::After => self.lock().end(step),
        };
        match self.judge(side, number) {
            Act::GoOn => Ok(()),
            Act::Fail => Err(StepFailure { number, step }),
            // It returns only where the system refuses to kill; then the step at least fails.
            Act::Kill => kill_self().map_err(|_| StepFailure { number, step }),
        }
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
    fn each_fault_acts_on_its_own_side_of_its_own_step_only() {
        let acts = |fault: &str| {
            let faults = Faults::new(Some(fault.parse().unwrap()));
            [(Side::Before, 6), (Side::Before, 7), (Side::After, 7), (Side::After, 0)].map(|(side, number)| faults.judge(side, number))
        };
        use Act::{Fail, GoOn, Kill};
        assert_eq!(acts("fail:7"), [GoOn, Fail, GoOn, GoOn]);
        assert_eq!(acts("fail-after:7"), [GoOn, GoOn, Fail, GoOn]);
        assert_eq!(acts("kill-before:7"), [GoOn, Kill, GoOn, GoOn]);
        assert_eq!(acts("kill-after:7"), [GoOn, GoOn, Kill, GoOn]);
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
