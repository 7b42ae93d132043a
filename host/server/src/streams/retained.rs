//! What is kept of a job's streams: the parts that the history of the last checkpoint names, as far as they are still there. A running job deletes
//! parts that every reader has passed, at any time. Refuses bytes that do not match their digests.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use gregor_archive::history::{Loaded, load};
use gregor_archive::reach::spec_of;
use gregor_archive::{ArchiveError, Store, read_footer, read_part_range};
use gregor_model::columns::Columns;
use gregor_model::history::{History, LivePart};
use gregor_model::keys::JobKeys;
use gregor_model::manifest::{ManifestRef, PartRange};
use gregor_model::names::StreamName;
use gregor_model::register::{Register, StreamRecord};
use gregor_model::seal::{PublishedRun, publish};
use serde::Serialize;

use crate::exit::Failure;
use crate::wiring::{self, Looked, wait};

/// How often a job is looked at anew that goes on faster than its history is read; each time it has confirmed something meanwhile.
pub(super) const LOOKS_MAX: u32 = 100;

/// What is kept of one partition: the form is a stable surface.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Retained {
    pub(super) partition: u32,
    /// Offset of the first record that is kept; that of the next one where none is.
    pub(super) first: u64,
    /// Offset after the last confirmed record.
    pub(super) next: u64,
}

/// A job's streams at its last confirmed checkpoint.
pub(super) struct Standing {
    /// What coordination said.
    pub(super) register: Register,
    archive: Arc<dyn Store>,
    /// As the manifests have it: with parts that every reader has passed, which may be gone.
    history: History,
    /// Keys of parts that somebody has yet to read.
    needed: BTreeSet<String>,
}

/// Why records can't be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The archive does not give them.
    Archive(ArchiveError),
    /// What it gives are no records.
    Block(anyhow::Error),
}

impl Standing {
    /// Looks at a job; nothing if it never began. One that goes on while its history is read, and deletes some of that, is looked at again.
    ///
    /// # Errors
    /// What is stored can't be used.
    pub(super) fn look(look: &dyn Fn() -> Result<Looked, Failure>) -> Result<Option<Self>, Failure> {
        let mut failed: Option<(ArchiveError, Option<ManifestRef>)> = None;
        for _ in 0..LOOKS_MAX {
            let Looked { register: Some(register), archive: Some(archive) } = look()? else { return Ok(None) };
            if let Some((error, _)) = failed.take_if(|(_, at)| *at == register.latest) {
                return Err(wiring::from_archive(error));
            }
            match wait(read(&register, archive.as_ref()))? {
                Ok((history, needed)) => return Ok(Some(Self { register, archive, history, needed })),
                Err(error @ ArchiveError::Missing { .. }) => failed = Some((error, register.latest)),
                Err(error) => return Err(wiring::from_archive(error)),
            }
        }
        Err(Failure::failed(anyhow!("the job confirms checkpoints faster than they can be read; try again")))
    }

    /// Whether a reader of the job has yet to read a part, or nobody ever will, so that it has to be there.
    pub(super) fn needs(&self, part: &str) -> bool {
        self.needed.contains(part)
    }

    /// A part that somebody has yet to read and that is not there, if there is one.
    ///
    /// # Errors
    /// The archive can't be read.
    pub(super) async fn missing(&self) -> Result<Option<String>, ArchiveError> {
        let there = self.there().await?;
        Ok(self.needed.iter().find(|key| !there.contains(*key)).cloned())
    }

    /// Keys of all objects that are there.
    async fn there(&self) -> Result<BTreeSet<String>, ArchiveError> {
        let keys = JobKeys::new(&self.register.job, self.register.incarnation);
        Ok(self.archive.list(keys.root()).await?.into_iter().map(|object| object.key).collect())
    }

