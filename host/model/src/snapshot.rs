//! What a history is stored as in a full manifest: pages of tasks, pages of parts, heads. Refuses pages that do not make one history: a task that
//! comes twice, or out of order.
//!
//! Pages are cut at fixed places, tasks by their ids and parts by the order of their confirmation, so a page in which nothing has changed has the
//! same bytes, and the next full manifest names the same object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::Kind;
use crate::history::{History, LivePart, TaskHistory};
use crate::manifest::{Full, Head};
use crate::names::{CheckpointNumber, TaskId};

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
#[error("its pages name task {0} twice, or out of order")]
pub struct OutOfOrder(pub TaskId);

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
    /// A task comes twice.
    pub fn history(self, number: Option<CheckpointNumber>) -> Result<History, OutOfOrder> {
        let mut history = History { number, parts: self.parts.into_iter().flatten().collect(), ..History::default() };
        for entry in self.tasks.into_iter().flatten() {
            if history.tasks.last_key_value().is_some_and(|(&before, _)| before >= entry.task) {
                return Err(OutOfOrder(entry.task));
            }
            history.tasks.insert(entry.task, entry.history);
        }
        history.heads = self.heads.into_iter().map(|head| ((head.stream, head.partition), head.offset)).collect();
        Ok(history)
    }
}

impl Full {
    /// Every object that a full manifest names for what was before it.
    pub fn objects(&self) -> impl Iterator<Item = &crate::manifest::ObjectRef> {
        self.tasks.iter().chain(&self.parts)
    }
}

#[cfg(test)]
mod tests;
