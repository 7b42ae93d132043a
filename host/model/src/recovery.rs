//! What a start does with what it finds: the local store, output files between two names, coordination that may have lost its data. Refuses to
//! take corrupt for absent, and to choose a restore point by itself: that is the coordinator's record.

use thiserror::Error;

use crate::digest::Digest;
use crate::history::Link;
use crate::manifest::Base;
use crate::names::{Branch, CheckpointNumber, Incarnation};
use crate::register::Register;

/// What a task's local store says that it holds at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The job's incarnation.
    pub incarnation: Incarnation,
    /// The line of history.
    pub branch: Branch,
    /// The segment that is applied, with all before it.
    pub segment: Digest,
}

/// What to do with a task's local store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalStore {
    /// Keep it, and apply the links of the chain from this index on.
    Resume {
        /// Index of the first link to apply.
        from: usize,
    },
    /// Wipe it, take the base if there is one, and apply the whole chain.
    Wipe,
}

/// Judges a local store: it is taken only if what it holds is the confirmed base, or in the confirmed chain after it, of the same incarnation and
/// branch. Applying a link again does no harm, deltas hold absolute values only. A segment in the middle of merged deltas is not found, and the
/// store is wiped: stores are marked before their deltas are merged, so that only a kill right then leads here.
#[must_use]
pub fn local_store(
    held: Option<Held>,
    (incarnation, branch): (Incarnation, Branch),
    (base, chain): (Option<&Base>, &[Link]),
) -> LocalStore {
    let Some(held) = held.filter(|held| held.incarnation == incarnation && held.branch == branch) else { return LocalStore::Wipe };
    if base.is_some_and(|base| base.segment == held.segment) {
        return LocalStore::Resume { from: 0 };
    }
    chain.iter().position(|link| link.segment == held.segment).map_or(LocalStore::Wipe, |index| LocalStore::Resume { from: index + 1 })
}

/// What lies under a file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisk {
    /// Nothing.
    Absent,
    /// A file with the length and digest expected.
    Same,
    /// Another file.
    Other,
}

/// What to do for an open release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseMove {
    /// Give the temporary file its final name.
    Rename,
    /// It is done already; a temporary file that is left over goes.
    Done,
    /// Stop the job: somebody changed the file.
    Stop(&'static str),
    /// Stop the job, unless a flag says that the file was consumed.
    Lost,
}

/// Judges an open release by what lies under its temporary and its final name.
#[must_use]
pub const fn release(temporary: OnDisk, name: OnDisk) -> ReleaseMove {
    match (temporary, name) {
        (_, OnDisk::Same) => ReleaseMove::Done,
        (_, OnDisk::Other) => ReleaseMove::Stop("another file has its name"),
        (OnDisk::Same, OnDisk::Absent) => ReleaseMove::Rename,
        (OnDisk::Other, OnDisk::Absent) => ReleaseMove::Stop("its temporary file was altered"),
        (OnDisk::Absent, OnDisk::Absent) => ReleaseMove::Lost,
    }
}

/// An incarnation of the job that the archive knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archived {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// The highest number of any manifest of it.
    pub highest: Option<CheckpointNumber>,
    /// Whether its deletion was written down.
    pub deleted: Deleted,
}

/// Whether an incarnation was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// There is a tombstone.
    Yes,
    /// There is none.
    No,
}

/// Coordination data was lost.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LostData {
    /// The archive has checkpoints of an incarnation that coordination does not know.
    #[error(
        "the archive holds checkpoints up to {highest} of incarnation {incarnation}, of which the coordination data knows nothing: it was lost \
         or belongs to another archive; restore it, or start anew with an empty archive"
    )]
    Foreign {
        /// The incarnation.
        incarnation: Incarnation,
        /// The highest number of its manifests.
        highest: CheckpointNumber,
    },
    /// The archive has a manifest with a number that was never created.
    #[error(
        "the archive holds a manifest of checkpoint {highest}, but the coordination data has created no number above {created}: it is older \
         than the archive; restore the newest copy of it"
    )]
    Behind {
        /// The highest number of a manifest.
        highest: CheckpointNumber,
        /// The highest number created.
        created: CheckpointNumber,
    },
}

/// Judges whether coordination has lost data: an honest crash at any step passes. The archive is listed first and the register read afterwards:
/// numbers only grow, and are created before their manifests, so a host that works meanwhile passes too.
///
/// # Errors
/// See [`LostData`].
pub fn check_coordination(register: Option<&Register>, archived: &[Archived]) -> Result<(), LostData> {
    for found in archived {
        let Some(highest) = found.highest else { continue };
        match register.filter(|register| register.incarnation == found.incarnation) {
            Some(register) if highest > register.created => return Err(LostData::Behind { highest, created: register.created }),
            Some(_) => {}
            None if found.deleted == Deleted::Yes => {}
            None => return Err(LostData::Foreign { incarnation: found.incarnation, highest }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> Link {
        let segment = Digest::of(name.as_bytes());
        Link { first: segment, segment, segments: 1, deltas: vec![] }
    }

    fn base(name: &str) -> Base {
        Base { segment: Digest::of(name.as_bytes()), created_at_ms: 0, files: vec![] }
    }

    #[test]
    fn a_local_store_is_taken_only_from_the_confirmed_chain_of_the_same_branch() {
        let chain = [link("a"), link("b"), link("c")];
        let here = (Incarnation(1), Branch(1));
        let held = |segment: &str| Some(Held { incarnation: here.0, branch: here.1, segment: Digest::of(segment.as_bytes()) });
        let cases = [
            (held("a"), LocalStore::Resume { from: 1 }),
            (held("c"), LocalStore::Resume { from: 3 }),
            (held("base"), LocalStore::Resume { from: 0 }),
            (held("unconfirmed"), LocalStore::Wipe),
            (None, LocalStore::Wipe),
            (held("a").map(|held| Held { branch: Branch(2), ..held }), LocalStore::Wipe),
            (held("a").map(|held| Held { incarnation: Incarnation(2), ..held }), LocalStore::Wipe),
        ];
        for (held, expected) in cases {
            assert_eq!(local_store(held, here, (Some(&base("base")), &chain)), expected, "{held:?}");
        }
    }

    #[test]
    fn a_release_is_repeated_until_done_and_never_over_another_file() {
        use OnDisk::{Absent, Other, Same};
        for temporary in [Absent, Same, Other] {
            assert_eq!(release(temporary, Same), ReleaseMove::Done);
            assert_eq!(release(temporary, Other), ReleaseMove::Stop("another file has its name"));
        }
        assert_eq!(release(Same, Absent), ReleaseMove::Rename);
        assert_eq!(release(Absent, Absent), ReleaseMove::Lost);
        assert_eq!(release(Other, Absent), ReleaseMove::Stop("its temporary file was altered"));
    }
}
