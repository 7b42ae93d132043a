//! The world: coordination, archive, hosts, messages between them, and one random action after the other. Refuses to decide anything that the
//! protocol decides; what breaks it is asked for by a `Break`.

use std::collections::VecDeque;
use std::rc::Rc;

use gregor_model::digest::Digest;
use gregor_model::manifest::ObjectRef;
use gregor_model::names::{Boot, CheckpointNumber, SavepointName, StreamName};
use gregor_model::register::{Register, StreamRecord};
use gregor_model::seal::SavedGroup;
use gregor_model::start::Begin;

use crate::archive::{Archive, Content};
use crate::breaks::Break;
use crate::coordination::{Coordination, Multi};
use crate::coverage::Event;
use crate::folder::Folder;
use crate::problem::{INCARNATION, Problem};
use crate::process::{Flight, Host, Leader, Stage};
use crate::random::Random;
use crate::truth::{Change, Checked, Truth, holds, invariant_5_only_the_holder_writes};

/// Actions of a schedule after things have gone wrong; and those that are shown when it fails.
const HEALED_MAX: usize = 20_000;
const SHOWN: usize = 40;
/// Messages on their way, at most.
const WIRE_MAX: usize = 24;

/// A message on its way.
#[derive(Clone)]
pub(crate) enum Message {
    /// A transaction, with its number and who waits for the answer.
    Write { host: usize, boot: Boot, op: u64, ballot: Option<u64>, multi: Multi },
    /// Its answer: whether it took effect.
    Answer { host: usize, boot: Boot, op: u64, took: bool },
    /// A host has saved segments.
    Offer { attempt: u64, group: SavedGroup },
}

/// What happens next to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Lives,
    Dies,
}

/// Whether things still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Foul,
    Fair,
}

/// Everything.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) broken: Option<Break>,
    pub(crate) problem: Problem,
    pub(crate) coordination: Coordination,
    pub(crate) archive: Archive,
    pub(crate) folder: Folder,
    pub(crate) hosts: Vec<Host>,
    /// Messages, each with the time before which it does not arrive.
    pub(crate) wire: Vec<(u64, Message)>,
    pub(crate) truth: Truth,
    pub(crate) weather: Weather,
    /// True time, in milliseconds.
    pub(crate) now: u64,
    pub(crate) ops: u64,
    boots: u128,
    /// A checkpoint that somebody wants the job to go back to.
    pub(crate) wanted: Option<CheckpointNumber>,
    pub(crate) finished: bool,
    log: VecDeque<String>,
}

impl World {
    /// The world of a seed.
    pub(crate) fn new(seed: u64, broken: Option<Break>) -> Self {
        let mut random = Random::new(seed);
        let problem = Problem::new(&mut random);
        let mut archive = Archive::new(&problem.job);
        let spec = ObjectRef { key: problem.keys.spec(Digest([7; 32])), sha256: Digest([7; 32]) };
        for object in [spec.clone(), ObjectRef { key: problem.keys.marker(), sha256: Digest([8; 32]) }] {
            archive.create(&object, &Rc::new(Content::Document)).unwrap();
        }
        let streams = vec![stream_record(&problem.stream, INCARNATION.0)];
        let begin = Begin { boot: Boot(0), fresh: INCARNATION, streams };
        let mut register = Register::first(problem.job.name.clone(), begin);
        register.set_spec(&spec).unwrap();
        let hosts = 2 + random.below(2);
        Self {
            random,
            broken,
            problem,
            coordination: Coordination::new(register),
            archive,
            folder: Folder::default(),
            hosts: (0..hosts).map(|_| Host::new()).collect(),
            wire: Vec::new(),
            truth: Truth::default(),
            weather: Weather::Fair,
            now: 1_000_000,
            ops: 0,
            boots: 0,
            wanted: None,
            finished: false,
            log: VecDeque::new(),
        }
    }

    /// Runs a schedule to its end.
    pub(crate) fn run(&mut self) -> Checked {
        for _ in 0..self.problem.length.storms {
            // The job is caught anywhere in its life, also before it begins.
            let calm = self.random.below(2 * self.problem.length.storm);
            self.pass(Weather::Fair, calm)?;
            self.pass(Weather::Foul, self.problem.length.storm)?;
        }
        self.heal();
        for _ in 0..HEALED_MAX {
            if self.finished {
                return self.end();
            }
            self.act()?;
        }
        holds(0, false, || "the job does not come to its end".to_owned())
    }

    fn pass(&mut self, weather: Weather, actions: usize) -> Checked {
        self.weather = weather;
        for _ in 0..actions {
            if self.finished {
                break;
            }
            self.act()?;
        }
        Ok(())
    }

