//! Files of compiled components that were altered. None of them is ever loaded: wasmtime takes code on trust, so what is not whole and of exactly
//! this component and compiler must not get that far. Refuses to load what was altered and signed again for this very key: only this user can do
//! that, and it would be run.

#[path = "../../../../../tests/fuzz/fuzzer.rs"]
mod fuzzer;

use gregor_model::digest::Digest;

use fuzzer::mutate::{self, Random};
use fuzzer::{Fuzz, Outcome};

use super::{Fixture, Origin, component, entry};

/// Where the digest of a file lies, and what it covers.
const DIGEST_AT: usize = 8;
const COVERED_FROM: usize = 40;
/// Where the code begins.
const CODE_AT: usize = 104;

#[test]
fn an_altered_file_is_never_loaded() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    fixture.keep(&bytes);
    let (key, path) = (fixture.key(&bytes), fixture.path(&bytes));
    let whole = std::fs::read(&path).unwrap();
    Fuzz { format: "compiled-component", seeds: std::slice::from_ref(&whole), rounds: 300 }.run(mutate::bytes, |input| {
        std::fs::write(&path, input).unwrap();
        let found = fixture.cache.find(&fixture.engine, key.component);
        assert_eq!(found.is_some(), input == whole, "only the whole file is loaded");
        if found.is_some() { Outcome::Read } else { Outcome::Refused }
    });
    // After all of that the component is admitted as if nothing were there.
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(fixture.origin(&bytes), Origin::Compiled);
}

/// Changes what the code was made of, and signs the file again.
fn of_another(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.one(seeds).clone();
    for _ in 0..=random.below(3) {
        bytes[COVERED_FROM + random.below(CODE_AT - COVERED_FROM)] ^= 1 << random.below(8);
    }
    if random.below(4) == 0 {
        bytes.truncate(COVERED_FROM + random.below(CODE_AT - COVERED_FROM));
    }
    let digest = Digest::of(&bytes[COVERED_FROM..]);
    bytes[DIGEST_AT..COVERED_FROM].copy_from_slice(&digest.0);
    bytes
}

#[test]
fn a_whole_file_of_another_component_or_compiler_is_refused() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    fixture.keep(&bytes);
    let key = fixture.key(&bytes);
    let whole = std::fs::read(fixture.path(&bytes)).unwrap();
    let made_of = &whole[COVERED_FROM..CODE_AT];
    Fuzz { format: "compiled-component-of-another", seeds: std::slice::from_ref(&whole), rounds: 500 }.run(of_another, |input| {
        match entry::code_of(&key, input) {
            Ok(code) => {
                assert!(&input[COVERED_FROM..CODE_AT] == made_of && code == &whole[CODE_AT..], "another key's code is answered");
                Outcome::Read
            }
            Err(reason) => {
                assert!(reason.starts_with("it "), "{reason}");
                Outcome::Refused
            }
        }
    });
}
