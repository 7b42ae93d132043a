//! Components that loop, hoard, overflow, trap and lie. Each fails its own call only: the rest of the output is exact, a neighbour in the same
//! process notices nothing, and the host says which record of which task it was.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::harness::host::Ended;
use crate::harness::lab::Lab;
use crate::harness::{clock, jobs, output};

/// Deeds that cost the call in which they are done, each as a failure that blames a record.
const DEEDS: &[&str] = &[
    "endless-loop",
    "memory-bomb",
    "stack-overflow",
    "trap",
    "panic",
    "error-poison",
    "too-many-emits",
    "too-many-bytes",
    "lying-ends",
    "lying-nulls",
    "lying-causes",
    "select-out-of-range",
    "state-lying-columns",
    "cursor-flood",
    "reject-out-of-range",
];
/// Lines of the input.
const LINES: usize = 3_000;
/// The lines that bring the deed about.
const TRIGGERS: [usize; 3] = [0, 1_500, 2_999];

/// A job with a component that does `mode` at each line "trigger", and beside it a stage that does nothing wrong.
fn lab(mode: &str, more: &str) -> Lab {
    let lab = Lab::with_job(&format!(
        r#"name = "guests"
[[stage]]
name = "hostile"
component = "{{plugins}}/hostile/hostile.wasm"
inputs = {{ in = {{ from = "in/hostile.txt", format = "lines" }} }}
outputs = {{ out = {{ to = "out/hostile", format = "lines" }} }}
config = {{ mode = "{mode}", trigger = "trigger" }}
{more}
[[stage]]
name = "good"
component = "{{plugins}}/rust/identity.wasm"
inputs = {{ in = {{ from = "in/good.txt", format = "lines" }} }}
outputs = {{ out = {{ to = "out/good", format = "lines" }} }}

[checkpoint]
interval = "100 ms"

[limits]
call-time = "100 ms"
memory = "16 MiB"
"#
    ));
    lab.write("in/hostile.txt", lines(|at| if TRIGGERS.contains(&at) { "trigger\n".to_owned() } else { line(at) }));
    lab.write("in/good.txt", lines(line));
    lab
}

fn line(at: usize) -> String {
    format!("line {at}\n")
}

fn lines(line: impl Fn(usize) -> String) -> String {
    (0..LINES).map(line).collect()
}

/// What a folder of one task holds, in order.
fn content(lab: &Lab, folder: &str) -> String {
    let bytes: Vec<u8> = output::by_task(&lab.path(folder)).into_values().flatten().collect();
    String::from_utf8(bytes).unwrap()
}

/// Demands that all is there, but for the triggers.
#[track_caller]
fn exact_but_for_triggers(lab: &Lab) {
    output::complete(&lab.path("out/hostile"));
    assert!(
        content(lab, "out/hostile") == lines(|at| if TRIGGERS.contains(&at) { String::new() } else { line(at) }),
        "the rest is not exact"
    );
    neighbour(lab);
}

#[track_caller]
fn neighbour(lab: &Lab) {
    output::complete(&lab.path("out/good"));
    assert!(content(lab, "out/good") == lines(line), "the neighbour was disturbed");
}

#[test]
fn under_skip_a_bad_record_costs_itself_only() {
    for mode in DEEDS {
        let lab = lab(mode, "on-error = \"skip\"");
        let ended = lab.run(&[]);
        println!("{mode}: exit {:?} after {:?}, {} MiB", ended.code, ended.elapsed, ended.peak_kib / 1024);
        let ended = ended.code(0);
        assert!(ended.peak_kib < 700 * 1024, "{mode}: {} KiB", ended.peak_kib);
        let told = ended.stderr.lines().filter(|line| line.contains("skipped: the record at byte ")).count();
        assert!(
            told >= 3 && ended.stderr.contains("byte 0 of hostile.txt"),
            "{mode}: nobody is told of what was left out:\n{}",
            ended.stderr
        );
        exact_but_for_triggers(&lab);
    }
}

/// A line of which there are many: one of fifty.
fn word(at: usize) -> String {
    format!("word {}\n", at % 50)
}

/// Words with triggers among them, and each word with how often it has come so far, but for the triggers: what a task that counts says of them.
fn words_and_totals(triggers: &[usize]) -> (String, String) {
    let mut totals = [0; 50];
    let mut count = |at: usize| {
        totals[at % 50] += 1;
        format!("{} {}\n", word(at).trim_end(), totals[at % 50])
    };
    let expected = (0..LINES).filter(|at| !triggers.contains(at)).map(&mut count).collect();
    (lines(|at| if triggers.contains(&at) { "trigger\n".to_owned() } else { word(at) }), expected)
}

/// Modes of a task that remembers what it has counted, and fails at each trigger.
const FORGETFUL: [&str; 3] = ["cache-poison", "cache-trap", "cache-dead-letter"];

