//! What a word is, by the rule of the example task `split` (`plugins/rust/split/src/word.rs`), for what stands in for it and for the plain loop.
//! Refuses to allocate where a line is ASCII, but for capitals.

/// Calls `each` with the words of a line in lower case, in order.
pub(super) fn words(line: &[u8], mut each: impl FnMut(&[u8])) {
    if line.is_ascii() {
        for piece in line.split(|byte| matches!(byte, b'\t'..=b'\r' | b' ')) {
            let word = trim(piece);
            if word.iter().any(u8::is_ascii_uppercase) {
                each(&word.to_ascii_lowercase());
            } else if !word.is_empty() {
                each(word);
            }
        }
    } else {
        for piece in String::from_utf8_lossy(line).split(char::is_whitespace) {
            let word = piece.trim_matches(|c: char| c.is_ascii_punctuation());
            if !word.is_empty() {
                each(word.to_lowercase().as_bytes());
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], expected: &[&str]) {
        let mut found = Vec::new();
        words(line, |word| found.push(String::from_utf8(word.to_vec()).unwrap()));
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(line));
    }

    #[test]
    fn words_are_those_of_the_task() {
        check(b" Don't, \"panic\"! -- it's\tALL\x0bfine. ", &["don't", "panic", "it's", "all", "fine"]);
        check("Größe\u{2003}ΟΔΟΣ, x".as_bytes(), &["größe", "οδος", "x"]);
        check(b"a\xffb", &["a\u{fffd}b"]);
        check(b"", &[]);
    }
}
