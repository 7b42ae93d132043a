//! An archive that fails now and then, or takes its time: a real one behind a seam that loses calls and answers. Refuses to alter bytes: what it
//! lets through is what stands there.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gregor_archive::{ArchiveError, Listed, Store};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::cli::{ArchiveFault, Fault};

/// One write (create, delete) in so many fails. A durable write is tried three times, so now and then one fails for good.
const WRITES_A_FAILURE: u32 = 4;
/// One read or listing in so many fails. Reads are not tried again, and a start makes some tens of them.
const READS_A_FAILURE: u32 = 64;
/// The longest that a slow operation waits before it begins.
const DELAY_MAX: Duration = Duration::from_millis(30);

/// The archive as the fault makes it; the very same one without.
pub(crate) fn around(archive: Arc<dyn Store>, fault: Option<Fault>) -> Arc<dyn Store> {
    let Some(Fault::Archive(manner)) = fault else { return archive };
    let (ArchiveFault::Flaky(seed) | ArchiveFault::Slow(seed)) = manner;
    Arc::new(Faulty { archive, manner, random: Mutex::new(StdRng::seed_from_u64(seed)) })
}

struct Faulty {
    archive: Arc<dyn Store>,
    manner: ArchiveFault,
    random: Mutex<StdRng>,
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    /// It is not begun.
    Lost,
    /// It is done, and its answer is lost.
    Unanswered,
    Delayed(Duration),
}

impl Faulty {
    fn draw(&self, operations_a_failure: u32) -> Fate {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        match self.manner {
            ArchiveFault::Slow(_) => Fate::Delayed(random.random_range(Duration::ZERO..DELAY_MAX)),
            ArchiveFault::Flaky(_) if !random.random_ratio(1, operations_a_failure) => Fate::Pass,
            ArchiveFault::Flaky(_) if random.random() => Fate::Lost,
            ArchiveFault::Flaky(_) => Fate::Unanswered,
        }
    }

    async fn subject<T>(
        &self,
        key: &str,
        operations_a_failure: u32,
        operation: impl Future<Output = Result<T, ArchiveError>> + Send,
    ) -> Result<T, ArchiveError> {
        let made = |when: &str| ArchiveError::Unavailable { key: key.to_owned(), reason: format!("it was made to fail {when}") };
        match self.draw(operations_a_failure) {
            Fate::Pass => operation.await,
            Fate::Lost => Err(made("before it began")),
            Fate::Unanswered => operation.await.and(Err(made("after it was done"))),
            Fate::Delayed(delay) => {
                // What is waited for never comes: being slow is what was asked for.
                drop(tokio::time::timeout(delay, std::future::pending::<()>()).await);
                operation.await
            }
        }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        self.subject(key, WRITES_A_FAILURE, self.archive.create(key, bytes)).await
    }

    async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, ArchiveError> {
        self.subject(key, READS_A_FAILURE, self.archive.read(key, range)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ArchiveError> {
        self.subject(prefix, READS_A_FAILURE, self.archive.list(prefix)).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, ArchiveError> {
        self.subject(prefix, READS_A_FAILURE, self.archive.folders(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        self.subject(key, WRITES_A_FAILURE, self.archive.delete(key)).await
    }

    async fn sweep(&self, prefix: &str) -> Result<u64, ArchiveError> {
        self.subject(prefix, READS_A_FAILURE, self.archive.sweep(prefix)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gregor_archive::LocalStore;
    use gregor_model::steps::Unobserved;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_share_of_the_writes_fails_before_or_after_it_happened_and_the_rest_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let real: Arc<dyn Store> = Arc::new(LocalStore::open(folder.path(), Arc::new(Unobserved)).unwrap());
        let flaky = around(Arc::clone(&real), Some("flaky:7".parse().unwrap()));
        let mut fates = [0; 3];
        runtime().block_on(async {
            for number in 0..200 {
                let key = format!("o/{number}");
                let answered = flaky.create(&key, Bytes::from_static(b"x")).await.is_ok();
                match (answered, real.read(&key, None).await.is_ok()) {
                    (true, there) => {
                        assert!(there, "{key} was not created");
                        fates[0] += 1;
                    }
                    (false, false) => fates[1] += 1,
                    (false, true) => fates[2] += 1,
                }
            }
        });
        assert!(fates[0] > 100 && fates[1] > 5 && fates[2] > 5, "{fates:?}");
    }

    #[test]
    fn without_such_a_fault_the_archive_is_the_same_one() {
        let folder = tempfile::tempdir().unwrap();
        let real: Arc<dyn Store> = Arc::new(LocalStore::open(folder.path(), Arc::new(Unobserved)).unwrap());
        for fault in [None, Some("fail:1".parse().unwrap())] {
            assert!(Arc::ptr_eq(&around(Arc::clone(&real), fault), &real));
        }
        assert!(!Arc::ptr_eq(&around(Arc::clone(&real), Some("slow:1".parse().unwrap())), &real));
    }
}
