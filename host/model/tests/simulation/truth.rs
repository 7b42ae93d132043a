//! An observer that sees everything: what the confirmed manifests add up to, and whether the invariants of the checkpoint page hold, each in a
//! function of its own. Refuses to trust what a process believes.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use gregor_model::coordinator::{Content, Phase};
use gregor_model::digest::Digest;
use gregor_model::history::History;
use gregor_model::manifest::{Manifest, ManifestRef, Release, SegmentEntry};
use gregor_model::names::{Boot, CheckpointNumber, TaskId, Term};
use gregor_model::register::{Register, Status};
use gregor_model::seal::publish;
use gregor_model::segment::Position;

use crate::archive::{self, Archive};
use crate::coordination::Coordination;
use crate::coverage::{Coverage, Event};
use crate::folder::Folder;
use crate::problem::{Line, Problem, Record, State, TASKS, fold, partition_of};
use crate::process::{Leader, LocalStore, index_of};

/// An invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its number on the checkpoint page; 0: the job does not come to its end, or not to the right one.
    pub(crate) invariant: u8,
    pub(crate) what: String,
}

/// Whether what was looked at is right.
pub(crate) type Checked = Result<(), Violation>;

/// Fails unless `right`.
pub(crate) fn holds(invariant: u8, right: bool, what: impl FnOnce() -> String) -> Checked {
    if right { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}

fn of<T, E: ToString>(invariant: u8, result: Result<T, E>) -> Result<T, Violation> {
    result.map_err(|error| Violation { invariant, what: error.to_string() })
}

/// What is confirmed.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) history: History,
    /// What became of each number ever created.
    numbers: BTreeMap<CheckpointNumber, Status>,
    /// The confirmed records of each stream partition, and what the undisturbed run makes of them.
    stream: [Stream; 2],
    /// The records of branches that were left.
    left: Vec<[Vec<Record>; 2]>,
    /// The streams at each checkpoint, by the last segments of the tasks: the branch, and how long they were.
    streams: BTreeMap<[Option<Digest>; 4], (usize, [usize; 2])>,
    /// The state after each segment of the second stage that was ever confirmed.
    states: BTreeMap<Digest, State>,
    /// Output files that were ever confirmed, by final name: the temporary name and the digest.
    files: BTreeMap<String, (String, Digest)>,
    /// Final names by temporary ones.
    finals: BTreeMap<String, String>,
    /// Names of files about which confirmations have said something since they were looked at.
    named: Vec<String>,
    /// Keys that are reachable, of this version of the register.
    reachable: Option<(u64, Rc<BTreeSet<String>>)>,
    /// What has happened.
    pub(crate) seen: Coverage,
}

/// A stream partition and the task that reads it.
#[derive(Default)]
struct Stream {
    records: Vec<Record>,
    /// What the task writes for these records, and its state then.
    lines: Vec<Line>,
    folded: State,
    /// How far the task has read, in confirmed segments, its state then, and what the archive has.
    read: usize,
    expected: State,
    found: State,
}

impl Stream {
    /// More records are confirmed.
    fn extend(&mut self, records: &[Record]) {
        self.records.extend(records);
        self.lines.extend(fold(&mut self.folded, records));
    }

    /// The task's state after so many records.
    fn read_to(&mut self, offset: usize) {
        if offset < self.read {
            (self.read, self.expected) = (0, State::default());
        }
        fold(&mut self.expected, &self.records[self.read..offset]);
        self.read = offset;
    }
}

/// From where on the archive is read to see what a task's state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Base and chain.
    Beginning,
    /// Its last delta: what was before it was judged then, and is the same.
    LastSegment,
}

/// A change of the register.
pub(crate) struct Change<'c> {
    pub(crate) before: &'c Register,
    pub(crate) after: &'c Register,
}

