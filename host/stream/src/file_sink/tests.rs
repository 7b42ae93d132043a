//! The file sink: whose folder it is, and that a file gets its name once, whatever crashes.

use super::*;
use gregor_model::names::{Attempt, Incarnation, JobName, Sequence, TaskId};
use gregor_model::segment::temporary_name;
use gregor_model::spec::{FOLDER_MARKER, MARKER};
use gregor_model::steps::{Side, StepFailure, Unobserved};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use tempfile::TempDir;

const INCARNATION: Incarnation = Incarnation(7);

fn marker(job: &str, incarnation: Incarnation) -> Marker {
    Marker { job: JobName::new(job).unwrap(), incarnation }
}

fn open(root: &TempDir) -> Result<OutputFolder, SinkError> {
    OutputFolder::open(&root.path().join("out"), &marker("words", INCARNATION), Arc::new(Unobserved))
}

fn temporary(sequence: u64) -> String {
    temporary_name(INCARNATION, ("count", "counts"), (0, Attempt(1), Sequence(sequence)))
}

fn release_of(sequence: u64, bytes: &[u8]) -> Release {
    Release {
        task: TaskId { stage: 0, partition: 0 },
        output: 0,
        temporary: temporary(sequence),
        name: format!("part-count-0-{sequence}"),
        length: bytes.len() as u64,
        sha256: Digest::of(bytes),
    }
}

