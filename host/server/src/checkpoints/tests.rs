//! Lists and shows checkpoints of a real register and a real archive.

use super::*;
use bytes::Bytes;
use gregor_archive::LocalStore;
use gregor_model::digest::Digest;
use gregor_model::manifest::{Base, BaseEntry, BaseFile, PartEntry, Place, Release, SegmentEntry, Times};
use gregor_model::names::{Attempt, Boot, Branch, Generation, Incarnation, JobName, Sequence, StoreName, StreamName, TaskId, Term};
use gregor_model::part::PartBuilder;
use gregor_model::segment::{DeltaContent, DeltaHeader, InputProgress, OnEnd, Position, Run, RunsHeader, SegmentHeader};
use gregor_model::steps::Unobserved;
use std::sync::Arc;

const INCARNATION: Incarnation = Incarnation(7);
/// 2026-11-22T10:00:00.123Z.
const CREATED_AT_MS: u64 = 1_795_341_600_123;

const TASK: TaskId = TaskId { stage: 1, partition: 3 };

fn segment(number: u64, before: Option<&SegmentEntry>) -> SegmentEntry {
    let input = InputProgress {
        position: Position::Stream { incarnation: INCARNATION, offset: 42 },
        on_end: OnEnd::AtEnd,
        records: 42,
        bytes: 420,
        last_timestamp: 0,
    };
    let header = SegmentHeader {
        incarnation: INCARNATION,
        task: TASK,
        branch: Branch(0),
        attempt: Attempt(2),
        sequence: Sequence(number),
        parent: before.map(|before| before.hash),
        inputs: vec![input],
        watermark: None,
        component: Digest::of(b"component"),
        schemas: vec![1],
        delta: vec![delta(DeltaContent::Changes, 3, b"delta"), delta(DeltaContent::Deletions, 1, b"deleted")],
        runs: RunsHeader::of(&[run()]),
        files: vec![],
    };
    SegmentEntry { hash: header.hash(), header, deltas: vec![Place { part: 0, offset: 8 }, Place { part: 0, offset: 13 }] }
}

fn delta(content: DeltaContent, entries: u64, bytes: &[u8]) -> DeltaHeader {
    let (store, length, sha256) = (StoreName::new("counts").unwrap(), bytes.len() as u64, Digest::of(bytes));
    DeltaHeader { store, content, entries, length, sha256 }
}

const RUN: &[u8] = b"the blocks of a run";

fn run() -> Run {
    let (length, sha256) = (RUN.len() as u64, Digest::of(RUN));
    Run { stream: StreamName::new("words").unwrap(), partition: 0, ordinal: 0, length, records: 7, sha256 }
}

/// A part with the deltas and the run of a segment, put into the archive.
fn part(archive: &LocalStore, (number, segment): (u64, &SegmentEntry)) -> PartEntry {
    let mut builder = PartBuilder::new(Boot(1));
    for (header, bytes) in segment.header.delta.iter().zip([&b"delta"[..], b"deleted"]) {
        builder.delta(segment.header.origin(), header, bytes);
    }
    builder.run(segment.header.origin(), run(), RUN);
    let part = builder.finish().unwrap();
    let object = ObjectRef { key: format!("parts/{number}"), sha256: Digest::of(&part.bytes) };
    let length = part.bytes.len() as u64;
    wait(archive.create(&object.key, Bytes::from(part.bytes))).unwrap().unwrap();
    PartEntry { object, length, footer: part.footer_at, ranges: vec![] }
}

/// A base of the segment before, with a file that every base has and one of its own.
fn base(number: u64, before: &SegmentEntry) -> BaseEntry {
    let file = |name: &str, length| BaseFile {
        name: format!("{name}.sst"),
        object: ObjectRef { key: format!("bases/{name}"), sha256: Digest::of(b"file") },
        length,
    };
    let base =
        Base { segment: before.hash, created_at_ms: CREATED_AT_MS, files: vec![file("every", 1_000), file(&number.to_string(), 100)] };
    BaseEntry { task: TASK, base }
}

fn manifest(archive: &LocalStore, number: u64, before: Option<(&Manifest, ManifestRef)>) -> Manifest {
    let (predecessor, segment_before) = before.map(|(manifest, at)| (at, manifest.segments[0].clone())).unzip();
    let segment = segment(number, segment_before.as_ref());
    let release = Release {
        task: TASK,
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
        parts: vec![part(archive, (number, &segment))],
        segments: vec![segment],
        left_out: vec![TaskId { stage: 0, partition: 1 }],
        releases: vec![release],
        bases: segment_before.iter().map(|before| base(number, before)).collect(),
        merges: vec![],
        times: Some(Times { create_ms: 2, save_ms: 30 }),
    }
}

