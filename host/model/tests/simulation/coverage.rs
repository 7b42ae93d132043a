//! What schedules have seen: how often each kind of event happened, and how often it must, over a whole run. Refuses to judge a single schedule.

use std::fmt;

/// An event that says that a schedule was no idle one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A checkpoint was confirmed.
    Confirmed,
    /// A checkpoint was aborted.
    Aborted,
    /// A manifest left a task out that was too slow.
    LeftOut,
    /// A base was confirmed.
    Base,
    /// Merged deltas were confirmed.
    Merge,
    /// A full manifest was confirmed.
    Full,
    /// The job went back to an earlier checkpoint.
    Return,
    /// A checkpoint was named.
    Savepoint,
    /// A name was forgotten.
    SavepointDeleted,
    /// The record of a checkpoint has retired.
    Retired,
    /// An object was deleted from the archive.
    Collected,
    /// Another process has claimed the job.
    Takeover,
    /// A process that was alive lost its session.
    Expired,
    /// A message came twice.
    Doubled,
    /// A message was lost.
    Lost,
    /// A write arrived after a later one of its session.
    OutOfOrder,
    /// An offer came from an attempt that was replaced.
    StaleOffer,
    /// An object could not be put, or nobody knows whether it was.
    FailedPut,
    /// A process was killed.
    Killed,
    /// A disk was lost.
    DiskLost,
    /// A process was paused.
    Paused,
    /// A clock jumped.
    ClockJumped,
    /// A local store was kept, of a task that had confirmed something.
    Resumed,
    /// A local store was wiped, of such a task.
    Wiped,
    /// A file got its final name.
    Released,
}

/// How often each event happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Coverage([u64; Event::ALL.len()]);

impl Event {
    /// All of them, each with how often it must happen in a thousand schedules: about half as often as it does.
    const ALL: [(Self, u64); 25] = [
        (Self::Confirmed, 5_000),
        (Self::Aborted, 400),
        (Self::LeftOut, 2_500),
        (Self::Base, 800),
        (Self::Merge, 60),
        (Self::Full, 1_200),
        (Self::Return, 250),
        (Self::Savepoint, 750),
        (Self::SavepointDeleted, 370),
        (Self::Retired, 3_600),
        (Self::Collected, 6_500),
        (Self::Takeover, 1_700),
        (Self::Expired, 700),
        (Self::Doubled, 600),
        (Self::Lost, 370),
        (Self::OutOfOrder, 150),
        (Self::StaleOffer, 5),
        (Self::FailedPut, 200),
        (Self::Killed, 680),
        (Self::DiskLost, 340),
        (Self::Paused, 600),
        (Self::ClockJumped, 340),
        (Self::Resumed, 60),
        (Self::Wiped, 780),
        (Self::Released, 4_500),
    ];
}

impl Coverage {
    /// It happened.
    pub(crate) const fn saw(&mut self, event: Event) {
        self.saw_many(event, 1);
    }

    /// It happened so often.
    pub(crate) const fn saw_many(&mut self, event: Event, times: usize) {
        self.0[event as usize] += times as u64;
    }

    pub(crate) const fn of(&self, event: Event) -> u64 {
        self.0[event as usize]
    }

    /// Takes in what another schedule has seen.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }

    /// Events that `schedules` have seen too rarely.
    pub(crate) fn rare(&self, schedules: u64) -> Vec<Event> {
        let rare = |&&(event, least): &&(Event, u64)| self.of(event) * 1000 < least * schedules;
        Event::ALL.iter().filter(rare).map(|&(event, _)| event).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Event::ALL.iter().enumerate().try_for_each(|(place, &(event, _))| {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{} {event:?}", self.of(event))
        })
    }
}