/// All names in the output folder, sorted.
fn names(root: &TempDir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(root.path().join("out")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Opens a folder that `prepare` has filled; expects it to be taken, or refused with a message that contains `expected`.
fn check_open(prepare: impl FnOnce(&Path), expected: Result<(), &str>) {
    let root = TempDir::new().unwrap();
    prepare(&root.path().join("out"));
    match (open(&root), expected) {
        (Ok(_), Ok(())) => assert!(names(&root).contains(&FOLDER_MARKER.to_owned())),
        (Err(error @ SinkError::Refused { .. }), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
        (opened, expected) => panic!("{:?}, expected {expected:?}", opened.map(drop)),
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

#[test]
fn a_folder_is_taken_if_it_is_empty_or_this_jobs_and_refused_otherwise() {
    let encoded = |job, incarnation| MARKER.encode(&marker(job, incarnation)).unwrap();
    check_open(|_| {}, Ok(()));
    check_open(|folder| fs::create_dir(folder).unwrap(), Ok(()));
    check_open(|folder| put(folder, "._gregor.0000.tmp", b"half a mark"), Ok(()));
    check_open(|folder| put(folder, FOLDER_MARKER, &encoded("words", INCARNATION)), Ok(()));
    let own_and_more = |folder: &Path| {
        put(folder, FOLDER_MARKER, &encoded("words", INCARNATION));
        put(folder, "part-count-0-1", b"");
    };
    check_open(own_and_more, Ok(()));
    check_open(|folder| put(folder, FOLDER_MARKER, &encoded("words", Incarnation(8))), Err("an earlier start of job \"words\""));
    check_open(|folder| put(folder, FOLDER_MARKER, &encoded("other", INCARNATION)), Err("the output of job \"other\", not of \"words\""));
    check_open(|folder| put(folder, FOLDER_MARKER, b"garbage"), Err("its marker ._gregor is not a marker of gregor"));
    check_open(|folder| put(folder, "notes.txt", b""), Err("it is not empty (it holds \"notes.txt\")"));
    check_open(|folder| put(folder, "_SUCCESS", b""), Err("it is not empty"));
    check_open(|folder| fs::write(folder, "a file").unwrap(), Err("is a file"));
    check_open(|folder| fs::create_dir_all(folder.join("sub")).unwrap(), Err("it holds \"sub\""));
}

#[test]
fn a_folder_below_a_file_or_on_a_file_system_that_takes_none_is_refused() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    for path in [root.path().join("file/out"), PathBuf::from("/proc/gregor/out")] {
        let error = OutputFolder::open(&path, &marker("words", INCARNATION), Arc::new(Unobserved)).map(drop).unwrap_err();
        assert!(matches!(error, SinkError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains("name a folder that this user may write into"), "{error}");
    }
}

#[test]
fn missing_folders_above_are_created_and_the_marker_says_whose_it_is() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("a/b/out");
    let folder = OutputFolder::open(&path, &marker("words", INCARNATION), Arc::new(Unobserved)).unwrap();
    assert_eq!(folder.path(), path);
    let bytes = fs::read(path.join(FOLDER_MARKER)).unwrap();
    assert_eq!(MARKER.decode::<Marker>(&bytes), Ok(marker("words", INCARNATION)));
    assert_eq!(fs::read_dir(path).unwrap().count(), 1, "the marker's temporary name is gone");
}

#[test]
fn a_file_is_hidden_until_it_is_released_and_releasing_again_changes_nothing() {
    let root = TempDir::new().unwrap();
    let folder = open(&root).unwrap();
    let release = release_of(1, b"a\t1\n");
    assert_eq!(folder.observe(&release).unwrap(), Observed { temporary: OnDisk::Absent, name: OnDisk::Absent });
    folder.write_temporary(&release.temporary, b"a failed try").unwrap();
    assert_eq!(folder.observe(&release).unwrap(), Observed { temporary: OnDisk::Other, name: OnDisk::Absent });
    folder.write_temporary(&release.temporary, b"a\t1\n").unwrap();
    assert_eq!(folder.observe(&release).unwrap(), Observed { temporary: OnDisk::Same, name: OnDisk::Absent });
    for round in 0..3 {
        folder.release(&release).unwrap();
        assert_eq!(folder.observe(&release).unwrap(), Observed { temporary: OnDisk::Absent, name: OnDisk::Same }, "round {round}");
        assert_eq!(names(&root), [FOLDER_MARKER, "part-count-0-1"]);
        assert_eq!(fs::read(root.path().join("out/part-count-0-1")).unwrap(), b"a\t1\n");
    }
}

#[test]
fn a_release_that_a_crash_left_under_both_names_is_finished() {
    let root = TempDir::new().unwrap();
    let folder = open(&root).unwrap();
    let release = release_of(1, b"a\t1\n");
    folder.write_temporary(&release.temporary, b"a\t1\n").unwrap();
    let out = root.path().join("out");
    fs::hard_link(out.join(&release.temporary), out.join(&release.name)).unwrap();
    assert_eq!(folder.observe(&release).unwrap(), Observed { temporary: OnDisk::Same, name: OnDisk::Same });
    folder.release(&release).unwrap();
    assert_eq!(names(&root), [FOLDER_MARKER, "part-count-0-1"]);
}

/// Prepares the folder, releases, and expects a conflict that changes nothing.
fn check_conflict(prepare: impl FnOnce(&OutputFolder, &Release, &Path), expected: &str) {
    let root = TempDir::new().unwrap();
    let folder = open(&root).unwrap();
    let release = release_of(1, b"a\t1\n");
    prepare(&folder, &release, &root.path().join("out").join(&release.name));
    let before = names(&root);
    let error = folder.release(&release).unwrap_err();
    assert!(matches!(&error, SinkError::Conflict { .. }) && error.to_string().contains(expected), "{error}");
    assert_eq!(names(&root), before, "{expected}");
}

#[test]
fn a_file_never_takes_the_place_of_another_and_a_lost_one_is_told() {
    check_conflict(|_, _, _| {}, "neither it nor its temporary file is there");
    let other = |folder: &OutputFolder, release: &Release, name: &Path| {
        folder.write_temporary(&release.temporary, b"a\t1\n").unwrap();
        fs::write(name, b"b\t2\n").unwrap();
    };
    check_conflict(other, "another file has that name");
    check_conflict(|_, _, name| fs::write(name, b"b\t2\n").unwrap(), "another file has that name");
    check_conflict(|_, _, name| fs::create_dir(name).unwrap(), "another file has that name");
    check_conflict(|_, _, name| symlink("/etc/hostname", name).unwrap(), "another file has that name");
    check_conflict(|folder, release, _| folder.write_temporary(&release.temporary, b"short").unwrap(), "it was altered");
}

#[test]
fn no_name_leaves_the_folder_or_touches_what_is_not_this_jobs() {
    let root = TempDir::new().unwrap();
    let folder = open(&root).unwrap();
    fs::write(root.path().join("victim"), "kept").unwrap();
    let prefix = format!("._{INCARNATION}-");
    let bad = ["../victim", "/etc/victim", "", ".", "..", "part-count-0-1", FOLDER_MARKER, "._other-1.tmp"];
    for name in bad.map(str::to_owned).into_iter().chain([format!("{prefix}/../../victim.tmp"), format!("{prefix}a/b.tmp"), prefix]) {
        for error in [folder.write_temporary(&name, b"x").unwrap_err(), folder.remove_temporary(&name).unwrap_err()] {
            assert!(matches!(error, SinkError::Refused { .. }), "{name}: {error:?}");
        }
        let release = Release { temporary: name.clone(), ..release_of(1, b"x") };
        assert!(matches!(folder.release(&release), Err(SinkError::Refused { .. })), "{name}");
    }
    folder.write_temporary(&temporary(1), b"x").unwrap();
    for name in ["../victim", "sub/x", "", "..", "/etc/victim"] {
        let release = Release { name: name.to_owned(), ..release_of(1, b"x") };
        assert!(matches!(folder.release(&release), Err(SinkError::Refused { .. })), "{name}");
    }
    // A link under the temporary name is replaced, not followed.
    symlink("../victim", root.path().join("out").join(temporary(2))).unwrap();
    folder.write_temporary(&temporary(2), b"x").unwrap();
    assert_eq!(fs::read(root.path().join("victim")).unwrap(), b"kept");
    assert_eq!(names(&root), [temporary(1), temporary(2), FOLDER_MARKER.to_owned()]);
}

#[test]
fn a_sweep_removes_dead_temporaries_of_this_incarnation_only() {
    let root = TempDir::new().unwrap();
    let folder = open(&root).unwrap();
    for sequence in 1..4 {
        folder.write_temporary(&temporary(sequence), b"x").unwrap();
    }
    let foreign = temporary_name(Incarnation(8), ("count", "counts"), (0, Attempt(1), Sequence(1)));
    put(&root.path().join("out"), &foreign, b"");
    put(&root.path().join("out"), "part-count-0-1", b"");
    let live = temporary(2);
    assert_eq!(folder.sweep(&|name| name == live).unwrap(), 2);
    let mut expected = vec![FOLDER_MARKER.to_owned(), live, foreign, "part-count-0-1".to_owned()];
    expected.sort();
    assert_eq!(names(&root), expected);
    assert!(folder.remove_temporary(&temporary(2)).unwrap());
    assert!(!folder.remove_temporary(&temporary(2)).unwrap());
}

#[test]
fn success_is_created_once() {
    let root = TempDir::new().unwrap();
    let folder = open(&root).unwrap();
    folder.succeed().unwrap();
    folder.succeed().unwrap();
    assert_eq!(names(&root), [FOLDER_MARKER, "_SUCCESS"]);
    assert_eq!(fs::read(root.path().join("out/_SUCCESS")).unwrap(), b"");
    drop(open(&root).unwrap());
}

#[test]
fn a_folder_that_is_reopened_says_no_more_that_it_is_complete() {
    let root = TempDir::new().unwrap();
    let folder = open(&root).unwrap();
    folder.reopen().unwrap();
    folder.succeed().unwrap();
    for _ in 0..2 {
        folder.reopen().unwrap();
        assert_eq!(names(&root), [FOLDER_MARKER]);
    }
    folder.succeed().unwrap();
    assert_eq!(names(&root), [FOLDER_MARKER, "_SUCCESS"]);
}

/// Makes the n-th announcement fail.
struct FailAt {
    n: u64,
    count: Mutex<u64>,
}

impl Steps for FailAt {
    fn announce(&self, step: DurableStep, _: Side) -> Result<(), StepFailure> {
        let mut count = self.count.lock().unwrap();
        *count += 1;
        if *count == self.n { Err(StepFailure { number: *count, step }) } else { Ok(()) }
    }
}

fn whole_run(root: &TempDir, steps: Arc<dyn Steps>) -> Result<(), SinkError> {
    let folder = OutputFolder::open(&root.path().join("out"), &marker("words", INCARNATION), steps)?;
    for (sequence, bytes) in [(1, b"a\t1\n"), (2, b"b\t2\n")] {
        let release = release_of(sequence, bytes);
        if folder.observe(&release)?.name == OnDisk::Absent {
            folder.write_temporary(&release.temporary, bytes)?;
        }
        folder.release(&release)?;
    }
    folder.succeed()
}

#[test]
fn a_run_that_fails_at_any_durable_step_ends_the_same_when_it_is_done_again() {
    // Marker, two files written, two released, success: twelve announcements.
    for n in 1..=13 {
        let root = TempDir::new().unwrap();
        let failed = whole_run(&root, Arc::new(FailAt { n, count: Mutex::new(0) }));
        assert_eq!(matches!(failed, Err(SinkError::Injected(_))), n < 13, "announcement {n}: {failed:?}");
        whole_run(&root, Arc::new(Unobserved)).unwrap();
        assert_eq!(names(&root), [FOLDER_MARKER, "_SUCCESS", "part-count-0-1", "part-count-0-2"], "announcement {n}");
    }
}
