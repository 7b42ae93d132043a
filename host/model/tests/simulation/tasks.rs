//! Tasks of a process: they read, work, freeze; their segments are saved and, once confirmed, applied. Refuses to read what is not shown.

use std::rc::Rc;

use gregor_model::coordinator::Observed;
use gregor_model::manifest::ObjectRef;
use gregor_model::names::Sequence;
use gregor_model::part::{Footer, FooterAt, RunAt};
use gregor_model::seal::{SavedGroup, SavedPart, SavedSegment};
use gregor_model::segment::{
    DeltaContent, DeltaHeader, FileHeader, InputProgress, OnEnd, Position, Run, RunsHeader, SegmentHeader, temporary_name,
};

use crate::archive::Content;
use crate::breaks::Break;
use crate::coverage::Event;
use crate::folder::File;
use crate::problem::{INCARNATION, Record, TASKS, apply, partition_of, work};
use crate::process::{Flight, Frozen, Leader, Saving, Task, Then};
use crate::starting::mark;
use crate::truth::Violation;
use crate::world::{Fate, Message, Weather, World};

type Fated = Result<Fate, Violation>;

/// Records of a batch, at most, and tries to save before a process gives up.
const BATCH: usize = 2;
const TRIES: u32 = 3;

impl World {
    /// Whether a task has something to do.
    pub(crate) fn has_work(&self, at: usize, leader: &Leader) -> bool {
        let task = &leader.tasks[at];
        task.on_end != OnEnd::Done && (self.next_record(at, leader).is_some() || self.is_at_end(at, leader))
    }

    fn next_record(&self, at: usize, leader: &Leader) -> Option<Record> {
        let Task { id, position, .. } = &leader.tasks[at];
        let partition = usize::try_from(id.partition).unwrap();
        match id.stage {
            0 => self.problem.input[partition].get(usize::try_from(*position).unwrap()).copied(),
            _ => leader.visible[partition].get(position).copied(),
        }
    }

    fn is_at_end(&self, at: usize, leader: &Leader) -> bool {
        let Task { id, position, .. } = &leader.tasks[at];
        match id.stage {
            0 => *position >= self.problem.input[usize::try_from(id.partition).unwrap()].len() as u64,
            _ => {
                leader.history.is_final(&self.problem.job, &self.problem.counts, &self.problem.stream)
                    && *position == leader.history.head(&self.problem.stream, id.partition)
            }
        }
    }

    /// A task works on a batch, or learns that its input has ended.
    pub(crate) fn work(&mut self, host: usize, leader: &mut Leader) -> Fated {
        let first = self.random.below(TASKS.len());
        let mut turns = (0..TASKS.len()).map(|turn| (first + turn) % TASKS.len());
        let Some(at) = turns.find(|&at| self.has_work(at, leader)) else { return Ok(Fate::Lives) };
        for _ in 0..=self.random.below(BATCH) {
            let Some(record) = self.next_record(at, leader) else { break };
            if leader.tasks[at].id.stage == 1 && self.holds_job(leader) {
                self.truth.invariant_4_readers_see_what_is_confirmed(at - 2, leader.tasks[at].position)?;
            }
            let task = &mut leader.tasks[at];
            task.position += 1;
            task.changed = true;
            if task.id.stage == 0 {
                task.runs[partition_of(&record)].push(record);
                continue;
            }
            let key = (record.key, record.producer);
            let layers =
                [Some(&task.active), task.frozen.as_ref().map(|frozen| &frozen.delta), task.confirmed.as_ref().map(|(_, delta)| delta)];
            let known = layers.into_iter().flatten().find_map(|layer| layer.get(key));
            let before = known.unwrap_or_else(|| self.hosts[host].local[at - 2].now().1.get(key));
            let (after, line) = work(before, record);
            task.active.set(key, Some(after));
            task.lines.push(line);
        }
        let ends = leader.tasks[at].on_end != OnEnd::Done && self.next_record(at, leader).is_none() && self.is_at_end(at, leader);
        if ends {
            let task = &mut leader.tasks[at];
            (task.on_end, task.changed) = (OnEnd::Done, true);
        }
        Ok(Fate::Lives)
    }

