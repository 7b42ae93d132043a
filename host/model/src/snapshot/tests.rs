//! Tests of pages: whatever the history, it comes back whole, and a page in which nothing changed stays the same.

use super::*;
use crate::digest::Digest;
use crate::names::{Attempt, Branch, Incarnation, Sequence, StreamName};
use crate::segment::{RunsHeader, SegmentHeader};

fn task(task: TaskId, text: &str) -> TaskHistory {
    let header = SegmentHeader {
        incarnation: Incarnation(1),
        task,
        branch: Branch(0),
        attempt: Attempt(1),
        sequence: Sequence(1),
        parent: None,
        inputs: vec![],
        watermark: None,
        component: Digest::of(text.as_bytes()),
        schemas: vec![],
        delta: vec![],
        runs: RunsHeader::of(&[]),
        files: vec![],
    };
    TaskHistory { segment: header.hash(), header, base: None, chain: vec![] }
}

fn history() -> History {
    let ids = (0..3).flat_map(|stage| (0..100).map(move |partition| TaskId { stage, partition }));
    History {
        number: Some(CheckpointNumber(9)),
        tasks: ids.map(|id| (id, task(id, "a"))).collect(),
        heads: (0..5).map(|partition| ((StreamName::new("words").unwrap(), partition), u64::from(partition) * 7)).collect(),
        ..History::default()
    }
}

#[test]
fn a_history_comes_back_from_its_pages() {
    let pages = Pages::of(&history());
    assert_eq!(pages.tasks.len(), 6, "two pages a stage");
    assert_eq!(pages.history(Some(CheckpointNumber(9))), Ok(history()));
}

#[test]
fn a_change_of_one_task_changes_one_page() {
    let mut changed = history();
    let id = TaskId { stage: 1, partition: 70 };
    changed.tasks.insert(id, task(id, "b"));
    let (before, after) = (Pages::of(&history()), Pages::of(&changed));
    let differ = before.tasks.iter().zip(&after.tasks).filter(|(before, after)| before != after).count();
    assert_eq!(differ, 1);
}

#[test]
fn a_task_that_comes_twice_or_out_of_order_is_refused() {
    let mut twice = Pages::of(&history());
    twice.tasks.push(twice.tasks[0].clone());
    assert_eq!(twice.history(None), Err(PagesError::OutOfOrder(TaskId { stage: 0, partition: 0 })));
}
