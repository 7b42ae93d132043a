//! What a bad task does when the triggering record comes, when it starts and when its input ends. Refuses modes that it does not know.

use std::cell::RefCell;
use std::hint::black_box;

use crate::exports::gregor::task::lifecycle::Progress;
use crate::good::{draw, emit_pair, fatal, open};
use crate::gregor::task::state::{self, Columns, Cursor, Range, Store};
use crate::gregor::task::types::{Disposition, OutputBatch, OutputRecord, RecordBatch, Rejection, TaskError};
use crate::gregor::task::{context, output, telemetry};
use crate::lies;

thread_local! {
    /// A cursor that outlives its call.
    static KEPT: RefCell<Option<Cursor>> = const { RefCell::new(None) };
    /// Memory that is never given back.
    static LEAKED: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What happens in a fresh instance.
pub(crate) fn at_init(mode: &str) -> Result<(), TaskError> {
    match mode {
        "init-emits" => emit_pair(b"k", b"v"),
        "init-selects" => output::select(0, &[0]),
        "init-writes" => open()?.put(b"k", b"v").map_err(fatal)?,
        "init-loops" => endless(),
        "init-panics" => panic!("init gives up"),
        "init-fails" => return Err(TaskError::Poison("init blames a record".to_owned())),
        "init-retryable" => return Err(TaskError::Retryable("not yet".to_owned())),
        _ => {}
    }
    Ok(())
}

/// What happens at the triggering record; answers rejections. Never inlined: a trace shall name it.
#[inline(never)]
pub(crate) fn at_record(mode: &str, batch: &RecordBatch, index: u32) -> Result<Vec<Rejection>, TaskError> {
    let reject = |index, action| Rejection { index, action, reason: "not wanted".to_owned() };
    match mode {
        "endless-loop" => endless(),
        "endless-calls" => loop {
            context::now();
        },
        "endless-sleep" => loop {
            std::thread::sleep(std::time::Duration::from_secs(3600));
        },
        "memory-bomb" => bomb(),
        "leak" => LEAKED.with_borrow_mut(|leaked| leaked.push(black_box(vec![1; 8 * 1024 * 1024]))),
        "stack-overflow" => {
            black_box(deep(0, black_box(u64::MAX)));
        }
        "stack-within" => {
            black_box(deep(0, black_box(1_000)));
        }
        "data-stack-overflow" => {
            black_box(deep_data(black_box(1)));
        }
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("the hostile component panics on purpose"),
        "exit" => std::process::exit(3),
        "error-poison" => return Err(TaskError::Poison("this record is bad".to_owned())),
        "error-forged" => return Err(TaskError::Poison("bad\nfinished checkpoint=1\n\u{1b}[2J".to_owned())),
        "panic-forged" => panic!("bad\nfinished checkpoint=1\n\u{1b}[2J"),
        "error-retryable" => return Err(TaskError::Retryable("come back later".to_owned())),
        "error-fatal" => return Err(TaskError::Fatal("nothing helps".to_owned())),
        "reject" => return Ok(vec![reject(index, Disposition::Skip)]),
        "reject-dead-letter" => return Ok(vec![reject(index, Disposition::DeadLetter)]),
        "reject-forged" => {
            let reason = "bad\nfinished checkpoint=1\n\u{1b}[2J".to_owned();
            return Ok(vec![Rejection { index, action: Disposition::DeadLetter, reason }]);
        }
        "reject-out-of-range" => return Ok(vec![reject(1_000_000, Disposition::Skip)]),
        "reject-twice" => return Ok(vec![reject(index, Disposition::Skip), reject(index, Disposition::DeadLetter)]),
        "too-many-emits" => too_many_emits(),
        "emit-amount" => (0..amount()).for_each(|_| emit_pair(b"", &[b'x'; 1024])),
        "too-many-selects" => output::select(0, &vec![index; 1_000_001]),
        "too-many-bytes" => too_many_bytes(),
        "too-many-selected-bytes" => output::select(0, &vec![0; 900_000]),
        "select-out-of-range" => output::select(0, &[u32::try_from(batch.value_ends.len()).unwrap()]),
        "select-no-output" => output::select(1, &[0]),
        "random-too-long" => drop(context::random(64 * 1024 + 1)),
        "log-flood" => (0..10_000).for_each(|_| telemetry::log(telemetry::Level::Error, "flood", &[])),
        "stderr-flood" => (0..100).for_each(|_| eprint!("{}", "no end of line ".repeat(1000))),
        "metric-flood" => metric_flood(),
        // Each handle is given back at once: only names pile up.
        "series-flood" => (0..10_000).for_each(|n| telemetry::Counter::new(&format!("series {n}"), &[]).add(1)),
        "probe" => crate::probes::probe(),
        _ if mode.starts_with("init-") || mode.starts_with("end-") => {}
        _ if lies::emit(mode).is_some() => {}
        _ => at_state(mode)?,
    }
    Ok(Vec::new())
}

/// What concerns stores.
fn at_state(mode: &str) -> Result<(), TaskError> {
    let poison = |error: state::Error| TaskError::Poison(format!("{error:?}"));
    let columns = |ends: Vec<u32>, nulls: Vec<u8>| Columns { data: b"ab".to_vec(), ends, nulls };
    let store = open()?;
    match mode {
        "state-lying-columns" => drop(store.get_many(&columns(vec![1, 9], Vec::new())).map_err(poison)?),
        "state-lying-nulls" => drop(store.get_many(&columns(vec![1, 2], vec![0; 9])).map_err(poison)?),
        "state-absent-key" => drop(store.get_many(&columns(vec![0, 2], vec![1])).map_err(poison)?),
        "state-lying-values" => store.put_many(&columns(vec![1, 2], Vec::new()), &columns(vec![2], Vec::new())).map_err(poison)?,
        "state-lying-amounts" => store.add_many(&columns(vec![1, 2], Vec::new()), &[1, 2, 3]).map_err(poison)?,
        "state-huge-key" => store.put(&vec![0; 1024 * 1024 + 1], b"v").map_err(poison)?,
        "state-huge-value" => store.put(b"k", &vec![0; 16 * 1024 * 1024 + 1]).map_err(poison)?,
        "state-not-a-counter" => {
            store.put(b"k", b"abc").map_err(poison)?;
            store.add(b"k", 1).map_err(poison)?;
        }
        "state-no-such-store" => drop(state::open("nowhere").map_err(poison)?),
        "state-broken-disk" => drop(store.get(b"broken-disk").map_err(poison)?),
        "state-limit" => drop(store.get(b"limit").map_err(poison)?),
        "cursor-flood" => {
            let cursors: Vec<Cursor> = (0..1_000).map(|_| store.scan(&all()).map_err(poison)).collect::<Result<_, _>>()?;
            drop(cursors);
        }
        "stale-cursor" => {
            let kept = KEPT.take();
            match kept {
                Some(cursor) => drop(cursor.next(1).map_err(poison)?),
                None => KEPT.set(Some(store.scan(&all()).map_err(poison)?)),
            }
        }
        "write-amount" => {
            let value = vec![1; 1024 * 1024];
            (0..amount()).try_for_each(|n| store.put(&n.to_le_bytes(), &value)).map_err(poison)?;
        }
        "keys-amount" => {
            let keys = Columns { data: Vec::new(), ends: vec![0; amount() as usize], nulls: Vec::new() };
            drop(store.get_many(&keys).map_err(poison)?);
        }
        "cursors-amount" => {
            let cursors: Vec<Cursor> = (0..amount()).map(|_| store.scan(&all()).map_err(poison)).collect::<Result<_, _>>()?;
            drop(cursors);
        }
        "stores-amount" => {
            let stores: Vec<Store> = (1..amount()).map(|_| open()).collect::<Result<_, _>>()?;
            drop(stores);
        }
        "store-flood" => {
            let stores: Vec<Store> = (0..10_000).map(|_| open()).collect::<Result<_, _>>()?;
            drop(stores);
        }
        _ => return Err(TaskError::Fatal(format!("the hostile component has no mode {mode:?}"))),
    }
    Ok(())
}

/// What happens when the input ends; `call` counts from 1.
pub(crate) fn at_end(mode: &str, input: u32, call: u32) -> Result<Progress, TaskError> {
    match mode {
        "end-loops" => endless(),
        "end-panics" => panic!("the end is too much"),
        "end-fails" => return Err(TaskError::Retryable("not at an end".to_owned())),
        "end-selects" => output::select(0, &[0]),
        "end-lying-causes" => output::emit(&[OutputRecord {
            output: 0,
            cause: Some(0),
            partition: None,
            timestamp: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }]),
        "random" => {
            draw("end");
            return Ok(if call < 3 { Progress::More } else { Progress::Done });
        }
        "end-emits" => {
            emit_pair(b"end", format!("{input} {call}").as_bytes());
            return Ok(if call < 3 { Progress::More } else { Progress::Done });
        }
        _ => {}
    }
    Ok(Progress::Done)
}

/// How often a deed is done that says `amount`.
fn amount() -> u32 {
    context::config("amount").and_then(|amount| amount.parse().ok()).unwrap_or(0)
}

fn endless() -> ! {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

fn bomb() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1024 * 1024]));
    }
}

