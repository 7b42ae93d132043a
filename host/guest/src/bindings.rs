//! The contract as wasmtime sees it: the records that cross the boundary, and one file for each interface that a guest may import. Columns
//! go in from borrowed slices and are read on the way out where they lie in the guest's memory; nothing is copied but what must be kept.
//! Refuses to decide anything: what is checked here is only whether numbers of a guest can be believed.

pub(crate) mod context;
pub(crate) mod output;
pub(crate) mod records;
pub(crate) mod state;
pub(crate) mod telemetry;
pub(crate) mod wasi;
