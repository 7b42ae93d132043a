//! A scan over all layers of a store, in order of the keys or backwards, that sees the store as it was when the scan began.
//!
//! What keeps that promise without a copy of the large layers:
//! * the overlay is copied when the cursor is opened; that is what the call itself wrote, and bounded;
//! * the active layer doesn't change before the call ends, and the cursor ends with the call;
//! * the frozen and the confirmed layer never change; the cursor shares them;
//! * RocksDB is read in pages, each by an iterator of its own that starts after the last key, without a snapshot from page to page. Between two
//!   pages only the applier writes there, and it writes what the confirmed layer says: every key that it puts or deletes has an entry in that
//!   layer, which this cursor holds and which hides whatever RocksDB says of that key. For all other keys RocksDB does not change during a call.
//!
//! Refuses to live longer than its call: it is opened, read and closed between two commits.

use std::cmp::Ordering;
use std::sync::Arc;

use gregor_model::columns::StringsBuf;
use gregor_model::limits::CURSOR_BYTES_MAX;

use crate::error::StateError;
use crate::layer::Layer;
use crate::layer::order::bounds;
use crate::local::Local;
use crate::store::Store;

/// Pairs of the first page that is read from RocksDB; each further one is twice as long.
const PAGE_PAIRS_MIN: usize = 32;
/// Pairs of the longest page.
const PAGE_PAIRS_MAX: usize = 4096;

/// Names an open cursor of the current call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CursorId(pub(crate) u64);

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first key to the last.
    Forward,
    /// From the last key to the first.
    Reverse,
}

/// Which keys a scan visits, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key; none = from the first of all.
    pub start: Option<Vec<u8>>,
    /// The first key that isn't visited any more; none = to the last of all.
    pub end: Option<Vec<u8>>,
    /// Which way.
    pub direction: Direction,
}

impl KeyRange {
    pub(crate) fn borrow(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        (self.start.as_deref(), self.end.as_deref())
    }
}

/// An open scan.
pub(crate) struct Cursor {
    store: u16,
    range: KeyRange,
    /// Newest first: where several have a key the first of them is right.
    sources: Vec<Source>,
    below: Below,
}

/// What is left of one sorted run.
struct Source {
    run: Run,
    low: usize,
    high: usize,
}

/// A sorted run.
enum Run {
    /// The order of a layer that doesn't change.
    Shared(Arc<Layer>),
    /// One of the runs of the active layer.
    Active(usize),
}

/// What comes next in a scan.
struct Head<'a> {
    key: &'a [u8],
    /// The newest; none = deleted.
    value: Option<&'a [u8]>,
    /// A bit for each source that has the key; that of RocksDB is the last.
    holders: u64,
}

/// The pages read from RocksDB.
struct Below {
    page: Layer,
    at: usize,
    next: NextPage,
    pairs: usize,
}

/// Where the next page begins.
enum NextPage {
    First,
    After(Vec<u8>),
    None,
}

impl Cursor {
    /// Opens a scan. `copied` is the overlay.
    pub(crate) fn new(number: u16, store: &mut Store, range: KeyRange, copied: Arc<Layer>) -> Self {
        store.index.sort_active();
        let mut sources = vec![Source::shared(copied, &range)];
        if let Some(active) = store.index.active() {
            sources.extend(active.runs().iter().enumerate().map(|(number, run)| {
                let (low, high) = bounds(active, run, range.borrow());
                Source { run: Run::Active(number), low, high }
            }));
        }
        sources.extend(store.index.on_the_way().map(|layer| Source::shared(layer, &range)));
        sources.retain(|source| source.low < source.high);
        // One bit each in `Head::holders`: a layer has at most 27 runs, since they double.
        assert!(sources.len() < 63, "a scan of {} sorted runs", sources.len());
        let below = Below { page: Layer::default(), at: 0, next: NextPage::First, pairs: PAGE_PAIRS_MIN };
        Self { store: number, range, sources, below }
    }

    /// The number of the store that it scans.
    pub(crate) fn store(&self) -> u16 {
        self.store
    }

