//! Requests to ZooKeeper, each bounded in time, and what their answers mean. Refuses to keep a request for ever: the library holds it while it
//! is disconnected, so a time-out says nothing about what became of a write. What a later request of the same session sees is conclusive all
//! the same, since a session's requests are carried out in their order.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use ::zookeeper::{
    Acls, Client, CreateMode, CreateOptions, Error, MultiWriteError, MultiWriter, OneshotWatcher, SessionState, StateWatcher,
};

use super::clock::{self, Moment};
use super::difference::Op;
use super::options::Options;

/// Why a request did not do what it should.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The server answered: a node is not as expected. Nothing was written.
    Conflict(Error),
    /// The server answered that these credentials don't open the nodes. Nothing was written.
    Denied(Error),
    /// There was no answer. A write may have been done, or be done yet.
    Lost(String),
    /// What was read can't be believed: the node's path, and what is wrong.
    Corrupt(String, String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::NoNode | Error::BadVersion | Error::NodeExists | Error::NotEmpty | Error::NoChildrenForEphemerals => {
                Self::Conflict(error)
            }
            Error::NoAuth | Error::AuthFailed | Error::InvalidAcl => Self::Denied(error),
            other => Self::Lost(other.to_string()),
        }
    }
}

/// A connected session.
pub(super) struct Link {
    client: Client,
    acls: Acls<'static>,
    /// When the last answered request was sent: the server has heard of this process since.
    contact: Cell<Moment>,
}

impl Link {
    /// Connects a new session.
    pub(super) async fn connect(options: &Options) -> Result<Self, Fault> {
        let begun = clock::now();
        let mut connector = Client::connector().with_session_timeout(options.session_timeout);
        if let Some((user, password)) = &options.credentials {
            connector = connector.with_auth("digest", format!("{user}:{password}").as_bytes());
        }
        // The library gives up by itself at the session time-out; twice that is a bound for the case that it does not.
        let bound = begun.after(options.session_timeout.saturating_mul(2));
        let client = bound.bound(connector.connect(&options.servers)).await.ok_or_else(|| Fault::Lost("no answer".to_owned()))??;
        let acls = if options.credentials.is_some() { Acls::creator_all() } else { Acls::anyone_all() };
        Ok(Self { client, acls, contact: Cell::new(begun) })
    }

    /// The session's number.
    pub(super) fn session(&self) -> i64 {
        self.client.session_id().0
    }

    /// The session time-out that the server agreed to.
    pub(super) fn session_timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    /// How long ago the server has heard of this process at least.
    pub(super) fn silence(&self) -> Duration {
        self.contact.get().age()
    }

    /// Whether the session is over for good.
    pub(super) fn is_over(&self) -> bool {
        self.client.state().is_terminated()
    }

    /// Tells of changes of the session's state.
    pub(super) fn states(&self) -> StateWatcher {
        self.client.state_watcher()
    }

    /// Closes the session, so that its ephemeral nodes go at once, if the server answers within the session time-out.
    pub(super) async fn close(self) {
        let bound = clock::now().after(self.session_timeout());
        let mut states = self.states();
        let connected = matches!(self.client.state(), SessionState::SyncConnected);
        // The library says good-bye when the last handle is gone.
        drop(self);
        if connected {
            bound.bound(closed(&mut states)).await;
        }
    }

    /// Waits for an answer, for one session time-out at most.
    pub(super) async fn answer<T, E: Into<Fault>>(&self, request: impl Future<Output = Result<T, E>>) -> Result<T, Fault> {
        let sent = clock::now();
        let timeout = self.session_timeout();
        let Some(answer) = sent.after(timeout).bound(request).await else {
            return Err(Fault::Lost(format!("no answer within {timeout:?}")));
        };
        let answer = answer.map_err(Into::into);
        if !matches!(answer, Err(Fault::Lost(_))) {
            self.contact.set(sent);
        }
        answer
    }

    /// Waits until this session sees all that took effect before.
    pub(super) async fn sync(&self, path: &str) -> Result<(), Fault> {
        self.answer(self.client.sync(path)).await
    }

    /// Makes a folder, with those above it. That it is there already is no error.
    pub(super) async fn make_folder(&self, path: &str) -> Result<(), Fault> {
        self.answer(self.client.mkdir(path, &self.options(CreateMode::Persistent))).await
    }

