//! Records on their way in and out: blocks (the stored form of columns), what a task has emitted and not yet frozen, and connectors, one a
//! file. Everything here blocks and says so: no async, no clock, no thread of its own. Files are reached only through the folders that a job
//! names, so that no name (and no link) leaves them. Refuses to decide: whether an output file gets its name is said by the confirmed manifest.
//!
//! * [`encode_block`], [`decode_run`]: the block format, drawn in the module `block`.
//! * [`Outputs`]: stages what guest calls emit; [`Taken::seal`] makes runs and files of it, off the task's path.
//! * [`InputFolder`], [`make_plan`], [`check_plan`], [`FileSource`]: files in.
//! * [`OutputFolder`]: files out.

mod block;
mod compression;
mod csv;
mod error;
mod file_sink;
mod file_source;
mod format;
mod glob;
mod input_folder;
mod json;
mod outputs;
mod plan;
#[cfg(test)]
mod random;
mod seal;

pub use block::{decode_run, encode_block};
pub use error::{BlockError, OutputError, SinkError, SourceError};
pub use file_sink::{Observed, OutputFolder};
pub use file_source::{Fetched, FileBatch, FileSource, PassedOver, Raw, Reading, SourceStart};
pub use format::{KeyAndValue, record_of_line};
pub use glob::takes;
pub use gregor_model::recovery::OnDisk;
pub use input_folder::InputFolder;
pub use outputs::{OutputSpec, Outputs, Target};
pub use plan::{check_plan, files_now, make_plan};
pub use seal::{FileBytes, Sealed, Taken};
