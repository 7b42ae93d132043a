//! A job that keeps a ledger: its output says of each record what its key had before it, so that one lost or doubled change of state, deletions
//! among them, shows in some later record. It is made for many checkpoints: a task may change 64 KiB of its state before it has to wait for one,
//! so their number depends on the input and hardly on the machine. What is right is computed here by a loop that knows neither tasks nor
//! checkpoints. Refuses to judge how the job got there.

use std::collections::HashMap;
use std::fs;

use gregor_model::manifest::{MANIFEST, Manifest};
use gregor_model::register::{REGISTER, Register};
use rand::Rng;
use rand::rngs::StdRng;
use rustix::process::Signal;

use super::host::{Ended, Host};
use super::lab::{Lab, files_below};
use super::{clock, output};

/// Records of each file, of at most seven bytes on average: less than 1 MiB, so that a file is a task. A batch has at most 1,024 of them and
/// changes more than half of 64 KiB, so there are about 70 checkpoints.
pub(crate) const RECORDS: usize = 145_000;
/// Letters of keys: two of them make the 3,844 different keys of each file.
const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// How often a start writes the register before its first checkpoint.
const REGISTER_WRITES_OF_A_START: u64 = 2;
/// `[checkpoint]` for a base after some ten deltas: eight of them are merged before that.
pub(crate) const SHORT_CHAINS: &str = "interval = \"1 ms\"\nthreshold = 0.06\nkeep = 2";
/// The same without bases.
pub(crate) const NO_BASES: &str = "interval = \"1 ms\"\nthreshold = 100";

/// The job, its folder, and what it must put out.
pub(crate) struct Ledger {
    /// Its folder.
    pub(crate) lab: Lab,
    expected: Vec<Vec<u8>>,
}

/// What the manifests in the archive tell.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    /// Bases.
    pub(crate) bases: usize,
    /// Merged deltas.
    pub(crate) merges: usize,
    /// Full manifests.
    pub(crate) full: usize,
}

impl Ledger {
    /// A job of two tasks with so many records each; `checkpoint` are the lines of that table.
    pub(crate) fn new(random: &mut StdRng, checkpoint: &str, records: usize) -> Self {
        Self::in_folder(Lab::new(), random, (checkpoint, records))
    }

    /// The same in this folder.
    pub(crate) fn in_folder(lab: Lab, random: &mut StdRng, (checkpoint, records): (&str, usize)) -> Self {
        lab.job(&format!(
            r#"name = "ledger"
component = "{{plugins}}/hostile/hostile.wasm"
inputs = {{ in = {{ from = "in", format = "tsv" }} }}
outputs = {{ out = {{ to = "out", format = "tsv" }} }}
config = {{ mode = "ledger" }}

[checkpoint]
{checkpoint}

[limits]
dirty-bytes = "64 KiB"
"#
        ));
        let mut expected = Vec::new();
        for name in ["a", "b"] {
            let mut text = String::new();
            let mut state: HashMap<String, String> = HashMap::new();
            for _ in 0..records {
                let mut letter = || char::from(LETTERS[random.random_range(0..LETTERS.len())]);
                // Small files share a task: no key is in both.
                let key = format!("{name}{}{}", letter(), letter());
                let value = if random.random_ratio(1, 5) { "-".to_owned() } else { format!("{:x}", random.random::<u8>()) };
                text.push_str(&format!("{key}\t{value}\n"));
                let before = if value == "-" { state.remove(&key) } else { state.insert(key.clone(), value) };
                expected.push(format!("{key}\t{}", before.as_deref().unwrap_or("absent")).into_bytes());
            }
            assert!(records != RECORDS || text.len() < 1024 * 1024, "{} bytes are more than one task", text.len());
            lab.write(&format!("in/{name}.tsv"), text);
        }
        expected.sort_unstable();
        Self { lab, expected }
    }

    /// Demands that the job is complete and its output right.
    #[track_caller]
    pub(crate) fn exact(&self) {
        output::complete(&self.lab.path("out"));
        self.same(&output::records(&self.lab.path("out")));
    }

    /// Demands that these records, sorted, are those of an undisturbed job.
    #[track_caller]
    pub(crate) fn same(&self, found: &[Vec<u8>]) {
        assert!(found == self.expected, "{} records found, {} expected, or others", found.len(), self.expected.len());
    }

    /// Starts the job and kills it as soon as `seen` sees it; that has to be before its end, so its archive takes its time: some seconds in all.
    #[track_caller]
    pub(crate) fn killed(&self, arguments: &[&str], seen: impl Fn(&Host) -> bool) -> Ended {
        let mut host = self.lab.start(&[arguments, &["--fault", "slow:1"]].concat());
        clock::wait("the instant to kill", || {
            assert!(!host.is_over(), "it was over before:\n{}", host.stderr());
            seen(&host).then_some(())
        });
        host.signal(Signal::KILL);
        let ended = host.end().calm();
        assert_eq!(ended.signal, Some(9), "it was to be killed:\n{}", ended.stderr);
        ended
    }

    /// Starts the job, and has it die by its own hand once this checkpoint is confirmed, or one of the next: in time on any machine.
    #[track_caller]
    pub(crate) fn killed_at(&self, checkpoint: u64, arguments: &[&str]) -> Ended {
        let begun = self.lab.path("data/coordination").exists();
        let latest = if begun { self.latest() } else { 0 };
        let writes = REGISTER_WRITES_OF_A_START + 2 * checkpoint.checked_sub(latest).expect("a checkpoint that is still to come");
        let ended = self.lab.run(&[arguments, &["--fault", &format!("kill-after:register-write/{writes}")]].concat());
        assert_eq!(ended.signal, Some(9), "it was to die at register write {writes}:\n{}", ended.stderr);
        let reached = self.latest();
        assert!((checkpoint..checkpoint + 4).contains(&reached), "it died at checkpoint {reached}, not {checkpoint}:\n{}", ended.stderr);
        ended
    }

    /// The manifests in the archive, by number. One that is being written, or goes, meanwhile is left out.
    pub(crate) fn manifests(&self) -> Vec<Manifest> {
        let files = files_below(&self.lab.path("data/archive")).into_iter();
        let files = files.filter(|file| file.parent().is_some_and(|folder| folder.ends_with("manifests")));
        let mut manifests: Vec<Manifest> = files.filter_map(|file| MANIFEST.decode(&fs::read(file).ok()?).ok()).collect();
        manifests.sort_by_key(|manifest| manifest.number);
        manifests
    }

    /// How many bases, merged deltas and full manifests there are.
    pub(crate) fn kinds(&self) -> Kinds {
        let mut kinds = Kinds::default();
        for manifest in self.manifests() {
            kinds.bases += manifest.bases.len();
            kinds.merges += manifest.merges.len();
            kinds.full += usize::from(manifest.full.is_some());
        }
        kinds
    }

    /// The number of the last confirmed checkpoint; 0 before the first.
    pub(crate) fn latest(&self) -> u64 {
        self.register().latest.map_or(0, |latest| latest.number.0)
    }

    /// What coordination says.
    pub(crate) fn register(&self) -> Register {
        register(&self.lab)
    }
}

/// The register of the one job in a folder.
pub(crate) fn register(lab: &Lab) -> Register {
    // A process that was killed may have left the next one, which nobody believes.
    let hidden = |file: &std::path::PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let files = files_below(&lab.path("data/coordination")).into_iter().filter(|file| !hidden(file));
    let mut registers = files.filter_map(|file| REGISTER.decode(&fs::read(file).unwrap()).ok());
    registers.next().expect("a register")
}
