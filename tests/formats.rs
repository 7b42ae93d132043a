//! Stored formats: a file of each kind and version that a released gregor may have written, kept in `fixtures/`. Today's code reads them, and
//! writes what it read back to the same bytes. A fixture is never changed: a format that changes gets another version and another file.

use std::fs;

use gregor_model::document::Kind;
use gregor_model::manifest::{MANIFEST, Manifest, PAGE};
use gregor_model::part::{FOOTER, Footer};
use gregor_model::plan::{PLAN, Plan};
use gregor_model::register::{REGISTER, Register};
use gregor_model::spec::{MARKER, Marker, SPEC, Spec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::harness::root;

/// Reads the fixture of a kind, and writes it back.
#[track_caller]
fn check<T: Serialize + DeserializeOwned>(kind: Kind) {
    for version in 1..=kind.version {
        let name = format!("{}-{version}", kind.name);
        let bytes = fs::read(root().join("tests/fixtures").join(&name)).unwrap_or_else(|error| panic!("tests/fixtures/{name}: {error}"));
        let value: T = kind.decode(&bytes).unwrap_or_else(|error| panic!("tests/fixtures/{name} {error}"));
        if version == kind.version {
            assert!(kind.encode(&value).unwrap() == bytes, "tests/fixtures/{name} is written back differently");
        }
    }
}

#[test]
fn every_fixture_is_read_and_written_back() {
    check::<Register>(REGISTER);
    check::<Manifest>(MANIFEST);
    check::<Vec<Manifest>>(PAGE);
    check::<Footer>(FOOTER);
    check::<Plan>(PLAN);
    check::<Spec>(SPEC);
    check::<Marker>(MARKER);
}
