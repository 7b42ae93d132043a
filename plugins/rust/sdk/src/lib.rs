//! Tasks for Gregor in Rust: what an author implements, and what a task may call.
//!
//! A task is a type that implements [`Task`]. It gets its records in batches, and answers by emitting records, forwarding records, writing
//! to its stores. A call is a transaction: all of it counts, or, where the call fails, nothing. What is kept in fields between two calls is
//! a cache that may vanish, and does vanish with a call that fails; what must last belongs into a [`Store`].
//!
//! ```
//! use gregor::{Batch, Description, Error, Output, Port, Store, Task};
//!
//! const WORDS: Port = Port(0);
//!
//! /// Forwards each word when it is seen for the first time.
//! struct Distinct {
//!     seen: Store,
//! }
//!
//! impl Task for Distinct {
//!     fn describe() -> Description {
//!         Description::new().input("words").output("words").store("seen")
//!     }
//!
//!     fn init() -> Result<Self, Error> {
//!         Ok(Self { seen: Store::open("seen")? })
//!     }
//!
//!     fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<(), Error> {
//!         for record in batch {
//!             let word = record.key().unwrap_or_default();
//!             if self.seen.add(word, 1)? == 1 {
//!                 out.forward(WORDS, &record);
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! gregor::export!(Distinct);
//! ```
//!
//! Put that into the `lib.rs` of a crate with `crate-type = ["cdylib"]`; `cargo build --target wasm32-wasip2` makes the component.
//!
//! Records cross the boundary in columns, a few flat lists a batch. [`Batch`] and [`Output`] hide them: iterating borrows keys and values
//! from the columns, emitting appends to columns that are handed over when the call ends or when they pass 256 KiB. Neither allocates per
//! record.
//!
//! This crate refuses to give a task anything that would differ from one execution to the next: time and randomness come from [`context`].

#[doc(hidden)]
pub mod adapter;
mod batch;
#[doc(hidden)]
pub mod bindings;
mod columns;
pub mod context;
mod description;
mod error;
mod field;
mod host;
mod output;
mod store;
mod task;
pub mod telemetry;

pub use batch::{Batch, Headers, Record, Records};
pub use description::{Description, Port};
pub use error::{Error, StateError};
pub use field::{ABSENT, Absent, Field, FieldWriter, Presence, Written, written};
pub use output::{Emitter, Output};
pub use store::{KeyRange, Pairs, Scan, Store, Values, counter};
pub use task::{Progress, Task};
