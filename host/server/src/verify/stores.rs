//! Puts the state of each task at the last checkpoint together, from its base and its deltas, and compares keys and values with the local store,
//! brought to the same checkpoint by the deltas after its marker. Refuses to open the local store itself: what is opened is a copy, made while
//! nobody holds the data folder. A store without a usable marker is only a cache, and not compared.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use gregor_archive::{Store, read_part_range};
use gregor_model::digest::Digester;
use gregor_model::history::{History, Link, TaskHistory};
use gregor_model::job::Job;
use gregor_model::manifest::{Base, ObjectRef};
use gregor_model::names::{StoreName, TaskId};
use gregor_model::recovery::{Held, LocalStore, local_store};
use gregor_model::register::Register;
use gregor_model::steps::Unobserved;
use gregor_state::{Backend, BackendOptions, DeltaFile, StateError, TaskStores};

use super::findings::{Findings, Whose, said};
use super::scratch::{Scratch, copy_store, remove};
use crate::exit::Failure;
use crate::output::harmless;
use crate::wiring::{self, wait};

/// Two stores are read from beginning to end, once: caches need not hold much.
const OPTIONS: BackendOptions = BackendOptions {
    block_cache_bytes: 32 * 1024 * 1024,
    write_buffer_bytes: 64 * 1024 * 1024,
    clean_bytes_per_task: 1024 * 1024,
    open_stores_max: 4,
};

/// What is put together.
pub(super) struct Subject<'s> {
    pub(super) job: &'s Job,
    pub(super) register: &'s Register,
    pub(super) latest: &'s History,
    pub(super) archive: &'s dyn Store,
    /// Keys of objects that are not what they must be.
    pub(super) damaged: &'s BTreeSet<String>,
}

/// A task with stores.
struct Stateful<'s> {
    id: TaskId,
    name: String,
    /// Its folder below that of all local stores.
    folder: PathBuf,
    stores: Vec<StoreName>,
    history: &'s TaskHistory,
}

/// Something that is not as it must be, and what of it.
type Wrong = (String, String);

/// Checks the state of all tasks; `is_latest` tells whether the checkpoint is the last one still.
///
/// # Errors
/// There is no room to put state together, or another verification is at work.
pub(super) fn check(
    subject: &Subject<'_>,
    (data, is_latest): (&Path, &dyn Fn() -> Result<bool, Failure>),
    findings: &mut Findings,
) -> Result<(), Failure> {
    let tasks = subject.tasks();
    if tasks.is_empty() {
        return Ok(());
    }
    let scratch = Scratch::take(data)?;
    let copied = copy_local(&tasks, (data, is_latest), &scratch)?;
    findings.notes.extend(copied.err());
    let backend = Backend::new(&OPTIONS, Arc::new(Unobserved));
    let place = Place { subject, scratch: &scratch, backend };
    let Some(number) = subject.latest.number else { return Ok(()) };
    for task in &tasks {
        match place.check(task)? {
            Outcome::Same => {}
            Outcome::Noted(note) => findings.notes.push(note),
            Outcome::Wrong((object, problem)) => findings.add(&object, problem, Whose::RestorePoint(number)),
        }
    }
    Ok(())
}

/// Copies the local stores while nobody can change them; a note instead where somebody can, or has.
fn copy_local(
    tasks: &[Stateful<'_>],
    (data, is_latest): (&Path, &dyn Fn() -> Result<bool, Failure>),
    scratch: &Scratch,
) -> Result<Result<(), String>, Failure> {
    let Some((state, lock)) = wiring::local_stores(data)? else {
        return Ok(Err("the local store was not compared: another process holds the data folder".to_owned()));
    };
    if !is_latest()? {
        return Ok(Err("the local store was not compared: the job has gone on since the verification began".to_owned()));
    }
    for task in tasks {
        let (from, to) = (state.join(&task.folder), scratch.path("local").join(&task.folder));
        copy_store(&from, &to).with_context(|| format!("can't copy {} to {}", from.display(), to.display())).map_err(Failure::failed)?;
    }
    drop(lock);
    Ok(Ok(()))
}

impl<'s> Subject<'s> {
    fn tasks(&self) -> Vec<Stateful<'s>> {
        let stateful = self.latest.tasks.iter().filter_map(|(id, history)| {
            let stage = self.job.stage_of(*id)?;
            let stores: Vec<StoreName> = stage.stores.iter().map(|store| store.name.clone()).collect();
            let name = format!("{}/{}", stage.name, id.partition);
            let folder = Path::new(self.job.name.as_str()).join(stage.name.as_str()).join(id.partition.to_string());
            (!stores.is_empty()).then_some(Stateful { id: *id, name, folder, stores, history })
        });
        stateful.collect()
    }
}

/// What came of a task.
enum Outcome {
    /// What is there is what must be.
    Same,
    /// It could not be compared; this is why.
    Noted(String),
    /// It is not.
    Wrong(Wrong),
}

