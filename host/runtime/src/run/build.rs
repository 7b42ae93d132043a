//! Builds the tasks of a job and their inputs, positioned at the last confirmed checkpoint. Refuses positions that are of another plan or
//! another incarnation of a stream.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Sender;
use gregor_guest::TaskIdentity;
use gregor_model::job::{OnError, Source, Stage};
use gregor_model::limits::Limits;
use gregor_model::names::{StoreName, StreamName, TaskId};
use gregor_model::register::StreamRecord;
use gregor_model::seal::PublishedRun;
use gregor_model::segment::{InputProgress, OnEnd, Position};
use gregor_state::{Backend, BackendOptions, TaskStores};
use gregor_stream::{OutputSpec, Outputs, PassedOver, Reading, SourceStart};
use tokio::runtime::Runtime;

use super::{BLOCK_CACHE_BYTES, CLEAN_BYTES_MAX, OPEN_STORES_MAX, WRITE_BUFFER_BYTES};
use crate::cell::Cell;
use crate::clock::Clock;
use crate::in_flight::InFlight;
use crate::input::{Feed, FileFeed, FileInput, GeneratedFeed, InputQueue, RunFeed};
use crate::restore::Restore;
use crate::save::FileWatch;
use crate::services::{Parts, TaskLog};
use crate::setup::{Report, RunError, Setup};
use crate::start::{Started, runs_since};
use crate::supervisor::Reader;
use crate::task::{Beginning, Identity, Origin, Program, Shared, Task, TaskInput};
use crate::threads::Shutdown;

/// What a job is built from.
pub(super) struct Plan<'a> {
    pub(super) setup: &'a Setup,
    pub(super) started: &'a Started,
    pub(super) io: &'a Runtime,
    pub(super) delta_folder: &'a Path,
    pub(super) clock: Clock,
    pub(super) reports: &'a Sender<Report>,
    pub(super) in_flight: InFlight,
    pub(super) shutdown: Shutdown,
}

/// The inputs of all tasks, in the order of tasks and inputs.
pub(super) struct BuiltInputs {
    /// All queues, by index.
    pub(super) queues: Vec<Arc<InputQueue>>,
    of_task: Vec<Vec<TaskInput>>,
}

/// A feed, how far it was read, and how to look whether what it reads has changed.
type Built = (Box<dyn Feed>, InputProgress, Option<FileWatch>);

/// Who reads which stream partition.
pub(super) type Readers = BTreeMap<(StreamName, u32), Vec<Reader>>;

