//! Starts at rare moments: after a job's end without its input, between the last records and the closing manifest, with confirmed records that
//! nobody has read. Refuses to sample instants: each is brought about.

use std::fs;

use crate::harness::lab::Lab;
use crate::harness::{checkpoints, jobs, output};

#[test]
fn a_finished_job_whose_input_is_gone_still_says_that_it_is_finished() {
    let lab = Lab::with_job(&jobs::lines("rust/identity", ""));
    lab.write("in/a.txt", "one\ntwo\n");
    let steps = lab.run(&["--count-steps"]).code(0).figure("steps=").expect("--count-steps says steps=N");
    let before = output::files(&lab.path("out"));
    fs::remove_file(lab.path("in/a.txt")).unwrap();
    lab.run(&[]).code(0).says("already finished");
    assert_eq!(output::files(&lab.path("out")), before);
    // One that is not finished needs it.
    let lab = Lab::with_job(&jobs::lines("rust/identity", ""));
    lab.write("in/a.txt", "one\ntwo\n");
    assert_eq!(lab.run(&["--fault", &format!("kill-before:{}", steps * 3 / 5)]).signal, Some(9));
    fs::remove_file(lab.path("in/a.txt")).unwrap();
    lab.run(&[]).code(2).says("a.txt");
}

#[test]
fn a_job_that_died_before_its_closing_manifest_ends_at_the_next_start() {
    let lab = Lab::with_job(&jobs::lines("rust/identity", ""));
    lab.write("in/a.txt", "one\ntwo\n");
    let steps = lab.run(&["--count-steps"]).code(0).figure("steps=").expect("--count-steps says steps=N");
    let (mut before_success, mut before_closing) = (0, 0);
    for n in (1..=steps).rev() {
        lab.forget();
        assert_eq!(lab.run(&["--fault", &format!("kill-after:{n}")]).signal, Some(9), "step {n} of {steps}");
        let ends = checkpoints::shown(&lab).len();
        let succeeded = lab.path("out/_SUCCESS").exists();
        let ended = lab.run(&[]);
        assert_eq!(ended.code, Some(0), "after a kill at step {n} of {steps}:\n{}", ended.stderr);
        output::complete(&lab.path("out"));
        assert_eq!(output::records(&lab.path("out")), [b"one".as_slice(), b"two"]);
        match (ends, succeeded) {
            // The records are confirmed, and all that is left is to say so.
            (1, false) => before_success += 1,
            (1, true) => before_closing += 1,
            (0, _) => break,
            _ => {}
        }
    }
    assert!(
        before_success > 0 && before_closing > 0,
        "{before_success} kills before _SUCCESS, {before_closing} before the closing manifest"
    );
}

#[test]
fn confirmed_records_that_nobody_has_read_are_read_at_the_next_start() {
    // A call may emit one record: enough for whom passes lines on, too little for whom splits them.
    let lab = Lab::with_job(
        r#"name = "unread"

[[stage]]
name = "pass"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "in", format = "lines" } }
outputs = { out = { to = "stream://lines", partitions = 3 } }

[[stage]]
name = "split"
component = "{plugins}/rust/split.wasm"
inputs = { lines = { from = "stream://lines" } }
outputs = { words = { to = "out", format = "tsv" } }

[limits]
emit-records = 1
"#,
    );
    lab.write("in/a.txt", "a b\nc d\ne f\n");
    let failed = lab.run(&[]).code(1).says("split");
    assert!(failed.confirmed().is_some(), "nothing was confirmed:\n{}", failed.stderr);
    let shown = checkpoints::shown(&lab);
    // Tasks whose partitions are empty have ended.
    let read = shown.iter().flat_map(|shown| checkpoints::segments(shown, 1));
    assert!(read.clone().all(|header| header["inputs"][0]["records"] == 0), "something was read: {:?}", read.collect::<Vec<_>>());
    assert!(shown.iter().any(|shown| !checkpoints::segments(shown, 0).is_empty()), "nothing was written");
    // Limits may change.
    lab.edit_job("emit-records = 1", "emit-records = 1000");
    let ended = lab.run(&[]).code(0);
    assert_eq!(ended.resumed(), failed.confirmed());
    output::complete(&lab.path("out"));
    let words: Vec<Vec<u8>> = output::records(&lab.path("out")).iter().map(|record| record[..1].to_vec()).collect();
    assert_eq!(words, [b"a", b"b", b"c", b"d", b"e", b"f"]);
}
