//! `wasi:clocks`: both clocks begin each call at the call's time. The wall clock stands still; the monotonic clock jumps to an instant that
//! the guest waits for, so that sleeping takes no time and ends. Refuses to look at a real clock.

use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource};

use super::io::Pollable;
use crate::host::{Caller, Host};
use crate::services::Services;

/// Nanoseconds of the step in which the clocks count: the contract's milliseconds.
const RESOLUTION: u32 = 1_000_000;

/// `wall-clock.datetime`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Serves `wasi:clocks/wall-clock`.
pub(super) fn add_wall<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("now", |caller: Caller<'_, S>, (): ()| {
        let now = u64::try_from(caller.data().call.now_ms).unwrap_or(0);
        let nanoseconds = u32::try_from(now % 1000).unwrap_or(0) * RESOLUTION;
        Ok((Datetime { seconds: now / 1000, nanoseconds },))
    })?;
    instance.func_wrap("resolution", |_: Caller<'_, S>, (): ()| Ok((Datetime { seconds: 0, nanoseconds: RESOLUTION },)))
}

/// Serves `wasi:clocks/monotonic-clock`.
pub(super) fn add_monotonic<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("now", |caller: Caller<'_, S>, (): ()| Ok((caller.data().monotonic,)))?;
    instance.func_wrap("resolution", |_: Caller<'_, S>, (): ()| Ok((u64::from(RESOLUTION),)))?;
    instance.func_wrap("subscribe-instant", |caller: Caller<'_, S>, (when,): (u64,)| subscribe(caller, when))?;
    instance.func_wrap("subscribe-duration", |caller: Caller<'_, S>, (duration,): (u64,)| {
        let when = caller.data().monotonic.saturating_add(duration);
        subscribe(caller, when)
    })
}

fn subscribe<S: Services>(mut caller: Caller<'_, S>, when: u64) -> wasmtime::Result<(Resource<Pollable>,)> {
    Ok((Resource::new_own(caller.data_mut().handles.pollables.insert(Some(when))?),))
}