impl Truth {
    /// Takes in a change of the register.
    pub(crate) fn observe(&mut self, problem: &Problem, (archive, folder): (&Archive, &Folder), change: &Change<'_>) -> Checked {
        self.invariant_1_the_confirmed_number_only_grows(change)?;
        if change.before.latest == change.after.latest {
            return Ok(());
        }
        let Some(latest) = &change.after.latest else { return Ok(()) };
        let manifest = Rc::clone(of(1, archive.manifest(latest))?);
        let positions = self.positions();
        let lengths = self.lengths();
        let returns = change.before.streams != change.after.streams;
        self.invariant_2_each_segment_extends_the_one_before(archive, &manifest, change)?;
        self.history.forget_read(&problem.job);
        self.invariant_1_what_is_confirmed_is_there(archive, latest)?;
        invariant_5_a_segment_is_of_the_living_attempt(&manifest, change.after)?;
        self.invariant_8_a_checkpoint_costs_what_changed(&manifest, &positions)?;
        self.take_runs(archive, &manifest)?;
        if returns {
            // The stream is another one, and so may be all states.
            self.invariant_4_the_stream_is_that_of_the_undisturbed_run(problem, ([0; 4], [0; 2]))?;
        } else {
            self.invariant_4_the_stream_is_that_of_the_undisturbed_run(problem, (positions, lengths))?;
        }
        for (partition, task) in [TaskId { stage: 1, partition: 0 }, TaskId { stage: 1, partition: 1 }].into_iter().enumerate() {
            let of_task = |entry: &&SegmentEntry| entry.header.task == task;
            let rewritten = manifest.bases.iter().any(|base| base.task == task) || manifest.merges.iter().any(|merge| merge.task == task);
            match manifest.segments.iter().filter(of_task).count() {
                // Neither what is expected nor what is found can have changed.
                0 if !rewritten && !returns => {}
                1 if !rewritten && !returns => self.invariant_7_base_and_deltas_are_the_store(archive, (partition, Since::LastSegment))?,
                _ => self.invariant_7_base_and_deltas_are_the_store(archive, (partition, Since::Beginning))?,
            }
        }
        self.invariant_4_a_file_holds_the_output_of_its_prefix(folder, (&manifest, &positions))?;
        self.streams.insert(segments(&self.history), (self.left.len(), self.lengths()));
        let seen = [
            (Event::Confirmed, 1),
            (Event::Return, usize::from(returns)),
            (Event::Base, manifest.bases.len()),
            (Event::Merge, manifest.merges.len()),
            (Event::Full, usize::from(manifest.full.is_some())),
            (Event::LeftOut, usize::from(!manifest.left_out.is_empty())),
        ];
        seen.into_iter().for_each(|(event, times)| self.seen.saw_many(event, times));
        Ok(())
    }

    fn invariant_1_the_confirmed_number_only_grows(&mut self, change: &Change<'_>) -> Checked {
        of(1, change.after.check(&change.after.job))?;
        holds(1, change.before.latest.as_ref().map(|l| l.number) <= change.after.latest.as_ref().map(|l| l.number), || {
            format!("latest fell from {:?} to {:?}", change.before.latest, change.after.latest)
        })?;
        let created = usize::from(change.before.created < change.after.created);
        self.seen.saw_many(Event::Retired, (change.before.checkpoints.len() + created).saturating_sub(change.after.checkpoints.len()));
        self.seen.saw_many(Event::Takeover, usize::from(change.before.boot != change.after.boot));
        for record in &change.after.checkpoints {
            let known = self.numbers.insert(record.number, record.status);
            let newest = self.numbers.last_key_value().map(|(number, _)| *number);
            let allowed = match known {
                None => record.status == Status::Created && newest == Some(record.number),
                Some(known) => known == record.status || known == Status::Created,
            };
            if record.status == Status::Aborted && known != Some(Status::Aborted) {
                self.seen.saw(Event::Aborted);
            }
            holds(1, allowed, || format!("checkpoint {} was {known:?} and is {:?}", record.number, record.status))?;
        }
        Ok(())
    }

    fn invariant_1_what_is_confirmed_is_there(&self, archive: &Archive, latest: &ManifestRef) -> Checked {
        for object in self.history.objects().values() {
            of(1, archive.read(object))?;
        }
        // A manifest that is not full says what it says: the history is that of the one before it, which was compared then, and what it adds.
        if of(1, archive.manifest(latest))?.full.is_none() {
            return of(1, archive.chain_is_there(latest));
        }
        let loaded = of(1, archive.load(latest))?;
        holds(2, loaded.history.tasks == self.history.tasks, || format!("manifest {} loads as another history", latest.number))
    }

