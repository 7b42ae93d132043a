//! Mutations: of bytes, of the text of JSON, and of signed documents, whose first line is made to match again so that what lies behind the digest is
//! reached. All of it follows from the seed. Refuses to know any format but the envelope of documents.

use gregor_model::digest::Digest;

/// Longest input that is made of shorter ones, in bytes.
const BYTES_MAX: usize = 256 * 1024;

/// Numbers that readers trip over.
const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "-1",
    "7",
    "255",
    "256",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "4611686018427387904",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551614",
    "18446744073709551615",
    "18446744073709551616",
    "170141183460469231731687303715884105727",
    "-170141183460469231731687303715884105728",
    "1e400",
    "1.5",
    "-0",
    "1e19",
];

/// Texts that readers trip over, as they stand between quotes.
const TEXTS: [&str; 18] = [
    "",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    ".",
    "a/../b",
    "a//b",
    "\\u0000",
    "\\ud800",
    "\\n",
    "a\\\"b",
    "é\u{301}",
    "\u{202e}x",
    "._gregor",
    "confirmed",
    "created",
    "00000000000000000000000000000000",
    "ffffffffffffffffffffffffffffffff",
];

/// SplitMix64 (Steele et al. 2014): numbers that look random, and are the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to n - 1; 0 if there is nothing to choose from.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap()
    }

    pub(crate) fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        // Mostly short: a long range leaves nothing of the format.
        let most = if self.below(4) == 0 { length - start } else { (length - start).min(16) };
        start..start + self.below(most + 1)
    }
}

/// FNV-1a, to name files by their content.
pub(crate) fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// One to four changes of the bytes of a seed.
pub(crate) fn bytes(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.one(seeds).clone();
    let bytes_max = BYTES_MAX.max(2 * bytes.len());
    for _ in 0..=random.below(4) {
        change(random, seeds, &mut bytes);
    }
    bytes.truncate(bytes_max);
    bytes
}