/// Where state is put together.
struct Place<'p> {
    subject: &'p Subject<'p>,
    scratch: &'p Scratch,
    backend: Backend,
}

impl Place<'_> {
    fn check(&self, task: &Stateful<'_>) -> Result<Outcome, Failure> {
        let needed = objects_of(task.history);
        if let Some(damaged) = needed.iter().find(|object| self.subject.damaged.contains(&object.key)) {
            return Ok(Outcome::Noted(format!("the state of task {} was not put together: object {} is damaged", task.name, damaged.key)));
        }
        let mut folded = self.stores(&self.scratch.path("folded"), task);
        let outcome = match self.fold(&mut folded, task)? {
            Err(wrong) => Outcome::Wrong(wrong),
            Ok(()) => self.compare(&mut folded, task)?,
        };
        drop(folded);
        for name in ["folded", "fetched"] {
            remove(&self.scratch.path(name)).map_err(Failure::failed)?;
        }
        Ok(outcome)
    }

    fn stores(&self, folder: &Path, task: &Stateful<'_>) -> TaskStores {
        let mut stores = TaskStores::new(&self.backend, folder.to_owned(), task.stores.clone());
        stores.set_owner(self.subject.register.incarnation, self.subject.register.branch);
        stores
    }

    /// Base and deltas, as a start without a local store takes them.
    fn fold(&self, stores: &mut TaskStores, task: &Stateful<'_>) -> Result<Result<(), Wrong>, Failure> {
        if let Some(base) = &task.history.base {
            let folder = self.scratch.path("fetched");
            if let Err(wrong) = self.fetch_base(base, &folder)? {
                return Ok(Err(wrong));
            }
            if let Err(error) = stores.restore_image(base.segment, &folder) {
                let object = base.files.first().map(|file| file.object.key.clone()).unwrap_or_default();
                return altered(object, error, task);
            }
        }
        self.apply(stores, task, &task.history.chain)
    }

    fn apply(&self, stores: &mut TaskStores, task: &Stateful<'_>, links: &[Link]) -> Result<Result<(), Wrong>, Failure> {
        for link in links.iter().filter(|link| !link.deltas.is_empty()) {
            let files = match self.fetch(task, link)? {
                Ok(files) => files,
                Err(wrong) => return Ok(Err(wrong)),
            };
            if let Err(error) = stores.restore(link.segment, files) {
                let object = link.deltas.first().map(|delta| delta.part.key.clone()).unwrap_or_default();
                return altered(object, error, task);
            }
        }
        Ok(Ok(()))
    }

    fn fetch_base(&self, base: &Base, folder: &Path) -> Result<Result<(), Wrong>, Failure> {
        remove(folder).and_then(|()| fs::create_dir(folder)).map_err(Failure::failed)?;
        for file in &base.files {
            let name = Path::new(&file.name);
            // Names come from a stored document.
            if name.file_name() != Some(name.as_os_str()) {
                return Ok(Err((file.object.key.clone(), format!("is to be the file {:?} of a base, which is no name of one", file.name))));
            }
            let piece = (&file.object, 0, file.length);
            if let Err(wrong) = self.read_to(&folder.join(name), piece, file.object.sha256)? {
                return Ok(Err(wrong));
            }
        }
        Ok(Ok(()))
    }

    /// The files of a link that are applied.
    fn fetch(&self, task: &Stateful<'_>, link: &Link) -> Result<Result<Vec<DeltaFile>, Wrong>, Failure> {
        let folder = self.scratch.path("fetched");
        fs::create_dir_all(&folder).map_err(Failure::failed)?;
        let mut files = Vec::new();
        for (index, delta) in link.deltas.iter().enumerate().filter(|(_, delta)| delta.content.is_changes()) {
            let store = task.stores.iter().position(|store| *store == delta.store).and_then(|store| u16::try_from(store).ok());
            let Some(store) = store else {
                return Ok(Err((delta.part.key.clone(), format!("holds store {} of task {}, which has none such", delta.store, task.id))));
            };
            let path = folder.join(format!("{index}.sst"));
            if let Err(wrong) = self.read_to(&path, (&delta.part, delta.offset, delta.length), delta.sha256)? {
                return Ok(Err(wrong));
            }
            let (content, entries) = (delta.content, delta.entries);
            files.push(DeltaFile { store, content, path, length: delta.length, sha256: delta.sha256, entries });
        }
        Ok(Ok(files))
    }

    fn read_to(
        &self,
        path: &Path,
        (object, offset, length): (&ObjectRef, u64, u64),
        sha256: gregor_model::digest::Digest,
    ) -> Result<Result<(), Wrong>, Failure> {
        let range = offset..offset.saturating_add(length);
        match wait(read_part_range(self.subject.archive, &object.key, range, sha256))? {
            Err(error) => Ok(Err(said(error))),
            Ok(bytes) => {
                let written = fs::write(path, bytes).with_context(|| format!("can't write {}; free some space", path.display()));
                written.map_err(Failure::failed).map(Ok)
            }
        }
    }

    /// Compares with the copy of the local store, if there is one that says what it holds.
    fn compare(&self, folded: &mut TaskStores, task: &Stateful<'_>) -> Result<Outcome, Failure> {
        let folder = self.scratch.path("local").join(&task.folder);
        if !folder.is_dir() {
            return Ok(Outcome::Same);
        }
        let mut local = self.stores(&folder, task);
        let Register { incarnation, branch, .. } = *self.subject.register;
        let marker = local.marker().map_err(Failure::failed)?;
        let held = marker.map(|marker| Held { incarnation: marker.incarnation, branch: marker.branch, segment: marker.segment });
        let chain = task.history.chain.as_slice();
        let from = match local_store(held, (incarnation, branch), (task.history.base.as_ref(), chain)) {
            LocalStore::Resume { from } => from,
            LocalStore::Wipe => {
                let note = format!("the local store of task {} has no usable marker: it is only a cache, and was not compared", task.name);
                return Ok(Outcome::Noted(note));
            }
        };
        let object = || Path::new("state").join(&task.folder).display().to_string();
        if let Err((_, problem)) = self.apply(&mut local, task, chain.get(from..).unwrap_or_default())? {
            return Ok(Outcome::Wrong((object(), problem)));
        }
        Ok(match difference(folded, &mut local, &task.stores) {
            Ok(None) => Outcome::Same,
            Ok(Some(problem)) => Outcome::Wrong((object(), problem)),
            Err(error) => Outcome::Wrong((object(), format!("can't be compared: {error}"))),
        })
    }
}

