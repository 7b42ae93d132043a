//! Stored data that was altered, cut short or deleted: every object of the archive in turn, and the register. Refused with exit 3 and the
//! object's name, and nothing is touched; never taken for absent, never guessed around.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gregor_model::register::{REGISTER, Register};
use rand::Rng;
use rand::rngs::StdRng;
use rustix::process::Signal;

use crate::harness::lab::{Lab, files_below, remove};
use crate::harness::ledger::{Ledger, RECORDS, SHORT_CHAINS};
use crate::harness::{clock, corpus, jobs, output, seed};

/// A job that was killed half-way, a copy of what it left, and what it shall come to.
struct Killed {
    job: KilledJob,
    random: StdRng,
}

/// Which job it is.
enum KilledJob {
    /// It counts the words of a text.
    Words(Lab, Vec<u8>),
    /// It has bases, merged deltas and a full manifest.
    Ledger(Ledger),
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Flip,
    Cut,
    Empty,
    Delete,
    /// It is replaced by another one of its kind.
    Swap,
}

/// What a job makes of it.
enum Outcome {
    Refused,
    Harmless,
}

const HARMS: [Harm; 5] = [Harm::Flip, Harm::Cut, Harm::Empty, Harm::Delete, Harm::Swap];

impl Killed {
    fn new(test: &str) -> Self {
        let mut random = seed::random(test);
        let lab = Lab::with_job(&(jobs::word_count("10 ms") + jobs::STEP_BY_STEP));
        let text = corpus::plain(&mut random, 24_000_000, 3_000);
        lab.write("in/a.txt", &text);
        let mut host = lab.start(&[]);
        clock::wait("the third checkpoint", || {
            assert!(!host.is_over(), "the job was over before it could be killed:\n{}", host.stderr());
            host.confirmed().filter(|&number| number >= 3)
        });
        host.signal(Signal::KILL);
        assert_eq!(host.end().signal, Some(9));
        Self::keep(KilledJob::Words(lab, text), random)
    }

    fn with_bases(test: &str) -> Self {
        let mut random = seed::random(test);
        let ledger = Ledger::new(&mut random, SHORT_CHAINS, RECORDS);
        ledger.killed_at(66, &[]);
        Self::keep(KilledJob::Ledger(ledger), random)
    }

    fn keep(job: KilledJob, random: StdRng) -> Self {
        let killed = Self { job, random };
        // What the kill left half-written is no damage, and goes at every start.
        for file in files_below(&killed.lab().path("data")) {
            let name = file.file_name().unwrap().to_string_lossy();
            if name.contains('#') || name.ends_with(".tmp") {
                remove(&file);
            }
        }
        for name in ["data", "out"] {
            killed.lab().replace(name, &format!("then/{name}"));
        }
        killed
    }

    fn lab(&self) -> &Lab {
        match &self.job {
            KilledJob::Words(lab, _) => lab,
            KilledJob::Ledger(ledger) => &ledger.lab,
        }
    }

    /// Puts all back as it was when the job was killed; without the local store, so that all must come from the archive.
    fn restore(&self) {
        for name in ["data", "out"] {
            self.lab().replace(&format!("then/{name}"), name);
        }
        remove(&self.lab().path("data/state"));
    }

