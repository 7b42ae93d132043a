//! `gregor checkpoint list|show`: what coordination and archive say of a job's checkpoints, read without the lock. Refuses to believe bytes that do
//! not match their digests, and changes nothing.

mod shown;

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use gregor_archive::history::{load, load_before};
use gregor_archive::{Store, read_checked};
use gregor_model::manifest::{MANIFEST, Manifest, ManifestRef, ObjectRef};
use gregor_model::names::CheckpointNumber;
use gregor_model::register::{CheckpointRecord, Register, Status};
use serde::Serialize;

use crate::cli::{JobArgs, ShowArgs};
use crate::exit::{Exit, Failure};
use crate::job_file::{self, JobFile};
use crate::output::{self, Style};
use crate::wiring::{self, Looked, wait};

/// A checkpoint in a list: the form is a stable surface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    number: u64,
    /// RFC 3339, in milliseconds.
    created_at: String,
    status: &'static str,
    /// Key of the manifest, if it was confirmed.
    manifest: Option<String>,
    /// The manifest's digest, if it was confirmed.
    sha256: Option<String>,
    /// Bytes of the manifest, of the parts that it lists, and of the files of bases that it is the first to name: what was saved for this checkpoint.
    bytes: u64,
    /// `base` where a task got a new base, otherwise `delta`.
    kind: &'static str,
}

/// Lists the checkpoints that coordination remembers.
///
/// # Errors
/// The job file is wrong, there is no data, or what is stored can't be used.
pub(crate) fn list(args: &JobArgs, style: Style) -> Result<Exit, Failure> {
    let (_, looked) = look(args)?;
    let entries = match looked {
        Looked { register: Some(register), archive: Some(archive) } => wait(entries(&register, archive.as_ref()))??,
        _ => Vec::new(),
    };
    let shown = match style {
        Style::Json => output::result_json(&entries),
        Style::Text => output::result(&list_text(&entries)),
    };
    shown.map_err(Failure::failed)?;
    Ok(Exit::Done)
}

/// Shows one checkpoint.
///
/// # Errors
/// As [`list`], or there is no such checkpoint.
pub(crate) fn show(args: &ShowArgs, style: Style) -> Result<Exit, Failure> {
    let (file, looked) = look(&args.job)?;
    let Looked { register: Some(register), archive: Some(archive) } = looked else {
        return Err(Failure::refused(anyhow::anyhow!("job {} has no checkpoint: it never began in this data folder", file.name)));
    };
    let found = wait(find(&register, archive.as_ref(), args.number.map(CheckpointNumber)))??;
    let shown = match style {
        Style::Json => output::result_json(&shown::Shown::of(&found)),
        Style::Text => output::result(&shown::text(&found, &names(&file))),
    };
    shown.map_err(Failure::failed)?;
    Ok(Exit::Done)
}

fn look(args: &JobArgs) -> Result<(JobFile, Looked), Failure> {
    let file = job_file::read(&args.job).map_err(Failure::refused)?;
    let looked = wiring::look(&file, &wiring::data_folder(args, &file), wiring::coordination(args)?)?;
    Ok((file, looked))
}

fn names(file: &JobFile) -> shown::Names<'_> {
    shown::Names {
        stages: file.stages.iter().map(|stage| stage.name.value.as_str()).collect(),
        produced: file.produced.iter().map(|stream| stream.value.name.as_str()).collect(),
    }
}

async fn entries(register: &Register, archive: &dyn Store) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    for record in &register.checkpoints {
        let stored = match &record.manifest {
            Some(object) => Some(Stored::read(archive, object).await?),
            None => None,
        };
        entries.push(Entry::new(record, stored.as_ref()));
    }
    Ok(entries)
}

/// A manifest and what it takes in the archive.
struct Stored {
    object: ObjectRef,
    manifest: Manifest,
    bytes: u64,
}

impl Stored {
    async fn read(archive: &dyn Store, object: &ObjectRef) -> Result<Self, Failure> {
        let bytes = read_checked(archive, object).await.map_err(wiring::from_archive)?;
        let corrupt =
            |error| Failure::corrupt(anyhow::Error::new(error).context(format!("object {} of the archive can't be used", object.key)));
        let manifest: Manifest = MANIFEST.decode(&bytes).map_err(corrupt)?;
        let parts = manifest.parts.iter().map(|part| part.length).fold(0, u64::saturating_add);
        let bases = new_base_bytes(archive, (object, &manifest)).await?;
        let bytes = parts.saturating_add(bases).saturating_add(bytes.len() as u64);
        Ok(Self { object: object.clone(), bytes, manifest })
    }
}

