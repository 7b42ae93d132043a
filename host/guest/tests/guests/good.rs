//! What a good task gets: its batch unchanged, in every form; its state; its surroundings, the same each time. Seeds are printed.

use std::collections::BTreeMap;
use std::sync::Arc;

use gregor_guest::{Batch, CallContext, Level, MetricKind};
use gregor_model::columns::{Columns, Headers, Record};
use gregor_model::limits::LOG_LINE_BYTES_MAX;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::recorder::{Emitted, Pair, Recorder};
use crate::{CONTEXT, instance, process};

/// Columns of up to 300 records with keys and values of all lengths, some absent, half of the time with headers.
fn random_columns(random: &mut StdRng) -> Arc<Columns> {
    let headers = random.random_bool(0.5);
    let mut columns = Columns { headers: headers.then(Headers::default), ..Columns::default() };
    let mut offset = 0;
    for _ in 0..random.random_range(1..300) {
        offset += random.random_range(1..5);
        let mut bytes = |most: usize| (0..random.random_range(0..most)).map(|_| random.random()).collect::<Vec<u8>>();
        let (key, value, names) = (bytes(20), bytes(200), bytes(4));
        let timestamp = random.random_range(-1000..1000);
        let key = random.random_bool(0.9).then_some(key.as_slice());
        let value = random.random_bool(0.9).then_some(value.as_slice());
        columns.push(Record { offset, timestamp, key, value }).unwrap();
        let own: Vec<(String, Vec<u8>)> = names.iter().map(|&name| (format!("h{name}"), vec![name; usize::from(name % 7)])).collect();
        let own: Vec<(&[u8], &[u8])> = own.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        if let Some(headers) = &mut columns.headers {
            headers.set_last(&own);
        }
    }
    columns.check().unwrap();
    Arc::new(columns)
}

/// Runs a check with many seeds, and says which one failed.
fn with_seeds(check: impl Fn(&mut StdRng)) {
    for seed in 0..20 {
        println!("seed {seed}");
        check(&mut StdRng::seed_from_u64(seed));
    }
}

/// A record as it came, to be compared with what was emitted.
fn emitted(columns: &Columns, index: usize) -> Emitted {
    let record = columns.get(index).unwrap();
    Emitted {
        output: 0,
        cause: Some(u32::try_from(index).unwrap()),
        timestamp: Some(record.timestamp),
        partition: None,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: columns.headers_of(index).iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
    }
}

#[test]
fn columns_come_back_as_they_went() {
    with_seeds(|random| {
        let columns = random_columns(random);
        let mut instance = instance("echo");
        process(&mut instance, &columns).unwrap();
        let expected: Vec<Emitted> = (0..columns.len()).map(|index| emitted(&columns, index)).collect();
        assert_eq!(instance.services().emitted, expected);
    });
}

#[test]
fn records_one_by_one_are_the_same_as_columns() {
    with_seeds(|random| {
        let columns = random_columns(random);
        let mut instance = instance("echo-records");
        process(&mut instance, &columns).unwrap();
        let expected: Vec<Emitted> = (0..columns.len())
            .map(|index| {
                let own = index % 2 == 1;
                let record = emitted(&columns, index);
                let timestamp = record.timestamp.filter(|_| own).map(|timestamp| timestamp + 1);
                Emitted { timestamp, partition: own.then_some(3), headers: Vec::new(), ..record }
            })
            .collect();
        assert_eq!(instance.services().emitted, expected);
    });
}

#[test]
fn selection_answers_indexes() {
    with_seeds(|random| {
        let columns = random_columns(random);
        let mut instance = instance("identity");
        process(&mut instance, &columns).unwrap();
        assert_eq!(instance.services().selected, (0..u32::try_from(columns.len()).unwrap()).collect::<Vec<_>>());
    });
}

/// Columns of which keys repeat, and none is absent.
fn words(random: &mut StdRng) -> (Arc<Columns>, Vec<Pair>) {
    let pairs: Vec<Pair> = (0..random.random_range(1..500))
        .map(|_| (format!("key {}", random.random_range(0..50)).into_bytes(), random.random::<u32>().to_string().into_bytes()))
        .collect();
    let mut columns = Columns::default();
    for (offset, (key, value)) in (0..).zip(&pairs) {
        columns.push(Record { offset, timestamp: 0, key: Some(key), value: Some(value) }).unwrap();
    }
    (Arc::new(columns), pairs)
}

