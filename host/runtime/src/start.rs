//! Starting, which is always recovering: reads what coordination and archive know of the job, refuses what does not fit, claims the job, decides
//! what an earlier process left undecided, completes markers and releases. Only then tasks run. Refuses to claim a job, or to touch anything,
//! before all that can be looked at was looked at.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gregor_archive::history::{self, Loaded};
use gregor_archive::{ArchiveError, Store};
use gregor_coordination::{Begin, CoordinationError};
use gregor_model::digest::Digest;
use gregor_model::history::{History, LivePart};
use gregor_model::job::{Job, Source};
use gregor_model::keys::JobKeys;
use gregor_model::manifest::{Full, ManifestRef, ObjectRef, PartRange};
use gregor_model::names::{Attempt, Branch, CheckpointNumber, HostId, Incarnation, TaskId};
use gregor_model::plan::{PLAN, Plan};
use gregor_model::recovery::check_coordination;
use gregor_model::register::{Register, StreamRecord};
use gregor_model::seal::{PublishedRun, publish};
use gregor_model::spec::{CLUSTER, CLUSTER_KEY, ClusterMarker, MARKER, Marker, PlanRef, SPEC, Spec};
use gregor_stream::InputFolder;
use tokio::runtime::Handle;

use crate::failure;
use crate::folders::{self, Folders};
use crate::setup::{Report, RunError, Setup};
use crate::waiting::unless;

/// A file input, planned.
#[derive(Clone)]
pub(crate) struct Planned {
    /// The plan.
    pub(crate) plan: Arc<Plan>,
    /// Digest of the plan object.
    pub(crate) digest: Digest,
    /// The folder.
    pub(crate) folder: Arc<InputFolder>,
}

/// File inputs by stage and input.
pub(crate) type Plans = BTreeMap<(u16, u16), Planned>;

/// What a start finds.
pub(crate) enum Start {
    /// The job goes on, or begins.
    Go(Box<Started>),
    /// It was finished before.
    Finished(History),
    /// It was asked to stop while another host held the job, or while the coordinator was out of reach; where the job stands, if that is known.
    Stopped(Option<Standing>),
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The last confirmed checkpoint.
    pub(crate) checkpoint: Option<CheckpointNumber>,
    /// Records read from outside up to it.
    pub(crate) records: u64,
}

impl Standing {
    /// As the confirmed manifests have it.
    pub(crate) fn of(job: &Job, history: &History) -> Self {
        let records = history.tasks.values().map(|task| {
            let Some(stage) = job.stage_of(task.header.task) else { return 0 };
            let inputs = stage.inputs.iter().zip(&task.header.inputs);
            inputs.filter(|(input, _)| job.is_outside(&input.source)).map(|(_, progress)| progress.records).sum::<u64>()
        });
        Self { checkpoint: history.number, records: records.sum() }
    }
}

/// Asks archive and coordinator. The coordinator may be out of reach for as long as `checkpoint.outage-limit`, or be another host's: those waits
/// end when the job is to stop.
pub(crate) struct Asking<'a> {
    io: &'a Handle,
    over: &'a dyn Fn() -> bool,
    gave_up: Cell<bool>,
}

impl<'a> Asking<'a> {
    /// On these threads, until `over` says that the job is to stop.
    pub(crate) const fn new(io: &'a Handle, over: &'a dyn Fn() -> bool) -> Self {
        Self { io, over, gave_up: Cell::new(false) }
    }

    /// Asks the archive.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.io.block_on(future)
    }

    /// Asks the coordinator.
    fn ask<T>(&self, future: impl Future<Output = Result<T, CoordinationError>>) -> Result<T, RunError> {
        let Some(answer) = unless(self.io, self.over, future) else {
            self.gave_up.set(true);
            return Err(RunError::Failed("the job was to stop before the coordinator had answered".to_owned()));
        };
        answer.map_err(failure::coordination)
    }
}

/// A job that may run.
pub(crate) struct Started {
    /// What coordination knows, after the claim.
    pub(crate) register: Register,
    /// What the confirmed manifests add up to.
    pub(crate) history: History,
    /// Manifests since the last full one.
    pub(crate) since_full: u64,
    /// What the last full manifest names.
    pub(crate) full: Option<Full>,
    /// File inputs.
    pub(crate) plans: Plans,
    /// Tasks of each stage.
    pub(crate) tasks: Vec<u32>,
    /// Output folders.
    pub(crate) folders: Arc<Folders>,
    /// Releases of the last manifest: all of them are performed now.
    pub(crate) performed: BTreeSet<(TaskId, u16, String)>,
    /// The job's keys.
    pub(crate) keys: JobKeys,
}

