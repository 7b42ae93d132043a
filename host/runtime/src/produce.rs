//! Records from outside are put on a stream of a job, in the name of a task without a component: read, cut into parts of bounded size, and confirmed
//! all together, as a checkpoint of the job. So a production is there as a whole or not at all. Refuses streams that are
//! not for records from outside, streams that were ended, and to work beside a process that runs the job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crossbeam_channel::bounded;
use gregor_model::columns::Record;
use gregor_model::digest::Digest;
use gregor_model::history::History;
use gregor_model::job::{Sink, Writer};
use gregor_model::limits::{FULL_MANIFEST_EVERY, Limits, MIB};
use gregor_model::manifest::Manifest;
use gregor_model::names::{CheckpointNumber, PortName, ProductionId, Sequence, StreamName, TaskId};
use gregor_model::part::PartBuilder;
use gregor_model::seal::{SavedGroup, SavedPart, SavedSegment, Sealing, seal};
use gregor_model::segment::{InputProgress, OnEnd, Position, Run, RunsHeader, SegmentHeader};
use gregor_model::snapshot::Pages;
use gregor_stream::{OutputError, OutputSpec, Outputs, Target};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::commit::Committer;
use crate::in_flight::InFlight;
use crate::parts::PartWriter;
use crate::run::beginning;
use crate::setup::{RunError, Setup};
use crate::start::{Start, Started, start};
use crate::threads::{Shutdown, io_threads};

/// Bytes of records that are kept in memory, until they make a part: while one is written, it is there up to three times.
const PART_BYTES: u64 = 16 * MIB;

/// Runs of one production, at most: a part has one for each partition that it has records of. More would make a list, and a manifest, that no document
/// holds; with 8 partitions these are two terabytes, with 1,024 of them 16 GiB.
const RUNS_MAX: usize = 1 << 20;

/// What is put on a stream.
pub struct Production<'a> {
    /// The stream, one of [`Job::produced`](gregor_model::job::Job::produced).
    pub stream: StreamName,
    /// Its name: one that the last production on this stream had means that this one is there already.
    pub id: Option<ProductionId>,
    /// The partition of all records; none = by key, and records without one in turn.
    pub partition: Option<u32>,
    /// Whether no record comes after it: readers are told that their input has ended.
    pub last: Last,
    /// Gives records: appends some, at least one, and says whether more come. An error ends the production, of which nothing is visible then.
    pub records: &'a mut Records<'a>,
}

/// Where the records of a production come from.
pub type Records<'a> = dyn FnMut(&mut Appender<'_>) -> Result<More, RunError> + 'a;

/// Takes the records of a production.
pub struct Appender<'a> {
    outputs: &'a mut Outputs,
    placing: &'a mut Placing,
}

/// Which partition a record without a key goes to: each the next one, so that all readers have as much to do.
struct Placing {
    /// The partition that was asked for.
    asked: Option<u32>,
    /// Records on the stream so far.
    records: u64,
    partitions: u32,
}

impl Appender<'_> {
    /// Takes a record. Its partition is the one asked for; else it is said by the key, as for any record; else it is the next one.
    ///
    /// # Errors
    /// The record is larger than the contract lets records be.
    pub fn append(&mut self, record: &Record<'_>, headers: &[(&[u8], &[u8])]) -> Result<(), OutputError> {
        let Placing { asked, records, partitions } = self.placing;
        let next = || u32::try_from(*records % u64::from((*partitions).max(1))).unwrap_or(0);
        let partition = asked.or_else(|| record.key.is_none().then(next));
        self.outputs.append(Target { output: 0, partition }, record, headers)?;
        *records = records.saturating_add(1);
        Ok(())
    }
}

/// Whether a stream ends with a production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// More may come.
    No,
    /// It is the last one.
    Yes,
}

/// Whether a production has more records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// Ask again.
    Some,
    /// That was all.
    None,
}

/// What came of a production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Produced {
    /// All of its records can be read from now on.
    Confirmed {
        /// The checkpoint.
        checkpoint: CheckpointNumber,
        /// How many records.
        records: u64,
    },
    /// The last production on this stream had the same name: its records are there already, and nothing was done but to end the stream, if that was
    /// asked for and was not done before: then the checkpoint that did.
    There(Option<CheckpointNumber>),
    /// There was nothing to put there, and nothing to end.
    Nothing,
}

