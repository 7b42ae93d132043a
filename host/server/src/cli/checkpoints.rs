//! Arguments of what is done to the checkpoints of a job that is not running here: looked at, verified, collected, named, gone back to.

use std::time::Duration;

use clap::{Args, Subcommand};
use gregor_model::names::SavepointName;

use super::{JobArgs, StepArgs};

/// What can be asked of checkpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// List the last checkpoints of a job
    List(JobArgs),
    /// Show what a checkpoint consists of
    Show(ShowArgs),
    /// Read all that the job could go back to, byte for byte, and say what is damaged
    Verify(JobArgs),
    /// Delete what nobody needs any more from the archive of a job that is not running
    Collect(CollectArgs),
    /// Take a job back to an earlier checkpoint: it goes on from there, and what was put out since appears again
    Restore(RestoreArgs),
}

/// Arguments of `checkpoint show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Which job, and where it lives.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// The checkpoint's number [default: the last confirmed one]
    #[arg(value_name = "N")]
    pub(crate) number: Option<u64>,
}

/// Arguments of `checkpoint collect`.
#[derive(Debug, Args)]
pub(crate) struct CollectArgs {
    /// Which job, and where it lives.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// How old an object must be [default: checkpoint.collect-grace of the job file]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) grace: Option<Duration>,
    /// What tests of this program ask for.
    #[command(flatten)]
    pub(crate) steps: StepArgs,
}

/// Arguments of `checkpoint restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The checkpoint's number
    #[arg(value_name = "N")]
    pub(crate) number: u64,
    /// Which job, and where it lives.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// What tests of this program ask for.
    #[command(flatten)]
    pub(crate) steps: StepArgs,
}

/// What can be asked of savepoints.
#[derive(Debug, Subcommand)]
pub(crate) enum SavepointCommand {
    /// Give a checkpoint a name: it is kept until the name is deleted
    Create(CreateArgs),
    /// List the savepoints of a job
    List(JobArgs),
    /// Delete a name: its checkpoint is kept no longer than others
    Delete(NamedArgs),
    /// Take a job back to a savepoint: it goes on from there, and what was put out since appears again
    Restore(NamedArgs),
}

/// Arguments of `savepoint create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Which savepoint, and of which job.
    #[command(flatten)]
    pub(crate) named: NamedArgs,
    /// The checkpoint's number [default: the last confirmed one]
    #[arg(long, value_name = "N")]
    pub(crate) checkpoint: Option<u64>,
}

/// A savepoint of a job.
#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// The savepoint's name: 1 to 64 of a-z 0-9 _ -
    #[arg(value_name = "NAME", value_parser = savepoint)]
    pub(crate) name: SavepointName,
    /// Which job, and where it lives.
    #[command(flatten)]
    pub(crate) job: JobArgs,
}

fn savepoint(text: &str) -> Result<SavepointName, String> {
    SavepointName::new(text).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a duration such as \"10 minutes\" or \"0 s\"".to_owned())
}
