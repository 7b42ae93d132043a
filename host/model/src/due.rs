//! When a checkpoint is due: a level, judged anew after each decision, not an event that can be missed. Refuses a checkpoint of a job in which
//! nothing changed.

use std::time::Duration;

/// What was observed of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Whether any task that may freeze has something to freeze (state, positions, flags, output), or a release was performed.
    pub change: Change,
    /// Whether dirty or unpublished bytes of any task are past half of their limit.
    pub budget: Budget,
    /// Whether something waits for the next confirmed manifest: an `at-end` or `on-end done` flag, a performed release, runs for a reader.
    pub waiting: Waiting,
    /// Whether any task has work to do.
    pub activity: Activity,
    /// Since the last decision, or the start.
    pub since_decision: Duration,
    /// `checkpoint.interval`.
    pub interval: Duration,
}

/// Whether anything changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing that a checkpoint could hold.
    None,
    /// Something.
    Some,
}

/// How full the budgets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Below half.
    Calm,
    /// Past half of a limit, somewhere.
    Pressed,
}

/// Whether something waits for a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing does.
    None,
    /// Something does.
    Some,
}

/// What the tasks do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// At least one works, or waits for an outside input that has more.
    Busy,
    /// All are idle: outside inputs read to their end or paused, streams read to their heads.
    Idle,
    /// The job is stopping and all tasks have closed their inputs.
    Stopping,
}

/// When the next checkpoint is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// After this time, if nothing is observed before.
    In(Duration),
    /// Not before something is observed.
    Unknown,
}

/// Judges.
#[must_use]
pub fn due(facts: Facts) -> Due {
    if facts.change == Change::None {
        return Due::Unknown;
    }
    let urgent = match facts.activity {
        Activity::Busy => facts.budget == Budget::Pressed,
        Activity::Idle => facts.budget == Budget::Pressed || facts.waiting == Waiting::Some,
        Activity::Stopping => true,
    };
    match facts.interval.checked_sub(facts.since_decision) {
        _ if urgent => Due::Now,
        None | Some(Duration::ZERO) => Due::Now,
        Some(left) => Due::In(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Facts = Facts {
        change: Change::Some,
        budget: Budget::Calm,
        waiting: Waiting::None,
        activity: Activity::Busy,
        since_decision: Duration::from_secs(1),
        interval: Duration::from_secs(10),
    };

    #[test]
    fn a_checkpoint_is_due_by_interval_budget_end_or_stop_and_never_without_a_change() {
        let cases = [
            (CALM, Due::In(Duration::from_secs(9))),
            (Facts { since_decision: Duration::from_secs(10), ..CALM }, Due::Now),
            (Facts { since_decision: Duration::from_secs(99), ..CALM }, Due::Now),
            (Facts { budget: Budget::Pressed, ..CALM }, Due::Now),
            (Facts { waiting: Waiting::Some, ..CALM }, Due::In(Duration::from_secs(9))),
            (Facts { waiting: Waiting::Some, activity: Activity::Idle, ..CALM }, Due::Now),
            (Facts { activity: Activity::Idle, ..CALM }, Due::In(Duration::from_secs(9))),
            (Facts { activity: Activity::Stopping, ..CALM }, Due::Now),
            (Facts { change: Change::None, activity: Activity::Stopping, budget: Budget::Pressed, ..CALM }, Due::Unknown),
            (Facts { change: Change::None, since_decision: Duration::from_secs(99), ..CALM }, Due::Unknown),
        ];
        for (facts, expected) in cases {
            assert_eq!(due(facts), expected, "{facts:?}");
        }
    }
}
