//! What stands in the nodes: small JSON values with a version, so that people can read them with ZooKeeper's own tools. Refuses a newer
//! version, what is no such value, and to write more than 64 KiB into a node: ZooKeeper takes 1 MiB a request at most, and a transaction must
//! fit as well.

use std::time::{Duration, SystemTime};

use gregor_model::digest::Digest;
use gregor_model::manifest::ObjectRef;
use gregor_model::names::{Attempt, Boot, Branch, CheckpointNumber, Generation, HostId, Incarnation, JobName, Term};
use gregor_model::register::{Status, StreamRecord};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of every node's content.
const VERSION: u32 = 1;
/// Bytes of a node, at most.
pub(super) const NODE_BYTES_MAX: usize = 64 * 1024;
/// The last millisecond of the year 9999, behind which no time has the form that is written.
const LAST_MS: u64 = 253_402_300_799_999;

/// Why bytes are not what a node must hold, or a value can't become one; readable behind the node's path.
pub(super) type Problem = String;

/// A content with its version in front of it.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    value: T,
}

/// The version alone, which is looked at before the rest.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// `version`: that the tree below the root is ours and complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {}

/// `cluster-id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ClusterNode {
    /// Random, 32 hexadecimal digits.
    pub(super) id: HostId,
}

/// `hosts/<host-id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct HostNode {
    pub(super) host: HostId,
    pub(super) process: u32,
    /// One opening of a coordinator: tells a process from its predecessor with the same host id.
    pub(super) instance: HostId,
    /// The program's version.
    pub(super) gregor: String,
}

/// `election/<tenant>.<job>-<sequence>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CandidateNode {
    pub(super) host: HostId,
    pub(super) process: u32,
    pub(super) instance: HostId,
}

/// `generation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct GenerationNode {
    pub(super) job: JobName,
    pub(super) incarnation: Incarnation,
    pub(super) branch: Branch,
    pub(super) term: Term,
    pub(super) generation: Generation,
    pub(super) attempt: Attempt,
    pub(super) boot: Boot,
    pub(super) streams: Vec<StreamRecord>,
}

/// `spec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SpecNode {
    #[serde(flatten)]
    pub(super) object: ObjectRef,
}

/// `checkpoints/<N>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CheckpointNode {
    pub(super) number: CheckpointNumber,
    pub(super) created_at: Time,
    pub(super) status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) manifest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<Digest>,
}

/// `latest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LatestNode {
    pub(super) number: CheckpointNumber,
    pub(super) manifest: String,
    pub(super) sha256: Digest,
}

/// `savepoints/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SavepointNode {
    pub(super) number: CheckpointNumber,
    pub(super) created_at: Time,
    pub(super) manifest: String,
    pub(super) sha256: Digest,
}

/// Milliseconds since 1970, up to the year 9999; as text `2026-11-22T10:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Time(u64);

impl Time {
    /// Takes milliseconds since 1970.
    pub(super) fn new(ms: u64) -> Result<Self, Problem> {
        if ms > LAST_MS {
            return Err(format!("can't hold the time {ms} ms since 1970: it lies behind the year 9999"));
        }
        Ok(Self(ms))
    }

    /// Milliseconds since 1970.
    pub(super) const fn ms(self) -> u64 {
        self.0
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(time.0)).to_string()
    }
}

impl TryFrom<String> for Time {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        let wrong = || format!("{text:?} is no time like 2026-11-22T10:00:00.000Z");
        let time = humantime::parse_rfc3339(&text).map_err(|_| wrong())?;
        let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| wrong())?;
        Self::new(u64::try_from(since.as_millis()).map_err(|_| wrong())?)
    }
}

/// The bytes of a node.
pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    let bytes = serde_json::to_vec(&Versioned { version: VERSION, value }).map_err(|error| format!("can't be written: {error}"))?;
    if bytes.len() > NODE_BYTES_MAX {
        return Err(format!("would hold {} bytes, {NODE_BYTES_MAX} at most are written into a node; declare fewer streams", bytes.len()));
    }
    Ok(bytes)
}

