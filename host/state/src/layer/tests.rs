//! Tests of `layer`, through what it offers to others.

use super::order::bounds;
use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn keys_in_order(layer: &Layer, order: &[u32]) -> Vec<Vec<u8>> {
    order.iter().map(|&entry| layer.key(entry).to_vec()).collect()
}

fn random_key(random: &mut StdRng) -> Vec<u8> {
    let prefix = ["", "user:", "user:0000", "\u{0}"][random.random_range(0..4)];
    let mut key = prefix.as_bytes().to_vec();
    for _ in 0..random.random_range(0..14) {
        key.push([0, 1, b'a', b'b', 255][random.random_range(0..5)]);
    }
    key
}

#[test]
fn values_change_in_place_and_entries_keep_their_numbers() {
    let mut layer = Layer::default();
    let (a, b, c) = (layer.push(b"a", Some(b"12345678")), layer.push(b"b", None), layer.push(b"", Some(b"")));
    layer.set(a, Some(b"87654321"));
    layer.set(b, Some(b"now"));
    layer.set(c, None);
    assert_eq!((layer.value(a), layer.value(b), layer.value(c)), (Some(&b"87654321"[..]), Some(&b"now"[..]), None));
    layer.set(a, Some(b"123"));
    layer.set(b, Some(b"longer than before"));
    layer.set(c, Some(b""));
    assert_eq!((layer.value(a), layer.value(b), layer.value(c)), (Some(&b"123"[..]), Some(&b"longer than before"[..]), Some(&b""[..])));
    assert_eq!((layer.key(a), layer.key(b), layer.key(c)), (&b"a"[..], &b"b"[..], &b""[..]));
    assert_eq!(layer.value(99), None);
}

#[test]
fn an_arena_of_mostly_dead_bytes_is_rewritten_without_changing_a_value() {
    let mut layer = Layer::default();
    let numbers: Vec<u32> = (0_u32..100).map(|n| layer.push(&n.to_be_bytes(), Some(b""))).collect();
    for length in 0_usize..400 {
        for &number in &numbers {
            layer.set(number, Some(&vec![b'x'; length]));
        }
        layer.reclaim();
    }
    layer.set(7, None);
    assert!(layer.bytes() < 3 * GARBAGE_BYTES_MIN, "{} bytes", layer.bytes());
    for &number in numbers.iter().filter(|&&number| number != 7) {
        assert_eq!(layer.key(number), number.to_be_bytes());
        assert_eq!(layer.value(number), Some(&[b'x'; 399][..]));
    }
    assert_eq!(layer.value(7), None);
}

#[test]
fn a_layer_that_grows_between_scans_is_always_in_order() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut layer = Layer::default();
        let mut model = std::collections::BTreeSet::new();
        for _ in 0..30 {
            for _ in 0..random.random_range(0..60) {
                let key = random_key(&mut random);
                if model.insert(key.clone()) {
                    layer.push(&key, None);
                }
            }
            layer.sort();
            let mut found = Vec::new();
            for run in layer.runs().iter() {
                let keys = keys_in_order(&layer, run);
                assert!(keys.is_sorted(), "a run is not in order");
                found.extend(keys);
            }
            assert!(layer.runs().iter().count() <= 12, "{} runs", layer.runs().iter().count());
            found.sort();
            assert_eq!(found, model.iter().cloned().collect::<Vec<_>>());
        }
        layer.seal();
        assert_eq!(keys_in_order(&layer, layer.order()), model.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn bounds_are_those_of_the_keys() {
    let mut layer = Layer::default();
    for key in ["b", "d", "a", "c"] {
        layer.push(key.as_bytes(), None);
    }
    layer.seal();
    let cases = [
        (None, None, (0, 4)),
        (Some("b"), Some("d"), (1, 3)),
        (Some("bb"), None, (2, 4)),
        (None, Some("a"), (0, 0)),
        (Some("d"), Some("b"), (3, 3)),
        (Some("e"), None, (4, 4)),
    ];
    for (start, end, expected) in cases {
        let range = (start.map(str::as_bytes), end.map(str::as_bytes));
        assert_eq!(bounds(&layer, layer.order(), range), expected, "{start:?}..{end:?}");
    }
}
