//! Where the newest value of each known key of a store is: one table over all layers, so that a read costs one look-up however many
//! intervals are under way.
//!
//! ```text
//!            table: key ─► (layer, entry)
//!                              │
//!      ┌───────────┬───────────┼─────────────┬──────────────────────┐
//!   active ──►   frozen ──► confirmed ──►  clean, clean, …        reading
//!   writes     in the save  on its way    applied: a bounded      what was read from
//!              of a segment to RocksDB    cache, oldest first     RocksDB, then clean
//! ```
//!
//! A freeze, a confirm and the end of an apply only give a layer another role; not one entry moves. The roads not taken: a table a layer
//! costs as many look-ups as there are layers and is built anew in each interval; copying what was applied into a cache costs the task 0.1 µs
//! for each changed key, all at once.
//!
//! Refuses to read a disk and to know calls: what a call writes is in the overlay until it is committed.

mod sweep;

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::layer::Layer;
use sweep::Sweep;
pub(crate) use sweep::Swept;

/// Layers of one store at once: as many as six bits tell apart.
const LEVELS: usize = 64;
/// Bits of a place that hold the entry.
const ENTRY_BITS: u32 = 26;
/// Keys looked up at once, at most: enough for their cache misses to overlap, few enough for their state to stay in the first-level cache.
pub(crate) const FIND_MANY: usize = 64;
/// Entries of one layer, at most.
pub(crate) const ENTRIES_MAX: usize = 1 << ENTRY_BITS;

/// Hashes the keys of one task. Seeded at random, because keys come from strangers; 32 bits, because every slot keeps them so that a growing
/// table need not fetch its keys again.
#[derive(Clone, Default)]
pub(crate) struct KeyHasher(RandomState);

impl KeyHasher {
    pub(crate) fn hash(&self, key: &[u8]) -> u32 {
        let mut hasher = self.0.build_hasher();
        hasher.write(key);
        u32::try_from(hasher.finish() >> 32).unwrap_or_default()
    }
}

/// 64 bits out of 32 for a table, which takes its buckets from the low and its tags from the high end.
pub(crate) fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// The layer and entry that hold the newest value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    fn new(level: LevelId, entry: u32) -> Self {
        assert!(entry >> ENTRY_BITS == 0, "a layer outgrew the numbers of its entries");
        Self(u32::from(level.0) << ENTRY_BITS | entry)
    }

    fn level(self) -> LevelId {
        LevelId(u8::try_from(self.0 >> ENTRY_BITS).unwrap_or_default())
    }

    fn entry(self) -> u32 {
        self.0 & ((1 << ENTRY_BITS) - 1)
    }
}

/// What the table holds: hash, layer and entry in eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot(u64);

impl Slot {
    fn new(hash: u32, place: Place) -> Self {
        Self(u64::from(hash) << 32 | u64::from(place.0))
    }

    fn hash(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or_default()
    }

    fn place(self) -> Place {
        Place(u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or_default())
    }
}

/// Number of a layer, 0..64. Given to another one when its layer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LevelId(u8);

/// A layer, owned while it grows and shared once it doesn't.
enum Held {
    Growing(Layer),
    Sealed(Arc<Layer>),
}

/// A layer and how many of its entries the table still names.
struct Level {
    held: Held,
    live: usize,
}

impl Level {
    fn layer(&self) -> &Layer {
        match &self.held {
            Held::Growing(layer) => layer,
            Held::Sealed(layer) => layer,
        }
    }
}

/// Whether a key that the index doesn't have can be in RocksDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nobody has looked yet.
    Unasked,
    /// RocksDB was empty at first, and every key that came into it since is here: a key that isn't here is nowhere.
    All,
    /// RocksDB has more.
    Some,
}

/// The layers of one store. See the module.
pub(crate) struct Index {
    hasher: KeyHasher,
    table: HashTable<Slot>,
    levels: Vec<Option<Level>>,
    active: LevelId,
    frozen: Option<LevelId>,
    confirmed: Option<LevelId>,
    reading: Option<LevelId>,
    clean: VecDeque<LevelId>,
    sweep: Option<Sweep>,
    sweeps: u64,
    /// Entries that came in from RocksDB since the last sweep.
    learned: usize,
    known: Known,
}

