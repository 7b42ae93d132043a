//! The rows of the table. Refuses nothing: each row says for itself what is expected.

use std::time::Duration;

use gregor_model::limits::{AdmissionLimits, Limits, METRIC_SERIES_MAX, MIB};
use gregor_runtime::setup::{Outcome, Report};

use super::{Deed, Ends, Without};
use crate::guests::{self, Guest};
use crate::jobs::Ended;

/// Time that nobody has to wait for.
const HOUR: Duration = Duration::from_secs(3600);

/// What each guest may use, unless its row says otherwise.
fn limits() -> Limits {
    Limits {
        memory_bytes: 16 * MIB,
        call_time: Duration::from_millis(100),
        record_bytes: 1 << 20,
        emit_records: 100,
        emit_bytes: 64 << 10,
        ..Limits::default()
    }
}

/// The same with time for work that takes a while.
fn patient() -> Limits {
    Limits { call_time: HOUR, ..limits() }
}

/// All deeds.
pub(crate) fn table() -> Vec<Deed> {
    [time(), growth(), floods(), lies(), handles(), compiling(), probes()].into_iter().flatten().collect()
}

/// A deed with the usual limits.
fn deed(guest: Guest, ends: Ends, without: Without) -> Deed {
    Deed { guest, amount: "0", limits: limits(), admission: AdmissionLimits::default(), ends, without }
}

/// A deed of the component in Rust that is done so often, and may be done once less.
fn counted(mode: &'static str, [amount, allowed]: [&'static str; 2], says: &'static str) -> Deed {
    let without = Without::Allowed(Guest::Rust(mode), allowed);
    Deed { amount, limits: patient(), ..deed(Guest::Rust(mode), Ends::Stopped(says), without) }
}

/// Never coming back, wherever the host calls a guest.
fn time() -> Vec<Deed> {
    let endless = |guest, says| deed(guest, Ends::Stopped(says), Without::Endless);
    let short = AdmissionLimits { describe_time: Duration::from_millis(20), ..AdmissionLimits::default() };
    let long = AdmissionLimits { describe_time: HOUR, ..short };
    let describing = |name| {
        let ends = Ends::Refused("describe trapped: the call has spent its CPU time of 20ms (call-time)");
        Deed { admission: short, limits: patient(), ..deed(Guest::Wat(name), ends, Without::Admission(long, Ends::Done(|_| true))) }
    };
    const SPENT: &str = "process trapped: the call has spent its CPU time of 100ms (call-time)";
    vec![
        endless(Guest::Wat("loop-in-process"), SPENT),
        endless(Guest::Rust("endless-calls"), SPENT),
        endless(Guest::Rust("endless-sleep"), SPENT),
        endless(Guest::Wat("loop-in-destructor"), SPENT),
        endless(Guest::Wat("loop-in-post-return"), SPENT),
        endless(Guest::Wat("loop-in-realloc"), SPENT),
        endless(Guest::Rust("init-loops"), "init trapped: the call has spent its CPU time of 100ms (call-time)"),
        endless(Guest::Rust("end-loops"), "on-end trapped: the call has spent its CPU time of 100ms (call-time)"),
        describing("loop-in-describe"),
        describing("loop-in-start"),
    ]
}

/// Taking ever more of what an instance has.
fn growth() -> Vec<Deed> {
    let more = Limits { memory_bytes: 32 * MIB, ..limits() };
    let stopped = |guest, says, without| Deed { limits: patient(), ..deed(guest, Ends::Stopped(says), without) };
    vec![
        deed(
            Guest::Rust("memory-bomb"),
            Ends::Stopped("memory limit of 16 MiB reached"),
            Without::Limits(more, Ends::Stopped("memory limit of 32 MiB reached")),
        ),
        stopped(Guest::Wat("table-bomb"), "table limit of 1000000 entries reached", Without::Allowed(Guest::Wat("table-within"), "0")),
        stopped(Guest::Rust("stack-overflow"), "call stack exhausted", Without::Allowed(Guest::Rust("stack-within"), "0")),
        stopped(Guest::Rust("data-stack-overflow"), "out of bounds memory access", Without::Allowed(Guest::Rust("stack-within"), "0")),
        stopped(
            Guest::Wat("call-back-from-realloc"),
            "cannot leave component instance",
            Without::Allowed(Guest::Wat("store-used-well"), "0"),
        ),
        deed(
            Guest::Made("many-instances", guests::many_instances(149)),
            Ends::Refused("exceeds the configured maximum of 150"),
            Without::Allowed(Guest::Made("fewer-instances", guests::many_instances(147)), "0"),
        ),
    ]
}

