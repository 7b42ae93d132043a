//! Who leads a job: decided on the candidates that were seen. The leader is the lowest of the job's candidates; a restart of a host takes the
//! very place of its predecessor, before all that wait; any other host waits until the node before its own is gone. Refuses to take a name for a candidate that is
//! not made of the job's prefix and a sequence: jobs of one root share the folder.

use gregor_model::names::HostId;

use super::nodes::CandidateNode;

/// Digits of a sequence, at least; ZooKeeper fills it up with zeros.
const SEQUENCE_DIGITS: usize = 10;

/// A candidate of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its node's name.
    pub(super) name: String,
    /// The session that it lives as long as.
    pub(super) session: i64,
    /// What it says of itself.
    pub(super) node: CandidateNode,
}

/// Where a process stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rank {
    /// It is no candidate.
    Absent,
    /// Its node is the lowest.
    Leads,
    /// The node of this name comes next before its own.
    Behind(String),
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Me {
    pub(super) host: HostId,
    pub(super) instance: HostId,
    pub(super) session: i64,
}

/// Whether this process was a candidate before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It enters: whoever has its host id is its dead predecessor.
    First,
    /// It comes back with a new session: another process with its host id came after it.
    Again,
}

/// How to get a node in the election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Where this process's node comes from.
    pub(super) place: Place,
    /// Other nodes that only wait for their session to expire.
    pub(super) remove: Vec<String>,
}

/// Where this process's node in the election comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// It is there.
    Own(String),
    /// It takes this one, whose owner is dead.
    Inherit(String),
    /// It is made at the end of the queue.
    Last,
}

/// How to get a node in the election, on the candidates that are there.
pub(super) fn enter(candidates: &[Candidate], me: Me, entry: Entry) -> Step {
    let is_own = |candidate: &&Candidate| candidate.session == me.session && candidate.node.instance == me.instance;
    let is_dead = |candidate: &&Candidate| {
        let same = candidate.node.instance == me.instance;
        candidate.session != me.session && candidate.node.host == me.host && (same || entry == Entry::First)
    };
    let mut dead: Vec<String> = candidates.iter().filter(is_dead).map(|candidate| candidate.name.clone()).collect();
    dead.sort_by_key(|name| std::cmp::Reverse(sequence(name)));
    let own = candidates.iter().filter(is_own).min_by_key(|candidate| sequence(&candidate.name));
    let place = match own {
        Some(own) => Place::Own(own.name.clone()),
        None => dead.pop().map_or(Place::Last, Place::Inherit),
    };
    Step { place, remove: dead }
}

/// Where the candidate `own` stands among the nodes of the election. Names of other jobs don't count.
pub(super) fn rank(names: &[String], prefix: &str, own: Option<&str>) -> Rank {
    let Some(own) = own.filter(|own| names.iter().any(|name| name == own)) else { return Rank::Absent };
    let mine = sequence(own);
    let before = names.iter().filter(|name| is_candidate(name, prefix) && sequence(name) < mine);
    match before.max_by_key(|name| sequence(name)) {
        Some(name) => Rank::Behind(name.clone()),
        None => Rank::Leads,
    }
}

/// The lowest candidate: who leads, or is about to.
pub(super) fn leader<'a>(names: &'a [String], prefix: &str) -> Option<&'a String> {
    names.iter().filter(|name| is_candidate(name, prefix)).min_by_key(|name| sequence(name))
}

/// Whether a node of the election is a candidate of the job with this prefix.
pub(super) fn is_candidate(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.len() >= SEQUENCE_DIGITS && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The sequence at the end of a name; the last of all, where it can't be told.
fn sequence(name: &str) -> u64 {
    name.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Me = Me { host: HostId(1), instance: HostId(10), session: 100 };

    fn candidate(name: &str, host: u128, (instance, session): (u128, i64)) -> Candidate {
        let node = CandidateNode { host: HostId(host), process: 1, instance: HostId(instance) };
        Candidate { name: name.to_owned(), session, node }
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_lowest_candidate_of_the_job_leads_and_each_other_waits_for_the_one_before() {
        let all = names(&["default.a-0000000007", "default.a-b-0000000001", "default.b-0000000002", "default.a-0000000004", "default.a-x"]);
        for (own, expected) in [
            (Some("default.a-0000000004"), Rank::Leads),
            (Some("default.a-0000000007"), Rank::Behind("default.a-0000000004".to_owned())),
            (Some("default.a-0000000009"), Rank::Absent),
            (None, Rank::Absent),
        ] {
            assert_eq!(rank(&all, "default.a-", own), expected, "{own:?}");
        }
        assert_eq!(leader(&all, "default.a-").map(String::as_str), Some("default.a-0000000004"));
        assert_eq!(leader(&all, "default.c-"), None);
    }

    #[test]
    fn a_job_whose_name_looks_like_a_sequence_is_another_job() {
        let all = names(&["default.a-0000000001-0000000003", "default.a-0000000005"]);
        assert_eq!(rank(&all, "default.a-", Some("default.a-0000000005")), Rank::Leads);
        assert_eq!(rank(&all, "default.a-0000000001-", Some("default.a-0000000001-0000000003")), Rank::Leads);
    }

    #[test]
    fn a_restart_takes_the_place_of_its_predecessor_and_nobody_elses() {
        let all = [candidate("j-0000000003", 1, (8, 80)), candidate("j-0000000001", 1, (9, 90)), candidate("j-0000000002", 2, (20, 200))];
        let step = Step { place: Place::Inherit("j-0000000001".to_owned()), remove: vec!["j-0000000003".to_owned()] };
        assert_eq!(enter(&all, ME, Entry::First), step);
        assert_eq!(enter(&all[2..], ME, Entry::First), Step { place: Place::Last, remove: vec![] });
    }

    #[test]
    fn a_process_that_comes_back_takes_its_own_old_place_but_not_its_successors() {
        let all = [candidate("j-0000000001", 1, (11, 110)), candidate("j-0000000002", 1, (10, 90))];
        let step = Step { place: Place::Inherit("j-0000000002".to_owned()), remove: vec![] };
        assert_eq!(enter(&all, ME, Entry::Again), step);
        assert_eq!(enter(&all[..1], ME, Entry::Again), Step { place: Place::Last, remove: vec![] });
    }

    #[test]
    fn a_node_whose_making_was_not_answered_is_found_again() {
        let all = [candidate("j-0000000002", 1, (10, 100)), candidate("j-0000000001", 1, (10, 100))];
        let step = Step { place: Place::Own("j-0000000001".to_owned()), remove: vec![] };
        assert_eq!(enter(&all, ME, Entry::First), step);
    }
}
