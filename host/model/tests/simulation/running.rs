//! A process whose tasks run: how it works, freezes, saves, seals, confirms and shows, as the supervisor, the savers and the commit thread of the
//! runtime do. Refuses to keep an order among them that the runtime does not keep.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use gregor_model::coordinator::{Content, Move, Observed, Patience, Phase};
use gregor_model::due::{Activity, Budget, Change, Due, Facts, Waiting, due};
use gregor_model::manifest::{Full, ManifestRef, ObjectRef};
use gregor_model::names::{CheckpointNumber, TaskId};
use gregor_model::register::Status;
use gregor_model::seal::{SavedGroup, Sealing, Verdict, judge, seal};
use gregor_model::snapshot::Pages;

use crate::archive;
use crate::breaks::Break;
use crate::coordination::Intent;
use crate::coverage::Event;
use crate::problem::{INCARNATION, TASKS, every_task};
use crate::process::{Current, Flight, Leader, index_of};
use crate::starting::show;
use crate::truth::{Violation, holds, invariant_8_a_slow_task_stops_no_checkpoint};
use crate::world::{Fate, Weather, World};

type Fated = Result<Fate, Violation>;

/// Every how many manifests a full one is written: far fewer than in earnest, so that schedules see some.
const FULL_EVERY: u64 = 4;

/// Deeds, each as often as it is wanted.
const DEEDS: usize = 21;
/// Deeds drawn for a step, until one is possible. A step that does nothing shows nothing, but time must pass without any now and then.
const DRAWS_MAX: usize = 8;

/// What a process whose tasks run can do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Work,
    Freeze,
    Save,
    Put,
    Judge,
    Apply,
    Keep,
    Show,
    Collect,
}

impl Deed {
    const fn drawn(luck: usize) -> Self {
        match luck {
            0..2 => Self::Work,
            2..5 => Self::Freeze,
            5..8 => Self::Save,
            8..11 => Self::Put,
            11..15 => Self::Judge,
            15 | 16 => Self::Apply,
            17 | 18 => Self::Keep,
            19 => Self::Show,
            _ => Self::Collect,
        }
    }
}

impl World {
    /// One step of a process whose tasks run.
    pub(crate) fn running(&mut self, host: usize, leader: &mut Leader) -> Fated {
        for _ in 0..DRAWS_MAX {
            let deed = Deed::drawn(self.random.below(DEEDS));
            if self.is_possible(deed, leader) {
                return self.perform_deed(deed, (host, leader));
            }
        }
        Ok(Fate::Lives)
    }

    /// Whether a deed would change anything, as far as can be seen without doing it.
    fn is_possible(&self, deed: Deed, leader: &Leader) -> bool {
        let broken_base = self.broken(Break::BaseOfUnconfirmed);
        match deed {
            Deed::Work => (0..TASKS.len()).any(|at| self.has_work(at, leader)),
            Deed::Freeze => (0..TASKS.len()).any(|at| leader.may_freeze(at)),
            Deed::Save => leader.tasks.iter().any(|task| task.frozen.as_ref().is_some_and(|frozen| !frozen.taken)),
            Deed::Put => !leader.saving.is_empty(),
            Deed::Judge => match leader.phase {
                Phase::Idle | Phase::Saving(_) => true,
                Phase::Sealing(_) => leader.current.object.is_none(),
                Phase::Creating(_) | Phase::Confirming(_) | Phase::Aborting(_) => false,
            },
            Deed::Apply => leader.tasks.iter().any(|task| task.confirmed.is_some()),
            Deed::Keep => broken_base || leader.busy.values().any(Option::is_some),
            Deed::Show => !leader.releasing.is_empty() || !leader.success && leader.all_ended(&self.problem.counts),
            Deed::Collect => leader.collection.is_some(),
        }
    }

    fn perform_deed(&mut self, deed: Deed, (host, leader): (usize, &mut Leader)) -> Fated {
        match deed {
            Deed::Work => return self.work(host, leader),
            Deed::Freeze => return self.freeze_one(leader),
            Deed::Save => {
                self.save_some((host, leader));
                return self.look_at_stores(host);
            }
            Deed::Put => return self.put_one(leader),
            Deed::Judge => return self.judge(host, leader),
            Deed::Apply => {
                self.apply_one(host, leader);
                return self.look_at_stores(host);
            }
            Deed::Keep => self.keep_one(host, leader),
            Deed::Show => return self.show_one(host, leader),
            Deed::Collect => return self.collect_one(leader),
        }
        Ok(Fate::Lives)
    }

