//! What a guest may make grow inside its sandbox: linear memories and tables, each all together. Refuses growth beyond the limit by letting
//! it fail, as the language's allocator expects, and remembers that it did, so that whatever follows can be explained.

use gregor_model::limits::{CORE_INSTANCES_MAX, TABLE_ENTRIES_MAX};
use wasmtime::ResourceLimiter;

/// Sizes of all memories and tables of one instance, and their limits.
#[derive(Debug)]
pub(crate) struct Growth {
    memory_bytes: u64,
    memory_bytes_max: u64,
    table_entries: usize,
    reached: Option<String>,
}

impl Growth {
    /// Nothing yet, under a limit in bytes.
    pub(crate) const fn new(memory_bytes_max: u64) -> Self {
        Self { memory_bytes: 0, memory_bytes_max, table_entries: 0, reached: None }
    }

    /// Bytes of all memories now.
    pub(crate) const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// The limit that was reached since this was asked last, in words.
    pub(crate) const fn take_reached(&mut self) -> Option<String> {
        self.reached.take()
    }
}

impl ResourceLimiter for Growth {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        let after = self.memory_bytes.saturating_add(more);
        if after > self.memory_bytes_max {
            self.reached = Some(format!("memory limit of {} reached", bytes_text(self.memory_bytes_max)));
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The module's own maximum: no limit of ours, and no growth to count.
            return Ok(false);
        }
        self.memory_bytes = after;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Growth that was allowed and then failed stays counted: this is also told of growth that was never asked for above, so taking it
        // off would let a guest take the same bytes off twice.
        self.reached.get_or_insert_with(|| format!("memory could not grow ({error})"));
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let after = self.table_entries.saturating_add(more);
        if after > TABLE_ENTRIES_MAX {
            self.reached = Some(format!("table limit of {TABLE_ENTRIES_MAX} entries reached"));
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table_entries = after;
        Ok(true)
    }

    fn instances(&self) -> usize {
        count(CORE_INSTANCES_MAX)
    }

    fn tables(&self) -> usize {
        count(CORE_INSTANCES_MAX)
    }

    fn memories(&self) -> usize {
        count(CORE_INSTANCES_MAX)
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A number of bytes in the largest binary unit that divides it.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes != 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_together_stay_below_the_limit() {
        let mut growth = Growth::new(1 << 20);
        assert!(growth.memory_growing(0, 512 << 10, None).unwrap());
        assert!(growth.memory_growing(0, 512 << 10, None).unwrap());
        assert!(!growth.memory_growing(512 << 10, 576 << 10, None).unwrap());
        assert_eq!(growth.memory_bytes(), 1 << 20);
        assert_eq!(growth.take_reached().as_deref(), Some("memory limit of 1 MiB reached"));
        assert_eq!(growth.take_reached(), None);
    }

    #[test]
    fn growth_beyond_the_modules_own_maximum_is_not_counted() {
        let mut growth = Growth::new(1 << 20);
        assert!(growth.memory_growing(0, 64 << 10, Some(64 << 10)).unwrap());
        assert!(!growth.memory_growing(64 << 10, 128 << 10, Some(64 << 10)).unwrap());
        assert_eq!((growth.memory_bytes(), growth.take_reached()), (64 << 10, None));
    }

    #[test]
    fn growth_that_failed_takes_nothing_off_and_is_explained() {
        let mut growth = Growth::new(1 << 20);
        assert!(growth.memory_growing(0, 64 << 10, None).unwrap());
        growth.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        growth.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert_eq!(growth.memory_bytes(), 64 << 10);
        assert_eq!(growth.take_reached().as_deref(), Some("memory could not grow (no memory)"));
    }

    #[test]
    fn tables_are_limited_too() {
        let mut growth = Growth::new(1 << 20);
        assert!(growth.table_growing(0, TABLE_ENTRIES_MAX, None).unwrap());
        assert!(!growth.table_growing(TABLE_ENTRIES_MAX, TABLE_ENTRIES_MAX + 1, None).unwrap());
        assert_eq!(growth.take_reached().as_deref(), Some("table limit of 1000000 entries reached"));
    }

    #[test]
    fn sizes_read_well() {
        for (bytes, expected) in [(64 << 20, "64 MiB"), (1 << 30, "1 GiB"), (1536, "1536 bytes"), (3 << 10, "3 KiB"), (0, "0 bytes")] {
            assert_eq!(bytes_text(bytes), expected);
        }
    }
}
