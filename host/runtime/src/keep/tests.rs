//! Upkeep that fails half-way: what of it is kept, what goes, and whom it holds up.

use std::fs;
use std::sync::atomic::AtomicU32;

use crossbeam_channel::bounded;
use gregor_archive::LocalStore;
use gregor_model::history::DeltaLink;
use gregor_model::names::{Incarnation, JobName};
use gregor_model::segment::DeltaContent;
use gregor_model::steps::{DurableStep, Side, StepFailure, Steps, Unobserved};
use gregor_state::BackendOptions;
use tokio::runtime::Runtime;

use super::*;

/// Lets so many objects be created, and no more.
struct Room(AtomicU32);

impl Steps for Room {
    fn announce(&self, step: DurableStep, side: Side) -> Result<(), StepFailure> {
        if (step, side) != (DurableStep::ArchivePut, Side::Before) {
            return Ok(());
        }
        let taken = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        taken.map(drop).map_err(|_| StepFailure { number: 0, step })
    }
}

struct Bench {
    folder: tempfile::TempDir,
    io: Runtime,
    room: Arc<Room>,
    keeper: Keeper,
}

impl Bench {
    fn new() -> Self {
        let (folder, io) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        let room = Arc::new(Room(AtomicU32::new(100)));
        let options =
            BackendOptions { block_cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20, clean_bytes_per_task: 0, open_stores_max: 1 };
        let keeper = Keeper {
            archive: Arc::new(LocalStore::open(&folder.path().join("archive"), Arc::clone(&room) as Arc<dyn Steps>).unwrap()),
            io: io.handle().clone(),
            keys: JobKeys::new(&JobName::new("keep").unwrap(), Incarnation(7)),
            boot: Boot(8),
            parts: Arc::default(),
            files: AtomicU64::new(0),
            in_flight: InFlight::default(),
            backend: Backend::new(&options, Arc::new(Unobserved)),
            folder: folder.path().to_owned(),
            rate: u64::MAX,
            clock: Clock::start(),
            events: bounded(1).0,
            shutdown: Shutdown::default(),
        };
        Self { folder, io, room, keeper }
    }

    /// An image of files with these contents.
    fn image(&self, contents: &[&str]) -> Image {
        let folder = self.folder.path().join("image");
        fs::create_dir_all(&folder).unwrap();
        let file = |(number, content): (usize, &&str)| {
            let (name, path) = (format!("{number}.sst"), folder.join(format!("{number}.sst")));
            fs::write(&path, content).unwrap();
            ImageFile { name, path, length: content.len() as u64 }
        };
        Image { segment: Digest::of(b"segment"), folder: folder.clone(), files: contents.iter().enumerate().map(file).collect() }
    }

    fn objects(&self) -> usize {
        self.io.block_on(self.keeper.archive.list(self.keeper.keys.root())).unwrap().len()
    }
}

fn kept(task: usize) -> Kept {
    let id = TaskId { stage: 0, partition: u32::try_from(task).unwrap() };
    Kept { task, id, name: format!("keep/{task}"), stores: vec![StoreName::new("words").unwrap()] }
}

#[test]
fn a_base_that_failed_half_way_goes_on_with_what_it_had_put_there() {
    let bench = Bench::new();
    let keeper = &bench.keeper;
    let mut begun = Vec::new();
    bench.room.0.store(2, Ordering::SeqCst);
    let failed = keeper.base(&kept(0), &bench.image(&["a", "b", "c"]), (&[], &mut begun));
    assert!(matches!(failed, Err(RunError::Failed(_))), "{failed:?}");
    let uploaded: Vec<String> = begun.iter().map(|file: &BaseFile| file.object.key.clone()).collect();
    assert_eq!((bench.objects(), uploaded.len(), keeper.in_flight.keys().len()), (2, 2, 2), "{uploaded:?}");
    // One file is another now, as `CURRENT` of a store is.
    bench.room.0.store(100, Ordering::SeqCst);
    let base = keeper.base(&kept(0), &bench.image(&["a", "x", "c"]), (&[], &mut begun)).unwrap().base;
    let named: Vec<&String> = base.files.iter().map(|file| &file.object.key).collect();
    assert_eq!(bench.objects(), 4, "a file was put there twice");
    assert_eq!(named.first(), uploaded.first().as_ref(), "the file that was there is not taken");
    assert!(begun.is_empty());
    // What no base will ever name is the collector's.
    assert_eq!(keeper.in_flight.keys().iter().collect::<Vec<_>>(), named);
}

#[test]
fn a_merge_that_finds_the_archive_damaged_says_so_and_holds_up_no_other() {
    let bench = Bench::new();
    let link = |deltas| Link { first: Digest::of(b"first"), segment: Digest::of(b"last"), segments: 2, deltas };
    let gone = DeltaLink {
        store: StoreName::new("words").unwrap(),
        content: DeltaContent::default(),
        part: ObjectRef { key: "gone".to_owned(), sha256: Digest::of(b"gone") },
        offset: 0,
        length: 9,
        sha256: Digest::of(b"gone"),
        entries: 1,
    };
    let merges = [(kept(0), vec![link(vec![gone])]), (kept(1), vec![link(Vec::new())]), (kept(2), vec![link(Vec::new())])];
    let results = bench.keeper.merge_all(&merges);
    let [(bad, KeepResult::Failed(RunError::Corrupt(damage))), (good, KeepResult::Merges(merged))] = &results[..] else {
        panic!("{} results, or others", results.len())
    };
    assert!(damage.contains("gone"), "{damage}");
    assert_eq!((&bad[..], &good[..], merged.merges.len()), (&[0][..], &[1, 2][..], 2));
}
