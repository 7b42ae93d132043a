//! One run of one variant of a case, in a process of its own, so that its memory and CPU time are its own: `gregor bench` starts it and reads the one
//! line that it prints. Refuses to print anything for a run whose result is wrong.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use crossbeam_channel::{Receiver, bounded};
use gregor_guest::Cache;
use gregor_model::steps::Unobserved;
use gregor_runtime::setup::{Outcome, Report, Summary};
use gregor_runtime::stand_ins::StandIns;
use serde::{Deserialize, Serialize};

use super::bare;
use super::case::{Case, JOB, Variant};
use super::check::Subject;
use super::feed::{Feed, Length};
use super::native::stand_in;
use super::records::Maker;
use super::window::{Sample, Window};
use crate::cli::BenchRunArgs;
use crate::exit::{Exit, Failure};
use crate::job_file::JobFile;
use crate::run::from_runtime;
use crate::wiring::{self, Coordination};
use crate::{clock, deploy, job_file, output};

/// Reports that wait to be read.
const REPORTS_MAX: usize = 4096;
/// Records of a plain loop for each second of a run; it is far faster, and so takes less time.
const BARE_RECORDS_A_SECOND: u64 = 2_000_000;
/// Latencies that a run tells, about: enough for percentiles.
const LATENCIES: usize = 1000;
/// Lines of the word count for each second of a run, about.
const LINES_A_SECOND: u64 = 200_000;

/// What one run measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Measured {
    /// Records in the window; of the word count, words.
    pub(crate) records: u64,
    /// Its length.
    pub(crate) nanoseconds: u64,
    /// CPU time of all threads meanwhile.
    pub(crate) cpu_nanoseconds: u64,
    /// The most memory that the process held.
    pub(crate) peak_memory_bytes: u64,
    /// Pauses of the task at freezes: nanoseconds at most, how many.
    pub(crate) pauses: Vec<(u64, u64)>,
    /// The longest of them.
    pub(crate) pause_max_nanoseconds: u64,
    /// Checkpoints, each from its creation to its confirmation, in microseconds.
    pub(crate) checkpoint_microseconds: Vec<u64>,
    /// From the making of a record to the confirmation of the checkpoint that shows what came of it, in microseconds: for some thousand records at
    /// most, those that begin a batch.
    pub(crate) latency_microseconds: Vec<u64>,
    /// Records or keys that were compared with what is expected.
    pub(crate) checked: u64,
}

/// Runs it, and prints what was measured.
///
/// # Errors
/// The job failed, or its result is wrong.
pub(crate) fn bench_run(args: &BenchRunArgs) -> Result<Exit, Failure> {
    let measured = if args.variant == Variant::Bare { vec![measure_bare(args)] } else { Run::new(args)?.measure()? };
    let line = serde_json::to_string(&measured).map_err(Failure::failed)?;
    output::result(&line).map_err(Failure::failed)?;
    Ok(Exit::Done)
}

fn measure_bare(args: &BenchRunArgs) -> Measured {
    let maker = Maker::new(args.case);
    let records = match (args.records, args.case) {
        (Some(records), _) => records,
        (None, Case::WordCount) => lines(args.seconds),
        (None, _) => times(args.seconds, BARE_RECORDS_A_SECOND),
    };
    let from = if args.records.is_none() { args.case.warm_records() } else { 0 };
    let took = bare::run(args.case, &maker, (from, from + records));
    let nanoseconds = nanoseconds(took.time);
    Measured { records: took.records, nanoseconds, cpu_nanoseconds: nanoseconds, peak_memory_bytes: peak_memory(), ..Measured::default() }
}

/// A run of a job.
struct Run<'a> {
    args: &'a BenchRunArgs,
    maker: Arc<Maker>,
    length: Length,
    file: JobFile,
    data: PathBuf,
}

/// What a run told: checkpoints, each with the time it took, the records in it, and when it was heard of.
type Confirmed = Vec<(Duration, u64, Duration)>;

