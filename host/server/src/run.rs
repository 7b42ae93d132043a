//! `gregor run`: a job in this process, from its last confirmed checkpoint to its end. Refuses to know how a job runs; it starts the runtime,
//! shows what it reports, and turns its outcome into an exit code.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use gregor_model::steps::Steps;
use gregor_runtime::setup::{Command, LostOutputs, Outcome, RunError, Setup, Until};
use rustix::process::{Resource, Rlimit};

use crate::cli::RunArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Screen};
use crate::signals::Begun;
use crate::wiring::{self, Wired};
use crate::{faults, progress, signals, task_logs};

/// Reports that wait to be shown: some seconds of the chattiest job. One that is full loses progress, not work.
const REPORTS_MAX: usize = 4096;
/// Both commands that there are.
const COMMANDS_MAX: usize = 2;

/// Runs a job.
///
/// # Errors
/// The job file or a component is wrong, stored data can't be used, or the job failed.
pub(crate) fn run(args: RunArgs) -> Result<Exit, Failure> {
    faults::told(args.steps, |steps| prepare_and_run(args, steps))
}

fn prepare_and_run(args: RunArgs, steps: Arc<dyn Steps>) -> Result<Exit, Failure> {
    raise_descriptors();
    let (commands, asked) = bounded(COMMANDS_MAX);
    let (ran, signal) = signals::listening(commands, |begun| in_hearing(args, steps, (begun, asked))).map_err(Failure::failed)?;
    end(ran?, signal)
}

/// What is done while signals are listened to.
fn in_hearing(
    args: RunArgs,
    steps: Arc<dyn Steps>,
    (begun, asked): (&Begun, Receiver<Command>),
) -> Result<Result<Outcome, RunError>, Failure> {
    let Wired { mut setup, data } = wiring::deployed(&args.job, steps)?;
    // Until here a signal ends the process at once, though ZooKeeper may be out of reach: nothing is claimed yet.
    begun.begin();
    setup.workers = args.workers.map_or(setup.workers, NonZeroUsize::get);
    if args.outputs_consumed {
        setup.lost_outputs = LostOutputs::Consumed;
    }
    if args.until_idle {
        setup.until = Until::Idle;
    }
    setup.archive = faults::archive::around(setup.archive, args.steps.fault);
    let logs = data.logs().join(setup.job.name.as_str());
    let ended = supervised(setup, asked, logs);
    drop(data);
    ended
}

/// Runs the job beside a thread that shows its reports, and one that writes what tasks say into files below `logs`.
fn supervised(setup: Setup, asked: Receiver<Command>, logs: PathBuf) -> Result<Result<Outcome, RunError>, Failure> {
    let (reports, told) = bounded(REPORTS_MAX);
    let screen = Screen::of_stderr();
    let (logs, writer) = task_logs::way(logs);
    let ran = thread::scope(|scope| {
        thread::Builder::new().name("task-logs".to_owned()).spawn_scoped(scope, || writer.write_all())?;
        // It holds the only end of the logs where lines are put in: when it is through, so is the other.
        thread::Builder::new().name("progress".to_owned()).spawn_scoped(scope, move || progress::follow(&told, screen, &logs))?;
        // The runtime drops its end of the reports when it ends, and the scope waits until the last of them is shown.
        Ok::<_, std::io::Error>(gregor_runtime::run(setup, asked, reports))
    });
    ran.map_err(Failure::failed)
}

fn end(outcome: Result<Outcome, RunError>, signal: Option<Exit>) -> Result<Exit, Failure> {
    match outcome {
        Ok(Outcome::Finished(summary)) => {
            output::tell(&progress::finished(&summary));
            Ok(Exit::Done)
        }
        Ok(Outcome::AlreadyFinished(summary)) => {
            output::tell(&progress::already_finished(&summary));
            Ok(Exit::Done)
        }
        Ok(Outcome::Idle(summary)) => {
            output::tell(&progress::idle(&summary));
            Ok(signal.unwrap_or(Exit::Done))
        }
        Ok(Outcome::Stopped(summary)) => {
            output::tell(&progress::stopped(&summary));
            // But for one that was to run until it is idle, only a signal stops a job; were it to stop by itself, that were no success.
            Ok(signal.unwrap_or(Exit::Failed))
        }
        Ok(Outcome::StoppedUnread) => {
            output::tell(progress::STOPPED_UNREAD);
            Ok(signal.unwrap_or(Exit::Failed))
        }
        Err(error) => Err(from_runtime(error)),
    }
}

/// The exit code of what the runtime says.
pub(crate) fn from_runtime(error: RunError) -> Failure {
    match error {
        RunError::Failed(_) => Failure::failed(error),
        RunError::Refused(_) => Failure::refused(error),
        RunError::Corrupt(_) => Failure::corrupt(error),
    }
}

/// Lets this process open as many files as it may. Where the system refuses, stores are closed sooner: slower, not wrong.
fn raise_descriptors() {
    let limits = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::info!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gregor_runtime::setup::Summary;

    #[test]
    fn outcomes_become_the_exit_codes_of_the_interface_page() {
        let summary = Summary::default;
        let cases = [
            (Ok(Outcome::Finished(summary())), Some(Exit::Interrupted), 0),
            (Ok(Outcome::AlreadyFinished(summary())), None, 0),
            (Ok(Outcome::Stopped(summary())), Some(Exit::Interrupted), 130),
            (Ok(Outcome::Stopped(summary())), Some(Exit::Terminated), 143),
            (Ok(Outcome::Idle(summary())), None, 0),
            (Ok(Outcome::Idle(summary())), Some(Exit::Terminated), 143),
            (Ok(Outcome::StoppedUnread), Some(Exit::Terminated), 143),
            (Err(RunError::Failed("x".to_owned())), None, 1),
            (Err(RunError::Refused("x".to_owned())), None, 2),
            (Err(RunError::Corrupt("x".to_owned())), Some(Exit::Terminated), 3),
        ];
        for (outcome, signal, expected) in cases {
            let exit = end(outcome.clone(), signal).unwrap_or_else(|failure| failure.exit);
            assert_eq!(exit.code(), expected, "{outcome:?}");
        }
    }
}
