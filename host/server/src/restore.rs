//! `gregor checkpoint restore` and `gregor savepoint restore`: a job is taken back to an earlier checkpoint, as a new one. Refuses to run it: `gregor
//! run` goes on from there.

use std::sync::Arc;

use anyhow::anyhow;
use gregor_model::names::CheckpointNumber;
use gregor_model::steps::{Steps, Unobserved};
use gregor_runtime::Returned;
use serde::Serialize;

use crate::cli::{JobArgs, NamedArgs, RestoreArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Style};
use crate::{faults, job_file, run, wiring};

/// Where a job stands now: the form is a stable surface.
#[derive(Debug, Serialize)]
struct Restored {
    /// The earlier checkpoint.
    to: u64,
    /// The new checkpoint, with its state.
    checkpoint: u64,
}

/// Takes a job back to a checkpoint.
///
/// # Errors
/// The job file or a component is wrong, there is no such restore point, the job is running, or stored data can't be used.
pub(crate) fn to_checkpoint(args: &RestoreArgs, style: Style) -> Result<Exit, Failure> {
    faults::told(args.steps, |steps| restore(&args.job, CheckpointNumber(args.number), steps, style))
}

/// Takes a job back to a savepoint.
///
/// # Errors
/// As [`to_checkpoint`], or there is no savepoint of this name.
pub(crate) fn to_savepoint(args: &NamedArgs, style: Style) -> Result<Exit, Failure> {
    let file = job_file::read(&args.job.job).map_err(Failure::refused)?;
    let looked = wiring::look(&file, &wiring::data_folder(&args.job, &file), wiring::coordination(&args.job)?)?;
    let savepoints = looked.register.map(|register| register.savepoints).unwrap_or_default();
    let named = savepoints.iter().find(|savepoint| savepoint.name == args.name);
    let number = named.map(|savepoint| savepoint.number).ok_or_else(|| {
        Failure::refused(anyhow!("job {}: there is no savepoint {}; `gregor savepoint list` names those that are", file.name, args.name))
    })?;
    restore(&args.job, number, Arc::new(Unobserved), style)
}

fn restore(args: &JobArgs, number: CheckpointNumber, steps: Arc<dyn Steps>, style: Style) -> Result<Exit, Failure> {
    let wired = wiring::deployed(args, steps)?;
    let Returned { to, checkpoint } = gregor_runtime::go_back(&wired.setup, number).map_err(run::from_runtime)?;
    drop(wired);
    let shown = match style {
        Style::Json => output::result_json(&Restored { to: to.0, checkpoint: checkpoint.0 }),
        Style::Text => output::result(&format!(
            "restored checkpoint={to} as checkpoint={checkpoint}; what was put out since checkpoint {to} stays there, and appears again when the job goes on"
        )),
    };
    shown.map_err(Failure::failed)?;
    Ok(Exit::Done)
}
