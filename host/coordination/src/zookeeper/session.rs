//! One process's part in a job's coordination: its session, its nodes, its claim, and each call carried through outages to an answer that is
//! true; its turn in the election stands in `turn`. Refuses to end a call in doubt as long as the nodes can be read; to make anew what ZooKeeper
//! lost; and to go on with a lost claim.

use std::time::Duration;

use gregor_model::names::{Boot, HostId, Term};
use gregor_model::register::Register;
use gregor_model::start::Begin;
use gregor_model::steps::{DurableStep, Side};

use super::client::{Fault, Link, Made, closed};
use super::clock::{self, Moment};
use super::decide::{self, Intent, Next, Sent, Situation};
use super::difference::Op;
use super::election::{Entry, Rank};
use super::facts::{Claim, Facts, Memory};
use super::nodes::{ClusterNode, HostNode, Layout, decode, encode};
use super::options::Options;
use super::paths::Paths;
use super::snapshot::{self, Listing};
use crate::error::CoordinationError;

mod turn;

/// Rests between two tries to reach a server: short at first, since most losses are a server that changes.
const REST_MIN: Duration = Duration::from_millis(20);
const REST_MAX: Duration = Duration::from_secs(1);
/// Times that one write is decided anew: each stands for another process that changed the same nodes in between.
const TRIES_MAX: u32 = 64;

/// That something was written.
const MAYBE: Sent = Sent::Maybe { generation: None };

/// What a process is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// A host: it has its node among the hosts, and may claim the job.
    Host,
    /// It reads and names checkpoints; it makes no node of its own.
    Visitor,
}

/// One process's part in a job's coordination.
pub(super) struct Session {
    options: Options,
    presence: Presence,
    paths: Paths,
    /// Tells this process from its predecessor with the same host id.
    instance: HostId,
    link: Option<Link>,
    /// Whether somebody has said that there is none, since the last one.
    outage: Outage,
    /// The path of its node in the election of the present session.
    own: Option<String>,
    /// Whether it has entered the election, in this session or one before.
    entry: Entry,
    claim: Option<Claim>,
    memory: Memory,
    listing: Listing,
    /// What was seen in this session: that the claim stood and nobody was before it. Others can't take the job while the session lives.
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unknown,
    Leads,
}

/// Whether an outage was spoken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Untold,
    Told,
}

/// How a write ended.
enum Written {
    Done(Box<Register>),
    /// Another host is before this one.
    Wait,
}

impl Session {
    pub(super) fn new(options: Options, presence: Presence) -> Self {
        let paths = Paths::new(options.root.clone(), options.job.clone());
        Self {
            options,
            presence,
            paths,
            instance: HostId(rand::random()),
            link: None,
            outage: Outage::Untold,
            own: None,
            entry: Entry::First,
            claim: None,
            memory: Memory::default(),
            listing: Listing::default(),
            standing: Standing::Unknown,
        }
    }

    /// What is known of the job.
    pub(super) async fn read(&mut self) -> Result<Option<Register>, CoordinationError> {
        let facts = self.facts(self.limit()).await?;
        facts.register(&self.options.job).map_err(|problem| CoordinationError::Corrupt { record: self.paths.job(), problem })
    }

    /// The cluster's id, as the nodes have it now.
    pub(super) async fn cluster(&mut self) -> Result<Option<HostId>, CoordinationError> {
        self.facts(self.limit()).await.map(|facts| facts.cluster)
    }

    /// Waits for this host's turn and claims the job.
    pub(super) async fn begin(&mut self, begin: Begin) -> Result<Register, CoordinationError> {
        if self.presence == Presence::Visitor {
            return Err(self.fenced("it only looks at the job"));
        }
        self.claim = None;
        self.standing = Standing::Unknown;
        let intent = Intent::Begin(begin);
        loop {
            self.stand().await?;
            if let Written::Done(_) = self.write(&intent).await? {
                break;
            }
        }
        // What a predecessor had sent may have been done until the claim: from here on nothing of it is.
        let facts = self.facts(self.limit()).await.map_err(|error| self.in_doubt(MAYBE, error))?;
        decide::held(&self.options.job, self.claim, &facts)
    }

