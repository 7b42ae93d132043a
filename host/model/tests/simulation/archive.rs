//! The archive: objects that are created once and deleted, and what is read from it: histories, runs, states. Refuses other content under a key that
//! is there. A digest here is a number given to each content, as distinct as a real one and cheaper.
//!
//! An object never changes, so what manifests add up to is worked out once and remembered by their digests. That each of them is still there is
//! looked up every time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use gregor_model::digest::Digest;
use gregor_model::history::{History, Link, LivePart};
use gregor_model::job::Job;
use gregor_model::manifest::{Base, Manifest, ManifestRef, ObjectRef};
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
    Manifest(Rc<Manifest>),
    Pages(Pages),
    Base(State),
    /// The marker and the spec: nobody reads them here.
    Document,
}

/// The objects.
pub(crate) struct Archive {
    pub(crate) objects: BTreeMap<Rc<str>, (Digest, Rc<Content>)>,
    job: Job,
    digests: u64,
    /// What was read, by the digest of the last manifest.
    loaded: RefCell<BTreeMap<Digest, Rc<Loaded>>>,
    /// What the last restore points asked for need.
    reachable: RefCell<Option<Reachable>>,
}

/// What the manifests up to one of them add up to.
pub(crate) struct Loaded {
    pub(crate) history: History,
    /// Manifests since the last full one.
    pub(crate) since_full: u64,
    /// The last manifest, and the pages that it names.
    objects: Vec<ObjectRef>,
    /// What its predecessor says, where it is not a full one.
    before: Option<Rc<Self>>,
    /// Keys of what its history needs, without parts that every reader has passed.
    needed: Vec<String>,
}

/// The digests of restore points, and the keys of all that they need.
type Reachable = (Vec<Digest>, Rc<BTreeSet<String>>);

/// Records of a run: the partition, the first offset, the records.
pub(crate) type Records<'a> = (u32, u64, &'a [Record]);

/// Why something can't be read.
pub(crate) type Unreadable = String;

impl Archive {
    /// An archive without objects, of a job.
    pub(crate) fn new(job: &Job) -> Self {
        let (loaded, reachable) = Default::default();
        Self { objects: BTreeMap::new(), job: job.clone(), digests: 0, loaded, reachable }
    }

