//! Plans: cut where records begin, and held against the folder later.

use super::*;
use crate::random::Random;
use gregor_model::limits::{FILE_PARTITIONS_MAX, MIB};
use std::fs;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

fn folder_of(files: &[(&str, &[u8])]) -> (TempDir, InputFolder) {
    let root = TempDir::new().unwrap();
    for (name, content) in files {
        fs::write(root.path().join(name), content).unwrap();
    }
    let folder = InputFolder::open(root.path()).unwrap();
    (root, folder)
}

#[test]
fn splits_cover_each_file_and_begin_where_records_begin() {
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let longest = [10, 100, 70_000, 3_000_000, 100, 1][usize::try_from(seed).unwrap()];
        let mut long = Vec::new();
        while long.len() < 5 * usize::try_from(MIB).unwrap() {
            let length = random.below(longest + 1);
            long.extend(std::iter::repeat_n(b'x', length));
            long.push(b'\n');
        }
        long.extend(b"the last line has no end");
        let (_root, folder) = folder_of(&[("a", &long), ("b", b""), ("c", b"one\n"), ("d", &long)]);
        let plan = make_plan(&folder, "**", Format::Lines).unwrap();
        assert!(plan.partitions.len() <= FILE_PARTITIONS_MAX as usize && plan.partitions.len() > 2, "seed {seed}: {plan:?}");
        let splits = plan.partitions.concat();
        for (index, content) in [(0, long.as_slice()), (1, b""), (2, b"one\n"), (3, &long)] {
            let mut next = 0;
            for split in splits.iter().filter(|split| split.file == index) {
                assert_eq!(split.start, next, "seed {seed}");
                assert!(split.end > split.start, "seed {seed}: an empty split");
                let start = usize::try_from(split.start).unwrap();
                assert!(start == 0 || content[start - 1] == b'\n', "seed {seed}: split at {start} is inside a line");
                next = split.end;
            }
            assert_eq!(next, content.len() as u64, "seed {seed}");
        }
    }
}

#[test]
fn files_stand_in_the_order_of_their_names_bytes() {
    let (_root, folder) = folder_of(&[("b", b"1"), ("é", b"2"), ("B", b"3"), ("a", b"4")]);
    let plan = make_plan(&folder, "*", Format::Tsv).unwrap();
    let names: Vec<&str> = plan.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["B", "a", "b", "é"]);
    assert_eq!(files_now(&folder, "*").unwrap(), names);
    assert_eq!(plan.partitions.len(), 1);
}

#[test]
fn an_input_without_a_byte_has_one_empty_partition() {
    let (_root, folder) = folder_of(&[("a", b""), ("b", b"")]);
    let plan = make_plan(&folder, "*", Format::Lines).unwrap();
    assert_eq!((plan.files.len(), plan.partitions), (2, vec![vec![]]));
}

#[test]
fn an_empty_match_names_pattern_and_folder() {
    let (root, folder) = folder_of(&[("a.txt", b"1")]);
    let error = make_plan(&folder, "*.csv", Format::Lines).unwrap_err();
    assert!(matches!(error, SourceError::Missing { .. }), "{error:?}");
    let (path, message) = (root.path().display().to_string(), error.to_string());
    assert_eq!(
        message,
        format!("input {path}/*.csv is not there: no file in folder {path} matches \"*.csv\"; check the path in the job file")
    );
    let error = InputFolder::open(&root.path().join("none")).unwrap_err();
    assert!(matches!(error, SourceError::Missing { .. }) && error.to_string().contains("there is no such folder"), "{error}");
    let error = InputFolder::open(&root.path().join("a.txt")).unwrap_err();
    assert!(matches!(error, SourceError::Missing { .. }) && error.to_string().contains("there is no such folder"), "{error}");
}

/// Makes a plan, changes the folder, and expects that the check says so.
fn check_change(change: impl FnOnce(&TempDir), expected: &str) {
    let (root, folder) = folder_of(&[("a", b"one\n"), ("b", b"two\n")]);
    let plan = make_plan(&folder, "*", Format::Lines).unwrap();
    check_plan(&folder, &plan).unwrap();
    change(&root);
    let error = check_plan(&folder, &plan).unwrap_err();
    assert!(matches!(&error, SourceError::Changed { file, .. } if file == "b"), "{error:?}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_changed_file_is_found_and_named() {
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    check_change(|root| fs::remove_file(root.path().join("b")).unwrap(), "nothing in its place");
    check_change(|root| fs::write(root.path().join("b"), "two\nthree\n").unwrap(), "now it has 10 bytes");
    check_change(|root| fs::write(root.path().join("b"), "").unwrap(), "it had 4 bytes");
    let touch = |root: &TempDir| fs::File::options().write(true).open(root.path().join("b")).unwrap().set_modified(later).unwrap();
    check_change(touch, "modified 4000000000.000000000 s after 1970");
    let replace = |root: &TempDir| {
        fs::remove_file(root.path().join("b")).unwrap();
        fs::create_dir(root.path().join("b")).unwrap();
    };
    check_change(replace, "a folder in its place");
}

#[test]
fn a_file_that_came_later_is_seen_and_not_in_the_plan() {
    let (root, folder) = folder_of(&[("a", b"one\n")]);
    let plan = make_plan(&folder, "*", Format::Lines).unwrap();
    fs::write(root.path().join("b"), "two").unwrap();
    check_plan(&folder, &plan).unwrap();
    assert_eq!(files_now(&folder, "*").unwrap(), ["a", "b"]);
    assert_eq!(plan.files.len(), 1);
}

#[test]
fn compressed_files_and_those_whose_records_do_not_show_where_they_begin_stay_whole() {
    let long = b"line\n".repeat(usize::try_from(MIB).unwrap());
    let names = ["a", "b.gz", "c.txt.zst", "d.GZ", "gz", "z.gzip"];
    let (_root, folder) = folder_of(&names.map(|name| (name, long.as_slice())));
    for (format, whole) in [
        (Format::Lines, vec![1, 2, 3]),
        (Format::JsonLines, vec![1, 2, 3]),
        (Format::Csv, vec![0, 1, 2, 3, 4, 5]),
        (Format::Bytes, vec![0, 1, 2, 3, 4, 5]),
    ] {
        let splits = make_plan(&folder, "**", format).unwrap().partitions.concat();
        for file in 0..6 {
            let count = splits.iter().filter(|split| split.file == file).count();
            assert_eq!(count == 1, whole.contains(&file), "{format:?}: {count} splits of file {file}");
        }
        let last = splits.iter().map(|split| split.end - split.start).sum::<u64>();
        assert_eq!(last, 6 * long.len() as u64, "{format:?}");
    }
}

#[test]
fn a_compressed_file_without_a_byte_is_refused_by_name() {
    for name in ["b.gz", "b.txt.zst", "b.GZ"] {
        let (_root, folder) = folder_of(&[("a", b"one\n"), ("c", b""), (name, b"")]);
        for format in [Format::Lines, Format::Bytes] {
            let error = make_plan(&folder, "*", format).unwrap_err();
            assert!(matches!(&error, SourceError::Refused { name: found, .. } if found == name), "{error:?}");
            assert!(error.to_string().contains("it has no byte"), "{error}");
        }
        make_plan(&folder, "a", Format::Lines).unwrap();
    }
}
