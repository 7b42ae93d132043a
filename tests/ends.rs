//! What stands after a job has ended, and what people ask about it: started again, `checkpoint`, `inspect`, `doctor`.

use std::os::unix::fs::OpenOptionsExt;

use gregor_model::names::{Attempt, Sequence};
use gregor_model::segment::temporary_name;
use rustix::fs::OFlags;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::host::Host;
use crate::harness::lab::{Lab, remove};
use crate::harness::ledger::register;
use crate::harness::{clock, corpus, jobs, output, plugins, seed};

/// Fields of an entry of `checkpoint list --output json`, in order.
const LISTED: [&str; 7] = ["number", "created-at", "status", "manifest", "sha256", "bytes", "kind"];

fn finished(test: &str) -> (Lab, Vec<u8>) {
    let mut random = seed::random(test);
    let lab = Lab::with_job(&jobs::word_count("20 ms"));
    let text = corpus::plain(&mut random, 6_000_000, 3_000);
    lab.write("in/a.txt", &text);
    let ended = lab.run(&[]).code(0).unwarned(&[]);
    let pauses = ended.line("pause-p50=").unwrap_or_else(|| panic!("no line of pauses:\n{}", ended.stderr));
    println!("{pauses}; {}", ended.line("finished").unwrap_or_default());
    for label in ["pause-p50=", "pause-p99=", "pause-max="] {
        let (_, rest) = pauses.split_once(label).unwrap_or_else(|| panic!("{label} is missing: {pauses}"));
        assert!(rest.starts_with(|c: char| c.is_ascii_digit()), "{label} is no figure: {pauses}");
    }
    assert!(ended.figure("freezes=").is_some_and(|freezes| freezes > 0), "{pauses}");
    (lab, text)
}

#[test]
fn a_finished_job_started_again_says_so_and_changes_nothing() {
    let (lab, text) = finished("a_finished_job_started_again_says_so_and_changes_nothing");
    let before = output::files(&lab.path("out"));
    let list = || lab.gregor(&["checkpoint", "list", "job.toml", "--data", "data", "--output", "json"]).code(0).stdout;
    let checkpoints = list();
    for _ in 0..2 {
        lab.run(&[]).code(0).says("finished");
        assert_eq!(output::files(&lab.path("out")), before);
        assert_eq!(list(), checkpoints, "a checkpoint was made of nothing");
    }
    // Local state is a cache, and so are compiled components.
    for cache in ["data/state", "data/components"] {
        remove(&lab.path(cache));
        lab.run(&[]).code(0).says("finished");
        assert_eq!(output::files(&lab.path("out")), before);
    }
    corpus::same(&output::counts(&lab.path("out")), &corpus::count([text.as_slice()]));
}

#[test]
fn a_folder_that_was_taken_away_does_not_keep_the_others_incomplete() {
    let lab = Lab::with_job(&jobs::word_count_and_words("1 s"));
    lab.write("in/a.txt", "a b a");
    lab.run(&[]).code(0);
    remove(&lab.path("out/words"));
    // As if the process had died before it.
    remove(&lab.path("out/counts/_SUCCESS"));
    lab.run(&[]).code(0).says("finished");
    output::complete(&lab.path("out/counts"));
    assert!(!lab.path("out/words").exists(), "a folder that was taken away came back");
}

#[test]
fn what_a_host_wrote_after_its_successor_had_finished_goes_at_the_next_start() {
    let (lab, _) = finished("what_a_host_wrote_after_its_successor_had_finished_goes_at_the_next_start");
    let before = output::files(&lab.path("out"));
    let incarnation = register(&lab).incarnation;
    let left = format!("out/{}", temporary_name(incarnation, ("count", "counts"), (0, Attempt(0), Sequence(7))));
    let (foreign, kept) = (format!("out/._{}-count-counts-0-0-7.tmp", "0".repeat(32)), "out/.hidden");
    for name in [&left, &foreign, kept] {
        lab.write(name, "half of a file");
    }
    // Whoever merely looks deletes nothing.
    lab.gregor(&["checkpoint", "list", "job.toml", "--data", "data"]).code(0);
    lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]);
    assert!(lab.path(&left).exists());
    lab.run(&[]).code(0).says("already finished");
    assert!(!lab.path(&left).exists(), "what an earlier attempt left is there still");
    assert!(lab.path(&foreign).exists() && lab.path(kept).exists(), "a file that is not this job's went");
    for name in [&foreign, kept] {
        remove(&lab.path(name));
    }
    assert_eq!(output::files(&lab.path("out")), before);
    output::complete(&lab.path("out"));
}