/// What stands in a node.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let unreadable = |error: serde_json::Error| format!("can't be read: {error}");
    let head: Head = serde_json::from_slice(bytes).map_err(unreadable)?;
    if head.version == 0 || head.version > VERSION {
        return Err(format!("has version {}, this program knows up to {VERSION}; use the newer gregor that wrote it", head.version));
    }
    let versioned: Versioned<T> = serde_json::from_slice(bytes).map_err(unreadable)?;
    Ok(versioned.value)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use gregor_model::names::StreamName;

    use super::*;

    /// What programs of version 1 wrote: never changed again. A new version gets a file of its own.
    const FIXTURE: &str = include_str!("../../tests/fixtures/znodes-v1");

    #[track_caller]
    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(node: &str, expected: &T) {
        let line = FIXTURE.lines().find_map(|line| line.strip_prefix(node)?.strip_prefix(' ')).unwrap_or_else(|| panic!("no {node}"));
        assert_eq!(decode::<T>(line.as_bytes()).as_ref(), Ok(expected), "{node} is read differently");
        assert_eq!(String::from_utf8(encode(expected).unwrap()).unwrap(), line, "{node} is written differently");
    }

    fn object() -> ObjectRef {
        ObjectRef { key: "tenants/default/jobs/wordcount/7".to_owned(), sha256: Digest([0xab; 32]) }
    }

    #[test]
    fn every_node_reads_and_writes_as_version_1_did() {
        let created_at = Time::new(1_795_341_600_000).unwrap();
        let (number, sha256) = (CheckpointNumber(7), object().sha256);
        check("version", &Layout {});
        check("cluster-id", &ClusterNode { id: HostId(1) });
        check("hosts", &HostNode { host: HostId(2), process: 4711, instance: HostId(3), gregor: "0.1.0".to_owned() });
        check("election", &CandidateNode { host: HostId(2), process: 4711, instance: HostId(3) });
        check("spec", &SpecNode { object: object() });
        let open = CheckpointNode { number, created_at, status: Status::Created, manifest: None, sha256: None };
        check("checkpoints-created", &open);
        check("checkpoints-aborted", &CheckpointNode { status: Status::Aborted, ..open.clone() });
        let confirmed = CheckpointNode { status: Status::Confirmed, manifest: Some(object().key), sha256: Some(sha256), ..open };
        check("checkpoints-confirmed", &confirmed);
        check("latest", &LatestNode { number, manifest: object().key, sha256 });
        check("savepoints", &SavepointNode { number, created_at, manifest: object().key, sha256 });
        let words = StreamRecord {
            name: StreamName::new("words").unwrap(),
            incarnation: Incarnation(5),
            partitions: 8,
            ancestors: vec![Incarnation(4)],
        };
        let generation = GenerationNode {
            job: JobName::new("wordcount").unwrap(),
            incarnation: Incarnation(6),
            branch: Branch(1),
            term: Term(2),
            generation: Generation(3),
            attempt: Attempt(4),
            boot: Boot(7),
            streams: vec![words],
        };
        check("generation", &generation);
    }

    #[test]
    fn no_shortened_newer_or_other_content_is_taken_for_a_node() {
        let bytes = encode(&ClusterNode { id: HostId(1) }).unwrap();
        for length in 0..bytes.len() {
            assert!(decode::<ClusterNode>(&bytes[..length]).is_err(), "cut at {length}");
        }
        let newer = decode::<ClusterNode>(br#"{"version":2,"id":7}"#).unwrap_err();
        assert!(newer.contains("version 2"), "{newer}");
        for other in [&b"{}"[..], b"[]", b"1", br#"{"version":0,"id":"00000000000000000000000000000001"}"#, br#"{"version":1,"id":"x"}"#] {
            assert!(decode::<ClusterNode>(other).is_err(), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn times_keep_their_milliseconds_and_end_with_the_year_9999() {
        for ms in [0, 1, 999, 1_795_341_600_123, LAST_MS] {
            let text = String::from(Time::new(ms).unwrap());
            assert_eq!(Time::try_from(text.clone()).map(Time::ms), Ok(ms), "{text}");
        }
        assert!(Time::new(LAST_MS + 1).is_err() && Time::new(u64::MAX).is_err());
        for text in ["", "7", "2026-11-22", "2026-11-22T10:00:00.000", "1969-12-31T23:59:59.999Z"] {
            assert!(Time::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_node_above_64_kib_is_not_written() {
        let wide = |length| SpecNode { object: ObjectRef { key: "x".repeat(length), sha256: Digest([0; 32]) } };
        assert!(encode(&wide(NODE_BYTES_MAX - 200)).is_ok());
        let refused = encode(&wide(NODE_BYTES_MAX)).unwrap_err();
        assert!(refused.contains("65536 at most"), "{refused}");
    }
}
