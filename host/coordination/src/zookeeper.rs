//! The coordinator of a cluster: the same facts as a register, in nodes of ZooKeeper that many hosts share. A host claims a job by leading its
//! election; every write is one transaction that checks the host's node in the election and the version of `generation`, so that whoever lost
//! the job changes nothing. Refuses to make anew what ZooKeeper lost, to leave a write in doubt while the nodes can be read, and nodes above
//! 64 KiB.
//!
//! ```text
//! /<root>/version, /<root>/cluster-id                       made once, never changed
//! /<root>/election/<tenant>.<job>-<sequence>                ephemeral: the lowest of a job's candidates leads it
//! /<root>/hosts/<host-id>                                   ephemeral: host id, process id, version of the program
//! /<root>/tenants/<t>/jobs/<j>/spec                         key and digest of the spec, written once
//! /<root>/tenants/<t>/jobs/<j>/generation                   all tokens, the boot that may write, streams; its version is the fence
//! /<root>/tenants/<t>/jobs/<j>/checkpoints/<N, ten digits>  number, time, status; manifest and digest once confirmed
//! /<root>/tenants/<t>/jobs/<j>/latest                       number, manifest and digest of the last confirmed checkpoint
//! /<root>/tenants/<t>/jobs/<j>/savepoints                   empty; its version rises with every change of a name below it
//! /<root>/tenants/<t>/jobs/<j>/savepoints/<name>            number, time, manifest and digest
//! ```
//!
//! All contents are JSON with a `version`; see `nodes.rs`. A call that meets an outage goes on until it knows its outcome or the outage limit
//! has passed: it reads the nodes and decides (`decide.rs`) whether its write took effect, is to be made again, or never will be.
//!
//! The session has a thread of its own, `gregor-zookeeper`, so that nothing else of the process can hold up its heartbeats; the library adds
//! one (`async-io`) that waits for sockets. The session ends with [`ZooKeeperCoordinator::close`], or when the coordinator is dropped.

mod calls;
mod client;
mod clock;
mod decide;
mod difference;
mod election;
mod facts;
mod nodes;
mod options;
mod paths;
mod session;
mod snapshot;
mod url;

use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};

use async_trait::async_trait;
use gregor_model::manifest::ObjectRef;
use gregor_model::names::{CheckpointNumber, HostId, JobName, SavepointName};
use gregor_model::register::{Register, SavepointRecord, StreamRecord};
use gregor_model::start::Begin;
use tokio::sync::{mpsc, oneshot};

pub use self::options::{Options, SESSION_TIMEOUT_DEFAULT, SESSION_TIMEOUT_MAX, SESSION_TIMEOUT_MIN};
pub use self::url::{Root, Url};
use crate::coordinator::{CommitPermit, Coordinator};
use crate::error::CoordinationError;
use calls::{Call, Reply};
use session::{Presence, Session};

/// Calls that may wait for the session: the callers are a handful of threads, each with one.
const CALLS_MAX: usize = 16;
const THREAD: &str = "gregor-zookeeper";

/// The coordinator of one job over ZooKeeper.
pub struct ZooKeeperCoordinator {
    job: JobName,
    /// None once the coordinator is being dropped.
    calls: Option<mpsc::Sender<Call>>,
    thread: Option<JoinHandle<()>>,
}

/// What is known of a job, read without claiming it or making any node. None if the job was never begun. Blocks; for at most the outage limit
/// and a little.
///
/// # Errors
/// The nodes can't be believed or reached, or are not open to these credentials.
pub fn read_register(options: Options) -> Result<Option<Register>, CoordinationError> {
    ZooKeeperCoordinator::start(options, Presence::Visitor).map(|(_, register)| register)
}

impl ZooKeeperCoordinator {
    /// Connects as a host, which may claim the job. Blocks until the first contact, for at most the outage limit and a little.
    ///
    /// # Errors
    /// The options can't be used, or ZooKeeper can't be reached or believed; see [`CoordinationError`].
    pub fn open(options: Options) -> Result<Self, CoordinationError> {
        Self::start(options, Presence::Host).map(|(coordinator, _)| coordinator)
    }

