//! How the program ends: the exit codes of the interface page, and the failures that lead to them. Refuses to print: `output` does, once, in
//! `main`.

use std::process::ExitCode;

use anyhow::Error;

/// A well-defined end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done,
    /// The job or the request failed.
    Failed,
    /// The arguments, the job file or a component are wrong.
    Refused,
    /// Stored data is corrupt or from a newer version; nothing was touched.
    Corrupt,
    /// SIGINT, after a last checkpoint.
    Interrupted,
    /// SIGTERM, after a last checkpoint.
    Terminated,
}

impl Exit {
    /// The number that the shell sees. 128 + the signal's number is what shells report of a process that a signal ended.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Refused => 2,
            Self::Corrupt => 3,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not end well: an error for people, and the exit code that scripts read.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened, with its causes.
    pub(crate) error: Error,
}

impl Failure {
    /// The job or the request failed (exit 1).
    pub(crate) fn failed(error: impl Into<Error>) -> Self {
        Self { exit: Exit::Failed, error: error.into() }
    }

    /// What was asked for is wrong (exit 2).
    pub(crate) fn refused(error: impl Into<Error>) -> Self {
        Self { exit: Exit::Refused, error: error.into() }
    }

    /// Stored data can't be used (exit 3).
    pub(crate) fn corrupt(error: impl Into<Error>) -> Self {
        Self { exit: Exit::Corrupt, error: error.into() }
    }

    /// The error and its causes in one line. A cause that its effect quotes already is not said twice.
    pub(crate) fn message(&self) -> String {
        let mut message = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            if message.is_empty() {
                message = text;
            } else if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_interface_page() {
        let all = [Exit::Done, Exit::Failed, Exit::Refused, Exit::Corrupt, Exit::Interrupted, Exit::Terminated];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 130, 143]);
    }

    #[test]
    fn a_cause_is_said_once() {
        let chain = anyhow::anyhow!("disk is full").context("write x: disk is full").context("job fails");
        assert_eq!(Failure::failed(chain).message(), "job fails: write x: disk is full");
    }
}
