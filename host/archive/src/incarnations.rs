//! What the archive knows of a job's incarnations, so that coordination that lost its data is noticed (`gregor_model::recovery` judges).
//! Refuses to pass over anything there that it does not understand.

use gregor_model::keys::{JobKeys, number_of_manifest};
use gregor_model::names::{CheckpointNumber, Incarnation, JobName};
use gregor_model::recovery::{Archived, Deleted};
use gregor_model::spec::{MARKER, Marker};

use crate::error::ArchiveError;
use crate::store::Store;

/// Every incarnation of a job that left something in the archive, in the order of their tokens. A tombstone is a document of kind
/// [`MARKER`], as the marker is.
///
/// # Errors
/// Something is there that is not what its key says, or the archive can't be reached.
pub async fn incarnations(store: &dyn Store, job: &JobName) -> Result<Vec<Archived>, ArchiveError> {
    let prefix = JobKeys::incarnations(job);
    let mut found = Vec::new();
    for name in store.folders(&prefix).await? {
        let incarnation = Incarnation::try_from(name.clone()).map_err(|error| ArchiveError::Corrupt {
            key: format!("{prefix}/{name}"),
            problem: format!("does not belong here: {error}"),
        })?;
        let keys = JobKeys::new(job, incarnation);
        let highest = highest_manifest(store, &keys).await?;
        let deleted = tombstone(store, &keys, &Marker { job: job.clone(), incarnation }).await?;
        found.push(Archived { incarnation, highest, deleted });
    }
    Ok(found)
}

async fn highest_manifest(store: &dyn Store, keys: &JobKeys) -> Result<Option<CheckpointNumber>, ArchiveError> {
    let mut highest = None;
    for listed in store.list(&keys.manifests()).await? {
        let Some(number) = number_of_manifest(&listed.key) else {
            return Err(ArchiveError::Corrupt { key: listed.key, problem: "does not belong among manifests".to_owned() });
        };
        highest = highest.max(Some(number));
    }
    Ok(highest)
}

async fn tombstone(store: &dyn Store, keys: &JobKeys, expected: &Marker) -> Result<Deleted, ArchiveError> {
    let key = keys.tombstone();
    let bytes = match store.read(&key, None).await {
        Err(ArchiveError::Missing { .. }) => return Ok(Deleted::No),
        bytes => bytes?,
    };
    let corrupt = |problem: String| ArchiveError::Corrupt { key: key.clone(), problem };
    let found: Marker = MARKER.decode(&bytes).map_err(|error| corrupt(error.to_string()))?;
    if found != *expected {
        return Err(corrupt(format!("is the tombstone of job {}, incarnation {}", found.job, found.incarnation)));
    }
    Ok(Deleted::Yes)
}

#[cfg(test)]
mod tests;
