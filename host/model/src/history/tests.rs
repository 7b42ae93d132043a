//! When a job has worked off all that there is, and when a stream is final.

use std::collections::BTreeMap;

use super::*;
use crate::job::{CheckpointSettings, Format, Input, OnError, Output, Produced, Sink, Stage};
use crate::limits::Limits;
use crate::names::{Attempt, Branch, Incarnation, JobName, PortName, Sequence, StageName};
use crate::segment::RunsHeader;

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn stage(stage: &str, source: Source, to: &str) -> Stage {
    Stage {
        name: StageName::new(stage).unwrap(),
        component: Digest([0; 32]),
        inputs: vec![Input { port: PortName::new("in").unwrap(), source }],
        outputs: vec![Output { port: PortName::new("out").unwrap(), sink: Sink::Stream { name: name(to), partitions: 2 } }],
        stores: vec![],
        config: BTreeMap::new(),
        on_error: OnError::Stop,
        retries: 0,
    }
}

/// `outside` → stage 0 → `middle` → stage 1; `files` → stage 2.
fn job() -> Job {
    let from = |stream| Source::Stream { name: name(stream) };
    let files = Source::File { folder: "/in".to_owned(), pattern: "**".to_owned(), format: Format::Lines };
    Job {
        name: JobName::new("j").unwrap(),
        stages: vec![stage("a", from("outside"), "middle"), stage("b", from("middle"), "end"), stage("c", files, "other")],
        produced: vec![Produced { name: name("outside"), partitions: 2 }],
        checkpoint: CheckpointSettings::default(),
        limits: Limits::default(),
    }
}

fn task(id: TaskId, position: Position, on_end: OnEnd) -> (TaskId, TaskHistory) {
    let header = SegmentHeader {
        incarnation: Incarnation(1),
        task: id,
        branch: Branch(0),
        attempt: Attempt(1),
        sequence: Sequence(1),
        parent: None,
        inputs: vec![InputProgress { position, on_end, records: 0, bytes: 0, last_timestamp: 0 }],
        watermark: None,
        component: Digest([0; 32]),
        schemas: vec![],
        delta: vec![],
        runs: RunsHeader::of(&[]),
        files: vec![],
    };
    (id, TaskHistory { segment: header.hash(), header, base: None, chain: vec![] })
}

/// Heads of `outside` and `middle` on both partitions, how far their readers are, whether `outside` was ended, and whether the files were read.
fn check(heads: [u64; 4], read: [Option<u64>; 4], (ended, files): (OnEnd, OnEnd), (caught_up, is_final): (bool, bool)) {
    let (job, tasks) = (job(), [2, 2, 1]);
    let mut history = History::default();
    for (at, (head, read)) in (0_u32..).zip(heads.into_iter().zip(read)) {
        let (stage, partition) = (u16::try_from(at / 2).unwrap(), at % 2);
        history.heads.insert((name(["outside", "middle"][usize::from(stage)]), partition), head);
        let position = |offset| Position::Stream { incarnation: Incarnation(5), offset };
        history.tasks.extend(read.map(|offset| task(TaskId { stage, partition }, position(offset), OnEnd::Open)));
    }
    let Some((Writer::Producer(producer), 2)) = job.writer_of(&name("outside")) else { panic!("no producer") };
    history.tasks.extend([task(producer, Position::Outside { id: None }, ended)]);
    let file = Position::File { plan: Digest([1; 32]), split: 0, offset: 0 };
    history.tasks.extend([task(TaskId { stage: 2, partition: 0 }, file, files)]);
    let found = (history.is_caught_up(&job, &tasks), history.is_final(&job, &tasks, &name("outside")));
    assert_eq!(found, (caught_up, is_final), "{heads:?} {read:?} {ended:?} {files:?}");
}

#[test]
fn a_job_has_caught_up_when_every_reader_stands_at_the_head_and_no_end_is_left_to_be_worked_off() {
    let (open, done) = (OnEnd::Open, OnEnd::Done);
    check([7, 0, 3, 3], [Some(7), Some(0), Some(3), Some(3)], (open, done), (true, false));
    // Who has read nothing stands at the beginning.
    check([7, 0, 3, 0], [Some(7), None, Some(3), None], (open, done), (true, false));
    check([7, 1, 3, 0], [Some(7), None, Some(3), None], (open, done), (false, false));
    check([7, 0, 3, 3], [Some(6), Some(0), Some(3), Some(3)], (open, done), (false, false));
    check([7, 0, 3, 3], [Some(7), Some(0), Some(3), Some(2)], (open, done), (false, false));
    check([7, 0, 3, 3], [Some(7), Some(0), Some(3), Some(3)], (open, OnEnd::AtEnd), (false, false));
    check([7, 0, 3, 3], [Some(7), Some(0), Some(3), Some(3)], (open, open), (false, false));
    // The end of the stream has still to be worked off.
    check([7, 0, 3, 3], [Some(7), Some(0), Some(3), Some(3)], (done, done), (false, true));
    check([0, 0, 0, 0], [None; 4], (open, done), (true, false));
}

#[test]
fn the_position_of_a_production_is_stored_under_its_name() {
    let position = Position::Outside { id: Some(crate::names::ProductionId::new("2026-11-23T10:00:00.5Z").unwrap()) };
    let text = serde_json::to_string(&position).unwrap();
    assert_eq!(text, r#"{"kind":"outside","id":"2026-11-23T10:00:00.5Z"}"#);
    assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), position);
}
