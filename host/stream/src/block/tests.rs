//! The block format: what is written reads back, nothing damaged does, and the bytes of version 1 stay what they are.

use super::*;
use crate::random::Random;
use gregor_model::columns::Record;

/// The run that the fixture holds, written from the drawing by another program: one block of words, one with everything.
fn fixture() -> Vec<Columns> {
    let mut words = Columns::default();
    for (offset, word) in (40..).zip(["to", "be", "or", "not", "to"]) {
        words.push(Record { offset, timestamp: 1_700_000_000_123, key: Some(word.as_bytes()), value: None }).unwrap();
    }
    let mut all = Columns { headers: Some(Headers::default()), ..Columns::default() };
    let long = [b'x'; 300];
    let records = [
        Record { offset: 45, timestamp: -1, key: None, value: Some(b"value") },
        Record { offset: 46, timestamp: 0, key: Some(b""), value: Some(&long) },
        Record { offset: 47, timestamp: i64::MAX, key: Some(b"key"), value: None },
    ];
    for record in records {
        all.push(record).unwrap();
        if record.offset == 46 {
            all.headers.as_mut().unwrap().set_last(&[(b"name", b"one"), (b"name", b"")]);
        }
    }
    vec![words, all]
}

fn encode(blocks: &[Columns]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in blocks {
        encode_block(block, &mut bytes).unwrap();
    }
    bytes
}

fn random_columns(random: &mut Random, first: u64) -> Columns {
    let mut columns = Columns::default();
    let n = [1, 2, 3, 4, 5, 100, 1024][random.below(7)];
    let longest = [0, 3, 300, 70_000][random.below(4)];
    let (one_timestamp, has_absent, has_headers) = (random.once_in(2), random.once_in(2), random.once_in(3));
    if has_headers {
        columns.headers = Some(Headers::default());
    }
    for index in 0..n {
        let most = if random.once_in(50) { longest } else { longest.min(20) };
        let (key, value) = (random.bytes(most, b"abc\0\n"), random.bytes(most, b"xyz"));
        let key = (!has_absent || random.once_in(2)).then_some(key.as_slice());
        let value = (!has_absent || random.once_in(2)).then_some(value.as_slice());
        let timestamp = if one_timestamp { 7 } else { random.next().cast_signed() };
        columns.push(Record { offset: first + index, timestamp, key, value }).unwrap();
        if has_headers && random.once_in(3) {
            columns.headers.as_mut().unwrap().set_last(&[(b"a", b"1"), (b"", b"")]);
        }
    }
    columns
}

#[test]
fn the_stored_form_of_version_1_never_changes() {
    let stored = include_bytes!("../../tests/fixtures/run-version-1.bin");
    assert_eq!(decode_run(stored, 40), Ok(fixture()));
    assert_eq!(encode(&fixture()), stored);
}

#[test]
fn what_is_written_reads_back() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let first = random.next() / 2;
        let mut blocks: Vec<Columns> = Vec::new();
        for _ in 0..=random.below(3) {
            let next = blocks.last().map_or(first, |block| block.offsets.last().unwrap() + 1);
            blocks.push(random_columns(&mut random, next));
        }
        assert_eq!(decode_run(&encode(&blocks), first), Ok(blocks), "seed {seed}");
    }
}

#[test]
fn short_records_take_few_bytes() {
    let mut words = Columns::default();
    for offset in 0..1024 {
        words.push(Record { offset, timestamp: 5, key: Some(b"word"), value: None }).unwrap();
    }
    // 32 bytes before the lengths; of each record: its key, one byte for its length, a quarter of one for its nulls.
    assert_eq!(encode(&[words]).len(), 32 + 1024 * 4 + 1024 + 256);
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = encode(&fixture());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << bit;
            assert!(decode_run(&altered, 40).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn every_cut_but_between_blocks_is_refused() {
    let blocks = fixture();
    let (bytes, boundary) = (encode(&blocks), encode(&blocks[..1]).len());
    for length in 0..bytes.len() {
        match decode_run(&bytes[..length], 40) {
            Ok(read) => assert!(read == blocks[..read.len()] && (length == 0 || length == boundary), "cut at {length}"),
            Err(error) => assert!(length != 0 && length != boundary, "cut at {length}: {error}"),
        }
    }
    assert!(decode_run(&[bytes.as_slice(), b"\0"].concat(), 40).is_err(), "one byte too many");
}

#[test]
fn numbers_that_contradict_each_other_are_refused_even_under_a_right_checksum() {
    let bytes = encode(&fixture()[1..]);
    let mut refused = 0;
    for at in 12..bytes.len() {
        for value in [0, 1, 3, 0x7f, 0xff] {
            let mut altered = bytes.clone();
            altered[at] = value;
            let checksum = crc32fast::hash(&altered[UNCHECKED_BYTES..]);
            fill(&mut altered, 4, checksum);
            match decode_run(&altered, 40) {
                Ok(read) => read.iter().for_each(|columns| columns.check().unwrap()),
                Err(_) => refused += 1,
            }
        }
    }
    // Every number of the frame, most of the ends: only text, timestamps and nulls may change unnoticed.
    assert!(refused > 200, "{refused} refused");
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let mut bytes = encode(&fixture());
    bytes[3] = 2;
    assert_eq!(decode_run(&bytes, 0), Err(BlockError::NewerVersion { at: 0, found: 2, known: 1 }));
}

#[test]
fn offsets_never_wrap() {
    let bytes = encode(&fixture()[..1]);
    assert!(decode_run(&bytes, u64::MAX - 5).is_ok());
    assert!(decode_run(&bytes, u64::MAX - 4).is_err());
}

#[test]
fn no_record_makes_no_block_and_too_many_are_refused() {
    assert_eq!(encode(&[Columns::default()]), b"");
    assert_eq!(decode_run(b"", 9), Ok(vec![]));
    let mut columns = Columns::default();
    for offset in 0..=BLOCK_RECORDS_MAX as u64 {
        columns.push(Record { offset, timestamp: 0, key: None, value: None }).unwrap();
    }
    let refused = encode_block(&columns, &mut Vec::new());
    assert_eq!(
        refused,
        Err(BlockError::TooLarge { what: "the number of records", found: BLOCK_RECORDS_MAX + 1, limit: BLOCK_RECORDS_MAX })
    );
}
