//! Upkeep of tasks' chains: puts the files of new bases into the archive, and merges deltas of neighbouring segments. All of it in the background,
//! beside what tasks do: what fails here postpones the shortening of a chain and nothing else. Refuses to put a file there that the last base has
//! already, to take more of the archive than its rate, and to alter anything: the next manifest says what takes the place of what.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use gregor_archive::Store;
use gregor_model::digest::Digest;
use gregor_model::history::Link;
use gregor_model::keys::JobKeys;
use gregor_model::limits::PART_BYTES;
use gregor_model::manifest::{Base, BaseEntry, BaseFile, ObjectRef};
use gregor_model::names::{Attempt, Boot, Sequence, StoreName, TaskId};
use gregor_model::part::{Origin, PartBuilder};
use gregor_model::seal::{SavedMerge, SavedMerges, SavedPart};
use gregor_model::segment::DeltaHeader;
use gregor_state::{Backend, DeltaFile, Image, ImageFile};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::event::Event;
use crate::failure;
use crate::fetch::Fetch;
use crate::in_flight::InFlight;
use crate::retry::durably;
use crate::setup::RunError;
use crate::threads::Shutdown;

/// What a task's chain shall get.
pub(crate) enum KeepOrder {
    /// A base; these are the files of the last one.
    Base(Vec<BaseFile>),
    /// These links merged.
    Merge(Vec<Link>),
}

/// Merges that share a part, at most, and only until they outgrow it: most are some kilobytes.
const MERGES_A_PART: usize = 16;

/// Whose chain it is.
#[derive(Clone)]
pub(crate) struct Kept {
    /// The task's index.
    pub(crate) task: usize,
    /// Its id.
    pub(crate) id: TaskId,
    /// Stage and number, for people.
    pub(crate) name: String,
    /// Its stores, in the order of its description.
    pub(crate) stores: Vec<StoreName>,
}

/// Work for the keeper.
pub(crate) enum KeepWork {
    /// The files of a store, and those of the last base.
    Base(Kept, Image, Vec<BaseFile>),
    /// Links to merge.
    Merge(Kept, Vec<Link>),
}

/// What came of it.
pub(crate) enum KeepResult {
    /// A base is in the archive.
    Base(BaseEntry),
    /// Merged deltas are in the archive.
    Merges(SavedMerges),
    /// Nothing, now: there was nothing to take.
    Nothing,
    /// It failed.
    Failed(RunError),
}

/// The thread's things.
pub(crate) struct Keeper {
    /// Where bases and parts go.
    pub(crate) archive: Arc<dyn Store>,
    /// The async runtime that the archive needs.
    pub(crate) io: Handle,
    /// The job's keys.
    pub(crate) keys: JobKeys,
    /// This process.
    pub(crate) boot: Boot,
    /// Number of the last part of this process.
    pub(crate) parts: Arc<AtomicU64>,
    /// Number of the last base file of this process.
    pub(crate) files: AtomicU64,
    /// What was written and no confirmed manifest names yet.
    pub(crate) in_flight: InFlight,
    /// What all stores share.
    pub(crate) backend: Backend,
    /// Where deltas lie while they are merged.
    pub(crate) folder: PathBuf,
    /// Bytes a second.
    pub(crate) rate: u64,
    /// The clock.
    pub(crate) clock: Clock,
    /// To the supervisor.
    pub(crate) events: Sender<Event>,
    /// Ends waits.
    pub(crate) shutdown: Shutdown,
}

/// Links that were merged into files.
struct Merged {
    task: TaskId,
    first: Digest,
    last: Digest,
    delta: Vec<(DeltaHeader, DeltaFile)>,
}

