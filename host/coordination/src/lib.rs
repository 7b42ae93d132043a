//! Coordination: which checkpoints there are, which of them is the truth, and who may say so. The trait [`Coordinator`] is all that the rest
//! of the house sees; [`local`] keeps one register file per job under `--data` and holds the lock on it, [`zookeeper`] keeps the same facts in
//! nodes that many hosts share. Refuses writes of whoever does not hold the job's present term and boot, and takes no record for absent that
//! is there but can't be read. Bytes of checkpoints are not kept here, only a pointer and a digest: they are `archive`'s.

mod coordinator;
mod error;
pub mod local;
pub mod zookeeper;

pub use coordinator::{CommitPermit, Coordinator};
pub use error::CoordinationError;
pub use gregor_model::start::Begin;
