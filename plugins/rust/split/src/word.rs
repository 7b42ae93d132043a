//! What a word is. Refuses to allocate where a line is ASCII, as most are.

use gregor::{Field, FieldWriter, Presence};

/// A word of a line, not yet in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word<'a> {
    /// It has only ASCII characters.
    Ascii(&'a [u8]),
    /// It has others.
    Unicode(&'a str),
}

impl Field for Word<'_> {
    #[inline]
    fn write(self, to: &mut FieldWriter<'_>) -> Presence {
        match self {
            Self::Ascii(word) => to.extend_lowercase(word),
            Self::Unicode(word) => to.extend(word.to_lowercase().as_bytes()),
        }
        Presence::Present
    }
}

/// Calls `each` with the words of a line, in order. This is the rule of the word count, which everything else refers to:
///
/// 1. Bytes that are not UTF-8 become U+FFFD, as [`String::from_utf8_lossy`] does.
/// 2. The line is cut at each character with the Unicode property `White_Space` ([`char::is_whitespace`]).
/// 3. ASCII punctuation ([`char::is_ascii_punctuation`]) is trimmed off both ends of each piece.
/// 4. What is empty is dropped.
/// 5. The rest is put in lower case with the full mapping of Unicode, final sigma included ([`str::to_lowercase`]): when a [`Word`] writes
///    itself.
#[inline]
pub fn words(line: &[u8], each: impl FnMut(Word<'_>)) {
    if line.is_ascii() { ascii_words(line, each) } else { unicode_words(&String::from_utf8_lossy(line), each) }
}

#[inline]
fn ascii_words(line: &[u8], mut each: impl FnMut(Word<'_>)) {
    for piece in line.split(|byte| is_ascii_white_space(*byte)) {
        let word = trim(piece);
        if !word.is_empty() {
            each(Word::Ascii(word));
        }
    }
}

/// The ASCII characters with the property `White_Space`; unlike [`u8::is_ascii_whitespace`], with U+000B.
const fn is_ascii_white_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

fn trim(mut piece: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = piece
        && first.is_ascii_punctuation()
    {
        piece = rest;
    }
    while let [rest @ .., last] = piece
        && last.is_ascii_punctuation()
    {
        piece = rest;
    }
    piece
}

fn unicode_words(line: &str, mut each: impl FnMut(Word<'_>)) {
    for piece in line.split(char::is_whitespace) {
        let word = piece.trim_matches(|c: char| c.is_ascii_punctuation());
        if !word.is_empty() {
            each(if word.is_ascii() { Word::Ascii(word.as_bytes()) } else { Word::Unicode(word) });
        }
    }
}

#[cfg(test)]
mod tests;