/// Whatever the host would have to keep, or hand on, without end.
fn floods() -> Vec<Deed> {
    let emits = |amount, limits, says, more| {
        let without = Without::Limits(more, Ends::Done(|_| true));
        Deed { amount, limits, ..deed(Guest::Rust("emit-amount"), Ends::Stopped(says), without) }
    };
    let done = |mode, is_right: fn(&Ended) -> bool| {
        let allowed = Without::Allowed(Guest::Rust("probe"), "0");
        Deed { limits: patient(), ..deed(Guest::Rust(mode), Ends::Done(is_right), allowed) }
    };
    let much = Limits { emit_records: 1_000, emit_bytes: MIB, ..patient() };
    vec![
        emits(
            "101",
            Limits { emit_bytes: MIB, ..patient() },
            "a call may emit 100 records (emit-records), this one emits 101",
            much.clone(),
        ),
        emits("65", patient(), "a call may emit 64 KiB (emit-bytes), this one emits 66560 bytes", much),
        counted("write-amount", ["64", "63"], "a call may write 67108864 bytes of state"),
        counted("keys-amount", ["1048577", "1048576"], "1048576"),
        counted("cursors-amount", ["65", "64"], "the limit of 64 open cursors is reached"),
        counted("stores-amount", ["1025", "1024"], "the limit of 1024 store handles is reached"),
        Deed {
            limits: patient(),
            ..deed(
                Guest::Wat("pollables-without-end"),
                Ends::Stopped("the limit of 1024 pollables is reached"),
                Without::Allowed(Guest::Rust("probe"), "0"),
            )
        },
        Deed {
            limits: patient(),
            ..deed(
                Guest::Rust("metric-flood"),
                Ends::Stopped("the limit of 1024 metric handles is reached"),
                Without::Allowed(Guest::Rust("series-flood"), "0"),
            )
        },
        done(
            "series-flood",
            |ended| matches!(&ended.outcome, Ok(Outcome::Finished(summary)) if summary.metrics.len() == METRIC_SERIES_MAX),
        ),
        done("log-flood", |ended| {
            let lines: Vec<&str> = ended
                .reports
                .iter()
                .filter_map(|report| if let Report::TaskLog { line, .. } = report { Some(line.as_str()) } else { None })
                .collect();
            let kept = lines.iter().filter(|line| **line == "flood").count();
            let dropped =
                lines.iter().filter_map(|line| line.split_once(" log lines were dropped: over 100 a second")?.0.parse::<usize>().ok());
            kept < 5_000 && kept + dropped.sum::<usize>() == 10_000
        }),
    ]
}

/// Numbers and places that contradict what is there.
fn lies() -> Vec<Deed> {
    let told = |guest, says| deed(guest, Ends::Stopped(says), Without::Allowed(Guest::Rust("echo"), "0"));
    let honest = |name, says| deed(Guest::Wat(name), Ends::Stopped(says), Without::Allowed(Guest::Wat("destructor-that-ends"), "0"));
    vec![
        told(Guest::Rust("lying-ends"), "column value-ends entry 1 is 5, outside 3..=4"),
        told(Guest::Rust("lying-nulls"), "column nulls has 2 entries, expected 1"),
        told(Guest::Rust("lying-causes"), "column causes entry 1 is 1000000, there are 1"),
        told(Guest::Rust("lying-outputs"), "column outputs entry 1 is 1, there are 1"),
        told(Guest::Rust("select-out-of-range"), "column select.indexes entry 0 is 1, there are 1"),
        told(Guest::Rust("state-lying-columns"), "column ends entry 1 is 9, outside 1..=2"),
        told(Guest::Rust("reject-out-of-range"), "it rejects record 1000000 of 1"),
        told(Guest::Rust("huge-key"), "record 0 has a key of 1048577 bytes"),
        honest("realloc-out-of-memory", "realloc return: beyond end of memory"),
        honest("realloc-unaligned", "realloc return: result not aligned"),
        honest("answer-out-of-memory", "out of bounds"),
        honest("answer-unaligned", "not aligned"),
        honest("answer-of-no-kind", "invalid expected discriminant"),
        honest("answer-too-long", "out of bounds"),
        honest("reason-out-of-memory", "out of bounds"),
        honest("reason-of-no-text", "utf-8"),
        honest("read-past-memory", "out of bounds memory access"),
        honest("copy-past-memory", "out of bounds memory access"),
        honest("call-of-nothing", "undefined element: out of bounds table access"),
    ]
}

