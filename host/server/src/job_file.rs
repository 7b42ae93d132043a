//! Reads job files: TOML text → tables with places → checked values. Refuses unknown keys, values outside their ranges and what is not built, each
//! with file, line, column, field, the value found, what was expected and what to do. Components are not looked at here: `deploy` does.

pub(crate) mod amounts;
mod fields;
mod keys;
mod paths;
pub(crate) mod place;
mod produced;
mod stages;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gregor_model::job::{CheckpointSettings, Produced};
use gregor_model::limits::Limits;
use gregor_model::names::JobName;
use toml::de::DeTable;

use fields::Fields;
use place::{At, JobFileError, Problem, Text};
pub(crate) use stages::StageFile;

/// A job file, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobFile {
    /// The file as the user named it, for errors about what is found out later.
    pub(crate) file: String,
    /// The folder of the job file: absolute, without links.
    pub(crate) folder: PathBuf,
    /// The job's name.
    pub(crate) name: JobName,
    /// Its stages.
    pub(crate) stages: Vec<StageFile>,
    /// Streams of records from outside.
    pub(crate) produced: Vec<At<Produced>>,
    /// `[checkpoint]`.
    pub(crate) checkpoint: CheckpointSettings,
    /// `[limits]`.
    pub(crate) limits: Limits,
}

const JOB_NAME: (&str, &str) = ("1 to 64 characters of a-z 0-9 _ -", "choose such a name, folders are called after it");
const LOCATION: (&str, &str) = ("a path or file:///…", "write, for example, location = \"checkpoints\"");

/// Reads and checks a job file.
///
/// # Errors
/// It can't be read, is longer than 1 MiB, is no UTF-8, or has a mistake: a [`JobFileError`].
pub(crate) fn read(path: &Path) -> anyhow::Result<JobFile> {
    let file = path.display().to_string();
    let what = || format!("can't read job file {file:?}");
    let canonical = path.canonicalize().with_context(what)?;
    let mut bytes = Vec::new();
    std::fs::File::open(&canonical).with_context(what)?.take(keys::JOB_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(what)?;
    if bytes.len() as u64 > keys::JOB_FILE_BYTES_MAX {
        anyhow::bail!("{file} is longer than {}: it is no job file", amounts::show_size(keys::JOB_FILE_BYTES_MAX));
    }
    let content = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        anyhow::anyhow!("{file}:{line}: is not UTF-8; job files are TOML, save it as UTF-8")
    })?;
    let folder = canonical.parent().unwrap_or(Path::new("/"));
    Ok(parse(Text { file: &file, content: &content }, folder)?)
}

/// Checks the text of a job file that lies in `folder` (absolute, without links).
///
/// # Errors
/// The first mistake.
pub(crate) fn parse(text: Text<'_>, folder: &Path) -> Result<JobFile, JobFileError> {
    let table = DeTable::parse(text.content).map_err(|error| {
        let begin = error.span().map_or(text.content.len(), |span| span.start);
        text.error(begin, "", Problem::Syntax(error.message().lines().collect::<Vec<_>>().join(", ")))
    })?;
    let root = Fields::open(text, ("", 0), table.get_ref(), &keys::ROOT)?;
    let name: At<JobName> = root.require("name", JOB_NAME)?.parse(JOB_NAME, JobName::new)?;
    let around = stages::Around { text, folder };
    let stages = stages::read_all(around, &root, &name.value)?;
    read_state(&root)?;
    Ok(JobFile {
        file: text.file.to_owned(),
        folder: folder.to_path_buf(),
        name: name.value,
        stages,
        produced: produced::read_all(text, &root)?,
        checkpoint: read_checkpoint(around, &root)?,
        limits: read_limits(&root)?,
    })
}

/// `[state]`: RocksDB is all there is, so nothing is kept of it.
fn read_state(root: &Fields<'_>) -> Result<(), JobFileError> {
    let Some(state) = root.get("state") else { return Ok(()) };
    let fields = state.fields(("a table", "write [state] above its keys"), &keys::STATE)?;
    fields.get("backend").map_or(Ok(()), |backend| backend.choice(&[("rocksdb", ())], &[]))
}

fn read_checkpoint(around: stages::Around<'_>, root: &Fields<'_>) -> Result<CheckpointSettings, JobFileError> {
    let Some(checkpoint) = root.get("checkpoint") else { return Ok(CheckpointSettings::default()) };
    let fields = checkpoint.fields(("a table", "write [checkpoint] above its keys"), &keys::CHECKPOINT)?;
    if let Some(guarantee) = fields.get("guarantee") {
        guarantee.choice(&[("exactly-once", ())], &["at-least-once"])?;
    }
    Ok(CheckpointSettings {
        location: fields.get("location").map(|location| read_location(around, &location)).transpose()?,
        interval: fields.amount(&keys::INTERVAL)?,
        threshold_permille: fields.amount(&keys::THRESHOLD)?.0,
        base_interval: fields.amount(&keys::BASE_INTERVAL)?,
        base_rate_bytes: fields.amount(&keys::BASE_RATE)?.0,
        keep: u32::try_from(fields.amount(&keys::KEEP)?.0).unwrap_or(u32::MAX),
        collect_grace: fields.amount(&keys::COLLECT_GRACE)?,
        collect_rate: u32::try_from(fields.amount(&keys::COLLECT_RATE)?.0).unwrap_or(u32::MAX),
        grace: fields.amount(&keys::GRACE)?,
        deadline: fields.amount(&keys::DEADLINE)?,
        outage_limit: fields.amount(&keys::OUTAGE_LIMIT)?,
        stop_timeout: fields.amount(&keys::STOP_TIMEOUT)?,
    })
}

fn read_location(around: stages::Around<'_>, field: &fields::Field<'_>) -> Result<String, JobFileError> {
    match paths::target(field.string(LOCATION)?) {
        Ok(paths::Target::File(path)) => {
            paths::folder(around.folder, path).map_err(|error| field.unexpected(&error.to_string(), LOCATION.1))
        }
        Ok(paths::Target::NotBuilt) => Err(field.error(Problem::NotBuilt { found: field.found(), built: "paths, file:///…".to_owned() })),
        Ok(paths::Target::Stream(_)) | Err(_) => Err(field.unexpected(LOCATION.0, LOCATION.1)),
    }
}

fn read_limits(root: &Fields<'_>) -> Result<Limits, JobFileError> {
    let Some(limits) = root.get("limits") else { return Ok(Limits::default()) };
    let fields = limits.fields(("a table", "write [limits] above its keys"), &keys::LIMITS)?;
    Ok(Limits {
        memory_bytes: fields.amount(&keys::MEMORY)?.0,
        call_time: fields.amount(&keys::CALL_TIME)?,
        record_bytes: fields.amount(&keys::RECORD)?.0,
        emit_records: fields.amount(&keys::EMIT_RECORDS)?.0,
        emit_bytes: fields.amount(&keys::EMIT_BYTES)?.0,
        dirty_bytes: fields.amount(&keys::DIRTY_BYTES)?.0,
        unpublished_bytes: fields.amount(&keys::UNPUBLISHED_BYTES)?.0,
    })
}
