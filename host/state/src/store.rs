//! One store of a task without its disk: the overlay of the current call over the index of all layers. Refuses to read RocksDB: it says what
//! is missing, and takes in what was found.

use std::sync::Arc;

use gregor_model::limits::{CALL_WRITE_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::error::StateError;
use crate::index::{ENTRIES_MAX, Index, KeyHasher, Known, Place};
use crate::layer::{ARENA_BYTES_MAX, ENTRY_OVERHEAD_BYTES, Layer};
use crate::overlay::Overlay;

/// A key and its hash.
pub(crate) type Hashed<'a> = (u32, &'a [u8]);

/// Where the layers have a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base {
    /// There.
    At(Place),
    /// Nowhere, and RocksDB doesn't have it either.
    Nowhere,
    /// Only RocksDB can tell.
    Unread,
}

/// One store. See the module.
pub(crate) struct Store {
    pub(crate) overlay: Overlay,
    pub(crate) index: Index,
    /// Sweeps of the index when the call wrote first: if there was none since, the places that the overlay remembers are valid.
    sweeps: u64,
    /// The overlay as cursors see it, and its version then.
    copied: Option<(u64, Arc<Layer>)>,
}

impl Store {
    pub(crate) fn new(hasher: KeyHasher) -> Self {
        Self { overlay: Overlay::default(), index: Index::new(hasher), sweeps: 0, copied: None }
    }

    /// What it means that the index has a key at a place, or nowhere.
    pub(crate) fn base(&self, place: Option<Place>) -> Base {
        match place {
            Some(place) => Base::At(place),
            None if self.index.known() == Known::All => Base::Nowhere,
            None => Base::Unread,
        }
    }

    /// The value at a base.
    pub(crate) fn value(&self, base: Base) -> Option<&[u8]> {
        match base {
            Base::At(place) => self.index.value(place),
            Base::Nowhere | Base::Unread => None,
        }
    }

    /// Writes a value that was computed from `base`.
    pub(crate) fn insert(&mut self, key: Hashed<'_>, value: &[u8], base: Base) {
        if self.overlay.is_empty() {
            self.sweeps = self.index.sweeps();
        }
        let below = match base {
            Base::At(place) => Some(place),
            Base::Nowhere | Base::Unread => None,
        };
        self.overlay.insert(key, Some(value), below);
    }

    /// Whether the active layer can take all that a call may write.
    pub(crate) fn check_room(&self) -> Result<(), StateError> {
        let active = self.index.active().map_or((0, 0), |layer| (layer.bytes(), layer.len()));
        // An overlay may keep as much garbage as it has data, and one value more.
        let call = 2 * CALL_WRITE_BYTES_MAX + VALUE_BYTES_MAX;
        if active.0 > ARENA_BYTES_MAX - call || active.1 > ENTRIES_MAX - call / ENTRY_OVERHEAD_BYTES {
            return Err(StateError::Full);
        }
        Ok(())
    }

    /// Moves what the call wrote into the active layer.
    pub(crate) fn commit(&mut self) {
        if self.overlay.is_empty() {
            return;
        }
        let valid = self.sweeps == self.index.sweeps();
        for write in self.overlay.writes() {
            self.index.write((write.hash, write.key), write.value, write.below.filter(|_| valid));
        }
        self.index.reclaim();
        self.rollback();
    }

    /// Forgets what the call wrote.
    pub(crate) fn rollback(&mut self) {
        if !self.overlay.is_empty() {
            self.overlay.clear();
        }
        self.copied = None;
    }

    /// Bytes that a cursor opened now would copy, at most.
    pub(crate) fn copy_bytes(&self) -> usize {
        if self.copied.as_ref().is_some_and(|(version, _)| *version == self.overlay.version()) { 0 } else { self.overlay.bytes() }
    }

    /// The overlay as it is now, for a cursor, and how many bytes had to be copied for it.
    pub(crate) fn copy_overlay(&mut self, range: (Option<&[u8]>, Option<&[u8]>)) -> (Arc<Layer>, usize) {
        let version = self.overlay.version();
        if let Some((copied, layer)) = &self.copied
            && *copied == version
        {
            return (Arc::clone(layer), 0);
        }
        let layer = Arc::new(self.overlay.copy(range));
        // Only a copy of everything serves the next cursor too.
        if range == (None, None) {
            self.copied = Some((version, Arc::clone(&layer)));
        }
        let bytes = layer.bytes();
        (layer, bytes)
    }
}

/// Checks the length of a key.
pub(crate) fn check_key(key: &[u8]) -> Result<(), StateError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(StateError::TooLarge(key.len() as u64));
    }
    Ok(())
}

/// Checks the length of a value.
pub(crate) fn check_value(value: &[u8]) -> Result<(), StateError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(StateError::TooLarge(value.len() as u64));
    }
    Ok(())
}
