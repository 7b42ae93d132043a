//! Random text with everything that text may hold, and a count of its words that shares no line with the one under test: no task, no split,
//! no line, one table. Refuses to be fast.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

/// All characters with the Unicode property White_Space (PropList.txt), written out.
const WHITE_SPACE: &str = "\u{9}\u{a}\u{b}\u{c}\u{d}\u{20}\u{85}\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
/// What words are made of: cases that lower-case to something longer, final sigmas, characters that look like space and are none,
/// combining marks, characters outside the first plane, and much that is ordinary.
const PIECES: &[&str] = &[
    "a",
    "b",
    "E",
    "the",
    "Of",
    "AND",
    "x1",
    "don't",
    "co-op",
    "ß",
    "ẞ",
    "É",
    "é",
    "İ",
    "I",
    "ı",
    "Σ",
    "ΣΑΣ",
    "σς",
    "Ω",
    "Я",
    "ж",
    "語",
    "日本",
    "\u{feff}",
    "\u{200b}",
    "\u{180e}",
    "\u{301}",
    "𝔘",
    "𐐀",
    "🦀",
    "👩\u{200d}🚀",
    "ﬁ",
    "Ǆ",
    "ǅ",
    "_",
    "-",
    "'",
    "0",
];
/// What stands around words: ASCII punctuation, and some that is not ASCII and stays.
const AROUND: &[&str] = &["", "", "", "", "\"", "(", ")", ",", ".", "...", "!?", "--", "'", "`", "~", "$", "+", "«", "…", "“"];
/// Broken UTF-8: a lone continuation, a cut sequence, an overlong one, a surrogate, bytes that never occur.
const BROKEN: &[&[u8]] = &[b"\x80", b"\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80", b"\xff\xfe", b"\xf0\x9f\xa6"];

/// What a text shall look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Between two lines.
    pub(crate) line_end: &'static str,
    /// After the last line.
    pub(crate) last: &'static str,
    /// Words of a line, at most.
    pub(crate) words_max: usize,
    /// One word in so many holds broken UTF-8; 0 = none.
    pub(crate) broken_every: u32,
}

/// A text of about `bytes` bytes.
pub(crate) fn text(random: &mut StdRng, style: Style, bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 64);
    while text.len() < bytes {
        for _ in 0..random.random_range(0..=style.words_max) {
            word(random, style, &mut text);
            text.extend_from_slice(space(random).as_bytes());
        }
        let end = if text.len() < bytes { style.line_end } else { style.last };
        text.extend_from_slice(end.as_bytes());
    }
    text
}

/// Ordinary text, quick to make: words of a vocabulary, the first ones often.
pub(crate) fn plain(random: &mut StdRng, bytes: usize, vocabulary: u32) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 64);
    while text.len() < bytes {
        for _ in 0..12 {
            let most = random.random_range(0..vocabulary);
            let word = random.random_range(0..=most);
            text.extend_from_slice(format!("Word{word:x} ").as_bytes());
        }
        text.push(b'\n');
    }
    text
}

fn word(random: &mut StdRng, style: Style, text: &mut Vec<u8>) {
    let pick = |random: &mut StdRng, list: &[&'static str]| list[random.random_range(0..list.len())];
    text.extend_from_slice(pick(random, AROUND).as_bytes());
    for _ in 0..random.random_range(0..4) {
        text.extend_from_slice(pick(random, PIECES).as_bytes());
        if style.broken_every > 0 && random.random_ratio(1, style.broken_every) {
            text.extend_from_slice(BROKEN[random.random_range(0..BROKEN.len())]);
        }
    }
    text.extend_from_slice(pick(random, AROUND).as_bytes());
}

/// Space that ends no line, mostly an ordinary one.
fn space(random: &mut StdRng) -> String {
    if random.random_ratio(3, 4) {
        return " ".to_owned();
    }
    let all: Vec<char> = WHITE_SPACE.chars().filter(|&c| c != '\n').collect();
    all[random.random_range(0..all.len())].to_string()
}

/// The words of these files, counted one after the other.
pub(crate) fn count<'a>(files: impl IntoIterator<Item = &'a [u8]>) -> BTreeMap<Vec<u8>, u64> {
    let mut counts = BTreeMap::new();
    for bytes in files {
        for word in String::from_utf8_lossy(bytes).split(|c| WHITE_SPACE.contains(c)) {
            let word = word.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase();
            if !word.is_empty() {
                *counts.entry(word.into_bytes()).or_insert(0) += 1;
            }
        }
    }
    counts
}

/// What of two counts differs, a little of it, for people.
#[track_caller]
pub(crate) fn same(found: &BTreeMap<Vec<u8>, u64>, expected: &BTreeMap<Vec<u8>, u64>) {
    let words = found.keys().chain(expected.keys());
    let differ: Vec<String> = words
        .filter(|word| found.get(*word) != expected.get(*word))
        .take(10)
        .map(|word| format!("{:?}: found {:?}, expected {:?}", String::from_utf8_lossy(word), found.get(word), expected.get(word)))
        .collect();
    assert!(differ.is_empty(), "{} words found, {} expected; for example\n{}", found.len(), expected.len(), differ.join("\n"));
}
