//! The archive: objects that are created once and deleted, and what is read from it: histories, runs, states. Refuses other content under a key that
//! is there. A digest here is a number given to each content, as distinct as a real one and cheaper.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use gregor_model::digest::Digest;
use gregor_model::history::{History, LivePart};
use gregor_model::job::Job;
use gregor_model::manifest::{Manifest, ManifestRef, ObjectRef};
use gregor_model::names::TaskId;
use gregor_model::part::Footer;
use gregor_model::register::Register;
use gregor_model::seal::{PublishedRun, publish};
use gregor_model::snapshot::Pages;

use crate::problem::{Delta, Record, State, apply};

/// The content of an object.
pub(crate) enum Content {
    /// Offsets are indexes here: a delta or run lies at its place in the list.
    Part {
        footer: Footer,
        deltas: Vec<Delta>,
        runs: Vec<Vec<Record>>,
    },
    Manifest(Box<Manifest>),
    Pages(Pages),
    Base(State),
    /// The marker and the spec: nobody reads them here.
    Document,
}

/// The objects.
#[derive(Default)]
pub(crate) struct Archive {
    pub(crate) objects: BTreeMap<String, (Digest, Rc<Content>)>,
    digests: u64,
    /// Objects ever created and deleted.
    pub(crate) changes: u64,
}

/// Why something can't be read.
pub(crate) type Unreadable = String;

impl Archive {
    /// A digest that no other content has.
    pub(crate) fn digest(&mut self) -> Digest {
        self.digests += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.digests.to_be_bytes());
        Digest(bytes)
    }

    /// Creates an object; the same one again is no change.
    pub(crate) fn create(&mut self, object: &ObjectRef, content: &Rc<Content>) -> Result<(), Unreadable> {
        let there = self.objects.entry(object.key.clone()).or_insert_with(|| (object.sha256, Rc::clone(content)));
        self.changes += 1;
        if there.0 == object.sha256 { Ok(()) } else { Err(format!("{} is there with other content", object.key)) }
    }

    pub(crate) fn delete(&mut self, key: &str) {
        self.objects.remove(key);
        self.changes += 1;
    }

    pub(crate) fn read(&self, object: &ObjectRef) -> Result<&Rc<Content>, Unreadable> {
        match self.objects.get(&object.key) {
            Some((digest, content)) if *digest == object.sha256 => Ok(content),
            Some(_) => Err(format!("{} was altered", object.key)),
            None => Err(format!("{} is missing", object.key)),
        }
    }

    pub(crate) fn manifest(&self, at: &ManifestRef) -> Result<&Manifest, Unreadable> {
        match &**self.read(&at.object)? {
            Content::Manifest(manifest) if manifest.number == at.number => Ok(manifest.as_ref()),
            _ => Err(format!("{} is not the manifest of {}", at.object.key, at.number)),
        }
    }

    /// Reads the history that ends in `latest`, with the keys that were read for it and the manifests since the last full one: as the crate `archive`
    /// does.
    pub(crate) fn load(&self, latest: &ManifestRef) -> Result<(History, BTreeSet<String>, u64), Unreadable> {
        let (mut manifests, mut keys, mut next) = (Vec::new(), BTreeSet::new(), Some(latest));
        while let Some(at) = next.take() {
            let manifest = self.manifest(at)?;
            keys.insert(at.object.key.clone());
            if manifest.full.is_none() {
                next = manifest.predecessor.as_ref();
            }
            manifests.push(manifest);
        }
        let mut history = History::default();
        let full = manifests.last().and_then(|first| Some((first.full.as_ref()?, first.predecessor.as_ref())));
        if let Some((full, before)) = full {
            history = self.pages(&full.tasks[0])?.history(before.map(|before| before.number)).map_err(|error| error.to_string())?;
            keys.extend(full.objects().map(|object| object.key.clone()));
        }
        let since_full = manifests.len() as u64 - u64::from(full.is_some());
        for manifest in manifests.into_iter().rev() {
            history.apply(manifest).map_err(|error| error.to_string())?;
        }
        Ok((history, keys, since_full))
    }

    pub(crate) fn pages(&self, object: &ObjectRef) -> Result<Pages, Unreadable> {
        match &**self.read(object)? {
            Content::Pages(pages) => Ok(pages.clone()),
            _ => Err(format!("{} is no page", object.key)),
        }
    }

    /// The keys of all that restore points need, as the crate `archive` finds them.
    pub(crate) fn reachable(&self, job: &Job, register: &Register) -> Result<BTreeSet<String>, Unreadable> {
        let mut reachable: BTreeSet<String> = register.spec.iter().map(|spec| spec.key.clone()).collect();
        for at in register.restore_points() {
            let (mut history, keys, _) = self.load(&at)?;
            history.forget_read(job);
            reachable.extend(history.objects().into_keys().map(str::to_owned));
            reachable.extend(keys);
        }
        Ok(reachable)
    }

    /// The records of runs, with their first offsets.
    pub(crate) fn runs(&self, runs: &[PublishedRun]) -> Result<Vec<(u32, u64, Vec<Record>)>, Unreadable> {
        runs.iter()
            .map(|run| match &**self.read(&run.part)? {
                Content::Part { runs, .. } => {
                    let place = usize::try_from(run.at.offset).unwrap();
                    Ok((run.at.run.partition, run.first_offset, runs[place].clone()))
                }
                _ => Err(format!("{} is no part", run.part.key)),
            })
            .collect()
    }

    /// The runs of a live part, in the order of their offsets.
    pub(crate) fn runs_of(&self, live: &LivePart) -> Result<Vec<PublishedRun>, Unreadable> {
        let Content::Part { footer, .. } = &**self.read(&live.part.object)? else { return Err("no part".to_owned()) };
        let mut heads = live.part.ranges.iter().map(|range| ((range.stream.clone(), range.partition), range.first_offset)).collect();
        Ok(publish(&live.part.object, footer, &live.origins, &mut heads))
    }

    /// The state that a base and the links of a chain make.
    pub(crate) fn state(
        &self,
        history: &History,
        task: TaskId,
        (mut state, from): (State, usize),
    ) -> Result<Vec<(Digest, State)>, Unreadable> {
        let mut states = Vec::new();
        for link in history.tasks.get(&task).iter().flat_map(|known| &known.chain).skip(from) {
            for delta in &link.deltas {
                match &**self.read(&delta.part)? {
                    Content::Part { deltas, .. } => apply(&mut state, &deltas[usize::try_from(delta.offset).unwrap()]),
                    _ => return Err(format!("{} is no part", delta.part.key)),
                }
            }
            states.push((link.segment, state.clone()));
        }
        Ok(states)
    }

    /// The state of a task's base; nothing where it has none.
    pub(crate) fn base(&self, history: &History, task: TaskId) -> Result<State, Unreadable> {
        let Some(base) = history.tasks.get(&task).and_then(|known| known.base.as_ref()) else { return Ok(State::new()) };
        match &**self.read(&base.files[0].object)? {
            Content::Base(state) => Ok(state.clone()),
            _ => Err(format!("{} is no base", base.files[0].object.key)),
        }
    }
}