    /// Carries out a write that needs the claim, or none. `permit` names the claim that it was given under, if it was.
    pub(super) async fn change(&mut self, permit: Option<(Term, Boot)>, intent: &Intent) -> Result<Register, CoordinationError> {
        if let (Some((term, boot)), Some(claim)) = (permit, self.claim)
            && claim != (Claim { term, boot })
        {
            return Err(self.fenced(&format!("boot {boot} held it in term {term}, now boot {} does in term {}", claim.boot, claim.term)));
        }
        match self.write(intent).await {
            Ok(Written::Done(register)) => Ok(*register),
            Ok(Written::Wait) => Err(self.fenced("another host is before this one")),
            Err(error) => {
                if matches!(error, CoordinationError::Fenced { .. }) {
                    // What was seen of this session is worth nothing any more.
                    self.standing = Standing::Unknown;
                }
                Err(error)
            }
        }
    }

    /// The claim, if there is one.
    pub(super) fn claim(&self) -> Result<(Term, Boot), CoordinationError> {
        self.claim.map(|claim| (claim.term, claim.boot)).ok_or_else(|| self.fenced("it has not claimed the job"))
    }

    /// Waits until something may be shown.
    pub(super) async fn may_show(&mut self) -> Result<(), CoordinationError> {
        self.claim()?;
        let until = self.limit();
        loop {
            if self.is_fresh() {
                return Ok(());
            }
            if until.has_passed() {
                return Err(self.unavailable("another host is before this one in the election, or answers come too late"));
            }
            let facts = self.facts(until).await?;
            match (decide::may_show(&self.options.job, self.claim, &facts)?, facts.rank) {
                (Next::Wait, Rank::Behind(name)) => self.watch(&name, Some(until)).await,
                _ => self.standing = Standing::Leads,
            }
        }
    }

    /// Whether nobody else can have taken the job: the claim stood at the head of the election in this session, and the session lives, since the
    /// server has heard of it within two thirds of its time-out.
    fn is_fresh(&self) -> bool {
        let Some(link) = self.link.as_ref().filter(|link| !link.is_over()) else { return false };
        self.standing == Standing::Leads && link.silence() < link.session_timeout() * 2 / 3
    }

    /// Keeps the session while nobody calls: returns when it was lost and an attempt to get another was made.
    pub(super) async fn idle(&mut self) {
        match &self.link {
            Some(link) => {
                closed(&mut link.states()).await;
                self.lose();
            }
            None if self.presence == Presence::Visitor => return std::future::pending().await,
            None => {}
        }
        if self.presence == Presence::Host && Box::pin(self.reach()).await.is_err() {
            clock::rest(REST_MAX).await;
        }
    }

    /// Lets go of a session that is over, and says so if there was one: whether a call meets that or nobody calls.
    fn lose(&mut self) {
        if self.link.take().is_some() {
            tracing::warn!(job = %self.options.job, "lost the session with ZooKeeper");
            self.outage = Outage::Told;
        }
    }

    /// Says that there is no session to be had, once: a wrong address looks like a job that does nothing.
    fn miss(&mut self, fault: &Fault) {
        let Fault::Lost(reason) = fault else { return };
        if self.outage == Outage::Untold {
            let Options { job, servers, outage_limit, .. } = &self.options;
            tracing::warn!(%job, servers, ?outage_limit, "can't reach ZooKeeper ({reason}), and tries on until checkpoint.outage-limit has passed");
            self.outage = Outage::Told;
        }
    }

    /// Ends the session, and with it this process's nodes.
    pub(super) async fn close(&mut self) {
        self.claim = None;
        self.own = None;
        if let Some(link) = self.link.take() {
            link.close().await;
        }
    }

    /// Reads all nodes, through outages up to `until`.
    async fn facts(&mut self, until: Moment) -> Result<Facts, CoordinationError> {
        let mut rest = REST_MIN;
        loop {
            let seen = until.bound(Box::pin(self.look())).await.unwrap_or_else(|| Err(Fault::Lost("no answer in time".to_owned())));
            let reason = match seen {
                Ok(facts) => {
                    let lost = |problem| CoordinationError::Corrupt { record: self.paths.root().to_owned(), problem };
                    self.memory.take(&facts).map_err(lost)?;
                    return Ok(facts);
                }
                Err(fault) => self.passing(fault)?,
            };
            if until.has_passed() {
                return Err(self.unavailable(&reason));
            }
            clock::rest(rest).await;
            rest = rest.saturating_mul(2).min(REST_MAX);
        }
    }

