//! What goes wrong with guests, one enum for each who must act differently on it: who starts the host, who uploads, who calls, and the
//! services towards a guest. Names and texts of a guest are escaped when they are told. Refuses to carry an error of wasmtime outside: its text is enough, and nobody else knows its types.

use gregor_model::names::InvalidName;
use thiserror::Error;
use wasmtime::component::{ComponentType, Lower};

use crate::stdio::one_line;

/// Why guests cannot be run on this machine.
#[derive(Debug, Error)]
pub enum GuestError {
    /// A number that makes no engine.
    #[error("engine option {option} is {found}, expected {expected}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its value.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
    /// wasmtime cannot start with these options.
    #[error("the wasm engine does not start: {0}; lower the number of instances or their memory")]
    Engine(String),
    /// The folder for compiled components; guests run without it, only later.
    #[error("compiled components can't be kept in {path:?}: {reason}")]
    Cache {
        /// The folder.
        path: std::path::PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The thread that watches over calls cannot start.
    #[error("the epoch ticker does not start")]
    Ticker(#[source] std::io::Error),
}

/// Why an upload is not taken in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// More bytes than a component may have.
    #[error("the file has {size} bytes, a component at most {max}; strip its debug information")]
    TooLarge {
        /// Bytes found.
        size: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// Not WebAssembly at all.
    #[error("the file is not WebAssembly ({0}); upload the .wasm that `cargo build --target wasm32-wasip2` writes")]
    NotWasm(&'static str),
    /// A module of core WebAssembly.
    #[error(
        "the file is a core module, not a component; build it with `cargo build --target wasm32-wasip2`, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Bytes that contradict the format, or use a feature that is not served.
    #[error("the component is not valid: {}", one_line(.0))]
    Invalid(String),
    /// Compiling it takes more than it may.
    #[error("the component can't be compiled: {}", one_line(.0))]
    Compile(String),
    /// An import that nobody serves.
    #[error("the component imports {}, which is not served here; known are: {known}", one_line(.name))]
    UnknownImport {
        /// The import.
        name: String,
        /// What may be imported.
        known: String,
    },
    /// An export that every task has.
    #[error("the component exports no {wanted}; it exports: {}", one_line(.found))]
    MissingExport {
        /// The exports of which one is needed.
        wanted: &'static str,
        /// The exports found.
        found: String,
    },
    /// Both forms of `process`.
    #[error("the component exports {0} and {1}; export one of them, they are two forms of the same")]
    TwoProcessors(&'static str, &'static str),
    /// An import or export of a known name with another type.
    #[error(
        "the component was made for another version of the interfaces: {}; generate its bindings from the WIT of this release", one_line(.0)
    )]
    Type(String),
    /// `describe` failed.
    #[error("the component does not describe itself: {}", one_line(.0))]
    Describe(String),
    /// A name in the description that is none.
    #[error("the component describes itself with an invalid name: {0}")]
    Name(#[from] InvalidName),
    /// Two things of one name.
    #[error("the component describes two {what} named {name:?}; give each a name of its own")]
    Twice {
        /// Inputs, outputs or stores.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// More than a description may hold.
    #[error("the component's description has {what} {found}, at most {max} are allowed")]
    TooMuch {
        /// What there is too much of, with its unit.
        what: &'static str,
        /// How much.
        found: usize,
        /// How much is allowed.
        max: usize,
    },
    /// The host is out of room, which is not the component's fault.
    #[error("this host has no room to try the component now: {0}; try again later")]
    NoRoom(String),
}

/// How a call failed. Whatever it wrote and emitted is to be dropped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// Try the same batch again: what failed lies outside the records.
    #[error("{0}")]
    Retryable(String),
    /// A record of the batch is at fault: bisect. Every trap counts as this.
    #[error("{0}")]
    Poison(String),
    /// Stop the job.
    #[error("{0}")]
    Fatal(String),
    /// The host itself failed; the guest did nothing wrong.
    #[error("{0}")]
    Broken(String),
}

/// Why a state call is refused; the guest sees it and may go on. The cases are those of `gregor:task/state.error`.
#[derive(Debug, Clone, PartialEq, Eq, Error, ComponentType, Lower)]
#[component(variant)]
pub enum StateRefusal {
    /// The component's description has no store of this name.
    #[error("no store is named {0:?}")]
    #[component(name = "no-such-store")]
    NoSuchStore(String),
    /// The key or value is longer than the limit; its length in bytes.
    #[error("a key or value of {0} bytes is too large")]
    #[component(name = "too-large")]
    TooLarge(u64),
    /// `add` on a value that is not 8 bytes long; the length found.
    #[error("a value of {0} bytes is no counter, which has 8")]
    #[component(name = "not-a-counter")]
    NotACounter(u64),
    /// `add` beyond the range of a signed 64-bit number.
    #[error("the counter would leave the range of a signed 64-bit number")]
    #[component(name = "overflow")]
    Overflow,
    /// A column's ends or nulls contradict its data; what is wrong.
    #[error("{0}")]
    #[component(name = "invalid-columns")]
    InvalidColumns(String),
}

/// How a service ends that does not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServiceError {
    /// The guest is told and may go on. From a service that has no error in the contract (`emit`, `select`) it counts as a trap.
    #[error(transparent)]
    Refused(#[from] StateRefusal),
    /// A limit was passed: the call traps with this reason.
    #[error("{0}")]
    Trap(String),
    /// The host failed, for example its disk: the call ends as [`CallError::Broken`].
    #[error("{0}")]
    Broken(String),
}
