//! `wasi:io`: standard streams and pollables. Standard input has ended; what is written to the outputs goes into the task's log; waiting for
//! an instant moves the guest's monotonic clock there. Refuses to block.

use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource, WasmList};

use crate::failure::Stop;
use crate::host::{Caller, Host};
use crate::services::Services;
use crate::stdio::Stream;

/// What a handle of a pollable means: a number in [`crate::handles::Handles::pollables`].
pub(super) enum Pollable {}
/// What a handle of an input stream means: standard input.
pub(super) enum InputStream {}
/// What a handle of an output stream means: [`STDOUT`] or [`STDERR`].
pub(super) enum OutputStream {}
/// What a handle of an error would mean; there is none.
pub(super) enum Error {}

/// Number of standard output.
pub(super) const STDOUT: u32 = 1;
/// Number of standard error.
pub(super) const STDERR: u32 = 2;

/// Bytes that may be written at a time: one page of a guest's memory.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// `streams.stream-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    /// Never happens.
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "a case of the interface that this host never answers")]
    Failed(Resource<Error>),
    /// There is no more.
    #[component(name = "closed")]
    Closed,
}

/// What functions of streams answer.
type Answer<T> = wasmtime::Result<(Result<T, StreamError>,)>;

/// Serves `wasi:io/streams`.
pub(super) fn add_streams<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    for read in ["read", "blocking-read"] {
        instance.func_wrap(&format!("[method]input-stream.{read}"), ended::<S, Vec<u8>>)?;
    }
    for skip in ["skip", "blocking-skip"] {
        instance.func_wrap(&format!("[method]input-stream.{skip}"), ended::<S, u64>)?;
    }
    for flush in ["flush", "blocking-flush"] {
        let done = |_: Caller<'_, S>, _: (Resource<OutputStream>,)| -> Answer<()> { Ok((Ok(()),)) };
        instance.func_wrap(&format!("[method]output-stream.{flush}"), done)?;
    }
    for write in ["write", "blocking-write-and-flush"] {
        instance.func_wrap(&format!("[method]output-stream.{write}"), write_to::<S>)?;
    }
    instance.func_wrap("[method]output-stream.check-write", |_: Caller<'_, S>, _: (Resource<OutputStream>,)| -> Answer<u64> {
        Ok((Ok(u64::try_from(WRITE_BYTES_MAX)?),))
    })?;
    instance.func_wrap("[method]input-stream.subscribe", |caller: Caller<'_, S>, _: (Resource<InputStream>,)| subscribe(caller))?;
    instance.func_wrap("[method]output-stream.subscribe", |caller: Caller<'_, S>, _: (Resource<OutputStream>,)| subscribe(caller))
}

fn ended<S: Services, T>(_: Caller<'_, S>, _: (Resource<InputStream>, u64)) -> Answer<T> {
    Ok((Err(StreamError::Closed),))
}

fn write_to<S: Services>(mut caller: Caller<'_, S>, (stream, bytes): (Resource<OutputStream>, WasmList<u8>)) -> Answer<()> {
    let bytes = bytes.as_le_slice(&caller);
    if bytes.len() > WRITE_BYTES_MAX {
        return Err(Stop::Trap(format!("{} bytes were printed at once, at most {WRITE_BYTES_MAX} may be", bytes.len())).into());
    }
    let bytes = bytes.to_vec();
    let stream = if stream.rep() == STDERR { Stream::Err } else { Stream::Out };
    caller.data_mut().print(stream, &bytes);
    Ok((Ok(()),))
}

/// A pollable that is always ready.
fn subscribe<S: Services>(mut caller: Caller<'_, S>) -> wasmtime::Result<(Resource<Pollable>,)> {
    Ok((Resource::new_own(caller.data_mut().handles.pollables.insert(None)?),))
}

/// Serves `wasi:io/poll`.
pub(super) fn add_poll<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("poll", |mut caller: Caller<'_, S>, (pollables,): (Vec<Resource<Pollable>>,)| {
        Ok((wait(caller.data_mut(), &pollables)?,))
    })?;
    instance.func_wrap("[method]pollable.block", |mut caller: Caller<'_, S>, (pollable,): (Resource<Pollable>,)| {
        wait(caller.data_mut(), &[pollable]).map(drop)
    })?;
    instance.func_wrap("[method]pollable.ready", |caller: Caller<'_, S>, (pollable,): (Resource<Pollable>,)| {
        let when = *caller.data().handles.pollables.get(pollable.rep())?;
        Ok((when.is_none_or(|when| when <= caller.data().monotonic),))
    })
}

/// Waits, in no time, until at least one is ready; answers the indexes of those that are.
fn wait<S: Services>(host: &mut Host<S>, pollables: &[Resource<Pollable>]) -> wasmtime::Result<Vec<u32>> {
    let instants = pollables
        .iter()
        .map(|pollable| host.handles.pollables.get(pollable.rep()).map(|when| when.unwrap_or(0)))
        .collect::<Result<Vec<u64>, Stop>>()?;
    let Some(&first) = instants.iter().min() else {
        return Err(Stop::Trap("poll was called with an empty list, and would wait for ever".to_owned()).into());
    };
    host.monotonic = host.monotonic.max(first);
    let ready = (0_u32..).zip(&instants).filter(|&(_, &when)| when <= host.monotonic);
    Ok(ready.map(|(index, _)| index).collect())
}
