//! A component that was admitted: compiled, described, and linked once for each kind of services. Cheap to clone. Refuses to exist otherwise.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gregor_model::digest::Digest;
use gregor_model::job::Store;
use gregor_model::names::PortName;
use wasmtime::component::InstancePre;

use crate::cache::Origin;
use crate::engine::Engine;
use crate::host::Host;
use crate::link::{Exports, PROCESSOR, SIMPLE_PROCESSOR, link};
use crate::services::Services;

/// An admitted component, and whether calls into it may go on.
#[derive(Clone)]
pub struct Component {
    inner: Arc<Inner>,
    calls: Calls,
}

/// Whether calls may go on: one for all instances that are ended together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<AtomicBool>);

impl Calls {
    /// Whether they may not.
    pub(crate) fn ended(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Inner {
    engine: Engine,
    compiled: wasmtime::component::Component,
    origin: Origin,
    facts: Facts,
    descriptor: Arc<Descriptor>,
    exports: Exports,
    /// `InstancePre<Host<S>>` by the type `S`.
    linked: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// What is seen of a component without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Of its bytes.
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    /// Names of its imports, in its order.
    pub(crate) imports: Vec<String>,
    /// The form of `process`.
    pub(crate) processor: Processor,
    /// Whether it has a beginning and an end.
    pub(crate) lifecycle: Lifecycle,
}

/// What a component says of itself, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Its name, for people.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// Inputs, in the order of the indexes in batches.
    pub inputs: Vec<Port>,
    /// Outputs, in the order of the indexes in emits.
    pub outputs: Vec<Port>,
    /// Stores, in the order of the indexes in [`Services`].
    pub stores: Vec<Store>,
}

/// A named way in or out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name that job files use.
    pub name: PortName,
    /// What the records mean, for people and tools.
    pub schema: Option<String>,
}

/// The form of `process` that a component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// `processor`: the batch in columns.
    Columns,
    /// `simple-processor`: a list of records.
    Records,
}

/// Whether a component exports `lifecycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// It has `init` and `on-end`.
    Exported,
    /// It begins and ends without a word.
    Absent,
}

impl Processor {
    /// The interface's name.
    pub(crate) const fn export(self) -> &'static str {
        match self {
            Self::Columns => PROCESSOR,
            Self::Records => SIMPLE_PROCESSOR,
        }
    }
}

impl Component {
    /// A component that passed all checks.
    pub(crate) fn new(
        engine: Engine,
        (compiled, origin): (wasmtime::component::Component, Origin),
        (facts, exports): (Facts, Exports),
        descriptor: Descriptor,
    ) -> Self {
        let linked = Mutex::new(HashMap::new());
        let inner = Inner { engine, compiled, origin, facts, descriptor: Arc::new(descriptor), exports, linked };
        Self { inner: Arc::new(inner), calls: Calls::default() }
    }

    /// SHA-256 of its bytes: what it is known by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.inner.facts.digest
    }

    /// Bytes that were uploaded.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner.facts.size
    }

    /// What it says of itself.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.inner.descriptor
    }

    /// Names of the interfaces that it imports, in its order.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.inner.facts.imports
    }

    /// The form of `process` that it exports.
    #[must_use]
    pub fn processor(&self) -> Processor {
        self.inner.facts.processor
    }

    /// Whether it exports `lifecycle`.
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        self.inner.facts.lifecycle
    }

    /// Its code.
    pub(crate) fn compiled(&self) -> &wasmtime::component::Component {
        &self.inner.compiled
    }

    /// Where its code comes from.
    pub(crate) fn origin(&self) -> Origin {
        self.inner.origin
    }

    /// The same component for another job: ending its calls ends none of this one's.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), calls: Calls::default() }
    }

    /// Ends every call into this component, made through this value or its clones, that is under way, within a tick, and every later one that takes
    /// as long as that. They fail as retryable: no record is at fault. There is no way back: for a job that has no more use for its guests.
    pub fn end_calls(&self) {
        self.calls.0.store(true, Ordering::Relaxed);
    }

    /// Whether calls may go on.
    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The engine that it was compiled by.
    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Its description, shared.
    pub(crate) fn shared_descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.inner.descriptor)
    }

    /// Where its exports are.
    pub(crate) fn exports(&self) -> &Exports {
        &self.inner.exports
    }

    /// The component with its imports, ready to be instantiated; linked at the first use of a kind of services.
    ///
    /// # Errors
    /// An import has another type than what is served, which admission has ruled out.
    pub(crate) fn linked<S: Services>(&self) -> wasmtime::Result<InstancePre<Host<S>>> {
        let mut linked = self.inner.linked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = linked.get(&TypeId::of::<S>()).and_then(|known| known.downcast_ref::<InstancePre<Host<S>>>());
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let fresh = link::<S>(&self.inner.compiled)?;
        linked.insert(TypeId::of::<S>(), Arc::new(fresh.clone()));
        Ok(fresh)
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("facts", &self.inner.facts).field("descriptor", &self.inner.descriptor).finish_non_exhaustive()
    }
}
