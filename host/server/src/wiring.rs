//! Puts the parts together: the only place that names concrete adapters. Refuses to hold any logic of its own; it maps what adapters refuse to the
//! program's exit codes.

mod held;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use gregor_archive::{ArchiveError, LocalStore, Store};
use gregor_coordination::local::data::{DataError, DataFolder};
use gregor_coordination::local::{LocalCoordinator, read_register};
use gregor_coordination::zookeeper::{self, Url, ZooKeeperCoordinator};
use gregor_coordination::{CoordinationError, Coordinator};
use gregor_guest::{Cache, Component};
use gregor_model::job::{CheckpointSettings, Job};
use gregor_model::keys::JobKeys;
use gregor_model::names::{Boot, HostId, Incarnation, JobName};
use gregor_model::register::Register;
use gregor_model::steps::{Steps, Unobserved};
use gregor_runtime::setup::{LostOutputs, Setup, Until};
use gregor_runtime::stand_ins::StandIns;

use crate::cli::{self, CoordinatorChoice, JobArgs};
use crate::deploy::{self, Deployed};
use crate::exit::Failure;
use crate::job_file::{self, JobFile};
pub(crate) use held::{Held, Lock, hold, local_stores};

/// A job that may run here: while this lives, no other process can work on its data folder.
pub(crate) struct Wired {
    /// What the runtime needs.
    pub(crate) setup: Setup,
    /// Gives up the lock when it is dropped.
    pub(crate) data: DataFolder,
}

/// Who decides checkpoints, with what it takes to reach them.
pub(crate) enum Coordination {
    /// This process.
    Local,
    /// ZooKeeper: its address, the session's time-out, user and password.
    ZooKeeper(Url, Duration, Option<(String, String)>),
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

/// How long a look at coordination that is out of reach goes on: somebody waits for it.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);

/// Who decides checkpoints, as the arguments say.
///
/// # Errors
/// The file with user and password can't be used.
pub(crate) fn coordination(args: &JobArgs) -> Result<Coordination, Failure> {
    match &args.coordinator {
        CoordinatorChoice::Local => Ok(Coordination::Local),
        CoordinatorChoice::ZooKeeper(url) => {
            let credentials = args.zookeeper_auth.as_deref().map(credentials).transpose().map_err(Failure::refused)?;
            Ok(Coordination::ZooKeeper(url.clone(), args.session_timeout, credentials))
        }
    }
}

/// User and password of a file that nobody else can read.
fn credentials(path: &Path) -> anyhow::Result<(String, String)> {
    let shown = path.display();
    let mode = std::fs::metadata(path).with_context(|| format!("--zookeeper-auth: can't read {shown}"))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(anyhow!("--zookeeper-auth: others can read {shown} (mode {:o}); run: chmod 600 {shown}", mode & 0o777));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("--zookeeper-auth: can't read {shown}"))?;
    let (user, password) = text
        .trim_end_matches(['\r', '\n'])
        .split_once(':')
        .ok_or_else(|| anyhow!("--zookeeper-auth: {shown} does not hold USER:PASSWORD"))?;
    Ok((user.to_owned(), password.to_owned()))
}

impl Coordination {
    /// Opens the coordinator of a job for a run.
    ///
    /// # Errors
    /// It can't be reached or believed.
    pub(crate) fn open(
        &self,
        data: &DataFolder,
        (job, outage_limit): (&JobName, Duration),
        steps: &Arc<dyn Steps>,
    ) -> Result<Arc<dyn Coordinator>, Failure> {
        match self.options(data, (job, outage_limit), steps) {
            None => {
                let opened = LocalCoordinator::open(&data.coordination(), job, Arc::clone(steps));
                Ok(Arc::new(opened.map_err(from_coordination)?))
            }
            Some(options) => Ok(Arc::new(ZooKeeperCoordinator::open(options).map_err(from_coordination)?)),
        }
    }

