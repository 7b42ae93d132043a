//! What a coordinator over ZooKeeper is opened with. Refuses session time-outs that no server grants.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gregor_model::names::{HostId, JobName};
use gregor_model::steps::Steps;

use super::url::Root;
use crate::error::CoordinationError;

/// The shortest session time-out: below, a pause of the scheduler looks like a death.
pub const SESSION_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The longest session time-out: what ZooKeeper grants at most, 20 of its default ticks, is far below.
pub const SESSION_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Session time-out where none is chosen; from the interface page.
pub const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// What a coordinator is opened with.
#[derive(Clone)]
pub struct Options {
    /// The servers, `host:port` each, separated by commas; see [`super::Url`].
    pub servers: String,
    /// The node below which everything stands.
    pub root: Root,
    /// How long a host may be silent before others take its jobs: 1 s to 10 min. The server may grant another.
    pub session_timeout: Duration,
    /// How long a call goes on trying while ZooKeeper can't be reached.
    pub outage_limit: Duration,
    /// This host: a restart with the same id takes its predecessor's place at once.
    pub host: HostId,
    /// User and password of ZooKeeper's digest scheme. With them, what is made is open to this user only; without, to everybody.
    pub credentials: Option<(String, String)>,
    /// The job.
    pub job: JobName,
    /// Who is told of durable steps.
    pub steps: Arc<dyn Steps>,
}

impl fmt::Debug for Options {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("servers", &self.servers)
            .field("root", &self.root)
            .field("session_timeout", &self.session_timeout)
            .field("outage_limit", &self.outage_limit)
            .field("host", &self.host)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Whether these can be used.
    pub(super) fn check(&self) -> Result<(), CoordinationError> {
        let refused = |what: &str, problem: &str| CoordinationError::Refused { what: what.to_owned(), problem: problem.to_owned() };
        if !(SESSION_TIMEOUT_MIN..=SESSION_TIMEOUT_MAX).contains(&self.session_timeout) {
            return Err(refused(&format!("session time-out {:?}", self.session_timeout), "is not between 1 s and 10 min"));
        }
        match &self.credentials {
            Some((user, _)) if user.is_empty() || user.contains(':') => {
                Err(refused(&format!("user {user:?} for ZooKeeper"), "is empty or holds a colon"))
            }
            _ => Ok(()),
        }
    }
}
