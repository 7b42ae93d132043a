//! README.md as far as a machine can compare it: the table of the job file with the keys that the program knows, and the job that it shows
//! with the one that the demo runs. Refuses to judge prose.

use std::collections::BTreeSet;

use crate::harness::jobs;

const README: &str = include_str!("../README.md");
/// The keys that the program reads.
const KEYS: &str = include_str!("../host/server/src/job_file/keys.rs");
/// The reference, whose rows are compared with the program's own by a test of the server.
const REFERENCE: &str = include_str!("../host/server/job-file.md");
/// A key of a stage that stands in the table by its short name, as in the reference.
const SHORT: (&str, &str) = ("stage.retries", "retries");

/// The rows of the tables between two lines of a text, without the mark of what is not built.
fn rows(text: &'static str, from: &str, to: &str) -> Vec<String> {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no line {from:?}"));
    let (section, _) = rest.split_once(to).unwrap_or((rest, ""));
    section.lines().filter(|line| line.starts_with("| `")).map(|line| line.replacen(" † |", " |", 1)).collect()
}

/// The key of a row.
fn key(row: &str) -> String {
    row.split('`').nth(1).unwrap_or_else(|| panic!("a row without a key: {row}")).to_owned()
}

/// The keys that stand as texts in a list of the program.
fn listed(list: &str) -> Vec<&'static str> {
    let (_, rest) = KEYS.split_once(&format!("const {list}: [&str; ")).unwrap_or_else(|| panic!("keys.rs has no list {list}"));
    let (_, rest) = rest.split_once("= ").unwrap();
    let (items, _) = rest.split_once(';').unwrap();
    items.split('"').skip(1).step_by(2).collect()
}

#[test]
fn the_table_of_the_job_file_has_every_key_as_the_program_knows_it_and_no_other() {
    let table = rows(README, "\n## The job file\n", "\n### ");
    let settings = rows(REFERENCE, "\n## Defaults and ranges\n", "\n## ");
    assert!(settings.len() > 15, "only {} settings were found in the reference", settings.len());
    let lacking: Vec<&String> = settings.iter().filter(|row| !table.contains(row)).collect();
    assert!(lacking.is_empty(), "README.md lacks these rows of host/server/job-file.md:\n{lacking:#?}");

    let mut known: BTreeSet<String> = settings.iter().map(|row| key(row)).collect();
    for (list, prefix) in [
        ("STREAM", "stream."),
        ("STAGE", "stage."),
        ("INPUT", "inputs.…."),
        ("OUTPUT", "outputs.…."),
        ("CHECKPOINT", "checkpoint."),
        ("STATE", "state."),
    ] {
        let keys = listed(list);
        assert!(!keys.is_empty(), "no key of {list} was found in keys.rs");
        known.extend(keys.into_iter().map(|key| format!("{prefix}{key}")));
    }
    known.extend(["name", "stage", "stream"].map(str::to_owned));
    assert!(known.remove(SHORT.0) && known.contains(SHORT.1), "{known:?}");
    let shown: BTreeSet<String> = table.iter().map(|row| key(row)).collect();
    assert_eq!(shown, known, "keys in README.md, keys that the program knows");
}

#[test]
fn the_job_of_the_demo_is_shown_as_it_is_run() {
    let job = jobs::word_count("500 ms").replace("{plugins}", "../plugins");
    assert!(README.contains(&format!("```toml\n{job}```")), "README.md does not show this job:\n{job}");
}
