//! Words of lines that are easy to get wrong.

use super::*;

/// The words of a line as they are emitted, joined by `|`.
fn emitted(line: &[u8]) -> String {
    let mut all: Vec<String> = Vec::new();
    words(line, |word| {
        let mut data = Vec::new();
        assert_eq!(word.write(&mut FieldWriter::new(&mut data)), Presence::Present);
        all.push(String::from_utf8(data).unwrap());
    });
    all.join("|")
}

#[track_caller]
fn check(line: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(emitted(line.as_ref()), expected, "{}", line.as_ref().escape_ascii());
}

#[test]
fn a_line_is_cut_at_white_space_of_ascii() {
    check("", "");
    check("   ", "");
    check("one", "one");
    check("  The quick\tbrown  fox ", "the|quick|brown|fox");
    check("a\x0Bb\x0Cc\rd\ne", "a|b|c|d|e");
    // The separators U+001C to U+001F are not White_Space, whatever other languages think.
    check("a\x1Cb\x1Fc\0d", "a\x1Cb\x1Fc\0d");
}

#[test]
fn a_line_is_cut_at_white_space_of_unicode() {
    check("a\u{85}b\u{A0}c\u{1680}d\u{2003}e\u{2028}f\u{2029}g\u{202F}h\u{205F}i\u{3000}j", "a|b|c|d|e|f|g|h|i|j");
    // A zero-width space, a word joiner and a byte order mark are not White_Space.
    check("a\u{200B}b\u{2060}c\u{FEFF}d", "a\u{200B}b\u{2060}c\u{FEFF}d");
    check("\u{FEFF}first", "\u{FEFF}first");
    check("\u{180E}x", "\u{180E}x");
}

#[test]
fn punctuation_of_ascii_is_trimmed_at_both_ends_only() {
    check("\"Don't!\" (he said) -- well-known... $5", "don't|he|said|well-known|5");
    check("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "");
    check("... -- !!", "");
    check("«Grüße», …und „mehr“ — so.", "«grüße»|…und|„mehr“|—|so");
    check("_x_ ~y~ ;;;z", "x|y|z");
}

#[test]
fn lower_case_is_the_full_mapping() {
    check("STRASSE Straße ẞ", "strasse|straße|ß");
    check("İstanbul I ı", "i\u{307}stanbul|i|ı");
    check("ÄÖÜ Éa ДА", "äöü|éa|да");
    // The sign of Kelvin has a letter of ASCII as its lower case.
    check("\u{212A} \u{212B}", "k|å");
    check("Ǆ ǅ", "ǆ|ǆ");
}

#[test]
fn a_sigma_is_final_where_its_word_ends() {
    check("ΟΔΥΣΣΕΥΣ", "οδυσσευς");
    check("ΟΔΟΣ, ΣΟΦΟΣ. Σ ΑΣΑ", "οδος|σοφος|σ|ασα");
    // Case is decided after trimming, so that a quotation mark at the end changes nothing; one between letters is passed over.
    check("ΑΣ' 'ΑΣ ΑΣ'Α ΑΣ-Α", "ας|ας|ασ'α|ας-α");
}

#[test]
fn bytes_that_are_not_utf_8_become_the_replacement_character() {
    check(b"caf\xE9 ok", "caf\u{FFFD}|ok");
    check(b"\xFF\xFE", "\u{FFFD}\u{FFFD}");
    // A sequence that breaks off is one replacement character; a surrogate and an overlong form are one a byte.
    check(b"a\xE2\x82 b", "a\u{FFFD}|b");
    check(b"\xED\xA0\x80", "\u{FFFD}\u{FFFD}\u{FFFD}");
    check(b"\xC0\x80", "\u{FFFD}\u{FFFD}");
    check(b"x\xC2", "x\u{FFFD}");
    // The first byte of a no-break space, and then an ASCII space.
    check(b"a\xC2 b", "a\u{FFFD}|b");
}

#[test]
fn both_ways_through_a_line_agree_on_ascii() {
    // All pairs of ASCII characters between letters: enough to meet each rule at each place.
    for (first, second) in (0..128_u8).flat_map(|first| (0..128_u8).map(move |second| (first, second))) {
        let line = [b'A', first, second, b'B', b' ', first, b'C', second];
        let (mut fast, mut full) = (Vec::new(), Vec::new());
        ascii_words(&line, |word| fast.push(format!("{word:?}")));
        unicode_words(str::from_utf8(&line).unwrap(), |word| full.push(format!("{word:?}")));
        assert_eq!(fast, full, "{}", line.escape_ascii());
    }
}

/// The rule as it is written, without a way round anything.
fn plain(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .split(char::is_whitespace)
        .map(|piece| piece.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("|")
}

#[test]
fn random_lines_have_the_words_of_the_plain_rule() {
    const PIECES: [&[u8]; 24] = [
        b"a",
        b"Z",
        b"9",
        b" ",
        b"\t",
        b"\x0B",
        b"\r",
        b".",
        b"'",
        b"-",
        b"\xC2\x85",
        b"\xC2\xA0",
        b"\xE3\x80\x80",
        b"\xEF\xBB\xBF",
        b"\xC4\xB0",
        b"\xC3\x9F",
        b"\xCE\xA3",
        b"\xCE\x91",
        b"\xFF",
        b"\xC2",
        b"\xE2\x82",
        b"\xF0\x9F\x98\x80",
        b"\xE2\x80\x99",
        b"\0",
    ];
    let seed: u64 = 0x6772_6567_6F72;
    println!("seed {seed:#x}");
    let mut state = seed;
    for _ in 0..20_000 {
        let mut line = Vec::new();
        // A 64-bit xorshift. Each line has up to 12 pieces; about half of the lines have only those of ASCII.
        let among = if state & 0x100 == 0 { 10 } else { 24 };
        for _ in 0..state % 13 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            line.extend_from_slice(PIECES[usize::try_from(state % among).unwrap()]);
        }
        state = state.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
        assert_eq!(emitted(&line), plain(&line), "{}", line.escape_ascii());
    }
}
