//! Records as `stream produce` takes them: a line each. What `consume --output json` prints is taken as it is, so that records can be moved from one
//! stream to another without a loss. Refuses a line that is none of its format, a record over `limits.record`, and members that it does not know.

use std::io::{self, BufRead, Read};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gregor_model::columns::Record;
use gregor_model::job::Format;
use gregor_model::limits::KIB;
use gregor_runtime::Appender;
use gregor_runtime::setup::RunError;
use gregor_stream::record_of_line;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cli::ProducedFormat;

/// Bytes of JSON that a byte of a record takes at most: a control character is written with six, and headers may be as long as key and value.
const JSON_BYTES_A_BYTE: u64 = 12;
/// Bytes that JSON takes besides: names of members, of a thousand headers and more.
const JSON_BYTES: u64 = 64 * KIB;

/// Reads records, line by line.
pub(super) struct Incoming<R> {
    input: R,
    format: ProducedFormat,
    /// Bytes of a record's key and value, at most.
    record_bytes_max: u64,
    line: Vec<u8>,
    number: u64,
}

/// What came of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A record was appended, or the line held none.
    Line(u64),
    /// There are no more lines.
    End,
}

/// As `consume --output json` prints it. Where a record stood is taken no notice of.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Json {
    #[serde(default, rename = "stream")]
    _stream: IgnoredAny,
    #[serde(default, rename = "partition")]
    _partition: IgnoredAny,
    #[serde(default, rename = "offset")]
    _offset: IgnoredAny,
    timestamp: Option<i64>,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Header {
    name: Option<String>,
    name_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
}

impl<R: BufRead> Incoming<R> {
    /// Reads from an input.
    pub(super) const fn new(input: R, format: ProducedFormat, record_bytes_max: u64) -> Self {
        Self { input, format, record_bytes_max, line: Vec::new(), number: 0 }
    }

    /// Reads a line and appends its record, with this timestamp (milliseconds since 1970) where it has none of its own. Answers the line's bytes.
    ///
    /// # Errors
    /// The input can't be read, or the line is no record: says which line, and what is wrong.
    pub(super) fn next(&mut self, now: i64, to: &mut Appender<'_>) -> Result<Next, RunError> {
        self.number += 1;
        let number = self.number;
        let place = |problem: &dyn std::fmt::Display| format!("stdin, line {number}: {problem}");
        let (bytes, most) = self.read_line().map_err(|error| RunError::Failed(place(&format!("can't be read: {error}"))))?;
        if bytes == 0 {
            return Ok(Next::End);
        }
        let appended = if bytes > most { Err(self.line_too_long(most)) } else { self.append(now, to) };
        appended.map(|()| Next::Line(bytes)).map_err(|problem| RunError::Refused(place(&problem)))
    }

    /// Reads a line without its end; answers its bytes, 0 where there is no more, and how many they may be: of a longer one no more is kept.
    fn read_line(&mut self) -> io::Result<(u64, u64)> {
        let most = match self.format {
            ProducedFormat::Records => self.record_bytes_max.saturating_mul(JSON_BYTES_A_BYTE).saturating_add(JSON_BYTES),
            // TAB, CR and LF.
            ProducedFormat::Lines | ProducedFormat::Tsv | ProducedFormat::JsonLines => self.record_bytes_max.saturating_add(3),
        };
        self.line.clear();
        let bytes = (&mut self.input).take(most.saturating_add(1)).read_until(b'\n', &mut self.line)?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
        }
        Ok((bytes as u64, most))
    }

    fn append(&self, now: i64, to: &mut Appender<'_>) -> Result<(), String> {
        let format = match self.format {
            ProducedFormat::Lines => Format::Lines,
            ProducedFormat::Tsv => Format::Tsv,
            ProducedFormat::JsonLines => Format::JsonLines,
            ProducedFormat::Records => return self.append_json(now, to),
        };
        match record_of_line(format, &self.line)? {
            Some((key, value)) => self.append_record(&Record { offset: 0, timestamp: now, key, value: Some(value) }, &[], to),
            None => Ok(()),
        }
    }

    fn append_json(&self, now: i64, to: &mut Appender<'_>) -> Result<(), String> {
        if self.line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let json: Json =
            serde_json::from_slice(&self.line).map_err(|error| format!("is no record as `consume --output json` prints them: {error}"))?;
        let key = bytes_of(("key", json.key), json.key_base64)?;
        let value = bytes_of(("value", json.value), json.value_base64)?;
        let headers: Vec<(Vec<u8>, Vec<u8>)> = json.headers.into_iter().map(Header::bytes).collect::<Result<_, _>>()?;
        let headers: Vec<(&[u8], &[u8])> = headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        let record = Record { offset: 0, timestamp: json.timestamp.unwrap_or(now), key: key.as_deref(), value: value.as_deref() };
        self.append_record(&record, &headers, to)
    }

    fn append_record(&self, record: &Record<'_>, headers: &[(&[u8], &[u8])], to: &mut Appender<'_>) -> Result<(), String> {
        let data = record.key.map_or(0, <[u8]>::len) as u64 + record.value.map_or(0, <[u8]>::len) as u64;
        let headers_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if data > self.record_bytes_max || headers_bytes as u64 > self.record_bytes_max {
            return Err(self.too_long());
        }
        to.append(record, headers).map_err(|error| error.to_string())
    }

    fn line_too_long(&self, most: u64) -> String {
        match self.format {
            ProducedFormat::Records => format!("the line has more than {most} bytes; leave out headers, or raise limits.record"),
            ProducedFormat::Lines | ProducedFormat::Tsv | ProducedFormat::JsonLines => self.too_long(),
        }
    }

    fn too_long(&self) -> String {
        format!("the record has more than {} bytes; raise limits.record, or cut it into smaller ones", self.record_bytes_max)
    }
}

impl Header {
    fn bytes(self) -> Result<(Vec<u8>, Vec<u8>), String> {
        let name = bytes_of(("a header's name", self.name), self.name_base64)?;
        let value = bytes_of(("a header's value", self.value), self.value_base64)?;
        match (name, value) {
            (Some(name), Some(value)) => Ok((name, value)),
            _ => Err("a header has no name or no value".to_owned()),
        }
    }
}

/// Bytes that stand as text or, where they are none, as base64.
fn bytes_of((what, text): (&str, Option<String>), base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("{what} is there as text and as base64; leave one of them out")),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => BASE64_STANDARD.decode(base64).map(Some).map_err(|error| format!("{what} is no base64: {error}")),
        (None, None) => Ok(None),
    }
}
