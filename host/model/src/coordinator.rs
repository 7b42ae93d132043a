//! The coordinator's machine: `idle → creating → saving → sealing → confirming → idle`, with `aborting` beside it. It is told what happened
//! and answers what to do next; it does nothing itself. A failed or late task is left out after `grace`; only an N with nothing saved is
//! aborted, at its `deadline`. Refuses to leave an undecided N: nothing else is created before it is confirmed or aborted.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::names::{CheckpointNumber, TaskId};

/// Where the current checkpoint stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Phase {
    /// There is none.
    #[default]
    Idle,
    /// N is being written down; who will be asked then.
    Creating(Saving),
    /// Tasks freeze and save.
    Saving(Saving),
    /// The manifest is being written.
    Sealing(CheckpointNumber),
    /// The decision is being written.
    Confirming(CheckpointNumber),
    /// The abort is being written.
    Aborting(CheckpointNumber),
}

/// Who has saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saving {
    /// N.
    pub number: CheckpointNumber,
    /// Tasks that have not answered.
    pub waiting: BTreeSet<TaskId>,
    /// Whether something can be sealed: a saved segment, or a performed release.
    pub content: Content,
}

/// Whether a manifest of N would say anything new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Nothing yet.
    Empty,
    /// Something.
    Some,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// A checkpoint is due; these tasks are to be asked, and that much can be sealed already.
    Due {
        /// Its number.
        number: CheckpointNumber,
        /// Tasks without an unconfirmed segment: they shall freeze; and those whose segment is being saved: they are waited for.
        tasks: BTreeSet<TaskId>,
        /// Segments saved for an earlier number, performed releases.
        content: Content,
    },
    /// N is written down.
    Created,
    /// A task's segment is in the archive.
    Saved(TaskId),
    /// A task has nothing to freeze.
    Unchanged(TaskId),
    /// Time has passed since N was created.
    Waited(Duration),
    /// The manifest is in the archive.
    Sealed,
    /// N is confirmed or aborted.
    Decided,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Nothing.
    Wait,
    /// Write N down.
    Create(CheckpointNumber),
    /// Ask the tasks to freeze.
    Ask(CheckpointNumber),
    /// Write the manifest of N; these tasks are left out.
    Seal(CheckpointNumber, BTreeSet<TaskId>),
    /// Write the confirmation of N.
    Confirm(CheckpointNumber),
    /// Write the abort of N.
    Abort(CheckpointNumber),
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// After it, what is saved is sealed without the rest.
    pub grace: Duration,
    /// After it, an N with nothing saved is aborted.
    pub deadline: Duration,
}

impl Phase {
    /// Takes in what happened and answers what to do. What does not fit the phase (a late answer) changes nothing.
    pub fn step(&mut self, observed: Observed, patience: Patience) -> Move {
        let (next, act) = match (std::mem::take(self), observed) {
            (Self::Idle, Observed::Due { number, tasks, content }) => {
                (Self::Creating(Saving { number, waiting: tasks, content }), Move::Create(number))
            }
            (Self::Creating(saving), Observed::Created) if saving.waiting.is_empty() => saving.conclude(),
            (Self::Creating(saving), Observed::Created) => {
                let number = saving.number;
                (Self::Saving(saving), Move::Ask(number))
            }
            // A segment that an earlier number asked for comes in while N is written down.
            (Self::Creating(mut saving), Observed::Saved(task)) => {
                saving.waiting.remove(&task);
                saving.content = Content::Some;
                (Self::Creating(saving), Move::Wait)
            }
            (Self::Saving(mut saving), Observed::Saved(task)) => {
                saving.waiting.remove(&task);
                saving.content = Content::Some;
                saving.conclude_if_answered()
            }
            (Self::Saving(mut saving), Observed::Unchanged(task)) => {
                saving.waiting.remove(&task);
                saving.conclude_if_answered()
            }
            (Self::Saving(saving), Observed::Waited(time)) => match saving.content {
                Content::Some if time >= patience.grace => saving.conclude(),
                Content::Empty if time >= patience.deadline => saving.conclude(),
                _ => (Self::Saving(saving), Move::Wait),
            },
            (Self::Sealing(number), Observed::Sealed) => (Self::Confirming(number), Move::Confirm(number)),
            (Self::Confirming(_) | Self::Aborting(_), Observed::Decided) => (Self::Idle, Move::Wait),
            (phase, _) => (phase, Move::Wait),
        };
        *self = next;
        act
    }

