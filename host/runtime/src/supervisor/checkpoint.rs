//! One checkpoint at a time: created, asked for, sealed, confirmed, told. `model` decides, by what has happened, what follows; here it is carried
//! out. Refuses a second permit for a number, and to go on after a manifest of its own that does not follow from its own history.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use gregor_coordination::CommitPermit;
use gregor_model::coordinator::{Content, Move, Observed, Patience, Phase};
use gregor_model::history::History;
use gregor_model::limits::FULL_MANIFEST_EVERY;
use gregor_model::manifest::{BaseEntry, Manifest, ManifestRef, ObjectRef, Times};
use gregor_model::names::{CheckpointNumber, TaskId};
use gregor_model::seal::{PublishedRun, SavedGroup, SavedMerges, Sealing, seal};
use gregor_model::snapshot::Pages;

use super::{Flight, Supervisor, over};
use crate::cell::ConfirmedSegment;
use crate::commit::Order;
use crate::event::Saved;
use crate::ready::Urgency;
use crate::setup::{Report, RunError};
use crate::start::Standing;

/// The checkpoint that is being made.
#[derive(Default)]
pub(super) struct Current {
    pub(super) permit: Option<CommitPermit>,
    pub(super) created_at: Duration,
    pub(super) written_at: Duration,
    pub(super) created_at_ms: u64,
    /// What its manifest was sealed from.
    pub(super) groups: Vec<Saved>,
    pub(super) runs: Vec<PublishedRun>,
    pub(super) manifest: Option<(Manifest, ObjectRef)>,
    /// Bases and merged deltas that were offered to it.
    pub(super) kept: (Vec<BaseEntry>, Vec<SavedMerges>),
}

impl Supervisor {
    /// Begins the next checkpoint.
    pub(super) fn begin_checkpoint(&mut self) -> Result<(), RunError> {
        let number = self.parts.created.next();
        let ids = |flights: &[Flight], wanted: &[Flight]| {
            let cells = self.parts.cells.iter().zip(flights).filter(|(_, flight)| wanted.contains(flight));
            cells.map(|(cell, _)| cell.id).collect::<BTreeSet<_>>()
        };
        let tasks = ids(&self.flights, &[Flight::None, Flight::Asked]);
        let content = if self.saved.is_empty() && self.parts.performed.is_empty() { Content::Empty } else { Content::Some };
        self.current = Current { created_at: self.parts.clock.now(), created_at_ms: self.parts.clock.wall_ms(), ..Current::default() };
        self.step(Observed::Due { number, tasks, content })
    }

    /// Tells the machine what happened and carries out what it answers.
    pub(super) fn step(&mut self, observed: Observed) -> Result<(), RunError> {
        let patience = self.patience();
        match self.phase.step(observed, patience) {
            Move::Wait => Ok(()),
            Move::Create(number) => {
                self.parts.created = number;
                self.order(Order::Create(number, self.current.created_at_ms))
            }
            Move::Ask(_) => {
                self.ask();
                Ok(())
            }
            Move::Seal(number, left_out) => self.seal(number, left_out),
            Move::Confirm(number) => self.confirm(number),
            Move::Abort(number) => self.order(Order::Abort(number)),
        }
    }

    /// How long a checkpoint may take.
    pub(super) const fn patience(&self) -> Patience {
        let settings = &self.parts.job.checkpoint;
        Patience { grace: settings.grace, deadline: settings.deadline }
    }

    /// Asks every task without a segment on its way to freeze.
    fn ask(&mut self) {
        for (index, (cell, flight)) in self.parts.cells.iter().zip(&mut self.flights).enumerate() {
            if *flight == Flight::None {
                *flight = Flight::Asked;
                cell.order(|orders| orders.freeze = true);
                self.parts.ready.wake(index, Urgency::First);
            }
        }
    }

