//! What is found in the cache and what is not: code that is whole, of this component and this compiler, in a folder of this user alone.

mod fuzz;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::Mode;

use super::*;
use crate::fixtures::{GOOD, Said, engine, simple};

/// A folder with a cache in it.
struct Fixture {
    folder: tempfile::TempDir,
    cache: Cache,
    engine: Engine,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        Self { folder, cache, engine: engine() }
    }

    /// Admits these bytes; answers where their code came from.
    #[track_caller]
    fn origin(&self, bytes: &[u8]) -> Origin {
        self.engine.admit_from(Some(&self.cache), bytes).unwrap().origin()
    }

    /// Admits and keeps.
    fn keep(&self, bytes: &[u8]) -> Component {
        let component = self.engine.admit_from(Some(&self.cache), bytes).unwrap();
        self.cache.keep(std::slice::from_ref(&component));
        component
    }

    fn key(&self, bytes: &[u8]) -> Key {
        Key { component: Digest::of(bytes), compiler: self.engine.compiler() }
    }

    fn path(&self, bytes: &[u8]) -> PathBuf {
        self.folder.path().join(self.key(bytes).file())
    }

    /// Names in the folder, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn bytes(&self) -> u64 {
        self.cache.folder.files().unwrap().iter().map(|file| file.bytes).sum()
    }
}

/// A component that differs from others by the name of its store.
fn component(store: &str) -> Vec<u8> {
    simple(&Said { stores: &[store], ..GOOD }, "unreachable")
}

/// Sets when a file was used.
fn used(path: &Path, seconds: u64) {
    fs::File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

#[test]
fn what_was_kept_is_loaded_and_describes_itself_as_before() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    let compiled = fixture.keep(&bytes);
    assert_eq!(compiled.origin(), Origin::Compiled);
    let loaded = fixture.keep(&bytes);
    assert_eq!(loaded.origin(), Origin::Loaded);
    assert_eq!((loaded.digest(), loaded.descriptor()), (compiled.digest(), compiled.descriptor()));
    assert_eq!(fixture.names(), [fixture.key(&bytes).file()]);
    assert_eq!(fs::metadata(fixture.path(&bytes)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn reading_changes_nothing() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    assert_eq!(fixture.origin(&bytes), Origin::Compiled);
    assert!(fixture.names().is_empty());
    fixture.keep(&bytes);
    used(&fixture.path(&bytes), 1);
    assert_eq!(fixture.origin(&bytes), Origin::Loaded);
    assert_eq!(fs::metadata(fixture.path(&bytes)).unwrap().modified().unwrap(), UNIX_EPOCH + Duration::from_secs(1));
}

#[test]
fn a_component_without_a_cache_is_compiled() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    fixture.keep(&bytes);
    assert_eq!(fixture.engine.admit(&bytes).unwrap().origin(), Origin::Compiled);
}

#[test]
fn other_settings_of_the_engine_find_nothing() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    fixture.keep(&bytes);
    // So many instances that their memories are laid out otherwise.
    let other = Engine::new(&crate::EngineOptions { instances_max: 20_000, memory_bytes_max: 64 << 20 }).unwrap();
    let compiled = other.admit_from(Some(&fixture.cache), &bytes).unwrap();
    assert_eq!(compiled.origin(), Origin::Compiled);
    fixture.cache.keep(&[compiled]);
    assert_eq!(fixture.names().len(), 2);
    assert_eq!(
        (fixture.origin(&bytes), other.admit_from(Some(&fixture.cache), &bytes).unwrap().origin()),
        (Origin::Loaded, Origin::Loaded)
    );
}

#[test]
fn no_altered_byte_is_ever_loaded() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    fixture.keep(&bytes);
    let (key, path) = (fixture.key(&bytes), fixture.path(&bytes));
    let whole = fs::read(&path).unwrap();
    assert!(entry::code_of(&key, &whole).is_ok());
    // Each byte of the header, and every 997th of the code.
    for at in (0..104).chain((104..whole.len()).step_by(997)) {
        let mut altered = whole.clone();
        altered[at] ^= 1 << (at % 8);
        assert!(entry::code_of(&key, &altered).is_err(), "byte {at} of {}", whole.len());
        fs::write(&path, &altered).unwrap();
        assert!(fixture.cache.find(&fixture.engine, key.component).is_none(), "byte {at} of {}", whole.len());
    }
    for length in (0..=104).chain((104..whole.len()).step_by(997)).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(fixture.cache.find(&fixture.engine, key.component).is_none(), "cut to {length} of {}", whole.len());
    }
    fs::write(&path, [whole.as_slice(), b"\0"].concat()).unwrap();
    assert!(fixture.cache.find(&fixture.engine, key.component).is_none(), "a byte more");
    // What was not fit is compiled and replaced, and then it is fit again.
    assert_eq!(fixture.keep(&bytes).origin(), Origin::Compiled);
    assert_eq!(fixture.origin(&bytes), Origin::Loaded);
}