    async fn look(&mut self) -> Result<Facts, Fault> {
        self.reach().await?;
        let Some(link) = &self.link else { return Err(Fault::Lost("no session".to_owned())) };
        let own = self.own.as_deref().map(|own| (own, self.instance));
        snapshot::look(link, (&self.paths, own), &mut self.listing).await
    }

    /// Sees to it that there is a session, with the nodes that belong to it.
    async fn reach(&mut self) -> Result<(), Fault> {
        if self.link.as_ref().is_some_and(|link| !link.is_over()) {
            return Ok(());
        }
        self.lose();
        self.own = None;
        self.standing = Standing::Unknown;
        let link = Box::pin(Link::connect(&self.options)).await.inspect_err(|fault| self.miss(fault))?;
        if self.presence == Presence::Host {
            self.settle(&link).await?;
            self.appear(&link).await?;
            if self.entry == Entry::Again {
                self.own = Some(self.enter(&link).await?);
            }
        }
        self.link = Some(link);
        self.outage = Outage::Untold;
        Ok(())
    }

    /// Makes what the jobs of a root share, once; a cluster that this process knew is not made anew.
    async fn settle(&self, link: &Link) -> Result<(), Fault> {
        link.sync(self.paths.root()).await?;
        let corrupt = |path: String| move |problem| Fault::Corrupt(path, problem);
        let path = self.paths.cluster_id();
        if let Some((data, _)) = link.get(&path).await? {
            decode::<ClusterNode>(&data).map_err(corrupt(path))?;
        } else {
            if let Some(known) = self.memory.cluster() {
                let problem = format!("is gone, it was {known}: this ZooKeeper lost its data or is another one");
                return Err(Fault::Corrupt(path, problem));
            }
            for folder in [self.paths.election(), self.paths.hosts()] {
                link.make_folder(&folder).await?;
            }
            let id = ClusterNode { id: HostId(rand::random()) };
            link.make(&path, &encode(&id).map_err(corrupt(path.clone()))?).await?;
        }
        let path = self.paths.version();
        match link.get(&path).await? {
            Some((data, _)) => decode::<Layout>(&data).map(drop).map_err(corrupt(path)),
            None => {
                let data = encode(&Layout {}).map_err(corrupt(path.clone()))?;
                link.make(&path, &data).await.map(drop)
            }
        }
    }

    /// Shows this host among the hosts, in the place of its predecessor.
    async fn appear(&self, link: &Link) -> Result<(), Fault> {
        let path = self.paths.host(self.options.host);
        let (host, process, gregor) = (self.options.host, std::process::id(), env!("CARGO_PKG_VERSION").to_owned());
        let node = HostNode { host, process, instance: self.instance, gregor };
        let data = encode(&node).map_err(|problem| Fault::Corrupt(path.clone(), problem))?;
        if link.make_ephemeral(&path, &data).await? == Made::New {
            return Ok(());
        }
        let Some((found, session)) = link.get(&path).await? else { return Err(Fault::Lost(format!("{path} comes and goes"))) };
        let found: HostNode = decode(&found).map_err(|problem| Fault::Corrupt(path.clone(), problem))?;
        // Another process that came after this one with its id keeps the node: `enter` finds out about it.
        if session == link.session() || (self.entry == Entry::Again && found.instance != self.instance) {
            return Ok(());
        }
        link.remove(&path).await?;
        link.make_ephemeral(&path, &data).await.map(drop)
    }

