//! Restores a task's state: keeps the local store if it is of the confirmed chain, otherwise wipes it and opens the files of the base, and
//! applies the deltas that it lacks, fetching the next ones meanwhile. Refuses bytes that are not the ones that were confirmed.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use gregor_archive::Store;
use gregor_model::digest::Digest;
use gregor_model::history::Link;
use gregor_model::manifest::Base;
use gregor_model::names::{Branch, Incarnation, StoreName};
use gregor_model::recovery::{Held, LocalStore, local_store};
use gregor_state::{DeltaFile, TaskStores};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::failure;
use crate::fetch::{Fetch, joined};
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
        let mut links = chain.iter().enumerate().skip(from).filter(|(_, link)| !link.deltas.is_empty());
        let mut ahead = Ahead { io: self.io.clone(), fetching: None };
        ahead.begin(links.next().map(|link| self.fetching(task, link)));
        while let Some(fetched) = ahead.take() {
            let (segment, files) = fetched?;
            ahead.begin(links.next().map(|link| self.fetching(task, link)));
            stores.restore(segment, files).map_err(failed)?;
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

    fn fetch_of(&self, task: &str) -> Fetch {
        Fetch { archive: Arc::clone(&self.archive), io: self.io.clone(), task: task.to_owned() }
    }

    /// Puts the files of a base into a folder of their own: one is made durable while the next one comes.
    fn fetch_base(&self, task: &str, base: &Base) -> Result<PathBuf, RunError> {
        let fetch = self.fetch_of(task);
        let folder = self.delta_folder.join(format!("base-{}", task.replace('/', "-")));
        std::fs::create_dir_all(&folder).map_err(|error| fetch.unwritable(&folder, &error))?;
        let mut syncing = Syncing { fetch: &fetch, file: None };
        for file in &base.files {
            check_wanted(&self.shutdown, task)?;
            let path = folder.join(plain(&file.name).ok_or_else(|| {
                let key = &file.object.key;
                RunError::Corrupt(format!("task {task}: object {key} is to be the file {:?} of a base, which is no name of one", file.name))
            })?);
            let written = fetch.file(&file.into(), &path)?;
            syncing.finish()?;
            syncing.begin(path, written);
        }
        syncing.finish()?;
        Ok(folder)
    }

    /// Work that fetches the deltas of a link.
    fn fetching(&self, task: &str, (index, link): (usize, &Link)) -> impl FnOnce() -> Result<Fetched, RunError> + Send + use<> {
        let (fetch, shutdown, stores) = (self.fetch_of(task), self.shutdown.clone(), self.stores.clone());
        let (segment, deltas) = (link.segment, link.deltas.clone());
        let stem = self.delta_folder.join(format!("restore-{}-{index}", task.replace('/', "-")));
        move || {
            let mut files = Vec::new();
            for (number, delta) in deltas.iter().enumerate().filter(|(_, delta)| delta.content.is_changes()) {
                check_wanted(&shutdown, &fetch.task)?;
                files.push(fetch.delta(delta, &stores, stem.with_extension(format!("{number}.sst")))?);
            }
            Ok((segment, files))
        }
    }
}

/// The last segment of a link, and its deltas as files.
type Fetched = (Digest, Vec<DeltaFile>);

/// A link that is being fetched while the one before it is restored. At most one: there is room for it on the disk, whatever its size.
struct Ahead {
    io: Handle,
    fetching: Option<JoinHandle<io::Result<Result<Fetched, RunError>>>>,
}

impl Ahead {
    fn begin(&mut self, work: Option<impl FnOnce() -> Result<Fetched, RunError> + Send + 'static>) {
        self.fetching = work.map(|work| self.io.spawn_blocking(move || Ok(work())));
    }

    fn take(&mut self) -> Option<Result<Fetched, RunError>> {
        let fetching = self.fetching.take()?;
        let fetched = self.io.block_on(joined(fetching));
        Some(fetched.unwrap_or_else(|error| Err(RunError::Failed(format!("deltas could not be fetched: {error}")))))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // After an error: what is under way ends before anybody removes the folder.
        drop(self.take());
    }
}

/// A file that is being made durable; at most one waits for that.
struct Syncing<'a> {
    fetch: &'a Fetch,
    file: Option<(PathBuf, JoinHandle<io::Result<()>>)>,
}

impl Syncing<'_> {
    fn begin(&mut self, path: PathBuf, written: File) {
        self.file = Some((path, self.fetch.io.spawn_blocking(move || written.sync_all())));
    }

    fn finish(&mut self) -> Result<(), RunError> {
        let Some((path, syncing)) = self.file.take() else { return Ok(()) };
        let synced = self.fetch.io.block_on(joined(syncing));
        synced.map_err(|error| self.fetch.unwritable(&path, &error))
    }
}

impl Drop for Syncing<'_> {
    fn drop(&mut self) {
        drop(self.finish());
    }
}

/// Whether the job is still wanted. The next start restores anew.
fn check_wanted(shutdown: &Shutdown, task: &str) -> Result<(), RunError> {
    if shutdown.begun() {
        return Err(RunError::Failed(format!("task {task}: the job ends before its state is restored")));
    }
    Ok(())
}

/// A name that leads nowhere else: names of base files come from a stored document.
fn plain(name: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!name.is_empty() && !name.starts_with('.') && name.bytes().all(allowed)).then_some(name)
}