impl Index {
    pub(crate) fn new(hasher: KeyHasher) -> Self {
        let mut levels: Vec<Option<Level>> = (0..LEVELS).map(|_| None).collect();
        if let Some(first) = levels.first_mut() {
            *first = Some(Level { held: Held::Growing(Layer::default()), live: 0 });
        }
        Self {
            hasher,
            table: HashTable::new(),
            levels,
            active: LevelId(0),
            frozen: None,
            confirmed: None,
            reading: None,
            clean: VecDeque::new(),
            sweep: None,
            sweeps: 0,
            learned: 0,
            known: Known::Unasked,
        }
    }

    /// The place of a key, if any layer knows it.
    pub(crate) fn find(&self, hash: u32, key: &[u8]) -> Option<Place> {
        let levels = &self.levels;
        self.table.find(spread(hash), |slot| is_slot_of(levels, *slot, (hash, key))).map(|slot| slot.place())
    }

    /// The places of up to [`FIND_MANY`] keys, in their order.
    ///
    /// A look-up in a large table waits for memory three times: slot, entry, key. Done key by key these waits add up; done in stages, each of which
    /// fetches for all keys what the next one needs, they overlap. (A million keys: half the time.)
    pub(crate) fn find_many(&self, keys: &[(u32, &[u8])], mut found: impl FnMut(Option<Place>)) {
        let mut places = [None; FIND_MANY];
        for (place, (hash, _)) in places.iter_mut().zip(keys) {
            *place = self.table.find(spread(*hash), |slot| slot.hash() == *hash).map(|slot| slot.place());
        }
        let mut stored: [&[u8]; FIND_MANY] = [&[]; FIND_MANY];
        for (stored, place) in stored.iter_mut().zip(places.iter().take(keys.len())) {
            *stored = place.and_then(|place| Some(self.level(place.level())?.layer().key(place.entry()))).unwrap_or_default();
        }
        warm(stored.iter().take(keys.len()).copied());
        for ((place, stored), (hash, key)) in places.iter().zip(stored).zip(keys) {
            found(match place {
                Some(place) if stored == *key => Some(*place),
                // Another key with the same 32 bits of hash: once in four thousand million.
                Some(_) => self.find(*hash, key),
                None => None,
            });
        }
    }

    /// Counts sweeps: a place outside the active layer is valid as long as this doesn't change.
    pub(crate) fn sweeps(&self) -> u64 {
        self.sweeps
    }

    /// The value at a place; none = the key is known to be absent.
    pub(crate) fn value(&self, place: Place) -> Option<&[u8]> {
        self.level(place.level())?.layer().value(place.entry())
    }

    /// Writes into the active layer; no value = a deletion. `place` is where the key is now, if the caller knows it.
    pub(crate) fn write(&mut self, (hash, key): (u32, &[u8]), value: Option<&[u8]>, place: Option<Place>) {
        let (active, levels) = (self.active, &mut self.levels);
        if let Some(place) = place.filter(|place| place.level() == active) {
            if let Some(layer) = growing(levels, active) {
                layer.set(place.entry(), value);
            }
            return;
        }
        let found = self.table.entry(
            spread(hash),
            // A known place is found by its slot alone, without fetching the key.
            |slot| place.map_or_else(|| is_slot_of(levels, *slot, (hash, key)), |place| *slot == Slot::new(hash, place)),
            |slot| spread(slot.hash()),
        );
        let Some(layer) = growing(levels, active) else { return };
        let before = match found {
            Entry::Occupied(mut found) => {
                let before = found.get().place();
                if before.level() == active {
                    layer.set(before.entry(), value);
                    return;
                }
                *found.get_mut() = Slot::new(hash, Place::new(active, layer.push(key, value)));
                Some(before.level())
            }
            Entry::Vacant(free) => {
                free.insert(Slot::new(hash, Place::new(active, layer.push(key, value))));
                None
            }
        };
        self.gained(active);
        if let Some(before) = before {
            self.lost(before);
        }
    }

    /// Takes in what RocksDB has for a key that the index doesn't know; no value = it is absent there. Places found before stay valid.
    pub(crate) fn learn(&mut self, (hash, key): (u32, &[u8]), value: Option<&[u8]>) -> Option<Place> {
        let reading = self.reading();
        let place = Place::new(reading, growing(&mut self.levels, reading)?.push(key, value));
        self.table.insert_unique(spread(hash), Slot::new(hash, place), |slot| spread(slot.hash()));
        self.gained(reading);
        self.learned += 1;
        Some(place)
    }

    /// Gives dead bytes of the active layer back, when they are many.
    pub(crate) fn reclaim(&mut self) {
        if let Some(layer) = growing(&mut self.levels, self.active) {
            layer.reclaim();
        }
    }

