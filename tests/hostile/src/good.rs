//! What a good task does with a whole batch, in every form that the contract has for it, so that a test can compare the forms. Refuses
//! nothing; an error of the host ends the call.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::gregor::task::state::{self, Columns, Range, Store};
use crate::gregor::task::types::{Disposition, OutputBatch, OutputRecord, RecordBatch, Rejection, TaskError};
use crate::gregor::task::{context, output, telemetry};
use crate::{key, value};

thread_local! {
    /// What `totals` remembers between calls.
    static TOTALS: RefCell<BTreeMap<Vec<u8>, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Does what `mode` says with the batch; none if `mode` is about single records.
pub(crate) fn whole_batch(mode: &str, batch: &RecordBatch) -> Option<Result<(), TaskError>> {
    let answer = match mode {
        "echo" => {
            echo(batch);
            Ok(())
        }
        "echo-records" => {
            echo_records(batch);
            Ok(())
        }
        "identity" => {
            let all: Vec<u32> = (0..u32::try_from(batch.value_ends.len()).unwrap()).collect();
            output::select(0, &all);
            Ok(())
        }
        "count" => count(batch),
        "count-records" => count_records(batch),
        "put-get" => put_get(batch),
        "ledger" => ledger(batch),
        "scan" | "scan-reverse" => scan(batch, mode == "scan-reverse"),
        "ambient" => {
            ambient();
            Ok(())
        }
        "random" => {
            draw("batch");
            Ok(())
        }
        "telemetry" => {
            measure();
            Ok(())
        }
        _ => return None,
    };
    Some(answer)
}

/// Emits the batch as it came, in columns.
fn echo(batch: &RecordBatch) {
    output::emit_batch(&OutputBatch {
        outputs: vec![0],
        causes: (0..u32::try_from(batch.value_ends.len()).unwrap()).collect(),
        timestamps: batch.timestamps.clone(),
        partitions: Vec::new(),
        data: batch.data.clone(),
        key_ends: batch.key_ends.clone(),
        value_ends: batch.value_ends.clone(),
        nulls: batch.nulls.clone(),
        headers: batch.headers.clone(),
    });
}

/// Emits the batch record by record, every other one with its own timestamp and partition.
fn echo_records(batch: &RecordBatch) {
    let absent = |index: usize, bit: u8| batch.nulls.get(index / 4).is_some_and(|byte| byte >> (2 * (index % 4)) & bit != 0);
    let records: Vec<OutputRecord> = (0..batch.value_ends.len())
        .map(|index| OutputRecord {
            output: 0,
            cause: Some(u32::try_from(index).unwrap()),
            partition: (index % 2 == 1).then_some(3),
            timestamp: (index % 2 == 1).then_some(batch.timestamps[index] + 1),
            key: (!absent(index, 1)).then(|| key(batch, index).to_vec()),
            value: (!absent(index, 2)).then(|| value(batch, index).to_vec()),
            headers: Vec::new(),
        })
        .collect();
    output::emit(&records);
}

/// The keys of a batch as columns of their own.
fn keys(batch: &RecordBatch) -> Columns {
    strings((0..batch.value_ends.len()).map(|index| key(batch, index)))
}

/// The values of a batch as columns of their own.
fn values(batch: &RecordBatch) -> Columns {
    strings((0..batch.value_ends.len()).map(|index| value(batch, index)))
}

fn strings<'a>(all: impl Iterator<Item = &'a [u8]>) -> Columns {
    let mut columns = Columns { data: Vec::new(), ends: Vec::new(), nulls: Vec::new() };
    for string in all {
        columns.data.extend_from_slice(string);
        columns.ends.push(u32::try_from(columns.data.len()).unwrap());
    }
    columns
}

/// Counts by key in bulk and emits the counts.
fn count(batch: &RecordBatch) -> Result<(), TaskError> {
    let store = open()?;
    let keys = keys(batch);
    store.add_many(&keys, &[1]).map_err(fatal)?;
    let counts = store.get_many(&keys).map_err(fatal)?;
    emit_pairs(&keys, &counts);
    Ok(())
}

