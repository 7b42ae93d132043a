//! From a job file to a job: components are read and admitted, their descriptions compared with the job file's ports, stages put in order of their
//! ports. Refuses every difference between a job file and the components that it names, with the line where it stands.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use gregor_guest::{Cache, Component, Engine, EngineOptions, Port};
use gregor_model::job::{Input, InvalidJob, Job, Output, Source, Stage};
use gregor_model::limits::{COMPONENT_BYTES_MAX, FILE_PARTITIONS_MAX};
use gregor_model::names::PortName;

use crate::compile;
use crate::exit::Failure;
use crate::job_file::place::{At, Problem};
use crate::job_file::{JobFile, StageFile};

/// Instances beyond one a task: each worker may make a fresh one while the spent one is being dropped (workers are at most 64).
const INSTANCES_SPARE: u32 = 64;

/// A job that can run.
#[derive(Debug)]
pub(crate) struct Deployed {
    /// The job, checked.
    pub(crate) job: Job,
    /// The component of each stage.
    pub(crate) components: Vec<Component>,
}

/// Deploys a job file. Components whose compiled form is in the cache need not be compiled; all are checked.
///
/// # Errors
/// A component can't be read or is refused, its ports differ from the job file's, or the stages make no job: all exit 2. The engine does not
/// start: exit 1.
pub(crate) fn deploy(file: &JobFile, cache: Option<&Cache>) -> Result<Deployed, Failure> {
    let options = EngineOptions { instances_max: instances_max(file), memory_bytes_max: file.limits.memory_bytes };
    let engine = Engine::admitting(&options, compile::admitting()).map_err(Failure::failed)?;
    let mut components: Vec<Component> = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    for stage in &file.stages {
        let component = admit((&engine, cache), file, &stage.component)?;
        stages.push(connect(file, stage, &component)?);
        components.push(component);
    }
    let produced = file.produced.iter().map(|stream| stream.value.clone()).collect();
    let job = Job { name: file.name.clone(), stages, produced, checkpoint: file.checkpoint.clone(), limits: file.limits.clone() };
    job.check().map_err(|invalid| misplaced(file, &invalid))?;
    Ok(Deployed { job, components })
}

/// Tasks that the job can have at most, and some.
fn instances_max(file: &JobFile) -> u32 {
    let tasks = file.stages.iter().map(|stage| {
        let partitions = stage.inputs.value.iter().map(|(_, source)| match source {
            Source::File { .. } => FILE_PARTITIONS_MAX,
            Source::Stream { name } => partitions_of(file, name.as_str()),
        });
        partitions.min().unwrap_or(1)
    });
    tasks.fold(INSTANCES_SPARE, u32::saturating_add)
}

/// Partitions of a stream; 1 if nobody writes it, which `Job::check` finds.
fn partitions_of(file: &JobFile, stream: &str) -> u32 {
    let produced = file.produced.iter().map(|stream| (&stream.value.name, stream.value.partitions));
    let mut written = file.stages.iter().flat_map(StageFile::streams_written).chain(produced).filter(|(name, _)| name.as_str() == stream);
    written.next().map_or(1, |(_, partitions)| partitions)
}

fn admit((engine, cache): (&Engine, Option<&Cache>), file: &JobFile, component: &At<std::path::PathBuf>) -> Result<Component, Failure> {
    let path = component.value.display();
    let refused = |problem: String| Failure::refused(component.error(&file.file, Problem::Conflict(problem)));
    let bytes = read_component(&component.value)
        .map_err(|error| refused(format!("can't read the component {path}: {error}; name its .wasm file")))?;
    engine.admit_from(cache, &bytes).map_err(|refusal| refused(format!("the component {path} is refused: {refusal}")))
}

/// Reads a component, but no more than shows that it is too large.
///
/// # Errors
/// The file can't be read.
pub(crate) fn read_component(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Joins a stage of the job file with its component's description.
fn connect(file: &JobFile, stage: &StageFile, component: &Component) -> Result<Stage, Failure> {
    let described = component.descriptor();
    let inputs = in_order(file, (&stage.inputs, "input"), &described.inputs)?;
    let outputs = in_order(file, (&stage.outputs, "output"), &described.outputs)?;
    Ok(Stage {
        name: stage.name.value.clone(),
        component: component.digest(),
        inputs: inputs.into_iter().map(|(port, source)| Input { port, source }).collect(),
        outputs: outputs.into_iter().map(|(port, sink)| Output { port, sink }).collect(),
        stores: described.stores.clone(),
        config: stage.config.clone(),
        on_error: stage.on_error.clone(),
        retries: stage.retries,
    })
}

/// The connections of a stage in the order of its component's ports, if they are exactly those.
fn in_order<T: Clone>(
    file: &JobFile,
    (connected, what): (&At<Connections<T>>, &str),
    described: &[Port],
) -> Result<Vec<(PortName, T)>, Failure> {
    let ordered: Vec<(PortName, T)> = described
        .iter()
        .filter_map(|port| connected.value.iter().find(|(name, _)| name.value == port.name).map(|(_, to)| (port.name.clone(), to.clone())))
        .collect();
    if ordered.len() == described.len() && ordered.len() == connected.value.len() {
        return Ok(ordered);
    }
    let found = names(connected.value.iter().map(|(name, _)| &name.value));
    let expected = names(described.iter().map(|port| &port.name));
    let problem = format!("the job file connects the {what}s {found}, the component has {expected}; connect exactly these, by their names");
    Err(Failure::refused(connected.error(&file.file, Problem::Conflict(problem))))
}

/// Ports and what each is connected with.
type Connections<T> = Vec<(At<PortName>, T)>;

fn names<'n>(names: impl Iterator<Item = &'n PortName>) -> String {
    let names: Vec<&str> = names.map(PortName::as_str).collect();
    if names.is_empty() { "(none)".to_owned() } else { names.join(", ") }
}

/// What stages do wrong together, at the stage that it is about where there is one.
fn misplaced(file: &JobFile, invalid: &InvalidJob) -> Failure {
    if let InvalidJob::NotRead(stream) = invalid
        && let Some(declared) = file.produced.iter().find(|declared| declared.value.name.as_str() == stream)
    {
        return Failure::refused(declared.error(&file.file, Problem::Conflict(invalid.to_string())));
    }
    let stage = match invalid {
        InvalidJob::StageTwice(stage)
        | InvalidJob::NoInput(stage)
        | InvalidJob::NotWritten { stage, .. }
        | InvalidJob::Partitions { stage, .. } => {
            // Of two with one name the second is the one too many.
            file.stages.iter().rfind(|known| known.name.value.as_str() == stage)
        }
        InvalidJob::WrittenTwice(_) | InvalidJob::NotRead(_) | InvalidJob::Cycle(_) => None,
    };
    match stage {
        Some(stage) => Failure::refused(stage.name.error(&file.file, Problem::Conflict(invalid.to_string()))),
        None => Failure::refused(anyhow::anyhow!("{}: {invalid}", file.file)),
    }
}

#[cfg(test)]
mod tests;
