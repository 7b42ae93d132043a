//! Between the contract and an author's task: where the one task of an instance is kept, and how it is called. Not for authors: what
//! [`export!`](crate::export) needs. Refuses to hold a task across a failed `init`.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::thread::LocalKey;

use crate::bindings::exports::gregor::task::{describe, lifecycle, processor};
use crate::bindings::gregor::task::types::{RecordBatch, Rejection, TaskError};
use crate::{Batch, Error, Output, Port, Progress, Task};

/// What an instance keeps between two calls: the task, and the memory of its output.
#[derive(Debug)]
pub struct Slot<T> {
    task: Option<T>,
    out: Output,
}

impl<T: Task> Slot<T> {
    /// No task yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "made in a constant")]
    pub const fn new() -> Self {
        Self { task: None, out: Output::new() }
    }

    fn init(&mut self) -> Result<(), Error> {
        self.task = None;
        self.task = Some(T::init()?);
        Ok(())
    }

    fn process(&mut self, columns: RecordBatch) -> Result<Vec<Rejection>, Error> {
        let batch = Batch::new(columns);
        self.out.begin_batch();
        self.task.as_mut().ok_or_else(not_initialised)?.process(&batch, &mut self.out)?;
        Ok(self.out.end())
    }

    fn on_end(&mut self, input: u32) -> Result<Progress, Error> {
        self.out.begin_end();
        let progress = self.task.as_mut().ok_or_else(not_initialised)?.on_end(Port(input), &mut self.out)?;
        self.out.end();
        Ok(progress)
    }
}

fn not_initialised() -> Error {
    Error::fatal("the host called the task before init, or after init had failed")
}

/// A task with all that [`export!`](crate::export) knows about it.
pub trait Exported {
    /// The author's type.
    type Task: Task + 'static;
    /// Name of the crate.
    const NAME: &'static str;
    /// Version of the crate.
    const VERSION: &'static str;

    /// Where the task of this instance is kept.
    fn slot() -> &'static LocalKey<RefCell<Slot<Self::Task>>>;
}

/// The component's exports.
#[derive(Debug)]
pub struct Adapter<E>(PhantomData<E>);

impl<E: Exported> describe::Guest for Adapter<E> {
    fn describe() -> describe::Descriptor {
        E::Task::describe().into_descriptor((E::NAME, E::VERSION))
    }
}

impl<E: Exported> processor::Guest for Adapter<E> {
    fn process(batch: RecordBatch) -> Result<Vec<Rejection>, TaskError> {
        E::slot().with_borrow_mut(|slot| slot.process(batch)).map_err(TaskError::from)
    }
}

impl<E: Exported> lifecycle::Guest for Adapter<E> {
    fn init() -> Result<(), TaskError> {
        E::slot().with_borrow_mut(Slot::init).map_err(TaskError::from)
    }

    fn on_end(input: u32) -> Result<lifecycle::Progress, TaskError> {
        match E::slot().with_borrow_mut(|slot| slot.on_end(input))? {
            Progress::More => Ok(lifecycle::Progress::More),
            Progress::Done => Ok(lifecycle::Progress::Done),
        }
    }
}

/// Makes a type that implements [`Task`](crate::Task) the task of this component. Once a crate.
#[macro_export]
macro_rules! export {
    ($task:ty) => {
        // Only a component has exports; natively, a task is a type like any other, and can be tested as such.
        #[cfg(not(target_family = "wasm"))]
        const _: fn() -> ::std::result::Result<$task, $crate::Error> = <$task as $crate::Task>::init;

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Exported;

            impl $crate::adapter::Exported for Exported {
                type Task = $task;
                const NAME: &'static str = ::std::env!("CARGO_PKG_NAME");
                const VERSION: &'static str = ::std::env!("CARGO_PKG_VERSION");

                fn slot() -> &'static ::std::thread::LocalKey<::std::cell::RefCell<$crate::adapter::Slot<$task>>> {
                    ::std::thread_local! {
                        static SLOT: ::std::cell::RefCell<$crate::adapter::Slot<$task>> =
                            const { ::std::cell::RefCell::new($crate::adapter::Slot::new()) };
                    }
                    &SLOT
                }
            }

            type Component = $crate::adapter::Adapter<Exported>;
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Description;
    use crate::host::{Call, calls};

    /// Emits the value of each record; fails at the value "bad", after having emitted it.
    struct Echo;

    impl Task for Echo {
        fn describe() -> Description {
            Description::new()
        }

        fn init() -> Result<Self, Error> {
            Ok(Self)
        }

        fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<(), Error> {
            for record in batch {
                out.of(&record).emit(Port(0), "k", record.value());
                if record.value() == Some(b"bad") {
                    return Err(Error::poison("bad"));
                }
            }
            Ok(())
        }
    }

    fn columns(value: &str) -> RecordBatch {
        let data = value.as_bytes().to_vec();
        let end = u32::try_from(data.len()).unwrap();
        let (offsets, timestamps) = (vec![0], vec![0]);
        RecordBatch {
            input: 0,
            partition: 0,
            offsets,
            timestamps,
            data,
            key_ends: vec![0],
            value_ends: vec![end],
            nulls: vec![],
            headers: None,
        }
    }

    #[test]
    fn a_failed_call_leaves_nothing_to_the_next_one() {
        let mut slot = Slot::<Echo>::new();
        slot.init().unwrap();
        assert_eq!(slot.process(columns("bad")).unwrap_err(), Error::poison("bad"));
        assert!(slot.process(columns("good")).unwrap().is_empty());
        let [Call::EmitBatch(batch)] = &calls()[..] else { panic!("one call expected") };
        assert_eq!((batch.data.as_slice(), batch.causes.as_slice()), (b"kgood".as_slice(), &[0][..]));
    }

    #[test]
    fn a_call_without_init_is_an_error() {
        assert_eq!(Slot::<Echo>::new().process(columns("good")).unwrap_err(), not_initialised());
        assert_eq!(Slot::<Echo>::new().on_end(0).unwrap_err(), not_initialised());
    }

    #[test]
    fn the_end_of_an_input_is_done_at_once_unless_the_author_says_otherwise() {
        let mut slot = Slot::<Echo>::new();
        slot.init().unwrap();
        assert_eq!(slot.on_end(0), Ok(Progress::Done));
        assert!(calls().is_empty());
    }
}
