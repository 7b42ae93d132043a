//! What a process does before its tasks run: it claims the job, reads what is confirmed, decides what is undecided, performs releases, restores
//! stores; and how a write goes to the coordinator until its outcome is known. Refuses to run a task before all of that.

use std::rc::Rc;

use gregor_model::manifest::{Full, Manifest, ManifestRef, ObjectRef, Release};
use gregor_model::names::{Attempt, Boot, CheckpointNumber, Incarnation};
use gregor_model::recovery::{Held, LocalStore as Judged, OnDisk, ReleaseMove, local_store, release};
use gregor_model::register::{Register, StreamRecord};
use gregor_model::segment::{OnEnd, Position};
use gregor_model::snapshot::Pages;
use gregor_model::start::Begin;

use crate::archive::{Content, Records};
use crate::breaks::Break;
use crate::coordination::{Evidence, Intent, Multi, after, evidence};
use crate::coverage::Event;
use crate::problem::{Delta, INCARNATION, TASKS};
use crate::process::{Leader, LocalStore, Op, Stage, Task};
use crate::truth::{Violation, holds, position_of};
use crate::world::{Fate, Message, World};

type Fated = Result<Fate, Violation>;

impl World {
    /// One step of a process.
    pub(crate) fn step(&mut self, host: usize, leader: &mut Leader) -> Fated {
        if leader.op.is_some() && (leader.stage != Stage::Running || self.random.happens(40)) {
            return self.press(host, leader);
        }
        match leader.stage {
            Stage::Claiming => {
                let begin = Begin { boot: leader.boot, fresh: INCARNATION, streams: Vec::new() };
                self.order(leader, Intent::Begin(begin));
            }
            Stage::Loading => return self.load(host, leader),
            Stage::Deciding => match leader.undecided {
                Some(number) => self.order(leader, Intent::Abort(number)),
                None => leader.stage = Stage::Releasing,
            },
            Stage::Releasing => return self.release_all(leader),
            Stage::Restoring => return self.restore(host, leader),
            Stage::Running => return self.running(host, leader),
            Stage::BackDeciding(to) => match leader.undecided {
                Some(number) => self.order(leader, Intent::Abort(number)),
                None => {
                    // None retires with a return, or the one that is returned to could be the first to go.
                    let (number, created_at_ms) = (leader.created.next(), self.wall_ms(host));
                    self.order(leader, Intent::Create { number, created_at_ms, keep: u32::MAX });
                    leader.stage = Stage::BackCreating(to);
                }
            },
            Stage::BackSealing(to) => return self.seal_return(to, (host, leader)),
            Stage::BackCreating(_) | Stage::BackConfirming => {}
        }
        Ok(Fate::Lives)
    }

    /// A write is wanted.
    pub(crate) fn order(&mut self, leader: &mut Leader, intent: Intent) {
        self.ops += 1;
        leader.op = Some(Op { id: self.ops, intent, sent: false, waits: false });
    }

    /// Sends what is to be written, or gives up waiting for an answer and looks what became of it.
    fn press(&mut self, host: usize, leader: &mut Leader) -> Fated {
        let Some(op) = &mut leader.op else { return Ok(Fate::Lives) };
        if op.waits {
            if !self.random.happens(8) {
                return Ok(Fate::Lives);
            }
            op.waits = false;
            if self.broken(Break::ConcludeAbort) && matches!(op.intent, Intent::Confirm { .. }) {
                leader.op = None;
                return self.conclude_abort(leader);
            }
            // A process may as well end: the next one decides what this one has left.
            if self.weather == crate::world::Weather::Foul && self.random.happens(30) {
                return Ok(Fate::Dies);
            }
        }
        self.send(host, leader)
    }

    /// Decides on what the servers hold now, as `decide.rs` of the crate `coordination` does.
    fn send(&mut self, host: usize, leader: &mut Leader) -> Fated {
        let register = Rc::clone(&self.coordination.register);
        let ballot = self.hosts[host].ballot.filter(|&ballot| self.coordination.has_ballot(ballot));
        let Some(op) = &leader.op else { return Ok(Fate::Lives) };
        if op.sent {
            match evidence(&register, &op.intent) {
                Evidence::There => return self.done((host, leader), &register),
                Evidence::Lost => return Ok(Fate::Dies),
                Evidence::Absent => {}
            }
        }
        let is_begin = matches!(op.intent, Intent::Begin(_));
        let is_confirm = matches!(op.intent, Intent::Confirm { .. });
        if is_begin && !self.coordination.leads(ballot) {
            return Ok(Fate::Lives);
        }
        if !is_begin && leader.claim != Some((register.term, register.boot)) {
            return Ok(Fate::Dies);
        }
        let careless = is_confirm && self.broken(Break::ConfirmWithoutElection);
        if ballot.is_none() && !careless {
            return Ok(Fate::Lives);
        }
        let Ok(after) = after(&register, &op.intent, self.broken) else { return Ok(Fate::Dies) };
        let generation = (!(is_confirm && self.broken(Break::ConfirmWithoutGeneration))).then_some(self.coordination.generation);
        let check = ballot.filter(|_| !careless);
        let claim = leader.claim.filter(|_| !is_begin);
        let multi = Multi { claim, ballot: check, generation, before: register, after: Rc::new(after) };
        self.note(|| format!("host {host} sends write {}: {:?}", op.id, op.intent));
        self.post(Message::Write { host, boot: leader.boot, op: op.id, ballot, multi });
        if let Some(op) = &mut leader.op {
            (op.sent, op.waits) = (true, true);
        }
        Ok(Fate::Lives)
    }

