//! The job under simulation: two source partitions, a stream of two partitions, a second stage with a store and files. Small enough that its state
//! and output at any position are a fold over the input. Refuses to know of checkpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use gregor_model::digest::Digest;
use gregor_model::job::{CheckpointSettings, Format, Input, Job, OnError, Output, Sink, Source, Stage, Store};
use gregor_model::keys::JobKeys;
use gregor_model::limits::{KIB, Limits};
use gregor_model::names::{Incarnation, JobName, PortName, StageName, StoreName, StreamName, TaskId};

use crate::random::Random;

/// A record: of a source partition, its place there, a key, a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) producer: u8,
    pub(crate) place: u16,
    pub(crate) key: u8,
    pub(crate) value: u64,
}

/// A line of output: the record and what its key added up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) record: Record,
    pub(crate) sum: u64,
}

/// Keys of records, and producers.
const KEYS: usize = 5;
const PRODUCERS: usize = 2;

/// Values by key and producer. A list and not a map: worlds copy them all the time.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Table<V>([Option<V>; KEYS * PRODUCERS]);

/// What the second stage keeps: a sum for each key and producer, whose records are in order; so it depends on no interleaving of producers.
pub(crate) type State = Table<u64>;
/// Changes of a state; none is a deletion.
pub(crate) type Delta = Table<Option<u64>>;

impl<V: Copy> Table<V> {
    const fn place((key, producer): (u8, u8)) -> usize {
        key as usize * PRODUCERS + producer as usize
    }

    pub(crate) const fn get(&self, key: (u8, u8)) -> Option<V> {
        self.0[Self::place(key)]
    }

    pub(crate) const fn set(&mut self, key: (u8, u8), value: Option<V>) {
        self.0[Self::place(key)] = value;
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Takes over what another one has.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine = theirs.or(*mine));
    }

    /// Keeps what is wanted.
    pub(crate) fn retain(&mut self, wanted: impl Fn(V) -> bool) {
        self.0.iter_mut().for_each(|value| *value = value.filter(|&value| wanted(value)));
    }
}

impl<V: fmt::Debug> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.iter().enumerate().filter_map(|(place, value)| Some(((place / PRODUCERS, place % PRODUCERS), value.as_ref()?)));
        f.debug_map().entries(known).finish()
    }
}

/// The four tasks: two of each stage.
pub(crate) const TASKS: [TaskId; 4] = [
    TaskId { stage: 0, partition: 0 },
    TaskId { stage: 0, partition: 1 },
    TaskId { stage: 1, partition: 0 },
    TaskId { stage: 1, partition: 1 },
];

/// The incarnation of the job.
pub(crate) const INCARNATION: Incarnation = Incarnation(0x1bc);

/// The job and its input.
pub(crate) struct Problem {
    pub(crate) job: Job,
    pub(crate) keys: JobKeys,
    pub(crate) counts: Vec<u32>,
    pub(crate) stream: StreamName,
    pub(crate) store: StoreName,
    pub(crate) input: [Vec<Record>; 2],
    pub(crate) length: Length,
    /// Whether everything is read again in the end, whatever is known of it.
    pub(crate) rereads: bool,
    /// Bytes that an entry of a delta counts for: with many, bases fall due; with few, merges.
    pub(crate) entry_bytes: u64,
}

impl Problem {
    /// A job with random input.
    pub(crate) fn new(random: &mut Random) -> Self {
        let stream = StreamName::new("middle").unwrap();
        let store = StoreName::new("sums").unwrap();
        let job = job(&stream, &store, u32::try_from(1 + random.below(4)).unwrap());
        let files = BTreeMap::from([((0, 0), 2)]);
        let counts = job.tasks(&files).unwrap();
        let keys = JobKeys::new(&job.name, INCARNATION);
        let length = Length::drawn(random.below(100));
        let mut records = |producer: u8| -> Vec<Record> {
            let count = length.records.0 + random.below(length.records.1);
            let record =
                |place: u16| Record { producer, place, key: u8::try_from(random.below(KEYS)).unwrap(), value: 1 + random.next() % 9 };
            (0..u16::try_from(count).unwrap()).map(record).collect()
        };
        let input = [records(0), records(1)];
        let entry_bytes = if random.happens(50) { KIB } else { 512 * KIB };
        let rereads = random.below(16) == 0;
        Self { job, keys, counts, stream, store, input, length, rereads, entry_bytes }
    }

