//! The stages of a job file: components, ports and what they are connected with. Refuses what the interface knows but this version lacks, saying
//! what is built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gregor_model::job::{Format, OnError, Sink, Source};
use gregor_model::limits::STREAM_PARTITIONS_DEFAULT;
use gregor_model::names::{JobName, PortName, StageName, StreamName};
use toml::de::DeTable;

use super::fields::{Field, Fields, quoted};
use super::keys;
use super::paths::{self, Target};
use super::place::{At, JobFileError, Problem, Text};

/// A stage, before anybody looked at its component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StageFile {
    /// Its name.
    pub(crate) name: At<StageName>,
    /// The component's file, absolute.
    pub(crate) component: At<PathBuf>,
    /// Inputs by port, in the order of the file; the place is that of `inputs`.
    pub(crate) inputs: At<Vec<(At<PortName>, Source)>>,
    /// Outputs by port, in the order of the file; the place is that of `outputs`, or of the stage where it has none.
    pub(crate) outputs: At<Vec<(At<PortName>, Sink)>>,
    /// What the task reads as its configuration.
    pub(crate) config: BTreeMap<String, String>,
    /// What becomes of a record that the task does not survive.
    pub(crate) on_error: OnError,
    /// How often a failed batch is tried again.
    pub(crate) retries: u32,
}

impl StageFile {
    /// The streams that it writes, with their partitions: outputs in order, then dead letters.
    pub(crate) fn streams_written(&self) -> impl Iterator<Item = (&StreamName, u32)> {
        self.outputs.value.iter().filter_map(|(_, sink)| sink.stream()).chain(self.on_error.stream())
    }
}

/// What a stage is read with.
#[derive(Clone, Copy)]
pub(crate) struct Around<'t> {
    /// The job file.
    pub(crate) text: Text<'t>,
    /// The folder of the job file: absolute, without links.
    pub(crate) folder: &'t Path,
}

/// A value's kind and what to do about another: two halves of one message.
type Expected = (&'static str, &'static str);

const STAGE_NAME: Expected = ("1 to 64 characters of a-z 0-9 _", "choose such a name, output files are called after it");
const PORT_NAME: Expected = ("a port name, 1 to 64 characters of a-z 0-9 _", "use the port's name that `gregor inspect` shows");
const STREAM_NAME: Expected = ("stream:// and 1 to 64 characters of a-z 0-9 _ -", "choose such a name");
const COMPONENT: Expected = ("the path of a component, relative to the job file", "write it in quotes, such as \"count.wasm\"");
const INPUTS: Expected = (
    "a table with an entry for each input port",
    "write, for example, inputs = { lines = { from = \"books/*.txt\", format = \"lines\" } }",
);
const OUTPUTS: Expected =
    ("a table with an entry for each output port", "write, for example, outputs = { counts = { to = \"out\", format = \"tsv\" } }");
const FROM: Expected = ("a path, file:///… or stream://…", "write, for example, from = \"books/*.txt\"");
const TO: Expected = ("a path, file:///… or stream://…", "write, for example, to = \"out\"");
const DEAD_LETTER: Expected = (
    "stream:// and a name",
    "write, for example, dead-letter = \"stream://refused\", and let another stage read it where files are wanted",
);
const CONFIG: Expected = ("a table of texts, numbers, booleans and dates", "write, for example, config = { emit = \"at-end\" }");
const FORMATS: [(&str, Format); 5] =
    [("lines", Format::Lines), ("tsv", Format::Tsv), ("json-lines", Format::JsonLines), ("csv", Format::Csv), ("bytes", Format::Bytes)];
const SCHEMES: &str = "paths, file:///…, stream://…";

/// All stages: those of `[[stage]]`, or the one that stands at the top level.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn read_all(around: Around<'_>, root: &Fields<'_>, job: &JobName) -> Result<Vec<StageFile>, JobFileError> {
    let short = keys::SHORT_FORM.iter().filter_map(|key| root.get(key)).min_by_key(Field::begin);
    match (root.get("stage"), short) {
        (Some(_), Some(short)) => Err(short.error_at_key(Problem::Conflict(
            "stands at the top level beside [[stage]]; move it into the stage that it belongs to".to_owned(),
        ))),
        (None, _) => read(around, root, named_after(root, job)?).map(|stage| vec![stage]),
        (Some(stages), None) => read_list(around, &stages),
    }
}

/// The only stage is called after its job; stages have no dashes in their names.
fn named_after(root: &Fields<'_>, job: &JobName) -> Result<At<StageName>, JobFileError> {
    root.require("name", super::JOB_NAME)?.parse(super::JOB_NAME, |_| StageName::new(job.as_str().replace('-', "_")))
}

