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
            gregor_stream::Fetched::Passing => return Ok(Fetched::Later),
            gregor_stream::Fetched::Batch(batch) => {
                let after = self.position(batch.split, batch.end_offset);
                Item::Batch(Batch { columns: batch.columns, after, bytes: batch.bytes })
            }
            gregor_stream::Fetched::TooLong { split, offset, length, raw, end_offset } => {
                Item::TooLong { offset, length, raw, after: self.position(split, end_offset) }
            }
            gregor_stream::Fetched::Unreadable { split, offset, reason, raw, end_offset } => {
                Item::Unreadable { offset, reason, raw, after: self.position(split, end_offset) }
            }
            gregor_stream::Fetched::End { split } => Item::End(self.position(split, 0)),
        }))
    }

    fn extend(&mut self, _: More) {}
}

/// Bytes of a partition that lie before a position: what was taken from it so far. Positions say it exactly, wherever in a batch they stand; but of a
/// compressed file they count what it holds, so that in its middle this is an estimate, of at most its length.
pub(crate) fn bytes_before(plan: &Plan, (partition, split): (u32, u32), offset: u64) -> u64 {
    let index = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let splits = plan.partitions.get(index(partition)).map_or(&[][..], Vec::as_slice);
    let (before, rest) = splits.split_at(index(split).min(splits.len()));
    let whole: u64 = before.iter().map(|split| split.end.saturating_sub(split.start)).sum();
    whole + rest.first().map_or(0, |split| offset.clamp(split.start, split.end.max(split.start)) - split.start)
}

/// The name of the file that a split is of, if the plan has such a split.
pub(crate) fn file_of(plan: &Plan, (partition, split): (u32, u32)) -> Option<&str> {
    let splits = plan.partitions.get(usize::try_from(partition).ok()?)?;
    let file = splits.get(usize::try_from(split).ok()?)?.file;
    plan.files.get(usize::try_from(file).ok()?).map(|file| file.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gregor_model::job::Format;
    use gregor_stream::PassedOver;

    /// A feed of one partition, from a place on.
    fn feed(folder: &Arc<InputFolder>, plan: &Arc<Plan>, at: SourceStart) -> FileFeed {
        let reading = Reading { format: Format::Lines, record_bytes_max: 100, passed_over: PassedOver::Dropped };
        let (folder, plan) = (Arc::clone(folder), Arc::clone(plan));
        FileFeed::new(FileInput { name: "input".into(), folder, plan, plan_digest: Digest([1; 32]), reading }, at)
    }

    /// Reads to the end; the positions of all records that begin a batch or stand in one, and the last one.
    fn positions(mut feed: FileFeed) -> (Vec<(u32, u64)>, (u32, u64)) {
        let mut found = Vec::new();
        loop {
            let Ok(Fetched::Item(item)) = feed.fetch() else { panic!("a file says nothing") };
            match item {
                Item::Batch(Batch { columns, after: Position::File { split, offset, .. }, .. }) => {
                    found.extend(columns.offsets.iter().map(|&offset| (split, offset)));
                    found.push((split, offset));
                }
                Item::TooLong { after: Position::File { split, offset, .. }, .. } => found.push((split, offset)),
                Item::End(Position::File { split, offset, .. }) => return (found, (split, offset)),
                other => panic!("{other:?} of a file"),
            }
        }
    }

    #[test]
    fn bytes_before_a_position_and_after_it_are_all_there_are() {
        let root = tempfile::tempdir().unwrap();
        let long = format!("{}\n", "too long ".repeat(20));
        let files = [("a", "one\ntwo\r\n\nthree".to_owned()), ("b", String::new()), ("c", format!("x\n{long}y\n")), ("d", "z".repeat(90))];
        for (name, content) in &files {
            std::fs::write(root.path().join(name), content).unwrap();
        }
        let folder = Arc::new(InputFolder::open(root.path()).unwrap());
        let plan = Arc::new(gregor_stream::make_plan(&folder, "*", Format::Lines).unwrap());
        let total: u64 = plan.files.iter().map(|file| file.length).sum();
        let (mut sum, mut looked) = (0, 0);
        for (partition, splits) in (0..).zip(&plan.partitions) {
            let whole: u64 = splits.iter().map(|split| split.end - split.start).sum();
            let start = splits.first().map_or(0, |split| split.start);
            assert_eq!(bytes_before(&plan, (partition, 0), start), 0);
            let (found, end) = positions(feed(&folder, &plan, SourceStart { partition, split: 0, offset: start }));
            assert_eq!(bytes_before(&plan, (partition, end.0), end.1), whole, "at the end, {end:?}");
            let before: Vec<u64> = found.iter().map(|&(split, offset)| bytes_before(&plan, (partition, split), offset)).collect();
            assert!(before.is_sorted() && before.iter().all(|&bytes| bytes <= whole), "{found:?}: {before:?}");
            // Whoever goes on from any of them, in the middle of a batch, too, comes to the same end.
            for (&(split, offset), &before) in found.iter().zip(&before) {
                let (rest, end) = positions(feed(&folder, &plan, SourceStart { partition, split, offset }));
                assert_eq!(bytes_before(&plan, (partition, end.0), end.1), whole);
                assert!(rest.iter().all(|&(split, offset)| bytes_before(&plan, (partition, split), offset) >= before));
                looked += 1;
            }
            sum += whole;
        }
        assert_eq!(sum, total);
        assert!(looked > 8, "{looked} positions");
    }
}
