//! `gregor bench`: its figures are there, for every case and variant; its results are compared, and a wrong one is an error; its picture is one.
//! Refuses to look at how large a figure is: that is for people.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::host::Ended;
use crate::harness::lab::Lab;
use crate::harness::plugins;

/// The cases, in the order of the table.
const CASES: [&str; 7] = ["identity", "filter", "count-hot", "count-1m", "count-zipf", "count-uniform", "word-count"];
/// Figures that each of them has, all above 0.
const FIGURES: [&str; 11] = [
    "records-per-second",
    "native-records-per-second",
    "bare-records-per-second",
    "without-checkpoints-records-per-second",
    "ratio",
    "cpu-ratio",
    "cpu-seconds-per-million",
    "native-cpu-seconds-per-million",
    "bare-cpu-seconds-per-million",
    "peak-memory-bytes",
    "native-peak-memory-bytes",
];
/// Records of a small run.
const RECORDS: u64 = 20_000;
/// Runs that are checked: all but the plain loop, which the others are compared with.
const CHECKED_RUNS: u64 = 3;

/// One round, with the components of a folder, and its data in the lab.
fn bench(lab: &Lab, plugins: &Path, arguments: &[&str]) -> Ended {
    let data = lab.path("data");
    let fixed = ["bench", "--rounds", "1", "--data", data.to_str().unwrap(), "--plugins", plugins.to_str().unwrap()];
    lab.gregor(&[&fixed, arguments].concat())
}

fn rows(ended: &Ended) -> Vec<Value> {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error} in:\n{}", ended.stdout))
}

/// How many things the figures named `name` are made of.
fn count(row: &Value, name: &str) -> u64 {
    let distribution = &row[name];
    let of_buckets: u64 = distribution["histogram"].as_array().unwrap().iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum();
    assert_eq!(distribution["count"], of_buckets, "{row:#}");
    of_buckets
}

#[test]
fn every_case_has_all_figures_and_every_result_is_compared() {
    let lab = Lab::new();
    let records = RECORDS.to_string();
    let ended = bench(&lab, &plugins().join("rust"), &["--records", &records, "--output", "json", "--plot", "figures.svg"]).code(0);
    let rows = rows(&ended.unwarned(&[]));
    assert_eq!(rows.iter().map(|row| row["case"].as_str().unwrap()).collect::<Vec<_>>(), CASES);
    for row in &rows {
        for figure in FIGURES {
            assert!(row[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure} of {row:#}");
        }
        assert!(row["checkpoint-cost"].is_number() && row["rounds"] == 1, "{row:#}");
        assert!(count(row, "pause") > 0 && count(row, "checkpoint") > 0 && count(row, "latency") > 0, "{row:#}");
        let least = match row["case"].as_str().unwrap() {
            "identity" => RECORDS,
            "filter" => RECORDS / 12,
            // Words.
            "word-count" => 1_000,
            // Keys; drawn are those that the first records bring, each once, or ten thousand.
            _ => RECORDS.min(10_000),
        };
        let checked = row["checked"].as_u64().unwrap();
        assert!(checked >= CHECKED_RUNS * least && checked.is_multiple_of(CHECKED_RUNS), "{checked} of {row:#}");
    }
    assert!(fs::read_dir(lab.path("data")).unwrap().next().is_none(), "something was left behind");
    let svg = fs::read_to_string(lab.path("figures.svg")).unwrap();
    well_formed(&svg);
    assert!(CASES.iter().all(|case| svg.contains(&format!(">{case}</text>"))), "{svg}");
}

/// Demands that each element is closed, in the order of XML, and that the outermost is one picture.
fn well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let (first, _) = svg.split_once('>').unwrap();
    assert!(first.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{first}");
    for tag in svg.split('<').skip(1).map(|rest| rest.split_once('>').unwrap_or_else(|| panic!("an open tag: {rest}")).0) {
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
        assert!(!tag.is_empty() && (tag == "/svg" || !open.is_empty()), "{tag}");
    }
    assert!(open.is_empty() && svg.trim_end().ends_with("</svg>"), "{open:?}");
}

#[test]
fn a_timed_run_is_stopped_behind_its_window_and_its_state_is_compared() {
    let lab = Lab::new();
    let arguments = ["identity", "count-hot", "--seconds", "0.2"];
    let ended = bench(&lab, &plugins().join("rust"), &arguments).code(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with(&format!("gregor {}, commit ", env!("CARGO_PKG_VERSION"))), "{}", ended.stdout);
    assert!(lines[4].starts_with("| identity | ") && lines[5].starts_with("| count-hot | ") && lines.len() == 6, "{}", ended.stdout);
    // The table of README.md is one that this command has printed.
    assert!(
        include_str!("../README.md").contains(&format!("\n{}\n{}\n", lines[2], lines[3])),
        "README.md has no table with the head {}",
        lines[2]
    );
}

#[test]
fn a_wrong_result_is_an_error() {
    let lab = Lab::new();
    let right = plugins().join("rust");
    // A filter that lets everything through.
    for (name, from) in [("identity", "identity"), ("filter", "identity"), ("count", "count"), ("split", "split")] {
        lab.write(&format!("wrong/{name}.wasm"), fs::read(right.join(from).with_extension("wasm")).unwrap());
    }
    let ended = bench(&lab, &lab.path("wrong"), &["filter", "--records", "1000"]);
    ended.code(1).says("the result of filter, sandboxed, is wrong").says("is not the one that is expected");
}

#[test]
fn what_can_not_be_measured_is_refused() {
    let lab = Lab::new();
    bench(&lab, &lab.path("nowhere"), &[]).code(2).says("identity.wasm is missing; run `make plugins`");
    let rust = plugins().join("rust");
    bench(&lab, &rust, &["--plot", "no/such/folder.svg"]).code(2).says("can't write no/such/folder.svg");
    bench(&lab, &rust, &["sort"]).code(2).says("count-zipf");
}
