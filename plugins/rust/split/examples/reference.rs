//! The word count as a plain sequential program: what the results of a job are compared with. It shares no code with the task, on purpose;
//! the rule stands at `words` in the crate `split`. Refuses to be quick: it must be right at a glance.
//!
//! `reference FILE…` prints `word<TAB>count` lines, sorted by the bytes of the words, and how many there were on stderr.

use std::collections::HashMap;
use std::io::{BufWriter, Write};

fn main() -> std::io::Result<()> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for path in std::env::args_os().skip(1) {
        for line in std::fs::read(path)?.split(|&byte| byte == b'\n') {
            for piece in String::from_utf8_lossy(line).split(char::is_whitespace) {
                let word = piece.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase();
                if !word.is_empty() {
                    *counts.entry(word).or_default() += 1;
                }
            }
        }
    }
    let mut sorted: Vec<(String, u64)> = counts.into_iter().collect();
    sorted.sort_unstable();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for (word, count) in &sorted {
        writeln!(out, "{word}\t{count}")?;
    }
    out.flush()?;
    let total: u64 = sorted.iter().map(|(_, count)| count).sum();
    writeln!(std::io::stderr(), "{} distinct words, {total} words", sorted.len())
}
