//! What calls are refused, and that a refusal changes nothing; how many RocksDBs are open; what a task costs that does nothing.

use std::sync::Arc;

use gregor_model::digest::Digest;
use gregor_model::limits::{BULK_KEYS_MAX, CALL_WRITE_BYTES_MAX, CURSORS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use gregor_model::steps::Unobserved;

use super::model::{Twin, options, stores, strings};
use crate::{Backend, Direction, KeyRange, Slot, StateError};

const ALL: KeyRange = KeyRange { start: None, end: None, direction: Direction::Forward };

fn twin() -> Twin {
    Twin::new(0, Arc::new(Unobserved))
}

#[test]
fn what_crosses_threads_may() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<crate::TaskStores>();
    sent::<crate::Apply>();
    sent::<crate::Applied>();
    shared::<crate::Frozen>();
    shared::<Backend>();
    shared::<StateError>();
}

#[test]
fn keys_values_stores_and_columns_are_checked() {
    let mut stores = twin().stores;
    let (key, value) = (vec![0; KEY_BYTES_MAX + 1], vec![0; VALUE_BYTES_MAX + 1]);
    assert!(matches!(stores.get(2, b""), Err(StateError::NoSuchStore(2))));
    assert!(matches!(stores.scan(9, ALL), Err(StateError::NoSuchStore(9))));
    assert!(matches!(stores.put(0, &key, b""), Err(StateError::TooLarge(length)) if length == key.len() as u64));
    assert!(matches!(stores.put(0, b"", &value), Err(StateError::TooLarge(length)) if length == value.len() as u64));
    assert!(matches!(stores.get(0, &key), Err(StateError::TooLarge(_))));
    assert!(matches!(stores.add(0, &key, 1), Err(StateError::TooLarge(_))));
    assert!(matches!(stores.delete(0, &key), Err(StateError::TooLarge(_))));
    let (absent, two) = (strings([Some(&b"a"[..]), None]), strings([Some(&b"a"[..]), Some(b"b")]));
    let (absent, two) = (absent.as_strings().unwrap(), two.as_strings().unwrap());
    assert!(matches!(stores.get_many(0, absent), Err(StateError::InvalidColumns(_))));
    assert!(matches!(stores.put_many(0, absent, two), Err(StateError::InvalidColumns(_))));
    assert!(matches!(stores.add_many(0, absent, &[1]), Err(StateError::InvalidColumns(_))));
    assert!(matches!(stores.add_many(0, two, &[1, 2, 3]), Err(StateError::InvalidColumns(_))));
    assert!(matches!(stores.put_many(0, two, strings([None]).as_strings().unwrap()), Err(StateError::InvalidColumns(_))));
    stores.put(0, &key[1..], &value[1..]).unwrap();
    assert_eq!(stores.get(0, &key[1..]).unwrap().unwrap().len(), VALUE_BYTES_MAX);
}

#[test]
fn a_bulk_call_that_fails_has_done_nothing() {
    let mut twin = twin();
    twin.put(0, b"text", b"no counter");
    twin.commit();
    for number in 0..3_i64 {
        twin.put(0, &number.to_le_bytes(), &number.to_le_bytes());
    }
    twin.stores.delete(0, b"deleted").unwrap();
    let keys = [&0_i64.to_le_bytes()[..], b"new", b"deleted", &1_i64.to_le_bytes(), b"new", &0_i64.to_le_bytes(), b"text"];
    let keys = strings(keys.iter().map(|key| Some(*key)));
    assert!(matches!(twin.stores.add_many(0, keys.as_strings().unwrap(), &[5]), Err(StateError::NotACounter(10))));
    twin.compare();
    assert_eq!(twin.stores.add(0, b"new", 1).unwrap(), 1);
}

#[test]
fn a_call_writes_no_more_than_its_share_and_the_next_one_may_again() {
    let mut stores = twin().stores;
    let value = vec![0; VALUE_BYTES_MAX];
    let mut written = 0;
    while stores.put(written % 2, &written.to_le_bytes(), &value).is_ok() {
        written += 1;
        assert!(usize::from(written) * VALUE_BYTES_MAX <= CALL_WRITE_BYTES_MAX, "no end");
    }
    assert_eq!(usize::from(written), CALL_WRITE_BYTES_MAX / VALUE_BYTES_MAX - 1);
    assert!(matches!(stores.put(0, b"one more", &value), Err(StateError::CallTooLarge { .. })));
    // Cursors share what was written before them, but each change makes another copy.
    for _ in 0..10 {
        stores.scan(0, ALL).unwrap();
    }
    stores.put(0, b"small", b"").unwrap();
    assert!(matches!(stores.scan(0, ALL), Err(StateError::CallTooLarge { .. })));
    stores.rollback();
    stores.put(0, b"one more", &value).unwrap();
}

#[test]
fn an_answer_has_a_limit_whatever_is_asked() {
    let mut stores = twin().stores;
    stores.put(0, b"key", &vec![0; VALUE_BYTES_MAX]).unwrap();
    let keys = strings((0..100_000).map(|_| Some(&b"key"[..])));
    assert!(matches!(stores.get_many(0, keys.as_strings().unwrap()), Err(StateError::CallTooLarge { .. })));
}

