//! Savepoints from the command line: they keep their checkpoints through retirement and collection until they are deleted. Refuses to go back to one
//! here.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::host::Ended;
use crate::harness::lab::Lab;
use crate::harness::{checkpoints, clock, corpus, jobs, output, seed};
use crate::verify::well;

/// A command on savepoints of the job.
fn savepoint(lab: &Lab, words: &[&str]) -> Ended {
    lab.gregor(&[&["savepoint"], words, &["job.toml", "--data", "data", "--output", "json"]].concat())
}

fn json(ended: Ended) -> Value {
    let told = ended.code(0).stdout;
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// Runs the job until it has confirmed so many checkpoints in all, and kills it.
fn kill_after(lab: &Lab, number: u64) {
    let mut host = lab.start(&[]);
    clock::wait("checkpoints", || {
        assert!(!host.is_over(), "the job was over before it could be killed:\n{}", host.stderr());
        host.confirmed().filter(|&confirmed| confirmed >= number)
    });
    host.signal(Signal::KILL);
    assert_eq!(host.end().signal, Some(9));
}

fn numbers(lab: &Lab) -> Vec<u64> {
    let confirmed = checkpoints::list(lab).into_iter().filter(|entry| entry["status"] == "confirmed");
    confirmed.map(|entry| entry["number"].as_u64().unwrap()).collect()
}

#[test]
fn a_savepoint_keeps_its_checkpoint_through_retirement_and_collection_until_it_is_deleted() {
    let mut random = seed::random("a_savepoint_keeps_its_checkpoint_through_retirement_and_collection_until_it_is_deleted");
    let lab = Lab::with_job(&(jobs::word_count("10 ms") + "keep = 1\n" + jobs::STEP_BY_STEP));
    let text = corpus::plain(&mut random, 30_000_000, 3_000);
    lab.write("in/a.txt", &text);
    kill_after(&lab, 3);
    let kept = *numbers(&lab).last().unwrap();
    let made = json(savepoint(&lab, &["create", "early"]));
    assert_eq!((&made["name"], &made["number"]), (&Value::from("early"), &Value::from(kept)), "{made}");
    let listed = checkpoints::list(&lab).into_iter().find(|entry| entry["number"] == kept).unwrap();
    assert_eq!((&made["manifest"], &made["sha256"]), (&listed["manifest"], &listed["sha256"]));
    assert!(made["created-at"].as_str().is_some_and(|text| text.ends_with('Z') && text > "2020"), "{made}");
    assert_eq!(json(savepoint(&lab, &["create", "early"])), made, "the same name for the same checkpoint again");
    lab.run(&[]).code(0);
    output::complete(&lab.path("out"));
    corpus::same(&output::counts(&lab.path("out")), &corpus::count([text.as_slice()]));
    assert!(!numbers(&lab).contains(&kept), "checkpoint {kept} has not retired: {:?}", numbers(&lab));
    lab.gregor(&["checkpoint", "collect", "job.toml", "--data", "data", "--grace", "0 s"]).code(0);
    let with = well(&lab);
    let show = ["checkpoint", "show", "job.toml", &kept.to_string(), "--data", "data", "--output", "json"];
    let manifest = lab.path("data/archive").join(made["manifest"].as_str().unwrap());
    assert!(manifest.is_file(), "what the savepoint names is gone");
    assert_eq!(json(lab.gregor(&show))["sha256"], made["sha256"], "a checkpoint that only a savepoint keeps is shown");
    assert_eq!(json(savepoint(&lab, &["list"])), Value::from(vec![made.clone()]));
    assert_eq!(json(savepoint(&lab, &["delete", "early"])), made);
    assert_eq!(json(savepoint(&lab, &["list"])), Value::from(Vec::<Value>::new()));
    lab.gregor(&["checkpoint", "collect", "job.toml", "--data", "data", "--grace", "0 s"]).code(0);
    let without = well(&lab);
    assert!(without < with, "nothing was kept for the savepoint: {with} objects, then {without}");
}

#[test]
fn a_savepoint_that_can_not_be_made_or_is_not_there_is_refused() {
    let mut random = seed::random("a_savepoint_that_can_not_be_made_or_is_not_there_is_refused");
    let lab = Lab::with_job(&(jobs::word_count("10 ms") + jobs::STEP_BY_STEP));
    lab.write("in/a.txt", corpus::plain(&mut random, 24_000_000, 3_000));
    savepoint(&lab, &["list"]).code(2).says("is not a data folder");
    kill_after(&lab, 4);
    let [.., before, last] = numbers(&lab)[..] else { panic!("too few checkpoints: {:?}", numbers(&lab)) };
    assert_eq!(json(savepoint(&lab, &["create", "a", "--checkpoint", &before.to_string()]))["number"], before);
    savepoint(&lab, &["create", "a"]).code(2).says("savepoint a is there already");
    savepoint(&lab, &["create", "b", "--checkpoint", &(last + 50).to_string()]).code(2).says("is no restore point");
    savepoint(&lab, &["create", "Not a name"]).code(2).says("a-z 0-9 _ -");
    savepoint(&lab, &["delete", "b"]).code(2).says("there is no savepoint b");
    savepoint(&lab, &["restore", "b"]).code(2).says("there is no savepoint b");
    let mut host = lab.start(&[]);
    clock::wait("the job to go on", || host.stderr().contains("resumed checkpoint=").then_some(()));
    assert!(!host.is_over(), "the job was over too soon:\n{}", host.stderr());
    savepoint(&lab, &["create", "c"]).code(2).says("stop it first");
    savepoint(&lab, &["delete", "a"]).code(2).says("stop it first");
    assert_eq!(json(savepoint(&lab, &["list"]))[0]["name"], "a", "looking takes no lock");
    host.signal(Signal::KILL);
    host.end();
    let text = lab.gregor(&["savepoint", "list", "job.toml", "--data", "data"]).code(0).stdout;
    assert!(text.starts_with("NAME  CHECKPOINT  CREATED AT") && text.lines().count() == 2, "{text}");
}
