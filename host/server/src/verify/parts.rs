//! What parts hold, against what is said of it: the digest of each delta and run inside its part, footers against the headers and places that
//! manifests and pages have. Refuses to look into a part whose bytes are not the confirmed ones: that is said already.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use gregor_archive::history::Loaded;
use gregor_archive::{ArchiveError, Store, read_part_range};
use gregor_model::digest::Digest;
use gregor_model::history::{DeltaLink, LivePart};
use gregor_model::manifest::{Manifest, PartRange};
use gregor_model::names::TaskId;
use gregor_model::part::{Footer, FooterAt, PART_HEAD, PART_TAIL};
use gregor_model::seal::origin_of;
use gregor_model::segment::{Run, RunsHeader};

use super::findings::{Findings, Whose, said};

/// Bytes behind the footer: its length, and the part's last bytes.
const TRAILER_BYTES: u64 = 16;

/// The parts that were looked into, by key; none where one can't be understood, which was said then.
#[derive(Default)]
pub(super) struct Parts(BTreeMap<String, Option<Content>>);

/// What a part says of itself.
struct Content {
    footer: Footer,
    at: FooterAt,
}

/// Where objects are, and how long.
type Archive<'a> = (&'a dyn Store, &'a BTreeMap<String, u64>);
/// Where findings go, and whose they are.
type Told<'f> = (&'f mut Findings, Whose);