    fn look_at_stores(&mut self, host: usize) -> Fated {
        for store in &self.hosts[host].local {
            self.truth.invariant_3_a_store_is_never_ahead(store)?;
        }
        Ok(Fate::Lives)
    }

    /// Whether a checkpoint is due, or what is made has waited long enough.
    fn judge(&mut self, host: usize, leader: &mut Leader) -> Fated {
        if self.weather == Weather::Fair || self.random.happens(2) {
            leader.stalled = None;
        }
        match &leader.phase {
            Phase::Idle => {
                let completing = !leader.success && leader.all_ended(&self.problem.counts);
                let finished = leader.success && leader.history.finished(&self.problem.counts);
                if finished {
                    self.finished = true;
                } else if !completing && due(self.facts(leader)) == Due::Now {
                    return self.begin_checkpoint(host, leader);
                }
            }
            Phase::Saving(_) => {
                let waited = Duration::from_millis(self.now - leader.current.created_at);
                if !self.broken(Break::WaitForEveryone) {
                    let fate = self.tell(Observed::Waited(waited), leader)?;
                    if fate == Fate::Dies {
                        return Ok(fate);
                    }
                }
                invariant_8_a_slow_task_stops_no_checkpoint(&leader.phase, waited, self.problem.job.checkpoint.grace)?;
            }
            Phase::Sealing(_) if leader.current.object.is_none() => return self.put_manifest(leader),
            _ => {}
        }
        Ok(Fate::Lives)
    }

    fn facts(&mut self, leader: &Leader) -> Facts {
        let settled = !leader.performed.is_empty() || !leader.saved.is_empty();
        let changed = settled || leader.tasks.iter().any(|task| task.changed);
        let idle = (0..TASKS.len()).all(|at| !self.has_work(at, leader)) && leader.tasks.iter().all(|task| task.confirmed.is_none());
        Facts {
            change: if changed { Change::Some } else { Change::None },
            budget: if self.random.happens(5) { Budget::Pressed } else { Budget::Calm },
            waiting: if changed { Waiting::Some } else { Waiting::None },
            activity: if idle { Activity::Idle } else { Activity::Busy },
            since_decision: Duration::from_millis(self.now - leader.last_decision),
            interval: self.problem.job.checkpoint.interval,
        }
    }

    fn begin_checkpoint(&mut self, host: usize, leader: &mut Leader) -> Fated {
        let mut number = leader.created.next();
        let aborted = self.coordination.register.checkpoints.last().filter(|record| record.status == Status::Aborted);
        if let Some(aborted) = aborted.filter(|_| self.broken(Break::ReuseNumber)) {
            number = aborted.number;
        }
        let asked = |at: &usize| leader.flights[*at] != Flight::Saved;
        let tasks: BTreeSet<TaskId> = (0..TASKS.len()).filter(asked).map(|at| TASKS[at]).collect();
        assert!(tasks.is_subset(&every_task()));
        let content = if leader.saved.is_empty() && leader.performed.is_empty() { Content::Empty } else { Content::Some };
        leader.current = Current { created_at: self.now, created_at_ms: self.wall_ms(host), ..Current::default() };
        self.tell(Observed::Due { number, tasks, content }, leader)
    }

    /// Tells the machine what happened and does what it answers.
    pub(crate) fn tell(&mut self, observed: Observed, leader: &mut Leader) -> Fated {
        let settings = &self.problem.job.checkpoint;
        let patience = Patience { grace: settings.grace, deadline: settings.deadline };
        match leader.phase.step(observed, patience) {
            Move::Wait => {}
            Move::Create(number) => {
                leader.created = leader.created.max(number);
                let (created_at_ms, keep) = (leader.current.created_at_ms, self.problem.job.checkpoint.keep);
                self.order(leader, Intent::Create { number, created_at_ms, keep });
            }
            Move::Ask(_) => leader.flights.iter_mut().filter(|flight| **flight == Flight::None).for_each(|flight| *flight = Flight::Asked),
            Move::Seal(number, left_out) => return self.seal(number, left_out, leader),
            Move::Confirm(number) => {
                let Some(manifest) = leader.current.object.clone() else { return Ok(Fate::Dies) };
                self.order(leader, Intent::Confirm { number, manifest });
            }
            Move::Abort(number) => self.order(leader, Intent::Abort(number)),
        }
        Ok(Fate::Lives)
    }

