//! When a task's chain of deltas is cut: a new base once the deltas outgrow the last one, have become too many, or it has become old; and eight
//! neighbours of like size merged into one before that. Refuses to rewrite a base for small deltas, and to let all tasks begin at once.

use std::time::Duration;

use crate::history::TaskHistory;
use crate::job::CheckpointSettings;
use crate::limits::{BASE_BYTES_MIN, CHAIN_LINKS_MAX, MERGED_BYTES_MAX, MERGED_LINKS};
use crate::names::TaskId;

/// What a task's chain needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// Nothing.
    None,
    /// A new base.
    Base,
    /// These neighbours merged.
    Merge {
        /// Index of the first link.
        first: usize,
        /// Index of the last.
        last: usize,
    },
}

/// Judges a task's chain at `now_ms` (milliseconds since 1970). `began_ms` is when the task was first seen by this process: what the age of a
/// chain without a base counts from.
#[must_use]
pub fn upkeep(task: TaskId, history: &TaskHistory, settings: &CheckpointSettings, (now_ms, began_ms): (u64, u64)) -> Upkeep {
    let deltas = history.delta_bytes();
    let base = history.base.as_ref().map_or(0, |base| base.bytes()).max(BASE_BYTES_MIN);
    let outgrown = u128::from(deltas) * 1000 > u128::from(base) * u128::from(settings.threshold_permille);
    let made_ms = history.base.as_ref().map_or(began_ms, |base| base.created_at_ms);
    let old = now_ms.saturating_sub(made_ms) >= jittered_ms(task, settings.base_interval);
    if deltas > 0 && (outgrown || old || history.chain.len() >= CHAIN_LINKS_MAX) {
        return Upkeep::Base;
    }
    mergeable(history).map_or(Upkeep::None, |(first, last)| Upkeep::Merge { first, last })
}

/// The interval of a task, three to five quarters of the one asked for, so that the bases of many tasks do not fall due together.
fn jittered_ms(task: TaskId, interval: Duration) -> u64 {
    let spread = u128::from((task.partition.wrapping_mul(0x9E37_79B9) ^ u32::from(task.stage).wrapping_mul(0x85EB_CA6B)) % 512);
    u64::try_from(interval.as_millis() * (768 + spread) / 1024).unwrap_or(u64::MAX)
}

/// The oldest neighbours of like size, by the number of segments that they cover: 1, 8, 64. A chain stays short, and a delta is rewritten once a
/// tier.
fn mergeable(history: &TaskHistory) -> Option<(usize, usize)> {
    let chain = &history.chain;
    let windows = chain.windows(MERGED_LINKS).enumerate();
    windows.into_iter().find_map(|(first, window)| {
        let tier = |segments: u64| segments.max(1).ilog2() / MERGED_LINKS.ilog2();
        let like = window.first().map(|link| tier(link.segments));
        let same = window.iter().all(|link| Some(tier(link.segments)) == like);
        let bytes = window.iter().map(crate::history::Link::bytes).fold(0, u64::saturating_add);
        (same && bytes <= MERGED_BYTES_MAX).then_some((first, first + MERGED_LINKS - 1))
    })
}

#[cfg(test)]
mod tests;
