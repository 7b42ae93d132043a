//! Each deed of the hostile component: the call ends with the right error and a reason that names the limit, within its CPU time, and the
//! next call works.

use gregor_guest::CallError;
use gregor_model::limits::LOG_LINE_BYTES_MAX;

use crate::{CONTEXT, LIMITS, batch, instance, process};

/// How a call ends.
#[derive(Debug, PartialEq, Eq)]
enum Ends {
    Retryable,
    Poison,
    Fatal,
    Broken,
}

/// How the guest ends its call.
#[derive(Debug, PartialEq, Eq)]
enum By {
    Trap,
    Answer,
}

fn ends(error: &CallError) -> (Ends, &str) {
    match error {
        CallError::Retryable(reason) => (Ends::Retryable, reason),
        CallError::Poison(reason) => (Ends::Poison, reason),
        CallError::Fatal(reason) => (Ends::Fatal, reason),
        CallError::Broken(reason) => (Ends::Broken, reason),
    }
}

/// A good call, the deed, and a good call again.
#[track_caller]
fn check(mode: &str, (expected, by): (Ends, By), says: &str) {
    let mut instance = instance(mode);
    assert_eq!(process(&mut instance, &batch(None)), Ok(vec![]), "{mode}: before");
    let before = instance.usage();
    let error = process(&mut instance, &batch(Some(5))).expect_err(mode);
    let (found, reason) = ends(&error);
    assert_eq!(found, expected, "{mode}: {reason}");
    assert!(reason.contains(says), "{mode}: {reason:?} does not say {says:?}");
    assert!(!reason.contains('\n') && reason.len() < 2 * LOG_LINE_BYTES_MAX, "{mode}: {reason:?} is not one line");
    let usage = instance.usage();
    assert_eq!(usage.traps, u64::from(by == By::Trap), "{mode}");
    assert_eq!(usage.memory_bytes, 0, "{mode}: no instance outlives a call that failed");
    let spent = u128::from(usage.cpu_nanoseconds - before.cpu_nanoseconds);
    // The last tick, and host work that no epoch interrupts: copying the 64 MiB that a call may emit.
    let slack = 300_000_000;
    assert!(spent < LIMITS.call_time.as_nanos() + slack, "{mode}: {spent} ns of CPU time");
    instance.services().selected.clear();
    assert_eq!(process(&mut instance, &batch(None)), Ok(vec![]), "{mode}: after");
    assert_eq!(instance.services().selected, (0..10).collect::<Vec<u32>>(), "{mode}");
    assert!(instance.services().cursors_open().is_empty(), "{mode}");
    assert_eq!(instance.usage().calls, 3);
}

#[test]
fn time_memory_and_stack_have_an_end() {
    let trap = || (Ends::Poison, By::Trap);
    check("endless-loop", trap(), "process trapped: the call has spent its CPU time of 300ms (call-time)");
    check("endless-calls", trap(), "process trapped: the call has spent its CPU time of 300ms (call-time)");
    check("memory-bomb", trap(), "; memory limit of 64 MiB reached; it said: memory allocation of ");
    check("stack-overflow", trap(), "process trapped: call stack exhausted");
    check("data-stack-overflow", trap(), "process trapped: out of bounds memory access");
}

#[test]
fn a_guest_that_gives_up_says_why() {
    let trap = || (Ends::Poison, By::Trap);
    check("trap", trap(), "process trapped: wasm `unreachable` instruction executed");
    check("panic", trap(), "it said: thread");
    check("panic", trap(), "the hostile component panics on purpose");
    check("exit", trap(), "the guest exited with Err(())");
}

#[test]
fn answered_errors_cost_the_instance_as_traps_do() {
    check("error-poison", (Ends::Poison, By::Answer), "process: this record is bad");
    check("error-retryable", (Ends::Retryable, By::Answer), "process: come back later");
    check("error-fatal", (Ends::Fatal, By::Answer), "process: nothing helps");
}