/// Bytes of the files of bases that no base before had.
async fn new_base_bytes(archive: &dyn Store, (object, manifest): (&ObjectRef, &Manifest)) -> Result<u64, Failure> {
    if manifest.bases.is_empty() {
        return Ok(0);
    }
    let at = ManifestRef { number: manifest.number, object: object.clone() };
    let before = load_before(archive, &at).await.map_err(wiring::from_archive)?;
    let known = before.tasks.values().filter_map(|task| task.base.as_ref()).flat_map(|base| &base.files);
    let known: BTreeSet<&str> = known.map(|file| file.object.key.as_str()).collect();
    let named = manifest.bases.iter().flat_map(|entry| &entry.base.files);
    let new = named.filter(|file| !known.contains(file.object.key.as_str()));
    Ok(new.map(|file| file.length).fold(0, u64::saturating_add))
}

impl Entry {
    fn new(record: &CheckpointRecord, stored: Option<&Stored>) -> Self {
        Self {
            number: record.number.0,
            created_at: rfc3339(record.created_at_ms),
            status: record.status.name(),
            manifest: record.manifest.as_ref().map(|object| object.key.clone()),
            sha256: record.manifest.as_ref().map(|object| object.sha256.to_string()),
            bytes: stored.map_or(0, |stored| stored.bytes),
            kind: if stored.is_some_and(|stored| !stored.manifest.bases.is_empty()) { "base" } else { "delta" },
        }
    }
}

/// A time as `2026-11-22T10:00:00.000Z`. One past the year 9999, which no clock of ours shows, is cut to its end.
pub(crate) fn rfc3339(ms: u64) -> String {
    const LAST_MS: u64 = 253_402_300_799_999;
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms.min(LAST_MS))).to_string()
}

fn list_text(entries: &[Entry]) -> String {
    let heading = ["NUMBER", "CREATED AT", "STATUS", "KIND", "BYTES", "MANIFEST"].map(str::to_owned).to_vec();
    let rows = entries.iter().map(|entry| {
        let manifest = entry.manifest.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            entry.number.to_string(),
            entry.created_at.clone(),
            entry.status.to_owned(),
            entry.kind.to_owned(),
            entry.bytes.to_string(),
            manifest,
        ]
    });
    output::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}

/// A confirmed checkpoint, found.
struct Found {
    entry: Entry,
    manifest: Manifest,
    /// In the order of the manifest's segments.
    sizes: Vec<shown::SegmentSize>,
}

async fn find(register: &Register, archive: &dyn Store, number: Option<CheckpointNumber>) -> Result<Found, Failure> {
    let Some(latest) = &register.latest else {
        return Err(Failure::refused(anyhow::anyhow!("job {} has no confirmed checkpoint yet", register.job)));
    };
    let number = number.unwrap_or(latest.number);
    let known = register.checkpoints.iter().find(|record| record.number == number);
    let object = match known {
        Some(CheckpointRecord { manifest: Some(object), .. }) => object.clone(),
        Some(record) => {
            let status = record.status.name();
            return Err(Failure::refused(anyhow::anyhow!(
                "checkpoint {number} is {status}, so it has no manifest; see `gregor checkpoint list`"
            )));
        }
        None => match register.restore_point(number) {
            Some(named) => named.object,
            None => in_chain(archive, latest, number).await?,
        },
    };
    let stored = Stored::read(archive, &object).await?;
    let created_at_ms = stored.manifest.created_at_ms;
    let record = CheckpointRecord { number, created_at_ms, status: Status::Confirmed, manifest: Some(stored.object.clone()) };
    let sizes = shown::segment_sizes(archive, &stored.manifest).await?;
    Ok(Found { entry: Entry::new(&record, Some(&stored)), manifest: stored.manifest, sizes })
}

/// The manifest of a checkpoint that has retired, while it is still there: some later one names it as its predecessor.
async fn in_chain(archive: &dyn Store, latest: &ManifestRef, number: CheckpointNumber) -> Result<ObjectRef, Failure> {
    let loaded = load(archive, latest).await.map_err(wiring::from_archive)?;
    let predecessors = loaded.manifests.iter().filter_map(|(_, manifest)| manifest.predecessor.as_ref());
    let found = predecessors.into_iter().find(|predecessor| predecessor.number == number);
    found.map(|predecessor| predecessor.object.clone()).ok_or_else(|| {
        Failure::refused(anyhow::anyhow!(
            "there is no confirmed checkpoint {number}, the last one is {}; see `gregor checkpoint list`",
            latest.number
        ))
    })
}

#[cfg(test)]
mod tests;
