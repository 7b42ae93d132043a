//! Processes that end when nobody asked them: killed at random instants, stopped by signals. What is on disk afterwards must be what an
//! undisturbed run leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rustix::process::Signal;

use crate::harness::disturbance::{Instant, Toll, any_instant, disturb, kill, until};
use crate::harness::jobs::STEP_BY_STEP;
use crate::harness::lab::Lab;
use crate::harness::{clock, corpus, jobs, output, seed};

/// Kills of one run, at least.
const KILLS: u32 = 36;
/// Bytes of the first corpus that is tried.
const CORPUS_BYTES: usize = 16_000_000;
/// The same for a job that is slow.
const SLOW_CORPUS_BYTES: usize = 2_000_000;
/// How long the undisturbed run of a job must last that is killed: a kill takes progress away, so there is enough of it.
const UNDISTURBED: Duration = Duration::from_millis(2_500);
/// The same for a job that is stopped: stops take nothing away.
const UNDISTURBED_STOPS: Duration = Duration::from_secs(5);

/// Both outputs of the job, sorted.
#[derive(PartialEq)]
struct Outputs {
    counts: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Outputs {
    fn of(lab: &Lab) -> Self {
        for folder in ["out/counts", "out/words"] {
            output::complete(&lab.path(folder));
        }
        Self { counts: output::records(&lab.path("out/counts")), words: output::records(&lab.path("out/words")) }
    }

    #[track_caller]
    fn same_as(&self, undisturbed: &Self) {
        let lengths = |outputs: &Self| (outputs.counts.len(), outputs.words.len());
        assert!(
            self == undisturbed,
            "(counts, words) of the disturbed run: {:?}, of the undisturbed one: {:?}",
            lengths(self),
            lengths(undisturbed)
        );
    }
}

/// A job that runs for at least so long, and what an undisturbed run of it leaves. `limits` is that table; `bytes` the text that is tried first.
fn undisturbed(random: &mut StdRng, least: Duration, (limits, mut bytes): (&str, usize)) -> (Lab, Outputs) {
    let lab = Lab::with_job(&(jobs::word_count_and_words("30 ms") + limits));
    loop {
        let text = corpus::plain(random, bytes, 20_000);
        lab.write("in/text.txt", &text);
        let ended = lab.run(&[]).code(0).unwarned(&[]);
        let outputs = Outputs::of(&lab);
        corpus::same(&output::counts(&lab.path("out/counts")), &corpus::count([text.as_slice()]));
        println!(
            "undisturbed: {bytes} bytes, {} words in {:?}; {}; {}",
            outputs.words.len(),
            ended.elapsed,
            ended.line("finished").unwrap_or_default(),
            ended.line("pause-p50").unwrap_or_default()
        );
        lab.forget();
        if ended.elapsed >= least {
            return (lab, outputs);
        }
        let more = least.as_millis().div_ceil(ended.elapsed.as_millis().max(1)).clamp(2, 8);
        bytes *= usize::try_from(more).unwrap();
    }
}

/// Instants at which the process listens to signals.
fn listening_instant(random: &mut StdRng, _: &Toll) -> Instant {
    Instant::Spoken(Duration::from_micros(random.random_range(0..300_000)))
}

#[test]
fn a_job_killed_at_random_instants_leaves_what_an_undisturbed_one_leaves() {
    let mut random = seed::random("a_job_killed_at_random_instants_leaves_what_an_undisturbed_one_leaves");
    let mut least = UNDISTURBED;
    // How much a run achieves between two kills depends on the machine: a job that was over too soon gets more to do.
    loop {
        let toll = killed(&mut random, least);
        if toll.disturbed >= 30 && toll.after_confirm >= 15 {
            break;
        }
        assert!(least < UNDISTURBED * 16, "however much there was to do, the job was over after {toll:?}");
        least *= 2;
    }
}

/// Kills a job at random instants until it is over, and compares what it leaves.
fn killed(random: &mut StdRng, least: Duration) -> Toll {
    let (lab, expected) = undisturbed(random, least, ("", CORPUS_BYTES));
    let (toll, ended) = disturb(&|| lab.start(&[]), (random, KILLS, any_instant), kill);
    println!("killed: {toll:?}; {}", ended.line("finished").unwrap_or_default());
    let ended = ended.code(0);
    assert!(ended.resumed().is_none_or(|from| from >= toll.confirmed), "{} < {}", ended.stderr, toll.confirmed);
    Outputs::of(&lab).same_as(&expected);
    toll
}

#[test]
fn a_job_stopped_by_signals_takes_a_last_checkpoint_and_goes_on() {
    let mut random = seed::random("a_job_stopped_by_signals_takes_a_last_checkpoint_and_goes_on");
    let (lab, expected) = undisturbed(&mut random, UNDISTURBED_STOPS, (STEP_BY_STEP, SLOW_CORPUS_BYTES));
    let mut stops = 0;
    let mut told: BTreeMap<i32, u32> = BTreeMap::new();
    let (toll, ended) = disturb(&|| lab.start(&[]), (&mut random, 8, listening_instant), |host| {
        stops += 1;
        let (signal, code) = if stops % 3 == 0 { (Signal::INT, 130) } else { (Signal::TERM, 143) };
        host.signal(signal);
        let ended = host.end();
        // It may be over before the signal comes.
        if let Some(found) = ended.code.filter(|&found| found != 0) {
            assert_eq!(found, code, "after {signal:?}:\n{}", ended.stderr);
            *told.entry(code).or_default() += 1;
            let last = ended.line("stopped").unwrap_or_default().to_owned();
            assert!(last.contains("checkpoint="), "does not say at which checkpoint it stopped:\n{}", ended.stderr);
        }
        ended
    });
    println!("stopped: {toll:?}, exit codes {told:?}; {}", ended.line("finished").unwrap_or_default());
    ended.code(0);
    assert!(told.get(&143).is_some_and(|&times| times >= 2) && told.get(&130).is_some_and(|&times| times >= 1), "{told:?}");
    Outputs::of(&lab).same_as(&expected);
}

#[test]
fn a_second_signal_ends_the_job_at_once_and_loses_nothing() {
    let mut random = seed::random("a_second_signal_ends_the_job_at_once_and_loses_nothing");
    let lab = Lab::with_job(&jobs::word_count("10 s"));
    let text = corpus::plain(&mut random, 20_000_000, 1_000);
    lab.write("in/text.txt", &text);
    let mut host = lab.start(&[]);
    until(&mut host, Instant::Spoken(Duration::from_millis(50)));
    host.signal(Signal::TERM);
    // Two signals of a kind that wait at the same time are one.
    clock::wait("the first signal to be heard", || (host.is_over() || host.stderr().contains("stopping")).then_some(()));
    host.signal(Signal::TERM);
    host.end().calm().code(143);
    lab.run(&[]).code(0);
    corpus::same(&output::counts(&lab.path("out")), &corpus::count([text.as_slice()]));
}

#[test]
fn killed_jobs_of_one_producer_a_partition_write_the_same_bytes_in_the_same_order() {
    let mut random = seed::random("killed_jobs_of_one_producer_a_partition_write_the_same_bytes_in_the_same_order");
    let lab = Lab::with_job(&jobs::lines("rust/identity", "checkpoint = { interval = \"20 ms\" }"));
    for name in ["a", "b", "c"] {
        lab.write(&format!("in/{name}.txt"), corpus::plain(&mut random, 12_000_000, 1_000_000));
    }
    let ended = lab.run(&[]).code(0);
    let expected = output::by_task(&lab.path("out"));
    lab.forget();
    println!("undisturbed: {:?}, {} tasks", ended.elapsed, expected.len());
    // It is soon over: so it is run, and killed, several times.
    let mut kills = 0;
    for round in 0..40 {
        let (toll, ended) = disturb(&|| lab.start(&[]), (&mut random, 15, any_instant), kill);
        ended.code(0);
        output::complete(&lab.path("out"));
        let found = output::by_task(&lab.path("out"));
        assert!(found == expected, "round {round}, {toll:?}: tasks {:?}, expected {:?}", found.keys(), expected.keys());
        kills += toll.disturbed;
        if kills >= 15 {
            println!("killed {kills} times in {round} rounds and one");
            return;
        }
        lab.forget();
    }
    panic!("only {kills} kills came in time");
}

#[test]
fn a_local_store_that_was_deleted_is_restored_from_the_archive() {
    let mut random = seed::random("a_local_store_that_was_deleted_is_restored_from_the_archive");
    let (lab, expected) = undisturbed(&mut random, UNDISTURBED, (STEP_BY_STEP, SLOW_CORPUS_BYTES));
    let (toll, ended) = disturb(&|| lab.start(&[]), (&mut random, 8, any_instant), |host| {
        let ended = kill(host);
        crate::harness::lab::remove(&lab.path("data/state"));
        ended
    });
    println!("killed, and the store deleted: {toll:?}");
    assert!(toll.disturbed >= 4 && toll.resumed >= 2, "too few went on without their store: {toll:?}");
    ended.code(0);
    Outputs::of(&lab).same_as(&expected);
}

#[test]
fn a_process_that_stands_still_for_a_while_blames_no_record() {
    let mut random = seed::random("a_process_that_stands_still_for_a_while_blames_no_record");
    // By the clock on the wall, a call may take 30 times its CPU time: 0.3 s, and each stop is longer.
    let more = "on-error = \"skip\"\nlimits = { call-time = \"10 ms\" }\ncheckpoint = { interval = \"20 ms\" }";
    let lab = Lab::with_job(&jobs::lines("rust/identity", more));
    let mut bytes = 60_000_000;
    let text = loop {
        let text = corpus::plain(&mut random, bytes, 1_000_000);
        lab.write("in/a.txt", &text);
        if stand_still(&lab, &mut random) >= 2 {
            break text;
        }
        assert!(bytes < 1_000_000_000, "however much there was to do, it was over before it stood still");
        bytes *= 2;
        lab.forget();
    };
    let mut expected: Vec<&[u8]> = text[..text.len() - 1].split(|&byte| byte == b'\n').collect();
    expected.sort_unstable();
    assert!(output::records(&lab.path("out")) == expected, "the output differs from the input");
}

/// Runs a job that stands still now and then; how often it did so and had something left to do.
fn stand_still(lab: &Lab, random: &mut StdRng) -> u32 {
    let mut host = lab.start(&[]);
    let mut stops = 0;
    while stops < 8 {
        until(&mut host, Instant::Started(Duration::from_micros(random.random_range(20_000..120_000))));
        host.signal(Signal::STOP);
        if host.is_over() {
            break;
        }
        until(&mut host, Instant::Started(Duration::from_millis(500)));
        host.signal(Signal::CONT);
        stops += 1;
    }
    let ended = host.end().calm().code(0);
    println!("stood still {stops} times; {}", ended.line("pause-p50").unwrap_or_default());
    assert!(!ended.stderr.contains("skipped="), "a record was blamed:\n{}", ended.stderr);
    stops
}
