//! The coordinator of one machine: one register file per job, replaced whole. It leads itself; its term is the number of its starts. Refuses to
//! write without a claim, over a register that somebody else changed, and to go on after a failed write. That only one process writes is the
//! work of [`data::DataFolder`], which holds the lock on `--data`.
//!
//! ```text
//! <data>/coordination/<tenant>/<job>          the register: a document of kind "register" (see gregor_model::document)
//! <data>/coordination/<tenant>/.<job>.tmp     the next one, before it takes the other's place; removed at a start
//! ```

pub mod data;
mod durable;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use gregor_model::keys::DEFAULT_TENANT;
use gregor_model::manifest::ObjectRef;
use gregor_model::names::{Boot, CheckpointNumber, HostId, JobName, SavepointName, Term};
use gregor_model::register::{Forbidden, REGISTER, Register, SavepointRecord, StreamRecord};
use gregor_model::start::Begin;
use gregor_model::steps::{DurableStep, StepFailure, Steps, durable};

use crate::coordinator::{CommitPermit, Coordinator};
use crate::error::CoordinationError;

/// The coordinator of one job over its register file.
pub struct LocalCoordinator {
    shared: Arc<Shared>,
}

/// What a job's register says, read without any lock: the file is replaced whole, so it is one register or the next. `folder` is
/// `<data>/coordination`. None if the job was never begun.
///
/// # Errors
/// The register can't be believed or reached.
pub fn read_register(folder: &Path, job: &JobName) -> Result<Option<Register>, CoordinationError> {
    read_file(&file_of(folder, job), job)
}

impl LocalCoordinator {
    /// Opens the register of a job in `folder`, `<data>/coordination`, whose lock the caller holds. Leftovers of a write that was cut short
    /// are removed; what is there is synced before it is believed, since the last process may have died between its rename and its sync.
    ///
    /// # Errors
    /// The register can't be believed or reached.
    pub fn open(folder: &Path, job: &JobName, steps: Arc<dyn Steps>) -> Result<Self, CoordinationError> {
        let file = file_of(folder, job);
        let unreachable = |error: std::io::Error| unavailable(&file, &error.to_string());
        if let Some(parent) = file.parent() {
            durable::create_folder(parent).map_err(unreachable)?;
        }
        durable::settle(&file).map_err(unreachable)?;
        let state = State::Unclaimed(read_file(&file, job)?);
        Ok(Self { shared: Arc::new(Shared { file, job: job.clone(), steps, state: Mutex::new(state) }) })
    }

    /// Does a call on the blocking pool: a sync of a disk must not hold up heartbeats or HTTP.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Shared) -> Result<T, CoordinationError> + Send + 'static,
    ) -> Result<T, CoordinationError> {
        let shared = Arc::clone(&self.shared);
        let job = self.shared.job.clone();
        tokio::task::spawn_blocking(move || call(&shared))
            .await
            .unwrap_or_else(|error| Err(CoordinationError::Undecided { job, reason: error.to_string() }))
    }
}

#[async_trait]
impl Coordinator for LocalCoordinator {
    async fn read(&self) -> Result<Option<Register>, CoordinationError> {
        self.blocking(|shared| shared.known(&*shared.lock()?)).await
    }

    async fn begin(&self, begin: &Begin) -> Result<Register, CoordinationError> {
        let begin = begin.clone();
        self.blocking(move |shared| shared.begin(begin)).await
    }

    async fn set_spec(&self, spec: &ObjectRef) -> Result<(), CoordinationError> {
        let spec = spec.clone();
        self.blocking(move |shared| {
            shared.change(None, |register| {
                register.set_spec(&spec).map_err(|refused| CoordinationError::Spec { job: shared.job.clone(), refused: Box::new(refused) })
            })
        })
        .await
        .map(drop)
    }

