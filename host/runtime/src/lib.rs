//! Runs jobs: the supervisor (one loop over one closed `Event` enum), the workers that call guests, the task loop, commit and recovery. State,
//! outputs and input positions become durable together here, by the confirmation of a manifest, and nowhere else. Refuses to parse job files, to
//! name a concrete adapter, and to go on after an invariant of ours is broken or a durable write has failed for good.
//!
//! ```text
//! source threads ─► input queues ─► workers: tasks ─freeze─► savers ─► archive: parts
//!                        ▲              │  ▲                   │
//!                        │ runs         │  └─orders──┐         │ saved
//!                        └──────────────┼── supervisor ◄───────┘
//!                                       ▼        │ ▲
//!                                   appliers     ▼ │ created, sealed, confirmed, released
//!                                (RocksDB)     commit thread ─► archive: manifests, coordinator, output folders
//! ```

mod back;
mod cell;
mod clock;
mod collect;
mod commit;
mod event;
mod failure;
mod fetch;
mod folders;
mod in_flight;
mod input;
mod keep;
mod metrics;
mod parts;
mod pauses;
mod produce;
mod ready;
mod restore;
mod retry;
mod run;
mod save;
mod services;
pub mod setup;
pub mod stand_ins;
mod start;
mod supervisor;
mod task;
mod threads;
mod waiting;

pub use back::{Returned, go_back};
pub use produce::{Appender, Last, More, Produced, Production, Records, produce};
pub use run::run;