    /// The objects of the archive, by their keys.
    fn objects(&self) -> Vec<String> {
        let folder = self.lab().path("then/data/archive");
        let mut files = Vec::new();
        walk(&folder, &mut files);
        files.iter().map(|file| file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn harm(&mut self, file: &Path, harm: Harm) {
        let mut bytes = fs::read(file).unwrap();
        match harm {
            Harm::Flip => {
                let at = self.random.random_range(0..bytes.len());
                bytes[at] ^= 1 << self.random.random_range(0..8);
            }
            Harm::Cut => bytes.truncate(self.random.random_range(1..bytes.len())),
            Harm::Empty => bytes.clear(),
            Harm::Delete => return fs::remove_file(file).unwrap(),
            Harm::Swap => {
                let mut others = files_below(file.parent().unwrap()).into_iter().map(|other| fs::read(other).unwrap());
                // Where there is no other of its kind, one that is longer.
                bytes = others.rfind(|other| *other != bytes).unwrap_or_else(|| [&bytes[..], b"x"].concat());
            }
        }
        fs::write(file, bytes).unwrap();
    }

    /// Harms an object and runs the job; what is wrong with how that went.
    fn outcome(&mut self, key: &str, harm: Harm) -> Result<Outcome, String> {
        self.restore();
        self.harm(&self.lab().path("data/archive").join(key), harm);
        let before = content(self.lab());
        let ended = self.lab().run(&[]);
        let mut touched = touched(&before, &content(self.lab()));
        if ["parts", "bases"].contains(&kind(key)) {
            // They are read by the tasks that need them, while others go on: what was there stays as it was, the register goes forward only, and
            // output that dead processes left unfinished goes.
            let unfinished = |path: &Path| path.extension().is_some_and(|ending| ending == "tmp");
            touched.retain(|path| {
                before.contains_key(path) && !unfinished(path) && !went_forward(before.get(path), fs::read(path).ok().as_ref())
            });
        }
        match ended.code {
            Some(3) if !ended.stderr.contains(key) => Err(format!("the object is not named: {}", ended.stderr)),
            Some(3) if !touched.is_empty() => Err(format!("{touched:?} were touched, after {}", ended.stderr)),
            Some(3) => Ok(Outcome::Refused),
            // Not everything is needed to go on: parts of which all runs were read, a marker that is made again.
            Some(0) => {
                self.exact();
                Ok(Outcome::Harmless)
            }
            code => Err(format!("exit {code:?}: {}", ended.stderr)),
        }
    }

    #[track_caller]
    fn exact(&self) {
        match &self.job {
            KilledJob::Words(lab, text) => {
                output::complete(&lab.path("out"));
                corpus::same(&output::counts(&lab.path("out")), &corpus::count([text.as_slice()]));
            }
            KilledJob::Ledger(ledger) => ledger.exact(),
        }
    }
}

/// The kind of an object: what stands behind the incarnation in its key.
fn kind(key: &str) -> &str {
    key.split('/').nth(5).unwrap_or_else(|| panic!("{key:?} is not the key of an object of a job"))
}

/// All files below a folder.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

/// What must not be touched: archive, coordination and output, byte for byte.
fn content(lab: &Lab) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = Vec::new();
    for folder in ["data/archive", "data/coordination", "out"] {
        if lab.path(folder).exists() {
            walk(&lab.path(folder), &mut files);
        }
    }
    files.into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect()
}

/// Whether a register became one of the same job that knows at least as much.
fn went_forward(before: Option<&Vec<u8>>, after: Option<&Vec<u8>>) -> bool {
    let read = |bytes: Option<&Vec<u8>>| REGISTER.decode::<Register>(bytes?).ok();
    let (Some(before), Some(after)) = (read(before), read(after)) else { return false };
    let latest = |register: &Register| register.latest.as_ref().map(|latest| latest.number);
    before.incarnation == after.incarnation && before.branch == after.branch && latest(&before) <= latest(&after)
}

/// Which files differ.
fn touched(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<PathBuf> {
    before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

#[test]
fn an_altered_object_of_the_archive_is_refused_by_name_and_nothing_is_touched() {
    let mut killed = Killed::new("an_altered_object_of_the_archive_is_refused_by_name_and_nothing_is_touched");
    let kinds = harm_all(&mut killed);
    for always in ["specs", "plans", "manifests"] {
        assert!(kinds.get(always).is_some_and(|&(refused, harmless)| refused > 0 && harmless == 0), "{always}: {kinds:?}");
    }
    for sometimes in ["parts", "marker"] {
        assert!(kinds.get(sometimes).is_some_and(|&(refused, _)| refused > 0), "{sometimes}: {kinds:?}");
    }
}

#[test]
fn altered_bases_merged_deltas_and_pages_are_refused_by_name_and_nothing_is_touched() {
    let mut killed = Killed::with_bases("altered_bases_merged_deltas_and_pages_are_refused_by_name_and_nothing_is_touched");
    let kinds = harm_all(&mut killed);
    for kind in ["specs", "plans", "manifests", "marker", "pages"] {
        assert!(kinds.get(kind).is_some_and(|&(refused, _)| refused > 0), "{kind}: {kinds:?}");
    }
    // State comes from a base and the parts after it; right after a base there are none.
    let of_state = ["bases", "parts"].map(|kind| kinds.get(kind).map_or(0, |&(refused, _)| refused));
    assert!(of_state.iter().sum::<u32>() > 0, "{kinds:?}");
}

/// Harms some objects of each kind in all ways; how many were refused and how many did no harm, by kind.
fn harm_all(killed: &mut Killed) -> BTreeMap<String, (u32, u32)> {
    let mut kinds: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut turn = 0;
    for (key, harms) in chosen(&killed.objects()) {
        for _ in 0..harms {
            let harm = HARMS[turn % HARMS.len()];
            turn += 1;
            let (refused, harmless) = kinds.entry(kind(&key).to_owned()).or_default();
            match killed.outcome(&key, harm) {
                Ok(Outcome::Refused) => *refused += 1,
                Ok(Outcome::Harmless) => *harmless += 1,
                Err(told) => wrong.push(format!("{harm:?} of {key}: {told}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("(refused, harmless) by kind: {kinds:?}");
    killed.restore();
    killed.lab().run(&[]).code(0);
    killed.exact();
    kinds
}

/// Of each kind the first, the last and one between, and in how many ways each is harmed: the first in all.
fn chosen(keys: &[String]) -> Vec<(String, usize)> {
    let mut by_kind: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for key in keys {
        by_kind.entry(kind(key)).or_default().push(key);
    }
    let mut chosen = Vec::new();
    for keys in by_kind.values() {
        let mut places = vec![0, keys.len() / 2, keys.len() - 1];
        places.dedup();
        chosen.extend(places.into_iter().map(|at| (keys[at].clone(), if at == 0 { HARMS.len() } else { 2 })));
        // The newest may have been saved in vain, the older ones may be needed no more.
        let newer = keys.len().saturating_sub(5).max(1)..keys.len().saturating_sub(1);
        chosen.extend(newer.map(|at| (keys[at].clone(), 1)));
    }
    chosen
}

#[test]
fn an_altered_register_is_refused_and_a_lost_one_is_noticed() {
    let mut killed = Killed::new("an_altered_register_is_refused_and_a_lost_one_is_noticed");
    let mut files = Vec::new();
    walk(&killed.lab().path("data/coordination"), &mut files);
    let register = files.into_iter().find(|file| fs::read(file).unwrap().starts_with(b"gregor register ")).expect("a register");
    for harm in HARMS {
        if harm == Harm::Swap {
            // There is one register.
            continue;
        }
        for _ in 0..if harm == Harm::Flip { 20 } else { 1 } {
            killed.restore();
            killed.harm(&register, harm);
            let before = content(killed.lab());
            let ended = killed.lab().run(&[]);
            assert_eq!(ended.code, Some(3), "{harm:?} of the register:\n{}", ended.stderr);
            assert_eq!(touched(&before, &content(killed.lab())), Vec::<PathBuf>::new(), "{harm:?} of the register:\n{}", ended.stderr);
        }
    }
    // The whole folder gone, while the archive remembers: coordination lost its data.
    killed.restore();
    remove(&killed.lab().path("data/coordination"));
    killed.lab().run(&[]).code(3);
    killed.restore();
    killed.lab().run(&[]).code(0);
    killed.exact();
}

#[test]
fn an_output_file_that_was_released_and_altered_is_noticed_while_its_release_is_open() {
    // Kill between the confirm and the release: the temporary file is all there is.
    let lab = Lab::with_job(&jobs::lines("rust/identity", ""));
    lab.write("in/a.txt", "one\ntwo\n");
    let steps = lab.run(&["--count-steps"]).code(0).figure("steps=").unwrap();
    let (mut refused, mut harmless) = (0, 0);
    for n in 1..=steps {
        lab.forget();
        lab.run(&["--fault", &format!("kill-after:{n}")]);
        let temporary = fs::read_dir(lab.path("out")).into_iter().flatten().map(|entry| entry.unwrap().path());
        let Some(temporary) = temporary.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "tmp")) else { continue };
        fs::remove_file(&temporary).unwrap();
        let ended = lab.run(&[]);
        match ended.code {
            // Confirmed, and gone.
            Some(1) => {
                assert!(ended.stderr.contains("out") && ended.stderr.contains("--outputs-consumed"), "{}", ended.stderr);
                refused += 1;
                lab.run(&["--outputs-consumed"]).code(0);
            }
            // Not confirmed: garbage anyway.
            Some(0) => {
                assert_eq!(output::records(&lab.path("out")), [b"one".as_slice(), b"two"]);
                harmless += 1;
            }
            _ => panic!("after step {n}: exit {:?}\n{}", ended.code, ended.stderr),
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > 0 && harmless > 0, "{refused} refused, {harmless} harmless");
}
