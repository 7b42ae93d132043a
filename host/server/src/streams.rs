//! `gregor stream list|consume|produce`: the streams of a job and the confirmed records on them, read without the lock, beside a running job too; and
//! records from outside, put there while the job does not run. Refuses to show a record that is in no confirmed checkpoint, and to take for damage
//! what was deleted because nobody needs it any more.

mod incoming;
mod produce;
mod record;
mod retained;

use std::collections::BTreeSet;

use anyhow::anyhow;
use gregor_archive::ArchiveError;
use gregor_model::job::{OnError, Source};
use gregor_model::names::StreamName;
use gregor_model::register::StreamRecord;
use serde::Serialize;

use crate::cli::{Begin, ConsumeArgs, JobArgs};
use crate::exit::{Exit, Failure};
use crate::job_file::{self, JobFile};
use crate::output::{self, Lines, Reader, Style};
use crate::wiring::{self, wait};
pub(crate) use produce::produce;
use retained::{LOOKS_MAX, Retained, Standing};

/// A stream in a list: the form is a stable surface.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    name: String,
    /// The stage that writes it; none where the job file has no such stage any more, and where records come from outside.
    writer: Option<String>,
    /// `output`, `dead-letters`: records that the writer did not take, or `outside`: records from `stream produce`.
    content: &'static str,
    /// The stages that read it.
    readers: Vec<String>,
    partitions: u32,
    /// Records confirmed since the stream began.
    records: u64,
    /// Bytes of those that are kept.
    bytes: u64,
    /// What is kept of each partition.
    retained: Vec<Retained>,
}

/// Lists the streams of a job.
///
/// # Errors
/// The job file is wrong, there is no data, or what is stored can't be used.
pub(crate) fn list(args: &JobArgs, style: Style) -> Result<Exit, Failure> {
    let file = job_file::read(&args.job).map_err(Failure::refused)?;
    let mut entries = Vec::new();
    let mut looked = look(args, &file)?;
    for _ in 0..LOOKS_MAX {
        let Some(standing) = looked else { break };
        entries = entries_of(&file, &standing)?;
        let Some(missing) = wait(standing.missing())?.map_err(wiring::from_archive)? else { break };
        // As in `consume`: a job that is running goes on meanwhile.
        looked = look(args, &file)?;
        if looked.as_ref().is_some_and(|now| now.needs(&missing)) {
            return Err(damaged(&missing));
        }
    }
    let shown = match style {
        Style::Json => output::result_json(&entries),
        Style::Text => output::result(&list_text(&entries)),
    };
    shown.map_err(Failure::failed)?;
    Ok(Exit::Done)
}

/// Prints the confirmed records of a stream.
///
/// # Errors
/// The job file is wrong, there is no such stream or partition, or what is stored can't be used.
pub(crate) fn consume(args: &ConsumeArgs, style: Style) -> Result<Exit, Failure> {
    let file = job_file::read(&args.job.job).map_err(Failure::refused)?;
    let never = || Failure::refused(anyhow!("job {} never began in this data folder: it has no streams", file.name));
    let mut standing = look(&args.job, &file)?.ok_or_else(never)?;
    let stream = find(&standing, args)?;
    let mut consumer = Consumer {
        stream: args.stream.clone(),
        partitions: args.partition.map_or_else(|| (0..stream.partitions).collect(), |only| vec![only]),
        from: args.from,
        next: None,
        left: args.records.unwrap_or(u64::MAX),
        gone: BTreeSet::new(),
        lines: Lines::new(),
        style,
    };
    consumer.partitions.reverse();
    // Bounded: each turn finds another part gone.
    while let Some(missing) = wait(consumer.print(&standing))?? {
        // A job that is running goes on meanwhile: what nobody needs may be gone, and that is no damage.
        let now = look(&args.job, &file)?.ok_or_else(never)?;
        if now.needs(&missing) {
            return Err(damaged(&missing));
        }
        consumer.gone.insert(missing);
        standing = now;
    }
    consumer.lines.flush().map_err(Failure::failed)?;
    Ok(Exit::Done)
}

fn entries_of(file: &JobFile, standing: &Standing) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    for stream in &standing.register.streams {
        let (retained, bytes) = wait(standing.retained(stream))?.map_err(wiring::from_archive)?;
        entries.push(Entry::new(file, stream, (retained, bytes)));
    }
    Ok(entries)
}

fn damaged(missing: &str) -> Failure {
    Failure::corrupt(anyhow!("object {missing} of the archive is missing, and the last checkpoint needs it"))
}

fn look(args: &JobArgs, file: &JobFile) -> Result<Option<Standing>, Failure> {
    Standing::look(&|| wiring::look(file, &wiring::data_folder(args, file), wiring::coordination(args)?))
}

/// The stream that is meant, if it and its partition are there.
fn find(standing: &Standing, args: &ConsumeArgs) -> Result<StreamRecord, Failure> {
    let streams = &standing.register.streams;
    let known: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
    let job = &standing.register.job;
    let stream = streams.iter().find(|stream| stream.name == args.stream).ok_or_else(|| {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Failure::refused(anyhow!("job {job} has no stream {}; those that it has: {known}", args.stream))
    })?;
    match args.partition.filter(|&partition| partition >= stream.partitions) {
        Some(found) => Err(Failure::refused(anyhow!(
            "--partition: stream {} has no partition {found}, they are numbered 0 to {}",
            stream.name,
            stream.partitions.saturating_sub(1)
        ))),
        None => Ok(stream.clone()),
    }
}