    fn seal(&mut self, number: CheckpointNumber, left_out: BTreeSet<TaskId>) -> Result<(), RunError> {
        let sealing = Sealing {
            number,
            incarnation: self.parts.incarnation,
            branch: self.parts.branch,
            term: self.parts.term,
            created_at_ms: self.current.created_at_ms,
            predecessor: self.parts.latest.clone(),
            left_out,
            performed: self.parts.performed.clone(),
            bases: self.keeping.bases.clone(),
            merges: self.keeping.merges.clone(),
        };
        self.current.kept = (std::mem::take(&mut self.keeping.bases), std::mem::take(&mut self.keeping.merges));
        let saved = std::mem::take(&mut self.saved);
        let groups: Vec<SavedGroup> = saved.iter().map(|saved| saved.group.clone()).collect();
        let (mut manifest, runs) = seal(&self.parts.history, &self.parts.job, sealing, &groups)
            .map_err(|error| RunError::Failed(format!("checkpoint {number} can't be sealed: {error}")))?;
        manifest.times = Some(self.times());
        self.current.groups = saved;
        self.current.runs = runs;
        let pages = (self.since_full + 1 >= FULL_MANIFEST_EVERY).then(|| Box::new(Pages::of(&self.parts.history)));
        self.order(Order::Seal(Box::new(manifest), pages))
    }

    /// How long the steps until now took.
    fn times(&self) -> Times {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let Current { created_at, written_at, .. } = self.current;
        let create_ms = ms(written_at.saturating_sub(created_at));
        Times { create_ms, save_ms: ms(self.parts.clock.now().saturating_sub(written_at)) }
    }

    fn confirm(&mut self, number: CheckpointNumber) -> Result<(), RunError> {
        let permit = self.current.permit.take().filter(|permit| permit.number() == number);
        let (Some(permit), Some((_, object))) = (permit, &self.current.manifest) else {
            return Err(RunError::Failed(format!("checkpoint {number} was to be confirmed without permit or manifest: please report it")));
        };
        let object = object.clone();
        self.order(Order::Confirm(permit, object))
    }

    /// A task has answered: it has nothing to freeze, or its segment is saved.
    pub(super) fn answered(&mut self, task: usize, flight: Flight) -> Result<(), RunError> {
        if let Some(known) = self.flights.get_mut(task) {
            *known = flight;
        }
        let Some(id) = self.parts.cells.get(task).map(|cell| cell.id) else { return Ok(()) };
        self.step(match flight {
            Flight::Saved => Observed::Saved(id),
            Flight::None | Flight::Asked => Observed::Unchanged(id),
        })
    }

    /// Segments are in the archive.
    pub(super) fn take_saved(&mut self, saved: Saved) -> Result<(), RunError> {
        let tasks: Vec<usize> = saved.deltas.iter().map(|(task, _)| *task).collect();
        self.saved.push(saved);
        tasks.into_iter().try_for_each(|task| self.answered(task, Flight::Saved))
    }

    /// The manifest is the truth: tell everybody.
    pub(super) fn take_confirmed(&mut self, number: CheckpointNumber) -> Result<(), RunError> {
        let Current { groups, runs, manifest, created_at, kept, .. } = std::mem::take(&mut self.current);
        let Some((manifest, object)) = manifest else { return Err(over()) };
        // Our own manifest must follow from our own history; anything else is a broken invariant, after which nobody goes on.
        self.parts.history.apply(&manifest).map_err(|error| RunError::Failed(format!("confirmed manifest: {error}; please report it")))?;
        groups.iter().try_for_each(|saved| check_taken(&self.parts.history, (number, &saved.group)))?;
        self.parts.history.forget_read(&self.parts.job);
        self.since_full = if manifest.full.is_some() { 0 } else { self.since_full + 1 };
        self.in_flight_no_more(&groups, (&manifest, &object));
        self.parts.latest = Some(ManifestRef { number, object });
        self.confirmed += 1;
        self.last_confirmed = self.parts.clock.now();
        let mut memory = BTreeMap::new();
        let mut bytes = 0;
        for saved in groups {
            bytes += saved.bytes;
            remember(&saved, &mut memory);
            self.tell_confirmed(saved);
        }
        self.publish(runs, &memory);
        self.parts
            .performed
            .retain(|done| manifest.releases.iter().any(|open| (open.task, open.output, &open.name) == (done.0, done.1, &done.2)));
        self.release(&manifest)?;
        self.kept(&manifest, kept);
        let took = self.parts.clock.now().saturating_sub(created_at);
        self.decided()?;
        let (progress, covered) = (self.progress(), Standing::of(&self.parts.job, &self.parts.history).records);
        self.report(Report::Confirmed { checkpoint: number, took, bytes, covered, progress });
        self.complete()?;
        self.stop_if_idle()
    }

