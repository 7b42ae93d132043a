//! Staging: every record where it belongs, a call all or nothing, blocks as large as batches.

use super::*;
use crate::block::decode_run;
use crate::random::Random;
use crate::seal::Sealed;
use gregor_model::columns::Columns;
use gregor_model::digest::Digest;
use gregor_model::job::Format;
use gregor_model::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};
use std::collections::BTreeMap;

fn stream(port: &str, partitions: u32) -> OutputSpec {
    let sink = Sink::Stream { name: StreamName::new(format!("stream-{port}")).unwrap(), partitions };
    OutputSpec { port: PortName::new(port).unwrap(), sink }
}

fn file(port: &str, format: Format) -> OutputSpec {
    OutputSpec { port: PortName::new(port).unwrap(), sink: Sink::File { folder: "/unused".to_owned(), format } }
}

fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Record<'a> {
    Record { offset: 0, timestamp: 3, key, value }
}

const fn to(output: u32) -> Target {
    Target { output, partition: None }
}

/// What was sealed: of each stream partition (stream, partition) its records, of each file its bytes under its output's index.
type Content = (BTreeMap<(String, u32), Vec<Owned>>, BTreeMap<u16, Vec<u8>>);
type Owned = (Option<Vec<u8>>, Option<Vec<u8>>, i64, Vec<(Vec<u8>, Vec<u8>)>);

fn content(sealed: Sealed) -> Content {
    let mut runs = BTreeMap::new();
    for (run, bytes) in sealed.runs {
        assert_eq!((run.length, run.sha256, run.ordinal), (bytes.len() as u64, Digest::of(&bytes), 0));
        let mut records = Vec::new();
        for block in decode_run(&bytes, 0).unwrap() {
            assert!(block.len() <= BATCH_RECORDS_MAX && (block.bytes() <= BATCH_BYTES_MAX || block.len() == 1), "{} bytes", block.bytes());
            for (index, record) in block.iter().enumerate() {
                let headers = block.headers_of(index).iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                records.push((record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), record.timestamp, headers));
            }
        }
        assert_eq!(records.len() as u64, run.records);
        assert!(runs.insert((run.stream.to_string(), run.partition), records).is_none());
    }
    let files = sealed.files.into_iter().map(|file| {
        assert_eq!((file.sha256, file.records), (Digest::of(&file.bytes), file.bytes.iter().filter(|&&b| b == b'\n').count() as u64));
        (file.output, file.bytes)
    });
    (runs, files.collect())
}

/// Stages random records in random calls, some of them rolled back, next to maps that do the same; compares at each freeze.
fn check_against_maps(seed: u64) {
    let mut random = Random::new(seed);
    let specs =
        vec![stream("a", 1 + u32::try_from(random.below(9)).unwrap()), file("b", Format::Tsv), stream("c", 1), file("d", Format::Lines)];
    let counts: Vec<u32> = specs.iter().map(|spec| if let Sink::Stream { partitions, .. } = spec.sink { partitions } else { 1 }).collect();
    let own = u32::try_from(random.below(20)).unwrap();
    let mut outputs = Outputs::new(specs, own, &Limits::default());
    let mut expected: Content = Default::default();
    let mut bytes_before = 0;
    for _ in 0..40 {
        let mut staged = expected.clone();
        let records = if random.once_in(10) { random.below(3000) } else { random.below(20) };
        let longest = if random.once_in(10) { 3000 } else { 12 };
        for _ in 0..records {
            let index = random.below(4);
            let (key, value) = (random.bytes(longest, b"abcdef"), random.bytes(longest, b"uvw"));
            let (key, value) = ((!random.once_in(4)).then_some(key), (!random.once_in(4)).then_some(value));
            let partition = random.once_in(3).then(|| u32::try_from(random.below(counts[index] as usize)).unwrap());
            let headers: &[(&[u8], &[u8])] = if random.once_in(5) { &[(b"h", b"1"), (b"h", b"")] } else { &[] };
            let timestamp = random.next().cast_signed();
            let emitted = Record { offset: 0, timestamp, key: key.as_deref(), value: value.as_deref() };
            outputs.append(Target { output: u32::try_from(index).unwrap(), partition }, &emitted, headers).unwrap();
            let owned_headers = headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            match index {
                0 | 2 => {
                    let chosen = partition.unwrap_or(match &key {
                        Some(key) => partition_of_key(key, counts[index]),
                        None => own % counts[index],
                    });
                    let name = if index == 0 { "stream-a" } else { "stream-c" };
                    staged.0.entry((name.to_owned(), chosen)).or_default().push((key, value, timestamp, owned_headers));
                }
                _ => {
                    let line = match (index, key) {
                        (1, Some(key)) => [&key, b"\t".as_slice(), &value.unwrap_or_default(), b"\n"].concat(),
                        _ => [value.unwrap_or_default().as_slice(), b"\n"].concat(),
                    };
                    staged.1.entry(u16::try_from(index).unwrap()).or_default().extend(line);
                }
            }
        }
        if random.once_in(3) {
            outputs.rollback();
            assert_eq!(outputs.bytes(), bytes_before, "seed {seed}");
        } else {
            outputs.commit();
            expected = staged;
        }
        bytes_before = outputs.bytes();
        if random.once_in(6) {
            assert_eq!(content(outputs.take().seal().unwrap()), std::mem::take(&mut expected), "seed {seed}");
            assert!(outputs.is_empty() && outputs.bytes() == 0, "seed {seed}");
            bytes_before = 0;
        }
    }
    assert_eq!(content(outputs.take().seal().unwrap()), expected, "seed {seed}");
}

