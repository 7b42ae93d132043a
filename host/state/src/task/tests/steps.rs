//! Each durable step made to fail, before and after it, and what is recovered then; what a kill leaves; what damage does.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gregor_model::digest::Digest;
use gregor_model::limits::APPLIED_MARK_BYTES;
use gregor_model::names::{Branch, Incarnation};
use gregor_model::segment::DeltaContent;
use gregor_model::steps::{DurableStep, Side, StepFailure, Steps, Unobserved};

use super::model::{OWNER, Twin, stores};
use crate::{Backend, DeltaFile, Marker, StateError, TaskStores};

/// Makes one announcement fail.
struct Injector {
    seen: AtomicU64,
    failing: AtomicU64,
}

impl Steps for Injector {
    fn announce(&self, step: DurableStep, _: Side) -> Result<(), StepFailure> {
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.failing.load(Ordering::SeqCst) { Err(StepFailure { number, step }) } else { Ok(()) }
    }
}

/// Small and large segments, a mark, a merge, an image, a wipe, and restores: every kind of durable step.
fn scenario(twin: &mut Twin) -> Result<(), StateError> {
    for round in 0..4_u32 {
        for number in 0..3000_u32 {
            let value = if round == 1 || round == 2 { vec![b'x'; 2000] } else { round.to_le_bytes().to_vec() };
            twin.put(0, &(number * (round + 1)).to_be_bytes(), &value);
        }
        twin.put(1, b"round", &round.to_le_bytes());
        twin.commit();
        twin.checkpoint()?;
        if round == 1 {
            twin.stores.mark()?;
        }
        if round == 2 {
            twin.stores.delete(1, b"round")?;
            twin.call[1].clear();
            twin.commit();
            twin.checkpoint()?;
            twin.merge(1..4)?;
            twin.rebase()?;
        }
    }
    twin.restart()?;
    fs::remove_file(twin.folder().join("marker")).unwrap();
    twin.restart()
}

#[test]
fn whatever_durable_step_fails_the_state_is_recovered_from_the_archive() {
    let mut fails = 0;
    for failing in 1.. {
        let injector = Arc::new(Injector { seen: AtomicU64::new(0), failing: AtomicU64::new(failing) });
        let mut twin = Twin::new(1 << 20, injector.clone());
        let failed = scenario(&mut twin);
        if failed.is_ok() {
            break;
        }
        fails += 1;
        injector.failing.store(0, Ordering::SeqCst);
        twin.restart().unwrap_or_else(|error| panic!("step {failing}: {error}"));
        twin.compare();
        twin.put(0, b"goes on", b"");
        twin.commit();
        twin.checkpoint().unwrap();
        twin.kill().unwrap();
        twin.compare();
    }
    assert!(fails > 40, "only {fails} announcements failed");
}

#[test]
fn a_store_whose_apply_failed_refuses_everything() {
    let injector = Arc::new(Injector { seen: AtomicU64::new(0), failing: AtomicU64::new(3) });
    let mut twin = Twin::new(0, injector);
    twin.put(0, b"key", b"value");
    twin.commit();
    // Announcements 1 and 2 are the delta's.
    assert!(matches!(twin.checkpoint(), Err(StateError::Broken { .. })));
    assert!(matches!(twin.stores.get(0, b"key"), Err(StateError::Broken { .. })));
    assert!(matches!(twin.stores.put(0, b"key", b""), Err(StateError::Broken { .. })));
    assert!(matches!(twin.stores.freeze(), Err(StateError::Broken { .. })));
    assert!(matches!(twin.stores.mark(), Err(StateError::Broken { .. })));
    assert!(matches!(twin.stores.wipe(), Err(StateError::Broken { .. })));
}

