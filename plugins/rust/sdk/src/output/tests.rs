//! What is handed over, in which order, and how its columns look.

use super::*;
use crate::ABSENT;
use crate::bindings::gregor::task::types::{OutputBatch, RecordBatch};
use crate::host::{Call, calls};

const A: Port = Port(0);
const B: Port = Port(1);

/// n records without key and value.
fn batch(n: u32) -> Batch {
    Batch::new(RecordBatch {
        input: 0,
        partition: 0,
        offsets: (0..u64::from(n)).collect(),
        timestamps: vec![0; usize::try_from(n).unwrap()],
        data: vec![],
        key_ends: vec![0; usize::try_from(n).unwrap()],
        value_ends: vec![0; usize::try_from(n).unwrap()],
        nulls: vec![],
        headers: None,
    })
}

/// The calls that a function on a batch of 5 records makes.
fn during(act: impl FnOnce(&mut Output, &[Record<'_>])) -> Vec<Call> {
    let (batch, mut out) = (batch(5), Output::new());
    out.begin_batch();
    act(&mut out, &batch.records().collect::<Vec<_>>());
    assert!(out.end().is_empty());
    calls()
}

/// Short names of calls: `emit 0,1` are the outputs of a batch, `select 0:1,2` the indexes of a selection.
fn names(calls: &[Call]) -> Vec<String> {
    let joined = |numbers: &[u32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let name = |call: &Call| match call {
        Call::EmitBatch(batch) => format!("emit {} x{}", joined(&batch.outputs), batch.value_ends.len()),
        Call::Select(output, indexes) => format!("select {output}:{}", joined(indexes)),
    };
    calls.iter().map(name).collect()
}

fn only_batch(calls: Vec<Call>) -> OutputBatch {
    let mut calls = calls.into_iter();
    let (Some(Call::EmitBatch(batch)), None) = (calls.next(), calls.next()) else { panic!("one batch expected") };
    *batch
}

#[test]
fn emitted_records_wait_and_are_handed_over_as_one_batch() {
    let batch = only_batch(during(|out, records| {
        out.of(&records[1]).emit(A, "k1", "v1");
        out.of(&records[4]).emit(A, ABSENT, "v2");
        out.emit(A, "k3", ABSENT);
    }));
    assert_eq!(batch.outputs, [0]);
    assert_eq!(batch.causes, [1, 4, 0]);
    assert_eq!(batch.data, b"k1v1v2k3");
    assert_eq!((batch.key_ends, batch.value_ends, batch.nulls), (vec![2, 4, 8], vec![4, 6, 8], vec![0b0010_0100]));
    assert!(batch.timestamps.is_empty() && batch.partitions.is_empty() && batch.headers.is_none());
}

#[test]
fn outputs_have_one_entry_a_record_as_soon_as_two_ports_mix() {
    let outputs = |ports: &'static [Port]| only_batch(during(|out, _| ports.iter().for_each(|&port| out.emit(port, "k", "v")))).outputs;
    assert_eq!(outputs(&[B, B, B]), [1]);
    assert_eq!(outputs(&[A, A, B]), [0, 0, 1]);
    assert_eq!(outputs(&[A, B]), [0, 1]);
    assert_eq!(outputs(&[A, B, A, B]), [0, 1, 0, 1]);
}

#[test]
fn at_the_end_of_an_input_there_is_no_cause() {
    let mut out = Output::new();
    out.begin_batch();
    out.end();
    out.begin_end();
    out.emit(A, "k", "v");
    out.end();
    assert!(only_batch(calls()).causes.is_empty());
}

#[test]
fn forwarded_records_wait_by_port() {
    let made = during(|out, records| {
        out.forward(A, &records[0]);
        out.forward(B, &records[1]);
        out.forward(A, &records[2]);
        out.forward(B, &records[1]);
    });
    assert_eq!(names(&made), ["select 0:0,2", "select 1:1,1"]);
}

#[test]
fn one_output_keeps_the_order_of_emits_and_forwards() {
    let made = during(|out, records| {
        out.emit(A, "1", "");
        out.forward(A, &records[2]);
        out.forward(A, &records[3]);
        out.emit(A, "4", "");
        out.emit(A, "5", "");
        out.forward(A, &records[0]);
    });
    assert_eq!(names(&made), ["emit 0 x1", "select 0:2,3", "emit 0 x2", "select 0:0"]);
}

#[test]
fn two_outputs_do_not_hold_each_other_up() {
    let made = during(|out, records| {
        for record in records {
            out.emit(A, "k", "v");
            out.forward(B, record);
        }
    });
    assert_eq!(names(&made), ["emit 0 x5", "select 1:0,1,2,3,4"]);
}

#[test]
fn all_records_are_forwarded_at_once() {
    let (batch, mut out) = (batch(3), Output::new());
    out.begin_batch();
    out.forward_all(B, &batch);
    out.end();
    assert_eq!(names(&calls()), ["select 1:0,1,2"]);
}

#[test]
fn what_waits_is_handed_over_when_it_grows() {
    let value = vec![b'x'; WAITING_BYTES_MAX / 2];
    let made = during(|out, _| (0..5).for_each(|_| out.emit(A, "k", &value)));
    assert_eq!(names(&made), ["emit 0 x2", "emit 0 x2", "emit 0 x1"]);
}

#[test]
fn records_that_fill_other_columns_do_not_share_a_batch() {
    let headers: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"")];
    let made = during(|out, records| {
        out.emit(A, "k", "v");
        out.of(&records[1]).at(-7).emit(A, "k", "v");
        out.of(&records[2]).at(8).emit(A, "k", "v");
        out.emitter().to_partition(3).emit(A, "k", "v");
        out.emitter().with_headers(&headers).emit(A, "k", "v");
        out.emit(A, "k", "v");
    });
    let batches: Vec<&OutputBatch> =
        made.iter().map(|call| if let Call::EmitBatch(batch) = call { &**batch } else { panic!("a batch expected") }).collect();
    assert_eq!(names(&made), ["emit 0 x1", "emit 0 x2", "emit 0 x1", "emit 0 x1", "emit 0 x1"]);
    assert_eq!((batches[1].timestamps.as_slice(), batches[1].causes.as_slice()), (&[-7, 8][..], &[1, 2][..]));
    assert_eq!(batches[2].partitions, [3]);
    let columns = batches[3].headers.as_ref().unwrap();
    assert_eq!((columns.counts.as_slice(), columns.data.as_slice()), (&[2][..], b"a1b".as_slice()));
    assert_eq!((columns.name_ends.as_slice(), columns.value_ends.as_slice()), (&[1, 3][..], &[2, 3][..]));
    assert!(batches[4].headers.is_none());
}

#[test]
fn rejections_are_answered_once() {
    let (batch, mut out) = (batch(3), Output::new());
    let records: Vec<Record<'_>> = batch.records().collect();
    out.begin_batch();
    out.skip(&records[2], "too old");
    out.dead_letter(&records[0], format_args!("{} is odd", 1));
    let seen: Vec<_> = out.end().into_iter().map(|rejection| (rejection.index, rejection.action, rejection.reason)).collect();
    assert_eq!(seen, [(2, Disposition::Skip, "too old".to_owned()), (0, Disposition::DeadLetter, "1 is odd".to_owned())]);
    out.begin_batch();
    assert!(out.end().is_empty());
}
