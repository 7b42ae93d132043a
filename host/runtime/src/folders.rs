//! The output folders of a job, by stage and output. Two outputs that name the same folder share it. Refuses a folder that is not this job's, and
//! folders in each other's way.

mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gregor_model::job::{Job, Sink};
use gregor_model::manifest::Release;
use gregor_model::names::{Attempt, Incarnation};
use gregor_model::recovery::{self, ReleaseMove};
use gregor_model::segment::is_leftover;
use gregor_model::spec::{FOLDER_MARKER, Marker};
use gregor_model::steps::Steps;
use gregor_stream::OutputFolder;

use crate::failure;
use crate::setup::{LostOutputs, RunError};

pub(crate) use look::look;

/// The outputs of a job that go to folders: stage and output, a name for people, the folder.
fn file_outputs(job: &Job) -> impl Iterator<Item = ((u16, u16), String, &str)> {
    (0_u16..).zip(&job.stages).flat_map(|(stage_index, stage)| {
        (0_u16..).zip(&stage.outputs).filter_map(move |(output_index, output)| match &output.sink {
            Sink::File { folder, .. } => {
                let name = format!("stage {:?}, output {:?}", stage.name.as_str(), output.port.as_str());
                Some(((stage_index, output_index), name, folder.as_str()))
            }
            Sink::Stream { .. } => None,
        })
    })
}

/// Completes the folders of a job that is finished, none of whose releases is open: `_SUCCESS` may be missing if the process died right after the
/// last confirmation, and a host that was taken for dead may have awoken since and finished writing a temporary file. What attempts before the
/// last one have left goes; one that begins only now, after a return, is a later one. A folder that somebody took away with all that was in it
/// stays away.
pub(crate) fn finish_again(job: &Job, (marker, last): (&Marker, Attempt), steps: &Arc<dyn Steps>) -> Result<(), RunError> {
    let folders: BTreeSet<&str> = file_outputs(job).map(|(_, _, folder)| folder).collect();
    for folder in folders.into_iter().map(Path::new).filter(|folder| folder.join(FOLDER_MARKER).exists()) {
        let folder = OutputFolder::open(folder, marker, Arc::clone(steps)).map_err(failure::sink)?;
        folder.sweep(&|name| !is_leftover(name, marker.incarnation, last)).map_err(failure::sink)?;
        folder.succeed().map_err(failure::sink)?;
    }
    Ok(())
}

/// The folders.
pub(crate) struct Folders {
    by_output: BTreeMap<(u16, u16), Arc<OutputFolder>>,
    folders: Vec<Arc<OutputFolder>>,
    lost: LostOutputs,
}

impl Folders {
    /// Opens all of them; makes those that are missing, and their markers.
    pub(crate) fn open(job: &Job, marker: &Marker, steps: &Arc<dyn Steps>, lost: LostOutputs) -> Result<Self, RunError> {
        let mut by_path: BTreeMap<&str, Arc<OutputFolder>> = BTreeMap::new();
        let mut by_output = BTreeMap::new();
        for (at, _, folder) in file_outputs(job) {
            let opened = match by_path.get(folder) {
                Some(opened) => Arc::clone(opened),
                None => {
                    let opened = OutputFolder::open(Path::new(folder), marker, Arc::clone(steps)).map_err(failure::sink)?;
                    Arc::clone(by_path.entry(folder).or_insert(Arc::new(opened)))
                }
            };
            by_output.insert(at, opened);
        }
        Ok(Self { by_output, folders: by_path.into_values().collect(), lost })
    }

    /// The folder of an output.
    pub(crate) fn of(&self, stage: u16, output: u16) -> Result<&Arc<OutputFolder>, RunError> {
        let missing = || RunError::Failed(format!("output {output} of stage {stage} has no folder: an invariant of gregor is broken"));
        self.by_output.get(&(stage, output)).ok_or_else(missing)
    }

    /// Performs a release, as often as it takes: it may have been done before a crash.
    pub(crate) fn perform(&self, release: &Release) -> Result<(), RunError> {
        let folder = self.of(release.task.stage, release.output)?;
        let observed = folder.observe(release).map_err(failure::sink)?;
        match recovery::release(observed.temporary, observed.name) {
            ReleaseMove::Rename => folder.release(release).map_err(failure::sink),
            ReleaseMove::Done => folder.remove_temporary(&release.temporary).map(drop).map_err(failure::sink),
            ReleaseMove::Stop(reason) => Err(RunError::Failed(format!(
                "output file {} can't be released: {reason}; remove or restore it and start again",
                release.name
            ))),
            ReleaseMove::Lost if self.lost == LostOutputs::Consumed => Ok(()),
            ReleaseMove::Lost => Err(RunError::Failed(format!(
                "output file {} is neither there nor under its temporary name {}; restore it, or if somebody has consumed it start again with \
                 --outputs-consumed",
                release.name, release.temporary
            ))),
        }
    }

    /// Removes temporary files that attempts before this one have left. To be called when all open releases are performed.
    pub(crate) fn sweep(&self, (incarnation, attempt): (Incarnation, Attempt)) -> Result<(), RunError> {
        for folder in &self.folders {
            folder.sweep(&|name| !is_leftover(name, incarnation, attempt)).map_err(failure::sink)?;
        }
        Ok(())
    }

    /// Takes back in all folders that the output is complete: the job was taken back since it had finished.
    pub(crate) fn reopen(&self) -> Result<(), RunError> {
        self.folders.iter().try_for_each(|folder| folder.reopen().map_err(failure::sink))
    }

    /// Says in all folders that the output is complete.
    pub(crate) fn succeed(&self) -> Result<(), RunError> {
        self.folders.iter().try_for_each(|folder| folder.succeed().map_err(failure::sink))
    }
}
