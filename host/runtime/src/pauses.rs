//! How long tasks paused at freezes: a histogram of bounded size. Refuses nothing; values above its range count as the largest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::setup::Pauses;

/// Buckets a factor of two is divided into: an error of at most one sixteenth.
const STEPS: u64 = 16;
/// Buckets: up to 2^36 ns, a minute.
const BUCKETS: usize = 16 * 36;

/// Counts durations in buckets whose width grows with their value.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Vec<AtomicU64>,
    max_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), max_ns: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Takes one in.
    pub(crate) fn record(&self, pause: Duration) {
        let ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
        if let Some(bucket) = self.buckets.get(bucket_of(ns)).or_else(|| self.buckets.last()) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was taken in, as upper bounds of buckets and how many are in each; empty buckets are left out.
    pub(crate) fn counts(&self) -> Vec<(Duration, u64)> {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).enumerate();
        counts.filter(|&(_, count)| count > 0).map(|(index, count)| (Duration::from_nanos(upper_bound(index)), count)).collect()
    }

    /// What was taken in. Percentiles are upper bounds of their buckets, none above the longest.
    pub(crate) fn summary(&self) -> Pauses {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let max = Duration::from_nanos(self.max_ns.load(Ordering::Relaxed));
        let percentile = |permille: u64| {
            let rank = (count * permille).div_ceil(1000);
            let mut seen = 0;
            let index = counts.iter().position(|&in_bucket| {
                seen += in_bucket;
                seen >= rank
            });
            index.map_or(max, |index| Duration::from_nanos(upper_bound(index)).min(max))
        };
        Pauses { count, p50: percentile(500), p99: percentile(990), max }
    }
}

fn bucket_of(ns: u64) -> usize {
    let power = u64::from(ns.max(STEPS).ilog2());
    let within = (ns.max(STEPS) >> (power - 4)) - STEPS;
    usize::try_from((power - 4) * STEPS + within).unwrap_or(usize::MAX)
}

fn upper_bound(index: usize) -> u64 {
    let index = index as u64 + 1;
    (STEPS + index % STEPS) << (index / STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_sixteenth() {
        let histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let pauses = histogram.summary();
        let near = |found: Duration, expected: u64| {
            let expected = Duration::from_micros(expected);
            assert!(found >= expected && found <= expected + expected / 8, "{found:?} for {expected:?}");
        };
        near(pauses.p50, 500);
        near(pauses.p99, 990);
        assert_eq!((pauses.count, pauses.max), (1000, Duration::from_millis(1)));
        let counts = histogram.counts();
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 1000);
        assert!(counts.is_sorted() && counts.len() > 16, "{counts:?}");
    }

    #[test]
    fn the_shortest_and_the_longest_have_a_bucket() {
        let histogram = Histogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_secs(1_000_000));
        assert_eq!(histogram.summary().count, 2);
    }
}