impl Plan<'_> {
    /// All tasks: stages in the order of the job, partitions in theirs.
    fn ids(&self) -> impl Iterator<Item = TaskId> {
        (0_u16..).zip(&self.started.tasks).flat_map(|(stage, &count)| (0..count).map(move |partition| TaskId { stage, partition }))
    }

    /// Builds queues and positions.
    pub(super) fn inputs(&self) -> Result<BuiltInputs, RunError> {
        let mut built = BuiltInputs { queues: Vec::new(), of_task: Vec::new() };
        for (task, id) in self.ids().enumerate() {
            let Some(stage) = self.setup.job.stage_of(id) else { continue };
            let mut inputs = Vec::new();
            for (at, input) in (0_u16..).zip(&stage.inputs) {
                let confirmed = self.started.history.tasks.get(&id).and_then(|task| task.header.inputs.get(usize::from(at)));
                let name = format!("stage {:?}, input {:?}", stage.name.as_str(), input.port.as_str());
                let (feed, progress, watch) = match &input.source {
                    Source::File { format, .. } => {
                        let passed_over = match stage.on_error {
                            OnError::DeadLetter { .. } => PassedOver::Kept,
                            OnError::Stop | OnError::Skip => PassedOver::Dropped,
                        };
                        let record_bytes_max = self.setup.job.limits.record_bytes;
                        let reading = Reading { format: *format, record_bytes_max, passed_over };
                        self.file((id, at), (name, reading), confirmed)?
                    }
                    Source::Stream { name: stream } => self.stream(id, (name, stream), confirmed)?,
                };
                let queue = Arc::new(InputQueue::new((built.queues.len(), task), feed));
                built.queues.push(Arc::clone(&queue));
                let origin = if self.setup.job.is_outside(&input.source) { Origin::Outside } else { Origin::Stream };
                inputs.push(TaskInput { queue, progress, origin, watch });
            }
            built.of_task.push(inputs);
        }
        Ok(built)
    }

    fn file(
        &self,
        (id, at): (TaskId, u16),
        (name, reading): (String, Reading),
        confirmed: Option<&InputProgress>,
    ) -> Result<Built, RunError> {
        let wrong = |what: &str| RunError::Corrupt(format!("{name} of task {id}: the confirmed position {what}"));
        let planned = self.started.plans.get(&(id.stage, at)).ok_or_else(|| wrong("has no plan"))?;
        let first = planned.plan.partitions.get(usize::try_from(id.partition).unwrap_or(usize::MAX)).and_then(|splits| splits.first());
        let start = Position::File { plan: planned.digest, split: 0, offset: first.map_or(0, |split| split.start) };
        let progress = confirmed.cloned().unwrap_or_else(|| beginning(start));
        let Position::File { plan, split, offset } = progress.position else { return Err(wrong("is not one in a file")) };
        if plan != planned.digest {
            return Err(wrong("is one of another plan"));
        }
        if let Some(generator) = &self.setup.stand_ins.records {
            let feed = GeneratedFeed::new(Arc::clone(generator), planned.digest, (id.partition, offset));
            return Ok((Box::new(feed), progress, None));
        }
        let input = FileInput {
            name: name.into(),
            folder: Arc::clone(&planned.folder),
            plan: Arc::clone(&planned.plan),
            plan_digest: planned.digest,
            reading,
        };
        let feed = FileFeed::new(input.clone(), SourceStart { partition: id.partition, split, offset });
        Ok((Box::new(feed), progress, Some(FileWatch { input, partition: id.partition })))
    }

    fn stream(&self, id: TaskId, (name, stream): (String, &StreamName), confirmed: Option<&InputProgress>) -> Result<Built, RunError> {
        let StreamRecord { incarnation, ancestors, .. } = self.record_of(stream)?.clone();
        let mut progress = confirmed.cloned().unwrap_or_else(|| beginning(Position::Stream { incarnation, offset: 0 }));
        let Position::Stream { incarnation: found, offset } = progress.position else {
            return Err(RunError::Corrupt(format!("{name} of task {id}: the confirmed position is not one in a stream")));
        };
        if found != incarnation && !ancestors.contains(&found) {
            return Err(RunError::Corrupt(format!(
                "{name} of task {id}: the confirmed position is one of another incarnation of {stream}"
            )));
        }
        // A position before the job went back is the same place in the stream that began there.
        progress.position = Position::Stream { incarnation, offset };
        let read_from = (Arc::clone(&self.setup.archive), self.io.handle().clone());
        let feed = RunFeed::new(format!("{name}, partition {}", id.partition), (incarnation, offset), read_from);
        Ok((Box::new(feed), progress, None))
    }

    fn record_of(&self, stream: &StreamName) -> Result<&StreamRecord, RunError> {
        let record = self.started.register.streams.iter().find(|record| record.name == *stream);
        record.ok_or_else(|| RunError::Corrupt(format!("the coordination record of job {} has no stream {stream}", self.setup.job.name)))
    }

    /// What the stores of all tasks share.
    pub(super) fn backend(&self) -> Backend {
        let with_stores = self.ids().filter(|id| self.setup.job.stage_of(*id).is_some_and(|stage| !stage.stores.is_empty())).count();
        let share = CLEAN_BYTES_MAX / u64::try_from(with_stores.max(1)).unwrap_or(1);
        let options = BackendOptions {
            block_cache_bytes: BLOCK_CACHE_BYTES,
            write_buffer_bytes: WRITE_BUFFER_BYTES,
            clean_bytes_per_task: usize::try_from(share).unwrap_or(usize::MAX),
            open_stores_max: OPEN_STORES_MAX,
        };
        Backend::new(&options, Arc::clone(&self.setup.steps))
    }

    /// Builds the tasks, and says who reads what.
    pub(super) fn tasks(&self, (shared, backend): (&Arc<Shared>, &Backend), built: BuiltInputs) -> Result<(Vec<Cell>, Readers), RunError> {
        let stages: Vec<Arc<Stage>> = self.setup.job.stages.iter().cloned().map(Arc::new).collect();
        let (mut cells, mut readers) = (Vec::new(), Readers::new());
        for ((index, id), inputs) in self.ids().enumerate().zip(built.of_task) {
            let Some(stage) = stages.get(usize::from(id.stage)) else { continue };
            note_readers(&mut readers, (index, id), stage, &inputs);
            let task = self.task((shared, backend), (index, id, stage), inputs)?;
            cells.push(Cell::new(task));
        }
        Ok((cells, readers))
    }

    fn task(
        &self,
        (shared, backend): (&Arc<Shared>, &Backend),
        (index, id, stage): (usize, TaskId, &Arc<Stage>),
        inputs: Vec<TaskInput>,
    ) -> Result<Task, RunError> {
        let Setup { job, components, state_folder, archive, stand_ins, .. } = self.setup;
        let component = components.get(usize::from(id.stage)).cloned();
        let component = component.ok_or_else(|| RunError::Failed(format!("stage {} has no component", stage.name)))?;
        let program = stand_ins.natives.get(&id.stage).cloned().map_or(Program::Component(component), Program::Native);
        let history = self.started.history.tasks.get(&id);
        let stores: Vec<StoreName> = stage.stores.iter().map(|store| store.name.clone()).collect();
        let folder = state_folder.join(job.name.as_str()).join(stage.name.as_str()).join(id.partition.to_string());
        let tasks = self.started.tasks.get(usize::from(id.stage)).copied().unwrap_or(1);
        let identity = TaskIdentity { job: job.name.to_string(), stage: stage.name.to_string(), task: id.partition, tasks };
        let parts = Parts {
            stores: TaskStores::new(backend, folder, stores.clone()),
            outputs: outputs_of(stage, id, &job.limits),
            identity,
            config: Arc::new(stage.config.clone()),
            log: TaskLog::new((stage.name.to_string(), id), self.reports.clone(), self.clock),
        };
        let restore = Restore {
            owner: (self.started.register.incarnation, self.started.register.branch),
            base: history.and_then(|task| task.base.clone()),
            chain: history.map(|task| task.chain.clone()).unwrap_or_default(),
            stores,
            archive: Arc::clone(archive),
            io: self.io.handle().clone(),
            delta_folder: self.delta_folder.to_owned(),
            shutdown: self.shutdown.clone(),
        };
        let name = format!("{}/{}", stage.name, id.partition);
        let identity = Identity { id, index, job: job.name.to_string(), name, stage: Arc::clone(stage) };
        Ok(Task::new(Arc::clone(shared), Beginning { identity, program, parts, restore, inputs }, history))
    }

    /// Confirmed runs that readers have not read.
    pub(super) fn unread_runs(&self) -> Result<Vec<PublishedRun>, RunError> {
        let mut wanted: BTreeMap<(&str, u32), u64> = BTreeMap::new();
        for id in self.ids() {
            let Some(stage) = self.setup.job.stage_of(id) else { continue };
            for (at, input) in stage.inputs.iter().enumerate() {
                let Source::Stream { name } = &input.source else { continue };
                let confirmed = self.started.history.tasks.get(&id).and_then(|task| task.header.inputs.get(at));
                let offset = match confirmed.map(|progress| &progress.position) {
                    Some(Position::Stream { offset, .. }) => *offset,
                    _ => 0,
                };
                let lowest = wanted.entry((name.as_str(), id.partition)).or_insert(offset);
                *lowest = offset.min(*lowest);
            }
        }
        let from = |stream: &str, partition: u32| wanted.get(&(stream, partition)).copied();
        runs_since(&*self.setup.archive, self.io.handle(), &self.started.history, &from)
    }
}

/// Where a task's output goes: what its guest emits, and its dead letters.
fn outputs_of(stage: &Stage, id: TaskId, limits: &Limits) -> Outputs {
    let described = stage.outputs.iter().map(|output| OutputSpec { port: output.port.clone(), sink: output.sink.clone() }).collect();
    let outputs = Outputs::new(described, id.partition, limits);
    match &stage.on_error {
        OnError::DeadLetter { stream, partitions } => outputs.with_dead_letters(stream.clone(), *partitions),
        OnError::Stop | OnError::Skip => outputs,
    }
}

/// Progress of an input of which nothing was read.
pub(crate) const fn beginning(position: Position) -> InputProgress {
    InputProgress { position, on_end: OnEnd::Open, records: 0, bytes: 0, last_timestamp: 0 }
}

fn note_readers(readers: &mut Readers, (task, id): (usize, TaskId), stage: &Stage, inputs: &[TaskInput]) {
    for (at, (input, built)) in stage.inputs.iter().zip(inputs).enumerate() {
        if let Source::Stream { name } = &input.source {
            let reader = Reader { queue: Arc::clone(&built.queue), task, input: at, backlog: VecDeque::new() };
            readers.entry((name.clone(), id.partition)).or_default().push(reader);
        }
    }
}