impl Keeper {
    /// The body of the thread.
    pub(crate) fn serve(&self, work: &Receiver<Option<KeepWork>>) {
        let mut next = None;
        let mut ended = false;
        // What bases that failed half-way have put into the archive, by task: the next try goes on from there.
        let mut begun: BTreeMap<usize, Vec<BaseFile>> = BTreeMap::new();
        while !ended && let Some(first) = next.take().or_else(|| work.recv().ok().flatten()) {
            let results = match first {
                KeepWork::Base(kept, image, known) => {
                    let result = self.base(&kept, &image, (&known, begun.entry(kept.task).or_default()));
                    image.discard();
                    vec![(vec![kept.task], result.map_or_else(KeepResult::Failed, KeepResult::Base))]
                }
                KeepWork::Merge(kept, links) => {
                    let mut bytes: u64 = links.iter().map(Link::bytes).sum();
                    let mut merges = vec![(kept, links)];
                    while bytes < PART_BYTES && merges.len() < MERGES_A_PART && next.is_none() && !ended {
                        match work.try_recv() {
                            Ok(Some(KeepWork::Merge(kept, links))) => {
                                bytes += links.iter().map(Link::bytes).sum::<u64>();
                                merges.push((kept, links));
                            }
                            Ok(Some(other)) => next = Some(other),
                            Ok(None) => ended = true,
                            Err(_) => break,
                        }
                    }
                    self.merge_all(&merges)
                }
            };
            if results.into_iter().any(|(tasks, result)| self.events.send(Event::Kept(tasks, result)).is_err()) {
                break;
            }
        }
    }

    /// Puts the files there that neither the last base has nor tries since, `begun`: what those wrote stays in flight until a try succeeds.
    fn base(&self, kept: &Kept, image: &Image, (known, begun): (&[BaseFile], &mut Vec<BaseFile>)) -> Result<BaseEntry, RunError> {
        let mut files = Vec::new();
        for file in &image.files {
            let (length, sha256) = file.digest().map_err(|error| failure::state(&kept.name, error))?;
            let same = |known: &&BaseFile| known.name == file.name && known.length == length && known.object.sha256 == sha256;
            let there = known.iter().chain(begun.iter()).find(same).cloned();
            files.push(match there {
                Some(there) => there,
                None => {
                    let uploaded = self.upload(file, sha256)?;
                    begun.push(uploaded.clone());
                    uploaded
                }
            });
        }
        // What earlier tries wrote and this base does not need is garbage.
        let needed = |file: &BaseFile| files.iter().any(|needed| needed.object.key == file.object.key);
        begun.drain(..).filter(|file| !needed(file)).for_each(|file| self.in_flight.remove(&file.object.key));
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let base = Base { segment: image.segment, created_at_ms: self.clock.wall_ms(), files };
        Ok(BaseEntry { task: kept.id, base })
    }

    fn upload(&self, file: &ImageFile, sha256: Digest) -> Result<BaseFile, RunError> {
        if self.shutdown.begun() {
            return Err(stopping());
        }
        let bytes = std::fs::read(&file.path)
            .map(Bytes::from)
            .map_err(|error| RunError::Failed(format!("can't read {}: {error}", file.path.display())))?;
        if Digest::of(&bytes) != sha256 {
            return Err(RunError::Failed(format!("{} has changed while it was read", file.path.display())));
        }
        let key = self.keys.base_file(self.boot, self.files.fetch_add(1, Ordering::Relaxed) + 1);
        self.create(&key, &bytes)?;
        let length = bytes.len() as u64;
        Ok(BaseFile { name: file.name.clone(), object: ObjectRef { key, sha256 }, length })
    }

    /// Merges the links of several tasks, and puts the results into one part; those of a task that can't be merged hold up no other's.
    fn merge_all(&self, merges: &[(Kept, Vec<Link>)]) -> Vec<(Vec<usize>, KeepResult)> {
        let (mut results, mut tasks, mut merged) = (Vec::new(), Vec::new(), Vec::new());
        for (kept, links) in merges {
            match self.merge(kept, links) {
                Ok(one) => {
                    tasks.push(kept.task);
                    merged.push(one);
                }
                Err(error) => results.push((vec![kept.task], KeepResult::Failed(error))),
            }
        }
        if !merged.is_empty() {
            results.push((tasks, self.put(merged).map_or_else(KeepResult::Failed, KeepResult::Merges)));
        }
        results
    }

