//! How records look in a file: one a line. Refuses a record that would read back as another one or as two.
//!
//! | format  | read                                                        | written                                            |
//! |---------|-------------------------------------------------------------|----------------------------------------------------|
//! | `lines` | value = the line without LF or CR LF, no key                | value, LF                                          |
//! | `tsv`   | key = up to the first TAB, value = the rest; no TAB = no key | key, TAB, value, LF; without a key: value, LF     |
//!
//! `lines` leaves a key out: that is what the format is chosen for. A file knows no absent value: a tombstone is written as an empty value.

use gregor_model::columns::Record;
use gregor_model::job::Format;
use memchr::memchr;

/// Appends a record to a file's bytes. Where it is refused, nothing is appended.
///
/// # Errors
/// What was found, where, and what the format expects.
pub(crate) fn write_record(format: Format, record: &Record<'_>, into: &mut Vec<u8>) -> Result<(), String> {
    let value = record.value.unwrap_or_default();
    refuse(b'\n', ("value", "an LF"), value)?;
    match (format, record.key) {
        (Format::Lines, _) => {}
        (Format::Tsv, Some(key)) => {
            refuse(b'\n', ("key", "an LF"), key)?;
            refuse(b'\t', ("key", "a TAB"), key)?;
            into.extend_from_slice(key);
            into.push(b'\t');
        }
        (Format::Tsv, None) => {
            // It would read back as a record whose key is what stands before the TAB.
            refuse(b'\t', ("value", "a TAB and there is no key"), value)?;
        }
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
pub(crate) fn read_line(format: Format, line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match format {
        Format::Lines => (None, line),
        Format::Tsv => match memchr(b'\t', line).and_then(|tab| line.split_at_checked(tab)) {
            Some((key, rest)) => (Some(key), rest.get(1..).unwrap_or_default()),
            None => (None, line),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: Format, (key, value): (Option<&str>, Option<&str>), expected: Result<&str, &str>) {
        let mut bytes = b"before\n".to_vec();
        let record = Record { offset: 0, timestamp: 0, key: key.map(str::as_bytes), value: value.map(str::as_bytes) };
        let written = write_record(format, &record, &mut bytes);
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
    fn what_is_written_reads_back() {
        for (key, value) in [(Some("k"), "v\tw"), (Some(""), ""), (None, "v"), (None, "")] {
            let mut bytes = Vec::new();
            let record = Record { offset: 0, timestamp: 0, key: key.map(str::as_bytes), value: Some(value.as_bytes()) };
            write_record(Format::Tsv, &record, &mut bytes).unwrap();
            assert_eq!(read_line(Format::Tsv, bytes.strip_suffix(b"\n").unwrap()), (record.key, value.as_bytes()));
        }
    }
}
