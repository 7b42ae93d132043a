//! A turn: orders first, then a few batches, until there is nothing to do or others have waited long enough. Publishes figures at its end.
//! Refuses to take input while a budget is full, while a reader of its streams lags, and after inputs were closed.

use std::sync::atomic::Ordering;

use gregor_model::segment::OnEnd;
use gregor_state::Slot;

use super::call::{Done, Fault};
use super::{Applying, Flight, Origin, Task};
use crate::cell::{Cell, ConfirmedSegment, Figures, Orders};
use crate::event::Event;
use crate::failure;
use crate::input::Taken;
use crate::keep::{KeepOrder, Kept};
use crate::ready::Turn;
use crate::setup::RunError;

/// Calls of one turn: a few milliseconds of work, so that a freeze waits no longer for a task in the queue.
const CALLS_A_TURN: usize = 8;

/// What to do next.
enum Step {
    /// A call was made.
    Worked,
    /// Something will come soon: rest until woken.
    Soon,
    /// There is nothing to do.
    Idle,
}

impl Task {
    /// Runs one turn. An error ends the job.
    pub(crate) fn turn(&mut self, cell: &Cell) -> Result<Turn, RunError> {
        // Before the orders are taken: nobody sees a task that has none left and still counts as idle.
        cell.figures.idle.store(false, Ordering::SeqCst);
        self.wake()?;
        let mut turn = Turn::Again;
        let mut idle = false;
        for _ in 0..CALLS_A_TURN {
            if cell.is_ordered() {
                self.obey(cell)?;
            }
            let step = self.step(cell).or_else(|fault| match fault {
                Fault::Guest(error) => Ok(self.give_up(error)),
                Fault::Host(error) => Err(error),
            })?;
            match step {
                Step::Worked => {}
                Step::Soon => {
                    turn = Turn::Park;
                    break;
                }
                Step::Idle => {
                    (turn, idle) = (Turn::Park, true);
                    break;
                }
            }
        }
        self.publish(&cell.figures, idle)?;
        Ok(turn)
    }

    fn obey(&mut self, cell: &Cell) -> Result<(), RunError> {
        let Orders { confirmed, applied, freeze, close, keep } = cell.take_orders();
        self.closed |= close;
        if let Some(applied) = applied {
            self.stores()?.applied(applied);
            // Taken out only if it waits: a task that has landed stays landed.
            match std::mem::replace(&mut self.flight, Flight::Landed) {
                Flight::Waiting(confirmed) => self.confirm(confirmed)?,
                other => self.flight = other,
            }
        }
        if let Some(confirmed) = confirmed {
            self.confirm(confirmed)?;
        }
        if freeze {
            self.freeze_or_decline()?;
        }
        if let Some(order) = keep {
            self.hand_over(order)?;
        }
        Ok(())
    }

    /// Hands the upkeep of the chain to the applier, which alone knows when nothing is being applied.
    fn hand_over(&mut self, order: KeepOrder) -> Result<(), RunError> {
        let source = self.stores()?.image();
        let kept = Kept {
            task: self.identity.index,
            id: self.identity.id,
            name: self.identity.name.clone(),
            stores: self.identity.stage.stores.iter().map(|store| store.name.clone()).collect(),
        };
        self.send_to_applier(Applying::Keep(kept, source, order));
        Ok(())
    }

    pub(super) fn send_to_applier(&self, work: Applying) {
        let lane = self.identity.index % self.shared.to_apply.len().max(1);
        if let Some(to_apply) = self.shared.to_apply.get(lane) {
            // A send fails only when the job is over.
            drop(to_apply.send(Some(work)));
        }
    }

    /// Moves the frozen map down; if the one below is still being applied, that waits, and the task offers nothing meanwhile.
    fn confirm(&mut self, confirmed: ConfirmedSegment) -> Result<(), RunError> {
        let name = self.identity.name.clone();
        let index = self.identity.index;
        let stores = self.stores()?;
        if stores.lower_slot() == Slot::Taken {
            self.flight = Flight::Waiting(confirmed);
            return Ok(());
        }
        let ConfirmedSegment { segment, deltas } = confirmed;
        let apply = stores.confirm(deltas, segment).map_err(|error| failure::state(&name, error))?;
        if let Some(apply) = apply {
            self.send_to_applier(Applying::Apply(index, apply));
        }
        self.parent = Some(segment);
        self.flight = Flight::Landed;
        Ok(())
    }