impl<'a> Run<'a> {
    fn new(args: &'a BenchRunArgs) -> Result<Self, Failure> {
        let (maker, input) = (Arc::new(Maker::new(args.case)), args.folder.join("../input"));
        let input = input.canonicalize().with_context(|| format!("can't use {}", input.display())).map_err(Failure::failed)?;
        let path = args.folder.join(JOB).with_extension("toml");
        let job = args.case.job((&args.plugins, &input), args.variant.interval());
        std::fs::write(&path, job).with_context(|| format!("can't write {}", path.display())).map_err(Failure::failed)?;
        let file = job_file::read(&path).map_err(Failure::refused)?;
        Ok(Self { args, length: length(args), maker, file, data: args.folder.join("data") })
    }

    /// What each window measured; what belongs to the whole run stands in the first.
    fn measure(&self) -> Result<Vec<Measured>, Failure> {
        let (commands, asked) = bounded(1);
        let feed = Arc::new(Feed::new(Arc::clone(&self.maker), self.length, commands));
        let mut wired = self.wire()?;
        let generator = Arc::clone(&feed);
        wired.setup.stand_ins = StandIns { natives: self.natives(), records: Some(Arc::new(move |_, offset| generator.next(offset))) };
        let (reports, told) = bounded(REPORTS_MAX);
        let (outcome, confirmed) = thread::scope(|scope| {
            let listener = thread::Builder::new().name("reports".to_owned()).spawn_scoped(scope, || listen(&told))?;
            let outcome = gregor_runtime::run(wired.setup, asked, reports);
            Ok::<_, std::io::Error>((outcome, listener.join().unwrap_or_default()))
        })
        .map_err(Failure::failed)?;
        let end = Sample { at: clock::monotonic(), cpu: clock::cpu(), records: 0 };
        let peak_memory_bytes = peak_memory();
        drop(wired.data);
        let summary = match outcome.map_err(from_runtime)? {
            Outcome::Finished(summary) | Outcome::Stopped(summary) | Outcome::Idle(summary) => summary,
            Outcome::AlreadyFinished(_) | Outcome::StoppedUnread => return Err(Failure::failed(anyhow!("the job did nothing"))),
        };
        let windows = self.windows(&feed, (end, summary.records))?;
        let checked = self.check(&summary)?;
        let samples = feed.samples();
        let mut measured: Vec<Measured> = windows.iter().map(|window| self.of_window(window, (&samples, &confirmed))).collect();
        measured.iter_mut().for_each(|measured| measured.peak_memory_bytes = peak_memory_bytes);
        if let Some(first) = measured.first_mut() {
            first.pauses = summary.pause_counts.iter().map(|&(pause, count)| (nanoseconds(pause), count)).collect();
            first.pause_max_nanoseconds = nanoseconds(summary.pauses.max);
            first.checkpoint_microseconds = confirmed.iter().map(|(took, ..)| microseconds(*took)).collect();
            first.checked = checked;
        }
        Ok(measured)
    }

    fn of_window(&self, window: &Window, (samples, confirmed): (&[Sample], &Confirmed)) -> Measured {
        let records = match self.args.case {
            Case::WordCount => bare::word_counts(&self.maker, window.records()).values().sum(),
            _ => window.records(),
        };
        Measured {
            records,
            nanoseconds: nanoseconds(window.to.at.saturating_sub(window.from.at)),
            cpu_nanoseconds: nanoseconds(window.to.cpu.saturating_sub(window.from.cpu)),
            latency_microseconds: latencies(samples, window, confirmed),
            ..Measured::default()
        }
    }

    fn wire(&self) -> Result<wiring::Wired, Failure> {
        let cache = Cache::open(&self.args.folder.join("../components")).map_err(Failure::failed)?;
        let deployed = deploy::deploy(&self.file, Some(&cache))?;
        cache.keep(&deployed.components);
        let mut wired = wiring::wire(deployed, (&self.data, &Coordination::Local), Arc::new(Unobserved))?;
        wired.setup.workers = self.args.case.workers();
        Ok(wired)
    }

