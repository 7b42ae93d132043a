//! How one checkpoint is shown: its segments, parts, positions, releases and predecessor. Refuses to leave anything of the manifest out in JSON.

use gregor_model::manifest::{Manifest, PartEntry, Release, SegmentEntry};
use gregor_model::names::TaskId;
use gregor_model::segment::{InputProgress, OnEnd, Position};
use serde::Serialize;

use super::{Entry, Found};
use crate::output;

/// A checkpoint as JSON: what a list says of it, and its manifest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Shown<'f> {
    #[serde(flatten)]
    entry: &'f Entry,
    incarnation: String,
    branch: u64,
    term: u64,
    predecessor: Option<Predecessor<'f>>,
    segments: &'f [SegmentEntry],
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
            segments: &manifest.segments,
            parts: &manifest.parts,
            left_out: &manifest.left_out,
            releases: &manifest.releases,
        }
    }
}

/// A checkpoint for people; `stages` are the names of the job file's stages, in its order.
pub(super) fn text(found: &Found, stages: &[&str]) -> String {
    let manifest = &found.manifest;
    let mut text = output::table(&head(found));
    text.push_str(&section("segments", &segments(manifest, stages)));
    text.push_str(&section("positions", &positions(manifest, stages)));
    text.push_str(&section("parts", &parts(manifest)));
    text.push_str(&section("releases", &releases(manifest, stages)));
    let left_out: Vec<Vec<String>> = manifest.left_out.iter().map(|task| vec![task_name(*task, stages)]).collect();
    text.push_str(&section("left out", &with_heading(&["TASK"], left_out)));
    text
}

fn head(found: &Found) -> Vec<Vec<String>> {
    let (entry, manifest) = (&found.entry, &found.manifest);
    let before = manifest.predecessor.as_ref().map_or_else(|| "none".to_owned(), |before| before.number.to_string());
    let rows = [
        ("checkpoint", entry.number.to_string()),
        ("created at", entry.created_at.clone()),
        ("status", entry.status.to_owned()),
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

fn segments(manifest: &Manifest, stages: &[&str]) -> Vec<Vec<String>> {
    let rows = manifest.segments.iter().map(|segment| {
        let header = &segment.header;
        let keys: u64 = header.delta.iter().map(|delta| delta.entries).fold(0, u64::saturating_add);
        vec![
            task_name(header.task, stages),
            header.attempt.to_string(),
            header.sequence.to_string(),
            if header.ended() { "yes" } else { "no" }.to_owned(),
            keys.to_string(),
            header.runs.records.to_string(),
            header.files.len().to_string(),
            segment.hash.to_string(),
        ]
    });
    with_heading(&["TASK", "ATTEMPT", "SEQUENCE", "ENDED", "KEYS CHANGED", "RECORDS TO STREAMS", "FILES", "HASH"], rows)
}

fn positions(manifest: &Manifest, stages: &[&str]) -> Vec<Vec<String>> {
    let rows = manifest.segments.iter().flat_map(|segment| {
        let inputs = (0_u32..).zip(&segment.header.inputs);
        inputs.map(|(index, input)| position_row(task_name(segment.header.task, stages), (index, input)))
    });
    with_heading(&["TASK", "INPUT", "POSITION", "END", "RECORDS", "BYTES"], rows)
}

fn position_row(task: String, (index, input): (u32, &InputProgress)) -> Vec<String> {
    let position = match &input.position {
        Position::File { split, offset, .. } => format!("split {split}, byte {offset}"),
        Position::Stream { offset, .. } => format!("offset {offset}"),
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

fn releases(manifest: &Manifest, stages: &[&str]) -> Vec<Vec<String>> {
    let rows = manifest.releases.iter().map(|release| {
        let task = task_name(release.task, stages);
        vec![task, release.output.to_string(), output::harmless(&release.name), release.length.to_string(), release.sha256.to_string()]
    });
    with_heading(&["TASK", "OUTPUT", "FILE", "BYTES", "SHA256"], rows)
}

/// A task by its stage's name; by its index where the job file has changed since.
fn task_name(task: TaskId, stages: &[&str]) -> String {
    match stages.get(usize::from(task.stage)) {
        Some(stage) => format!("{stage}/{}", task.partition),
        None => task.to_string(),
    }
}