impl Parts {
    /// Checks the parts of a history that are `whole`.
    pub(super) async fn check(
        &mut self,
        archive: Archive<'_>,
        (loaded, whole): (&Loaded, &(dyn Fn(&str) -> bool + '_)),
        (findings, whose): Told<'_>,
    ) {
        let keys: Vec<String> = loaded.history.objects().into_keys().filter(|key| key.contains("/parts/")).map(str::to_owned).collect();
        for key in keys.into_iter().filter(|key| whole(key)) {
            if let Entry::Vacant(unread) = self.0.entry(key) {
                let content = content_of(archive, unread.key(), (&mut *findings, whose)).await;
                unread.insert(content);
            }
        }
        for (task, link) in loaded.history.tasks.iter().flat_map(|(task, history)| history.chain.iter().map(move |link| (task, link))) {
            for delta in &link.deltas {
                self.delta((*task, delta), (&mut *findings, whose));
            }
        }
        loaded.history.parts.iter().for_each(|live| self.runs(live, (&mut *findings, whose)));
        loaded.manifests.iter().for_each(|(_, manifest)| self.segments(manifest, (&mut *findings, whose)));
    }

    fn content(&self, key: &str) -> Option<&Content> {
        self.0.get(key)?.as_ref()
    }

    /// A delta of a chain stands in the footer of its part, as it is said to be.
    fn delta(&self, (task, delta): (TaskId, &DeltaLink), (findings, whose): Told<'_>) {
        let Some(content) = self.content(&delta.part.key) else { return };
        let found = content.footer.deltas.iter().find(|at| at.offset == delta.offset);
        let same = found.is_some_and(|at| {
            // Footers of version 1 know changes only, which are what a missing word means.
            (at.task, &at.store, at.content) == (task, &delta.store, delta.content)
                && (at.length, at.sha256) == (delta.length, delta.sha256)
        });
        if !same {
            let problem = format!("has at byte {} not the delta of store {} of task {task} that was confirmed", delta.offset, delta.store);
            findings.add(&delta.part.key, problem, whose);
        }
    }

    /// A part with unread runs has the footer that was confirmed, and as many records of each stream partition.
    fn runs(&self, live: &LivePart, (findings, whose): Told<'_>) {
        let key = &live.part.object.key;
        let Some(content) = self.content(key) else { return };
        if content.at != live.part.footer {
            findings.add(key, "has another footer than the one that was confirmed".to_owned(), whose);
        }
        for range in &live.part.ranges {
            let of_range = content
                .footer
                .runs
                .iter()
                .filter(|at| is_of(range, &at.run) && live.origins.contains(&(at.task, at.attempt.0, at.sequence.0)));
            let found = of_range.map(|at| at.run.records).fold(0, u64::saturating_add);
            if found != range.records {
                let (stream, partition, records) = (&range.stream, range.partition, range.records);
                findings.add(
                    key,
                    format!("has {found} records of partition {partition} of stream {stream}, {records} were confirmed"),
                    whose,
                );
            }
        }
    }

    /// The runs of a segment are those that its header binds, where all parts of its manifest are still needed.
    fn segments(&self, manifest: &Manifest, (findings, whose): Told<'_>) {
        let with_runs: Vec<_> = manifest.parts.iter().filter(|part| !part.ranges.is_empty()).collect();
        let contents: Option<Vec<&Content>> = with_runs.iter().map(|part| self.content(&part.object.key)).collect();
        let Some(contents) = contents else { return };
        for segment in manifest.segments.iter().filter(|segment| segment.header.runs.count > 0) {
            let origin = origin_of(&segment.header);
            let all = contents.iter().flat_map(|content| &content.footer.runs);
            let runs: Vec<Run> = all.filter(|at| (at.task, at.attempt.0, at.sequence.0) == origin).map(|at| at.run.clone()).collect();
            if RunsHeader::of(&runs) != segment.header.runs {
                let key = with_runs.first().map(|part| part.object.key.as_str()).unwrap_or_default();
                let problem = format!("has other runs of task {} than the confirmed segment {} binds", segment.header.task, segment.hash);
                findings.add(key, problem, whose);
            }
        }
    }
}

fn is_of(range: &PartRange, run: &Run) -> bool {
    (&run.stream, run.partition) == (&range.stream, range.partition)
}

/// Reads a part's own footer, and each delta and run that it names.
async fn content_of((store, lengths): Archive<'_>, key: &str, (findings, whose): Told<'_>) -> Option<Content> {
    let length = lengths.get(key).copied().unwrap_or(0);
    let content = match footer_of(store, key, length).await {
        Ok(content) => content,
        Err(error) => {
            findings.add_error(error, whose);
            return None;
        }
    };
    let deltas = content.footer.deltas.iter().map(|at| (at.offset, at.length, at.sha256));
    let runs = content.footer.runs.iter().map(|at| (at.offset, at.run.length, at.run.sha256));
    for (offset, length, sha256) in deltas.chain(runs) {
        if let Err(error) = read_part_range(store, key, offset..offset.saturating_add(length), sha256).await {
            findings.add(key, said(error).1, whose);
        }
    }
    Some(content)
}

/// What a part says of itself, found from its end.
///
/// # Errors
/// The part can't be read, or is none.
pub(crate) async fn part_footer(store: &dyn Store, key: &str, length: u64) -> Result<Footer, ArchiveError> {
    footer_of(store, key, length).await.map(|content| content.footer)
}

/// Finds the footer from the end of the part, as a repair would.
async fn footer_of(store: &dyn Store, key: &str, length: u64) -> Result<Content, ArchiveError> {
    let corrupt = |problem: String| ArchiveError::Corrupt { key: key.to_owned(), problem };
    let head_bytes = PART_HEAD.len() as u64;
    let end =
        length.checked_sub(TRAILER_BYTES).filter(|end| *end >= head_bytes).ok_or_else(|| corrupt("is too short for a part".to_owned()))?;
    let head = store.read(key, Some(0..head_bytes)).await?;
    let trailer = store.read(key, Some(end..length)).await?;
    let (count, tail) = trailer.split_at_checked(8).unwrap_or_default();
    let bytes = count.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
    let offset = end.checked_sub(bytes).filter(|offset| *offset >= head_bytes);
    let (Some(offset), true) = (offset, head == PART_HEAD[..] && tail == PART_TAIL) else {
        return Err(corrupt("does not begin or end as a part does".to_owned()));
    };
    let footer = store.read(key, Some(offset..end)).await?;
    let at = FooterAt { offset, length: bytes, sha256: Digest::of(&footer) };
    let footer = Footer::decode(&footer, at).map_err(|error| corrupt(format!("can't be used: {error}")))?;
    Ok(Content { footer, at })
}
