//! What a guest prints: bytes in, lines of its log out. Keeps the last lines of standard error of a call, because that is where a panic says
//! what happened. Refuses lines without end: what does not fit in a log line is dropped up to the next end of line.

use gregor_model::limits::LOG_LINE_BYTES_MAX;

/// How many of the last lines of standard error explain a trap: a panic takes two, its place and its text.
const TAIL_LINES: usize = 4;
/// Bytes of them, all together.
const TAIL_BYTES_MAX: usize = 1024;
/// What Rust's runtime says after each panic; of no use where nobody can set the variable.
const RUST_NOTE: &str = "note: run with `RUST_BACKTRACE=1`";

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Lines that have begun and not ended, and the tail of standard error.
#[derive(Debug, Default)]
pub(crate) struct Stdio {
    out: Vec<u8>,
    err: Vec<u8>,
    tail: Vec<String>,
}

impl Stdio {
    /// Takes printed bytes; answers the lines that they complete.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let line = self.line(stream);
            let room = LOG_LINE_BYTES_MAX.saturating_sub(line.len());
            line.extend_from_slice(text.get(..room).unwrap_or(text));
            if ended {
                lines.extend(self.end_line(stream));
            }
        }
        lines
    }

    /// Ends the call: answers the line that has begun on a stream, if any.
    pub(crate) fn flush(&mut self, stream: Stream) -> Option<String> {
        if self.line(stream).is_empty() { None } else { self.end_line(stream) }
    }

    /// The last lines of standard error since this was asked last, as one line.
    pub(crate) fn take_tail(&mut self) -> Option<String> {
        let tail = std::mem::take(&mut self.tail).join(" ");
        (!tail.is_empty()).then(|| cut(&tail, TAIL_BYTES_MAX).to_owned())
    }

    const fn line(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    /// The line that has begun, without empty ones.
    fn end_line(&mut self, stream: Stream) -> Option<String> {
        let bytes = std::mem::take(self.line(stream));
        let text = String::from_utf8_lossy(&bytes);
        let text = cut(text.trim_end(), LOG_LINE_BYTES_MAX);
        if text.is_empty() {
            return None;
        }
        if stream == Stream::Err && !text.starts_with(RUST_NOTE) {
            if self.tail.len() >= TAIL_LINES {
                self.tail.remove(0);
            }
            self.tail.push(cut(text, TAIL_BYTES_MAX).to_owned());
        }
        Some(text.to_owned())
    }
}

/// The beginning of a text, at most `max` bytes of it, whole characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

/// What a guest says, as it may stand in an error: one line, control characters escaped, so that nobody forges lines or talks to a terminal; of a
/// longer one than a line of a log its beginning, or escaping would make up to ten bytes of each that were counted.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        let before = line.len();
        if c.is_control() {
            line.extend(c.escape_default())
        } else {
            line.push(c)
        }
        if line.len() > LOG_LINE_BYTES_MAX {
            line.truncate(before);
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_is_one_line_without_orders_to_a_terminal() {
        assert_eq!(one_line("ä\u{1b}[2J\r\nerror: \u{9b}x"), "ä\\u{1b}[2J\\r\\nerror: \\u{9b}x");
    }

    #[test]
    fn what_escaping_makes_of_a_text_is_no_longer_than_a_line_of_a_log() {
        let line = one_line(&"\u{9b}".repeat(LOG_LINE_BYTES_MAX));
        assert!(
            line.len() <= LOG_LINE_BYTES_MAX && line.len() > LOG_LINE_BYTES_MAX - 10 && line.ends_with("\\u{9b}"),
            "{} bytes",
            line.len()
        );
        assert_eq!(one_line(&"x".repeat(LOG_LINE_BYTES_MAX)).len(), LOG_LINE_BYTES_MAX);
    }

    #[test]
    fn lines_are_put_together_and_empty_ones_left_out() {
        let mut stdio = Stdio::default();
        assert_eq!(stdio.write(Stream::Out, b"one"), Vec::<String>::new());
        assert_eq!(stdio.write(Stream::Out, b" line\n\r\n\nnext\nrest"), ["one line", "next"]);
        assert_eq!(stdio.flush(Stream::Out).as_deref(), Some("rest"));
        assert_eq!(stdio.flush(Stream::Out), None);
        assert_eq!(stdio.take_tail(), None);
    }

    #[test]
    fn the_tail_says_what_a_panic_said() {
        let mut stdio = Stdio::default();
        stdio.write(
            Stream::Err,
            b"a\nb\nc\n\nthread '<unnamed>' panicked at src/lib.rs:1:2:\nboom\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
        );
        assert_eq!(stdio.take_tail().as_deref(), Some("b c thread '<unnamed>' panicked at src/lib.rs:1:2: boom"));
        assert_eq!(stdio.take_tail(), None);
    }

    #[test]
    fn a_line_without_end_keeps_its_beginning_only() {
        let mut stdio = Stdio::default();
        for _ in 0..100 {
            assert!(stdio.write(Stream::Err, "ä".repeat(1000).as_bytes()).is_empty());
        }
        assert!(stdio.err.len() <= LOG_LINE_BYTES_MAX);
        let lines = stdio.write(Stream::Err, b"\nshort\n");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].len() <= LOG_LINE_BYTES_MAX && lines[0].starts_with('ä'));
        assert_eq!(lines[1], "short");
    }
}
