//! Going back: to a checkpoint, to a savepoint, twice, from the end, and with the process dying on the way. A job goes on from the state, the
//! positions and the streams of the old checkpoint: what it had put out until then and what it puts out afterwards are together what an
//! undisturbed job puts out; what lies between stays, and is told apart by the number in its name. Refuses to compare less than all of it.

use std::collections::BTreeMap;
use std::path::Path;

use rand::rngs::StdRng;

use crate::harness::lab::Lab;
use crate::harness::ledger::{Ledger, RECORDS, SHORT_CHAINS, register};
use crate::harness::{checkpoints, clock, corpus, jobs, output, seed};

/// As [`SHORT_CHAINS`], with restore points enough.
const KEPT: &str = "interval = \"1 ms\"\nthreshold = 0.06\nkeep = 100";

/// A return: from which checkpoint to which, and the number under which that begins anew.
#[derive(Debug, Clone, Copy)]
struct Return {
    to: u64,
    checkpoint: u64,
}

/// Takes a job back; `how` says where to, as a user does.
#[track_caller]
fn go_back(lab: &Lab, how: &[&str]) -> Return {
    let before = register(lab);
    let told = lab.gregor(&[how, &["job.toml", "--data", "data", "--output", "json"]].concat()).code(0).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("no {name}: {told}"));
    let returned = Return { to: number("to"), checkpoint: number("checkpoint") };
    let after = register(lab);
    assert_eq!(after.branch, before.branch.next());
    assert_eq!(after.latest.map(|latest| latest.number.0), Some(returned.checkpoint));
    assert!(returned.checkpoint > before.created.0 && returned.to < returned.checkpoint, "{returned:?}");
    returned
}

/// Whether a file of this checkpoint belongs to the line of history that these returns, in their order, left.
fn counts(number: u64, returns: &[Return]) -> bool {
    returns.iter().all(|back| number <= back.to || number > back.checkpoint)
}

/// The records of a folder that belong to the line of history, sorted.
fn records(folder: &Path, returns: &[Return]) -> Vec<Vec<u8>> {
    let files = output::files(folder).into_iter().filter(|(name, _)| counts(output::place(name).2, returns));
    let mut records: Vec<Vec<u8>> = files
        .flat_map(|(_, bytes)| bytes[..bytes.len() - 1].split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
        .collect();
    records.sort_unstable();
    records
}

/// Runs a ledger to its end, without its local stores, which are of another branch, and compares.
#[track_caller]
fn goes_on(ledger: &Ledger, returns: &[Return]) {
    let ended = ledger.lab.run(&["--log", "gregor_runtime=info"]).code(0);
    assert_eq!(ended.resumed(), returns.last().map(|back| back.checkpoint), "{}", ended.stderr);
    assert!(!ended.stderr.contains("that of the local store"), "a store of another branch was kept:\n{}", ended.stderr);
    output::complete(&ledger.lab.path("out"));
    ledger.same(&records(&ledger.lab.path("out"), returns));
    ledger.lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]).code(0);
}

fn restore(ledger: &Ledger, to: u64) -> Return {
    go_back(&ledger.lab, &["checkpoint", "restore", &to.to_string()])
}

/// The confirmed checkpoint nearest to a number.
fn confirmed_near(lab: &Lab, wanted: u64) -> u64 {
    let listed = checkpoints::list(lab).into_iter().filter(|entry| entry["status"] == "confirmed");
    let numbers = listed.map(|entry| entry["number"].as_u64().unwrap());
    numbers.min_by_key(|number| number.abs_diff(wanted)).expect("a confirmed checkpoint")
}

#[test]
fn a_job_taken_back_has_the_old_state_and_puts_out_again_what_came_since() {
    let mut random = seed::random("a_job_taken_back_has_the_old_state_and_puts_out_again_what_came_since");
    let ledger = Ledger::new(&mut random, KEPT, RECORDS / 2);
    ledger.killed_at(25, &[]);
    let before = output::files(&ledger.lab.path("out"));
    let back = restore(&ledger, confirmed_near(&ledger.lab, 10));
    goes_on(&ledger, &[back]);
    let after = output::files(&ledger.lab.path("out"));
    assert!(before.iter().all(|file| after.contains(file)), "what was put out before did not stay");
    assert!(
        before.iter().any(|(name, _)| !counts(output::place(name).2, &[back])),
        "nothing was put out since: the test has tested little"
    );
}

#[test]
fn a_job_can_be_taken_back_twice_and_further_the_second_time() {
    let mut random = seed::random("a_job_can_be_taken_back_twice_and_further_the_second_time");
    for between in [false, true] {
        let ledger = Ledger::new(&mut random, KEPT, RECORDS / 2);
        ledger.killed_at(20, &[]);
        let first = restore(&ledger, confirmed_near(&ledger.lab, 12));
        if between {
            ledger.killed_at(first.checkpoint + 4, &[]);
        }
        let second = restore(&ledger, confirmed_near(&ledger.lab, 6));
        goes_on(&ledger, &[first, second]);
    }
}