    async fn create(&self, number: CheckpointNumber, created_at_ms: u64, keep: u32) -> Result<CommitPermit, CoordinationError> {
        self.blocking(move |shared| {
            shared.change(None, |register| {
                register.create(number, created_at_ms, keep).map_err(CoordinationError::forbidden(&shared.job)).map(drop)
            })
        })
        .await
        .map(|register| CommitPermit::of(&register))
    }

    async fn confirm(&self, permit: CommitPermit, manifest: &ObjectRef) -> Result<(), CoordinationError> {
        let manifest = manifest.clone();
        self.blocking(move |shared| {
            shared.change(Some(permit.claim()), |register| {
                register.confirm(permit.number(), manifest).map_err(CoordinationError::forbidden(&shared.job))
            })
        })
        .await
        .map(drop)
    }

    async fn abort(&self, number: CheckpointNumber) -> Result<(), CoordinationError> {
        self.blocking(move |shared| {
            shared.change(None, |register| register.abort(number).map_err(CoordinationError::forbidden(&shared.job)))
        })
        .await
        .map(drop)
    }

    async fn go_back(&self, permit: CommitPermit, manifest: &ObjectRef, streams: &[StreamRecord]) -> Result<Register, CoordinationError> {
        let (manifest, streams) = (manifest.clone(), streams.to_vec());
        self.blocking(move |shared| {
            shared.change(Some(permit.claim()), |register| {
                register.go_back(permit.number(), manifest, streams).map_err(CoordinationError::forbidden(&shared.job))
            })
        })
        .await
    }

    async fn save_point(
        &self,
        name: &SavepointName,
        number: CheckpointNumber,
        created_at_ms: u64,
    ) -> Result<SavepointRecord, CoordinationError> {
        let name = name.clone();
        self.blocking(move |shared| shared.name(|register| register.save_point(&name, number, created_at_ms))).await
    }

    async fn delete_savepoint(&self, name: &SavepointName) -> Result<(), CoordinationError> {
        let name = name.clone();
        self.blocking(move |shared| shared.name(|register| register.delete_savepoint(&name))).await
    }

    async fn may_show(&self) -> Result<(), CoordinationError> {
        // The lock on `--data` is held until the process ends.
        Ok(())
    }

    async fn cluster(&self) -> Result<Option<HostId>, CoordinationError> {
        Ok(None)
    }
}

/// What the calls of a coordinator share.
struct Shared {
    file: PathBuf,
    job: JobName,
    steps: Arc<dyn Steps>,
    state: Mutex<State>,
}

/// Where a coordinator stands. What it believes is what it read at its start or wrote since.
enum State {
    /// Nothing was written by this process.
    Unclaimed(Option<Register>),
    /// The register is this process's.
    Claimed(Register),
    /// A write failed.
    Poisoned(String),
}