#[test]
fn a_file_under_anothers_name_is_not_loaded() {
    let fixture = Fixture::new();
    let (one, other) = (component("one"), component("other"));
    fixture.keep(&one);
    fixture.keep(&other);
    fs::copy(fixture.path(&one), fixture.path(&other)).unwrap();
    let file = fs::read(fixture.path(&other)).unwrap();
    assert_eq!(entry::code_of(&fixture.key(&other), &file), Err("it was made of another component"));
    let key = Key { compiler: Digest::of(b"another"), ..fixture.key(&one) };
    assert_eq!(entry::code_of(&key, &file), Err("it was made by another compiler"));
    assert_eq!((fixture.origin(&one), fixture.origin(&other)), (Origin::Loaded, Origin::Compiled));
}

#[test]
fn code_that_wasmtime_does_not_take_is_compiled_anew() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    let key = fixture.key(&bytes);
    // Whole by its digest, and no code at all.
    let code = b"no code";
    fs::write(fixture.path(&bytes), [entry::header(&key, code).as_slice(), code].concat()).unwrap();
    fs::set_permissions(fixture.path(&bytes), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fixture.keep(&bytes).origin(), Origin::Compiled);
    assert_eq!(fixture.origin(&bytes), Origin::Loaded);
}

#[test]
fn another_version_is_ignored_and_replaced() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    fixture.keep(&bytes);
    let mut file = fs::read(fixture.path(&bytes)).unwrap();
    file[7] = 2;
    assert_eq!(entry::code_of(&fixture.key(&bytes), &file), Err("it is not of the version that is known here"));
    fs::write(fixture.path(&bytes), &file).unwrap();
    assert_eq!(fixture.keep(&bytes).origin(), Origin::Compiled);
    assert_eq!(fixture.origin(&bytes), Origin::Loaded);
}

#[test]
fn what_others_may_write_to_is_not_trusted() {
    let says = |owner, mode, fragment: &str| {
        let refused = folder::judge(owner, Mode::from_raw_mode(mode), 1000).unwrap_err();
        assert!(refused.contains(fragment), "{refused:?} does not say {fragment:?}");
    };
    for mode in [0o700, 0o755, 0o600, 0o644, 0o500] {
        assert_eq!(folder::judge(1000, Mode::from_raw_mode(mode), 1000), Ok(()), "{mode:o}");
    }
    for mode in [0o720, 0o702, 0o777, 0o660, 0o606, 0o020, 0o002] {
        says(1000, mode, "others may write to it");
    }
    says(0, 0o700, "it belongs to user 0, this process to user 1000");
    says(1001, 0o777, "it belongs to user 1001");

    let fixture = Fixture::new();
    let bytes = component("counts");
    fixture.keep(&bytes);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for lax in [0o777, 0o770, 0o707] {
        mode(fixture.folder.path(), lax);
        let refused = Cache::open(fixture.folder.path()).unwrap_err().to_string();
        assert!(refused.contains("others may write to it") && refused.contains("chmod go-w"), "{refused}");
    }
    mode(fixture.folder.path(), 0o700);
    // A file that somebody may have left while the folder was open to them.
    mode(&fixture.path(&bytes), 0o666);
    assert_eq!(fixture.keep(&bytes).origin(), Origin::Compiled);
    assert_eq!(fs::metadata(fixture.path(&bytes)).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fixture.origin(&bytes), Origin::Loaded);
}

#[test]
fn a_folder_that_is_none_is_refused_and_links_and_pipes_are_not_followed() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    assert!(Cache::open(&fixture.folder.path().join("nothing")).is_err());
    fixture.keep(&bytes);
    let path = fixture.path(&bytes);
    assert!(Cache::open(&path).is_err(), "a file is no folder");
    let elsewhere = fixture.folder.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(fixture.origin(&bytes), Origin::Compiled, "through a link");
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(fixture.origin(&bytes), Origin::Compiled, "a pipe");
    fixture.keep(&bytes);
    assert_eq!(fixture.origin(&bytes), Origin::Loaded, "what was in the way is replaced");
}