    /// How ZooKeeper is reached; none where nobody has to be.
    fn options(&self, data: &DataFolder, (job, outage_limit): (&JobName, Duration), steps: &Arc<dyn Steps>) -> Option<zookeeper::Options> {
        let Self::ZooKeeper(url, session_timeout, credentials) = self else { return None };
        Some(zookeeper::Options {
            servers: url.servers.clone(),
            root: url.root.clone(),
            session_timeout: *session_timeout,
            outage_limit,
            host: data.host(),
            credentials: credentials.clone(),
            job: job.clone(),
            steps: Arc::clone(steps),
        })
    }
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

/// Deploys the job that the arguments name and wires it, see [`wire`].
///
/// # Errors
/// The job file or a component is wrong, or see [`wire`].
pub(crate) fn deployed(args: &JobArgs, steps: Arc<dyn Steps>) -> Result<Wired, Failure> {
    let file = job_file::read(&args.job).map_err(Failure::refused)?;
    let data = data_folder(args, &file);
    let deployed = deploy::deploy(&file, compiled(&data).as_ref())?;
    wire(deployed, (&data, &coordination(args)?), steps)
}

/// Wires a job, with a worker for each core, that ends when it has finished and refuses to go on without its output files: who wants it otherwise
/// changes the set-up. `steps` is told of durable steps.
///
/// # Errors
/// The data folder is in use or none of ours, or archive or coordination can't be used.
pub(crate) fn wire(deployed: Deployed, (data, coordination): (&Path, &Coordination), steps: Arc<dyn Steps>) -> Result<Wired, Failure> {
    let Deployed { job, components } = deployed;
    let data = DataFolder::open(data, HostId(rand::random())).map_err(from_data)?;
    let settings = (&job.name, job.checkpoint.outage_limit);
    let coordinator = coordination.open(&data, settings, &steps)?;
    let register = wait(coordinator.read())?.map_err(from_coordination)?;
    let archive = open_archive(&job, (&data, register.as_ref()), &steps)?;
    keep(&data, &components);
    let setup = Setup {
        job,
        components,
        state_folder: data.state(),
        archive: Arc::new(archive),
        coordinator,
        steps,
        boot: Boot(rand::random()),
        fresh: Incarnation(rand::random()),
        workers: cli::workers_default().get(),
        lost_outputs: LostOutputs::Refuse,
        until: Until::Finished,
        stand_ins: StandIns::default(),
    };
    Ok(Wired { setup, data })
}

/// Opens the archive of a job. One that has begun must find something of its own there: a location that was changed since is refused before a
/// folder is made at the new one.
fn open_archive(job: &Job, (data, register): (&DataFolder, Option<&Register>), steps: &Arc<dyn Steps>) -> Result<LocalStore, Failure> {
    let location = archive_of(&job.checkpoint, data);
    let begun = register.is_some_and(|register| register.spec.is_some());
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
pub(crate) fn look(file: &JobFile, data: &Path, coordination: Coordination) -> Result<Looked, Failure> {
    let data = DataFolder::look(data).map_err(from_data)?;
    let register = match coordination {
        Coordination::Local => read_register(&data.coordination(), &file.name).map_err(from_coordination)?,
        Coordination::ZooKeeper(..) => {
            let options = coordination.options(&data, (&file.name, LOOK_PATIENCE), &(Arc::new(Unobserved) as Arc<dyn Steps>));
            options.map(zookeeper::read_register).transpose().map_err(from_coordination)?.flatten()
        }
    };
    let Some(register) = register else { return Ok(Looked { register: None, archive: None }) };
    let archive = LocalStore::look(&archive_of(&file.checkpoint, &data), Arc::new(Unobserved)).map_err(from_archive)?;
    Ok(Looked { register: Some(register), archive: Some(Arc::new(archive)) })
}

fn from_data(error: DataError) -> Failure {
    match error {
        DataError::InUse(_) => Failure::refused(anyhow!(
            "{error}; `gregor checkpoint verify` holds it too, while it copies local stores that it can't link: wait until that is through"
        )),
        DataError::NotData { .. } | DataError::Unusable { .. } => Failure::refused(error),
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

/// The exit code of what a coordinator says.
pub(crate) fn from_coordination(error: CoordinationError) -> Failure {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_in_use_is_refused_with_all_who_may_hold_it() {
        let failure = from_data(DataError::InUse(PathBuf::from("data")));
        assert_eq!(failure.exit.code(), 2);
        for fragment in ["\"data\" is in use", "stop that one", "checkpoint verify", "wait"] {
            assert!(failure.message().contains(fragment), "{fragment:?} is missing: {}", failure.message());
        }
    }
}
