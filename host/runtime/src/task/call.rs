//! Guest calls as transactions: run one, keep all of it or nothing, and find the record that is at fault. Refuses to blame a record for what
//! lies outside of it.

use std::ops::Range;
use std::sync::Arc;

use gregor_guest::{CallContext, CallError, Disposition, Progress, Rejection, one_line};
use gregor_model::bisect::{Next, after_failure};
use gregor_model::job::OnError;
use gregor_model::limits::{RETRYABLE_TRIES, RETRYABLE_WAIT, RETRYABLE_WAIT_MAX};
use gregor_model::segment::{OnEnd, Position};

use super::dead_letter::{Content, Guilty, LEAVE_OUT};
use super::{Task, seed};
use crate::cell::Cell;
use crate::input::{Batch, Item};
use crate::setup::RunError;

/// Work that is left of an item.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// Ranges of a batch that are still to be processed, the next one last.
    Batch {
        /// The batch.
        batch: Batch,
        /// The ranges, each with how often it was tried.
        ranges: Vec<(Range<usize>, u32)>,
    },
    /// `on-end`.
    End,
}

/// Why a task does not go on.
pub(super) enum Fault {
    /// A record, or the guest, is at fault, and nothing of the call was kept: what came before it may still be confirmed.
    Guest(RunError),
    /// The host is.
    Host(RunError),
}

impl From<RunError> for Fault {
    fn from(error: RunError) -> Self {
        Self::Host(error)
    }
}

/// How work went.
pub(super) enum Done {
    /// All of it is worked off.
    All,
    /// `on-end` wants to be called again.
    More,
    /// This is left, to be tried again later.
    Later(Work),
}

impl Task {
    /// Works on an item of an input.
    pub(super) fn work_on_item(&mut self, input: usize, item: Item, cell: &Cell) -> Result<Done, Fault> {
        match item {
            Item::Batch(batch) => {
                let ranges = vec![(0..batch.columns.len(), 0)];
                self.work_on_batch(input, (batch, ranges), cell)
            }
            Item::TooLong { offset, length, raw, after } => {
                let limit = self.shared.limits.record_bytes;
                let reason =
                    format!("the record at {} has {length} bytes, limits.record allows {limit}", self.place(input, &after, offset));
                let guilty = Guilty { input, at: &after, offset, content: Content::Raw(raw.as_ref(), length) };
                self.leave_out(cell, &guilty, (&reason, &format!("raise limits.record, or {LEAVE_OUT}")))?;
                self.advance(input, after, (1, 0));
                Ok(Done::All)
            }
            Item::Unreadable { offset, reason, raw, after } => {
                let reason = format!("the record at {} {reason}", self.place(input, &after, offset));
                let length = raw.as_ref().map_or(0, |raw| raw.bytes.len() as u64);
                let guilty = Guilty { input, at: &after, offset, content: Content::Raw(raw.as_ref(), length) };
                self.leave_out(cell, &guilty, (&reason, LEAVE_OUT))?;
                self.advance(input, after, (1, 0));
                Ok(Done::All)
            }
            Item::End(after) => {
                self.advance(input, after, (0, 0));
                if let Some(input) = self.inputs.get_mut(input) {
                    input.progress.on_end = OnEnd::AtEnd;
                }
                self.flagged = true;
                Ok(Done::More)
            }
        }
    }

    /// Goes on with work that was put off.
    pub(super) fn work_again(&mut self, input: usize, work: Work, cell: &Cell) -> Result<Done, Fault> {
        match work {
            Work::Batch { batch, ranges } => self.work_on_batch(input, (batch, ranges), cell),
            Work::End => self.work_on_end(input),
        }
    }

