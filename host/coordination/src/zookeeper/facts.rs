//! What was read from ZooKeeper, as plain facts, and the register that they make. Refuses facts that contradict each other, and a ZooKeeper
//! that knows less than it told before: it lost its data, and going on would use numbers twice.

use std::collections::BTreeMap;

use gregor_model::manifest::{ManifestRef, ObjectRef};
use gregor_model::names::{Boot, CheckpointNumber, HostId, JobName, SavepointName, Term};
use gregor_model::register::{CheckpointRecord, Register, SavepointRecord};

use super::election::Rank;
use super::nodes::{CheckpointNode, GenerationNode, LatestNode, Problem, SavepointNode, SpecNode};

/// The content of a node, with the version that a write must expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) version: i32,
}

/// All that one consistent read saw of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// The cluster's id; none if the root is not there.
    pub(super) cluster: Option<HostId>,
    pub(super) generation: Option<At<GenerationNode>>,
    pub(super) spec: Option<At<SpecNode>>,
    pub(super) latest: Option<At<LatestNode>>,
    pub(super) checkpoints: BTreeMap<CheckpointNumber, At<CheckpointNode>>,
    pub(super) savepoints: BTreeMap<SavepointName, At<SavepointNode>>,
    /// The version of the node above the savepoints, which every change of one raises.
    pub(super) names: i32,
    /// Where this process stands in the election.
    pub(super) rank: Rank,
}

/// The right to write for the job, as this process got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) term: Term,
    pub(super) boot: Boot,
}

/// What this process knows to have been in ZooKeeper: it never becomes less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    cluster: Option<HostId>,
    generation: Option<i32>,
    created: CheckpointNumber,
    latest: CheckpointNumber,
}

impl Facts {
    /// The register; none if the job was never begun.
    pub(super) fn register(&self, job: &JobName) -> Result<Option<Register>, Problem> {
        let Some(generation) = &self.generation else {
            let leftovers = self.spec.is_some() || self.latest.is_some() || !self.checkpoints.is_empty() || !self.savepoints.is_empty();
            let lost = || "is gone, but other nodes of the job are there".to_owned();
            return if leftovers { Err(lost()) } else { Ok(None) };
        };
        let GenerationNode { job: of, incarnation, branch, term, generation, attempt, boot, streams } = generation.value.clone();
        let register = Register {
            job: of,
            incarnation,
            branch,
            term,
            generation,
            attempt,
            boot,
            spec: self.spec.as_ref().map(|spec| spec.value.object.clone()),
            streams,
            created: self.created(),
            latest: self.latest.as_ref().map(|latest| manifest_ref(&latest.value)),
            checkpoints: self.checkpoints.iter().map(|(number, node)| checkpoint(*number, &node.value)).collect::<Result<_, _>>()?,
            savepoints: self.savepoints.iter().map(|(name, node)| savepoint(name, &node.value)).collect(),
        };
        register.check(job).map_err(|error| error.to_string())?;
        Ok(Some(register))
    }
}

impl Facts {
    /// The highest number ever created: the newest node is never retired.
    fn created(&self) -> CheckpointNumber {
        self.checkpoints.keys().next_back().copied().unwrap_or_default()
    }
}

impl Memory {
    /// Compares what was read with what was known, and takes it in. The problem names what is missing.
    pub(super) fn take(&mut self, facts: &Facts) -> Result<(), Problem> {
        let created = facts.created();
        let latest = facts.latest.as_ref().map(|latest| latest.value.number).unwrap_or_default();
        let generation = facts.generation.as_ref().map(|generation| generation.version);
        let lost = |what: &str| Err(format!("{what}: this ZooKeeper lost its data or is another one"));
        if let Some(known) = self.cluster
            && facts.cluster != Some(known)
        {
            return match facts.cluster {
                Some(other) => lost(&format!("belongs to the cluster {other}, it was {known} before")),
                None => lost(&format!("has no cluster-id any more, it was {known}")),
            };
        }
        match (self.generation, generation) {
            (Some(known), None) => return lost(&format!("has no generation of the job any more, it had version {known}")),
            (Some(known), Some(found)) if found < known => {
                return lost(&format!("has version {found} of the job's generation, it had {known} before"));
            }
            _ => {}
        }
        if created < self.created || latest < self.latest {
            let known = format!("checkpoint {} was created and {} confirmed before", self.created, self.latest);
            return lost(&format!("knows checkpoints up to {created}, confirmed up to {latest}, but {known}"));
        }
        *self = Self { cluster: facts.cluster.or(self.cluster), generation, created, latest };
        Ok(())
    }

    /// Takes in what this process wrote: the register, and the version of its generation node.
    pub(super) fn wrote(&mut self, register: &Register, generation: Option<i32>) {
        self.created = self.created.max(register.created);
        self.latest = self.latest.max(register.latest.as_ref().map(|latest| latest.number).unwrap_or_default());
        self.generation = self.generation.max(generation);
    }

    /// The cluster's id, if it was ever read.
    pub(super) const fn cluster(&self) -> Option<HostId> {
        self.cluster
    }
}

fn manifest_ref(latest: &LatestNode) -> ManifestRef {
    let object = ObjectRef { key: latest.manifest.clone(), sha256: latest.sha256 };
    ManifestRef { number: latest.number, object }
}

