//! Where everything stands in ZooKeeper: all paths of a job, and of what the jobs of one root share. Refuses nothing: the parts of a path were
//! checked when they were made.

use gregor_model::keys::DEFAULT_TENANT;
use gregor_model::names::{CheckpointNumber, HostId, JobName, SavepointName};

use super::url::Root;

/// The paths of one job below a root.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    root: Root,
    job: JobName,
}

impl Paths {
    pub(super) const fn new(root: Root, job: JobName) -> Self {
        Self { root, job }
    }

    pub(super) fn root(&self) -> &str {
        self.root.as_str()
    }

    pub(super) fn version(&self) -> String {
        format!("{}/version", self.root)
    }

    pub(super) fn cluster_id(&self) -> String {
        format!("{}/cluster-id", self.root)
    }

    pub(super) fn hosts(&self) -> String {
        format!("{}/hosts", self.root)
    }

    pub(super) fn host(&self, host: HostId) -> String {
        format!("{}/hosts/{host}", self.root)
    }

    pub(super) fn election(&self) -> String {
        format!("{}/election", self.root)
    }

    /// What the names of this job's candidates begin with; the sequence follows.
    pub(super) fn candidate_prefix(&self) -> String {
        format!("{DEFAULT_TENANT}.{}-", self.job)
    }

    pub(super) fn candidate(&self, name: &str) -> String {
        format!("{}/election/{name}", self.root)
    }

    pub(super) fn job(&self) -> String {
        format!("{}/tenants/{DEFAULT_TENANT}/jobs/{}", self.root, self.job)
    }

    pub(super) fn spec(&self) -> String {
        format!("{}/spec", self.job())
    }

    pub(super) fn generation(&self) -> String {
        format!("{}/generation", self.job())
    }

    pub(super) fn latest(&self) -> String {
        format!("{}/latest", self.job())
    }

    pub(super) fn checkpoints(&self) -> String {
        format!("{}/checkpoints", self.job())
    }

    pub(super) fn checkpoint(&self, number: CheckpointNumber) -> String {
        format!("{}/checkpoints/{:010}", self.job(), number.0)
    }

    pub(super) fn savepoints(&self) -> String {
        format!("{}/savepoints", self.job())
    }

    pub(super) fn savepoint(&self, name: &SavepointName) -> String {
        format!("{}/savepoints/{name}", self.job())
    }
}
