//! The simple form of processing, and what is believed of an answer. (The rest of an instance is tested with real components.)

use gregor_model::columns::{Headers, Record};

use super::*;
use crate::admission::Nobody;
use crate::fixtures::{GOOD, engine, simple};

#[test]
fn the_mark_lies_between_a_fresh_instance_and_its_limit() {
    for (fresh, limit, expected) in [(0, 64, 32), (2, 64, 33), (40, 64, 52), (64, 64, 64), (70, 64, 70)] {
        assert_eq!(memory_mark(fresh, limit), expected, "{fresh} of {limit}");
    }
}

#[test]
fn rejections_are_believed_once_each_and_in_range() {
    let reject = |index| Rejection { index, action: Disposition::Skip, reason: "ä".repeat(LOG_LINE_BYTES_MAX) };
    let good = check_rejections(vec![reject(2), reject(0)], 3).unwrap();
    assert_eq!(
        good.iter().map(|good| (good.index, good.reason.len())).collect::<Vec<_>>(),
        [(2, LOG_LINE_BYTES_MAX), (0, LOG_LINE_BYTES_MAX)]
    );
    assert_eq!(check_rejections(vec![reject(3)], 3).unwrap_err(), "it rejects record 3 of 3");
    assert_eq!(check_rejections(vec![reject(1), reject(1)], 3).unwrap_err(), "it rejects record 1 twice");
}

#[test]
fn an_answered_error_can_not_forge_a_line() {
    let error = said(Phase::Process, TaskError::Poison("bad\nfinished \u{1b}[2J".to_owned()));
    assert_eq!(error, CallError::Poison("process: bad\\nfinished \\u{1b}[2J".to_owned()));
}

/// Rejects each of three records, with the first one's key, the second one's value and the third one's first header as the reason, after
/// looking at the third one's offset, timestamp and absent key.
const REJECT_ALL: &str = "
    (local $header i32)
    (if (i32.ne (local.get $len) (i32.const 3)) (then unreachable))
    (if (i32.ne (i32.load offset=112 (local.get $list)) (i32.const 0)) (then unreachable))
    (if (i32.ne (i32.load offset=116 (local.get $list)) (i32.const 9)) (then unreachable))
    (if (i64.ne (i64.load offset=120 (local.get $list)) (i64.const 12)) (then unreachable))
    (if (i64.ne (i64.load offset=128 (local.get $list)) (i64.const -5)) (then unreachable))
    (if (i32.load8_u offset=136 (local.get $list)) (then unreachable))
    (i32.store (i32.const 512) (i32.const 0))
    (i32.store (i32.const 516) (i32.const 0))
    (i32.store (i32.const 520) (i32.load offset=28 (local.get $list)))
    (i32.store (i32.const 524) (i32.load offset=32 (local.get $list)))
    (i32.store (i32.const 528) (i32.const 1))
    (i32.store (i32.const 532) (i32.const 1))
    (i32.store (i32.const 536) (i32.load offset=96 (local.get $list)))
    (i32.store (i32.const 540) (i32.load offset=100 (local.get $list)))
    (local.set $header (i32.load offset=160 (local.get $list)))
    (i32.store (i32.const 544) (i32.const 2))
    (i32.store (i32.const 548) (i32.const 0))
    (i32.store (i32.const 552) (i32.load (local.get $header)))
    (i32.store (i32.const 556) (i32.load offset=4 (local.get $header)))
    (i32.store (i32.const 480) (i32.const 0))
    (i32.store (i32.const 484) (i32.const 512))
    (i32.store (i32.const 488) (i32.const 3))
    (i32.const 480)";

#[test]
fn a_simple_processor_gets_its_records_one_by_one() {
    let mut columns = Columns { headers: Some(Headers::default()), ..Columns::default() };
    let records = [(10, Some(&b"key"[..]), Some(&b"x"[..])), (11, Some(b""), Some(b"value")), (12, None, None)];
    for (offset, key, value) in records {
        columns.push(Record { offset, timestamp: -5, key, value }).unwrap();
    }
    columns.headers.as_mut().unwrap().set_last(&[(b"name", b"1"), (b"other", b"2")]);
    columns.check().unwrap();
    let component = engine().admit(&simple(&GOOD, REJECT_ALL)).unwrap();
    let limits = CallLimits { memory_bytes: 1 << 20, call_time: Duration::from_secs(1), emit_records: 10, emit_bytes: 10 };
    let mut instance = Instance::new(&component, Nobody, limits).unwrap();
    let context = CallContext { now_ms: 0, seed: [0; 32] };
    let rejections = instance.process(&Batch { input: 0, partition: 9, columns: &Arc::new(columns) }, &context).unwrap();
    let expected = [(0, Disposition::Skip, "key"), (1, Disposition::DeadLetter, "value"), (2, Disposition::Skip, "name")];
    assert_eq!(rejections.iter().map(|found| (found.index, found.action, found.reason.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!(instance.on_end(0, &context), Ok(Progress::Done), "there is no lifecycle to ask");
    assert_eq!((instance.usage().calls, instance.usage().traps, instance.usage().memory_bytes), (1, 0, 2 << 16));
}

#[test]
fn a_memory_limit_above_the_engines_is_refused_with_both() {
    let component = engine().admit(&simple(&GOOD, "unreachable")).unwrap();
    let limits = CallLimits { memory_bytes: 2 << 20, call_time: Duration::from_secs(1), emit_records: 0, emit_bytes: 0 };
    let error = Instance::new(&component, Nobody, limits).unwrap_err();
    assert_eq!(error, CallError::Fatal("the memory limit is 2 MiB, this host allows at most 1 MiB; lower limits.memory".to_owned()));
}

#[test]
fn a_job_that_ends_its_calls_ends_those_of_no_other_job() {
    let component = engine().admit(&simple(&GOOD, "(loop $for-ever (br $for-ever)) unreachable")).unwrap();
    let (ending, other) = (component.apart(), component.apart());
    ending.end_calls();
    let end_of = |component: &Component| {
        let limits = CallLimits { memory_bytes: 1 << 20, call_time: Duration::from_millis(50), emit_records: 10, emit_bytes: 10 };
        let mut columns = Columns::default();
        columns.push(Record { offset: 0, timestamp: 0, key: None, value: None }).unwrap();
        let mut instance = Instance::new(component, Nobody, limits).unwrap();
        instance
            .process(&Batch { input: 0, partition: 0, columns: &Arc::new(columns) }, &CallContext { now_ms: 0, seed: [0; 32] })
            .unwrap_err()
    };
    assert_eq!(end_of(&ending), CallError::Retryable("process: the host ends all calls, because it stops".to_owned()));
    for going_on in [&other, &component] {
        assert_eq!(end_of(going_on), CallError::Poison("process trapped: the call has spent its CPU time of 50ms (call-time)".to_owned()));
    }
}