#[test]
fn checkpoints_are_listed_with_the_fields_that_stand_in_the_reference() {
    let (lab, _) = finished("checkpoints_are_listed_with_the_fields_that_stand_in_the_reference");
    let listed = lab.gregor(&["checkpoint", "list", "job.toml", "--data", "data", "--output", "json"]).code(0).stdout;
    let Value::Array(entries) = serde_json::from_str(&listed).unwrap() else { panic!("not an array: {listed}") };
    assert!(entries.len() > 1, "{listed}");
    let mut last = 0;
    for entry in &entries {
        let entry = entry.as_object().unwrap();
        let mut names: Vec<&str> = entry.keys().map(String::as_str).collect();
        let mut expected = LISTED;
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
        let number = entry["number"].as_u64().unwrap();
        assert!(number > last, "numbers do not rise: {listed}");
        last = number;
        assert!(["created", "confirmed", "aborted"].contains(&entry["status"].as_str().unwrap()), "{entry:?}");
        let created = entry["created-at"].as_str().unwrap();
        assert!(
            created.len() == 24 && created.ends_with('Z') && created.as_bytes()[10] == b'T',
            "{created:?} is not RFC 3339 with milliseconds"
        );
        if entry["status"] == "confirmed" {
            assert!(["base", "delta"].contains(&entry["kind"].as_str().unwrap()), "{entry:?}");
            assert_eq!(entry["sha256"].as_str().map(str::len), Some(64), "{entry:?}");
            assert!(entry["bytes"].as_u64().unwrap() > 0, "{entry:?}");
        }
    }
    // The order of fields, as text.
    let first = &listed[listed.find('{').unwrap()..];
    let places: Vec<usize> = LISTED.iter().map(|name| first.find(&format!("\"{name}\"")).unwrap()).collect();
    assert!(places.is_sorted(), "fields are out of order: {first}");
    let confirmed = entries.iter().rev().find(|entry| entry["status"] == "confirmed").unwrap();
    let number = confirmed["number"].to_string();
    let text = lab.gregor(&["checkpoint", "list", "job.toml", "--data", "data"]).code(0).stdout;
    assert!(text.contains(&number), "{text}");
    let shown = lab.gregor(&["checkpoint", "show", "job.toml", &number, "--data", "data", "--output", "json"]).code(0).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["number"].to_string(), number);
    lab.gregor(&["checkpoint", "show", "job.toml", "999999", "--data", "data"]).code(2).says("999999");
}

#[test]
fn a_signal_while_components_are_taken_in_ends_the_process_at_once() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let lab = Lab::with_job(&jobs::lines("rust/identity", ""));
        lab.write("in/a.txt", "one\n");
        // A component that is never read to its end stands for one whose compilation lasts.
        lab.shell("mkfifo slow.wasm").code(0);
        let component = plugins().join("rust/identity.wasm");
        lab.edit_job(component.to_str().unwrap(), "slow.wasm");
        let mut host = lab.start(&[]);
        // Without waiting, a pipe can be opened for writing only while somebody reads it.
        let mut options = std::fs::File::options();
        options.write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let _writer = clock::wait("the component to be read", || {
            assert!(!host.is_over(), "it is over:\n{}", host.stderr());
            options.open(lab.path("slow.wasm")).ok()
        });
        host.signal(signal);
        host.end().calm().code(code).says("before the job began");
        assert!(!lab.path("data").exists() && !lab.path("out").exists(), "something was made");
    }
}

