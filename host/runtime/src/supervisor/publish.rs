//! Shows confirmed runs to the tasks that read them, and holds back writers whose readers lag behind. Refuses to show a run that is not in the
//! confirmed manifest.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use gregor_model::job::Writer;
use gregor_model::names::StreamName;
use gregor_model::seal::PublishedRun;
use gregor_model::segment::Position;

use super::Supervisor;
use crate::input::{More, RunRef};
use crate::ready::Urgency;

/// Bytes of a stream that its slowest reader may lag behind, for each task that writes it, as a multiple of the unpublished limit: at least
/// twice, or a single checkpoint could hold the writer.
const BACKLOG_TIMES_UNPUBLISHED: u64 = 4;

impl Supervisor {
    /// Hands runs to their readers, and says which streams are final. `memory` has the bytes of runs that were made here just now, by part and
    /// place.
    pub(super) fn publish(&mut self, runs: Vec<PublishedRun>, memory: &BTreeMap<(String, u64), Bytes>) {
        for run in runs {
            let partition = (run.at.run.stream.clone(), run.at.run.partition);
            let Some(readers) = self.parts.readers.get_mut(&partition) else { continue };
            let bytes = memory.get(&(run.part.key.clone(), run.at.offset));
            for reader in readers {
                reader.backlog.push_back((run.first_offset + run.at.run.records, run.at.run.length));
                let reference = RunRef {
                    part: run.part.key.clone(),
                    offset: run.at.offset,
                    length: run.at.run.length,
                    sha256: run.at.run.sha256,
                    first_offset: run.first_offset,
                    records: run.at.run.records,
                    cached: bytes.and_then(|bytes| self.runs.keep(bytes.clone())),
                };
                self.parts.inputs.extend(&reader.queue, More { runs: vec![reference], final_head: None });
            }
        }
        self.publish_ends();
        self.hold_back();
    }

    fn publish_ends(&mut self) {
        let streams: Vec<StreamName> = self.parts.job.streams().map(|(_, name, _)| name.clone()).collect();
        for stream in streams.iter().filter(|stream| self.parts.history.is_final(&self.parts.job, &self.parts.tasks, stream)) {
            let partitions = self.parts.readers.iter().filter(|((name, _), _)| name == stream);
            for ((_, partition), readers) in partitions {
                let head = self.parts.history.head(stream, *partition);
                for reader in readers {
                    self.parts.inputs.extend(&reader.queue, More { runs: Vec::new(), final_head: Some(head) });
                }
            }
        }
    }

    /// Pauses the inputs of stages whose streams have grown too far ahead of a reader's confirmed position.
    fn hold_back(&mut self) {
        let mut lag: BTreeMap<&StreamName, u64> = BTreeMap::new();
        for ((stream, _), readers) in &mut self.parts.readers {
            for reader in readers {
                let position = self.parts.cells.get(reader.task).and_then(|cell| {
                    let input = self.parts.history.tasks.get(&cell.id)?.header.inputs.get(reader.input)?;
                    match input.position {
                        Position::Stream { offset, .. } => Some(offset),
                        Position::File { .. } | Position::Outside { .. } => None,
                    }
                });
                while reader.backlog.front().is_some_and(|&(end, _)| position.is_some_and(|position| end <= position)) {
                    reader.backlog.pop_front();
                }
                *lag.entry(stream).or_insert(0) += reader.backlog.iter().map(|(_, bytes)| bytes).sum::<u64>();
            }
        }
        let most = self.parts.job.limits.unpublished_bytes.saturating_mul(BACKLOG_TIMES_UNPUBLISHED);
        let held: Vec<u16> = self
            .parts
            .job
            .streams()
            .filter_map(|(writer, name, _)| match writer {
                Writer::Stage(stage) => Some((stage, name)),
                // Who produces from outside has left before a reader runs.
                Writer::Producer(_) => None,
            })
            .filter(|(stage, name)| {
                let writers = self.parts.tasks.get(usize::from(*stage)).copied().unwrap_or(1);
                lag.get(name).is_some_and(|&bytes| bytes > most.saturating_mul(u64::from(writers)))
            })
            .map(|(stage, _)| stage)
            .collect();
        for (index, cell) in self.parts.cells.iter().enumerate() {
            let hold = held.contains(&cell.id.stage);
            if cell.figures.held.swap(hold, Ordering::Relaxed) && !hold {
                self.parts.ready.wake(index, Urgency::Normal);
            }
        }
    }
}
