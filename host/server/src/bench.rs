//! `gregor bench`: the published figures, on this machine. Each case is run sandboxed, native (the same host with a function in place of the component)
//! and bare (a plain loop), by turns, each run in a process of its own; results are compared with what is expected. Refuses to tell a figure
//! of a run whose result is wrong, and to judge: a figure is to be looked at.
//!
//! ```text
//! gregor bench ─► for each round, case, variant: gregor bench-run ─► wiring, runtime::run with stand-ins ─► check ─► a line of JSON
//!      └─► medians ─► table, JSON, SVG
//! ```

mod bare;
mod case;
mod check;
mod feed;
mod figures;
mod folder;
mod measure;
mod native;
mod plot;
mod records;
mod table;
mod window;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow};

use crate::cli::{BenchArgs, SECONDS_MIN};
use crate::exit::{Exit, Failure};
use crate::output::{self, Style};
pub(crate) use case::{Case, Variant};
use figures::{Row, Runs};
use folder::Folder;
use measure::Measured;
pub(crate) use measure::bench_run;

/// Which rounds have the variants that no ratio is made of: every third one.
const SELDOM: u64 = 3;

/// Measures, and prints what came of it.
///
/// # Errors
/// A component is missing, the disk can't be used, or a run failed or had a wrong result.
pub(crate) fn bench(args: &BenchArgs, style: Style) -> Result<Exit, Failure> {
    let program = std::env::current_exe().context("can't find this program's own file").map_err(Failure::failed)?;
    let plugins = plugins(args.plugins.as_deref(), &program)?;
    // Before minutes are spent on figures that could not be drawn.
    if let Some(file) = &args.plot {
        std::fs::write(file, plot::plot(&[], "")).with_context(|| format!("can't write {}", file.display())).map_err(Failure::refused)?;
    }
    let folder = Folder::new(args.data.as_deref()).map_err(Failure::failed)?;
    let bench = Bench { args, program, plugins, folder };
    let before = Machine::now();
    let rows = bench.measure()?;
    let about = bench.about(Machine::now().stolen_since(&before));
    if let Some(file) = &args.plot {
        std::fs::write(file, plot::plot(&rows, &about))
            .with_context(|| format!("can't write {}", file.display()))
            .map_err(Failure::failed)?;
    }
    let shown = match style {
        Style::Json => output::result_json(&rows),
        Style::Text => output::result(&format!("{about}\n\n{}", table::table(&rows))),
    };
    shown.map_err(Failure::failed)?;
    Ok(Exit::Done)
}

/// The folder of the components: the one that was named, or where `make plugins` puts them.
fn plugins(named: Option<&Path>, program: &Path) -> Result<PathBuf, Failure> {
    let folders: Vec<PathBuf> = match named {
        Some(folder) => vec![folder.to_owned()],
        // target/debug/gregor and target/plugins/rust; or side by side.
        None => program.ancestors().skip(1).take(2).map(|folder| folder.join("plugins/rust")).collect(),
    };
    let missing = |folder: &PathBuf| {
        let names = Case::ALL.iter().flat_map(|case| case.components());
        names.map(|name| folder.join(name).with_extension("wasm")).find(|file| !file.is_file())
    };
    let found = folders.iter().find(|folder| missing(folder).is_none());
    let folder = found.ok_or_else(|| {
        let file = folders.first().and_then(missing).unwrap_or_default();
        Failure::refused(anyhow!("{} is missing; run `make plugins` in the checkout, or name the folder by --plugins", file.display()))
    })?;
    folder.canonicalize().with_context(|| format!("can't use {}", folder.display())).map_err(Failure::failed)
}

/// Everything that a measurement needs.
struct Bench<'a> {
    args: &'a BenchArgs,
    program: PathBuf,
    plugins: PathBuf,
    folder: Folder,
}

