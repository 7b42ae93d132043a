//! Reads every object that a restore point or the register reaches, each once: its length, all of its bytes, and what parts hold against what their
//! footers and the manifests say. Refuses to stop where something is damaged, as long as anything else can be read.

use std::collections::{BTreeMap, BTreeSet};

use gregor_archive::history::Loaded;
use gregor_archive::reach::{hash_object, needed, restore_point, spec_of};
use gregor_archive::{ArchiveError, Store};
use gregor_model::history::History;
use gregor_model::keys::JobKeys;
use gregor_model::manifest::{ManifestRef, ObjectRef};
use gregor_model::register::Register;
use gregor_model::spec::{MARKER, Marker, Spec};

use super::findings::{Findings, Whose, said};
use super::parts::Parts;
use crate::exit::Failure;
use crate::wiring;

/// What was read.
pub(super) struct Examined {
    /// The job as it was submitted, if it can be read.
    pub(super) spec: Option<Spec>,
    /// What the last checkpoint is, if it can be read.
    pub(super) latest: Option<History>,
    /// Keys of objects that are damaged.
    pub(super) damaged: BTreeSet<String>,
}

/// Reads all of it.
///
/// # Errors
/// The archive can't be listed.
pub(super) async fn examine(archive: &dyn Store, register: &Register, findings: &mut Findings) -> Result<Examined, Failure> {
    let keys = JobKeys::new(&register.job, register.incarnation);
    // After the register: what it reaches was there before, and what is missing now was deleted since, or before.
    let listed = archive.list(keys.root()).await.map_err(wiring::from_archive)?;
    let lengths = listed.into_iter().map(|object| (object.key, object.bytes)).collect();
    let mut reader = Reader { archive, lengths, read: BTreeMap::new(), parts: Parts::default(), findings };
    reader.marker(&keys, register).await;
    let spec = reader.spec(register).await;
    let mut latest = None;
    for at in register.restore_points() {
        let loaded = reader.restore_point(&at, (spec.as_ref(), register)).await;
        if register.latest.as_ref() == Some(&at) {
            latest = loaded.map(|loaded| loaded.history);
        }
    }
    let damaged = reader.read.into_iter().filter_map(|(key, read)| matches!(read, Read::Damaged(_)).then_some(key)).collect();
    Ok(Examined { spec, latest, damaged })
}

/// What came of reading an object.
#[derive(Clone)]
enum Read {
    /// It is what it must be.
    Whole,
    /// It is not; this is wrong.
    Damaged(String),
}

struct Reader<'r> {
    archive: &'r dyn Store,
    /// Of all objects that are there, by key.
    lengths: BTreeMap<String, u64>,
    read: BTreeMap<String, Read>,
    parts: Parts,
    findings: &'r mut Findings,
}

impl Reader<'_> {
    /// The marker says whose archive it is. No manifest names it.
    async fn marker(&mut self, keys: &JobKeys, register: &Register) {
        let expected = Marker { job: register.job.clone(), incarnation: register.incarnation };
        let key = keys.marker();
        let problem = match self.archive.read(&key, None).await {
            Err(error) => Some(said(error).1),
            Ok(bytes) => {
                (self.findings.objects, self.findings.bytes) = (self.findings.objects + 1, self.findings.bytes + bytes.len() as u64);
                match MARKER.decode::<Marker>(&bytes) {
                    Err(error) => Some(error.to_string()),
                    Ok(found) => {
                        (found != expected).then(|| format!("is the marker of job {}, incarnation {}", found.job, found.incarnation))
                    }
                }
            }
        };
        if let Some(problem) = problem {
            self.findings.add(&key, problem, Whose::Job);
        }
    }

    async fn spec(&mut self, register: &Register) -> Option<Spec> {
        match spec_of(self.archive, register).await {
            Ok((spec, needed)) => {
                for object in needed.values() {
                    self.object(object, Whose::Job).await;
                }
                spec
            }
            Err(error) => {
                self.damaged(error, Whose::Job);
                None
            }
        }
    }

    /// Reads a restore point with all that it needs; none if its history can't be read.
    async fn restore_point(&mut self, at: &ManifestRef, (spec, register): (Option<&Spec>, &Register)) -> Option<Loaded> {
        let whose = Whose::RestorePoint(at.number);
        let mut loaded = match restore_point(self.archive, at, spec).await {
            Ok((loaded, _)) => loaded,
            Err(error) => {
                self.damaged(error, whose);
                return None;
            }
        };
        if spec.is_none() && register.spec.is_some() {
            // Who has yet to read which runs is not known without the spec: those that nobody needs may be gone.
            loaded.history.parts.clear();
        }
        for object in needed(&loaded).values() {
            self.object(object, whose).await;
        }
        self.lengths_of_bases(&loaded.history, whose);
        let whole = |key: &str| matches!(self.read.get(key), Some(Read::Whole));
        self.parts.check((self.archive, &self.lengths), (&loaded, &whole), (self.findings, whose)).await;
        Some(loaded)
    }

    /// Reads an object, once; what is wrong with it is everybody's problem who needs it.
    async fn object(&mut self, object: &ObjectRef, whose: Whose) {
        let read = match self.read.get(&object.key) {
            Some(read) => read.clone(),
            None => {
                let read = self.hash(object).await;
                self.read.insert(object.key.clone(), read.clone());
                read
            }
        };
        if let Read::Damaged(problem) = read {
            self.findings.add(&object.key, problem, whose);
        }
    }

    async fn hash(&mut self, object: &ObjectRef) -> Read {
        let Some(&bytes) = self.lengths.get(&object.key) else { return Read::Damaged("is missing".to_owned()) };
        match hash_object(self.archive, object, bytes).await {
            Ok(bytes) => {
                (self.findings.objects, self.findings.bytes) = (self.findings.objects + 1, self.findings.bytes.saturating_add(bytes));
                Read::Whole
            }
            Err(error) => Read::Damaged(said(error).1),
        }
    }

    fn lengths_of_bases(&mut self, history: &History, whose: Whose) {
        for file in history.tasks.values().filter_map(|task| task.base.as_ref()).flat_map(|base| &base.files) {
            let found = self.lengths.get(&file.object.key).copied().unwrap_or(file.length);
            if found != file.length {
                let problem = format!("is {found} bytes long, file {:?} of a base has {}", file.name, file.length);
                self.findings.add(&file.object.key, problem, whose);
            }
        }
    }

    fn damaged(&mut self, error: ArchiveError, whose: Whose) {
        let (key, problem) = said(error);
        self.findings.add(&key, problem.clone(), whose);
        self.read.insert(key, Read::Damaged(problem));
    }
}