#[test]
fn the_marker_is_never_ahead_of_what_a_kill_leaves() {
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    for round in 0..6_u32 {
        twin.put(0, b"round", &round.to_le_bytes());
        twin.put(1, &round.to_le_bytes(), b"");
        twin.commit();
        twin.checkpoint().unwrap();
        if round == 2 {
            twin.stores.mark().unwrap();
        }
    }
    // What a kill leaves is the third round and not more: the rest was in memtables.
    let marked = Marker { incarnation: OWNER.0, branch: OWNER.1, segment: twin.archive[2].segment };
    assert_eq!(twin.stores.marker().unwrap(), Some(marked));
    twin.kill().unwrap();
    twin.compare();
    assert_eq!(twin.stores.marker().unwrap().unwrap().segment, twin.archive[5].segment);
}

#[test]
fn a_store_is_marked_by_itself_when_much_was_applied() {
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    let mut applied = 0;
    while applied < APPLIED_MARK_BYTES {
        assert_eq!(twin.stores.marker().unwrap(), None);
        for number in 0..5000_u32 {
            twin.put(0, &number.to_be_bytes(), &[b'x'; 2000]);
        }
        twin.commit();
        twin.checkpoint().unwrap();
        applied += 5000 * 2004;
    }
    let last = twin.archive.last().unwrap().segment;
    assert_eq!(twin.stores.marker().unwrap().map(|marker| marker.segment), Some(last));
    twin.kill().unwrap();
    twin.compare();
}

#[test]
fn a_wiped_store_has_no_marker_whatever_it_takes_in_afterwards() {
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    twin.put(0, b"key", b"value");
    twin.commit();
    twin.checkpoint().unwrap();
    twin.stores.mark().unwrap();
    twin.stores.wipe().unwrap();
    assert_eq!((twin.stores.get(0, b"key").unwrap(), twin.stores.marker().unwrap()), (None, None));
    twin.put(0, b"other", b"value");
    twin.commit();
    twin.checkpoint().unwrap();
    assert_eq!(twin.stores.marker().unwrap(), None);
}

#[test]
fn a_local_store_of_another_history_is_not_read() {
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    twin.put(0, b"key", b"value");
    twin.commit();
    twin.checkpoint().unwrap();
    twin.stores.mark().unwrap();
    let folder = twin.folder();
    let reopen = |twin: &mut Twin| {
        twin.stores = stores(&twin.backend, &folder.join("elsewhere"));
        twin.stores = stores(&twin.backend, &folder);
    };
    reopen(&mut twin);
    twin.stores.set_owner(OWNER.0, OWNER.1);
    assert_eq!(twin.stores.get(0, b"key").unwrap().unwrap(), b"value");
    for owner in [(Incarnation(8), OWNER.1), (OWNER.0, Branch(2))] {
        reopen(&mut twin);
        twin.stores.set_owner(owner.0, owner.1);
        assert_eq!(twin.stores.get(0, b"key").unwrap(), None);
        assert_eq!(twin.stores.marker().unwrap(), None);
    }
}

#[test]
fn an_altered_delta_is_refused_before_anything_is_changed() {
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    twin.put(0, b"key", b"value");
    twin.commit();
    twin.checkpoint().unwrap();
    let saved = twin.archive[0].deltas[0].clone();
    let good = fs::read(&saved.path).unwrap();
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    for bytes in [flipped, good[..good.len() - 1].to_vec(), Vec::new()] {
        fs::write(&saved.path, &bytes).unwrap();
        let mut fresh = stores(&twin.backend, &twin.folder().join("fresh"));
        assert!(matches!(fresh.restore(Digest::of(b""), vec![saved.clone()]), Err(StateError::Altered { .. })));
        assert_eq!(fresh.get(0, b"key").unwrap(), None);
    }
}

#[test]
fn what_was_read_before_a_restore_is_read_again() {
    let mut twin = Twin::new(1 << 20, Arc::new(Unobserved));
    twin.put(0, b"key", b"value");
    twin.commit();
    twin.checkpoint().unwrap();
    let mut fresh = stores(&twin.backend, &twin.folder().join("fresh"));
    assert_eq!(fresh.get(0, b"key").unwrap(), None);
    let saved = twin.archive.remove(0);
    fresh.restore(saved.segment, saved.deltas).unwrap();
    assert_eq!(fresh.get(0, b"key").unwrap().unwrap(), b"value");
}