impl Bench<'_> {
    fn measure(&self) -> Result<Vec<Row>, Failure> {
        let cases = Case::ALL.into_iter().filter(|case| self.args.cases.is_empty() || self.args.cases.contains(case));
        let (long, short): (Vec<Case>, Vec<Case>) = cases.partition(|case| self.args.records.is_none() && case.is_long());
        let mut runs: BTreeMap<Case, Runs> = BTreeMap::new();
        for round in 0..self.args.rounds {
            for &case in &short {
                for variant in variants(round) {
                    let measured = self.run((case, variant), (1, round))?;
                    self.take((case, variant), (&mut runs, round), measured);
                }
            }
        }
        for case in long {
            for (number, variant) in (0..).zip(variants(0)) {
                // What no ratio is made of is measured as often as of other cases.
                let seldom = matches!(variant, Variant::WithoutCheckpoints | Variant::Bare);
                let windows = if seldom { self.args.rounds.div_ceil(SELDOM) } else { self.args.rounds };
                let measured = self.run((case, variant), (windows, number))?;
                self.take((case, variant), (&mut runs, 0), measured);
            }
        }
        Ok(runs.iter().map(|(&case, runs)| Row::of(case, runs)).collect())
    }

    /// Takes in what a run measured, from a round on.
    fn take(&self, (case, variant): (Case, Variant), (runs, first): (&mut BTreeMap<Case, Runs>, u64), measured: Vec<Measured>) {
        for (round, measured) in (first..).zip(measured) {
            let rate = table::rate(figures::rate(&measured));
            output::tell(&format!("round {} of {}: {} {}: {rate} records/s", round + 1, self.args.rounds, case.name(), variant.name()));
            runs.entry(case).or_default().entry(variant).or_default().insert(round, measured);
        }
    }

    /// One run, in a process of its own.
    fn run(&self, (case, variant): (Case, Variant), (windows, number): (u64, u64)) -> Result<Vec<Measured>, Failure> {
        self.folder.empty().map_err(Failure::failed)?;
        let mut command = Command::new(&self.program);
        command.args(["bench-run", case.name(), variant.name()]);
        command.arg("--folder").arg(self.folder.run()).arg("--plugins").arg(&self.plugins);
        let seconds = (self.args.seconds * case.share_of_time()).max(SECONDS_MIN);
        for (option, value) in [("--seconds", seconds.to_string()), ("--windows", windows.to_string()), ("--number", number.to_string())] {
            command.args([option, &value]);
        }
        if let Some(records) = self.args.records {
            command.args(["--records", &records.to_string()]);
        }
        let what = || format!("a run of {}, {}", case.name(), variant.name());
        let ended = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let ended = ended.with_context(|| format!("can't start {}", what())).map_err(Failure::failed)?;
        if !ended.status.success() {
            return Err(Failure::failed(anyhow!("{} has failed ({}); what it says stands above", what(), ended.status)));
        }
        serde_json::from_slice(&ended.stdout)
            .with_context(|| format!("{} says something else than figures", what()))
            .map_err(Failure::failed)
    }

    /// What was measured, and on what; `stolen` is the share of the machine's time that others had.
    fn about(&self, stolen: Option<f64>) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let length = match self.args.records {
            Some(records) => format!("{records} records"),
            None => format!("{} s", self.args.seconds),
        };
        let stolen =
            stolen.map_or_else(String::new, |share| format!(" ({:.1} % of their time had others on the same hardware)", share * 100.0));
        format!(
            "gregor {}, commit {}; {cores} cores of {}, {}{stolen}; {} rounds of {length} each, medians",
            env!("CARGO_PKG_VERSION"),
            commit(&self.plugins).unwrap_or_else(|| "unknown".to_owned()),
            processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            kernel().unwrap_or_else(|| std::env::consts::OS.to_owned()),
            self.args.rounds
        )
    }
}

/// What the processors did since the machine was started, in ticks. On a virtual one, time may be stolen: a thread that could run stands still then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Machine {
    all: u64,
    stolen: u64,
}

impl Machine {
    fn now() -> Self {
        Self::of(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// As the system's first line says: user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in these.
    fn of(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        // A line of another form says nothing: with one number left out, the others would stand for something else.
        let ticks: Result<Vec<u64>, _> = line.split_whitespace().skip(1).take(8).map(str::parse).collect();
        let ticks = ticks.unwrap_or_default();
        Self { all: ticks.iter().fold(0, |sum, ticks| sum.saturating_add(*ticks)), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// The share that was stolen; none where the system does not say.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    fn stolen_since(self, before: &Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        Some(self.stolen.saturating_sub(before.stolen) as f64 / all as f64)
    }
}

/// The variants of a round; every second round in the opposite order, so that none always comes first.
fn variants(round: u64) -> Vec<Variant> {
    let mut variants = vec![Variant::Sandboxed, Variant::Native];
    if round.is_multiple_of(SELDOM) {
        variants.extend([Variant::WithoutCheckpoints, Variant::Bare]);
    }
    if !round.is_multiple_of(2) {
        variants.reverse();
    }
    variants
}

/// The commit of the checkout that the components lie in, if they lie in one.
fn commit(folder: &Path) -> Option<String> {
    let said = Command::new("git").arg("-C").arg(folder).args(["rev-parse", "--short=12", "HEAD"]).stderr(Stdio::null()).output().ok()?;
    let commit = String::from_utf8(said.stdout).ok()?.trim().to_owned();
    (said.status.success() && !commit.is_empty()).then_some(commit)
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kernel() -> Option<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(format!("Linux {}", release.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_components_are_named_with_what_makes_them() {
        let empty = tempfile::tempdir().unwrap();
        let failure = plugins(Some(empty.path()), Path::new("gregor")).unwrap_err();
        let message = failure.message();
        assert!(failure.exit == Exit::Refused && message.contains("identity.wasm is missing; run `make plugins`"), "{message}");
    }

    #[test]
    fn stolen_time_is_a_share_of_all_time() {
        let before = Machine::of("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1 1 1 1\n");
        let after = Machine::of("cpu  60 0 10 100 0 0 0 30 7 0\n");
        assert_eq!(after.stolen_since(&before), Some(0.3));
        assert_eq!(Machine::of("cpu  10 x 10 80 0 0 0 30\n"), Machine::default());
        assert_eq!((Machine::of("").stolen_since(&Machine::of("")), before.stolen_since(&before)), (None, None));
    }

    #[test]
    fn variants_take_turns_and_each_round_has_both_of_a_ratio() {
        assert_eq!(variants(0).len(), 4);
        assert_eq!(variants(1), [Variant::Native, Variant::Sandboxed]);
        assert_eq!(variants(3).iter().rev().copied().collect::<Vec<_>>(), variants(0));
        assert!((0..4).all(|round| variants(round).contains(&Variant::Sandboxed) && variants(round).contains(&Variant::Native)));
    }
}
