//! A short life of a job, one manifest after the other with all that they may hold, and what the program does with manifests, pages and footers
//! that it has read. Refuses nothing: what must not happen here is a panic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gregor_model::digest::Digest;
use gregor_model::history::History;
use gregor_model::job::{CheckpointSettings, Format, Input, Job, OnError, Output, Sink, Source, Stage, Store};
use gregor_model::keys::{JobKeys, number_of_manifest};
use gregor_model::limits::Limits;
use gregor_model::manifest::{
    Base, BaseEntry, BaseFile, Manifest, ManifestRef, MergeEntry, ObjectRef, PartEntry, PartRange, Place, Release, SegmentEntry,
};
use gregor_model::names::{
    Attempt, Boot, Branch, CheckpointNumber, Incarnation, JobName, PortName, Sequence, StageName, StoreName, StreamName, TaskId, Term,
};
use gregor_model::part::{DeltaAt, Footer, FooterAt, RunAt};
use gregor_model::recovery::{Held, local_store};
use gregor_model::seal::{Sealing, origin_of, publish, seal};
use gregor_model::segment::{DeltaContent, DeltaHeader, InputProgress, OnEnd, Position, Run, RunsHeader, SegmentHeader};
use gregor_model::snapshot::Pages;
use gregor_model::spec::{PlanRef, Spec};
use gregor_model::upkeep::upkeep;

const INCARNATION: Incarnation = Incarnation(7);
const TASKS: [TaskId; 2] = [TaskId { stage: 0, partition: 0 }, TaskId { stage: 1, partition: 1 }];

fn object(key: &str) -> ObjectRef {
    ObjectRef { key: format!("tenants/default/jobs/wordcount/{INCARNATION}/{key}"), sha256: Digest::of(key.as_bytes()) }
}

fn words() -> StreamName {
    StreamName::new("words").unwrap()
}

fn delta(content: DeltaContent) -> DeltaHeader {
    DeltaHeader { store: StoreName::new("counts").unwrap(), content, entries: 3, length: 50, sha256: Digest::of(b"delta") }
}

fn header(task: TaskId, number: u64, parent: Option<Digest>) -> SegmentHeader {
    let position = match task.stage {
        0 => Position::File { plan: Digest::of(b"plan"), split: 1, offset: number },
        _ => Position::Stream { incarnation: Incarnation(9), offset: number * 5 - 5 },
    };
    SegmentHeader {
        incarnation: INCARNATION,
        task,
        branch: Branch(0),
        attempt: Attempt(1),
        sequence: Sequence(number),
        parent,
        inputs: vec![InputProgress { position, on_end: OnEnd::Open, records: number, bytes: number * 10, last_timestamp: -1 }],
        watermark: Some(7),
        component: Digest::of(b"component"),
        schemas: vec![1],
        delta: vec![delta(DeltaContent::Changes), delta(DeltaContent::Deletions)],
        runs: RunsHeader { count: 1, records: 5, sha256: Digest::of(b"runs") },
        files: vec![],
    }
}

fn manifest(number: u64, before: Option<&Manifest>) -> Manifest {
    let parent = |task| before.and_then(|before| before.segments.iter().find(|entry| entry.header.task == task)).map(|entry| entry.hash);
    let segments = TASKS.map(|task| {
        let header = header(task, number, parent(task));
        SegmentEntry { hash: header.hash(), header, deltas: vec![Place { part: 0, offset: 8 }, Place { part: 0, offset: 58 }] }
    });
    let range = PartRange { stream: words(), partition: 1, first_offset: 5 * (number - 1), records: 5 };
    let footer = FooterAt { offset: 800, length: 184, sha256: Digest::of(b"footer") };
    let predecessor = before.map(|before| ManifestRef { number: before.number, object: object("manifests/before") });
    Manifest {
        number: CheckpointNumber(number),
        incarnation: INCARNATION,
        branch: Branch(0),
        term: Term(2),
        created_at_ms: 1_795_255_200_000,
        predecessor,
        pages: None,
        full: None,
        segments: segments.to_vec(),
        parts: vec![PartEntry { object: object("parts/1"), length: 1000, footer, ranges: vec![range] }],
        left_out: vec![],
        releases: vec![Release {
            task: TASKS[1],
            output: 0,
            temporary: "._x.tmp".to_owned(),
            name: format!("part-count-1-{number}"),
            length: 9,
            sha256: Digest::of(b"file"),
        }],
        bases: vec![],
        merges: vec![],
        times: None,
    }
}

