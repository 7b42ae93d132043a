#![cfg(test)]
//! Registers, version files of `--data` and nodes of ZooKeeper against damage and lies. What was changed and not signed again is refused or says what
//! it said; what was signed again is refused with an error that names the file, or is a register that lives on: it is claimed, checkpoints are
//! made, named and gone back to, and it never becomes one that its own check refuses. Nothing panics.

#[path = "../../../tests/fuzz/fuzzer.rs"]
mod fuzzer;
/// The contents of nodes, which the crate keeps to itself.
#[path = "../src/zookeeper/nodes.rs"]
mod nodes;

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use gregor_coordination::local::data::{DATA, DataFolder, Version};
use gregor_coordination::local::read_register;
use gregor_model::digest::Digest;
use gregor_model::manifest::ObjectRef;
use gregor_model::names::{Boot, CheckpointNumber, HostId, Incarnation, JobName, SavepointName};
use gregor_model::recovery::{Archived, Deleted, check_coordination};
use gregor_model::register::{REGISTER, Register};
use gregor_model::start::Begin;
use serde::Serialize;
use serde::de::DeserializeOwned;

use fuzzer::{Fuzz, Outcome, files, mutate, peak_bytes};

const FIXTURES: &str = "host/coordination/tests/fixtures";

fn job() -> JobName {
    JobName::new("word-count_1").unwrap()
}

/// A folder as `<data>/coordination`, and where the job's register lies in it.
fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("default")).unwrap();
    let file = folder.path().join("default").join(job().as_str());
    (folder, file)
}

fn read(folder: &Path, file: &Path, input: &[u8]) -> Option<Register> {
    fs::write(file, input).unwrap();
    match read_register(folder, &job()) {
        Ok(register) => Some(register.expect("a file that is there is not taken for absent")),
        Err(error) => {
            assert!(error.to_string().contains(&file.display().to_string()), "{error}");
            None
        }
    }
}

fn registers() -> Vec<Vec<u8>> {
    files(FIXTURES, |name| name.starts_with("register-"))
}

#[test]
fn a_damaged_register_is_refused() {
    let ((folder, file), seeds) = (folder(), registers());
    let meant: Vec<Register> = seeds.iter().map(|seed| REGISTER.decode(seed).unwrap()).collect();
    Fuzz { format: "register-damaged", seeds: &seeds, rounds: 2_500 }.run(mutate::unsigned, |input| {
        let Some(register) = read(folder.path(), &file, input) else { return Outcome::Refused };
        assert!(meant.contains(&register), "damage is taken for another register");
        Outcome::Read
    });
}

#[test]
fn a_register_that_is_believed_lives_on() {
    let ((folder, file), seeds) = (folder(), registers());
    let (read, refused) = Fuzz { format: "register", seeds: &seeds, rounds: 8_000 }.run(mutate::signed, |input| {
        let Some(register) = read(folder.path(), &file, input) else { return Outcome::Refused };
        let written = REGISTER.encode(&register).unwrap();
        assert_eq!(REGISTER.decode::<Register>(&written).as_ref(), Ok(&register), "it is read differently when it was written again");
        live_on(register);
        Outcome::Read
    });
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused: the mutations miss the format");
}

