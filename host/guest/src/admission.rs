//! The door: what an upload must be before it is kept. Its form and the names of its imports and exports are read first, which costs nothing;
//! then it is compiled, linked and asked to describe itself, in an instance that can do nothing, with limits on what either may take. Refuses with a
//! reason that tells its author what to do.

use std::collections::BTreeSet;
use std::sync::Arc;

use gregor_model::digest::Digest;
use gregor_model::job::Store;
use gregor_model::limits::{COMPONENT_BYTES_MAX, DESCRIPTION_TEXT_BYTES_MAX, PORTS_MAX, STORES_MAX, VALIDATE_STACK_BYTES};
use gregor_model::names::{PortName, StoreName};
use wasmparser::{BinaryReaderError, Encoding, Parser, Payload, Validator, WasmFeatures};

use crate::apart;
use crate::bindings::records;
use crate::cache::{Cache, Origin};
use crate::component::{Calls, Component, Descriptor, Facts, Lifecycle, Port, Processor};
use crate::engine::{Compiling, Engine};
use crate::error::{CallError, Refusal};
use crate::failure::call_error;
use crate::host::{Call, Phase};
use crate::instance::{CallContext, CallLimits};
use crate::link::{DESCRIBE, Exports, Import, LIFECYCLE, PROCESSOR, SIMPLE_PROCESSOR, link};
use crate::sandbox::{enter, sandbox};

pub(crate) use nobody::Nobody;

mod nobody;

/// See [`Engine::admit_from`].
pub(crate) fn admit(engine: &Engine, cache: Option<&Cache>, bytes: &[u8]) -> Result<Component, Refusal> {
    let facts = inspect(bytes)?;
    let found = cache.and_then(|cache| cache.find(engine, facts.digest));
    let (compiled, origin) = match found {
        Some(compiled) => (validated(bytes, compiled)?, Origin::Loaded),
        None => (compile(engine, bytes)?, Origin::Compiled),
    };
    tracing::debug!(component = %facts.digest, size = facts.size, ?origin, "the component has its code");
    let exports = Exports::find(&compiled, facts.processor, facts.lifecycle)
        .ok_or_else(|| Refusal::Type("a function is missing in an exported interface".to_owned()))?;
    let said = describe(engine, &compiled, &exports)?;
    Ok(Component::new(engine.clone(), (compiled, origin), (facts, exports), check(said)?))
}

/// Compiles, which validates first.
fn compile(engine: &Engine, bytes: &[u8]) -> Result<wasmtime::component::Component, Refusal> {
    match &engine.how().compiling {
        Compiling::Here => {
            wasmtime::component::Component::from_binary(engine.wasmtime(), bytes).map_err(|error| Refusal::Invalid(format!("{error:#}")))
        }
        Compiling::Apart(program) => apart::compile(engine, program, bytes),
    }
}

/// Gives the compiled form of bytes that are valid. A component that was compiled once is, so this can't fail unless the cache lies; but a
/// cache saves compiling only, never a check. Which features are served is part of the cache's key, hence all are let through. On a stack of its own, larger than the one that
/// it was compiled on: a type that is nested as deep as a compiler survives shall not end a host.
fn validated(bytes: &[u8], compiled: wasmtime::component::Component) -> Result<wasmtime::component::Component, Refusal> {
    let validate = || Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).map(drop);
    let valid = apart::on_stack(VALIDATE_STACK_BYTES, validate).map_err(|error| Refusal::NoRoom(error.to_string()))?;
    valid.map(|()| compiled).map_err(|error| Refusal::Invalid(error.to_string()))
}

/// Reads form and names.
fn inspect(bytes: &[u8]) -> Result<Facts, Refusal> {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if size > COMPONENT_BYTES_MAX {
        return Err(Refusal::TooLarge { size, max: COMPONENT_BYTES_MAX });
    }
    if bytes.is_empty() {
        return Err(Refusal::NotWasm("it is empty"));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Refusal::NotWasm("it does not begin with \\0asm"));
    }
    let (imports, exports) = names(bytes)?;
    if let Some(name) = imports.iter().find(|name| Import::of(name).is_none()) {
        return Err(Refusal::UnknownImport { name: name.clone(), known: Import::known() });
    }
    let has = |name: &str| exports.iter().any(|export| export == name);
    let missing = |wanted| Err(Refusal::MissingExport { wanted, found: exports.join(", ") });
    let processor = match (has(PROCESSOR), has(SIMPLE_PROCESSOR)) {
        (true, true) => return Err(Refusal::TwoProcessors(PROCESSOR, SIMPLE_PROCESSOR)),
        (true, false) => Processor::Columns,
        (false, true) => Processor::Records,
        (false, false) => return missing("gregor:task/processor@0.1.0 or gregor:task/simple-processor@0.1.0"),
    };
    if !has(DESCRIBE) {
        return missing(DESCRIBE);
    }
    let lifecycle = if has(LIFECYCLE) { Lifecycle::Exported } else { Lifecycle::Absent };
    Ok(Facts { digest: Digest::of(bytes), size, imports, processor, lifecycle })
}

