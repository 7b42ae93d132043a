#![cfg(test)]
//! The stored formats of this crate, against files that were written once and are never written again. A test that fails here says that this
//! program no longer reads, or no longer writes, what is on people's disks: raise the version in the `Kind`, keep reading the old one, add a
//! fixture of the new one beside it, and leave these as they are.

use std::fmt::Debug;
use std::path::Path;

use gregor_coordination::local::data::{DATA, Version};
use gregor_model::digest::Digest;
use gregor_model::document::Kind;
use gregor_model::manifest::{ManifestRef, ObjectRef};
use gregor_model::names::{
    Attempt, Boot, Branch, CheckpointNumber, Generation, HostId, Incarnation, JobName, SavepointName, StreamName, Term,
};
use gregor_model::register::{CheckpointRecord, REGISTER, Register, SavepointRecord, Status, StreamRecord};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(fixture: &str, kind: Kind, expected: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(kind.decode::<T>(&bytes).as_ref(), Ok(expected), "{fixture} is read differently");
    assert_eq!(
        String::from_utf8(kind.encode(expected).unwrap()).unwrap(),
        String::from_utf8(bytes).unwrap(),
        "{fixture} is written differently"
    );
}

/// A document of an older version is read as the same thing.
fn check_old<T: DeserializeOwned + PartialEq + Debug>(fixture: &str, kind: Kind, expected: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(kind.decode::<T>(&bytes).as_ref(), Ok(expected), "{fixture} is read differently");
}

fn object(key: &str) -> ObjectRef {
    ObjectRef { key: key.to_owned(), sha256: Digest::of(key.as_bytes()) }
}

fn register() -> Register {
    let record = |number, created_at_ms, status, manifest: Option<&str>| CheckpointRecord {
        number: CheckpointNumber(number),
        created_at_ms,
        status,
        manifest: manifest.map(object),
    };
    Register {
        job: JobName::new("word-count_1").unwrap(),
        incarnation: Incarnation(0x0123_4567_89ab_cdef_0011_2233_4455_6677),
        branch: Branch(1),
        term: Term(3),
        generation: Generation(5),
        attempt: Attempt(4),
        boot: Boot(u128::MAX),
        spec: Some(object("spec")),
        streams: vec![StreamRecord {
            name: StreamName::new("words").unwrap(),
            incarnation: Incarnation(9),
            partitions: 8,
            ancestors: vec![],
        }],
        created: CheckpointNumber(9),
        latest: Some(ManifestRef { number: CheckpointNumber(7), object: object("manifests/7") }),
        checkpoints: vec![
            record(7, 1_795_255_200_000, Status::Confirmed, Some("manifests/7")),
            record(8, 1_795_255_210_000, Status::Aborted, None),
            record(9, 1_795_255_220_000, Status::Created, None),
        ],
        savepoints: vec![],
    }
}

/// What version 2 added.
fn with_savepoint() -> Register {
    let incarnation = Incarnation(10);
    let words = StreamRecord { name: StreamName::new("words").unwrap(), incarnation, partitions: 8, ancestors: vec![Incarnation(9)] };
    let savepoint = SavepointRecord {
        name: SavepointName::new("before-the-change").unwrap(),
        number: CheckpointNumber(3),
        created_at_ms: 1_795_255_215_000,
        manifest: object("manifests/3"),
    };
    Register { streams: vec![words], savepoints: vec![savepoint], ..register() }
}

#[test]
fn registers_of_version_2_are_read_and_written() {
    assert_eq!(with_savepoint().check(&register().job), Ok(()));
    check("register-v2", REGISTER, &with_savepoint());
}

#[test]
fn registers_of_version_1_are_read() {
    let fresh = Register {
        incarnation: Incarnation(1),
        branch: Branch(0),
        term: Term(1),
        generation: Generation(1),
        attempt: Attempt(1),
        boot: Boot(2),
        spec: None,
        streams: vec![],
        created: CheckpointNumber(0),
        latest: None,
        checkpoints: vec![],
        ..register()
    };
    check_old("register-v1", REGISTER, &register());
    check_old("register-new-v1", REGISTER, &fresh);
}

#[test]
fn version_files_of_version_1_are_read_and_written() {
    check("data-v1", DATA, &Version { host: HostId(0xfeed_0000_0000_0000_0000_0000_0000_beef) });
}
