//! Saving: makes frozen segments durable, off the tasks' path. Sorts and writes deltas, encodes runs, writes output files under their temporary
//! names, puts deltas and runs of the segments that wait into one part, and tells the supervisor. Refuses to save a segment whose input file has
//! changed under it, and to offer for ever what can't be saved: after a few tries the job stops.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use gregor_model::job::Stage;
use gregor_model::limits::PART_BYTES;
use gregor_model::names::PortName;
use gregor_model::part::PartBuilder;
use gregor_model::seal::{SavedGroup, SavedSegment};
use gregor_model::segment::{DeltaHeader, FileHeader, Position, RunsHeader, SegmentHeader, temporary_name};
use gregor_state::DeltaFile;
use gregor_stream::Taken;

use crate::event::{Event, Saved};
use crate::failure;
use crate::folders::Folders;
use crate::input::FileInput;
use crate::parts::PartWriter;
use crate::retry::durably;
use crate::setup::RunError;
use crate::threads::Shutdown;

/// A segment on its way into the archive.
pub(crate) struct Frozen {
    /// The task's index.
    pub(crate) task: usize,
    /// Stage and number, for people.
    pub(crate) name: String,
    /// The stage.
    pub(crate) stage: Arc<Stage>,
    /// The header, without delta, runs and files.
    pub(crate) header: SegmentHeader,
    /// What changed in the stores.
    pub(crate) state: Option<gregor_state::Frozen>,
    /// What was emitted.
    pub(crate) output: Taken,
    /// The files that the task stands in.
    pub(crate) watches: Vec<(FileWatch, Position)>,
}

/// Looks whether the file that a task reads is still what it was.
#[derive(Clone)]
pub(crate) struct FileWatch {
    /// The input.
    pub(crate) input: FileInput,
    /// The task's partition.
    pub(crate) partition: u32,
}

impl FileWatch {
    /// File and byte of an offset in the split of a position, for people.
    pub(crate) fn place(&self, position: &Position, offset: u64) -> String {
        match position {
            Position::File { .. } => {
                self.file(position).map_or_else(|| format!("byte {offset}"), |file| format!("byte {offset} of {file}"))
            }
            Position::Stream { .. } | Position::Outside { .. } => format!("offset {offset}"),
        }
    }

    /// The name of the file that the split of a position is of, below the input's folder.
    pub(crate) fn file(&self, position: &Position) -> Option<&str> {
        match position {
            Position::File { split, .. } => crate::input::file_of(&self.input.plan, (self.partition, *split)),
            Position::Stream { .. } | Position::Outside { .. } => None,
        }
    }

    /// Bytes of the task's partition before a position.
    pub(crate) fn bytes_before(&self, position: &Position) -> u64 {
        match position {
            Position::File { split, offset, .. } => crate::input::bytes_before(&self.input.plan, (self.partition, *split), *offset),
            Position::Stream { .. } | Position::Outside { .. } => 0,
        }
    }

    /// Looks.
    fn check(&self, position: &Position) -> Result<(), RunError> {
        let Position::File { split, .. } = position else { return Ok(()) };
        let plan = &self.input.plan;
        let index = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let file = plan.partitions.get(index(self.partition)).and_then(|splits| splits.get(index(*split)).or_else(|| splits.last()));
        let Some(file) = file.and_then(|split| plan.files.get(index(split.file))) else { return Ok(()) };
        let only = gregor_model::plan::Plan { files: vec![file.clone()], partitions: Vec::new() };
        gregor_stream::check_plan(&self.input.folder, &only).map_err(|error| failure::source(&self.input.name, error))
    }
}

/// What the threads that save share.
pub(crate) struct Saver {
    /// Where parts go.
    pub(crate) parts: PartWriter,
    /// Where deltas are written on their way.
    pub(crate) delta_folder: PathBuf,
    /// Output folders.
    pub(crate) folders: Arc<Folders>,
    /// To the supervisor.
    pub(crate) events: Sender<Event>,
    /// Ends waits.
    pub(crate) shutdown: Shutdown,
}

/// A segment ready to be put into a part.
struct Prepared {
    task: usize,
    header: SegmentHeader,
    deltas: Vec<DeltaFile>,
    runs: Vec<(gregor_model::segment::Run, Vec<u8>)>,
}

impl Saver {
    /// The body of a thread that saves.
    pub(crate) fn serve(&self, frozen: &Receiver<Option<Frozen>>) {
        while let Ok(Some(first)) = frozen.recv() {
            if self.shutdown.begun() {
                continue;
            }
            let event = match self.save(first, frozen) {
                Ok(saved) => Event::Saved(saved),
                Err(error) => Event::Failed(error),
            };
            if self.events.send(event).is_err() {
                break;
            }
        }
    }

    /// Saves a segment, and with it those that wait, up to a part's size.
    fn save(&self, first: Frozen, others: &Receiver<Option<Frozen>>) -> Result<Saved, RunError> {
        let mut bytes = 0;
        let mut prepared = Vec::new();
        let mut next = Some(first);
        while let Some(frozen) = next {
            let segment = self.prepare(frozen)?;
            bytes += segment.deltas.iter().map(|delta| delta.length).sum::<u64>();
            bytes += segment.runs.iter().map(|(run, _)| run.length).sum::<u64>();
            prepared.push(segment);
            // An end that is taken here is not lost: the supervisor is gone by then, and this thread ends when it tells it.
            next = if bytes < PART_BYTES && !self.shutdown.begun() { others.try_recv().ok().flatten() } else { None };
        }
        self.put(prepared)
    }

