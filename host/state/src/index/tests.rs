//! Tests of `index`, through what it offers to others.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

/// A disk that takes in what is applied, and the index above it.
struct Above {
    index: Index,
    hasher: KeyHasher,
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    model: BTreeMap<Vec<u8>, Vec<u8>>,
    reads: usize,
}

impl Above {
    fn new() -> Self {
        let hasher = KeyHasher::default();
        let mut index = Index::new(hasher.clone());
        index.set_known(Known::All);
        Self { index, hasher, disk: BTreeMap::new(), model: BTreeMap::new(), reads: 0 }
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) {
        let hash = self.hasher.hash(key);
        let place = self.index.find(hash, key);
        self.index.write((hash, key), value, place);
        match value {
            Some(value) => self.model.insert(key.to_vec(), value.to_vec()),
            None => self.model.remove(key),
        };
    }

    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let hash = self.hasher.hash(key);
        let place = match self.index.find(hash, key) {
            Some(place) => Some(place),
            None if self.index.known() == Known::All => None,
            None => {
                self.reads += 1;
                self.index.learn((hash, key), self.disk.get(key).map(Vec::as_slice))
            }
        };
        place.and_then(|place| self.index.value(place)).map(<[u8]>::to_vec)
    }

    fn checkpoint(&mut self) {
        if self.index.freeze().is_none() {
            return;
        }
        let layer = self.index.confirm().unwrap();
        for &entry in layer.order() {
            match layer.value(entry) {
                Some(value) => self.disk.insert(layer.key(entry).to_vec(), value.to_vec()),
                None => self.disk.remove(layer.key(entry)),
            };
        }
        self.index.applied();
    }
}

fn key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

#[test]
fn reads_are_right_whatever_the_cache_has_forgotten() {
    for (seed, budget) in (0_u64..12).zip([0, 2_000, 20_000, 1_000_000].into_iter().cycle()) {
        println!("seed {seed} budget {budget}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut above = Above::new();
        for step in 0_u32..20_000 {
            let number = random.random_range(0..300);
            match random.random_range(0..100) {
                0..40 => above.write(&key(number), Some(&step.to_le_bytes())),
                40..50 => above.write(&key(number), None),
                50..52 => above.checkpoint(),
                52..60 => {
                    above.index.sweep(budget, random.random_range(0..50));
                }
                _ => assert_eq!(above.get(&key(number)), above.model.get(&key(number)[..]).cloned(), "step {step}"),
            }
        }
        while above.index.sweep(budget, 100) == Swept::InPart {}
        assert!(above.index.clean_bytes() <= budget, "{} bytes", above.index.clean_bytes());
    }
}

#[test]
fn a_state_that_fits_is_never_read_from_the_disk() {
    let mut above = Above::new();
    for round in 0_u32..200 {
        for number in 0..1000 {
            above.write(&key(number), Some(&round.to_le_bytes()));
        }
        above.checkpoint();
        // Twice what the living take: each round leaves a thousand dead entries, which must not push out any other.
        above.index.sweep(2 * 1000 * 48, 10_000);
        assert!(above.index.clean_bytes() <= 2 * 1000 * 48);
    }
    // Written once, long ago, and never touched since.
    for number in 5000..5100 {
        above.write(&key(number), Some(b"old!"));
    }
    for round in 0_u32..200 {
        for number in 0..1000 {
            above.write(&key(number), Some(&round.to_le_bytes()));
        }
        above.checkpoint();
        above.index.sweep(2 * 1000 * 48, 10_000);
    }
    assert_eq!(above.get(&key(5050)).unwrap(), b"old!");
    assert_eq!((above.index.known(), above.reads), (Known::All, 0));
}

#[test]
fn absences_are_remembered_once_read() {
    let mut above = Above::new();
    above.index.set_known(Known::Some);
    for _ in 0..10 {
        assert_eq!(above.get(b"nobody"), None);
    }
    assert_eq!(above.reads, 1);
}

#[test]
fn many_tiny_checkpoints_never_run_out_of_layers() {
    let mut above = Above::new();
    for number in 0..1000 {
        above.write(&key(number), Some(b"once"));
        above.checkpoint();
        if number % 7 == 0 {
            above.index.sweep(usize::MAX, 4);
        }
    }
    for number in 0..1000 {
        assert_eq!(above.get(&key(number)).unwrap(), b"once");
    }
}

#[test]
fn what_a_freeze_hands_out_never_changes() {
    let mut above = Above::new();
    above.write(b"a", Some(b"1"));
    let frozen = above.index.freeze().unwrap();
    above.write(b"a", Some(b"2"));
    above.write(b"b", Some(b"3"));
    assert!(above.index.freeze().is_none(), "a second freeze before the confirm");
    assert_eq!(frozen.len(), 1);
    assert_eq!(frozen.value(0), Some(&b"1"[..]));
    assert_eq!(above.get(b"a").unwrap(), b"2");
}

#[test]
fn keys_of_equal_hash_are_told_apart() {
    let mut index = Index::new(KeyHasher::default());
    index.write((5, b"a"), Some(b"1"), None);
    index.write((5, b"b"), Some(b"2"), None);
    let mut found = Vec::new();
    index.find_many(&[(5, b"b"), (6, b"a"), (5, b"c"), (5, b"a")], |place| found.push(place.and_then(|place| index.value(place))));
    assert_eq!(found, [Some(&b"2"[..]), None, None, Some(b"1")]);
}

#[test]
fn reading_much_at_once_keeps_to_the_budget() {
    let mut above = Above::new();
    above.index.set_known(Known::Some);
    let (value, budget) = ([7; 1024], 1024 * 1024);
    for number in 0..80_000_u32 {
        above.disk.insert(key(number).to_vec(), value.to_vec());
        above.model.insert(key(number).to_vec(), value.to_vec());
    }
    // Each call reads 8 MiB that no earlier one has read, and sweeps once, as `get_many` does.
    for call in 0..10_u32 {
        for number in call * 8_000..(call + 1) * 8_000 {
            above.get(&key(number));
        }
        above.index.sweep(budget, 64);
        assert!(above.index.clean_bytes() <= 2 * budget, "call {call}: {} bytes", above.index.clean_bytes());
    }
}
