//! Tests of what the nodes say about a write, on a tree of nodes in memory that does what a transaction says, with its versions.

use std::collections::BTreeMap;

use gregor_model::digest::Digest;
use gregor_model::names::{Boot, Incarnation, StreamName, Term};
use gregor_model::register::Forbidden;
use serde::de::DeserializeOwned;

use super::super::facts::At;
use super::super::nodes::{NODE_BYTES_MAX, decode};
use super::super::url::Root;
use super::*;

const OWN: &str = "/r/election/default.j-0000000001";
const CLAIM: Option<Claim> = Some(Claim { term: Term(1), boot: Boot(1) });

/// Nodes by path: content and version.
#[derive(Clone)]
struct Tree(BTreeMap<String, (Vec<u8>, i32)>);

impl Tree {
    fn new() -> Self {
        let names = (paths().savepoints(), (Vec::new(), 0));
        Self(BTreeMap::from([names, (OWN.to_owned(), (Vec::new(), 0))]))
    }

    /// All of it, or nothing.
    fn transact(&mut self, ops: &[Op]) -> Result<(), String> {
        let mut next = self.0.clone();
        for op in ops {
            match op {
                Op::Create { path, data } => {
                    if next.insert(path.clone(), (data.clone(), 0)).is_some() {
                        return Err(format!("{path} is there"));
                    }
                }
                Op::Check { path, version } => expect(&next, path, *version)?,
                Op::Set { path, data, version } => {
                    expect(&next, path, Some(*version))?;
                    next.insert(path.clone(), (data.clone(), version + 1));
                }
                Op::Delete { path, version } => {
                    expect(&next, path, Some(*version))?;
                    next.remove(path);
                }
            }
        }
        self.0 = next;
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Option<At<T>> {
        let (data, version) = self.0.get(path)?;
        Some(At { value: decode(data).unwrap(), version: *version })
    }

    fn below(&self, folder: &str) -> Vec<String> {
        self.0.keys().filter_map(|path| path.strip_prefix(&format!("{folder}/"))).map(str::to_owned).collect()
    }

    fn facts(&self, rank: Rank) -> Facts {
        let paths = paths();
        let checkpoints = self.below(&paths.checkpoints()).into_iter().map(|name| CheckpointNumber(name.parse().unwrap()));
        let savepoints = self.below(&paths.savepoints()).into_iter().map(|name| SavepointName::new(name).unwrap());
        Facts {
            cluster: None,
            generation: self.get(&paths.generation()),
            spec: self.get(&paths.spec()),
            latest: self.get(&paths.latest()),
            checkpoints: checkpoints.map(|number| (number, self.get(&paths.checkpoint(number)).unwrap())).collect(),
            savepoints: savepoints.map(|name| (name.clone(), self.get(&paths.savepoint(&name)).unwrap())).collect(),
            names: self.0[&paths.savepoints()].1,
            rank,
        }
    }

    /// Decides and writes. Answers the transaction.
    #[track_caller]
    fn write(&mut self, intent: &Intent) -> Vec<Op> {
        match decide(self, intent, (Sent::Never, CLAIM)) {
            Ok(Next::Write(ops, after)) => {
                self.transact(&ops).unwrap();
                assert_eq!(self.facts(Rank::Leads).register(&job()), Ok(Some(*after)), "{intent:?}");
                ops
            }
            other => panic!("{intent:?}: {other:?}"),
        }
    }
}

fn expect(nodes: &BTreeMap<String, (Vec<u8>, i32)>, path: &str, version: Option<i32>) -> Result<(), String> {
    let (_, found) = nodes.get(path).ok_or_else(|| format!("{path} is not there"))?;
    if version.is_none_or(|version| version == *found) { Ok(()) } else { Err(format!("{path} has version {found}")) }
}

fn decide(tree: &Tree, intent: &Intent, (sent, claim): (Sent, Option<Claim>)) -> Result<Next, CoordinationError> {
    let (paths, job) = (paths(), job());
    next(&Situation { paths: &paths, job: &job, intent, sent, claim, own: Some(OWN) }, &tree.facts(Rank::Leads))
}

fn paths() -> Paths {
    Paths::new(Root::new("/r").unwrap(), job())
}

fn job() -> JobName {
    JobName::new("j").unwrap()
}

fn begin(boot: u128) -> Intent {
    Intent::Begin(Begin { boot: Boot(boot), fresh: Incarnation(boot), streams: streams(1) })
}

fn streams(count: u128) -> Vec<StreamRecord> {
    let stream = |index| StreamRecord {
        name: StreamName::new(format!("s{index}")).unwrap(),
        incarnation: Incarnation(index),
        partitions: 1,
        ancestors: vec![],
    };
    (0..count).map(stream).collect()
}

fn object(key: &str) -> ObjectRef {
    ObjectRef { key: key.to_owned(), sha256: Digest::of(key.as_bytes()) }
}

fn create(number: u64) -> Intent {
    Intent::Create { number: CheckpointNumber(number), created_at_ms: number, keep: 1 }
}

fn confirm(number: u64) -> Intent {
    Intent::Confirm { number: CheckpointNumber(number), manifest: object("m") }
}

fn save_point(number: u64) -> Intent {
    Intent::SavePoint { name: SavepointName::new("n").unwrap(), number: CheckpointNumber(number), created_at_ms: 1 }
}

fn script() -> Vec<Intent> {
    let (manifest, number) = (object("m"), CheckpointNumber(3));
    vec![
        begin(1),
        Intent::SetSpec(object("spec")),
        create(1),
        confirm(1),
        save_point(1),
        create(2),
        Intent::Abort(CheckpointNumber(2)),
        create(3),
        Intent::GoBack { number, manifest, streams: streams(2) },
        create(4),
        Intent::DeleteSavepoint(SavepointName::new("n").unwrap()),
        confirm(4),
        create(5),
    ]
}

#[test]
fn every_write_is_seen_to_be_done_and_none_of_its_duplicates_does_anything() {
    let mut tree = Tree::new();
    let mut sent = Vec::new();
    for intent in script() {
        let generation = tree.facts(Rank::Leads).generation.map(|generation| generation.version);
        let before = decide(&tree, &intent, (Sent::Maybe { generation }, CLAIM));
        assert!(matches!(before, Ok(Next::Write(..))), "{intent:?} is not taken for done before it is: {before:?}");
        sent.push(tree.write(&intent));
        let after = decide(&tree, &intent, (Sent::Maybe { generation }, CLAIM));
        assert!(matches!(after, Ok(Next::Done(_))), "{intent:?} is not seen to be done: {after:?}");
        for ops in &sent {
            assert!(tree.clone().transact(ops).is_err(), "after {intent:?} this happens again: {ops:?}");
        }
    }
}

#[test]
fn every_write_under_a_claim_fails_once_another_boot_has_the_job_or_the_node_of_the_election_is_gone() {
    let mut tree = Tree::new();
    for intent in script() {
        let named = matches!(intent, Intent::SavePoint { .. } | Intent::DeleteSavepoint(_));
        let Ok(Next::Write(ops, _)) = decide(&tree, &intent, (Sent::Never, CLAIM)) else { panic!("{intent:?}") };
        let mut taken = tree.clone();
        taken.write(&begin(2));
        assert_eq!(taken.transact(&ops).is_ok(), named, "{intent:?} after another claim");
        let mut replaced = tree.clone();
        replaced.0.remove(OWN);
        assert_eq!(replaced.transact(&ops).is_ok(), named, "{intent:?} without a candidate");
        if !named && !matches!(intent, Intent::Begin(_)) {
            let fenced = decide(&taken, &intent, (Sent::Maybe { generation: Some(0) }, CLAIM));
            assert!(matches!(fenced, Err(CoordinationError::Fenced { .. })), "{intent:?}: {fenced:?}");
            let unclaimed = decide(&tree, &intent, (Sent::Never, None));
            assert!(matches!(unclaimed, Err(CoordinationError::Fenced { .. })), "{intent:?}: {unclaimed:?}");
        }
        tree.transact(&ops).unwrap();
    }
}

#[test]
fn a_confirmation_that_was_done_before_the_job_was_lost_is_told_as_done() {
    let mut tree = Tree::new();
    for intent in [begin(1), create(1), confirm(1), begin(2)] {
        tree.write(&intent);
    }
    let told = decide(&tree, &confirm(1), (Sent::Maybe { generation: Some(0) }, CLAIM));
    assert!(matches!(told, Ok(Next::Done(_))), "{told:?}");
    let never_sent = decide(&tree, &confirm(1), (Sent::Never, CLAIM));
    assert!(matches!(never_sent, Err(CoordinationError::Fenced { .. })), "{never_sent:?}");
}

#[test]
fn what_retired_before_it_could_be_seen_is_undecided() {
    let mut tree = Tree::new();
    for intent in [begin(1), create(1), confirm(1), create(2), confirm(2)] {
        tree.write(&intent);
    }
    let told = decide(&tree, &confirm(1), (Sent::Maybe { generation: Some(0) }, CLAIM));
    assert!(matches!(told, Ok(Next::Done(_))), "it is still there: {told:?}");
    tree.write(&create(3));
    let told = decide(&tree, &confirm(1), (Sent::Maybe { generation: Some(0) }, CLAIM));
    assert!(matches!(told, Err(CoordinationError::Undecided { .. })), "{told:?}");
}

#[test]
fn an_abort_and_a_confirmation_exclude_each_other() {
    let mut tree = Tree::new();
    tree.write(&begin(1));
    tree.write(&create(1));
    let Ok(Next::Write(confirmed, _)) = decide(&tree, &confirm(1), (Sent::Never, CLAIM)) else { panic!("it is open") };
    tree.write(&Intent::Abort(CheckpointNumber(1)));
    assert!(tree.clone().transact(&confirmed).is_err());
    let told = decide(&tree, &confirm(1), (Sent::Maybe { generation: Some(0) }, CLAIM)).unwrap_err();
    assert_eq!(told, CoordinationError::Forbidden { job: job(), forbidden: Forbidden::NotOpen(CheckpointNumber(1)) });
}

#[test]
fn a_savepoint_and_the_retirement_of_its_checkpoint_exclude_each_other() {
    let mut tree = Tree::new();
    for intent in [begin(1), create(1), confirm(1), create(2), confirm(2)] {
        tree.write(&intent);
    }
    let Ok(Next::Write(named, _)) = decide(&tree, &save_point(1), (Sent::Never, None)) else { panic!("1 is kept") };
    tree.write(&create(3));
    assert!(tree.clone().transact(&named).is_err());
    let refused = decide(&tree, &save_point(1), (Sent::Never, None)).unwrap_err();
    assert_eq!(refused, CoordinationError::Forbidden { job: job(), forbidden: Forbidden::NotKept(CheckpointNumber(1)) });
}

#[test]
fn a_host_begins_only_when_it_leads() {
    let (paths, job, intent) = (paths(), job(), begin(1));
    let situation = Situation { paths: &paths, job: &job, intent: &intent, sent: Sent::Never, claim: None, own: Some(OWN) };
    for rank in [Rank::Absent, Rank::Behind("default.j-0000000000".to_owned())] {
        assert_eq!(next(&situation, &Tree::new().facts(rank)), Ok(Next::Wait));
    }
}

#[test]
fn only_who_holds_the_job_and_leads_may_show() {
    let mut tree = Tree::new();
    tree.write(&begin(1));
    let show = |tree: &Tree, rank, claim| may_show(&job(), claim, &tree.facts(rank));
    assert!(matches!(show(&tree, Rank::Leads, CLAIM), Ok(Next::Done(_))));
    assert_eq!(show(&tree, Rank::Behind("x".to_owned()), CLAIM), Ok(Next::Wait));
    assert!(matches!(show(&tree, Rank::Absent, CLAIM), Err(CoordinationError::Fenced { .. })));
    assert!(matches!(show(&tree, Rank::Leads, None), Err(CoordinationError::Fenced { .. })));
    tree.write(&begin(2));
    assert!(matches!(show(&tree, Rank::Leads, CLAIM), Err(CoordinationError::Fenced { .. })));
}

#[test]
fn a_node_that_would_be_too_large_is_refused_by_its_path() {
    let count = u128::try_from(NODE_BYTES_MAX / 60).unwrap();
    let large = Intent::Begin(Begin { boot: Boot(1), fresh: Incarnation(1), streams: streams(count) });
    let refused = decide(&Tree::new(), &large, (Sent::Never, None)).unwrap_err();
    let CoordinationError::Refused { what, problem } = &refused else { panic!("{refused}") };
    assert!(what.ends_with("/generation") && problem.contains("65536"), "{refused}");
    let mut tree = Tree::new();
    tree.write(&begin(1));
    let many = Intent::Create { number: CheckpointNumber(1), created_at_ms: 1, keep: KEEP_MAX + 1 };
    let refused = decide(&tree, &many, (Sent::Never, CLAIM)).unwrap_err();
    assert!(matches!(refused, CoordinationError::Refused { .. }), "{refused}");
}