#[test]
fn rejections_that_lie_are_traps() {
    let trap = || (Ends::Poison, By::Trap);
    check("reject-out-of-range", trap(), "process answered a lie: it rejects record 1000000 of 10");
    check("reject-twice", trap(), "process answered a lie: it rejects record 5 twice");
}

#[test]
fn output_is_limited_in_records_and_bytes() {
    let trap = || (Ends::Poison, By::Trap);
    check("too-many-emits", trap(), "a call may emit 1000000 records (emit-records), this one emits 1200000");
    check("too-many-selects", trap(), "a call may emit 1000000 records (emit-records), this one emits 1000001");
    check("too-many-bytes", trap(), "a call may emit 64 MiB (emit-bytes), this one emits 75497472 bytes");
    check("too-many-selected-bytes", trap(), "a call may emit 64 MiB (emit-bytes), this one emits 90900000 bytes");
    check("huge-key", trap(), "record 0 has a key of 1048577 bytes");
    check("huge-value", trap(), "and a value of 16777217 bytes");
}

#[test]
fn every_lie_about_columns_is_found_and_named() {
    let trap = || (Ends::Poison, By::Trap);
    for (mode, says) in [
        ("lying-ends", "column value-ends entry 1 is 5, outside 3..=4"),
        ("lying-falling-ends", "column key-ends entry 1 is 1, outside 2..=4"),
        ("lying-short-ends", "column value-ends has 1 entries, expected 2"),
        ("lying-trailing", "column data: 1 bytes at its end belong to no record"),
        ("lying-nulls", "column nulls has 2 entries, expected 1"),
        ("lying-null-bits", "column nulls has bits after those of its 2 records"),
        ("lying-null-bytes", "column nulls says that record 0 lacks a key or value"),
        ("lying-causes", "column causes entry 1 is 1000000, there are 10"),
        ("lying-cause-count", "column causes has 3 entries, expected 2"),
        ("lying-outputs", "column outputs entry 1 is 1, there are 1"),
        ("lying-output-count", "column outputs has 3 entries, expected 2"),
        ("lying-timestamps", "column timestamps has 1 entries, expected 2"),
        ("lying-partitions", "column partitions has 1 entries, expected 2"),
        ("lying-partition-range", "column partitions entry 1 is -2, below -1"),
        ("lying-header-counts", "column headers.counts has 1 entries, expected 2"),
        ("lying-header-ends", "column headers.name-ends entry 0 is 3, outside 0..=2"),
        ("lying-header-names", "the name of header 0 is not UTF-8"),
        ("select-out-of-range", "column select.indexes entry 0 is 10, there are 10"),
        ("select-no-output", "column select.output entry 0 is 1, there are 1"),
        ("random-too-long", "65537 random bytes were asked for, at most 65536 are given at a time"),
    ] {
        check(mode, trap(), says);
    }
}

