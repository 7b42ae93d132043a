//! How records look in a file. Refuses a record that would read back as another one or as two.
//!
//! | format       | read                                                         | written                                           |
//! |--------------|--------------------------------------------------------------|---------------------------------------------------|
//! | `lines`      | value = the line without LF or CR LF, no key                 | value, LF                                         |
//! | `tsv`        | key = up to the first TAB, value = the rest; no TAB = no key | key, TAB, value, LF; without a key: value, LF     |
//! | `json-lines` | value = the line, one JSON document; no key                  | value, LF                                         |
//! | `csv`        | value = the row as a JSON object; no key                     | a header line, then the values of each object     |
//! | `bytes`      | value = the file; no key                                     | value, nothing between two of them                |
//!
//! All but `tsv` leave a key out: that is what the format is chosen for. `lines`, `tsv` and `bytes` know no absent value: a tombstone is written as
//! an empty one. What is no line by itself is in the modules `csv` and `json`.

use gregor_model::columns::Record;
use gregor_model::job::Format;
use memchr::memchr;

use crate::csv;
use crate::json;

/// Appends a record to a file's bytes. Where it is refused, nothing is appended. `columns` are those of the file's first CSV record, and empty
/// before it.
///
/// # Errors
/// What was found, where, and what the format expects.
pub(crate) fn write_record((format, columns): (Format, &mut Vec<String>), record: &Record<'_>, into: &mut Vec<u8>) -> Result<(), String> {
    match format {
        Format::Lines | Format::Tsv => write_line(format, record, into),
        Format::JsonLines => write_json(record, into),
        Format::Csv => {
            let value = record.value.ok_or(NO_VALUE)?;
            let begin = into.len();
            csv::write_object(columns, value, into).inspect_err(|_| into.truncate(begin))
        }
        Format::Bytes => {
            into.extend_from_slice(record.value.unwrap_or_default());
            Ok(())
        }
    }
}

const NO_VALUE: &str = "it has no value (a tombstone), expected JSON";

fn write_line(format: Format, record: &Record<'_>, into: &mut Vec<u8>) -> Result<(), String> {
    let value = record.value.unwrap_or_default();
    refuse(b'\n', ("value", "an LF"), value)?;
    if format == Format::Tsv {
        match record.key {
            Some(key) => {
                refuse(b'\n', ("key", "an LF"), key)?;
                refuse(b'\t', ("key", "a TAB"), key)?;
                into.extend_from_slice(key);
                into.push(b'\t');
            }
            // It would read back as a record whose key is what stands before the TAB.
            None => refuse(b'\t', ("value", "a TAB and there is no key"), value)?,
        }
    }
    into.extend_from_slice(value);
    into.push(b'\n');
    Ok(())
}

fn write_json(record: &Record<'_>, into: &mut Vec<u8>) -> Result<(), String> {
    let value = record.value.ok_or(NO_VALUE)?;
    refuse(b'\n', ("value", "an LF"), value)?;
    json::check(value)?;
    if value.ends_with(b"\r") {
        return Err("its value ends with a CR, which would belong to the end of the line, expected a value without".to_owned());
    }
    into.extend_from_slice(value);
    into.push(b'\n');
    Ok(())
}

fn refuse(byte: u8, (part, found): (&str, &str), bytes: &[u8]) -> Result<(), String> {
    match memchr(byte, bytes) {
        None => Ok(()),
        Some(at) => Err(format!("its {part} has {found} (at byte {at} of {}), expected a {part} without", bytes.len())),
    }
}

/// A line, without its end, as key and value.
pub(crate) fn read_line(format: Format, line: &[u8]) -> KeyAndValue<'_> {
    // Nobody looks for a TAB where it means nothing: reading lines took 1.6 times as long then.
    let tab = if format == Format::Tsv { memchr(b'\t', line) } else { None };
    match tab.and_then(|tab| line.split_at_checked(tab)) {
        Some((key, rest)) => (Some(key), rest.get(1..).unwrap_or_default()),
        None => (None, line),
    }
}

/// What a line holds: a key, if there is one, and a value.
pub type KeyAndValue<'a> = (Option<&'a [u8]>, &'a [u8]);

