//! Everything at once, for as long as one likes: jobs over ZooKeeper whose hosts are killed, stopped, replaced and robbed of their stores, behind
//! networks that fail and archives that fail or are slow, with servers that die, one job after the other. Refuses to let a record be lost or repeated, whatever came together.
//! `make soak` runs it for ten minutes; without a time it does one job.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng as _};
use rustix::process::Signal;

use crate::harness::host::Host;
use crate::harness::lab::{self, Lab};
use crate::harness::proxy::{Network, Proxy};
use crate::harness::sequences::Sequences;
use crate::harness::zookeeper::ZooKeeper;
use crate::harness::{checkpoints, clock, jobs, seed};

/// Records of a job: enough for each kind of disturbance.
const RECORDS: usize = 400_000;
const KEYS: u32 = 500;
/// Disturbances of one job; then it is left in peace, so that it ends.
const DISTURBANCES: u32 = 25;
/// The same where no time was given: some seconds.
const DISTURBANCES_SHORT: u32 = 8;
const SESSION: &str = "1s";
/// The data folders of the hosts.
const FOLDERS: [&str; 3] = ["data", "other", "third"];
/// How a host may end that was not killed: done, fenced off, or short of something for too long.
const CODES: [i32; 2] = [0, 1];

/// What was done, and how often.
type Counts = BTreeMap<&'static str, u32>;

/// What may be done to a job.
#[derive(Debug, Clone, Copy)]
enum Act {
    Kill,
    KillAndForget,
    StandStill,
    Terminate,
    AnotherHost,
    Network(Network),
    KillServer,
}

/// One in so many; the more often the cheaper it is.
const ACTS: [Act; 14] = [
    Act::Kill,
    Act::Kill,
    Act::Kill,
    Act::KillAndForget,
    Act::StandStill,
    Act::Terminate,
    Act::AnotherHost,
    Act::AnotherHost,
    Act::Network(Network::Cut),
    Act::Network(Network::RequestsLost),
    Act::Network(Network::RepliesLost),
    Act::Network(Network::RepliesLate),
    Act::Network(Network::HalfClosed),
    Act::KillServer,
];

/// A job under way.
struct Job<'a> {
    lab: Lab,
    server: &'a mut ZooKeeper,
    proxy: Proxy,
    root: String,
    /// The data folder of the host that was started last.
    last: &'static str,
    /// By the index of its folder.
    hosts: BTreeMap<usize, Host>,
    /// Draws what the archive of the next host is like; none = it is well.
    archives: Option<StdRng>,
    counts: &'a mut Counts,
}

#[test]
fn jobs_under_all_disturbances_at_once_lose_and_repeat_nothing() {
    let mut random = seed::random("jobs_under_all_disturbances_at_once_lose_and_repeat_nothing");
    let time = Duration::from_secs(seed::given("GREGOR_SOAK_SECONDS").unwrap_or(0));
    let begun = clock::now();
    let mut server = ZooKeeper::start();
    let (mut counts, mut jobs) = (Counts::new(), 0);
    while jobs == 0 || begun.elapsed() < time {
        let disturbances = if time.is_zero() { DISTURBANCES_SHORT } else { DISTURBANCES };
        job(&mut random, (&mut server, jobs, disturbances), &mut counts);
        jobs += 1;
        println!("{jobs} jobs in {:?}: {counts:?}", begun.elapsed());
    }
    assert!(counts.values().sum::<u32>() > jobs, "hardly anything was disturbed: {counts:?}");
}

/// One job, from its first start to the comparison of what it left.
fn job(random: &mut StdRng, (server, index, disturbances): (&mut ZooKeeper, u32, u32), counts: &mut Counts) {
    let expected = Sequences::new(random, (RECORDS, KEYS));
    let lab = Lab::with_job(jobs::SEQUENCES);
    // A host that stands still while it reads is not to find out that it was too slow.
    lab.edit_job("collect-grace = \"2 s\"", "collect-grace = \"10 s\"");
    expected.write(&lab);
    let proxy = Proxy::start(server.address());
    let archives = Some(StdRng::seed_from_u64(random.random()));
    let mut job = Job { lab, server, proxy, root: format!("/soak/{index}"), last: FOLDERS[0], hosts: BTreeMap::new(), archives, counts };
    let mut done = 0;
    while !job.is_over(random) {
        if done < disturbances {
            job.pause(random.random_range(0..400));
            job.act(random);
            done += 1;
        } else {
            job.archives = None;
        }
    }
    let hosts = std::mem::take(&mut job.hosts);
    for host in hosts.into_values() {
        host.end().calm();
    }
    expected.left_by(&job.lab);
    let (data, coordinator) = (job.last, job.coordinator());
    let place = ["--data", data, "--coordinator", &coordinator];
    let list = checkpoints::list_of(&job.lab, &place);
    assert!(list.last().is_some_and(|last| last["status"] == "confirmed"), "{list:#?}");
    job.lab.gregor(&[&["checkpoint", "verify", "job.toml"], &place[..]].concat()).code(0);
}