#[test]
fn what_a_task_remembers_is_never_ahead_of_what_was_kept() {
    let (words, expected) = words_and_totals(&TRIGGERS);
    for mode in FORGETFUL {
        let lab = lab(mode, "on-error = \"skip\"");
        lab.write("in/hostile.txt", &words);
        lab.run(&[]).code(0).says("skipped");
        assert!(content(&lab, "out/hostile") == expected, "{mode}: totals are not those of a plain count");
        neighbour(&lab);
    }
}

#[test]
fn a_job_that_stopped_at_a_record_goes_on_without_it() {
    let (words, expected) = words_and_totals(&TRIGGERS[1..]);
    let before: String = expected.split_inclusive('\n').take(TRIGGERS[1]).collect();
    for mode in FORGETFUL {
        let lab = lab(mode, "on-error = \"stop\"");
        lab.write("in/hostile.txt", &words);
        lab.run(&[]).code(1).says("on-error = \"skip\"").says("of hostile.txt");
        assert!(content(&lab, "out/hostile") == before, "{mode}: a last checkpoint holds all that came before the record");
        lab.edit_job("on-error = \"stop\"", "on-error = \"skip\"\nretries = 0");
        lab.run(&[]).code(0);
        assert!(content(&lab, "out/hostile") == expected, "{mode}: totals are not those of a plain count");
        neighbour(&lab);
    }
}

#[test]
fn a_deep_guest_harms_nobody_whatever_stack_threads_have_by_default() {
    let lab = lab("stack-overflow", "on-error = \"skip\"");
    lab.shell("RUST_MIN_STACK=600000 exec \"$GREGOR\" run job.toml --data data").code(0);
    exact_but_for_triggers(&lab);
}

#[test]
fn a_tasks_own_rejection_leaves_a_record_out() {
    for on_error in ["skip", "stop"] {
        let lab = lab("reject", &format!("on-error = \"{on_error}\""));
        let ended = lab.run(&[]).code(0).says("skipped: the record at byte 0 of hostile.txt").says("the task rejects it: ");
        assert_eq!(ended.stderr.matches("skipped: ").count(), TRIGGERS.len(), "{}", ended.stderr);
        exact_but_for_triggers(&lab);
    }
}

#[test]
fn under_stop_a_bad_record_ends_the_job_at_its_last_checkpoint() {
    for mode in DEEDS {
        let lab = lab(mode, "");
        // Not the first line, so that there is something before the guilty record.
        lab.write("in/hostile.txt", lines(|at| if at == 1_500 { "trigger\n".to_owned() } else { line(at) }));
        stopped_at(&lab, &lab.run(&[]).code(1), mode);
        let before = content(&lab, "out/hostile");
        // Started again it stops at the same record, and what was confirmed stays.
        stopped_at(&lab, &lab.run(&[]).code(1), mode);
        assert!(content(&lab, "out/hostile").starts_with(&before), "{mode}: the second run took something back");
    }
}

/// Demands an error that names task, record and reason, and an output that holds nothing from the record on.
#[track_caller]
fn stopped_at(lab: &Lab, ended: &Ended, mode: &str) {
    let before: String = (0..1_500).map(line).collect();
    for fragment in ["hostile", &before.len().to_string()] {
        assert!(ended.stderr.contains(fragment), "{mode}: the error does not name {fragment:?}:\n{}", ended.stderr);
    }
    let found = content(lab, "out/hostile");
    assert!(before.starts_with(&found), "{mode}: {} bytes were written, {} come before the record", found.len(), before.len());
    assert!(!lab.path("out/hostile/_SUCCESS").exists() && !lab.path("out/good/_SUCCESS").exists(), "{mode}: it is not complete");
}

#[test]
fn an_error_that_may_pass_blames_no_record_and_holds_up_no_stop() {
    let lab = lab("error-retryable", "on-error = \"skip\"");
    let mut host = lab.start(&[]);
    clock::wait("the neighbour to be worked off", || (host.is_over() || content(&lab, "out/good") == lines(line)).then_some(()));
    host.signal(Signal::TERM);
    let ended = host.end().calm().code(143);
    println!("stopped after {:?}", ended.elapsed);
    assert!(!ended.stderr.contains("skipped="), "a record was blamed:\n{}", ended.stderr);
    // The first record is the one that waits.
    assert_eq!(content(&lab, "out/hostile"), "");
}

#[test]
fn what_a_guest_says_forges_no_line_and_talks_to_no_terminal() {
    for mode in ["error-forged", "panic-forged", "reject-forged"] {
        let ended = lab(mode, "").run(&[]).code(1).says("bad").says("hostile");
        assert!(!ended.stderr.contains('\u{1b}'), "{mode}: {:?}", ended.stderr);
        assert!(!ended.stderr.lines().any(|line| line.starts_with("finished")), "{mode}:\n{}", ended.stderr);
    }
}

#[test]
fn a_fatal_error_stops_the_job_even_under_skip() {
    lab("error-fatal", "on-error = \"skip\"").run(&[]).code(1).says("nothing helps").says("hostile");
}

