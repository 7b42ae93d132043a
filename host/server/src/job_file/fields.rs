//! Reads the keys of one table of a job file. Refuses unknown keys, with the nearest known one, and values of another kind than the key takes.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::amounts::{Amount, Setting};
use super::place::{At, JobFileError, Problem, Text};

/// Bytes of a text above which no neighbour is looked for.
const NEAREST_BYTES_MAX: usize = 64;
/// Characters of a name that errors show.
const SHOWN_MAX: usize = 64;

/// A table whose keys are all known.
pub(crate) struct Fields<'t> {
    text: Text<'t>,
    /// What stands before a key in its full name, such as `checkpoint.`.
    prefix: String,
    table: &'t DeTable<'t>,
    /// Where errors about a missing key point to.
    begin: usize,
}

/// A value and its key.
#[derive(Clone)]
pub(crate) struct Field<'t> {
    text: Text<'t>,
    /// The full name.
    pub(crate) name: String,
    key: Range<usize>,
    value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Fields<'t> {
    /// Takes a table of which all keys must be among `known`.
    ///
    /// # Errors
    /// The first unknown key.
    pub(crate) fn open(
        text: Text<'t>,
        (prefix, begin): (&str, usize),
        table: &'t DeTable<'t>,
        known: &[&str],
    ) -> Result<Self, JobFileError> {
        let unknown = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())).min_by_key(|key| key.span().start);
        if let Some(key) = unknown {
            let name = format!("{prefix}{}", shown(key.get_ref()));
            return Err(text.error(key.span().start, &name, Problem::UnknownKey(suggestion(key.get_ref(), known))));
        }
        Ok(Self { text, prefix: prefix.to_owned(), table, begin })
    }

    /// The value of a key, if it is there.
    pub(crate) fn get(&self, key: &str) -> Option<Field<'t>> {
        let (key, value) = self.table.get_key_value(key)?;
        Some(Field { text: self.text, name: format!("{}{}", self.prefix, shown(key.get_ref())), key: key.span(), value })
    }

    /// The value of a key that must be there.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn require(&self, key: &str, (expected, remedy): (&str, &str)) -> Result<Field<'t>, JobFileError> {
        self.get(key).ok_or_else(|| {
            let problem = Problem::Missing { expected: expected.to_owned(), remedy: remedy.to_owned() };
            self.text.error(self.begin, &format!("{}{key}", self.prefix), problem)
        })
    }

    /// The amount of a setting, or its default.
    ///
    /// # Errors
    /// It is of another kind, or outside the range.
    pub(crate) fn amount<A: Amount>(&self, setting: &Setting<A>) -> Result<A, JobFileError> {
        let Some(field) = self.get(setting.key) else { return Ok(setting.default) };
        match A::read(field.value.get_ref()) {
            None => Err(field.unexpected(&setting.expected(), A::REMEDY)),
            Some(amount) if amount < setting.low || amount > setting.high => {
                Err(field.unexpected(&setting.expected(), "choose one in this range"))
            }
            Some(amount) => Ok(amount),
        }
    }

    /// All values, in the order in which they stand in the file.
    pub(crate) fn all(&self) -> Vec<(&'t str, Field<'t>)> {
        let field = |key: &'t Spanned<DeString<'t>>, value| Field {
            text: self.text,
            name: format!("{}{}", self.prefix, shown(key.get_ref())),
            key: key.span(),
            value,
        };
        let mut all: Vec<_> = self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), field(key, value))).collect();
        all.sort_by_key(|(_, field)| field.key.start);
        all
    }
}

impl<'t> Field<'t> {
    /// A table whose keys anybody may choose, entry by entry in the order of the file.
    ///
    /// # Errors
    /// It is no table.
    pub(crate) fn entries(&self, (expected, remedy): (&str, &str)) -> Result<Vec<(&'t str, Field<'t>)>, JobFileError> {
        let table = self.table(expected, remedy)?;
        Ok(Fields { text: self.text, prefix: format!("{}.", self.name), table, begin: self.key.start }.all())
    }

