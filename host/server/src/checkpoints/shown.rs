//! How one checkpoint is shown: its segments and their sizes, bases, merged deltas, parts, positions, releases and predecessor. Refuses to leave
//! anything of the manifest out in JSON.

use std::collections::BTreeMap;

use gregor_archive::{ArchiveError, Store, read_footer};
use gregor_model::job::produced_by;
use gregor_model::manifest::{BaseEntry, Full, Manifest, MergeEntry, PageRef, PartEntry, Release, SegmentEntry, Times};
use gregor_model::names::TaskId;
use gregor_model::seal::origin_of;
use gregor_model::segment::{DeltaHeader, InputProgress, OnEnd, Position};
use serde::Serialize;

use super::{Entry, Found, rfc3339};
use crate::exit::Failure;
use crate::output;
use crate::wiring;

/// What a job's tasks are called after.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    /// The names of its stages, in the order of the job file.
    pub(super) stages: Vec<&'a str>,
    /// The names of its streams of records from outside, likewise.
    pub(super) produced: Vec<&'a str>,
}

/// What a segment takes in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SegmentSize {
    task: TaskId,
    /// Bytes of its deltas.
    delta_bytes: u64,
    /// Bytes of its runs; none where they were collected, since all of their readers had passed them.
    run_bytes: Option<u64>,
}

/// The sizes of a manifest's segments, in its order. Those of runs stand in the footers of parts.
///
/// # Errors
/// A part that is there has a footer that was altered.
pub(super) async fn segment_sizes(archive: &dyn Store, manifest: &Manifest) -> Result<Vec<SegmentSize>, Failure> {
    let mut run_bytes: BTreeMap<_, u64> = BTreeMap::new();
    let mut collected = false;
    for part in &manifest.parts {
        let footer = match read_footer(archive, part).await {
            Err(ArchiveError::Missing { .. }) => {
                collected = true;
                continue;
            }
            footer => footer.map_err(wiring::from_archive)?,
        };
        for at in &footer.runs {
            let bytes = run_bytes.entry((at.task, at.attempt.0, at.sequence.0)).or_insert(0);
            *bytes = bytes.saturating_add(at.run.length);
        }
    }
    let size = |segment: &SegmentEntry| {
        let header = &segment.header;
        let found = run_bytes.get(&origin_of(header)).copied();
        SegmentSize {
            task: header.task,
            delta_bytes: header.delta.iter().map(|delta| delta.length).fold(0, u64::saturating_add),
            run_bytes: if header.runs.count == 0 { Some(0) } else { found.or_else(|| (!collected).then_some(0)) },
        }
    };
    Ok(manifest.segments.iter().map(size).collect())
}

/// A checkpoint as JSON: what a list says of it, and its manifest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Shown<'f> {
    #[serde(flatten)]
    entry: &'f Entry,
    incarnation: String,
    branch: u64,
    term: u64,
    times: Option<Times>,
    predecessor: Option<Predecessor<'f>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<&'f [PageRef]>,
    full: Option<&'f Full>,
    segments: &'f [SegmentEntry],
    sizes: &'f [SegmentSize],
    bases: &'f [BaseEntry],
    merges: &'f [MergeEntry],
    parts: &'f [PartEntry],
    left_out: &'f [TaskId],
    releases: &'f [Release],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Predecessor<'f> {
    number: u64,
    manifest: &'f str,
    sha256: String,
}

impl<'f> Shown<'f> {
    /// What is shown of a checkpoint.
    pub(super) fn of(found: &'f Found) -> Self {
        let manifest = &found.manifest;
        Self {
            entry: &found.entry,
            incarnation: manifest.incarnation.to_string(),
            branch: manifest.branch.0,
            term: manifest.term.0,
            predecessor: manifest.predecessor.as_ref().map(|before| Predecessor {
                number: before.number.0,
                manifest: &before.object.key,
                sha256: before.object.sha256.to_string(),
            }),
            times: manifest.times,
            pages: manifest.pages.as_deref(),
            full: manifest.full.as_ref(),
            segments: &manifest.segments,
            sizes: &found.sizes,
            bases: &manifest.bases,
            merges: &manifest.merges,
            parts: &manifest.parts,
            left_out: &manifest.left_out,
            releases: &manifest.releases,
        }
    }
}

/// A checkpoint for people; `names` are those of its tasks.
pub(super) fn text(found: &Found, names: &Names<'_>) -> String {
    let manifest = &found.manifest;
    let mut text = output::table(&head(found));
    text.push_str(&section("segments", &segments(found, names)));
    text.push_str(&section("positions", &positions(manifest, names)));
    text.push_str(&section("bases", &bases(manifest, names)));
    text.push_str(&section("merged deltas", &merges(manifest, names)));
    text.push_str(&section("parts", &parts(manifest)));
    text.push_str(&section("releases", &releases(manifest, names)));
    let left_out: Vec<Vec<String>> = manifest.left_out.iter().map(|task| vec![task_name(*task, names)]).collect();
    text.push_str(&section("left out", &with_heading(&["TASK"], left_out)));
    text
}

fn head(found: &Found) -> Vec<Vec<String>> {
    let (entry, manifest) = (&found.entry, &found.manifest);
    let times = manifest
        .times
        .map_or_else(|| "not known".to_owned(), |times| format!("created in {} ms, saved in {} ms", times.create_ms, times.save_ms));
    let before = manifest.predecessor.as_ref().map_or_else(|| "none".to_owned(), |before| before.number.to_string());
    let rows = [
        ("checkpoint", entry.number.to_string()),
        ("created at", entry.created_at.clone()),
        ("status", entry.status.to_owned()),
        ("steps", times),
        ("kind", entry.kind.to_owned()),
        ("bytes", entry.bytes.to_string()),
        ("manifest", entry.manifest.clone().unwrap_or_default()),
        ("sha256", entry.sha256.clone().unwrap_or_default()),
        ("incarnation", manifest.incarnation.to_string()),
        ("branch, term", format!("{}, {}", manifest.branch, manifest.term)),
        ("predecessor", before),
    ];
    rows.map(|(name, value)| vec![name.to_owned(), value]).to_vec()
}

