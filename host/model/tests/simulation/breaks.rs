//! Decisions made wrong on purpose: each shows that an invariant would notice. Refuses to reach into the model: the world consults them where it
//! calls a decision.

/// A decision that is made wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// A saved segment is applied to the local store before it is confirmed.
    ApplyBeforeConfirm,
    /// A confirmation without an answer is taken for one that never happens.
    ConcludeAbort,
    /// Sealing takes segments whose parent is not the confirmed one.
    ForgetParent,
    /// The number of an aborted checkpoint is created again.
    ReuseNumber,
    /// A confirmation does not check the generation.
    ConfirmWithoutGeneration,
    /// A confirmation does not check the node of the election.
    ConfirmWithoutElection,
    /// Readers see runs when the manifest is sealed.
    PublishAtSealing,
    /// A start takes the newest manifest of the archive.
    StartFromNewest,
    /// A start reads what is confirmed before it claims the job, and believes it after.
    LookBeforeClaim,
    /// A start keeps a local store of another branch.
    KeepOtherBranch,
    /// A start forgets open releases.
    ForgetReleases,
    /// Collection lists objects after it has read what is reachable.
    ListAfterReachable,
    /// Collection takes what is in flight.
    CollectInFlight,
    /// A base is taken of a segment that is not confirmed.
    BaseOfUnconfirmed,
    /// Merging drops deletions.
    MergeWithoutDeletions,
    /// A new attempt goes on where its predecessor's unconfirmed segment ended.
    KeepPositions,
    /// Going back does not raise the branch.
    GoBackOnBranch,
    /// Objects of a checkpoint go before its node is deleted.
    RetireObjectsFirst,
    /// Offers of another attempt are taken.
    TakeStaleAttempt,
    /// A checkpoint waits for its slowest task for ever.
    WaitForEveryone,
    /// A new manifest forgets the releases that are open.
    DropOpenReleases,
    /// A start removes the temporary files of every attempt, also of those after its own.
    SweepEverything,
    /// Positions of a segment are saved, its changes are not.
    LoseDelta,
}

impl Break {
    /// All of them.
    pub(crate) const ALL: [Self; 23] = [
        Self::ApplyBeforeConfirm,
        Self::ConcludeAbort,
        Self::ForgetParent,
        Self::ReuseNumber,
        Self::ConfirmWithoutGeneration,
        Self::ConfirmWithoutElection,
        Self::PublishAtSealing,
        Self::StartFromNewest,
        Self::LookBeforeClaim,
        Self::KeepOtherBranch,
        Self::ForgetReleases,
        Self::ListAfterReachable,
        Self::CollectInFlight,
        Self::BaseOfUnconfirmed,
        Self::MergeWithoutDeletions,
        Self::KeepPositions,
        Self::GoBackOnBranch,
        Self::RetireObjectsFirst,
        Self::TakeStaleAttempt,
        Self::WaitForEveryone,
        Self::DropOpenReleases,
        Self::SweepEverything,
        Self::LoseDelta,
    ];
}
