//! A task as others see it: orders that wait for its next turn, figures that it publishes, and the task itself, which only the worker that runs
//! it may touch. Orders are levels, not a queue: they need no bound. Refuses to block anybody but for a moment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gregor_model::digest::Digest;
use gregor_model::names::TaskId;
use gregor_state::{Applied, DeltaFile};

use crate::keep::KeepOrder;
use crate::task::Task;

/// What a task shall do at its next batch boundary.
#[derive(Default)]
pub(crate) struct Orders {
    /// Its unconfirmed segment was confirmed.
    pub(crate) confirmed: Option<ConfirmedSegment>,
    /// A confirmed map was applied to its local store.
    pub(crate) applied: Option<Applied>,
    /// Freeze, or say that nothing has changed.
    pub(crate) freeze: bool,
    /// Take no more input.
    pub(crate) close: bool,
    /// Have something done for the chain of its deltas.
    pub(crate) keep: Option<KeepOrder>,
}

/// A segment that was confirmed.
pub(crate) struct ConfirmedSegment {
    /// Its hash.
    pub(crate) segment: Digest,
    /// Its delta files.
    pub(crate) deltas: Vec<DeltaFile>,
}

/// What a task publishes of itself after each turn.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// It has nothing to do: inputs ended, read to their heads, closed, or paused by a budget.
    pub(crate) idle: AtomicBool,
    /// It may freeze, and has something to freeze.
    pub(crate) changed: AtomicBool,
    /// Something of it waits for a manifest: a flag, or runs for a reader.
    pub(crate) waiting: AtomicBool,
    /// Half of a budget is used.
    pub(crate) pressed: AtomicBool,
    /// The reader of a stream that it writes lags behind: take no more input.
    pub(crate) held: AtomicBool,
    /// Records taken from outside since the job began.
    pub(crate) records: AtomicU64,
    /// Bytes taken from outside since the job began.
    pub(crate) bytes: AtomicU64,
    /// Records left out in this run.
    pub(crate) skipped: AtomicU64,
}

/// A task, shared.
pub(crate) struct Cell {
    /// Its id.
    pub(crate) id: TaskId,
    /// What it publishes.
    pub(crate) figures: Figures,
    ordered: AtomicBool,
    orders: Mutex<Orders>,
    task: Mutex<Task>,
}

impl Cell {
    /// Shares a task.
    pub(crate) fn new(task: Task) -> Self {
        Self {
            id: task.id(),
            figures: Figures::default(),
            ordered: AtomicBool::new(false),
            orders: Mutex::default(),
            task: Mutex::new(task),
        }
    }

    /// Gives an order; the caller wakes the task.
    pub(crate) fn order(&self, give: impl FnOnce(&mut Orders)) {
        give(&mut lock(&self.orders));
        self.ordered.store(true, Ordering::SeqCst);
    }

    /// Whether an order waits. Cheap: asked at each batch boundary.
    pub(crate) fn is_ordered(&self) -> bool {
        self.ordered.load(Ordering::SeqCst)
    }

    /// Takes the orders that wait.
    pub(crate) fn take_orders(&self) -> Orders {
        let mut orders = lock(&self.orders);
        self.ordered.store(false, Ordering::SeqCst);
        let close = orders.close;
        std::mem::replace(&mut *orders, Orders { close, ..Orders::default() })
    }

    /// The task itself. Only the worker whose turn it is asks for it, so this never waits.
    pub(crate) fn task(&self) -> MutexGuard<'_, Task> {
        lock(&self.task)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
