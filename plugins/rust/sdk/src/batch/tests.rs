//! Records of a batch, as an author sees them.

use super::*;

/// Three records: (k1, v1), no key, no value.
fn batch(headers: Option<HeaderColumns>) -> Batch {
    Batch::new(RecordBatch {
        input: 3,
        partition: 7,
        offsets: vec![10, 12, 15],
        timestamps: vec![100, -1, 300],
        data: b"k1v1value2key3".to_vec(),
        key_ends: vec![2, 4, 14],
        value_ends: vec![4, 10, 14],
        nulls: vec![0b0010_0100],
        headers,
    })
}

type Seen<'a> = (u64, i64, Option<&'a [u8]>, Option<&'a [u8]>);

fn seen(batch: &Batch) -> Vec<Seen<'_>> {
    batch.into_iter().map(|record| (record.offset(), record.timestamp(), record.key(), record.value())).collect()
}

#[test]
fn records_come_in_order_with_absent_keys_and_values() {
    let batch = batch(None);
    assert_eq!((batch.input(), batch.partition(), batch.len(), batch.records().len()), (Port(3), 7, 3, 3));
    let expected: [Seen<'_>; 3] = [(10, 100, Some(b"k1"), Some(b"v1")), (12, -1, None, Some(b"value2")), (15, 300, Some(b"key3"), None)];
    assert_eq!(seen(&batch), expected);
}

#[test]
fn an_empty_column_of_nulls_means_that_nothing_is_absent() {
    let mut batch = batch(None);
    batch.columns.nulls.clear();
    let expected: [Seen<'_>; 3] =
        [(10, 100, Some(b"k1"), Some(b"v1")), (12, -1, Some(b""), Some(b"value2")), (15, 300, Some(b"key3"), Some(b""))];
    assert_eq!(seen(&batch), expected);
}

#[test]
fn each_record_has_its_own_headers() {
    let batch =
        batch(Some(HeaderColumns { counts: vec![2, 0, 1], data: b"aAbBcC".to_vec(), name_ends: vec![1, 3, 5], value_ends: vec![2, 4, 6] }));
    let headers: Vec<Vec<(&str, &[u8])>> = batch.records().map(|record| record.headers().collect()).collect();
    let expected: [Vec<(&str, &[u8])>; 3] = [vec![("a", b"A"), ("b", b"B")], vec![], vec![("c", b"C")]];
    assert_eq!(headers, expected);
}

#[test]
fn a_batch_without_headers_has_none() {
    assert_eq!(batch(None).records().map(|record| record.headers().count()).sum::<usize>(), 0);
}

#[test]
fn columns_that_lie_give_empty_slices_and_an_end_but_no_panic() {
    let lie = Batch::new(RecordBatch {
        input: 0,
        partition: 0,
        offsets: vec![],
        timestamps: vec![],
        data: b"abc".to_vec(),
        key_ends: vec![9, 2],
        value_ends: vec![1, 700, 800],
        nulls: vec![],
        headers: Some(HeaderColumns { counts: vec![u32::MAX], data: vec![], name_ends: vec![4], value_ends: vec![2] }),
    });
    let expected: [Seen<'_>; 2] = [(0, 0, Some(b""), Some(b"")), (0, 0, Some(b"b"), Some(b""))];
    assert_eq!(seen(&lie), expected);
    assert_eq!(lie.records().map(|record| record.headers().count()).sum::<usize>(), 1);
}
