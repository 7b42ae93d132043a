//! A job that is looked after without being run: its coordination and its archive, and the lock on its data folder where that is what keeps others
//! out. Refuses a folder that another process works on, and a job that never began; nothing is made for either.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use gregor_archive::{LocalStore, Store};
use gregor_coordination::Coordinator;
use gregor_coordination::local::data::{DataError, DataFolder};
use gregor_model::names::{Boot, HostId, Term};
use gregor_model::register::Register;
use gregor_model::steps::Steps;

use super::{Coordination, LOOK_PATIENCE, archive_of, from_archive, from_coordination, from_data, wait};
use crate::exit::Failure;
use crate::job_file::JobFile;

/// Whether the data folder must be this process's alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// It must, whoever decides checkpoints.
    Always,
    /// It must where the coordinator is this process.
    ForLocal,
}

/// The job. See the module.
pub(crate) struct Held {
    /// Who decides its checkpoints.
    pub(crate) coordinator: Arc<dyn Coordinator>,
    /// What is known of it.
    pub(crate) register: Register,
    /// Where its checkpoints are.
    pub(crate) archive: Arc<dyn Store>,
    /// The process that may be at work on it elsewhere.
    pub(crate) other: Option<(Boot, Term)>,
    /// Gives up the lock when it is dropped.
    _data: DataFolder,
}

/// Takes hold of a job that began in the data folder `data`.
///
/// # Errors
/// There is no such job, another process works on the folder, or what is stored can't be used.
pub(crate) fn hold(
    file: &JobFile,
    (data, lock): (&Path, Lock),
    (coordination, steps): (&Coordination, &Arc<dyn Steps>),
) -> Result<Held, Failure> {
    let looked = DataFolder::look(data).map_err(from_data)?;
    let local = matches!(coordination, Coordination::Local);
    let data = if local || lock == Lock::Always { take(data, file)? } else { looked };
    let coordinator = coordination.open(&data, (&file.name, LOOK_PATIENCE), steps)?;
    let register = wait(coordinator.read())?.map_err(from_coordination)?;
    let register = register.ok_or_else(|| Failure::refused(anyhow!("job {} never began in this data folder", file.name)))?;
    let archive = LocalStore::look(&archive_of(&file.checkpoint, &data), Arc::clone(steps)).map_err(from_archive)?;
    // The lock keeps out whoever would work with a coordinator of its own process; other hosts it does not.
    let other = (!local).then_some((register.boot, register.term));
    Ok(Held { coordinator, register, archive: Arc::new(archive), other, _data: data })
}

fn take(data: &Path, file: &JobFile) -> Result<DataFolder, Failure> {
    DataFolder::open(data, HostId(rand::random())).map_err(|error| match error {
        DataError::InUse(path) => {
            Failure::refused(anyhow!("data folder {path:?} is in use: job {}, or another one there, is running; stop it first", file.name))
        }
        error => from_data(error),
    })
}

/// Takes a data folder for a moment, if nobody has it, and answers where the local stores are; none if somebody has it.
///
/// # Errors
/// It is no data folder, or can't be used.
pub(crate) fn local_stores(data: &Path) -> Result<Option<(PathBuf, DataFolder)>, Failure> {
    match DataFolder::open(data, HostId(rand::random())) {
        Ok(data) => Ok(Some((data.state(), data))),
        Err(DataError::InUse(_)) => Ok(None),
        Err(error) => Err(from_data(error)),
    }
}
