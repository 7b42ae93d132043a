//! Going back: a job takes up the state of an earlier checkpoint, as a new checkpoint of a new branch. All attempts move first, so nobody writes for
//! the old line of history; then a full manifest is confirmed that takes tasks and unread runs from the old one, and open releases from the
//! latest. Refuses a checkpoint that is no restore point, and all that a start would refuse: a job that could not go on from there is not moved.
//! What was put out since stays there and appears again: the caller says so.

use std::collections::{BTreeMap, BTreeSet};

use gregor_archive::history::{self, Loaded};
use gregor_model::history::History;
use gregor_model::job::{Job, Source};
use gregor_model::keys::JobKeys;
use gregor_model::manifest::{Manifest, ManifestRef};
use gregor_model::names::{CheckpointNumber, Incarnation, StreamName};
use gregor_model::register::{Register, StreamRecord};
use gregor_model::segment::Position;
use gregor_model::snapshot::Pages;
use gregor_model::start::Begin;
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::failure;
use crate::setup::{RunError, Setup};
use crate::start::{self, incarnation_of_stream};
use crate::threads::io_threads;

/// Where a job was taken back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// The earlier checkpoint.
    pub to: CheckpointNumber,
    /// The new checkpoint, with its state.
    pub checkpoint: CheckpointNumber,
}

/// Takes a job back to `number`, a restore point; with a name, to that savepoint's. The job must not run. Blocks; while another host holds the
/// job, until that one is gone.
///
/// # Errors
/// It is no restore point (`Refused`), its history can't be read, or see [`RunError`]. The job stands where it stood then.
pub fn go_back(setup: &Setup, number: CheckpointNumber) -> Result<Returned, RunError> {
    let io = io_threads(1)?;
    let io = io.handle();
    // Everything is read before anything is written.
    let found = look(setup, io, number)?;
    let begin = Begin { boot: setup.boot, fresh: setup.fresh, streams: found.register.streams.clone() };
    let register = io.block_on(setup.coordinator.begin(&begin)).map_err(failure::coordination)?;
    // Another host may have gone on with the job, and retired the checkpoint, while this one waited for it. From here on nobody else does.
    let seen = (&found.register.spec, &found.register.latest);
    let found = if seen == (&register.spec, &register.latest) { found } else { look(setup, io, number)? };
    // A name that kept it may have been deleted meanwhile.
    let to = restore_point(&register, number)?;
    confirm(setup, io, Going { register, to, ..found })
}

/// A job that can go on from an earlier checkpoint.
struct Going {
    register: Register,
    to: ManifestRef,
    /// The job as it was when it began: streams and positions are told apart by it.
    job: Job,
}

/// Looks at all that a start would look at if the job stood at `number`; changes nothing.
fn look(setup: &Setup, io: &Handle, number: CheckpointNumber) -> Result<Going, RunError> {
    let choose: start::Choose<'_> = &|register| restore_point(register, number).map(Some);
    // What a start warns of, the next one will.
    let found = start::look(setup, &start::Asking::new(io, &|| false), (choose, &|_| ()))?;
    start::look_at_folders(setup, &found)?;
    let (Some(register), Some(spec)) = (found.register, found.spec) else {
        return Err(RunError::Refused(format!("job {} never began", setup.job.name)));
    };
    let to = restore_point(&register, number)?;
    Ok(Going { register, to, job: spec.job })
}

fn restore_point(register: &Register, number: CheckpointNumber) -> Result<ManifestRef, RunError> {
    register.restore_point(number).ok_or_else(|| {
        let kept: Vec<String> = register.restore_points().iter().map(|kept| kept.number.to_string()).collect();
        RunError::Refused(format!(
            "checkpoint {number} of job {} is no restore point (any more); those that are: {}",
            register.job,
            if kept.is_empty() { "none".to_owned() } else { kept.join(", ") }
        ))
    })
}

fn confirm(setup: &Setup, io: &Handle, Going { mut register, to, job }: Going) -> Result<Returned, RunError> {
    let coordinator = &*setup.coordinator;
    let old = io.block_on(history::load(&*setup.archive, &to)).map_err(failure::archive)?;
    let latest = match &register.latest {
        Some(latest) => io.block_on(history::load(&*setup.archive, latest)).map_err(failure::archive)?,
        None => Loaded::default(),
    };
    if let Some(undecided) = register.undecided() {
        io.block_on(coordinator.abort(undecided)).map_err(failure::coordination)?;
        register.abort(undecided).map_err(|error| RunError::Failed(error.to_string()))?;
    }
    let streams = streams(&register, (&job, &old.history));
    let checkpoint = register.created.next();
    let created_at_ms = Clock::start().wall_ms();
    let created = coordinator.create(checkpoint, created_at_ms, keep_all(setup, &register));
    let permit = io.block_on(created).map_err(failure::coordination)?;
    let keys = JobKeys::new(&setup.job.name, register.incarnation);
    let pages = Pages::of(&old.history);
    let written = history::write_full(&*setup.archive, (&keys, register.term), (&pages, None), &|_| ());
    let full = io.block_on(written).map_err(failure::archive)?;
    let manifest = Manifest {
        number: checkpoint,
        incarnation: register.incarnation,
        branch: register.branch.next(),
        term: register.term,
        created_at_ms,
        predecessor: register.latest.clone(),
        pages: None,
        full: Some(full),
        segments: Vec::new(),
        parts: Vec::new(),
        left_out: Vec::new(),
        releases: latest.history.releases,
        bases: Vec::new(),
        merges: Vec::new(),
        times: None,
    };
    let key = keys.manifest(checkpoint, register.term, 0);
    let object = io.block_on(history::write_manifest(&*setup.archive, &key, &manifest)).map_err(failure::archive)?;
    io.block_on(coordinator.go_back(permit, &object, &streams)).map_err(failure::coordination)?;
    Ok(Returned { to: to.number, checkpoint })
}

/// How many restore points stay: none retires with a return, or the one that is returned to could be the first to go.
fn keep_all(setup: &Setup, register: &Register) -> u32 {
    setup.job.checkpoint.keep.max(u32::try_from(register.checkpoints.len()).unwrap_or(u32::MAX))
}

/// The streams of the new branch: each a new incarnation that begins with the runs of the old manifest. Positions in incarnations that the old
/// manifest's readers stood in are the same places in it.
fn streams(register: &Register, (job, old): (&Job, &History)) -> Vec<StreamRecord> {
    let mut stood: BTreeMap<&StreamName, BTreeSet<Incarnation>> = BTreeMap::new();
    for (task, history) in &old.tasks {
        let Some(stage) = job.stage_of(*task) else { continue };
        for (input, progress) in stage.inputs.iter().zip(&history.header.inputs) {
            if let (Source::Stream { name }, Position::Stream { incarnation, .. }) = (&input.source, &progress.position) {
                stood.entry(name).or_default().insert(*incarnation);
            }
        }
    }
    let branch = register.branch.next();
    let renewed = register.streams.iter().map(|stream| StreamRecord {
        incarnation: incarnation_of_stream((register.incarnation, branch), stream.name.as_str()),
        ancestors: stood.get(&stream.name).into_iter().flatten().copied().collect(),
        ..stream.clone()
    });
    renewed.collect()
}
