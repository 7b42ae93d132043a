//! A record as `stream consume` prints it: a line of text for people, or one JSON value a line, which loses nothing: bytes that are not UTF-8 stand
//! as base64 under a name of their own. Refuses to let a record's bytes steer a terminal or begin a line.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gregor_model::columns::Record;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::checkpoints::rfc3339;
use crate::output::{self, Style};

/// A record and where it stands.
pub(super) struct Shown<'a> {
    /// The stream.
    pub(super) stream: &'a str,
    /// The partition.
    pub(super) partition: u32,
    /// The record.
    pub(super) record: Record<'a>,
    /// Its headers.
    pub(super) headers: Vec<(&'a [u8], &'a [u8])>,
}

/// The form is a stable surface.
#[derive(Serialize)]
struct Json<'a> {
    stream: &'a str,
    partition: u32,
    offset: u64,
    /// Milliseconds since 1970.
    timestamp: i64,
    #[serde(flatten)]
    content: Map<String, Value>,
    headers: Vec<Map<String, Value>>,
}

impl Shown<'_> {
    /// The line, without its end.
    pub(super) fn line(&self, style: Style) -> String {
        match style {
            Style::Json => self.json(),
            Style::Text => self.text(),
        }
    }

    fn json(&self) -> String {
        let Self { stream, partition, record, headers } = self;
        let mut content = Map::new();
        insert(&mut content, "key", record.key);
        insert(&mut content, "value", record.value);
        let headers = headers.iter().map(|(name, value)| {
            let mut header = Map::new();
            insert(&mut header, "name", Some(name));
            insert(&mut header, "value", Some(value));
            header
        });
        let (offset, timestamp) = (record.offset, record.timestamp);
        let json = Json { stream, partition: *partition, offset, timestamp, content, headers: headers.collect() };
        // Texts and numbers can't fail to be JSON.
        serde_json::to_string(&json).unwrap_or_else(|error| error.to_string())
    }

    fn text(&self) -> String {
        let Self { partition, record, headers, .. } = self;
        let time = u64::try_from(record.timestamp).map_or_else(|_| format!("{} ms", record.timestamp), rfc3339);
        let absent = || "-".to_owned();
        let mut line = format!(
            "{partition}\t{}\t{time}\t{}\t{}",
            record.offset,
            record.key.map_or_else(absent, readable),
            record.value.map_or_else(absent, readable)
        );
        for (name, value) in headers {
            line.push_str(&format!("\t{}={}", readable(name), readable(value)));
        }
        line
    }
}

/// Puts bytes under a name: as text, or as base64 under `<name>-base64`; null where there are none.
fn insert(map: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => map.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => map.insert(name.to_owned(), Value::String(text.to_owned())),
        Some((bytes, Err(_))) => map.insert(format!("{name}-base64"), Value::String(BASE64_STANDARD.encode(bytes))),
    };
}

/// Bytes for people: control characters, and bytes that are not UTF-8, escaped.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&output::harmless(chunk.valid()));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: Vec<(&'a [u8], &'a [u8])>) -> Shown<'a> {
        Shown { stream: "words", partition: 3, record: Record { offset: 7, timestamp: 1_700_000_000_123, key, value }, headers }
    }

    #[test]
    fn json_loses_no_byte() {
        let found = shown(None, Some(b"a\t\"b\"\n"), vec![(b"h", b"1"), (b"h", b"\xff")]).line(Style::Json);
        let expected = r#"{"stream":"words","partition":3,"offset":7,"timestamp":1700000000123,"key":null,"value":"a\t\"b\"\n","headers":[{"name":"h","value":"1"},{"name":"h","value-base64":"/w=="}]}"#;
        assert_eq!(found, expected);
        let found = shown(Some(b"\xffk"), None, vec![]).line(Style::Json);
        assert!(found.contains(r#""key-base64":"/2s=","value":null,"headers":[]"#), "{found}");
    }

    #[test]
    fn text_forges_no_line_and_talks_to_no_terminal() {
        let found = shown(Some("kä".as_bytes()), Some(b"a\nb\x1b[2J\xff"), vec![(b"why", b"x\ty")]).line(Style::Text);
        assert_eq!(found, "3\t7\t2023-11-14T22:13:20.123Z\tkä\ta\\nb\\u{1b}[2J\\xff\twhy=x\\ty");
        assert_eq!(shown(None, None, vec![]).line(Style::Text), "3\t7\t2023-11-14T22:13:20.123Z\t-\t-");
    }
}