/// An archive with the manifests of 1 to 3, and the register: 1 is forgotten, 2 and 3 are confirmed, 4 is aborted.
fn job(folder: &std::path::Path) -> (Register, LocalStore, Vec<u64>) {
    let archive = LocalStore::open(folder, Arc::new(Unobserved)).unwrap();
    let mut chain: Vec<ManifestRef> = Vec::new();
    let mut lengths = Vec::new();
    let mut before: Option<Manifest> = None;
    for number in 1..=3 {
        let manifest = manifest(&archive, number, before.as_ref().zip(chain.last().cloned()));
        let bytes = MANIFEST.encode(&manifest).unwrap();
        let object = ObjectRef { key: format!("manifests/{number}"), sha256: Digest::of(&bytes) };
        lengths.push(bytes.len() as u64 + manifest.parts[0].length);
        before = Some(manifest);
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
            "sha256": latest.object.sha256.to_string(), "bytes": 100 + lengths[2], "kind": "base"
        },
        { "number": 4, "created-at": "2026-11-22T10:00:00.123Z", "status": "aborted", "manifest": null, "sha256": null, "bytes": 0, "kind": "delta" }
    ]);
    assert_eq!(found, expected);
    assert_eq!(listed[0].bytes, 1_100 + lengths[1], "all files of the first base");
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
    let text = shown::text(&first, &shown::Names { stages: vec!["split", "count"], produced: vec![] });
    for expected in [
        "checkpoint    1\n",
        "predecessor   none\n",
        "count/3  0      offset 42  at-end",
        "steps         created in 2 ms, saved in 30 ms\n",
        "TASK     ATTEMPT  SEQUENCE  ENDED  KEYS CHANGED  DELTA BYTES  RECORDS TO STREAMS  RUN BYTES  FILES  HASH",
        "count/3  2        1         no     3             12           7                   19         0      ",
        "part-count-3-1",
        "parts/1",
        "left out\nTASK\nsplit/1",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
    let json = serde_json::to_value(shown::Shown::of(&latest)).unwrap();
    assert_eq!(
        (&json["predecessor"]["number"], &json["segments"][0]["header"]["sequence"]),
        (&serde_json::json!(2), &serde_json::json!(3))
    );
    let size = serde_json::json!([{ "task": { "stage": 1, "partition": 3 }, "delta-bytes": 12, "run-bytes": 19 }]);
    assert_eq!((&json["sizes"], &json["times"]["save-ms"]), (&size, &serde_json::json!(30)));
    assert_eq!(json["bases"][0]["base"]["files"][1]["length"], 100);
    let text = shown::text(&latest, &shown::Names { stages: vec!["split", "count"], produced: vec![] });
    assert!(
        text.contains(
            "\nbases\nTASK     CREATED AT                FILES  BYTES  UP TO SEGMENT\ncount/3  2026-11-22T10:00:00.123Z  2      1100   "
        ),
        "{text}"
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
fn a_checkpoint_is_shown_when_its_runs_were_collected_and_not_when_a_footer_was_altered() {
    let folder = tempfile::tempdir().unwrap();
    let (register, archive, _) = job(folder.path());
    let path = folder.path().join("parts/3");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let found = wait(find(&register, &archive, None)).unwrap().unwrap_or_else(|failure| panic!("{}", failure.message()));
    assert_eq!(serde_json::to_value(&found.sizes).unwrap()[0]["run-bytes"], serde_json::Value::Null);
    assert!(
        shown::text(&found, &shown::Names::default()).contains("12           7                   -  "),
        "{}",
        shown::text(&found, &shown::Names::default())
    );
    std::fs::write(&path, [&bytes[..bytes.len() - 20], b"twenty bytes of else"].concat()).unwrap();
    match wait(find(&register, &archive, None)).unwrap() {
        Ok(_) => panic!("an altered footer was believed"),
        Err(failure) => assert!(failure.exit.code() == 3 && failure.message().contains("parts/3"), "{}", failure.message()),
    }
}

#[test]
fn times_are_shown_in_utc_with_milliseconds() {
    assert_eq!(
        [0, CREATED_AT_MS, u64::MAX].map(rfc3339),
        ["1970-01-01T00:00:00.000Z", "2026-11-22T10:00:00.123Z", "9999-12-31T23:59:59.999Z"]
    );
}