    /// What a confirmed manifest names is reachable from now on, or it was given up.
    fn in_flight_no_more(&self, groups: &[Saved], (manifest, object): (&Manifest, &ObjectRef)) {
        let in_flight = &self.parts.in_flight;
        in_flight.remove(&object.key);
        let pages = manifest.full.iter().flat_map(|full| full.objects());
        pages.for_each(|page| in_flight.remove(&page.key));
        // Also of segments that the manifest has not taken: their attempt was replaced.
        let parts = groups.iter().flat_map(|saved| &saved.group.parts);
        parts.for_each(|part| in_flight.remove(&part.object.key));
    }

    /// The number is decided, one way or the other.
    pub(super) fn decided(&mut self) -> Result<(), RunError> {
        self.last_decision = self.parts.clock.now();
        self.step(Observed::Decided)
    }

    /// Tells the tasks of a group that their segments are confirmed.
    fn tell_confirmed(&mut self, saved: Saved) {
        for (segment, (task, deltas)) in saved.group.segments.into_iter().zip(saved.deltas) {
            if let (Some(cell), Some(flight)) = (self.parts.cells.get(task), self.flights.get_mut(task)) {
                *flight = Flight::None;
                cell.order(|orders| orders.confirmed = Some(ConfirmedSegment { segment: segment.hash, deltas }));
                self.parts.ready.wake(task, Urgency::First);
            }
        }
    }
}

/// Checks that every segment that was offered for a manifest is confirmed by it, or was before. Here a task has one attempt as long as the process
/// lives: a segment that was left out as another attempt's would be taken for confirmed by its task, and its records be lost.
fn check_taken(history: &History, (number, group): (CheckpointNumber, &SavedGroup)) -> Result<(), RunError> {
    let confirmed = |task: &TaskId| history.tasks.get(task).map(|task| task.segment);
    match group.segments.iter().find(|offer| confirmed(&offer.header.task) != Some(offer.hash)) {
        None => Ok(()),
        Some(offer) => Err(RunError::Failed(format!(
            "checkpoint {number} has left out segment {} of task {}: an invariant of gregor is broken; please report it",
            offer.hash, offer.header.task
        ))),
    }
}

/// How long a checkpoint that was created so long ago may still wait for its tasks before the machine has to be asked again.
pub(super) fn patience_left(phase: &Phase, waited: Duration, patience: Patience) -> Option<Duration> {
    let Phase::Saving(saving) = phase else { return None };
    let most = match saving.content {
        Content::Some => patience.grace,
        Content::Empty => patience.deadline,
    };
    Some(most.saturating_sub(waited))
}

/// Remembers where the bytes of a group's runs are, by part and place.
fn remember(saved: &Saved, memory: &mut BTreeMap<(String, u64), Bytes>) {
    let runs = saved.group.parts.iter().flat_map(|part| part.footer.runs.iter().map(move |at| (part, at)));
    for ((part, at), bytes) in runs.zip(&saved.runs) {
        memory.insert((part.object.key.clone(), at.offset), bytes.clone());
    }
}

#[cfg(test)]
mod tests;