    /// Takes no more input: the job ends with this error, after a last checkpoint that holds all that came before.
    fn give_up(&mut self, error: RunError) -> Step {
        self.closed = true;
        self.retry.item = None;
        // A send fails only when the job is over.
        drop(self.shared.events.send(Event::GaveUp(error)));
        Step::Idle
    }

    fn step(&mut self, cell: &Cell) -> Result<Step, Fault> {
        if self.closed {
            return Ok(Step::Idle);
        }
        if self.budget_is_full()? || cell.figures.held.load(Ordering::Relaxed) {
            return Ok(Step::Idle);
        }
        if self.retry.item.is_some() {
            return self.step_again(cell);
        }
        let (count, mut soon) = (self.inputs.len(), false);
        for turn in 0..count {
            let index = (self.next_input + turn) % count.max(1);
            let Some(input) = self.inputs.get(index) else { continue };
            let done = match input.progress.on_end {
                OnEnd::Done => continue,
                OnEnd::AtEnd => self.work_on_end(index)?,
                OnEnd::Open => match self.shared.inputs.take(&input.queue) {
                    Taken::Item(item) => self.work_on_item(index, item, cell)?,
                    Taken::Soon => {
                        soon = true;
                        continue;
                    }
                    Taken::Nothing => continue,
                },
            };
            self.next_input = index + 1;
            self.put_aside(index, done);
            return Ok(Step::Worked);
        }
        Ok(if soon { Step::Soon } else { Step::Idle })
    }

    fn step_again(&mut self, cell: &Cell) -> Result<Step, Fault> {
        let now = self.shared.clock.now();
        if now < self.retry.not_before {
            let after = self.retry.not_before - now;
            drop(self.shared.events.send(Event::WakeIn { task: self.identity.index, after }));
            return Ok(Step::Soon);
        }
        let Some((index, work)) = self.retry.item.take() else { return Ok(Step::Worked) };
        let done = self.work_again(index, work, cell)?;
        self.put_aside(index, done);
        Ok(Step::Worked)
    }

    /// Keeps what was put off; `on-end` that wants to be called again is called again by its flag.
    fn put_aside(&mut self, input: usize, done: Done) {
        if let Done::Later(work) = done {
            self.retry.item = Some((input, work));
        }
    }

    fn budget_is_full(&mut self) -> Result<bool, RunError> {
        let (dirty, unpublished) = self.used()?;
        Ok(dirty >= self.shared.limits.dirty_bytes || unpublished >= self.shared.limits.unpublished_bytes)
    }

    fn used(&mut self) -> Result<(u64, u64), RunError> {
        let services = self.instance()?.services();
        Ok((services.stores.dirty_bytes(), services.outputs.bytes()))
    }

    /// Publishes figures, and stirs the supervisor when it has to judge anew.
    fn publish(&mut self, figures: &Figures, idle: bool) -> Result<(), RunError> {
        let (dirty, unpublished) = self.used()?;
        let limits = &self.shared.limits;
        let free = matches!(self.flight, Flight::Landed);
        let pressed = free && (dirty >= limits.dirty_bytes / 2 || unpublished >= limits.unpublished_bytes / 2);
        let changed = free && (self.moved || unpublished > 0);
        let (records, bytes) = self.taken_from_outside();
        figures.records.store(records, Ordering::Relaxed);
        figures.bytes.store(bytes, Ordering::Relaxed);
        figures.waiting.store(free && (self.flagged || unpublished > 0), Ordering::Relaxed);
        // A task whose confirmation waits for the map below has something to do yet.
        let idle = idle && !matches!(self.flight, Flight::Waiting(_));
        let newly_pressed = pressed && !figures.pressed.swap(pressed, Ordering::Relaxed);
        let newly_changed = changed && !figures.changed.swap(changed, Ordering::Relaxed);
        figures.pressed.store(pressed, Ordering::Relaxed);
        figures.changed.store(changed, Ordering::Relaxed);
        figures.idle.store(idle, Ordering::SeqCst);
        if newly_pressed || newly_changed || idle {
            drop(self.shared.events.send(Event::Stirred));
        }
        Ok(())
    }

    /// Begins to fill the queues of inputs that have not ended.
    pub(crate) fn begin(&self) {
        for input in self.inputs.iter().filter(|input| input.progress.on_end == OnEnd::Open && input.origin == Origin::Outside) {
            self.shared.inputs.feed(&input.queue);
        }
    }
}