    /// Connects to look at the job, and to name checkpoints: without a node among the hosts, and without ever claiming it. Blocks as
    /// [`open`](Self::open) does.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn visit(options: Options) -> Result<Self, CoordinationError> {
        Self::start(options, Presence::Visitor).map(|(coordinator, _)| coordinator)
    }

    /// Ends the session: this host's nodes go at once, and so the next start, of any host, goes on at once. Every later call fails.
    ///
    /// # Errors
    /// The session's thread is gone.
    pub async fn close(&self) -> Result<(), CoordinationError> {
        self.ask(Call::Close).await
    }

    /// Starts the session's thread and waits for the first look at the job.
    fn start(options: Options, presence: Presence) -> Result<(Self, Option<Register>), CoordinationError> {
        options.check()?;
        let job = options.job.clone();
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        let (opened, outcome) = sync_channel(1);
        let failed = |error: std::io::Error| CoordinationError::Unavailable { record: THREAD.to_owned(), reason: error.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let body = move || {
            let mut session = Session::new(options, presence);
            runtime.block_on(run(&mut session, receiver, |outcome| drop(opened.send(outcome))));
        };
        let thread = Builder::new().name(THREAD.to_owned()).spawn(body).map_err(failed)?;
        let coordinator = Self { job, calls: Some(calls), thread: Some(thread) };
        let register = outcome.recv().unwrap_or_else(|_| Err(coordinator.gone()))?;
        Ok((coordinator, register))
    }

    /// Makes a call and waits for its outcome.
    async fn ask<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, CoordinationError> {
        let (reply, outcome) = oneshot::channel();
        let Some(calls) = &self.calls else { return Err(self.gone()) };
        if calls.send(call(reply)).await.is_err() {
            return Err(self.gone());
        }
        outcome.await.unwrap_or_else(|_| Err(self.in_doubt()))
    }

    fn gone(&self) -> CoordinationError {
        CoordinationError::Poisoned { job: self.job.clone(), reason: "the session with ZooKeeper was closed".to_owned() }
    }

    fn in_doubt(&self) -> CoordinationError {
        let reason = "the session with ZooKeeper ended before the answer".to_owned();
        CoordinationError::Undecided { job: self.job.clone(), reason }
    }
}

/// The body of the session's thread.
async fn run(session: &mut Session, mut calls: mpsc::Receiver<Call>, opened: impl FnOnce(Result<Option<Register>, CoordinationError>)) {
    let first = session.read().await;
    let is_open = first.is_ok();
    opened(first);
    if is_open {
        calls::serve(session, &mut calls).await;
    } else {
        session.close().await;
    }
}

impl Drop for ZooKeeperCoordinator {
    fn drop(&mut self) {
        // The thread ends when no call can come any more.
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told by the call that met it.
            drop(thread.join());
        }
    }
}

#[async_trait]
impl Coordinator for ZooKeeperCoordinator {
    async fn read(&self) -> Result<Option<Register>, CoordinationError> {
        self.ask(Call::Read).await
    }

    async fn begin(&self, begin: &Begin) -> Result<Register, CoordinationError> {
        self.ask(|reply| Call::Begin(begin.clone(), reply)).await
    }

    async fn set_spec(&self, spec: &ObjectRef) -> Result<(), CoordinationError> {
        self.ask(|reply| Call::SetSpec(spec.clone(), reply)).await
    }

    async fn create(&self, number: CheckpointNumber, created_at_ms: u64, keep: u32) -> Result<CommitPermit, CoordinationError> {
        self.ask(|reply| Call::Create { number, created_at_ms, keep, reply }).await
    }

    async fn confirm(&self, permit: CommitPermit, manifest: &ObjectRef) -> Result<(), CoordinationError> {
        let (number, claim, manifest) = (permit.number(), permit.claim(), manifest.clone());
        self.ask(|reply| Call::Confirm { number, claim, manifest, reply }).await
    }

    async fn abort(&self, number: CheckpointNumber) -> Result<(), CoordinationError> {
        self.ask(|reply| Call::Abort(number, reply)).await
    }

    async fn go_back(&self, permit: CommitPermit, manifest: &ObjectRef, streams: &[StreamRecord]) -> Result<Register, CoordinationError> {
        let (number, claim, manifest, streams) = (permit.number(), permit.claim(), manifest.clone(), streams.to_vec());
        self.ask(|reply| Call::GoBack { number, claim, manifest, streams, reply }).await
    }

    async fn save_point(
        &self,
        name: &SavepointName,
        number: CheckpointNumber,
        created_at_ms: u64,
    ) -> Result<SavepointRecord, CoordinationError> {
        let name = name.clone();
        self.ask(|reply| Call::SavePoint { name, number, created_at_ms, reply }).await
    }

    async fn delete_savepoint(&self, name: &SavepointName) -> Result<(), CoordinationError> {
        self.ask(|reply| Call::DeleteSavepoint(name.clone(), reply)).await
    }

    async fn may_show(&self) -> Result<(), CoordinationError> {
        self.ask(Call::MayShow).await
    }

    async fn cluster(&self) -> Result<Option<HostId>, CoordinationError> {
        self.ask(Call::Cluster).await
    }
}
