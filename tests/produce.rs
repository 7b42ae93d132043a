//! `gregor stream produce`: records from outside come onto a stream all together or not at all, whatever fails and whenever the process dies; and the
//! job reads them as it reads any other. What is right is computed here from what was put in.

use std::collections::BTreeMap;
use std::fs;

use gregor_model::partitioner::partition_of_key;
use rand::Rng;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::dead_letters::consume;
use crate::harness::lab::Lab;
use crate::harness::shared::Shared;
use crate::harness::{clock, corpus, jobs, output, seed};

/// Records from outside, copied to `out`.
const COPY: &str = r#"name = "copy"

[[stream]]
name = "orders"
partitions = 3

[[stage]]
name = "write"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "stream://orders" } }
outputs = { out = { to = "out", format = "tsv" } }
"#;

/// Steps of one production, at most.
const STEPS_MAX: u64 = 300;
/// Numbers beyond the last step that are tried before a test believes that there are no more.
const BEYOND: u64 = 3;

/// Kills of one production.
const KILLS: usize = 5;

/// What stands on each partition of a stream: keys and values, in order.
type Content = BTreeMap<u64, Vec<(Value, Value)>>;

fn content(lab: &Lab, stream: &str) -> Content {
    let mut content = Content::new();
    for record in consume(lab, &[stream]) {
        let of_partition = content.entry(record["partition"].as_u64().unwrap()).or_default();
        assert_eq!(record["offset"].as_u64(), Some(of_partition.len() as u64), "{record}");
        of_partition.push((record["key"].clone(), record["value"].clone()));
    }
    content
}

/// What a stream of three partitions holds after these records, with their keys.
fn placed(records: &[(String, String)]) -> Content {
    let mut placed = Content::new();
    for (key, value) in records {
        placed.entry(partition_of_key(key.as_bytes(), 3).into()).or_default().push((json!(key), json!(value)));
    }
    placed
}

fn tsv(records: &[(String, String)]) -> String {
    records.iter().map(|(key, value)| format!("{key}\t{value}\n")).collect()
}

fn lines(records: &[(String, String)]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = records.iter().map(|(key, value)| format!("{key}\t{value}").into_bytes()).collect();
    lines.sort_unstable();
    lines
}

/// Some records, none of which another call with another name gives.
fn records(name: &str, count: usize) -> Vec<(String, String)> {
    (0..count).map(|at| (format!("k{}", at * at % 31), format!("{name} {at}"))).collect()
}

#[test]
fn what_is_produced_is_read_by_the_job_exactly_once_and_ends_when_it_is_said_to() {
    let lab = Lab::with_job(COPY);
    let first = records("first", 1_000);
    lab.produce(&["orders", "--format", "tsv"], tsv(&first)).code(0);
    assert_eq!(content(&lab, "orders"), placed(&first));
    // Nobody has run the job yet: the stream is kept as it is for those who will read it.
    lab.run(&["--until-idle"]).code(0).says("idle checkpoint=").says("records=1000");
    assert_eq!(output::records(&lab.path("out")), lines(&first));
    lab.run(&["--until-idle"]).code(0).says("records=1000");

    let second = records("second", 10);
    let told = lab.produce(&["stream://orders", "--format", "tsv", "--output", "json"], tsv(&second)).code(0).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["records"], &told["already-there"]), (&json!(10), &json!(false)), "{told}");
    let all = [first, second].concat();
    let shown = lab.gregor(&["checkpoint", "show", "job.toml", "--data", "data"]).code(0).stdout;
    assert!(shown.contains("stream://orders") && shown.contains("outside"), "{shown}");
    let ended = lab.run(&["--until-idle"]).code(0);
    assert_eq!((ended.records("idle"), ended.resumed()), (Some(1_010), told["checkpoint"].as_u64()), "{}", ended.stderr);
    assert_eq!(output::records(&lab.path("out")), lines(&all));
    assert!(!lab.path("out/_SUCCESS").exists(), "more may come");

    // The end alone, without a record. A job that was to run until it is idle comes to its own end, then.
    lab.produce(&["orders", "--end"], "").code(0);
    lab.produce(&["orders"], "late\n").code(2).says("stream orders was ended");
    lab.run(&["--until-idle"]).code(0).says("finished checkpoint=").says("records=1010");
    output::complete(&lab.path("out"));
    assert_eq!(output::records(&lab.path("out")), lines(&all));
    lab.produce(&["orders"], "late\n").code(2).says("it is finished");
    lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]).code(0);
}

