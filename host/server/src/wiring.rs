//! Puts the parts together: the only place that names concrete adapters. Refuses to hold any logic of its own; it maps what adapters refuse to the
//! program's exit codes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gregor_archive::{ArchiveError, LocalStore, Store};
use gregor_coordination::local::data::{DataError, DataFolder};
use gregor_coordination::local::{LocalCoordinator, read_register};
use gregor_coordination::{CoordinationError, Coordinator};
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

/// Wires a job for a run.
///
/// # Errors
/// The data folder is in use or none of ours, or archive or coordination can't be used.
pub(crate) fn wire(deployed: Deployed, choices: Choices) -> Result<Wired, Failure> {
    let Deployed { job, components } = deployed;
    let data = DataFolder::open(&choices.data, HostId(rand::random())).map_err(from_data)?;
    let location = job.checkpoint.location.as_ref().map_or_else(|| data.archive(), PathBuf::from);
    let archive = LocalStore::open(&location, Arc::clone(&choices.steps)).map_err(from_archive)?;
    let coordinator: Arc<dyn Coordinator> = match choices.coordinator {
        CoordinatorChoice::Local => {
            let steps = Arc::clone(&choices.steps);
            Arc::new(LocalCoordinator::open(&data.coordination(), &job.name, steps).map_err(from_coordination)?)
        }
    };
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
    let location = file.checkpoint.location.as_ref().map_or_else(|| data.archive(), PathBuf::from);
    let archive = LocalStore::look(&location, Arc::new(Unobserved)).map_err(from_archive)?;
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
        CoordinationError::Undecided { .. }
        | CoordinationError::Poisoned { .. }
        | CoordinationError::Fenced { .. }
        | CoordinationError::Forbidden { .. }
        | CoordinationError::Spec { .. }
        | CoordinationError::Unavailable { .. } => Failure::failed(error),
    }
}
