//! The command line: raw arguments as clap reads them, and their checked values. Refuses commands that are not built (clap says so, exit 2) and
//! does nothing by itself.

mod bench;
mod checkpoints;
mod fault;
mod streams;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use gregor_coordination::zookeeper::{SESSION_TIMEOUT_MAX, SESSION_TIMEOUT_MIN, Url};

use crate::output::Style;
pub(crate) use bench::{BenchArgs, BenchRunArgs, SECONDS_MIN};
pub(crate) use checkpoints::{CheckpointCommand, CollectArgs, CreateArgs, NamedArgs, RestoreArgs, SavepointCommand, ShowArgs};
pub(crate) use fault::{ArchiveFault, Fault, FaultKind, STEPS, StepArgs};
pub(crate) use streams::{Begin, ConsumeArgs, ProduceArgs, ProducedFormat, StreamCommand};

/// Stream processing for WebAssembly: exactly once, each task in its own sandbox.
#[derive(Debug, Parser)]
#[command(name = "gregor", version, about, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// How results are shown, where something is listed or shown
    #[arg(long, global = true, value_enum, default_value_t, value_name = "STYLE")]
    pub(crate) output: Style,
    /// Which log lines are written to stderr: a level, or a filter such as `warn,gregor_runtime=debug`
    #[arg(long, global = true, default_value = "warn", value_name = "FILTER")]
    pub(crate) log: String,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands that are built.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a job in this process until its input ends; started again, it goes on from its last confirmed checkpoint
    Run(RunArgs),
    /// Show what a component offers and wants, or why it would be refused
    Inspect(InspectArgs),
    /// Look at a job's checkpoints, verify them, go back to one
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Give checkpoints names, which keeps them
    #[command(subcommand)]
    Savepoint(SavepointCommand),
    /// Look at a job's streams and at the records on them, and put records there
    #[command(subcommand)]
    Stream(StreamCommand),
    /// Measure this machine: what the sandbox, the host and its checkpoints cost, beside the same work without them
    Bench(BenchArgs),
    /// One run of `bench`
    #[command(hide = true)]
    BenchRun(BenchRunArgs),
    /// Say what is missing on this machine and how to get it
    Doctor(DoctorArgs),
    /// Compile a component for the process that starts this one
    #[command(name = gregor_guest::COMPILE_COMMAND, hide = true)]
    Compile(CompileArgs),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Which job, and where it lives.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Threads that run tasks, 1 to 64 [default: one per core]
    #[arg(long, value_name = "N", value_parser = workers)]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Stop, exit 0, when all that there is was worked off, though streams of records from outside are open
    #[arg(long)]
    pub(crate) until_idle: bool,
    /// Go on although released output files are gone: they were consumed
    #[arg(long)]
    pub(crate) outputs_consumed: bool,
    /// What tests of this program ask for.
    #[command(flatten)]
    pub(crate) steps: StepArgs,
}

/// Which job of this machine is meant.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job file
    #[arg(value_name = "JOB.toml")]
    pub(crate) job: PathBuf,
    /// Folder for state and checkpoints [default: .gregor beside the job file]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Who decides checkpoints: local, or zookeeper://HOST:PORT,HOST:PORT/PATH
    #[arg(long, default_value = "local", value_name = "COORDINATOR")]
    pub(crate) coordinator: CoordinatorChoice,
    /// How long ZooKeeper waits for a host that is silent
    #[arg(long, default_value = "10 s", value_name = "DURATION", value_parser = session_timeout)]
    pub(crate) session_timeout: Duration,
    /// A file with USER:PASSWORD for ZooKeeper, readable by its owner only; what is made there is then open to this user alone
    #[arg(long, value_name = "FILE")]
    pub(crate) zookeeper_auth: Option<PathBuf>,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Folder whose disk is looked at [default: the current folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Arguments of the process that compiles.
#[derive(Debug, Args)]
pub(crate) struct CompileArgs {
    /// The engine's options and the limits
    #[arg(value_name = "NUMBER")]
    pub(crate) numbers: Vec<String>,
}

/// Who decides checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CoordinatorChoice {
    /// This process, by a register file in `--data`.
    Local,
    /// ZooKeeper.
    ZooKeeper(Url),
}

impl FromStr for CoordinatorChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            url if url.starts_with("zookeeper:") => Url::parse(url).map(Self::ZooKeeper).map_err(|error| error.to_string()),
            _ => Err("expected local, or zookeeper://HOST:PORT,HOST:PORT/PATH".to_owned()),
        }
    }
}

/// More workers than this would only wait for each other: the bound of `runtime`'s setup.
const WORKERS_MAX: usize = 64;

