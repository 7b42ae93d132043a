//! The envelope of every stored document that people may want to read: manifest, plan, spec, register, markers. One line says what it is, in
//! which version, and the digest of the rest; the rest is JSON. Refuses another kind, a newer version, and bytes that do not match the digest:
//! corrupt is never taken for absent.
//!
//! ```text
//! gregor <kind> <version> <sha-256 of the body, 64 hexadecimal digits> LF
//! <body: one JSON value> LF
//! ```
//!
//! | kind | version | body | where |
//! |---|---|---|---|
//! | `data` | 1 | the host's id (`coordination::local::data::Version`) | `<data>/version` |
//! | `register` | 2 | [`Register`](crate::register::Register) | `<data>/coordination/<tenant>/<job>` |
//! | `marker` | 1 | [`Marker`](crate::spec::Marker) | archive: `marker`, `tombstone`; output folders: `._gregor` |
//! | `cluster` | 1 | [`ClusterMarker`](crate::spec::ClusterMarker) | archive: `cluster` |
//! | `spec` | 2 | [`Spec`](crate::spec::Spec) | archive: `specs/…` |
//! | `plan` | 1 | [`Plan`](crate::plan::Plan) | archive: `plans/…` |
//! | `manifest` | 2 | [`Manifest`](crate::manifest::Manifest) | archive: `manifests/…` |
//! | `manifest-page` | 1 | list of [`Manifest`](crate::manifest::Manifest); not written any more | archive: `pages/…` |
//! | `task-page` | 1 | list of [`TaskEntry`](crate::snapshot::TaskEntry) | archive: `pages/…` |
//! | `part-page` | 1 | list of [`LivePart`](crate::history::LivePart) | archive: `pages/…` |
//! | `part-footer` | 2 | [`Footer`](crate::part::Footer) | at the end of each part, see [`part`](crate::part) |
//!
//! Each has a fixture `<kind>-v<version>`, as has every stored format that is no document. A format that changes takes another version and
//! another fixture; the old one stays, and stays readable.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::digest::Digest;
use crate::limits::DOCUMENT_BYTES_MAX;

/// Why bytes are not the document that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// There is no such first line.
    #[error("is not a {kind} of gregor: its first line is {found:?}")]
    NotADocument {
        /// What was expected.
        kind: &'static str,
        /// The beginning of what was found.
        found: String,
    },
    /// A version that this program does not know.
    #[error("is a {kind} of version {found}, this program knows up to {known}; use the newer gregor that wrote it")]
    NewerVersion {
        /// What it is.
        kind: &'static str,
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The body does not match its digest.
    #[error("was altered: its content has sha-256 {found}, its first line says {expected}")]
    Altered {
        /// The digest of the body found.
        found: Digest,
        /// The digest in the first line.
        expected: Digest,
    },
    /// A document that could be written and never read again.
    #[error("would be a {kind} of {bytes} bytes, a document has at most {DOCUMENT_BYTES_MAX}")]
    TooLarge {
        /// What it is.
        kind: &'static str,
        /// Bytes that it would have.
        bytes: usize,
    },
    /// The body is not what its kind demands.
    #[error("holds a {kind} that cannot be read: {reason}")]
    Content {
        /// What it is.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A kind of document: its name in the first line, and the version that is written (and the newest that is read).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The name, a-z and dashes.
    pub name: &'static str,
    /// The version, from 1.
    pub version: u32,
}

impl Kind {
    /// Bytes of a document with this body.
    ///
    /// # Errors
    /// The body has a form that JSON does not have (a map with keys that are not text), or is larger than what is read back.
    pub fn encode(self, body: &impl Serialize) -> Result<Vec<u8>, DocumentError> {
        let mut json = serde_json::to_vec(body).map_err(|error| DocumentError::Content { kind: self.name, reason: error.to_string() })?;
        json.push(b'\n');
        let mut bytes = format!("gregor {} {} {}\n", self.name, self.version, Digest::of(&json)).into_bytes();
        bytes.append(&mut json);
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge { kind: self.name, bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// The body of a document.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DocumentError> {
        let body = self.body(bytes)?;
        serde_json::from_slice(body).map_err(|error| DocumentError::Content { kind: self.name, reason: error.to_string() })
    }

    fn body(self, bytes: &[u8]) -> Result<&[u8], DocumentError> {
        let line_end = bytes.iter().take(200).position(|&byte| byte == b'\n').unwrap_or(bytes.len().min(80));
        let (line, rest) = bytes.split_at(line_end);
        let line = String::from_utf8_lossy(line);
        let not_a_document = || DocumentError::NotADocument { kind: self.name, found: line.to_string() };
        let words: Vec<&str> = line.split(' ').collect();
        let &["gregor", name, version, digest] = words.as_slice() else { return Err(not_a_document()) };
        if name != self.name {
            return Err(not_a_document());
        }
        let found = version.parse().map_err(|_| not_a_document())?;
        if found > self.version || found == 0 {
            return Err(DocumentError::NewerVersion { kind: self.name, found, known: self.version });
        }
        let expected = Digest::parse(digest).map_err(|_| not_a_document())?;
        let body = rest.get(1..).unwrap_or_default();
        let found = Digest::of(body);
        if found != expected {
            return Err(DocumentError::Altered { found, expected });
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { name: "thing", version: 2 };

    #[test]
    fn a_document_reads_back() {
        let bytes = KIND.encode(&vec![1, 2, 3]).unwrap();
        assert_eq!(KIND.decode::<Vec<u32>>(&bytes), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let most = usize::try_from(DOCUMENT_BYTES_MAX).unwrap();
        let around = KIND.encode(&"").unwrap().len();
        assert_eq!(KIND.encode(&"x".repeat(most - around)).map(|bytes| bytes.len()), Ok(most));
        assert_eq!(KIND.encode(&"x".repeat(most - around + 1)), Err(DocumentError::TooLarge { kind: "thing", bytes: most + 1 }));
    }

    #[test]
    fn no_altered_shortened_or_longer_document_is_accepted() {
        let bytes = KIND.encode(&vec![1, 2, 3]).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut altered = bytes.clone();
                altered[at] ^= 1 << bit;
                assert!(KIND.decode::<Vec<u32>>(&altered).is_err(), "bit {bit} of byte {at}");
            }
            assert!(KIND.decode::<Vec<u32>>(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(KIND.decode::<Vec<u32>>(&[&bytes[..], b"\n"].concat()).is_err());
    }

    #[test]
    fn another_kind_and_a_newer_version_are_told_apart() {
        let other = Kind { name: "other", version: 1 }.encode(&1).unwrap();
        assert!(matches!(KIND.decode::<u32>(&other), Err(DocumentError::NotADocument { .. })), "{other:?}");
        let newer = Kind { name: "thing", version: 3 }.encode(&1).unwrap();
        assert_eq!(KIND.decode::<u32>(&newer), Err(DocumentError::NewerVersion { kind: "thing", found: 3, known: 2 }));
    }
}
