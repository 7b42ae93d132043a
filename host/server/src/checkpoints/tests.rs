//! Lists and shows checkpoints of a real register and a real archive.

use super::*;
use bytes::Bytes;
use gregor_archive::LocalStore;
use gregor_model::digest::Digest;
use gregor_model::manifest::{PartEntry, Release, SegmentEntry};
use gregor_model::names::{Attempt, Boot, Branch, Generation, Incarnation, JobName, Sequence, TaskId, Term};
use gregor_model::part::FooterAt;
use gregor_model::segment::{InputProgress, OnEnd, Position, RunsHeader, SegmentHeader};
use gregor_model::steps::Unobserved;
use std::sync::Arc;

const INCARNATION: Incarnation = Incarnation(7);
/// 2026-11-22T10:00:00.123Z.
const CREATED_AT_MS: u64 = 1_795_341_600_123;

fn segment() -> SegmentEntry {
    let input = InputProgress {
        position: Position::Stream { incarnation: INCARNATION, offset: 42 },
        on_end: OnEnd::AtEnd,
        records: 42,
        bytes: 420,
        last_timestamp: 0,
    };
    let header = SegmentHeader {
        incarnation: INCARNATION,
        task: TaskId { stage: 1, partition: 3 },
        branch: Branch(0),
        attempt: Attempt(2),
        sequence: Sequence(5),
        parent: None,
        inputs: vec![input],
        watermark: None,
        component: Digest::of(b"component"),
        schemas: vec![1],
        delta: vec![],
        runs: RunsHeader::of(&[]),
        files: vec![],
    };
    SegmentEntry { hash: header.hash(), header, deltas: vec![] }
}

fn manifest(number: u64, predecessor: Option<ManifestRef>) -> Manifest {
    let object = ObjectRef { key: format!("parts/{number}"), sha256: Digest::of(b"part") };
    let part = PartEntry { object, length: 1000, footer: FooterAt { offset: 8, length: 900, sha256: Digest::of(b"") }, ranges: vec![] };
    let release = Release {
        task: TaskId { stage: 1, partition: 3 },
        output: 0,
        temporary: "._x.tmp".to_owned(),
        name: "part-count-3-1".to_owned(),
        length: 5,
        sha256: Digest::of(b"file"),
    };
    Manifest {
        number: CheckpointNumber(number),
        incarnation: INCARNATION,
        branch: Branch(0),
        term: Term(1),
        created_at_ms: CREATED_AT_MS,
        predecessor,
        pages: None,
        full: None,
        segments: vec![segment()],
        parts: vec![part],
        left_out: vec![TaskId { stage: 0, partition: 1 }],
        releases: vec![release],
        bases: vec![],
        merges: vec![],
        times: None,
    }
}

/// An archive with the manifests of 1 to 3, and the register: 1 is forgotten, 2 and 3 are confirmed, 4 is aborted.
fn job(folder: &std::path::Path) -> (Register, LocalStore, Vec<u64>) {
    let archive = LocalStore::open(folder, Arc::new(Unobserved)).unwrap();
    let mut chain: Vec<ManifestRef> = Vec::new();
    let mut lengths = Vec::new();
    for number in 1..=3 {
        let bytes = MANIFEST.encode(&manifest(number, chain.last().cloned())).unwrap();
        let object = ObjectRef { key: format!("manifests/{number}"), sha256: Digest::of(&bytes) };
        lengths.push(bytes.len() as u64);
        wait(archive.create(&object.key, Bytes::from(bytes))).unwrap().unwrap();
        chain.push(ManifestRef { number: CheckpointNumber(number), object });
    }
    let record = |at: &ManifestRef| CheckpointRecord {
        number: at.number,
        created_at_ms: CREATED_AT_MS,
        status: Status::Confirmed,
        manifest: Some(at.object.clone()),
    };
    let aborted = CheckpointRecord { number: CheckpointNumber(4), created_at_ms: CREATED_AT_MS, status: Status::Aborted, manifest: None };
    let register = Register {
        job: JobName::new("j").unwrap(),
        incarnation: INCARNATION,
        branch: Branch(0),
        term: Term(1),
        generation: Generation(1),
        attempt: Attempt(1),
        boot: Boot(1),
        spec: None,
        streams: vec![],
        created: CheckpointNumber(4),
        latest: chain.last().cloned(),
        checkpoints: chain.iter().skip(1).map(record).chain([aborted]).collect(),
        savepoints: vec![],
    };
    (register, archive, lengths)
}