    /// Looks at the inputs, writes deltas and output files, completes the header.
    fn prepare(&self, frozen: Frozen) -> Result<Prepared, RunError> {
        let Frozen { task, name, stage, mut header, state, output, watches } = frozen;
        for (watch, position) in &watches {
            watch.check(position)?;
        }
        let stem = format!("{}-{}-{}-{}", header.task.stage, header.task.partition, header.attempt, header.sequence);
        let deltas = match &state {
            Some(state) => self.again(|| state.write_deltas(&self.delta_folder, &stem).map_err(|error| failure::state(&name, error)))?,
            None => Vec::new(),
        };
        for delta in &deltas {
            let store = stage.stores.get(usize::from(delta.store)).map(|store| store.name.clone());
            let Some(store) = store else { return Err(RunError::Failed(format!("task {name}: delta of an unknown store"))) };
            header.delta.push(DeltaHeader {
                store,
                content: delta.content,
                entries: delta.entries,
                length: delta.length,
                sha256: delta.sha256,
            });
        }
        let sealed = output.seal().map_err(|error| RunError::Failed(format!("task {name}: {error}")))?;
        header.runs = RunsHeader::of(&sealed.runs.iter().map(|(run, _)| run.clone()).collect::<Vec<_>>());
        for file in sealed.files {
            let port = port_of(&stage, file.output).map_err(|error| RunError::Failed(format!("task {name}: {error}")))?;
            header.files.push(self.write_file(&header, (&stage, port), &file)?);
        }
        Ok(Prepared { task, header, deltas, runs: sealed.runs })
    }

    fn write_file(
        &self,
        header: &SegmentHeader,
        (stage, port): (&Stage, &PortName),
        file: &gregor_stream::FileBytes,
    ) -> Result<FileHeader, RunError> {
        let folder = self.folders.of(header.task.stage, file.output)?;
        let numbers = (header.task.partition, header.attempt, header.sequence);
        let temporary = temporary_name(header.incarnation, (stage.name.as_str(), port.as_str()), numbers);
        self.again(|| folder.write_temporary(&temporary, &file.bytes).map_err(failure::sink))?;
        Ok(FileHeader { output: file.output, temporary, length: file.bytes.len() as u64, records: file.records, sha256: file.sha256 })
    }

    /// Puts deltas and runs into one part.
    fn put(&self, prepared: Vec<Prepared>) -> Result<Saved, RunError> {
        let mut builder = PartBuilder::new(self.parts.boot);
        let (mut segments, mut deltas, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
        for Prepared { task, header, deltas: files, runs } in prepared {
            let origin = header.origin();
            let mut offsets = Vec::new();
            for (file, named) in files.iter().zip(&header.delta) {
                let bytes = read_delta(file)?;
                offsets.push(builder.len() as u64);
                builder.delta(origin, named, &bytes);
            }
            for (run, bytes) in runs {
                builder.run(origin, run.clone(), &bytes);
                blobs.push(((run.stream, run.partition, header.task, header.sequence, run.ordinal), Bytes::from(bytes)));
            }
            segments.push(SavedSegment { hash: header.hash(), header, deltas: offsets });
            deltas.push((task, files));
        }
        // The order of the footer.
        blobs.sort_by(|a, b| a.0.cmp(&b.0));
        let runs = blobs.into_iter().map(|(_, bytes)| bytes).collect();
        let part = if builder.is_empty() { None } else { Some(self.parts.create(builder)?) };
        let bytes = part.as_ref().map_or(0, |part| part.length);
        Ok(Saved { group: SavedGroup { parts: part.into_iter().collect(), segments }, deltas, runs, bytes })
    }

    fn again<T>(&self, act: impl Fn() -> Result<T, RunError>) -> Result<T, RunError> {
        durably(&self.shutdown, "save a checkpoint", act)
    }
}

/// The port of an output. Without it a segment would be confirmed as if what was emitted there had never been.
fn port_of(stage: &Stage, output: u16) -> Result<&PortName, String> {
    let found = stage.outputs.get(usize::from(output)).map(|output| &output.port);
    found.ok_or_else(|| format!("there is a file of output {output}, but stage {} has {} outputs", stage.name, stage.outputs.len()))
}

fn read_delta(file: &DeltaFile) -> Result<Vec<u8>, RunError> {
    let bytes = std::fs::read(&file.path);
    bytes.map_err(|error| RunError::Failed(format!("can't read back the delta {}: {error}", file.path.display())))
}

#[cfg(test)]
mod tests {
    use gregor_model::digest::Digest;
    use gregor_model::job::{Format, OnError, Output, Sink};
    use gregor_model::names::StageName;

    use super::*;

    #[test]
    fn a_file_of_an_unknown_output_is_not_left_out_in_silence() {
        let sink = Sink::File { folder: "/out".to_owned(), format: Format::Lines };
        let stage = Stage {
            name: StageName::new("cut").unwrap(),
            component: Digest([0; 32]),
            inputs: Vec::new(),
            outputs: vec![Output { port: PortName::new("words").unwrap(), sink }],
            stores: Vec::new(),
            config: std::collections::BTreeMap::new(),
            on_error: OnError::Skip,
            retries: 0,
        };
        assert_eq!(port_of(&stage, 0).map(PortName::as_str), Ok("words"));
        assert_eq!(port_of(&stage, 1).unwrap_err(), "there is a file of output 1, but stage cut has 1 outputs");
    }
}