impl Shared {
    fn lock(&self) -> Result<MutexGuard<'_, State>, CoordinationError> {
        self.state.lock().map_err(|_| self.poisoned("a thread died while it held the register"))
    }

    fn poisoned(&self, reason: &str) -> CoordinationError {
        CoordinationError::Poisoned { job: self.job.clone(), reason: reason.to_owned() }
    }

    fn known(&self, state: &State) -> Result<Option<Register>, CoordinationError> {
        match state {
            State::Unclaimed(register) => Ok(register.clone()),
            State::Claimed(register) => Ok(Some(register.clone())),
            State::Poisoned(reason) => Err(self.poisoned(reason)),
        }
    }

    fn begin(&self, begin: Begin) -> Result<Register, CoordinationError> {
        let mut state = self.lock()?;
        let next = match self.known(&state)? {
            Some(register) => register.claimed(begin),
            None => Register::first(self.job.clone(), begin),
        };
        self.replace(&mut state, next)
    }

    /// Changes the register under this process's claim; under the very `claim` named, if one is.
    fn change(
        &self,
        claim: Option<(Term, Boot)>,
        change: impl FnOnce(&mut Register) -> Result<(), CoordinationError>,
    ) -> Result<Register, CoordinationError> {
        let mut state = self.lock()?;
        let Some(mut next) = self.known(&state)? else { return Err(self.fenced("the job was never begun")) };
        if matches!(*state, State::Unclaimed(_)) {
            return Err(self.fenced("it has not claimed the job"));
        }
        if let Some((term, boot)) = claim.filter(|claim| *claim != (next.term, next.boot)) {
            return Err(self.fenced(&format!("boot {boot} held it in term {term}, now boot {} does in term {}", next.boot, next.term)));
        }
        change(&mut next)?;
        self.replace(&mut state, next)
    }

    /// Changes the names of checkpoints, which takes no claim: the lock on `--data`, which the caller holds, keeps all others out.
    fn name<T>(&self, change: impl FnOnce(&mut Register) -> Result<T, Forbidden>) -> Result<T, CoordinationError> {
        let mut state = self.lock()?;
        let claimed = matches!(*state, State::Claimed(_));
        let Some(mut next) = self.known(&state)? else { return Err(self.fenced("the job was never begun")) };
        let named = change(&mut next).map_err(CoordinationError::forbidden(&self.job))?;
        let next = self.replace(&mut state, next)?;
        if !claimed {
            *state = State::Unclaimed(Some(next));
        }
        Ok(named)
    }

    fn fenced(&self, reason: &str) -> CoordinationError {
        CoordinationError::Fenced { job: self.job.clone(), reason: reason.to_owned() }
    }

    /// Puts `next` in the place of the register that is believed.
    fn replace(&self, state: &mut State, next: Register) -> Result<Register, CoordinationError> {
        // The lock on `--data` keeps others out; on a file system where it does nothing, or when somebody restores a copy under a running
        // host, this finds it out before the damage.
        let stored = read_file(&self.file, &self.job)?;
        if stored != self.known(state)? {
            return Err(self.fenced("its register was changed by somebody else"));
        }
        match self.write(&next) {
            Ok(()) => {
                *state = State::Claimed(next.clone());
                Ok(next)
            }
            Err(Failure(reason)) => {
                *state = State::Poisoned(reason.clone());
                Err(CoordinationError::Undecided { job: self.job.clone(), reason })
            }
        }
    }

    fn write(&self, next: &Register) -> Result<(), Failure> {
        next.check(&self.job).map_err(|error| Failure(format!("the next register {error}")))?;
        let bytes = REGISTER.encode(next).map_err(|error| Failure(error.to_string()))?;
        durable(self.steps.as_ref(), DurableStep::RegisterWrite, || {
            durable::replace(&self.file, &bytes).map_err(|error| Failure(format!("{}: {error}", self.file.display())))
        })
    }
}

/// Why a register was not written, as text: whatever it was, the process ends.
struct Failure(String);

impl From<StepFailure> for Failure {
    fn from(failure: StepFailure) -> Self {
        Self(failure.to_string())
    }
}

fn file_of(folder: &Path, job: &JobName) -> PathBuf {
    folder.join(DEFAULT_TENANT).join(job.as_str())
}

fn text(file: &Path) -> String {
    file.display().to_string()
}

fn unavailable(file: &Path, reason: &str) -> CoordinationError {
    let reason = format!("{reason}; make it readable and writable for this user");
    CoordinationError::Unavailable { record: text(file), reason }
}

fn read_file(file: &Path, job: &JobName) -> Result<Option<Register>, CoordinationError> {
    let bytes = match durable::read(file) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(durable::ReadError::Content(problem)) => return Err(CoordinationError::Corrupt { record: text(file), problem }),
        Err(durable::ReadError::Unreachable(reason)) => return Err(unavailable(file, &reason)),
    };
    let corrupt = |problem: String| CoordinationError::Corrupt { record: text(file), problem };
    let register: Register = REGISTER.decode(&bytes).map_err(|error| corrupt(error.to_string()))?;
    register.check(job).map_err(|error| corrupt(error.to_string()))?;
    Ok(Some(register))
}

#[cfg(test)]
mod tests;