/// A job whose first record keeps its task in one call for an hour; the process, once the call is under way.
fn in_an_endless_call(stop_timeout: &str) -> (Lab, Host) {
    let more = format!(
        "config = {{ mode = \"endless-loop\", trigger = \"trigger\" }}\nlimits = {{ call-time = \"1 h\" }}\n\
         checkpoint = {{ stop-timeout = \"{stop_timeout}\" }}"
    );
    let lab = Lab::with_job(&jobs::lines("hostile/hostile", &more));
    lab.write("in/a.txt", "trigger\n");
    let mut host = lab.start(&[]);
    clock::wait("progress", || {
        assert!(!host.is_over(), "the job is over:\n{}", host.stderr());
        host.stderr().contains("records=0").then_some(())
    });
    (lab, host)
}

#[test]
fn after_a_stop_the_local_stores_have_nothing_to_make_up_for() {
    let mut random = seed::random("after_a_stop_the_local_stores_have_nothing_to_make_up_for");
    let lab = Lab::with_job(&(jobs::word_count("20 ms") + jobs::STEP_BY_STEP));
    let text = corpus::plain(&mut random, 30_000_000, 20_000);
    lab.write("in/a.txt", &text);
    let mut host = lab.start(&[]);
    // So many that all counting tasks have seen words, which they read once those are confirmed.
    clock::wait("some checkpoints", || {
        assert!(!host.is_over(), "the job is over:\n{}", host.stderr());
        host.confirmed().filter(|&confirmed| confirmed > 12)
    });
    host.signal(Signal::TERM);
    host.end().calm().code(143).unwarned(&[]);
    let ended = lab.run(&["--log", "gregor_runtime=info"]).code(0);
    let kept: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("the state is that of the local store")).collect();
    assert!(kept.len() == 4 && kept.iter().all(|line| line.contains("deltas=0 ")), "{kept:#?}\n{}", ended.stderr);
    assert!(!ended.stderr.contains("is restored from the archive"), "{}", ended.stderr);
    corpus::same(&output::counts(&lab.path("out")), &corpus::count([text.as_slice()]));
}

#[test]
fn a_second_signal_ends_a_call_that_never_ends() {
    // Both times are longer than a test waits.
    let (_lab, host) = in_an_endless_call("24 h");
    host.signal(Signal::TERM);
    // Two signals of a kind that wait at the same time are one.
    clock::wait("the first signal to be heard", || host.stderr().contains("stopping").then_some(()));
    host.signal(Signal::TERM);
    let ended = host.end().calm().code(143);
    assert_eq!(ended.confirmed(), None, "{}", ended.stderr);
}

#[test]
fn the_end_of_the_stop_timeout_ends_a_call_that_never_ends() {
    let (_lab, host) = in_an_endless_call("100 ms");
    host.signal(Signal::INT);
    host.end().calm().code(130);
}

#[test]
fn a_job_that_stops_at_a_record_keeps_all_that_comes_before_it() {
    let line = |at: u32| if at == 1_700 { "trigger\n".to_owned() } else { format!("line {at}\n") };
    let before: String = (0..1_700).map(line).collect();
    for mode in ["error-poison", "trap", "reject-dead-letter"] {
        // Nothing but the end asks for a checkpoint.
        let more = format!("config = {{ mode = \"{mode}\", trigger = \"trigger\" }}\ncheckpoint = {{ interval = \"1 h\" }}");
        let lab = Lab::with_job(&jobs::lines("hostile/hostile", &more));
        lab.write("in/a.txt", (0..3_000).map(line).collect::<String>());
        let place = format!("byte {} of a.txt", before.len());
        for run in 0..2 {
            let ended = lab.run(&[]).code(1).says(&place);
            assert_eq!(ended.resumed().is_some(), run == 1, "{mode}:\n{}", ended.stderr);
            let content: Vec<u8> = output::by_task(&lab.path("out")).into_values().flatten().collect();
            assert!(content == before.as_bytes(), "{mode}: {} bytes, {} come before the record", content.len(), before.len());
            assert!(!lab.path("out/_SUCCESS").exists());
        }
    }
}

