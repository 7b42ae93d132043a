//! Random histories of a task, compared with plain maps after every step; and what a scan of millions of keys costs.

use std::ops::Bound;
use std::sync::Arc;

use gregor_model::limits::CURSOR_BYTES_MAX;
use gregor_model::steps::Unobserved;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::model::{Map, STORES, Twin, collect, strings};
use crate::{CursorId, Direction, KeyRange, StateError};

fn random_key(random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..10) {
        0 => Vec::new(),
        1 => vec![[0, 255][random.random_range(0..2)]; random.random_range(1..5)],
        _ => format!("key-{}", random.random_range(0..120)).into_bytes(),
    }
}

fn random_value(random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..4) {
        0 => vec![b'v'; random.random_range(0..40)],
        _ => random.random_range(-9_i64..9).to_le_bytes().to_vec(),
    }
}

fn random_range(random: &mut StdRng) -> KeyRange {
    let bound = |random: &mut StdRng| random.random_bool(0.6).then(|| random_key(random));
    let direction = [Direction::Forward, Direction::Reverse][random.random_range(0..2)];
    KeyRange { start: bound(random), end: bound(random), direction }
}

fn expected(model: &Map, range: &KeyRange) -> Vec<(Vec<u8>, Vec<u8>)> {
    let start = range.start.clone().map_or(Bound::Unbounded, Bound::Included);
    let in_range = |key: &Vec<u8>| range.end.as_ref().is_none_or(|end| key < end);
    let pairs = model.range((start, Bound::Unbounded)).filter(|(key, _)| in_range(key)).map(|(key, value)| (key.clone(), value.clone()));
    let mut pairs: Vec<_> = pairs.collect();
    if range.direction == Direction::Reverse {
        pairs.reverse();
    }
    pairs
}

/// An open cursor and what it has yet to answer.
struct Scan {
    cursor: CursorId,
    rest: Vec<(Vec<u8>, Vec<u8>)>,
}

struct History {
    random: StdRng,
    twin: Twin,
    scans: Vec<Scan>,
}

impl History {
    /// One call of the guest: reads, writes and scans in any order, then the end, good or bad.
    fn call(&mut self) {
        for _ in 0..self.random.random_range(0..25) {
            let store = self.random.random_range(0..2);
            match self.random.random_range(0..100) {
                0..20 => self.get(store),
                20..40 => self.write(store),
                40..60 => self.add(store),
                60..68 => self.get_many(store),
                68..76 => self.put_many(store),
                76..86 => self.add_many(store),
                86..93 => self.open_scan(store),
                _ => self.continue_scan(),
            }
        }
        while !self.scans.is_empty() && self.random.random_bool(0.7) {
            self.continue_scan();
        }
        self.scans.clear();
        if self.random.random_bool(0.8) { self.twin.commit() } else { self.twin.rollback() }
    }

    fn get(&mut self, store: u16) {
        let key = random_key(&mut self.random);
        assert_eq!(self.twin.stores.get(store, &key).unwrap(), self.twin.call[usize::from(store)].get(&key).cloned());
    }

    fn write(&mut self, store: u16) {
        let key = random_key(&mut self.random);
        if self.random.random_bool(0.4) {
            self.twin.stores.delete(store, &key).unwrap();
            self.twin.call[usize::from(store)].remove(&key);
        } else {
            let value = random_value(&mut self.random);
            self.twin.put(store, &key, &value);
        }
    }

    fn add(&mut self, store: u16) {
        let (key, amount) = (random_key(&mut self.random), self.random_amount());
        let model = &mut self.twin.call[usize::from(store)];
        match (self.twin.stores.add(store, &key, amount), model_add(model, &key, amount)) {
            (Ok(found), Ok(sum)) => assert_eq!(found, sum),
            (found, expected) => assert_eq!(found.map_err(|error| error.to_string()), expected),
        }
    }

    fn get_many(&mut self, store: u16) {
        let keys = self.random_keys();
        let found = self.twin.stores.get_many(store, strings(keys.iter().map(|key| Some(&key[..]))).as_strings().unwrap()).unwrap();
        let model = &self.twin.call[usize::from(store)];
        assert_eq!(found, strings(keys.iter().map(|key| model.get(key).map(Vec::as_slice))));
    }

