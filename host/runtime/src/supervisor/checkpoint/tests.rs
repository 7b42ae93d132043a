//! What the supervisor checks and asks around a checkpoint, apart from its loop.

use gregor_model::coordinator::Saving;
use gregor_model::digest::Digest;
use gregor_model::history::TaskHistory;
use gregor_model::names::{Attempt, Branch, Incarnation, Sequence};
use gregor_model::seal::SavedSegment;
use gregor_model::segment::{RunsHeader, SegmentHeader};

use super::*;

fn offer(partition: u32, sequence: u64) -> SavedSegment {
    let header = SegmentHeader {
        incarnation: Incarnation(7),
        task: TaskId { stage: 0, partition },
        branch: Branch(0),
        attempt: Attempt(1),
        sequence: Sequence(sequence),
        parent: None,
        inputs: Vec::new(),
        watermark: None,
        component: Digest::of(b"component"),
        schemas: Vec::new(),
        delta: Vec::new(),
        runs: RunsHeader::of(&[]),
        files: Vec::new(),
    };
    SavedSegment { hash: header.hash(), header, deltas: Vec::new() }
}

#[test]
fn a_segment_that_a_manifest_has_left_out_is_not_taken_for_confirmed() {
    let mut history = History::default();
    for SavedSegment { hash, header, .. } in [offer(0, 3), offer(1, 1)] {
        history.tasks.insert(header.task, TaskHistory { segment: hash, header, base: None, chain: Vec::new() });
    }
    let check = |segments| check_taken(&history, (CheckpointNumber(9), &SavedGroup { parts: Vec::new(), segments }));
    assert_eq!(check(vec![offer(1, 1), offer(0, 3)]), Ok(()));
    for (left_out, task) in [(offer(0, 4), "0/0"), (offer(2, 1), "0/2")] {
        let error = check(vec![offer(1, 1), left_out.clone()]).unwrap_err().to_string();
        for fragment in ["checkpoint 9", &left_out.hash.to_string(), task] {
            assert!(error.contains(fragment), "{fragment} is missing: {error}");
        }
    }
}

#[test]
fn grace_and_deadline_end_waits_when_they_are_over_and_not_at_the_next_second() {
    let ms = Duration::from_millis;
    let patience = Patience { grace: ms(40), deadline: ms(90) };
    let saving = |content| Phase::Saving(Saving { number: CheckpointNumber(1), waiting: BTreeSet::new(), content });
    for (phase, waited, expected) in [
        (saving(Content::Some), 0, Some(40)),
        (saving(Content::Some), 30, Some(10)),
        (saving(Content::Some), 50, Some(0)),
        (saving(Content::Empty), 30, Some(60)),
        (Phase::Idle, 30, None),
        (Phase::Sealing(CheckpointNumber(1)), 30, None),
    ] {
        assert_eq!(patience_left(&phase, ms(waited), patience), expected.map(ms), "{phase:?} after {waited} ms");
    }
}
