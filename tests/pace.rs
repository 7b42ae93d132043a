//! When checkpoints are made, and who waits for whom: intervals, readers that lag, sources that run ahead. Refuses to measure: what is demanded
//! holds on any machine, and what a slow one does less often gets more to do.

use crate::harness::checkpoints::{self, created_ms};
use crate::harness::lab::Lab;
use crate::harness::{clock, jobs, output};

/// An interval far below the second after which the host looks up by itself.
const INTERVAL_MS: u64 = 30;
/// Between two checkpoints of that interval, in the median: half of that second.
const GAP_MS_MAX: u64 = 500;
/// Checkpoints from which a median is taken.
const CHECKPOINTS: usize = 6;
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3600 * 1000;

#[test]
fn an_interval_below_a_second_is_kept() {
    let lab = Lab::with_job(&jobs::slow(&format!("interval = \"{INTERVAL_MS} ms\", keep = 1000")));
    let mut records = 280_000;
    let created = loop {
        lab.forget();
        lab.write("in/a.tsv", jobs::keys(records));
        lab.run(&[]).code(0);
        let mut created: Vec<u64> = checkpoints::list(&lab).iter().map(created_ms).collect();
        // The last two close the job and wait for nothing.
        created.truncate(created.len().saturating_sub(2));
        if created.len() >= CHECKPOINTS {
            break created;
        }
        assert!(records < 3_000_000, "only {} checkpoints in {records} records", created.len());
        records *= 2;
    };
    let mut gaps: Vec<u64> = created.windows(2).map(|pair| (pair[1] + DAY_MS - pair[0]) % DAY_MS).collect();
    gaps.sort_unstable();
    println!("{records} records, milliseconds between two checkpoints: {gaps:?}");
    // One less, since times are cut to milliseconds.
    assert!(gaps[0] + 1 >= INTERVAL_MS, "checkpoints came before their interval was over: {gaps:?}");
    assert!(gaps[gaps.len() / 2] < GAP_MS_MAX, "checkpoints are far apart: {gaps:?}");
}

#[test]
fn a_task_with_a_store_freezes_again_after_its_confirmed_state_was_applied() {
    let lab = Lab::with_job(&jobs::slow("interval = \"1 ms\", keep = 1000"));
    lab.write("in/a.tsv", jobs::keys(280_000));
    lab.run(&[]).code(0);
    output::complete(&lab.path("out"));
    let changed = |header: &&serde_json::Value| header["delta"].as_array().is_some_and(|stores| !stores.is_empty());
    let deltas = checkpoints::shown(&lab).iter().filter(|shown| checkpoints::segments(shown, 0).iter().any(&changed)).count();
    assert!(deltas >= 3, "only {deltas} checkpoints hold state of the task");
}

/// A record that the reader does not survive: it is worked off slowly, and nothing is written for it.
const HEAVY: usize = 1_000;

#[test]
fn writers_that_are_held_back_go_on_once_their_reader_has_caught_up() {
    // Nothing but the lag can make a checkpoint due while the reader works: no interval, no output of its own, no end.
    let heavy = "x".repeat(HEAVY);
    let lab = Lab::with_job(&format!(
        r#"name = "lag"

[[stage]]
name = "writer"
component = "{{plugins}}/rust/identity.wasm"
inputs = {{ in = {{ from = "in", format = "lines" }} }}
outputs = {{ out = {{ to = "stream://s", partitions = 1 }} }}

[[stage]]
name = "reader"
component = "{{plugins}}/hostile/hostile.wasm"
inputs = {{ in = {{ from = "stream://s" }} }}
outputs = {{ out = {{ to = "out", format = "lines" }} }}
config = {{ mode = "trap", trigger = "{heavy}" }}
on-error = "skip"
retries = 0

[checkpoint]
interval = "24 h"
keep = 1000

[limits]
unpublished-bytes = "64 KiB"
"#
    ));
    // Four partitions, so the reader may lag behind by a mebibyte: a quarter of what there is.
    lab.write("in/a.txt", format!("{heavy}\n").repeat(4_000));
    lab.run(&[]).code(0).says("skipped=4000");
    output::complete(&lab.path("out"));
    let shown = checkpoints::shown(&lab);
    let open = |header: &serde_json::Value| header["inputs"][0]["on-end"] == "open";
    let writes = |shown: &serde_json::Value| !checkpoints::segments(shown, 0).is_empty();
    let last_write = shown.iter().rposition(writes).expect("a checkpoint of the writers");
    let held = shown[..last_write].iter().filter(|shown| !writes(shown) && checkpoints::segments(shown, 1).into_iter().any(open)).count();
    assert!(held > 0, "no checkpoint was made while writers were held back: nothing was tested");
}

/// Bytes that 16 source threads' queues may have read before they rest, with what is read to start a process: the queues are bounded to 2 MiB
/// each, and a record that is over the limit counts for no less than the 1,024 bytes that it is longer than.
const READ_MAX: u64 = 70_000_000;

#[test]
fn records_over_the_limit_fill_the_queue_of_an_input_like_any_others() {
    let more = "config = { mode = \"endless-loop\", trigger = \"trigger\" }\nlimits = { record = \"1 KiB\", call-time = \"1 h\" }";
    let lab = Lab::with_job(&jobs::lines("hostile/hostile", more));
    // The only worker stands still at the first line that it sees, and the sources read ahead.
    let long = format!("trigger\n{}", format!("{}\n", "y".repeat(1_024)).repeat(1_000));
    lab.write("in/a.txt", long.repeat(100));
    let mut host = lab.start(&["--workers", "1"]);
    let (mut last, mut looks) = (0, 0);
    let read = clock::wait("the sources to rest", || {
        assert!(!host.is_over(), "the job is over:\n{}", host.stderr());
        let now = host.bytes_read();
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        // Before the first queue is full, the process may rest for reasons of its own.
        (now > 10_000_000 && looks >= 100).then_some(now)
    });
    println!("{read} bytes were read of 102,500,800");
    assert!(read < READ_MAX, "{read} bytes were read ahead");
}
