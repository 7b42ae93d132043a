//! What this process holds, as the system counts it. Refuses to guess: where `/proc` says nothing, the test fails.

use std::fs;

/// What is held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// Resident memory.
    pub(crate) memory_bytes: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
}

impl Taken {
    /// Now.
    pub(crate) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let figure = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
        };
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
        Self { memory_bytes: figure("VmRSS") * 1024, threads: figure("Threads"), descriptors }
    }
}
