//! Tests of `marker`, through what it offers to others.

use super::*;

fn stores(names: &[&str]) -> Vec<StoreName> {
    names.iter().map(|name| StoreName::new(*name).unwrap()).collect()
}

fn marker() -> Marker {
    Marker { incarnation: Incarnation(0xab), branch: Branch(3), segment: Digest::of(b"segment") }
}

/// Version 1 as it was first written: what older hosts left on disk must be read, or refused on purpose, by every later one.
const FIXTURE: &str = include_str!("../../../fixtures/marker-1.json");

#[test]
fn a_marker_reads_back_what_was_written_and_is_the_fixture() {
    let folder = tempfile::tempdir().unwrap();
    let names = stores(&["counts", "default"]);
    assert_eq!(read(folder.path(), &names), None);
    write(folder.path(), &names, marker()).unwrap();
    assert_eq!(read(folder.path(), &names), Some(marker()));
    assert_eq!(fs::read_to_string(folder.path().join(MARKER)).unwrap(), FIXTURE.trim_end());
    remove(folder.path()).unwrap();
    assert_eq!(read(folder.path(), &names), None);
    remove(folder.path()).unwrap();
}

#[test]
fn a_marker_that_is_damaged_or_foreign_is_none() {
    let cases = [
        FIXTURE.get(..FIXTURE.len() / 2).unwrap().to_owned(),
        String::new(),
        FIXTURE.replace("\"version\":1", "\"version\":2"),
        FIXTURE.replace("\"branch\":3", "\"branch\":\"3\""),
        FIXTURE.replace("default", "other"),
        FIXTURE.replace("\"stores\"", "\"unknown\":1,\"stores\""),
        "x".repeat(usize::try_from(MARKER_BYTES_MAX).unwrap() + 1),
    ];
    for text in cases {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MARKER), &text).unwrap();
        assert_eq!(read(folder.path(), &stores(&["counts", "default"])), None, "{:.80}", text);
    }
}