impl Job<'_> {
    fn coordinator(&self) -> String {
        format!("zookeeper://{}{}", self.proxy.address(), self.root)
    }

    fn start(&mut self, folder: usize) {
        let coordinator = self.coordinator();
        let mut arguments = vec!["--coordinator", &coordinator, "--session-timeout", SESSION];
        let fault = self.archives.as_mut().and_then(|random| {
            let kind = ["flaky", "slow"][random.random_range(0..2)];
            random.random_ratio(1, 3).then(|| (kind, format!("{kind}:{}", random.random::<u64>())))
        });
        if let Some((kind, fault)) = &fault {
            arguments.extend(["--fault", fault]);
            *self.counts.entry(kind).or_default() += 1;
        }
        let host = self.lab.start_on(FOLDERS[folder], &arguments);
        self.last = FOLDERS[folder];
        self.hosts.insert(folder, host);
    }

    /// The same, unless one is running there.
    fn start_another(&mut self, folder: usize) {
        if !self.hosts.contains_key(&folder) {
            self.start(folder);
        }
    }

    /// Whether the job is done: some host says so. Sees to it that a host is running otherwise.
    fn is_over(&mut self, random: &mut StdRng) -> bool {
        let ended: Vec<usize> = self.hosts.iter_mut().filter_map(|(&folder, host)| host.is_over().then_some(folder)).collect();
        for folder in ended {
            let ended = self.hosts.remove(&folder).unwrap().end().calm();
            let code = ended.code.unwrap_or_else(|| panic!("signal {:?}:\n{}", ended.signal, ended.stderr));
            assert!(CODES.contains(&code), "exit {code}:\n{}", ended.stderr);
            if code == 0 {
                return true;
            }
        }
        if self.hosts.is_empty() {
            self.start(random.random_range(0..FOLDERS.len()));
        }
        self.pause(5);
        false
    }

    /// Lets so many milliseconds pass, unless a host ends.
    fn pause(&mut self, ms: u64) {
        let begun = clock::now();
        let hosts = &mut self.hosts;
        clock::wait("the instant", || {
            (hosts.values_mut().any(Host::is_over) || begun.elapsed() >= Duration::from_millis(ms)).then_some(())
        });
    }

    fn act(&mut self, random: &mut StdRng) {
        let act = ACTS[random.random_range(0..ACTS.len())];
        let Some(&folder) = self.hosts.keys().nth(random.random_range(0..self.hosts.len().max(1))) else { return };
        let name = match act {
            Act::Kill => self.end(folder, Signal::KILL),
            Act::KillAndForget => {
                self.end(folder, Signal::KILL);
                lab::remove(&self.lab.path(FOLDERS[folder]).join("state"));
                "store deleted"
            }
            Act::Terminate => self.end(folder, Signal::TERM),
            Act::StandStill => {
                self.hosts[&folder].signal(Signal::STOP);
                self.start_another((folder + 1) % FOLDERS.len());
                let ms = random.random_range(0..3_000);
                self.pause(ms);
                self.hosts[&folder].signal(Signal::CONT);
                "stood still"
            }
            Act::AnotherHost => {
                self.start_another(random.random_range(0..FOLDERS.len()));
                "another host"
            }
            Act::Network(network) => {
                let switch = self.proxy.switch();
                switch.set(network);
                self.pause(random.random_range(0..2_500));
                switch.set(Network::Whole);
                "network"
            }
            Act::KillServer => {
                self.server.kill();
                self.pause(random.random_range(0..2_500));
                self.server.restart();
                "server killed"
            }
        };
        *self.counts.entry(name).or_default() += 1;
    }

    /// Ends a host with a signal.
    fn end(&mut self, folder: usize, signal: Signal) -> &'static str {
        let Some(host) = self.hosts.remove(&folder) else { return "none" };
        host.signal(signal);
        let ended = host.end().calm();
        let as_asked = match signal {
            Signal::KILL => ended.signal == Some(9),
            // Before a job begins nothing listens: the signal itself ends the process, which to a shell is the same.
            _ => ended.code == Some(143) || ended.signal == Some(15),
        };
        let by_itself = ended.code.is_some_and(|code| CODES.contains(&code));
        assert!(as_asked || by_itself, "{signal:?}, and it ended with {:?}:\n{}", ended.code, ended.stderr);
        if signal == Signal::KILL { "killed" } else { "terminated" }
    }
}