/// What was looked at before the claim.
pub(crate) struct Found {
    /// What coordination knows, if the job ever began.
    pub(crate) register: Option<Register>,
    /// What the job was when it began.
    pub(crate) spec: Option<Spec>,
    history: History,
    since_full: u64,
    full: Option<Full>,
    plans: Plans,
    tasks: Vec<u32>,
}

/// Which of a job's checkpoints is to be gone on from; none = from the beginning.
pub(crate) type Choose<'a> = &'a dyn Fn(&Register) -> Result<Option<ManifestRef>, RunError>;

/// Starts a job.
pub(crate) fn start(setup: &Setup, io: &Handle, (warn, over): (&dyn Fn(Report), &dyn Fn() -> bool)) -> Result<Start, RunError> {
    let io = Asking::new(io, over);
    let mut stands = None;
    match find_and_arrange(setup, &io, (warn, &mut stands)) {
        // Whatever it had begun, the next start completes.
        Err(_) if io.gave_up.get() => Ok(Start::Stopped(stands)),
        started => started,
    }
}

fn find_and_arrange(setup: &Setup, io: &Asking<'_>, (warn, stands): (&dyn Fn(Report), &mut Option<Standing>)) -> Result<Start, RunError> {
    let latest: Choose<'_> = &|register| Ok(register.latest.clone());
    let found = look(setup, io, (latest, warn))?;
    *stands = Some(Standing::of(&setup.job, &found.history));
    if is_finished(&found) {
        return finished(setup, found);
    }
    look_at_folders(setup, &found)?;
    let register = begin(setup, io)?;
    // Another host may have gone on with the job while this one waited for it. From here on nobody else does.
    let seen = found.register.as_ref().map(|register| (&register.spec, &register.latest));
    let moved = seen.unwrap_or((&None, &None)) != (&register.spec, &register.latest);
    let found = if moved { look(setup, io, (latest, warn))? } else { found };
    *stands = Some(Standing::of(&setup.job, &found.history));
    if moved && is_finished(&found) {
        return finished(setup, found);
    }
    arrange(setup, io, (register, found)).map(|started| Start::Go(Box::new(started)))
}

fn finished(setup: &Setup, found: Found) -> Result<Start, RunError> {
    let last = found.register.as_ref().map_or(Attempt(0), |register| register.attempt);
    folders::finish_again(&setup.job, (&marker(setup, &found), last), &setup.steps)?;
    Ok(Start::Finished(found.history))
}

fn is_finished(found: &Found) -> bool {
    found.register.as_ref().is_some_and(|register| register.latest.is_some()) && found.history.finished(&found.tasks)
}

/// Whether each output folder is this job's or may become so.
pub(crate) fn look_at_folders(setup: &Setup, found: &Found) -> Result<(), RunError> {
    folders::look(&setup.job, &marker(setup, found))
}

