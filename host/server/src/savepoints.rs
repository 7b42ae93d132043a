//! `gregor savepoint create|list|delete`: checkpoints with names, which are kept until the names are deleted. Refuses names that are taken and
//! checkpoints that are none to go back to; with the local coordinator also a job that is running, since its process alone may write.

use std::sync::Arc;

use anyhow::anyhow;
use gregor_coordination::CoordinationError;
use gregor_model::names::CheckpointNumber;
use gregor_model::register::SavepointRecord;
use gregor_model::steps::{Steps, Unobserved};
use serde::Serialize;

use crate::checkpoints::rfc3339;
use crate::cli::{CreateArgs, JobArgs, NamedArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Style};
use crate::wiring::{self, Held, Lock, wait};
use crate::{clock, job_file};

/// A savepoint: the form is a stable surface.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    name: String,
    number: u64,
    /// When it was named: RFC 3339, in milliseconds.
    created_at: String,
    /// Key of the checkpoint's manifest.
    manifest: String,
    /// The manifest's digest.
    sha256: String,
}

impl Entry {
    fn of(record: &SavepointRecord) -> Self {
        Self {
            name: record.name.to_string(),
            number: record.number.0,
            created_at: rfc3339(record.created_at_ms),
            manifest: record.manifest.key.clone(),
            sha256: record.manifest.sha256.to_string(),
        }
    }
}

/// Names a checkpoint.
///
/// # Errors
/// The job file is wrong, there is no such checkpoint, the name is taken, or the job is running.
pub(crate) fn create(args: &CreateArgs, style: Style) -> Result<Exit, Failure> {
    let held = hold(&args.named.job)?;
    let latest = held.register.latest.as_ref().map(|latest| latest.number);
    let number = args.checkpoint.map(CheckpointNumber).or(latest);
    let number = number.ok_or_else(|| Failure::refused(anyhow!("job {} has no confirmed checkpoint yet", held.register.job)))?;
    let named = wait(held.coordinator.save_point(&args.named.name, number, clock::wall_ms()))?.map_err(refused)?;
    let entry = Entry::of(&named);
    tell((&entry, &format!("savepoint {} is checkpoint {}", entry.name, entry.number)), style)
}

/// Lists the savepoints of a job. Reads without the lock.
///
/// # Errors
/// The job file is wrong, there is no data, or what is stored can't be used.
pub(crate) fn list(args: &JobArgs, style: Style) -> Result<Exit, Failure> {
    let file = job_file::read(&args.job).map_err(Failure::refused)?;
    let looked = wiring::look(&file, &wiring::data_folder(args, &file), wiring::coordination(args)?)?;
    let entries: Vec<Entry> = looked.register.iter().flat_map(|register| &register.savepoints).map(Entry::of).collect();
    let heading = ["NAME", "CHECKPOINT", "CREATED AT", "MANIFEST"].map(str::to_owned).to_vec();
    let row = |entry: &Entry| vec![entry.name.clone(), entry.number.to_string(), entry.created_at.clone(), entry.manifest.clone()];
    let table = output::table(&std::iter::once(heading).chain(entries.iter().map(row)).collect::<Vec<_>>());
    tell((&entries, &table), style)
}

/// Deletes the name of a checkpoint.
///
/// # Errors
/// The job file is wrong, there is no such savepoint, or the job is running.
pub(crate) fn delete(args: &NamedArgs, style: Style) -> Result<Exit, Failure> {
    let held = hold(&args.job)?;
    wait(held.coordinator.delete_savepoint(&args.name))?.map_err(refused)?;
    // What was known of it before; another process may have been quicker to name it anew.
    let known = held.register.savepoints.iter().find(|record| record.name == args.name).map(Entry::of);
    let text = match &known {
        Some(entry) => format!("savepoint {} is deleted; it was checkpoint {}", entry.name, entry.number),
        None => format!("savepoint {} is deleted", args.name),
    };
    tell((&known, &text), style)
}

fn hold(args: &JobArgs) -> Result<Held, Failure> {
    let file = job_file::read(&args.job).map_err(Failure::refused)?;
    let steps: Arc<dyn Steps> = Arc::new(Unobserved);
    let data = wiring::data_folder(args, &file);
    wiring::hold(&file, (&data, Lock::ForLocal), (&wiring::coordination(args)?, &steps))
}

/// What the protocol forbids was asked for by the user, so it is no mistake of ours.
fn refused(error: CoordinationError) -> Failure {
    match error {
        CoordinationError::Forbidden { .. } => Failure::refused(error),
        error => wiring::from_coordination(error),
    }
}

fn tell((value, text): (&impl Serialize, &str), style: Style) -> Result<Exit, Failure> {
    let shown = match style {
        Style::Json => output::result_json(value),
        Style::Text => output::result(text),
    };
    shown.map_err(Failure::failed)?;
    Ok(Exit::Done)
}
