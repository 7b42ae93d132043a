//! Puts the parts together: the only place that names concrete adapters. Refuses to hold any logic of its own; it maps what adapters refuse to the
//! program's exit codes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use gregor_archive::{ArchiveError, LocalStore, Store};
use gregor_coordination::local::data::{DataError, DataFolder};
use gregor_coordination::local::{LocalCoordinator, read_register};
use gregor_coordination::{CoordinationError, Coordinator};
use gregor_guest::{Cache, Component};
use gregor_model::job::{CheckpointSettings, Job};
use gregor_model::keys::JobKeys;
use gregor_model::names::{Boot, HostId, Incarnation, JobName};
use gregor_model::register::Register;
use gregor_model::steps::{Steps, Unobserved};
use gregor_runtime::setup::{LostOutputs, Setup};

use crate::cli::{CoordinatorChoice, JobArgs};
use crate::deploy::Deployed;
use crate::exit::Failure;
use crate::job_file::JobFile;

/// A job that may run here: while this lives, no other process can work on its data folder.
pub(crate) struct Wired {
    /// What the runtime needs.
    pub(crate) setup: Setup,
    /// Gives up the lock when it is dropped.
    pub(crate) data: DataFolder,
}

/// What varies between two runs of one job.
pub(crate) struct Choices {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// Who decides.
    pub(crate) coordinator: CoordinatorChoice,
    /// Who is told of durable steps.
    pub(crate) steps: Arc<dyn Steps>,
    /// Threads that run guests.
    pub(crate) workers: usize,
    /// What becomes of lost output files.
    pub(crate) lost_outputs: LostOutputs,
}

/// What can be seen of a job without the lock.
pub(crate) struct Looked {
    /// Its register, if it ever began.
    pub(crate) register: Option<Register>,
    /// Where its checkpoints are; none where nothing was saved.
    pub(crate) archive: Option<Arc<dyn Store>>,
}

/// The folder of a job's data: as named, or `.gregor` beside the job file.
pub(crate) fn data_folder(args: &JobArgs, file: &JobFile) -> PathBuf {
    args.data.clone().unwrap_or_else(|| file.folder.join(".gregor"))
}

/// Components that an earlier run compiled, for reading only: a job that is refused leaves nothing behind, so this comes before the data folder
/// is made and locked. What is wrong with the folder is said once it is locked, by [`wire`].
pub(crate) fn compiled(data: &Path) -> Option<Cache> {
    DataFolder::look(data).ok().and_then(|data| Cache::open(&data.components()).ok())
}

/// Keeps what was compiled for the next start; without it that one takes longer, and nothing else.
fn keep(data: &DataFolder, components: &[Component]) {
    match Cache::open(&data.components()) {
        Ok(cache) => cache.keep(components),
        Err(error) => tracing::warn!(%error, "every start compiles its components anew"),
    }
}

/// Wires a job for a run.
///
/// # Errors
/// The data folder is in use or none of ours, or archive or coordination can't be used.
pub(crate) fn wire(deployed: Deployed, choices: Choices) -> Result<Wired, Failure> {
    let Deployed { job, components } = deployed;
    let data = DataFolder::open(&choices.data, HostId(rand::random())).map_err(from_data)?;
    let archive = open_archive(&job, &data, &choices.steps)?;
    let coordinator: Arc<dyn Coordinator> = match choices.coordinator {
        CoordinatorChoice::Local => {
            let steps = Arc::clone(&choices.steps);
            Arc::new(LocalCoordinator::open(&data.coordination(), &job.name, steps).map_err(from_coordination)?)
        }
    };
    keep(&data, &components);
    let setup = Setup {
        job,
        components,
        state_folder: data.state(),
        archive: Arc::new(archive),
        coordinator,
        steps: choices.steps,
        boot: Boot(rand::random()),
        fresh: Incarnation(rand::random()),
        workers: choices.workers,
        lost_outputs: choices.lost_outputs,
    };
    Ok(Wired { setup, data })
}

