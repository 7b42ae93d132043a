//! Why a call fails. Refuses to turn errors of other libraries into ours by itself: whether a record or the world is at fault is for the
//! author to say, `.map_err(Error::poison)?`.

use std::fmt;

use crate::bindings::gregor::task::{state, types};

/// A call that failed as a whole; all that it wrote and emitted is dropped. A panic counts as `Poison`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Something outside the records is at fault: the host tries the same batch again, a little later.
    Retryable(String),
    /// A record is at fault: the host bisects the batch down to it and follows the job's `on-error`.
    Poison(String),
    /// The job stops at its last checkpoint.
    Fatal(String),
}

impl Error {
    /// Something outside the records is at fault; why, for people.
    pub fn retryable(reason: impl fmt::Display) -> Self {
        Self::Retryable(reason.to_string())
    }

    /// A record is at fault; why, for people.
    pub fn poison(reason: impl fmt::Display) -> Self {
        Self::Poison(reason.to_string())
    }

    /// The job must stop; why, for people.
    pub fn fatal(reason: impl fmt::Display) -> Self {
        Self::Fatal(reason.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Retryable(reason) | Self::Poison(reason) | Self::Fatal(reason)) = self;
        f.write_str(reason)
    }
}

impl std::error::Error for Error {}

/// Why a state call was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateError {
    /// The component's description has no store of this name.
    NoSuchStore(String),
    /// The key has more than 1 MiB, or the value more than 16 MiB; its length in bytes.
    TooLarge(u64),
    /// `add` on a value that is not 8 bytes long; the length found, in bytes.
    NotACounter(u64),
    /// `add` beyond the range of a signed 64-bit number.
    Overflow,
    /// A column's ends or nulls contradict its data, which this crate never makes; what is wrong.
    InvalidColumns(String),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchStore(name) => write!(f, "store {name:?} is not in the component's description; add it there"),
            Self::TooLarge(bytes) => write!(f, "a key or value of {bytes} bytes is too long; keys have at most 1 MiB, values 16 MiB"),
            Self::NotACounter(bytes) => write!(f, "add on a value of {bytes} bytes; a counter has 8"),
            Self::Overflow => write!(f, "add goes beyond the range of a signed 64-bit number"),
            Self::InvalidColumns(what) => write!(f, "columns of a state call contradict themselves: {what}"),
        }
    }
}

impl std::error::Error for StateError {}

/// A key, value or counter that does not fit is the fault of the record at hand, which bisecting finds; the rest is the component's.
impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        match error {
            StateError::TooLarge(_) | StateError::NotACounter(_) | StateError::Overflow => Self::poison(error),
            StateError::NoSuchStore(_) | StateError::InvalidColumns(_) => Self::fatal(error),
        }
    }
}

impl From<state::Error> for StateError {
    fn from(error: state::Error) -> Self {
        match error {
            state::Error::NoSuchStore(name) => Self::NoSuchStore(name),
            state::Error::TooLarge(bytes) => Self::TooLarge(bytes),
            state::Error::NotACounter(bytes) => Self::NotACounter(bytes),
            state::Error::Overflow => Self::Overflow,
            state::Error::InvalidColumns(what) => Self::InvalidColumns(what),
        }
    }
}

impl From<Error> for types::TaskError {
    fn from(error: Error) -> Self {
        match error {
            Error::Retryable(reason) => Self::Retryable(reason),
            Error::Poison(reason) => Self::Poison(reason),
            Error::Fatal(reason) => Self::Fatal(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_mark_blames_the_record_or_the_component() {
        let blamed = |error: StateError| match Error::from(error) {
            Error::Retryable(_) => "nobody",
            Error::Poison(_) => "record",
            Error::Fatal(_) => "component",
        };
        assert_eq!(blamed(StateError::TooLarge(2_000_000)), "record");
        assert_eq!(blamed(StateError::NotACounter(3)), "record");
        assert_eq!(blamed(StateError::Overflow), "record");
        assert_eq!(blamed(StateError::NoSuchStore("x".to_owned())), "component");
        assert_eq!(blamed(StateError::InvalidColumns("x".to_owned())), "component");
    }
}
