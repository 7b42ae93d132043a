//! The chain of manifests: from the latest back through predecessors to the last full one, which says itself what all before it add up to.
//! Refuses a chain with a gap, a number that does not fall on the way back, another incarnation, and pages that are not what they are called:
//! what is read adds up to the whole history or to nothing.
//!
//! ```text
//! manifest 130 ──► 129 ──► 128 (full) ─┬─ pages of tasks   what is confirmed of each after 127
//!                                      └─ pages of parts   runs that somebody has yet to read
//! ```
//! Version 1 had pages of manifests instead: all of them, from the first. They are read, and never written any more.

use std::collections::BTreeMap;

use gregor_model::digest::Digest;
use gregor_model::document::Kind;
use gregor_model::history::History;
use gregor_model::keys::JobKeys;
use gregor_model::manifest::{Full, MANIFEST, Manifest, ManifestRef, ObjectRef, PAGE, PageRef};
use gregor_model::names::{CheckpointNumber, Term};
use gregor_model::snapshot::{PARTS, Pages, TASKS};
use serde::Serialize;

use crate::error::ArchiveError;
use crate::object::{create_document, read_document};
use crate::store::Store;

/// What the manifests up to one of them add up to, and which objects were read for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// The sum.
    pub history: History,
    /// The manifests from the last full one on, or from the first, in the order of their numbers, each with its object.
    pub manifests: Vec<(ObjectRef, Manifest)>,
    /// The pages that were read.
    pub pages: Vec<ObjectRef>,
}

impl Loaded {
    /// What the last full manifest names; none if there is none yet.
    #[must_use]
    pub fn full(&self) -> Option<&Full> {
        self.manifests.first().and_then(|(_, manifest)| manifest.full.as_ref())
    }
}

/// Reads the history that ends in `latest`.
///
/// # Errors
/// A manifest or page is missing, altered, or does not follow from the one before it; or the archive can't be reached.
pub async fn load(store: &dyn Store, latest: &ManifestRef) -> Result<Loaded, ArchiveError> {
    let mut loaded = gather(store, latest).await?;
    let Loaded { history, manifests, .. } = &mut loaded;
    manifests.iter().try_for_each(|(object, manifest)| take_in(history, (object, manifest)))?;
    Ok(loaded)
}

/// Reads what all manifests before one add up to.
///
/// # Errors
/// As [`load`].
pub async fn load_before(store: &dyn Store, at: &ManifestRef) -> Result<History, ArchiveError> {
    let Loaded { mut history, mut manifests, .. } = gather(store, at).await?;
    manifests.pop();
    manifests.iter().try_for_each(|(object, manifest)| take_in(&mut history, (object, manifest)))?;
    Ok(history)
}

/// Reads the manifests back to the last full one, and as history what was before that.
async fn gather(store: &dyn Store, latest: &ManifestRef) -> Result<Loaded, ArchiveError> {
    let mut loaded = Loaded::default();
    let mut next = Some(latest.clone());
    // Bounded: numbers fall strictly.
    while let Some(at) = next.take() {
        let manifest = read_manifest(store, &at).await?;
        if manifest.full.is_none() && manifest.pages.is_none() {
            next.clone_from(&manifest.predecessor);
        }
        loaded.manifests.push((at.object, manifest));
    }
    loaded.manifests.reverse();
    let first = loaded.manifests.first().map(|(object, manifest)| (object.clone(), manifest.clone()));
    if let Some((object, manifest)) = first {
        begin(store, &mut loaded, (&object, &manifest)).await?;
    }
    check_incarnation(&loaded.manifests)?;
    Ok(loaded)
}

/// Writes the pages of a full manifest. Those that the last full one names, `before`, with the same bytes are named again. `announce` is told the
/// key of each of the others before it is created.
///
/// # Errors
/// As [`Store::create`].
pub async fn write_full(
    store: &dyn Store,
    (keys, term): (&JobKeys, Term),
    (pages, before): (&Pages, Option<&Full>),
    announce: &(dyn Fn(&str) + Sync),
) -> Result<Full, ArchiveError> {
    let known: Known<'_> = before.iter().flat_map(|full| full.objects()).map(|object| (object.sha256, object)).collect();
    let mut full = Full { tasks: Vec::new(), parts: Vec::new(), heads: pages.heads.clone() };
    for page in &pages.tasks {
        full.tasks.push(write_page(store, (keys, term), (TASKS, page), (&known, announce)).await?);
    }
    for page in &pages.parts {
        full.parts.push(write_page(store, (keys, term), (PARTS, page), (&known, announce)).await?);
    }
    Ok(full)
}

/// Pages that are there already, by digest.
type Known<'k> = BTreeMap<Digest, &'k ObjectRef>;