    /// Makes sure that the runs of the active layer are complete: for a scan.
    pub(crate) fn sort_active(&mut self) {
        if let Some(layer) = growing(&mut self.levels, self.active) {
            layer.sort();
        }
    }

    /// The active layer.
    pub(crate) fn active(&self) -> Option<&Layer> {
        self.level(self.active).map(Level::layer)
    }

    /// The frozen and the confirmed layer, newest first: what a scan looks at between the active one and RocksDB.
    pub(crate) fn on_the_way(&self) -> impl Iterator<Item = Arc<Layer>> {
        [self.frozen, self.confirmed].into_iter().flatten().filter_map(|id| self.sealed(id))
    }

    /// Bytes changed and not confirmed, about.
    pub(crate) fn dirty_bytes(&self) -> usize {
        [Some(self.active), self.frozen].into_iter().flatten().filter_map(|id| self.level(id)).map(|level| level.layer().bytes()).sum()
    }

    /// Turns the active layer into the frozen one, if it has changes, and answers it. There must be no frozen layer.
    pub(crate) fn freeze(&mut self) -> Option<Arc<Layer>> {
        if self.active().is_none_or(Layer::is_empty) || self.frozen.is_some() {
            return None;
        }
        let frozen = self.active;
        self.active = self.vacant();
        self.open(self.active);
        self.seal(frozen);
        self.frozen = Some(frozen);
        self.sealed(frozen)
    }

    /// Turns the frozen layer into the confirmed one, and answers it. There must be no confirmed layer.
    pub(crate) fn confirm(&mut self) -> Option<Arc<Layer>> {
        self.confirmed = self.frozen.take();
        self.sealed(self.confirmed?)
    }

    /// Turns the confirmed layer, whose values RocksDB has by now, into a clean one.
    pub(crate) fn applied(&mut self) {
        if let Some(id) = self.confirmed.take() {
            self.clean.push_back(id);
            self.drop_if_dead(id);
        }
    }

    pub(crate) fn known(&self) -> Known {
        self.known
    }

    pub(crate) fn set_known(&mut self, known: Known) {
        self.known = known;
    }

    fn level(&self, id: LevelId) -> Option<&Level> {
        self.levels.get(usize::from(id.0))?.as_ref()
    }

    fn sealed(&self, id: LevelId) -> Option<Arc<Layer>> {
        match &self.level(id)?.held {
            Held::Sealed(layer) => Some(Arc::clone(layer)),
            Held::Growing(_) => None,
        }
    }

    fn gained(&mut self, id: LevelId) {
        if let Some(level) = self.levels.get_mut(usize::from(id.0)).and_then(Option::as_mut) {
            level.live += 1;
        }
    }

    fn lost(&mut self, id: LevelId) {
        if let Some(level) = self.levels.get_mut(usize::from(id.0)).and_then(Option::as_mut) {
            level.live -= 1;
            if level.live == 0 {
                self.drop_if_dead(id);
            }
        }
    }

    /// Opens a growing layer under a vacant number.
    fn open(&mut self, id: LevelId) {
        if let Some(level) = self.levels.get_mut(usize::from(id.0)) {
            *level = Some(Level { held: Held::Growing(Layer::default()), live: 0 });
        }
    }

    fn seal(&mut self, id: LevelId) {
        let Some(level) = self.levels.get_mut(usize::from(id.0)).and_then(Option::as_mut) else { return };
        if let Held::Growing(layer) = &mut level.held {
            let mut layer = std::mem::take(layer);
            layer.seal();
            level.held = Held::Sealed(Arc::new(layer));
        }
    }
}

/// Whether a slot is that of a key.
fn is_slot_of(levels: &[Option<Level>], slot: Slot, (hash, key): (u32, &[u8])) -> bool {
    slot.hash() == hash
        && levels
            .get(usize::from(slot.place().level().0))
            .and_then(Option::as_ref)
            .is_some_and(|level| level.layer().key(slot.place().entry()) == key)
}

/// Fetches the first bytes of many strings into the cache, all at once.
pub(crate) fn warm<'a>(strings: impl Iterator<Item = &'a [u8]>) {
    std::hint::black_box(strings.fold(0, |sum, string| sum ^ string.first().copied().unwrap_or_default()));
}

fn growing(levels: &mut [Option<Level>], id: LevelId) -> Option<&mut Layer> {
    match &mut levels.get_mut(usize::from(id.0))?.as_mut()?.held {
        Held::Growing(layer) => Some(layer),
        Held::Sealed(_) => None,
    }
}

#[cfg(test)]
mod tests;