fn checkpoint(number: CheckpointNumber, node: &CheckpointNode) -> Result<CheckpointRecord, Problem> {
    if node.number != number {
        return Err(format!("has a node of checkpoint {number} that says it is checkpoint {}", node.number));
    }
    let manifest = match (&node.manifest, node.sha256) {
        (Some(key), Some(sha256)) => Some(ObjectRef { key: key.clone(), sha256 }),
        (None, None) => None,
        _ => return Err(format!("has a node of checkpoint {number} with half a manifest")),
    };
    Ok(CheckpointRecord { number, created_at_ms: node.created_at.ms(), status: node.status, manifest })
}

fn savepoint(name: &SavepointName, node: &SavepointNode) -> SavepointRecord {
    let manifest = ObjectRef { key: node.manifest.clone(), sha256: node.sha256 };
    SavepointRecord { name: name.clone(), number: node.number, created_at_ms: node.created_at.ms(), manifest }
}

#[cfg(test)]
mod tests {
    use gregor_model::digest::Digest;
    use gregor_model::names::{Attempt, Branch, Generation, Incarnation};
    use gregor_model::register::Status;

    use super::super::nodes::Time;
    use super::*;

    type Spoil = fn(&mut Facts);

    fn job() -> JobName {
        JobName::new("j").unwrap()
    }

    /// A job with checkpoints 1 and 2, both confirmed.
    fn facts() -> Facts {
        let sha256 = Digest::of(b"m");
        let generation = GenerationNode {
            job: job(),
            incarnation: Incarnation(1),
            branch: Branch(0),
            term: Term(3),
            generation: Generation(3),
            attempt: Attempt(3),
            boot: Boot(3),
            streams: vec![],
        };
        let checkpoint = |number| {
            let (created_at, manifest) = (Time::new(number).unwrap(), Some("m".to_owned()));
            let number = CheckpointNumber(number);
            let node = CheckpointNode { number, created_at, status: Status::Confirmed, manifest, sha256: Some(sha256) };
            (number, At { value: node, version: 1 })
        };
        let latest = LatestNode { number: CheckpointNumber(2), manifest: "m".to_owned(), sha256 };
        Facts {
            cluster: Some(HostId(1)),
            generation: Some(At { value: generation, version: 2 }),
            spec: None,
            latest: Some(At { value: latest, version: 1 }),
            checkpoints: BTreeMap::from([checkpoint(1), checkpoint(2)]),
            savepoints: BTreeMap::new(),
            names: 0,
            rank: Rank::Absent,
        }
    }

    #[test]
    fn a_zookeeper_that_knows_less_than_before_lost_its_data() {
        let mut memory = Memory::default();
        memory.take(&facts()).unwrap();
        memory.take(&facts()).unwrap();
        let spoils: [(&str, Spoil); 6] = [
            ("has no cluster-id", |facts| facts.cluster = None),
            ("belongs to the cluster", |facts| facts.cluster = Some(HostId(2))),
            ("no generation", |facts| facts.generation = None),
            ("version 1 of the job's generation", |facts| facts.generation.as_mut().unwrap().version = 1),
            ("checkpoints up to 1", |facts| drop(facts.checkpoints.pop_last())),
            ("confirmed up to 0", |facts| facts.latest = None),
        ];
        for (said, spoil) in spoils {
            let mut less = facts();
            spoil(&mut less);
            let known = memory;
            let problem = memory.take(&less).unwrap_err();
            assert!(problem.contains(said), "{said}: {problem}");
            assert_eq!(memory, known, "{said}: what was known is not forgotten");
        }
        let mut more = facts();
        more.generation.as_mut().unwrap().version = 9;
        assert_eq!(memory.take(&more), Ok(()));
    }

    #[test]
    fn what_this_process_wrote_is_known_as_well_as_what_it_read() {
        let mut begun = facts();
        (begun.generation, begun.latest) = (None, None);
        begun.checkpoints.clear();
        let mut memory = Memory::default();
        memory.take(&begun).unwrap();
        memory.wrote(&facts().register(&job()).unwrap().unwrap(), Some(0));
        assert!(memory.take(&begun).is_err());
        memory.take(&facts()).unwrap();
    }

    #[test]
    fn nodes_that_contradict_each_other_make_no_register() {
        assert!(facts().register(&job()).unwrap().is_some());
        let spoils: [(&str, Spoil); 6] = [
            ("no generation", |facts| facts.generation = None),
            ("latest is not the last confirmed", |facts| facts.latest.as_mut().unwrap().value.number = CheckpointNumber(1)),
            ("half a manifest", |facts| facts.checkpoints.get_mut(&CheckpointNumber(1)).unwrap().value.sha256 = None),
            ("another number", |facts| facts.checkpoints.get_mut(&CheckpointNumber(1)).unwrap().value.number = CheckpointNumber(7)),
            ("another job", |facts| facts.generation.as_mut().unwrap().value.job = JobName::new("k").unwrap()),
            ("confirmed without a manifest", |facts| {
                let node = &mut facts.checkpoints.get_mut(&CheckpointNumber(1)).unwrap().value;
                (node.manifest, node.sha256) = (None, None);
            }),
        ];
        for (what, spoil) in spoils {
            let mut spoiled = facts();
            spoil(&mut spoiled);
            assert!(spoiled.register(&job()).is_err(), "{what}");
        }
    }
}
