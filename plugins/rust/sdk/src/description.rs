//! A component's description of itself. Refuses to check names: the host does, and says so at deployment.

use crate::bindings::exports::gregor::task::describe;

/// An input or output, by its index in the order of the [`Description`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub u32);

/// What a component is: name, version, ports, stores. Names of ports and stores match `[a-z0-9_]{1,64}`.
#[derive(Debug, Clone, Default)]
pub struct Description {
    name: Option<String>,
    version: Option<String>,
    inputs: Vec<(String, Option<String>)>,
    outputs: Vec<(String, Option<String>)>,
    stores: Vec<(String, u32)>,
}

impl Description {
    /// A component without ports and stores, with the name and version of its crate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another name than the crate's, for people.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Another version than the crate's, for people.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// One more input. The first is `Port(0)`.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>) -> Self {
        self.inputs.push((name.into(), None));
        self
    }

    /// One more input, with what its records mean, for people.
    #[must_use]
    pub fn input_of(mut self, name: impl Into<String>, schema: impl Into<String>) -> Self {
        self.inputs.push((name.into(), Some(schema.into())));
        self
    }

    /// One more output. The first is `Port(0)`.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>) -> Self {
        self.outputs.push((name.into(), None));
        self
    }

    /// One more output, with what its records mean, for people.
    #[must_use]
    pub fn output_of(mut self, name: impl Into<String>, schema: impl Into<String>) -> Self {
        self.outputs.push((name.into(), Some(schema.into())));
        self
    }

    /// One more store, of schema version 1.
    #[must_use]
    pub fn store(self, name: impl Into<String>) -> Self {
        self.store_of(name, 1)
    }

    /// One more store. Raise its schema version when the meaning of its keys or values changes.
    #[must_use]
    pub fn store_of(mut self, name: impl Into<String>, schema_version: u32) -> Self {
        self.stores.push((name.into(), schema_version));
        self
    }

    /// The contract's form, with the crate's name and version where the author gave none.
    pub(crate) fn into_descriptor(self, (name, version): (&str, &str)) -> describe::Descriptor {
        let ports = |ports: Vec<(String, Option<String>)>| {
            ports.into_iter().map(|(name, schema)| describe::Port { name, schema }).collect::<Vec<_>>()
        };
        describe::Descriptor {
            name: self.name.unwrap_or_else(|| name.to_owned()),
            version: self.version.unwrap_or_else(|| version.to_owned()),
            inputs: ports(self.inputs),
            outputs: ports(self.outputs),
            stores: self.stores.into_iter().map(|(name, schema_version)| describe::StoreSpec { name, schema_version }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_stores_keep_their_order_and_the_crate_lends_its_name() {
        let description = Description::new().input("a").input_of("b", "json").output("c").store("d").store_of("e", 7);
        let descriptor = description.into_descriptor(("crate", "1.2.3"));
        let names = |ports: &[describe::Port]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
        assert_eq!((descriptor.name.as_str(), descriptor.version.as_str()), ("crate", "1.2.3"));
        assert_eq!(names(&descriptor.inputs), ["a", "b"]);
        assert_eq!(descriptor.inputs[1].schema.as_deref(), Some("json"));
        assert_eq!(names(&descriptor.outputs), ["c"]);
        assert_eq!(
            descriptor.stores.iter().map(|store| (store.name.as_str(), store.schema_version)).collect::<Vec<_>>(),
            [("d", 1), ("e", 7)]
        );
    }

    #[test]
    fn a_name_that_the_author_gives_wins() {
        let descriptor = Description::new().name("mine").version("9").into_descriptor(("crate", "1"));
        assert_eq!((descriptor.name.as_str(), descriptor.version.as_str()), ("mine", "9"));
    }
}
