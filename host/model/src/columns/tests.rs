//! Tests of `columns`, through what it offers to others.

use super::*;

fn records() -> Vec<Record<'static>> {
    vec![
        Record { offset: 3, timestamp: 10, key: Some(b"k"), value: Some(b"value") },
        Record { offset: 4, timestamp: -1, key: None, value: Some(b"") },
        Record { offset: 9, timestamp: 10, key: Some(b""), value: None },
        Record { offset: 10, timestamp: 0, key: None, value: None },
        Record { offset: 11, timestamp: 0, key: Some(b"last"), value: Some(b"one") },
    ]
}

fn columns(records: &[Record<'_>]) -> Columns {
    let mut columns = Columns::default();
    for &record in records {
        columns.push(record).unwrap();
    }
    columns.check().unwrap();
    columns
}

#[test]
fn what_was_pushed_is_read_back() {
    let columns = columns(&records());
    assert_eq!(columns.iter().collect::<Vec<_>>(), records());
}

#[test]
fn every_part_and_every_truncation_equals_the_records_taken_one_by_one() {
    let whole = columns(&records());
    for start in 0..=records().len() {
        for end in start..=records().len() {
            let part = whole.part(start..end);
            part.check().unwrap();
            assert_eq!(part.iter().collect::<Vec<_>>(), records()[start..end]);
        }
        let mut cut = whole.clone();
        cut.truncate(start);
        cut.check().unwrap();
        assert_eq!(cut.iter().collect::<Vec<_>>(), records()[..start]);
        // What is pushed after a roll-back must not inherit bits of what was dropped.
        for &record in &records()[start..] {
            cut.push(record).unwrap();
        }
        assert_eq!(cut.iter().collect::<Vec<_>>(), records());
    }
}

#[test]
fn headers_count_against_bounds_with_their_ends() {
    let record = Record { offset: 0, timestamp: 0, key: None, value: Some(b"value") };
    let mut columns = Columns::default();
    columns.push(record).unwrap();
    assert_eq!(columns.bytes(), 24 + 5);
    columns.headers = Some(Headers { counts: vec![0], ..Headers::default() });
    columns.headers.as_mut().unwrap().set_last(&[(b"name", b"1"), (b"", b"")]);
    assert_eq!(columns.bytes(), 24 + 5 + 5 + 2 * 8);
}

#[test]
fn headers_survive_parts_and_truncation() {
    let mut whole = Columns { headers: Some(Headers::default()), ..Columns::default() };
    let headers: [&[(&[u8], &[u8])]; 3] = [&[(b"a", b"1"), (b"b", b"")], &[], &[(b"c", b"3")]];
    for (record, list) in records().into_iter().zip(headers) {
        whole.push(record).unwrap();
        whole.headers.as_mut().unwrap().set_last(list);
    }
    whole.check().unwrap();
    let part = whole.part(1..3);
    part.check().unwrap();
    assert_eq!((part.headers_of(0), part.headers_of(1)), (vec![], headers[2].to_vec()));
    whole.truncate(1);
    whole.check().unwrap();
    assert_eq!(whole.headers_of(0), headers[0].to_vec());
}

#[test]
fn columns_that_contradict_themselves_are_refused() {
    let good = columns(&records());
    let spoilt: [fn(&mut Columns); 8] = [
        |c| c.key_ends[1] = 0,
        |c| c.value_ends[4] = 1000,
        |c| c.data.push(0),
        |c| c.offsets.truncate(4),
        |c| c.timestamps.truncate(4),
        |c| c.nulls.push(0),
        |c| c.headers = Some(Headers::default()),
        |c| c.headers = Some(Headers { counts: vec![u32::MAX; 5], ..Headers::default() }),
    ];
    for (case, spoil) in spoilt.iter().enumerate() {
        let mut columns = good.clone();
        spoil(&mut columns);
        assert!(columns.check().is_err(), "case {case} was accepted");
    }
}

#[test]
fn strings_are_checked_and_read_back() {
    let mut buf = StringsBuf::default();
    let strings: Vec<Option<&[u8]>> = vec![Some(b"a"), Some(b""), None, Some(b"bc"), None, Some(b"d"), Some(b"e"), Some(b"f"), None];
    for &string in &strings {
        buf.push(string).unwrap();
    }
    assert_eq!(buf.as_strings().unwrap().iter().collect::<Vec<_>>(), strings);
    assert!(Strings::new(b"abc", &[2, 1, 3], &[]).is_err());
    assert!(Strings::new(b"abc", &[2, 4], &[]).is_err());
    assert!(Strings::new(b"abc", &[2], &[]).is_err());
    assert!(Strings::new(b"abc", &[2, 3], &[0, 0]).is_err());
}
