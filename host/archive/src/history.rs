//! The chain of manifests: from the latest back through predecessors to the last full one, and through its pages to the first. Refuses a chain
//! with a gap, a number that does not fall on the way back, and another incarnation: what is read adds up to the whole history or to nothing.
//!
//! ```text
//! manifest 130 ──► 129 ──► 128 (full) ─┬─ page 1..63   manifests 1 to 63
//!                                      └─ page 64..127 manifests 64 (full) to 127
//! ```
//! In a page manifests are without their own list of pages: with it, pages would grow with the square of a job's age.

use gregor_model::keys::JobKeys;
use gregor_model::limits::FULL_MANIFEST_EVERY;
use gregor_model::manifest::{MANIFEST, Manifest, ManifestRef, PAGE, PageRef};
use gregor_model::names::Term;

use crate::error::ArchiveError;
use crate::object::{create_document, read_document};
use crate::store::Store;

/// All manifests from the job's first to `latest`, in ascending order. Only those from the last full one on have their `pages`, if any.
///
/// # Errors
/// A manifest or page is missing, altered, or does not follow from the one before it; or the archive can't be reached.
pub async fn load_manifests(store: &dyn Store, latest: &ManifestRef) -> Result<Vec<Manifest>, ArchiveError> {
    let mut backwards = Vec::new();
    let mut next = Some(latest.clone());
    let mut pages = Vec::new();
    // Bounded: numbers fall strictly.
    while let Some(at) = next.take() {
        let manifest = read_manifest(store, &at).await?;
        match &manifest.pages {
            Some(listed) => pages.clone_from(listed),
            None => next.clone_from(&manifest.predecessor),
        }
        backwards.push((at.object.key, manifest));
    }
    let mut forwards = Vec::new();
    for page in &pages {
        forwards.extend(read_page(store, page).await?.into_iter().map(|manifest| (page.object.key.clone(), manifest)));
    }
    forwards.extend(backwards.into_iter().rev());
    check_chain(&forwards)?;
    Ok(forwards.into_iter().map(|(_, manifest)| manifest).collect())
}

/// Whether the next manifest is to be a full one. `manifests` are the confirmed ones in ascending order, at least from the last full one on.
#[must_use]
pub fn is_full_due(manifests: &[Manifest]) -> bool {
    since_last_full(manifests).len() as u64 >= FULL_MANIFEST_EVERY
}

/// Makes the pages for a full manifest: those of the last full one, unchanged, and a new one with what was confirmed since. `manifests` are
/// the confirmed ones in ascending order, at least from the last full one on, up to the predecessor of the manifest that is being made. The
/// same call again makes the same pages.
///
/// # Errors
/// As [`Store::create`].
pub async fn next_pages(store: &dyn Store, (keys, term): (&JobKeys, Term), manifests: &[Manifest]) -> Result<Vec<PageRef>, ArchiveError> {
    let since = since_last_full(manifests);
    let Some(first) = since.first() else { return Ok(Vec::new()) };
    let mut pages = match (&first.pages, &first.predecessor) {
        (Some(pages), _) => pages.clone(),
        (None, None) => Vec::new(),
        (None, Some(missing)) => {
            let problem = format!("was not handed over for the page that ends before checkpoint {}", first.number.next());
            return Err(ArchiveError::Corrupt { key: missing.object.key.clone(), problem });
        }
    };
    pages.push(write_page(store, (keys, term), since).await?);
    Ok(pages)
}

/// Creates the page of these manifests: consecutive confirmed ones, in ascending order, at least one.
///
/// # Errors
/// As [`Store::create`].
pub async fn write_page(store: &dyn Store, (keys, term): (&JobKeys, Term), manifests: &[Manifest]) -> Result<PageRef, ArchiveError> {
    let bare: Vec<Manifest> = manifests.iter().map(|manifest| Manifest { pages: None, ..manifest.clone() }).collect();
    let first = bare.first().map(|manifest| manifest.number).unwrap_or_default();
    let last = bare.last().map(|manifest| manifest.number).unwrap_or_default();
    let object = create_document(store, PAGE, &keys.page((first, last), term), &bare).await?;
    Ok(PageRef { first, last, object })
}

fn since_last_full(manifests: &[Manifest]) -> &[Manifest] {
    let from = manifests.iter().rposition(|manifest| manifest.pages.is_some()).unwrap_or(0);
    manifests.get(from..).unwrap_or_default()
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

async fn read_page(store: &dyn Store, page: &PageRef) -> Result<Vec<Manifest>, ArchiveError> {
    let manifests: Vec<Manifest> = read_document(store, PAGE, &page.object).await?;
    let ends = (manifests.first().map(|manifest| manifest.number), manifests.last().map(|manifest| manifest.number));
    if ends == (Some(page.first), Some(page.last)) {
        return Ok(manifests);
    }
    let problem = format!("holds manifests {ends:?}, not {} to {}", page.first, page.last);
    Err(ArchiveError::Corrupt { key: page.object.key.clone(), problem })
}

/// Checks that manifests, each with the object that it was read from, follow each other from the first on.
fn check_chain(manifests: &[(String, Manifest)]) -> Result<(), ArchiveError> {
    let mut before: Option<&Manifest> = None;
    for (key, manifest) in manifests {
        let corrupt = |problem: String| Err(ArchiveError::Corrupt { key: key.clone(), problem });
        let number = manifest.number;
        let named = manifest.predecessor.as_ref().map(|predecessor| predecessor.number);
        let found = before.map(|before| before.number);
        if named != found || found.is_some_and(|found| found >= number) {
            return corrupt(format!("says that checkpoint {number} follows {}, but it follows {}", name_of(named), name_of(found)));
        }
        if let Some(before) = before.filter(|before| before.incarnation != manifest.incarnation) {
            return corrupt(format!("has checkpoint {number} of incarnation {}, not of {}", manifest.incarnation, before.incarnation));
        }
        before = Some(manifest);
    }
    Ok(())
}

fn name_of(number: Option<gregor_model::names::CheckpointNumber>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| format!("checkpoint {number}"))
}

#[cfg(test)]
mod tests;
