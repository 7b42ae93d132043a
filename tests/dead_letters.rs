//! Dead letters: what a task does not take stands on a stream, once, as it came, with where it came from and why; whatever kills the host, and
//! also where the job begins with it only when it goes on. What is right is computed here from the input alone.

use std::collections::{BTreeMap, BTreeSet};

use gregor_model::partitioner::partition_of_key;
use rand::Rng;
use serde_json::{Value, json};

use crate::harness::disturbance::{Toll, any_instant, disturb, kill};
use crate::harness::lab::Lab;
use crate::harness::{output, seed};

/// A record that should not get through, as it is expected on the stream.
#[derive(Debug, Clone, PartialEq)]
struct Letter {
    file: &'static str,
    offset: u64,
    key: Option<String>,
    value: String,
    /// Bytes of the whole record, where the value is not all of it.
    length: Option<usize>,
    /// How the reason ends.
    reason: String,
}

/// Prints a stream as JSON values, in order.
#[track_caller]
pub(crate) fn consume(lab: &Lab, arguments: &[&str]) -> Vec<Value> {
    let all = [&["stream", "consume"], arguments, &["job.toml", "--data", "data", "--output", "json"]].concat();
    let printed = lab.gregor(&all).code(0).stdout;
    printed.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The headers of a printed record; each name stands once.
fn headers(record: &Value) -> BTreeMap<&str, &str> {
    let headers = record["headers"].as_array().unwrap();
    let named: BTreeMap<&str, &str> =
        headers.iter().map(|header| (header["name"].as_str().unwrap(), header["value"].as_str().unwrap())).collect();
    assert_eq!(named.len(), headers.len(), "{record}");
    named
}

/// Demands that exactly these stand on the stream `refused` of stage `work`, in the order of each partition.
#[track_caller]
fn exactly(lab: &Lab, job: &str, expected: &[Letter]) {
    let found = consume(lab, &["refused"]);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    let mut before: BTreeMap<u32, u64> = BTreeMap::new();
    // One task: records without a key lie on its partition, all others where Kafka's clients would look.
    let place = |letter: &Letter| letter.key.as_ref().map_or(0, |key| partition_of_key(key.as_bytes(), 8));
    let mut ordered: Vec<&Letter> = expected.iter().collect();
    ordered.sort_by_key(|letter| place(letter));
    for (found, letter) in found.iter().zip(ordered) {
        let partition = place(letter);
        let next = before.entry(partition).or_default();
        let offset = std::mem::replace(next, *next + 1);
        assert_eq!((&found["partition"], &found["offset"]), (&json!(partition), &json!(offset)), "{letter:?}");
        assert_eq!((&found["key"], &found["value"]), (&json!(letter.key), &json!(letter.value)), "{letter:?}");
        let file = lab.path("in").canonicalize().unwrap().join(letter.file);
        let modified = file.metadata().unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(found["timestamp"], json!(u64::try_from(modified.as_millis()).unwrap()));
        let mut named = headers(found);
        let reason = named.remove("gregor-reason").unwrap();
        let begin = format!("the record at byte {} of {}", letter.offset, letter.file);
        assert!(reason.starts_with(&begin) && reason.contains(&letter.reason), "{reason:?} is not {begin:?} … {:?}", letter.reason);
        let (file, at, length) = (format!("file://{}", file.display()), letter.offset.to_string(), letter.length.map(|n| n.to_string()));
        let mut origin = BTreeMap::from([
            ("gregor-job", job),
            ("gregor-stage", "work"),
            ("gregor-task", "0"),
            ("gregor-input", "in"),
            ("gregor-from", &file),
            ("gregor-partition", "0"),
            ("gregor-offset", &at),
        ]);
        origin.extend(length.as_deref().map(|length| ("gregor-length", length)));
        assert_eq!(named, origin, "{letter:?}");
    }
}

/// A second stage, that writes the dead letters to `refused`. What it has passed may be gone from the stream at any checkpoint.
const KEEP: &str = r#"
[[stage]]
name = "keep"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "stream://refused" } }
outputs = { out = { to = "refused", format = "tsv" } }
"#;