/// Reads everything that a job needs to go on from the checkpoint that `choose` names, and refuses what does not fit. Changes nothing.
pub(crate) fn look(setup: &Setup, io: &Asking<'_>, (choose, warn): (Choose<'_>, &dyn Fn(Report))) -> Result<Found, RunError> {
    let archive = &*setup.archive;
    // In this order: a number is created before its manifest is there, so a host that goes on meanwhile does not make the archive look newer.
    let archived = io.block_on(gregor_archive::incarnations(archive, &setup.job.name)).map_err(failure::archive)?;
    let register = io.ask(setup.coordinator.read())?;
    check_coordination(register.as_ref(), &archived).map_err(|lost| RunError::Corrupt(format!("job {}: {lost}", setup.job.name)))?;
    if let Some(register) = &register {
        check_marker(setup, io, register)?;
    }
    unnamed_cluster(setup, io)?;
    let spec: Option<Spec> = match register.as_ref().and_then(|register| register.spec.as_ref()) {
        Some(object) => Some(io.block_on(gregor_archive::read_document(archive, SPEC, object)).map_err(failure::archive)?),
        None => None,
    };
    let loaded = match register.as_ref().map(choose).transpose()?.flatten() {
        Some(chosen) => io.block_on(history::load(archive, &chosen)).map_err(failure::archive)?,
        None => Loaded::default(),
    };
    let full = loaded.full().cloned();
    let since_full = loaded.manifests.len() as u64 - u64::from(full.is_some());
    let mut history = loaded.history;
    history.forget_read(&setup.job);
    let (plans, tasks) = match &spec {
        Some(spec) => {
            let stored = stored_plans(setup, io, spec)?;
            if let Some(register) = &register {
                let fits = register.check_streams(&streams_of(setup));
                fits.map_err(|error| RunError::Refused(format!("job {}: {error}", setup.job.name)))?;
            }
            let tasks = tasks_of(&setup.job, stored.iter().map(|(&at, (plan, _))| (at, plan)))?;
            // A finished job needs its input no more: it may be gone.
            if history.number.is_some() && history.finished(&tasks) {
                (Plans::new(), tasks)
            } else {
                (plans_again(setup, stored, warn)?, tasks)
            }
        }
        None => {
            let plans = plans_anew(&setup.job)?;
            let tasks = tasks_of(&setup.job, plans.iter().map(|(&at, planned)| (at, &*planned.plan)))?;
            (plans, tasks)
        }
    };
    Ok(Found { register, history, since_full, full, spec, plans, tasks })
}

/// Looks whether the archive's marker is this job's. A missing one is completed later: the process before this one may have died before it.
fn check_marker(setup: &Setup, io: &Asking<'_>, register: &Register) -> Result<(), RunError> {
    let key = JobKeys::new(&setup.job.name, register.incarnation).marker();
    let bytes = match io.block_on(setup.archive.read(&key, None)) {
        Ok(bytes) => bytes,
        Err(ArchiveError::Missing { .. }) => return Ok(()),
        Err(error) => return Err(failure::archive(error)),
    };
    let marker: Marker =
        MARKER.decode(&bytes).map_err(|error| RunError::Corrupt(format!("object {key} {error}; restore it from a copy")))?;
    if marker.job != setup.job.name || marker.incarnation != register.incarnation {
        return Err(RunError::Corrupt(format!("object {key} names job {} and another incarnation; restore it from a copy", marker.job)));
    }
    Ok(())
}

/// The tasks of each stage, given the plans of file inputs.
fn tasks_of<'a>(job: &Job, plans: impl Iterator<Item = ((u16, u16), &'a Plan)>) -> Result<Vec<u32>, RunError> {
    let partitions = plans.map(|(at, plan)| (at, u32::try_from(plan.partitions.len()).unwrap_or(u32::MAX))).collect();
    job.tasks(&partitions).map_err(|error| RunError::Refused(error.to_string()))
}

/// The plans of a job that begins.
fn plans_anew(job: &Job) -> Result<Plans, RunError> {
    let mut plans = Plans::new();
    for (at, name, source) in file_inputs(job) {
        let Source::File { folder, pattern, format } = source else { continue };
        let opened = InputFolder::open(Path::new(folder)).map_err(|error| failure::source(&name, error))?;
        let plan = gregor_stream::make_plan(&opened, pattern, *format).map_err(|error| failure::source(&name, error))?;
        let bytes = PLAN.encode(&plan).map_err(|error| RunError::Refused(format!("{name}: the list of its files {error}; read fewer")))?;
        plans.insert(at, Planned { plan: Arc::new(plan), digest: Digest::of(&bytes), folder: Arc::new(opened) });
    }
    Ok(plans)
}

/// Plans as the archive has them, with their digests.
type Stored = BTreeMap<(u16, u16), (Plan, Digest)>;

/// The plans of a job that goes on: those of its first day.
fn stored_plans(setup: &Setup, io: &Asking<'_>, spec: &Spec) -> Result<Stored, RunError> {
    if let Some(changed) = setup.job.changed_since(&spec.job) {
        return Err(RunError::Refused(format!("job {} has changed since its last checkpoint: {changed}", setup.job.name)));
    }
    let mut stored = Stored::new();
    for (at, name, _) in file_inputs(&setup.job) {
        let missing = || RunError::Corrupt(format!("{name}: the spec of job {} has no plan for it", setup.job.name));
        let reference = spec.plans.iter().find(|plan| (plan.stage, plan.input) == at).ok_or_else(missing)?;
        let plan = io.block_on(gregor_archive::read_document(&*setup.archive, PLAN, &reference.object)).map_err(failure::archive)?;
        stored.insert(at, (plan, reference.object.sha256));
    }
    Ok(stored)
}

