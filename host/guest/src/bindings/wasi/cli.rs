//! `wasi:cli`: an empty environment, standard streams, no terminal. Refuses to exit: a task ends when the host says so.

use wasmtime::component::{ComponentNamedList, LinkerInstance, Lower, Resource};

use super::io::{InputStream, OutputStream};
use crate::failure::Stop;
use crate::host::{Caller, Host};
use crate::services::Services;

/// What a handle of a terminal to read from would mean; there is none.
pub(super) enum TerminalInput {}
/// What a handle of a terminal to write to would mean; there is none.
pub(super) enum TerminalOutput {}

/// Serves `wasi:cli/environment`.
pub(super) fn add_environment<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("get-environment", |_: Caller<'_, S>, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    instance.func_wrap("get-arguments", |_: Caller<'_, S>, (): ()| Ok((Vec::<String>::new(),)))?;
    instance.func_wrap("initial-cwd", |_: Caller<'_, S>, (): ()| Ok((None::<String>,)))
}

/// Serves `wasi:cli/exit`.
pub(super) fn add_exit<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("exit", |_: Caller<'_, S>, (status,): (Result<(), ()>,)| exit(&format!("{status:?}")))?;
    instance.func_wrap("exit-with-code", |_: Caller<'_, S>, (code,): (u8,)| exit(&format!("code {code}")))
}

fn exit(status: &str) -> wasmtime::Result<()> {
    Err(Stop::Trap(format!("the guest exited with {status}; a task returns instead")).into())
}

/// Serves `wasi:cli/stdin`.
pub(super) fn add_stdin<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("get-stdin", |_: Caller<'_, S>, (): ()| Ok((Resource::<InputStream>::new_own(0),)))
}

/// Serves `wasi:cli/stdout`.
pub(super) fn add_stdout<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("get-stdout", |_: Caller<'_, S>, (): ()| Ok((Resource::<OutputStream>::new_own(super::io::STDOUT),)))
}

/// Serves `wasi:cli/stderr`.
pub(super) fn add_stderr<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("get-stderr", |_: Caller<'_, S>, (): ()| Ok((Resource::<OutputStream>::new_own(super::io::STDERR),)))
}

/// Serves one of the interfaces `wasi:cli/terminal-…`.
pub(super) fn add_terminal<S: Services, R>(
    instance: &mut LinkerInstance<'_, Host<S>>,
    function: &str,
    none: fn() -> R,
) -> wasmtime::Result<()>
where
    R: ComponentNamedList + Lower + 'static,
{
    instance.func_wrap(function, move |_: Caller<'_, S>, (): ()| Ok(none()))
}

/// No terminal to read from.
pub(super) const fn no_input() -> (Option<Resource<TerminalInput>>,) {
    (None,)
}

/// No terminal to write to.
pub(super) const fn no_output() -> (Option<Resource<TerminalOutput>>,) {
    (None,)
}
