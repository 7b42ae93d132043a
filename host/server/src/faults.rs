//! The fault injector behind `--fault` and `--count-steps`: it numbers the durable steps of a run from 1, all of them and those of each kind, and
//! makes one of them fail or kills the process at it. Refuses to be clever: no step is told from another by more than its number and kind.

pub(crate) mod archive;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use gregor_model::steps::{DurableStep, Side, StepFailure, Steps};

use crate::cli::{Fault, FaultKind, STEPS, StepArgs};
use crate::output;

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
    /// The last of each kind, in the order of [`STEPS`].
    kinds: [u64; STEPS.len()],
    /// Steps that began; one that failed by itself stays until it is pushed out.
    open: Vec<Open>,
}

struct Open {
    place: Place,
    step: DurableStep,
    thread: ThreadId,
}

/// Which step it is; both are 0 for one that nobody began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    /// Among all, from 1.
    number: u64,
    /// Among those of its kind, from 1.
    of_kind: u64,
}

/// Does something with an injector that is told of its durable steps, and says their number at the end where that was asked for.
pub(crate) fn told<T>(args: StepArgs, act: impl FnOnce(Arc<dyn Steps>) -> T) -> T {
    let faults = Arc::new(Faults::new(args.fault));
    let done = act(Arc::<Faults>::clone(&faults));
    if args.count_steps {
        output::tell(&faults.count());
    }
    done
}

impl Faults {
    /// An injector of at most one fault.
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self { fault, numbered: Mutex::default() }
    }

    /// Steps that began so far, all of them and by kind: `steps=21 archive-put=5 …`.
    pub(crate) fn count(&self) -> String {
        let numbered = self.lock();
        let kinds = STEPS.iter().zip(numbered.kinds).map(|((name, _), count)| format!(" {name}={count}"));
        format!("steps={}{}", numbered.last, kinds.collect::<String>())
    }

    /// A number is a number, whoever died holding it.
    fn lock(&self) -> MutexGuard<'_, Numbered> {
        self.numbered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of a side of a step: pure, so that killing can be judged without dying.
    fn judge(&self, side: Side, (step, place): (DurableStep, Place)) -> Act {
        let Some(Fault::Step(fault)) = self.fault else { return Act::GoOn };
        let number = if fault.of.is_some() { place.of_kind } else { place.number };
        if fault.of.is_some_and(|of| of != step) || fault.number.get() != number {
            return Act::GoOn;
        }
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
        let place = match side {
            Side::Before => self.lock().begin(step),
            Side::After => self.lock().end(step),
        };
        let number = place.number;
        match self.judge(side, (step, place)) {
            Act::GoOn => Ok(()),
            Act::Fail => Err(StepFailure { number, step }),
            // It returns only where the system refuses to kill; then the step at least fails.
            Act::Kill => kill_self().map_err(|_| StepFailure { number, step }),
        }
    }
}

impl Numbered {
    fn begin(&mut self, step: DurableStep) -> Place {
        self.last += 1;
        let counts = STEPS.iter().zip(&mut self.kinds);
        let of_kind = counts.filter(|((_, known), _)| *known == step).map(|(_, count)| {
            *count += 1;
            *count
        });
        let place = Place { number: self.last, of_kind: of_kind.last().unwrap_or_default() };
        if self.open.len() >= OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push(Open { place, step, thread: thread::current().id() });
        place
    }

    /// The number of a step that is done: the last one of its kind that this thread began or, where an async step went on in another thread, that
    /// anybody did. 0 where none is known, which is no fault's number.
    fn end(&mut self, step: DurableStep) -> Place {
        let thread = thread::current().id();
        let mine = self.open.iter().rposition(|open| open.step == step && open.thread == thread);
        let found = mine.or_else(|| self.open.iter().rposition(|open| open.step == step));
        found.map_or_else(Place::default, |at| self.open.remove(at).place)
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
        assert_eq!(done, [1, 2, 4]);
        assert!(faults.count().starts_with("steps=4 archive-put=4 archive-delete=0 "), "{}", faults.count());
    }

    #[test]
    fn each_fault_acts_on_its_own_side_of_its_own_step_only() {
        let acts = |fault: &str| {
            let faults = Faults::new(Some(fault.parse().unwrap()));
            let place = |number| Place { number, of_kind: number / 2 };
            [(Side::Before, 6), (Side::Before, 7), (Side::After, 7), (Side::After, 0)]
                .map(|(side, number)| faults.judge(side, (DurableStep::StoreMark, place(number))))
        };
        use Act::{Fail, GoOn, Kill};
        assert_eq!(acts("fail:7"), [GoOn, Fail, GoOn, GoOn]);
        assert_eq!(acts("fail-after:7"), [GoOn, GoOn, Fail, GoOn]);
        assert_eq!(acts("kill-before:7"), [GoOn, Kill, GoOn, GoOn]);
        assert_eq!(acts("kill-after:7"), [GoOn, GoOn, Kill, GoOn]);
        assert_eq!(acts("kill-after:store-mark/3"), [GoOn, GoOn, Kill, GoOn]);
        assert_eq!(acts("fail:store-mark/7"), [GoOn; 4]);
        assert_eq!(acts("kill-after:store-wipe/3"), [GoOn; 4]);
        assert_eq!(acts("flaky:7"), [GoOn; 4]);
    }

    #[test]
    fn an_end_belongs_to_its_own_beginning() {
        let mut numbered = Numbered::default();
        let begins = [DurableStep::ArchivePut, DurableStep::OutputWrite, DurableStep::ArchivePut].map(|step| numbered.begin(step));
        assert_eq!(begins.map(|place| (place.number, place.of_kind)), [(1, 1), (2, 1), (3, 2)]);
        let ends = [DurableStep::ArchivePut, DurableStep::OutputWrite, DurableStep::ArchivePut, DurableStep::ArchivePut];
        assert_eq!(ends.map(|step| numbered.end(step).number), [3, 2, 1, 0]);
    }

    #[test]
    fn a_step_that_fails_by_itself_is_counted_once() {
        let faults = Faults::new(None);
        assert_eq!(durable(&faults, DurableStep::ArchivePut, || Err::<(), _>(Error::Own)), Err(Error::Own));
        assert_eq!(durable(&faults, DurableStep::ArchivePut, || Ok::<_, Error>(())), Ok(()));
        assert!(faults.count().starts_with("steps=2 "), "{}", faults.count());
    }
}