/// Four checkpoints: the third merges the first two of a task, the fourth gives it a base.
pub(crate) fn manifests() -> Vec<Manifest> {
    let mut life: Vec<Manifest> = Vec::new();
    for number in 1..=4 {
        let next = manifest(number, life.last());
        life.push(next);
    }
    let hash = |life: &[Manifest], at: usize| life[at].segments[1].hash;
    let (first, last) = (hash(&life, 0), hash(&life, 1));
    let places = vec![Place { part: 0, offset: 108 }];
    life[2].merges = vec![MergeEntry { task: TASKS[1], first, last, delta: vec![delta(DeltaContent::Changes)], places }];
    let files = vec![BaseFile { name: "000009.sst".to_owned(), object: object("bases/1"), length: 4096 }];
    life[3].bases = vec![BaseEntry { task: TASKS[1], base: Base { segment: last, created_at_ms: 5, files } }];
    life
}

/// What they add up to.
pub(crate) fn history() -> History {
    let mut history = History::default();
    manifests().iter().for_each(|manifest| history.apply(manifest).unwrap());
    history
}

/// The pages of that.
pub(crate) fn pages() -> Pages {
    Pages::of(&history())
}

/// A footer with two deltas and two runs.
pub(crate) fn footer() -> Footer {
    let run = |partition, offset| RunAt {
        task: TASKS[0],
        attempt: Attempt(1),
        sequence: Sequence(1),
        offset,
        run: Run { stream: words(), partition, ordinal: 0, length: 100, records: 5, sha256: Digest::of(b"run") },
    };
    let delta = |content, offset| DeltaAt {
        task: TASKS[1],
        attempt: Attempt(1),
        sequence: Sequence(1),
        store: StoreName::new("counts").unwrap(),
        content,
        offset,
        length: 50,
        sha256: Digest::of(b"delta"),
    };
    let deltas = vec![delta(DeltaContent::Changes, 8), delta(DeltaContent::Deletions, 58)];
    Footer { boot: Boot(3), deltas, runs: vec![run(0, 200), run(1, 300), run(1, 400)] }
}

/// A job of two stages.
pub(crate) fn spec() -> Spec {
    let stage = |name: &str, input: Source, sink: Sink| Stage {
        name: StageName::new(name).unwrap(),
        component: Digest::of(name.as_bytes()),
        inputs: vec![Input { port: PortName::new("in").unwrap(), source: input }],
        outputs: vec![Output { port: PortName::new("out").unwrap(), sink }],
        stores: vec![Store { name: StoreName::new("counts").unwrap(), schema_version: 1 }],
        config: BTreeMap::from([("emit".to_owned(), "at-end".to_owned())]),
        on_error: OnError::Skip,
        retries: 1,
    };
    let files = Source::File { folder: "/books".to_owned(), pattern: "*.txt".to_owned(), format: Format::Lines };
    let stages = vec![
        stage("split", files, Sink::Stream { name: words(), partitions: 2 }),
        stage("count", Source::Stream { name: words() }, Sink::File { folder: "/out".to_owned(), format: Format::Tsv }),
    ];
    let job = Job {
        name: JobName::new("wordcount").unwrap(),
        stages,
        produced: Vec::new(),
        checkpoint: CheckpointSettings::default(),
        limits: Limits::default(),
    };
    Spec { job, plans: vec![PlanRef { stage: 0, input: 0, object: object("plans/1") }] }
}

