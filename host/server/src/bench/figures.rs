//! Figures out of runs: medians, spreads, percentiles, and the row of a case as `--output json` shows it. Pure. Refuses to make up a figure: what was
//! not measured is absent.

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::{Case, Variant};
use super::measure::Measured;

/// All runs of a case: by variant, then by round.
pub(super) type Runs = BTreeMap<Variant, BTreeMap<u64, Measured>>;

/// A case's figures: the form is a stable surface. Rates are medians over rounds, `ratio` is native rate over sandboxed rate, round by round.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    pub(super) case: Case,
    pub(super) records_per_second: Option<f64>,
    pub(super) native_records_per_second: Option<f64>,
    pub(super) bare_records_per_second: Option<f64>,
    pub(super) without_checkpoints_records_per_second: Option<f64>,
    pub(super) ratio: Option<f64>,
    pub(super) cpu_seconds_per_million: Option<f64>,
    pub(super) native_cpu_seconds_per_million: Option<f64>,
    pub(super) bare_cpu_seconds_per_million: Option<f64>,
    /// The same ratio in CPU time.
    pub(super) cpu_ratio: Option<f64>,
    /// Share of the throughput without checkpoints that is lost with one a second, round by round.
    pub(super) checkpoint_cost: Option<f64>,
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) native_peak_memory_bytes: Option<u64>,
    pub(super) bare_peak_memory_bytes: Option<u64>,
    pub(super) spread: Spreads,
    pub(super) pause: Distribution,
    pub(super) checkpoint: Distribution,
    pub(super) latency: Distribution,
    /// Rounds of the sandboxed variant.
    pub(super) rounds: usize,
    /// Records or keys compared with what is expected, in all runs.
    pub(super) checked: u64,
}

/// Least and greatest value over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Spreads {
    pub(super) records_per_second: Option<(f64, f64)>,
    pub(super) native_records_per_second: Option<(f64, f64)>,
    pub(super) ratio: Option<(f64, f64)>,
    pub(super) checkpoint_cost: Option<(f64, f64)>,
}

/// Durations of all rounds together, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Distribution {
    pub(super) count: u64,
    pub(super) p50_microseconds: Option<f64>,
    pub(super) p99_microseconds: Option<f64>,
    pub(super) max_microseconds: Option<f64>,
    pub(super) histogram: Vec<Bucket>,
}

/// So many durations of at most so much, and of more than the bucket before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Bucket {
    pub(super) up_to_microseconds: f64,
    pub(super) count: u64,
}

impl Row {
    /// The figures of a case.
    pub(super) fn of(case: Case, runs: &Runs) -> Self {
        let of = |variant: Variant| runs.get(&variant).cloned().unwrap_or_default();
        let (ours, native, bare, without) =
            (of(Variant::Sandboxed), of(Variant::Native), of(Variant::Bare), of(Variant::WithoutCheckpoints));
        let ratios = paired((&native, &ours), |native, ours| rate(native) / rate(ours));
        let cpu_ratios = paired((&ours, &native), |ours, native| cpu(ours) / cpu(native));
        let costs = paired((&ours, &without), |ours, without| 1.0 - rate(ours) / rate(without));
        let figures = |runs: &BTreeMap<u64, Measured>, figure: fn(&Measured) -> f64| runs.values().map(figure).collect::<Vec<f64>>();
        let peak = |runs: &BTreeMap<u64, Measured>| runs.values().map(|run| run.peak_memory_bytes).max();
        Self {
            case,
            records_per_second: median(figures(&ours, rate)),
            native_records_per_second: median(figures(&native, rate)),
            bare_records_per_second: median(figures(&bare, rate)),
            without_checkpoints_records_per_second: median(figures(&without, rate)),
            ratio: median(ratios.clone()),
            cpu_seconds_per_million: median(figures(&ours, cpu)),
            native_cpu_seconds_per_million: median(figures(&native, cpu)),
            bare_cpu_seconds_per_million: median(figures(&bare, cpu)),
            cpu_ratio: median(cpu_ratios),
            checkpoint_cost: median(costs.clone()),
            peak_memory_bytes: peak(&ours),
            native_peak_memory_bytes: peak(&native),
            bare_peak_memory_bytes: peak(&bare),
            spread: Spreads {
                records_per_second: spread(&figures(&ours, rate)),
                native_records_per_second: spread(&figures(&native, rate)),
                ratio: spread(&ratios),
                checkpoint_cost: spread(&costs),
            },
            pause: pauses(&ours),
            checkpoint: Distribution::of(ours.values().flat_map(|run| &run.checkpoint_microseconds).copied().collect()),
            latency: Distribution::of(ours.values().flat_map(|run| &run.latency_microseconds).copied().collect()),
            rounds: ours.len(),
            checked: runs.values().flat_map(BTreeMap::values).map(|run| run.checked).sum(),
        }
    }
}

/// Records a second.
pub(super) fn rate(run: &Measured) -> f64 {
    float(run.records) / float(run.nanoseconds.max(1)) * 1e9
}

/// CPU-seconds for a million records.
fn cpu(run: &Measured) -> f64 {
    float(run.cpu_nanoseconds) / 1e9 / float(run.records.max(1)) * 1e6
}