/// Puts records on a stream of a job that nobody runs. Blocks; while another host holds the job, until that one is gone.
///
/// # Errors
/// The stream takes no records from outside, or was ended (`Refused`); what `records` says; or see [`RunError`]. Nothing of the production is
/// visible then, except after an error that says that this is not known.
pub fn produce(setup: &Setup, production: Production<'_>) -> Result<Produced, RunError> {
    let job = &setup.job;
    let refused = |problem: String| RunError::Refused(format!("job {}: {problem}", job.name));
    let task = match job.writer_of(&production.stream) {
        Some((Writer::Producer(_), partitions)) if production.partition.is_some_and(|partition| partition >= partitions) => {
            return Err(refused(format!(
                "stream {} has no such partition, they are numbered 0 to {}",
                production.stream,
                partitions.saturating_sub(1)
            )));
        }
        Some((Writer::Producer(task), _)) => task,
        Some((Writer::Stage(_), _)) => {
            return Err(refused(format!(
                "stream {} is written by a stage; records from outside need a [[stream]] of their own",
                production.stream
            )));
        }
        None => return Err(refused(format!("there is no stream {}; declare it: [[stream]] name = \"{0}\"", production.stream))),
    };
    let io = io_threads(1)?;
    // What a start warns of, the next run will.
    match start(setup, io.handle(), (&|_| (), &|| false))? {
        Start::Go(started) => Producer::new(setup, *started, (task, io.handle())).produce(production),
        Start::Finished(history) if is_there(&history, task, production.id.as_ref()) => Ok(Produced::There(None)),
        Start::Finished(_) => Err(refused("it is finished, and takes no more records; start a new one with another --data".to_owned())),
        Start::Stopped(_) => Err(RunError::Failed("the production was to stop before it began".to_owned())),
    }
}

/// Whether the last production in the name of a task had this id.
fn is_there(history: &History, task: TaskId, id: Option<&ProductionId>) -> bool {
    let said = history.tasks.get(&task).and_then(|task| task.header.inputs.first()).map(|progress| &progress.position);
    matches!((said, id), (Some(Position::Outside { id: Some(last) }), Some(id)) if last == id)
}

/// A job that stands still, and who writes on one of its streams.
struct Producer<'a> {
    setup: &'a Setup,
    started: Started,
    task: TaskId,
    parts: PartWriter,
    committer: Committer,
}

/// What a production consists of, in the archive.
#[derive(Default)]
struct Written {
    parts: Vec<SavedPart>,
    runs: Vec<Run>,
    bytes: u64,
}

impl<'a> Producer<'a> {
    fn new(setup: &'a Setup, started: Started, (task, io): (TaskId, &Handle)) -> Self {
        let (in_flight, shutdown) = (InFlight::default(), Shutdown::default());
        let parts = PartWriter {
            archive: Arc::clone(&setup.archive),
            io: io.clone(),
            keys: started.keys.clone(),
            boot: setup.boot,
            last: Arc::new(AtomicU64::new(0)),
            in_flight: in_flight.clone(),
            shutdown: shutdown.clone(),
        };
        // Nobody listens: what is done here is done one after the other, and answers by itself.
        let (events, _) = bounded(1);
        let committer = Committer::new((setup, &started), io, (in_flight, events, shutdown));
        Self { setup, started, task, parts, committer }
    }

    fn produce(mut self, production: Production<'_>) -> Result<Produced, RunError> {
        let before = self.started.history.tasks.get(&self.task).map(|task| task.header.clone());
        let ended = before.as_ref().is_some_and(SegmentHeader::ended);
        if is_there(&self.started.history, self.task, production.id.as_ref()) {
            // It may have been put there without being the last one.
            let end = production.last == Last::Yes && !ended;
            let nothing = &mut |_: &mut Appender<'_>| Ok(More::None);
            let ending = end.then(|| self.append(before.as_ref(), Production { records: nothing, ..production })).transpose()?;
            return Ok(Produced::There(
                ending.and_then(|produced| if let Produced::Confirmed { checkpoint, .. } = produced { Some(checkpoint) } else { None }),
            ));
        }
        if ended {
            let (name, stream) = (&self.setup.job.name, &production.stream);
            return Err(RunError::Refused(format!("job {name}: stream {stream} was ended, and takes no more records")));
        }
        self.append(before.as_ref(), production)
    }

    /// Puts records on the stream, behind those of the segment `before`.
    fn append(&mut self, before: Option<&SegmentHeader>, production: Production<'_>) -> Result<Produced, RunError> {
        let Production { stream, id, partition, last, records } = production;
        let origin = self.header(before, beginning(Position::Outside { id }));
        let partitions = self.setup.job.writer_of(&stream).map_or(1, |(_, partitions)| partitions);
        let before = origin.inputs.first().map_or(0, |progress| progress.records);
        let placing = Placing { asked: partition, records: before, partitions };
        let written = self.write((&stream, &origin), placing, records)?;
        let count = written.runs.iter().map(|run| run.records).sum();
        if count == 0 && last == Last::No {
            return Ok(Produced::Nothing);
        }
        let mut header = SegmentHeader { runs: RunsHeader::of(&written.runs), ..origin };
        for progress in &mut header.inputs {
            progress.records += count;
            progress.bytes += written.bytes;
            progress.on_end = if last == Last::Yes { OnEnd::Done } else { OnEnd::Open };
        }
        let segment = SavedSegment { hash: header.hash(), header, deltas: Vec::new() };
        let checkpoint = self.confirm(SavedGroup { parts: written.parts, segments: vec![segment] })?;
        Ok(Produced::Confirmed { checkpoint, records: count })
    }

