//! Each column lies once.

use super::*;

const FRAME: Frame = Frame { outputs: 2, batch: Some(3) };

/// Records (a, bc), (absent, d), (e, absent), each with its own of everything.
fn good() -> OutputColumns<'static> {
    OutputColumns {
        outputs: &[0, 1, 0],
        causes: &[2, 0, 1],
        timestamps: &[-1, 0, 1],
        partitions: &[-1, 0, 7],
        data: b"abcde",
        key_ends: &[1, 3, 5],
        value_ends: &[3, 4, 5],
        nulls: &[0b10_01_00],
        headers: Some(HeaderColumns { counts: &[1, 0, 2], data: b"n1x2y", name_ends: &[1, 3, 5], value_ends: &[2, 4, 5] }),
    }
}

#[track_caller]
fn check_lie(lie: OutputColumns<'_>, expected: &str) {
    let found = lie.check(FRAME).unwrap_err();
    assert!(found.contains(expected), "{found:?} does not say {expected:?}");
}

#[test]
fn good_columns_are_counted_and_read_back() {
    assert_eq!(good().check(FRAME), Ok(Volume { records: 3, bytes: 10 }));
    let records: Vec<OutputRecord<'_>> = good().iter().collect();
    let expected = OutputRecord {
        output: 0,
        cause: Some(2),
        timestamp: Some(-1),
        partition: None,
        key: Some(b"a"),
        value: Some(b"bc"),
        headers: vec![(b"n", b"1")],
    };
    assert_eq!(records[0], expected);
    assert_eq!((records[1].key, records[1].value, records[1].headers.len()), (None, Some(&b"d"[..]), 0));
    assert_eq!((records[2].key, records[2].value, records[2].partition), (Some(&b"e"[..]), None, Some(7)));
    assert_eq!(records[2].headers, [(&b"x"[..], &b"2"[..]), (b"y", b"")]);
}

#[test]
fn columns_that_may_be_left_out_may_be() {
    let short = OutputColumns { outputs: &[1], causes: &[], timestamps: &[], partitions: &[], headers: None, ..good() };
    assert_eq!(short.check(FRAME), Ok(Volume { records: 3, bytes: 5 }));
    let last = short.iter().last().unwrap();
    assert_eq!((last.output, last.cause, last.timestamp, last.partition), (1, None, None, None));
    let nothing = OutputColumns { outputs: &[], data: b"", key_ends: &[], value_ends: &[], nulls: &[], ..short };
    assert_eq!(nothing.check(FRAME), Ok(Volume::default()));
}

#[test]
fn each_lie_is_named_after_its_column() {
    check_lie(OutputColumns { outputs: &[0, 0], ..good() }, "column outputs has 2 entries, expected 3");
    check_lie(OutputColumns { outputs: &[2], ..good() }, "column outputs entry 0 is 2, there are 2");
    check_lie(OutputColumns { causes: &[0], ..good() }, "column causes has 1 entries, expected 3");
    check_lie(OutputColumns { causes: &[0, 3, 0], ..good() }, "column causes entry 1 is 3, there are 3");
    check_lie(OutputColumns { timestamps: &[0; 4], ..good() }, "column timestamps has 4 entries, expected 3");
    check_lie(OutputColumns { partitions: &[0; 2], ..good() }, "column partitions has 2 entries, expected 3");
    check_lie(OutputColumns { partitions: &[0, 0, -2], ..good() }, "column partitions entry 2 is -2, below -1");
    check_lie(OutputColumns { value_ends: &[3, 4], ..good() }, "column value-ends has 2 entries, expected 3");
    check_lie(OutputColumns { key_ends: &[1, 2, 5], ..good() }, "column key-ends entry 1 is 2, outside 3..=5");
    check_lie(OutputColumns { value_ends: &[3, 4, 6], ..good() }, "column value-ends entry 2 is 6, outside 5..=5");
    check_lie(OutputColumns { data: b"abcdef", ..good() }, "column data: 1 bytes at its end belong to no record");
    check_lie(OutputColumns { nulls: &[0, 0], ..good() }, "column nulls has 2 entries, expected 1");
    check_lie(OutputColumns { nulls: &[0b01_00_00_00], ..good() }, "column nulls has bits after those of its 3 records");
    check_lie(OutputColumns { nulls: &[0b01], ..good() }, "column nulls says that record 0 lacks a key or value");
}

#[test]
fn each_lie_about_headers_is_named_too() {
    let lie = |headers: HeaderColumns<'static>| OutputColumns { headers: Some(headers), ..good() };
    let good = good().headers.unwrap();
    check_lie(lie(HeaderColumns { counts: &[1, 2], ..good }), "column headers.counts has 2 entries, expected 3");
    check_lie(lie(HeaderColumns { counts: &[1, 0, u32::MAX], ..good }), "column headers.name-ends has 3 entries, expected 4294967296");
    check_lie(lie(HeaderColumns { value_ends: &[2, 4], ..good }), "column headers.value-ends has 2 entries, expected 3");
    check_lie(lie(HeaderColumns { name_ends: &[1, 1, 5], ..good }), "column headers.name-ends entry 1 is 1, outside 2..=5");
    check_lie(lie(HeaderColumns { data: b"n1x2yz", ..good }), "column headers.data: 1 bytes at its end");
    check_lie(lie(HeaderColumns { data: b"\xff1x2y", ..good }), "column headers.data: the name of header 0 is not UTF-8");
}

#[test]
fn without_a_batch_nothing_has_a_cause() {
    let end = Frame { batch: None, ..FRAME };
    assert!(good().check(end).unwrap_err().contains("column causes must be empty in on-end"));
    assert!(OutputColumns { causes: &[], ..good() }.check(end).is_ok());
}

#[test]
fn keys_and_values_have_a_longest_length() {
    let data = vec![0; KEY_BYTES_MAX + 1];
    let end = u32::try_from(data.len()).unwrap();
    let columns = OutputColumns {
        data: &data,
        key_ends: &[end],
        value_ends: &[end],
        outputs: &[0],
        causes: &[],
        timestamps: &[],
        partitions: &[],
        nulls: &[],
        headers: None,
    };
    assert!(columns.check(FRAME).unwrap_err().contains("record 0 has a key of 1048577 bytes"));
    assert!(OutputColumns { key_ends: &[end - 1], ..columns }.check(FRAME).is_ok());
}