/// Counts by key one at a time and emits the counts.
fn count_records(batch: &RecordBatch) -> Result<(), TaskError> {
    let store = open()?;
    for index in 0..batch.value_ends.len() {
        let sum = store.add(key(batch, index), 1).map_err(fatal)?;
        emit_pair(key(batch, index), &sum.to_le_bytes());
    }
    Ok(())
}

/// Puts every pair, removes the first key, and emits what each key then has.
fn put_get(batch: &RecordBatch) -> Result<(), TaskError> {
    let store = open()?;
    store.put_many(&keys(batch), &values(batch)).map_err(fatal)?;
    store.put(b"single", b"value").map_err(fatal)?;
    store.delete(key(batch, 0)).map_err(fatal)?;
    for index in 0..batch.value_ends.len() {
        let found = store.get(key(batch, index)).map_err(fatal)?;
        emit_pair(key(batch, index), &found.unwrap_or_else(|| b"absent".to_vec()));
    }
    Ok(())
}

/// Puts the value of each record under its key, or removes the key where the value is `-`, and emits what was there before: the output says of
/// each record whether the state before it was right, however the records are cut into batches.
fn ledger(batch: &RecordBatch) -> Result<(), TaskError> {
    let store = open()?;
    for index in 0..batch.value_ends.len() {
        let (key, value) = (key(batch, index), value(batch, index));
        let before = store.get(key).map_err(fatal)?;
        if value == b"-" { store.delete(key) } else { store.put(key, value) }.map_err(fatal)?;
        emit_pair(key, &before.unwrap_or_else(|| b"absent".to_vec()));
    }
    Ok(())
}

/// Counts the records of each value, the trigger's included, in memory that is written through to the store, and emits each count: exact as long as
/// what this instance remembers is what was kept.
pub(crate) fn totals(mode: &str, batch: &RecordBatch) -> Option<Result<Vec<Rejection>, TaskError>> {
    let at_trigger: fn(u32) -> Result<Vec<Rejection>, TaskError> = match mode {
        "cache" => |_| Ok(Vec::new()),
        "cache-poison" => |_| Err(TaskError::Poison("not counted".to_owned())),
        "cache-trap" => |_| core::arch::wasm32::unreachable(),
        "cache-dead-letter" => |index| Ok(vec![Rejection { index, action: Disposition::DeadLetter, reason: "not counted".to_owned() }]),
        _ => return None,
    };
    let count = || {
        let (store, trigger) = (open()?, context::config("trigger").unwrap_or_default());
        let mut rejections = Vec::new();
        for index in 0..batch.value_ends.len() {
            let value = value(batch, index);
            if value == trigger.as_bytes() {
                rejections.extend(at_trigger(u32::try_from(index).unwrap())?);
                continue;
            }
            let total = total(&store, value)?;
            store.put(value, &total.to_le_bytes()).map_err(fatal)?;
            emit_pair(value, format!("{} {total}", String::from_utf8_lossy(value)).as_bytes());
        }
        Ok(rejections)
    };
    Some(count())
}

/// One more than was counted of a value, as far as memory knows it, and the store where it does not.
fn total(store: &Store, value: &[u8]) -> Result<u64, TaskError> {
    TOTALS.with_borrow_mut(|totals| {
        let total = match totals.get_mut(value) {
            Some(total) => total,
            None => {
                let stored = store.get(value).map_err(fatal)?;
                let stored = stored.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
                totals.entry(value.to_vec()).or_insert(stored)
            }
        };
        *total += 1;
        Ok(*total)
    })
}

