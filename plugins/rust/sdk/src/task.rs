//! What an author implements. Refuses to know how a task is called: that is `adapter`'s.

use crate::{Batch, Description, Error, Output, Port};

/// Whether there is more to do at the end of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Call [`Task::on_end`] again.
    More,
    /// That was all.
    Done,
}

/// A task: one instance of a stage over one input partition.
pub trait Task: Sized {
    /// Describes the component: inputs, outputs, stores. Called when it is deployed, without any capability; the answer must not depend on
    /// anything.
    fn describe() -> Description;

    /// Makes the task, in every fresh instance, before any other call. May read the configuration and open stores; may neither write nor
    /// emit.
    ///
    /// # Errors
    /// What [`Error`] says. A configuration that makes no sense is [`Error::Fatal`].
    fn init() -> Result<Self, Error>;

    /// Processes one batch: 1 to 1,024 records of one partition of one input.
    ///
    /// # Errors
    /// All that the call wrote and emitted is dropped; what follows depends on the [`Error`]. A single record that the task does not take
    /// needs no error: see [`Output::skip`] and [`Output::dead_letter`].
    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<(), Error>;

    /// A bounded input has ended, after its last record. Called again as long as the answer is [`Progress::More`], perhaps in another
    /// instance: long work is done in pieces, and keeps its place in a store.
    ///
    /// # Errors
    /// Any error stops the job.
    fn on_end(&mut self, input: Port, out: &mut Output) -> Result<Progress, Error> {
        let _ = (input, out);
        Ok(Progress::Done)
    }
}
