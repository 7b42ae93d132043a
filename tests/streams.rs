//! `gregor stream list` and `consume`: every confirmed record of a stream, once, in order, while the job runs and after it; and what was deleted
//! because nobody needs it is no damage. What is right is computed here from the input alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use gregor_model::partitioner::partition_of_key;
use serde_json::{Value, json};

use crate::dead_letters::consume;
use crate::harness::lab::{Lab, files_below};
use crate::harness::{corpus, jobs, seed};

const LIST: [&str; 7] = ["stream", "list", "job.toml", "--data", "data", "--output", "json"];

/// Files of `in` by key to a stream of four partitions, which is copied to `out`.
const COPY: &str = r#"name = "copy"

[[stage]]
name = "by_key"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "in", format = "tsv" } }
outputs = { out = { to = "stream://all", partitions = 4 } }

[[stage]]
name = "write"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "stream://all" } }
outputs = { out = { to = "out", format = "tsv" } }

[checkpoint]
interval = "5 ms"
keep = 1
collect-grace = "0 s"
collect-rate = 100000

[limits]
unpublished-bytes = "64 KiB"
"#;

fn list(lab: &Lab) -> Value {
    serde_json::from_str(&lab.gregor(&LIST).code(0).stdout).unwrap()
}

/// Records of some keys, numbered.
fn numbered(records: usize) -> Vec<(String, String)> {
    (0..records).map(|at| (format!("k{}", at * at % 97), format!("number {at}"))).collect()
}

fn tsv(records: &[(String, String)]) -> String {
    records.iter().map(|(key, value)| format!("{key}\t{value}\n")).collect()
}

/// What the stream holds: of each partition the records in order.
fn placed(records: &[(String, String)]) -> BTreeMap<u64, Vec<(String, String)>> {
    let mut placed: BTreeMap<u64, Vec<(String, String)>> = BTreeMap::new();
    for (key, value) in records {
        placed.entry(partition_of_key(key.as_bytes(), 4).into()).or_default().push((key.clone(), value.clone()));
    }
    placed
}

/// Demands that these are records of the stream, of each partition a stretch without a gap; answers how many.
#[track_caller]
fn stretches(found: &[Value], placed: &BTreeMap<u64, Vec<(String, String)>>) -> usize {
    let mut before: Option<(u64, u64)> = None;
    for record in found {
        let number = |name: &str| record[name].as_u64().unwrap();
        let (partition, offset) = (number("partition"), number("offset"));
        if let Some((last, at)) = before {
            assert!(partition > last || (partition, offset) == (last, at + 1), "partition {partition}, {offset} comes after {last}, {at}");
        }
        let (key, value) = &placed[&partition][usize::try_from(offset).unwrap()];
        assert_eq!((&record["key"], &record["value"]), (&json!(key), &json!(value)), "partition {partition}, {offset}");
        before = Some((partition, offset));
    }
    found.len()
}

#[test]
fn a_stream_is_printed_as_it_was_written_and_listed_with_what_is_kept() {
    let lab = Lab::with_job(&COPY.replace("\"5 ms\"\nkeep = 1\ncollect-grace = \"0 s\"", "\"10 s\"\nkeep = 1000"));
    let records = numbered(5_000);
    lab.write("in/a.tsv", tsv(&records));
    assert_eq!(list_of_nothing(&lab), json!([]));
    lab.run(&[]).code(0);
    let placed = placed(&records);
    let found = consume(&lab, &["stream://all"]);
    assert_eq!(stretches(&found, &placed), records.len());
    assert!(
        found.iter().all(|record| record["headers"] == json!([]) && record["timestamp"].as_u64() > Some(1_000_000_000_000)),
        "{:?}",
        found[0]
    );

    let listed = list(&lab);
    let retained: Vec<Value> =
        (0..4_u64).map(|partition| json!({ "partition": partition, "first": 0, "next": placed[&partition].len() })).collect();
    let bytes = listed[0]["bytes"].as_u64().unwrap();
    let expected = json!([{
        "name": "all", "writer": "by_key", "content": "output", "readers": ["write"], "partitions": 4, "records": 5_000, "bytes": bytes,
        "retained": retained
    }]);
    assert_eq!(listed, expected);
    assert!((50_000..500_000).contains(&bytes), "{bytes} bytes of 5,000 records");

    // Parts of it.
    let last = placed[&2].len() - 3;
    let some = consume(&lab, &["all", "--partition", "2", "--from", &last.to_string()]);
    assert_eq!(
        some.iter().map(|record| record["offset"].as_u64().unwrap()).collect::<Vec<_>>(),
        [last, last + 1, last + 2].map(|n| n as u64)
    );
    assert_eq!(consume(&lab, &["all", "--records", "7"]), found[..7]);
    assert_eq!(consume(&lab, &["all", "--partition", "3", "--from", "1000000"]), Vec::<Value>::new());
    let text = lab.gregor(&["stream", "consume", "all", "job.toml", "--data", "data", "--records", "1"]).code(0).stdout;
    let (key, value) = &placed[&0][0];
    assert!(text.starts_with("0\t0\t2") && text.ends_with(&format!("Z\t{key}\t{value}\n")), "{text:?}");
    lab.shell("$GREGOR stream consume all job.toml --data data | head -n 2").code(0);
}

/// What is listed of a job that never began.
fn list_of_nothing(lab: &Lab) -> Value {
    // The data folder is there, the job is not.
    let text = lab.job_text();
    lab.write("job.toml", text.replace("name = \"copy\"", "name = \"other\"").replace("to = \"out\"", "to = \"other\""));
    lab.run(&[]).code(0);
    lab.write("job.toml", text);
    lab.gregor(&["stream", "consume", "all", "job.toml", "--data", "data"]).code(2).says("job copy never began");
    list(lab)
}

