//! The state of tasks: ordered key-value stores over RocksDB. The only crate that knows RocksDB.
//!
//! What a task changes lives in maps of its own until a checkpoint that contains it is confirmed; only then it goes to RocksDB, which is
//! therefore never ahead of the archive and needs no log of its own. What is on the local disk is a cache: if it is lost, damaged or of
//! another history, it is wiped and rebuilt from deltas.
//!
//! ```text
//! call ─► overlay ─commit─► active ─freeze─► frozen ─confirm─► confirmed ─apply─► RocksDB
//!            │ rollback: dropped     │                             │ applied
//!            ▼                       ▼                             ▼
//!            –              Frozen::write_deltas: SST     clean cache, bounded
//! ```
//!
//! On disk, below the folder of a task:
//!
//! | name | what |
//! |---|---|
//! | `marker` | which segment the store is at least at; JSON, version 1; see [`Marker`] |
//! | `marker.tmp` | the next marker while it is written |
//! | `db/` | RocksDB; one column family a store, named `s-<store>` |
//!
//! And in folders that the caller names and empties at every start:
//!
//! | name | what |
//! |---|---|
//! | `<stem>-<store number>.sst` | what changed in a store: puts and deletions, as RocksDB ingests them |
//! | `<stem>-<store number>-deleted.sst` | the deleted keys once more, as puts of nothing: for [`merge`], which can't read deletions; never applied |
//! | `image-<n>/` | hard links to the files of `db/` at one segment: what a base is made of; see [`Image`] |
//! | `merge-<n>/` | RocksDB in which deltas are merged; gone when that is done |
//!
//! Refuses: to be async (all of it blocks and says so), to read a clock, to decide when a checkpoint is due, to know the archive, to go on after
//! a failed write to the disk, and to trust a length, a file or a counter that it hasn't checked.

mod apply;
mod backend;
mod counter;
mod cursor;
mod delta;
mod error;
mod image;
mod index;
mod layer;
mod local;
mod merge;
mod overlay;
mod store;
mod task;

pub use apply::{Applied, Apply};
pub use backend::{Backend, BackendOptions};
pub use cursor::{CursorId, Direction, KeyRange};
pub use delta::{DeltaFile, Frozen};
pub use error::StateError;
pub use image::{Image, ImageFile, ImageSource};
pub use local::marker::Marker;
pub use merge::merge;
pub use task::{Slot, TaskStores};