async fn write_page<T: Serialize + Sync>(
    store: &dyn Store,
    (keys, term): (&JobKeys, Term),
    (kind, page): (Kind, &T),
    (known, announce): (&Known<'_>, &(dyn Fn(&str) + Sync)),
) -> Result<ObjectRef, ArchiveError> {
    // Our documents can't fail to be JSON; were one to, trying again would not help and the job stops.
    let unwritable = |reason: String| ArchiveError::Unavailable { key: keys.root().to_owned(), reason };
    let bytes = kind.encode(page).map_err(|error| unwritable(error.to_string()))?;
    let sha256 = Digest::of(&bytes);
    if let Some(&object) = known.get(&sha256) {
        return Ok(object.clone());
    }
    let key = keys.page(term, sha256);
    announce(&key);
    store.create(&key, bytes.into()).await?;
    Ok(ObjectRef { key, sha256 })
}

/// Creates a manifest.
///
/// # Errors
/// As [`Store::create`].
pub async fn write_manifest(store: &dyn Store, key: &str, manifest: &Manifest) -> Result<ObjectRef, ArchiveError> {
    create_document(store, MANIFEST, key, manifest).await
}

/// What came before the first manifest that was read.
async fn begin(store: &dyn Store, loaded: &mut Loaded, (object, first): (&ObjectRef, &Manifest)) -> Result<(), ArchiveError> {
    let before = first.predecessor.as_ref().map(|before| before.number);
    if let Some(full) = &first.full {
        loaded.pages.extend(full.objects().cloned());
        loaded.history = read_pages(store, full, before).await?;
    } else {
        for page in first.pages.iter().flatten() {
            loaded.pages.push(page.object.clone());
            for manifest in read_old_page(store, page).await? {
                take_in(&mut loaded.history, (&page.object, &manifest))?;
            }
        }
    }
    if loaded.history.number == before {
        return Ok(());
    }
    let found = name_of(loaded.history.number);
    Err(ArchiveError::Corrupt { key: object.key.clone(), problem: format!("follows {}, but its pages end with {found}", name_of(before)) })
}

async fn read_pages(store: &dyn Store, full: &Full, number: Option<CheckpointNumber>) -> Result<History, ArchiveError> {
    let mut pages = Pages { tasks: Vec::new(), parts: Vec::new(), heads: full.heads.clone() };
    for page in &full.tasks {
        pages.tasks.push(read_document(store, TASKS, page).await?);
    }
    for page in &full.parts {
        pages.parts.push(read_document(store, PARTS, page).await?);
    }
    let last = full.tasks.last().map(|page| page.key.clone()).unwrap_or_default();
    pages.history(number).map_err(|error| ArchiveError::Corrupt { key: last, problem: error.to_string() })
}

fn take_in(history: &mut History, (object, manifest): (&ObjectRef, &Manifest)) -> Result<(), ArchiveError> {
    history.apply(manifest).map_err(|error| ArchiveError::Corrupt { key: object.key.clone(), problem: format!("does not fit: {error}") })
}

/// Reads a manifest and checks that it is the one referred to, and that its predecessor lies before it.
async fn read_manifest(store: &dyn Store, at: &ManifestRef) -> Result<Manifest, ArchiveError> {
    let manifest: Manifest = read_document(store, MANIFEST, &at.object).await?;
    let corrupt = |problem: String| ArchiveError::Corrupt { key: at.object.key.clone(), problem };
    if manifest.number != at.number {
        return Err(corrupt(format!("is the manifest of checkpoint {}, not of {}", manifest.number, at.number)));
    }
    match &manifest.predecessor {
        Some(before) if before.number >= manifest.number => {
            Err(corrupt(format!("names checkpoint {} as the one before {}", before.number, manifest.number)))
        }
        _ => Ok(manifest),
    }
}

async fn read_old_page(store: &dyn Store, page: &PageRef) -> Result<Vec<Manifest>, ArchiveError> {
    let manifests: Vec<Manifest> = read_document(store, PAGE, &page.object).await?;
    let ends = (manifests.first().map(|manifest| manifest.number), manifests.last().map(|manifest| manifest.number));
    if ends == (Some(page.first), Some(page.last)) {
        return Ok(manifests);
    }
    let problem = format!("holds manifests {ends:?}, not {} to {}", page.first, page.last);
    Err(ArchiveError::Corrupt { key: page.object.key.clone(), problem })
}

/// Checks that all manifests are of one incarnation.
fn check_incarnation(manifests: &[(ObjectRef, Manifest)]) -> Result<(), ArchiveError> {
    for pair in manifests.windows(2) {
        let [(_, before), (object, manifest)] = pair else { continue };
        if before.incarnation != manifest.incarnation {
            let (number, found, expected) = (manifest.number, manifest.incarnation, before.incarnation);
            let problem = format!("has checkpoint {number} of incarnation {found}, not of {expected}");
            return Err(ArchiveError::Corrupt { key: object.key.clone(), problem });
        }
    }
    Ok(())
}

fn name_of(number: Option<CheckpointNumber>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| format!("checkpoint {number}"))
}

#[cfg(test)]
mod tests;
