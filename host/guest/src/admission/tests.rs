//! What is let in, and what each refusal says.

use super::*;
use crate::fixtures::{GOOD, Said, engine, simple};

fn refusal(bytes: &[u8]) -> String {
    engine().admit(bytes).unwrap_err().to_string()
}

fn refused(text: &str) -> String {
    refusal(&wat::parse_str(text).unwrap())
}

#[track_caller]
fn assert_says(found: &str, expected: &str) {
    assert!(found.contains(expected), "{found:?} does not say {expected:?}");
}

#[test]
fn what_is_no_component_is_refused_with_what_to_do() {
    assert_says(&refusal(b""), "the file is not WebAssembly (it is empty)");
    assert_says(&refusal(b"#!/bin/sh"), "the file is not WebAssembly (it does not begin with \\0asm)");
    assert_says(&refused("(module)"), "is a core module, not a component; build it with `cargo build --target wasm32-wasip2`");
    assert_says(&refusal(b"\0asm"), "the component is not valid");
    assert_says(&refusal(b"\0asm\x0d\0\x01\0\x07\xff\xff"), "the component is not valid");
}

#[test]
fn an_upload_beyond_the_limit_is_not_even_read() {
    let mut bytes = b"\0asm".to_vec();
    bytes.resize(usize::try_from(COMPONENT_BYTES_MAX).unwrap() + 1, 0);
    assert_eq!(refusal(&bytes), "the file has 83886081 bytes, a component at most 83886080; strip its debug information");
}