#[test]
fn the_words_of_a_word_count_are_all_on_its_stream() {
    let mut random = seed::random("the_words_of_a_word_count_are_all_on_its_stream");
    let lab = Lab::with_job(&jobs::word_count("10 s"));
    let text = corpus::plain(&mut random, 300_000, 1_000);
    lab.write("in/a.txt", &text);
    lab.run(&[]).code(0);
    let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for record in consume(&lab, &["words"]) {
        let key = record["key"].as_str().unwrap_or_else(|| panic!("{record}")).as_bytes().to_vec();
        assert_eq!(record["partition"], json!(partition_of_key(&key, 4)), "{record}");
        *counts.entry(key).or_default() += 1;
    }
    corpus::same(&counts, &corpus::count([text.as_slice()]));
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let lab = Lab::with_job(COPY);
    lab.write("in/a.tsv", "k\tv\n");
    let ask = |arguments: &[&str]| lab.gregor(&[&["stream", "consume"], arguments, &["job.toml", "--data", "data"]].concat()).code(2);
    ask(&["all"]).says("data");
    lab.run(&[]).code(0);
    ask(&["words"]).says("job copy has no stream words; those that it has: all");
    ask(&["all", "--partition", "4"]).says("stream all has no partition 4, they are numbered 0 to 3");
    ask(&["all", "--from", "end"]).says("expected an offset, such as 0, or beginning");
}

#[test]
fn a_stream_is_read_beside_the_job_that_deletes_what_nobody_needs() {
    let lab = Lab::with_job(COPY);
    let mut records = 150_000;
    loop {
        let written = numbered(records);
        lab.write("in/a.tsv", tsv(&written));
        let mut host = lab.start(&[]);
        crate::harness::clock::wait("a checkpoint", || (host.is_over() || host.confirmed().is_some()).then_some(()));
        let (mut looks, mut shown) = (0, 0);
        while !host.is_over() {
            // The oldest ones are those that go.
            shown += in_order(&consume(&lab, &["all", "--records", "2000"]), &written);
            list(&lab);
            looks += u32::from(!host.is_over());
        }
        let ended = host.end().calm().code(0);
        println!("{records} records: {looks} looks, {shown} records; {}", ended.line("finished").unwrap_or_default());
        if looks >= 10 && shown > 0 {
            return;
        }
        assert!(records < 10_000_000, "however much there was to do, the job was over before it was looked at");
        records *= 2;
        lab.forget();
    }
}

/// Demands that these are records of the stream, on their partitions, in the order of their offsets and none twice; answers how many. Some may have
/// gone while they were read, and several tasks have written them.
#[track_caller]
fn in_order(found: &[Value], written: &[(String, String)]) -> usize {
    let place = |record: &Value| (record["partition"].as_u64().unwrap(), record["offset"].as_u64().unwrap());
    assert!(found.windows(2).all(|pair| place(&pair[0]) < place(&pair[1])), "out of order");
    let mut seen = BTreeSet::new();
    for record in found {
        let number: usize = record["value"].as_str().unwrap().strip_prefix("number ").unwrap().parse().unwrap();
        let (key, _) = &written[number];
        assert_eq!((record["key"].as_str(), place(record).0), (Some(key.as_str()), partition_of_key(key.as_bytes(), 4).into()), "{record}");
        assert!(seen.insert(number), "twice: {record}");
    }
    found.len()
}

#[test]
fn what_nobody_needs_may_be_gone_and_what_somebody_needs_may_not() {
    let lab = Lab::with_job(&COPY.replace("collect-grace = \"0 s\"", "collect-grace = \"1 h\""));
    lab.write("in/a.tsv", tsv(&numbered(1_000)));
    lab.run(&[]).code(0);
    assert_eq!(consume(&lab, &["all"]).len(), 1_000);
    // Every reader has passed all of it.
    lab.gregor(&["checkpoint", "collect", "job.toml", "--data", "data", "--grace", "0 s"]).code(0);
    let left = consume(&lab, &["all"]);
    assert!(left.is_empty(), "{} records are left", left.len());
    let listed = list(&lab);
    assert_eq!((&listed[0]["records"], &listed[0]["bytes"]), (&json!(1_000), &json!(0)), "{listed}");
    assert!(listed[0]["retained"].as_array().unwrap().iter().all(|of| of["first"] == of["next"]), "{listed}");

    // Nobody reads dead letters here, so they stay; without them the archive is damaged.
    let dead = Lab::with_job(&jobs::lines("rust/identity", "on-error = \"dead-letter\"\ndead-letter = \"stream://dead\""));
    dead.edit_job("from = \"in\", format = \"lines\"", "from = \"in\", format = \"json-lines\"");
    dead.write("in/a.txt", "{}\nnot json\n[]\n");
    dead.run(&[]).code(0).says("skipped=1");
    dead.gregor(&["checkpoint", "collect", "job.toml", "--data", "data", "--grace", "0 s"]).code(0);
    assert_eq!(consume(&dead, &["dead"]).len(), 1);
    let parts: Vec<_> =
        files_below(&dead.path("data/archive")).into_iter().filter(|file| file.to_str().unwrap().contains("/parts/")).collect();
    let ask = || dead.gregor(&["stream", "consume", "dead", "job.toml", "--data", "data"]).code(3);
    for part in &parts {
        let altered: Vec<u8> = fs::read(part).unwrap().iter().map(|byte| byte ^ 1).collect();
        fs::write(part, altered).unwrap();
    }
    ask().says("was altered").says("/parts/");
    parts.iter().for_each(|part| fs::remove_file(part).unwrap());
    ask().says("/parts/").says("is missing");
    dead.gregor(&LIST).code(3).says("/parts/").says("is missing");
}