    /// The last actions, the newest last.
    pub(crate) fn last_actions(&self) -> String {
        self.log.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.log.len() == SHOWN {
            self.log.pop_front();
        }
        // Words are made only for a schedule that is shown: most are not.
        if self.log.capacity() > SHOWN {
            let words = what();
            self.log.push_back(words);
        }
    }

    /// Keeps the last actions in words from now on.
    pub(crate) fn remember(mut self) -> Self {
        self.log.reserve(2 * SHOWN);
        self
    }

    pub(crate) fn broken(&self, how: Break) -> bool {
        self.broken == Some(how)
    }

    /// The time by a host's clock, in milliseconds.
    pub(crate) fn wall_ms(&self, host: usize) -> u64 {
        self.now.saturating_add_signed(self.hosts[host].clock_off_ms)
    }

    fn act(&mut self) -> Checked {
        self.now += 20 + self.random.next() % 300;
        let rough = 100 - self.problem.length.rough;
        match (self.random.below(100), self.weather) {
            (0..30, _) if !self.wire.is_empty() => self.deliver(),
            (95..97, Weather::Foul) => self.ask(),
            (luck, Weather::Foul) if luck >= rough => {
                self.trouble();
                Ok(())
            }
            (92..95, _) => {
                self.expire(Weather::Fair);
                Ok(())
            }
            _ => {
                // Those that only wait for the job need few turns.
                let at_work = self.hosts.iter().position(|host| host.leader.is_some() && !host.paused).filter(|_| self.random.happens(70));
                let host = at_work.unwrap_or_else(|| self.random.below(self.hosts.len()));
                self.turn(host)
            }
        }
    }

