//! Ranges and counters. What a store answers is tested with a host, in the system tests.

use super::*;

#[test]
fn the_end_of_a_prefix_is_the_first_key_behind_it() {
    let cases: [(&[u8], Option<&[u8]>); 5] =
        [(b"ab", Some(b"ac")), (b"a\xff", Some(b"b")), (b"\xff\xff", None), (b"", None), (b"a\xff\xfe", Some(b"a\xff\xff"))];
    for (prefix, expected) in cases {
        assert_eq!(after_prefix(prefix).as_deref(), expected, "{prefix:?}");
        let range = KeyRange::prefix(prefix).range;
        assert_eq!((range.start.as_deref(), range.end.as_deref()), (Some(prefix), expected));
    }
}

#[test]
fn a_range_after_a_key_begins_at_the_very_next_byte_string() {
    let range = KeyRange::all().after("a").before("c").reversed().range;
    assert_eq!((range.start.as_deref(), range.end.as_deref(), range.reverse), (Some(b"a\0".as_slice()), Some(b"c".as_slice()), true));
}

#[test]
fn a_counter_has_eight_bytes() {
    assert_eq!(counter(&(-2_i64).to_le_bytes()), Ok(-2));
    assert_eq!(counter(b"1234567"), Err(StateError::NotACounter(7)));
}

#[test]
fn pairs_are_read_in_order() {
    let (mut keys, mut values) = (columns::empty(), columns::empty());
    for (key, value) in [(b"a", b"1"), (b"b", b"2")] {
        columns::push(&mut keys, Some(key));
        columns::push(&mut values, Some(value));
    }
    let pairs = Pairs { keys, values };
    assert_eq!((pairs.len(), pairs.is_empty(), pairs.bytes()), (2, false, 4));
    assert_eq!(pairs.iter().collect::<Vec<_>>(), [(b"a".as_slice(), b"1".as_slice()), (b"b", b"2")]);
    assert_eq!(pairs.last(), Some((b"b".as_slice(), b"2".as_slice())));
}
