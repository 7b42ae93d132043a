//! Makes and checks the plan of a file input: looks which files a pattern names, and cuts the long ones where lines begin. Compressed files, and
//! those of formats whose records don't show where they begin, stay whole. Refuses an input without a file, a compressed file without a byte, and a
//! planned file that is not what it was.

use std::io;

use cap_std::fs::{File, FileExt};
use gregor_model::job::Format;
use gregor_model::plan::{Plan, PlannedFile, Split, partitions_of, split_bytes};
use memchr::memchr;

use crate::compression::Compression;
use crate::error::SourceError;
use crate::glob::matching_files;
use crate::input_folder::{Found, InputFolder};

/// Bytes read at once in search of the end of a line.
const SEARCH_BYTES: usize = 16 * 1024;

/// Makes the plan of an input: its files in the order of their names' bytes, cut into splits on the boundaries of records, put into partitions.
/// An empty file has no split.
///
/// # Errors
/// Nothing matches; a name is refused, also because its ending says that the file is compressed and it has no byte; a file changes meanwhile, or
/// can't be read.
pub fn make_plan(folder: &InputFolder, pattern: &str, format: Format) -> Result<Plan, SourceError> {
    let names = matching_files(folder, pattern)?;
    if names.is_empty() {
        let hint = format!("no file in folder {} matches {pattern:?}; check the path in the job file", folder.path().display());
        return Err(SourceError::Missing { path: folder.path().join(pattern), hint });
    }
    let files = names.into_iter().map(|name| planned(folder, name)).collect::<Result<Vec<_>, _>>()?;
    if let Some(file) = files.iter().find(|file| file.length == 0 && Compression::of(&file.name) != Compression::None) {
        let reason =
            "its ending says that it is compressed, but it has no byte, which even compressed nothing has; write it again, or remove it";
        return Err(folder.refused(&file.name, reason));
    }
    let target = split_bytes(files.iter().map(|file| file.length).sum());
    let mut splits = Vec::new();
    for (index, file) in (0..).zip(&files) {
        match file.length {
            0 => {}
            length => match end_of_record(format, file) {
                Some(end_of_record) if length > target => cut(folder, (index, file), (target, end_of_record), &mut splits)?,
                _ => splits.push(Split { file: index, start: 0, end: length }),
            },
        }
    }
    Ok(Plan { files, partitions: partitions_of(splits) })
}

/// The files that the pattern matches now, in the order of their names' bytes: what is not in the plan came later and is left out.
///
/// # Errors
/// A name is refused, or a folder can't be listed.
pub fn files_now(folder: &InputFolder, pattern: &str) -> Result<Vec<String>, SourceError> {
    Ok(matching_files(folder, pattern)?.into_iter().collect())
}

/// Checks that every planned file is there with the length and modification time that it had.
///
/// # Errors
/// [`SourceError::Changed`] for the first that is not; or it can't be looked at.
pub fn check_plan(folder: &InputFolder, plan: &Plan) -> Result<(), SourceError> {
    plan.files.iter().try_for_each(|file| folder.check_named(file))
}

fn planned(folder: &InputFolder, name: String) -> Result<PlannedFile, SourceError> {
    match folder.look_up(&name)? {
        Found::File(identity) => Ok(PlannedFile { name, length: identity.length, modified_ns: identity.modified_ns }),
        _ => Err(folder.refused(&name, "it was a file a moment ago; start again once nothing changes the folder")),
    }
}

/// The byte that stands at the end of each record and nowhere else; none: the file can't be cut, since only who read it from its beginning knows
/// where a record begins.
fn end_of_record(format: Format, file: &PlannedFile) -> Option<u8> {
    match (format, Compression::of(&file.name)) {
        (Format::Lines | Format::Tsv | Format::JsonLines, Compression::None) => Some(b'\n'),
        // An LF between quotes ends no row.
        (Format::Csv | Format::Bytes, _) | (_, Compression::Gzip | Compression::Zstd) => None,
    }
}

/// Cuts a file into pieces of about equal length, none longer than the target but by the rest of a record.
fn cut(
    folder: &InputFolder,
    (index, planned): (u32, &PlannedFile),
    (target, end_of_record): (u64, u8),
    splits: &mut Vec<Split>,
) -> Result<(), SourceError> {
    let file = folder.open_planned(planned)?;
    let length = planned.length;
    let piece = length.div_ceil(length.div_ceil(target.max(1)).max(1));
    let mut start = 0;
    while start < length {
        let end = match start + piece {
            nominal if nominal >= length => length,
            nominal => next_record(&file, (nominal, length), end_of_record).map_err(|error| folder.failed("read", &planned.name, error))?,
        };
        splits.push(Split { file: index, start, end });
        start = end;
    }
    // What was cut is what was listed: a file that grew or shrank meanwhile has no such boundaries.
    folder.check_open(&file, planned)
}

/// Where the first record begins that begins at `from` or later; `length` if there is none.
fn next_record(file: &File, (from, length): (u64, u64), end_of_record: u8) -> io::Result<u64> {
    let mut buffer = [0; SEARCH_BYTES];
    // A record begins at `from` itself if the byte before ends one.
    let mut at = from.saturating_sub(1);
    while at < length {
        let read = match file.read_at(&mut buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        if let Some(found) = memchr(end_of_record, bytes) {
            return Ok((at + found as u64 + 1).min(length));
        }
        at += read as u64;
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