fn workers(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(workers) if workers.get() <= WORKERS_MAX => Ok(workers),
        _ => Err(format!("expected a number from 1 to {WORKERS_MAX}")),
    }
}

/// What the coordinator takes: shorter, and a pause of the machine looks like a death.
fn session_timeout(text: &str) -> Result<Duration, String> {
    let range = SESSION_TIMEOUT_MIN..=SESSION_TIMEOUT_MAX;
    match humantime::parse_duration(text) {
        Ok(timeout) if range.contains(&timeout) => Ok(timeout),
        _ => Err("expected a duration from 1 s to 10 min, such as \"10 s\"".to_owned()),
    }
}

/// Workers where the command line names none: one per core.
pub(crate) fn workers_default() -> NonZeroUsize {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    NonZeroUsize::new(cores.get().min(WORKERS_MAX)).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: &str) {
        let parsed = Cli::try_parse_from([&["gregor"], arguments].concat());
        let message = parsed.map_or_else(|error| error.to_string(), |cli| format!("{:?}", cli.command));
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }

    #[test]
    fn the_definitions_agree_with_each_other() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn arguments_are_checked_with_one_message_each() {
        check(&["run", "job.toml"], "coordinator: Local");
        check(
            &["run", "job.toml", "--coordinator", "zookeeper://h:1,i:2/p"],
            "ZooKeeper(Url { servers: \"h:1,i:2\", root: Root(\"/p\") })",
        );
        check(&["run", "job.toml", "--coordinator", "zookeeper://h:1"], "names no node");
        check(&["run", "job.toml", "--coordinator", "etcd"], "expected local, or zookeeper://HOST:PORT");
        check(&["run", "job.toml", "--workers", "0"], "expected a number from 1 to 64");
        check(&["run", "job.toml", "--workers", "65"], "expected a number from 1 to 64");
        check(&["run", "job.toml", "--session-timeout", "10"], "expected a duration from 1 s to 10 min");
        check(&["run", "job.toml", "--fault", "kill-after:7"], "StepFault { kind: KillAfter, of: None, number: 7 }");
        check(&["run", "job.toml", "--fault", "fail:0"], "expected fail:N, fail-after:N, kill-before:N or kill-after:N");
        check(&["run"], "<JOB.toml>");
        check(&["serve"], "unrecognized subcommand");
        check(&["doctr"], "'doctor'");
        check(&["checkpoint", "show", "job.toml", "7"], "number: Some(7)");
        check(&["checkpoint", "restore", "7", "job.toml"], "number: 7");
        check(&["checkpoint", "restore", "job.toml"], "invalid value 'job.toml' for '<N>'");
        check(&["checkpoint", "collect", "job.toml", "--grace", "0 s"], "grace: Some(0ns)");
        check(&["checkpoint", "collect", "job.toml", "--grace", "soon"], "expected a duration such as");
        check(&["savepoint", "create", "before_it-1", "job.toml", "--checkpoint", "3"], "checkpoint: Some(3)");
        check(&["savepoint", "create", "Before", "job.toml"], "a-z 0-9 _ -");
        check(&["savepoint", "delete", "job.toml"], "job.toml");
        check(&["stream", "consume", "stream://words", "job.toml", "--from", "7"], "from: Offset(7)");
        check(&["stream", "consume", "words", "job.toml", "--partition", "1", "--records", "2"], "from: Beginning, records: Some(2)");
        check(&["stream", "consume", "words", "job.toml", "--from", "end"], "expected an offset, such as 0, or beginning");
        check(&["stream", "consume", "Words", "job.toml"], "a-z 0-9 _ -");
        check(
            &["stream", "produce", "orders", "job.toml", "--format", "tsv", "--end"],
            "format: Tsv, partition: None, id: None, end: true",
        );
        check(&["stream", "produce", "orders", "job.toml", "--id", "a b"], "a-z A-Z 0-9 _ - . :");
        check(&["bench", "count-1m", "identity", "--seconds", "2.5"], "cases: [CountMillion, Identity], records: None, seconds: 2.5");
        check(&["bench", "sort"], "[possible values: identity, filter, count-hot, count-1m, count-zipf, count-uniform, word-count]");
        check(&["bench", "--seconds", "0"], "expected a number of seconds from 0.1 to 600");
        check(&["bench", "--records", "5", "--seconds", "1"], "cannot be used with");
        check(&["bench", "--rounds", "0"], "0 is not in 1..=1000");
        check(&["inspect", "a.wasm", "--output", "yaml"], "[possible values: text, json]");
    }
}