    fn invariant_2_each_segment_extends_the_one_before(&mut self, archive: &Archive, manifest: &Manifest, change: &Change<'_>) -> Checked {
        let before = change.before.latest.as_ref();
        self.note_files(&manifest.releases);
        holds(2, manifest.predecessor.as_ref() == before, || {
            format!("manifest {} follows {:?}, confirmed was {before:?}", manifest.number, manifest.predecessor)
        })?;
        if change.before.streams != change.after.streams {
            let pages = manifest.full.as_ref().map(|full| archive.pages(&full.tasks[0]));
            let pages = of(2, pages.unwrap_or_else(|| Err("going back without pages".to_owned())))?;
            self.history = of(2, pages.history(before.map(|before| before.number)))?;
            // Also one of a branch that was left: what is confirmed is all that was confirmed with these segments.
            let known = self.streams.get(&segments(&self.history));
            let &(branch, lengths) = of(2, known.ok_or("a return to what was never confirmed"))?;
            let stream = std::mem::take(&mut self.stream);
            self.left.push(stream.map(|stream| stream.records));
            for (partition, length) in lengths.into_iter().enumerate() {
                self.stream[partition].extend(&self.left[branch][partition][..length]);
            }
        }
        of(2, self.history.apply(manifest))
    }

    /// Files that are committed now, and those that need not wait for their names any more, are to be looked at.
    fn note_files(&mut self, releases: &[Release]) {
        self.named.extend(self.history.releases.iter().chain(releases).map(|release| release.name.clone()));
    }

    /// How far each task has read, in confirmed segments.
    fn positions(&self) -> [u64; 4] {
        TASKS.map(|task| self.history.tasks.get(&task).map_or(0, |known| position_of(&known.header.inputs[0].position)))
    }

    /// How many records each stream partition has.
    fn lengths(&self) -> [usize; 2] {
        [self.stream[0].records.len(), self.stream[1].records.len()]
    }

    /// Adds the runs of a manifest to the streams.
    fn take_runs(&mut self, archive: &Archive, manifest: &Manifest) -> Checked {
        let origins = manifest.segments.iter().map(|entry| gregor_model::seal::origin_of(&entry.header)).collect();
        for part in manifest.parts.iter().filter(|part| !part.ranges.is_empty()) {
            let archive::Content::Part { footer, .. } = &**of(1, archive.read(&part.object))? else { continue };
            let mut heads = part.ranges.iter().map(|range| ((range.stream.clone(), range.partition), range.first_offset)).collect();
            for (partition, _, records) in of(1, archive.runs(&publish(&part.object, footer, &origins, &mut heads)))? {
                self.stream[usize::try_from(partition).unwrap()].extend(records);
            }
        }
        Ok(())
    }

    /// What was added since these positions of the first stage and these lengths: what was there before was judged then.
    fn invariant_4_the_stream_is_that_of_the_undisturbed_run(
        &self,
        problem: &Problem,
        (before, lengths): ([u64; 4], [usize; 2]),
    ) -> Checked {
        let after = self.positions();
        for (producer, input) in problem.input.iter().enumerate() {
            let (from, to) = (usize::try_from(before[producer]).unwrap(), usize::try_from(after[producer]).unwrap());
            let read = of(4, input.get(from..to).ok_or("a task of the first stage has read what is not there"))?;
            for (partition, stream) in self.stream.iter().enumerate() {
                let added = &stream.records[lengths[partition]..];
                let found = added.iter().filter(|record| usize::from(record.producer) == producer);
                let expected = read.iter().filter(|record| partition_of(record) == partition);
                holds(4, found.eq(expected), || {
                    format!("partition {partition} lacks or doubles records of producer {producer}: {:?}", stream.records)
                })?;
            }
        }
        Ok(())
    }

    /// A reader takes the record at this offset.
    pub(crate) fn invariant_4_readers_see_what_is_confirmed(&self, partition: usize, offset: u64) -> Checked {
        let confirmed = self.stream[partition].records.len();
        holds(4, usize::try_from(offset).is_ok_and(|offset| offset < confirmed), || {
            format!("record {offset} is read, {confirmed} are confirmed")
        })
    }

