//! Feeds the job that is measured: makes records when the host asks for them, notes when that was, and ends the run. Refuses to make a record after
//! the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;
use gregor_runtime::setup::Command;
use gregor_runtime::stand_ins::Generated;

use super::records::Maker;
use super::window::{BURST_SEARCH, Sample, Window, burst};
use crate::clock;

/// Time from the beginning, or from the end of a longer warming-up by records, to the window: caches fill, threads settle.
const WARM_UP: Duration = Duration::from_millis(300);

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// It is stopped: after this record number, warming up, and so many windows of so much time.
    Time { warm_records: u64, window: Duration, windows: usize },
    /// Its input ends after so many records.
    Records(u64),
}

/// The feed. See the module.
pub(super) struct Feed {
    maker: Arc<Maker>,
    length: Length,
    commands: Sender<Command>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    samples: Vec<Sample>,
    /// When the first window may begin.
    warm_at: Option<Duration>,
    /// Where windows begin and end, one after the other.
    bounds: Vec<Sample>,
}

impl Feed {
    /// Makes records of a maker; a run that is to be stopped is so by this sender of commands.
    pub(super) fn new(maker: Arc<Maker>, length: Length, commands: Sender<Command>) -> Self {
        Self { maker, length, commands, state: Mutex::default() }
    }

    /// The records from an offset on.
    pub(super) fn next(&self, offset: u64) -> Generated {
        let sample = Sample { at: clock::monotonic(), cpu: clock::cpu(), records: offset };
        let seen = self.see(sample);
        let count = match self.length {
            Length::Time { .. } if seen == Seen::All => 0,
            Length::Time { .. } => u64::MAX,
            Length::Records(records) if offset >= records => return Generated::End,
            Length::Records(records) => records - offset,
        };
        if count == 0 {
            // A second one finds the channel full: the first is not taken yet, or was.
            let _is_told = self.commands.try_send(Command::Stop).is_ok();
            return Generated::Nothing;
        }
        Generated::Records(Arc::new(self.maker.batch(offset, count)))
    }

    /// Notes a sample, and says whether it is one behind all windows.
    fn see(&self, sample: Sample) -> Seen {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { samples, warm_at, bounds } = &mut *state;
        samples.push(sample);
        let Length::Time { warm_records, window, windows } = self.length else { return Seen::Part };
        if warm_at.is_none() && sample.records >= warm_records {
            *warm_at = Some(sample.at + WARM_UP);
        }
        let next = bounds.last().map(|bound| bound.at + window).or(*warm_at);
        if let Some(next) = next.filter(|next| sample.at > *next + BURST_SEARCH) {
            bounds.extend(burst(samples, next));
        }
        if bounds.len() > windows { Seen::All } else { Seen::Part }
    }

    /// All samples, in their order.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).samples.clone()
    }

    /// The windows of a timed run; fewer if it ended before.
    pub(super) fn windows(&self) -> Vec<Window> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bounds.iter().zip(state.bounds.iter().skip(1)).map(|(&from, &to)| Window { from, to }).collect()
    }
}

/// How much of the windows was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Not all.
    Part,
    /// All of them, and what the last end is looked for in.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::case::Case;

    #[test]
    fn a_timed_run_ends_behind_its_windows_however_long_the_machine_stands_still() {
        let window = Duration::from_millis(500);
        let (commands, _asked) = crossbeam_channel::bounded(1);
        let maker = Arc::new(Maker::new(Case::Identity));
        let feed = Feed::new(maker, Length::Time { warm_records: 100, window, windows: 2 }, commands);
        // Warm at 20 ms, so from 320 ms on; it stands still from 300 to 2000 ms, and so the first sample behind that is where windows begin.
        let times = (0..31).map(|n| n * 10).chain((200..400).map(|n| n * 10));
        let mut seen = times.zip(0..).map(|(ms, n)| {
            let sample = Sample { at: Duration::from_millis(ms), cpu: Duration::ZERO, records: n * 50 };
            (sample.at, feed.see(sample))
        });
        let (end, _) = seen.find(|(_, seen)| *seen == Seen::All).unwrap();
        let found: Vec<_> = feed.windows().iter().map(|window| (window.from.at, window.to.at)).collect();
        let ms = Duration::from_millis;
        assert_eq!((found, end), (vec![(ms(2_000), ms(2_500)), (ms(2_500), ms(3_000))], ms(3_110)));
    }

    #[test]
    fn a_run_of_so_many_records_ends_with_them_and_a_timed_one_is_stopped_once() {
        let (commands, asked) = crossbeam_channel::bounded(1);
        let maker = Arc::new(Maker::new(Case::Identity));
        let ending = Feed::new(Arc::clone(&maker), Length::Records(1_500), commands.clone());
        let counts = [0, 1_024, 1_500].map(|offset| match ending.next(offset) {
            Generated::Records(columns) => columns.len(),
            Generated::End => 0,
            Generated::Nothing => panic!("nothing"),
        });
        assert_eq!((counts, asked.is_empty()), ([1_024, 476, 0], true));
        let stopped = Feed::new(maker, Length::Time { warm_records: 0, window: Duration::ZERO, windows: 0 }, commands);
        stopped.state.lock().unwrap().bounds.push(Sample { at: Duration::ZERO, cpu: Duration::ZERO, records: 0 });
        assert!((0..2).all(|_| matches!(stopped.next(10), Generated::Nothing)));
        assert_eq!((asked.try_recv(), asked.is_empty()), (Ok(Command::Stop), true));
    }
}