#[test]
fn a_job_taken_back_can_be_taken_forward_again() {
    let mut random = seed::random("a_job_taken_back_can_be_taken_forward_again");
    let ledger = Ledger::new(&mut random, KEPT, RECORDS / 2);
    ledger.killed_at(20, &[]);
    // What the first line of history had last is a restore point like any other.
    let last = confirmed_near(&ledger.lab, u64::MAX);
    let first = restore(&ledger, confirmed_near(&ledger.lab, 8));
    let forward = restore(&ledger, last);
    let ended = ledger.lab.run(&[]).code(0);
    assert_eq!(ended.resumed(), Some(forward.checkpoint), "{first:?}");
    output::complete(&ledger.lab.path("out"));
    ledger.same(&records(&ledger.lab.path("out"), &[forward]));
}

#[test]
fn a_savepoint_older_than_the_last_full_manifest_is_kept_and_gone_back_to() {
    let mut random = seed::random("a_savepoint_older_than_the_last_full_manifest_is_kept_and_gone_back_to");
    let ledger = Ledger::new(&mut random, &format!("{SHORT_CHAINS}\ncollect-grace = \"0 s\"\ncollect-rate = 100000"), RECORDS);
    ledger.killed_at(6, &[]);
    ledger.lab.gregor(&["savepoint", "create", "early", "job.toml", "--data", "data"]).code(0);
    ledger.killed_at(66, &[]);
    assert!(ledger.kinds().full > 0, "no full manifest was made");
    ledger.lab.gregor(&["checkpoint", "collect", "job.toml", "--data", "data", "--grace", "0 s"]).code(0);
    let back = go_back(&ledger.lab, &["savepoint", "restore", "early"]);
    goes_on(&ledger, &[back]);
}

#[test]
fn a_finished_job_can_be_taken_back() {
    let mut random = seed::random("a_finished_job_can_be_taken_back");
    let ledger = Ledger::new(&mut random, KEPT, RECORDS / 3);
    ledger.lab.run(&[]).code(0);
    ledger.exact();
    let back = restore(&ledger, confirmed_near(&ledger.lab, 5));
    goes_on(&ledger, &[back]);
    ledger.lab.run(&[]).code(0).says("already finished");
}

#[test]
fn a_finished_job_that_was_taken_back_is_complete_again_only_at_its_end() {
    let mut random = seed::random("a_finished_job_that_was_taken_back_is_complete_again_only_at_its_end");
    let ledger = Ledger::new(&mut random, KEPT, RECORDS / 3);
    let success = ledger.lab.path("out/_SUCCESS");
    ledger.lab.run(&[]).code(0);
    assert!(success.exists());
    let back = restore(&ledger, confirmed_near(&ledger.lab, 5));
    for above in [2, 4] {
        ledger.killed_at(back.checkpoint + above, &[]);
        assert!(!success.exists(), "the output says to be complete half-way");
    }
    ledger.lab.run(&[]).code(0);
    output::complete(&ledger.lab.path("out"));
    ledger.same(&records(&ledger.lab.path("out"), &[back]));
}

#[test]
fn what_is_no_restore_point_is_refused_and_nothing_happens() {
    let mut random = seed::random("what_is_no_restore_point_is_refused_and_nothing_happens");
    let ledger = Ledger::new(&mut random, SHORT_CHAINS, RECORDS / 3);
    ledger.killed_at(10, &[]);
    let before = ledger.register();
    for number in ["1", "1000", "0"] {
        ledger.lab.gregor(&["checkpoint", "restore", number, "job.toml", "--data", "data"]).code(2).says("no restore point");
    }
    ledger.lab.gregor(&["savepoint", "restore", "nowhere", "job.toml", "--data", "data"]).code(2).says("nowhere");
    assert_eq!((before.branch, before.latest), (ledger.register().branch, ledger.register().latest));
    ledger.lab.run(&[]).code(0);
    ledger.exact();
}

#[test]
fn a_job_that_could_not_go_on_from_there_is_not_taken_back() {
    let mut random = seed::random("a_job_that_could_not_go_on_from_there_is_not_taken_back");
    let ledger = Ledger::new(&mut random, KEPT, RECORDS / 3);
    ledger.killed_at(10, &[]);
    let lab = &ledger.lab;
    let to = confirmed_near(lab, 5).to_string();
    lab.gregor(&["savepoint", "create", "early", "job.toml", "--data", "data", "--checkpoint", &to]).code(0);
    let before = ledger.register();
    let refused = |what: &str, code: i32| {
        for (kind, which) in [("checkpoint", to.as_str()), ("savepoint", "early")] {
            lab.gregor(&[kind, "restore", which, "job.toml", "--data", "data"]).code(code).says(what);
            assert_eq!(ledger.register(), before, "{what}: something was written");
        }
    };
    let text = lab.job_text();
    for (from, changed, what) in [
        ("format = \"tsv\" } }\nconfig", "format = \"lines\" } }\nconfig", "outputs"),
        ("mode = \"ledger\"", "mode = \"put-get\"", "config"),
        ("to = \"out\"", "to = \"elsewhere\"", "outputs"),
    ] {
        lab.edit_job(from, changed);
        refused(what, 2);
        lab.write("job.toml", &text);
    }
    // An input that is not what it was.
    std::fs::rename(lab.path("in/a.tsv"), lab.path("a.tsv")).unwrap();
    refused("a.tsv", 2);
    std::fs::rename(lab.path("a.tsv"), lab.path("in/a.tsv")).unwrap();
    // A folder that is another's.
    let marker = std::fs::read(lab.path("out/._gregor")).unwrap();
    lab.write("out/._gregor", "no marker");
    refused("marker", 2);
    lab.write("out/._gregor", marker);
    let back = restore(&ledger, confirmed_near(lab, 5));
    goes_on(&ledger, &[back]);
}

