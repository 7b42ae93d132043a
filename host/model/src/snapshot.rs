//! What a history is stored as in a full manifest: pages of tasks, pages of parts, heads. Refuses pages that do not make one history: a task that
//! comes twice, or out of order, records behind the head of their partition, and counts that can't be.
//!
//! Pages are cut at fixed places, tasks by their ids and parts by the order of their confirmation, so a page in which nothing has changed has the
//! same bytes, and the next full manifest names the same object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::Kind;
use crate::history::{History, LivePart, TaskHistory};
use crate::limits::RECORDS_MAX;
use crate::manifest::{Full, Head, PartRange};
use crate::names::{CheckpointNumber, StreamName, TaskId};

/// How a page of tasks is stored: a list of [`TaskEntry`].
pub const TASKS: Kind = Kind { name: "task-page", version: 1 };
/// How a page of parts is stored: a list of [`LivePart`].
pub const PARTS: Kind = Kind { name: "part-page", version: 1 };
/// Tasks of a page: their headers and chains are some kilobytes each.
pub const TASKS_PER_PAGE: u32 = 64;
/// Parts of a page: some hundred bytes each.
pub const PARTS_PER_PAGE: usize = 256;

/// A task in a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskEntry {
    /// The task.
    pub task: TaskId,
    /// What is confirmed of it.
    pub history: TaskHistory,
}

/// Pages do not make a history.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PagesError {
    /// A task comes twice, or out of order.
    #[error("its pages name task {0} twice, or out of order")]
    OutOfOrder(TaskId),
    /// A task has read more than there can be.
    #[error("its pages say that task {0} has read more than there can be")]
    Counts(TaskId),
    /// A part holds records behind the head of their partition, or the head is where none can be.
    #[error("its pages put records of partition {partition} of stream {stream}, whose head is {head}, where none can be")]
    Head {
        /// The stream.
        stream: StreamName,
        /// The partition.
        partition: u32,
        /// Offset after its last record.
        head: u64,
    },
}

/// The pages of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// Pages of tasks.
    pub tasks: Vec<Vec<TaskEntry>>,
    /// Pages of parts.
    pub parts: Vec<Vec<LivePart>>,
    /// Heads.
    pub heads: Vec<Head>,
}

impl Pages {
    /// Cuts a history into pages: tasks `64 k .. 64 k + 63` of a stage stand in one page.
    #[must_use]
    pub fn of(history: &History) -> Self {
        let mut tasks: BTreeMap<(u16, u32), Vec<TaskEntry>> = BTreeMap::new();
        for (&task, known) in &history.tasks {
            let page = tasks.entry((task.stage, task.partition / TASKS_PER_PAGE)).or_default();
            page.push(TaskEntry { task, history: known.clone() });
        }
        let head = |((stream, partition), &offset): (&(_, u32), &u64)| Head { stream: Clone::clone(stream), partition: *partition, offset };
        Self {
            tasks: tasks.into_values().collect(),
            parts: history.parts.chunks(PARTS_PER_PAGE).map(<[LivePart]>::to_vec).collect(),
            heads: history.heads.iter().map(head).collect(),
        }
    }

    /// Puts a history together again, as it was after `number`; open releases are said by the full manifest itself.
    ///
    /// # Errors
    /// See [`PagesError`].
    pub fn history(self, number: Option<CheckpointNumber>) -> Result<History, PagesError> {
        let mut history = History { number, parts: self.parts.into_iter().flatten().collect(), ..History::default() };
        for entry in self.tasks.into_iter().flatten() {
            if history.tasks.last_key_value().is_some_and(|(&before, _)| before >= entry.task) {
                return Err(PagesError::OutOfOrder(entry.task));
            }
            if !entry.history.header.is_countable() {
                return Err(PagesError::Counts(entry.task));
            }
            history.tasks.insert(entry.task, entry.history);
        }
        history.heads = self.heads.into_iter().map(|head| ((head.stream, head.partition), head.offset)).collect();
        if let Some(((stream, partition), &head)) = history.heads.iter().find(|(_, head)| **head > RECORDS_MAX) {
            return Err(PagesError::Head { stream: stream.clone(), partition: *partition, head });
        }
        history.parts.iter().flat_map(|live| &live.part.ranges).try_for_each(|range| check_range(&history, range))?;
        Ok(history)
    }
}

/// Checks that records lie before the head of their partition: whoever reads them adds offsets and counts.
fn check_range(history: &History, range: &PartRange) -> Result<(), PagesError> {
    let head = history.head(&range.stream, range.partition);
    if range.first_offset.checked_add(range.records).is_some_and(|end| end <= head) {
        return Ok(());
    }
    Err(PagesError::Head { stream: range.stream.clone(), partition: range.partition, head })
}

impl Full {
    /// Every object that a full manifest names for what was before it.
    pub fn objects(&self) -> impl Iterator<Item = &crate::manifest::ObjectRef> {
        self.tasks.iter().chain(&self.parts)
    }
}

#[cfg(test)]
mod tests;
