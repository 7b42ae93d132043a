//! One wasmtime store and one entry into it: the limits are attached when it is made, the services and the budget are handed in for an entry
//! and taken back after it, whatever happens inside. Refuses to interpret what happened.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Store, UpdateDeadline};

use crate::budget::Budget;
use crate::component::{Calls, Descriptor};
use crate::engine::Engine;
use crate::failure::{Circumstances, Stop};
use crate::host::{Call, Host};
use crate::instance::CallLimits;
use crate::services::Services;

/// Bytes that one host call may hand over by copy, at least: wasmtime's own default, ample for the largest value and the largest list.
const COPIED_BYTES_MIN: u64 = 128 << 20;

/// What came of an entry.
pub(crate) struct Entry<S, R> {
    /// The services, handed back; none only if an import panicked with them in hand.
    pub(crate) services: Option<Box<S>>,
    /// CPU time that it took.
    pub(crate) spent: Duration,
    /// What explains a failure.
    pub(crate) circumstances: Circumstances,
    /// What the guest answered.
    pub(crate) result: wasmtime::Result<R>,
}

/// An empty store with its limits, whose calls end when they are told to.
pub(crate) fn sandbox<S: Services>((engine, calls): (&Engine, &Calls), descriptor: Arc<Descriptor>, limits: &CallLimits) -> Store<Host<S>> {
    let mut store = Store::new(engine.wasmtime(), Host::new(descriptor, limits));
    store.limiter(|host| &mut host.growth);
    let calls = calls.clone();
    store.epoch_deadline_callback(move |mut caller| {
        if calls.ended() {
            return Err(Stop::Ended.into());
        }
        caller.data_mut().budget.check()?;
        Ok(UpdateDeadline::Continue(1))
    });
    let copied = limits.emit_bytes.saturating_mul(2).max(COPIED_BYTES_MIN);
    store.set_hostcall_fuel(usize::try_from(copied).unwrap_or(usize::MAX));
    store
}

/// Enters a guest: begins the call with its budget of CPU time, acts, and ends the call.
pub(crate) fn enter<S: Services, R>(
    store: &mut Store<Host<S>>,
    services: Box<S>,
    (call, cpu_max): (Call, Duration),
    act: impl FnOnce(&mut Store<Host<S>>) -> wasmtime::Result<R>,
) -> Entry<S, R> {
    store.data_mut().begin(services, call, Budget::begin(cpu_max));
    store.set_epoch_deadline(1);
    let result = act(store);
    let spent = store.data().budget.spent();
    let (services, circumstances) = store.data_mut().end();
    Entry { services, spent, circumstances, result }
}
