//! The repository's own rules, as far as a machine can check them. Each rule is a test and says where it is broken. Refuses to format or to
//! lint: `cargo fmt` and clippy do that.

use std::fs;
use std::process::Command;

use crate::harness::root;

/// Lines of a file, at most.
const LINES_MAX: usize = 600;
/// Crates that exactly one room may know, with the room; `server`'s wiring hands `cap-std` directories to `stream`.
const ONE_ROOM: &[(&str, &[&str])] = &[
    ("wasmtime", &["guest"]),
    ("rocksdb", &["state"]),
    ("object_store", &["archive"]),
    ("cap-std", &["stream", "server"]),
    ("zookeeper", &["coordination"]),
];
/// Crates that never know each other.
const ADAPTERS: [&str; 5] = ["guest", "state", "stream", "archive", "coordination"];
/// All that the model may depend on: nothing that performs I/O.
const MODEL_MAY: [&str; 4] = ["serde", "serde_json", "sha2", "thiserror"];

/// A file of the repository.
struct Tracked {
    path: String,
    text: String,
}

impl Tracked {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Lines outside comments, with their numbers from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().zip(1..).map(|(line, number)| (number, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// All text files that git knows or would add.
fn tracked() -> Vec<Tracked> {
    let listed = Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root()).output();
    let listed = listed.expect("git is needed to list the repository's files");
    assert!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    names
        .split_terminator('\0')
        .filter_map(|path| Some(Tracked { text: fs::read_to_string(root().join(path)).ok()?, path: path.to_owned() }))
        .collect()
}

/// Fails with the list of what breaks a rule.
#[track_caller]
fn none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn every_rust_file_opens_with_what_it_is_for() {
    let files = tracked();
    let broken: Vec<String> =
        files.iter().filter(|file| file.is_rust() && !opens_with_words(&file.text)).map(|file| file.path.clone()).collect();
    assert!(files.iter().filter(|file| file.is_rust()).count() > 50, "the walk finds too few files to be right");
    none("a file opens with `//!`", &broken);
}

/// An integration test begins with `#![cfg(test)]`, so that clippy knows what it looks at; the words come next.
fn opens_with_words(text: &str) -> bool {
    text.strip_prefix("#![cfg(test)]\n").unwrap_or(text).starts_with("//!")
}

#[test]
fn no_file_is_longer_than_a_sitting() {
    let files = tracked();
    let broken: Vec<String> =
        files.iter().filter(|file| file.is_rust() && file.text.lines().count() > LINES_MAX).map(|file| file.path.clone()).collect();
    none("a file has at most 600 lines", &broken);
}

#[test]
fn no_word_stands_twice_in_a_path() {
    let mut broken = Vec::new();
    for file in tracked().iter().filter(|file| file.is_rust()) {
        let stem = file.path.strip_suffix(".rs").unwrap();
        // From the crate on: `host/guest/src/host.rs` is the guest's view of its host.
        let words: Vec<&str> = stem.split('/').skip(1).collect();
        let twice = words.iter().enumerate().any(|(at, word)| words[..at].contains(word));
        if twice || stem.ends_with("/mod") {
            broken.push(file.path.clone());
        }
    }
    none("no word twice in a path, no mod.rs", &broken);
}

#[test]
fn no_module_is_called_after_nothing() {
    let vague = ["utils", "util", "common", "types", "helpers", "misc", "manager", "managers", "base"];
    let named =
        |file: &&Tracked| vague.iter().any(|word| file.path.split('/').any(|part| part.strip_suffix(".rs").unwrap_or(part) == *word));
    none("no module without a meaning", &tracked().iter().filter(named).map(|file| file.path.clone()).collect::<Vec<_>>());
}

/// Lines of Rust in which one of `words` stands, but for files of which `excepted` is true.
fn lines_with(words: &[String], excepted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut broken = Vec::new();
    for file in tracked().iter().filter(|file| file.is_rust() && !excepted(&file.path)) {
        let lines = file.code().filter(|(_, line)| words.iter().any(|word| line.contains(word.as_str())));
        broken.extend(lines.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    broken
}

#[test]
fn no_test_is_ignored_and_nothing_sleeps() {
    // Put together, so that this file does not find itself.
    let words = [["#[", "ignore"], ["thread::", "sleep("], ["time::", "sleep("]].map(|pair| pair.concat());
    // A guest may ask its host to sleep: that is among the deeds under test. And a slow archive is one that sleeps.
    let excepted =
        |path: &str| path == "tests/harness/clock.rs" || path.starts_with("tests/hostile/") || path == "host/server/src/faults/archive.rs";
    none("no ignored test, no sleep outside the harness' one", &lines_with(&words, excepted));
}

#[test]
fn nothing_is_left_for_later() {
    let words = [["TO", "DO"], ["FIX", "ME"], ["todo", "!("], ["unimplemented", "!("], ["XX", "X"]].map(|pair| pair.concat());
    let mut broken = Vec::new();
    for file in tracked().iter().filter(|file| !file.path.ends_with(".lock") && !file.path.starts_with("tests/fixtures/")) {
        let lines = file.text.lines().zip(1..).filter(|(line, _)| words.iter().any(|word| line.contains(word.as_str())));
        broken.extend(lines.map(|(line, number)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("nothing is left for later", &broken);
}

#[test]
fn the_model_is_pure() {
    let words = ["std::fs", "std::net", "std::thread", "Instant::now", "SystemTime::now", "rand::", "async fn", ".await", "unsafe "];
    let words = words.map(str::to_owned);
    // It runs its schedules on all cores.
    let excepted = |path: &str| !path.starts_with("host/model/") || path == "host/model/tests/simulation/main.rs";
    none("the model performs no I/O, reads no clock, draws no random number", &lines_with(&words, excepted));
}

#[test]
fn only_the_runtimes_clock_reads_the_time() {
    let words = ["Instant::now", "SystemTime::now"].map(|word| format!("{word}("));
    let excepted =
        |path: &str| !path.starts_with("host/") || path.ends_with("/clock.rs") || path.ends_with("tests.rs") || path.contains("/tests/");
    none("only a clock reads the time", &lines_with(&words, excepted));
}

#[test]
fn each_heavy_dependency_stands_in_its_room() {
    let mut broken = Vec::new();
    for room in rooms() {
        for dependency in dependencies(&room) {
            for (heavy, allowed) in ONE_ROOM {
                if dependency == *heavy && !allowed.contains(&room.as_str()) {
                    broken.push(format!("host/{room}/Cargo.toml names {heavy}, which belongs to {allowed:?}"));
                }
            }
        }
    }
    none("each heavy dependency stands in exactly one room", &broken);
    for (heavy, allowed) in ONE_ROOM {
        assert!(dependencies(allowed[0]).contains(&(*heavy).to_owned()), "{heavy} is not in {}: is this list still right?", allowed[0]);
    }
}

#[test]
fn imports_go_downwards_only() {
    let mut broken = Vec::new();
    for room in rooms() {
        let known: Vec<String> = dependencies(&room).iter().filter_map(|name| name.strip_prefix("gregor-").map(str::to_owned)).collect();
        for other in known {
            let wrong = match room.as_str() {
                "model" => true,
                "runtime" => other == "server",
                "server" => false,
                _ => other != "model",
            };
            if wrong {
                broken.push(format!("{room} imports {other}"));
            }
        }
    }
    none("imports go downwards only, adapters never import each other", &broken);
    assert!(ADAPTERS.iter().all(|adapter| rooms().iter().any(|room| room == adapter)), "a room is missing: {:?}", rooms());
}

#[test]
fn the_model_depends_on_nothing_that_performs_io() {
    let broken: Vec<String> = dependencies("model").into_iter().filter(|name| !MODEL_MAY.contains(&name.as_str())).collect();
    none("the model depends on pure crates only", &broken);
}

/// The crates of the host.
fn rooms() -> Vec<String> {
    let entries = fs::read_dir(root().join("host")).unwrap().map(|entry| entry.unwrap());
    let mut rooms: Vec<String> =
        entries.filter(|entry| entry.path().join("Cargo.toml").is_file()).map(|entry| entry.file_name().into_string().unwrap()).collect();
    rooms.sort();
    rooms
}

/// What a crate depends on when it is built, tests left out.
fn dependencies(room: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("host").join(room).join("Cargo.toml")).unwrap();
    let (_, rest) = text.split_once("\n[dependencies]\n").unwrap_or_else(|| panic!("{room} has no dependencies"));
    let section = rest.split("\n[").next().unwrap();
    let names = section.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    names.map(|line| line.split(['.', ' ', '=']).next().unwrap().to_owned()).collect()
}

#[test]
fn every_stored_format_has_a_fixture() {
    let files = tracked();
    let mut broken = Vec::new();
    let mut kinds = 0;
    for file in files.iter().filter(|file| file.is_rust() && file.path.starts_with("host/") && file.path.contains("/src/")) {
        let (shipped, _) = file.text.split_once("#[cfg(test)]").unwrap_or((&file.text, ""));
        for literal in shipped.split("Kind { name: \"").skip(1) {
            let (name, rest) = literal.split_once("\", version: ").unwrap_or_else(|| panic!("{}: {literal:.60}", file.path));
            let version = rest.split([' ', '}']).next().unwrap();
            kinds += 1;
            let fixture = format!("tests/fixtures/{name}-v{version}");
            let here = |other: &Tracked| {
                other.path == fixture || (other.path.starts_with("host/") && other.path.ends_with(&format!("/{fixture}")))
            };
            if !files.iter().any(here) {
                broken.push(format!("{}: {name} of version {version} has no {fixture}, here or in its crate", file.path));
            }
        }
    }
    assert!(kinds >= 7, "only {kinds} kinds were found");
    none("every stored format has a fixture", &broken);
}

#[test]
fn nothing_knows_the_machine_that_it_was_written_on() {
    let homes = [["/ro", "ot/"], ["/wo", "rk/"]].map(|pair| pair.concat());
    let mut broken = Vec::new();
    for file in tracked() {
        let lines = file.text.lines().zip(1..).filter(|(line, _)| homes.iter().any(|home| names_machine(line, home)));
        broken.extend(lines.map(|(line, number)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("no path of one machine in the repository", &broken);
}

/// Whether a line names a path that begins with `home`, and not only one that contains it (`$HOME/work/…`).
fn names_machine(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "/._-}$~".contains(c))
    })
}

#[test]
fn the_top_level_is_the_one_that_was_drawn() {
    for name in ["Cargo.toml", "Cargo.lock", "LICENSE", "Makefile", "README.md", "rust-toolchain.toml", ".ci/run", "host/ARCHITECTURE.md"] {
        assert!(root().join(name).is_file(), "{name} is missing");
    }
    let license = fs::read_to_string(root().join("LICENSE")).unwrap();
    assert!(license.contains("Apache License") && license.contains("Version 2.0"), "LICENSE is not Apache-2.0");
    let known = ["host", "wit", "plugins", "tests"];
    let tops: Vec<String> = tracked().iter().filter_map(|file| file.path.split_once('/').map(|(top, _)| top.to_owned())).collect();
    let broken: Vec<String> = tops.into_iter().filter(|top| !known.contains(&top.as_str()) && !top.starts_with('.')).collect();
    none("folders of the top level are host, wit, plugins, tests", &broken);
}
