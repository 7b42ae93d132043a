//! Tests of the data folder: what is taken, what is refused, and that refusing changes nothing.

use std::collections::BTreeMap;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Every file below a folder with its content, and every folder.
fn everything(path: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.clone(), fs::read(&path).ok());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

#[test]
fn a_folder_is_made_with_its_parents_and_keeps_its_host() {
    let root = folder();
    let path = root.path().join("a/b/data");
    let made = DataFolder::open(&path, HostId(7)).unwrap();
    assert_eq!(made.host(), HostId(7));
    for folder in [made.coordination(), made.archive(), made.state(), made.components()] {
        assert!(folder.is_dir(), "{folder:?}");
    }
    drop(made);
    assert_eq!(DataFolder::open(&path, HostId(8)).unwrap().host(), HostId(7));
    assert_eq!(DataFolder::look(&path).unwrap().host(), HostId(7));
}

#[test]
fn a_folder_in_use_is_refused_but_may_be_looked_at() {
    let root = folder();
    let first = DataFolder::open(root.path(), HostId(7)).unwrap();
    let refused = DataFolder::open(root.path(), HostId(8)).unwrap_err();
    assert_eq!(refused, DataError::InUse(root.path().to_owned()));
    assert!(refused.to_string().contains("in use by another gregor process"), "{refused}");
    assert_eq!(DataFolder::look(root.path()).unwrap().host(), HostId(7));
    drop(first);
    DataFolder::open(root.path(), HostId(8)).unwrap();
}

#[test]
fn of_many_that_race_for_a_new_folder_one_wins_and_all_others_see_its_host() {
    let root = folder();
    let path = root.path().join("data");
    let barrier = std::sync::Barrier::new(8);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let race = |host| {
            let (path, barrier) = (&path, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let outcome = DataFolder::open(path, HostId(host));
                // Whoever holds it holds it until all have tried.
                barrier.wait();
                outcome.map(|data| data.host())
            })
        };
        let threads: Vec<_> = (0..8).map(race).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners: Vec<HostId> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let losers = outcomes.iter().filter(|outcome| **outcome == Err(DataError::InUse(path.clone()))).count();
    assert_eq!(losers, 7, "{outcomes:?}");
    assert_eq!(DataFolder::look(&path).unwrap().host(), winners[0]);
}

#[test]
fn looking_creates_nothing() {
    let root = folder();
    let path = root.path().join("data");
    assert!(matches!(DataFolder::look(&path), Err(DataError::NotData { .. })), "nothing is no data folder");
    assert!(matches!(DataFolder::look(root.path()), Err(DataError::NotData { .. })), "an empty folder is none either");
    assert_eq!(everything(root.path()), BTreeMap::new());
}

#[test]
fn what_is_refused_stays_as_it_is() {
    let newer = Kind { version: DATA.version + 1, ..DATA }.encode(&Version { host: HostId(1) }).unwrap();
    let mut altered = DATA.encode(&Version { host: HostId(1) }).unwrap();
    altered[90] ^= 1;
    // (name, file below the folder, its content, whether it is damage or somebody else's folder)
    let cases: [(&str, &str, &[u8], &str); 5] = [
        ("newer version", VERSION, &newer, "corrupt"),
        ("altered version", VERSION, &altered, "corrupt"),
        ("empty version", VERSION, b"", "corrupt"),
        ("somebody's text", "thesis.tex", b"x", "not data"),
        ("registers without a version", "coordination/default/job", b"x", "not data"),
    ];
    for (name, file, content, expected) in cases {
        let root = folder();
        let file = root.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        let before = everything(root.path());
        for outcome in [DataFolder::open(root.path(), HostId(2)), DataFolder::look(root.path())] {
            let found = match outcome.unwrap_err() {
                DataError::Corrupt { .. } => "corrupt",
                DataError::NotData { .. } => "not data",
                other => panic!("{name}: {other}"),
            };
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(everything(root.path()), before, "{name}");
    }
}

#[test]
fn a_folder_whose_registers_are_gone_is_refused_but_caches_are_made_again() {
    let root = folder();
    let data = DataFolder::open(root.path(), HostId(1)).unwrap();
    fs::remove_dir(data.state()).unwrap();
    fs::remove_dir(data.components()).unwrap();
    drop(data);
    let data = DataFolder::open(root.path(), HostId(1)).unwrap();
    assert!(data.state().is_dir() && data.components().is_dir());
    fs::remove_dir(data.coordination()).unwrap();
    drop(data);
    let refused = DataFolder::open(root.path(), HostId(1)).unwrap_err();
    assert!(matches!(&refused, DataError::Corrupt { path, .. } if path.ends_with(COORDINATION)), "{refused}");
    assert!(!root.path().join(COORDINATION).exists());
}

#[test]
fn a_making_that_was_cut_short_is_made_up_for() {
    let root = folder();
    fs::write(root.path().join(LOCK), b"").unwrap();
    fs::write(root.path().join(".version.tmp"), b"gregor da").unwrap();
    fs::create_dir(root.path().join("archive")).unwrap();
    assert_eq!(DataFolder::open(root.path(), HostId(5)).unwrap().host(), HostId(5));
    assert!(!root.path().join(".version.tmp").exists());
}

#[test]
fn a_file_in_the_folders_place_is_an_error_and_no_panic() {
    let root = folder();
    let path = root.path().join("file");
    fs::write(&path, b"x").unwrap();
    assert!(matches!(DataFolder::open(&path, HostId(5)), Err(DataError::Unusable { .. })), "a file is no folder");
    assert_eq!(fs::read(&path).unwrap(), b"x");
}

#[test]
fn the_folder_of_compiled_components_is_the_users_alone_also_when_it_is_made_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = folder();
    for _ in 0..2 {
        let components = DataFolder::open(root.path(), HostId(7)).unwrap().components();
        assert_eq!(fs::metadata(&components).unwrap().permissions().mode() & 0o777, 0o700);
        fs::remove_dir(&components).unwrap();
    }
}