/// A job of one task that does not take some records.
fn lab(component: &str, format: &str, more: &str) -> Lab {
    Lab::with_job(&format!(
        r#"name = "refusals"

[checkpoint]
interval = "10 ms"

[limits]
record = "1 KiB"
unpublished-bytes = "64 KiB"

[[stage]]
name = "work"
component = "{{plugins}}/{component}.wasm"
inputs = {{ in = {{ from = "in", format = "{format}" }} }}
outputs = {{ out = {{ to = "out", format = "tsv" }} }}
on-error = "dead-letter"
dead-letter = "stream://refused"
{more}
"#
    ))
}

/// Whether the task is to refuse a record.
const fn is_poison(at: usize) -> bool {
    at % 7 == 3
}

#[test]
fn what_a_task_does_not_take_stands_on_the_stream_as_it_came() {
    let modes = [
        ("reject-dead-letter", "of input \"in\": the task rejects it: not wanted"),
        ("error-poison", "of input \"in\" fails: "),
        ("trap", "of input \"in\" fails: "),
    ];
    for ((mode, reason), readers) in modes.into_iter().flat_map(|mode| ["", KEEP].map(|readers| (mode, readers))) {
        let lab = lab("hostile/hostile", "tsv", &format!("config = {{ mode = \"{mode}\", trigger = \"poison\" }}{readers}"));
        let (mut letters, mut taken) = (Vec::new(), Vec::new());
        for file in ["a.tsv", "b.tsv"] {
            let mut text = String::new();
            for at in 0..600 {
                let offset = text.len() as u64;
                let (key, long) = (format!("{file}-{at}"), format!("{at}").repeat(1_000));
                let letter = |value: &str, length, reason: &str| (value.to_owned(), length, reason.to_owned());
                let line = match at {
                    _ if is_poison(at) => format!("{key}\tpoison"),
                    100 | 200 => long,
                    300 => "poison".to_owned(),
                    _ => format!("{key}\tfine {at}"),
                };
                let (key, (value, length, reason)) = match at {
                    _ if is_poison(at) => (Some(key), letter("poison", None, reason)),
                    300 => (None, letter("poison", None, reason)),
                    100 | 200 => {
                        (None, letter(&line[..1024], Some(line.len()), &format!("has {} bytes, limits.record allows 1024", line.len())))
                    }
                    _ => {
                        taken.push(line.clone().into_bytes());
                        text.push_str(&(line + "\n"));
                        continue;
                    }
                };
                letters.push(Letter { file, offset, key, value, length, reason });
                text.push_str(&(line + "\r\n"));
            }
            lab.write(&format!("in/{file}"), text);
        }
        let ended = lab.run(&[]).code(0).says("dead letter: the record at byte ");
        assert_eq!(ended.figure("skipped="), Some(letters.len() as u64), "{mode}: as many are counted as are kept:\n{}", ended.stderr);
        taken.sort_unstable();
        assert!(output::records(&lab.path("out")) == taken, "{mode}: what was taken is not exact");
        if readers.is_empty() {
            exactly(&lab, "refusals", &letters);
            continue;
        }
        // The stage that reads them gets what the task got.
        output::complete(&lab.path("refused"));
        let mut kept: Vec<Vec<u8>> = letters
            .iter()
            .map(|letter| letter.key.as_ref().map_or_else(|| letter.value.clone(), |key| format!("{key}\t{}", letter.value)).into_bytes())
            .collect();
        kept.sort_unstable();
        assert!(output::records(&lab.path("refused")) == kept, "{mode}: what the next stage wrote is not exact");
    }
}