#[test]
fn a_list_is_json_in_the_form_of_the_interface_page() {
    let folder = tempfile::tempdir().unwrap();
    let (register, archive, lengths) = job(folder.path());
    let listed = wait(entries(&register, &archive)).unwrap().unwrap();
    let latest = register.latest.unwrap();
    let found = serde_json::to_value(&listed[1..]).unwrap();
    let expected = serde_json::json!([
        {
            "number": 3, "created-at": "2026-11-22T10:00:00.123Z", "status": "confirmed", "manifest": "manifests/3",
            "sha256": latest.object.sha256.to_string(), "bytes": 1000 + lengths[2], "kind": "delta"
        },
        { "number": 4, "created-at": "2026-11-22T10:00:00.123Z", "status": "aborted", "manifest": null, "sha256": null, "bytes": 0, "kind": "delta" }
    ]);
    assert_eq!(found, expected);
    let text = list_text(&listed);
    assert!(text.starts_with("NUMBER  CREATED AT                STATUS     KIND   BYTES"), "{text}");
    assert_eq!(text.lines().count(), 4);
}

#[test]
fn a_checkpoint_is_shown_also_when_coordination_forgot_it() {
    let folder = tempfile::tempdir().unwrap();
    let (register, archive, _) = job(folder.path());
    let latest = wait(find(&register, &archive, None)).unwrap().unwrap_or_else(|failure| panic!("{}", failure.message()));
    assert_eq!(latest.entry.number, 3);
    let first =
        wait(find(&register, &archive, Some(CheckpointNumber(1)))).unwrap().unwrap_or_else(|failure| panic!("{}", failure.message()));
    let text = shown::text(&first, &["split", "count"]);
    for expected in [
        "checkpoint    1\n",
        "predecessor   none\n",
        "count/3  0      offset 42  at-end",
        "part-count-3-1",
        "parts/1",
        "left out\nTASK\nsplit/1",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
    let json = serde_json::to_value(shown::Shown::of(&latest)).unwrap();
    assert_eq!(
        (&json["predecessor"]["number"], &json["segments"][0]["header"]["sequence"]),
        (&serde_json::json!(2), &serde_json::json!(5))
    );
    assert_eq!(json["releases"][0]["name"], "part-count-3-1");
}

#[test]
fn what_is_not_there_is_said_and_what_was_altered_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (register, archive, _) = job(folder.path());
    let message = |number| match wait(find(&register, &archive, Some(CheckpointNumber(number)))).unwrap() {
        Ok(found) => panic!("found {}", found.entry.number),
        Err(failure) => (failure.exit.code(), failure.message()),
    };
    assert_eq!(message(4), (2, "checkpoint 4 is aborted, so it has no manifest; see `gregor checkpoint list`".to_owned()));
    assert_eq!(message(9), (2, "there is no confirmed checkpoint 9, the last one is 3; see `gregor checkpoint list`".to_owned()));
    let path = folder.path().join("manifests/2");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (exit, text) = message(2);
    assert!(exit == 3 && text.contains("manifests/2"), "{exit} {text}");
}

#[test]
fn times_are_shown_in_utc_with_milliseconds() {
    assert_eq!(
        [0, CREATED_AT_MS, u64::MAX].map(rfc3339),
        ["1970-01-01T00:00:00.000Z", "2026-11-22T10:00:00.123Z", "9999-12-31T23:59:59.999Z"]
    );
}