/// A record that stands on a line of its own, by format and line (without its end): key and value; none on a blank line between JSON documents.
///
/// # Errors
/// What is wrong with the line, such as "its value is not one JSON document …"; or records of this format stand on no lines.
pub fn record_of_line(format: Format, line: &[u8]) -> Result<Option<KeyAndValue<'_>>, String> {
    match format {
        Format::Lines | Format::Tsv => Ok(Some(read_line(format, line))),
        Format::JsonLines if json::is_blank(line) => Ok(None),
        Format::JsonLines => json::check(line).map(|_| Some((None, line))),
        Format::Csv | Format::Bytes => Err(format!("records of format {} stand on no lines", format.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: Format, (key, value): (Option<&str>, Option<&str>), expected: Result<&str, &str>) {
        let mut bytes = b"before\n".to_vec();
        let record = Record { offset: 0, timestamp: 0, key: key.map(str::as_bytes), value: value.map(str::as_bytes) };
        let written = write_record((format, &mut Vec::new()), &record, &mut bytes);
        let after = String::from_utf8(bytes.split_off(7)).unwrap();
        assert_eq!(written.as_ref().map(|()| after.as_str()).map_err(String::as_str), expected, "{format:?} {key:?} {value:?}");
        assert!(written.is_ok() || after.is_empty(), "a refused record leaves {after:?}");
    }

    #[test]
    fn records_are_written_a_line_each_and_refused_where_they_would_read_back_differently() {
        check(Format::Lines, (None, Some("a b")), Ok("a b\n"));
        check(Format::Lines, (Some("key"), Some("a\tb")), Ok("a\tb\n"));
        check(Format::Lines, (None, None), Ok("\n"));
        check(Format::Lines, (None, Some("a\nb")), Err("its value has an LF (at byte 1 of 3), expected a value without"));
        check(Format::Tsv, (Some("k"), Some("v\tw")), Ok("k\tv\tw\n"));
        check(Format::Tsv, (Some(""), Some("v")), Ok("\tv\n"));
        check(Format::Tsv, (Some("k"), None), Ok("k\t\n"));
        check(Format::Tsv, (None, Some("v")), Ok("v\n"));
        check(Format::Tsv, (None, None), Ok("\n"));
        check(Format::Tsv, (Some("k"), Some("v\n")), Err("its value has an LF (at byte 1 of 2), expected a value without"));
        check(Format::Tsv, (Some("k\n"), Some("v")), Err("its key has an LF (at byte 1 of 2), expected a key without"));
        check(Format::Tsv, (Some("k\t"), Some("v")), Err("its key has a TAB (at byte 1 of 2), expected a key without"));
        check(Format::Tsv, (None, Some("v\tw")), Err("its value has a TAB and there is no key (at byte 1 of 3), expected a value without"));
    }

    #[test]
    fn documents_objects_and_bytes_are_written_and_others_refused() {
        check(Format::JsonLines, (Some("key"), Some("{\"a\": [1]}")), Ok("{\"a\": [1]}\n"));
        check(Format::JsonLines, (None, None), Err("it has no value (a tombstone), expected JSON"));
        check(Format::JsonLines, (None, Some("{\n}")), Err("its value has an LF (at byte 1 of 3), expected a value without"));
        check(
            Format::JsonLines,
            (None, Some("1\r")),
            Err("its value ends with a CR, which would belong to the end of the line, expected a value without"),
        );
        check(Format::JsonLines, (None, Some("")), Err("its value is not one JSON document: EOF while parsing a value at line 1 column 0"));
        check(Format::Csv, (Some("key"), Some("{\"a\":\"1\"}")), Ok("a\n1\n"));
        check(Format::Csv, (None, None), Err("it has no value (a tombstone), expected JSON"));
        check(Format::Csv, (None, Some("1")), Err("its value is no JSON object, expected one whose names are the columns"));
        check(Format::Bytes, (Some("key"), Some("a\nb\t")), Ok("a\nb\t"));
        check(Format::Bytes, (None, None), Ok(""));
    }

    #[test]
    fn what_is_written_reads_back() {
        for (key, value) in [(Some("k"), "v\tw"), (Some(""), ""), (None, "v"), (None, "")] {
            let mut bytes = Vec::new();
            let record = Record { offset: 0, timestamp: 0, key: key.map(str::as_bytes), value: Some(value.as_bytes()) };
            write_record((Format::Tsv, &mut Vec::new()), &record, &mut bytes).unwrap();
            assert_eq!(read_line(Format::Tsv, bytes.strip_suffix(b"\n").unwrap()), (record.key, value.as_bytes()));
        }
    }
}