#[test]
fn what_can_not_be_read_stands_on_the_stream_as_it_stands_in_the_file() {
    let letter = |file, offset: usize, value: &str, reason: &str| Letter {
        file,
        offset: offset as u64,
        key: None,
        value: value.to_owned(),
        length: None,
        reason: reason.to_owned(),
    };
    let long = format!("\"{}\",2", "x\r\n".repeat(1_000));
    let (csv, json) = (format!("a,b\r\n1,2\r\n\"1\",\"2\n3\",4\r\n{long}\n3,4"), "{}\n{\"a\":}\r\n[1]\nno document");
    let at = |text: &str, what: &str| text.find(what).unwrap();
    for (name, text, expected) in [
        (
            "a.csv",
            csv.as_str(),
            vec![
                letter("a.csv", at(&csv, "\"1\""), "\"1\",\"2\n3\",4", " can't be read as csv: it has 3 fields"),
                Letter {
                    length: Some(long.len()),
                    ..letter("a.csv", at(&csv, &long), &long[..1024], &format!(" has {} bytes, limits.record allows 1024", long.len()))
                },
            ],
        ),
        (
            "a.json",
            json,
            vec![
                letter("a.json", at(json, "{\"a\""), "{\"a\":}", " can't be read as json-lines: "),
                letter("a.json", at(json, "no"), "no document", " can't be read as json-lines: "),
            ],
        ),
    ] {
        let lab = lab("rust/identity", if name == "a.csv" { "csv" } else { "json-lines" }, KEEP);
        lab.edit_job("to = \"refused\", format = \"tsv\"", "to = \"refused\", format = \"bytes\"");
        lab.write(&format!("in/{name}"), text);
        lab.run(&[]).code(0).says(&format!("skipped={}", expected.len()));
        exactly(&lab, "refusals", &expected);
        let values: String = expected.iter().map(|letter| letter.value.as_str()).collect();
        let kept: Vec<u8> = output::by_task(&lab.path("refused")).into_values().flatten().collect();
        assert_eq!(String::from_utf8(kept).unwrap(), values);
    }
}

/// What is printed of the dead letters, sorted, without what differs from run to run though both are right: offsets on the stream, on which several
/// tasks' records may stand, and folder and time of the file. Where each record came from stands in its headers.
fn placeless(lab: &Lab) -> Vec<String> {
    let mut printed = consume(lab, &["refused"]);
    let folder = format!("file://{}/", lab.path("in").canonicalize().unwrap().display());
    for record in &mut printed {
        let record = record.as_object_mut().unwrap();
        assert!(record.remove("offset").is_some() && record.remove("timestamp").is_some(), "{record:?}");
    }
    let mut texts: Vec<String> = printed.iter().map(|record| record.to_string().replace(&folder, "")).collect();
    texts.sort_unstable();
    texts
}

/// Demands that what is printed are some of these lines, none of them twice: what a stage has read may be gone.
#[track_caller]
fn once(printed: &[Value], lines: &[Vec<u8>]) {
    let text = |record: &Value| format!("{}\t{}", record["key"].as_str().unwrap(), record["value"].as_str().unwrap()).into_bytes();
    let found: BTreeSet<Vec<u8>> = printed.iter().map(text).collect();
    assert_eq!(found.len(), printed.len(), "a dead letter stands on the stream twice");
    assert!(found.iter().all(|line| lines.binary_search(line).is_ok()), "others stand on the stream");
}

/// The configuration of a task that does not take poison.
const REJECTS: &str = "config = { mode = \"reject-dead-letter\", trigger = \"poison\" }";

/// The lines of an input of that many records.
fn lines(records: usize) -> impl Iterator<Item = String> {
    (0..records).map(|at| format!("k{at}\t{}", if is_poison(at) { "poison" } else { "fine, and some more of it" }))
}

/// Gives a job something to do.
fn fill(lab: &Lab, records: usize) {
    lab.write("in/a.tsv", lines(records).map(|line| line + "\n").collect::<String>());
}