/// Puts every pair and emits what a scan finds, half of it by each form of `next`.
fn scan(batch: &RecordBatch, reverse: bool) -> Result<(), TaskError> {
    let store = open()?;
    store.put_many(&keys(batch), &values(batch)).map_err(fatal)?;
    let cursor = store.scan(&Range { start: Some(b"a".to_vec()), end: None, reverse }).map_err(fatal)?;
    loop {
        let pairs = cursor.next(2).map_err(fatal)?;
        for (key, value) in &pairs {
            emit_pair(key, value);
        }
        let (keys, values) = cursor.next_many(3).map_err(fatal)?;
        emit_pairs(&keys, &values);
        if pairs.is_empty() && keys.ends.is_empty() {
            return Ok(());
        }
    }
}

/// Emits what the surroundings of the task look like from inside.
fn ambient() {
    let this = context::this();
    emit_pair(b"this", format!("{}/{}/{}/{}", this.job, this.stage, this.task, this.tasks).as_bytes());
    emit_pair(b"now", context::now().to_string().as_bytes());
    emit_pair(b"random", &context::random(16));
    emit_pair(b"environment", std::env::vars().count().to_string().as_bytes());
    emit_pair(b"arguments", std::env::args().count().to_string().as_bytes());
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    emit_pair(b"wall", wall.as_millis().to_string().as_bytes());
    let before = std::time::Instant::now();
    emit_pair(b"monotonic", before.elapsed().as_nanos().to_string().as_bytes());
    std::thread::sleep(std::time::Duration::from_secs(3600));
    emit_pair(b"slept", before.elapsed().as_secs().to_string().as_bytes());
    emit_pair(b"file", std::fs::read("/etc/hostname").unwrap_err().kind().to_string().as_bytes());
    let hashed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 1_u8);
    emit_pair(b"hash", &hashed.to_le_bytes());
    println!("to stdout");
    eprintln!("to stderr");
}

/// Emits random bytes, and says what for.
pub(crate) fn draw(place: &str) {
    let drawn: String = context::random(16).iter().map(|byte| format!("{byte:02x}")).collect();
    emit_pair(place.as_bytes(), format!("{place} {drawn}").as_bytes());
}

/// Writes a line and a value of each kind of metric.
fn measure() {
    let labels = [("kind".to_owned(), "test".to_owned())];
    telemetry::log(telemetry::Level::Warn, "a line", &[("field".to_owned(), "text".to_owned())]);
    telemetry::log(telemetry::Level::Info, &"long ".repeat(10_000), &[]);
    telemetry::Counter::new("counted", &labels).add(3);
    telemetry::Gauge::new("level", &labels).set(0.5);
    telemetry::Histogram::new("spread", &labels).observe(1.5);
}

/// Emits one record on the first output.
pub(crate) fn emit_pair(key: &[u8], value: &[u8]) {
    let (key, value) = (Some(key.to_vec()), Some(value.to_vec()));
    output::emit(&[OutputRecord { output: 0, cause: None, partition: None, timestamp: None, key, value, headers: Vec::new() }]);
}

/// Emits keys and values on the first output in columns.
fn emit_pairs(keys: &Columns, values: &Columns) {
    let mut data = Vec::new();
    let (mut key_ends, mut value_ends) = (Vec::new(), Vec::new());
    let (mut key_start, mut value_start) = (0, 0);
    for (&key_end, &value_end) in keys.ends.iter().zip(&values.ends) {
        data.extend_from_slice(&keys.data[key_start as usize..key_end as usize]);
        key_ends.push(u32::try_from(data.len()).unwrap());
        data.extend_from_slice(&values.data[value_start as usize..value_end as usize]);
        value_ends.push(u32::try_from(data.len()).unwrap());
        (key_start, value_start) = (key_end, value_end);
    }
    output::emit_batch(&OutputBatch { data, key_ends, value_ends, ..crate::lies::nothing() });
}

/// The one store.
pub(crate) fn open() -> Result<Store, TaskError> {
    state::open("s").map_err(fatal)
}

/// An error of a state call that ends the job.
pub(crate) fn fatal(error: state::Error) -> TaskError {
    TaskError::Fatal(format!("{error:?}"))
}