#[test]
fn a_job_that_waits_for_records_rests_until_it_is_stopped() {
    let lab = Lab::with_job(COPY);
    let host = lab.start(&[]);
    clock::wait("the job to run", || host.stderr().contains("checkpoint").then_some(()));
    lab.produce(&["orders"], "a\n").code(2).says("in use");
    host.signal(Signal::TERM);
    assert_eq!(host.end().calm().code, Some(143));
    lab.produce(&["orders"], "a\n").code(0);
    lab.run(&["--until-idle"]).code(0).says("records=1");
    assert_eq!(output::records(&lab.path("out")), [b"a"]);
}

#[test]
fn records_without_a_key_come_onto_the_partitions_in_turn_and_go_on_where_the_last_ones_ended() {
    let lab = Lab::with_job(COPY);
    lab.produce(&["orders"], "0\n1\r\n\n3").code(0);
    lab.produce(&["orders", "--format", "json-lines"], "{\"n\": 4}\n\n  \n5\n").code(0);
    lab.produce(&["orders", "--partition", "2"], "6\n").code(0);
    let value = |text: &str| (json!(null), json!(text));
    let expected =
        [(0, vec![value("0"), value("3")]), (1, vec![value("1"), value("{\"n\": 4}")]), (2, vec![value(""), value("5"), value("6")])];
    assert_eq!(content(&lab, "orders"), Content::from(expected));
}

#[test]
fn what_consume_prints_is_taken_as_it_is() {
    let lab = Lab::with_job(COPY);
    let cases = [
        json!({ "key": "a", "value": "ü\u{0}\n", "timestamp": -5, "headers": [{ "name": "n", "value": "v" }, { "name-base64": "/w==", "value-base64": "AP8=" }] }),
        json!({ "key-base64": "/w==", "value": null, "timestamp": 7, "headers": [] }),
        json!({ "key": null, "value-base64": "gA==", "timestamp": 0, "headers": [] }),
        json!({ "key": "", "value": "", "timestamp": 1_700_000_000_123_i64, "headers": [] }),
    ];
    let text: String = cases.iter().map(|case| format!("{case}\n")).collect();
    lab.produce(&["orders", "--format", "records"], &text).code(0);
    let printed = consume(&lab, &["orders"]);
    let content = |record: &Value| {
        let mut record = record.as_object().unwrap().clone();
        ["stream", "partition", "offset"].iter().for_each(|place| drop(record.remove(*place)));
        Value::Object(record)
    };
    let sorted = |records: &[Value]| {
        let mut texts: Vec<String> = records.iter().map(|record| content(record).to_string()).collect();
        texts.sort();
        texts
    };
    assert_eq!(sorted(&printed), sorted(&cases));
    // From one stream to another.
    let other = Lab::with_job(COPY);
    other.produce(&["orders", "--format", "records"], printed.iter().map(|record| format!("{record}\n")).collect::<String>()).code(0);
    assert_eq!(sorted(&consume(&other, &["orders"])), sorted(&cases));

    for (line, said) in [
        ("{", "is no record"),
        ("[]", "is no record"),
        ("{\"vlaue\": \"x\"}", "unknown field `vlaue`"),
        ("{\"value\": \"x\", \"value-base64\": \"eA==\"}", "value is there as text and as base64"),
        ("{\"key-base64\": \"?\"}", "key is no base64"),
        ("{\"headers\": [{\"name\": \"n\"}]}", "a header has no name or no value"),
    ] {
        other.produce(&["orders", "--format", "records"], format!("{{}}\n{line}\n")).code(2).says("stdin, line 2: ").says(said);
    }
    assert_eq!(consume(&other, &["orders"]).len(), cases.len());
}

#[test]
fn a_production_with_a_wrong_record_leaves_nothing() {
    let lab = Lab::with_job(&(COPY.to_owned() + "\n[limits]\nrecord = \"1 KiB\"\n"));
    let long = "x".repeat(1_024);
    lab.produce(&["orders", "--format", "tsv"], format!("{}\t{}\r\n", &long[..24], &long[24..])).code(0);
    // More than a part is in the archive when the last record is found to be too long.
    let many: String = (0..20_000).map(|at| format!("{at} {}\n", &long[..1_000])).collect();
    lab.produce(&["orders"], format!("{many}{long}x\nmore\n"))
        .code(2)
        .says("stdin, line 20001: the record has more than 1024 bytes")
        .says("limits.record");
    lab.produce(&["orders", "--format", "json-lines"], "{}\n{\n").code(2).says("stdin, line 2: its value is not one JSON document");
    lab.produce(&["orders"], "").code(0);
    assert_eq!(consume(&lab, &["orders"]).len(), 1);
    lab.run(&["--until-idle"]).code(0).says("records=1");
    // What was left in the archive goes as any garbage does.
    lab.gregor(&["checkpoint", "collect", "job.toml", "--data", "data", "--grace", "0 s"]).code(0);
    let kept = fs::read_dir(lab.path("data/archive")).map(|_| crate::harness::lab::files_below(&lab.path("data/archive"))).unwrap();
    let bytes: u64 = kept.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes < 1_000_000, "{bytes} bytes are left in {kept:?}");
}

