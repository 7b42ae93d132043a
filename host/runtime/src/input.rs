//! Inputs: a bounded queue of batches for each input of each task, filled by source threads ahead of the worker. Sources rest when their queue
//! is full and are woken when it is half empty; sources of streams rest at the head and are woken when more runs are confirmed. Refuses to hold
//! more than its bound (plus one run), and to show a record of a run that is not confirmed.

mod file;
mod generated;
mod run;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use gregor_model::columns::Columns;
use gregor_model::segment::Position;
use gregor_stream::Raw;

use crate::event::Event;
use crate::ready::{Ready, Urgency};
use crate::retry::Tries;
use crate::setup::RunError;
use crate::threads::Shutdown;

pub(crate) use file::{FileFeed, FileInput, bytes_before, file_of};
pub(crate) use generated::GeneratedFeed;
pub(crate) use run::{RunCache, RunFeed, RunRef};

/// Bytes of batches that wait for one task's input: a few milliseconds of work, so that a source's hiccup is not the task's.
const QUEUE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Threads that read sources ahead of the workers.
pub(crate) const SOURCE_THREADS: usize = 2;

/// What a source has for a task.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// Records.
    Batch(Batch),
    /// A record over the limit, of which no more than the limit was read into memory.
    TooLong {
        /// Where it begins in its file.
        offset: u64,
        /// Its bytes.
        length: u64,
        /// What it begins with, where the stage keeps it.
        raw: Option<Raw>,
        /// Where the input goes on: in the split that the record stands in.
        after: Position,
    },
    /// A record that is none of its format, which no task can read.
    Unreadable {
        /// Where it begins in its file.
        offset: u64,
        /// What is wrong with it: goes on after "the record at …".
        reason: String,
        /// What stands there, where the stage keeps it.
        raw: Option<Raw>,
        /// Where the input goes on: in the split that the record stands in.
        after: Position,
    },
    /// The end of the input; the position after its last record.
    End(Position),
}

/// Bytes that an item without records counts for, besides what is kept of a record: each is bounded by what formats say of a line.
const BARE_ITEM_BYTES: usize = 1024;

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.columns.bytes(),
            Self::TooLong { raw, .. } | Self::Unreadable { raw, .. } => BARE_ITEM_BYTES + raw.as_ref().map_or(0, |raw| raw.bytes.len()),
            Self::End(_) => BARE_ITEM_BYTES,
        }
    }
}

/// Records and the place after them.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// The records.
    pub(crate) columns: Arc<Columns>,
    /// Where the input goes on.
    pub(crate) after: Position,
    /// Bytes that they took in the input.
    pub(crate) bytes: u64,
}

/// What a source answers.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// Something.
    Item(Item),
    /// Nothing until more runs are confirmed.
    Nothing,
    /// Nothing so far, after a fair share of reading: to be asked again.
    Later,
}

/// Where items come from. Implementations: [`FileFeed`], [`RunFeed`] and, for measurements, [`GeneratedFeed`]. Blocks while it reads.
///
/// Guarantees demanded: items come in the order of their positions, none twice; after an error the same item is asked for again; after
/// `Item::End` it is not asked again.
pub(crate) trait Feed: Send {
    /// The next item.
    ///
    /// # Errors
    /// `RunError::Failed`: it may be there at another try. All others: the job can't go on.
    fn fetch(&mut self) -> Result<Fetched, RunError>;

    /// Takes confirmed runs, in order of offsets. Feeds that read no stream have none.
    fn extend(&mut self, more: More);
}

/// News for a feed of a stream.
#[derive(Debug, Default)]
pub(crate) struct More {
    /// Runs, in the order of their offsets.
    pub(crate) runs: Vec<RunRef>,
    /// The stream's partition ends at this offset.
    pub(crate) final_head: Option<u64>,
}

/// The queue between a source and a task.
pub(crate) struct InputQueue {
    /// Index among all queues.
    index: usize,
    /// Index of the task.
    task: usize,
    state: Mutex<QueueState>,
    source: Mutex<Source>,
}

/// Where items come from, and how often it has failed since it gave the last one.
struct Source {
    feed: Box<dyn Feed>,
    tries: Tries,
}

struct QueueState {
    items: VecDeque<Item>,
    bytes: usize,
    feeding: Feeding,
    more: More,
}

/// Whether a source thread works for a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feeding {
    /// It does, or will at once.
    Active,
    /// The queue is full.
    Full,
    /// There is nothing to read.
    Drained,
    /// The end is in the queue, or was taken.
    Ended,
}

/// What a task finds in a queue.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Something to do.
    Item(Item),
    /// The source is at it; it will wake the task.
    Soon,
    /// Nothing, until more is confirmed.
    Nothing,
}

