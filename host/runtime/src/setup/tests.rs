//! A job for tests of starts: without stages, on real parts in a folder. Refuses to run anything.

use std::path::Path;
use std::sync::Arc;

use gregor_archive::LocalStore;
use gregor_coordination::local::LocalCoordinator;
use gregor_model::job::{CheckpointSettings, Job};
use gregor_model::limits::Limits;
use gregor_model::names::{Boot, Incarnation, JobName};
use gregor_model::steps::Unobserved;

use super::*;

/// A job without stages in this folder.
pub(crate) fn without_stages(folder: &Path, workers: usize) -> Setup {
    let name = JobName::new("threads").unwrap();
    Setup {
        job: Job {
            name: name.clone(),
            stages: Vec::new(),
            produced: Vec::new(),
            checkpoint: CheckpointSettings::default(),
            limits: Limits::default(),
        },
        components: Vec::new(),
        state_folder: folder.join("state"),
        archive: Arc::new(LocalStore::open(&folder.join("archive"), Arc::new(Unobserved)).unwrap()),
        coordinator: Arc::new(LocalCoordinator::open(&folder.join("coordination"), &name, Arc::new(Unobserved)).unwrap()),
        steps: Arc::new(Unobserved),
        boot: Boot(8),
        fresh: Incarnation(7),
        workers,
        lost_outputs: LostOutputs::Refuse,
        until: Until::Finished,
        stand_ins: StandIns::default(),
    }
}
