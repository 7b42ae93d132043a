//! Short chains and an archive without garbage: bases, merges and collection of a process, as the keeper and the collector of the runtime do.
//! Refuses to delete what it did not first list.

use std::collections::BTreeSet;
use std::rc::Rc;

use gregor_model::garbage::{Living, Submitted, is_garbage};
use gregor_model::history::Link;
use gregor_model::manifest::{Base, BaseEntry, BaseFile, Manifest, ObjectRef};
use gregor_model::part::Footer;
use gregor_model::seal::{SavedMerge, SavedMerges};
use gregor_model::segment::{DeltaContent, DeltaHeader};
use gregor_model::upkeep::{Upkeep, upkeep};

use crate::archive::Content;
use crate::breaks::Break;
use crate::coverage::Event;
use crate::problem::{Delta, TASKS, apply};
use crate::process::{Collection, Leader, Saving, Then, index_of};
use crate::starting::{holder, mark};
use crate::tasks::saved_part;
use crate::truth::{Checked, Violation, holds, invariant_6_only_garbage_goes};
use crate::world::{Fate, World};

type Fated = Result<Fate, Violation>;

impl World {
    /// A manifest is confirmed: what was kept for it is done, and chains are looked at again.
    pub(crate) fn kept(&mut self, host: usize, manifest: &Manifest, of: (&mut Leader, (Vec<BaseEntry>, Vec<SavedMerges>))) {
        let (leader, (bases, merges)) = of;
        for entry in &bases {
            leader.busy.remove(&index_of(entry.task));
            for file in &entry.base.files {
                leader.in_flight.remove(&file.object.key);
            }
        }
        for saved in &merges {
            for merge in &saved.merges {
                leader.busy.remove(&index_of(merge.task));
            }
            if let Some(part) = &saved.part {
                leader.in_flight.remove(&part.object.key);
            }
        }
        if manifest.full.is_some() || leader.confirmed == 1 {
            leader.collection.get_or_insert_default();
        }
        for (at, id) in TASKS.into_iter().enumerate() {
            if let Some(history) = leader.history.tasks.get(&id).filter(|_| !leader.busy.contains_key(&at)) {
                let needed = upkeep(id, history, &self.problem.job.checkpoint, (self.wall_ms(host), leader.began_ms));
                if needed != Upkeep::None {
                    leader.busy.insert(at, Some(needed));
                }
            }
        }
    }

    /// Works on a chain that needs it.
    pub(crate) fn keep_one(&mut self, host: usize, leader: &mut Leader) {
        if self.broken(Break::BaseOfUnconfirmed) && leader.tasks[2].frozen.is_some() && !leader.busy.contains_key(&2) {
            leader.busy.insert(2, Some(Upkeep::Base));
        }
        let next = leader.busy.iter_mut().find_map(|(at, needed)| Some((*at, needed.take()?)));
        match next {
            Some((at, Upkeep::Base)) => self.take_base((host, at), leader),
            Some((at, Upkeep::Merge { first, last })) => {
                // Stores are marked before their deltas are merged, most of the time: a kill right then leads to a wipe.
                if self.random.happens(70) {
                    mark(&mut self.hosts[host].local[at - 2], leader);
                }
                let links = leader.history.tasks.get(&TASKS[at]).and_then(|known| known.chain.get(first..=last)).map(<[Link]>::to_vec);
                let merged = links.is_some_and(|links| self.merge(at, &links, leader).is_some());
                if !merged {
                    leader.busy.remove(&at);
                }
            }
            _ => {}
        }
    }

    /// An image of the local store goes into the archive.
    fn take_base(&mut self, (host, at): (usize, usize), leader: &mut Leader) {
        let (mut segment, mut state) = *self.hosts[host].local[at - 2].now();
        let task = &leader.tasks[at];
        if let Some(frozen) = task.frozen.as_ref().filter(|_| self.broken(Break::BaseOfUnconfirmed)) {
            task.confirmed.iter().for_each(|(_, delta)| apply(&mut state, delta));
            apply(&mut state, &frozen.delta);
            segment = Some(frozen.hash);
        }
        let Some(segment) = segment else {
            leader.busy.remove(&at);
            return;
        };
        let key = self.problem.keys.base_file(leader.boot, leader.next_part());
        let object = ObjectRef { key, sha256: self.archive.digest() };
        leader.in_flight.insert(object.key.clone());
        let length = state.len() as u64 * self.problem.entry_bytes;
        let files = vec![BaseFile { name: "store".to_owned(), object: object.clone(), length }];
        let base = Base { segment, created_at_ms: self.wall_ms(host), files };
        let then = Then::Base(BaseEntry { task: TASKS[at], base });
        leader.saving.push(Saving { object: Some((object, Rc::new(Content::Base(state)))), then, failures: 0 });
    }

