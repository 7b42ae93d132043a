//! What every test of the system stands on: a folder of its own with a job in it, host processes that die with the test, random text with a
//! reference count, and the one place that waits. Refuses to know what is right: that is each test's business.

pub(crate) mod checkpoints;
pub(crate) mod clock;
pub(crate) mod corpus;
pub(crate) mod disturbance;
pub(crate) mod host;
pub(crate) mod jobs;
pub(crate) mod lab;
pub(crate) mod ledger;
pub(crate) mod output;
pub(crate) mod proxy;
pub(crate) mod seed;
pub(crate) mod sequences;
pub(crate) mod shared;
pub(crate) mod znodes;
pub(crate) mod zookeeper;

use std::path::{Path, PathBuf};

/// The checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The compiled tasks, as `make plugins` leaves them.
pub(crate) fn plugins() -> PathBuf {
    let folder = root().join("target/plugins");
    for name in ["rust/split", "rust/count", "rust/identity", "rust/filter", "hostile/hostile"] {
        let file = folder.join(name).with_extension("wasm");
        assert!(file.is_file(), "{} is missing: run `make plugins`", file.display());
    }
    folder
}