    /// Makes a node that stays.
    pub(super) async fn make(&self, path: &str, data: &[u8]) -> Result<Made, Fault> {
        self.make_as(CreateMode::Persistent, path, data).await
    }

    /// Makes a node that goes with the session.
    pub(super) async fn make_ephemeral(&self, path: &str, data: &[u8]) -> Result<Made, Fault> {
        self.make_as(CreateMode::Ephemeral, path, data).await
    }

    /// Makes a node that goes with the session, whose name is `prefix` and a sequence.
    pub(super) async fn make_candidate(&self, prefix: &str, data: &[u8]) -> Result<(), Fault> {
        let options = self.options(CreateMode::EphemeralSequential);
        self.answer(self.client.create(prefix, data, &options)).await.map(drop)
    }

    /// Puts a node that goes with this session in the place of one that goes with another, at once.
    pub(super) async fn inherit(&self, path: &str, data: &[u8]) -> Result<(), Fault> {
        let mut writer = self.client.new_multi_writer();
        writer.add_delete(path, None)?;
        writer.add_create(path, data, &self.options(CreateMode::Ephemeral))?;
        self.commit(&mut writer).await
    }

    async fn make_as(&self, mode: CreateMode, path: &str, data: &[u8]) -> Result<Made, Fault> {
        match self.answer(self.client.create(path, data, &self.options(mode))).await {
            Ok(_) => Ok(Made::New),
            Err(Fault::Conflict(Error::NodeExists)) => Ok(Made::Before),
            Err(fault) => Err(fault),
        }
    }

    /// Removes a node. That it is gone already is no error.
    pub(super) async fn remove(&self, path: &str) -> Result<(), Fault> {
        match self.answer(self.client.delete(path, None)).await {
            Err(Fault::Conflict(Error::NoNode)) => Ok(()),
            outcome => outcome,
        }
    }

    /// The content of a node and the session that owns it, 0 if none does; none if it is not there.
    pub(super) async fn get(&self, path: &str) -> Result<Option<(Vec<u8>, i64)>, Fault> {
        match self.answer(self.client.get_data(path)).await {
            Ok((data, stat)) => Ok(Some((data, stat.ephemeral_owner))),
            Err(Fault::Conflict(Error::NoNode)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The names below a node; none if it is not there.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<String>, Fault> {
        match self.answer(self.client.list_children(path)).await {
            Err(Fault::Conflict(Error::NoNode)) => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    /// Watches a node that is there; none if it is gone.
    pub(super) async fn watch(&self, path: &str) -> Result<Option<OneshotWatcher>, Fault> {
        let (stat, watcher) = self.answer(self.client.check_and_watch_stat(path)).await?;
        Ok(stat.map(|_| watcher))
    }

    /// Reads at once: contents of `nodes`, then names below `folders`.
    pub(super) async fn read(&self, nodes: &[String], folders: &[String]) -> Result<Vec<::zookeeper::MultiReadResult>, Fault> {
        let mut reader = self.client.new_multi_reader();
        for path in nodes {
            reader.add_get_data(path)?;
        }
        for path in folders {
            reader.add_get_children(path)?;
        }
        self.answer(reader.commit()).await
    }

    /// Writes all of it, or nothing.
    pub(super) async fn transact(&self, ops: &[Op]) -> Result<(), Fault> {
        let options = self.options(CreateMode::Persistent);
        let mut writer = self.client.new_multi_writer();
        for op in ops {
            match op {
                Op::Check { path, version } => writer.add_check_version(path, version.unwrap_or(-1))?,
                Op::Create { path, data } => writer.add_create(path, data, &options)?,
                Op::Set { path, data, version } => writer.add_set_data(path, data, Some(*version))?,
                Op::Delete { path, version } => writer.add_delete(path, Some(*version))?,
            }
        }
        self.commit(&mut writer).await
    }

    async fn commit(&self, writer: &mut MultiWriter<'_>) -> Result<(), Fault> {
        let commit = writer.commit();
        self.answer(async move { commit.await.map_err(|error: MultiWriteError| Error::from(error)) }).await.map(drop)
    }

    fn options(&self, mode: CreateMode) -> CreateOptions<'static> {
        mode.with_acls(self.acls)
    }
}

/// Whether a node was made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// It was.
    New,
    /// It was there before.
    Before,
}

/// Waits until a session is over for good.
pub(super) async fn closed(states: &mut StateWatcher) {
    let mut state = states.peek_state();
    while !state.is_terminated() {
        state = states.changed().await;
    }
}
