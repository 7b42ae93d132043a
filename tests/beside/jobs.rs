//! Jobs in this process: the parts that a job stands on, put together as the program does it, but with an engine that several jobs share. Refuses to
//! judge how a job ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use gregor_archive::LocalStore;
use gregor_coordination::local::LocalCoordinator;
use gregor_coordination::local::data::DataFolder;
use gregor_guest::Component;
use gregor_model::job::{CheckpointSettings, Format, Input, Job, OnError, Output, Sink, Source, Stage};
use gregor_model::limits::Limits;
use gregor_model::names::{Boot, HostId, Incarnation, JobName, StageName, StreamName};
use gregor_model::steps::Unobserved;
use gregor_runtime::setup::{Command, LostOutputs, Outcome, Report, RunError, Setup, Until};
use gregor_runtime::stand_ins::StandIns;

/// Reports that are kept: far more than a job of a second sends.
const REPORTS_MAX: usize = 100_000;

/// A job that has ended.
pub(crate) struct Ended {
    /// How.
    pub(crate) outcome: Result<Outcome, RunError>,
    /// All that it told.
    pub(crate) reports: Vec<Report>,
}

/// A stage of one component between two places.
pub(crate) fn stage(name: &str, component: &Component, (source, sink): (Source, Sink), config: &[(&str, &str)]) -> Stage {
    let descriptor = component.descriptor();
    Stage {
        name: StageName::new(name).unwrap(),
        component: component.digest(),
        inputs: descriptor.inputs.iter().map(|port| Input { port: port.name.clone(), source: source.clone() }).collect(),
        outputs: descriptor.outputs.iter().map(|port| Output { port: port.name.clone(), sink: sink.clone() }).collect(),
        stores: descriptor.stores.clone(),
        config: config.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>(),
        on_error: OnError::Stop,
        retries: 0,
    }
}

/// A job, with checkpoints at short intervals.
pub(crate) fn job(name: &str, stages: Vec<Stage>, limits: Limits) -> Job {
    let checkpoint = CheckpointSettings { interval: Duration::from_millis(50), ..CheckpointSettings::default() };
    let job = Job { name: JobName::new(name).unwrap(), stages, produced: Vec::new(), checkpoint, limits };
    job.check().unwrap();
    job
}

/// Files of lines in a folder.
pub(crate) fn lines_in(folder: &Path) -> Source {
    Source::File { folder: folder.to_str().unwrap().to_owned(), pattern: "**".to_owned(), format: Format::Lines }
}

/// Files of a format in a folder.
pub(crate) fn files_in(folder: &Path, format: Format) -> Sink {
    Sink::File { folder: folder.to_str().unwrap().to_owned(), format }
}

/// Runs a job below a folder until it ends.
pub(crate) fn run(folder: &Path, (job, components): (Job, Vec<Component>), commands: Receiver<Command>) -> Ended {
    let (reports, told) = bounded(REPORTS_MAX);
    let outcome = run_telling(folder, (job, components), (commands, reports));
    Ended { outcome, reports: told.try_iter().collect() }
}

/// The same, telling somebody meanwhile.
pub(crate) fn run_telling(
    folder: &Path,
    (job, components): (Job, Vec<Component>),
    (commands, reports): (Receiver<Command>, Sender<Report>),
) -> Result<Outcome, RunError> {
    let steps = Arc::new(Unobserved);
    let data = DataFolder::open(&folder.join("data"), HostId(rand::random())).unwrap();
    let coordinator = LocalCoordinator::open(&data.coordination(), &job.name, steps.clone()).unwrap();
    let archive = LocalStore::open(&data.archive(), steps.clone()).unwrap();
    let setup = Setup {
        job,
        components,
        state_folder: data.state(),
        archive: Arc::new(archive),
        coordinator: Arc::new(coordinator),
        steps,
        boot: Boot(rand::random()),
        fresh: Incarnation(rand::random()),
        workers: 1,
        lost_outputs: LostOutputs::Refuse,
        until: Until::Finished,
        stand_ins: StandIns::default(),
    };
    gregor_runtime::run(setup, commands, reports)
}

/// The word count below a folder, from its folder `in` to its folder `out`, by these components.
pub(crate) fn word_count(folder: &Path, [split, count]: &[Component; 2]) -> Ended {
    let words = StreamName::new("words").unwrap();
    let to_stream = Sink::Stream { name: words.clone(), partitions: 2 };
    let stages = vec![
        stage("split", split, (lines_in(&folder.join("in")), to_stream), &[]),
        stage("count", count, (Source::Stream { name: words }, files_in(&folder.join("out"), Format::Tsv)), &[]),
    ];
    let (_nobody, commands) = bounded(1);
    run(folder, (job("words", stages, Limits::default()), vec![split.clone(), count.clone()]), commands)
}