    fn invariant_7_base_and_deltas_are_the_store(&mut self, archive: &Archive, (partition, since): (usize, Since)) -> Checked {
        let task = TASKS[2 + partition];
        let Some(known) = self.history.tasks.get(&task) else { return Ok(()) };
        let stream = &mut self.stream[partition];
        let (offset, length) = (usize::try_from(position_of(&known.header.inputs[0].position)).unwrap(), stream.records.len());
        holds(4, offset <= length, || format!("task {task} has read {offset} of {length} confirmed records"))?;
        stream.read_to(offset);
        let (links, begin) = match since {
            Since::LastSegment => (&known.chain[known.chain.len() - 1..], stream.found),
            Since::Beginning => (&known.chain[..], of(1, archive.base(known.base.as_ref()))?),
        };
        stream.found = of(1, archive.states(links, begin))?.last().map_or(begin, |&(_, state)| state);
        let Stream { expected, found, .. } = stream;
        holds(7, found == expected, || format!("task {task} at {offset}: the archive has {found:?}, expected {expected:?}"))?;
        self.states.insert(known.segment, *expected);
        Ok(())
    }

    fn invariant_8_a_checkpoint_costs_what_changed(&self, manifest: &Manifest, before: &[u64; 4]) -> Checked {
        let work = manifest.segments.len() + manifest.merges.len();
        holds(8, manifest.parts.len() <= work, || {
            format!("manifest {} has {} parts for {work} changes", manifest.number, manifest.parts.len())
        })?;
        for entry in &manifest.segments {
            let after = position_of(&entry.header.inputs[0].position);
            holds(2, before[index_of(entry.header.task)] <= after, || format!("task {} went back", entry.header.task))?;
        }
        Ok(())
    }

    fn invariant_4_a_file_holds_the_output_of_its_prefix(&mut self, folder: &Folder, of: (&Manifest, &[u64; 4])) -> Checked {
        let (manifest, before) = of;
        for release in &manifest.releases {
            self.files.insert(release.name.clone(), (release.temporary.clone(), release.sha256));
            self.finals.insert(release.temporary.clone(), release.name.clone());
        }
        for header in manifest.segments.iter().map(|entry| &entry.header).filter(|header| header.task.stage == 1) {
            let lines = &self.stream[usize::try_from(header.task.partition).unwrap()].lines;
            let from = usize::try_from(before[index_of(header.task)]).unwrap();
            let to = usize::try_from(position_of(&header.inputs[0].position)).unwrap();
            let found = header.files.first().and_then(|file| folder.get(&file.temporary)).map_or(&[][..], |file| &file.lines);
            holds(4, lines.get(from..to) == Some(found), || format!("task {} from {from} to {to}: {found:?} of {lines:?}", header.task))?;
        }
        Ok(())
    }

    /// Committed output is there, under one of its names: whatever files were touched or confirmed since this was last looked at.
    pub(crate) fn invariant_4_committed_files_are_there(&mut self, folder: &mut Folder) -> Checked {
        for name in std::mem::take(&mut self.named).iter().chain(&folder.take_touched()) {
            self.invariant_4_a_committed_file_is_there(folder, name)?;
            if let Some(name) = self.finals.get(name) {
                self.invariant_4_a_committed_file_is_there(folder, name)?;
            }
            let shown = !name.starts_with("part-") || folder.get(name).is_none() || self.files.contains_key(name);
            holds(4, shown, || format!("file {name} is shown and was not committed"))?;
        }
        Ok(())
    }

    /// The same of all files that there are and were.
    pub(crate) fn invariant_4_all_committed_files_are_there(&self, folder: &Folder) -> Checked {
        self.files.keys().try_for_each(|name| self.invariant_4_a_committed_file_is_there(folder, name))?;
        let shown = folder.names().filter(|name| name.starts_with("part-")).all(|name| self.files.contains_key(name));
        holds(4, shown, || "a file is shown that was not committed".to_owned())
    }

