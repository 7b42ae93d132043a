//! What tasks say, in files below the data folder: prints, panics, exceptions and traps with the functions that they came from, bounded in rate and
//! size; and a disk that takes none of it, which costs lines and nothing else.

use std::fs;

use crate::harness::jobs;
use crate::harness::lab::Lab;

/// A job with the hostile component in a mode, at each line "trigger".
fn lab(mode: &str) -> Lab {
    let job = jobs::lines("hostile/hostile", &format!("on-error = \"skip\"\nconfig = {{ mode = \"{mode}\", trigger = \"trigger\" }}\n"));
    let lab = Lab::with_job(&job);
    lab.write("in/text.txt", "one\ntrigger\nthree\n");
    lab
}

/// The log of the job's one stage, a line each, without the times.
fn log(lab: &Lab) -> Vec<String> {
    let text = fs::read_to_string(lab.path("data/logs/lines/lines.log")).unwrap();
    let said = text.lines().map(|line| {
        let (time, said) = line.split_once(' ').unwrap_or_else(|| panic!("no time in {line:?}"));
        assert!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{line}");
        said.to_owned()
    });
    said.collect()
}

/// Demands a line with all of these, in the file and, without its time, on stderr.
#[track_caller]
fn says(log: &[String], (stderr, fragments): (&str, &[&str])) {
    let has_all = |line: &str| fragments.iter().all(|fragment| line.contains(fragment));
    assert!(log.iter().any(|line| has_all(line)), "no line has all of {fragments:?}:\n{}", log.join("\n"));
    assert!(stderr.lines().any(has_all), "no line on stderr has all of {fragments:?}:\n{stderr}");
}

#[test]
fn a_panic_stands_in_the_log_with_its_words_its_trap_and_the_functions_it_came_from() {
    let lab = lab("panic");
    let ended = lab.run(&[]).code(0);
    let log = log(&lab);
    says(&log, (&ended.stderr, &["level=warn", "task=lines/0", "the hostile component panics on purpose", "stream=\"stderr\""]));
    says(&log, (&ended.stderr, &["level=error", "task=lines/0", "process trapped: ", "trace=\"", "hostile::deeds::at_record"]));
    says(&log, (&ended.stderr, &["level=warn", "skipped: the record at byte 4"]));
}

#[test]
fn a_deep_recursion_is_told_with_its_innermost_functions_only() {
    let lab = lab("stack-overflow");
    let ended = lab.run(&[]).code(0);
    says(&log(&lab), (&ended.stderr, &["call stack exhausted", "hostile::deeds::deep < ", " < …\""]));
    assert!(log(&lab).iter().all(|line| line.len() < 8_192), "a line without end");
}

#[test]
fn what_a_task_prints_is_told_by_its_stream_and_can_not_be_forged() {
    let lab = lab("ambient");
    let ended = lab.run(&[]).code(0);
    says(&log(&lab), (&ended.stderr, &["level=info", "to stdout", "stream=\"stdout\""]));
    says(&log(&lab), (&ended.stderr, &["level=warn", "to stderr", "stream=\"stderr\""]));
    let lab = self::lab("panic-forged");
    lab.run(&[]).code(0);
    assert!(log(&lab).iter().all(|line| line.starts_with("level=") && !line.contains('\u{1b}')), "{:#?}", log(&lab));
}

#[test]
fn an_exception_in_javascript_stands_in_the_log_with_its_stack() {
    let ports = r#"outputs = { out = { to = "out", format = "tsv" }, other = { to = "other", format = "tsv" } }"#;
    let job = jobs::lines("hostile/checks", "on-error = \"skip\"\nconfig = { mode = \"typo\" }\n");
    let lab = Lab::with_job(&job.replace(r#"outputs = { out = { to = "out", format = "lines" } }"#, ports));
    lab.write("in/text.txt", "one\n");
    let ended = lab.run(&[]).code(0);
    says(&log(&lab), (&ended.stderr, &["level=error", "TypeError: cannot read property 'more' of undefined", "checks.js:"]));
}

#[test]
fn a_flood_is_bounded_in_the_file_too_and_says_what_is_missing() {
    let lab = lab("log-flood");
    lab.run(&[]).code(0);
    let log = log(&lab);
    let kept = log.iter().filter(|line| line.ends_with(" flood")).count();
    let dropped = log
        .iter()
        .filter_map(|line| line.split_once(" log lines were dropped: over 100 a second")?.0.rsplit(' ').next()?.parse::<usize>().ok());
    assert!(kept < 5_000, "{kept} lines were kept");
    assert_eq!(kept + dropped.sum::<usize>(), 10_000, "{log:#?}");
}

#[test]
fn two_runs_write_one_after_the_other() {
    let lab = lab("telemetry");
    lab.run(&[]).code(0);
    let first = log(&lab);
    lab.forget();
    lab.run(&[]).code(0);
    assert_eq!(log(&lab), [first.clone(), first].concat());
}

#[test]
fn a_folder_that_can_not_be_written_costs_lines_and_nothing_else() {
    let lab = lab("telemetry");
    lab.run(&[]).code(0);
    lab.forget();
    crate::harness::lab::remove(&lab.path("data/logs"));
    lab.write("data/logs", "a file is in the way");
    let ended = lab.run(&[]).code(0).says("task=lines/0 level=warn a line");
    assert_eq!(ended.stderr.matches("log lines of tasks are dropped").count(), 1, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("2 log lines of tasks are missing").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_disk_that_is_full_costs_lines_and_nothing_else() {
    let lab = lab("telemetry");
    // Of each batch of 1,024 records a line of 4 KiB.
    lab.write("in/text.txt", (0..80 * 1024).map(|at| format!("{at}\n")).collect::<String>());
    // Every file of the process may have 128 KiB; a write beyond fails, as on a full disk.
    let ended = lab.shell("{ trap '' XFSZ; ulimit -f 256; \"$GREGOR\" run job.toml --data data; echo code=$?; } 2>&1 | cat >&2");
    let ended = ended.says("code=0").says("finished checkpoint=").says("log lines of tasks are dropped, since");
    assert!(ended.stderr.contains("log lines of tasks are missing in"), "{}", ended.stderr);
    let bytes = fs::metadata(lab.path("data/logs/lines/lines.log")).unwrap().len();
    assert!(bytes <= 128 * 1024, "{bytes} bytes");
}
