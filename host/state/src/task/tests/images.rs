//! Images: what is in one and what isn't, and what a start makes of it, whole or damaged. Each is compared with plain maps; random histories
//! with images stand in `history`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gregor_model::digest::Digest;
use gregor_model::names::StoreName;
use gregor_model::steps::Unobserved;

use super::model::{Base, OWNER, Twin, copy_base, entries, stores};
use crate::{Image, StateError, TaskStores};

/// A task with a checkpoint of both stores.
fn twin() -> Twin {
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    for number in 0..3000_u32 {
        twin.put(0, &number.to_be_bytes(), &[7; 100]);
        twin.put(1, &number.to_le_bytes(), b"");
    }
    twin.commit();
    twin.checkpoint().unwrap();
    twin
}

fn base(twin: &mut Twin) -> Base {
    assert!(twin.rebase().unwrap());
    twin.base.take().unwrap()
}

fn image(stores: &TaskStores, folder: &Path) -> Image {
    stores.image().take(folder).unwrap().unwrap()
}

#[test]
fn an_image_holds_what_was_applied_and_nothing_later() {
    let mut twin = twin();
    let (segment, before) = (twin.archive[0].segment, twin.confirmed.clone());
    let source = twin.stores.image();
    // Written, frozen, and confirmed: none of it is applied when the image is taken.
    twin.put(0, b"later", b"");
    twin.stores.delete(1, &0_u32.to_le_bytes()).unwrap();
    twin.call[1].remove(&0_u32.to_le_bytes()[..]);
    twin.commit();
    twin.save().unwrap();
    twin.confirm().unwrap();
    let taken = source.take(&twin.folder()).unwrap().unwrap();
    assert_eq!(taken.segment, segment);
    twin.apply().unwrap();
    let mut elsewhere = stores(&twin.backend, &twin.folder().join("elsewhere"));
    elsewhere.restore_image(segment, &taken.folder).unwrap();
    assert!(entries(&mut elsewhere) == before);
    twin.compare();
}

#[test]
fn a_task_that_never_applied_anything_has_no_image() {
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    twin.put(0, b"key", b"value");
    twin.commit();
    assert!(twin.stores.image().take(&twin.folder()).unwrap().is_none());
    assert_eq!(fs::read_dir(twin.folder()).unwrap().count(), 0);
    // A segment without changes is one, too.
    let mut twin = Twin::new(0, Arc::new(Unobserved));
    twin.checkpoint().unwrap();
    assert!(twin.rebase().unwrap());
    twin.compare_base();
}

#[test]
fn an_image_is_restored_as_often_as_wanted_but_only_into_a_wiped_store() {
    let mut twin = twin();
    let base = base(&mut twin);
    let folder = twin.folder().join("elsewhere");
    let mut elsewhere = stores(&twin.backend, &folder);
    for _ in 0..2 {
        elsewhere.restore_image(base.segment, &copy_base(&base, &twin.folder())).unwrap();
        assert!(entries(&mut elsewhere) == twin.confirmed);
        let copy = copy_base(&base, &twin.folder());
        assert!(matches!(elsewhere.restore_image(base.segment, &copy), Err(StateError::Misuse(_))));
        assert!(entries(&mut elsewhere) == twin.confirmed && copy.exists());
        elsewhere.wipe().unwrap();
        assert!(entries(&mut elsewhere).iter().all(|store| store.is_empty()));
    }
    elsewhere.put(0, b"change", b"").unwrap();
    elsewhere.commit();
    assert!(matches!(elsewhere.restore_image(base.segment, &copy_base(&base, &twin.folder())), Err(StateError::Misuse(_))));
}

#[test]
fn a_warm_start_after_an_image_finds_the_marker_of_its_segment() {
    let mut twin = twin();
    let base = base(&mut twin);
    let folder = twin.folder().join("elsewhere");
    let reopen = || stores(&twin.backend, &folder);
    let mut elsewhere = reopen();
    elsewhere.set_owner(OWNER.0, OWNER.1);
    elsewhere.restore_image(base.segment, &copy_base(&base, &twin.folder())).unwrap();
    drop(elsewhere);
    let mut elsewhere = reopen();
    let marker = elsewhere.marker().unwrap().unwrap();
    assert_eq!((marker.incarnation, marker.branch, marker.segment), (OWNER.0, OWNER.1, base.segment));
    elsewhere.set_owner(OWNER.0, OWNER.1);
    assert!(entries(&mut elsewhere) == twin.confirmed);
    // Nothing was applied since: its image is that of the marker.
    assert_eq!(image(&elsewhere, &twin.folder()).segment, base.segment);
}