    /// A task obeys the order to freeze: unless its last segment still waits to be applied.
    pub(crate) fn freeze_one(&mut self, leader: &mut Leader) -> Fated {
        let first = self.random.below(TASKS.len());
        let mut turns = (0..TASKS.len()).map(|turn| (first + turn) % TASKS.len());
        let Some(at) = turns.find(|&at| leader.may_freeze(at)) else { return Ok(Fate::Lives) };
        let task = &leader.tasks[at];
        if !task.changed {
            leader.flights[at] = Flight::None;
            return self.tell(Observed::Unchanged(TASKS[at]), leader);
        }
        let frozen = self.freeze(at, leader);
        leader.tasks[at].frozen = Some(frozen);
        Ok(Fate::Lives)
    }

    fn freeze(&mut self, at: usize, leader: &mut Leader) -> Frozen {
        let (attempt, branch, stream) = (leader.attempt, leader.branch, leader.stream);
        let task = &mut leader.tasks[at];
        task.sequence += 1;
        task.changed = false;
        let sequence = Sequence(task.sequence);
        let (delta, lines, runs) = (std::mem::take(&mut task.active), std::mem::take(&mut task.lines), std::mem::take(&mut task.runs));
        let stage = &self.problem.job.stages[usize::from(task.id.stage)];
        let entries = delta.len() as u64;
        let store = self.problem.store.clone();
        let deltas = (entries > 0 && self.broken != Some(Break::LoseDelta)).then(|| DeltaHeader {
            store,
            content: DeltaContent::Changes,
            entries,
            length: entries * self.problem.entry_bytes,
            sha256: self.archive.digest(),
        });
        let of_partition = |(partition, records): (u32, &Vec<Record>)| run(&self.problem.stream, partition, records);
        let listed: Vec<Run> = (0..).zip(&runs).filter(|(_, records)| !records.is_empty()).map(of_partition).collect();
        let name = || temporary_name(INCARNATION, (stage.name.as_str(), "out"), (task.id.partition, attempt, sequence));
        let count = lines.len() as u64;
        let file =
            (count > 0).then(|| FileHeader { output: 0, temporary: name(), length: count, records: count, sha256: self.archive.digest() });
        let position = match task.id.stage {
            0 => Position::File { plan: stage.component, split: 0, offset: task.position },
            _ => Position::Stream { incarnation: stream, offset: task.position },
        };
        let progress = InputProgress { position, on_end: task.on_end, records: task.position, bytes: 0, last_timestamp: 0 };
        let header = SegmentHeader {
            incarnation: INCARNATION,
            task: task.id,
            branch,
            attempt,
            sequence,
            parent: task.parent,
            inputs: vec![progress],
            watermark: None,
            component: stage.component,
            schemas: stage.stores.iter().map(|store| store.schema_version).collect(),
            delta: deltas.into_iter().collect(),
            runs: RunsHeader::of(&listed),
            files: file.into_iter().collect(),
        };
        Frozen { hash: header.hash(), header, delta, runs, lines, taken: false }
    }