    fn put_many(&mut self, store: u16) {
        let keys = self.random_keys();
        let values: Vec<_> = keys.iter().map(|_| self.random.random_bool(0.7).then(|| random_value(&mut self.random))).collect();
        let (names, contents) = (strings(keys.iter().map(|key| Some(&key[..]))), strings(values.iter().map(Option::as_deref)));
        self.twin.stores.put_many(store, names.as_strings().unwrap(), contents.as_strings().unwrap()).unwrap();
        let model = &mut self.twin.call[usize::from(store)];
        for (key, value) in keys.into_iter().zip(values) {
            match value {
                Some(value) => model.insert(key, value),
                None => model.remove(&key),
            };
        }
    }

    fn add_many(&mut self, store: u16) {
        let keys = self.random_keys();
        let amounts: Vec<i64> = match self.random.random_bool(0.5) {
            true => vec![self.random_amount()],
            false => keys.iter().map(|_| self.random_amount()).collect(),
        };
        let names = strings(keys.iter().map(|key| Some(&key[..])));
        let found = self.twin.stores.add_many(store, names.as_strings().unwrap(), &amounts).map_err(|error| error.to_string());
        let mut model = self.twin.call[usize::from(store)].clone();
        let added = keys.iter().zip(amounts.iter().cycle()).try_for_each(|(key, amount)| model_add(&mut model, key, *amount).map(|_| ()));
        assert_eq!(found, added);
        if added.is_ok() {
            self.twin.call[usize::from(store)] = model;
        }
    }

    fn open_scan(&mut self, store: u16) {
        let range = random_range(&mut self.random);
        let rest = expected(&self.twin.call[usize::from(store)], &range);
        self.scans.push(Scan { cursor: self.twin.stores.scan(store, range).unwrap(), rest });
    }

    fn continue_scan(&mut self) {
        if self.scans.is_empty() {
            return;
        }
        let at = self.random.random_range(0..self.scans.len());
        let max = self.random.random_range(1..60);
        let scan = &mut self.scans[at];
        let (keys, values) = self.twin.stores.next(scan.cursor, max).unwrap();
        let now: Vec<_> = scan.rest.drain(..max.min(scan.rest.len())).collect();
        assert_eq!(keys, strings(now.iter().map(|(key, _)| Some(&key[..]))));
        assert_eq!(values, strings(now.iter().map(|(_, value)| Some(&value[..]))));
        if now.is_empty() {
            let done = self.scans.remove(at);
            self.twin.stores.close(done.cursor);
        }
    }

    /// Something that happens between calls.
    fn between(&mut self) {
        match self.random.random_range(0..100) {
            0..25 => drop(self.twin.save().unwrap()),
            25..50 => self.twin.confirm().unwrap(),
            50..75 => self.twin.apply().unwrap(),
            75..78 => self.twin.restart().unwrap(),
            78..81 => self.twin.kill().unwrap(),
            81..83 => self.wipe_and_restart(),
            83..85 => self.large_segment(),
            85..88 => self.twin.stores.mark().unwrap(),
            88..90 => drop(self.twin.rebase().unwrap()),
            90..94 => self.merge(),
            94 => self.twin.compare_base(),
            _ => self.twin.compare(),
        }
    }

    fn wipe_and_restart(&mut self) {
        std::fs::remove_file(self.twin.folder().join("marker")).ok();
        self.twin.restart().unwrap();
        self.twin.compare();
    }

    /// Merges some neighbours of the chain, merged ones among them.
    fn merge(&mut self) {
        let length = self.twin.archive.len();
        if length > 0 {
            let start = self.random.random_range(0..length);
            let end = self.random.random_range(start..length) + 1;
            self.twin.merge(start..end.min(start + 8)).unwrap();
        }
    }

    /// Enough bytes for ingestion, and gone again before long.
    fn large_segment(&mut self) {
        for number in 0_u32..5000 {
            self.twin.put(0, &[b"large-", &number.to_be_bytes()[..]].concat(), &[7; 1000]);
        }
        self.twin.commit();
        self.twin.checkpoint().unwrap();
        for number in 0_u32..5000 {
            let key = [b"large-", &number.to_be_bytes()[..]].concat();
            self.twin.stores.delete(0, &key).unwrap();
            self.twin.call[0].remove(&key);
        }
        self.twin.commit();
    }

    fn random_keys(&mut self) -> Vec<Vec<u8>> {
        (0..self.random.random_range(0..70)).map(|_| random_key(&mut self.random)).collect()
    }

    fn random_amount(&mut self) -> i64 {
        match self.random.random_range(0..40) {
            0 => i64::MAX,
            1 => i64::MIN,
            _ => self.random.random_range(-5..5),
        }
    }
}

