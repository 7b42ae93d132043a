//! `[[stream]]` of a job file: streams whose records come from outside. Refuses names that no stream can have; whether somebody reads them is looked
//! at where the stages are put together.

use gregor_model::job::Produced;
use gregor_model::names::StreamName;
use toml::de::DeTable;

use super::fields::{Fields, quoted};
use super::keys;
use super::place::{At, JobFileError, Text};

const NAME: (&str, &str) = ("1 to 64 characters of a-z 0-9 _ -", "choose such a name, stages read it as stream://NAME");
const STREAMS: (&str, &str) = ("[[stream]] tables", "write [[stream]] above the keys of each stream");

/// All streams of records from outside, in the order of the file.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn read_all(text: Text<'_>, root: &Fields<'_>) -> Result<Vec<At<Produced>>, JobFileError> {
    let Some(streams) = root.get("stream") else { return Ok(Vec::new()) };
    let tables = streams.tables(STREAMS)?;
    if tables.len() > keys::PRODUCED_MAX {
        return Err(streams.unexpected(&format!("at most {} streams", keys::PRODUCED_MAX), STREAMS.1));
    }
    tables.into_iter().enumerate().map(|(index, table)| read_one(text, index, table)).collect()
}

fn read_one(text: Text<'_>, index: usize, (begin, table): (usize, &DeTable<'_>)) -> Result<At<Produced>, JobFileError> {
    let name = table.get("name").and_then(|name| name.get_ref().as_str());
    let prefix = name.map_or_else(|| format!("stream {}: ", index + 1), |name| format!("stream {}: ", quoted(name)));
    let fields = Fields::open(text, (&prefix, begin), table, &keys::STREAM)?;
    let name: At<StreamName> = fields.require("name", NAME)?.parse(NAME, StreamName::new)?;
    let partitions = u32::try_from(fields.amount(&keys::PARTITIONS)?.0).unwrap_or(u32::MAX);
    Ok(At { value: Produced { name: name.value, partitions }, place: name.place, field: name.field })
}
