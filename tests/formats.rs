//! Stored formats of the model: a file of each kind and version, kept in `fixtures/`. Today's code reads them as what they meant, and writes
//! them to the same bytes. (Those of coordination, archive and streams stand beside their crates.) A fixture is never changed: a format that
//! changes gets another version and another file, and the old one stays and stays readable.

use std::fmt::Debug;
use std::fs;

use gregor_model::digest::Digest;
use gregor_model::document::Kind;
use gregor_model::history::{DeltaLink, Link, LivePart, TaskHistory};
use gregor_model::job::{CheckpointSettings, Format, Input, Job, OnError, Output, Sink, Source, Stage, Store};
use gregor_model::limits::Limits;
use gregor_model::manifest::{
    Base, BaseEntry, BaseFile, Full, Head, MANIFEST, Manifest, ManifestRef, MergeEntry, ObjectRef, PAGE, PageRef, PartEntry, PartRange,
    Place, Release, SegmentEntry, Times,
};
use gregor_model::names::{
    Attempt, Boot, Branch, CheckpointNumber, HostId, Incarnation, JobName, PortName, Sequence, StageName, StoreName, StreamName, TaskId,
    Term,
};
use gregor_model::part::{DeltaAt, FOOTER, Footer, FooterAt, RunAt};
use gregor_model::plan::{PLAN, Plan, PlannedFile, Split};
use gregor_model::segment::{DeltaContent, DeltaHeader, FileHeader, InputProgress, OnEnd, Position, Run, RunsHeader, SegmentHeader};
use gregor_model::snapshot::{PARTS, TASKS, TaskEntry};
use gregor_model::spec::{CLUSTER, ClusterMarker, MARKER, Marker, PlanRef, SPEC, Spec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::harness::root;

const JOB: Incarnation = Incarnation(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
const TASK: TaskId = TaskId { stage: 1, partition: 3 };

/// Checks the fixture of the version that is written.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(kind: Kind, expected: &T) {
    let name = format!("{}-v{}", kind.name, kind.version);
    let bytes = fs::read(root().join("tests/fixtures").join(&name)).unwrap_or_else(|error| panic!("tests/fixtures/{name}: {error}"));
    read(kind, kind.version, expected);
    let written = String::from_utf8(kind.encode(expected).unwrap()).unwrap();
    assert_eq!(written, String::from_utf8(bytes).unwrap(), "{name} is written differently");
}

/// Checks that the fixture of a version is read as this.
#[track_caller]
fn read<T: DeserializeOwned + PartialEq + Debug>(kind: Kind, version: u32, expected: &T) {
    let name = format!("{}-v{version}", kind.name);
    let bytes = fs::read(root().join("tests/fixtures").join(&name)).unwrap_or_else(|error| panic!("tests/fixtures/{name}: {error}"));
    assert_eq!(kind.decode::<T>(&bytes).as_ref(), Ok(expected), "{name} is read differently");
}

fn object(key: &str) -> ObjectRef {
    ObjectRef { key: key.to_owned(), sha256: Digest::of(key.as_bytes()) }
}

fn run() -> Run {
    Run { stream: StreamName::new("words").unwrap(), partition: 2, ordinal: 1, length: 500, records: 40, sha256: Digest::of(b"run") }
}

fn input(position: Position, on_end: OnEnd) -> InputProgress {
    InputProgress { position, on_end, records: 1_000, bytes: 65_536, last_timestamp: 1_795_255_200_000 }
}

fn delta(content: DeltaContent) -> DeltaHeader {
    DeltaHeader { store: StoreName::new("counts").unwrap(), content, entries: 3, length: 100, sha256: Digest::of(b"delta") }
}

fn header() -> SegmentHeader {
    SegmentHeader {
        incarnation: JOB,
        task: TASK,
        branch: Branch(1),
        attempt: Attempt(4),
        sequence: Sequence(9),
        parent: Some(Digest::of(b"parent")),
        inputs: vec![
            input(Position::File { plan: Digest::of(b"plan"), split: 2, offset: 4_096 }, OnEnd::Open),
            input(Position::Stream { incarnation: Incarnation(9), offset: 77 }, OnEnd::AtEnd),
            input(Position::Stream { incarnation: Incarnation(10), offset: 0 }, OnEnd::Done),
        ],
        watermark: Some(-1),
        component: Digest::of(b"component"),
        schemas: vec![1, 2],
        delta: vec![delta(DeltaContent::Changes)],
        runs: RunsHeader::of(&[run()]),
        files: vec![FileHeader { output: 0, temporary: "._x.tmp".to_owned(), length: 8, records: 2, sha256: Digest::of(b"file") }],
    }
}

fn footer_at() -> FooterAt {
    FooterAt { offset: 608, length: 300, sha256: Digest::of(b"footer") }
}

fn part() -> PartEntry {
    PartEntry {
        object: object("parts/1"),
        length: 924,
        footer: footer_at(),
        ranges: vec![PartRange { stream: StreamName::new("words").unwrap(), partition: 2, first_offset: 37, records: 40 }],
    }
}

/// With all that a manifest of version 1 says.
fn manifest(number: u64) -> Manifest {
    Manifest {
        number: CheckpointNumber(number),
        incarnation: JOB,
        branch: Branch(1),
        term: Term(3),
        created_at_ms: 1_795_255_200_000,
        predecessor: Some(ManifestRef { number: CheckpointNumber(number - 1), object: object("manifests/before") }),
        pages: Some(vec![PageRef { first: CheckpointNumber(1), last: CheckpointNumber(number - 1), object: object("pages/1") }]),
        full: None,
        segments: vec![SegmentEntry { hash: header().hash(), header: header(), deltas: vec![Place { part: 0, offset: 8 }] }],
        parts: vec![part()],
        left_out: vec![TaskId { stage: 0, partition: 255 }],
        releases: vec![Release {
            task: TASK,
            output: 0,
            temporary: "._x.tmp".to_owned(),
            name: "part-count-3-64".to_owned(),
            length: 8,
            sha256: Digest::of(b"file"),
        }],
        bases: vec![],
        merges: vec![],
        times: None,
    }
}

/// With all that one of version 2 says.
fn full_manifest(number: u64) -> Manifest {
    let head = Head { stream: StreamName::new("words").unwrap(), partition: 2, offset: 37 };
    Manifest {
        pages: None,
        full: Some(Full { tasks: vec![object("pages/tasks")], parts: vec![object("pages/parts")], heads: vec![head] }),
        bases: vec![BaseEntry { task: TASK, base: base() }],
        merges: vec![MergeEntry {
            task: TaskId { stage: 1, partition: 4 },
            first: Digest::of(b"first"),
            last: Digest::of(b"last"),
            delta: vec![delta(DeltaContent::Changes), delta(DeltaContent::Deletions)],
            places: vec![Place { part: 0, offset: 108 }, Place { part: 0, offset: 208 }],
        }],
        times: Some(Times { create_ms: 5, save_ms: 120 }),
        ..manifest(number)
    }
}

fn base() -> Base {
    let files = vec![BaseFile { name: "000009.sst".to_owned(), object: object("bases/1"), length: 4_096 }];
    Base { segment: Digest::of(b"last"), created_at_ms: 1_795_255_100_000, files }
}

fn task() -> TaskEntry {
    let delta = |content, offset| DeltaLink {
        store: StoreName::new("counts").unwrap(),
        content,
        part: object("parts/1"),
        offset,
        length: 100,
        sha256: Digest::of(b"delta"),
        entries: 3,
    };
    let deltas = vec![delta(DeltaContent::Changes, 8), delta(DeltaContent::Deletions, 108)];
    let chain = vec![Link { first: Digest::of(b"first"), segment: header().hash(), segments: 8, deltas }];
    TaskEntry { task: TASK, history: TaskHistory { segment: header().hash(), header: header(), base: Some(base()), chain } }
}

fn spec(checkpoint: CheckpointSettings) -> Spec {
    let stream = || StreamName::new("words").unwrap();
    let stage = |name: &str, source: Source, sink: Sink, on_error: OnError| Stage {
        name: StageName::new(name).unwrap(),
        component: Digest::of(name.as_bytes()),
        inputs: vec![Input { port: PortName::new("in").unwrap(), source }],
        outputs: vec![Output { port: PortName::new("out").unwrap(), sink }],
        stores: vec![Store { name: StoreName::new("s").unwrap(), schema_version: 1 }],
        config: [("emit".to_owned(), "at-end".to_owned())].into(),
        on_error,
        retries: 1,
    };
    let file = Source::File { folder: "/books".to_owned(), pattern: "**".to_owned(), format: Format::Lines };
    let words = Sink::Stream { name: stream(), partitions: 8 };
    let counts = Sink::File { folder: "/out".to_owned(), format: Format::Tsv };
    let job = Job {
        name: JobName::new("word-count_1").unwrap(),
        produced: Vec::new(),
        stages: vec![stage("split", file, words, OnError::Skip), stage("count", Source::Stream { name: stream() }, counts, OnError::Stop)],
        checkpoint: CheckpointSettings { location: Some("/checkpoints".to_owned()), ..checkpoint },
        limits: Limits::default(),
    };
    Spec { job, plans: vec![PlanRef { stage: 0, input: 0, object: object("plans/1") }] }
}

#[test]
fn manifests_and_pages_are_read_and_written_as_ever() {
    check(MANIFEST, &full_manifest(64));
    check(TASKS, &vec![task()]);
    check(PARTS, &vec![LivePart { part: part(), origins: [(TASK, 4, 9)].into() }]);
    read(MANIFEST, 1, &manifest(64));
    read(PAGE, 1, &vec![manifest(2), manifest(3)]);
}

#[test]
fn the_footer_of_a_part_is_read_and_written_as_ever() {
    let (attempt, sequence) = (Attempt(4), Sequence(9));
    let (store, sha256) = (StoreName::new("counts").unwrap(), Digest::of(b"delta"));
    let delta = DeltaAt { task: TASK, attempt, sequence, store, content: DeltaContent::Changes, offset: 8, length: 100, sha256 };
    let deleted = DeltaAt { content: DeltaContent::Deletions, offset: 108, ..delta.clone() };
    let run = |offset| RunAt { task: TASK, attempt, sequence, offset, run: run() };
    check(FOOTER, &Footer { boot: Boot(u128::MAX), deltas: vec![delta.clone(), deleted], runs: vec![run(208)] });
    read(FOOTER, 1, &Footer { boot: Boot(u128::MAX), deltas: vec![delta], runs: vec![run(108)] });
}

#[test]
fn a_plan_is_read_and_written_as_ever() {
    let file = PlannedFile { name: "a/b ü.txt".to_owned(), length: 70_000_000, modified_ns: 1_795_255_200_123_456_789 };
    let split = |start, end| Split { file: 0, start, end };
    check(PLAN, &Plan { files: vec![file], partitions: vec![vec![split(0, 5)], vec![split(5, 6), split(6, 70_000_000)], vec![]] });
}

#[test]
fn a_spec_and_a_marker_are_read_and_written_as_ever() {
    check(SPEC, &spec(CheckpointSettings { threshold_permille: 250, collect_rate: 7, ..CheckpointSettings::default() }));
    // Version 1 left out what is a default here.
    read(SPEC, 1, &spec(CheckpointSettings::default()));
    check(MARKER, &Marker { job: JobName::new("word-count_1").unwrap(), incarnation: JOB });
    check(CLUSTER, &ClusterMarker { cluster: HostId(0xfeed_0000_0000_0000_0000_0000_0000_beef) });
}