#[test]
fn streams_and_their_readers_go_back_together() {
    let mut random = seed::random("streams_and_their_readers_go_back_together");
    let lab = Lab::with_job(&jobs::word_count_and_words("5 ms").replace("interval", "keep = 100\nthreshold = 0.01\ninterval"));
    let text = corpus::plain(&mut random, 30_000_000, 20_000);
    lab.write("in/a.txt", &text);
    let returned = far_enough(&lab, &mut random);
    lab.run(&[]).code(0);
    for folder in ["out/counts", "out/words"] {
        output::complete(&lab.path(folder));
    }
    let expected = corpus::count([text.as_slice()]);
    for (folder, counted) in [("out/counts", Counted::By), ("out/words", Counted::Not)] {
        corpus::same(&sums(&records(&lab.path(folder), &[returned]), counted), &expected);
    }
}

/// Whether records say how often a word came.
#[derive(Clone, Copy, PartialEq)]
enum Counted {
    By,
    Not,
}

/// How often each word came.
fn sums(records: &[Vec<u8>], counted: Counted) -> BTreeMap<Vec<u8>, u64> {
    let mut sums = BTreeMap::new();
    for record in records {
        let tab = record.iter().position(|&byte| byte == b'\t').expect("a word and a TAB");
        let times = if counted == Counted::By { std::str::from_utf8(&record[tab + 1..]).unwrap().parse().unwrap() } else { 1 };
        *sums.entry(record[..tab].to_vec()).or_insert(0) += times;
    }
    sums
}

/// Kills a job after some checkpoints and takes it back to one in the middle.
fn far_enough(lab: &Lab, random: &mut StdRng) -> Return {
    let mut host = lab.start(&[]);
    clock::wait("the sixth checkpoint", || {
        assert!(!host.is_over(), "it was over before:\n{}", host.stderr());
        host.confirmed().filter(|&number| number >= 6)
    });
    host.signal(rustix::process::Signal::KILL);
    host.end();
    let wanted = rand::Rng::random_range(random, 2..5);
    go_back(lab, &["checkpoint", "restore", &confirmed_near(lab, wanted).to_string()])
}

#[test]
fn a_return_that_is_broken_off_has_happened_or_has_not() {
    let mut random = seed::random("a_return_that_is_broken_off_has_happened_or_has_not");
    let ledger = Ledger::new(&mut random, KEPT, RECORDS / 10);
    ledger.killed_at(4, &[]);
    let to = confirmed_near(&ledger.lab, 2);
    for name in ["data", "out"] {
        ledger.lab.replace(name, &format!("then/{name}"));
    }
    let (mut before, mut after) = (0, 0);
    for fault in ["fail", "fail-after", "kill-before", "kill-after"] {
        for n in 1..100 {
            for name in ["data", "out"] {
                ledger.lab.replace(&format!("then/{name}"), name);
            }
            let old = ledger.register();
            let ended = ledger.lab.gregor(&[
                "checkpoint",
                "restore",
                &to.to_string(),
                "job.toml",
                "--data",
                "data",
                "--fault",
                &format!("{fault}:{n}"),
            ]);
            let told = format!("{fault}:{n}: exit {:?}, signal {:?}:\n{}", ended.code, ended.signal, ended.stderr);
            let new = ledger.register();
            let hit = ended.code != Some(0);
            assert!(!hit || matches!((ended.code, ended.signal), (Some(1), None) | (None, Some(9))), "{told}");
            let again = ledger.lab.run(&[]);
            assert_eq!(again.code, Some(0), "the run after {told}\n--- and then:\n{}", again.stderr);
            output::complete(&ledger.lab.path("out"));
            if new.branch == old.branch {
                assert!(hit && new.latest == old.latest, "{told}");
                ledger.exact();
                before += 1;
            } else {
                let checkpoint = new.latest.expect("a latest checkpoint").number.0;
                ledger.same(&records(&ledger.lab.path("out"), &[Return { to, checkpoint }]));
                after += 1;
            }
            if !hit {
                assert!(n > 5, "only {n} steps make no return");
                break;
            }
        }
    }
    println!("{before} broken off before, {after} after");
    assert!(before > 8 && after >= 4, "{before} broken off before, {after} after");
}