/// The names of a component's own imports and exports, not of what is nested in it.
fn names(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), Refusal> {
    let invalid = |error: BinaryReaderError| Refusal::Invalid(error.to_string());
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0_usize);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(Refusal::CoreModule),
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

/// Lets the component say what it is, and checks the types of its exports meanwhile.
fn describe(engine: &Engine, compiled: &wasmtime::component::Component, exports: &Exports) -> Result<records::Descriptor, Refusal> {
    let mismatch = |error: wasmtime::Error| Refusal::Type(format!("{error:#}"));
    let linked = link::<Nobody>(compiled).map_err(mismatch)?;
    let function = compiled
        .get_export_index(None, DESCRIBE)
        .and_then(|interface| compiled.get_export_index(Some(&interface), "describe"))
        .ok_or_else(|| Refusal::Type(format!("{DESCRIBE} has no function describe")))?;
    let call_time = engine.how().limits.describe_time;
    let limits = CallLimits { memory_bytes: engine.options().memory_bytes_max, call_time, emit_records: 0, emit_bytes: 0 };
    let mut store = sandbox::<Nobody>((engine, &Calls::default()), Arc::default(), &limits);
    let call = Call::new(Phase::Describe, &CallContext { now_ms: 0, seed: [0; 32] }, None);
    let entry = enter(&mut store, Box::new(Nobody), (call, call_time), |store| {
        let instance = linked.instantiate(&mut *store)?;
        let types = exports.of(store, instance).map(drop);
        let typed = types.and_then(|()| instance.get_typed_func::<(), (records::Descriptor,)>(&mut *store, function));
        Ok(match typed {
            Ok(describe) => Ok(describe.call(store, ())?.0),
            Err(error) => Err(error),
        })
    });
    match entry.result {
        Ok(said) => said.map_err(mismatch),
        Err(error) => Err(match call_error(&error, &entry.circumstances) {
            CallError::Retryable(reason) => Refusal::NoRoom(reason),
            CallError::Poison(reason) | CallError::Fatal(reason) | CallError::Broken(reason) => Refusal::Describe(reason),
        }),
    }
}

/// Believes what a component says of itself, if it can be believed.
fn check(said: records::Descriptor) -> Result<Descriptor, Refusal> {
    let records::Descriptor { name, version, inputs, outputs, stores } = said;
    bound("a name of bytes:", name.len(), DESCRIPTION_TEXT_BYTES_MAX)?;
    bound("a version of bytes:", version.len(), DESCRIPTION_TEXT_BYTES_MAX)?;
    bound("inputs:", inputs.len(), PORTS_MAX)?;
    bound("outputs:", outputs.len(), PORTS_MAX)?;
    bound("stores:", stores.len(), STORES_MAX)?;
    let stores = stores
        .into_iter()
        .map(|store| Ok(Store { name: StoreName::new(store.name)?, schema_version: store.schema_version }))
        .collect::<Result<Vec<_>, Refusal>>()?;
    unique("stores", stores.iter().map(|store| store.name.as_str()))?;
    Ok(Descriptor { name, version, inputs: ports("inputs", inputs)?, outputs: ports("outputs", outputs)?, stores })
}

fn ports(what: &'static str, said: Vec<records::Port>) -> Result<Vec<Port>, Refusal> {
    let believe = |port: records::Port| {
        bound("a schema of bytes:", port.schema.as_ref().map_or(0, String::len), DESCRIPTION_TEXT_BYTES_MAX)?;
        Ok(Port { name: PortName::new(port.name)?, schema: port.schema })
    };
    let ports = said.into_iter().map(believe).collect::<Result<Vec<Port>, Refusal>>()?;
    unique(what, ports.iter().map(|port| port.name.as_str()))?;
    Ok(ports)
}

const fn bound(what: &'static str, found: usize, max: usize) -> Result<(), Refusal> {
    if found > max { Err(Refusal::TooMuch { what, found, max }) } else { Ok(()) }
}

fn unique<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Refusal::Twice { what, name: name.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
