//! The archive: where the bytes of checkpoints live. The trait [`Store`] is a small create-only object store; [`LocalStore`] keeps one under a
//! folder. On top of it stand checked reads ([`read_checked`] and its kin), the chain of manifests ([`history`]), what restore points need and
//! what nobody does ([`reach`]), and the facts about lost data ([`incarnations()`]). Refuses to replace an object, to hand out bytes that do not
//! have the digest expected of them, and to take an object for absent that can't be read. Which objects count is not known here: that is `coordination`'s record.

mod error;
pub mod history;
mod incarnations;
mod local;
mod object;
#[cfg(test)]
mod random_job;
pub mod reach;
mod store;

pub use error::ArchiveError;
pub use incarnations::incarnations;
pub use local::LocalStore;
pub use object::{create_document, read_checked, read_document, read_footer, read_part_range};
pub use store::{Listed, Store};