/// A start and two checkpoints, one of which is gone back to. A move may be refused; what comes of it is a register.
fn live_on(register: Register) {
    let manifest = ObjectRef { key: "manifests/next".to_owned(), sha256: Digest::of(b"next") };
    let name = SavepointName::new("here").unwrap();
    for highest in [None, Some(CheckpointNumber(u64::MAX)), Some(register.created)] {
        let archived = Archived { incarnation: register.incarnation, highest, deleted: Deleted::No };
        assert_eq!(check_coordination(Some(&register), &[archived]).is_err(), highest > Some(register.created));
    }
    let mut next = register.claimed(Begin { boot: Boot(5), fresh: Incarnation(5), streams: Vec::new() });
    let well = |register: &Register, after: &str| {
        // The last tokens may be used up: then the register is refused before it is written, and nothing is lost.
        let tokens = [register.branch.0, register.term.0, register.generation.0, register.attempt.0, register.created.0];
        let ends = tokens.contains(&u64::MAX);
        assert!(register.check(&job()).is_ok() || ends, "after {after}: {:?}", register.check(&job()));
        !ends
    };
    if !well(&next, "a claim") {
        return;
    }
    if let Some(undecided) = next.undecided() {
        next.abort(undecided).unwrap();
        well(&next, "an abort");
    }
    for keep in [0, 1, u32::MAX] {
        let number = next.created.next();
        next.create(number, u64::MAX, keep).unwrap();
        if !well(&next, "a creation") {
            return;
        }
        next.go_back(number, manifest.clone(), Vec::new()).unwrap();
        let _ = next.save_point(&name, number, 0);
        let points = next.restore_points();
        assert!(points.windows(2).all(|pair| pair[0].number < pair[1].number) && next.restore_point(number).is_some());
        if !well(&next, "a confirmation") {
            return;
        }
    }
    let _ = next.set_spec(&manifest);
    next.delete_savepoint(&name).ok();
    well(&next, "all of it");
}

#[test]
fn a_version_file_is_refused_or_names_the_host() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    drop(DataFolder::open(&data, HostId(1)).unwrap());
    let seeds = files(FIXTURES, |name| name.starts_with("data-"));
    let try_all = |format: &str, mutate: fn(&mut mutate::Random, &[Vec<u8>]) -> Vec<u8>, signed: bool| {
        let meant: Version = DATA.decode(&seeds[0]).unwrap();
        Fuzz { format, seeds: &seeds, rounds: 1_500 }.run(mutate, |input| {
            fs::write(data.join("version"), input).unwrap();
            match DataFolder::look(&data) {
                Ok(folder) => {
                    assert!(signed || folder.host() == meant.host, "damage is taken for another host");
                    Outcome::Read
                }
                Err(error) => {
                    assert!(error.to_string().contains("version"), "{error}");
                    assert_eq!(fs::read(data.join("version")).unwrap(), input, "what can't be read was touched");
                    Outcome::Refused
                }
            }
        })
    };
    try_all("data-damaged", mutate::unsigned, false);
    let (read, refused) = try_all("data", mutate::signed, true);
    assert!(read > 10 && refused > 10, "{read} read, {refused} refused: the mutations miss the format");
}

/// Tries a node: what it holds is read as it is written, or refused.
fn node<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str) {
    let text = String::from_utf8(files(FIXTURES, |file| file == "znodes-v1").remove(0)).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(' ')).filter(|(node, _)| node.starts_with(name));
    let seeds: Vec<Vec<u8>> = lines.map(|(_, content)| content.as_bytes().to_vec()).collect();
    let format = format!("znode-{name}");
    let (_, refused) = Fuzz { format: &format, seeds: &seeds, rounds: 1_500 }.run(mutate::json, |input| match nodes::decode::<T>(input) {
        Ok(value) => {
            if let Ok(written) = nodes::encode(&value) {
                assert_eq!(nodes::decode::<T>(&written).as_ref(), Ok(&value), "it is read differently when it was written again");
            }
            Outcome::Read
        }
        Err(problem) => {
            assert!(["can't be read: ", "has version "].iter().any(|begin| problem.starts_with(begin)), "{problem}");
            Outcome::Refused
        }
    });
    assert!(refused > 100, "only {refused} refused: the mutations miss the format");
}

#[test]
fn every_node_is_read_as_it_is_written_or_refused() {
    node::<nodes::Layout>("version");
    node::<nodes::ClusterNode>("cluster-id");
    node::<nodes::HostNode>("hosts");
    node::<nodes::CandidateNode>("election");
    node::<nodes::GenerationNode>("generation");
    node::<nodes::SpecNode>("spec");
    node::<nodes::CheckpointNode>("checkpoints");
    node::<nodes::LatestNode>("latest");
    node::<nodes::SavepointNode>("savepoints");
}

#[test]
fn a_register_that_claims_to_be_long_takes_no_room() {
    let (folder, file) = folder();
    let before = peak_bytes();
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    assert!(read_register(folder.path(), &job()).is_err());
    let taken = peak_bytes() - before;
    assert!(taken < 1 << 30, "a register of a terabyte made the reader reserve {taken} bytes");
}