    /// A digest that no other content has.
    pub(crate) fn digest(&mut self) -> Digest {
        self.digests += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.digests.to_be_bytes());
        Digest(bytes)
    }

    /// Creates an object; the same one again is no change.
    pub(crate) fn create(&mut self, object: &ObjectRef, content: &Rc<Content>) -> Result<(), Unreadable> {
        let there = self.objects.entry(Rc::from(object.key.as_str())).or_insert_with(|| (object.sha256, Rc::clone(content)));
        if there.0 == object.sha256 { Ok(()) } else { Err(format!("{} is there with other content", object.key)) }
    }

    pub(crate) fn delete(&mut self, key: &str) {
        self.objects.remove(key);
    }

    pub(crate) fn read(&self, object: &ObjectRef) -> Result<&Rc<Content>, Unreadable> {
        match self.objects.get(object.key.as_str()) {
            Some((digest, content)) if *digest == object.sha256 => Ok(content),
            Some(_) => Err(format!("{} was altered", object.key)),
            None => Err(format!("{} is missing", object.key)),
        }
    }

    pub(crate) fn manifest(&self, at: &ManifestRef) -> Result<&Rc<Manifest>, Unreadable> {
        match &**self.read(&at.object)? {
            Content::Manifest(manifest) if manifest.number == at.number => Ok(manifest),
            _ => Err(format!("{} is not the manifest of {}", at.object.key, at.number)),
        }
    }

    /// Reads the history that ends in `latest`, as the crate `archive` does.
    pub(crate) fn load(&self, latest: &ManifestRef) -> Result<Rc<Loaded>, Unreadable> {
        let known = self.loaded.borrow().get(&latest.object.sha256).map(Rc::clone);
        if let Some(known) = known.filter(|known| known.objects.first() == Some(&latest.object)) {
            self.manifest(latest)?;
            self.is_there(&known)?;
            return Ok(known);
        }
        let loaded = Rc::new(self.load_anew(latest)?);
        self.loaded.borrow_mut().insert(latest.object.sha256, Rc::clone(&loaded));
        Ok(loaded)
    }

    /// Everything that a history was read from is there: from the last manifest back to the one that is full.
    fn is_there(&self, loaded: &Loaded) -> Result<(), Unreadable> {
        let mut next = Some(loaded);
        while let Some(loaded) = next {
            for object in &loaded.objects {
                self.read(object)?;
            }
            next = loaded.before.as_deref();
        }
        Ok(())
    }

    /// The manifests from this one back to the one that is full are there, and their pages.
    pub(crate) fn chain_is_there(&self, latest: &ManifestRef) -> Result<(), Unreadable> {
        let mut next = Some(latest);
        while let Some(at) = next.take() {
            let manifest = self.manifest(at)?;
            match &manifest.full {
                Some(full) => full.objects().try_for_each(|object| self.read(object).map(drop))?,
                None => next = manifest.predecessor.as_ref(),
            }
        }
        Ok(())
    }

    fn load_anew(&self, at: &ManifestRef) -> Result<Loaded, Unreadable> {
        let manifest = self.manifest(at)?;
        let mut objects = vec![at.object.clone()];
        let (mut history, before, since_full) = match (&manifest.full, &manifest.predecessor) {
            (Some(full), before) => {
                objects.extend(full.objects().cloned());
                let pages = self.pages(&full.tasks[0])?;
                (pages.history(before.as_ref().map(|before| before.number)).map_err(|error| error.to_string())?, None, 0)
            }
            (None, Some(before)) => {
                let before = self.load(before)?;
                (before.history.clone(), Some(Rc::clone(&before)), before.since_full + 1)
            }
            (None, None) => (History::default(), None, 1),
        };
        history.apply(manifest).map_err(|error| error.to_string())?;
        let parts = history.parts.clone();
        history.forget_read(&self.job);
        let needed = history.objects().into_keys().map(str::to_owned).collect();
        history.parts = parts;
        Ok(Loaded { history, since_full, objects, before, needed })
    }

    pub(crate) fn pages(&self, object: &ObjectRef) -> Result<Pages, Unreadable> {
        match &**self.read(object)? {
            Content::Pages(pages) => Ok(pages.clone()),
            _ => Err(format!("{} is no page", object.key)),
        }
    }

    /// The keys of all that restore points need, as the crate `archive` finds them.
    pub(crate) fn reachable(&self, register: &Register) -> Result<Rc<BTreeSet<String>>, Unreadable> {
        let points = register.restore_points().iter().map(|at| self.load(at)).collect::<Result<Vec<_>, _>>()?;
        let digests = register.spec.iter().map(|spec| spec.sha256).chain(points.iter().map(|point| point.objects[0].sha256)).collect();
        if let Some((of, known)) = &*self.reachable.borrow()
            && *of == digests
        {
            return Ok(Rc::clone(known));
        }
        let mut reachable: BTreeSet<String> = register.spec.iter().map(|spec| spec.key.clone()).collect();
        for point in points {
            reachable.extend(point.needed.iter().cloned());
            let mut next = Some(&point);
            while let Some(loaded) = next {
                reachable.extend(loaded.objects.iter().map(|object| object.key.clone()));
                next = loaded.before.as_ref();
            }
        }
        let reachable = Rc::new(reachable);
        *self.reachable.borrow_mut() = Some((digests, Rc::clone(&reachable)));
        Ok(reachable)
    }

    /// Forgets what was read: from now on every object is read again.
    pub(crate) fn forget(&mut self) {
        (self.loaded, self.reachable) = Default::default();
    }

    /// The records of runs, with their partitions and first offsets.
    pub(crate) fn runs(&self, runs: &[PublishedRun]) -> Result<Vec<Records<'_>>, Unreadable> {
        let records = |run: &PublishedRun| match &**self.read(&run.part)? {
            Content::Part { runs, .. } => {
                let place = usize::try_from(run.at.offset).unwrap();
                Ok((run.at.run.partition, run.first_offset, runs[place].as_slice()))
            }
            _ => Err(format!("{} is no part", run.part.key)),
        };
        runs.iter().map(records).collect()
    }

    /// The runs of a live part, in the order of their offsets.
    pub(crate) fn runs_of(&self, live: &LivePart) -> Result<Vec<PublishedRun>, Unreadable> {
        let Content::Part { footer, .. } = &**self.read(&live.part.object)? else { return Err("no part".to_owned()) };
        let mut heads = live.part.ranges.iter().map(|range| ((range.stream.clone(), range.partition), range.first_offset)).collect();
        Ok(publish(&live.part.object, footer, &live.origins, &mut heads))
    }

    /// The states after each of these links, which follow a state.
    pub(crate) fn states(&self, links: &[Link], mut state: State) -> Result<Vec<(Digest, State)>, Unreadable> {
        let after = |link: &Link| {
            for delta in &link.deltas {
                match &**self.read(&delta.part)? {
                    Content::Part { deltas, .. } => apply(&mut state, &deltas[usize::try_from(delta.offset).unwrap()]),
                    _ => return Err(format!("{} is no part", delta.part.key)),
                }
            }
            Ok((link.segment, state))
        };
        links.iter().map(after).collect()
    }

    /// The state of a task's base; nothing where it has none.
    pub(crate) fn base(&self, base: Option<&Base>) -> Result<State, Unreadable> {
        let Some(base) = base else { return Ok(State::default()) };
        match &**self.read(&base.files[0].object)? {
            Content::Base(state) => Ok(*state),
            _ => Err(format!("{} is no base", base.files[0].object.key)),
        }
    }
}