/// Handles that are not, or not any more, what they are used as.
fn handles() -> Vec<Deed> {
    let honest = |name, says| deed(Guest::Wat(name), Ends::Stopped(says), Without::Allowed(Guest::Wat("store-used-well"), "0"));
    vec![
        honest("store-used-after-its-end", "unknown handle index"),
        honest("store-closed-twice", "unknown handle index"),
        honest("store-of-nobody", "unknown handle index 4711"),
        honest("cursor-taken-for-a-store", "used with the wrong type"),
        honest("key-out-of-memory", "out of bounds"),
        honest("answer-wanted-out-of-memory", "out of bounds"),
    ]
}

/// Components that cost before they have run.
fn compiling() -> Vec<Deed> {
    let refused = |guest, says, without| deed(guest, Ends::Refused(says), without);
    // What one of the two stops runs into the other without it. Hours would pass without both.
    let hurried = AdmissionLimits { compile_time: Duration::from_secs(1), ..AdmissionLimits::default() };
    let narrow = AdmissionLimits { compile_memory_bytes: 256 * MIB, ..AdmissionLimits::default() };
    const TIME: &str = "the 1s of CPU time that compiling may take are spent (compile-time)";
    const MEMORY: &str = "the 256 MiB of memory that compiling may take are used up (compile-memory)";
    let entangled = |name| Guest::Made(name, guests::entangled(400, 400));
    let plain = || Without::Allowed(Guest::Made("little-entangled", guests::entangled(20, 20)), "0");
    vec![
        Deed { admission: hurried, ..refused(entangled("minutes-to-compile"), TIME, Without::Admission(narrow, Ends::Refused(MEMORY))) },
        Deed { admission: narrow, ..refused(entangled("memory-to-compile"), MEMORY, Without::Admission(hurried, Ends::Refused(TIME))) },
        Deed { admission: hurried, ..refused(Guest::Made("doubled", guests::doubled(30)), "that compiling may take are", plain()) },
        refused(Guest::Made("nested-lists", guests::nested_lists(5_000)), "nesting", plain()),
        refused(
            Guest::Made("nested-component-types", guests::nested_component_types(50_000)),
            "nested too deep for the stack that compiling may take",
            Without::Allowed(Guest::Made("less-nested-component-types", guests::nested_component_types(500)), "0"),
        ),
        Deed { admission: hurried, ..refused(Guest::Made("nested-components", guests::nested_components(30_000)), TIME, plain()) },
        refused(Guest::Wat("socket"), "imports wasi:sockets/instance-network@0.2.0, which is not served here", plain()),
    ]
}

/// Looking for the world.
fn probes() -> Vec<Deed> {
    let allowed = || Without::Allowed(Guest::Rust("random"), "0");
    vec![
        Deed { limits: patient(), ..deed(Guest::Rust("probe"), Ends::Done(|_| true), allowed()) },
        deed(
            Guest::Rust("random-too-long"),
            Ends::Stopped("65537 random bytes were asked for, at most 65536 are given at a time"),
            allowed(),
        ),
        deed(Guest::Rust("exit"), Ends::Stopped("the guest exited with"), allowed()),
        deed(Guest::Rust("init-writes"), Ends::Stopped("init may neither write nor emit"), allowed()),
    ]
}