    /// A saver takes up what is frozen, all or some of it: files first, then one part.
    pub(crate) fn save_some(&mut self, (host, leader): (usize, &mut Leader)) {
        let mut segments = Vec::new();
        let (mut deltas, mut lists, mut footer) =
            (Vec::new(), Vec::new(), Footer { boot: leader.boot, deltas: Vec::new(), runs: Vec::new() });
        for (at, task) in leader.tasks.iter_mut().enumerate() {
            let Some(frozen) = task.frozen.as_mut().filter(|frozen| !frozen.taken) else { continue };
            if self.random.happens(30) {
                continue;
            }
            frozen.taken = true;
            for file in &frozen.header.files {
                self.folder.insert(&file.temporary, File { digest: file.sha256, lines: frozen.lines.clone() });
            }
            let places = frozen.header.delta.iter().map(|_| {
                deltas.push(frozen.delta);
                deltas.len() as u64 - 1
            });
            segments.push(SavedSegment { hash: frozen.hash, header: frozen.header.clone(), deltas: places.collect() });
            for (partition, records) in (0..).zip(&frozen.runs).filter(|(_, records)| !records.is_empty()) {
                let SegmentHeader { task, attempt, sequence, .. } = frozen.header;
                let run = run(&self.problem.stream, partition, records);
                footer.runs.push(RunAt { task, attempt, sequence, offset: lists.len() as u64, run });
                lists.push(records.clone());
            }
            if self.broken == Some(Break::ApplyBeforeConfirm) && at >= 2 {
                let store = &mut self.hosts[host].local[at - 2];
                let mut state = store.now().1;
                apply(&mut state, &frozen.delta);
                store.states.push((Some(frozen.hash), state));
            }
        }
        if segments.is_empty() {
            return;
        }
        footer.runs.sort_by_key(|at| (at.run.partition, at.task, at.sequence));
        let (part, object) = if deltas.is_empty() && lists.is_empty() {
            (None, None)
        } else {
            let object = self.new_part(leader);
            let content = Content::Part { footer: footer.clone(), deltas, runs: lists };
            (Some(saved_part(&object, footer)), Some((object, Rc::new(content))))
        };
        leader.saving.push(Saving { object, then: Then::Offer(SavedGroup { parts: part.into_iter().collect(), segments }), failures: 0 });
    }

    /// The next part of a process, known to be on its way.
    pub(crate) fn new_part(&mut self, leader: &mut Leader) -> ObjectRef {
        let object = ObjectRef { key: self.problem.keys.part(leader.boot, leader.next_part()), sha256: self.archive.digest() };
        leader.in_flight.insert(object.key.clone());
        object
    }

    /// Something on its way is put into the archive, or not, or nobody knows.
    pub(crate) fn put_one(&mut self, leader: &mut Leader) -> Fated {
        if leader.saving.is_empty() {
            return Ok(Fate::Lives);
        }
        let at = self.random.below(leader.saving.len());
        let luck = if self.weather == Weather::Foul { self.random.below(100) } else { 99 };
        let saving = &mut leader.saving[at];
        if let Some((object, content)) = &saving.object {
            let arrives = luck >= 8;
            if arrives && self.archive.create(object, content).is_err() {
                return Ok(Fate::Dies);
            }
            if luck < 16 {
                self.truth.seen.saw(Event::FailedPut);
                saving.failures += 1;
                return Ok(if saving.failures >= TRIES { Fate::Dies } else { Fate::Lives });
            }
        }
        match leader.saving.swap_remove(at).then {
            Then::Offer(group) => self.post(Message::Offer { attempt: leader.attempt.0, group }),
            Then::Base(entry) => leader.bases.push(entry),
            Then::Merged(merges) => leader.merges.push(merges),
        }
        Ok(Fate::Lives)
    }

    /// A confirmed delta goes to the local store, which is marked now and then.
    pub(crate) fn apply_one(&mut self, host: usize, leader: &mut Leader) {
        for at in 2..TASKS.len() {
            if let Some((segment, delta)) = leader.tasks[at].confirmed.take() {
                let store = &mut self.hosts[host].local[at - 2];
                let mut state = store.now().1;
                apply(&mut state, &delta);
                store.states.push((Some(segment), state));
                if self.random.happens(15) {
                    mark(store, leader);
                }
                break;
            }
        }
    }
}

fn run(stream: &gregor_model::names::StreamName, partition: u32, records: &[Record]) -> Run {
    let count = records.len() as u64;
    Run { stream: stream.clone(), partition, ordinal: 0, length: count, records: count, sha256: gregor_model::digest::Digest([1; 32]) }
}

/// A part as savers tell of it.
pub(crate) fn saved_part(object: &ObjectRef, footer: Footer) -> SavedPart {
    let footer_at = FooterAt { offset: 0, length: 0, sha256: object.sha256 };
    SavedPart { object: object.clone(), length: 1, footer_at, footer }
}