    fn invariant_4_a_committed_file_is_there(&self, folder: &Folder, name: &str) -> Checked {
        let Some((temporary, digest)) = self.files.get(name) else { return Ok(()) };
        let is = |name: &str| folder.get(name).is_some_and(|file| file.digest == *digest);
        let open = || self.history.releases.iter().any(|release| release.name == *name);
        holds(4, is(name) || is(temporary) && open(), || format!("committed file {name} is gone"))
    }

    /// A local store holds the state after a confirmed segment: that very state, and never one ahead.
    pub(crate) fn invariant_3_a_store_is_never_ahead(&self, store: &LocalStore) -> Checked {
        let (segment, state) = store.now();
        let expected = segment.map(|segment| self.states.get(&segment));
        let right = match expected {
            None => *state == State::default(),
            Some(expected) => expected == Some(state),
        };
        holds(3, right, || format!("a store holds {state:?} after {segment:?}, which was confirmed as {expected:?}"))
    }

    pub(crate) fn reachable(&mut self, archive: &Archive, servers: &Coordination) -> Result<Rc<BTreeSet<String>>, Violation> {
        if let Some((_, known)) = self.reachable.as_ref().filter(|(version, _)| *version == servers.version) {
            return Ok(Rc::clone(known));
        }
        let reachable = of(6, archive.reachable(&servers.register))?;
        self.reachable = Some((servers.version, Rc::clone(&reachable)));
        Ok(reachable)
    }

    /// At the end of the job: its output and state are those of the undisturbed run.
    pub(crate) fn the_end_is_that_of_the_undisturbed_run(&self, problem: &Problem) -> Checked {
        let mut found = BTreeMap::<_, Vec<Line>>::new();
        for line in self.stream.iter().flat_map(|stream| fold(&mut State::default(), &stream.records)) {
            found.entry((line.record.key, line.record.producer)).or_default().push(line);
        }
        holds(0, found == problem.expected(), || format!("output is {found:?}, expected {:?}", problem.expected()))
    }
}

/// The last segment of each task.
fn segments(history: &History) -> [Option<Digest>; 4] {
    TASKS.map(|task| history.tasks.get(&task).map(|known| known.segment))
}

/// A manifest is judged by the register that confirms it.
fn invariant_5_a_segment_is_of_the_living_attempt(manifest: &Manifest, register: &Register) -> Checked {
    let right = manifest.segments.iter().all(|entry| entry.header.attempt == register.attempt);
    holds(5, right && manifest.term == register.term, || format!("manifest {} is of a dead attempt or term", manifest.number))
}

/// A write took effect: its sender had the claim, and stood in the election.
pub(crate) fn invariant_5_only_the_holder_writes((claim, ballot): (Option<(Term, Boot)>, Option<u64>), servers: &Coordination) -> Checked {
    let holder = (servers.register.term, servers.register.boot);
    holds(5, claim.is_none_or(|claim| claim == holder), || format!("{claim:?} has written, the job is held by {holder:?}"))?;
    let stands = ballot.is_some_and(|ballot| servers.has_ballot(ballot));
    holds(5, stands, || format!("{claim:?} has written and stands in the election no more"))
}

/// An object goes: nothing needs it, and no living owner works on it.
pub(crate) fn invariant_6_only_garbage_goes(key: &str, reachable: &BTreeSet<String>, holder: Option<&Leader>) -> Checked {
    holds(6, !reachable.contains(key), || format!("{key} is deleted, a restore point needs it"))?;
    let at_work = holder.is_some_and(|holder| holder.in_flight.contains(key));
    holds(6, !at_work, || format!("{key} is deleted, its living owner works on it"))
}

/// A checkpoint with something saved is sealed when its grace has passed, whoever is slow.
pub(crate) fn invariant_8_a_slow_task_stops_no_checkpoint(phase: &Phase, waited: Duration, grace: Duration) -> Checked {
    let waits = matches!(phase, Phase::Saving(saving) if saving.content == Content::Some && waited >= grace);
    holds(8, !waits, || format!("after {waited:?} a checkpoint still waits for a slow task: {phase:?}"))
}

/// The offset of a position.
pub(crate) fn position_of(position: &Position) -> u64 {
    match position {
        Position::File { offset, .. } | Position::Stream { offset, .. } => *offset,
        Position::Outside { .. } => unreachable!("no job of the simulation takes records from outside"),
    }
}