    /// The parts with records of a partition, in the order of their offsets.
    pub(super) fn parts_of(&self, stream: &StreamName, partition: u32) -> impl Iterator<Item = (&LivePart, &PartRange)> {
        let of_stream = move |range: &&PartRange| range.stream == *stream && range.partition == partition;
        self.history.parts.iter().filter_map(move |live| Some((live, live.part.ranges.iter().find(of_stream)?)))
    }

    /// What is kept of each partition of a stream, and its bytes.
    ///
    /// # Errors
    /// The archive can't be read.
    pub(super) async fn retained(&self, stream: &StreamRecord) -> Result<(Vec<Retained>, u64), ArchiveError> {
        let there = self.there().await?;
        let (mut retained, mut bytes, mut kept) = (Vec::new(), 0_u64, BTreeSet::new());
        for partition in 0..stream.partitions {
            let next = self.history.head(&stream.name, partition);
            let mut first = next;
            let parts: Vec<_> = self.parts_of(&stream.name, partition).collect();
            // What lies before a gap is on its way out as well.
            for (live, range) in parts.into_iter().rev().take_while(|(live, _)| there.contains(&live.part.object.key)) {
                first = range.first_offset;
                kept.insert((live.part.object.key.as_str(), partition));
            }
            retained.push(Retained { partition, first, next });
        }
        for live in &self.history.parts {
            let key = live.part.object.key.as_str();
            if !retained.iter().any(|of| kept.contains(&(key, of.partition))) {
                continue;
            }
            let runs = match self.runs(live).await {
                // It went just now.
                Err(ArchiveError::Missing { .. }) => continue,
                runs => runs?,
            };
            let of_stream = runs.iter().filter(|run| run.at.run.stream == stream.name && kept.contains(&(key, run.at.run.partition)));
            bytes = of_stream.map(|run| run.at.run.length).fold(bytes, u64::saturating_add);
        }
        Ok((retained, bytes))
    }

    /// The records of a partition in a part, from blocks that end behind `from`.
    ///
    /// # Errors
    /// The part is gone, altered, or holds no records.
    pub(super) async fn read(&self, live: &LivePart, of: (&StreamName, u32), from: u64) -> Result<Vec<Columns>, Unread> {
        let mut blocks = Vec::new();
        for run in self.runs(live).await.map_err(Unread::Archive)? {
            let (at, end) = (&run.at, run.first_offset.saturating_add(run.at.run.records));
            if (&at.run.stream, at.run.partition) != of || end <= from {
                continue;
            }
            let range = at.offset..at.offset.saturating_add(at.run.length);
            let bytes = read_part_range(self.archive.as_ref(), &run.part.key, range, at.run.sha256).await.map_err(Unread::Archive)?;
            let decoded = gregor_stream::decode_run(&bytes, run.first_offset);
            let what = || format!("run at byte {} of object {}", at.offset, run.part.key);
            blocks.extend(decoded.with_context(what).map_err(Unread::Block)?);
        }
        Ok(blocks)
    }

    /// The confirmed runs of a part, with their offsets.
    async fn runs(&self, live: &LivePart) -> Result<Vec<PublishedRun>, ArchiveError> {
        let footer = read_footer(self.archive.as_ref(), &live.part).await?;
        let mut heads = live.part.ranges.iter().map(|range| ((range.stream.clone(), range.partition), range.first_offset)).collect();
        Ok(publish(&live.part.object, &footer, &live.origins, &mut heads))
    }
}

/// The history of the last checkpoint, and which of its parts somebody has yet to read.
async fn read(register: &Register, archive: &dyn Store) -> Result<(History, BTreeSet<String>), ArchiveError> {
    let (spec, _) = spec_of(archive, register).await?;
    let loaded = match &register.latest {
        Some(latest) => load(archive, latest).await?,
        None => Loaded::default(),
    };
    let mut unread = loaded.history.clone();
    if let Some(spec) = &spec {
        unread.forget_read(&spec.job);
    }
    let needed = unread.parts.into_iter().map(|live| live.part.object.key).collect();
    Ok((loaded.history, needed))
}