/// The manifest with the hashes that its segments have now: so that what stands in them is looked at.
pub(crate) fn signed_segments(manifest: &Manifest) -> Manifest {
    let mut signed = manifest.clone();
    signed.segments.iter_mut().for_each(|entry| entry.hash = entry.header.hash());
    signed
}

/// Takes a manifest in where one of its number belongs in the life.
pub(crate) fn apply(life: &[Manifest], manifest: &Manifest) {
    for candidate in [manifest.clone(), signed_segments(manifest)] {
        let mut history = History::default();
        for before in life.iter().take_while(|before| candidate.predecessor.as_ref().is_some_and(|last| before.number <= last.number)) {
            history.apply(before).unwrap();
        }
        if history.apply(&candidate).is_ok() {
            go_on(history);
        }
    }
}

/// Begins with pages.
pub(crate) fn begin(pages: Pages) {
    if let Ok(history) = pages.history(Some(CheckpointNumber(4))) {
        go_on(history);
    }
}

/// What a start and a running job do with a history.
pub(crate) fn go_on(mut history: History) {
    let job = spec().job;
    let again = Pages::of(&history).history(history.number);
    assert_eq!(again, Ok(History { releases: Vec::new(), ..history.clone() }), "its pages say something else");
    let keys = JobKeys::new(&job.name, INCARNATION);
    for (&task, known) in &history.tasks {
        let settings = CheckpointSettings { base_interval: Duration::MAX, ..job.checkpoint.clone() };
        for now in [0, u64::MAX] {
            let _ = (upkeep(task, known, &job.checkpoint, (now, 0)), upkeep(task, known, &settings, (now, now)));
        }
        let held = Held { incarnation: known.header.incarnation, branch: known.header.branch, segment: known.segment };
        let _ = local_store(Some(held), (INCARNATION, Branch(0)), (known.base.as_ref(), &known.chain));
        // A task goes on counting where its last segment stopped.
        for input in &known.header.inputs {
            let _ = (input.records + (1 << 32), input.bytes + (1 << 48));
        }
    }
    for key in history.objects().keys() {
        let _ = (keys.owner(key), number_of_manifest(key));
    }
    for live in &history.parts {
        // As readers of a stream reckon.
        let heads = live.part.ranges.iter().map(|range| (range.first_offset + range.records, range.first_offset)).collect::<Vec<_>>();
        assert!(heads.iter().all(|(end, first)| end >= first));
        let mut heads = live.part.ranges.iter().map(|range| ((range.stream.clone(), range.partition), range.first_offset)).collect();
        publish(&live.part.object, &footer(), &live.origins, &mut heads);
    }
    let _ = (history.finished(&[1, 2]), history.is_final(&job, &[1, 2], &words()), history.head(&words(), 1));
    let sealing = Sealing {
        number: CheckpointNumber(9),
        incarnation: INCARNATION,
        branch: Branch(0),
        term: Term(3),
        created_at_ms: 0,
        predecessor: None,
        left_out: BTreeSet::new(),
        performed: BTreeSet::new(),
        bases: Vec::new(),
        merges: Vec::new(),
    };
    seal(&history, &job, sealing, &[]).unwrap();
    history.forget_read(&job);
}

/// Gives offsets to all runs of a footer, behind heads as large as any history lets them be.
pub(crate) fn publish_runs(footer: &Footer) {
    let origins: BTreeSet<_> =
        footer.runs.iter().map(|at| (at.task, at.attempt.0, at.sequence.0)).chain([origin_of(&header(TASKS[0], 1, None))]).collect();
    let heads: BTreeMap<_, _> = history().heads.into_keys().map(|key| (key, gregor_model::limits::RECORDS_MAX)).collect();
    for run in publish(&object("parts/1"), footer, &origins, &mut heads.clone()) {
        let _ = run.first_offset + run.at.run.records;
    }
}
