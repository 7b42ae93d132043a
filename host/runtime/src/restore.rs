//! Restores a task's state: keeps the local store if it is of the confirmed chain, otherwise wipes it and opens the files of the base, and
//! applies the deltas that it lacks. Refuses bytes that are not the ones that were confirmed.

mod files;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gregor_archive::Store;
use gregor_model::history::Link;
use gregor_model::manifest::Base;
use gregor_model::names::{Branch, Incarnation, StoreName};
use gregor_model::recovery::{Held, LocalStore, local_store};
use gregor_state::{DeltaFile, TaskStores};
use tokio::runtime::Handle;

use self::files::Fetch;
use crate::failure;
use crate::setup::RunError;
use crate::threads::Shutdown;

/// How a task's state is restored.
pub(crate) struct Restore {
    /// The job's incarnation and line of history.
    pub(crate) owner: (Incarnation, Branch),
    /// What the confirmed chain begins with.
    pub(crate) base: Option<Base>,
    /// The confirmed chain.
    pub(crate) chain: Vec<Link>,
    /// The task's stores, in the order of its description.
    pub(crate) stores: Vec<StoreName>,
    /// Where deltas come from.
    pub(crate) archive: Arc<dyn Store>,
    /// The async runtime that the archive needs.
    pub(crate) io: Handle,
    /// Where deltas are put on their way, a folder of this process.
    pub(crate) delta_folder: PathBuf,
    /// Ends a restore between two objects: it may take minutes, and a job that is stopped does not wait for it.
    pub(crate) shutdown: Shutdown,
}

impl Restore {
    /// Restores; `task` is its name for people. The chain is given up.
    pub(crate) fn run(&mut self, task: &str, stores: &mut TaskStores) -> Result<(), RunError> {
        let (base, chain) = (self.base.take(), std::mem::take(&mut self.chain));
        if self.stores.is_empty() {
            return Ok(());
        }
        let failed = |error| failure::state(task, error);
        stores.set_owner(self.owner.0, self.owner.1);
        let marker = stores.marker().map_err(failed)?;
        let held = marker.map(|marker| Held { incarnation: marker.incarnation, branch: marker.branch, segment: marker.segment });
        let (from, base_bytes) = match local_store(held, self.owner, (base.as_ref(), &chain)) {
            LocalStore::Resume { from } => (from, None),
            LocalStore::Wipe => {
                stores.wipe().map_err(failed)?;
                if let Some(base) = &base {
                    let folder = self.fetch_base(task, base)?;
                    stores.restore_image(base.segment, &folder).map_err(failed)?;
                }
                (0, Some(base.as_ref().map_or(0, Base::bytes)))
            }
        };
        let mut restored = 0_u64;
        for (index, link) in chain.iter().enumerate().skip(from).filter(|(_, link)| !link.deltas.is_empty()) {
            let files = self.fetch(task, (index, link))?;
            stores.restore(link.segment, files).map_err(failed)?;
            restored += 1;
        }
        if restored > 0 {
            stores.mark().map_err(failed)?;
        }
        let segments: u64 = chain.iter().skip(from).map(|link| link.segments).sum();
        let delta_bytes = chain.iter().skip(from).map(Link::bytes).fold(0, u64::saturating_add);
        match base_bytes {
            Some(base_bytes) => {
                tracing::info!(task, base_bytes, delta_bytes, deltas = restored, segments, "the state is restored from the archive")
            }
            None => tracing::info!(task, delta_bytes, deltas = restored, segments, "the state is that of the local store"),
        }
        Ok(())
    }

    /// Whether the job is still wanted. The next start restores anew.
    fn check_wanted(&self, task: &str) -> Result<(), RunError> {
        if self.shutdown.begun() {
            return Err(RunError::Failed(format!("task {task}: the job ends before its state is restored")));
        }
        Ok(())
    }

    /// Puts the files of a base into a folder of their own.
    fn fetch_base(&self, task: &str, base: &Base) -> Result<PathBuf, RunError> {
        let folder = self.delta_folder.join(format!("base-{}", task.replace('/', "-")));
        let unwritable = |path: &Path, error: std::io::Error| {
            RunError::Failed(format!("task {task}: can't write {}: {error}; free some space", path.display()))
        };
        std::fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, error))?;
        let mut fetch = Fetch::new(task, &*self.archive, &self.io);
        for file in &base.files {
            self.check_wanted(task)?;
            let path = folder.join(plain(&file.name).ok_or_else(|| {
                let key = &file.object.key;
                RunError::Corrupt(format!("task {task}: object {key} is to be the file {:?} of a base, which is no name of one", file.name))
            })?);
            fetch.file(file, path)?;
        }
        fetch.finish()?;
        Ok(folder)
    }

    fn fetch(&self, task: &str, (index, link): (usize, &Link)) -> Result<Vec<DeltaFile>, RunError> {
        let mut files = Vec::new();
        for delta in link.deltas.iter().filter(|delta| delta.content.is_changes()) {
            self.check_wanted(task)?;
            let place = self.stores.iter().position(|store| *store == delta.store).and_then(|store| u16::try_from(store).ok());
            let Some(store) = place else {
                return Err(RunError::Corrupt(format!(
                    "task {task}: object {} holds store {} that the task has not",
                    delta.part.key, delta.store
                )));
            };
            let range = delta.offset..delta.offset.saturating_add(delta.length);
            let read = gregor_archive::read_part_range(&*self.archive, &delta.part.key, range, delta.sha256);
            let bytes = self.io.block_on(read).map_err(failure::archive)?;
            let path = self.delta_folder.join(format!("restore-{}-{index}-{store}.sst", task.replace('/', "-")));
            std::fs::write(&path, &bytes)
                .map_err(|error| RunError::Failed(format!("task {task}: can't write {}: {error}; free some space", path.display())))?;
            files.push(DeltaFile {
                store,
                content: delta.content,
                path,
                length: delta.length,
                sha256: delta.sha256,
                entries: delta.entries,
            });
        }
        Ok(files)
    }
}

/// A name that leads nowhere else: names of base files come from a stored document.
fn plain(name: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!name.is_empty() && !name.starts_with('.') && name.bytes().all(allowed)).then_some(name)
}