/// Opens the archive of a job. One that has begun must find something of its own there: a location that was changed since is refused before a
/// folder is made at the new one.
fn open_archive(job: &Job, data: &DataFolder, steps: &Arc<dyn Steps>) -> Result<LocalStore, Failure> {
    let location = archive_of(&job.checkpoint, data);
    let begun = look_at_register(data, &job.name)?.is_some_and(|register| register.spec.is_some());
    if begun && !keeps(&location, &job.name)? {
        let what = format!("{location:?} keeps nothing of job {}, which has begun", job.name);
        return Err(match job.checkpoint.location {
            Some(_) => Failure::refused(anyhow!(
                "checkpoint.location {what}; put back the location that its checkpoints are at, or start anew with another --data and output folder"
            )),
            None => Failure::corrupt(anyhow!(
                "archive folder {what}; restore the folder, or put back the checkpoint.location that its checkpoints are at"
            )),
        });
    }
    LocalStore::open(&location, Arc::clone(steps)).map_err(from_archive)
}

/// Whether an archive has anything of a job.
fn keeps(location: &Path, job: &JobName) -> Result<bool, Failure> {
    if !location.is_dir() {
        return Ok(false);
    }
    let archive = LocalStore::look(location, Arc::new(Unobserved)).map_err(from_archive)?;
    let incarnations = wait(archive.folders(&JobKeys::incarnations(job)))?.map_err(from_archive)?;
    Ok(!incarnations.is_empty())
}

fn archive_of(settings: &CheckpointSettings, data: &DataFolder) -> PathBuf {
    settings.location.as_ref().map_or_else(|| data.archive(), PathBuf::from)
}

/// Waits for a future, outside of the runtime's threads: here one thing is done after the other.
///
/// # Errors
/// The system has no thread or descriptor left.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    Ok(runtime.block_on(future))
}

/// Looks at a job without the lock; changes nothing.
///
/// # Errors
/// There is no data folder, or what is there can't be used.
pub(crate) fn look(file: &JobFile, data: &Path, coordinator: &CoordinatorChoice) -> Result<Looked, Failure> {
    let data = DataFolder::look(data).map_err(from_data)?;
    let register = match coordinator {
        CoordinatorChoice::Local => look_at_register(&data, &file.name)?,
    };
    let Some(register) = register else { return Ok(Looked { register: None, archive: None }) };
    let archive = LocalStore::look(&archive_of(&file.checkpoint, &data), Arc::new(Unobserved)).map_err(from_archive)?;
    Ok(Looked { register: Some(register), archive: Some(Arc::new(archive)) })
}

fn look_at_register(data: &DataFolder, job: &JobName) -> Result<Option<Register>, Failure> {
    read_register(&data.coordination(), job).map_err(from_coordination)
}

fn from_data(error: DataError) -> Failure {
    match error {
        DataError::InUse(_) | DataError::NotData { .. } | DataError::Unusable { .. } => Failure::refused(error),
        DataError::Corrupt { .. } => Failure::corrupt(error),
    }
}

/// The exit code of what an archive says.
pub(crate) fn from_archive(error: ArchiveError) -> Failure {
    match error {
        ArchiveError::Missing { .. } | ArchiveError::Corrupt { .. } | ArchiveError::Exists { .. } => Failure::corrupt(error),
        ArchiveError::Unavailable { .. } => Failure::failed(error),
        ArchiveError::Folder { .. } => Failure::refused(error),
    }
}

fn from_coordination(error: CoordinationError) -> Failure {
    match error {
        CoordinationError::Corrupt { .. } => Failure::corrupt(error),
        CoordinationError::Refused { .. } => Failure::refused(error),
        CoordinationError::Undecided { .. }
        | CoordinationError::Poisoned { .. }
        | CoordinationError::Fenced { .. }
        | CoordinationError::Forbidden { .. }
        | CoordinationError::Spec { .. }
        | CoordinationError::Unavailable { .. } => Failure::failed(error),
    }
}