#[test]
fn counting_in_bulk_and_one_by_one_counts_the_same() {
    with_seeds(|random| {
        let (columns, pairs) = words(random);
        let mut expected: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        let mut running = Vec::new();
        for (key, _) in &pairs {
            let count = expected.entry(key.clone()).or_default();
            *count += 1;
            running.push((key.clone(), *count));
        }
        let counted = |recorder: &Recorder| -> Vec<(Vec<u8>, i64)> {
            let number = |bytes: &Option<Vec<u8>>| i64::from_le_bytes(bytes.as_deref().unwrap().try_into().unwrap());
            recorder.emitted.iter().map(|emitted| (emitted.key.clone().unwrap(), number(&emitted.value))).collect()
        };
        let mut bulk = instance("count");
        process(&mut bulk, &columns).unwrap();
        let last: Vec<(Vec<u8>, i64)> = pairs.iter().map(|(key, _)| (key.clone(), expected[key])).collect();
        assert_eq!(counted(bulk.services()), last, "bulk reads see the whole bulk write");
        let mut single = instance("count-records");
        process(&mut single, &columns).unwrap();
        assert_eq!(counted(single.services()), running, "each add answers its own sum");
        assert_eq!(bulk.services().store, single.services().store);
        let stored: BTreeMap<Vec<u8>, Vec<u8>> = expected.iter().map(|(key, sum)| (key.clone(), sum.to_le_bytes().to_vec())).collect();
        assert_eq!(bulk.services().store, stored);
    });
}

#[test]
fn what_is_put_is_got_and_what_is_deleted_is_absent() {
    with_seeds(|random| {
        let (columns, pairs) = words(random);
        let mut instance = instance("put-get");
        process(&mut instance, &columns).unwrap();
        let mut stored: BTreeMap<Vec<u8>, Vec<u8>> = pairs.iter().cloned().collect();
        stored.remove(&pairs[0].0);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let expected: Vec<(String, String)> =
            pairs.iter().map(|(key, _)| (text(key), stored.get(key).map_or_else(|| "absent".to_owned(), |value| text(value)))).collect();
        assert_eq!(instance.services().pairs(), expected);
        stored.insert(b"single".to_vec(), b"value".to_vec());
        assert_eq!(instance.services().store, stored);
    });
}

#[test]
fn a_scan_visits_each_pair_once_in_order() {
    with_seeds(|random| {
        let (columns, pairs) = words(random);
        let stored: BTreeMap<Vec<u8>, Vec<u8>> = pairs.iter().cloned().collect();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut expected: Vec<(String, String)> = stored.iter().map(|(key, value)| (text(key), text(value))).collect();
        for mode in ["scan", "scan-reverse"] {
            let mut instance = instance(mode);
            instance.services().store.insert(b"A before the range".to_vec(), b"x".to_vec());
            process(&mut instance, &columns).unwrap();
            assert_eq!(instance.services().pairs(), expected, "{mode}");
            assert!(instance.services().cursors_open().is_empty());
            expected.reverse();
        }
    });
}

/// What the component sees around it, in a fresh instance.
fn ambient(context: &CallContext) -> (Recorder, BTreeMap<String, Vec<u8>>) {
    let mut instance = instance("ambient");
    let columns = crate::batch(None);
    instance.process(&Batch { input: 0, partition: 0, columns: &columns }, context).unwrap();
    let recorder = instance.into_services();
    let seen = recorder.emitted.iter().map(|emitted| (text(&emitted.key), emitted.value.clone().unwrap())).collect();
    (recorder, seen)
}

fn text(bytes: &Option<Vec<u8>>) -> String {
    String::from_utf8(bytes.clone().unwrap()).unwrap()
}

#[test]
fn the_surroundings_are_empty_frozen_and_the_same_each_time() {
    let (recorder, seen) = ambient(&CONTEXT);
    let expected = [
        ("this", "job/stage/3/8"),
        ("now", "1700000000123"),
        ("wall", "1700000000123"),
        ("monotonic", "0"),
        ("slept", "3600"),
        ("environment", "0"),
        ("arguments", "0"),
    ];
    for (key, value) in expected {
        assert_eq!(String::from_utf8_lossy(&seen[key]), value, "{key}");
    }
    assert_eq!(seen["random"].len(), 16);
    assert!(!seen["file"].is_empty(), "there is no file to read, and saying so is no trap");
    let lines: Vec<(Level, &str, &str)> =
        recorder.lines.iter().map(|line| (line.level, line.message.as_str(), line.fields[0].1.as_str())).collect();
    assert_eq!(lines, [(Level::Info, "to stdout", "stdout"), (Level::Warn, "to stderr", "stderr")]);
    assert_eq!(ambient(&CONTEXT).1, seen, "a repeated call sees the same");
    let other = ambient(&CallContext { seed: [43; 32], ..CONTEXT }).1;
    assert_ne!((&other["random"], &other["hash"]), (&seen["random"], &seen["hash"]));
}

#[test]
fn lines_and_metrics_arrive_and_are_cut() {
    let mut instance = instance("telemetry");
    process(&mut instance, &crate::batch(None)).unwrap();
    let recorder = instance.into_services();
    let label = vec![("kind".to_owned(), "test".to_owned())];
    assert_eq!(recorder.lines[0].level, Level::Warn);
    assert_eq!(recorder.lines[0].message, "a line");
    assert_eq!(recorder.lines[0].fields, [("field".to_owned(), "text".to_owned())]);
    assert_eq!(recorder.lines[1].message.len(), LOG_LINE_BYTES_MAX);
    let expected = [
        ("counted".to_owned(), label.clone(), MetricKind::Counter(3)),
        ("level".to_owned(), label.clone(), MetricKind::Gauge(0.5)),
        ("spread".to_owned(), label, MetricKind::Histogram(1.5)),
    ];
    assert_eq!(recorder.metrics, expected);
}
