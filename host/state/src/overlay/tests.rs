//! Tests of `overlay`, through what it offers to others.

use super::*;

fn contents(overlay: &Overlay) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    overlay.writes().map(|write| (write.key.to_vec(), write.value.map(<[u8]>::to_vec))).collect()
}

#[test]
fn the_last_write_of_a_key_counts() {
    let mut overlay = Overlay::default();
    overlay.write(1, b"a", Some(b"1"));
    overlay.write(1, b"b", Some(b"2"));
    overlay.write(1, b"a", None);
    assert_eq!(overlay.find(1, b"b").and_then(|entry| overlay.value(entry)), Some(&b"2"[..]));
    assert_eq!(overlay.find(2, b"b"), None);
    assert_eq!(contents(&overlay), [(b"a".to_vec(), None), (b"b".to_vec(), Some(b"2".to_vec()))]);
}

#[test]
fn keys_that_are_taken_back_are_gone_and_may_come_again() {
    let mut overlay = Overlay::default();
    overlay.write(1, b"a", Some(b"1"));
    overlay.write(2, b"b", Some(b"2"));
    overlay.truncate(1);
    assert_eq!((overlay.len(), overlay.find(2, b"b")), (1, None));
    overlay.write(2, b"b", Some(b"3"));
    assert_eq!(contents(&overlay), [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), Some(b"3".to_vec()))]);
}

#[test]
fn one_huge_call_does_not_pin_its_memory() {
    let mut overlay = Overlay::default();
    for number in 0_u32..100_000 {
        overlay.write(number, &number.to_le_bytes(), Some(&[0; 100]));
    }
    assert!(overlay.bytes() > 10_000_000);
    overlay.clear();
    assert!(overlay.is_empty() && overlay.table.capacity() <= 2 * KEPT_ENTRIES);
    assert_eq!(overlay.find(7, &7_u32.to_le_bytes()), None);
}