    /// An answer arrives.
    pub(crate) fn answer(&mut self, (host, id, took): (usize, u64, bool), leader: &mut Leader) -> Fated {
        match &mut leader.op {
            Some(op) if op.id == id && took => {
                let register = Rc::clone(&self.coordination.register);
                self.done((host, leader), &register)
            }
            Some(op) if op.id == id => {
                op.waits = false;
                Ok(Fate::Lives)
            }
            _ => Ok(Fate::Lives),
        }
    }

    /// A write took effect.
    fn done(&mut self, (host, leader): (usize, &mut Leader), register: &Register) -> Fated {
        let Some(Op { intent, .. }) = leader.op.take() else { return Ok(Fate::Lives) };
        match (intent, leader.stage) {
            (Intent::Begin(_), _) if register.boot != leader.boot => return Ok(Fate::Dies),
            (Intent::Begin(_), _) => {
                leader.claim = Some((register.term, register.boot));
                (leader.attempt, leader.branch, leader.stream) = (register.attempt, register.branch, register.streams[0].incarnation);
                (leader.created, leader.latest, leader.undecided) = (register.created, register.latest.clone(), register.undecided());
                let wanted = self.wanted.filter(|&number| register.restore_point(number).is_some());
                self.wanted = wanted;
                leader.stage = wanted.map_or(Stage::Loading, Stage::BackDeciding);
            }
            (Intent::Abort(_), Stage::Running) => return self.decided(leader),
            (Intent::Abort(_), _) => leader.undecided = None,
            (Intent::Create { number, .. }, Stage::BackCreating(to)) => {
                leader.created = number;
                leader.stage = Stage::BackSealing(to);
            }
            (Intent::Create { number, .. }, _) => return self.created(number, leader),
            (Intent::Confirm { number, .. }, _) => return self.take_confirmed(number, (host, leader)),
            (Intent::GoBack { .. }, _) => {
                self.wanted = None;
                return Ok(Fate::Dies);
            }
        }
        Ok(Fate::Lives)
    }

    /// Whether the process is the one that holds the job, in truth.
    pub(crate) fn holds_job(&self, leader: &Leader) -> bool {
        leader.claim == Some((self.coordination.register.term, self.coordination.register.boot))
    }

    /// Something can't be read: the process gives up; if it holds the job, something was deleted that it needs.
    pub(crate) fn unreadable(&self, leader: &Leader, problem: &str) -> Fated {
        holds(1, !self.holds_job(leader), || format!("what is confirmed can't be read: {problem}"))?;
        Ok(Fate::Dies)
    }

    fn load(&mut self, host: usize, leader: &mut Leader) -> Fated {
        if self.broken(Break::StartFromNewest) {
            leader.latest = self.newest_manifest();
        }
        if let Some(looked) = self.hosts[host].looked.take().filter(|_| self.broken(Break::LookBeforeClaim)) {
            leader.latest = Some(looked);
        }
        if let Some(latest) = &leader.latest {
            match self.archive.load(latest) {
                Ok(loaded) => (leader.history, leader.since_full) = (loaded.history.clone(), loaded.since_full),
                Err(problem) => return self.unreadable(leader, &problem),
            }
        }
        leader.history.forget_read(&self.problem.job);
        for live in &leader.history.parts {
            match self.archive.runs_of(live).and_then(|runs| self.archive.runs(&runs)) {
                Ok(runs) => show(&mut leader.visible, runs),
                Err(problem) => return self.unreadable(leader, &problem),
            }
        }
        leader.releasing = if self.broken(Break::ForgetReleases) { Vec::new() } else { leader.history.releases.clone() };
        leader.stage = Stage::Deciding;
        self.note(|| format!("host {host} has read {:?}", leader.latest.as_ref().map(|latest| latest.number)));
        Ok(Fate::Lives)
    }

