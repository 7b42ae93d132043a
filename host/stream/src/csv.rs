//! Rows of CSV as JSON objects and back. As RFC 4180 has it, and where that is silent as most readers do: a quote in the middle of a field is itself,
//! what stands behind a closing quote belongs to the field, an empty line is no row. All values are texts: CSV has no types. Refuses rows that the
//! header does not fit, text that is not UTF-8 (JSON could not hold it), and objects that would read back as others.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use memchr::{memchr, memchr2, memchr3};

use crate::json;

/// Columns of a file: beyond what any table program makes, so that a file that is none is told by its first line. Bounds what a header takes.
const COLUMNS_MAX: usize = 65_536;
/// U+FEFF, which some programs put in front of a file.
pub(crate) const MARK: &[u8] = b"\xef\xbb\xbf";

/// Where in a row a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the beginning of a field.
    Begin,
    /// In a field where a quote is itself.
    Plain,
    /// Between quotes.
    Quoted,
    /// Behind a quote that closes, unless another one follows.
    Closed,
}

/// Where the LF that ends a row stands in these bytes, which go on where those before ended; none: the row goes on at the new place.
pub(crate) fn find_end(place: &mut Place, bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some((&byte, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) {
        (*place, at) = match (*place, byte) {
            (Place::Quoted, b'"') => (Place::Closed, at + 1),
            (Place::Quoted, _) => (Place::Quoted, at + 1 + memchr(b'"', rest).unwrap_or(rest.len())),
            (Place::Begin | Place::Closed, b'"') => (Place::Quoted, at + 1),
            (_, b'\n') => return Some(at),
            (_, b',') => (Place::Begin, at + 1),
            _ => (Place::Plain, at + 1 + memchr2(b',', b'\n', rest).unwrap_or(rest.len())),
        };
    }
    None
}

/// The first field of a row, and what stands behind its comma; none: it is the last.
fn take_field<'r: 's, 's>(row: &'r [u8], scratch: &'s mut Vec<u8>) -> (&'s [u8], Option<&'r [u8]>) {
    let Some(mut rest) = row.strip_prefix(b"\"") else { return cut(row) };
    scratch.clear();
    loop {
        let (text, behind) = memchr(b'"', rest).map_or((rest, &b""[..]), |at| rest.split_at(at));
        scratch.extend_from_slice(text);
        rest = behind.get(1..).unwrap_or_default();
        match rest.strip_prefix(b"\"") {
            Some(more) => {
                scratch.push(b'"');
                rest = more;
            }
            None => break,
        }
    }
    let (text, next) = cut(rest);
    scratch.extend_from_slice(text);
    (scratch, next)
}

/// What stands before the first comma, and behind it.
fn cut(row: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b',', row).and_then(|comma| row.split_at_checked(comma)) {
        Some((field, rest)) => (field, Some(rest.get(1..).unwrap_or_default())),
        None => (row, None),
    }
}

/// The columns of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// For each what its value follows in an object: `{"name":` or `,"name":`.
    names: Vec<Vec<u8>>,
}

impl Header {
    /// Takes a header line, without its end and without a mark.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, String> {
        let mut scratch = Vec::new();
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut rest = Some(line);
        while let Some(row) = rest {
            let number = names.len() + 1;
            if number > COLUMNS_MAX {
                return Err(format!("its header line has more than {COLUMNS_MAX} columns; is it CSV with a header line?"));
            }
            let (field, next) = take_field(row, &mut scratch);
            let name = str::from_utf8(field).map_err(|_| format!("column {number} of its header line is not UTF-8; convert the file"))?;
            if !seen.insert(name.to_owned()) {
                return Err(format!("its header line has two columns {}; give each a name of its own", json::shown(name)));
            }
            let mut before = vec![if number == 1 { b'{' } else { b',' }];
            json::write_text(name, &mut before);
            before.push(b':');
            names.push(before);
            rest = next;
        }
        Ok(Self { names })
    }

    /// Makes an object of a row, without its end.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub(crate) fn object(&self, row: &[u8], scratch: &mut Vec<u8>, into: &mut Vec<u8>) -> Result<(), String> {
        let (mut rest, mut count) = (Some(row), 0);
        while let Some(row) = rest {
            let (field, next) = take_field(row, scratch);
            if let Some(before) = self.names.get(count) {
                let text = str::from_utf8(field).map_err(|_| format!("is not UTF-8 in its field {}", count + 1))?;
                into.extend_from_slice(before);
                json::write_text(text, into);
            }
            count += 1;
            rest = next;
        }
        if count != self.names.len() {
            return Err(format!("has {count} fields, the header line of its file has {}", self.names.len()));
        }
        into.push(b'}');
        Ok(())
    }
}

/// Appends an object as a row; before the first one of a file, while there are no columns, its header line, which gives the columns.
///
/// # Errors
/// What was found and what is expected. Something may have been appended then.
pub(crate) fn write_object(columns: &mut Vec<String>, value: &[u8], into: &mut Vec<u8>) -> Result<(), String> {
    let members = json::members(json::check(value)?)?;
    if columns.is_empty() {
        if members.is_empty() || members.len() > COLUMNS_MAX {
            return Err(format!("its value is an object of {} members, expected 1 to {COLUMNS_MAX}, the columns", members.len()));
        }
        *columns = members.iter().map(|(name, _)| name.clone().into_owned()).collect();
        write_row(columns.iter().map(String::as_str), into);
    }
    if columns.iter().zip(&members).all(|(column, (name, _))| column == name) && columns.len() == members.len() {
        write_row(members.iter().map(|(_, value)| value.as_ref()), into);
        return Ok(());
    }
    let by_name: BTreeMap<&str, &str> = members.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    let values: Option<Vec<&str>> = columns.iter().map(|column| by_name.get(column.as_str()).copied()).collect();
    match values.filter(|values| values.len() == members.len()) {
        Some(values) => {
            write_row(values.into_iter(), into);
            Ok(())
        }
        None => Err(format!(
            "the names in its value are {}, expected those of the file's first record: {}",
            listed(by_name.into_keys()),
            listed(columns.iter().map(String::as_str))
        )),
    }
}

/// Names for people: the first few.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names = names.map(json::shown);
    let mut shown = names.by_ref().take(8).collect::<Vec<_>>().join(", ");
    if names.next().is_some() {
        shown.push_str(" …");
    }
    shown
}

fn write_row<'a>(fields: impl Iterator<Item = &'a str>, into: &mut Vec<u8>) {
    let begin = into.len();
    for (index, field) in fields.enumerate() {
        if index > 0 {
            into.push(b',');
        }
        let text = field.as_bytes();
        let is_special = memchr3(b',', b'"', b'\n', text).or_else(|| memchr(b'\r', text)).is_some() || text.starts_with(MARK);
        if is_special {
            into.push(b'"');
            into.extend_from_slice(doubled(field).as_bytes());
            into.push(b'"');
        } else {
            into.extend_from_slice(text);
        }
    }
    if into.len() == begin {
        // A row of one empty field would be an empty line, which is no row.
        into.extend_from_slice(b"\"\"");
    }
    into.push(b'\n');
}

fn doubled(field: &str) -> Cow<'_, str> {
    if field.contains('"') { Cow::Owned(field.replace('"', "\"\"")) } else { Cow::Borrowed(field) }
}

#[cfg(test)]
mod tests;
