//! `gregor inspect`: what a component offers and wants, or why it would be refused. Refuses to run more of it than its own description.

use std::path::Path;

use anyhow::Context;
use gregor_guest::{Component, Engine, EngineOptions, Lifecycle, Port, Processor};
use gregor_model::limits::MIB;
use serde::Serialize;

use crate::compile;
use crate::deploy::read_component;
use crate::exit::{Exit, Failure};
use crate::output::{self, Style};

/// What is shown of a component.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Inspected {
    name: String,
    version: String,
    digest: String,
    size: u64,
    processor: &'static str,
    lifecycle: &'static str,
    inputs: Vec<PortShown>,
    outputs: Vec<PortShown>,
    stores: Vec<StoreShown>,
    imports: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PortShown {
    name: String,
    schema: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct StoreShown {
    name: String,
    schema_version: u32,
}

/// Shows a component.
///
/// # Errors
/// It can't be read or would be refused (exit 2); stdout can't be written (exit 1).
pub(crate) fn inspect(path: &Path, style: Style) -> Result<Exit, Failure> {
    let bytes = read_component(path).with_context(|| format!("can't read {path:?}; name a .wasm file")).map_err(Failure::refused)?;
    // What a job would give it is not known here: one instance, as much memory as 32 bits address.
    let options = EngineOptions { instances_max: 1, memory_bytes_max: 4096 * MIB };
    let engine = Engine::admitting(&options, compile::admitting()).map_err(Failure::failed)?;
    let admitted = engine.admit(&bytes).with_context(|| format!("{path:?} would be refused"));
    let inspected = Inspected::of(&admitted.map_err(Failure::refused)?);
    let shown = match style {
        Style::Json => output::result_json(&inspected),
        Style::Text => output::result(&inspected.text()),
    };
    shown.map_err(Failure::failed)?;
    Ok(Exit::Done)
}

impl Inspected {
    fn of(component: &Component) -> Self {
        let described = component.descriptor();
        let ports =
            |ports: &[Port]| ports.iter().map(|port| PortShown { name: port.name.to_string(), schema: port.schema.clone() }).collect();
        Self {
            name: described.name.clone(),
            version: described.version.clone(),
            digest: format!("sha256:{}", component.digest()),
            size: component.size(),
            processor: match component.processor() {
                Processor::Columns => "columns",
                Processor::Records => "records",
            },
            lifecycle: match component.lifecycle() {
                Lifecycle::Exported => "exported",
                Lifecycle::Absent => "absent",
            },
            inputs: ports(&described.inputs),
            outputs: ports(&described.outputs),
            stores: described
                .stores
                .iter()
                .map(|store| StoreShown { name: store.name.to_string(), schema_version: store.schema_version })
                .collect(),
            imports: component.imports().to_vec(),
        }
    }

    fn text(&self) -> String {
        let row = |name: &str, value: String| vec![name.to_owned(), output::harmless(&value)];
        let mut rows = vec![
            row("name", self.name.clone()),
            row("version", self.version.clone()),
            row("digest", self.digest.clone()),
            row("size", format!("{} bytes", self.size)),
            row("processor", self.processor.to_owned()),
            row("lifecycle", self.lifecycle.to_owned()),
        ];
        rows.extend(self.inputs.iter().map(|port| row("input", port.text())));
        rows.extend(self.outputs.iter().map(|port| row("output", port.text())));
        rows.extend(self.stores.iter().map(|store| row("store", format!("{} (schema version {})", store.name, store.schema_version))));
        rows.extend(self.imports.iter().map(|import| row("import", import.clone())));
        output::table(&rows)
    }
}

impl PortShown {
    fn text(&self) -> String {
        self.schema.as_ref().map_or_else(|| self.name.clone(), |schema| format!("{} ({schema})", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_shown_port_by_port_and_its_texts_are_made_harmless() {
        let inspected = Inspected {
            name: "count\u{1b}[2J".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:00".to_owned(),
            size: 7,
            processor: "columns",
            lifecycle: "absent",
            inputs: vec![PortShown { name: "words".to_owned(), schema: Some("utf-8".to_owned()) }],
            outputs: vec![],
            stores: vec![StoreShown { name: "counts".to_owned(), schema_version: 2 }],
            imports: vec!["gregor:task/state@0.1.0".to_owned()],
        };
        let text = inspected.text();
        assert!(text.starts_with("name       count\\u{1b}[2J\n"), "{text}");
        assert!(
            text.contains("input      words (utf-8)\nstore      counts (schema version 2)\nimport     gregor:task/state@0.1.0\n"),
            "{text}"
        );
        let json = serde_json::to_string(&inspected).unwrap();
        assert!(json.contains(r#""stores":[{"name":"counts","schema-version":2}]"#), "{json}");
    }
}