#[test]
fn cursors_are_counted_and_end_with_their_call() {
    let mut stores = twin().stores;
    let first = stores.scan(0, ALL).unwrap();
    for _ in 1..CURSORS_MAX {
        stores.scan(1, ALL).unwrap();
    }
    assert!(matches!(stores.scan(0, ALL), Err(StateError::TooManyCursors(CURSORS_MAX))));
    stores.close(first);
    let last = stores.scan(0, ALL).unwrap();
    stores.commit();
    assert!(matches!(stores.next(last, 1), Err(StateError::NoSuchCursor)));
    assert!(matches!(stores.next(first, 1), Err(StateError::NoSuchCursor)));
}

#[test]
fn the_order_of_checkpoints_is_enforced() {
    let mut twin = twin();
    assert!(twin.stores.freeze().unwrap().is_none());
    twin.put(0, b"a", b"");
    assert!(matches!(twin.stores.freeze(), Err(StateError::Misuse(_))));
    twin.stores.commit();
    let frozen = twin.stores.freeze().unwrap().unwrap();
    assert!(matches!(twin.stores.freeze(), Err(StateError::Misuse(_))));
    assert!(matches!(twin.stores.wipe(), Err(StateError::Misuse(_))));
    assert!(twin.stores.dirty_bytes() > 0);
    let deltas = frozen.write_deltas(&twin.folder(), "a").unwrap();
    let apply = twin.stores.confirm(deltas, Digest::of(b"a")).unwrap().unwrap();
    assert_eq!((twin.stores.lower_slot(), twin.stores.dirty_bytes()), (Slot::Taken, 0));
    // A segment without changes may be confirmed meanwhile; one with changes has to wait.
    assert!(twin.stores.freeze().unwrap().is_none());
    assert!(twin.stores.confirm(Vec::new(), Digest::of(b"b")).unwrap().is_none());
    twin.stores.put(0, b"c", b"").unwrap();
    twin.stores.commit();
    let frozen = twin.stores.freeze().unwrap().unwrap();
    let deltas = frozen.write_deltas(&twin.folder(), "c").unwrap();
    assert!(matches!(twin.stores.confirm(deltas, Digest::of(b"c")), Err(StateError::Misuse(_))));
    let applied = apply.run().unwrap();
    twin.stores.applied(applied);
    assert_eq!(twin.stores.lower_slot(), Slot::Free);
    twin.stores.mark().unwrap();
    assert_eq!(twin.stores.marker().unwrap().unwrap().segment, Digest::of(b"b"));
}

#[test]
fn a_task_that_reads_and_writes_only_its_maps_touches_no_disk() {
    let backend = Backend::new(&options(1 << 20), Arc::new(Unobserved));
    let folder = tempfile::tempdir().unwrap();
    let task = folder.path().join("task");
    let mut stores = stores(&backend, &task);
    assert_eq!(stores.get(0, b"nothing").unwrap(), None);
    assert_eq!(stores.add(0, b"count", 1).unwrap(), 1);
    stores.commit();
    assert!(stores.freeze().unwrap().is_some());
    stores.entries(|store, key, value| assert_eq!((store, key, value), (0, &b"count"[..], &1_i64.to_le_bytes()[..]))).unwrap();
    assert!(!task.exists());
}

#[test]
fn stores_beyond_the_budget_are_closed_and_come_back_with_all_they_had() {
    let backend = Backend::new(&options(0), Arc::new(Unobserved));
    let folder = tempfile::tempdir().unwrap();
    let mut tasks: Vec<_> = (0..6).map(|number| stores(&backend, &folder.path().join(number.to_string()))).collect();
    for round in 0..3_u8 {
        for (number, task) in (0_u8..).zip(&mut tasks) {
            task.put(0, &[round], &[number]).unwrap();
            task.commit();
            let frozen = task.freeze().unwrap().unwrap();
            let deltas = frozen.write_deltas(folder.path(), "delta").unwrap();
            let apply = task.confirm(deltas, Digest::of(&[round])).unwrap().unwrap();
            let applied = apply.run().unwrap();
            task.applied(applied);
        }
        assert!(tasks.iter().filter(|task| task.local.is_open()).count() <= 2);
    }
    for (number, task) in (0_u8..).zip(&mut tasks) {
        let mut found = Vec::new();
        task.entries(|_, key, value| found.push((key.to_vec(), value.to_vec()))).unwrap();
        assert_eq!(found, (0..3).map(|round| (vec![round], vec![number])).collect::<Vec<_>>());
    }
}

#[test]
fn a_bulk_call_names_so_many_keys_and_no_more() {
    let mut stores = twin().stores;
    for (more, refused) in [(0, false), (1, true)] {
        let keys = strings((0..BULK_KEYS_MAX + more).map(|_| Some(&b""[..])));
        let keys = keys.as_strings().unwrap();
        assert_eq!(matches!(stores.put_many(0, keys, keys), Err(StateError::TooManyKeys(BULK_KEYS_MAX))), refused, "put {more}");
        stores.rollback();
        assert_eq!(matches!(stores.get_many(0, keys), Err(StateError::TooManyKeys(BULK_KEYS_MAX))), refused, "get {more}");
        assert_eq!(matches!(stores.add_many(0, keys, &[1]), Err(StateError::TooManyKeys(BULK_KEYS_MAX))), refused, "add {more}");
        stores.rollback();
    }
}
