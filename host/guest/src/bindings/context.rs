//! `gregor:task/context`: all that would otherwise differ from one execution to the next. Refuses more random bytes than a call may draw.

use gregor_model::limits::RANDOM_BYTES_MAX;
use wasmtime::component::{ComponentType, LinkerInstance, Lower};

use crate::failure::Stop;
use crate::host::{Caller, Host, serve};
use crate::services::Services;

/// `context.task-id`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct TaskId {
    job: String,
    stage: String,
    task: u32,
    tasks: u32,
}

/// Serves the interface.
pub(crate) fn add<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("this", this::<S>)?;
    instance.func_wrap("now", |caller: Caller<'_, S>, (): ()| Ok((caller.data().call.now_ms,)))?;
    instance.func_wrap("random", |mut caller: Caller<'_, S>, (len,): (u32,)| random(&mut caller, u64::from(len)).map(|bytes| (bytes,)))?;
    instance.func_wrap("config", config::<S>)?;
    Ok(())
}

fn this<S: Services>(mut caller: Caller<'_, S>, (): ()) -> wasmtime::Result<(TaskId,)> {
    let id = serve(&mut caller, |services, _| services.identity())?;
    Ok((TaskId { job: id.job, stage: id.stage, task: id.task, tasks: id.tasks },))
}

fn config<S: Services>(mut caller: Caller<'_, S>, (key,): (String,)) -> wasmtime::Result<(Option<String>,)> {
    Ok((serve(&mut caller, |services, _| services.config(&key))?,))
}

/// The next random bytes of the call.
pub(crate) fn random<S: Services>(caller: &mut Caller<'_, S>, len: u64) -> wasmtime::Result<Vec<u8>> {
    if len > u64::from(RANDOM_BYTES_MAX) {
        return Err(Stop::Trap(format!("{len} random bytes were asked for, at most {RANDOM_BYTES_MAX} are given at a time")).into());
    }
    Ok(caller.data_mut().call.random.bytes(usize::try_from(len)?))
}