fn read_list(around: Around<'_>, stages: &Field<'_>) -> Result<Vec<StageFile>, JobFileError> {
    let expected = ("[[stage]] tables", "write [[stage]] above the keys of each stage");
    let tables = stages.tables(expected)?;
    if tables.is_empty() || tables.len() > keys::STAGES_MAX {
        return Err(stages.unexpected(&format!("1 to {} stages", keys::STAGES_MAX), expected.1));
    }
    let mut read = Vec::new();
    for (index, (begin, table)) in tables.into_iter().enumerate() {
        read.push(read_one(around, index, (begin, table))?);
    }
    Ok(read)
}

fn read_one(around: Around<'_>, index: usize, (begin, table): (usize, &DeTable<'_>)) -> Result<StageFile, JobFileError> {
    let unnamed = format!("stage {}: ", index + 1);
    let name = table.get("name").and_then(|name| name.get_ref().as_str());
    let prefix = name.map_or(unnamed, |name| format!("stage {}: ", quoted(name)));
    let fields = Fields::open(around.text, (&prefix, begin), table, &keys::STAGE)?;
    let name = fields.require("name", STAGE_NAME)?.parse(STAGE_NAME, StageName::new)?;
    read(around, &fields, name)
}

fn read(around: Around<'_>, fields: &Fields<'_>, name: At<StageName>) -> Result<StageFile, JobFileError> {
    let inputs = fields.require("inputs", INPUTS)?;
    let outputs = fields.get("outputs");
    let outputs = match &outputs {
        Some(outputs) => outputs.at(read_ports(outputs, OUTPUTS, |port| read_output(around, port))?),
        None => At { value: Vec::new(), place: name.place, field: name.field.clone() },
    };
    let retries = fields.amount(&keys::RETRIES)?.0;
    Ok(StageFile {
        name,
        component: read_component(around, &fields.require("component", COMPONENT)?)?,
        inputs: inputs.at(read_ports(&inputs, INPUTS, |port| read_input(around, port))?),
        outputs,
        config: fields.get("config").map(|config| read_config(&config)).transpose()?.unwrap_or_default(),
        on_error: read_on_error(fields)?,
        retries: u32::try_from(retries).unwrap_or(u32::MAX),
    })
}

/// What `on-error` may say.
#[derive(Clone, Copy)]
enum Policy {
    Stop,
    Skip,
    DeadLetter,
}

fn read_on_error(fields: &Fields<'_>) -> Result<OnError, JobFileError> {
    let policies = [("stop", Policy::Stop), ("skip", Policy::Skip), ("dead-letter", Policy::DeadLetter)];
    let (on_error, dead_letter) = (fields.get("on-error"), fields.get("dead-letter"));
    let policy = on_error.as_ref().map(|field| field.choice(&policies, &[])).transpose()?.unwrap_or(Policy::Stop);
    match (policy, dead_letter, on_error) {
        (Policy::DeadLetter, Some(dead_letter), _) => read_dead_letter(&dead_letter),
        (Policy::DeadLetter, None, Some(on_error)) => Err(on_error.error(Problem::Conflict(format!(
            "{} needs a stream to put them on; write, for example, dead-letter = \"stream://refused\" below it",
            on_error.found()
        )))),
        (Policy::Stop | Policy::Skip, Some(dead_letter), _) => Err(dead_letter.error_at_key(Problem::Conflict(
            "has no effect without on-error = \"dead-letter\"; write that as well, or leave dead-letter out".to_owned(),
        ))),
        (Policy::Skip, None, _) => Ok(OnError::Skip),
        (Policy::Stop, None, _) | (Policy::DeadLetter, None, None) => Ok(OnError::Stop),
    }
}

/// Files would have to leave out where a record came from and why it was refused; a stage that reads the stream writes what it likes.
fn read_dead_letter(field: &Field<'_>) -> Result<OnError, JobFileError> {
    match read_target(field, DEAD_LETTER)? {
        Target::Stream(_) => Ok(OnError::DeadLetter { stream: read_stream(field)?, partitions: STREAM_PARTITIONS_DEFAULT }),
        Target::File(_) => Err(field.unexpected(DEAD_LETTER.0, DEAD_LETTER.1)),
        Target::NotBuilt => Err(field.error(Problem::NotBuilt { found: field.found(), built: "stream://…".to_owned() })),
    }
}