    /// Writes, and finds out whether it took effect, until that is known or the outage limit has passed.
    async fn write(&mut self, intent: &Intent) -> Result<Written, CoordinationError> {
        let until = self.limit();
        let mut sent = Sent::Never;
        for _ in 0..TRIES_MAX {
            let facts = self.facts(until).await.map_err(|error| self.in_doubt(sent, error))?;
            let (job, paths, own) = (&self.options.job, &self.paths, self.own.as_deref());
            let (ops, after) = match decide::next(&Situation { paths, job, intent, sent, claim: self.claim, own }, &facts)? {
                Next::Done(register) => return Ok(self.written(intent, &facts, register)),
                Next::Wait => return Ok(Written::Wait),
                Next::Write(ops, after) => (ops, after),
            };
            self.announce(Side::Before).map_err(|reason| self.in_doubt(sent, self.unavailable(&reason)))?;
            match self.transact(&ops).await {
                Ok(()) if self.announce(Side::After).is_ok() => {
                    self.memory.wrote(&after, generation_after(&facts, &ops, &self.paths));
                    return Ok(self.written(intent, &facts, after));
                }
                // The server did nothing. What was sent before may still have been done, and the next look tells.
                Err(Fault::Conflict(_)) => {}
                Ok(()) | Err(Fault::Lost(_)) => sent = Sent::Maybe { generation: facts.generation.map(|generation| generation.version) },
                Err(fault) => {
                    let error = self.passing(fault).map_or_else(|error| error, |reason| self.unavailable(&reason));
                    return Err(self.in_doubt(sent, error));
                }
            }
        }
        Err(self.in_doubt(sent, self.unavailable(&format!("the nodes changed {TRIES_MAX} times while they were to be written"))))
    }

    async fn transact(&self, ops: &[Op]) -> Result<(), Fault> {
        match &self.link {
            Some(link) => link.transact(ops).await,
            None => Err(Fault::Lost("no session".to_owned())),
        }
    }

    /// Takes in what a write that took effect means.
    fn written(&mut self, intent: &Intent, facts: &Facts, register: Box<Register>) -> Written {
        if matches!(intent, Intent::Begin(_)) {
            self.claim = Some(Claim { term: register.term, boot: register.boot });
            if facts.rank == Rank::Leads {
                self.standing = Standing::Leads;
            }
        }
        Written::Done(register)
    }

    fn announce(&self, side: Side) -> Result<(), String> {
        self.options.steps.announce(DurableStep::RegisterWrite, side).map_err(|failure| failure.to_string())
    }

    /// What a fault means where trying again may help: the reason. Anything else ends the call.
    fn passing(&self, fault: Fault) -> Result<String, CoordinationError> {
        match fault {
            Fault::Lost(reason) => Ok(reason),
            Fault::Conflict(error) => Ok(error.to_string()),
            Fault::Corrupt(record, problem) => Err(CoordinationError::Corrupt { record, problem }),
            Fault::Denied(error) => {
                let problem = match &self.options.credentials {
                    Some((user, _)) => format!("is not open to user {user:?} with this password ({error}); give those that made it"),
                    None => format!("is not open to everybody ({error}); give the user and the password that made it"),
                };
                Err(CoordinationError::Refused { what: self.place(), problem })
            }
        }
    }

    /// An error after something may have been written: nobody knows.
    fn in_doubt(&self, sent: Sent, error: CoordinationError) -> CoordinationError {
        match (sent, error) {
            (Sent::Maybe { .. }, CoordinationError::Unavailable { record, reason }) => {
                CoordinationError::Undecided { job: self.options.job.clone(), reason: format!("{record} can't be reached: {reason}") }
            }
            (_, error) => error,
        }
    }

    fn limit(&self) -> Moment {
        clock::now().after(self.options.outage_limit)
    }

    fn place(&self) -> String {
        format!("zookeeper://{}{}", self.options.servers, self.options.root)
    }

    fn unavailable(&self, reason: &str) -> CoordinationError {
        let limit = self.options.outage_limit;
        let reason = format!("{reason} (tried for {limit:?}); see that the servers run and can be reached from here");
        CoordinationError::Unavailable { record: self.place(), reason }
    }

    fn fenced(&self, reason: &str) -> CoordinationError {
        CoordinationError::Fenced { job: self.options.job.clone(), reason: reason.to_owned() }
    }
}

/// The version of the generation node after a transaction.
fn generation_after(facts: &Facts, ops: &[Op], paths: &Paths) -> Option<i32> {
    let path = paths.generation();
    let before = facts.generation.as_ref().map(|generation| generation.version);
    let sets = ops.iter().any(|op| matches!(op, Op::Set { path: set, .. } | Op::Create { path: set, .. } if *set == path));
    if sets { Some(before.map_or(0, |version| version.saturating_add(1))) } else { before }
}