#[test]
fn what_tasks_count_is_shown_at_the_end() {
    let lab = Lab::with_job(&jobs::lines("hostile/hostile", "config = { mode = \"telemetry\" }"));
    // Two tasks of a batch or more each, of which each counts.
    lab.write("in/a.txt", "a line\n".repeat(400_000));
    let ended = lab.run(&[]).code(0);
    let metrics: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("metric ")).collect();
    let value = |name: &str| -> f64 {
        let label = format!("metric stage=lines name={name} value=");
        let found = metrics.iter().find_map(|line| line.strip_prefix(&label)).unwrap_or_else(|| panic!("no {label}:\n{}", ended.stderr));
        found.parse().unwrap()
    };
    let calls = value("spread{kind=\"test\"}.count");
    assert!(calls > 300.0, "{calls} calls");
    let each = [value("counted{kind=\"test\"}") / 3.0, value("spread{kind=\"test\"}.sum") / 1.5];
    assert_eq!(each.map(|found| (found - calls).abs() < 0.01), [true, true], "{metrics:#?}");
    // The last value of each task.
    assert!(value("level{kind=\"test\"}") >= 1.0, "{metrics:#?}");
    assert_eq!(metrics.len(), 4, "{metrics:#?}");
}

#[test]
fn two_jobs_share_a_data_folder_one_after_the_other() {
    let (lab, _) = finished("two_jobs_share_a_data_folder_one_after_the_other");
    let before = output::files(&lab.path("out"));
    let first = lab.job_text();
    lab.job(&jobs::lines("rust/identity", "").replace("to = \"out\"", "to = \"other\""));
    lab.run(&[]).code(0);
    output::complete(&lab.path("other"));
    assert_eq!(
        output::records(&lab.path("other")).len(),
        std::fs::read(lab.path("in/a.txt")).unwrap().split(|&byte| byte == b'\n').count() - 1
    );
    lab.write("job.toml", first);
    lab.run(&[]).code(0).says("finished");
    assert_eq!(output::files(&lab.path("out")), before);
}

#[test]
fn checkpoints_may_be_kept_outside_of_data() {
    let lab = Lab::with_job(&(jobs::word_count("20 ms") + "location = \"checkpoints\"\n"));
    lab.write("in/a.txt", "a b a");
    lab.run(&[]).code(0);
    assert_eq!(output::records(&lab.path("out")), [b"a\t2".as_slice(), b"b\t1"]);
    assert!(lab.path("checkpoints/tenants/default/jobs/wordcount").is_dir());
    assert!(!lab.path("data/archive/tenants").exists(), "something went where it was not told to go");
    lab.run(&[]).code(0).says("finished");
}

#[test]
fn a_component_is_inspected() {
    let lab = Lab::new();
    let component = plugins().join("rust/count.wasm");
    let component = component.to_str().unwrap();
    let told = lab.gregor(&["inspect", component, "--output", "json"]).code(0).stdout;
    let value: Value = serde_json::from_str(&told).unwrap();
    assert!(value.is_object(), "{told}");
    for fragment in ["words", "counts", "sha256:"] {
        assert!(told.contains(fragment), "{fragment:?} is missing: {told}");
    }
    let text = lab.gregor(&["inspect", component]).code(0).stdout;
    assert!(text.contains("words") && text.contains("counts"), "{text}");
    // Why it would be refused.
    lab.write("core.wasm", wat::parse_str("(module)").unwrap());
    lab.gregor(&["inspect", "core.wasm"]).code(2).says("component");
}

#[test]
fn the_doctor_answers() {
    let ended = Lab::new().gregor(&["doctor"]);
    assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.stderr);
    assert!(!ended.stdout.trim().is_empty());
    let ended = Lab::new().gregor(&["--version"]).code(0);
    assert!(ended.stdout.starts_with("gregor "), "{}", ended.stdout);
}