#[test]
fn a_component_that_cannot_start_stops_its_job() {
    for (mode, reason) in
        [("init-emits", "init"), ("init-panics", "init gives up"), ("init-fails", "init blames a record"), ("init-loops", "init")]
    {
        let ended = lab(mode, "on-error = \"skip\"").run(&[]);
        println!("{mode}: {:?}", ended.elapsed);
        ended.code(1).says("hostile").says(reason);
    }
}

#[test]
fn a_failure_at_the_end_of_an_input_stops_the_job() {
    for (mode, reason) in [("end-panics", "the end is too much"), ("end-fails", "not at an end"), ("end-loops", "on-end")] {
        lab(mode, "on-error = \"skip\"").run(&[]).code(1).says("hostile").says(reason);
    }
}

#[test]
fn the_end_of_an_input_is_worked_off_in_pieces() {
    let lab = lab("end-emits", "on-error = \"skip\"");
    lab.edit_job("trigger = \"trigger\"", "trigger = \"no such line\"");
    lab.run(&[]).code(0);
    let expected = std::fs::read_to_string(lab.path("in/hostile.txt")).unwrap() + "0 1\n0 2\n0 3\n";
    assert!(content(&lab, "out/hostile") == expected, "{}", content(&lab, "out/hostile").len());
    neighbour(&lab);
}

#[test]
fn no_two_calls_draw_the_same_random_bytes_but_those_that_are_repeated() {
    let draw = || {
        let lab = lab("random", "");
        lab.edit_job("in/hostile.txt", "in/many");
        // Small files share a task, and each begins at its byte 0.
        (0..40).for_each(|at| lab.write(&format!("in/many/{at:02}"), line(at)));
        lab.run(&[]).code(0);
        let drawn = output::by_task(&lab.path("out/hostile"));
        assert!(drawn.len() < 40, "{} tasks: no two files share one", drawn.len());
        let text = String::from_utf8(drawn.into_values().flatten().collect()).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let place = |drawn: &[String], place: &str| drawn.iter().filter(|drawn| drawn.starts_with(place)).cloned().collect::<Vec<_>>();
    let drawn = draw();
    assert_eq!(place(&drawn, "batch ").len(), 40);
    assert!(place(&drawn, "end ").len() >= 3);
    let different: BTreeSet<&str> = drawn.iter().map(|drawn| drawn.split_once(' ').unwrap().1).collect();
    assert_eq!(different.len(), drawn.len(), "{drawn:#?}");
    assert_eq!(place(&draw(), "batch "), place(&drawn, "batch "), "the same job on the same input");
}

#[test]
fn memory_that_a_component_never_gives_back_is_taken_back() {
    let lab = lab("leak", "on-error = \"stop\"");
    // 40 batches with a leak of 8 MiB each, in an instance that may have 16: a batch ends at 1,024 records.
    lab.write("in/hostile.txt", (0..40_960).map(|at| if at % 1024 == 7 { "trigger\n".to_owned() } else { line(at) }).collect::<String>());
    lab.run(&[]).code(0);
    let expected: String = (0..40_960).filter(|at| at % 1024 != 7).map(line).collect();
    assert!(content(&lab, "out/hostile") == expected, "the rest is not exact");
}

#[test]
fn floods_of_logs_and_metrics_are_bounded_and_harmless() {
    for mode in ["log-flood", "stderr-flood", "metric-flood", "store-flood"] {
        let lab = lab(mode, "on-error = \"skip\"");
        let ended = lab.run(&[]).code(0);
        println!("{mode}: {:?}, {} bytes of log", ended.elapsed, ended.stderr.len());
        assert!(ended.stderr.len() < 4_000_000, "{mode}: {} bytes of log", ended.stderr.len());
        exact_but_for_triggers(&lab);
    }
}

#[test]
fn a_record_over_the_limit_follows_the_jobs_policy() {
    let long = "x".repeat(2_000);
    let text = format!("one\n{long}\ntwo\n{long}\r\nthree\n{long}");
    let job = |policy: &str| jobs::lines("rust/identity", &format!("on-error = \"{policy}\"\nlimits = {{ record = \"1 KiB\" }}"));
    let lab = Lab::with_job(&job("skip"));
    lab.write("in/a.txt", &text);
    lab.run(&[]).code(0);
    assert_eq!(content(&lab, "out"), "one\ntwo\nthree\n");

    let lab = Lab::with_job(&job("stop"));
    lab.write("in/a.txt", &text);
    lab.run(&[]).code(1).says("raise limits.record").says("byte 4 of a.txt").says("2000");
    assert!("one\n".starts_with(&content(&lab, "out")), "{}", content(&lab, "out"));
    // Limits may change: with a higher one the job goes on, and ends.
    lab.edit_job("1 KiB", "1 MiB");
    lab.run(&[]).code(0);
    assert_eq!(content(&lab, "out"), format!("one\n{long}\ntwo\n{long}\nthree\n{long}\n"));
}
