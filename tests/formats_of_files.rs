//! Jobs that are killed while they read files of every format, compressed or not. What they leave must be each record once: a position lies in the
//! middle of quoted rows and of data that has to be decompressed from its beginning. (What each format means is in `cases/`.)

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use rand::Rng;
use rand::rngs::StdRng;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::harness::lab::Lab;
use crate::harness::{output, seed};

/// Records of a job, some fifty bytes each: a few megabytes.
const RECORDS: usize = 60_000;
/// What a task may have written and not confirmed: so little that a checkpoint comes after every few batches, and the file takes dozens.
const UNPUBLISHED: &str = "64 KiB";
/// Durable steps after which a process is killed: those of a start and of some checkpoints.
const STEPS: std::ops::Range<u64> = 8..30;
/// Starts of one job, at most: the first kills take its progress away, later ones can't.
const STARTS_MAX: usize = 200;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    compress_to_vec(content, CompressionLevel::Fastest)
}

/// A file in three members or frames, cut anywhere.
fn compressed(random: &mut StdRng, compress: fn(&[u8]) -> Vec<u8>, content: &str) -> Vec<u8> {
    let (first, rest) = content.as_bytes().split_at(random.random_range(0..content.len()));
    let (second, third) = rest.split_at(random.random_range(0..=rest.len()));
    [first, second, third].map(compress).concat()
}

/// Runs a job and kills it at random steps until it ends by itself; what it wrote must be `expected`.
fn check(test: &str, (format, name): (&str, &str), bytes: impl FnOnce(&mut StdRng) -> Vec<u8>, mut expected: Vec<String>) {
    let mut random = seed::random(test);
    let lab = Lab::with_job(&format!(
        "name = \"formats\"\ncomponent = \"{{plugins}}/rust/identity.wasm\"\ninputs = {{ in = {{ from = \"in\", format = \"{format}\" }} }}\n\
         outputs = {{ out = {{ to = \"out\", format = \"lines\" }} }}\n[checkpoint]\ninterval = \"1 ms\"\n\
         [limits]\nunpublished-bytes = \"{UNPUBLISHED}\"\n"
    ));
    lab.write(&format!("in/{name}"), bytes(&mut random));
    let (mut kills, mut inside) = (0, 0);
    for start in 0.. {
        assert!(start < STARTS_MAX, "{kills} kills, and it has not ended");
        let fault = format!("kill-after:{}", random.random_range(STEPS));
        let ended = lab.run(&["--fault", &fault]);
        if ended.code == Some(0) {
            break;
        }
        assert_eq!((ended.code, ended.signal), (None, Some(9)), "{fault}:\n{}", ended.stderr);
        kills += 1;
        inside += u32::from((1..RECORDS).contains(&output::records(&lab.path("out")).len()));
    }
    println!("{test}: {kills} kills, {inside} of them inside the file");
    assert!(inside > 0, "{kills} kills, {inside} of them while some records were written and others not: this tests nothing");
    output::complete(&lab.path("out"));
    expected.sort_unstable();
    let found = output::records(&lab.path("out"));
    let same = found.len() == expected.len() && found.iter().zip(&expected).all(|(found, expected)| found == expected.as_bytes());
    assert!(same, "{} records, expected {}", found.len(), expected.len());
}

/// Rows whose fields hold line ends, commas and quotes, and the objects that they are.
fn rows() -> (String, Vec<String>) {
    let mut csv = "number,\"a \"\"text\"\"\"\r\n".to_owned();
    let objects = (0..RECORDS).map(|number| {
        let end = if number % 3 == 0 { "\r\n" } else { "\n" };
        write!(csv, "{number},\"line,\r\nand \"\"line\"\" {number}\"{end}").unwrap();
        format!("{{\"number\":\"{number}\",\"a \\\"text\\\"\":\"line,\\r\\nand \\\"line\\\" {number}\"}}")
    });
    let objects = objects.collect();
    (csv, objects)
}

#[test]
fn a_job_that_is_killed_inside_a_csv_file_goes_on_at_its_row() {
    let (csv, objects) = rows();
    check("a_job_that_is_killed_inside_a_csv_file_goes_on_at_its_row", ("csv", "a.csv"), |_| csv.into_bytes(), objects);
}

#[test]
fn a_job_that_is_killed_inside_a_compressed_csv_file_goes_on_at_its_row() {
    let (csv, objects) = rows();
    let test = "a_job_that_is_killed_inside_a_compressed_csv_file_goes_on_at_its_row";
    check(test, ("csv", "a.csv.gz"), |random| compressed(random, gzip, &csv), objects);
}

#[test]
fn a_job_that_is_killed_inside_compressed_json_lines_goes_on_at_its_line() {
    let documents: Vec<String> =
        (0..RECORDS).map(|number| format!("{{\"number\": {number}, \"text\": [\"some text of a line\", null]}}")).collect();
    let text = documents.join("\n\n");
    let test = "a_job_that_is_killed_inside_compressed_json_lines_goes_on_at_its_line";
    check(test, ("json-lines", "a.zst"), |random| compressed(random, zstd, &text), documents);
}