    /// One message arrives, or arrives and is still on its way, or is lost.
    fn deliver(&mut self) -> Checked {
        if self.wire.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.wire.len());
        let (not_before, message) = &self.wire[at];
        let paused = matches!(message, Message::Answer { host, .. } if self.hosts[*host].paused);
        if paused || *not_before > self.now {
            return Ok(());
        }
        let luck = if self.weather == Weather::Foul { self.random.below(100) } else { 50 };
        let again = luck < 8 && self.wire.len() < WIRE_MAX;
        let (_, message) = if again { self.wire[at].clone() } else { self.wire.swap_remove(at) };
        if again {
            self.truth.seen.saw(Event::Doubled);
            // Its double comes much later, as a write that a library sends again, or an offer that nobody seemed to have heard.
            // A few so late that numbers have retired since: only the order of a session refuses these (`Coordination::is_in_order`).
            let within = if self.random.happens(20) { 150_000 } else { 15_000 };
            self.wire[at].0 = self.now + self.random.next() % within;
        }
        if luck >= 94 && !matches!(message, Message::Offer { .. }) {
            self.truth.seen.saw(Event::Lost);
            self.note(|| "a message is lost".to_owned());
            return Ok(());
        }
        match message {
            Message::Write { host, boot, op, ballot, multi } => {
                let in_order = self.coordination.is_in_order(boot, op);
                self.truth.seen.saw_many(Event::OutOfOrder, usize::from(!in_order));
                let took = in_order && self.write(ballot, &multi)?;
                self.note(|| format!("the write {op} of host {host} arrives, took: {took}; {:?}", self_state(&multi)));
                self.post(Message::Answer { host, boot, op, took });
                Ok(())
            }
            Message::Answer { host, boot, op, took } => self.process(host, boot, |world, leader| world.answer((host, op, took), leader)),
            Message::Offer { attempt, group } => self.offer(attempt, group),
        }
    }

    /// Sends a message; some are very late.
    pub(crate) fn post(&mut self, message: Message) {
        let late = if self.weather == Weather::Foul && self.random.happens(12) { self.random.next() % 20_000 } else { 0 };
        self.wire.push((self.now + late, message));
    }

    /// A transaction reaches the servers.
    fn write(&mut self, ballot: Option<u64>, multi: &Multi) -> Result<bool, crate::truth::Violation> {
        let before = Rc::clone(&self.coordination.register);
        let allowed = invariant_5_only_the_holder_writes((multi.claim, ballot), &self.coordination);
        let took = self.coordination.carry_out(multi);
        if took {
            allowed?;
            let change = Change { before: &before, after: &self.coordination.register };
            self.truth.observe(&self.problem, (&self.archive, &self.folder), &change)?;
            self.truth.invariant_4_committed_files_are_there(&mut self.folder)?;
        }
        Ok(took)
    }

    /// Offers go to the process that made them, or holds the job.
    fn offer(&mut self, attempt: u64, group: SavedGroup) -> Checked {
        let at_work = |leader: &Leader| leader.stage == Stage::Running;
        let find = |wanted: &dyn Fn(&Leader) -> bool| self.hosts.iter().position(|host| host.leader.as_deref().is_some_and(wanted));
        let own = find(&|leader| at_work(leader) && leader.attempt.0 == attempt);
        // An offer of a dead process is one to the process that holds the job now.
        let Some(host) = own.or_else(|| find(&|leader| at_work(leader) && self.holds_job(leader))) else { return Ok(()) };
        if self.hosts[host].paused {
            self.post(Message::Offer { attempt, group });
            return Ok(());
        }
        let boot = self.hosts[host].process.unwrap_or(Boot(0));
        self.process(host, boot, |world, leader| world.take_offer((host, attempt), group, leader))
    }

    /// Lets a process do something, if it is still the one that is meant.
    pub(crate) fn process(
        &mut self,
        host: usize,
        boot: Boot,
        deed: impl FnOnce(&mut Self, &mut Leader) -> Result<Fate, crate::truth::Violation>,
    ) -> Checked {
        if self.hosts[host].process != Some(boot) {
            return Ok(());
        }
        let Some(mut leader) = self.hosts[host].leader.take() else { return Ok(()) };
        let fate = deed(self, &mut leader)?;
        self.hosts[host].leader = Some(leader);
        if fate == Fate::Dies {
            self.note(|| format!("the process of host {host} gives up"));
            self.die(host);
        }
        Ok(())
    }

    /// One step of a host.
    fn turn(&mut self, host: usize) -> Checked {
        if self.hosts[host].paused {
            // Most sleep until another process has the job, and wake up in the middle of what they did.
            self.hosts[host].paused = !self.random.happens(4);
            return Ok(());
        }
        let Some(boot) = self.hosts[host].process else {
            self.boots += 1;
            let boot = Boot(self.boots);
            self.hosts[host].process = Some(boot);
            self.hosts[host].ballot = Some(self.coordination.join(host, boot));
            self.note(|| format!("host {host} starts process {boot:?}"));
            return Ok(());
        };
        let ballot = self.hosts[host].ballot;
        if ballot.is_none_or(|ballot| !self.coordination.has_ballot(ballot)) {
            // A new session; whether the claim still stands is seen at the next write.
            if self.random.happens(20) {
                self.hosts[host].ballot = Some(self.coordination.join(host, boot));
                self.note(|| format!("host {host} has a new session"));
                // With a new session the claim is looked at first.
                let stale = self.hosts[host].leader.as_deref().is_some_and(|leader| leader.claim.is_some() && !self.holds_job(leader));
                if stale {
                    self.die(host);
                }
                return Ok(());
            }
        }
        if self.hosts[host].leader.is_none() {
            let ballot = self.hosts[host].ballot;
            if self.broken(Break::LookBeforeClaim) && self.random.happens(30) {
                self.hosts[host].looked.clone_from(&self.coordination.register.latest);
            }
            if self.coordination.leads(ballot) {
                self.hosts[host].leader = Some(Box::new(Leader::new(boot)));
            }
            return Ok(());
        }
        self.process(host, boot, |world, leader| world.step(host, leader))
    }

    /// A process ends. What its store holds beyond its marker may be lost.
    fn die(&mut self, host: usize) {
        let known = &mut self.hosts[host];
        if let Some(leader) = known.leader.take() {
            for (at, task) in leader.tasks.iter().enumerate() {
                let unconfirmed = leader.flights[at] != Flight::None && task.frozen.is_some();
                known.dead_positions[at] = if unconfirmed { task.position } else { 0 };
            }
        }
        known.process = None;
        known.ballot = None;
        known.paused = false;
        for store in &mut known.local {
            let left = if self.random.happens(50) { store.states.len() } else { 1 + self.random.below(store.states.len()) };
            store.states.truncate(left);
        }
    }

    /// Something goes wrong.
    fn trouble(&mut self) {
        // A start is short, and much goes on in it: it is hit more often than by chance.
        let starts = |host: &Host| host.leader.as_ref().is_some_and(|leader| leader.stage != Stage::Running && leader.claim.is_some());
        let starting = self.hosts.iter().position(starts).filter(|_| self.random.happens(50));
        let host = starting.unwrap_or_else(|| self.random.below(self.hosts.len()));
        match self.random.below(8) {
            0 | 1 => {
                self.truth.seen.saw(Event::Killed);
                self.note(|| format!("host {host} is killed"));
                self.die(host);
            }
            2 => {
                self.truth.seen.saw(Event::DiskLost);
                self.note(|| format!("host {host} is killed and its disk lost"));
                self.die(host);
                self.hosts[host].local = [crate::process::LocalStore::empty(), crate::process::LocalStore::empty()];
            }
            3 | 4 => {
                self.hosts[host].paused = self.hosts[host].process.is_some() && !self.hosts[host].paused;
                self.truth.seen.saw_many(Event::Paused, usize::from(self.hosts[host].paused));
                self.note(|| format!("host {host} is paused, or goes on"));
            }
            5 => {
                self.truth.seen.saw(Event::ClockJumped);
                self.hosts[host].clock_off_ms = 500_000 - i64::try_from(self.random.below(1_000_000)).unwrap();
            }
            _ => self.expire(Weather::Foul),
        }
    }

    /// A session expires: of a dead process in fair weather, of any in foul.
    fn expire(&mut self, weather: Weather) {
        if self.coordination.ballots.is_empty() {
            return;
        }
        let at = self.random.below(self.coordination.ballots.len());
        let ballot = self.coordination.ballots[at];
        let lives = self.hosts[ballot.host].process == Some(ballot.boot) && self.hosts[ballot.host].ballot == Some(ballot.id);
        // Who sleeps longer than its session lasts is taken for dead.
        let awake = lives && !self.hosts[ballot.host].paused;
        if !awake || weather == Weather::Foul {
            self.truth.seen.saw_many(Event::Expired, usize::from(lives));
            self.coordination.ballots.remove(at);
            self.note(|| format!("the session of host {} expires", ballot.host));
        }
    }

    /// Somebody names a checkpoint, forgets a name, or wants to go back.
    fn ask(&mut self) -> Checked {
        let points = self.coordination.register.restore_points();
        if points.is_empty() {
            return Ok(());
        }
        // The oldest as often as all others: it is the one that is about to retire, and what is far away shows more.
        let point = points[if self.random.happens(50) { 0 } else { self.random.below(points.len()) }].clone();
        let name = SavepointName::new(format!("s{}", self.random.below(2))).unwrap();
        let mut after = (*self.coordination.register).clone();
        match self.random.below(5) {
            0 | 1 if self.wanted.is_none() && self.truth.seen.of(Event::Confirmed) > 1 && self.truth.seen.of(Event::Return) < 3 => {
                self.wanted = Some(point.number);
                self.note(|| format!("somebody wants to go back to {}", point.number));
                // The job must not run: its process is told to end.
                let holder = self.hosts.iter().position(|host| host.leader.is_some());
                holder.into_iter().for_each(|host| self.die(host));
                return Ok(());
            }
            0..3 => drop(after.save_point(&name, point.number, self.now)),
            _ => drop(after.delete_savepoint(&name)),
        }
        let before = Rc::clone(&self.coordination.register);
        let (were, are) = (before.savepoints.len(), after.savepoints.len());
        self.coordination.carry_out(&Multi { claim: None, ballot: None, generation: None, before, after: Rc::new(after) });
        self.truth.seen.saw_many(Event::Savepoint, are.saturating_sub(were));
        self.truth.seen.saw_many(Event::SavepointDeleted, were.saturating_sub(are));
        Ok(())
    }

    /// Nothing goes wrong any more.
    fn heal(&mut self) {
        self.weather = Weather::Fair;
        self.wanted = None;
        self.wire.iter_mut().for_each(|(not_before, _)| *not_before = 0);
        self.hosts.iter_mut().for_each(|host| host.paused = false);
        self.note(|| "everything heals".to_owned());
    }

    /// The job is finished: output, state and archive are what they should be.
    fn end(&mut self) -> Checked {
        self.truth.the_end_is_that_of_the_undisturbed_run(&self.problem)?;
        self.truth.invariant_4_all_committed_files_are_there(&self.folder)?;
        holds(4, self.truth.history.releases.is_empty(), || "a file waits for its name after the end".to_owned())?;
        self.hosts.iter_mut().for_each(|host| *host = Host::new());
        self.collect_all()
    }
}

fn self_state(multi: &Multi) -> impl std::fmt::Debug + use<> {
    (multi.after.term, multi.after.created, multi.after.latest.as_ref().map(|latest| latest.number), multi.after.branch)
}

/// The record of the stream in an incarnation.
pub(crate) fn stream_record(name: &StreamName, incarnation: u128) -> StreamRecord {
    StreamRecord { name: name.clone(), incarnation: gregor_model::names::Incarnation(incarnation), partitions: 2, ancestors: vec![] }
}
