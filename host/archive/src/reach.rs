//! What a job's restore points need of the archive, and what nobody needs. Refuses to call anything garbage while a restore point can't be read:
//! what it needs is not known then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gregor_model::digest::{Digest, Digester};
use gregor_model::garbage::{Living, is_garbage};
use gregor_model::keys::JobKeys;
use gregor_model::manifest::{ManifestRef, ObjectRef};
use gregor_model::register::Register;
use gregor_model::spec::{SPEC, Spec};

use crate::error::ArchiveError;
use crate::history::{Loaded, load};
use crate::object::read_document;
use crate::store::{Listed, Store};

/// Bytes that are read at once when an object is hashed.
const HASH_BYTES: u64 = 8 * 1024 * 1024;

/// The objects that a restore point needs, itself included, by key.
pub type Needed = BTreeMap<String, ObjectRef>;

/// Reads the spec of a job and what it needs; nothing before the job has one.
///
/// # Errors
/// The spec is missing or altered, or the archive can't be reached.
pub async fn spec_of(store: &dyn Store, register: &Register) -> Result<(Option<Spec>, Needed), ArchiveError> {
    let Some(object) = &register.spec else { return Ok((None, Needed::new())) };
    let spec: Spec = read_document(store, SPEC, object).await?;
    let plans = spec.plans.iter().map(|plan| &plan.object);
    let needed = std::iter::once(object).chain(plans).map(|object| (object.key.clone(), object.clone())).collect();
    Ok((Some(spec), needed))
}

/// Reads a restore point: its history without the parts that every reader had passed by then, and all that it needs.
///
/// # Errors
/// As [`load`].
pub async fn restore_point(store: &dyn Store, at: &ManifestRef, spec: Option<&Spec>) -> Result<(Loaded, Needed), ArchiveError> {
    let mut loaded = load(store, at).await?;
    if let Some(spec) = spec {
        loaded.history.forget_read(&spec.job);
    }
    let needed = needed(&loaded);
    Ok((loaded, needed))
}

/// All that a history needs: the documents that it was read from, and its objects.
#[must_use]
pub fn needed(loaded: &Loaded) -> Needed {
    let documents = loaded.manifests.iter().map(|(object, _)| object).chain(&loaded.pages);
    documents.chain(loaded.history.objects().into_values()).map(|object| (object.key.clone(), object.clone())).collect()
}

/// The keys of all that the restore points of a register need.
///
/// # Errors
/// One of them can't be read.
pub async fn reachable(store: &dyn Store, register: &Register) -> Result<BTreeSet<String>, ArchiveError> {
    let (spec, needed) = spec_of(store, register).await?;
    let mut keys: BTreeSet<String> = needed.into_keys().collect();
    for at in register.restore_points() {
        let (_, needed) = restore_point(store, &at, spec.as_ref()).await?;
        keys.extend(needed.into_keys());
    }
    Ok(keys)
}

/// What may be deleted of `listed`, which was listed before `living` and `register` were read; the oldest first. What is younger than `grace` at
/// `now_ms` stays.
///
/// # Errors
/// A restore point can't be read.
pub async fn garbage(
    store: &dyn Store,
    (keys, listed): (&JobKeys, Vec<Listed>),
    (register, living): (&Register, &Living),
    (now_ms, grace): (u64, Duration),
) -> Result<Vec<Listed>, ArchiveError> {
    let reachable = reachable(store, register).await?;
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let mut garbage = listed;
    garbage.retain(|object| object.created_at_ms.saturating_add(grace_ms) <= now_ms && is_garbage(keys, &object.key, (living, &reachable)));
    garbage.sort_by_key(|object| object.created_at_ms);
    Ok(garbage)
}

/// Reads an object from its beginning to its end, and answers how long it is.
///
/// # Errors
/// It is missing, altered, or can't be reached.
pub async fn hash_object(store: &dyn Store, object: &ObjectRef, bytes: u64) -> Result<u64, ArchiveError> {
    let mut digester = Digester::default();
    let mut at = 0;
    while at < bytes {
        let end = bytes.min(at.saturating_add(HASH_BYTES));
        digester.update(&store.read(&object.key, Some(at..end)).await?);
        at = end;
    }
    let found: Digest = digester.finish();
    if found == object.sha256 {
        return Ok(bytes);
    }
    let problem = format!("was altered: its {bytes} bytes have sha-256 {found}, expected {}", object.sha256);
    Err(ArchiveError::Corrupt { key: object.key.clone(), problem })
}

#[cfg(test)]
mod tests;