/// A table under its title; nothing where it has no row below its heading.
fn section(title: &str, rows: &[Vec<String>]) -> String {
    if rows.len() < 2 { String::new() } else { format!("\n{title}\n{}", output::table(rows)) }
}

fn with_heading(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    std::iter::once(heading.iter().map(|&name| name.to_owned()).collect()).chain(rows).collect()
}

fn segments(found: &Found, names: &Names<'_>) -> Vec<Vec<String>> {
    let rows = found.manifest.segments.iter().zip(&found.sizes).map(|(segment, size)| {
        let header = &segment.header;
        vec![
            task_name(header.task, names),
            header.attempt.to_string(),
            header.sequence.to_string(),
            if header.ended() { "yes" } else { "no" }.to_owned(),
            keys_of(&header.delta).to_string(),
            size.delta_bytes.to_string(),
            header.runs.records.to_string(),
            size.run_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
            header.files.len().to_string(),
            segment.hash.to_string(),
        ]
    });
    let heading =
        ["TASK", "ATTEMPT", "SEQUENCE", "ENDED", "KEYS CHANGED", "DELTA BYTES", "RECORDS TO STREAMS", "RUN BYTES", "FILES", "HASH"];
    with_heading(&heading, rows)
}

/// Keys that changed; lists of the deleted ones say nothing new.
fn keys_of(delta: &[DeltaHeader]) -> u64 {
    delta.iter().filter(|delta| delta.content.is_changes()).map(|delta| delta.entries).fold(0, u64::saturating_add)
}

fn bases(manifest: &Manifest, names: &Names<'_>) -> Vec<Vec<String>> {
    let rows = manifest.bases.iter().map(|entry| {
        let base = &entry.base;
        let (files, bytes) = (base.files.len().to_string(), base.bytes().to_string());
        vec![task_name(entry.task, names), rfc3339(base.created_at_ms), files, bytes, base.segment.to_string()]
    });
    with_heading(&["TASK", "CREATED AT", "FILES", "BYTES", "UP TO SEGMENT"], rows)
}

fn merges(manifest: &Manifest, names: &Names<'_>) -> Vec<Vec<String>> {
    let rows = manifest.merges.iter().map(|entry| {
        let bytes = entry.delta.iter().map(|delta| delta.length).fold(0, u64::saturating_add);
        let keys = keys_of(&entry.delta).to_string();
        vec![task_name(entry.task, names), keys, bytes.to_string(), entry.first.to_string(), entry.last.to_string()]
    });
    with_heading(&["TASK", "KEYS CHANGED", "BYTES", "FIRST SEGMENT", "LAST SEGMENT"], rows)
}

fn positions(manifest: &Manifest, names: &Names<'_>) -> Vec<Vec<String>> {
    let rows = manifest.segments.iter().flat_map(|segment| {
        let inputs = (0_u32..).zip(&segment.header.inputs);
        inputs.map(|(index, input)| position_row(task_name(segment.header.task, names), (index, input)))
    });
    with_heading(&["TASK", "INPUT", "POSITION", "END", "RECORDS", "BYTES"], rows)
}

fn position_row(task: String, (index, input): (u32, &InputProgress)) -> Vec<String> {
    let position = match &input.position {
        Position::File { split, offset, .. } => format!("split {split}, byte {offset}"),
        Position::Stream { offset, .. } => format!("offset {offset}"),
        Position::Outside { id } => id.as_ref().map_or_else(|| "outside".to_owned(), |id| format!("outside, id {id}")),
    };
    let end = match input.on_end {
        OnEnd::Open => "open",
        OnEnd::AtEnd => "at-end",
        OnEnd::Done => "done",
    };
    vec![task, index.to_string(), position, end.to_owned(), input.records.to_string(), input.bytes.to_string()]
}

fn parts(manifest: &Manifest) -> Vec<Vec<String>> {
    let rows = manifest.parts.iter().map(|part| {
        let records: u64 = part.ranges.iter().map(|range| range.records).fold(0, u64::saturating_add);
        vec![part.length.to_string(), part.ranges.len().to_string(), records.to_string(), part.object.key.clone()]
    });
    with_heading(&["BYTES", "PARTITIONS", "RECORDS", "KEY"], rows)
}

fn releases(manifest: &Manifest, names: &Names<'_>) -> Vec<Vec<String>> {
    let rows = manifest.releases.iter().map(|release| {
        let task = task_name(release.task, names);
        vec![task, release.output.to_string(), output::harmless(&release.name), release.length.to_string(), release.sha256.to_string()]
    });
    with_heading(&["TASK", "OUTPUT", "FILE", "BYTES", "SHA256"], rows)
}

/// A task by its stage's name, or by the stream that it puts records from outside on; by its index where the job file has changed since.
fn task_name(task: TaskId, names: &Names<'_>) -> String {
    let produced = produced_by(task).and_then(|index| names.produced.get(index));
    match (names.stages.get(usize::from(task.stage)), produced) {
        (Some(stage), _) => format!("{stage}/{}", task.partition),
        (None, Some(stream)) => format!("stream://{stream}"),
        (None, None) => task.to_string(),
    }
}