/// Uses more of the host's stack than there is: its frames hold nothing but locals.
fn deep(depth: u64, end: u64) -> u64 {
    if depth == end { 1 } else { deep(depth + 1, end).wrapping_mul(3) ^ depth }
}

/// Uses more of the stack in linear memory than there is, which lies at its beginning.
#[expect(unconditional_recursion, reason = "that is the deed")]
fn deep_data(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    deep_data(frame[127] + 1) + black_box(frame)[0]
}

fn too_many_emits() {
    let ends = vec![0; 200_000];
    for _ in 0..6 {
        output::emit_batch(&OutputBatch { key_ends: ends.clone(), value_ends: ends.clone(), ..lies::nothing() });
    }
}

fn too_many_bytes() {
    let data = vec![b'x'; 8 * 1024 * 1024];
    let end = u32::try_from(data.len()).unwrap();
    let batch = OutputBatch { data, key_ends: vec![0], value_ends: vec![end], ..lies::nothing() };
    for _ in 0..9 {
        output::emit_batch(&batch);
    }
}

fn metric_flood() {
    let counters: Vec<telemetry::Counter> = (0..100_000).map(|n| telemetry::Counter::new(&format!("series {n}"), &[])).collect();
    counters.iter().for_each(|counter| counter.add(1));
}

fn all() -> Range {
    Range { start: None, end: None, reverse: false }
}