/// The lines of an input that are poison, or those that are not, sorted.
fn those(records: usize, poison: bool) -> Vec<Vec<u8>> {
    let mut those: Vec<Vec<u8>> =
        lines(records).enumerate().filter(|(at, _)| is_poison(*at) == poison).map(|(_, line)| line.into()).collect();
    those.sort_unstable();
    those
}

/// Kills a job at random instants, with more and more to do until that hits, and shows to `check` what is left: the job, its records, the kills.
fn killed_at_random_instants(test: &str, lab: &Lab, check: impl Fn(usize, &Toll)) {
    let mut random = seed::random(test);
    let mut records = 240_000;
    loop {
        fill(lab, records);
        let (toll, ended) = disturb(&|| lab.start(&[]), (&mut random, 12, any_instant), kill);
        ended.code(0);
        assert!(output::records(&lab.path("out")) == those(records, false), "what was taken is not exact: {toll:?}");
        check(records, &toll);
        println!("killed: {toll:?}, {records} records");
        if toll.disturbed >= 8 && toll.after_confirm >= 4 {
            return;
        }
        assert!(records < 10_000_000, "however much there was to do, the job was over after {toll:?}");
        records *= 2;
        lab.forget();
        crate::harness::lab::remove(&lab.path("refused"));
    }
}

#[test]
fn a_job_killed_at_random_instants_leaves_each_dead_letter_once() {
    // Nobody reads the stream, so all of it stays.
    let lab = lab("hostile/hostile", "tsv", REJECTS);
    let undisturbed = Lab::with_job(&lab.job_text());
    killed_at_random_instants("a_job_killed_at_random_instants_leaves_each_dead_letter_once", &lab, |records, toll| {
        undisturbed.forget();
        fill(&undisturbed, records);
        assert_eq!(undisturbed.run(&[]).code(0).figure("skipped="), Some(those(records, true).len() as u64));
        let (found, expected) = (placeless(&lab), placeless(&undisturbed));
        assert_eq!(expected.len(), those(records, true).len());
        assert!(found == expected, "{} dead letters, {} expected, or others: {toll:?}", found.len(), expected.len());
    });
}

#[test]
fn a_stage_gets_each_dead_letter_once_however_its_job_is_killed() {
    let lab = lab("hostile/hostile", "tsv", &(REJECTS.to_owned() + KEEP));
    killed_at_random_instants("a_stage_gets_each_dead_letter_once_however_its_job_is_killed", &lab, |records, toll| {
        let expected = those(records, true);
        assert!(output::records(&lab.path("refused")) == expected, "what the next stage wrote is not exact: {toll:?}");
        once(&consume(&lab, &["refused"]), &expected);
    });
}

#[test]
fn a_job_killed_at_durable_steps_leaves_each_dead_letter_once() {
    const RECORDS: usize = 60_000;
    let mut random = seed::random("a_job_killed_at_durable_steps_leaves_each_dead_letter_once");
    let lab = lab("hostile/hostile", "tsv", &(REJECTS.to_owned() + KEEP));
    fill(&lab, RECORDS);
    let (mut kills, mut inside) = (0, 0);
    loop {
        let fault = format!("{}:{}", ["kill-before", "kill-after"][kills % 2], random.random_range(8..30));
        let ended = lab.run(&["--fault", &fault]);
        if ended.code == Some(0) {
            break;
        }
        assert_eq!((ended.code, ended.signal), (None, Some(9)), "{fault}:\n{}", ended.stderr);
        kills += 1;
        assert!(kills < 300, "it does not end");
        inside += usize::from((1..RECORDS / 7).contains(&output::records(&lab.path("refused")).len()));
    }
    println!("{kills} kills, {inside} of them while some dead letters were written");
    assert!(inside > 0, "{kills} kills, none of them in the middle: this tests nothing");
    let expected = those(RECORDS, true);
    assert!(output::records(&lab.path("out")) == those(RECORDS, false), "what was taken is not exact");
    assert!(output::records(&lab.path("refused")) == expected, "what the next stage wrote is not exact");
    once(&consume(&lab, &["refused"]), &expected);
}

