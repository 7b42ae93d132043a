#![cfg(test)]
//! The stored formats that this crate reads at a recovery, against files that were written once and are never written again. A test that
//! fails here says that this program no longer reads, or no longer writes, what is on people's disks: raise the version in the `Kind`, keep
//! reading the old one, add a fixture of the new one beside it, and leave these as they are.

use std::path::Path;
use std::sync::Arc;

use gregor_archive::history::load_manifests;
use gregor_archive::{LocalStore, Store as _};
use gregor_model::digest::Digest;
use gregor_model::manifest::{
    MANIFEST, Manifest, ManifestRef, ObjectRef, PAGE, PageRef, PartEntry, PartRange, Place, Release, SegmentEntry,
};
use gregor_model::names::{Attempt, Branch, CheckpointNumber, Incarnation, Sequence, StoreName, StreamName, TaskId, Term};
use gregor_model::part::FooterAt;
use gregor_model::segment::{DeltaContent, DeltaHeader, FileHeader, InputProgress, OnEnd, Position, RunsHeader, SegmentHeader};
use gregor_model::steps::Unobserved;

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

fn manifest(number: u64) -> Manifest {
    let task = TaskId { stage: 1, partition: 3 };
    let header = segment(task, Some(Digest::of(b"parent")));
    Manifest {
        number: CheckpointNumber(number),
        incarnation: Incarnation(7),
        branch: Branch(1),
        term: Term(2),
        created_at_ms: 1_795_255_200_000,
        predecessor: Some(ManifestRef { number: CheckpointNumber(3), object: object("manifests/3") }),
        pages: Some(vec![PageRef { first: CheckpointNumber(1), last: CheckpointNumber(3), object: object("pages/1-3") }]),
        segments: vec![SegmentEntry { hash: header.hash(), header, deltas: vec![Place { part: 0, offset: 8 }] }],
        parts: vec![PartEntry {
            object: object("parts/1"),
            length: 1000,
            footer: FooterAt { offset: 800, length: 184, sha256: Digest::of(b"footer") },
            ranges: vec![PartRange { stream: StreamName::new("words").unwrap(), partition: 2, first_offset: 70, records: 5 }],
        }],
        left_out: vec![TaskId { stage: 0, partition: 0 }],
        releases: vec![Release {
            task,
            output: 0,
            temporary: "._x.tmp".to_owned(),
            name: "part-count-3-5".to_owned(),
            length: 9,
            sha256: Digest::of(b"file"),
        }],
    }
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

#[test]
fn manifests_of_version_1_are_read_and_written() {
    let bytes = fixture("manifest-v1");
    assert_eq!(MANIFEST.decode::<Manifest>(&bytes), Ok(manifest(5)), "read differently");
    assert_eq!(text(MANIFEST.encode(&manifest(5)).unwrap()), text(bytes), "written differently");
}

#[test]
fn pages_of_version_1_are_read_and_written() {
    let bytes = fixture("manifest-page-v1");
    assert_eq!(PAGE.decode::<Vec<Manifest>>(&bytes), Ok(page()), "read differently");
    assert_eq!(text(PAGE.encode(&page()).unwrap()), text(bytes), "written differently");
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
    let manifests = load_manifests(&store, &latest).await.unwrap();
    let numbers: Vec<u64> = manifests.iter().map(|manifest| manifest.number.0).collect();
    assert_eq!(numbers, [1, 3, 4]);
    assert_eq!(manifests[..2], page());
}
