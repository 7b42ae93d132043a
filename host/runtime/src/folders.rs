//! The output folders of a job, by stage and output. Two outputs that name the same folder share it. Refuses a folder that is not this job's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use gregor_model::job::{Job, Sink};
use gregor_model::manifest::Release;
use gregor_model::recovery::{self, ReleaseMove};
use gregor_model::spec::Marker;
use gregor_model::steps::Steps;
use gregor_stream::OutputFolder;

use crate::failure;
use crate::setup::{LostOutputs, RunError};

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
        for (stage_index, stage) in (0_u16..).zip(&job.stages) {
            for (output_index, output) in (0_u16..).zip(&stage.outputs) {
                let Sink::File { folder, .. } = &output.sink else { continue };
                let opened = match by_path.get(folder.as_str()) {
                    Some(opened) => Arc::clone(opened),
                    None => {
                        let opened = OutputFolder::open(Path::new(folder), marker, Arc::clone(steps)).map_err(failure::sink)?;
                        Arc::clone(by_path.entry(folder).or_insert(Arc::new(opened)))
                    }
                };
                by_output.insert((stage_index, output_index), opened);
            }
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

    /// Removes temporary files of dead attempts; those of open releases stay.
    pub(crate) fn sweep(&self, open: &[Release]) -> Result<(), RunError> {
        for folder in &self.folders {
            folder.sweep(&|name| open.iter().any(|release| release.temporary == name)).map_err(failure::sink)?;
        }
        Ok(())
    }

    /// Says in all folders that the output is complete.
    pub(crate) fn succeed(&self) -> Result<(), RunError> {
        self.folders.iter().try_for_each(|folder| folder.succeed().map_err(failure::sink))
    }
}