#[test]
fn state_calls_that_lie_are_told_so() {
    let told = || (Ends::Poison, By::Answer);
    check("state-lying-columns", told(), r#"InvalidColumns("keys: column ends entry 1 is 9, outside 1..=2")"#);
    check("state-lying-nulls", told(), r#"InvalidColumns("keys: column nulls has 9 entries, expected 1")"#);
    check("state-absent-key", told(), r#"InvalidColumns("column keys.nulls: a key is absent")"#);
    check("state-lying-values", told(), r#"InvalidColumns("there are 1 values for 2 keys")"#);
    check("state-lying-amounts", told(), r#"InvalidColumns("there are 3 amounts for 2 keys, expected as many or one")"#);
    check("state-huge-key", told(), "TooLarge(1048577)");
    check("state-huge-value", told(), "TooLarge(16777217)");
    check("state-not-a-counter", told(), "NotACounter(3)");
    check("state-no-such-store", told(), r#"NoSuchStore("nowhere")"#);
}

#[test]
fn failures_of_services_end_the_call() {
    check("state-broken-disk", (Ends::Broken, By::Trap), "the disk is gone");
    check("state-limit", (Ends::Poison, By::Trap), "process trapped: dirty-bytes is reached");
}

#[test]
fn handles_are_limited() {
    let trap = || (Ends::Poison, By::Trap);
    check("cursor-flood", trap(), "the limit of 64 open cursors is reached");
    check("store-flood", trap(), "the limit of 1024 store handles is reached");
    check("metric-flood", trap(), "the limit of 1024 metric handles is reached");
}

#[test]
fn a_cursor_ends_with_its_call() {
    let mut instance = instance("stale-cursor");
    assert_eq!(process(&mut instance, &batch(Some(0))), Ok(vec![]));
    assert!(instance.services().cursors_open().is_empty(), "the host closes what the guest left open");
    let error = process(&mut instance, &batch(Some(0))).unwrap_err();
    assert_eq!(error, CallError::Poison("process trapped: a cursor ends with its call; this one was opened in an earlier call".to_owned()));
    assert_eq!(process(&mut instance, &batch(Some(0))), Ok(vec![]), "a fresh instance knows nothing of it");
}

#[test]
fn init_may_neither_write_nor_emit_nor_take_for_ever() {
    for (mode, expected, says) in [
        ("init-emits", Ends::Fatal, "init trapped: init may neither write nor emit"),
        ("init-selects", Ends::Fatal, "init trapped: init may neither write nor emit"),
        ("init-writes", Ends::Fatal, "init trapped: init may neither write nor emit"),
        ("init-loops", Ends::Fatal, "init trapped: the call has spent its CPU time of 300ms"),
        ("init-panics", Ends::Fatal, "init gives up"),
        ("init-fails", Ends::Fatal, "init: init blames a record"),
        ("init-retryable", Ends::Retryable, "init: not yet"),
    ] {
        let mut instance = instance(mode);
        let by_process = process(&mut instance, &batch(None)).unwrap_err();
        let by_start = instance.start(&CONTEXT).unwrap_err();
        let by_end = instance.on_end(0, &CONTEXT).unwrap_err();
        for error in [by_process, by_start, by_end] {
            let (found, reason) = ends(&error);
            assert_eq!(found, expected, "{mode}: {reason}");
            assert!(reason.contains(says), "{mode}: {reason:?} does not say {says:?}");
        }
        let usage = instance.usage();
        assert_eq!((usage.calls, usage.memory_bytes), (0, 0), "{mode}");
        let services = instance.into_services();
        assert!(services.emitted.is_empty() && services.selected.is_empty() && services.store.is_empty(), "{mode}");
    }
}

#[test]
fn the_end_of_an_input_has_the_same_limits() {
    for (mode, expected, says) in [
        ("end-loops", Ends::Poison, "on-end trapped: the call has spent its CPU time of 300ms"),
        ("end-panics", Ends::Poison, "the end is too much"),
        ("end-fails", Ends::Retryable, "on-end: not at an end"),
        ("end-selects", Ends::Poison, "select forwards records of a batch, and on-end has none"),
        ("end-lying-causes", Ends::Poison, "record 0 has a cause, but in on-end there is no batch"),
    ] {
        let mut instance = instance(mode);
        let error = instance.on_end(0, &CONTEXT).unwrap_err();
        let (found, reason) = ends(&error);
        assert_eq!(found, expected, "{mode}: {reason}");
        assert!(reason.contains(says), "{mode}: {reason:?} does not say {says:?}");
        assert_eq!(process(&mut instance, &batch(None)), Ok(vec![]), "{mode}");
    }
}

#[test]
fn floods_of_lines_do_no_harm() {
    let mut instance = instance("log-flood");
    assert_eq!(process(&mut instance, &batch(Some(1))), Ok(vec![]));
    assert_eq!(instance.services().lines.len(), 10_000);
    let mut instance = crate::instance("stderr-flood");
    assert_eq!(process(&mut instance, &batch(Some(1))), Ok(vec![]));
    let lines = &instance.services().lines;
    assert_eq!(lines.len(), 1, "one line without end is one line");
    assert!(lines[0].message.len() <= LOG_LINE_BYTES_MAX && lines[0].message.starts_with("no end of line"));
}