    /// The number is written down.
    pub(crate) fn created(&mut self, _number: CheckpointNumber, leader: &mut Leader) -> Fated {
        self.tell(Observed::Created, leader)
    }

    /// The number is decided.
    pub(crate) fn decided(&mut self, leader: &mut Leader) -> Fated {
        leader.last_decision = self.now;
        self.tell(Observed::Decided, leader)
    }

    /// The wrong conclusion: what was to be confirmed is offered again, as if its number had been aborted.
    pub(crate) fn conclude_abort(&mut self, leader: &mut Leader) -> Fated {
        let current = std::mem::take(&mut leader.current);
        leader.saved.extend(current.groups);
        leader.bases.extend(current.kept.0);
        leader.merges.extend(current.kept.1);
        self.decided(leader)
    }

    /// An offer arrives. The same one may come twice, and late: sealing judges it.
    pub(crate) fn take_offer(&mut self, (host, attempt): (usize, u64), group: SavedGroup, leader: &mut Leader) -> Fated {
        if attempt != leader.attempt.0 {
            self.truth.seen.saw(Event::StaleOffer);
            if !self.broken(Break::TakeStaleAttempt) {
                return Ok(Fate::Lives);
            }
        }
        self.note(|| format!("host {host} is offered {:?}", group.segments.iter().map(|saved| saved.header.origin()).collect::<Vec<_>>()));
        let offered: Vec<_> = group.segments.iter().map(|saved| (index_of(saved.header.task), saved.hash)).collect();
        leader.saved.push(group);
        for (at, hash) in offered {
            let expected = leader.tasks[at].frozen.as_ref().is_some_and(|frozen| frozen.hash == hash);
            if expected && leader.flights[at] == Flight::Asked {
                leader.flights[at] = Flight::Saved;
                if self.tell(Observed::Saved(TASKS[at]), leader)? == Fate::Dies {
                    return Ok(Fate::Dies);
                }
            }
        }
        Ok(Fate::Lives)
    }

    fn seal(&mut self, number: CheckpointNumber, left_out: BTreeSet<TaskId>, leader: &mut Leader) -> Fated {
        let Some((term, _)) = leader.claim else { return Ok(Fate::Dies) };
        let (bases, merges) = (std::mem::take(&mut leader.bases), std::mem::take(&mut leader.merges));
        let sealing = Sealing {
            number,
            incarnation: INCARNATION,
            branch: leader.branch,
            term,
            created_at_ms: leader.current.created_at_ms,
            predecessor: leader.latest.clone(),
            left_out,
            performed: leader.performed.clone(),
            bases: bases.clone(),
            merges: merges.clone(),
        };
        leader.current.groups = std::mem::take(&mut leader.saved);
        let mut careless = None;
        if self.broken(Break::ForgetParent) {
            let history = careless.insert(leader.history.clone());
            for offer in leader.current.groups.iter().flat_map(|group| &group.segments) {
                if judge(history, offer) != Verdict::Taken
                    && let (Some(known), Some(parent)) = (history.tasks.get_mut(&offer.header.task), offer.header.parent)
                {
                    known.segment = parent;
                }
            }
        }
        let sealed = seal(careless.as_ref().unwrap_or(&leader.history), &self.problem.job, sealing, &leader.current.groups);
        let Ok((mut manifest, runs)) = sealed else { return Ok(Fate::Dies) };
        if self.broken(Break::BaseOfUnconfirmed) {
            manifest.bases.clone_from(&bases);
        }
        if self.broken(Break::DropOpenReleases) {
            manifest.releases.retain(|release| release.name.ends_with(&format!("-{}", number.0)));
        }
        if self.broken(Break::PublishAtSealing) {
            show(&mut leader.visible, self.archive.runs(&runs).unwrap_or_default());
        }
        (leader.current.kept, leader.current.runs) = ((bases, merges), runs);
        leader.current.manifest = Some(Rc::new(manifest));
        Ok(Fate::Lives)
    }

