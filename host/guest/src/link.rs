//! What a component may import and what it must export: by name when it is uploaded, by type when it is linked. A component gets a linker of
//! its own, because each imports WASI under the version that its toolchain had. Refuses names that it does not know.

use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre, Linker, TypedFunc};

use crate::bindings::records::{EndAnswer, InitAnswer, InputRecord, ProcessAnswer, RecordBatch};
use crate::bindings::{context, output, state, telemetry, wasi};
use crate::component::{Lifecycle, Processor};
use crate::host::Host;
use crate::services::Services;

/// The export that every component has.
pub(crate) const DESCRIBE: &str = "gregor:task/describe@0.1.0";
/// The fast form of processing.
pub(crate) const PROCESSOR: &str = "gregor:task/processor@0.1.0";
/// The easy form of processing.
pub(crate) const SIMPLE_PROCESSOR: &str = "gregor:task/simple-processor@0.1.0";
/// The optional export.
pub(crate) const LIFECYCLE: &str = "gregor:task/lifecycle@0.1.0";

/// Imports of our own. `types` has no functions; it is imported for its records.
const TASK_IMPORTS: [&str; 5] = [
    "gregor:task/context@0.1.0",
    "gregor:task/output@0.1.0",
    "gregor:task/state@0.1.0",
    "gregor:task/telemetry@0.1.0",
    "gregor:task/types@0.1.0",
];

/// Who serves an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Import<'a> {
    /// One of our own interfaces, by its full name.
    Task(&'a str),
    /// An interface of WASI 0.2, without its version.
    Wasi(&'a str),
}

impl<'a> Import<'a> {
    /// Who serves the import of this name; none if nobody does.
    pub(crate) fn of(name: &'a str) -> Option<Self> {
        if TASK_IMPORTS.contains(&name) {
            return Some(Self::Task(name));
        }
        let (interface, version) = name.split_once('@')?;
        let (package, _) = interface.split_once('/')?;
        let patch = version.strip_prefix("0.2.")?;
        let known = wasi::PACKAGES.contains(&package) && !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
        known.then_some(Self::Wasi(interface))
    }

    /// All that may be imported, for people.
    pub(crate) fn known() -> String {
        let wasi = wasi::PACKAGES.map(|package| format!("{package}/*@0.2.*"));
        TASK_IMPORTS.map(str::to_owned).into_iter().chain(wasi).collect::<Vec<_>>().join(", ")
    }
}

/// Gives a component all that it imports.
///
/// # Errors
/// An import has another type than what is served under its name.
pub(crate) fn link<S: Services>(component: &Component) -> wasmtime::Result<InstancePre<Host<S>>> {
    let engine = component.engine();
    let mut linker = Linker::<Host<S>>::new(engine);
    // What is served stands over the traps that stand for everything.
    linker.allow_shadowing(true);
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(imported) = import.ty else { continue };
        let mut instance = linker.instance(name)?;
        match Import::of(name) {
            Some(Import::Task("gregor:task/context@0.1.0")) => context::add(&mut instance)?,
            Some(Import::Task("gregor:task/output@0.1.0")) => output::add(&mut instance)?,
            Some(Import::Task("gregor:task/state@0.1.0")) => state::add(&mut instance)?,
            Some(Import::Task("gregor:task/telemetry@0.1.0")) => telemetry::add(&mut instance)?,
            Some(Import::Task(_)) | None => {}
            Some(Import::Wasi(interface)) => {
                let items = imported.exports(engine).map(|(item, export)| (item, export.ty));
                wasi::add(&mut instance, (name, interface), items)?;
            }
        }
    }
    linker.instantiate_pre(component)
}

/// Where in a component the exports are that the host calls.
pub(crate) struct Exports {
    process: ComponentExportIndex,
    init: Option<ComponentExportIndex>,
    on_end: Option<ComponentExportIndex>,
    processor: Processor,
}

/// The exports of an instance, with their types.
pub(crate) struct Functions {
    /// `process`.
    pub(crate) process: Process,
    /// `lifecycle.init`.
    pub(crate) init: Option<TypedFunc<(), InitAnswer>>,
    /// `lifecycle.on-end`.
    pub(crate) on_end: Option<TypedFunc<(u32,), EndAnswer>>,
}

/// `process` in one of its forms.
#[derive(Clone, Copy)]
pub(crate) enum Process {
    /// Columns.
    Columns(TypedFunc<(RecordBatch<'static>,), ProcessAnswer>),
    /// A list of records.
    Records(TypedFunc<(&'static [InputRecord<'static>],), ProcessAnswer>),
}

impl Exports {
    /// Finds them; none if a function is missing in an interface that is there.
    pub(crate) fn find(component: &Component, processor: Processor, lifecycle: Lifecycle) -> Option<Self> {
        let function = |interface: &str, name: &str| {
            let interface = component.get_export_index(None, interface)?;
            component.get_export_index(Some(&interface), name)
        };
        let process = function(processor.export(), "process")?;
        let (init, on_end) = match lifecycle {
            Lifecycle::Exported => (Some(function(LIFECYCLE, "init")?), Some(function(LIFECYCLE, "on-end")?)),
            Lifecycle::Absent => (None, None),
        };
        Some(Self { process, init, on_end, processor })
    }

    /// Takes them from an instance.
    ///
    /// # Errors
    /// One has another type than the contract says.
    pub(crate) fn of<S>(&self, store: &mut Store<Host<S>>, instance: Instance) -> wasmtime::Result<Functions> {
        let process = match self.processor {
            Processor::Columns => Process::Columns(instance.get_typed_func(&mut *store, self.process)?),
            Processor::Records => Process::Records(instance.get_typed_func(&mut *store, self.process)?),
        };
        let init = self.init.map(|init| instance.get_typed_func(&mut *store, init)).transpose()?;
        let on_end = self.on_end.map(|on_end| instance.get_typed_func(&mut *store, on_end)).transpose()?;
        Ok(Functions { process, init, on_end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_known_by_their_exact_names() {
        let check = |name, expected| assert_eq!(Import::of(name), expected, "{name}");
        check("gregor:task/state@0.1.0", Some(Import::Task("gregor:task/state@0.1.0")));
        check("wasi:io/poll@0.2.6", Some(Import::Wasi("wasi:io/poll")));
        check("wasi:clocks/timezone@0.2.10", Some(Import::Wasi("wasi:clocks/timezone")));
        for unknown in [
            "gregor:task/state@0.2.0",
            "gregor:task/state",
            "gregor:task/describe@0.1.0",
            "wasi:http/types@0.2.0",
            "wasi:sockets/tcp@0.2.0",
            "wasi:io/poll@0.3.0",
            "wasi:io/poll@0.2.",
            "wasi:io/poll@0.2.0-rc-2023-10-25",
            "wasi:io/poll",
            "wasi:io@0.2.0",
            "",
        ] {
            check(unknown, None);
        }
    }
}