    fn work_on_batch(&mut self, input: usize, (batch, mut ranges): (Batch, Vec<(Range<usize>, u32)>), cell: &Cell) -> Result<Done, Fault> {
        while let Some((range, tried)) = ranges.pop() {
            let answer = self.process(input, &batch, range.clone());
            match answer.and_then(|rejections| self.judge_rejections(rejections)) {
                Ok(rejections) => {
                    self.take_rejections(input, (&batch, range.start, &rejections), cell)?;
                    self.commit()?;
                    self.move_to(input, &batch, range);
                }
                Err(CallError::Retryable(reason)) => {
                    self.roll_back()?;
                    self.put_off(&reason)?;
                    ranges.push((range, tried));
                    return Ok(Done::Later(Work::Batch { batch, ranges }));
                }
                Err(CallError::Poison(reason)) => {
                    self.roll_back()?;
                    match after_failure(range.clone(), batch.columns.len(), (tried + 1, self.identity.stage.retries)) {
                        Next::Again => ranges.push((range, tried + 1)),
                        Next::Halves(first, second) => ranges.extend([(second, 0), (first, 0)]),
                        Next::Blame(record) => {
                            let guilty = guilty(input, &batch, record);
                            let reason = format!("{} fails: {reason}", self.name_of(&guilty));
                            self.leave_out(cell, &guilty, (&reason, LEAVE_OUT))?;
                            self.move_to(input, &batch, range);
                        }
                    }
                }
                Err(CallError::Fatal(reason)) => {
                    self.roll_back()?;
                    return Err(Fault::Guest(self.failed(format!("the task gave up: {reason}"))));
                }
                Err(CallError::Broken(reason)) => return Err(self.failed(reason).into()),
            }
            // A batch full of failing records takes long: a freeze or a stop comes in between, positions are right after each range.
            if !ranges.is_empty() && cell.is_ordered() {
                self.retry.not_before = self.shared.clock.now();
                return Ok(Done::Later(Work::Batch { batch, ranges }));
            }
        }
        self.retry.tried = 0;
        Ok(Done::All)
    }

    /// Calls `on-end` once.
    pub(super) fn work_on_end(&mut self, input: usize) -> Result<Done, Fault> {
        let context = self.context(seed::of_piece(&self.identity, input, &self.pieces));
        let number = u32::try_from(input).unwrap_or(u32::MAX);
        let last_timestamp = self.inputs.get(input).map_or(0, |input| input.progress.last_timestamp);
        let instance = self.instance()?;
        instance.services().last_timestamp = last_timestamp;
        match instance.on_end(number, &context) {
            Ok(progress) => {
                self.commit()?;
                self.pieces.keep(input);
                self.retry.tried = 0;
                self.moved = true;
                if progress == Progress::More {
                    return Ok(Done::More);
                }
                if let Some(input) = self.inputs.get_mut(input) {
                    input.progress.on_end = OnEnd::Done;
                }
                self.flagged = true;
                Ok(Done::All)
            }
            Err(CallError::Retryable(reason)) => {
                self.roll_back()?;
                self.put_off(&reason)?;
                Ok(Done::Later(Work::End))
            }
            Err(CallError::Poison(reason) | CallError::Fatal(reason)) => {
                self.roll_back()?;
                Err(Fault::Guest(self.failed(format!("on-end of input {:?} failed: {reason}", self.port(input)))))
            }
            Err(CallError::Broken(reason)) => Err(self.failed(format!("on-end of input {:?} failed: {reason}", self.port(input))).into()),
        }
    }

    fn process(&mut self, input: usize, batch: &Batch, range: Range<usize>) -> Result<Vec<Rejection>, CallError> {
        let columns =
            if range.len() == batch.columns.len() { Arc::clone(&batch.columns) } else { Arc::new(batch.columns.part(range.clone())) };
        let first = columns.offsets.first().copied().unwrap_or(0);
        let context = self.context(seed::of_batch(&self.identity, (input, &batch.after), first));
        let (number, partition) = (u32::try_from(input).unwrap_or(u32::MAX), self.identity.id.partition);
        let instance = self.instance().map_err(|error| CallError::Broken(error.to_string()))?;
        instance.services().batch = Some(Arc::clone(&columns));
        instance.process(&gregor_guest::Batch { input: number, partition, columns: &columns }, &context)
    }

    /// Time and randomness of a call.
    fn context(&self, seed: [u8; 32]) -> CallContext {
        CallContext { now_ms: i64::try_from(self.shared.clock.wall_ms()).unwrap_or(i64::MAX), seed }
    }

    /// Keeps what the call staged, and the instance with what it remembers of it.
    fn commit(&mut self) -> Result<(), RunError> {
        let instance = self.instance()?;
        instance.keep();
        instance.services().commit();
        Ok(())
    }

    /// Drops what the call staged. The instance, which may remember it, is not kept.
    fn roll_back(&mut self) -> Result<(), RunError> {
        self.instance()?.services().rollback();
        Ok(())
    }

    /// Under `on-error = "stop"`, a record that the task gives up is one at fault like any other: the batch is bisected, so that what comes before
    /// it is kept.
    fn judge_rejections(&self, rejections: Vec<Rejection>) -> Result<Vec<Rejection>, CallError> {
        let given_up = |rejection: &&Rejection| rejection.action == Disposition::DeadLetter && !self.identity.stage.on_error.goes_on();
        match rejections.iter().find(given_up) {
            Some(rejection) => Err(CallError::Poison(format!("the task rejects it: {}", one_line(&rejection.reason)))),
            None => Ok(rejections),
        }
    }