    /// The header of the next segment, without its runs, as if nothing were added to what was there before.
    fn header(&self, before: Option<&SegmentHeader>, beginning: InputProgress) -> SegmentHeader {
        let register = &self.started.register;
        let counted = before.and_then(|header| header.inputs.first());
        let (records, bytes) = counted.map_or((0, 0), |progress| (progress.records, progress.bytes));
        SegmentHeader {
            incarnation: register.incarnation,
            task: self.task,
            branch: register.branch,
            attempt: register.attempt,
            sequence: Sequence(1),
            parent: self.started.history.tasks.get(&self.task).map(|task| task.segment),
            inputs: vec![InputProgress { records, bytes, ..beginning }],
            watermark: None,
            // No component made it.
            component: Digest([0; 32]),
            schemas: Vec::new(),
            delta: Vec::new(),
            runs: RunsHeader { count: 0, records: 0, sha256: Digest([0; 32]) },
            files: Vec::new(),
        }
    }

    /// Puts all records into the archive, where nobody sees them yet.
    fn write(
        &self,
        (stream, header): (&StreamName, &SegmentHeader),
        mut placing: Placing,
        records: &mut Records<'_>,
    ) -> Result<Written, RunError> {
        let port = PortName::new("produced").map_err(|error| RunError::Failed(error.to_string()))?;
        let spec = OutputSpec { port, sink: Sink::Stream { name: stream.clone(), partitions: placing.partitions } };
        // What bounds a guest's call is no bound for what people put there.
        let limits = Limits { emit_records: u64::MAX, emit_bytes: u64::MAX, ..self.setup.job.limits.clone() };
        let mut outputs = Outputs::new(vec![spec], 0, &limits);
        let (mut written, mut ordinals) = (Written::default(), BTreeMap::new());
        loop {
            let more = records(&mut Appender { outputs: &mut outputs, placing: &mut placing })?;
            outputs.commit();
            if outputs.bytes() >= PART_BYTES || more == More::None {
                self.put((&mut outputs, header), (&mut written, &mut ordinals))?;
            }
            if more == More::None {
                return Ok(written);
            }
        }
    }

    /// Puts what is staged into a part.
    fn put(
        &self,
        (outputs, header): (&mut Outputs, &SegmentHeader),
        (written, ordinals): (&mut Written, &mut BTreeMap<u32, u32>),
    ) -> Result<(), RunError> {
        if outputs.is_empty() {
            return Ok(());
        }
        if written.runs.len() >= RUNS_MAX {
            let problem = format!("job {}: this is too much for one production; put the records there in several", self.setup.job.name);
            return Err(RunError::Refused(problem));
        }
        let sealed = outputs.take().seal().map_err(|error| RunError::Failed(error.to_string()))?;
        let mut builder = PartBuilder::new(self.parts.boot);
        for (run, bytes) in sealed.runs {
            let ordinal = ordinals.entry(run.partition).or_insert(0);
            let run = Run { ordinal: *ordinal, ..run };
            *ordinal += 1;
            written.bytes += run.length;
            builder.run(header.origin(), run.clone(), &bytes);
            written.runs.push(run);
        }
        written.parts.push(self.parts.create(builder)?);
        Ok(())
    }

    /// Makes a checkpoint of the group, which is visible from then on.
    fn confirm(&mut self, group: SavedGroup) -> Result<CheckpointNumber, RunError> {
        let register = &self.started.register;
        let number = register.created.next();
        let created_at_ms = Clock::start().wall_ms();
        let sealing = Sealing {
            number,
            incarnation: register.incarnation,
            branch: register.branch,
            term: register.term,
            created_at_ms,
            predecessor: register.latest.clone(),
            left_out: BTreeSet::new(),
            performed: self.started.performed.clone(),
            bases: Vec::new(),
            merges: Vec::new(),
        };
        let permit = self.committer.create(number, created_at_ms)?;
        let (manifest, _) = seal(&self.started.history, &self.setup.job, sealing, &[group])
            .map_err(|error| RunError::Failed(format!("checkpoint {number} can't be sealed: {error}")))?;
        self.check(&manifest)?;
        let pages = (self.started.since_full + 1 >= FULL_MANIFEST_EVERY).then(|| Pages::of(&self.started.history));
        let (_, object) = self.committer.seal(manifest, pages.as_ref())?;
        self.committer.confirm(permit, &object).map_err(|error| unknown(&error))
    }

    /// What is to be confirmed follows from what was: anything else is a broken invariant, and every later start would refuse it.
    fn check(&self, manifest: &Manifest) -> Result<(), RunError> {
        let mut history = self.started.history.clone();
        let follows = history.apply(manifest).map_err(|error| error.to_string()).and_then(|()| {
            let taken = manifest.segments.iter().any(|segment| segment.header.task == self.task);
            if taken { Ok(()) } else { Err("the production was left out".to_owned()) }
        });
        follows.map_err(|problem| RunError::Failed(format!("manifest {}: {problem}; please report it", manifest.number)))
    }
}

/// The confirmation was under way: what became of it is said by the next start.
fn unknown(error: &RunError) -> RunError {
    RunError::Failed(format!(
        "it is not known whether the records are on the stream ({error}); put them there again under the same --id, which does nothing if they are; \
         without one, look at `gregor stream list` first"
    ))
}
