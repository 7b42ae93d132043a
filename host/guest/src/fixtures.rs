//! Components for unit tests, written as text: as small as a component can be that the door lets in. Refuses text that makes none.

use std::fmt::Write as _;

use crate::engine::{Engine, EngineOptions};

/// What a component of [`simple`] says of itself, and what it is made with.
#[derive(Clone)]
pub(crate) struct Said<'a> {
    /// Its inputs.
    pub(crate) inputs: &'a [&'a str],
    /// Its outputs.
    pub(crate) outputs: &'a [&'a str],
    /// Its stores.
    pub(crate) stores: &'a [&'a str],
    /// What `describe` does before it answers.
    pub(crate) before: &'a str,
    /// What the component imports, and the core instance `$host` of it; memory is at hand as `$libc "memory"`.
    pub(crate) outer: &'a str,
    /// What its module imports of `$host`, and other parts of the module.
    pub(crate) inner: &'a str,
}

/// Says something good, and imports nothing.
pub(crate) const GOOD: Said<'static> =
    Said { inputs: &["in"], outputs: &["out", "late"], stores: &["counts"], before: "", outer: "(core instance $host)", inner: "" };

/// An engine for a few small instances.
pub(crate) fn engine() -> Engine {
    Engine::new(&EngineOptions { instances_max: 4, memory_bytes_max: 1 << 20 }).unwrap()
}

/// A component of the world `simple-task` that says so and processes by this WebAssembly text, with the parameters `$list` and `$len` and
/// the address of the answer as its result. Memory from 256 to 1023 is free for use.
pub(crate) fn simple(said: &Said<'_>, process: &str) -> Vec<u8> {
    let (data, descriptor) = image(said);
    let Said { before, outer, inner, .. } = said;
    let text = format!(
        r#"(component
            (core module $libc
                (memory (export "memory") 2)
                (global $top (mut i32) (i32.const 65536))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
                    (local.set $at (i32.and
                        (i32.add (global.get $top) (i32.sub (local.get 2) (i32.const 1)))
                        (i32.sub (i32.const 0) (local.get 2))))
                    (global.set $top (i32.add (local.get $at) (local.get 3)))
                    (local.get $at)))
            (core instance $libc (instantiate $libc))
            {outer}
            (core module $main
                (import "libc" "memory" (memory 2))
                {inner}
                (func (export "describe") (result i32) {before} (i32.const {descriptor}))
                (func (export "process") (param $list i32) (param $len i32) (result i32) {process})
                (data (i32.const {BASE}) "{data}"))
            (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $host))))
            {DESCRIBE}
            {SIMPLE_PROCESSOR})"#
    );
    wat::parse_str(text).unwrap()
}

/// The export `describe`, with the types of the contract.
const DESCRIBE: &str = r#"
    (type $port (record (field "name" string) (field "schema" (option string))))
    (type $store-spec (record (field "name" string) (field "schema-version" u32)))
    (type $descriptor (record
        (field "name" string) (field "version" string)
        (field "inputs" (list $port)) (field "outputs" (list $port)) (field "stores" (list $store-spec))))
    (func $describe (result $descriptor) (canon lift (core func $main "describe") (memory $libc "memory")))
    (instance $describe-interface
        (export "port" (type $port)) (export "store-spec" (type $store-spec)) (export "descriptor" (type $descriptor))
        (export "describe" (func $describe)))
    (export "gregor:task/describe@0.1.0" (instance $describe-interface))"#;

/// The export `simple-processor`, with the types of the contract.
const SIMPLE_PROCESSOR: &str = r#"
    (type $header (record (field "name" string) (field "value" (list u8))))
    (type $input-record (record
        (field "input" u32) (field "partition" u32) (field "offset" u64) (field "timestamp" s64)
        (field "key" (option (list u8))) (field "value" (option (list u8))) (field "headers" (list $header))))
    (type $disposition (enum "skip" "dead-letter"))
    (type $rejection (record (field "index" u32) (field "action" $disposition) (field "reason" string)))
    (type $task-error (variant (case "retryable" string) (case "poison" string) (case "fatal" string)))
    (func $process (param "batch" (list $input-record)) (result (result (list $rejection) (error $task-error)))
        (canon lift (core func $main "process") (memory $libc "memory") (realloc (func $libc "realloc"))))
    (instance $simple-processor
        (export "header" (type $header)) (export "input-record" (type $input-record)) (export "disposition" (type $disposition))
        (export "rejection" (type $rejection)) (export "task-error" (type $task-error))
        (export "process" (func $process)))
    (export "gregor:task/simple-processor@0.1.0" (instance $simple-processor))"#;

/// Where a description begins in memory.
const BASE: u32 = 1024;

/// A description as it lies in memory: the text of a data segment at [`BASE`], and the address of the record in it.
fn image(said: &Said<'_>) -> (String, u32) {
    let mut bytes = Vec::new();
    let [name, version] = [string(&mut bytes, "fixture"), string(&mut bytes, "1.0")];
    let mut names = |all: &[&str]| all.iter().map(|name| string(&mut bytes, name)).collect::<Vec<[u32; 2]>>();
    let (inputs, outputs, stores) = (names(said.inputs), names(said.outputs), names(said.stores));
    // A port is a string and an absent option of a string; a store is a string and a version.
    let ports = |names: Vec<[u32; 2]>| names.into_iter().map(|[start, len]| vec![start, len, 0, 0, 0]).collect();
    let inputs = list(&mut bytes, ports(inputs));
    let outputs = list(&mut bytes, ports(outputs));
    let stores = list(&mut bytes, stores.into_iter().map(|[start, len]| vec![start, len, 7]).collect());
    let [descriptor, _] = list(&mut bytes, vec![[name, version, inputs, outputs, stores].concat()]);
    let data = bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").unwrap();
        text
    });
    (data, descriptor)
}

/// Appends a text; answers its address and length.
fn string(bytes: &mut Vec<u8>, text: &str) -> [u32; 2] {
    let start = address(bytes);
    bytes.extend_from_slice(text.as_bytes());
    [start, u32::try_from(text.len()).unwrap()]
}

/// Appends items of words; answers their address and number.
fn list(bytes: &mut Vec<u8>, items: Vec<Vec<u32>>) -> [u32; 2] {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let start = address(bytes);
    let count = u32::try_from(items.len()).unwrap();
    items.into_iter().flatten().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    [start, count]
}

fn address(bytes: &[u8]) -> u32 {
    BASE + u32::try_from(bytes.len()).unwrap()
}
