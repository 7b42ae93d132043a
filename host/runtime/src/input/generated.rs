//! Feeds a task's input with records that a generator makes, in place of its files, while the host's costs are measured. Offsets are those of the
//! generator, so that a job goes on where it stood, as with any input. Refuses nothing: what it feeds is made by this program.

use gregor_model::digest::Digest;
use gregor_model::segment::Position;

use super::{Batch, Feed, Fetched, Item, More};
use crate::setup::RunError;
use crate::stand_ins::{Generated, Generator};

/// Reads one partition.
pub(crate) struct GeneratedFeed {
    generator: Generator,
    plan: Digest,
    partition: u32,
    next: u64,
}

impl GeneratedFeed {
    /// Reads from an offset on; `plan` is the one that positions name.
    pub(crate) const fn new(generator: Generator, plan: Digest, (partition, next): (u32, u64)) -> Self {
        Self { generator, plan, partition, next }
    }

    const fn position(&self) -> Position {
        Position::File { plan: self.plan, split: 0, offset: self.next }
    }
}

impl Feed for GeneratedFeed {
    fn fetch(&mut self) -> Result<Fetched, RunError> {
        match (self.generator)(self.partition, self.next) {
            Generated::Records(columns) => {
                self.next = columns.offsets.last().map_or(self.next, |last| last + 1);
                let bytes = columns.data.len() as u64;
                Ok(Fetched::Item(Item::Batch(Batch { columns, after: self.position(), bytes })))
            }
            Generated::Nothing => Ok(Fetched::Nothing),
            Generated::End => Ok(Fetched::Item(Item::End(self.position()))),
        }
    }

    fn extend(&mut self, _: More) {}
}