/// Takes stored plans if all files are still what they were; warns of files that came since.
fn plans_again(setup: &Setup, mut stored: Stored, warn: &dyn Fn(Report)) -> Result<Plans, RunError> {
    let mut plans = Plans::new();
    for (at, name, source) in file_inputs(&setup.job) {
        let (Source::File { folder, pattern, .. }, Some((plan, digest))) = (source, stored.remove(&at)) else { continue };
        let opened = InputFolder::open(Path::new(folder)).map_err(|error| failure::source(&name, error))?;
        gregor_stream::check_plan(&opened, &plan).map_err(|error| failure::source(&name, error))?;
        let now = gregor_stream::files_now(&opened, pattern).map_err(|error| failure::source(&name, error))?;
        let planned: BTreeSet<&str> = plan.files.iter().map(|file| file.name.as_str()).collect();
        for new in now.iter().filter(|file| !planned.contains(file.as_str())) {
            warn(Report::Warning(format!("{name}: {new} came after the job began and is left out; start a new job to read it")));
        }
        plans.insert(at, Planned { plan: Arc::new(plan), digest, folder: Arc::new(opened) });
    }
    Ok(plans)
}

/// Inputs that are files: stage and input, a name for people, the source.
fn file_inputs(job: &Job) -> impl Iterator<Item = ((u16, u16), String, &Source)> {
    (0_u16..).zip(&job.stages).flat_map(|(stage_index, stage)| {
        (0_u16..).zip(&stage.inputs).filter(|(_, input)| matches!(input.source, Source::File { .. })).map(move |(input_index, input)| {
            ((stage_index, input_index), format!("stage {:?}, input {:?}", stage.name.as_str(), input.port.as_str()), &input.source)
        })
    })
}

/// What this job's folders carry; those of a job that begins carry none yet, and no other's is the same.
fn marker(setup: &Setup, found: &Found) -> Marker {
    let incarnation = found.register.as_ref().map_or(setup.fresh, |register| register.incarnation);
    Marker { job: setup.job.name.clone(), incarnation }
}

/// The streams that the job writes, as they are were they made now.
fn streams_of(setup: &Setup) -> Vec<StreamRecord> {
    let streams = setup.job.streams().map(|(_, name, partitions)| StreamRecord {
        name: name.clone(),
        incarnation: incarnation_of_stream((setup.fresh, Branch(0)), name.as_str()),
        partitions,
        ancestors: Vec::new(),
    });
    streams.collect()
}

/// Claims the job. While another host holds it, this waits until that one is gone.
fn begin(setup: &Setup, io: &Asking<'_>) -> Result<Register, RunError> {
    let begin = Begin { boot: setup.boot, fresh: setup.fresh, streams: streams_of(setup) };
    io.ask(setup.coordinator.begin(&begin))
}

/// Brings everything into order, for a job that was claimed.
fn arrange(setup: &Setup, io: &Asking<'_>, (mut register, found): (Register, Found)) -> Result<Started, RunError> {
    let keys = JobKeys::new(&setup.job.name, register.incarnation);
    let marker = Marker { job: setup.job.name.clone(), incarnation: register.incarnation };
    if let Some(cluster) = unnamed_cluster(setup, io)? {
        put(setup, io, (CLUSTER, CLUSTER_KEY), &ClusterMarker { cluster })?;
    }
    // What dead processes left half-written is of no use to anybody.
    io.block_on(setup.archive.sweep(keys.root())).map_err(failure::archive)?;
    // Markers are created once and completed at every start: the incarnation entered coordination first.
    put(setup, io, (MARKER, &keys.marker()), &marker)?;
    let folders = Arc::new(Folders::open(&setup.job, &marker, &setup.steps, setup.lost_outputs)?);
    // Before any task runs, and unless all of it is there: then `_SUCCESS` is right, and a moment without it would mislead whoever waits for it.
    if !(0_u16..).zip(&found.tasks).all(|(stage, &count)| found.history.stage_ended(stage, count)) {
        folders.reopen()?;
    }
    if found.spec.is_none() {
        register.spec = Some(submit(setup, io, (&keys, &found.plans))?);
    }
    if let Some(undecided) = register.undecided() {
        io.ask(setup.coordinator.abort(undecided))?;
        register.abort(undecided).map_err(|error| RunError::Failed(error.to_string()))?;
    }
    for release in &found.history.releases {
        folders.perform(release)?;
    }
    folders.sweep((register.incarnation, register.attempt))?;
    let performed = found.history.releases.iter().map(|open| (open.task, open.output, open.name.clone())).collect();
    let Found { history, since_full, full, plans, tasks, .. } = found;
    Ok(Started { register, history, since_full, full, plans, tasks, folders, performed, keys })
}

