//! Places in a job file, and what can be wrong there: each error names file, line, column, field, the value found, what was expected and what to
//! do. Refuses to be vague: a problem without a place can't be made.

use std::fmt;

use thiserror::Error;

/// A job file's text and the name that errors call it by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'t> {
    /// The file as the user named it.
    pub(crate) file: &'t str,
    /// Its content.
    pub(crate) content: &'t str,
}

/// A line and a column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands, so that what is found out about it later still names the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where its key or, without one, the value itself begins.
    pub(crate) place: Place,
    /// Its full name, such as `stage "split": inputs.lines`.
    pub(crate) field: String,
}

impl<T> At<T> {
    /// Something wrong here.
    pub(crate) fn error(&self, file: &str, problem: Problem) -> JobFileError {
        JobFileError(Box::new(Mistake { file: file.to_owned(), place: self.place, field: self.field.clone(), problem }))
    }
}

/// What is wrong with a job file. Boxed, since it is larger than what most of the reader's functions give.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}:{}: {}{}", .0.file, .0.place, prefix(&.0.field), .0.problem)]
pub(crate) struct JobFileError(Box<Mistake>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mistake {
    file: String,
    place: Place,
    field: String,
    problem: Problem,
}

fn prefix(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Problem {
    /// The text is not TOML.
    #[error("is not TOML: {0}; correct the line, https://toml.io shows the notation")]
    Syntax(String),
    /// A key that has no meaning here.
    #[error("unknown key; {0}")]
    UnknownKey(String),
    /// A value of another kind or outside its range.
    #[error("found {found}, expected {expected}; {remedy}")]
    Value {
        /// As it stands in the file.
        found: String,
        /// What may stand there.
        expected: String,
        /// What to do.
        remedy: String,
    },
    /// A key that must be there.
    #[error("is missing, expected {expected}; {remedy}")]
    Missing {
        /// What must stand there.
        expected: String,
        /// What to do.
        remedy: String,
    },
    /// Something that the interface knows but this version lacks.
    #[error("found {found}, which is not built yet; built are: {built}")]
    NotBuilt {
        /// As it stands in the file.
        found: String,
        /// What may stand there today.
        built: String,
    },
    /// Keys that contradict each other.
    #[error("{0}")]
    Conflict(String),
}

impl<'t> Text<'t> {
    /// The place of a byte. One past the end, or inside a character, is taken for the character before it.
    pub(crate) fn place(&self, byte: usize) -> Place {
        let mut end = byte.min(self.content.len());
        while !self.content.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.content.get(..end).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Place { line: before.matches('\n').count() + 1, column }
    }

    /// The text of a span; long or broken ones are cut, control characters replaced.
    pub(crate) fn excerpt(&self, span: std::ops::Range<usize>) -> String {
        const SHOWN_MAX: usize = 60;
        let text = self.content.get(span).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let shown: String = line.chars().take(SHOWN_MAX).collect();
        let cut = if shown.len() == text.len() { "" } else { "…" };
        // A text may hold tabs and the control characters behind ASCII, which a terminal would obey.
        let plain: String = shown.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect();
        plain + cut
    }

    /// Something wrong at a byte.
    pub(crate) fn error(&self, byte: usize, field: &str, problem: Problem) -> JobFileError {
        JobFileError(Box::new(Mistake { file: self.file.to_owned(), place: self.place(byte), field: field.to_owned(), problem }))
    }

    /// The content at a span, whole.
    pub(crate) fn slice(&self, span: std::ops::Range<usize>) -> &'t str {
        self.content.get(span).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_from_one() {
        let text = Text { file: "f", content: "a = 1\näö = 2\n" };
        let cases = [(0, "1:1"), (4, "1:5"), (6, "2:1"), (8, "2:2"), (7, "2:1"), (11, "2:4"), (99, "3:1")];
        for (byte, expected) in cases {
            assert_eq!(text.place(byte).to_string(), expected, "byte {byte}");
        }
    }

    #[test]
    fn a_long_value_is_cut_in_messages() {
        let content = "x".repeat(100);
        let text = Text { file: "f", content: &content };
        assert_eq!(text.excerpt(0..100), format!("{}…", "x".repeat(60)));
        assert_eq!(text.excerpt(0..3), "xxx");
    }
}
