//! Which tasks' chains get a base, or are merged, and what becomes of the result. Refuses two at a time for one task, and more at a time than the
//! disk can bear.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gregor_model::manifest::{BaseEntry, Manifest};
use gregor_model::seal::SavedMerges;
use gregor_model::upkeep::{Upkeep, upkeep};

use super::Supervisor;
use crate::keep::{KeepOrder, KeepResult};
use crate::ready::Urgency;
use crate::setup::RunError;

/// Chains that are worked on at a time: enough merges to share a part, few enough images to lie about on the disk.
const KEPT_AT_ONCE: usize = 16;
/// How long a chain rests after its upkeep has failed.
const REST: Duration = Duration::from_secs(30);
/// The same where what it needs is damaged: somebody may put it back, but reading it again and again does not mend it.
const REST_DAMAGED: Duration = Duration::from_secs(600);
/// Damages that are told, each once.
const DAMAGES_MAX: usize = 1024;

/// Upkeep under way.
#[derive(Default)]
pub(super) struct Keeping {
    /// Wall-clock time when this process took over, in milliseconds since 1970.
    began_ms: u64,
    /// Tasks whose chains are worked on.
    busy: BTreeSet<usize>,
    /// Tasks whose result waits for a manifest.
    waiting: BTreeSet<usize>,
    /// Tasks whose upkeep has failed, and until when they rest.
    resting: BTreeMap<usize, Duration>,
    /// Bases that wait for a manifest.
    pub(super) bases: Vec<BaseEntry>,
    /// Merged deltas that wait for a manifest.
    pub(super) merges: Vec<SavedMerges>,
    /// What was told of the archive's damages.
    damages: BTreeSet<String>,
    /// Where the next round begins, so that no task waits for ever behind others.
    next: usize,
}

impl Keeping {
    /// Nothing is under way; `began_ms` is the wall-clock time now.
    pub(super) fn new(began_ms: u64) -> Self {
        Self { began_ms, ..Self::default() }
    }

    /// Tells why a chain could not be shortened, and answers how long it rests. The job goes on, since it has its state; but whoever keeps it must
    /// hear of what it could not be restored from, once.
    fn tell(&mut self, error: &RunError) -> Duration {
        let RunError::Corrupt(damage) = error else {
            tracing::info!(%error, "a task's chain could not be shortened; it is tried again");
            return REST;
        };
        if self.damages.len() < DAMAGES_MAX && self.damages.insert(damage.clone()) {
            tracing::error!(damage, "the archive is damaged: the job goes on, but could not be restored; see `gregor checkpoint verify`");
        }
        REST_DAMAGED
    }
}

impl Supervisor {
    /// Gives orders for chains that need it, after a confirmation and whenever one of those under way is through.
    pub(super) fn keep(&mut self) {
        let (now, now_ms) = (self.parts.clock.now(), self.parts.clock.wall_ms());
        self.keeping.resting.retain(|_, until| *until > now);
        let count = self.parts.cells.len();
        for turn in 0..count {
            if self.keeping.busy.len() >= KEPT_AT_ONCE {
                break;
            }
            let index = (self.keeping.next + turn) % count.max(1);
            let Keeping { busy, waiting, resting, .. } = &self.keeping;
            if busy.contains(&index) || waiting.contains(&index) || resting.contains_key(&index) {
                continue;
            }
            let Some(cell) = self.parts.cells.get(index) else { continue };
            let Some(history) = self.parts.history.tasks.get(&cell.id) else { continue };
            let times = (now_ms, self.keeping.began_ms);
            let order = match upkeep(cell.id, history, &self.parts.job.checkpoint, times) {
                Upkeep::None => continue,
                Upkeep::Base => KeepOrder::Base(history.base.as_ref().map(|base| base.files.clone()).unwrap_or_default()),
                Upkeep::Merge { first, last } => KeepOrder::Merge(history.chain.get(first..=last).unwrap_or_default().to_vec()),
            };
            cell.order(|orders| orders.keep = Some(order));
            self.parts.ready.wake(index, Urgency::Normal);
            self.keeping.busy.insert(index);
            self.keeping.next = index + 1;
        }
    }

    /// Takes in what came of an order.
    pub(super) fn take_kept(&mut self, tasks: &[usize], result: KeepResult) {
        self.keeping.busy.retain(|task| !tasks.contains(task));
        let rest = match result {
            KeepResult::Base(entry) => {
                self.keeping.bases.push(entry);
                None
            }
            KeepResult::Merges(merges) => {
                self.keeping.merges.push(merges);
                None
            }
            KeepResult::Nothing => Some(REST),
            KeepResult::Failed(error) => Some(self.keeping.tell(&error)),
        };
        match rest {
            None => self.keeping.waiting.extend(tasks),
            Some(rest) => {
                let until = self.parts.clock.now() + rest;
                self.keeping.resting.extend(tasks.iter().map(|&task| (task, until)));
            }
        }
        self.keep();
    }

    /// A manifest with bases and merged deltas is confirmed, or has left some of them out for ever.
    pub(super) fn kept(&mut self, manifest: &Manifest, (bases, merges): (Vec<BaseEntry>, Vec<SavedMerges>)) {
        let tasks = bases.iter().map(|entry| entry.task).chain(merges.iter().flat_map(|saved| &saved.merges).map(|merge| merge.task));
        let tasks: BTreeSet<_> = tasks.collect();
        for (index, cell) in self.parts.cells.iter().enumerate() {
            if tasks.contains(&cell.id) {
                self.keeping.waiting.remove(&index);
            }
        }
        let files = bases.iter().flat_map(|entry| &entry.base.files).map(|file| &file.object.key);
        let parts = merges.iter().filter_map(|saved| saved.part.as_ref()).map(|part| &part.object.key);
        files.chain(parts).for_each(|key| self.parts.in_flight.remove(key));
        // The first garbage of a process is what those before it left; later, what a full manifest made superfluous. An order that waits is enough.
        if manifest.full.is_some() || self.confirmed == 1 {
            let _ = self.parts.collect.try_send(());
        }
        self.keep();
    }
}