    /// Puts work off, for a while that doubles.
    fn put_off(&mut self, reason: &str) -> Result<(), Fault> {
        let tried = self.retry.tried;
        if tried >= RETRYABLE_TRIES {
            return Err(Fault::Guest(self.failed(format!("still failing after {tried} tries: {reason}"))));
        }
        self.retry.tried += 1;
        self.retry.not_before =
            self.shared.clock.now() + RETRYABLE_WAIT.saturating_mul(2_u32.saturating_pow(tried)).min(RETRYABLE_WAIT_MAX);
        Ok(())
    }

    fn move_to(&mut self, input: usize, batch: &Batch, range: Range<usize>) {
        let columns = &batch.columns;
        let after = match (columns.offsets.get(range.end), &batch.after) {
            (Some(&offset), Position::File { plan, split, .. }) => Position::File { plan: *plan, split: *split, offset },
            (Some(&offset), Position::Stream { incarnation, .. }) => Position::Stream { incarnation: *incarnation, offset },
            (None, after) | (Some(_), after @ Position::Outside { .. }) => after.clone(),
        };
        // Of a stream, the bytes of a batch count when all of it is worked off.
        let bytes = if range.end == columns.len() { batch.bytes } else { 0 };
        if let (Some(&timestamp), Some(input)) = (columns.timestamps.get(range.end.saturating_sub(1)), self.inputs.get_mut(input)) {
            input.progress.last_timestamp = timestamp;
        }
        self.advance(input, after, (range.len() as u64, bytes));
    }

    fn advance(&mut self, input: usize, after: Position, (records, bytes): (u64, u64)) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.progress.records += records;
            // Of files, positions say it: adding up would leave out what was worked off of a batch before a restart in its middle.
            input.progress.bytes = match &input.watch {
                Some(watch) => watch.bytes_before(&after),
                None => input.progress.bytes + bytes,
            };
            input.progress.position = after;
            self.moved = true;
        }
    }

    /// A record at fault as errors name it.
    fn name_of(&self, guilty: &Guilty<'_>) -> String {
        let Guilty { input, at, offset, .. } = guilty;
        format!("the record at {} of input {:?}", self.place(*input, at, *offset), self.port(*input))
    }

    /// An offset in the stream, or in the file of a position, for people.
    fn place(&self, input: usize, at: &Position, offset: u64) -> String {
        let watch = self.inputs.get(input).and_then(|input| input.watch.as_ref());
        watch.map_or_else(|| format!("offset {offset}"), |watch| watch.place(at, offset))
    }

    /// Counts what the task leaves out, says why, and buries what it wants to be kept. `first` is where its call began in the batch.
    fn take_rejections(
        &mut self,
        input: usize,
        (batch, first, rejections): (&Batch, usize, &[Rejection]),
        cell: &Cell,
    ) -> Result<(), RunError> {
        cell.figures.skipped.fetch_add(rejections.len() as u64, std::sync::atomic::Ordering::Relaxed);
        let keeps = matches!(self.identity.stage.on_error, OnError::DeadLetter { .. });
        for rejection in rejections {
            let guilty = guilty(input, batch, first.saturating_add(usize::try_from(rejection.index).unwrap_or(usize::MAX)));
            let buried = keeps && rejection.action == Disposition::DeadLetter;
            let told = self.instance()?.services().tells_of_skip();
            if !buried && !told {
                continue;
            }
            let reason = format!("{}: the task rejects it: {}", self.name_of(&guilty), one_line(&rejection.reason));
            if buried {
                self.bury(&guilty, &reason)?;
            }
            if told {
                self.instance()?.services().tell_skip(if buried { "dead letter" } else { "skipped" }, &reason);
            }
        }
        Ok(())
    }

    fn port(&self, input: usize) -> &str {
        self.identity.stage.inputs.get(input).map_or("?", |input| input.port.as_str())
    }
}

/// A record of a batch that the task does not take.
fn guilty(input: usize, batch: &Batch, record: usize) -> Guilty<'_> {
    let offset = batch.columns.offsets.get(record).copied().unwrap_or(0);
    Guilty { input, at: &batch.after, offset, content: Content::Record(&batch.columns, record) }
}
