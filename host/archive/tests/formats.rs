#![cfg(test)]
//! The stored formats that this crate reads at a recovery, against files that were written once and are never written again. A test that
//! fails here says that this program no longer reads, or no longer writes, what is on people's disks: raise the version in the `Kind`, keep
//! reading the old one, add a fixture of the new one beside it, and leave these as they are.

use std::path::Path;
use std::sync::Arc;

use gregor_archive::history::load;
use gregor_archive::{LocalStore, Store as _};
use gregor_model::digest::Digest;
use gregor_model::document::Kind;
use gregor_model::history::{DeltaLink, History, Link, LivePart, TaskHistory};
use gregor_model::manifest::{
    Base, BaseEntry, BaseFile, Full, Head, MANIFEST, Manifest, ManifestRef, MergeEntry, ObjectRef, PAGE, PageRef, PartEntry, PartRange,
    Place, Release, SegmentEntry,
};
use gregor_model::names::{Attempt, Branch, CheckpointNumber, Incarnation, Sequence, StoreName, StreamName, TaskId, Term};
use gregor_model::part::FooterAt;
use gregor_model::segment::{DeltaContent, DeltaHeader, FileHeader, InputProgress, OnEnd, Position, RunsHeader, SegmentHeader};
use gregor_model::snapshot::{PARTS, TASKS, TaskEntry};
use gregor_model::steps::Unobserved;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn object(key: &str) -> ObjectRef {
    ObjectRef { key: key.to_owned(), sha256: Digest::of(key.as_bytes()) }
}

fn segment(task: TaskId, parent: Option<Digest>) -> SegmentHeader {
    SegmentHeader {
        incarnation: Incarnation(7),
        task,
        branch: Branch(1),
        attempt: Attempt(4),
        sequence: Sequence(2),
        parent,
        inputs: vec![
            InputProgress {
                position: Position::File { plan: Digest::of(b"plan"), split: 1, offset: 4096 },
                on_end: OnEnd::Open,
                records: 100,
                bytes: 4096,
                last_timestamp: 1_795_255_200_000,
            },
            InputProgress {
                position: Position::Stream { incarnation: Incarnation(9), offset: 12 },
                on_end: OnEnd::AtEnd,
                records: 12,
                bytes: 345,
                last_timestamp: -1,
            },
        ],
        watermark: Some(1_795_255_199_000),
        component: Digest::of(b"component"),
        schemas: vec![1, 2],
        delta: vec![DeltaHeader {
            store: StoreName::new("counts").unwrap(),
            content: DeltaContent::Changes,
            entries: 3,
            length: 50,
            sha256: Digest::of(b"delta"),
        }],
        runs: RunsHeader { count: 1, records: 5, sha256: Digest::of(b"runs") },
        files: vec![FileHeader { output: 0, temporary: "._x.tmp".to_owned(), length: 9, records: 2, sha256: Digest::of(b"file") }],
    }
}

const TASK: TaskId = TaskId { stage: 1, partition: 3 };

fn part() -> PartEntry {
    PartEntry {
        object: object("parts/1"),
        length: 1000,
        footer: FooterAt { offset: 800, length: 184, sha256: Digest::of(b"footer") },
        ranges: vec![PartRange { stream: StreamName::new("words").unwrap(), partition: 2, first_offset: 70, records: 5 }],
    }
}

/// As version 1 wrote it.
fn manifest(number: u64) -> Manifest {
    let task = TASK;
    let header = segment(task, Some(Digest::of(b"parent")));
    Manifest {
        number: CheckpointNumber(number),
        incarnation: Incarnation(7),
        branch: Branch(1),
        term: Term(2),
        created_at_ms: 1_795_255_200_000,
        predecessor: Some(ManifestRef { number: CheckpointNumber(3), object: object("manifests/3") }),
        pages: Some(vec![PageRef { first: CheckpointNumber(1), last: CheckpointNumber(3), object: object("pages/1-3") }]),
        full: None,
        segments: vec![SegmentEntry { hash: header.hash(), header, deltas: vec![Place { part: 0, offset: 8 }] }],
        parts: vec![part()],
        left_out: vec![TaskId { stage: 0, partition: 0 }],
        releases: vec![Release {
            task,
            output: 0,
            temporary: "._x.tmp".to_owned(),
            name: "part-count-3-5".to_owned(),
            length: 9,
            sha256: Digest::of(b"file"),
        }],
        bases: vec![],
        merges: vec![],
        times: None,
    }
}