    /// Merges links into files.
    fn merge(&self, kept: &Kept, links: &[Link]) -> Result<Merged, RunError> {
        let (Some(first), Some(last)) = (links.first(), links.last()) else {
            return Err(RunError::Failed(format!("task {}: no links were to be merged; please report it", kept.name)));
        };
        if self.shutdown.begun() {
            return Err(stopping());
        }
        let mut inputs = Vec::new();
        let merged = self.fetch(kept, links, &mut inputs).and_then(|()| {
            let stem = format!("merged-{}", kept.task);
            gregor_state::merge(&self.backend, &self.folder, &inputs, (&self.folder, &stem))
                .map_err(|error| failure::state(&kept.name, error))
        });
        inputs.iter().flatten().for_each(remove);
        let mut delta = Vec::new();
        for file in merged? {
            let store = kept.stores.get(usize::from(file.store)).cloned();
            let store = store.ok_or_else(|| RunError::Failed(format!("task {}: merged deltas of an unknown store", kept.name)))?;
            let header = DeltaHeader { store, content: file.content, entries: file.entries, length: file.length, sha256: file.sha256 };
            delta.push((header, file));
        }
        Ok(Merged { task: kept.id, first: first.first, last: last.segment, delta })
    }

    /// Fetches the deltas of links, the oldest first.
    fn fetch(&self, kept: &Kept, links: &[Link], inputs: &mut Vec<Vec<DeltaFile>>) -> Result<(), RunError> {
        let fetch = Fetch { archive: Arc::clone(&self.archive), io: self.io.clone(), task: kept.name.clone() };
        for (number, link) in links.iter().enumerate() {
            let mut files = Vec::new();
            for (index, delta) in link.deltas.iter().enumerate() {
                files.push(fetch.delta(delta, &kept.stores, self.folder.join(format!("merge-{}-{number}-{index}.sst", kept.task)))?);
            }
            inputs.push(files);
        }
        Ok(())
    }

    fn put(&self, merged: Vec<Merged>) -> Result<SavedMerges, RunError> {
        let mut builder = PartBuilder::new(self.boot);
        let mut merges = Vec::new();
        for Merged { task, first, last, delta } in merged {
            // No segment of a task has this number: deltas that were merged are of several.
            let origin = Origin { task, attempt: Attempt(0), sequence: Sequence(0) };
            let mut offsets = Vec::new();
            for (header, file) in &delta {
                let bytes = std::fs::read(&file.path)
                    .map_err(|error| RunError::Failed(format!("can't read back merged deltas {}: {error}", file.path.display())))?;
                offsets.push(builder.len() as u64);
                builder.delta(origin, header, &bytes);
                remove(file);
            }
            let delta = delta.into_iter().map(|(header, _)| header).collect();
            merges.push(SavedMerge { task, first, last, delta, offsets });
        }
        let part = if builder.is_empty() { None } else { Some(self.create_part(builder)?) };
        Ok(SavedMerges { part, merges })
    }

    fn create_part(&self, builder: PartBuilder) -> Result<SavedPart, RunError> {
        let part = builder.finish().map_err(|error| RunError::Failed(error.to_string()))?;
        let key = self.keys.part(self.boot, self.parts.fetch_add(1, Ordering::Relaxed) + 1);
        let bytes = Bytes::from(part.bytes);
        let (length, sha256) = (bytes.len() as u64, Digest::of(&bytes));
        self.create(&key, &bytes)?;
        Ok(SavedPart { object: ObjectRef { key, sha256 }, length, footer_at: part.footer_at, footer: part.footer })
    }

    /// Creates an object, and waits until it fits the rate.
    fn create(&self, key: &str, bytes: &Bytes) -> Result<(), RunError> {
        self.in_flight.add(key);
        let begun = self.clock.now();
        let created =
            durably(&self.shutdown, "save a base", || self.io.block_on(self.archive.create(key, bytes.clone())).map_err(failure::archive));
        if created.is_err() {
            self.in_flight.remove(key);
        }
        created?;
        let due = Duration::from_secs_f64(bytes_as_seconds(bytes.len() as u64, self.rate));
        self.shutdown.wait(due.saturating_sub(self.clock.now().saturating_sub(begun)));
        Ok(())
    }
}

/// Why something is not finished that nobody waits for any more.
fn stopping() -> RunError {
    RunError::Failed("the job is stopping".to_owned())
}

/// Seconds that bytes may take; `PART_BYTES` at most, so that no stored number makes a wait of years.
fn bytes_as_seconds(bytes: u64, rate: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a wait, not an account")]
    let (bytes, rate) = (bytes.min(16 * PART_BYTES) as f64, rate.max(1) as f64);
    bytes / rate
}

fn remove(file: &DeltaFile) {
    // A left-over lies in a folder that is emptied at each start.
    drop(std::fs::remove_file(&file.path));
}

#[cfg(test)]
mod tests;
