//! Feeds a task's input from the files of its partition. Opens them at the first record that is wanted, so that a start costs nothing for
//! inputs that are read to their end. Refuses to read on when a file has changed.

use std::sync::Arc;

use gregor_model::digest::Digest;
use gregor_model::plan::Plan;
use gregor_model::segment::Position;
use gregor_stream::{FileSource, InputFolder, Reading, SourceStart};

use super::{Batch, Feed, Fetched, Item, More};
use crate::failure;
use crate::setup::RunError;

/// Reads a partition's splits.
pub(crate) struct FileFeed {
    input: FileInput,
    at: SourceStart,
    source: Option<FileSource>,
}

/// What all partitions of a file input share.
#[derive(Clone)]
pub(crate) struct FileInput {
    /// Its name in errors: stage and port. Shared, since each freeze takes a copy of all of this.
    pub(crate) name: Arc<str>,
    /// The folder.
    pub(crate) folder: Arc<InputFolder>,
    /// Which files, how cut.
    pub(crate) plan: Arc<Plan>,
    /// The plan's digest, which names it in positions.
    pub(crate) plan_digest: Digest,
    /// Format and limit.
    pub(crate) reading: Reading,
}

impl FileFeed {
    /// Reads from a place on.
    pub(crate) const fn new(input: FileInput, at: SourceStart) -> Self {
        Self { input, at, source: None }
    }

    fn position(&self, split: u32, offset: u64) -> Position {
        Position::File { plan: self.input.plan_digest, split, offset }
    }
}

impl Feed for FileFeed {
    fn fetch(&mut self) -> Result<Fetched, RunError> {
        let failed = |error| failure::source(&self.input.name, error);
        let source = match &mut self.source {
            Some(source) => source,
            none => {
                let FileInput { folder, plan, reading, .. } = &self.input;
                let opened = FileSource::open(Arc::clone(folder), Arc::clone(plan), self.at, *reading).map_err(failed)?;
                none.insert(opened)
            }
        };
        let fetched = source.next().map_err(failed)?;
        Ok(Fetched::Item(match fetched {
            gregor_stream::Fetched::Batch(batch) => {
                let after = self.position(batch.split, batch.end_offset);
                Item::Batch(Batch { columns: batch.columns, after, bytes: batch.bytes })
            }
            gregor_stream::Fetched::TooLong { split, offset, length, end_offset } => {
                Item::TooLong { place: self.place(split, offset), length, after: self.position(split, end_offset) }
            }
            gregor_stream::Fetched::End { split } => Item::End(self.position(split, 0)),
        }))
    }

    fn extend(&mut self, _: More) {}
}

impl FileFeed {
    /// A place as people look for it: file and byte.
    fn place(&self, split: u32, offset: u64) -> String {
        place(&self.input.plan, (self.at.partition, split), offset)
    }
}

/// File and byte of a position, for people.
pub(crate) fn place(plan: &Plan, (partition, split): (u32, u32), offset: u64) -> String {
    let splits = usize::try_from(partition).ok().and_then(|partition| plan.partitions.get(partition));
    let split = splits.and_then(|splits| splits.get(usize::try_from(split).ok()?));
    let file = split.and_then(|split| plan.files.get(usize::try_from(split.file).ok()?));
    file.map_or_else(|| format!("byte {offset}"), |file| format!("byte {offset} of {}", file.name))
}