/// An archive belongs to one cluster, and says so from its first job on. Answers the cluster's id where the archive does not say it yet.
fn unnamed_cluster(setup: &Setup, io: &Asking<'_>) -> Result<Option<HostId>, RunError> {
    let Some(cluster) = io.ask(setup.coordinator.cluster())? else { return Ok(None) };
    let bytes = match io.block_on(setup.archive.read(CLUSTER_KEY, None)) {
        Ok(bytes) => bytes,
        Err(ArchiveError::Missing { .. }) => return Ok(Some(cluster)),
        Err(error) => return Err(failure::archive(error)),
    };
    let found: ClusterMarker = CLUSTER
        .decode(&bytes)
        .map_err(|error| RunError::Corrupt(format!("object {CLUSTER_KEY} of the archive {error}; restore it from a copy")))?;
    if found.cluster == cluster {
        return Ok(None);
    }
    Err(RunError::Corrupt(format!(
        "the archive belongs to cluster {}, the coordinator to cluster {cluster}: one of them is another's, or the coordinator lost its data; \
         name the coordinator or the checkpoint.location that belong together",
        found.cluster
    )))
}

/// Writes down the job and its plans.
fn submit(setup: &Setup, io: &Asking<'_>, (keys, plans): (&JobKeys, &Plans)) -> Result<ObjectRef, RunError> {
    let mut references = Vec::new();
    for (&(stage, input), planned) in plans {
        let object = put(setup, io, (PLAN, &keys.plan(planned.digest)), &*planned.plan)?;
        references.push(PlanRef { stage, input, object });
    }
    // A start that died before it could name its spec may have left one of another plan: the key carries the digest.
    let spec = Spec { job: setup.job.clone(), plans: references };
    let bytes = SPEC.encode(&spec).map_err(|error| RunError::Failed(error.to_string()))?;
    let object = put(setup, io, (SPEC, &keys.spec(Digest::of(&bytes))), &spec)?;
    io.ask(setup.coordinator.set_spec(&object))?;
    Ok(object)
}

fn put<T: serde::Serialize + Sync>(
    setup: &Setup,
    io: &Asking<'_>,
    (kind, key): (gregor_model::document::Kind, &str),
    body: &T,
) -> Result<ObjectRef, RunError> {
    io.block_on(gregor_archive::create_document(&*setup.archive, kind, key, body)).map_err(failure::archive)
}

/// A stream's incarnation, drawn from that of the job that makes it and the line of history: as random, and different for each of them.
pub(crate) fn incarnation_of_stream((job, branch): (Incarnation, Branch), stream: &str) -> Incarnation {
    let digest = Digest::of(format!("{job} {branch} {stream}").as_bytes());
    let (head, _) = digest.0.split_at(16);
    Incarnation(head.iter().fold(0, |number, &byte| (number << 8) | u128::from(byte)))
}

/// The confirmed runs from given offsets on, in order; `wanted` answers the offset from which a stream partition is read, if it is.
pub(crate) fn runs_since(
    archive: &dyn Store,
    io: &Handle,
    history: &History,
    wanted: &dyn Fn(&str, u32) -> Option<u64>,
) -> Result<Vec<PublishedRun>, RunError> {
    let mut runs = Vec::new();
    for LivePart { part, origins } in &history.parts {
        let unread = |range: &PartRange| {
            wanted(range.stream.as_str(), range.partition).is_some_and(|offset| range.first_offset + range.records > offset)
        };
        if !part.ranges.iter().any(unread) {
            continue;
        }
        let footer = io.block_on(gregor_archive::read_footer(archive, part)).map_err(failure::archive)?;
        let mut heads = part.ranges.iter().map(|range| ((range.stream.clone(), range.partition), range.first_offset)).collect();
        runs.extend(publish(&part.object, &footer, origins, &mut heads));
    }
    Ok(runs)
}

#[cfg(test)]
mod tests;