#[test]
fn unknown_imports_are_named_with_the_known_ones() {
    let found = refused(r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#);
    assert_says(&found, "imports wasi:http/outgoing-handler@0.2.0, which is not served here; known are: gregor:task/context@0.1.0, ");
    assert_says(&found, "wasi:random/*@0.2.*");
    assert_says(&refused(r#"(component (import "gregor:task/state@0.2.0" (instance)))"#), "imports gregor:task/state@0.2.0");
    assert_says(&refused(r#"(component (import "log" (func)))"#), "imports log");
}

#[test]
fn imports_of_nested_components_are_their_own_business() {
    let found = refused(r#"(component (component (import "log" (func))))"#);
    assert_says(&found, "exports no gregor:task/processor@0.1.0 or gregor:task/simple-processor@0.1.0; it exports: ");
}

#[test]
fn exactly_one_processor_and_a_description_are_wanted() {
    let exports = |names: &[&str]| {
        let exports: String = names.iter().map(|name| format!(r#"(export "gregor:task/{name}@0.1.0" (instance $empty))"#)).collect();
        refused(&format!("(component (instance $empty) {exports})"))
    };
    assert_says(
        &exports(&["describe"]),
        "exports no gregor:task/processor@0.1.0 or gregor:task/simple-processor@0.1.0; it exports: gregor:task/describe@0.1.0",
    );
    assert_says(&exports(&["processor"]), "exports no gregor:task/describe@0.1.0; it exports: gregor:task/processor@0.1.0");
    assert_says(&exports(&["describe", "processor", "simple-processor"]), "export one of them");
    assert_says(&exports(&["describe", "processor"]), "a function is missing in an exported interface");
}

#[test]
fn other_types_under_known_names_are_refused() {
    let exports = r#"
        (core module $m
            (func (export "describe") (result i32) (i32.const 0))
            (func (export "process") (param i32) (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $describe (result u32) (canon lift (core func $i "describe")))
        (func $process (param "batch" u32) (result u32) (canon lift (core func $i "process")))
        (instance $d (export "describe" (func $describe)))
        (export "gregor:task/describe@0.1.0" (instance $d))
        (instance $p (export "process" (func $process)))
        (export "gregor:task/simple-processor@0.1.0" (instance $p))"#;
    let imports = r#"(import "gregor:task/context@0.1.0" (instance (export "now" (func (result string)))))"#;
    let other = "was made for another version of the interfaces";
    assert_says(&refused(&format!("(component {exports})")), other);
    let found = refused(&format!("(component {imports} {exports})"));
    assert_says(&found, other);
    assert_says(&found, "gregor:task/context@0.1.0");
}

#[test]
fn what_a_component_says_of_itself_is_kept() {
    let bytes = simple(&GOOD, "unreachable");
    let component = engine().admit(&bytes).unwrap();
    assert_eq!(component.digest(), Digest::of(&bytes));
    assert_eq!(component.size(), u64::try_from(bytes.len()).unwrap());
    assert_eq!((component.processor(), component.lifecycle()), (Processor::Records, Lifecycle::Absent));
    let said = component.descriptor();
    assert_eq!((said.name.as_str(), said.version.as_str()), ("fixture", "1.0"));
    assert_eq!(said.outputs.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["out", "late"]);
    assert_eq!(said.stores, [Store { name: StoreName::new("counts").unwrap(), schema_version: 7 }]);
}

#[test]
fn names_in_a_description_are_checked() {
    let refused = |said: &Said<'_>| refusal(&simple(said, "unreachable"));
    assert_says(&refused(&Said { inputs: &["In"], ..GOOD }), r#"port "In" is not a name"#);
    assert_says(&refused(&Said { stores: &[""], ..GOOD }), r#"store "" is not a name"#);
    assert_says(&refused(&Said { outputs: &["a", "b", "a"], ..GOOD }), r#"describes two outputs named "a""#);
    assert_says(&refused(&Said { stores: &["s", "s"], ..GOOD }), r#"describes two stores named "s""#);
    let many: Vec<String> = (0..=STORES_MAX).map(|number| format!("s{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_says(&refused(&Said { stores: &many, ..GOOD }), "has stores: 65, at most 64 are allowed");
}

#[test]
fn a_description_that_traps_or_never_ends_is_refused() {
    let refused = |before| refusal(&simple(&Said { before, ..GOOD }, "unreachable"));
    assert_says(&refused("unreachable"), "does not describe itself: describe trapped: wasm `unreachable` instruction executed");
    assert_says(&refused("(loop $l (br $l))"), "describe trapped: the call has spent its CPU time of 1s");
    let greedy = "(if (i32.lt_s (memory.grow (i32.const 100)) (i32.const 0)) (then unreachable))";
    assert_says(&refused(greedy), "memory limit of 1 MiB reached");
}

#[test]
fn a_description_has_no_capabilities() {
    let outer = r#"
        (import "gregor:task/output@0.1.0"
            (instance $output (export "select" (func (param "output" u32) (param "indexes" (list u32))))))
        (alias export $output "select" (func $select))
        (core func $select (canon lower (func $select) (memory $libc "memory")))
        (core instance $host (export "select" (func $select)))"#;
    let inner = r#"(import "host" "select" (func $select (param i32 i32 i32)))"#;
    let before = "(call $select (i32.const 0) (i32.const 0) (i32.const 0))";
    let found = refusal(&simple(&Said { before, outer, inner, ..GOOD }, "unreachable"));
    assert_says(&found, "describe trapped: describe may neither write nor emit");
}

#[test]
fn functions_of_wasi_that_are_not_served_trap_by_name() {
    let outer = r#"
        (import "wasi:clocks/timezone@0.2.3" (instance $timezone (export "utc-offset" (func (result s32)))))
        (alias export $timezone "utc-offset" (func $offset))
        (core func $offset (canon lower (func $offset)))
        (core instance $host (export "offset" (func $offset)))"#;
    let inner = r#"(import "host" "offset" (func $offset (result i32)))"#;
    let found = refusal(&simple(&Said { before: "(drop (call $offset))", outer, inner, ..GOOD }, "unreachable"));
    assert_says(&found, "describe trapped: wasi:clocks/timezone@0.2.3#utc-offset was called, which is not served to tasks");
}

#[test]
fn a_start_function_without_end_is_stopped() {
    let inner = "(func $start (loop $l (br $l))) (start $start)";
    assert_says(&refusal(&simple(&Said { inner, ..GOOD }, "unreachable")), "the call has spent its CPU time");
}