#[test]
fn what_can_not_be_produced_is_refused_and_says_why() {
    let lab = Lab::with_job(&COPY.replace("out = { to = \"out\", format = \"tsv\" }", "out = { to = \"stream://copied\" }"));
    lab.produce(&["words"], "a\n").code(2).says("there is no stream words; declare it: [[stream]] name = \"words\"");
    lab.produce(&["copied"], "a\n").code(2).says("stream copied is written by a stage");
    lab.produce(&["orders", "--partition", "3"], "a\n").code(2).says("they are numbered 0 to 2");
    lab.produce(&["orders"], "a\n").code(0);
    lab.edit_job("partitions = 3", "partitions = 4");
    lab.produce(&["orders"], "a\n").code(2).says("the list of [[stream]] is now");
    lab.edit_job("stream://orders", "stream://copied");
    lab.produce(&["orders"], "a\n").code(2).says("job.toml:4:1: stream \"orders\": ").says("no stage reads it");
    assert_eq!(lab.job_text().matches("[[stream]]").count(), 1);
}

#[test]
fn a_job_that_only_counts_is_idle_long_before_its_next_checkpoint_is_due() {
    let lab =
        Lab::with_job(&COPY.replace("rust/identity", "rust/count").replace("{ in = {", "{ words = {").replace("{ out = {", "{ counts = {"));
    lab.write("job.toml", lab.job_text() + "\n[checkpoint]\ninterval = \"24 h\"\nstop-timeout = \"1 ms\"\n");
    // Three records of one key: nothing is emitted before the end, so nobody else would ask for a checkpoint.
    lab.produce(&["orders", "--format", "tsv"], "k\t\nk\t\nk\t\n").code(0);
    for _ in 0..2 {
        lab.run(&["--until-idle"]).code(0).says("idle checkpoint=").says("records=3");
    }
    lab.produce(&["orders", "--end"], "").code(0);
    lab.run(&["--until-idle"]).code(0).says("finished checkpoint=");
    assert_eq!(output::records(&lab.path("out")), [b"k\t3"]);
}

#[test]
fn the_end_may_come_later_than_the_records_under_the_same_name_and_after_it_they_are_still_there() {
    let lab = Lab::with_job(COPY);
    lab.produce(&["orders", "--id", "x"], "a\n").code(0);
    let told = lab.produce(&["orders", "--id", "x", "--end"], "a\n").code(0).stdout;
    assert!(told.contains("produced nothing") && told.contains("ended the stream, checkpoint=2"), "{told}");
    lab.run(&["--until-idle"]).code(0).says("finished checkpoint=").says("records=1");
    // The job is finished; what is there is there.
    let told = lab.produce(&["orders", "--id", "x", "--end"], "a\n").code(0).stdout;
    assert!(told.contains("produced nothing") && !told.contains("ended"), "{told}");
    lab.produce(&["orders", "--id", "y"], "a\n").code(2).says("it is finished");
}

#[test]
fn the_same_records_under_the_same_name_are_there_once() {
    let lab = Lab::with_job(COPY);
    let day = |n: u32| format!("2026-11-{n:02}T00:00:00");
    for (at, again) in [(1, 1), (2, 3), (3, 1)] {
        for time in 0..again {
            let told = lab.produce(&["orders", "--id", &day(at), "--format", "tsv"], format!("day\t{at}\n")).code(0).stdout;
            assert_eq!(told.contains("produced nothing"), time > 0, "{told}");
        }
    }
    assert_eq!(
        content(&lab, "orders").into_values().flatten().map(|(_, value)| value).collect::<Vec<_>>(),
        ["1", "2", "3"].map(|n| json!(n))
    );
}

