//! The binary `gregor`: command line, job files, wiring, signals, progress. All it does itself is to read what the user wrote, put the parts
//! together and say what came of it. Refuses to end a process but by returning from `main`, so that everything is joined and synced;
//! only a signal that comes before a job has begun does (`signals`).

mod bench;
mod checkpoints;
mod cli;
mod clock;
mod collect;
mod compile;
mod deploy;
mod doctor;
mod exit;
mod faults;
mod inspect;
mod job_file;
mod output;
mod progress;
mod restore;
mod run;
mod savepoints;
mod signals;
mod streams;
mod task_logs;
mod verify;
mod wiring;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use cli::{CheckpointCommand, Cli, Command, SavepointCommand, StreamCommand};
use exit::{Exit, Failure};
use output::{Screen, Style};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let ended = log_to_stderr(&cli.log).and_then(|()| execute(cli));
    let exit = ended.unwrap_or_else(|failure| {
        output::tell_error(&failure.message());
        failure.exit
    });
    exit.into()
}

/// Help and version go to stdout and are no failure; a mistake goes to stderr.
fn usage(error: &clap::Error) -> ExitCode {
    let exit = if error.use_stderr() { Exit::Refused } else { Exit::Done };
    match error.print() {
        Ok(()) => exit.into(),
        Err(_) => Exit::Failed.into(),
    }
}

fn execute(cli: Cli) -> Result<Exit, Failure> {
    let style = cli.output;
    match cli.command {
        Command::Run(_) if style == Style::Json => Err(Failure::refused(anyhow::anyhow!(
            "--output json has no meaning for run, which lists nothing; leave it out, or use checkpoint list"
        ))),
        Command::Run(args) => run::run(args),
        Command::Inspect(args) => inspect::inspect(&args.file, style),
        Command::Checkpoint(command) => execute_on_checkpoints(command, style),
        Command::Savepoint(command) => execute_on_savepoints(command, style),
        Command::Bench(args) => bench::bench(&args, style),
        Command::BenchRun(args) => bench::bench_run(&args),
        Command::Stream(command) => execute_on_streams(command, style),
        Command::Doctor(args) => doctor::doctor(args.data.as_deref(), style),
        Command::Compile(args) => compile::compile(&args.numbers),
    }
}

fn execute_on_checkpoints(command: CheckpointCommand, style: Style) -> Result<Exit, Failure> {
    match command {
        CheckpointCommand::List(args) => checkpoints::list(&args, style),
        CheckpointCommand::Show(args) => checkpoints::show(&args, style),
        CheckpointCommand::Verify(args) => verify::verify(&args, style),
        CheckpointCommand::Collect(args) => collect::collect(&args, style),
        CheckpointCommand::Restore(args) => restore::to_checkpoint(&args, style),
    }
}

fn execute_on_savepoints(command: SavepointCommand, style: Style) -> Result<Exit, Failure> {
    match command {
        SavepointCommand::Create(args) => savepoints::create(&args, style),
        SavepointCommand::List(args) => savepoints::list(&args, style),
        SavepointCommand::Delete(args) => savepoints::delete(&args, style),
        SavepointCommand::Restore(args) => restore::to_savepoint(&args, style),
    }
}

fn execute_on_streams(command: StreamCommand, style: Style) -> Result<Exit, Failure> {
    match command {
        StreamCommand::List(args) => streams::list(&args, style),
        StreamCommand::Consume(args) => streams::consume(&args, style),
        StreamCommand::Produce(args) => streams::produce(args, style),
    }
}

fn log_to_stderr(filter: &str) -> Result<(), Failure> {
    let what = || format!("--log {filter:?} is no filter; write a level such as info, or warn,gregor_runtime=debug");
    let filter = EnvFilter::try_new(filter).with_context(what).map_err(Failure::refused)?;
    let colour = Screen::of_stderr() == Screen::Colour;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(output::Log::default).finish();
    tracing::subscriber::set_global_default(subscriber).map_err(Failure::failed)
}
