//! What this process has written into the archive and no confirmed manifest names yet: a collector leaves it alone. Refuses nothing; an object
//! that is never taken out stays until the next start.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keys of objects on their way. Copies share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<BTreeSet<String>>>);

impl InFlight {
    /// Before an object is created.
    pub(crate) fn add(&self, key: &str) {
        self.lock().insert(key.to_owned());
    }

    /// After the manifest that names it is confirmed, or when it is given up.
    pub(crate) fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    /// All of them, now.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
