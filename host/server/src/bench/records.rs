//! The records that cases read: made from their offsets alone, so that they are the same in every run and need not be stored, and a job goes on
//! where it stood. A record has a key of 16 bytes and a value of 84; of the word count, a line of at most 100 bytes. Refuses to be random beyond
//! that: one seed, in this file.

use gregor_model::columns::Columns;
use gregor_model::limits::BATCH_RECORDS_MAX;

use super::case::{Case, Draw, Keys, WANTED};

/// Bytes of a key: 16 hexadecimal digits.
pub(super) const KEY_BYTES: usize = 16;
/// Bytes of a value.
pub(super) const VALUE_BYTES: usize = 84;
/// One record in so many goes through the filter.
const WANTED_EVERY: u64 = 10;
/// What all draws begin with.
const SEED: u64 = 0x6772_6567_6f72;
/// A number without a factor in common with any number of keys (powers of ten): multiplied by it, keys come in another order.
const STRIDE: u64 = 7_368_787;
/// Bytes of text that values are cut out of.
const TEXT_BYTES: usize = 64 * 1024;
/// Bytes of a line, at most.
const LINE_BYTES_MAX: usize = 100;
/// Lines to draw from: 6 MB, more than second-level caches hold.
const LINES: u64 = 64 * 1024;
/// Words to draw from.
const WORDS: u64 = 20_000;
/// Event time of the first record, in milliseconds since 1970; each thousand records are a millisecond.
const FIRST_TIMESTAMP: i64 = 1_700_000_000_000;

/// Makes the records of a case.
pub(super) struct Maker {
    keys: Keys,
    content: Content,
}

/// What values are made of.
enum Content {
    /// Text of which each value is a piece.
    Text(Vec<u8>),
    /// Whole lines, back to back, and the end of each.
    Lines(Vec<u8>, Vec<u32>),
}

impl Maker {
    /// For the records of this case.
    pub(super) fn new(case: Case) -> Self {
        let content = if case == Case::WordCount { lines() } else { Content::Text(text()) };
        Self { keys: case.keys(), content }
    }

    /// Up to `count` records from an offset on, but no more than a batch has.
    pub(super) fn batch(&self, from: u64, count: u64) -> Columns {
        let count = count.min(u64::try_from(BATCH_RECORDS_MAX).unwrap_or(u64::MAX));
        let mut columns = Columns {
            offsets: (from..from + count).collect(),
            timestamps: (from..from + count).map(timestamp).collect(),
            ..Columns::default()
        };
        match &self.content {
            Content::Text(text) => self.fill_with_text(&mut columns, text),
            Content::Lines(data, ends) => fill_with_lines(&mut columns, (data, ends)),
        }
        columns
    }

    fn fill_with_text(&self, columns: &mut Columns, text: &[u8]) {
        let count = columns.offsets.len();
        columns.data.reserve_exact(count * (KEY_BYTES + VALUE_BYTES));
        columns.key_ends.reserve_exact(count);
        columns.value_ends.reserve_exact(count);
        for &offset in &columns.offsets {
            columns.data.extend_from_slice(&key(self.key_number(offset)));
            columns.key_ends.push(position(columns.data.len()));
            let draw = drawn(offset ^ !SEED);
            let at = below(draw, TEXT_BYTES as u64 - VALUE_BYTES as u64);
            let wanted = if is_wanted(offset) { WANTED } else { "" };
            columns.data.extend_from_slice(wanted.as_bytes());
            columns.data.extend_from_slice(text.get(at..at + VALUE_BYTES - wanted.len()).unwrap_or_default());
            columns.value_ends.push(position(columns.data.len()));
        }
    }

    /// The number of the key of the record at an offset. At first each key comes once, in an order of its own; then they are drawn.
    pub(super) fn key_number(&self, offset: u64) -> u64 {
        let Keys { count, draw } = self.keys;
        if offset < count {
            return offset * STRIDE % count;
        }
        match draw {
            Draw::Uniform => drawn(offset ^ SEED) % count,
            Draw::Zipf => zipf(drawn(offset ^ SEED), count) * STRIDE % count,
        }
    }

    /// How many keys there are.
    pub(super) const fn keys(&self) -> u64 {
        self.keys.count
    }
}

/// Whether the record at an offset goes through the filter.
fn is_wanted(offset: u64) -> bool {
    drawn(offset.wrapping_add(SEED)).is_multiple_of(WANTED_EVERY)
}

fn fill_with_lines(columns: &mut Columns, (data, ends): (&[u8], &[u32])) {
    let count = columns.offsets.len();
    columns.data.reserve_exact(count * LINE_BYTES_MAX);
    for &offset in &columns.offsets {
        let line = below(drawn(offset ^ SEED), LINES);
        let start = line.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |&end| end as usize);
        let end = ends.get(line).map_or(start, |&end| end as usize);
        columns.key_ends.push(position(columns.data.len()));
        columns.data.extend_from_slice(data.get(start..end).unwrap_or_default());
        columns.value_ends.push(position(columns.data.len()));
    }
    // No key: the first of each two bits.
    columns.nulls = vec![0b0101_0101; count.div_ceil(4)];
    if let (Some(last), rest @ 1..) = (columns.nulls.last_mut(), count % 4) {
        *last &= (1 << (2 * rest)) - 1;
    }
}

/// Lower-case letters and blanks.
fn text() -> Vec<u8> {
    const LETTERS: &[u8] = b"etaoinshrdlu etaoin cmfwyp ";
    let letter = |at: u64| LETTERS.get(below(drawn(at ^ SEED), LETTERS.len() as u64)).copied().unwrap_or(b' ');
    (0..TEXT_BYTES as u64).map(letter).collect()
}