    /// Writes the manifest, with pages where it is to be a full one.
    fn put_manifest(&mut self, leader: &mut Leader) -> Fated {
        let (Some(manifest), Some((term, _))) = (&mut leader.current.manifest, leader.claim) else { return Ok(Fate::Dies) };
        if leader.since_full + 1 >= FULL_EVERY && manifest.full.is_none() {
            let sha256 = self.archive.digest();
            let pages = ObjectRef { key: self.problem.keys.page(term, sha256), sha256 };
            let made = Pages::of(&leader.history);
            Rc::make_mut(manifest).full = Some(Full { tasks: vec![pages.clone()], parts: Vec::new(), heads: made.heads.clone() });
            leader.in_flight.insert(pages.key.clone());
            self.archive.create(&pages, &Rc::new(archive::Content::Pages(made))).ok();
            return Ok(Fate::Lives);
        }
        let object = ObjectRef { key: self.problem.keys.manifest(manifest.number, term, 0), sha256: self.archive.digest() };
        leader.in_flight.insert(object.key.clone());
        let content = Rc::new(archive::Content::Manifest(Rc::clone(manifest)));
        match self.archive.create(&object, &content) {
            Ok(()) => {
                leader.current.object = Some(object);
                self.tell(Observed::Sealed, leader)
            }
            Err(_) => Ok(Fate::Dies),
        }
    }

    /// The manifest is the truth.
    pub(crate) fn take_confirmed(&mut self, number: CheckpointNumber, (host, leader): (usize, &mut Leader)) -> Fated {
        let Current { groups, runs, manifest, object, kept, .. } = std::mem::take(&mut leader.current);
        let (Some(manifest), Some(object)) = (manifest, object) else { return Ok(Fate::Dies) };
        let applied = leader.history.apply(&manifest);
        holds(2, applied.is_ok(), || format!("a process confirmed a manifest that does not follow from its history: {applied:?}"))?;
        leader.history.forget_read(&self.problem.job);
        leader.since_full = if manifest.full.is_some() { 0 } else { leader.since_full + 1 };
        leader.in_flight.remove(&object.key);
        for page in manifest.full.iter().flat_map(Full::objects) {
            leader.in_flight.remove(&page.key);
        }
        for part in groups.iter().flat_map(|group| &group.parts) {
            leader.in_flight.remove(&part.object.key);
        }
        leader.latest = Some(ManifestRef { number, object });
        leader.confirmed += 1;
        let now: BTreeMap<TaskId, _> = manifest.segments.iter().map(|entry| (entry.header.task, entry.hash)).collect();
        for (task, flight) in leader.tasks.iter_mut().zip(&mut leader.flights) {
            if let Some(frozen) = task.frozen.take_if(|frozen| now.get(&task.id) == Some(&frozen.hash)) {
                task.parent = Some(frozen.hash);
                if task.id.stage == 1 {
                    task.confirmed = Some((frozen.hash, frozen.delta));
                }
                *flight = Flight::None;
            }
        }
        match self.archive.runs(&runs) {
            Ok(runs) => show(&mut leader.visible, runs),
            Err(problem) => return self.unreadable(leader, &problem),
        }
        let still = |done: &(TaskId, u16, String)| {
            manifest.releases.iter().any(|open| (open.task, open.output, &open.name) == (done.0, done.1, &done.2))
        };
        leader.performed.retain(still);
        for open in &manifest.releases {
            let name = (open.task, open.output, open.name.clone());
            if !leader.performed.contains(&name) && !leader.releasing.iter().any(|other| other.name == open.name) {
                leader.releasing.push(open.clone());
            }
        }
        self.kept(host, &manifest, (leader, kept));
        self.decided(leader)
    }

    /// Shows a file, or that all is done.
    fn show_one(&mut self, host: usize, leader: &mut Leader) -> Fated {
        // As `Coordinator::may_show`.
        if !self.coordination.leads(self.hosts[host].ballot) {
            return Ok(Fate::Lives);
        }
        if !self.holds_job(leader) {
            return Ok(Fate::Dies);
        }
        if let Some(open) = leader.releasing.pop() {
            return self.perform(&open, leader);
        }
        if !leader.success && leader.all_ended(&self.problem.counts) {
            self.sweep(leader.attempt);
            leader.success = true;
            let hidden = self.folder.names().any(|name| name.starts_with("._"));
            holds(4, !hidden || self.weather == Weather::Foul, || "a temporary file is left beside _SUCCESS".to_owned())?;
        }
        Ok(Fate::Lives)
    }
}
