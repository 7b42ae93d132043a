//! What all stores of a process share: one block cache, one budget of write buffers, one budget of open RocksDBs. Refuses to know any task.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use gregor_model::steps::Steps;
use rocksdb::{BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, Env, LogLevel, Options, WriteBufferManager};

use crate::local::Local;

/// Bits a key of the bloom filters: one false positive in a hundred reads of an absent key.
const BLOOM_BITS: f64 = 10.0;
/// Bytes of a piece of an index or a filter: that of the keys of some hundred data blocks.
const METADATA_BLOCK_BYTES: usize = 16 * 1024;
/// Bytes that a family's memtable grows to: four of the largest batches, so that a trickle of small deltas makes few files.
const MEMTABLE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes by which a memtable grows: RocksDB's default of 1 MiB would be taken by every store that holds one key.
const ARENA_BLOCK_BYTES: usize = 64 * 1024;
/// Files that one RocksDB keeps open, so that ten thousand small deltas restored in a row don't use up the descriptors of the process.
const OPEN_FILES_MAX: i32 = 256;
/// Flushes and compactions of one process at once.
const BACKGROUND_JOBS: i32 = 2;

/// How much memory and how many files the stores of a process may take together.
#[derive(Debug, Clone)]
pub struct BackendOptions {
    /// Bytes of blocks, indexes and filters kept in memory, for all stores together.
    pub block_cache_bytes: usize,
    /// Bytes of memtables, for all stores together; above it the largest is flushed.
    pub write_buffer_bytes: usize,
    /// Bytes of values that a task keeps in memory though RocksDB has them. What fits is read from RocksDB once.
    pub clean_bytes_per_task: usize,
    /// RocksDBs open at once (each takes 271 KiB and 7 descriptors); the least recently used is closed.
    pub open_stores_max: usize,
}

/// The shared part of all stores. Cheap to clone.
#[derive(Clone)]
pub struct Backend(Arc<Shared>);

struct Shared {
    db_options: Options,
    family_options: Options,
    steps: Arc<dyn Steps>,
    clean_bytes_per_task: usize,
    open_stores_max: usize,
    open: Mutex<Vec<Weak<Local>>>,
    /// Counts uses of stores: what "recently" is measured in.
    uses: AtomicU64,
    /// Counts folders that were made for work beside the stores: what they are told apart by.
    scratches: AtomicU64,
}

impl Backend {
    /// Makes the caches, and lets compactions of this process, which have threads of their own, give way to all that has work. `steps` is told of
    /// every durable step of every store.
    #[must_use]
    pub fn new(options: &BackendOptions, steps: Arc<dyn Steps>) -> Self {
        yield_to_guests();
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let buffers = WriteBufferManager::new_write_buffer_manager(options.write_buffer_bytes, false);
        Self(Arc::new(Shared {
            db_options: db_options(&buffers),
            family_options: family_options(&cache),
            steps,
            clean_bytes_per_task: options.clean_bytes_per_task,
            open_stores_max: options.open_stores_max.max(1),
            open: Mutex::new(Vec::new()),
            uses: AtomicU64::new(0),
            scratches: AtomicU64::new(0),
        }))
    }

    pub(crate) fn db_options(&self) -> &Options {
        &self.0.db_options
    }

    pub(crate) fn family_options(&self) -> &Options {
        &self.0.family_options
    }

    pub(crate) fn steps(&self) -> &dyn Steps {
        &*self.0.steps
    }

    pub(crate) fn clean_bytes_per_task(&self) -> usize {
        self.0.clean_bytes_per_task
    }

    /// The number of the next use of a store.
    pub(crate) fn use_number(&self) -> u64 {
        self.0.uses.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of the next scratch folder, from 1.
    pub(crate) fn scratch_number(&self) -> u64 {
        self.0.scratches.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes note of a store that was opened, and closes those least recently used while there are too many. A store in use is left open, so
    /// for a moment there may be as many above the budget as threads are at work.
    pub(crate) fn opened(&self, local: &Arc<Local>) {
        let mut surplus = {
            let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|other| other.upgrade().is_some_and(|other| other.is_open()));
            let others: Vec<_> = open.iter().filter_map(Weak::upgrade).filter(|other| !Arc::ptr_eq(other, local)).collect();
            if !open.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(local))) {
                open.push(Arc::downgrade(local));
            }
            others
        };
        let mut over = (surplus.len() + 1).saturating_sub(self.0.open_stores_max);
        surplus.sort_by_key(|other| other.used());
        for other in surplus {
            if over == 0 {
                break;
            }
            // Closing never waits for a lock: two stores that are opened at once might wait for each other.
            if other.close_unused() {
                over -= 1;
            }
        }
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("open_stores_max", &self.0.open_stores_max).finish_non_exhaustive()
    }
}

/// Gives the threads that compact the lowest priority: on a machine with few cores they would preempt guests, and a freeze that waits behind one
/// for its turn misses its millisecond. Flushes keep theirs: they are short, and an applier waits for them. A compaction that falls behind holds
/// ingestion back (`LEVEL_ZERO_FILES_MAX`), and with it the inputs, so it gets its turn before level 0 grows.
fn yield_to_guests() {
    match Env::new() {
        // This is RocksDB's one default environment, which all stores of the process share; it outlives this handle.
        Ok(mut env) => env.lower_thread_pool_cpu_priority(),
        Err(error) => tracing::warn!(%error, "compactions run at the priority of guests, and may hold them up"),
    }
}

fn db_options(buffers: &WriteBufferManager) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_write_buffer_manager(buffers);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    // Its own log would be one more file a task that nobody reads; its errors come back from its calls.
    options.set_log_level(LogLevel::Error);
    options.set_keep_log_file_num(1);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options
}

fn family_options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(BLOOM_BITS, false);
    // Indexes and filters count against the cache too: otherwise ten thousand tasks' filters have no bound.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_optimize_filters_for_memory(true);
    // In pieces, of which a read needs one each: the cache has 64 shards, and what outgrows a shard is read from disk again each time. The filter of
    // a file of a few million keys did: a read took 70 µs instead of 3.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_metadata_block_size(METADATA_BLOCK_BYTES);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_arena_block_size(ARENA_BLOCK_BYTES);
    options
}
