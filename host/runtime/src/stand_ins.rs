//! What stands in for parts of the host while its costs are measured (`gregor bench`): a function in place of a component, generated records in
//! place of files. Everything else is the host as it is: the same batches, services, limits, threads and checkpoints. Refuses to be reached by a
//! job file: only the caller of `run` can hand these in, and a run of a user's job has none.

use std::collections::BTreeMap;
use std::sync::Arc;

use gregor_guest::{Batch, CallError, Progress, Rejection, Services};
use gregor_model::columns::Columns;

/// What stands in. By default nothing does.
#[derive(Clone, Default)]
pub struct StandIns {
    /// What works in place of a stage's component, by the stage's index. The component still says which ports and stores there are.
    pub natives: BTreeMap<u16, NativeMaker>,
    /// What is read in place of the files of every file input, whose folder must be there all the same.
    pub records: Option<Generator>,
}

/// Makes the function of one task.
pub type NativeMaker = Arc<dyn Fn() -> Box<dyn Native> + Send + Sync>;

/// Makes the records of a partition from an offset on. Called by the threads that read ahead.
pub type Generator = Arc<dyn Fn(u32, u64) -> Generated + Send + Sync>;

/// What a generator answers.
#[derive(Debug)]
pub enum Generated {
    /// Records with the offsets from the one that was asked for on, without a gap; at least one, no more than a batch may have.
    Records(Arc<Columns>),
    /// There are none, and none will come: the task rests until the job is stopped.
    Nothing,
    /// The input ends here.
    End,
}

/// A task without a sandbox. Implementations: the stand-ins of `gregor bench` for the example tasks.
///
/// Guarantee demanded: it remembers nothing of a call that a rollback would have to undo; what must last goes to the services.
pub trait Native: Send {
    /// Processes a batch, as a component does.
    ///
    /// # Errors
    /// As of `Instance::process`.
    fn process(&mut self, batch: &Batch<'_>, services: &mut dyn Services) -> Result<Vec<Rejection>, CallError>;

    /// An input has ended, as a component is told. By default there is nothing to do.
    ///
    /// # Errors
    /// As of `Instance::on_end`.
    fn on_end(&mut self, input: u32, services: &mut dyn Services) -> Result<Progress, CallError> {
        let (_, _) = (input, services);
        Ok(Progress::Done)
    }
}