#[test]
fn an_image_that_lacks_a_file_or_a_part_of_one_is_refused_and_a_good_one_is_taken_afterwards() {
    let mut twin = twin();
    let base = base(&mut twin);
    let names: Vec<_> = fs::read_dir(&base.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() >= 4, "two stores, a manifest and CURRENT: {names:?}");
    let mut elsewhere = stores(&twin.backend, &twin.folder().join("elsewhere"));
    elsewhere.set_owner(OWNER.0, OWNER.1);
    let mut check = |damage: &dyn Fn(&Path)| {
        let copy = copy_base(&base, &twin.folder());
        damage(&copy);
        let refused = elsewhere.restore_image(base.segment, &copy);
        assert!(matches!(refused, Err(StateError::Altered { .. } | StateError::Unfinished { .. })), "{refused:?}");
        // As a host does: it wipes, and may try again.
        elsewhere.wipe().unwrap();
        elsewhere.restore_image(base.segment, &copy_base(&base, &twin.folder())).unwrap();
        assert!(entries(&mut elsewhere) == twin.confirmed);
        elsewhere.wipe().unwrap();
    };
    for name in &names {
        check(&|copy| fs::remove_file(copy.join(name)).unwrap());
        // The end of a manifest is what was added last: an older store, which only the digest tells from a damaged one.
        if !name.to_str().unwrap().starts_with("MANIFEST") {
            check(&|copy| fs::write(copy.join(name), &fs::read(copy.join(name)).unwrap()[..5]).unwrap());
        }
    }
    check(&|copy| names.iter().for_each(|name| fs::write(copy.join(name), []).unwrap()));
    check(&|copy| fs::remove_dir_all(copy).unwrap());
}

#[test]
fn an_altered_byte_of_an_image_shows_in_its_digest() {
    let twin = twin();
    let taken = image(&twin.stores, &twin.folder());
    for file in &taken.files {
        let (length, good) = file.digest().unwrap();
        assert_eq!(length, file.length);
        let mut bytes = fs::read(&file.path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        // The file itself is a link to the store's own.
        let path = twin.folder().join("altered");
        fs::write(&path, bytes).unwrap();
        assert_ne!(crate::ImageFile { path, ..file.clone() }.digest().unwrap(), (length, good), "{}", file.name);
    }
    let folder = taken.folder.clone();
    taken.discard();
    assert!(!folder.exists());
}

#[test]
fn stores_come_and_go_between_versions_of_a_component() {
    let twin = twin();
    let taken = image(&twin.stores, &twin.folder());
    let names = ["counts", "new"].map(|name| StoreName::new(name).unwrap());
    let mut other = TaskStores::new(&twin.backend, twin.folder().join("elsewhere"), names.to_vec());
    other.restore_image(taken.segment, &taken.folder).unwrap();
    let found = entries(&mut other);
    assert!(found[0] == twin.confirmed[0] && found[1].is_empty());
    other.put(1, b"key", b"value").unwrap();
    other.commit();
    let deltas = other.freeze().unwrap().unwrap().write_deltas(&twin.folder(), "delta").unwrap();
    let applied = other.confirm(deltas, Digest::of(b"next")).unwrap().unwrap().run().unwrap();
    other.applied(applied);
    assert_eq!(other.get(1, b"key").unwrap().unwrap(), b"value");
}

#[test]
fn later_compactions_do_not_disturb_an_image() {
    let mut twin = twin();
    let before = twin.confirmed.clone();
    let taken = image(&twin.stores, &twin.folder());
    for number in 0..3000_u32 {
        twin.stores.delete(0, &number.to_be_bytes()).unwrap();
    }
    twin.call[0].clear();
    twin.commit();
    twin.checkpoint().unwrap();
    twin.stores.mark().unwrap();
    let db = twin.stores.local.pause().unwrap();
    db.continue_background_work().unwrap();
    db.compact_range_cf(db.cf_handle("s-counts").unwrap(), None::<&[u8]>, None::<&[u8]>);
    assert!(taken.files.iter().any(|file| !twin.folder().join("db").join(&file.name).exists()), "nothing was compacted");
    let mut elsewhere = stores(&twin.backend, &twin.folder().join("elsewhere"));
    elsewhere.restore_image(taken.segment, &taken.folder).unwrap();
    assert!(entries(&mut elsewhere) == before);
    // Whoever compacts gives way to whoever works.
    let threads =
        fs::read_dir("/proc/self/task").unwrap().filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok());
    let nice: Vec<_> = threads.filter(|stat| stat.contains("(rocksdb:low")).map(|stat| nice_of(&stat)).collect();
    assert!(nice.contains(&19), "the priorities of compactions are {nice:?}");
}

/// Field 19 of a thread's `stat`, by proc(5); its name is the second, in parentheses.
fn nice_of(stat: &str) -> i32 {
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse().unwrap()
}
