//! Time for the ZooKeeper session: the only file of this crate that reads a clock. Refuses wall-clock time, which may jump: all that is asked
//! is how long ago something was.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// An instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(Instant);

/// Now.
pub(super) fn now() -> Moment {
    Moment(Instant::now())
}

impl Moment {
    /// How long ago this was; nothing, if it is still to come.
    pub(super) fn age(self) -> Duration {
        Instant::now().saturating_duration_since(self.0)
    }

    /// So much later. The far future, where the sum can't be told.
    pub(super) fn after(self, time: Duration) -> Self {
        // Thirty years: what tokio itself takes for never.
        const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
        Self(self.0.checked_add(time).unwrap_or(self.0 + FAR))
    }

    /// Whether it has come.
    pub(super) fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }

    /// What a future gives, if it does before this moment.
    pub(super) async fn bound<T>(self, future: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.0, future).await.ok()
    }
}

/// Rests for a moment between two tries to reach a server: there is no event that would tell that it answers again.
pub(super) async fn rest(time: Duration) {
    now().after(time).bound(std::future::pending::<()>()).await;
}
