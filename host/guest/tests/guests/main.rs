#![cfg(test)]
//! Real wasmtime and a real component: `tests/hostile`, which `make plugins` builds. What it may do to a host, and what a host must do for it.
//! Refuses to pass without that component.

mod good;
mod hostile;
mod life;
mod loaded;
mod recorder;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gregor_guest::{Batch, CallContext, CallError, CallLimits, Component, Engine, EngineOptions, Instance};
use gregor_model::columns::{Columns, Record};

use recorder::Recorder;

/// What brings a deed about.
const TRIGGER: &str = "boom";

const LIMITS: CallLimits =
    CallLimits { memory_bytes: 64 << 20, call_time: Duration::from_millis(300), emit_records: 1_000_000, emit_bytes: 64 << 20 };

const CONTEXT: CallContext = CallContext { now_ms: 1_700_000_000_123, seed: [42; 32] };

/// The hostile component, admitted once for all tests.
fn component() -> &'static Component {
    static COMPONENT: OnceLock<Component> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins/hostile/hostile.wasm");
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make plugins`", path.display()));
        let engine = Engine::new(&EngineOptions { instances_max: 64, memory_bytes_max: 64 << 20 }).unwrap();
        engine.admit(&bytes).unwrap()
    })
}

/// An instance of the component in a mode.
fn instance(mode: &str) -> Instance<Recorder> {
    Instance::new(component(), Recorder::new(mode), LIMITS).unwrap()
}

/// Ten records of 100 bytes each, of which the one at `trigger` is the trigger.
fn batch(trigger: Option<u64>) -> Arc<Columns> {
    let mut columns = Columns::default();
    for offset in 0..10 {
        let value = if trigger == Some(offset) { TRIGGER.to_owned() } else { format!("{offset:100}") };
        columns.push(Record { offset, timestamp: 5, key: Some(b"k"), value: Some(value.as_bytes()) }).unwrap();
    }
    Arc::new(columns)
}

/// Calls, and keeps the instance as whoever commits does.
fn process(instance: &mut Instance<Recorder>, columns: &Arc<Columns>) -> Result<Vec<gregor_guest::Rejection>, CallError> {
    let answer = instance.process(&Batch { input: 0, partition: 3, columns }, &CONTEXT);
    instance.keep();
    answer
}
