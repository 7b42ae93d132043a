#![cfg(test)]
//! Every document of the model against damage and lies. A document that was changed and not signed again is refused, or says what it said; one that
//! was signed again is refused with an error, or means something that is written and read the same, and that is then used as the program uses it:
//! nothing may panic. (Registers, the files of `--data` and nodes of ZooKeeper have their tests in `coordination`, runs and plans in `stream`.)

#[path = "../../../tests/fuzz/fuzzer.rs"]
mod fuzzer;
#[path = "fuzz/life.rs"]
mod life;

use std::fmt::Debug;

use gregor_model::document::Kind;
use gregor_model::history::{History, LivePart};
use gregor_model::manifest::{MANIFEST, Manifest, PAGE};
use gregor_model::part::{FOOTER, Footer, FooterAt};
use gregor_model::plan::{PLAN, Plan};
use gregor_model::snapshot::{PARTS, Pages, TASKS, TaskEntry};
use gregor_model::spec::{MARKER, Marker, SPEC, Spec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use fuzzer::{Fuzz, Outcome, files, mutate, peak_bytes};

const ROUNDS: u32 = 8_000;

/// Tries a kind; `apply` does with a value what the program does.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(kind: Kind, made: Vec<Vec<u8>>, apply: impl Fn(T)) {
    let prefix = format!("{}-v", kind.name);
    let mut seeds = files("tests/fixtures", |name| name.starts_with(&prefix));
    seeds.extend(made);
    damaged::<T>(kind, &seeds);
    let format = kind.name.to_owned();
    let (read, refused) = Fuzz { format: &format, seeds: &seeds, rounds: ROUNDS }.run(mutate::signed, |input| {
        let value: T = match kind.decode(input) {
            Ok(value) => value,
            Err(error) => {
                let text = error.to_string();
                assert!(["is not a", "is a", "was altered", "holds a"].iter().any(|what| text.starts_with(what)), "{text}");
                return Outcome::Refused;
            }
        };
        let written = kind.encode(&value).unwrap();
        assert_eq!(kind.decode::<T>(&written).as_ref(), Ok(&value), "it is read differently when it was written again");
        apply(value);
        Outcome::Read
    });
    assert!(read > ROUNDS / 100 && refused > ROUNDS / 100, "{format}: {read} read, {refused} refused: the mutations miss the format");
}

/// Changes that nobody signed.
fn damaged<T: DeserializeOwned + PartialEq + Debug>(kind: Kind, seeds: &[Vec<u8>]) {
    let meant: Vec<T> = seeds.iter().map(|seed| kind.decode(seed).unwrap()).collect();
    let format = format!("{}-damaged", kind.name);
    Fuzz { format: &format, seeds, rounds: ROUNDS / 4 }.run(mutate::unsigned, |input| match kind.decode::<T>(input) {
        Ok(value) => {
            assert!(meant.contains(&value), "damage is taken for another document");
            Outcome::Read
        }
        Err(_) => Outcome::Refused,
    });
}

#[test]
fn a_manifest_is_refused_or_fits_the_history_or_says_why_not() {
    let life = life::manifests();
    let seeds = life.iter().map(|manifest| MANIFEST.encode(manifest).unwrap()).collect();
    check::<Manifest>(MANIFEST, seeds, |manifest| life::apply(&life, &manifest));
}

#[test]
fn a_page_of_manifests_makes_a_history_or_says_why_not() {
    let life = life::manifests();
    check::<Vec<Manifest>>(PAGE, vec![PAGE.encode(&life).unwrap()], |manifests| {
        let mut history = History::default();
        let taken_in = manifests.iter().try_for_each(|manifest| history.apply(&life::signed_segments(manifest)));
        if taken_in.is_ok() {
            life::go_on(history);
        }
    });
}

#[test]
fn a_page_of_tasks_makes_a_history_or_says_why_not() {
    let seeds = life::pages().tasks.iter().map(|page| TASKS.encode(page).unwrap()).collect();
    check::<Vec<TaskEntry>>(TASKS, seeds, |page| life::begin(Pages { tasks: vec![page], ..life::pages() }));
}

#[test]
fn a_page_of_parts_makes_a_history_or_says_why_not() {
    let seeds = life::pages().parts.iter().map(|page| PARTS.encode(page).unwrap()).collect();
    check::<Vec<LivePart>>(PARTS, seeds, |page| life::begin(Pages { parts: vec![page], ..life::pages() }));
}

#[test]
fn a_footer_points_into_its_part_and_its_runs_get_offsets() {
    let at = |bytes: &[u8]| FooterAt { offset: 1 << 20, length: bytes.len() as u64, sha256: gregor_model::digest::Digest::of(bytes) };
    check::<Footer>(FOOTER, vec![FOOTER.encode(&life::footer()).unwrap()], |footer| {
        let bytes = FOOTER.encode(&footer).unwrap();
        let Ok(footer) = Footer::decode(&bytes, at(&bytes)) else { return };
        let ends =
            footer.deltas.iter().map(|delta| delta.offset + delta.length).chain(footer.runs.iter().map(|at| at.offset + at.run.length));
        assert!(ends.into_iter().all(|end| end <= 1 << 20));
        life::publish_runs(&footer);
        // However far its part claims to reach.
        let _ = Footer::decode(&bytes, FooterAt { offset: u64::MAX, ..at(&bytes) });
    });
}

#[test]
fn a_spec_is_compared_with_the_job_and_read_for_its_streams() {
    let history = life::history();
    let today = life::spec();
    check::<Spec>(SPEC, vec![SPEC.encode(&today).unwrap()], |spec| {
        let Spec { job, plans } = spec;
        let _ = (job.changed_since(&today.job), today.job.changed_since(&job), job.check());
        let counts = plans.iter().map(|plan| ((plan.stage, plan.input), u32::MAX)).collect();
        if let Ok(tasks) = job.tasks(&counts) {
            let few: Vec<u32> = tasks.iter().map(|count| (*count).min(8)).collect();
            for (_, name, _) in job.streams() {
                let _ = history.is_final(&job, &few, name);
            }
        }
        history.clone().forget_read(&job);
    });
}

#[test]
fn a_plan_and_a_marker_are_read_as_they_are_written() {
    check::<Plan>(PLAN, Vec::new(), drop);
    check::<Marker>(MARKER, Vec::new(), drop);
}

#[test]
fn lists_that_claim_to_be_long_take_no_room() {
    let before = peak_bytes();
    for kind in [MANIFEST, PAGE, TASKS, PARTS, FOOTER, SPEC, PLAN] {
        for body in ["[".repeat(4 << 20), "{\"number\":".repeat(400_000), format!("[{}", "{},".repeat(1 << 20)), "9".repeat(4 << 20)] {
            let digest = gregor_model::digest::Digest::of(body.as_bytes());
            let document = format!("gregor {} 1 {digest}\n{body}", kind.name);
            assert!(kind.decode::<Manifest>(document.as_bytes()).is_err());
            assert!(kind.decode::<Vec<TaskEntry>>(document.as_bytes()).is_err());
        }
    }
    let taken = peak_bytes() - before;
    assert!(taken < 512 << 20, "documents of 4 MiB made the reader reserve {taken} bytes");
}
