//! One ZooKeeper for all tests that leave it alone: it starts with the first of them and ends with the last. Refuses to be disturbed: whoever
//! kills a server, or counts all that happens in it, starts one of its own.

use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};

use super::zookeeper::ZooKeeper;

static RUNNING: Mutex<Weak<Shared>> = Mutex::new(Weak::new());

/// A running server that others may be using as well.
pub(crate) struct Shared {
    address: SocketAddr,
    /// The server lives until this is dropped.
    keep: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    /// The server, which is started if none is running.
    pub(crate) fn server() -> Arc<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = running.upgrade() {
            return shared;
        }
        let (started, address) = sync_channel(1);
        let (keep, until) = sync_channel::<()>(0);
        // The server dies with the thread that has started it, which is to be no test's.
        let body = move || {
            let server = ZooKeeper::start();
            started.send(server.address()).unwrap();
            // Nothing is ever sent: the sender goes.
            assert!(until.recv().is_err());
        };
        let thread = Builder::new().name("zookeeper".to_owned()).spawn(body).unwrap();
        let address = address.recv().expect("ZooKeeper starts; why not stands above");
        let shared = Arc::new(Self { address, keep: Some(keep), thread: Some(thread) });
        *running = Arc::downgrade(&shared);
        shared
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.keep = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
