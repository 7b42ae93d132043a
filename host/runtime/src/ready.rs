//! Which task runs next: a queue in which each task stands at most once, so it needs no further bound. A task runs on one worker at a time; a
//! wake that comes while it runs makes it run once more. Refuses to lose a wake.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The queue.
#[derive(Debug)]
pub(crate) struct Ready {
    inner: Mutex<Inner>,
    more: Condvar,
}

#[derive(Debug)]
struct Inner {
    queue: VecDeque<usize>,
    tasks: Vec<Place>,
    closed: bool,
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Parked,
    Queued,
    Running,
    /// Running, and to be queued again.
    Woken,
}

/// How a task's turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It has more to do.
    Again,
    /// It waits to be woken.
    Park,
}

/// How urgent a wake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// In turn.
    Normal,
    /// Before the others: a checkpoint waits for it.
    First,
}

impl Ready {
    /// A queue for so many tasks, all parked.
    pub(crate) fn new(tasks: usize) -> Self {
        let inner = Inner { queue: VecDeque::with_capacity(tasks), tasks: vec![Place::Parked; tasks], closed: false };
        Self { inner: Mutex::new(inner), more: Condvar::new() }
    }

    /// Wakes a task.
    pub(crate) fn wake(&self, task: usize, urgency: Urgency) {
        let mut inner = self.lock();
        let Some(place) = inner.tasks.get_mut(task) else { return };
        match *place {
            Place::Parked => {
                *place = Place::Queued;
                match urgency {
                    Urgency::Normal => inner.queue.push_back(task),
                    Urgency::First => inner.queue.push_front(task),
                }
                self.more.notify_one();
            }
            Place::Running => *place = Place::Woken,
            Place::Queued if urgency == Urgency::First => {
                inner.queue.retain(|&queued| queued != task);
                inner.queue.push_front(task);
            }
            Place::Queued | Place::Woken => {}
        }
    }

    /// The next task to run; none when the queue was closed. Blocks.
    pub(crate) fn next(&self) -> Option<usize> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(task) = inner.queue.pop_front() {
                if let Some(place) = inner.tasks.get_mut(task) {
                    *place = Place::Running;
                }
                return Some(task);
            }
            inner = self.more.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A task's turn is over.
    pub(crate) fn done(&self, task: usize, turn: Turn) {
        let mut inner = self.lock();
        let Some(place) = inner.tasks.get_mut(task) else { return };
        if turn == Turn::Again || *place == Place::Woken {
            *place = Place::Queued;
            inner.queue.push_back(task);
            self.more.notify_one();
        } else {
            *place = Place::Parked;
        }
    }

    /// No task runs any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.more.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_during_a_turn_makes_another_turn() {
        let ready = Ready::new(2);
        ready.wake(0, Urgency::Normal);
        ready.wake(0, Urgency::Normal);
        assert_eq!(ready.next(), Some(0));
        ready.wake(0, Urgency::Normal);
        ready.done(0, Turn::Park);
        ready.wake(1, Urgency::First);
        assert_eq!((ready.next(), ready.next()), (Some(1), Some(0)));
        ready.done(0, Turn::Park);
        ready.done(1, Turn::Again);
        assert_eq!(ready.next(), Some(1));
        ready.close();
        assert_eq!(ready.next(), None);
    }
}
