//! The trait that every coordinator fulfils, with the guarantees demanded of it, and the permit without which nothing is confirmed. Refuses to
//! hand out a permit but to the boot that created the checkpoint.

use async_trait::async_trait;
use gregor_model::manifest::ObjectRef;
use gregor_model::names::{Boot, CheckpointNumber, HostId, SavepointName, Term};
use gregor_model::register::{Register, SavepointRecord, StreamRecord};
use gregor_model::start::Begin;

use crate::error::CoordinationError;

/// One job's coordination. Implementations: [`crate::local::LocalCoordinator`], [`crate::zookeeper::ZooKeeperCoordinator`].
///
/// Guarantees demanded:
/// * *Linearizable*: calls take effect one after the other, and [`read`](Self::read) sees all that took effect before it began.
/// * *Durable*: a write that returned `Ok` survives everything; one that returned [`CoordinationError::Undecided`] did or did not take
///   effect, and the caller reads before it goes on; after any other error it took no effect.
/// * *Fenced*: every write but [`begin`](Self::begin) takes effect only while this boot's claim is the last one.
/// * A future that is dropped has the same outcome as `Undecided`.
///
/// Calls are made inside a tokio runtime.
#[async_trait]
pub trait Coordinator: Send + Sync {
    /// What is known of the job; none if it was never begun.
    ///
    /// # Errors
    /// The record can't be believed or reached.
    async fn read(&self) -> Result<Option<Register>, CoordinationError>;

    /// Claims the job for a boot, in one write, before any task runs: creates the register (a new incarnation, branch 0), or raises term,
    /// generation and attempt of the one that is there. A checkpoint that an earlier boot left undecided stays undecided: the caller decides
    /// it (nobody but this boot can confirm it any more, and it has no permit, so it aborts it) before it creates another.
    ///
    /// # Errors
    /// See [`CoordinationError`].
    async fn begin(&self, begin: &Begin) -> Result<Register, CoordinationError>;

    /// Says where the job's spec is; once. The same spec again is no change.
    ///
    /// # Errors
    /// There is another spec, or see [`CoordinationError`].
    async fn set_spec(&self, spec: &ObjectRef) -> Result<(), CoordinationError>;

    /// Creates checkpoint `number` at `created_at_ms` (milliseconds since 1970), and in the same write retires restore points beyond `keep`
    /// (see `Register::create`). The permit is what confirming it takes.
    ///
    /// # Errors
    /// The number was used, another checkpoint is undecided, or see [`CoordinationError`].
    async fn create(&self, number: CheckpointNumber, created_at_ms: u64, keep: u32) -> Result<CommitPermit, CoordinationError>;

    /// Confirms the checkpoint of this permit: the manifest is the truth from now on. The caller has made the manifest and all that it names
    /// durable before.
    ///
    /// # Errors
    /// The checkpoint was aborted, another boot claimed the job since, or see [`CoordinationError`].
    async fn confirm(&self, permit: CommitPermit, manifest: &ObjectRef) -> Result<(), CoordinationError>;

    /// Aborts a checkpoint. This is a write that conflicts with its confirmation: whichever comes first is the truth.
    ///
    /// # Errors
    /// The checkpoint is decided already, or see [`CoordinationError`].
    async fn abort(&self, number: CheckpointNumber) -> Result<(), CoordinationError>;

    /// Confirms the checkpoint of this permit as a return to an earlier one: in the same write the branch is raised and `streams` replace those
    /// of the job. Answers the register after it.
    ///
    /// # Errors
    /// As [`confirm`](Self::confirm).
    async fn go_back(&self, permit: CommitPermit, manifest: &ObjectRef, streams: &[StreamRecord]) -> Result<Register, CoordinationError>;

    /// Gives a restore point a name, at `created_at_ms`. In one write that conflicts with its retirement. Needs no claim: anybody may name a
    /// checkpoint while the job runs, where the coordinator lets several processes in.
    ///
    /// # Errors
    /// It is no restore point (any more), the name is taken, or see [`CoordinationError`].
    async fn save_point(
        &self,
        name: &SavepointName,
        number: CheckpointNumber,
        created_at_ms: u64,
    ) -> Result<SavepointRecord, CoordinationError>;

    /// Deletes a savepoint. Needs no claim.
    ///
    /// # Errors
    /// There is none of this name, or see [`CoordinationError`].
    async fn delete_savepoint(&self, name: &SavepointName) -> Result<(), CoordinationError>;

    /// Waits until this boot may show something to the outside (final names of output files): at once where nobody else can take the job;
    /// otherwise not while the last contact is so long ago that another host may have taken it, and then only if none has.
    ///
    /// # Errors
    /// Another boot claimed the job, or the contact did not come back in time.
    async fn may_show(&self) -> Result<(), CoordinationError>;

    /// The id of the cluster, which an archive keeps too, so that neither is taken for the other's; none where coordination and archive lie in one
    /// folder. Asked after the claim.
    ///
    /// # Errors
    /// The record can't be believed or reached.
    async fn cluster(&self) -> Result<Option<HostId>, CoordinationError>;
}

/// The right to confirm one checkpoint, once: made by creating it under a valid claim, used up by [`Coordinator::confirm`]. It can't be copied,
/// and it is worth nothing after the checkpoint was aborted or the job was claimed anew.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a created checkpoint is confirmed with its permit, or aborted"]
pub struct CommitPermit {
    number: CheckpointNumber,
    term: Term,
    boot: Boot,
}

impl CommitPermit {
    /// The permit for the newest checkpoint of a register that was just written under a valid claim.
    pub(crate) const fn of(register: &Register) -> Self {
        Self::under(register.created, (register.term, register.boot))
    }

    /// The permit for a checkpoint that was just created under this claim.
    pub(crate) const fn under(number: CheckpointNumber, (term, boot): (Term, Boot)) -> Self {
        Self { number, term, boot }
    }

    /// The checkpoint.
    #[must_use]
    pub const fn number(&self) -> CheckpointNumber {
        self.number
    }

    /// The claim under which the checkpoint was created.
    #[must_use]
    pub const fn claim(&self) -> (Term, Boot) {
        (self.term, self.boot)
    }
}