/// Harms the files of a local store; the store is rebuilt after one failed start, at most.
fn check_damage(harm: impl Fn(&std::path::Path)) {
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    for round in 0..3_u32 {
        twin.put(0, &round.to_le_bytes(), b"value");
        twin.commit();
        twin.checkpoint().unwrap();
        twin.stores.mark().unwrap();
    }
    twin.stores = stores(&twin.backend, &twin.folder().join("elsewhere"));
    for entry in fs::read_dir(twin.folder().join("db")).unwrap() {
        harm(&entry.unwrap().path());
    }
    let mut attempts = 0;
    while twin.restart().and_then(|()| twin.stores.get(0, &[9; 4]).map(drop)).is_err() {
        attempts += 1;
        assert!(attempts < 2, "the damage is found for ever");
    }
    twin.compare();
}

#[test]
fn a_damaged_rocksdb_costs_one_failed_start_and_no_more() {
    let is = |path: &std::path::Path, beginning: &str| path.file_name().unwrap().to_str().unwrap().starts_with(beginning);
    check_damage(|path| {
        if path.extension().is_some_and(|extension| extension == "sst") {
            fs::remove_file(path).unwrap();
        }
    });
    check_damage(|path| {
        if is(path, "MANIFEST") {
            fs::remove_file(path).unwrap();
        }
    });
    check_damage(|path| {
        if is(path, "MANIFEST") {
            fs::write(path, b"").unwrap();
        }
    });
    check_damage(|path| {
        if is(path, "CURRENT") {
            fs::write(path, b"MANIFEST-999999\n").unwrap();
        }
    });
    check_damage(|path| {
        if is(path, "CURRENT") {
            fs::write(path, b"").unwrap();
        }
    });
}

/// A task with deltas of equal content, written twice.
fn contents(backend: &Backend, folder: &std::path::Path, deltas: Vec<DeltaFile>) -> Vec<(u16, Vec<u8>, Vec<u8>)> {
    fs::create_dir_all(folder).unwrap();
    let mut restored: TaskStores = stores(backend, folder);
    restored.restore(Digest::of(b""), deltas).unwrap();
    let mut found = Vec::new();
    restored.entries(|store, key, value| found.push((store, key.to_vec(), value.to_vec()))).unwrap();
    found
}

#[test]
fn deltas_of_the_same_changes_hold_the_same_keys_and_values() {
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    for number in 0..5000_u32 {
        twin.put(0, &number.wrapping_mul(2_654_435_761).to_be_bytes(), &number.to_le_bytes());
    }
    twin.put(1, b"gone", b"");
    twin.stores.delete(1, b"gone").unwrap();
    twin.commit();
    let frozen = twin.stores.freeze().unwrap().unwrap();
    let folder = twin.folder();
    let (first, second) = (frozen.write_deltas(&folder, "first").unwrap(), frozen.write_deltas(&folder, "second").unwrap());
    let written: Vec<_> = first.iter().map(|delta| (delta.store, delta.content, delta.entries)).collect();
    assert_eq!(written, [(0, DeltaContent::Changes, 5000), (1, DeltaContent::Changes, 1), (1, DeltaContent::Deletions, 1)]);
    assert!(first[2].path.to_str().unwrap().ends_with("/first-1-deleted.sst"));
    let found = contents(&twin.backend, &folder.join("a"), first.clone());
    assert_eq!(found.len(), 5000);
    assert!(found == contents(&twin.backend, &folder.join("b"), second));
    // Consumed, the list of deletions included, which was not read as changes.
    assert!(first.iter().all(|delta| !delta.path.exists()));
}
