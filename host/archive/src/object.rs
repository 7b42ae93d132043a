//! Objects with the digest expected of them: documents, footers, and pieces of parts. Refuses every byte that does not match.

use std::ops::Range;

use bytes::Bytes;
use gregor_model::digest::Digest;
use gregor_model::document::Kind;
use gregor_model::manifest::{ObjectRef, PartEntry};
use gregor_model::part::Footer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ArchiveError;
use crate::store::Store;

/// Reads an object whole and checks its digest.
///
/// # Errors
/// It is missing, altered, or can't be reached.
pub async fn read_checked(store: &dyn Store, object: &ObjectRef) -> Result<Bytes, ArchiveError> {
    let bytes = store.read(&object.key, None).await?;
    check(&object.key, "its bytes have", (&bytes, object.sha256))?;
    Ok(bytes)
}

/// Reads a piece of a part (a delta, a run, a footer) and checks its digest.
///
/// # Errors
/// The part is missing, too short, altered there, or can't be reached.
pub async fn read_part_range(store: &dyn Store, key: &str, range: Range<u64>, sha256: Digest) -> Result<Bytes, ArchiveError> {
    let which = format!("its bytes {}..{} have", range.start, range.end);
    let bytes = store.read(key, Some(range)).await?;
    check(key, &which, (&bytes, sha256))?;
    Ok(bytes)
}

/// Reads the footer of a part.
///
/// # Errors
/// As [`read_part_range`], or the footer points outside its part.
pub async fn read_footer(store: &dyn Store, part: &PartEntry) -> Result<Footer, ArchiveError> {
    let (key, at) = (&part.object.key, part.footer);
    let corrupt = |problem: String| ArchiveError::Corrupt { key: key.clone(), problem };
    let end = at.offset.checked_add(at.length).ok_or_else(|| corrupt("has a footer that ends nowhere".to_owned()))?;
    let bytes = read_part_range(store, key, at.offset..end, at.sha256).await?;
    Footer::decode(&bytes, at).map_err(|error| corrupt(format!("can't be used: {error}")))
}

/// Creates a document of a kind, and says where it is and what digest it has.
///
/// # Errors
/// As [`Store::create`].
pub async fn create_document<T: Serialize + Sync>(store: &dyn Store, kind: Kind, key: &str, body: &T) -> Result<ObjectRef, ArchiveError> {
    // Our documents can't fail to be JSON; were one to, trying again would not help and the job stops.
    let encoded = kind.encode(body).map_err(|error| ArchiveError::Unavailable { key: key.to_owned(), reason: error.to_string() })?;
    let object = ObjectRef { key: key.to_owned(), sha256: Digest::of(&encoded) };
    store.create(key, Bytes::from(encoded)).await?;
    Ok(object)
}

/// Reads a document of a kind and checks its digest.
///
/// # Errors
/// It is missing, altered, of another kind or a newer version, or can't be reached.
pub async fn read_document<T: DeserializeOwned>(store: &dyn Store, kind: Kind, object: &ObjectRef) -> Result<T, ArchiveError> {
    let bytes = read_checked(store, object).await?;
    kind.decode(&bytes).map_err(|error| ArchiveError::Corrupt { key: object.key.clone(), problem: error.to_string() })
}

fn check(key: &str, which: &str, (bytes, expected): (&Bytes, Digest)) -> Result<(), ArchiveError> {
    let found = Digest::of(bytes);
    if found == expected {
        return Ok(());
    }
    Err(ArchiveError::Corrupt { key: key.to_owned(), problem: format!("was altered: {which} sha-256 {found}, expected {expected}") })
}
