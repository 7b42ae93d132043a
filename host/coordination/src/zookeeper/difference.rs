//! From the register as it is to the register as it shall be, as one transaction: what to check, create, set and delete, each with the version
//! that was read. Refuses nothing but what can't be written into a node: whether the move is allowed was decided before.

use std::collections::{BTreeMap, BTreeSet};

use gregor_model::names::{CheckpointNumber, SavepointName};
use gregor_model::register::{CheckpointRecord, Register, SavepointRecord};

use super::facts::Facts;
use super::nodes::{CheckpointNode, GenerationNode, LatestNode, Problem, SavepointNode, SpecNode, Time, encode};
use super::paths::Paths;

/// One operation of a transaction. A version of none is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Check { path: String, version: Option<i32> },
    Create { path: String, data: Vec<u8> },
    Set { path: String, data: Vec<u8>, version: i32 },
    Delete { path: String, version: i32 },
}

/// A register that can't be written: the node, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unwritable {
    pub(super) path: String,
    pub(super) problem: Problem,
}

/// The transaction that makes `after` of what was read. `before` is the register of `facts`.
pub(super) fn difference(paths: &Paths, facts: &Facts, change: (Option<&Register>, &Register)) -> Result<Vec<Op>, Unwritable> {
    let (before, after) = change;
    let mut ops = Vec::new();
    ops.extend(generation(paths, facts, (before, after))?);
    if before.is_none_or(|before| before.spec.is_none())
        && let Some(object) = &after.spec
    {
        ops.push(create(paths.spec(), &SpecNode { object: object.clone() })?);
    }
    checkpoints(&mut ops, paths, (facts, after))?;
    if before.is_none_or(|before| before.latest != after.latest)
        && let Some(latest) = &after.latest
    {
        let node = LatestNode { number: latest.number, manifest: latest.object.key.clone(), sha256: latest.object.sha256 };
        ops.push(match &facts.latest {
            Some(found) => set(paths.latest(), &node, found.version)?,
            None => create(paths.latest(), &node)?,
        });
    }
    savepoints(&mut ops, paths, (facts, after))?;
    Ok(ops)
}

/// Everything that holds the claim stands in one node; it is not written where nothing of it changes.
fn generation(paths: &Paths, facts: &Facts, change: (Option<&Register>, &Register)) -> Result<Option<Op>, Unwritable> {
    let after = generation_of(change.1);
    match &facts.generation {
        None => create(paths.generation(), &after).map(Some),
        Some(found) if found.value != after => set(paths.generation(), &after, found.version).map(Some),
        Some(_) => Ok(None),
    }
}

fn generation_of(register: &Register) -> GenerationNode {
    GenerationNode {
        job: register.job.clone(),
        incarnation: register.incarnation,
        branch: register.branch,
        term: register.term,
        generation: register.generation,
        attempt: register.attempt,
        boot: register.boot,
        streams: register.streams.clone(),
    }
}

fn checkpoints(ops: &mut Vec<Op>, paths: &Paths, (facts, after): (&Facts, &Register)) -> Result<(), Unwritable> {
    let kept: BTreeSet<CheckpointNumber> = after.checkpoints.iter().map(|record| record.number).collect();
    for (number, found) in facts.checkpoints.iter().filter(|(number, _)| !kept.contains(number)) {
        ops.push(Op::Delete { path: paths.checkpoint(*number), version: found.version });
    }
    for record in &after.checkpoints {
        let path = paths.checkpoint(record.number);
        let node = checkpoint_of(record).map_err(|problem| Unwritable { path: path.clone(), problem })?;
        match facts.checkpoints.get(&record.number) {
            None => ops.push(create(path, &node)?),
            Some(found) if found.value != node => ops.push(set(path, &node, found.version)?),
            Some(_) => {}
        }
    }
    Ok(())
}

fn checkpoint_of(record: &CheckpointRecord) -> Result<CheckpointNode, Problem> {
    Ok(CheckpointNode {
        number: record.number,
        created_at: Time::new(record.created_at_ms)?,
        status: record.status,
        manifest: record.manifest.as_ref().map(|manifest| manifest.key.clone()),
        sha256: record.manifest.as_ref().map(|manifest| manifest.sha256),
    })
}

/// Names are changed one after the other: each change sets the node above them, with the version that was read. A new name also checks the
/// node of its checkpoint, and so conflicts with its retirement.
fn savepoints(ops: &mut Vec<Op>, paths: &Paths, (facts, after): (&Facts, &Register)) -> Result<(), Unwritable> {
    let kept: BTreeMap<&SavepointName, &SavepointRecord> = after.savepoints.iter().map(|record| (&record.name, record)).collect();
    let mut named = Vec::new();
    for (name, found) in facts.savepoints.iter().filter(|(name, _)| !kept.contains_key(name)) {
        named.push(Op::Delete { path: paths.savepoint(name), version: found.version });
    }
    for (name, record) in kept.into_iter().filter(|(name, _)| !facts.savepoints.contains_key(name)) {
        let path = paths.savepoint(name);
        if let Some(checkpoint) = facts.checkpoints.get(&record.number) {
            named.push(Op::Check { path: paths.checkpoint(record.number), version: Some(checkpoint.version) });
        }
        let created_at = Time::new(record.created_at_ms).map_err(|problem| Unwritable { path: path.clone(), problem })?;
        let (manifest, sha256) = (record.manifest.key.clone(), record.manifest.sha256);
        named.push(create(path, &SavepointNode { number: record.number, created_at, manifest, sha256 })?);
    }
    if !named.is_empty() {
        ops.push(Op::Set { path: paths.savepoints(), data: Vec::new(), version: facts.names });
        ops.append(&mut named);
    }
    Ok(())
}

fn create(path: String, node: &impl serde::Serialize) -> Result<Op, Unwritable> {
    match encode(node) {
        Ok(data) => Ok(Op::Create { path, data }),
        Err(problem) => Err(Unwritable { path, problem }),
    }
}

fn set(path: String, node: &impl serde::Serialize, version: i32) -> Result<Op, Unwritable> {
    match encode(node) {
        Ok(data) => Ok(Op::Set { path, data, version }),
        Err(problem) => Err(Unwritable { path, problem }),
    }
}