fn change(random: &mut Random, seeds: &[Vec<u8>], bytes: &mut Vec<u8>) {
    let length = bytes.len();
    match random.below(9) {
        0 if length > 0 => bytes[random.below(length)] ^= 1 << random.below(8),
        1 if length > 0 => bytes[random.below(length)] = *random.one(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'\n', b'{', 0xc3]),
        2 => bytes.truncate(random.below(length + 1)),
        3 => {
            let copied = bytes[random.range(length)].to_vec();
            insert(bytes, random.below(length + 1), &copied);
        }
        4 => drop(bytes.drain(random.range(length))),
        5 => {
            let moved: Vec<u8> = bytes.drain(random.range(length)).collect();
            let at = random.below(bytes.len() + 1);
            insert(bytes, at, &moved);
        }
        6 => {
            let other = random.one(seeds);
            let tail = &other[random.below(other.len() + 1)..];
            bytes.truncate(random.below(length + 1));
            bytes.extend_from_slice(tail);
        }
        // A number of four or eight bytes, as lengths are stored.
        7 if length >= 8 => {
            let number = *random.one(&[0, 1, u64::from(u16::MAX), u64::from(u32::MAX), 1 << 30, 1 << 62, u64::MAX]);
            let width = *random.one(&[2, 4, 8]);
            let at = random.below(length - width + 1);
            bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
        }
        _ => {
            let noise = random.next().to_le_bytes();
            insert(bytes, random.below(length + 1), &noise[..random.below(9)]);
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    bytes.splice(at..at, more.iter().copied());
}

/// A document with changes anywhere, as a disk may make them: its first line says what its body was before.
pub(crate) fn unsigned(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    bytes(random, seeds)
}

/// A document whose body was changed, and whose first line says the digest of what it is now.
pub(crate) fn signed(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let bodies: Vec<Vec<u8>> = seeds.iter().map(|seed| split(seed).1.to_vec()).collect();
    let body = json(random, &bodies);
    let (line, _) = split(random.one(seeds).as_slice());
    let mut words: Vec<String> = String::from_utf8_lossy(line).split(' ').map(str::to_owned).collect();
    if let Some(digest) = words.last_mut() {
        *digest = Digest::of(&body).to_string();
    }
    [words.join(" ").as_bytes(), b"\n", &body].concat()
}

fn split(document: &[u8]) -> (&[u8], &[u8]) {
    let end = document.iter().position(|&byte| byte == b'\n').expect("a document begins with a line");
    (&document[..end], &document[end + 1..])
}

/// One to three changes of JSON, most of them such that it is JSON still.
pub(crate) fn json(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut text = random.one(seeds).clone();
    for _ in 0..=random.below(3) {
        if random.below(12) == 0 {
            change(random, seeds, &mut text);
        } else {
            change_json(random, seeds, &mut text);
        }
    }
    text.truncate(BYTES_MAX);
    text
}

fn change_json(random: &mut Random, seeds: &[Vec<u8>], text: &mut Vec<u8>) {
    let spans = spans(text);
    let Some(&span) = spans.get(random.below(spans.len())) else { return };
    let same: Vec<Span> = spans.iter().copied().filter(|other| other.kind == span.kind && other.start >= span.end).collect();
    match random.below(10) {
        // An element or member again, or gone, or elsewhere among its like.
        0 => {
            let copied = [b",", &text[span.start..span.end]].concat();
            insert(text, span.end, &copied);
        }
        1 => {
            let comma = usize::from(text.get(span.end) == Some(&b','));
            text.drain(span.start..span.end + comma);
        }
        2 | 3 if !same.is_empty() => {
            let other = *random.one(&same);
            let (first, second) = (text[span.start..span.end].to_vec(), text[other.start..other.end].to_vec());
            text.splice(other.start..other.end, first);
            text.splice(span.start..span.end, second);
        }
        4 => {
            let other = random.one(seeds);
            let theirs = self::spans(other);
            let theirs: Vec<Span> = theirs.into_iter().filter(|theirs| theirs.kind == span.kind).collect();
            if let Some(theirs) = theirs.get(random.below(theirs.len())) {
                text.splice(span.start..span.end, other[theirs.start..theirs.end].iter().copied());
            }
        }
        5 => {
            let value = *random.one(&["null", "true", "[]", "{}", "\"x\"", "{\"kind\":\"stream\"}", "[[]]"]);
            replace_value(text, span, value.as_bytes());
        }
        6 if random.below(8) == 0 => {
            let depth = *random.one(&[100, 127, 128, 1_000, 20_000]);
            let (open, close) = *random.one(&[("[", "]"), ("{\"a\":", "}")]);
            replace_value(text, span, [open.repeat(depth), "1".to_owned(), close.repeat(depth)].concat().as_bytes());
        }
        _ => change_scalar(random, text, &spans),
    }
}

/// Another number in the place of a number, another text in the place of a text.
fn change_scalar(random: &mut Random, text: &mut Vec<u8>, spans: &[Span]) {
    let wanted = *random.one(&[Kind::Number, Kind::Number, Kind::Number, Kind::Text]);
    let scalars: Vec<Span> = spans.iter().copied().filter(|span| span.kind == wanted).collect();
    let Some(&span) = scalars.get(random.below(scalars.len())) else { return };
    let new = match wanted {
        Kind::Number => (*random.one(&NUMBERS)).to_owned(),
        _ if random.below(3) == 0 => format!("\"{}\"", Digest::of(&random.next().to_le_bytes())),
        _ if random.below(20) == 0 => format!("\"{}\"", "x".repeat(100_000)),
        _ => format!("\"{}\"", random.one(&TEXTS)),
    };
    text.splice(span.start..span.end, new.bytes());
}

fn replace_value(text: &mut Vec<u8>, span: Span, value: &[u8]) {
    let start = match span.kind {
        Kind::Member => span.start + text[span.start..span.end].iter().position(|&byte| byte == b':').map_or(0, |colon| colon + 1),
        _ => span.start,
    };
    text.splice(start..span.end, value.iter().copied());
}

/// A piece of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    kind: Kind,
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    /// An object or a list.
    Group,
    /// A key with its value.
    Member,
}

/// All values and members of a text that may be JSON; nothing more is promised of one that is not.
fn spans(text: &[u8]) -> Vec<Span> {
    let (mut spans, mut open, mut at) = (Vec::new(), Vec::new(), 0);
    // Where the key of the value begins that comes next.
    let mut key = None;
    while let Some(&byte) = text.get(at) {
        let (start, kind) = (at, byte);
        at += 1;
        let ended = match kind {
            b'"' => {
                while text.get(at).is_some_and(|&byte| byte != b'"') {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(text.len());
                if text.get(at) == Some(&b':') {
                    key = Some(start);
                    continue;
                }
                Some((Kind::Text, start, key.take()))
            }
            b'-' | b'0'..=b'9' => {
                while text.get(at).is_some_and(|byte| b"0123456789.eE+-".contains(byte)) {
                    at += 1;
                }
                Some((Kind::Number, start, key.take()))
            }
            b'{' | b'[' => {
                open.push((start, key.take()));
                None
            }
            b'}' | b']' => open.pop().map(|(start, key)| (Kind::Group, start, key)),
            _ => None,
        };
        if let Some((kind, start, key)) = ended {
            spans.push(Span { kind, start, end: at });
            spans.extend(key.map(|start| Span { kind: Kind::Member, start, end: at }));
        }
    }
    spans
}
