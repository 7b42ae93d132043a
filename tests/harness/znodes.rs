//! Reads ZooKeeper's nodes with a client of a few requests that shares no line with the one under test, as somebody would who looks at the tree
//! with ZooKeeper's own tools. Refuses to write, to watch, and to keep its session alive: it lasts for as long as a test looks.
//!
//! ```text
//! frame    length of what follows (4 bytes), content; all numbers big-endian
//! connect  protocol 0 (4), last transaction (8), time-out in ms (4), session (8), password (4 + 16), read-only (1)
//! request  number (4), kind (4), path (4 + n), watch (1)
//! answer   number (4), transaction (8), error (4), content
//! ```

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);
const SESSION_MS: u32 = 10_000;
/// Kinds of requests.
const GET_DATA: u32 = 4;
const GET_CHILDREN: u32 = 8;
const ADD_AUTH: u32 = 100;
/// Numbers of errors.
const NO_NODE: i32 = -101;
const NO_AUTH: i32 = -102;
/// The number of a request for authentication.
const AUTH_NUMBER: u32 = (-4_i32).cast_unsigned();
/// The number of a message that answers no request.
const EVENT_NUMBER: u32 = u32::MAX;

/// A session that reads.
pub(crate) struct Znodes {
    stream: TcpStream,
    last: u32,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// Its content.
    There(Vec<u8>),
    /// There is none.
    Absent,
    /// It is not open to who asks.
    Denied,
}

impl Znodes {
    /// Connects to a server.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("ZooKeeper at {address}: {error}"));
        stream.set_read_timeout(Some(ANSWER_TIME)).unwrap();
        let mut znodes = Self { stream, last: 0 };
        let mut hello = vec![0; 4 + 8];
        hello.extend(SESSION_MS.to_be_bytes());
        hello.extend([0; 8]);
        hello.extend(sized(&[0; 16]));
        hello.push(0);
        znodes.stream.write_all(&sized(&hello)).unwrap();
        znodes.frame();
        znodes
    }

    /// Says who asks.
    pub(crate) fn authenticate(&mut self, user_and_password: &str) {
        let mut request = [AUTH_NUMBER.to_be_bytes(), ADD_AUTH.to_be_bytes(), [0; 4]].concat();
        request.extend(sized(b"digest"));
        request.extend(sized(user_and_password.as_bytes()));
        self.stream.write_all(&sized(&request)).unwrap();
        let (error, _) = self.answer(AUTH_NUMBER);
        assert_eq!(error, 0, "ZooKeeper refuses these credentials");
    }

    /// A node.
    pub(crate) fn get(&mut self, path: &str) -> Node {
        match self.ask(GET_DATA, path) {
            (0, content) => {
                let length = usize::try_from(i32::from_be_bytes(*content.first_chunk().unwrap()).max(0)).unwrap();
                Node::There(content[4..4 + length].to_vec())
            }
            (NO_NODE, _) => Node::Absent,
            (NO_AUTH, _) => Node::Denied,
            (error, _) => panic!("ZooKeeper answers with error {error} for {path}"),
        }
    }

    /// The content of a node as JSON. Panics where there is none.
    #[track_caller]
    pub(crate) fn json(&mut self, path: &str) -> serde_json::Value {
        let Node::There(content) = self.get(path) else { panic!("{path} can't be read") };
        serde_json::from_slice(&content).unwrap_or_else(|error| panic!("{path}: {error}: {}", String::from_utf8_lossy(&content)))
    }

    /// The names below a node, sorted; none where it is gone.
    pub(crate) fn children(&mut self, path: &str) -> Vec<String> {
        let (error, content) = self.ask(GET_CHILDREN, path);
        if error == NO_NODE {
            return Vec::new();
        }
        assert_eq!(error, 0, "the names below {path}");
        let (count, mut rest) = content.split_first_chunk::<4>().unwrap();
        let mut names = Vec::new();
        for _ in 0..u32::from_be_bytes(*count) {
            let (length, behind) = rest.split_first_chunk::<4>().unwrap();
            let (name, behind) = behind.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
            names.push(String::from_utf8(name.to_vec()).unwrap());
            rest = behind;
        }
        names.sort();
        names
    }

    /// A node and all below it, each path with its content; nodes that come or go meanwhile may be left out.
    pub(crate) fn tree(&mut self, top: &str) -> Vec<(String, Vec<u8>)> {
        let mut paths = vec![top.to_owned()];
        let mut tree = Vec::new();
        while let Some(path) = paths.pop() {
            let Node::There(content) = self.get(&path) else { continue };
            paths.extend(self.children(&path).into_iter().map(|name| format!("{path}/{name}")));
            tree.push((path, content));
        }
        tree.sort();
        tree
    }

    fn ask(&mut self, kind: u32, path: &str) -> (i32, Vec<u8>) {
        self.last += 1;
        let mut request = [self.last.to_be_bytes(), kind.to_be_bytes()].concat();
        request.extend(sized(path.as_bytes()));
        request.push(0);
        self.stream.write_all(&sized(&request)).unwrap();
        self.answer(self.last)
    }

    /// The error and the content of an answer.
    fn answer(&mut self, number: u32) -> (i32, Vec<u8>) {
        loop {
            let frame = self.frame();
            let (found, rest) = frame.split_first_chunk::<4>().unwrap();
            let found = u32::from_be_bytes(*found);
            if found == EVENT_NUMBER {
                continue;
            }
            assert_eq!(found, number, "an answer to another request");
            let (error, content) = rest[8..].split_first_chunk::<4>().unwrap();
            return (i32::from_be_bytes(*error), content.to_vec());
        }
    }

    fn frame(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).expect("ZooKeeper answers");
        let mut content = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut content).expect("ZooKeeper answers to the end");
        content
    }
}

/// Bytes with their length in front.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}
