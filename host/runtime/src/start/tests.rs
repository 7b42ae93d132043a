//! Questions to a coordinator that does not answer, and a look at a job that another host is running.

use std::future::{pending, ready};
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use gregor_archive::{Listed, Store};
use gregor_coordination::{Begin, Coordinator};
use gregor_model::names::{Boot, CheckpointNumber, JobName};
use tokio::runtime::Runtime;

use super::*;
use crate::setup::tests::without_stages;

/// An archive in which another host is at work: each time that its objects are listed there is one checkpoint more, created and sealed.
struct Busy {
    archive: Arc<dyn Store>,
    coordinator: Arc<dyn Coordinator>,
    keys: JobKeys,
}

#[async_trait]
impl Store for Busy {
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ArchiveError> {
        let register = self.coordinator.read().await.unwrap().unwrap();
        let number = CheckpointNumber(register.created.0 + 1);
        if let Some(undecided) = register.undecided() {
            self.coordinator.abort(undecided).await.unwrap();
        }
        drop(self.coordinator.create(number, 0, 1).await.unwrap());
        self.archive.create(&self.keys.manifest(number, register.term, 0), Bytes::from_static(b"sealed")).await?;
        self.archive.list(prefix).await
    }

    async fn create(&self, key: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        self.archive.create(key, bytes).await
    }

    async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, ArchiveError> {
        self.archive.read(key, range).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, ArchiveError> {
        self.archive.folders(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        self.archive.delete(key).await
    }

    async fn sweep(&self, prefix: &str) -> Result<u64, ArchiveError> {
        self.archive.sweep(prefix).await
    }
}

#[test]
fn a_job_that_another_host_is_running_does_not_look_like_one_whose_coordination_lost_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let io = Runtime::new().unwrap();
    let mut setup = without_stages(folder.path(), 1);
    let begin = Begin { boot: Boot(9), fresh: setup.fresh, streams: Vec::new() };
    let register = io.block_on(setup.coordinator.begin(&begin)).unwrap();
    let keys = JobKeys::new(&setup.job.name, register.incarnation);
    io.block_on(setup.archive.create(&keys.marker(), Bytes::from(MARKER.encode(&marker_of(&setup, &register)).unwrap()))).unwrap();
    setup.archive = Arc::new(Busy { archive: Arc::clone(&setup.archive), coordinator: Arc::clone(&setup.coordinator), keys });
    let latest: Choose<'_> = &|register| Ok(register.latest.clone());
    for _ in 0..3 {
        let found = look(&setup, &Asking::new(io.handle(), &|| false), (latest, &|_| ()));
        assert!(found.is_ok(), "{:?}", found.err());
    }
}

fn marker_of(setup: &Setup, register: &Register) -> Marker {
    Marker { job: setup.job.name.clone(), incarnation: register.incarnation }
}

#[test]
fn a_question_to_the_coordinator_ends_when_the_job_is_to_stop_and_is_told_from_a_failure() {
    let io = Runtime::new().unwrap();
    let job = JobName::new("start").unwrap();
    let fenced = || CoordinationError::Poisoned { job: job.clone(), reason: "closed".to_owned() };
    let asking = Asking::new(io.handle(), &|| true);
    // An answer that is there counts, and so does a failure: only what nobody waited for to its end is given up.
    assert_eq!(asking.ask(ready(Ok(7))), Ok(7));
    assert!(asking.ask(ready(Err::<(), _>(fenced()))).is_err() && !asking.gave_up.get());
    assert!(asking.ask(pending::<Result<(), _>>()).is_err() && asking.gave_up.get());
}
