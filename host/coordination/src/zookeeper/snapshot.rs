//! One consistent look at all nodes of a job. Names are listed, then everything is read in one request, with the names again: if they are the
//! same, all of it was there at one instant. Refuses what stands in a node and is none of ours, and to try for ever while nodes come and go.

use std::collections::BTreeMap;

use ::zookeeper::{Error, MultiReadResult};
use gregor_model::names::{CheckpointNumber, HostId, SavepointName};
use serde::de::DeserializeOwned;

use super::client::{Fault, Link};
use super::election::{self, Candidate};
use super::facts::{At, Facts};
use super::nodes::{CandidateNode, ClusterNode, decode};
use super::paths::Paths;

/// Times that a look is made again because names were others meanwhile: each stands for a checkpoint that was created in between.
const LOOKS_MAX: u32 = 16;
/// Nodes that are read whatever the names are.
const FIXED: usize = 5;

/// The names that the last look has seen: the next one begins with them, and mostly needs one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing {
    checkpoints: Vec<String>,
    savepoints: Vec<String>,
}

/// Looks at all nodes of a job, as they are at one instant after the call began. `own` is the path of this process's node in the election, with
/// what tells it from that of another process.
pub(super) async fn look(link: &Link, (paths, own): (&Paths, Option<(&str, HostId)>), listing: &mut Listing) -> Result<Facts, Fault> {
    link.sync(paths.root()).await?;
    for _ in 0..LOOKS_MAX {
        let mut nodes = nodes_of(paths, listing);
        nodes.extend(own.map(|(path, _)| path.to_owned()));
        let folders = [paths.checkpoints(), paths.savepoints(), paths.election()];
        let mut answers = Answers { results: link.read(&nodes, &folders).await?.into_iter(), nodes: nodes.iter() };
        let read = read(&mut answers, listing);
        let candidate = if own.is_some() { answers.node::<CandidateNode>() } else { Ok(None) };
        let found = Listing { checkpoints: answers.names()?, savepoints: answers.names()? };
        let candidates = answers.names()?;
        // A node that was listed may be gone, and then its content is none: so the names are compared before contents are judged.
        if found != *listing {
            *listing = found;
            continue;
        }
        let instance = candidate?.map(|candidate| candidate.value.instance);
        let own = own.filter(|(_, mine)| instance == Some(*mine)).and_then(|(path, _)| path.rsplit('/').next());
        return read.map(|facts| Facts { rank: election::rank(&candidates, &paths.candidate_prefix(), own), ..facts });
    }
    Err(Fault::Lost(format!("its nodes changed {LOOKS_MAX} times while they were read")))
}

/// The candidates of the job, with what they say of themselves.
pub(super) async fn candidates(link: &Link, paths: &Paths) -> Result<Vec<Candidate>, Fault> {
    let prefix = paths.candidate_prefix();
    let mut candidates = Vec::new();
    for name in link.list(&paths.election()).await?.into_iter().filter(|name| election::is_candidate(name, &prefix)) {
        let path = paths.candidate(&name);
        if let Some((data, session)) = link.get(&path).await? {
            let node: CandidateNode = decode(&data).map_err(|problem| Fault::Corrupt(path, problem))?;
            candidates.push(Candidate { name, session, node });
        }
    }
    Ok(candidates)
}

fn nodes_of(paths: &Paths, listing: &Listing) -> Vec<String> {
    let mut nodes = Vec::with_capacity(FIXED + listing.checkpoints.len() + listing.savepoints.len());
    nodes.extend([paths.cluster_id(), paths.generation(), paths.spec(), paths.latest(), paths.savepoints()]);
    nodes.extend(listing.checkpoints.iter().map(|name| format!("{}/{name}", paths.checkpoints())));
    nodes.extend(listing.savepoints.iter().map(|name| format!("{}/{name}", paths.savepoints())));
    nodes
}

fn read(answers: &mut Answers<'_>, listing: &Listing) -> Result<Facts, Fault> {
    // All answers are taken before any is judged, so that the names behind them are found.
    let cluster = answers.node::<ClusterNode>();
    let generation = answers.node();
    let spec = answers.node();
    let latest = answers.node();
    let names = answers.data();
    let checkpoints: Vec<_> = listing.checkpoints.iter().map(|name| (name, answers.node())).collect();
    let savepoints: Vec<_> = listing.savepoints.iter().map(|name| (name, answers.node())).collect();
    let mut facts = Facts {
        cluster: cluster?.map(|cluster| cluster.value.id),
        generation: generation?,
        spec: spec?,
        latest: latest?,
        checkpoints: BTreeMap::new(),
        savepoints: BTreeMap::new(),
        names: names?.1.map_or(0, |(_, version)| version),
        rank: election::Rank::Absent,
    };
    let strange =
        |folder: &str, name: &str| Fault::Corrupt(format!("{folder}/{name}"), "has a name that gregor gives to no node".to_owned());
    for (name, node) in checkpoints {
        let number = name.parse().ok().filter(|number| format!("{number:010}") == **name).ok_or_else(|| strange("checkpoints", name))?;
        if let Some(node) = node? {
            facts.checkpoints.insert(CheckpointNumber(number), node);
        }
    }
    for (name, node) in savepoints {
        let key = SavepointName::new(name.as_str()).map_err(|_| strange("savepoints", name))?;
        if let Some(node) = node? {
            facts.savepoints.insert(key, node);
        }
    }
    Ok(facts)
}

/// The answers to one request, in its order.
struct Answers<'a> {
    results: std::vec::IntoIter<MultiReadResult>,
    nodes: std::slice::Iter<'a, String>,
}

/// A node's path with its content and version, if it is there.
type Content = (String, Option<(Vec<u8>, i32)>);

impl Answers<'_> {
    fn data(&mut self) -> Result<Content, Fault> {
        let path = self.nodes.next().cloned().unwrap_or_default();
        match self.results.next() {
            Some(MultiReadResult::Data { data, stat }) => Ok((path, Some((data, stat.version)))),
            Some(MultiReadResult::Error { err: Error::NoNode }) => Ok((path, None)),
            Some(MultiReadResult::Error { err }) => Err(err.into()),
            _ => Err(Fault::Lost(format!("an answer that is none, for {path}"))),
        }
    }

    fn node<T: DeserializeOwned>(&mut self) -> Result<Option<At<T>>, Fault> {
        let (path, content) = self.data()?;
        let Some((data, version)) = content else { return Ok(None) };
        decode(&data).map(|value| Some(At { value, version })).map_err(|problem| Fault::Corrupt(path, problem))
    }

    fn names(&mut self) -> Result<Vec<String>, Fault> {
        match self.results.next() {
            Some(MultiReadResult::Children { mut children }) => {
                children.sort_unstable();
                Ok(children)
            }
            Some(MultiReadResult::Error { err: Error::NoNode }) => Ok(Vec::new()),
            Some(MultiReadResult::Error { err }) => Err(err.into()),
            _ => Err(Fault::Lost("an answer that is none, for a list of names".to_owned())),
        }
    }
}