    fn newest_manifest(&self) -> Option<ManifestRef> {
        let manifests = self.archive.objects.iter().filter_map(|(key, (sha256, content))| match &**content {
            Content::Manifest(manifest) => {
                Some(ManifestRef { number: manifest.number, object: ObjectRef { key: key.to_string(), sha256: *sha256 } })
            }
            _ => None,
        });
        manifests.max_by_key(|manifest| manifest.number)
    }

    fn release_all(&mut self, leader: &mut Leader) -> Fated {
        match leader.releasing.pop() {
            Some(open) => self.perform(&open, leader),
            None => {
                self.sweep(leader.attempt);
                leader.stage = Stage::Restoring;
                Ok(Fate::Lives)
            }
        }
    }

    /// Temporary files that nobody needs go: those of attempts before this one, whose releases are performed. What a later attempt has written is
    /// not for a process that was asleep while another took the job.
    pub(crate) fn sweep(&mut self, attempt: Attempt) {
        let everything = self.broken(Break::SweepEverything);
        self.folder
            .retain(|name| !(gregor_model::segment::is_leftover(name, INCARNATION, attempt) || everything && name.starts_with("._")));
    }

    /// Gives an output file its final name.
    pub(crate) fn perform(&mut self, open: &Release, leader: &mut Leader) -> Fated {
        let on_disk = |name: &String| match self.folder.get(name) {
            None => OnDisk::Absent,
            Some(file) if file.digest == open.sha256 => OnDisk::Same,
            Some(_) => OnDisk::Other,
        };
        match release(on_disk(&open.temporary), on_disk(&open.name)) {
            ReleaseMove::Rename => {
                self.truth.seen.saw(Event::Released);
                let file = self.folder.remove(&open.temporary);
                file.into_iter().for_each(|file| self.folder.insert(&open.name, file));
            }
            ReleaseMove::Done => drop(self.folder.remove(&open.temporary)),
            ReleaseMove::Stop(_) | ReleaseMove::Lost => {
                holds(4, false, || format!("{} can't be released", open.name))?;
            }
        }
        leader.performed.insert((open.task, open.output, open.name.clone()));
        self.truth.invariant_4_committed_files_are_there(&mut self.folder)?;
        Ok(Fate::Lives)
    }

    fn restore(&mut self, host: usize, leader: &mut Leader) -> Fated {
        for (at, id) in TASKS.into_iter().enumerate() {
            let known = leader.history.tasks.get(&id);
            let mut position = known.map_or(0, |known| position_of(&known.header.inputs[0].position));
            if self.broken(Break::KeepPositions) {
                position = position.max(std::mem::take(&mut self.hosts[host].dead_positions[at]));
            }
            leader.tasks.push(Task {
                id,
                sequence: 0,
                parent: known.map(|known| known.segment),
                position,
                on_end: known.map_or(OnEnd::Open, |known| known.header.inputs[0].on_end),
                changed: false,
                active: Delta::default(),
                lines: Vec::new(),
                runs: [Vec::new(), Vec::new()],
                frozen: None,
                confirmed: None,
            });
            if id.stage == 1
                && let Err(problem) = self.restore_store((host, at - 2), leader)
            {
                return self.unreadable(leader, &problem);
            }
            if id.stage == 1 && self.holds_job(leader) {
                let store = &self.hosts[host].local[at - 2];
                self.truth.invariant_3_a_store_is_never_ahead(store)?;
                let segment = leader.history.tasks.get(&id).map(|known| known.segment);
                holds(3, store.now().0 == segment, || format!("task {id} is restored to {:?}, confirmed is {segment:?}", store.now().0))?;
            }
        }
        leader.stage = Stage::Running;
        leader.last_decision = self.now;
        leader.began_ms = self.wall_ms(host);
        leader.stalled = self.random.happens(15).then(|| self.random.below(4));
        Ok(Fate::Lives)
    }

