//! A host's turn: entering the election, waiting until nobody is before it, saying for whom it waits, and leaving. Refuses to claim anything: who
//! leads may.

use super::{REST_MIN, Session};
use crate::error::CoordinationError;
use crate::zookeeper::client::{Fault, Link};
use crate::zookeeper::clock::{self, Moment};
use crate::zookeeper::election::{self, Entry, Me, Place, Rank};
use crate::zookeeper::nodes::{CandidateNode, encode};
use crate::zookeeper::snapshot;

impl Session {
    /// Leaves the election after a claim that came to nothing or was called off: a candidate that wants nothing would hold up all behind it. Its
    /// node gone, what may still be under way of the claim does nothing.
    pub(in crate::zookeeper) async fn withdraw(&mut self) {
        if self.claim.is_some() {
            return;
        }
        self.entry = Entry::First;
        let Some(link) = self.link.take() else { return };
        // The end of the session takes along what can't be removed, and the node of a claim that was called off before its answer named it.
        match self.own.take() {
            Some(own) if link.remove(&own).await.is_ok() => self.link = Some(link),
            _ => link.close().await,
        }
    }

    /// Enters the election, or finds this session's node there. Answers its path.
    pub(super) async fn enter(&self, link: &Link) -> Result<String, Fault> {
        let me = Me { host: self.options.host, instance: self.instance, session: link.session() };
        link.sync(self.paths.root()).await?;
        let step = election::enter(&snapshot::candidates(link, &self.paths).await?, me, self.entry);
        for name in &step.remove {
            link.remove(&self.paths.candidate(name)).await?;
        }
        let node = CandidateNode { host: self.options.host, process: std::process::id(), instance: self.instance };
        let data = encode(&node).map_err(|problem| Fault::Corrupt(self.paths.election(), problem))?;
        match step.place {
            Place::Own(name) => return Ok(self.paths.candidate(&name)),
            Place::Inherit(name) => link.inherit(&self.paths.candidate(&name), &data).await?,
            Place::Last => link.make_candidate(&self.paths.candidate(&self.paths.candidate_prefix()), &data).await?,
        }
        let made = election::enter(&snapshot::candidates(link, &self.paths).await?, me, self.entry);
        match made.place {
            Place::Own(name) => Ok(self.paths.candidate(&name)),
            Place::Inherit(_) | Place::Last => Err(Fault::Lost("its node of the election is gone again".to_owned())),
        }
    }

    /// Waits until this process leads. Only an outage ends the wait with an error.
    pub(super) async fn stand(&mut self) -> Result<(), CoordinationError> {
        let mut told = false;
        loop {
            let facts = self.facts(self.limit()).await?;
            match facts.rank {
                Rank::Leads => match self.prepare().await {
                    Ok(()) => return Ok(()),
                    Err(fault) => drop(self.passing(fault)?),
                },
                Rank::Behind(name) => {
                    if !told {
                        Box::pin(self.tell_holder()).await;
                        told = true;
                    }
                    self.watch(&name, None).await;
                }
                Rank::Absent => {
                    let Some(link) = &self.link else { continue };
                    match Box::pin(self.enter(link)).await {
                        Ok(own) => {
                            self.own = Some(own);
                            self.entry = Entry::Again;
                        }
                        Err(fault) => drop(self.passing(fault)?),
                    }
                }
            }
        }
    }

    /// Makes the folders of the job.
    async fn prepare(&self) -> Result<(), Fault> {
        let Some(link) = &self.link else { return Err(Fault::Lost("no session".to_owned())) };
        link.make_folder(&self.paths.checkpoints()).await?;
        link.make_folder(&self.paths.savepoints()).await
    }

    async fn tell_holder(&self) {
        let Some(link) = &self.link else { return };
        let mut candidates = snapshot::candidates(link, &self.paths).await.unwrap_or_default();
        let names: Vec<String> = candidates.iter().map(|candidate| candidate.name.clone()).collect();
        let leader = election::leader(&names, &self.paths.candidate_prefix());
        candidates.retain(|candidate| Some(&candidate.name) == leader);
        if let Some(holder) = candidates.first() {
            let node = &holder.node;
            // By default warnings are shown: whoever has started this host sees nothing happen, and must be told why.
            tracing::warn!(job = %self.options.job, host = %node.host, process = node.process, "waits until another host lets go of the job");
        }
    }

    /// Waits until a node of the election is gone, or the session, or the time.
    pub(super) async fn watch(&self, name: &str, until: Option<Moment>) {
        let Some(link) = &self.link else { return };
        match link.watch(&self.paths.candidate(name)).await {
            Ok(Some(watcher)) => match until {
                Some(until) => drop(until.bound(watcher.changed()).await),
                None => drop(watcher.changed().await),
            },
            Ok(None) => {}
            Err(_) => clock::rest(REST_MIN).await,
        }
    }
}