#[test]
fn what_is_sealed_is_what_was_committed_in_order() {
    (0..60).for_each(check_against_maps);
}

#[test]
fn a_rollback_leaves_nothing_even_of_a_call_that_filled_blocks() {
    let mut outputs = Outputs::new(vec![stream("a", 3), file("b", Format::Lines)], 0, &Limits::default());
    for round in 0..3 {
        for number in 0..5000_u32 {
            let value = number.to_string();
            outputs.append(to(0), &record(Some(value.as_bytes()), None), &[(b"h", b"v")]).unwrap();
            outputs.append(to(1), &record(None, Some(value.as_bytes())), &[]).unwrap();
        }
        outputs.rollback();
        assert!(outputs.is_empty() && outputs.take().is_empty(), "round {round}");
    }
}

#[test]
fn a_freeze_leaves_out_what_was_not_committed() {
    let mut outputs = Outputs::new(vec![stream("a", 1)], 0, &Limits::default());
    outputs.append(to(0), &record(None, Some(b"kept")), &[]).unwrap();
    outputs.commit();
    outputs.append(to(0), &record(None, Some(b"dropped")), &[]).unwrap();
    let (runs, _) = content(outputs.take().seal().unwrap());
    assert_eq!(runs[&("stream-a".to_owned(), 0)], [(None, Some(b"kept".to_vec()), 3, vec![])]);
}

#[test]
fn a_call_that_failed_on_its_first_record_does_not_bind_the_next_one() {
    let mut outputs = Outputs::new(vec![file("counts", Format::Tsv)], 0, &Limits::default());
    outputs.append(to(0), &record(None, Some(b"1")), &[]).unwrap();
    outputs.commit();
    assert!(outputs.append(to(0), &record(None, Some(b"a\nb")), &[]).is_err());
    outputs.rollback();
    outputs.append(to(0), &record(None, Some(b"2")), &[]).unwrap();
    outputs.commit();
    assert!(outputs.append(to(0), &record(None, Some(b"a\nb")), &[]).is_err());
    outputs.rollback();
    assert_eq!(content(outputs.take().seal().unwrap()).1, BTreeMap::from([(0, b"1\n2\n".to_vec())]));
}

#[test]
fn blocks_end_where_batches_do() {
    let mut outputs = Outputs::new(vec![stream("a", 1)], 0, &Limits::default());
    for _ in 0..2500 {
        outputs.append(to(0), &record(Some(b"k"), None), &[]).unwrap();
    }
    let large = vec![b'v'; BATCH_BYTES_MAX + 1];
    outputs.append(to(0), &record(None, Some(&large)), &[]).unwrap();
    outputs.append(to(0), &record(Some(b"k"), None), &[]).unwrap();
    outputs.commit();
    let sealed = outputs.take().seal().unwrap();
    let blocks = decode_run(&sealed.runs[0].1, 0).unwrap();
    assert_eq!(blocks.iter().map(Columns::len).collect::<Vec<_>>(), [1024, 1024, 452, 1, 1]);
}

