//! The span of a run that is measured. The generator is asked for records all the time, so each time that it is asked is a sample: when, how much CPU
//! time the process had used, and how many records it had made. Refuses to measure from any sample: a queue is filled in bursts, so that two
//! samples at any place of a burst may differ by a burst's records; the first of a burst finds every queue as full as the first of another.

use std::time::Duration;

/// How long after a time the beginning of a burst is looked for.
pub(super) const BURST_SEARCH: Duration = Duration::from_millis(100);

/// A moment of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// When, by the monotonic clock.
    pub(super) at: Duration,
    /// CPU time of the process.
    pub(super) cpu: Duration,
    /// Records made before it.
    pub(super) records: u64,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Its beginning.
    pub(super) from: Sample,
    /// Its end.
    pub(super) to: Sample,
}

impl Window {
    /// Records.
    pub(super) const fn records(&self) -> u64 {
        self.to.records.saturating_sub(self.from.records)
    }

    /// Whether a moment lies in it.
    pub(super) fn holds(&self, at: Duration) -> bool {
        (self.from.at..=self.to.at).contains(&at)
    }
}

/// Of the samples shortly after a time, the one before which none came for the longest time; or simply the next, where they come rarely.
pub(super) fn burst(samples: &[Sample], time: Duration) -> Option<Sample> {
    let first = samples.partition_point(|sample| sample.at < time).max(1);
    let pairs = samples.get(first - 1..)?.windows(2);
    let nearby = pairs.filter_map(|pair| match pair {
        [before, sample] => Some((sample.at.saturating_sub(before.at), *sample)),
        _ => None,
    });
    let mut nearby = nearby.take_while(|(_, sample)| sample.at <= time + BURST_SEARCH);
    // Where they come rarely, the next one is all there is.
    let next = samples.get(first).copied();
    let longest = nearby.by_ref().max_by_key(|(gap, sample)| (*gap, std::cmp::Reverse(sample.at)));
    longest.map(|(_, sample)| sample).or(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bursts of four samples a tenth of a millisecond apart, each 10 ms, with 100 records a sample.
    fn samples() -> Vec<Sample> {
        let sample = |n: u64| Sample {
            at: Duration::from_micros(n / 4 * 10_000 + n % 4 * 100),
            cpu: Duration::from_micros(n * 10),
            records: n * 100,
        };
        (0..400).map(sample).collect()
    }

    fn check(samples: &[Sample], time_us: u64, expected_us: Option<u64>) {
        let found = burst(samples, Duration::from_micros(time_us)).map(|sample| sample.at);
        assert_eq!(found, expected_us.map(Duration::from_micros), "after {time_us} µs");
    }

    #[test]
    fn the_first_of_a_burst_is_found() {
        check(&samples(), 100_150, Some(110_000));
        check(&samples(), 799_950, Some(800_000));
        check(&samples(), 990_350, None);
        check(&[], 0, None);
    }

    #[test]
    fn where_samples_are_rare_the_next_one_counts() {
        let rare = |second: u64| Sample { at: Duration::from_secs(second), cpu: Duration::ZERO, records: second };
        let rare: Vec<Sample> = (0..10).map(rare).collect();
        check(&rare, 1_500_000, Some(2_000_000));
        check(&rare, 9_000_001, None);
    }

    #[test]
    fn a_window_holds_what_lies_between_its_ends() {
        let samples = samples();
        let window = Window { from: samples[4], to: samples[12] };
        assert_eq!(window.records(), 800);
        assert!(
            window.holds(samples[4].at) && window.holds(samples[12].at) && !window.holds(samples[3].at) && !window.holds(samples[13].at)
        );
    }
}