/// A job of one stage under a policy, whose records 100 and 200 are poison.
fn stops(policy: &str) -> (Lab, Vec<u64>) {
    let lab = Lab::with_job(&format!(
        r#"name = "stops"
component = "{{plugins}}/hostile/hostile.wasm"
inputs = {{ in = {{ from = "in", format = "tsv" }} }}
outputs = {{ out = {{ to = "out", format = "tsv" }} }}
config = {{ mode = "error-poison", trigger = "poison" }}
{policy}
checkpoint = {{ interval = "10 ms" }}
"#
    ));
    let line = |at: usize| if at == 100 || at == 200 { format!("k{at}\tpoison\n") } else { format!("k{at}\tfine\n") };
    let lines: Vec<String> = (0..300).map(line).collect();
    lab.write("in/a.tsv", lines.concat());
    let offset = |at: usize| lines[..at].iter().map(String::len).sum::<usize>() as u64;
    (lab, vec![offset(100), offset(200)])
}

const DEAD: &str = "on-error = \"dead-letter\"\ndead-letter = \"stream://refused\"";

#[test]
fn a_job_that_stopped_at_a_record_goes_on_with_dead_letters() {
    let (lab, poison) = stops("on-error = \"stop\"");
    lab.run(&[]).code(1).says("on-error = \"dead-letter\"").says("dead-letter = \"stream://NAME\"");
    let before = output::records(&lab.path("out"));
    assert_eq!(before.len(), 100, "what came before it is kept");
    lab.edit_job("on-error = \"stop\"", DEAD);
    lab.run(&[]).code(0).says("skipped=2");
    let offsets = |found: &[Value]| {
        let mut offsets: Vec<u64> = found.iter().map(|record| headers(record)["gregor-offset"].parse().unwrap()).collect();
        offsets.sort_unstable();
        offsets
    };
    assert_eq!(offsets(&consume(&lab, &["refused"])), poison);
    assert_eq!(output::records(&lab.path("out")).len(), 298);
    lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]).code(0);
    // Given up again, the stream stays as it is.
    lab.edit_job(DEAD, "on-error = \"skip\"");
    lab.run(&[]).code(0).says("finished");
    assert_eq!(offsets(&consume(&lab, &["refused"])), poison);
}

#[test]
fn a_stream_of_dead_letters_that_a_stage_reads_can_not_be_given_up() {
    let lab = lab("hostile/hostile", "tsv", &format!("config = {{ mode = \"error-fatal\", trigger = \"poison\" }}{KEEP}"));
    lab.write("in/a.tsv", "k\tfine\nk\tpoison\n");
    lab.run(&[]).code(1).says("nothing helps");
    lab.edit_job(DEAD, "on-error = \"skip\"");
    lab.run(&[]).code(2).says("stage \"keep\" reads stream \"refused\", which no stage of this job writes");
    lab.edit_job("on-error = \"skip\"", "on-error = \"dead-letter\"\ndead-letter = \"stream://other\"");
    lab.run(&[]).code(2).says("reads stream \"refused\", which no stage of this job writes");
}

#[test]
fn two_stages_never_share_a_stream_of_dead_letters() {
    let lab = lab("rust/identity", "tsv", KEEP);
    lab.write("in/a.tsv", "k\tv\n");
    let third = "\n[[stage]]\nname = \"third\"\ncomponent = \"{plugins}/rust/identity.wasm\"\n\
                 inputs = { in = { from = \"in\", format = \"tsv\" } }\noutputs = { out = { to = \"third\", format = \"tsv\" } }\n";
    lab.job(&(lab.job_text() + third + DEAD));
    lab.run(&[])
        .code(2)
        .says("stream \"refused\" is written by more than one output, dead letters and [[stream]] counted")
        .says("a stream of its own");
    assert!(!lab.path("data").join("coordination").exists(), "something was begun");
}
