//! The seam at which every durable step of a run is numbered, so that a test can make the n-th one fail, or kill the process before or after
//! it. Adapters announce each step here; they do not know whether anybody listens. Refuses to change what a step does.

use thiserror::Error;

/// A step that makes something durable, or takes something away for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DurableStep {
    /// An object is created in the archive.
    ArchivePut,
    /// An object is deleted from the archive.
    ArchiveDelete,
    /// The coordination record of a job is replaced.
    RegisterWrite,
    /// A temporary output file is written and synced.
    OutputWrite,
    /// An output file is given its final name, or a marker is created.
    OutputRelease,
    /// A delta is written as an SST file.
    DeltaWrite,
    /// A delta is applied to the local store.
    DeltaApply,
    /// The local store is flushed and marked.
    StoreMark,
    /// The local store is wiped.
    StoreWipe,
    /// Deltas from the archive are put into the local store.
    StoreRestore,
}

/// Which side of a step is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// It has not begun.
    Before,
    /// It is done.
    After,
}

/// A failure made on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("step {number} ({step:?}) was made to fail")]
pub struct StepFailure {
    /// The step's number in this process, from 1.
    pub number: u64,
    /// What it was.
    pub step: DurableStep,
}

/// Who is told of durable steps. Implementations: [`Unobserved`], and the fault injector behind `gregor run --fault`.
///
/// Guarantee demanded: an error from [`Side::Before`] means that the step is not to be begun, one from [`Side::After`] that it happened but
/// its caller must take it for failed; no other effect.
pub trait Steps: Send + Sync {
    /// Announces one side of a step.
    ///
    /// # Errors
    /// The step is to be taken for failed.
    fn announce(&self, step: DurableStep, side: Side) -> Result<(), StepFailure>;
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Steps for Unobserved {
    fn announce(&self, _: DurableStep, _: Side) -> Result<(), StepFailure> {
        Ok(())
    }
}

/// Does a step between its two announcements.
///
/// # Errors
/// That of the step, or the failure made on purpose.
pub fn durable<T, E: From<StepFailure>>(steps: &dyn Steps, step: DurableStep, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    steps.announce(step, Side::Before)?;
    let done = act()?;
    steps.announce(step, Side::After)?;
    Ok(done)
}