    /// What the undisturbed run makes of each key and producer, in order.
    pub(crate) fn expected(&self) -> BTreeMap<(u8, u8), Vec<Line>> {
        let mut all = BTreeMap::<_, Vec<Line>>::new();
        for records in &self.input {
            for line in fold(&mut State::default(), records) {
                all.entry((line.record.key, line.record.producer)).or_default().push(line);
            }
        }
        all
    }
}

/// How long a schedule is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    /// How often things begin to go wrong.
    pub(crate) storms: usize,
    /// Actions until they do no more.
    pub(crate) storm: usize,
    /// Of a hundred such actions, those that are trouble.
    pub(crate) rough: usize,
    /// Records of a producer, at least, and how many more at most.
    records: (usize, usize),
}

impl Length {
    /// By luck below a hundred. Most are short: many short schedules see more than few long ones in the same time. But chains are merged, streams
    /// are left for good and names outlive their checkpoints in long ones only.
    const fn drawn(luck: usize) -> Self {
        match luck {
            0..15 => Self { storms: 3, storm: 300, rough: 1, records: (24, 48) },
            15..50 => Self { storms: 2, storm: 150, rough: 2, records: (10, 16) },
            _ => Self { storms: 1, storm: 150, rough: 3, records: (4, 12) },
        }
    }
}

/// The partition that a record goes to.
pub(crate) fn partition_of(record: &Record) -> usize {
    usize::from(record.key % 2)
}

/// What the second stage does with a record, given the sum so far: the new sum, none if the key is deleted, and the line.
pub(crate) fn work(before: Option<u64>, record: Record) -> (Option<u64>, Line) {
    let sum = before.unwrap_or(0) + record.value;
    (Some(sum).filter(|_| !record.value.is_multiple_of(3)), Line { record, sum })
}

/// Works on records: the output.
pub(crate) fn fold(state: &mut State, records: &[Record]) -> Vec<Line> {
    let lines = records.iter().map(|&record| {
        let key = (record.key, record.producer);
        let (after, line) = work(state.get(key), record);
        state.set(key, after);
        line
    });
    lines.collect()
}

/// Brings changes into a state.
pub(crate) fn apply(state: &mut State, delta: &Delta) {
    state.0.iter_mut().zip(delta.0).for_each(|(value, change)| *value = change.unwrap_or(*value));
}

fn job(stream: &StreamName, store: &StoreName, keep: u32) -> Job {
    let stage = |name: &str, source: Source, sink: Sink, stores: Vec<Store>| Stage {
        name: StageName::new(name).unwrap(),
        component: Digest::of(name.as_bytes()),
        inputs: vec![Input { port: PortName::new("in").unwrap(), source }],
        outputs: vec![Output { port: PortName::new("out").unwrap(), sink }],
        stores,
        config: BTreeMap::new(),
        on_error: OnError::Stop,
        retries: 0,
    };
    let file = Source::File { folder: "/in".to_owned(), pattern: "**".to_owned(), format: Format::Lines };
    let to = Sink::Stream { name: stream.clone(), partitions: 2 };
    let from = Source::Stream { name: stream.clone() };
    let folder = Sink::File { folder: "/out".to_owned(), format: Format::Lines };
    let settings = CheckpointSettings {
        keep,
        interval: Duration::from_secs(2),
        grace: Duration::from_secs(5),
        deadline: Duration::from_secs(20),
        base_interval: Duration::from_secs(600),
        ..CheckpointSettings::default()
    };
    let job = Job {
        name: JobName::new("j").unwrap(),
        stages: vec![
            stage("first", file, to, vec![]),
            stage("second", from, folder, vec![Store { name: store.clone(), schema_version: 1 }]),
        ],
        produced: vec![],
        checkpoint: settings,
        limits: Limits::default(),
    };
    assert_eq!(job.check(), Ok(()));
    job
}

/// The names of a job's tasks, as a set.
pub(crate) fn every_task() -> BTreeSet<TaskId> {
    BTreeSet::from(TASKS)
}
