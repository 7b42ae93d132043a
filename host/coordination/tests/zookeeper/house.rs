//! What the tests of the coordinator over ZooKeeper share: options, names, and durable steps that a test acts upon. Refuses to test anything.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gregor_coordination::zookeeper::{Options, Root, ZooKeeperCoordinator};
use gregor_coordination::{Begin, CoordinationError};
use gregor_model::digest::Digest;
use gregor_model::manifest::ObjectRef;
use gregor_model::names::{Boot, CheckpointNumber, HostId, Incarnation, JobName, SavepointName, StreamName};
use gregor_model::register::StreamRecord;
use gregor_model::steps::{DurableStep, Side, StepFailure, Steps, Unobserved};

/// Short, so that a session expires soon; long enough for a busy machine.
pub(crate) const SESSION: Duration = Duration::from_secs(2);
/// Longer than any outage of a test that is to be survived.
const OUTAGE: Duration = Duration::from_secs(60);

pub(crate) fn job() -> JobName {
    JobName::new("wordcount").unwrap()
}

pub(crate) fn begin(boot: u128) -> Begin {
    Begin { boot: Boot(boot), fresh: Incarnation(boot), streams: streams(boot) }
}

pub(crate) fn streams(incarnation: u128) -> Vec<StreamRecord> {
    let name = StreamName::new("words").unwrap();
    vec![StreamRecord { name, incarnation: Incarnation(incarnation), partitions: 8, ancestors: vec![] }]
}

pub(crate) fn object(key: &str) -> ObjectRef {
    ObjectRef { key: key.to_owned(), sha256: Digest::of(key.as_bytes()) }
}

pub(crate) fn name(text: &str) -> SavepointName {
    SavepointName::new(text).unwrap()
}

pub(crate) const fn number(number: u64) -> CheckpointNumber {
    CheckpointNumber(number)
}

/// Options of host `host` for the server at `address`.
pub(crate) fn options(address: SocketAddr, host: u128) -> Options {
    Options {
        servers: address.to_string(),
        root: Root::new("/gregor/test").unwrap(),
        session_timeout: SESSION,
        outage_limit: OUTAGE,
        host: HostId(host),
        credentials: None,
        job: job(),
        steps: Arc::new(Unobserved),
    }
}

pub(crate) fn open(address: SocketAddr, host: u128) -> ZooKeeperCoordinator {
    ZooKeeperCoordinator::open(options(address, host)).unwrap()
}

/// Demands that a call was fenced off.
#[track_caller]
pub(crate) fn fenced<T>(outcome: Result<T, CoordinationError>) {
    match outcome {
        Err(CoordinationError::Fenced { .. }) => {}
        Err(other) => panic!("it failed otherwise: {other}"),
        Ok(_) => panic!("it was not fenced off"),
    }
}

/// What is done at announcements of a side, each time.
type Act = Box<dyn FnMut() -> bool + Send>;

/// Does something at one side of each write; the write fails where it answers false.
pub(crate) struct At {
    side: Side,
    act: Mutex<Act>,
}

impl At {
    pub(crate) fn new(side: Side, act: impl FnMut() -> bool + Send + 'static) -> Arc<Self> {
        Arc::new(Self { side, act: Mutex::new(Box::new(act)) })
    }
}

impl Steps for At {
    fn announce(&self, step: DurableStep, side: Side) -> Result<(), StepFailure> {
        assert_eq!(step, DurableStep::RegisterWrite);
        if side != self.side || (self.act.lock().unwrap())() { Ok(()) } else { Err(StepFailure { number: 1, step }) }
    }
}
