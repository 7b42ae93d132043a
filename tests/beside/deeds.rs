//! The table of deeds: who does what, which limit stops it, in which words, and how the same guest fares without that limit. Refuses to take a failure
//! for a success because it is one: the words must name what stopped it.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use gregor_guest::{Admitting, Compiling, Component, Engine, EngineOptions, Refusal};
use gregor_model::job::Format;
use gregor_model::limits::{AdmissionLimits, Limits, MIB};
use gregor_runtime::setup::{Command, Outcome, Report, RunError};

use crate::guests::Guest;
use crate::jobs::{self, Ended};
use crate::neighbour::Neighbour;

mod rows;

pub(crate) use rows::table;

/// A deed.
pub(crate) struct Deed {
    guest: Guest,
    /// How often, for guests of Rust that ask.
    amount: &'static str,
    limits: Limits,
    admission: AdmissionLimits,
    ends: Ends,
    without: Without,
}

/// How a guest fares.
pub(crate) enum Ends {
    /// It is not taken in: the refusal says this.
    Refused(&'static str),
    /// Its job fails: the error says this.
    Stopped(&'static str),
    /// Its job is done, and this is true of it.
    Done(fn(&Ended) -> bool),
}

/// How it fares without the limit.
enum Without {
    /// Under these limits of its job it ends so.
    Limits(Limits, Ends),
    /// Under these limits of admission it ends so.
    Admission(AdmissionLimits, Ends),
    /// Under an hour for each call it goes on for longer than another job takes from its beginning to its end, and ends when it is told to.
    Endless,
    /// The limit is a constant, or a check: another guest, which does as much as is allowed, harms nobody.
    Allowed(Guest, &'static str),
}

/// What came of a guest.
enum Found {
    Refused(String),
    Ended(Ended),
}

/// What all deeds are done on.
pub(crate) struct Bench {
    engine: Engine,
    words: [Component; 2],
    hostile: Component,
}

impl Deed {
    /// Whether it costs neither a second nor a process: for those that are done many times.
    pub(crate) fn is_cheap(&self) -> bool {
        matches!(self.guest, Guest::Rust(_))
    }
}

impl Bench {
    /// An engine that compiles as the program does, and what runs on it.
    pub(crate) fn new() -> Self {
        let engine = engine(AdmissionLimits::default());
        let admitted = |name: &str| engine.admit(&std::fs::read(crate::plugins().join(name).with_extension("wasm")).unwrap()).unwrap();
        let (words, hostile) = (["rust/split", "rust/count"].map(admitted), admitted("hostile/hostile"));
        Self { engine, words, hostile }
    }

    /// The components of the good job.
    pub(crate) fn words(&self) -> &[Component; 2] {
        &self.words
    }

    /// Does a deed with its limit and without; answers what was not as expected.
    pub(crate) fn check(&self, deed: &Deed, neighbour: &Neighbour) -> Vec<String> {
        let begun = crate::harness::clock::now();
        let mut failures = Vec::new();
        let mut judge = |how: &str, found: Found, ends: &Ends| {
            failures.extend(wrong(&found, ends).map(|wrong| format!("{} {how}: {wrong}", deed.guest.name())))
        };
        judge("with its limit", self.attempt((&deed.guest, deed.amount), &deed.limits, deed.admission), &deed.ends);
        let limited = begun.elapsed();
        match &deed.without {
            Without::Limits(limits, ends) => judge("without", self.attempt((&deed.guest, deed.amount), limits, deed.admission), ends),
            Without::Admission(admission, ends) => {
                judge("without", self.attempt((&deed.guest, deed.amount), &deed.limits, *admission), ends)
            }
            Without::Allowed(guest, amount) => {
                judge("as far as is allowed", self.attempt((guest, amount), &deed.limits, deed.admission), &Ends::Done(|_| true));
            }
            Without::Endless => failures.extend(self.endless(deed, neighbour)),
        }
        println!("{}: {limited:?} with its limit, {:?} in all", deed.guest.name(), begun.elapsed());
        // Here too, in case the good job fails as well.
        failures.iter().for_each(|failure| println!("{failure}"));
        failures
    }

    /// Does it with its limit only.
    pub(crate) fn once(&self, deed: &Deed) {
        let found = self.attempt((&deed.guest, deed.amount), &deed.limits, deed.admission);
        assert_eq!(wrong(&found, &deed.ends), None, "{}", deed.guest.name());
    }

    /// Takes a guest in and runs its job.
    fn attempt(&self, (guest, amount): (&Guest, &str), limits: &Limits, admission: AdmissionLimits) -> Found {
        match self.admitted(guest, admission) {
            Err(refusal) => Found::Refused(refusal.to_string()),
            Ok(component) => {
                let folder = tempfile::tempdir().unwrap();
                let (_nobody, commands) = bounded(1);
                Found::Ended(jobs::run(
                    folder.path(),
                    (self.job(folder.path(), (guest, amount, &component), limits), vec![component]),
                    commands,
                ))
            }
        }
    }

    fn admitted(&self, guest: &Guest, admission: AdmissionLimits) -> Result<Component, Refusal> {
        match guest {
            Guest::Rust(_) => Ok(self.hostile.clone()),
            _ if admission == AdmissionLimits::default() => self.engine.admit(&guest.bytes()),
            _ => engine(admission).admit(&guest.bytes()),
        }
    }

    /// A job of one stage and one record, which brings the deed about.
    fn job(
        &self,
        folder: &std::path::Path,
        (guest, amount, component): (&Guest, &str, &Component),
        limits: &Limits,
    ) -> gregor_model::job::Job {
        std::fs::create_dir(folder.join("in")).unwrap();
        std::fs::write(folder.join("in/text.txt"), "trigger\n").unwrap();
        let ways = (jobs::lines_in(&folder.join("in")), jobs::files_in(&folder.join("out"), Format::Lines));
        let config = [("mode", guest.name()), ("trigger", "trigger"), ("amount", amount)];
        jobs::job("hostile", vec![jobs::stage("hostile", component, ways, &config)], limits.clone())
    }

    /// Lets a guest go on that would never end, while the neighbour does its job once, then ends it.
    fn endless(&self, deed: &Deed, neighbour: &Neighbour) -> Option<String> {
        let limits = Limits { call_time: Duration::from_secs(3600), ..deed.limits.clone() };
        let component = self.admitted(&deed.guest, deed.admission).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let job = self.job(folder.path(), (&deed.guest, deed.amount, &component), &limits);
        let ((command, commands), (reports, told)) = (bounded(1), bounded(1));
        let outcome = thread::scope(|scope| {
            let run = || jobs::run_telling(folder.path(), (job, vec![component]), (commands, reports));
            let run = thread::Builder::new().spawn_scoped(scope, run).unwrap();
            // It says that it begins, and is not listened to any more.
            let begins = told.iter().any(|report| matches!(report, Report::Resumed { .. }));
            drop(told);
            let ending = Stops(command);
            neighbour.wait_for_a_whole_run();
            let over = run.is_finished();
            drop(ending);
            let outcome = run.join().unwrap();
            (begins && !over).then_some(outcome)
        });
        match outcome {
            Some(Ok(Outcome::Stopped(_))) => None,
            found => Some(format!("{} without its limit: it should have gone on, but {found:?}", deed.guest.name())),
        }
    }
}

/// Stops a job when it goes, also by a panic: nobody waits for an endless guest then.
struct Stops(Sender<Command>);

impl Drop for Stops {
    fn drop(&mut self) {
        let _over = self.0.send(Command::StopNow);
    }
}

/// An engine of its own, as large as a few guests need.
pub(crate) fn engine(limits: AdmissionLimits) -> Engine {
    let compiling = Compiling::Apart(env!("CARGO_BIN_EXE_gregor").into());
    Engine::admitting(&EngineOptions { instances_max: 64, memory_bytes_max: 64 * MIB }, Admitting { compiling, limits }).unwrap()
}

/// What is not as expected.
fn wrong(found: &Found, ends: &Ends) -> Option<String> {
    let right = match (found, ends) {
        (Found::Refused(text), Ends::Refused(says)) => text.contains(says),
        (Found::Ended(Ended { outcome: Err(RunError::Failed(text)), .. }), Ends::Stopped(says)) => {
            text.contains(says) && text.contains("hostile")
        }
        (Found::Ended(ended @ Ended { outcome: Ok(Outcome::Finished(_)), .. }), Ends::Done(is_right)) => is_right(ended),
        _ => false,
    };
    let expected = match ends {
        Ends::Refused(says) => format!("a refusal that says {says:?}"),
        Ends::Stopped(says) => format!("an error that says {says:?}"),
        Ends::Done(_) => "a job that is done".to_owned(),
    };
    let shown = match found {
        Found::Refused(text) => format!("refused: {text}"),
        Found::Ended(ended) => format!("{:?}", ended.outcome),
    };
    (!right).then(|| format!("expected {expected}, found {shown:.1000}"))
}
