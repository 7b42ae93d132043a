//! The bounded cache of clean values: layers in the order in which they came, the oldest swept a few entries at a time when they outgrow their
//! budget. What is swept out and still the newest value of its key moves to the youngest layer as long as the living fit into three quarters
//! of the budget: then a sweep only drops dead entries, and a state that fits is read from RocksDB once. Otherwise it is forgotten: first in,
//! first out, where every write makes a key young again.
//!
//! Refuses to sweep much at once: a layer may have a million entries, and a task waits meanwhile.

use super::{Index, Known, LEVELS, Level, LevelId, Place, Slot, growing, spread};
use crate::layer::Layer;

/// Clean layers of one store; the rest of the numbers is for the other roles, and some stay free.
const CLEAN_LAYERS_MAX: usize = LEVELS - 16;
/// Entries after which the layer of what was read becomes clean: small enough to be swept piece by piece.
const READING_ENTRIES: usize = 1 << 16;
/// Bytes after which it does.
const READING_BYTES: usize = 8 * 1024 * 1024;

/// Entries swept for each that was read: some are moved, and some were dead.
const READ_STEPS: usize = 4;

/// How far the oldest clean layer is swept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    id: LevelId,
    next: usize,
}

/// Whether a sweep got to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swept {
    /// The budget is kept.
    Wholly,
    /// There is more to do, later.
    InPart,
}

impl Index {
    /// Bytes of clean layers.
    pub(crate) fn clean_bytes(&self) -> usize {
        self.clean_levels().map(|level| level.layer().bytes()).sum()
    }

    /// Brings the clean layers nearer to `budget` bytes by at most `steps` entries, or more where more was read since the last sweep, and tells
    /// whether there is more to do. Places found before are not valid any more.
    pub(crate) fn sweep(&mut self, budget: usize, steps: usize) -> Swept {
        self.close_reading();
        // What comes in by reading must go out again, however much a call reads.
        let steps = steps.max(READ_STEPS * std::mem::take(&mut self.learned));
        let mut left = if self.clean.len() > CLEAN_LAYERS_MAX { steps * 16 } else { steps };
        while self.clean_bytes() > budget || self.clean.len() > CLEAN_LAYERS_MAX {
            if left == 0 {
                return Swept::InPart;
            }
            if self.clean.is_empty() {
                self.end_reading();
            }
            let Some(&oldest) = self.clean.front() else { break };
            left -= self.sweep_layer(oldest, budget, left).min(left);
        }
        Swept::Wholly
    }

    /// Drops a clean layer without a living entry, wherever it stands.
    pub(super) fn drop_if_dead(&mut self, id: LevelId) {
        if self.level(id).is_some_and(|level| level.live == 0) && self.clean.contains(&id) {
            self.drop_clean(id);
        }
    }

    /// The layer that takes in what is read, opened if there is none.
    pub(super) fn reading(&mut self) -> LevelId {
        if let Some(reading) = self.reading {
            return reading;
        }
        let id = self.vacant();
        self.open(id);
        self.reading = Some(id);
        id
    }

    /// A number that no layer has. Sweeping keeps some vacant; were none left, the oldest clean layer would be forgotten at once.
    pub(super) fn vacant(&mut self) -> LevelId {
        loop {
            let vacant = self.levels.iter().position(Option::is_none);
            if let Some(vacant) = vacant.and_then(|vacant| u8::try_from(vacant).ok()) {
                return LevelId(vacant);
            }
            let oldest = self.clean.front().copied();
            assert!(oldest.is_some(), "all {LEVELS} layers of a store are taken though only four can be other than clean");
            if let Some(oldest) = oldest {
                self.sweep_layer(oldest, 0, usize::MAX);
            }
        }
    }

    /// Ends the layer of what was read, once it is large. Not done while keys are being read: their places must stay valid.
    fn close_reading(&mut self) {
        let large = |layer: &Layer| layer.len() >= READING_ENTRIES || layer.bytes() >= READING_BYTES;
        if self.reading.and_then(|id| self.level(id)).is_some_and(|level| large(level.layer())) {
            self.end_reading();
        }
    }

    fn end_reading(&mut self) {
        if let Some(reading) = self.reading.take() {
            self.seal(reading);
            self.clean.push_back(reading);
            self.drop_if_dead(reading);
        }
    }

    fn clean_levels(&self) -> impl Iterator<Item = &Level> {
        self.clean.iter().chain(&self.reading).filter_map(|&id| self.level(id))
    }

    /// Bytes of those clean entries that the table names, about.
    fn living_bytes(&self) -> usize {
        self.clean_levels().map(|level| level.layer().bytes() / level.layer().len().max(1) * level.live).sum()
    }

    /// Sweeps on in a clean layer, and answers how many entries it looked at.
    fn sweep_layer(&mut self, id: LevelId, budget: usize, steps: usize) -> usize {
        let Some(layer) = self.sealed(id) else { return steps };
        self.sweeps += 1;
        let keep = self.living_bytes() <= budget / 4 * 3;
        let next = self.sweep.filter(|sweep| sweep.id == id).map_or(0, |sweep| sweep.next);
        let end = layer.len().min(next.saturating_add(steps));
        for entry in (0..).skip(next).take(end - next) {
            self.sweep_entry(&layer, Place::new(id, entry), if keep { Fate::Moved } else { Fate::Forgotten });
        }
        self.sweep = Some(Sweep { id, next: end });
        if end == layer.len() || self.level(id).is_none_or(|level| level.live == 0) {
            self.drop_clean(id);
        }
        end - next
    }

    /// Moves or forgets one entry of a clean layer, if the table names it.
    fn sweep_entry(&mut self, layer: &Layer, place: Place, fate: Fate) {
        let (key, value) = (layer.key(place.entry()), layer.value(place.entry()));
        let hash = self.hasher.hash(key);
        let slot = Slot::new(hash, place);
        if self.table.find(spread(hash), |found| *found == slot).is_none() {
            return;
        }
        let to = match fate {
            Fate::Moved => Some(self.reading()),
            Fate::Forgotten => None,
        };
        let Ok(mut found) = self.table.find_entry(spread(hash), |found| *found == slot) else { return };
        if let Some(to) = to {
            if let Some(young) = growing(&mut self.levels, to) {
                *found.get_mut() = Slot::new(hash, Place::new(to, young.push(key, value)));
            }
            self.gained(to);
        } else {
            found.remove();
            // A key known to be absent is no loss: as far as `Known::All` goes, whatever isn't here is absent too.
            if value.is_some() && self.known == Known::All {
                self.known = Known::Some;
            }
        }
        if let Some(level) = self.levels.get_mut(usize::from(place.level().0)).and_then(Option::as_mut) {
            level.live -= 1;
        }
    }

    fn drop_clean(&mut self, id: LevelId) {
        self.clean.retain(|&clean| clean != id);
        if self.sweep.is_some_and(|sweep| sweep.id == id) {
            self.sweep = None;
        }
        if let Some(level) = self.levels.get_mut(usize::from(id.0)) {
            *level = None;
        }
        // A table that has seen busier days gives its memory back.
        if self.table.capacity() > 4 * self.table.len() + READING_ENTRIES {
            self.table.shrink_to(2 * self.table.len(), |slot| spread(slot.hash()));
        }
    }
}

/// What becomes of living entries that are swept out of a layer.
#[derive(Clone, Copy)]
enum Fate {
    /// They go to the youngest clean layer.
    Moved,
    /// They are read from RocksDB when they are needed.
    Forgotten,
}