    /// A table with known keys.
    ///
    /// # Errors
    /// It is no table, or has an unknown key.
    pub(crate) fn fields(&self, (expected, remedy): (&str, &str), known: &[&str]) -> Result<Fields<'t>, JobFileError> {
        Fields::open(self.text, (&format!("{}.", self.name), self.key.start), self.table(expected, remedy)?, known)
    }

    fn table(&self, expected: &str, remedy: &str) -> Result<&'t DeTable<'t>, JobFileError> {
        self.value.get_ref().as_table().ok_or_else(|| self.unexpected(expected, remedy))
    }

    /// The tables of an array of tables, each with the byte where it begins.
    ///
    /// # Errors
    /// It is no array of tables.
    pub(crate) fn tables(&self, (expected, remedy): (&str, &str)) -> Result<Vec<(usize, &'t DeTable<'t>)>, JobFileError> {
        let unexpected = || self.unexpected(expected, remedy);
        let array = self.value.get_ref().as_array().ok_or_else(unexpected)?;
        array.iter().map(|item| Ok((item.span().start, item.get_ref().as_table().ok_or_else(unexpected)?))).collect()
    }

    /// A text that is not empty.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn string(&self, (expected, remedy): (&str, &str)) -> Result<&'t str, JobFileError> {
        self.value.get_ref().as_str().filter(|text| !text.is_empty()).ok_or_else(|| self.unexpected(expected, remedy))
    }

    /// A text that names something.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn parse<T, E: std::fmt::Display>(
        &self,
        what: (&str, &str),
        parse: impl FnOnce(&'t str) -> Result<T, E>,
    ) -> Result<At<T>, JobFileError> {
        let text = self.string(what)?;
        parse(text).map(|value| self.at(value)).map_err(|_| self.unexpected(what.0, what.1))
    }

    /// One of the texts that are built; of those that the interface knows but that are not built, it is said.
    ///
    /// # Errors
    /// It is none of `built`.
    pub(crate) fn choice<T: Copy>(&self, built: &[(&str, T)], known: &[&str]) -> Result<T, JobFileError> {
        let names = built.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let expected = format!("one of {names}");
        let found = self.value.get_ref().as_str();
        if let Some((_, value)) = built.iter().find(|(name, _)| Some(*name) == found) {
            return Ok(*value);
        }
        if found.is_some_and(|found| known.contains(&found)) {
            return Err(self.error(Problem::NotBuilt { found: self.found(), built: names }));
        }
        let every: Vec<&str> = built.iter().map(|(name, _)| *name).collect();
        let remedy = found
            .and_then(|found| nearest(found, &every))
            .map_or("write one of them in quotes".to_owned(), |near| format!("did you mean {near:?}?"));
        Err(self.unexpected(&expected, &remedy))
    }

    /// A scalar as the text that stands in the file; of a text what is between the quotes.
    ///
    /// # Errors
    /// It is an array or a table.
    pub(crate) fn scalar(&self) -> Result<String, JobFileError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Array(_) | DeValue::Table(_) => {
                Err(self.unexpected("a text, number, boolean or date", "write lists and tables as a text that the task itself takes apart"))
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
                Ok(self.text.slice(self.value.span()).trim().to_owned())
            }
        }
    }

    /// A value with this field's place and name.
    pub(crate) fn at<T>(&self, value: T) -> At<T> {
        At { value, place: self.text.place(self.key.start), field: self.name.clone() }
    }

    /// The byte where its key begins.
    pub(crate) fn begin(&self) -> usize {
        self.key.start
    }

    /// Something wrong with there being this key.
    pub(crate) fn error_at_key(&self, problem: Problem) -> JobFileError {
        self.text.error(self.key.start, &self.name, problem)
    }

    /// Another key was expected.
    pub(crate) fn unexpected_key(&self, (expected, remedy): (&str, &str)) -> JobFileError {
        let found = self.text.excerpt(self.key.clone());
        self.error_at_key(Problem::Value { found, expected: expected.to_owned(), remedy: remedy.to_owned() })
    }

    /// Another value was expected.
    pub(crate) fn unexpected(&self, expected: &str, remedy: &str) -> JobFileError {
        self.error(Problem::Value { found: self.found(), expected: expected.to_owned(), remedy: remedy.to_owned() })
    }

    /// Something wrong with the value.
    pub(crate) fn error(&self, problem: Problem) -> JobFileError {
        self.text.error(self.value.span().start, &self.name, problem)
    }

    /// The value as it stands in the file.
    pub(crate) fn found(&self) -> String {
        match self.value.get_ref() {
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Array(_) => "an array".to_owned(),
            _ => self.text.excerpt(self.value.span()),
        }
    }
}

/// A key as errors name it: in quotes where it could not be written without.
fn shown(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !key.is_empty() && key.len() <= SHOWN_MAX && key.bytes().all(bare) { key.to_owned() } else { quoted(key) }
}

/// A name as errors have it: in quotes, without control characters, and cut where it is longer than any name.
pub(crate) fn quoted(name: &str) -> String {
    let begin: String = name.chars().take(SHOWN_MAX).collect();
    if begin.len() == name.len() { format!("{name:?}") } else { format!("{begin:?}…") }
}

/// What to do about an unknown key.
fn suggestion(found: &str, known: &[&str]) -> String {
    match nearest(found, known) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("the keys here are: {}", known.join(", ")),
    }
}

/// The nearest of some names, if one is near: at most a third of its letters differ, counting two swapped ones once.
fn nearest<'n>(found: &str, names: &[&'n str]) -> Option<&'n str> {
    // No name is half as long; the distance takes room for the product of both lengths.
    if found.len() > NEAREST_BYTES_MAX {
        return None;
    }
    let folded = found.to_lowercase().replace('_', "-");
    let distance = |name: &str| strsim::damerau_levenshtein(&folded, name);
    names
        .iter()
        .copied()
        .map(|name| (distance(name), name))
        .filter(|(far, name)| *far <= name.chars().count().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_odd_characters_is_shown_in_quotes_and_a_long_one_is_cut() {
        assert_eq!(shown("stop-timeout"), "stop-timeout");
        assert_eq!([shown(""), shown("a\nb"), shown("a b")], ["\"\"", "\"a\\nb\"", "\"a b\""]);
        assert_eq!(shown(&"ä".repeat(65)), format!("\"{}\"…", "ä".repeat(64)));
    }

    #[test]
    fn a_misspelt_key_finds_its_neighbour_and_a_strange_one_does_not() {
        let known = ["interval", "keep", "stop-timeout", "location"];
        let cases = [
            ("intervall", Some("interval")),
            ("Interval", Some("interval")),
            ("stop_timeout", Some("stop-timeout")),
            ("kepe", Some("keep")),
            ("locaiton", Some("location")),
            ("color", None),
            ("", None),
        ];
        for (found, expected) in cases {
            assert_eq!(nearest(found, &known), expected, "{found}");
        }
    }
}
