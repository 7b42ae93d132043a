//! `wasi:random`: the random bytes of `context.random` under WASI's names. Refuses more of them at a time than that.

use wasmtime::component::LinkerInstance;

use crate::bindings::context::random;
use crate::host::{Caller, Host};
use crate::services::Services;

/// Serves `wasi:random/random` or `wasi:random/insecure`, by the names of their two functions.
pub(super) fn add<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>, [bytes, number]: [&str; 2]) -> wasmtime::Result<()> {
    instance.func_wrap(bytes, |mut caller: Caller<'_, S>, (len,): (u64,)| Ok((random(&mut caller, len)?,)))?;
    instance.func_wrap(number, |mut caller: Caller<'_, S>, (): ()| Ok((caller.data_mut().call.random.number(),)))
}

/// Serves `wasi:random/insecure-seed`.
pub(super) fn add_seed<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("insecure-seed", |mut caller: Caller<'_, S>, (): ()| {
        let random = &mut caller.data_mut().call.random;
        Ok(((random.number(), random.number()),))
    })
}