/// A figure of two variants for each round that has both.
fn paired((one, other): (&BTreeMap<u64, Measured>, &BTreeMap<u64, Measured>), figure: fn(&Measured, &Measured) -> f64) -> Vec<f64> {
    one.iter().filter_map(|(round, one)| Some(figure(one, other.get(round)?))).filter(|figure| figure.is_finite()).collect()
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = *figures.get(middle)?;
    if figures.len() % 2 == 1 {
        return Some(upper);
    }
    figures.get(middle.checked_sub(1)?).map(|lower| f64::midpoint(*lower, upper))
}

fn spread(figures: &[f64]) -> Option<(f64, f64)> {
    let least = figures.iter().copied().min_by(f64::total_cmp)?;
    let greatest = figures.iter().copied().max_by(f64::total_cmp)?;
    Some((least, greatest))
}

impl Distribution {
    /// Of single durations, in microseconds; buckets are powers of two.
    fn of(mut durations: Vec<u64>) -> Self {
        durations.sort_unstable();
        let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
        durations.iter().for_each(|duration| *buckets.entry(duration.next_power_of_two()).or_default() += 1);
        let percentile = |percent: usize| {
            let rank = (durations.len() * percent).div_ceil(100);
            rank.checked_sub(1).and_then(|at| durations.get(at)).map(|&duration| float(duration))
        };
        Self {
            count: u64::try_from(durations.len()).unwrap_or(u64::MAX),
            p50_microseconds: percentile(50),
            p99_microseconds: percentile(99),
            max_microseconds: durations.last().map(|&duration| float(duration)),
            histogram: buckets.into_iter().map(|(up_to, count)| Bucket { up_to_microseconds: float(up_to), count }).collect(),
        }
    }
}

/// Pauses are counted in buckets by the host; percentiles are upper bounds of them, none above the longest.
fn pauses(runs: &BTreeMap<u64, Measured>) -> Distribution {
    let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
    runs.values().flat_map(|run| &run.pauses).for_each(|&(up_to, count)| *buckets.entry(up_to).or_default() += count);
    let count: u64 = buckets.values().sum();
    let max = runs.values().map(|run| run.pause_max_nanoseconds).max().filter(|_| count > 0);
    let percentile = |percent: u64| {
        let rank = (count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = buckets.iter().find(|(_, in_bucket)| {
            seen += **in_bucket;
            seen >= rank
        });
        bucket.map(|(&up_to, _)| float(up_to.min(max.unwrap_or(u64::MAX))) / 1e3)
    };
    Distribution {
        count,
        p50_microseconds: percentile(50),
        p99_microseconds: percentile(99),
        max_microseconds: max.map(|max| float(max) / 1e3),
        histogram: buckets.iter().map(|(&up_to, &count)| Bucket { up_to_microseconds: float(up_to) / 1e3, count }).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(records: u64, nanoseconds: u64) -> Measured {
        Measured { records, nanoseconds, cpu_nanoseconds: 2 * nanoseconds, peak_memory_bytes: records, checked: 1, ..Measured::default() }
    }

    fn rounds(runs: &[(u64, u64)]) -> BTreeMap<u64, Measured> {
        (0..).zip(runs).map(|(round, &(records, nanoseconds))| (round, run(records, nanoseconds))).collect()
    }

    #[test]
    fn ratios_are_made_round_by_round_and_their_median_is_told() {
        let second = 1_000_000_000;
        let runs = Runs::from([
            (Variant::Sandboxed, rounds(&[(100, second), (50, second), (200, second)])),
            (Variant::Native, rounds(&[(150, second), (100, second), (220, second)])),
            (Variant::WithoutCheckpoints, rounds(&[(125, second)])),
        ]);
        let row = Row::of(Case::Identity, &runs);
        assert_eq!((row.records_per_second, row.native_records_per_second, row.bare_records_per_second), (Some(100.0), Some(150.0), None));
        assert_eq!((row.ratio, row.spread.ratio), (Some(1.5), Some((1.1, 2.0))));
        assert!((row.checkpoint_cost.unwrap() - 0.2).abs() < 1e-9);
        assert_eq!((row.cpu_seconds_per_million, row.peak_memory_bytes), (Some(20_000.0), Some(200)));
        assert_eq!((row.rounds, row.checked), (3, 7));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn percentiles_are_those_of_all_rounds_together() {
        let distribution = Distribution::of((1..=200).rev().collect());
        assert_eq!((distribution.p50_microseconds, distribution.p99_microseconds), (Some(100.0), Some(198.0)));
        assert_eq!((distribution.count, distribution.max_microseconds), (200, Some(200.0)));
        assert_eq!(distribution.histogram.iter().map(|bucket| bucket.count).sum::<u64>(), 200);
        assert_eq!(Distribution::of(Vec::new()), Distribution::default());

        let with = |pauses: &[(u64, u64)], max| Measured { pauses: pauses.to_vec(), pause_max_nanoseconds: max, ..Measured::default() };
        let both = BTreeMap::from([(0, with(&[(1_000, 97), (9_000, 1)], 8_000)), (1, with(&[(1_000, 1), (64_000, 1)], 63_000))]);
        let pauses = pauses(&both);
        assert_eq!((pauses.count, pauses.p50_microseconds, pauses.p99_microseconds), (100, Some(1.0), Some(9.0)));
        assert_eq!(pauses.max_microseconds, Some(63.0));
    }
}