/// A full one of version 2, with all that one may say.
fn manifest_v2(number: u64) -> Manifest {
    let head = Head { stream: StreamName::new("words").unwrap(), partition: 2, offset: 70 };
    let entry = |content: DeltaContent| DeltaHeader { content, ..segment(TASK, None).delta.remove(0) };
    Manifest {
        pages: None,
        full: Some(Full { tasks: vec![object("pages/tasks")], parts: vec![object("pages/parts")], heads: vec![head] }),
        bases: vec![BaseEntry { task: TASK, base: base() }],
        merges: vec![MergeEntry {
            task: TaskId { stage: 1, partition: 4 },
            first: Digest::of(b"first"),
            last: Digest::of(b"last"),
            delta: vec![entry(DeltaContent::Changes), entry(DeltaContent::Deletions)],
            places: vec![Place { part: 0, offset: 58 }, Place { part: 0, offset: 108 }],
        }],
        ..manifest(number)
    }
}

fn base() -> Base {
    let files = vec![BaseFile { name: "000009.sst".to_owned(), object: object("bases/1"), length: 4096 }];
    Base { segment: Digest::of(b"last"), created_at_ms: 1_795_255_100_000, files }
}

fn tasks() -> Vec<TaskEntry> {
    let delta = |content, offset| DeltaLink {
        store: StoreName::new("counts").unwrap(),
        content,
        part: object("parts/1"),
        offset,
        length: 50,
        sha256: Digest::of(b"delta"),
        entries: 3,
    };
    let deltas = vec![delta(DeltaContent::Changes, 8), delta(DeltaContent::Deletions, 58)];
    let header = segment(TASK, Some(Digest::of(b"parent")));
    let link = Link { first: Digest::of(b"first"), segment: header.hash(), segments: 8, deltas };
    vec![
        TaskEntry {
            task: TaskId { stage: 0, partition: 0 },
            history: TaskHistory {
                segment: Digest::of(b"first"),
                header: segment(TaskId { stage: 0, partition: 0 }, None),
                base: None,
                chain: vec![],
            },
        },
        TaskEntry { task: TASK, history: TaskHistory { segment: header.hash(), header, base: Some(base()), chain: vec![link] } },
    ]
}

fn bare(number: u64, predecessor: Option<u64>) -> Manifest {
    Manifest {
        predecessor: predecessor.map(|number| ManifestRef { number: CheckpointNumber(number), object: object("manifests/before") }),
        pages: None,
        segments: vec![],
        parts: vec![],
        left_out: vec![],
        releases: vec![],
        ..manifest(number)
    }
}

fn page() -> Vec<Manifest> {
    vec![bare(1, None), bare(3, Some(1))]
}

/// Checks that a fixture is read as `expected`, and written as it is.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(kind: Kind, name: &str, expected: &T) {
    let bytes = fixture(name);
    assert_eq!(kind.decode::<T>(&bytes).as_ref(), Ok(expected), "{name} is read differently");
    assert_eq!(text(kind.encode(expected).unwrap()), text(bytes), "{name} is written differently");
}

#[test]
fn manifests_of_version_1_are_read() {
    assert_eq!(MANIFEST.decode::<Manifest>(&fixture("manifest-v1")), Ok(manifest(5)));
}

#[test]
fn manifests_of_version_2_are_read_and_written() {
    check(MANIFEST, "manifest-v2", &manifest_v2(5));
}

#[test]
fn pages_of_manifests_are_read() {
    assert_eq!(PAGE.decode::<Vec<Manifest>>(&fixture("manifest-page-v1")), Ok(page()));
}

#[test]
fn pages_of_tasks_and_of_parts_are_read_and_written() {
    check(TASKS, "task-page-v1", &tasks());
    check(PARTS, "part-page-v1", &vec![LivePart { part: part(), origins: [(TASK, 4, 2)].into() }]);
}

/// The whole tree of an archive as version 1 wrote it: keys are a stored format too.
#[tokio::test]
async fn a_history_of_version_1_is_found_in_its_archive() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/archive-v1");
    let store = LocalStore::look(&folder, Arc::new(Unobserved)).unwrap();
    let listed = store.list("tenants").await.unwrap();
    let full = listed.iter().find(|object| object.key.ends_with("manifests/0000000004-2-0")).unwrap();
    let bytes = store.read(&full.key, None).await.unwrap();
    let latest = ManifestRef { number: CheckpointNumber(4), object: ObjectRef { key: full.key.clone(), sha256: Digest::of(&bytes) } };
    let loaded = load(&store, &latest).await.unwrap();
    let numbers: Vec<u64> = loaded.manifests.iter().map(|(_, manifest)| manifest.number.0).collect();
    assert_eq!((numbers, loaded.pages.len(), loaded.history.number), (vec![4], 1, Some(CheckpointNumber(4))));
    let mut expected = History::default();
    page().iter().chain(loaded.manifests.iter().map(|(_, manifest)| manifest)).for_each(|manifest| expected.apply(manifest).unwrap());
    assert_eq!(loaded.history, expected);
}
