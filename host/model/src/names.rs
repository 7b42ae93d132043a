//! Names and tokens: what things are called, and the numbers that fence old owners out. Each is a type of its own, so that an attempt can't
//! stand where a branch is meant. Refuses every text that is not a valid name; a value of these types is valid.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use crate::digest::Hex;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} {found:?} is not a name: 1 to 64 characters of {alphabet}")]
pub struct InvalidName {
    /// What was to be named.
    pub what: &'static str,
    /// The text found.
    pub found: String,
    /// The characters that are allowed.
    pub alphabet: &'static str,
}

/// Longest name of anything, in bytes.
const NAME_BYTES_MAX: usize = 64;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $alphabet:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(String);

        impl $type {
            /// Takes a text as a name.
            ///
            /// # Errors
            /// The text is empty, longer than 64 bytes, or has a character outside its alphabet.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                let allowed: fn(u8) -> bool = $allowed;
                if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(allowed) {
                    return Err(InvalidName { what: $what, found: text, alphabet: $alphabet });
                }
                Ok(Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

const fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

const fn lower_or_dash(byte: u8) -> bool {
    lower(byte) || byte == b'-'
}

/// UUIDs and times are in common use for it.
const fn of_production(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':')
}

name!(
    /// A job's name; folders and znodes are called after it.
    JobName, "job", "a-z 0-9 _ -", lower_or_dash
);
name!(
    /// A savepoint's name.
    SavepointName, "savepoint", "a-z 0-9 _ -", lower_or_dash
);
name!(
    /// A stage's name; file names are made of it, so it has no dash.
    StageName, "stage", "a-z 0-9 _", lower
);
name!(
    /// A stream's name.
    StreamName, "stream", "a-z 0-9 _ -", lower_or_dash
);
name!(
    /// What somebody calls the records that they put on a stream, to have them there once.
    ProductionId, "production", "a-z A-Z 0-9 _ - . :", of_production
);
name!(
    /// An input or output of a component.
    PortName, "port", "a-z 0-9 _", lower
);
name!(
    /// A store of a component.
    StoreName, "store", "a-z 0-9 _", lower
);

macro_rules! token {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub u64);

        impl $type {
            /// The one after this.
            ///
            /// # Panics
            /// After 2^64 of them, which no job lives to see.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

token!(
    /// Number of a checkpoint of a job. Never used twice, also when a checkpoint is aborted. The first is 1.
    CheckpointNumber
);
token!(
    /// A line of history: raised by every restore of an earlier checkpoint.
    Branch
);
token!(
    /// Token of a leader; of the `local` coordinator, which leads itself: its starts.
    Term
);
token!(
    /// Token of an assignment: raised with every attempt of any task.
    Generation
);
token!(
    /// One execution of a task.
    Attempt
);
token!(
    /// Number of a segment within an attempt. The first is 1.
    Sequence
);

/// Random token of a job or stream from its creation to its deletion, 32 hexadecimal digits. Part of every archive key, position and
/// marker, so that a job that was deleted and made again shares nothing with its predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Incarnation(pub u128);

/// One host process on one job; what a host writes into the archive stands under it. 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Boot(pub u128);

/// A host, from the creation of its data folder to its deletion: a restart on the same folder is the same host. 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct HostId(pub u128);

macro_rules! random_token {
    ($type:ident, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Hex::of(self.0.to_be_bytes()).as_str())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(Hex::of(self.0.to_be_bytes()).as_str())
            }
        }

        impl From<$type> for String {
            fn from(token: $type) -> String {
                token.to_string()
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                let invalid = || InvalidName { what: $what, found: text.clone(), alphabet: "0-9 a-f, 32 of them" };
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                    return Err(invalid());
                }
                u128::from_str_radix(&text, 16).map(Self).map_err(|_| invalid())
            }
        }
    };
}

random_token!(Incarnation, "incarnation");
random_token!(Boot, "boot");
random_token!(HostId, "host id");

/// A task of a job: stage by index in the job file, and input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// Index of the stage in the job file.
    pub stage: u16,
    /// The partition that it reads of each input of the stage; its number within the stage.
    pub partition: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stage, self.partition)
    }
}