/// Lines of made-up words, drawn as those of a language are: the n-th as likely as 1/n. Some begin with a capital, some are followed by a comma.
fn lines() -> Content {
    let (mut data, mut ends, mut drawn_so_far) = (Vec::new(), Vec::new(), 0_u64);
    for _ in 0..LINES {
        let start = data.len();
        loop {
            drawn_so_far += 1;
            let draw = drawn(drawn_so_far ^ SEED);
            let word = word(zipf(draw, WORDS), draw);
            if data.len() - start + word.len() > LINE_BYTES_MAX {
                break;
            }
            data.extend_from_slice(word.as_bytes());
        }
        ends.push(position(data.len()));
    }
    Content::Lines(data, ends)
}

/// A word by its number, with what follows it in a line. Frequent words are short.
fn word(number: u64, draw: u64) -> String {
    const SYLLABLES: [&str; 16] = ["ba", "ce", "do", "fi", "gu", "ha", "le", "mo", "ni", "pu", "ra", "se", "to", "vi", "wu", "zan"];
    let mut word = String::new();
    let mut rest = number;
    loop {
        word.push_str(SYLLABLES.get(below(rest << 60, 16)).copied().unwrap_or_default());
        rest /= 16;
        if rest == 0 {
            break;
        }
    }
    match draw % 16 {
        0 => word.remove(0).to_ascii_uppercase().to_string() + &word + " ",
        1 => word + ", ",
        _ => word + " ",
    }
}

/// The bytes of a key: its number, mixed so that keys have nothing in common, in hexadecimal digits.
pub(super) fn key(number: u64) -> [u8; KEY_BYTES] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mixed = mix(number);
    std::array::from_fn(|at| {
        let digit = mixed >> (60 - 4 * at) & 0xf;
        DIGITS.get(usize::try_from(digit).unwrap_or(0)).copied().unwrap_or(b'0')
    })
}

/// The number of a key that [`key`] made.
pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(key).ok().filter(|digits| digits.len() == KEY_BYTES)?;
    u64::from_str_radix(digits, 16).ok().map(unmix)
}

/// One of the numbers below `count`, the n-th as likely as ln(1 + 1/n): about 1/n. The inverse of that distribution is count^u of an even u.
fn zipf(draw: u64, count: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "a draw; its last bits matter to nobody")]
    let (even, count_float) = ((draw >> 11) as f64 / (1_u64 << 53) as f64, count as f64);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1, at most a number of keys")]
    let rank = count_float.powf(even) as u64;
    rank.clamp(1, count) - 1
}

/// A number drawn for a place: the finalizer of SplitMix64 (Steele, Lea, Flood 2014) on the n-th of its states.
fn drawn(place: u64) -> u64 {
    mix(place.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Mixes 64 bits, so that each input has an output of its own.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The inverse of [`mix`]: its steps backwards, with the inverses of the factors.
const fn unmix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 31) ^ (bits >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    bits = (bits ^ (bits >> 27) ^ (bits >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    bits ^ (bits >> 30) ^ (bits >> 60)
}

/// A draw as a number below `count`, by its high bits.
fn below(draw: u64, count: u64) -> usize {
    let scaled = (u128::from(draw) * u128::from(count)) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

fn timestamp(offset: u64) -> i64 {
    FIRST_TIMESTAMP + i64::try_from(offset / 1000).unwrap_or(0)
}

/// An end in columns: a batch has far less than 4 GiB.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn records_are_valid_and_depend_on_their_offsets_alone() {
        for case in Case::ALL {
            let maker = Maker::new(case);
            let whole = maker.batch(1_000, 1_000);
            whole.check().unwrap();
            let (first, second) = (Maker::new(case).batch(1_000, 1), maker.batch(1_001, 7));
            let pieces: Vec<_> = first.iter().chain(second.iter()).collect();
            assert_eq!(whole.iter().take(8).collect::<Vec<_>>(), pieces, "{case:?}");
            if case == Case::WordCount {
                assert!(whole.iter().all(|line| line.key.is_none() && line.value.is_some_and(|line| (80..=100).contains(&line.len()))));
            } else {
                assert!(whole.iter().all(|record| record.key.unwrap().len() + record.value.unwrap().len() == 100));
            }
        }
        assert_eq!(Maker::new(Case::Identity).batch(0, 1_000_000).len(), BATCH_RECORDS_MAX);
    }

    #[test]
    fn each_key_comes_once_before_keys_are_drawn() {
        let maker = Maker::new(Case::CountHot);
        let seen: BTreeSet<u64> = (0..10_000).map(|offset| maker.key_number(offset)).collect();
        assert_eq!(seen, (0..10_000).collect());
        let drawn: BTreeSet<u64> = (10_000..110_000).map(|offset| maker.key_number(offset)).collect();
        assert!(drawn.len() > 9_900 && drawn.last() < Some(&10_000), "{}", drawn.len());
        for number in [0, 1, 9_999, 123_456_789, u64::MAX] {
            assert_eq!(number_of(&key(number)), Some(number));
        }
        assert_eq!(number_of(b"0123"), None);
    }

    #[test]
    fn zipf_draws_the_first_often_and_the_others_as_well() {
        let drawn: Vec<u64> = (0..100_000).map(|place| zipf(drawn(place), 1_000)).collect();
        let times = |number: u64| drawn.iter().filter(|&&found| found == number).count();
        // ln 2 / ln 1000 is a tenth.
        assert!(
            (9_000..11_000).contains(&times(0)) && times(0) > times(1) && times(1) > times(9),
            "{} {} {}",
            times(0),
            times(1),
            times(9)
        );
        assert!(drawn.iter().max() < Some(&1_000) && drawn.iter().any(|&number| number > 900));
    }
}