#[test]
fn what_was_used_longest_ago_goes_and_the_rest_fits_the_bound() {
    let mut fixture = Fixture::new();
    let all: Vec<Vec<u8>> = ["a", "b", "c", "d"].map(component).to_vec();
    for (bytes, seconds) in all.iter().zip(1..) {
        fixture.keep(bytes);
        used(&fixture.path(bytes), seconds);
    }
    // Room for three of the four; the first was used again meanwhile.
    let size = fixture.bytes() / 4;
    fixture.cache.bytes_max = 3 * size + size / 2;
    fixture.keep(&all[0]);
    let here: Vec<bool> = all.iter().map(|bytes| fixture.path(bytes).exists()).collect();
    assert_eq!(here, [true, false, true, true]);
    for (at, bytes) in all.iter().enumerate().cycle().take(12) {
        fixture.keep(bytes);
        assert!(fixture.path(bytes).exists(), "what was used last stays: {at}");
        assert!(fixture.bytes() <= fixture.cache.bytes_max, "{} bytes after {at}", fixture.bytes());
    }
    // Nothing fits: nothing is kept, and all else of ours goes.
    fixture.cache.bytes_max = size / 2;
    assert_eq!(fixture.keep(&all[0]).origin(), Origin::Compiled);
    assert!(fixture.names().is_empty(), "{:?}", fixture.names());
}

#[test]
fn what_goes_is_chosen_by_age_alone() {
    let file = |name: &str, bytes, used_ns| File { name: name.to_owned(), bytes, used_ns };
    let goes = |bytes_max| {
        let files = vec![file("small", 1, 1), file("new", 4, 4), file("large", 10, 2), file("newer", 4, 5)];
        surplus(files, bytes_max).into_iter().map(|file| file.name).collect::<Vec<_>>()
    };
    assert_eq!(goes(19), Vec::<String>::new());
    assert_eq!(goes(18), ["small"]);
    assert_eq!(goes(17), ["large", "small"], "what is older than the first that does not fit goes too");
    assert_eq!(goes(7), ["new", "large", "small"]);
    assert_eq!(goes(0).len(), 4);
    assert_eq!(surplus(vec![file("a", u64::MAX, 0), file("b", u64::MAX, 0)], 1 << 30).len(), 2, "sums have no room to run over");
}

#[test]
fn what_was_cut_short_is_swept_and_strangers_are_left_alone() {
    let fixture = Fixture::new();
    for name in ["7-0.tmp", "README"] {
        fs::write(fixture.folder.path().join(name), "x").unwrap();
    }
    let bytes = component("counts");
    fixture.keep(&bytes);
    let mut expected = vec!["README".to_owned(), fixture.key(&bytes).file()];
    expected.sort();
    assert_eq!(fixture.names(), expected);
}

#[test]
fn a_folder_that_was_replaced_under_its_name_is_not_looked_at() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    fixture.keep(&bytes);
    let moved = fixture.folder.path().with_extension("moved");
    fs::rename(fixture.folder.path(), &moved).unwrap();
    fs::create_dir(fixture.folder.path()).unwrap();
    fs::write(fixture.path(&bytes), "planted").unwrap();
    assert_eq!(fixture.origin(&bytes), Origin::Loaded, "from the folder that was opened");
    fs::remove_dir_all(moved).unwrap();
}

#[test]
fn a_write_that_fails_harms_nobody() {
    let fixture = Fixture::new();
    let bytes = component("counts");
    // A folder in the way of the file: it can't be replaced.
    fs::create_dir(fixture.path(&bytes)).unwrap();
    assert_eq!(fixture.keep(&bytes).origin(), Origin::Compiled);
    assert_eq!(fixture.origin(&bytes), Origin::Compiled);
    assert_eq!(fixture.names(), [fixture.key(&bytes).file()], "nothing unfinished is left");
    // The folder itself is gone.
    fs::remove_dir_all(fixture.folder.path()).unwrap();
    assert_eq!(fixture.keep(&bytes).origin(), Origin::Compiled);
}

#[test]
fn many_who_read_and_keep_at_once_get_what_they_ask_for() {
    let fixture = Fixture::new();
    let all: Vec<Vec<u8>> = ["a", "b", "c"].map(component).to_vec();
    let admitted: Vec<Component> = all.iter().map(|bytes| fixture.engine.admit(bytes).unwrap()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = Cache::open(fixture.folder.path()).unwrap();
                for round in 0..20 {
                    cache.keep(&admitted);
                    for (bytes, admitted) in all.iter().zip(&admitted) {
                        let again = fixture.engine.admit_from(Some(&cache), bytes).unwrap();
                        assert_eq!(again.descriptor(), admitted.descriptor(), "round {round}");
                    }
                }
            });
        }
    });
    fixture.cache.keep(&admitted);
    assert!(all.iter().all(|bytes| fixture.origin(bytes) == Origin::Loaded));
    assert_eq!(fixture.names().len(), 3);
}
