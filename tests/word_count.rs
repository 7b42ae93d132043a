//! The main job: words of random text, counted through two stages, against a count that knows nothing of stages.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

use crate::harness::corpus::{self, Style};
use crate::harness::lab::Lab;
use crate::harness::{jobs, output, seed};

const ORDINARY: Style = Style { line_end: "\n", last: "\n", words_max: 20, broken_every: 0 };

/// Counts the words of these files, and compares with the reference.
#[track_caller]
fn check(files: &[(String, Vec<u8>)], interval: &str) {
    let lab = Lab::with_job(&jobs::word_count(interval));
    for (name, bytes) in files {
        lab.write(&format!("in/{name}"), bytes);
    }
    let ended = lab.run(&[]).code(0).unwarned(&[]);
    assert!(ended.stderr.contains("finished checkpoint="), "{}", ended.stderr);
    let out = lab.path("out");
    output::complete(&out);
    assert!(output::files(&out).iter().all(|(name, _)| output::place(name).0 == "count"), "a file of another stage");
    corpus::same(&output::counts(&out), &corpus::count(files.iter().map(|(_, bytes)| bytes.as_slice())));
}

fn one(bytes: impl Into<Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    vec![("one.txt".to_owned(), bytes.into())]
}

fn random_files(random: &mut StdRng, style: Style, lengths: &[usize]) -> Vec<(String, Vec<u8>)> {
    lengths.iter().enumerate().map(|(at, &bytes)| (format!("{at:03}.txt"), corpus::text(random, style, bytes))).collect()
}

#[test]
fn the_reference_count_does_what_the_rules_of_the_word_count_say() {
    let cases: &[(&str, &[(&str, u64)])] = &[
        ("", &[]),
        (" \r\n ... -- \t", &[]),
        ("The the, \"THE\" don't co-op.", &[("the", 3), ("don't", 1), ("co-op", 1)]),
        ("ΟΔΟΣ ΟΔΟΣ. ΣΑΣ", &[("οδος", 2), ("σας", 1)]),
        ("İ I ı", &[("i\u{307}", 1), ("i", 1), ("ı", 1)]),
        ("a\u{85}b\u{3000}c\u{feff}d\u{200b}e\u{2028}f", &[("a", 1), ("b", 1), ("c\u{feff}d\u{200b}e", 1), ("f", 1)]),
        ("«a»", &[("«a»", 1)]),
    ];
    for (text, expected) in cases {
        let expected: BTreeMap<Vec<u8>, u64> = expected.iter().map(|(word, count)| (word.as_bytes().to_vec(), *count)).collect();
        corpus::same(&corpus::count([text.as_bytes()]), &expected);
    }
    let broken: BTreeMap<Vec<u8>, u64> = [("a\u{fffd}b".as_bytes().to_vec(), 1)].into();
    corpus::same(&corpus::count([b"a\xe2\x82b".as_slice()]), &broken);
}

#[test]
fn random_text_in_unicode_is_counted_exactly() {
    let mut random = seed::random("random_text_in_unicode_is_counted_exactly");
    check(&random_files(&mut random, ORDINARY, &[400_000]), "50 ms");
}

#[test]
fn broken_utf8_is_counted_as_replacement_characters() {
    let mut random = seed::random("broken_utf8_is_counted_as_replacement_characters");
    check(&random_files(&mut random, Style { broken_every: 5, ..ORDINARY }, &[100_000, 5, 60_000]), "50 ms");
}

#[test]
fn lines_that_end_with_cr_lf_and_files_without_a_last_newline_lose_nothing() {
    let mut random = seed::random("lines_that_end_with_cr_lf_and_files_without_a_last_newline_lose_nothing");
    let crlf = Style { line_end: "\r\n", last: "", ..ORDINARY };
    let mut files = random_files(&mut random, crlf, &[50_000, 100, 30_000]);
    files.push(("cut-in-a-line-end.txt".to_owned(), b"one two\r\nthree\r".to_vec()));
    files.push(("no-newline.txt".to_owned(), b"word".to_vec()));
    check(&files, "50 ms");
}

#[test]
fn a_hundred_files_with_empty_ones_among_them_are_counted_exactly() {
    let mut random = seed::random("a_hundred_files_with_empty_ones_among_them_are_counted_exactly");
    let lengths: Vec<usize> = (0..100).map(|at| if at % 3 == 0 { 0 } else { random.random_range(1..20_000) }).collect();
    check(&random_files(&mut random, ORDINARY, &lengths), "50 ms");
}

#[test]
fn an_input_without_a_word_ends_with_an_output_without_a_record() {
    check(&one(""), "50 ms");
    check(&one("\n\r\n \u{3000} ...\n"), "50 ms");
    check(&[("a".to_owned(), Vec::new()), ("b".to_owned(), Vec::new())], "50 ms");
}

#[test]
fn lines_up_to_the_record_limit_are_counted_exactly() {
    let mut random = seed::random("lines_up_to_the_record_limit_are_counted_exactly");
    let limit = 1024 * 1024;
    let line = |length: usize, fill: &str| -> Vec<u8> { fill.bytes().cycle().take(length).collect() };
    let mut text = Vec::new();
    for line in [line(limit, "a "), line(limit, "long"), line(limit - 1, "some words of a line, "), line(limit, ", "), line(1, "x")] {
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
    let mut files = one(text);
    let long = Style { words_max: 30_000, ..ORDINARY };
    files.extend(random_files(&mut random, long, &[1_500_000]).into_iter().filter(|(_, bytes)| shorter(bytes, limit)));
    files.push(("limit-with-cr-lf.txt".to_owned(), [line(limit, "w "), b"\r\nend\r\n".to_vec(), line(limit, "v ")].concat()));
    check(&files, "50 ms");
}

fn shorter(bytes: &[u8], limit: usize) -> bool {
    bytes.split(|&byte| byte == b'\n').all(|line| line.len() <= limit)
}

#[test]
fn several_splits_of_a_large_file_are_counted_exactly() {
    let mut random = seed::random("several_splits_of_a_large_file_are_counted_exactly");
    let files = [("large.txt".to_owned(), corpus::plain(&mut random, 9_000_000, 5_000)), ("small.txt".to_owned(), b"a small one".to_vec())];
    check(&files, "20 ms");
}
