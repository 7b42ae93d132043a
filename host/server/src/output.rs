//! The one place that prints: results on stdout, everything else on stderr. Refuses to decide what is said; a reader that went away (a closed
//! pipe) ends quietly what was being written.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Style {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON value.
    Json,
}

/// Whether colours and updating lines may be used on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    /// A terminal that shows colours.
    Colour,
    /// A terminal whose user wants no colours (`NO_COLOR`).
    Plain,
    /// No terminal: a file or a pipe.
    None,
}

impl Screen {
    /// What stderr is. `NO_COLOR` counts when it is not empty, as <https://no-color.org> says.
    pub(crate) fn of_stderr() -> Self {
        if !io::stderr().is_terminal() {
            return Self::None;
        }
        match std::env::var_os("NO_COLOR") {
            Some(value) if !value.is_empty() => Self::Plain,
            _ => Self::Colour,
        }
    }

    /// Whether it is a terminal.
    pub(crate) const fn is_terminal(self) -> bool {
        matches!(self, Self::Colour | Self::Plain)
    }
}

/// Prints a result to stdout, with a newline at its end.
///
/// # Errors
/// Stdout can't be written, for another reason than that its reader went away.
pub(crate) fn result(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written =
        stdout.write_all(text.trim_end_matches('\n').as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
    reader_of(written).map(drop)
}

/// Prints a result to stdout as JSON.
///
/// # Errors
/// Stdout can't be written, or the value has a form that JSON does not have.
pub(crate) fn result_json(value: &impl Serialize) -> io::Result<()> {
    result(&serde_json::to_string_pretty(value)?)
}

/// Whether anybody takes what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Somebody may.
    There,
    /// Nobody does any more: a closed pipe.
    Gone,
}

/// Prints results to stdout that are too many to be kept, line by line.
pub(crate) struct Lines(io::BufWriter<io::StdoutLock<'static>>);

impl Lines {
    /// Nothing is printed yet.
    pub(crate) fn new() -> Self {
        Self(io::BufWriter::new(io::stdout().lock()))
    }

    /// Prints a line, perhaps a little later.
    ///
    /// # Errors
    /// Stdout can't be written, for another reason than that its reader went away.
    pub(crate) fn print(&mut self, line: &str) -> io::Result<Reader> {
        reader_of(self.0.write_all(line.as_bytes()).and_then(|()| self.0.write_all(b"\n")))
    }

    /// Prints what was kept back.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub(crate) fn flush(&mut self) -> io::Result<Reader> {
        reader_of(self.0.flush())
    }
}

fn reader_of(written: io::Result<()>) -> io::Result<Reader> {
    match written {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error),
    }
}

/// Goes to the beginning of a terminal's line and clears it.
const CLEAR_LINE: &str = "\r\x1b[K";

/// Whether the terminal's last line shows text that the next line must clear first.
static SHOWN_IN_PLACE: AtomicBool = AtomicBool::new(false);

/// Prints a line to stderr. Nobody to read it is no reason to stop a job.
pub(crate) fn tell(line: &str) {
    write_lines(format!("{line}\n").as_bytes());
}

/// Shows text in the last line of a terminal, in place of what was shown there before; an empty text clears it.
pub(crate) fn show_in_place(text: &str) {
    let mut stderr = io::stderr().lock();
    let _unread = stderr.write_all(format!("{CLEAR_LINE}{text}").as_bytes()).and_then(|()| stderr.flush());
    SHOWN_IN_PLACE.store(!text.is_empty(), Ordering::Relaxed);
}

/// Writes whole lines to stderr, in one call, so that lines of several threads never mix.
fn write_lines(lines: &[u8]) {
    let mut stderr = io::stderr().lock();
    let clear = if SHOWN_IN_PLACE.swap(false, Ordering::Relaxed) { CLEAR_LINE } else { "" };
    let _unread = stderr.write_all(&[clear.as_bytes(), lines].concat());
}

/// Where the log goes: to stderr, line by line.
#[derive(Debug, Default)]
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        write_lines(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints why the program ends. Lines are our own: what guests say is one line before it gets into an error.
pub(crate) fn tell_error(message: &str) {
    let message = message.split('\n').map(harmless).collect::<Vec<_>>().join("\n");
    match Screen::of_stderr() {
        Screen::Colour => tell(&format!("\x1b[1;31merror:\x1b[0m {message}")),
        Screen::Plain | Screen::None => tell(&format!("error: {message}")),
    }
}

/// A table for people: columns as wide as their widest cell, two blanks between them, the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A text from a guest or a file name as it may be shown in a terminal or a log: control characters escaped, so that nobody forges lines.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_table_are_aligned_and_lines_have_no_blanks_at_their_end() {
        let rows = [vec!["a".to_owned(), "number".to_owned()], vec!["äöü".to_owned(), "1".to_owned()]];
        assert_eq!(table(&rows), "a    number\näöü  1\n");
    }

    #[test]
    fn a_guests_text_can_not_forge_a_line() {
        assert_eq!(harmless("a\nfinished \u{1b}[2Jb\u{9b}ß"), "a\\nfinished \\u{1b}[2Jb\\u{9b}ß");
    }
}