/// A job on whose stream something may stand already, and what stands there after one more production.
struct Before {
    lab: Lab,
    /// How many records stand there.
    count: usize,
    more: Vec<(String, String)>,
    after: Content,
}

impl Before {
    fn new(first: &[(String, String)]) -> Self {
        let lab = Lab::with_job(COPY);
        lab.produce(&["orders", "--format", "tsv"], tsv(first)).code(0);
        lab.run(&["--until-idle"]).code(0);
        if first.is_empty() {
            lab.forget();
        }
        let more = records("more", 50);
        let after = placed(&[first, &more].concat());
        lab.replace("data", "before/data");
        lab.replace("out", "before/out");
        Self { lab, count: first.len(), more, after }
    }

    /// What stands on the stream; nothing, where the job never began.
    fn content(&self) -> Content {
        let listed = self.lab.gregor(&["stream", "consume", "orders", "job.toml", "--data", "data"]);
        if listed.code == Some(2) && self.count == 0 { Content::new() } else { content(&self.lab, "orders") }
    }

    /// Whether the n-th step came about with this fault. After it, the same command puts the records there, once.
    fn try_step(&self, fault: &str, n: u64) -> bool {
        self.lab.replace("before/data", "data");
        self.lab.replace("before/out", "out");
        let arguments = ["orders", "--format", "tsv", "--id", "more"];
        let ended = self.lab.produce(&[&arguments[..], &["--count-steps", "--fault", &format!("{fault}:{n}")]].concat(), tsv(&self.more));
        let hit = match (ended.code, ended.signal) {
            (None, Some(9)) if fault.starts_with("kill") => true,
            (Some(1), None) if fault.starts_with("fail") => true,
            // The step was tried again, or it was the last one.
            (Some(0), None) => ended.figure("steps=").unwrap() >= n,
            _ => panic!("{fault}:{n} ended with {:?}, {:?}:\n{}", ended.code, ended.signal, ended.stderr),
        };
        let there = self.content();
        let count: usize = there.values().map(Vec::len).sum();
        assert!(count == self.count || there == self.after, "{fault}:{n} has left {count} records");
        let again = self.lab.produce(&arguments, tsv(&self.more)).code(0).stdout;
        assert_eq!(again.contains("produced nothing"), there == self.after, "{fault}:{n}: {again}");
        assert!(self.content() == self.after, "{fault}:{n}");
        hit
    }

    /// Tries each fault at each step; answers how many steps came about, of the fault with the fewest.
    fn try_all(&self) -> u64 {
        let hits = ["fail", "fail-after", "kill-before", "kill-after"].map(|fault| {
            let (mut hits, mut misses) = (0, 0);
            for n in 1..=STEPS_MAX {
                if self.try_step(fault, n) {
                    (hits, misses) = (hits + 1, 0)
                } else {
                    misses += 1
                }
                if misses >= BEYOND {
                    break;
                }
            }
            assert!(misses >= BEYOND, "{fault} was still hit at step {STEPS_MAX}");
            hits
        });
        println!("steps that failed or killed: {hits:?}");
        hits.into_iter().min().unwrap()
    }
}

#[test]
fn every_durable_step_of_a_production_may_fail_and_the_same_command_puts_it_right() {
    let first = records("first", 20);
    let before = Before::new(&first);
    // The claim, a part, the number, the manifest and the confirmation at least.
    assert!(before.try_all() >= 5);
    // And the job goes on from there.
    before.lab.run(&["--until-idle"]).code(0).says("records=70");
    assert_eq!(output::records(&before.lab.path("out")), lines(&[first, before.more.clone()].concat()));
}

#[test]
fn every_durable_step_of_a_production_that_begins_a_job_may_fail_as_well() {
    let before = Before::new(&[]);
    // With them the incarnation, markers and the spec.
    assert!(before.try_all() >= 8);
    before.lab.run(&["--until-idle"]).code(0).says("records=50");
    assert_eq!(output::records(&before.lab.path("out")), lines(&before.more));
}

