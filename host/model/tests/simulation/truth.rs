//! An observer that sees everything: what the confirmed manifests add up to, and whether the invariants of the checkpoint page hold, each in a
//! function of its own. Refuses to trust what a process believes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gregor_model::coordinator::{Content, Phase};
use gregor_model::digest::Digest;
use gregor_model::history::History;
use gregor_model::manifest::{Manifest, ManifestRef};
use gregor_model::names::{Boot, CheckpointNumber, TaskId, Term};
use gregor_model::register::{Register, Status};
use gregor_model::seal::publish;
use gregor_model::segment::Position;

use crate::archive::{self, Archive};
use crate::coordination::Coordination;
use crate::problem::{Line, Problem, Record, State, fold};
use crate::process::{Leader, LocalStore};

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

/// A file of the output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) digest: Digest,
    pub(crate) lines: Vec<Line>,
}

/// The output folder, by name.
pub(crate) type Folder = BTreeMap<String, File>;

/// What is confirmed.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) history: History,
    /// What became of each number ever created.
    numbers: BTreeMap<CheckpointNumber, Status>,
    /// The confirmed records of each stream partition.
    pub(crate) stream: [Vec<Record>; 2],
    /// The streams at each checkpoint, by the last segments of the tasks.
    streams: BTreeMap<BTreeMap<TaskId, Digest>, [Vec<Record>; 2]>,
    /// The state after each segment of the second stage that was ever confirmed.
    states: BTreeMap<Digest, State>,
    /// Output files that were ever confirmed, by final name: the temporary name and the digest.
    files: BTreeMap<String, (String, Digest)>,
    /// Keys that are reachable, of this version of the register.
    reachable: Option<(u64, BTreeSet<String>)>,
    /// Checkpoints, returns, bases and merges that were confirmed.
    pub(crate) confirmed: [u64; 4],
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
        let manifest = of(1, archive.manifest(latest))?.clone();
        let positions = self.positions();
        self.invariant_2_each_segment_extends_the_one_before(archive, &manifest, change)?;
        self.history.forget_read(&problem.job);
        self.invariant_1_what_is_confirmed_is_there(archive, latest)?;
        invariant_5_a_segment_is_of_the_living_attempt(&manifest, change.after)?;
        self.invariant_8_a_checkpoint_costs_what_changed(&manifest, &positions)?;
        self.take_runs(archive, &manifest)?;
        self.invariant_4_the_stream_is_that_of_the_undisturbed_run(problem)?;
        self.invariant_7_base_and_deltas_are_the_store(archive)?;
        self.invariant_4_a_file_holds_the_output_of_its_prefix(folder, (&manifest, &positions))?;
        self.streams.insert(segments(&self.history), self.stream.clone());
        let returned = u64::from(change.before.streams != change.after.streams);
        let seen = [1, returned, manifest.bases.len() as u64, manifest.merges.len() as u64];
        self.confirmed.iter_mut().zip(seen).for_each(|(count, more)| *count += more);
        Ok(())
    }

    fn invariant_1_the_confirmed_number_only_grows(&mut self, change: &Change<'_>) -> Checked {
        of(1, change.after.check(&change.after.job))?;
        holds(1, change.before.latest.as_ref().map(|l| l.number) <= change.after.latest.as_ref().map(|l| l.number), || {
            format!("latest fell from {:?} to {:?}", change.before.latest, change.after.latest)
        })?;
        for record in &change.after.checkpoints {
            let known = self.numbers.insert(record.number, record.status);
            let newest = self.numbers.last_key_value().map(|(number, _)| *number);
            let allowed = match known {
                None => record.status == Status::Created && newest == Some(record.number),
                Some(known) => known == record.status || known == Status::Created,
            };
            holds(1, allowed, || format!("checkpoint {} was {known:?} and is {:?}", record.number, record.status))?;
        }
        Ok(())
    }

    fn invariant_1_what_is_confirmed_is_there(&self, archive: &Archive, latest: &ManifestRef) -> Checked {
        for object in self.history.objects().values() {
            of(1, archive.read(object))?;
        }
        let (loaded, _, _) = of(1, archive.load(latest))?;
        holds(2, loaded.tasks == self.history.tasks, || format!("manifest {} loads as another history", latest.number))
    }

    fn invariant_2_each_segment_extends_the_one_before(&mut self, archive: &Archive, manifest: &Manifest, change: &Change<'_>) -> Checked {
        let before = change.before.latest.as_ref();
        holds(2, manifest.predecessor.as_ref() == before, || {
            format!("manifest {} follows {:?}, confirmed was {before:?}", manifest.number, manifest.predecessor)
        })?;
        if change.before.streams != change.after.streams {
            let pages = manifest.full.as_ref().map(|full| archive.pages(&full.tasks[0]));
            let pages = of(2, pages.unwrap_or_else(|| Err("going back without pages".to_owned())))?;
            self.history = of(2, pages.history(before.map(|before| before.number)))?;
            // Also one of a branch that was left: what is confirmed is all that was confirmed with these segments.
            let known = self.streams.get(&segments(&self.history)).cloned();
            self.stream = of(2, known.ok_or("a return to what was never confirmed"))?;
        }
        of(2, self.history.apply(manifest))
    }

    /// How far each task has read, in confirmed segments.
    fn positions(&self) -> BTreeMap<TaskId, u64> {
        self.history.tasks.iter().map(|(&task, known)| (task, position_of(&known.header.inputs[0].position))).collect()
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

    fn invariant_4_the_stream_is_that_of_the_undisturbed_run(&self, problem: &Problem) -> Checked {
        let positions = self.positions();
        for (producer, input) in (0_u32..).zip(&problem.input) {
            let read = positions.get(&TaskId { stage: 0, partition: producer }).copied().unwrap_or(0);
            let prefix = &input[..usize::try_from(read).unwrap()];
            for (partition, stream) in self.stream.iter().enumerate() {
                let found = stream.iter().filter(|record| u32::from(record.producer) == producer);
                let expected = prefix.iter().filter(|record| crate::problem::partition_of(record) == partition);
                holds(4, found.eq(expected), || {
                    format!("partition {partition} lacks or doubles records of producer {producer}: {stream:?}")
                })?;
            }
        }
        Ok(())
    }

    /// A reader takes the record at this offset.
    pub(crate) fn invariant_4_readers_see_what_is_confirmed(&self, partition: usize, offset: u64) -> Checked {
        let confirmed = self.stream[partition].len();
        holds(4, usize::try_from(offset).is_ok_and(|offset| offset < confirmed), || {
            format!("record {offset} is read, {confirmed} are confirmed")
        })
    }

    fn invariant_7_base_and_deltas_are_the_store(&mut self, archive: &Archive) -> Checked {
        for task in [TaskId { stage: 1, partition: 0 }, TaskId { stage: 1, partition: 1 }] {
            let Some(known) = self.history.tasks.get(&task) else { continue };
            let offset = usize::try_from(position_of(&known.header.inputs[0].position)).unwrap();
            let stream = &self.stream[usize::try_from(task.partition).unwrap()];
            holds(4, offset <= stream.len(), || format!("task {task} has read {offset} of {} confirmed records", stream.len()))?;
            let expected = fold(&stream[..offset]).0;
            let base = of(1, archive.base(&self.history, task))?;
            let states = of(1, archive.state(&self.history, task, (base.clone(), 0)))?;
            let found = states.last().map_or(&base, |(_, state)| state);
            holds(7, *found == expected, || format!("task {task} at {offset}: the archive has {found:?}, expected {expected:?}"))?;
            self.states.insert(known.segment, expected);
        }
        Ok(())
    }

    fn invariant_8_a_checkpoint_costs_what_changed(&self, manifest: &Manifest, before: &BTreeMap<TaskId, u64>) -> Checked {
        let work = manifest.segments.len() + manifest.merges.len();
        holds(8, manifest.parts.len() <= work, || {
            format!("manifest {} has {} parts for {work} changes", manifest.number, manifest.parts.len())
        })?;
        for entry in &manifest.segments {
            let after = position_of(&entry.header.inputs[0].position);
            holds(2, before.get(&entry.header.task).is_none_or(|&before| before <= after), || {
                format!("task {} went back", entry.header.task)
            })?;
        }
        Ok(())
    }

    fn invariant_4_a_file_holds_the_output_of_its_prefix(&mut self, folder: &Folder, of: (&Manifest, &BTreeMap<TaskId, u64>)) -> Checked {
        let (manifest, before) = of;
        for release in &manifest.releases {
            self.files.insert(release.name.clone(), (release.temporary.clone(), release.sha256));
        }
        for header in manifest.segments.iter().map(|entry| &entry.header).filter(|header| header.task.stage == 1) {
            let lines = fold(&self.stream[usize::try_from(header.task.partition).unwrap()]).1;
            let from = usize::try_from(before.get(&header.task).copied().unwrap_or(0)).unwrap();
            let to = usize::try_from(position_of(&header.inputs[0].position)).unwrap();
            let found = header.files.first().and_then(|file| folder.get(&file.temporary)).map_or(&[][..], |file| &file.lines);
            holds(4, lines.get(from..to) == Some(found), || format!("task {} from {from} to {to}: {found:?} of {lines:?}", header.task))?;
        }
        Ok(())
    }

    /// Committed output is there, under one of its names.
    pub(crate) fn invariant_4_committed_files_are_there(&self, folder: &Folder) -> Checked {
        for (name, (temporary, digest)) in &self.files {
            let is = |name: &String| folder.get(name).is_some_and(|file| file.digest == *digest);
            let open = || self.history.releases.iter().any(|release| release.name == *name);
            holds(4, is(name) || is(temporary) && open(), || format!("committed file {name} is gone"))?;
        }
        let shown = folder.keys().filter(|name| name.starts_with("part-")).all(|name| self.files.contains_key(name));
        holds(4, shown, || "a file is shown that was not committed".to_owned())
    }

    /// A local store holds the state after a confirmed segment: that very state, and never one ahead.
    pub(crate) fn invariant_3_a_store_is_never_ahead(&self, store: &LocalStore) -> Checked {
        let (segment, state) = store.now();
        let expected = segment.map(|segment| self.states.get(&segment));
        let right = match expected {
            None => state.is_empty(),
            Some(expected) => expected == Some(state),
        };
        holds(3, right, || format!("a store holds {state:?} after {segment:?}, which was confirmed as {expected:?}"))
    }

    pub(crate) fn reachable(
        &mut self,
        problem: &Problem,
        archive: &Archive,
        (version, register): (u64, &Register),
    ) -> Result<&BTreeSet<String>, Violation> {
        if self.reachable.as_ref().is_none_or(|(known, _)| *known != version) {
            self.reachable = Some((version, of(6, archive.reachable(&problem.job, register))?));
        }
        Ok(&self.reachable.as_ref().unwrap().1)
    }

    /// At the end of the job: its output and state are those of the undisturbed run.
    pub(crate) fn the_end_is_that_of_the_undisturbed_run(&self, problem: &Problem) -> Checked {
        let mut found = BTreeMap::<_, Vec<Line>>::new();
        for stream in &self.stream {
            for line in fold(stream).1 {
                found.entry((line.record.key, line.record.producer)).or_default().push(line);
            }
        }
        holds(0, found == problem.expected(), || format!("output is {found:?}, expected {:?}", problem.expected()))
    }
}

/// The last segment of each task.
fn segments(history: &History) -> BTreeMap<TaskId, Digest> {
    history.tasks.iter().map(|(&task, known)| (task, known.segment)).collect()
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
    }
}