    /// What stands in for each stage.
    fn natives(&self) -> std::collections::BTreeMap<u16, gregor_runtime::stand_ins::NativeMaker> {
        match self.args.variant {
            Variant::Native => (0..).zip(self.args.case.components()).filter_map(|(stage, name)| Some((stage, stand_in(name)?))).collect(),
            _ => std::collections::BTreeMap::new(),
        }
    }

    /// What is measured: of a run that was stopped the windows in it, of others all of it, its last checkpoint included.
    fn windows(&self, feed: &Feed, (end, records): (Sample, u64)) -> Result<Vec<Window>, Failure> {
        let windows: Vec<Window> = match self.length {
            Length::Time { .. } => feed.windows(),
            Length::Records(_) => feed.samples().first().map(|&from| Window { from, to: Sample { records, ..end } }).into_iter().collect(),
        };
        let wanted = if let Length::Time { windows, .. } = self.length { windows } else { 1 };
        if windows.len() < wanted {
            return Err(Failure::failed(anyhow!("the run ended before all of it was measured")));
        }
        Ok(windows)
    }

    fn check(&self, summary: &Summary) -> Result<u64, Failure> {
        let Self { args, maker, file, data, .. } = self;
        let subject = Subject { case: args.case, maker, records: summary.records, file, data };
        let stopped = !matches!(self.length, Length::Records(_));
        let checked = if stopped && args.case.counts_keys() { subject.check_store(args.number) } else { subject.check_output() };
        let what = || format!("the result of {}, {}, is wrong", args.case.name(), args.variant.name());
        checked.with_context(what).map_err(Failure::failed)
    }
}

/// How long a run is.
fn length(args: &BenchRunArgs) -> Length {
    match args.records {
        Some(records) => Length::Records(records),
        // Its second stage sees nothing before a checkpoint: only a job that ends is measured whole.
        None if args.case == Case::WordCount => Length::Records(lines(args.seconds)),
        None => {
            let window = Duration::from_secs_f64(args.seconds);
            Length::Time { warm_records: args.case.warm_records(), window, windows: args.windows }
        }
    }
}

/// Takes in what a run tells.
fn listen(told: &Receiver<Report>) -> Confirmed {
    let mut confirmed = Confirmed::new();
    for report in told {
        match report {
            Report::Confirmed { took, covered, .. } => confirmed.push((took, covered, clock::monotonic())),
            Report::Warning(text) => output::tell(&format!("warning: {text}")),
            Report::Progress(_) | Report::Resumed { .. } | Report::TaskLog { .. } => {}
        }
    }
    confirmed
}

/// For the first record of batches that were made in the window: how long until a checkpoint with it was heard of.
fn latencies(samples: &[Sample], window: &Window, confirmed: &Confirmed) -> Vec<u64> {
    let every = (samples.len() / LATENCIES).max(1);
    let made = samples.iter().filter(|sample| window.holds(sample.at)).step_by(every);
    let visible = made.filter_map(|sample| {
        let (.., at) = confirmed.iter().find(|(_, covered, _)| *covered > sample.records)?;
        Some(microseconds(at.saturating_sub(sample.at)))
    });
    visible.collect()
}

/// The most memory that this process held so far, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

fn lines(seconds: f64) -> u64 {
    times(seconds, LINES_A_SECOND)
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds are positive and few")]
fn times(seconds: f64, a_second: u64) -> u64 {
    (seconds * a_second as f64) as u64
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_counted_from_the_making_of_a_record_to_the_checkpoint_that_holds_it() {
        let at = Duration::from_millis;
        let samples: Vec<Sample> = (0..5).map(|n| Sample { at: at(n * 100), cpu: Duration::ZERO, records: n * 10 }).collect();
        let window = Window { from: samples[1], to: samples[4] };
        let confirmed = vec![(at(5), 20, at(250)), (at(5), 31, at(450))];
        // Records 10 and 20 were made at 100 and 200 ms, 30 at 300; the one at 400 is in no checkpoint.
        assert_eq!(latencies(&samples, &window, &confirmed), [150_000, 250_000, 150_000]);
    }
}