fn check_refused(specs: Vec<OutputSpec>, (target, refused): (Target, Record<'_>), expected: &str) {
    let limits = Limits { emit_records: 2, emit_bytes: 40_000_000, ..Limits::default() };
    let mut outputs = Outputs::new(specs, 0, &limits);
    let error = outputs.append(target, &refused, &[]).unwrap_err();
    assert_eq!(error.to_string(), expected);
    outputs.rollback();
    assert!(outputs.take().is_empty(), "{expected}");
}

#[test]
fn records_that_are_not_taken_are_refused_by_name_and_leave_nothing() {
    let (key, value) = (vec![b'k'; KEY_BYTES_MAX + 1], vec![b'v'; VALUE_BYTES_MAX + 1]);
    let any = record(None, Some(b"v"));
    check_refused(
        vec![stream("a", 1)],
        (to(1), any),
        "output 1 is not there: the task has 1 outputs, numbered from 0 in the order of its description",
    );
    let third = Target { output: 0, partition: Some(3) };
    check_refused(vec![stream("a", 3)], (third, any), r#"output "a": partition 3 is not there: it has 3 partitions, numbered from 0"#);
    let second = Target { output: 0, partition: Some(1) };
    let expected = r#"output "a": partition 1 is not there: it has 1 partitions, numbered from 0"#;
    check_refused(vec![file("a", Format::Lines)], (second, any), expected);
    let expected = r#"output "a": format lines can't hold the record: its value has an LF (at byte 1 of 2), expected a value without"#;
    check_refused(vec![file("a", Format::Lines)], (to(0), record(None, Some(b"v\n"))), expected);
    let expected = r#"output "a": the key's number of bytes is 1048577, at most 1048576 is allowed"#;
    check_refused(vec![stream("a", 1)], (to(0), record(Some(&key), None)), expected);
    let expected = r#"output "a": the value's number of bytes is 16777217, at most 16777216 is allowed"#;
    check_refused(vec![stream("a", 1)], (to(0), record(None, Some(&value))), expected);
}

#[test]
fn a_call_has_a_budget_of_records_and_bytes_and_the_next_call_has_its_own() {
    let limits = Limits { emit_records: 2, emit_bytes: 10, ..Limits::default() };
    let mut outputs = Outputs::new(vec![stream("a", 1)], 0, &limits);
    for _ in 0..3 {
        outputs.append(to(0), &record(Some(b"12345"), None), &[]).unwrap();
        outputs.append(to(0), &record(Some(b"12345"), None), &[]).unwrap();
        outputs.commit();
    }
    let mut short = |records: u32, key: &[u8]| {
        let appended = (0..records).try_for_each(|_| outputs.append(to(0), &record(Some(key), None), &[]));
        outputs.rollback();
        appended.map_err(|error| error.to_string())
    };
    let records = r#"output "a": the number of records that one call emits is 3, at most 2 is allowed"#;
    assert_eq!(short(3, b"").unwrap_err(), records);
    let bytes = r#"output "a": the number of bytes that one call emits is 12, at most 10 is allowed"#;
    assert_eq!(short(2, b"123456").unwrap_err(), bytes);
    assert_eq!(short(2, b"12345"), Ok(()));
}

#[test]
fn each_file_has_the_columns_of_its_own_first_record_that_was_kept() {
    let mut outputs = Outputs::new(vec![file("a", Format::Csv)], 0, &Limits::default());
    let emit = |outputs: &mut Outputs, value: &str| outputs.append(to(0), &record(None, Some(value.as_bytes())), &[]);
    let taken = |outputs: &mut Outputs| {
        let files = outputs.take().seal().unwrap().files;
        files.into_iter().map(|file| (file.records, String::from_utf8(file.bytes).unwrap())).collect::<Vec<_>>()
    };
    emit(&mut outputs, "{\"dropped\":1}").unwrap();
    outputs.rollback();
    emit(&mut outputs, "{\"a\":1}").unwrap();
    let error = emit(&mut outputs, "{\"b\":1}").unwrap_err();
    assert!(error.to_string().starts_with("output \"a\": format csv can't hold the record: the names in its value"), "{error}");
    outputs.commit();
    emit(&mut outputs, "{\"a\":2}").unwrap();
    outputs.commit();
    assert_eq!(taken(&mut outputs), [(2, "a\n1\n2\n".to_owned())]);
    emit(&mut outputs, "{\"b\":3}").unwrap();
    outputs.commit();
    assert_eq!(taken(&mut outputs), [(1, "b\n3\n".to_owned())]);
    emit(&mut outputs, "[]").unwrap_err();
    outputs.rollback();
    assert_eq!((taken(&mut outputs), outputs.bytes()), (vec![], 0));
}

#[test]
fn dead_letters_are_staged_beside_what_a_guest_emits_and_out_of_its_reach() {
    let limits = Limits { emit_records: 1, emit_bytes: 1, ..Limits::default() };
    let dead = StreamName::new("dead").unwrap();
    let mut outputs = Outputs::new(vec![stream("a", 3)], 11, &limits).with_dead_letters(dead, 8);
    let found = outputs.append(to(1), &record(None, Some(b"forged")), &[]).unwrap_err();
    assert_eq!(found, OutputError::Output { found: 1, count: 1 });
    outputs.rollback();
    let header: HeaderPairs<'_> = &[(b"gregor-reason", b"why")];
    // A call's budgets are the guest's, not the host's.
    for value in [b"one".as_slice(), b"two"] {
        outputs.bury(&record(None, Some(value)), header).unwrap();
    }
    outputs.bury(&record(Some(b"key"), None), &[]).unwrap();
    let bytes = outputs.bytes();
    assert!(bytes >= 3 + 3 + 2 * 16 + 3, "{bytes}");
    outputs.commit();
    outputs.bury(&record(None, Some(b"dropped")), header).unwrap();
    outputs.rollback();
    assert_eq!(outputs.bytes(), bytes);
    let (runs, files) = content(outputs.take().seal().unwrap());
    let why = || vec![(b"gregor-reason".to_vec(), b"why".to_vec())];
    let keyless: Vec<Owned> = [b"one", b"two"].map(|value| (None, Some(value.to_vec()), 3, why())).to_vec();
    let keyed = vec![(Some(b"key".to_vec()), None, 3, vec![])];
    let place = |key: &[u8]| ("dead".to_owned(), partition_of_key(key, 8));
    assert_eq!((runs, files.len()), (BTreeMap::from([(("dead".to_owned(), 11 % 8), keyless), (place(b"key"), keyed)]), 0));
    let mut none = Outputs::new(vec![stream("a", 3)], 0, &Limits::default());
    assert_eq!(none.bury(&record(None, None), &[]), Err(OutputError::Output { found: 1, count: 1 }));
}