fn read_component(around: Around<'_>, field: &Field<'_>) -> Result<At<PathBuf>, JobFileError> {
    let text = field.string(COMPONENT)?;
    let labelled = !text.contains('/') && text.contains('@') && !text.to_ascii_lowercase().ends_with(".wasm");
    if labelled || text.starts_with("sha256:") {
        return Err(field.error(Problem::NotBuilt { found: field.found(), built: "paths of .wasm files".to_owned() }));
    }
    match paths::target(text) {
        Ok(Target::File(path)) => Ok(field.at(paths::absolute(around.folder, path))),
        _ => Err(field.unexpected(COMPONENT.0, COMPONENT.1)),
    }
}

fn read_config(field: &Field<'_>) -> Result<BTreeMap<String, String>, JobFileError> {
    let entries = field.entries(CONFIG)?;
    if entries.len() > keys::CONFIG_KEYS_MAX {
        return Err(field.unexpected(&format!("at most {} keys", keys::CONFIG_KEYS_MAX), "put them into fewer texts"));
    }
    entries.into_iter().map(|(key, value)| Ok((key.to_owned(), value.scalar()?))).collect()
}

fn read_ports<T>(
    field: &Field<'_>,
    expected: Expected,
    read: impl Fn(&Field<'_>) -> Result<T, JobFileError>,
) -> Result<Vec<(At<PortName>, T)>, JobFileError> {
    let entries = field.entries(expected)?;
    entries
        .into_iter()
        .map(|(name, port)| {
            let name = PortName::new(name).map_err(|_| port.unexpected_key(PORT_NAME))?;
            Ok((port.at(name), read(&port)?))
        })
        .collect()
}

fn read_input(around: Around<'_>, port: &Field<'_>) -> Result<Source, JobFileError> {
    let fields = port.fields(("a table with from", FROM.1), &keys::INPUT)?;
    let from = fields.require("from", FROM)?;
    match read_target(&from, FROM)? {
        Target::Stream(_) => {
            refuse(&fields, "format", "a stream holds records already: leave the format out")?;
            Ok(Source::Stream { name: read_stream(&from)? })
        }
        Target::File(path) => {
            let format = read_format(&fields)?;
            let files = paths::files(around.folder, path, Path::is_dir).map_err(|error| from.unexpected(&error.to_string(), FROM.1))?;
            Ok(Source::File { folder: files.folder, pattern: files.pattern, format })
        }
        Target::NotBuilt => Err(from.error(Problem::NotBuilt { found: from.found(), built: SCHEMES.to_owned() })),
    }
}

fn read_output(around: Around<'_>, port: &Field<'_>) -> Result<Sink, JobFileError> {
    let fields = port.fields(("a table with to", TO.1), &keys::OUTPUT)?;
    let to = fields.require("to", TO)?;
    match read_target(&to, TO)? {
        Target::Stream(_) => {
            refuse(&fields, "format", "a stream holds records as they are: leave the format out")?;
            let partitions = fields.amount(&keys::PARTITIONS)?.0;
            Ok(Sink::Stream { name: read_stream(&to)?, partitions: u32::try_from(partitions).unwrap_or(u32::MAX) })
        }
        Target::File(path) => {
            refuse(&fields, "partitions", "a folder of files has one partition a task: leave partitions out")?;
            let format = read_format(&fields)?;
            let folder = paths::folder(around.folder, path).map_err(|error| to.unexpected(&error.to_string(), TO.1))?;
            Ok(Sink::File { folder, format })
        }
        Target::NotBuilt => Err(to.error(Problem::NotBuilt { found: to.found(), built: SCHEMES.to_owned() })),
    }
}

fn read_target<'t>(field: &Field<'t>, expected: Expected) -> Result<Target<'t>, JobFileError> {
    paths::target(field.string(expected)?).map_err(|error| field.unexpected(&error.to_string(), expected.1))
}

fn read_stream(field: &Field<'_>) -> Result<StreamName, JobFileError> {
    let name = field.parse(STREAM_NAME, |text| StreamName::new(text.strip_prefix("stream://").unwrap_or(text)))?;
    Ok(name.value)
}

fn read_format(fields: &Fields<'_>) -> Result<Format, JobFileError> {
    let names = FORMATS.map(|(name, _)| format!("{name:?}")).join(", ");
    let expected = format!("one of {names}");
    fields.require("format", (&expected, "write, for example, format = \"lines\""))?.choice(&FORMATS, &[])
}

fn refuse(fields: &Fields<'_>, key: &str, why: &str) -> Result<(), JobFileError> {
    fields.get(key).map_or(Ok(()), |field| Err(field.error_at_key(Problem::Conflict(why.to_owned()))))
}
