//! `gregor checkpoint verify` on what real jobs leave: all is well after a finished job and after kills; any byte that was altered, cut, deleted or
//! swapped is found and named. Refuses to look at what is not reachable: nobody needs it, and it may be anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rand::Rng;
use rand::rngs::StdRng;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::host::Ended;
use crate::harness::lab::{Lab, remove};
use crate::harness::ledger::{Ledger, RECORDS, SHORT_CHAINS};
use crate::harness::{clock, corpus, jobs, output, seed};

/// Verifies a job.
pub(crate) fn verify(lab: &Lab) -> Ended {
    lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data", "--output", "json"])
}

/// Demands that all is well; answers how many objects were read.
#[track_caller]
pub(crate) fn well(lab: &Lab) -> u64 {
    let ended = verify(lab);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
    assert_eq!((&told["ok"], &told["errors"]), (&Value::from(true), &Value::from(Vec::<Value>::new())), "{told}");
    assert!(told["bytes"].as_u64().unwrap() > 0, "{told}");
    told["objects"].as_u64().unwrap()
}

/// What it says in words.
fn words(lab: &Lab, code: i32) -> String {
    lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]).code(code).stdout
}

/// The objects of the archive, with their bytes, by key. A process that was killed may have left the beginning of one under a name with `#`, which is
/// no key.
pub(crate) fn objects(lab: &Lab) -> BTreeMap<String, Vec<u8>> {
    let folder = lab.path("data/archive");
    files(&folder)
        .into_iter()
        .filter(|file| !file.to_string_lossy().contains('#'))
        .map(|file| (file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned(), fs::read(&file).unwrap()))
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// All that a verification must leave as it is: archive, coordination, local stores, output.
fn content(lab: &Lab) -> BTreeMap<PathBuf, Vec<u8>> {
    let folders = ["data/archive", "data/coordination", "data/state", "out"];
    folders.iter().flat_map(|folder| files(&lab.path(folder))).map(|file| (file.clone(), fs::read(&file).unwrap())).collect()
}

/// A word count that was killed after its fourth checkpoint, at least, so that its state lies in deltas and its streams are not read to their ends.
fn killed(random: &mut StdRng) -> Lab {
    let lab = Lab::with_job(&(jobs::word_count("10 ms") + jobs::STEP_BY_STEP));
    lab.write("in/a.txt", corpus::plain(random, 32_000_000, 3_000));
    let mut host = lab.start(&[]);
    // So late that the counting tasks have state: they read words once those are confirmed.
    clock::wait("the twelfth checkpoint", || {
        assert!(!host.is_over(), "the job was over before it could be killed:\n{}", host.stderr());
        host.confirmed().filter(|&number| number >= 12)
    });
    host.signal(Signal::KILL);
    assert_eq!(host.end().signal, Some(9));
    lab
}

fn collect(lab: &Lab) {
    lab.gregor(&["checkpoint", "collect", "job.toml", "--data", "data", "--grace", "0 s"]).code(0);
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy)]
enum Harm {
    First,
    Last,
    Somewhere,
    Cut,
    Longer,
    Delete,
    Swap,
}

const HARMS: [Harm; 7] = [Harm::First, Harm::Last, Harm::Somewhere, Harm::Cut, Harm::Longer, Harm::Delete, Harm::Swap];

fn harm(random: &mut StdRng, bytes: &[u8], (harm, other): (Harm, &[u8])) -> Option<Vec<u8>> {
    let mut flipped = bytes.to_vec();
    let mut flip = |at: usize| {
        flipped[at] ^= 1 << random.random_range(0..8);
        Some(flipped.clone())
    };
    match harm {
        Harm::First => flip(0),
        Harm::Last => flip(bytes.len() - 1),
        Harm::Somewhere => {
            let at = random.random_range(0..bytes.len());
            flipped[at] ^= 1 << random.random_range(0..8);
            Some(flipped)
        }
        Harm::Cut => Some(bytes[..random.random_range(0..bytes.len())].to_vec()),
        Harm::Longer => Some([bytes, b"x"].concat()),
        Harm::Delete => None,
        Harm::Swap => Some(other.to_vec()),
    }
}