    /// Deltas of links become one; none if they can't be read (any more).
    fn merge(&mut self, at: usize, links: &[Link], leader: &mut Leader) -> Option<()> {
        let mut merged = Delta::default();
        for delta in links.iter().flat_map(|link| &link.deltas) {
            let Content::Part { deltas, .. } = &**self.archive.read(&delta.part).ok()? else { return None };
            merged.extend(&deltas[usize::try_from(delta.offset).unwrap()]);
        }
        if self.broken(Break::MergeWithoutDeletions) {
            merged.retain(|value| value.is_some());
        }
        let entries = merged.len() as u64;
        let delta: Vec<DeltaHeader> = (entries > 0)
            .then(|| DeltaHeader {
                store: self.problem.store.clone(),
                content: DeltaContent::Changes,
                entries,
                length: entries * self.problem.entry_bytes,
                sha256: self.archive.digest(),
            })
            .into_iter()
            .collect();
        let footer = Footer { boot: leader.boot, deltas: Vec::new(), runs: Vec::new() };
        let object = (entries > 0).then(|| self.new_part(leader));
        let part = object.as_ref().map(|object| saved_part(object, footer.clone()));
        let object = object.map(|object| (object, Rc::new(Content::Part { footer, deltas: vec![merged], runs: Vec::new() })));
        let (first, last) = (links.first()?.first, links.last()?.segment);
        let offsets = delta.iter().map(|_| 0).collect();
        let merge = SavedMerge { task: TASKS[at], first, last, delta, offsets };
        leader.saving.push(Saving { object, then: Then::Merged(SavedMerges { part, merges: vec![merge] }), failures: 0 });
        Some(())
    }

    /// One step of a collection: list, look what is in flight, look what is reachable, delete one after the other.
    pub(crate) fn collect_one(&mut self, leader: &mut Leader) -> Fated {
        let Some(mut collection) = leader.collection.take() else { return Ok(Fate::Lives) };
        let late = self.broken(Break::ListAfterReachable);
        if collection.listed.is_none() && !late {
            collection.listed = Some(self.archive.objects.keys().cloned().collect());
        } else if collection.in_flight.is_none() {
            let blind = self.broken(Break::CollectInFlight);
            collection.in_flight = Some(if blind { BTreeSet::new() } else { leader.in_flight.clone() });
        } else if collection.reachable.is_none() {
            if !self.holds_job(leader) {
                return Ok(Fate::Lives);
            }
            match self.archive.reachable(&self.restore_points_of_collection(leader)) {
                Ok(reachable) => collection.reachable = Some(reachable),
                Err(problem) => return self.unreadable(leader, &problem),
            }
        } else if collection.listed.is_none() {
            collection.listed = Some(self.archive.objects.keys().cloned().collect());
        } else if collection.garbage.is_none() {
            collection.garbage = Some(self.garbage(&collection));
        } else if self.delete_some(&mut collection)? == 0 {
            return Ok(Fate::Lives);
        }
        leader.collection = Some(collection);
        Ok(Fate::Lives)
    }

    /// The register as the collection sees it.
    fn restore_points_of_collection(&self, leader: &Leader) -> gregor_model::register::Register {
        let mut register = (*self.coordination.register).clone();
        if self.broken(Break::RetireObjectsFirst) && register.undecided().is_none() {
            drop(register.create(leader.created.next(), 0, self.problem.job.checkpoint.keep));
        }
        register
    }

    fn garbage(&self, collection: &Collection) -> Vec<Rc<str>> {
        let (Some(in_flight), Some(reachable)) = (&collection.in_flight, &collection.reachable) else { return Vec::new() };
        let living = Living { other: None, in_flight: in_flight.clone(), submitted: Submitted::Yes };
        let listed = collection.listed.iter().flatten();
        listed.filter(|key| is_garbage(&self.problem.keys, key, (&living, reachable))).cloned().collect()
    }

    /// Deletes a few objects; answers how many.
    fn delete_some(&mut self, collection: &mut Collection) -> Result<usize, Violation> {
        let mut deleted = 0;
        while deleted < 4 {
            let Some(key) = collection.garbage.as_mut().and_then(Vec::pop) else { break };
            self.delete(&key)?;
            deleted += 1;
        }
        Ok(deleted)
    }

    fn delete(&mut self, key: &str) -> Checked {
        let reachable = self.truth.reachable(&self.archive, &self.coordination)?;
        // The one that deletes has been taken out of its host: what is its own, it has listed before it knew what was in flight.
        invariant_6_only_garbage_goes(key, &reachable, holder(self))?;
        self.archive.delete(key);
        self.truth.seen.saw(Event::Collected);
        Ok(())
    }

    /// After the end nobody is at work: one collection leaves what is reachable and nothing else.
    pub(crate) fn collect_all(&mut self) -> Checked {
        if self.problem.rereads {
            self.archive.forget();
        }
        let reachable = self.archive.reachable(&self.coordination.register).map_err(|what| Violation { invariant: 6, what })?;
        let collection = Collection {
            listed: Some(self.archive.objects.keys().cloned().collect()),
            in_flight: Some(BTreeSet::new()),
            reachable: Some(Rc::clone(&reachable)),
            garbage: None,
        };
        for key in self.garbage(&collection) {
            self.delete(&key)?;
        }
        let marker = self.problem.keys.marker();
        let left: BTreeSet<String> = self.archive.objects.keys().filter(|key| ***key != *marker).map(ToString::to_string).collect();
        holds(6, left == *reachable, || {
            format!("after collection: left over {:?}, missing {:?}", left.difference(&reachable), reachable.difference(&left))
        })
    }
}
