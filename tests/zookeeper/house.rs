//! What these tests share: a job whose output shows each record that was lost or repeated, at a place of its own in ZooKeeper. Refuses to judge
//! anything but how a job ends that ends well.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;

use crate::harness::host::{Ended, Host};
use crate::harness::lab::Lab;
use crate::harness::sequences::Sequences;
use crate::harness::znodes::{Node, Znodes};
use crate::harness::{checkpoints, clock, jobs};

/// The shortest session that there is: tests wait for its end.
pub(super) const SESSION: Duration = Duration::from_secs(1);
/// A session that no test waits for: the longest that the server grants.
pub(super) const LONG_SESSION: Duration = Duration::from_secs(10);
/// What a host says whose session has expired.
pub(super) const EXPIRED: &str = "lost the session with ZooKeeper";
/// Who tells of each try to reach a server.
pub(super) const LIBRARY: &str = "zookeeper_client::session";
/// What is said while ZooKeeper is out of reach.
pub(super) const OUTAGE: [&str; 2] = [EXPIRED, LIBRARY];
/// What a host says that waits for another.
pub(super) const WAITS: &str = "waits until another host lets go of the job";
/// Records of a job that has a hundred checkpoints or more.
pub(super) const RECORDS: usize = 300_000;
/// Keys of a file: all counts are enough for bases.
const KEYS: u32 = 500;

/// A job and its place.
pub(super) struct Site {
    /// The folder.
    pub(super) lab: Lab,
    server: SocketAddr,
    session: Duration,
    expected: Sequences,
}

impl Site {
    /// A job of so many records whose hosts have sessions of this length with this server.
    pub(super) fn new(random: &mut StdRng, records: usize, (server, session): (SocketAddr, Duration)) -> Self {
        let expected = Sequences::new(random, (records, KEYS));
        let lab = Lab::with_job(jobs::SEQUENCES);
        expected.write(&lab);
        Self { lab, server, session, expected }
    }

    /// The root of this site's nodes: no other test has it.
    pub(super) fn root(&self) -> String {
        let folder = self.lab.path("");
        let name = folder.file_name().unwrap().to_str().unwrap();
        format!("/tests/{name}")
    }

    /// The path of one of the job's nodes.
    pub(super) fn node(&self, name: &str) -> String {
        format!("{}/tenants/default/jobs/sequences/{name}", self.root())
    }

    /// The job's nodes with their contents.
    pub(super) fn tree(&self) -> Vec<(String, Vec<u8>)> {
        let tree = self.znodes().tree(self.node("").trim_end_matches('/'));
        assert!(!tree.is_empty(), "no node of the job was found");
        tree
    }

    /// The coordinator, seen through `address`.
    pub(super) fn coordinator(&self, address: SocketAddr) -> String {
        format!("zookeeper://{address}{}", self.root())
    }

    /// A host on data folder `data` that reaches the server through `address`.
    pub(super) fn start_at(&self, data: &str, address: SocketAddr) -> Host {
        let session = format!("{}s", self.session.as_secs());
        self.lab.start_on(data, &["--coordinator", &self.coordinator(address), "--session-timeout", &session])
    }

    /// A host on data folder `data`.
    pub(super) fn start(&self, data: &str) -> Host {
        self.start_at(data, self.server)
    }

    /// A reader of the nodes.
    pub(super) fn znodes(&self) -> Znodes {
        Znodes::connect(self.server)
    }

    /// The last confirmed checkpoint, as ZooKeeper has it.
    pub(super) fn latest(&self, znodes: &mut Znodes) -> u64 {
        match znodes.get(&self.node("latest")) {
            Node::There(content) => serde_json::from_slice::<serde_json::Value>(&content).unwrap()["number"].as_u64().unwrap(),
            Node::Absent => 0,
            Node::Denied => panic!("latest is not open to the test"),
        }
    }

    /// Waits until ZooKeeper has a confirmed checkpoint above this one, by `host`. Gives it.
    #[track_caller]
    pub(super) fn confirmed_above(&self, above: u64, host: &mut Host) -> u64 {
        let mut znodes = self.znodes();
        clock::wait("a new checkpoint in ZooKeeper", || {
            assert!(!host.is_over(), "the host is over:\n{}", host.stderr());
            Some(self.latest(&mut znodes)).filter(|&latest| latest > above)
        })
    }

    /// The nodes of hosts and candidates.
    pub(super) fn present(&self, znodes: &mut Znodes) -> Vec<String> {
        ["hosts", "election"].iter().flat_map(|folder| znodes.children(&format!("{}/{folder}", self.root()))).collect()
    }

    /// Demands that this process, the last one, has finished the job: the output is right, all that was saved is whole, the list of
    /// checkpoints says so, nobody is left in ZooKeeper, and nothing was told but what is listed.
    #[track_caller]
    pub(super) fn finished_by(&self, ended: Ended, data: &str, listed: &[&str]) {
        let ended = ended.calm().code(0).unwarned(listed);
        println!("{}", ended.line("finished").or_else(|| ended.line("already finished")).unwrap_or(&ended.stderr));
        self.expected.left_by(&self.lab);
        let list = self.list(data);
        let last = list.last().expect("a checkpoint on record");
        assert!(last["status"] == "confirmed" && last["number"].as_u64() == Some(self.latest(&mut self.znodes())), "{list:#?}");
        let coordinator = self.coordinator(self.server);
        let verify = ["checkpoint", "verify", "job.toml", "--data", data, "--coordinator", &coordinator, "--output", "json"];
        let verified: serde_json::Value = serde_json::from_str(&self.lab.gregor(&verify).code(0).stdout).unwrap();
        assert!(verified["ok"] == true && verified["objects"].as_u64() > Some(0), "{verified:#}");
        let present = self.present(&mut self.znodes());
        assert!(present.is_empty(), "{present:?} are left in ZooKeeper");
    }

    /// The checkpoints as the program lists them.
    pub(super) fn list(&self, data: &str) -> Vec<serde_json::Value> {
        checkpoints::list_of(&self.lab, &["--data", data, "--coordinator", &self.coordinator(self.server)])
    }
}
