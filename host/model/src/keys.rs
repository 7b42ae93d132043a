//! Every key of the archive in one place. Each names its owner: the boot that wrote it, or the term; and the job's incarnation, so that a job
//! that was deleted and made again shares nothing with its predecessor. Refuses nothing: keys are made of valid names only.
//!
//! ```text
//! tenants/<tenant>/jobs/<job>/<incarnation>/marker                      the job was here: created with the incarnation
//! tenants/<tenant>/jobs/<job>/<incarnation>/specs/<sha-256>             the job as it was submitted, its input plans
//! tenants/<tenant>/jobs/<job>/<incarnation>/plans/<sha-256>             the plan of a file input
//! tenants/<tenant>/jobs/<job>/<incarnation>/parts/<boot>/<n>            a part, n counted by its host from 1
//! tenants/<tenant>/jobs/<job>/<incarnation>/manifests/<N>-<term>-<k>    the manifest of checkpoint N, k-th sealing
//! tenants/<tenant>/jobs/<job>/<incarnation>/pages/<term>/<sha-256>      a page of a full manifest
//! tenants/<tenant>/jobs/<job>/<incarnation>/bases/<boot>/<n>            a file of a base, n counted by its host from 1
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

    /// A page of a full manifest, by the digest of its bytes: one in which nothing changed is the one that is there.
    #[must_use]
    pub fn page(&self, term: Term, page: Digest) -> String {
        format!("{}/pages/{term}/{page}", self.root)
    }

    /// The n-th file of a base that a host process has put there.
    #[must_use]
    pub fn base_file(&self, boot: Boot, n: u64) -> String {
        format!("{}/bases/{boot}/{n:010}", self.root)
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

/// Who may still write an object, or give it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The job: the object stays as long as the job does.
    Job,
    /// The start that submitted the job: an object that the spec does not name was left by one that died before.
    Submission,
    /// A host process.
    Boot(Boot),
    /// A leader.
    Term(Term),
}

impl JobKeys {
    /// The owner of an object of this job, by its key; none if the key is not of a kind known here: such an object is nobody's to delete.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<Owner> {
        let rest = key.strip_prefix(self.root.as_str())?.strip_prefix('/')?;
        let words: Vec<&str> = rest.split('/').collect();
        let boot = |text: &str| Boot::try_from(text.to_owned()).ok().map(Owner::Boot);
        let term = |text: &str| text.parse().ok().map(|term| Owner::Term(Term(term)));
        match words.as_slice() {
            ["marker" | "tombstone"] => Some(Owner::Job),
            ["specs" | "plans", _] => Some(Owner::Submission),
            ["parts" | "bases", of, _] => boot(of),
            ["pages", of, _] => term(of),
            ["manifests", name] => term(name.split('-').nth(1)?),
            // Version 1 wrote pages of manifests, `<first>-<last>-<term>`.
            ["pages", name] => term(name.split('-').nth(2)?),
            _ => None,
        }
    }
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

    #[test]
    fn every_key_names_its_owner_and_what_is_unknown_is_nobodys() {
        let keys = JobKeys::new(&JobName::new("wordcount").unwrap(), Incarnation(7));
        let digest = Digest::of(b"");
        let cases = [
            (keys.marker(), Some(Owner::Job)),
            (keys.tombstone(), Some(Owner::Job)),
            (keys.spec(digest), Some(Owner::Submission)),
            (keys.plan(digest), Some(Owner::Submission)),
            (keys.part(Boot(5), 3), Some(Owner::Boot(Boot(5)))),
            (keys.base_file(Boot(6), 3), Some(Owner::Boot(Boot(6)))),
            (keys.page(Term(4), digest), Some(Owner::Term(Term(4)))),
            (keys.manifest(CheckpointNumber(42), Term(3), 0), Some(Owner::Term(Term(3)))),
            (format!("{}/pages/0000000001-0000000063-2", keys.root()), Some(Owner::Term(Term(2)))),
            (format!("{}/parts/what/1", keys.root()), None),
            (format!("{}/else", keys.root()), None),
            (JobKeys::new(&JobName::new("wordcount").unwrap(), Incarnation(8)).marker(), None),
        ];
        for (key, expected) in cases {
            assert_eq!(keys.owner(&key), expected, "{key}");
        }
    }
}
