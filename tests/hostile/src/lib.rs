//! A component that does, on request, everything that a host must survive, and a few things that it must do right. Its `config` says what:
//! `mode` names the deed and `trigger` the record that brings it about, by its value; every other record is forwarded unchanged. Refuses
//! modes that it does not know: a test with a slip of the pen must fail.

mod deeds;
mod good;
mod lies;
mod probes;

use std::cell::RefCell;

use exports::gregor::task::describe::{Descriptor, Guest as Describe, Port, StoreSpec};
use exports::gregor::task::lifecycle::{Guest as Lifecycle, Progress};
use exports::gregor::task::processor::Guest as Processor;
use gregor::task::types::{RecordBatch, Rejection, TaskError};
use gregor::task::{context, output};

wit_bindgen::generate!({ path: "../../wit", world: "task-with-lifecycle" });

struct Hostile;

export!(Hostile);

thread_local! {
    /// How often `on-end` was called in this instance.
    static ENDS: RefCell<u32> = const { RefCell::new(0) };
}

impl Describe for Hostile {
    fn describe() -> Descriptor {
        Descriptor {
            name: "hostile".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            inputs: vec![Port { name: "in".to_owned(), schema: None }],
            outputs: vec![Port { name: "out".to_owned(), schema: Some("bytes".to_owned()) }],
            stores: vec![StoreSpec { name: "s".to_owned(), schema_version: 1 }],
        }
    }
}

impl Lifecycle for Hostile {
    fn init() -> Result<(), TaskError> {
        deeds::at_init(&mode())
    }

    fn on_end(input: u32) -> Result<Progress, TaskError> {
        let call = ENDS.with_borrow_mut(|ends| {
            *ends += 1;
            *ends
        });
        deeds::at_end(&mode(), input, call)
    }
}

impl Processor for Hostile {
    fn process(batch: RecordBatch) -> Result<Vec<Rejection>, TaskError> {
        let mode = mode();
        if let Some(answer) = good::whole_batch(&mode, &batch) {
            return answer.map(|()| Vec::new());
        }
        if let Some(answer) = good::totals(&mode, &batch) {
            return answer;
        }
        let trigger = context::config("trigger").unwrap_or_default();
        let mut rejections = Vec::new();
        let mut kept = Vec::new();
        for index in 0..batch.value_ends.len() {
            if value(&batch, index) == trigger.as_bytes() {
                rejections.extend(deeds::at_record(&mode, &batch, u32::try_from(index).unwrap())?);
            } else {
                kept.push(u32::try_from(index).unwrap());
            }
        }
        output::select(0, &kept);
        Ok(rejections)
    }
}

/// What this instance is told to do.
fn mode() -> String {
    context::config("mode").unwrap_or_default()
}

/// The key of a record.
fn key(batch: &RecordBatch, index: usize) -> &[u8] {
    let start = if index == 0 { 0 } else { batch.value_ends[index - 1] };
    &batch.data[start as usize..batch.key_ends[index] as usize]
}

/// The value of a record.
fn value(batch: &RecordBatch, index: usize) -> &[u8] {
    &batch.data[batch.key_ends[index] as usize..batch.value_ends[index] as usize]
}
