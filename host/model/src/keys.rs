//! Every key of the archive in one place. Each names its owner: the boot that wrote it, or the term; and the job's incarnation, so that a job
//! that was deleted and made again shares nothing with its predecessor. Refuses nothing: keys are made of valid names only.
//!
//! ```text
//! tenants/<tenant>/jobs/<job>/<incarnation>/marker                      the job was here: created with the incarnation
//! tenants/<tenant>/jobs/<job>/<incarnation>/specs/<sha-256>             the job as it was submitted, its input plans
//! tenants/<tenant>/jobs/<job>/<incarnation>/plans/<sha-256>             the plan of a file input
//! tenants/<tenant>/jobs/<job>/<incarnation>/parts/<boot>/<n>            a part, n counted by its host from 1
//! tenants/<tenant>/jobs/<job>/<incarnation>/manifests/<N>-<term>-<k>    the manifest of checkpoint N, k-th sealing
//! tenants/<tenant>/jobs/<job>/<incarnation>/pages/<first>-<last>-<term> manifests first..=last in one object
//! tenants/<tenant>/jobs/<job>/<incarnation>/tombstone                   the job was deleted
//! ```

use crate::digest::Digest;
use crate::names::{Boot, CheckpointNumber, Incarnation, JobName, Term};

/// The tenant that `gregor run` uses.
pub const DEFAULT_TENANT: &str = "default";

/// The keys of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobKeys {
    root: String,
}

impl JobKeys {
    /// The keys of a job of the default tenant.
    #[must_use]
    pub fn new(job: &JobName, incarnation: Incarnation) -> Self {
        Self { root: format!("{}/{incarnation}", Self::incarnations(job)) }
    }

    /// The prefix under which all incarnations of a job stand, without a slash at its end.
    #[must_use]
    pub fn incarnations(job: &JobName) -> String {
        format!("tenants/{DEFAULT_TENANT}/jobs/{job}")
    }

    /// The prefix of this incarnation, without a slash at its end.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The marker.
    #[must_use]
    pub fn marker(&self) -> String {
        format!("{}/marker", self.root)
    }

    /// A spec, by the digest of its bytes: a start that died before it named its spec may leave one that nobody names.
    #[must_use]
    pub fn spec(&self, spec: Digest) -> String {
        format!("{}/specs/{spec}", self.root)
    }

    /// A plan, by the digest of its bytes.
    #[must_use]
    pub fn plan(&self, plan: Digest) -> String {
        format!("{}/plans/{plan}", self.root)
    }

    /// The n-th part of a host process.
    #[must_use]
    pub fn part(&self, boot: Boot, n: u64) -> String {
        format!("{}/parts/{boot}/{n:010}", self.root)
    }

    /// The prefix of all manifests, without a slash at its end.
    #[must_use]
    pub fn manifests(&self) -> String {
        format!("{}/manifests", self.root)
    }

    /// The manifest of a checkpoint.
    #[must_use]
    pub fn manifest(&self, number: CheckpointNumber, term: Term, sealing: u32) -> String {
        format!("{}/{:010}-{term}-{sealing}", self.manifests(), number.0)
    }

    /// A page of manifests.
    #[must_use]
    pub fn page(&self, (first, last): (CheckpointNumber, CheckpointNumber), term: Term) -> String {
        format!("{}/pages/{:010}-{:010}-{term}", self.root, first.0, last.0)
    }

    /// The tombstone.
    #[must_use]
    pub fn tombstone(&self) -> String {
        format!("{}/tombstone", self.root)
    }
}

/// The checkpoint number in a manifest's key, if it is one.
#[must_use]
pub fn number_of_manifest(key: &str) -> Option<CheckpointNumber> {
    let name = key.rsplit('/').next()?;
    name.split('-').next()?.parse().ok().map(CheckpointNumber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_read_back_from_a_manifests_key() {
        let keys = JobKeys::new(&JobName::new("wordcount").unwrap(), Incarnation(7));
        let key = keys.manifest(CheckpointNumber(42), Term(3), 0);
        assert_eq!(key, "tenants/default/jobs/wordcount/00000000000000000000000000000007/manifests/0000000042-3-0");
        assert_eq!(number_of_manifest(&key), Some(CheckpointNumber(42)));
        assert_eq!(number_of_manifest(&keys.marker()), None);
    }
}