impl InputQueue {
    /// A queue for a task's input, not yet fed.
    pub(crate) fn new((index, task): (usize, usize), feed: Box<dyn Feed>) -> Self {
        let state = QueueState { items: VecDeque::new(), bytes: 0, feeding: Feeding::Drained, more: More::default() };
        Self { index, task, state: Mutex::new(state), source: Mutex::new(Source { feed, tries: Tries::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// Puts an item in; whether the source now rests.
    fn put(&mut self, item: Item) -> bool {
        let ended = matches!(item, Item::End(_));
        self.bytes += item.bytes();
        self.items.push_back(item);
        if ended {
            self.feeding = Feeding::Ended;
        } else if self.bytes >= QUEUE_BYTES_MAX {
            self.feeding = Feeding::Full;
        }
        self.feeding != Feeding::Active
    }

    /// The source has nothing; whether it now rests, unless more came meanwhile.
    fn drain(&mut self) -> bool {
        let drained = self.more.runs.is_empty() && self.more.final_head.is_none();
        if drained {
            self.feeding = Feeding::Drained;
        }
        drained
    }

    /// Marks the queue as being fed; whether the caller has to tell the sources.
    fn activate(&mut self) -> bool {
        let rests = matches!(self.feeding, Feeding::Full | Feeding::Drained);
        if rests {
            self.feeding = Feeding::Active;
        }
        rests
    }
}

/// All queues, and the channel by which source threads are told which of them to fill. The channel holds each queue at most
/// once, and has room for what tells the threads to end.
pub(crate) struct Inputs {
    queues: Vec<Arc<InputQueue>>,
    to_feed: Sender<usize>,
    from_feed: Receiver<usize>,
}

impl Inputs {
    /// Takes all queues, in the order of their indexes.
    pub(crate) fn new(queues: Vec<Arc<InputQueue>>) -> Self {
        let (to_feed, from_feed) = crossbeam_channel::bounded(queues.len() + SOURCE_THREADS);
        Self { queues, to_feed, from_feed }
    }

    /// Begins, or goes on, to fill a queue.
    pub(crate) fn feed(&self, queue: &InputQueue) {
        if queue.lock().activate() {
            self.tell(queue.index);
        }
    }

    /// Hands confirmed runs to a queue of a stream.
    pub(crate) fn extend(&self, queue: &InputQueue, more: More) {
        let mut state = queue.lock();
        state.more.runs.extend(more.runs);
        state.more.final_head = more.final_head.or(state.more.final_head);
        let tell = state.feeding == Feeding::Drained && state.activate();
        drop(state);
        if tell {
            self.tell(queue.index);
        }
    }

    /// Takes the next item for a task.
    pub(crate) fn take(&self, queue: &InputQueue) -> Taken {
        let mut state = queue.lock();
        let item = state.items.pop_front();
        state.bytes = state.bytes.saturating_sub(item.as_ref().map_or(0, Item::bytes));
        let tell = state.feeding == Feeding::Full && state.bytes <= QUEUE_BYTES_MAX / 2 && state.activate();
        let feeding = state.feeding;
        drop(state);
        if tell {
            self.tell(queue.index);
        }
        match (item, feeding) {
            (Some(item), _) => Taken::Item(item),
            (None, Feeding::Active | Feeding::Full) => Taken::Soon,
            (None, Feeding::Drained | Feeding::Ended) => Taken::Nothing,
        }
    }

    /// Tells the source threads to end, each by a number that names no queue. Never waits, whether or not they live: there is room for all of it.
    pub(crate) fn close(&self) {
        (0..SOURCE_THREADS).for_each(|_| self.tell(usize::MAX));
    }

    /// The body of a source thread.
    pub(crate) fn serve(&self, ready: &Ready, events: &Sender<Event>, shutdown: &Shutdown) {
        while let Ok(index) = self.from_feed.recv() {
            let Some(queue) = self.queues.get(index) else { break };
            if shutdown.begun() {
                continue;
            }
            match fill(queue, ready, shutdown) {
                Ok(Filled::Rests) => {}
                Ok(Filled::Goes) => self.tell(index),
                // What was read before is sound, and may still be confirmed.
                Err(error @ RunError::Failed(_)) => drop(events.send(Event::GaveUp(error))),
                Err(error) => drop(events.send(Event::Failed(error))),
            }
        }
    }

    fn tell(&self, index: usize) {
        // Never full: a queue is told once until it rests again, and the thread that took it out is gone from the channel.
        if self.to_feed.send(index).is_err() {
            tracing::debug!(index, "nobody feeds inputs any more: the job is over");
        }
    }
}

/// How a source thread leaves a queue.
#[derive(Debug, PartialEq, Eq)]
enum Filled {
    /// It is full, drained or ended; whoever changes that tells.
    Rests,
    /// There is more to read, but others have waited long enough.
    Goes,
}

/// Fills a queue until it is full, drained or ended, or until as much as a queue holds was read: a task that takes as fast as this reads
/// would keep a thread for itself, and there are few of them.
fn fill(queue: &InputQueue, ready: &Ready, shutdown: &Shutdown) -> Result<Filled, RunError> {
    let mut source = queue.source.lock().unwrap_or_else(PoisonError::into_inner);
    let mut read = 0;
    while read < QUEUE_BYTES_MAX {
        let more = std::mem::take(&mut queue.lock().more);
        source.feed.extend(more);
        let rests = match source.feed.fetch() {
            Ok(Fetched::Item(item)) => {
                read += item.bytes();
                queue.lock().put(item)
            }
            // If the job is over, that is seen before the next try. It may fail again where it failed before: such tries count.
            Ok(Fetched::Later) => break,
            Ok(Fetched::Nothing) => queue.lock().drain(),
            Err(failed) => {
                source.tries.wait_for_another(shutdown, "read an input", failed)?;
                continue;
            }
        };
        source.tries = Tries::default();
        // Of a drained queue, too: the task may have seen `Soon` and rested, and must look once more, to become idle.
        ready.wake(queue.task, Urgency::Normal);
        if rests {
            return Ok(Filled::Rests);
        }
    }
    Ok(Filled::Goes)
}

#[cfg(test)]
mod tests;
