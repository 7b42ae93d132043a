//! The engine: wasmtime with the settings that matter here, its pool of memory, and the ticker. One for each process. Refuses options that no
//! address space can hold.

use std::hash::{Hash as _, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use gregor_model::digest::{Digest, Digester};
use gregor_model::limits::{AdmissionLimits, CORE_INSTANCES_MAX, GUEST_STACK_BYTES, TABLE_ENTRIES_MAX, TRACE_FRAMES_MAX};
use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::cache::Cache;
use crate::component::Component;
use crate::error::{GuestError, Refusal};
use crate::ticker::Ticker;

/// Instances beyond those of tasks, for components that describe themselves meanwhile.
const INSTANCES_FOR_ADMISSION: u32 = 8;
/// Linear memories that an instance has on average: one; those made by QuickJS three.
const MEMORIES_PER_INSTANCE: u32 = 3;
/// Tables that an instance has on average: a module's own and one for its imports; those made by QuickJS four.
const TABLES_PER_INSTANCE: u32 = 4;
/// Most instances of one process: beyond it, their places alone take gigabytes.
const INSTANCES_MAX: u32 = 1_000_000;
/// Largest memory of one instance: what 32-bit addresses reach.
const MEMORY_BYTES_MAX: u64 = 1 << 32;
/// Address space that the pool of memories may take: a quarter of what Linux gives a process.
const ADDRESS_BYTES_MAX: u64 = 1 << 45;
/// Address space of one memory where it can be had: accesses then need no bounds check.
const RESERVATION_BYTES: u64 = 1 << 32;
/// Unmapped bytes behind each memory, as wasmtime has them by default, so that most constant offsets need no check.
const GUARD_BYTES: u64 = 32 << 20;
/// A page of WebAssembly.
const PAGE_BYTES: u64 = 1 << 16;

/// What an engine is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// How many instances there may be at a time, 1 to 1,000,000.
    pub instances_max: u32,
    /// Bytes of linear memory that any of them may have, 64 KiB to 4 GiB.
    pub memory_bytes_max: u64,
}

/// How an engine takes components in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admitting {
    /// Who compiles.
    pub compiling: Compiling,
    /// What it may cost.
    pub limits: AdmissionLimits,
}

/// Who compiles a component that no cache has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Compiling {
    /// This process, where nothing can stop it: limits of time and memory hold for `describe` only.
    #[default]
    Here,
    /// A process of its own, which has limits and can be killed: this program, which calls [`crate::compile_apart`] when its first argument is
    /// [`crate::COMPILE_COMMAND`].
    Apart(PathBuf),
}

/// The engine. Cheap to clone; its ticker stops with the last clone, component and instance.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    wasmtime: wasmtime::Engine,
    options: EngineOptions,
    admitting: Admitting,
    /// See [`Engine::compiler`].
    compiler: Digest,
    /// Kept running for as long as anything of the engine is.
    _ticker: Ticker,
}

impl Engine {
    /// Starts the engine and its ticker thread. It compiles in this process, with the default limits.
    ///
    /// # Errors
    /// An option is out of range; the address space or a thread cannot be had.
    pub fn new(options: &EngineOptions) -> Result<Self, GuestError> {
        Self::admitting(options, Admitting::default())
    }

    /// As [`Engine::new`], with a say in how components are taken in.
    ///
    /// # Errors
    /// See [`Engine::new`].
    pub fn admitting(options: &EngineOptions, admitting: Admitting) -> Result<Self, GuestError> {
        check(options)?;
        let wasmtime = started(&config(options))?;
        let ticker = Ticker::start(wasmtime.clone())?;
        let compiler = compiler(&wasmtime);
        Ok(Self(Arc::new(Inner { wasmtime, options: *options, admitting, compiler, _ticker: ticker })))
    }