/// Prints a stream, as far as it has come.
struct Consumer {
    stream: StreamName,
    /// What is still to be printed, the next one last.
    partitions: Vec<u32>,
    from: Begin,
    /// Of the partition that is being printed, the offset after the last record that was.
    next: Option<u64>,
    /// Records that may still be printed.
    left: u64,
    /// Keys of parts that are not there any more, and that nobody needs.
    gone: BTreeSet<String>,
    lines: Lines,
    style: Style,
}

impl Consumer {
    /// Prints what is left; if a part is missing on the way, its key.
    async fn print(&mut self, standing: &Standing) -> Result<Option<String>, Failure> {
        while let Some(&partition) = self.partitions.last() {
            if let Some(missing) = self.print_partition(standing, partition).await? {
                return Ok(Some(missing));
            }
            self.partitions.pop();
            self.next = None;
        }
        Ok(None)
    }

    async fn print_partition(&mut self, standing: &Standing, partition: u32) -> Result<Option<String>, Failure> {
        let stream = self.stream.clone();
        for (live, range) in standing.parts_of(&stream, partition) {
            let wanted = self.wanted();
            if self.left == 0 || range.first_offset.saturating_add(range.records) <= wanted || self.gone.contains(&live.part.object.key) {
                continue;
            }
            match standing.read(live, (&stream, partition), wanted).await {
                Ok(blocks) => {
                    for block in &blocks {
                        if self.print_block(partition, block)? == Reader::Gone {
                            (self.left, self.partitions) = (0, vec![partition]);
                            return Ok(None);
                        }
                    }
                }
                Err(retained::Unread::Archive(ArchiveError::Missing { key })) => return Ok(Some(key)),
                Err(retained::Unread::Archive(error)) => return Err(wiring::from_archive(error)),
                Err(retained::Unread::Block(error)) => return Err(Failure::corrupt(error)),
            }
        }
        Ok(None)
    }

    /// The first offset that is to be printed.
    fn wanted(&self) -> u64 {
        self.next.unwrap_or(match self.from {
            Begin::Beginning => 0,
            Begin::Offset(offset) => offset,
        })
    }

    fn print_block(&mut self, partition: u32, block: &gregor_model::columns::Columns) -> Result<Reader, Failure> {
        for (index, record) in block.iter().enumerate() {
            let wanted = self.wanted();
            if self.left == 0 || record.offset < wanted {
                continue;
            }
            let asked = self.next.is_some() || self.from != Begin::Beginning;
            if asked && record.offset > wanted {
                output::tell(&format!("partition {partition}: offsets {wanted} to {} are not kept any more", record.offset - 1));
            }
            let shown = record::Shown { stream: self.stream.as_str(), partition, record, headers: block.headers_of(index) };
            if self.lines.print(&shown.line(self.style)).map_err(Failure::failed)? == Reader::Gone {
                return Ok(Reader::Gone);
            }
            self.next = Some(record.offset.saturating_add(1));
            self.left -= 1;
        }
        Ok(Reader::There)
    }
}

impl Entry {
    fn new(file: &JobFile, stream: &StreamRecord, (retained, bytes): (Vec<Retained>, u64)) -> Self {
        let writer = file.stages.iter().find(|stage| stage.streams_written().any(|(name, _)| *name == stream.name));
        let is_dead = |on_error: &OnError| matches!(on_error, OnError::DeadLetter { stream: dead, .. } if *dead == stream.name);
        let is_outside = file.produced.iter().any(|declared| declared.value.name == stream.name);
        let content = match writer {
            Some(stage) if is_dead(&stage.on_error) => "dead-letters",
            None if is_outside => "outside",
            Some(_) | None => "output",
        };
        let reads = |source: &Source| matches!(source, Source::Stream { name } if *name == stream.name);
        let readers = file.stages.iter().filter(|stage| stage.inputs.value.iter().any(|(_, source)| reads(source)));
        Self {
            name: stream.name.to_string(),
            writer: writer.map(|stage| stage.name.value.to_string()),
            content,
            readers: readers.map(|stage| stage.name.value.to_string()).collect(),
            partitions: stream.partitions,
            records: retained.iter().map(|partition| partition.next).fold(0, u64::saturating_add),
            bytes,
            retained,
        }
    }
}

fn list_text(entries: &[Entry]) -> String {
    let heading = ["STREAM", "WRITER", "CONTENT", "READERS", "PARTITIONS", "RECORDS", "KEPT", "BYTES"].map(str::to_owned).to_vec();
    let rows = entries.iter().map(|entry| {
        let kept = entry.retained.iter().map(|partition| partition.next.saturating_sub(partition.first)).fold(0, u64::saturating_add);
        let readers = if entry.readers.is_empty() { "-".to_owned() } else { entry.readers.join(",") };
        vec![
            entry.name.clone(),
            entry.writer.clone().unwrap_or_else(|| "-".to_owned()),
            entry.content.to_owned(),
            readers,
            entry.partitions.to_string(),
            entry.records.to_string(),
            kept.to_string(),
            entry.bytes.to_string(),
        ]
    });
    output::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}