fn objects_of(history: &TaskHistory) -> Vec<&ObjectRef> {
    let files = history.base.iter().flat_map(|base| &base.files).map(|file| &file.object);
    files.chain(history.chain.iter().flat_map(|link| &link.deltas).map(|delta| &delta.part)).collect()
}

/// What it means that stores refuse what the archive holds, though its digests are right; all else is this machine's failure.
fn altered<T>(object: String, error: StateError, task: &Stateful<'_>) -> Result<Result<T, Wrong>, Failure> {
    match error {
        StateError::Altered { reason, .. } => Ok(Err((object, format!("is refused by the store of task {}: {reason}", task.name)))),
        StateError::Broken { action, reason, .. } => {
            Ok(Err((object, format!("does not make a store of task {}: it failed to {action}: {reason}", task.name))))
        }
        error => Err(Failure::failed(anyhow::Error::new(error).context(format!("task {}", task.name)))),
    }
}

/// The first difference between two states of a task, in words; none if they are the same.
fn difference(folded: &mut TaskStores, local: &mut TaskStores, names: &[StoreName]) -> Result<Option<String>, StateError> {
    if digests(folded, names.len())? == digests(local, names.len())? {
        return Ok(None);
    }
    let (mut found, mut failed) = (None, None);
    let name = |store: u16| names.get(usize::from(store)).map(ToString::to_string).unwrap_or_default();
    let mut look = |known: &mut TaskStores, other: &mut TaskStores, what: &str| {
        known.entries(|store, key, value| {
            if found.is_some() || failed.is_some() {
                return;
            }
            match other.get(store, key) {
                Ok(there) if there.as_deref() == Some(value) => {}
                Ok(_) => found = Some(format!("store {}: key {:?} {what}", name(store), shown(key))),
                Err(error) => failed = Some(error),
            }
        })
    };
    look(folded, local, "is not there with the value of the checkpoint")?;
    look(local, folded, "is not in the checkpoint with this value")?;
    match failed {
        Some(error) => Err(error),
        None => Ok(found.or_else(|| Some("differs from the checkpoint".to_owned()))),
    }
}

/// Of each store: how many keys it has, and a digest of all keys and values.
fn digests(stores: &mut TaskStores, count: usize) -> Result<Vec<(u64, gregor_model::digest::Digest)>, StateError> {
    let mut digesters: Vec<(u64, Digester)> = vec![Default::default(); count];
    stores.entries(|store, key, value| {
        let Some((entries, digester)) = digesters.get_mut(usize::from(store)) else { return };
        *entries += 1;
        for bytes in [key, value] {
            digester.update(&(bytes.len() as u64).to_le_bytes());
            digester.update(bytes);
        }
    })?;
    Ok(digesters.into_iter().map(|(entries, digester)| (entries, digester.finish())).collect())
}

/// A key as it may be shown: its first bytes.
fn shown(key: &[u8]) -> String {
    const SHOWN_BYTES: usize = 64;
    harmless(&String::from_utf8_lossy(key.get(..SHOWN_BYTES).unwrap_or(key)))
}
