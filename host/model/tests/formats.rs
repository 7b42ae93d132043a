#![cfg(test)]
//! What is stored but is no document by itself: whole parts, the hash of a segment, keys of the archive, names of output files. Each against
//! what version 1 wrote. (The documents have their fixtures in the system's `tests/fixtures`, and in the crates that own one.) A test that fails
//! here says that recovery would no longer find, or no longer believe, what is on people's disks: such a change takes a new version.

use gregor_model::digest::Digest;
use gregor_model::keys::{JobKeys, number_of_manifest};
use gregor_model::names::{Attempt, Boot, Branch, CheckpointNumber, Incarnation, JobName, Sequence, StoreName, StreamName, TaskId, Term};
use gregor_model::part::{Footer, FooterAt, Origin, PART_HEAD, PART_TAIL, Part, PartBuilder};
use gregor_model::segment::{
    DeltaContent, DeltaHeader, FileHeader, InputProgress, OnEnd, Position, Run, RunsHeader, SegmentHeader, final_name, temporary_name,
};

/// A part whose footer is of version 1.
const PART_V1: &[u8] = include_bytes!("fixtures/part-v1");
/// The same with a list of deleted keys, which takes a footer of version 2.
const PART_V2: &[u8] = include_bytes!("fixtures/part-v2");
const SEGMENT_V1: &str = include_str!("fixtures/segment-v1");
const INCARNATION: Incarnation = Incarnation(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

fn run((stream, partition, ordinal): (&str, u32, u32), bytes: &[u8]) -> Run {
    let (length, sha256) = (bytes.len() as u64, Digest::of(bytes));
    Run { stream: StreamName::new(stream).unwrap(), partition, ordinal, length, records: 3, sha256 }
}

fn delta(content: DeltaContent, bytes: &[u8]) -> DeltaHeader {
    let (store, length, sha256) = (StoreName::new("counts").unwrap(), bytes.len() as u64, Digest::of(bytes));
    DeltaHeader { store, content, entries: 3, length, sha256 }
}

/// A part with these deltas of one store.
fn part(deltas: &[(DeltaContent, &[u8])]) -> Part {
    let mut builder = PartBuilder::new(Boot(u128::MAX));
    let of = |partition| Origin { task: TaskId { stage: 1, partition }, attempt: Attempt(4), sequence: Sequence(9) };
    for &(content, bytes) in deltas {
        builder.delta(of(3), &delta(content, bytes), bytes);
    }
    // Not in the order of the footer: offsets of records are given in that.
    for (task, place, bytes) in
        [(3, ("words", 2, 1), "run d"), (3, ("words", 2, 0), "run c"), (0, ("words", 2, 0), "run b"), (5, ("else", 7, 0), "run a")]
    {
        builder.run(of(task), run(place, bytes.as_bytes()), bytes.as_bytes());
    }
    builder.finish().unwrap()
}

/// What is in the fixture of version 1.
fn part_v1() -> Part {
    part(&[(DeltaContent::Changes, b"a delta")])
}

/// What is in the fixture of version 2.
fn part_v2() -> Part {
    part(&[(DeltaContent::Changes, b"a delta"), (DeltaContent::Deletions, b"deleted keys")])
}

fn segment() -> SegmentHeader {
    let input = |position, on_end| InputProgress { position, on_end, records: 1_000, bytes: 65_536, last_timestamp: -7 };
    SegmentHeader {
        incarnation: INCARNATION,
        task: TaskId { stage: 1, partition: 3 },
        branch: Branch(1),
        attempt: Attempt(4),
        sequence: Sequence(9),
        parent: Some(Digest::of(b"parent")),
        inputs: vec![
            input(Position::File { plan: Digest::of(b"plan"), split: 2, offset: 4_096 }, OnEnd::Open),
            input(Position::Stream { incarnation: Incarnation(9), offset: 77 }, OnEnd::AtEnd),
            input(Position::Stream { incarnation: Incarnation(10), offset: u64::MAX }, OnEnd::Done),
        ],
        watermark: Some(i64::MIN),
        component: Digest::of(b"component"),
        schemas: vec![1, 2],
        delta: vec![DeltaHeader {
            store: StoreName::new("counts").unwrap(),
            content: DeltaContent::Changes,
            entries: 3,
            length: 100,
            sha256: Digest::of(b"delta"),
        }],
        runs: RunsHeader::of(&[run(("words", 2, 1), b"run d"), run(("else", 7, 0), b"run a")]),
        files: vec![FileHeader { output: 0, temporary: "._x.tmp".to_owned(), length: 8, records: 2, sha256: Digest::of(b"file") }],
    }
}

/// Finds the footer as a repair would: from the end of the part, without a manifest.
fn footer_at(part: &[u8]) -> FooterAt {
    let (rest, tail) = part.split_at(part.len() - 8);
    let (rest, length) = rest.split_at(rest.len() - 8);
    assert_eq!((&part[..8], tail), (&PART_HEAD[..], &PART_TAIL[..]));
    let length = u64::from_le_bytes(length.try_into().unwrap());
    let offset = rest.len() as u64 - length;
    FooterAt { offset, length, sha256: Digest::of(&rest[usize::try_from(offset).unwrap()..]) }
}

fn bytes(part: &[u8], offset: u64, length: u64) -> &[u8] {
    &part[usize::try_from(offset).unwrap()..][..usize::try_from(length).unwrap()]
}

#[test]
fn a_part_is_written_as_ever() {
    assert_eq!(String::from_utf8_lossy(&part_v2().bytes), String::from_utf8_lossy(PART_V2));
    assert_eq!(part_v2().bytes, PART_V2);
}

#[test]
fn parts_of_every_version_are_read_from_their_own_end() {
    for (stored, expected, deltas) in [(PART_V1, part_v1(), &[&b"a delta"[..]][..]), (PART_V2, part_v2(), &[b"a delta", b"deleted keys"])] {
        let at = footer_at(stored);
        assert_eq!(at.offset, expected.footer_at.offset);
        let footer = Footer::decode(bytes(stored, at.offset, at.length), at).unwrap();
        assert_eq!(footer, expected.footer);
        let runs: Vec<&[u8]> = footer.runs.iter().map(|at| bytes(stored, at.offset, at.run.length)).collect();
        assert_eq!(runs, [b"run a", b"run b", b"run c", b"run d"], "by stream, partition, task, sequence, ordinal");
        let found: Vec<&[u8]> = footer.deltas.iter().map(|at| bytes(stored, at.offset, at.length)).collect();
        assert_eq!(found, deltas);
        assert!(footer.runs.iter().all(|at| Digest::of(bytes(stored, at.offset, at.run.length)) == at.run.sha256));
    }
}

#[test]
fn no_altered_or_shortened_footer_is_believed() {
    let at = footer_at(PART_V2);
    let footer = bytes(PART_V2, at.offset, at.length);
    for index in 0..footer.len() {
        let mut altered = footer.to_vec();
        altered[index] ^= 1 << (index % 8);
        assert!(Footer::decode(&altered, at).is_err(), "byte {index}");
        assert!(Footer::decode(&footer[..index], at).is_err(), "cut at {index}");
    }
    // In a shorter part the same entries point past the content.
    assert!(Footer::decode(footer, FooterAt { offset: at.offset - 1, ..at }).is_err());
}

#[test]
fn a_segment_is_hashed_as_ever() {
    let (header, hash) = SEGMENT_V1.trim_end().split_once('\n').unwrap();
    assert_eq!(serde_json::to_string(&segment()).unwrap(), header, "the text that is hashed");
    assert_eq!(serde_json::from_str::<SegmentHeader>(header).unwrap(), segment());
    assert_eq!(segment().hash().to_string(), hash);
}

#[test]
fn keys_are_those_of_ever() {
    let keys = JobKeys::new(&JobName::new("word-count_1").unwrap(), INCARNATION);
    let root = "tenants/default/jobs/word-count_1/0123456789abcdef0011223344556677";
    let digest = Digest::of(b"");
    let cases = [
        (keys.marker(), "marker".to_owned()),
        (keys.spec(digest), format!("specs/{digest}")),
        (keys.plan(digest), format!("plans/{digest}")),
        (keys.part(Boot(1), 12), "parts/00000000000000000000000000000001/0000000012".to_owned()),
        (keys.manifest(CheckpointNumber(7), Term(3), 1), "manifests/0000000007-3-1".to_owned()),
        (keys.page(Term(3), digest), format!("pages/3/{digest}")),
        (keys.base_file(Boot(1), 12), "bases/00000000000000000000000000000001/0000000012".to_owned()),
        (keys.tombstone(), "tombstone".to_owned()),
    ];
    for (key, expected) in cases {
        assert_eq!(key, format!("{root}/{expected}"));
    }
    assert_eq!(number_of_manifest(&keys.manifest(CheckpointNumber(10_000_000_000), Term(3), 1)), Some(CheckpointNumber(10_000_000_000)));
}

#[test]
fn output_files_are_named_as_ever() {
    let temporary = temporary_name(INCARNATION, ("count", "counts"), (3, Attempt(4), Sequence(9)));
    assert_eq!(temporary, "._0123456789abcdef0011223344556677-count-counts-3-4-9.tmp");
    assert_eq!(final_name("count", None, 3, 64), "part-count-3-64");
    assert_eq!(final_name("count", Some("counts"), 3, 64), "part-count-counts-3-64");
}
