//! Words and decisions of Gregor. Everything here is pure: same arguments, same answer. It performs no I/O, reads no clock, draws no random
//! number, is not async; the other crates observe facts, ask here what follows from them, and carry it out.

pub mod bisect;
pub mod columns;
pub mod coordinator;
pub mod dead_letter;
pub mod digest;
pub mod document;
pub mod due;
pub mod garbage;
pub mod history;
pub mod job;
pub mod keys;
pub mod limits;
pub mod manifest;
pub mod names;
pub mod part;
pub mod partitioner;
pub mod plan;
pub mod recovery;
pub mod register;
pub mod seal;
pub mod segment;
pub mod snapshot;
pub mod spec;
pub mod start;
pub mod steps;
pub mod upkeep;
