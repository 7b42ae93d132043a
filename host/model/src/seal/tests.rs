//! Offers that come twice. Refuses to test what histories make of a manifest: `tests/simulation` does.

use super::*;
use crate::job::CheckpointSettings;
use crate::limits::Limits;
use crate::names::{Attempt, Boot, JobName, Sequence};
use crate::segment::{Run, RunsHeader};

fn task() -> TaskId {
    TaskId { stage: 0, partition: 0 }
}

/// A segment that wrote three records, in a part.
fn group() -> SavedGroup {
    let digest = Digest::of(b"part");
    let stream = StreamName::new("s").unwrap();
    let run = Run { stream, partition: 0, ordinal: 0, length: 9, records: 3, sha256: digest };
    let header = SegmentHeader {
        incarnation: Incarnation(1),
        task: task(),
        branch: Branch(0),
        attempt: Attempt(1),
        sequence: Sequence(1),
        parent: None,
        inputs: vec![],
        watermark: None,
        component: digest,
        schemas: vec![],
        delta: vec![],
        runs: RunsHeader::of(std::slice::from_ref(&run)),
        files: vec![],
    };
    let at = RunAt { task: task(), attempt: Attempt(1), sequence: Sequence(1), offset: 8, run };
    let part = SavedPart {
        object: ObjectRef { key: "part".to_owned(), sha256: digest },
        length: 100,
        footer_at: FooterAt { offset: 17, length: 50, sha256: digest },
        footer: Footer { boot: Boot(1), deltas: vec![], runs: vec![at] },
    };
    SavedGroup { parts: vec![part], segments: vec![SavedSegment { hash: header.hash(), header, deltas: vec![] }] }
}

#[test]
fn an_offer_that_came_twice_before_its_number_was_decided_is_taken_once() {
    let job = Job {
        name: JobName::new("j").unwrap(),
        stages: vec![],
        produced: vec![],
        checkpoint: CheckpointSettings::default(),
        limits: Limits::default(),
    };
    let sealing = Sealing {
        number: CheckpointNumber(1),
        incarnation: Incarnation(1),
        branch: Branch(0),
        term: Term(1),
        created_at_ms: 0,
        predecessor: None,
        left_out: BTreeSet::new(),
        performed: BTreeSet::new(),
        bases: vec![],
        merges: vec![],
    };
    let mut history = History::default();
    let (manifest, runs) = seal(&history, &job, sealing, &[group(), group()]).unwrap();
    assert_eq!((manifest.segments.len(), manifest.parts.len(), runs.len()), (1, 1, 1));
    assert_eq!(history.apply(&manifest), Ok(()));
    assert_eq!(history.head(&StreamName::new("s").unwrap(), 0), 3);
    assert_eq!(
        history.tasks.get(&task()).map(|known| judge(&history, &group().segments[0]) == Verdict::Confirmed && known.chain.is_empty()),
        Some(true)
    );
}