fn model_add(model: &mut Map, key: &[u8], amount: i64) -> Result<i64, String> {
    let before = match model.get(key) {
        None => 0,
        Some(value) => i64::from_le_bytes(value[..].try_into().map_err(|_| StateError::NotACounter(value.len() as u64).to_string())?),
    };
    let sum = before.checked_add(amount).ok_or_else(|| StateError::Overflow.to_string())?;
    model.insert(key.to_vec(), sum.to_le_bytes().to_vec());
    Ok(sum)
}

#[test]
fn every_history_is_that_of_plain_maps() {
    for (seed, clean_bytes) in (0_u64..6).zip([0, 3_000, 1 << 20].into_iter().cycle()) {
        println!("seed {seed} clean bytes {clean_bytes}");
        let mut history =
            History { random: StdRng::seed_from_u64(seed), twin: Twin::new(clean_bytes, Arc::new(Unobserved)), scans: Vec::new() };
        for _ in 0..200 {
            history.call();
            history.between();
        }
        history.twin.compare();
        history.twin.checkpoint().unwrap();
        history.wipe_and_restart();
        history.twin.compare_base();
        assert_eq!(STORES.len(), history.twin.call.len());
    }
}

#[test]
fn two_million_keys_are_scanned_in_pieces_that_each_cost_little() {
    let mut twin = Twin::new(1 << 20, Arc::new(Unobserved));
    let total = 2_100_000_u32;
    // In an order that is not that of the keys; a part of them already in RocksDB.
    for piece in 0..21_u32 {
        let keys = strings(
            (0..100_000_u32)
                .map(|n| ((piece * 100_000 + n).wrapping_mul(2_654_435_761)).to_be_bytes())
                .collect::<Vec<_>>()
                .iter()
                .map(|key| Some(&key[..])),
        );
        twin.stores.add_many(0, keys.as_strings().unwrap(), &[1]).unwrap();
        twin.stores.commit();
        if piece == 7 {
            let frozen = twin.stores.freeze().unwrap().unwrap();
            let deltas = frozen.write_deltas(twin.folder().as_path(), "piece").unwrap();
            let apply = twin.stores.confirm(deltas, gregor_model::digest::Digest::of(b"piece")).unwrap().unwrap();
            let applied = apply.run().unwrap();
            twin.stores.applied(applied);
        }
    }
    // Each piece is a call of its own that keeps its place in the store, as an `on-end` does.
    let mut place = Vec::new();
    let mut seen = 0;
    loop {
        let range = KeyRange { start: Some(place.clone()), end: None, direction: Direction::Forward };
        let cursor = twin.stores.scan(0, range).unwrap();
        let (keys, values) = twin.stores.next(cursor, 20_000).unwrap();
        assert!(keys.data.len() + values.data.len() <= CURSOR_BYTES_MAX + 12);
        let keys: Vec<&[u8]> = keys.as_strings().unwrap().iter().flatten().map(|key| key.to_vec().leak() as &[u8]).collect();
        assert!(keys.is_sorted() && keys.first().is_none_or(|key| **key >= place[..]));
        seen += keys.len();
        let Some(last) = keys.last() else { break };
        place = [last, &[0][..]].concat();
        twin.stores.put(1, b"place", &place).unwrap();
        twin.stores.commit();
    }
    assert_eq!(seen, usize::try_from(total).unwrap());
}

#[test]
fn a_cursor_sees_the_store_as_it_was_when_it_was_opened() {
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    for number in 0..100_u8 {
        twin.put(0, &[number], b"old");
    }
    twin.commit();
    twin.checkpoint().unwrap();
    twin.put(0, &[200], b"own");
    let range = KeyRange { start: Some(vec![10]), end: None, direction: Direction::Reverse };
    let cursor = twin.stores.scan(0, range).unwrap();
    let first = twin.stores.next(cursor, 1).unwrap().0;
    assert_eq!(first, strings([Some(&[200][..])]));
    for number in 0..=255_u8 {
        twin.stores.put(0, &[number], b"new").unwrap();
    }
    twin.stores.delete(0, &[50]).unwrap();
    let (keys, values) = twin.stores.next(cursor, 1000).unwrap();
    assert_eq!(keys.ends.len(), 90);
    assert!(values.as_strings().unwrap().iter().all(|value| value == Some(b"old")));
    twin.stores.rollback();
    assert!(matches!(twin.stores.next(cursor, 1), Err(StateError::NoSuchCursor)));
    assert_eq!(collect(&mut twin.stores, 0, KeyRange { start: None, end: None, direction: Direction::Forward }, 7).len(), 100);
}
