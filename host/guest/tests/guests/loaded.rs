//! Code that an earlier process compiled: it does what freshly compiled code does, is held to the same limits, and comes sooner.

use std::path::Path;
use std::time::{Duration, Instant};

use gregor_guest::{Cache, Component, Engine, EngineOptions, Instance};

use crate::recorder::Recorder;
use crate::{LIMITS, batch, process};

fn engine() -> Engine {
    Engine::new(&EngineOptions { instances_max: 64, memory_bytes_max: 64 << 20 }).unwrap()
}

fn bytes() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins/hostile/hostile.wasm")).unwrap()
}

/// The hostile component, compiled by one engine and loaded by another.
fn loaded(folder: &Path) -> Component {
    let cache = Cache::open(folder).unwrap();
    let (compiling, compiled) = timed(&cache);
    cache.keep(&[compiled]);
    // The quickest of some, since other tests may hold the processor for a while.
    let (loading, loaded) = (0..10).map(|_| timed(&cache)).min_by_key(|(took, _)| *took).unwrap();
    println!("compiled in {compiling:?}, loaded in {loading:?}");
    // Loading is a read and a digest: were it compiled after all, it took as long as before.
    assert!(loading < compiling / 2, "compiled in {compiling:?}, loaded in {loading:?}");
    loaded
}

/// Admits the component with a fresh engine; answers how long that took, too.
#[expect(clippy::disallowed_methods, reason = "a test of a duration needs a clock, and the runtime's is out of reach here")]
fn timed(cache: &Cache) -> (Duration, Component) {
    let (engine, bytes) = (engine(), bytes());
    let started = Instant::now();
    let component = engine.admit_from(Some(cache), &bytes).unwrap();
    (started.elapsed(), component)
}

#[test]
fn loaded_code_works_and_is_held_to_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let component = loaded(folder.path());
    // What is loaded does not need its file any more.
    drop(folder);
    for (mode, says) in [
        ("endless-loop", "the call has spent its CPU time of 300ms (call-time)"),
        ("memory-bomb", "memory limit of 64 MiB reached"),
        ("stack-overflow", "call stack exhausted"),
        ("data-stack-overflow", "out of bounds memory access"),
    ] {
        let mut instance = Instance::new(&component, Recorder::new(mode), LIMITS).unwrap();
        assert_eq!(process(&mut instance, &batch(None)), Ok(vec![]), "{mode}: before");
        let error = process(&mut instance, &batch(Some(5))).expect_err(mode).to_string();
        assert!(error.contains(says), "{mode}: {error:?} does not say {says:?}");
        instance.services().selected.clear();
        assert_eq!(process(&mut instance, &batch(None)), Ok(vec![]), "{mode}: after");
        assert_eq!(instance.services().selected, (0..10).collect::<Vec<u32>>(), "{mode}");
    }
}
