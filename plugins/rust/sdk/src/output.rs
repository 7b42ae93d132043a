//! Records out: emitted ones, forwarded ones, and refusals. Refuses to reorder what goes to one output: where emits and forwards of one
//! output mix, what waits is handed over first.

mod arena;

use std::fmt;

use crate::bindings::gregor::task::types::{Disposition, Rejection};
use crate::field::Field;
use crate::{Batch, Port, Record, host};
use arena::{Arena, Envelope};

/// Bytes that wait before they are handed over: they fit the second-level cache, and the price of a call (some 100 ns) is nothing to them.
const WAITING_BYTES_MAX: usize = 256 * 1024;

/// What one call sends on.
///
/// In `process`, each record derives from a record of the batch, whose event time it inherits: name it with [`of`](Self::of), or it is the
/// first. In `on_end`, it takes the time of the last record of that input.
#[derive(Debug)]
pub struct Output {
    arena: Arena,
    /// Indexes that wait to be forwarded, by port: a short list, for a task has few outputs.
    forwarded: Vec<(Port, Vec<u32>)>,
    rejections: Vec<Rejection>,
    /// What a record derives from if the author does not say: the first of the batch; nothing in `on_end`.
    first: Option<u32>,
}

impl Output {
    /// Nothing waits, and nothing was rejected.
    pub(crate) const fn new() -> Self {
        Self { arena: Arena::new(), forwarded: Vec::new(), rejections: Vec::new(), first: None }
    }

    /// Begins a call of `process`: forgets what a failed one has left.
    pub(crate) fn begin_batch(&mut self) {
        self.begin_end();
        self.first = Some(0);
    }

    /// Begins a call of `on_end`: forgets what a failed one has left.
    pub(crate) fn begin_end(&mut self) {
        self.arena.clear();
        self.forwarded.iter_mut().for_each(|(_, indexes)| indexes.clear());
        self.rejections.clear();
        self.first = None;
    }

    /// Ends a call that went well: hands over what waits, and answers the rejections.
    pub(crate) fn end(&mut self) -> Vec<Rejection> {
        self.hand_over_emitted();
        for (port, indexes) in &mut self.forwarded {
            hand_over_forwarded(*port, indexes);
        }
        std::mem::take(&mut self.rejections)
    }

    /// Emits a record with this key and value.
    #[inline]
    pub fn emit(&mut self, port: Port, key: impl Field, value: impl Field) {
        self.emitter().emit(port, key, value);
    }

    /// Emits records that derive from this one, and inherit its event time.
    #[inline]
    pub const fn of(&mut self, record: &Record<'_>) -> Emitter<'_> {
        Emitter { out: self, cause: Some(record.index()), timestamp: None, partition: None, headers: &[] }
    }

    /// Emits records with something of their own: an event time, a partition, headers.
    #[inline]
    pub const fn emitter(&mut self) -> Emitter<'_> {
        let cause = self.first;
        Emitter { out: self, cause, timestamp: None, partition: None, headers: &[] }
    }

    /// Forwards a record of the batch unchanged: the fastest output there is.
    #[inline]
    pub fn forward(&mut self, port: Port, record: &Record<'_>) {
        self.forward_indexes(port, std::iter::once(record.index()));
    }

    /// Forwards all records of the batch unchanged.
    pub fn forward_all(&mut self, port: Port, batch: &Batch) {
        self.forward_indexes(port, 0..u32::try_from(batch.len()).unwrap_or(u32::MAX));
    }

    /// Leaves a record out, and counts it; why, for people. The rest of the call is kept.
    pub fn skip(&mut self, record: &Record<'_>, reason: impl fmt::Display) {
        self.reject(record, Disposition::Skip, reason);
    }

    /// Puts a record on the dead-letter stream; why, for people. Where the job has none, its `on-error` decides. The rest of the call is
    /// kept.
    pub fn dead_letter(&mut self, record: &Record<'_>, reason: impl fmt::Display) {
        self.reject(record, Disposition::DeadLetter, reason);
    }

    fn reject(&mut self, record: &Record<'_>, action: Disposition, reason: impl fmt::Display) {
        self.rejections.push(Rejection { index: record.index(), action, reason: reason.to_string() });
    }

    #[inline]
    fn forward_indexes(&mut self, port: Port, more: impl Iterator<Item = u32>) {
        match self.forwarded.iter_mut().find(|(at, indexes)| *at == port && !indexes.is_empty()) {
            // While indexes wait, nothing emitted to the same port does.
            Some((_, indexes)) => indexes.extend(more),
            None => self.forward_first(port, more),
        }
    }

    /// The first records to be forwarded after an emit, or at all.
    fn forward_first(&mut self, port: Port, more: impl Iterator<Item = u32>) {
        if self.arena.holds(port) {
            self.hand_over_emitted();
        }
        match self.forwarded.iter_mut().find(|(at, _)| *at == port) {
            Some((_, indexes)) => indexes.extend(more),
            None => self.forwarded.push((port, more.collect())),
        }
    }

    #[inline]
    fn push(&mut self, envelope: Envelope<'_>, key: impl Field, value: impl Field) {
        for (_, indexes) in self.forwarded.iter_mut().filter(|(port, _)| *port == envelope.port) {
            hand_over_forwarded(envelope.port, indexes);
        }
        if !self.arena.takes(envelope.form()) {
            self.hand_over_emitted();
        }
        self.arena.push(envelope, key, value);
        if self.arena.bytes() >= WAITING_BYTES_MAX {
            self.hand_over_emitted();
        }
    }

    #[inline(never)]
    fn hand_over_emitted(&mut self) {
        if !self.arena.is_empty() {
            host::emit_batch(self.arena.batch());
            self.arena.clear();
        }
    }
}

fn hand_over_forwarded(port: Port, indexes: &mut Vec<u32>) {
    if !indexes.is_empty() {
        host::select(port.0, indexes);
        indexes.clear();
    }
}

/// Emits records that share where they come from and what they carry: `out.of(&record).at(time).emit(PORT, key, value)`.
#[derive(Debug)]
pub struct Emitter<'a> {
    out: &'a mut Output,
    cause: Option<u32>,
    timestamp: Option<i64>,
    partition: Option<u32>,
    headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> Emitter<'a> {
    /// Gives the records an event time of their own, in milliseconds since 1970.
    #[must_use]
    pub const fn at(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Sends the records to this partition of the output instead of the one that their key belongs to.
    #[must_use]
    pub const fn to_partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Gives the records headers: name and value.
    #[must_use]
    pub const fn with_headers(mut self, headers: &'a [(&'a str, &'a [u8])]) -> Self {
        self.headers = headers;
        self
    }

    /// Emits a record with this key and value.
    #[inline]
    pub fn emit(&mut self, port: Port, key: impl Field, value: impl Field) {
        let Self { cause, timestamp, partition, headers, .. } = *self;
        self.out.push(Envelope { port, cause, timestamp, partition, headers }, key, value);
    }
}

#[cfg(test)]
mod tests;
