//! A real ZooKeeper of the test's own: one server on a free port of the loopback, data in a folder that goes with it. It can be killed, started
//! again on the same data, or on none. Refuses to run without ZooKeeper's jar: then the test fails and says how to get it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::clock;

/// ZooKeeper as Debian has it: its manifest names all that it needs.
const JAR: &str = "/usr/share/java/zookeeper.jar";
/// What makes it speak; without it there is no log.
const LOG_JAR: &str = "/usr/share/java/slf4j-simple.jar";
const INSTALL: &str = "apt-get install --yes --no-install-recommends libzookeeper-java libslf4j-java default-jre-headless";
/// How long one question to the server may take before it is asked again.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Times that a server is started before the test gives up: another process may take its port in between.
const STARTS_MAX: u32 = 5;

/// A running server.
pub(crate) struct ZooKeeper {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl ZooKeeper {
    /// Starts a server on a folder of its own and waits until it answers.
    pub(crate) fn start() -> Self {
        for file in [JAR, LOG_JAR] {
            assert!(Path::new(file).is_file(), "{file} is missing; get it with\n    {INSTALL}");
        }
        let folder = tempfile::Builder::new().prefix("gregor-zookeeper-").tempdir().unwrap();
        let mut server = Self { folder, port: 0, child: None };
        for _ in 0..STARTS_MAX {
            server.port = free_port();
            if server.run() {
                return server;
            }
        }
        panic!("ZooKeeper does not start:\n{}", server.log());
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Kills it with SIGKILL, as a machine does that loses its power.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on the same port and data.
    pub(crate) fn restart(&mut self) {
        self.kill();
        assert!(self.run(), "ZooKeeper does not start again:\n{}", self.log());
    }

    /// Kills it, and starts it again on the same port without any data.
    pub(crate) fn restart_empty(&mut self) {
        self.kill();
        fs::remove_dir_all(self.folder.path().join("data")).unwrap();
        self.restart();
    }

    /// The number of its last transaction.
    pub(crate) fn transactions(&self) -> u64 {
        let status = self.ask("srvr").expect("ZooKeeper runs");
        let zxid = status.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).unwrap_or_else(|| panic!("no Zxid in {status:?}"));
        u64::from_str_radix(zxid.trim(), 16).unwrap()
    }

    /// The paths of all ephemeral nodes, sorted.
    pub(crate) fn ephemerals(&self) -> Vec<String> {
        let dump = self.ask("dump").expect("ZooKeeper runs");
        let mut paths: Vec<String> = dump.lines().filter_map(|line| line.strip_prefix("\t/")).map(|path| format!("/{path}")).collect();
        paths.sort();
        paths
    }

    /// Starts the process. Answers false if it ended before it answered.
    fn run(&mut self) -> bool {
        let folder = self.folder.path();
        let data = folder.join("data");
        fs::create_dir_all(&data).unwrap();
        let configuration = format!(
            "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\ntickTime=500\nminSessionTimeout=1000\nmaxClientCnxns=0\n\
             admin.enableServer=false\n4lw.commands.whitelist=*\n",
            data.display(),
            self.port
        );
        let file = folder.join("zoo.cfg");
        fs::write(&file, configuration).unwrap();
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut command = java();
        command
            .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"])
            // A kill of the process loses nothing that the system has; only a power cut would.
            .args(["-Dzookeeper.forceSync=no", "-Dzookeeper.preAllocSize=1024", "-Dzookeeper.jmx.log4j.disable=true"])
            .args(["-cp", &format!("{JAR}:{LOG_JAR}"), "org.apache.zookeeper.server.quorum.QuorumPeerMain"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("java does not run ({error}); get it with\n    {INSTALL}"));
        let runs = clock::wait("ZooKeeper to answer", || match child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => self.ask("srvr").filter(|status| status.contains("Mode:")).map(|_| true),
        });
        self.child = Some(child).filter(|_| runs);
        runs
    }

    /// What it answers to a command of four letters; none if it does not.
    fn ask(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.address(), ANSWER_TIME).ok()?;
        stream.set_read_timeout(Some(ANSWER_TIME)).ok()?;
        stream.write_all(command.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer).filter(|answer| !answer.is_empty())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Java, which dies with the test's thread where `setpriv` can see to that: a test that is killed leaves no server behind.
fn java() -> Command {
    let works = Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        return Command::new("java");
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "java"]);
    command
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