    /// The checkpoint that is not decided yet.
    #[must_use]
    pub const fn undecided(&self) -> Option<CheckpointNumber> {
        match self {
            Self::Idle => None,
            Self::Sealing(number) | Self::Confirming(number) | Self::Aborting(number) => Some(*number),
            Self::Creating(saving) | Self::Saving(saving) => Some(saving.number),
        }
    }
}

impl Saving {
    fn conclude_if_answered(self) -> (Phase, Move) {
        if self.waiting.is_empty() { self.conclude() } else { (Phase::Saving(self), Move::Wait) }
    }

    fn conclude(self) -> (Phase, Move) {
        match self.content {
            Content::Some => (Phase::Sealing(self.number), Move::Seal(self.number, self.waiting)),
            Content::Empty => (Phase::Aborting(self.number), Move::Abort(self.number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { grace: Duration::from_secs(10), deadline: Duration::from_secs(600) };
    const N: CheckpointNumber = CheckpointNumber(7);

    fn task(partition: u32) -> TaskId {
        TaskId { stage: 0, partition }
    }

    fn tasks(partitions: &[u32]) -> BTreeSet<TaskId> {
        partitions.iter().map(|&partition| task(partition)).collect()
    }

    fn due(partitions: &[u32], content: Content) -> Observed {
        Observed::Due { number: N, tasks: tasks(partitions), content }
    }

    fn check(script: Vec<(Observed, Move)>) {
        let mut phase = Phase::default();
        for (index, (observed, expected)) in script.into_iter().enumerate() {
            assert_eq!(phase.step(observed, PATIENCE), expected, "move {index}, now {phase:?}");
        }
        assert_eq!(phase, Phase::Idle);
    }

    #[test]
    fn all_tasks_save_and_the_checkpoint_is_confirmed() {
        check(vec![
            (due(&[1, 2], Content::Empty), Move::Create(N)),
            (Observed::Created, Move::Ask(N)),
            (Observed::Saved(task(2)), Move::Wait),
            (due(&[1], Content::Empty), Move::Wait),
            (Observed::Unchanged(task(1)), Move::Seal(N, tasks(&[]))),
            (Observed::Sealed, Move::Confirm(N)),
            (Observed::Waited(Duration::from_secs(9999)), Move::Wait),
            (Observed::Decided, Move::Wait),
        ]);
    }

    #[test]
    fn a_late_task_is_left_out_after_grace_but_never_before_something_is_saved() {
        check(vec![
            (due(&[1, 2], Content::Empty), Move::Create(N)),
            (Observed::Created, Move::Ask(N)),
            (Observed::Waited(Duration::from_secs(11)), Move::Wait),
            (Observed::Saved(task(1)), Move::Wait),
            (Observed::Waited(Duration::from_secs(9)), Move::Wait),
            (Observed::Waited(Duration::from_secs(10)), Move::Seal(N, tasks(&[2]))),
            (Observed::Saved(task(2)), Move::Wait),
            (Observed::Sealed, Move::Confirm(N)),
            (Observed::Decided, Move::Wait),
        ]);
    }

    #[test]
    fn nothing_saved_is_aborted_at_once_when_all_answered_and_at_the_deadline_otherwise() {
        check(vec![
            (due(&[1], Content::Empty), Move::Create(N)),
            (Observed::Created, Move::Ask(N)),
            (Observed::Unchanged(task(1)), Move::Abort(N)),
            (Observed::Decided, Move::Wait),
            (due(&[1], Content::Empty), Move::Create(N)),
            (Observed::Created, Move::Ask(N)),
            (Observed::Waited(Duration::from_secs(600)), Move::Abort(N)),
            (Observed::Decided, Move::Wait),
        ]);
    }

    #[test]
    fn what_was_saved_for_an_earlier_number_is_sealed_without_asking() {
        check(vec![
            (due(&[], Content::Some), Move::Create(N)),
            (Observed::Created, Move::Seal(N, tasks(&[]))),
            (Observed::Sealed, Move::Confirm(N)),
            (Observed::Decided, Move::Wait),
        ]);
    }

    #[test]
    fn an_undecided_number_is_never_left_for_another() {
        let mut phase = Phase::default();
        phase.step(due(&[1], Content::Empty), PATIENCE);
        for observed in [Observed::Decided, Observed::Sealed, due(&[3], Content::Some)] {
            assert_eq!((phase.step(observed, PATIENCE), phase.undecided()), (Move::Wait, Some(N)));
        }
    }
}
