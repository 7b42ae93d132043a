//! More distinct words than fit one call: the end of the input is worked off in pieces, in bounded memory.

use std::fmt::Write as _;

use crate::harness::lab::Lab;
use crate::harness::{clock, jobs, output};

/// Distinct words.
const WORDS: usize = 2_100_000;
/// What the process may hold, in KiB: the dirty maps and their copies on the way to disk are bounded, the state is not in memory.
const PEAK_KIB_MAX: u64 = 1024 * 1024;

#[test]
fn two_million_distinct_words_end_in_bounded_memory() {
    let lab = Lab::with_job(&jobs::word_count("500 ms"));
    // Numbers in base 36, spread so that neighbours are far apart in the order of keys; each is there once.
    let mut text = String::with_capacity(WORDS * 9);
    for at in 0..WORDS {
        let spread = at * 1_299_709 % 2_147_483_647;
        write!(text, "w{spread:x}").unwrap();
        text.push(if at % 16 == 15 { '\n' } else { ' ' });
    }
    lab.write("in/words.txt", &text);
    let ended = lab.run(&[]).code(0).unwarned(&[]);
    println!(
        "{WORDS} distinct words: {:?}, peak {} MiB; {}; {}",
        ended.elapsed,
        ended.peak_kib / 1024,
        ended.line("finished").unwrap_or_default(),
        ended.line("pause-p50").unwrap_or_default()
    );
    output::complete(&lab.path("out"));
    let mut expected: Vec<Vec<u8>> = text.split_ascii_whitespace().map(|word| format!("{word}\t1").into_bytes()).collect();
    expected.sort_unstable();
    let compared = clock::now();
    let found = output::records(&lab.path("out"));
    assert!(found == expected, "{} records found, {} expected", found.len(), expected.len());
    println!("compared in {:?}", compared.elapsed());
    assert!(ended.peak_kib < PEAK_KIB_MAX, "peak {} KiB", ended.peak_kib);
}
