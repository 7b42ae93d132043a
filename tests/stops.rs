//! Stops at bad moments: while a checkpoint is being made, inside a batch that fails, with every queue full. Refuses to look at the clock: what
//! was processed and what was confirmed is told in records.

use rustix::process::Signal;

use crate::harness::lab::Lab;
use crate::harness::{checkpoints, clock, jobs, output};

/// Records of one call.
const BATCH: u64 = 1_024;
/// Half of the first batch; what follows in it is bad.
const GOOD: u64 = 512;

/// Records of a job that is stopped several times: most of a second of work for one worker.
const STOPPED: u64 = 2_400_000;

#[test]
fn a_stop_takes_all_that_was_processed_into_its_last_checkpoint() {
    // A checkpoint is always being made when the signal comes, and work was done since its freeze. Nothing is written, so that no file that is
    // to be shown gives the host time to look twice.
    let more = "config = { mode = \"reject\", trigger = \"t\" }\ncheckpoint = { interval = \"1 ms\" }";
    let lab = Lab::with_job(&jobs::lines("hostile/hostile", more));
    lab.write("in/a.txt", "t\n".repeat(usize::try_from(STOPPED).unwrap()));
    let (mut confirmed, mut processed, mut stops) = (None, None, 0);
    loop {
        let mut host = lab.start(&["--workers", "1"]);
        if stops < 4 {
            clock::wait("a new checkpoint", || (host.is_over() || host.confirmed() > confirmed).then_some(()));
            host.signal(Signal::TERM);
        }
        let ended = host.end().calm();
        assert_eq!(ended.records("resumed "), processed, "processed before the stop, and confirmed by it:\n{}", ended.stderr);
        if ended.code == Some(0) {
            assert_eq!(ended.records("finished "), Some(STOPPED));
            break;
        }
        let ended = ended.code(143);
        confirmed = ended.confirmed();
        processed = ended.records("stopped ");
        assert!(processed.is_some(), "{}", ended.stderr);
        stops += 1;
    }
    assert!(stops >= 3, "only {stops} stops came in time");
    output::complete(&lab.path("out"));
}

/// A stage whose first batch is good in its first half, and worked off for minutes in its second.
fn failing(call_time: &str) -> String {
    format!(
        r#"name = "failing"

[[stage]]
name = "failing"
component = "{{plugins}}/hostile/hostile.wasm"
inputs = {{ in = {{ from = "in/bad.txt", format = "lines" }} }}
outputs = {{ out = {{ to = "out/failing", format = "lines" }} }}
config = {{ mode = "endless-loop", trigger = "trigger" }}
on-error = "skip"

[checkpoint]
interval = "20 ms"
grace = "24 h"
keep = 1000
stop-timeout = "24 h"

[limits]
call-time = "{call_time}"
"#
    )
}

/// The lines of that batch.
fn bad_lines() -> String {
    let good: String = (0..GOOD).map(|at| format!("line {at}\n")).collect();
    good + &(GOOD..BATCH).map(|_| "trigger\n").collect::<String>()
}

#[test]
fn a_stop_inside_a_failing_batch_keeps_what_comes_before_the_record_at_fault() {
    let lab = Lab::with_job(&failing("50 ms"));
    lab.write("in/bad.txt", bad_lines());
    let mut host = lab.start(&[]);
    // The first second of work: some calls, of which the failed ones are told at once.
    clock::wait("progress", || (host.is_over() || host.stderr().contains("checkpoint=")).then_some(()));
    host.signal(Signal::TERM);
    let ended = host.end().calm().code(143);
    let processed = ended.records("stopped ").expect("records of the last checkpoint");
    assert!((GOOD..BATCH).contains(&processed), "{processed} records were worked off:\n{}", ended.stderr);
    assert!(ended.confirmed().is_some(), "no last checkpoint was taken:\n{}", ended.stderr);
    // What was confirmed is all that was processed.
    let mut host = lab.start(&[]);
    clock::wait("where it goes on", || (host.is_over() || host.stderr().contains("resumed ")).then_some(()));
    host.signal(Signal::KILL);
    assert_eq!(host.end().records("resumed "), Some(processed));
}

#[test]
fn a_second_signal_ends_the_job_without_that_checkpoint() {
    let lab = Lab::with_job(&failing("200 ms").replace("on-error = \"skip\"", "on-error = \"skip\"\nretries = 0"));
    lab.write("in/bad.txt", bad_lines());
    // Between two calls the first signal alone has its checkpoint: then it is tried again.
    for _ in 0..5 {
        let mut host = lab.start(&[]);
        clock::wait("a first word", || (host.is_over() || !host.stderr().is_empty()).then_some(()));
        host.signal(Signal::TERM);
        // Two signals of a kind that wait at the same time are one.
        clock::wait("the signal to be heard", || (host.is_over() || host.stderr().contains("stopping")).then_some(()));
        host.signal(Signal::TERM);
        let ended = host.end().calm().code(143);
        // The first signal alone is followed by one that holds half of the batch, as the test above shows.
        if ended.confirmed().is_none() {
            return;
        }
        lab.forget();
    }
    panic!("a last checkpoint was taken after a second signal, five times");
}

#[test]
fn a_checkpoint_inside_a_failing_batch_holds_what_comes_before_the_record_at_fault() {
    // Beside it a stage that changes all the time, so that checkpoints are due.
    let neighbour = jobs::slow("").replace("name = \"slow\"\n", "[[stage]]\nname = \"slow\"\n").replace("checkpoint = {  }\n", "");
    let neighbour = neighbour.replace("\"in\",", "\"in/a.tsv\",").replace("\"out\",", "\"out/slow\",");
    let lab = Lab::with_job(&failing("20 ms").replace("[checkpoint]", &format!("{neighbour}\n[checkpoint]")));
    lab.write("in/bad.txt", bad_lines());
    lab.write("in/a.tsv", jobs::keys(400_000));
    let mut host = lab.start(&["--workers", "2"]);
    let records = clock::wait("a checkpoint of the failing task", || {
        assert!(!host.is_over(), "the job is over:\n{}", host.stderr());
        host.confirmed()?;
        let shown = checkpoints::shown(&lab);
        shown.iter().flat_map(|shown| checkpoints::segments(shown, 0)).find_map(|header| header["inputs"][0]["records"].as_u64())
    });
    assert!((GOOD..BATCH).contains(&records), "its first checkpoint holds {records} records, a batch has {BATCH}");
}

#[test]
fn a_job_that_fails_while_every_queue_is_full_ends() {
    let more = "config = { mode = \"endless-loop\", trigger = \"trigger\" }\nretries = 0\nlimits = { call-time = \"700 ms\" }";
    let lab = Lab::with_job(&jobs::lines("hostile/hostile", more));
    // The only worker stands at the first record, which is alone in its batch, until it fails; meanwhile the sources fill 16 queues of 2 MiB, in
    // which a line takes more than twice its bytes.
    let text = format!("{}\n{}", "z".repeat(300_000), "a line of some length\n".repeat(2_000_000));
    lab.write("in/a.txt", format!("trigger\n{text}"));
    let mut host = lab.start(&["--workers", "1"]);
    let mut read = 0;
    clock::wait("the end", || {
        read = host.bytes_read().max(read);
        host.is_over().then_some(())
    });
    host.end().calm().code(1).says("the record at byte 0 of a.txt");
    println!("{read} bytes were read ahead");
    assert!(read > 8_000_000, "{read} bytes fill no 16 queues");
}