    /// Takes an upload in: checks size, form, imports and exports, compiles it, and asks it to describe itself in an instance without
    /// capabilities. Takes from 20 ms for components of native languages to 15 s for large interpreters, all of it CPU time of this thread
    /// and of wasmtime's compiling threads.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn admit(&self, bytes: &[u8]) -> Result<Component, Refusal> {
        crate::admission::admit(self, None, bytes)
    }

    /// As [`Engine::admit`], but takes the compiled form from a cache, where there is one that has it. All checks are made as without it.
    /// Changes nothing in the cache: see [`Cache::keep`].
    ///
    /// # Errors
    /// See [`Refusal`]; a cache causes none.
    pub fn admit_from(&self, cache: Option<&Cache>, bytes: &[u8]) -> Result<Component, Refusal> {
        crate::admission::admit(self, cache, bytes)
    }

    /// wasmtime's engine.
    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    /// Digest of all that compiled code depends on beside the component: wasmtime's version, the target with its features, the settings of the
    /// compiler, and how memories are laid out, which follows from the options.
    pub(crate) fn compiler(&self) -> Digest {
        self.0.compiler
    }

    /// What the engine was made for.
    pub(crate) fn options(&self) -> &EngineOptions {
        &self.0.options
    }

    /// How it takes components in.
    pub(crate) fn how(&self) -> &Admitting {
        &self.0.admitting
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// Compiles bytes as an engine with these options does, for that one to load. Needs no room for instances.
///
/// # Errors
/// The options are out of range, or the bytes are no valid component.
pub(crate) fn precompile(options: &EngineOptions, bytes: &[u8]) -> Result<Vec<u8>, PrecompileError> {
    check(options)?;
    let compiled = started(&code_config(options))?.precompile_component(bytes);
    compiled.map_err(|error| PrecompileError::Refused(Refusal::Invalid(format!("{error:#}"))))
}

/// Why [`precompile`] gives nothing.
#[derive(Debug)]
pub(crate) enum PrecompileError {
    /// There is no engine.
    Engine(GuestError),
    /// The component is refused.
    Refused(Refusal),
}

impl From<GuestError> for PrecompileError {
    fn from(error: GuestError) -> Self {
        Self::Engine(error)
    }
}

fn started(config: &Config) -> Result<wasmtime::Engine, GuestError> {
    wasmtime::Engine::new(config).map_err(|error| GuestError::Engine(format!("{error:#}")))
}

/// See [`Engine::compiler`].
fn compiler(wasmtime: &wasmtime::Engine) -> Digest {
    let mut compiler = Digesting(Digester::default());
    wasmtime.precompile_compatibility_hash().hash(&mut compiler);
    compiler.0.finish()
}

/// Lets a SHA-256 digest stand where a hash of 64 bits is expected: two compilers must never be taken for one.
struct Digesting(Digester);

impl Hasher for Digesting {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The first eight bytes of the digest; whoever wants it all takes the digester.
    fn finish(&self) -> u64 {
        let Digest([a, b, c, d, e, f, g, h, ..]) = self.0.clone().finish();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

fn check(options: &EngineOptions) -> Result<(), GuestError> {
    let EngineOptions { instances_max, memory_bytes_max } = *options;
    if !(1..=INSTANCES_MAX).contains(&instances_max) {
        return Err(GuestError::Option { option: "instances_max", found: u64::from(instances_max), expected: "1 to 1,000,000" });
    }
    if !(PAGE_BYTES..=MEMORY_BYTES_MAX).contains(&memory_bytes_max) {
        return Err(GuestError::Option { option: "memory_bytes_max", found: memory_bytes_max, expected: "64 KiB to 4 GiB" });
    }
    Ok(())
}

/// All that compiled code depends on.
fn code_config(options: &EngineOptions) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(Some(TRACE_FRAMES_MAX))
        // Compiled in or left on, it doubles the price of every call.
        .concurrency_support(false)
        // Two machines, or two attempts, must not differ in what a task computes.
        .relaxed_simd_deterministic(true);
    let reservation = reservation(memories(options), options.memory_bytes_max);
    config.memory_reservation(reservation).memory_guard_size(if reservation == RESERVATION_BYTES { GUARD_BYTES } else { PAGE_BYTES });
    config
}

/// The same with a pool of room for instances.
fn config(options: &EngineOptions) -> Config {
    let (instances, memories) = (instances(options), memories(options));
    let mut config = code_config(options);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(memories)
        .total_tables(instances.saturating_mul(TABLES_PER_INSTANCE))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(memories.min(CORE_INSTANCES_MAX))
        .max_tables_per_component(instances.saturating_mul(TABLES_PER_INSTANCE).min(CORE_INSTANCES_MAX))
        .max_memory_size(usize::try_from(options.memory_bytes_max).unwrap_or(usize::MAX))
        .table_elements(TABLE_ENTRIES_MAX);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

const fn instances(options: &EngineOptions) -> u32 {
    options.instances_max.saturating_add(INSTANCES_FOR_ADMISSION)
}

const fn memories(options: &EngineOptions) -> u32 {
    instances(options).saturating_mul(MEMORIES_PER_INSTANCE)
}

/// Address space of each memory: all that 32 bits reach while that fits, else only what it may grow to.
const fn reservation(memories: u32, memory_bytes_max: u64) -> u64 {
    #[expect(clippy::as_conversions, reason = "From is not const; a u32 always fits")]
    let wanted = (memories as u64).saturating_mul(RESERVATION_BYTES + GUARD_BYTES);
    if wanted <= ADDRESS_BYTES_MAX { RESERVATION_BYTES } else { memory_bytes_max.next_multiple_of(PAGE_BYTES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused_with_the_range() {
        let error =
            |instances_max, memory_bytes_max| Engine::new(&EngineOptions { instances_max, memory_bytes_max }).unwrap_err().to_string();
        assert_eq!(error(0, 1 << 20), "engine option instances_max is 0, expected 1 to 1,000,000");
        assert_eq!(error(1, (1 << 32) + 1), "engine option memory_bytes_max is 4294967297, expected 64 KiB to 4 GiB");
    }

    #[test]
    fn many_instances_get_less_address_space_each() {
        assert_eq!(reservation(3000, 64 << 20), RESERVATION_BYTES);
        assert_eq!(reservation(300_000, 64 << 20), 64 << 20);
        for instances_max in [1, 1000, 20_000] {
            Engine::new(&EngineOptions { instances_max, memory_bytes_max: 64 << 20 }).unwrap();
        }
    }

    #[test]
    fn a_compiler_is_known_by_its_settings_and_no_two_are_taken_for_one() {
        let compiler = |instances_max, memory_bytes_max| {
            Engine::new(&EngineOptions { instances_max, memory_bytes_max }).unwrap().compiler().to_string()
        };
        let few = compiler(4, 1 << 20);
        assert_eq!(few, compiler(8, 1 << 20), "the number of instances alone changes no code");
        // So many have no room for 4 GiB each: their memories are laid out otherwise, and accesses are checked.
        assert_ne!(few, compiler(20_000, 64 << 20));
    }

    #[test]
    fn who_has_no_room_for_instances_compiles_the_same_code() {
        for instances_max in [1, 20_000] {
            let options = EngineOptions { instances_max, memory_bytes_max: 64 << 20 };
            assert_eq!(compiler(&started(&code_config(&options)).unwrap()), Engine::new(&options).unwrap().compiler());
        }
    }
}