#[test]
fn a_long_production_that_is_killed_at_any_time_is_there_as_a_whole_or_not_at_all() {
    let mut random = seed::random("a_long_production_that_is_killed_at_any_time_is_there_as_a_whole_or_not_at_all");
    let lab = Lab::with_job(
        &jobs::word_count("20 ms").replace("name = \"wordcount\"", "name = \"wordcount\"\n\n[[stream]]\nname = \"lines\"\npartitions = 4"),
    );
    lab.edit_job("from = \"in\", format = \"lines\"", "from = \"stream://lines\"");
    // Several parts, each with a run of every partition.
    let texts: Vec<Vec<u8>> = (0..2).map(|_| corpus::plain(&mut random, 40_000_000, 5_000)).collect();
    let (mut put, mut killed) = (0, 0);
    for (at, text) in texts.iter().enumerate() {
        lab.write("stdin", text);
        let id = format!("text-{at}");
        let arguments = ["lines", "job.toml", "--data", "data", "--id", &id];
        for _ in 0..KILLS {
            let mut host = lab.start_produce(&arguments, "stdin");
            let wait = random.random_range(0..=text.len() as u64);
            clock::wait("bytes to be read", || (host.is_over() || host.bytes_read() >= wait).then_some(()));
            host.signal(Signal::KILL);
            killed += usize::from(host.end().calm().signal == Some(9));
        }
        let ended = lab.start_produce(&arguments, "stdin").end().calm().code(0);
        put += usize::from(!ended.stdout.contains("produced nothing"));
        // The job reads what is there, and is killed as well.
        let host = lab.start(&["--until-idle"]);
        let last = host.confirmed();
        clock::wait("a checkpoint", || (host.confirmed() > last || host.stderr().contains("idle")).then_some(()));
        host.signal(Signal::KILL);
        host.end().calm();
        lab.run(&["--until-idle"]).code(0);
        lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]).code(0);
    }
    println!("{killed} kills; {put} productions were put there by the last command");
    assert!(killed > KILLS, "{killed} of {} kills came about", 2 * KILLS);
    lab.produce(&["lines", "--end"], "").code(0);
    lab.run(&[]).code(0);
    corpus::same(&output::counts(&lab.path("out")), &corpus::count(texts.iter().map(Vec::as_slice)));
}

#[test]
fn many_productions_make_full_manifests_and_a_return_takes_them_back() {
    let lab = Lab::with_job(&(COPY.to_owned() + "\n[checkpoint]\nkeep = 100\n"));
    let line = |at: usize| format!("k{at}\t{at}\n");
    for at in 0..70 {
        lab.produce(&["orders", "--format", "tsv"], line(at)).code(0);
    }
    let expected: Vec<(String, String)> = (0..70).map(|at| (format!("k{at}"), at.to_string())).collect();
    assert_eq!(content(&lab, "orders"), placed(&expected));
    lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]).code(0);
    lab.gregor(&["checkpoint", "restore", "66", "job.toml", "--data", "data"]).code(0);
    assert_eq!(content(&lab, "orders"), placed(&expected[..66]));
    lab.produce(&["orders", "--format", "tsv", "--end"], line(70)).code(0);
    let expected = [&expected[..66], &[("k70".to_owned(), "70".to_owned())]].concat();
    lab.run(&[]).code(0);
    assert_eq!(output::records(&lab.path("out")), lines(&expected));
    lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]).code(0);
}

#[test]
fn over_zookeeper_records_come_from_any_host_once_the_job_is_free() {
    let server = Shared::server();
    let lab = Lab::with_job(&(COPY.to_owned() + "\n[checkpoint]\nlocation = \"archive\"\n"));
    let name = lab.path("").file_name().unwrap().to_str().unwrap().to_owned();
    let coordinator = format!("zookeeper://{}/tests/{name}", server.address());
    let place = ["--coordinator", coordinator.as_str(), "--session-timeout", "10s"];
    lab.write("stdin", tsv(&records("first", 100)));
    lab.start_produce(&[&["orders", "job.toml", "--data", "one", "--format", "tsv"], &place[..]].concat(), "stdin").end().calm().code(0);
    let host = lab.start_on("two", &place);
    clock::wait("the first records", || host.stderr().contains("records=100").then_some(()));
    lab.write("stdin", tsv(&records("second", 50)));
    let arguments = [&["orders", "job.toml", "--data", "three", "--format", "tsv", "--end"], &place[..]].concat();
    let mut producer = lab.start_produce(&arguments, "stdin");
    clock::wait("the producer to wait for the host", || {
        assert!(!producer.is_over(), "it does not wait:\n{}", producer.stderr());
        producer.stderr().contains("waits until another host").then_some(())
    });
    host.signal(Signal::TERM);
    assert_eq!(host.end().calm().code, Some(143));
    producer.end().calm().code(0);
    lab.start_on("one", &place).end().calm().code(0).says("finished checkpoint=").says("records=150");
    assert_eq!(output::records(&lab.path("out")), lines(&[records("first", 100), records("second", 50)].concat()));
}