    fn restore_store(&mut self, (host, partition): (usize, usize), leader: &Leader) -> Result<(), String> {
        let id = TASKS[2 + partition];
        let known = leader.history.tasks.get(&id);
        let (base, chain) = known.map_or((None, &[][..]), |known| (known.base.as_ref(), &known.chain[..]));
        let mut held = self.hosts[host].local[partition].marker;
        if let Some(held) = held.as_mut().filter(|_| self.broken(Break::KeepOtherBranch)) {
            held.branch = leader.branch;
        }
        let from = match local_store(held, (INCARNATION, leader.branch), (base, chain)) {
            Judged::Resume { from } => {
                self.truth.seen.saw_many(Event::Resumed, usize::from(known.is_some()));
                from
            }
            Judged::Wipe => {
                self.truth.seen.saw_many(Event::Wiped, usize::from(known.is_some()));
                let state = self.archive.base(base)?;
                let store = &mut self.hosts[host].local[partition];
                *store = LocalStore::empty();
                store.states.extend(base.map(|base| (Some(base.segment), state)));
                0
            }
        };
        let (_, begin) = *self.hosts[host].local[partition].now();
        let states = self.archive.states(chain.get(from..).unwrap_or_default(), begin)?;
        let store = &mut self.hosts[host].local[partition];
        if !states.is_empty() {
            store.states.extend(states.into_iter().map(|(segment, state)| (Some(segment), state)));
            mark(store, leader);
        }
        Ok(())
    }

    /// Writes the manifest of a return, as `back.rs` of the runtime does.
    fn seal_return(&mut self, to: CheckpointNumber, (host, leader): (usize, &mut Leader)) -> Fated {
        let Some(to) = self.coordination.register.restore_point(to) else { return Ok(Fate::Dies) };
        let old = self.archive.load(&to);
        let latest = leader.latest.as_ref().map(|latest| self.archive.load(latest)).transpose();
        let (old, latest) = match (old, latest) {
            (Ok(old), Ok(latest)) => (old, latest),
            (Err(problem), _) | (_, Err(problem)) => return self.unreadable(leader, &problem),
        };
        let Some((term, _)) = leader.claim else { return Ok(Fate::Dies) };
        let number = leader.created;
        let pages = ObjectRef { sha256: self.archive.digest(), key: String::new() };
        let pages = ObjectRef { key: self.problem.keys.page(term, pages.sha256), ..pages };
        let made = Pages::of(&old.history);
        let full = Full { tasks: vec![pages.clone()], parts: Vec::new(), heads: made.heads.clone() };
        let branch = if self.broken(Break::GoBackOnBranch) { leader.branch } else { leader.branch.next() };
        let manifest = Manifest {
            number,
            incarnation: INCARNATION,
            branch,
            term,
            created_at_ms: self.wall_ms(host),
            predecessor: leader.latest.clone(),
            pages: None,
            full: Some(full),
            segments: Vec::new(),
            parts: Vec::new(),
            left_out: Vec::new(),
            releases: latest.map(|latest| latest.history.releases.clone()).unwrap_or_default(),
            bases: Vec::new(),
            merges: Vec::new(),
            times: None,
        };
        let object = ObjectRef { key: self.problem.keys.manifest(number, term, 0), sha256: self.archive.digest() };
        let created = self.archive.create(&pages, &Rc::new(Content::Pages(made)));
        let created = created.and_then(|()| self.archive.create(&object, &Rc::new(Content::Manifest(Rc::new(manifest)))));
        holds(1, created.is_ok(), || format!("a return can't be written: {created:?}"))?;
        let mut streams = self.coordination.register.streams.clone();
        streams.iter_mut().for_each(|stream| self.renew(stream, &old.history));
        self.order(leader, Intent::GoBack { number, manifest: object, streams });
        leader.stage = Stage::BackConfirming;
        Ok(Fate::Lives)
    }

    /// A stream of a new branch: positions of the old history's readers are the same places in it.
    fn renew(&mut self, stream: &mut StreamRecord, old: &gregor_model::history::History) {
        stream.incarnation = Incarnation(stream.incarnation.0 + 1 + u128::from(self.random.next()));
        let stood = old.tasks.values().filter_map(|known| match known.header.inputs[0].position {
            Position::Stream { incarnation, .. } => Some(incarnation),
            Position::File { .. } | Position::Outside { .. } => None,
        });
        stream.ancestors = stood.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    }
}

/// The store is flushed, and says what it holds at least.
pub(crate) fn mark(store: &mut LocalStore, leader: &Leader) {
    let (segment, state) = *store.now();
    store.marker = segment.map(|segment| Held { incarnation: INCARNATION, branch: leader.branch, segment });
    store.states = vec![(segment, state)];
}

/// Shows runs to their readers.
pub(crate) fn show(visible: &mut [std::collections::BTreeMap<u64, crate::problem::Record>; 2], runs: Vec<Records<'_>>) {
    for (partition, first, records) in runs {
        visible[usize::try_from(partition).unwrap()].extend((first..).zip(records.iter().copied()));
    }
}

/// The process that holds the job, if it is alive.
pub(crate) fn holder(world: &World) -> Option<&Leader> {
    let register = &world.coordination.register;
    let boot: Boot = register.boot;
    world.hosts.iter().filter_map(|host| host.leader.as_deref()).find(|leader| leader.boot == boot && leader.claim.is_some())
}