    /// The next pairs: at most `max`, and no further one after about [`CURSOR_BYTES_MAX`]. None = the end.
    pub(crate) fn next(&mut self, store: &Store, local: &Arc<Local>, max: usize) -> Result<(StringsBuf, StringsBuf), StateError> {
        let (mut keys, mut values) = (StringsBuf::default(), StringsBuf::default());
        while keys.ends.len() < max && keys.data.len() + values.data.len() < CURSOR_BYTES_MAX {
            self.below.fill(local, (self.store, &self.range))?;
            let Some(head) = self.smallest(store) else { break };
            if let Some(value) = head.value {
                push(&mut keys, head.key)?;
                push(&mut values, value)?;
            }
            let holders = head.holders;
            self.advance(holders);
        }
        Ok((keys, values))
    }

    /// The next key in order.
    fn smallest<'a>(&'a self, store: &'a Store) -> Option<Head<'a>> {
        let active = store.index.active();
        let heads = self.sources.iter().map(|source| source.head(active, self.range.direction)).chain([self.below.head()]);
        let mut best: Option<Head<'a>> = None;
        for (bit, head) in heads.enumerate() {
            let Some((layer, entry)) = head else { continue };
            let key = layer.key(entry);
            let order = best.as_ref().map_or(Ordering::Less, |best| match self.range.direction {
                Direction::Forward => key.cmp(best.key),
                Direction::Reverse => best.key.cmp(key),
            });
            match (order, &mut best) {
                (Ordering::Equal, Some(best)) => best.holders |= 1 << bit,
                (Ordering::Less, _) => best = Some(Head { key, value: layer.value(entry), holders: 1 << bit }),
                _ => {}
            }
        }
        best
    }

    fn advance(&mut self, holders: u64) {
        for (_, source) in self.sources.iter_mut().enumerate().filter(|(bit, _)| holders >> bit & 1 == 1) {
            match self.range.direction {
                Direction::Forward => source.low += 1,
                Direction::Reverse => source.high -= 1,
            }
        }
        if holders >> self.sources.len() & 1 == 1 {
            self.below.at += 1;
        }
    }
}

impl Source {
    fn shared(layer: Arc<Layer>, range: &KeyRange) -> Self {
        let (low, high) = bounds(&layer, layer.order(), range.borrow());
        Self { run: Run::Shared(layer), low, high }
    }

    /// The layer and entry that come next.
    fn head<'a>(&'a self, active: Option<&'a Layer>, direction: Direction) -> Option<(&'a Layer, u32)> {
        let at = match direction {
            Direction::Forward => self.low,
            Direction::Reverse => self.high.checked_sub(1)?,
        };
        if self.low >= self.high {
            return None;
        }
        match &self.run {
            Run::Shared(layer) => Some((layer, *layer.order().get(at)?)),
            Run::Active(run) => active.and_then(|active| Some((active, *active.runs().get(*run).get(at)?))),
        }
    }
}

impl Below {
    fn head(&self) -> Option<(&Layer, u32)> {
        (self.at < self.page.len()).then_some((&self.page, u32::try_from(self.at).ok()?))
    }

    /// Reads the next page, when this one is used up and there is one.
    fn fill(&mut self, local: &Arc<Local>, (store, range): (u16, &KeyRange)) -> Result<(), StateError> {
        if self.at < self.page.len() {
            return Ok(());
        }
        let after = match &self.next {
            NextPage::None => return Ok(()),
            NextPage::First => None,
            NextPage::After(last) => Some(last.as_slice()),
        };
        self.page.clear();
        self.at = 0;
        let (page, pairs) = (&mut self.page, self.pairs);
        local.page(store, (range, after), &mut |key, value| {
            page.push(key, Some(value));
            page.len() < pairs && page.bytes() < CURSOR_BYTES_MAX
        })?;
        self.next = match page.len().checked_sub(1).and_then(|last| u32::try_from(last).ok()) {
            Some(last) => NextPage::After(page.key(last).to_vec()),
            None => NextPage::None,
        };
        self.pairs = PAGE_PAIRS_MAX.min(self.pairs * 2);
        Ok(())
    }
}

fn push(strings: &mut StringsBuf, string: &[u8]) -> Result<(), StateError> {
    strings.push(Some(string)).map_err(|error| StateError::InvalidColumns(error.to_string()))
}
