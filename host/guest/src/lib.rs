//! Guests: uploaded components are admitted, instantiated and called here, behind a contract of plain Rust types. The only crate that knows
//! wasmtime. It holds each call to its limits of time, memory, stack and output, checks every number that a guest hands out, and gives a
//! guest nothing but what [`Services`] does for it and a WASI without effects. It refuses to keep anything of a task: state, output and
//! positions are the caller's, who commits or drops them after each call.
//!
//! ```text
//! bytes ─► Engine::admit ─► Component ─► Instance::new(services, limits) ─► process, process, … on_end
//!              │ Refusal                     instantiated at the first call and after each failure; `init` runs in each fresh instance
//! ```
//!
//! A thread that calls guests needs a stack of [`gregor_model::limits::GUEST_STACK_BYTES`] for them and as much again for the host.

mod admission;
mod apart;
mod bindings;
mod budget;
mod cache;
mod component;
mod engine;
mod error;
mod failure;
#[cfg(test)]
mod fixtures;
mod growth;
mod handles;
mod host;
mod instance;
mod link;
mod output;
mod random;
mod sandbox;
mod services;
mod stdio;
mod ticker;

pub use apart::{COMPILE_COMMAND, CompileOrder, compile_apart};
pub use cache::Cache;
pub use component::{Component, Descriptor, Lifecycle, Port, Processor};
pub use engine::{Admitting, Compiling, Engine, EngineOptions};
pub use error::{CallError, GuestError, Refusal, ServiceError, StateRefusal};
pub use instance::{Batch, CallContext, CallLimits, Disposition, Instance, Progress, Rejection, Usage};
pub use output::{HeaderColumns, OutputColumns, OutputRecord};
pub use services::{CursorId, Direction, Level, LogLine, MetricKind, MetricUpdate, ScanRange, Services, TaskIdentity};
pub use stdio::one_line;
