//! What may go from the archive. An object goes when it is not reachable from any restore point and nobody can make it reachable any more: its
//! owner is dead, or has given it up. Refuses to touch what belongs to the job itself, what a living owner still works on, what is of no kind
//! known here, and what is younger than the grace asked for.
//!
//! The order of observations makes a stale collector harmless: first the objects are listed, then it is asked what is in flight and who lives,
//! and last what is reachable. An object that was listed is older than that; if it was in flight before and is not any more, it was confirmed
//! before the register was read, or given up. That an owner is dead, and that an object is not reachable, never becomes false again.

use std::collections::BTreeSet;

use crate::keys::{JobKeys, Owner};
use crate::names::{Boot, Term};

/// Who is at work, read after the objects were listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Living {
    /// The host process and leader that the register names, if it may still be at work and is not the collector's own process.
    pub other: Option<(Boot, Term)>,
    /// What this process has written and no confirmed manifest names yet, by key.
    pub in_flight: BTreeSet<String>,
    /// Whether the job has a spec: before, a start may be about to name any.
    pub submitted: Submitted,
}

/// Whether the job's spec is known to coordination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Whether an object that was listed may go. `reachable` are the keys of all that restore points need, and of their manifests, read last.
#[must_use]
pub fn is_garbage(keys: &JobKeys, key: &str, (living, reachable): (&Living, &BTreeSet<String>)) -> bool {
    if reachable.contains(key) || living.in_flight.contains(key) {
        return false;
    }
    match keys.owner(key) {
        None | Some(Owner::Job) => false,
        Some(Owner::Submission) => living.submitted == Submitted::Yes,
        Some(Owner::Boot(boot)) => living.other.is_none_or(|(other, _)| other != boot),
        // Terms rise: an older one than the living is dead.
        Some(Owner::Term(term)) => living.other.is_none_or(|(_, other)| term < other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::names::{CheckpointNumber, Incarnation, JobName};

    #[test]
    fn only_what_nobody_can_need_any_more_is_garbage() {
        let keys = JobKeys::new(&JobName::new("j").unwrap(), Incarnation(1));
        let manifest = |term| keys.manifest(CheckpointNumber(3), Term(term), 0);
        let alone = Living { other: None, in_flight: BTreeSet::from([keys.part(Boot(1), 9)]), submitted: Submitted::Yes };
        let beside = Living { other: Some((Boot(2), Term(5))), ..alone.clone() };
        let anew = Living { submitted: Submitted::No, ..alone.clone() };
        let reachable = BTreeSet::from([keys.part(Boot(1), 1), keys.part(Boot(3), 1)]);
        let spec = keys.spec(Digest::of(b""));
        let cases = [
            (&alone, keys.part(Boot(1), 1), false, "reachable, mine"),
            (&alone, keys.part(Boot(3), 1), false, "reachable, of a dead owner"),
            (&alone, keys.part(Boot(1), 9), false, "in flight"),
            (&alone, keys.part(Boot(1), 2), true, "mine and given up"),
            (&alone, keys.base_file(Boot(3), 2), true, "of a dead owner"),
            (&beside, keys.part(Boot(2), 2), false, "of a living owner"),
            (&beside, keys.part(Boot(3), 2), true, "of a dead owner, beside a living one"),
            (&beside, manifest(5), false, "of the leader"),
            (&beside, manifest(4), true, "of an older leader"),
            (&alone, manifest(5), true, "of nobody"),
            (&alone, spec.clone(), true, "a spec that was not named"),
            (&anew, spec, false, "a spec that may be about to be named"),
            (&alone, keys.marker(), false, "the marker"),
            (&alone, format!("{}/what/else", keys.root()), false, "of no kind that is known"),
            (&alone, "elsewhere/parts/x".to_owned(), false, "of another job"),
        ];
        for (living, key, expected, what) in cases {
            assert_eq!(is_garbage(&keys, &key, (living, &reachable)), expected, "{what}: {key}");
        }
    }
}
