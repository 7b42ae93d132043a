//! WASI 0.2 without effects: what the toolchains of common languages drag into a component. The clock stands still during a call, randomness
//! is seeded, the environment and the file system are empty, what is printed goes into the task's log, and nothing ever blocks. Refuses
//! everything else by a trap that names the function.
//!
//! Not the crate wasmtime-wasi: its `poll` blocks the worker's thread outside of wasm, where no epoch can stop it, and it brings a runtime.

mod cli;
mod clocks;
mod filesystem;
mod io;
mod random;

use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{LinkerInstance, ResourceType};

use crate::failure::Stop;
use crate::host::Host;
use crate::services::Services;

/// The packages of which interfaces may be imported, in any version 0.2.
pub(crate) const PACKAGES: [&str; 5] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random"];

/// A resource that no guest can get hold of.
enum Unreachable {}

/// Serves one interface, under the full name that the component imports it by; `items` is what it imports of it.
pub(crate) fn add<'a, S: Services>(
    instance: &mut LinkerInstance<'_, Host<S>>,
    (name, interface): (&str, &str),
    items: impl Iterator<Item = (&'a str, ComponentItem)>,
) -> wasmtime::Result<()> {
    for (item, kind) in items {
        match kind {
            ComponentItem::ComponentFunc(_) => {
                let message = format!("{name}#{item} was called, which is not served to tasks");
                instance.func_new(item, move |_, _, _, _| Err(Stop::Trap(message.clone()).into()))?;
            }
            // Every interface that uses a resource lists it again; it must be the same type each time.
            ComponentItem::Resource(_) => add_resource(instance, item)?,
            _ => {}
        }
    }
    match interface {
        "wasi:cli/environment" => cli::add_environment(instance),
        "wasi:cli/exit" => cli::add_exit(instance),
        "wasi:cli/stdin" => cli::add_stdin(instance),
        "wasi:cli/stdout" => cli::add_stdout(instance),
        "wasi:cli/stderr" => cli::add_stderr(instance),
        "wasi:cli/terminal-stdin" => cli::add_terminal(instance, "get-terminal-stdin", cli::no_input),
        "wasi:cli/terminal-stdout" => cli::add_terminal(instance, "get-terminal-stdout", cli::no_output),
        "wasi:cli/terminal-stderr" => cli::add_terminal(instance, "get-terminal-stderr", cli::no_output),
        "wasi:clocks/monotonic-clock" => clocks::add_monotonic(instance),
        "wasi:clocks/wall-clock" => clocks::add_wall(instance),
        "wasi:filesystem/preopens" => filesystem::add_preopens(instance),
        "wasi:io/poll" => io::add_poll(instance),
        "wasi:io/streams" => io::add_streams(instance),
        "wasi:random/random" => random::add(instance, ["get-random-bytes", "get-random-u64"]),
        "wasi:random/insecure" => random::add(instance, ["get-insecure-random-bytes", "get-insecure-random-u64"]),
        "wasi:random/insecure-seed" => random::add_seed(instance),
        _ => Ok(()),
    }
}

fn add_resource<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>, name: &str) -> wasmtime::Result<()> {
    let nothing = |_: StoreContextMut<'_, Host<S>>, _: u32| Ok(());
    match name {
        "pollable" => instance.resource(name, ResourceType::host::<io::Pollable>(), |mut caller, number| {
            caller.data_mut().handles.pollables.remove(number);
            Ok(())
        }),
        "input-stream" => instance.resource(name, ResourceType::host::<io::InputStream>(), nothing),
        "output-stream" => instance.resource(name, ResourceType::host::<io::OutputStream>(), nothing),
        "error" => instance.resource(name, ResourceType::host::<io::Error>(), nothing),
        "descriptor" => instance.resource(name, ResourceType::host::<filesystem::Descriptor>(), nothing),
        "terminal-input" => instance.resource(name, ResourceType::host::<cli::TerminalInput>(), nothing),
        "terminal-output" => instance.resource(name, ResourceType::host::<cli::TerminalOutput>(), nothing),
        _ => instance.resource(name, ResourceType::host::<Unreachable>(), nothing),
    }
}