#[test]
fn all_that_a_finished_job_left_is_well_and_any_harm_to_it_is_found_by_name_and_changes_nothing() {
    let mut random = seed::random("all_that_a_finished_job_left_is_well_and_any_harm_to_it_is_found_by_name_and_changes_nothing");
    let lab = Lab::with_job(&jobs::word_count("50 ms"));
    lab.write("in/a.txt", corpus::plain(&mut random, 6_000_000, 3_000));
    lab.run(&[]).code(0);
    check_harms(&mut random, &lab, &["marker", "specs", "plans", "manifests", "parts"]);
}

#[test]
fn bases_merged_deltas_and_pages_are_verified_like_all_else() {
    let mut random = seed::random("bases_merged_deltas_and_pages_are_verified_like_all_else");
    let ledger = Ledger::new(&mut random, SHORT_CHAINS, RECORDS);
    // After the first full manifest.
    ledger.killed_at(66, &[]);
    assert!(ledger.kinds().merges > 0, "{:?}", ledger.kinds());
    check_harms(&mut random, &ledger.lab, &["marker", "specs", "plans", "manifests", "parts", "bases", "pages"]);
    ledger.lab.run(&[]).code(0);
    ledger.exact();
}

/// Collects, harms each object that is left, and demands that the harm is found; there are objects of these kinds.
fn check_harms(random: &mut StdRng, lab: &Lab, expected: &[&str]) {
    collect(lab);
    let objects = objects(lab);
    assert_eq!(well(lab), objects.len() as u64, "every object that is left, and no other");
    assert!(words(lab, 0).starts_with("ok objects="), "{}", words(lab, 0));
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    let before = content(lab);
    for (key, bytes) in &objects {
        let other = objects.values().find(|other| *other != bytes).unwrap();
        let chosen = HARMS[random.random_range(0..HARMS.len())];
        // Every way for the first of each kind, one way for the others.
        let of_kind = kinds.entry(key.split('/').nth(5).unwrap()).or_default();
        *of_kind += 1;
        for harm_of in if *of_kind == 1 { HARMS.to_vec() } else { vec![chosen] } {
            let path = lab.path("data/archive").join(key);
            match harm(random, bytes, (harm_of, other)) {
                Some(harmed) => fs::write(&path, harmed).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let harmed = content(lab);
            let ended = verify(lab);
            let after = content(lab);
            fs::write(&path, bytes).unwrap();
            assert_eq!(ended.code, Some(3), "{harm_of:?} of {key}:\n{}\n{}", ended.stdout, ended.stderr);
            let told: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
            let errors = told["errors"].as_array().unwrap();
            assert!(errors.iter().any(|error| error["object"] == key.as_str()), "{harm_of:?} of {key}: {told}");
            assert_eq!(told["ok"], false, "{told}");
            assert!(harmed == after, "{harm_of:?} of {key}: the verification changed something");
        }
    }
    println!("objects by kind: {kinds:?}");
    for kind in expected {
        assert!(kinds.contains_key(kind), "{kinds:?}");
    }
    assert!(content(lab) == before);
    well(lab);
}

#[test]
fn several_harms_are_found_at_once() {
    let mut random = seed::random("several_harms_are_found_at_once");
    let lab = killed(&mut random);
    collect(&lab);
    well(&lab);
    let all = objects(&lab);
    let parts: Vec<&String> = all.keys().filter(|key| key.contains("/parts/")).collect();
    let plan = all.keys().find(|key| key.contains("/plans/")).unwrap();
    assert!(parts.len() >= 2, "{parts:?}");
    let harmed = [parts[0], parts[parts.len() - 1], plan];
    for key in harmed {
        fs::write(lab.path("data/archive").join(key), b"something else").unwrap();
    }
    let told = words(&lab, 3);
    for key in harmed {
        assert!(told.contains(&format!("error: {key}: ")), "{key} is not named:\n{told}");
    }
}

#[test]
fn what_a_killed_job_left_is_well_with_its_local_store_and_without() {
    let mut random = seed::random("what_a_killed_job_left_is_well_with_its_local_store_and_without");
    let lab = killed(&mut random);
    well(&lab);
    // While the job runs nobody waits for the lock, and what it deletes meanwhile is no damage.
    let mut host = lab.start(&[]);
    clock::wait("the job to go on", || host.stderr().contains("resumed checkpoint=").then_some(()));
    let mut looked = 0;
    while !host.is_over() && looked < 5 {
        let told = words(&lab, 0);
        looked += 1;
        assert!(told.starts_with("ok objects="), "{told}");
        // Who has let go of its data folder, and is not quite over, has finished.
        let finished = lab.path("out/_SUCCESS").exists();
        assert!(finished || told.contains("note: the local store was not compared: "), "{told}");
    }
    host.end().code(0);
    well(&lab);
    remove(&lab.path("data/state"));
    well(&lab);
    output::complete(&lab.path("out"));
}

#[test]
fn a_local_store_that_differs_from_the_checkpoint_is_found_and_one_without_a_marker_is_a_cache() {
    let mut random = seed::random("a_local_store_that_differs_from_the_checkpoint_is_found_and_one_without_a_marker_is_a_cache");
    // Bases are due at once: a store is marked when one is taken.
    let lab = Lab::with_job(&(jobs::word_count("10 ms") + "threshold = 0.01\n" + jobs::STEP_BY_STEP));
    lab.write("in/a.txt", corpus::plain(&mut random, 40_000_000, 20_000));
    let folder = |task: u32| lab.path(&format!("data/state/wordcount/count/{task}"));
    let mut host = lab.start(&[]);
    clock::wait("the local stores of two tasks to be marked", || {
        assert!(!host.is_over(), "the job was over before it could be killed:\n{}", host.stderr());
        (0..2).all(|task| folder(task).join("marker").is_file()).then_some(())
    });
    host.signal(Signal::KILL);
    host.end();
    well(&lab);
    assert!(!words(&lab, 0).contains("note: the local store of task count/0 "), "{}", words(&lab, 0));
    // The state of another task under a marker of this one: whole, and wrong.
    let marker = fs::read(folder(0).join("marker")).unwrap();
    lab.replace("data/state/wordcount/count/0", "aside");
    lab.replace("data/state/wordcount/count/1", "data/state/wordcount/count/0");
    fs::write(folder(0).join("marker"), &marker).unwrap();
    let told = words(&lab, 3);
    assert!(told.contains("error: state/wordcount/count/0: store counts: key "), "{told}");
    fs::remove_file(folder(0).join("marker")).unwrap();
    let told = words(&lab, 0);
    assert!(told.contains("note: the local store of task count/0 has no usable marker"), "{told}");
    lab.replace("aside", "data/state/wordcount/count/0");
    well(&lab);
}

#[test]
fn an_output_file_that_is_confirmed_and_not_released_is_looked_for_under_both_names() {
    let lab = Lab::with_job(&jobs::lines("rust/identity", ""));
    lab.write("in/a.txt", "one\ntwo\n");
    let steps = lab.run(&["--count-steps"]).code(0).figure("steps=").unwrap();
    let mut lost = 0;
    for n in 1..=steps {
        lab.forget();
        lab.run(&["--fault", &format!("kill-after:{n}")]);
        let temporary = files(&lab.path("out")).into_iter().find(|path| path.extension().is_some_and(|ending| ending == "tmp"));
        let Some(temporary) = temporary else { continue };
        well(&lab);
        let bytes = fs::read(&temporary).unwrap();
        fs::write(&temporary, [&bytes[1..], b"x"].concat()).unwrap();
        let altered = words_of(&lab);
        fs::remove_file(&temporary).unwrap();
        let gone = words_of(&lab);
        assert_eq!(altered.0, gone.0, "after step {n}: {}\n{}", altered.1, gone.1);
        if gone.0 == Some(3) {
            assert!(gone.1.contains("part-lines-0-1: is confirmed and not released, and neither"), "{}", gone.1);
            assert!(altered.1.contains("its temporary file was altered"), "{}", altered.1);
            lost += 1;
        }
    }
    assert!(lost > 0, "no step lies between a confirmation and its releases");
}

fn words_of(lab: &Lab) -> (Option<i32>, String) {
    let ended = lab.gregor(&["checkpoint", "verify", "job.toml", "--data", "data"]);
    (ended.code, ended.stdout)
}

#[test]
fn a_job_that_never_began_is_refused() {
    let lab = Lab::with_job(&jobs::lines("rust/identity", ""));
    lab.write("in/a.txt", "one\n");
    let verify = ["checkpoint", "verify", "job.toml", "--data", "data"];
    lab.gregor(&verify).code(2).says("is not a data folder of gregor");
    lab.run(&[]).code(0);
    lab.edit_job("name = \"lines\"", "name = \"other\"");
    lab.gregor(&verify).code(2).says("job other never began in this data folder");
}
