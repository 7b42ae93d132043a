//! The address of a coordinator, `zookeeper://host:port,host:port/path`, checked. Refuses what ZooKeeper would refuse later and less clearly:
//! no server, no port, a path that is none, and the top of the tree, where everybody's nodes would lie among each other.

use std::fmt;

use crate::error::CoordinationError;

/// Servers of one address: quorums have three to seven.
const SERVERS_MAX: usize = 32;
/// Bytes of a path: it stands in front of each node of a request, of which there may be two thousand, and ZooKeeper takes 1 MiB.
const PATH_BYTES_MAX: usize = 128;
const SCHEME: &str = "zookeeper://";

/// Where a cluster's coordination is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// The servers, `host:port` each, separated by commas.
    pub servers: String,
    /// The node below which everything stands.
    pub root: Root,
}

/// The path of the node below which everything of a cluster stands: `/` and a name, once or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(String);

impl Root {
    /// Takes a path as a root.
    ///
    /// # Errors
    /// It is no path, or the top of the tree.
    pub fn new(path: &str) -> Result<Self, CoordinationError> {
        let refused = |problem: &str| refused(&format!("ZooKeeper path {path:?}"), problem);
        if path.is_empty() || path == "/" {
            return Err(refused("names no node; write one behind the servers, as in zookeeper://localhost:2181/gregor"));
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(refused("is longer than 128 bytes"));
        }
        let Some(names) = path.strip_prefix('/') else { return Err(refused("does not begin with /")) };
        if names.split('/').any(|name| !is_name(name)) {
            return Err(refused("is not made of names of a-z A-Z 0-9 . _ - between single slashes"));
        }
        if names.split('/').next() == Some("zookeeper") {
            return Err(refused("lies below /zookeeper, which is ZooKeeper's own"));
        }
        Ok(Self(path.to_owned()))
    }

    /// The path as text, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Url {
    /// Takes a text `zookeeper://host:port,host:port/path` as an address.
    ///
    /// # Errors
    /// It is none: [`CoordinationError::Refused`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, CoordinationError> {
        let refused = |problem: &str| refused(&format!("coordinator {text:?}"), problem);
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err(refused("is no address of ZooKeeper; write zookeeper://host:port,host:port/path"));
        };
        let (servers, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if servers.is_empty() {
            return Err(refused("names no server; write zookeeper://host:port/path"));
        }
        if servers.contains('@') {
            return Err(refused("holds a user; give user and password apart, so that they show up in no list of processes"));
        }
        if servers.split(',').count() > SERVERS_MAX {
            return Err(refused("names more than 32 servers"));
        }
        for server in servers.split(',') {
            check_server(server).map_err(|problem| refused(&format!("has the server {server:?}, which {problem}")))?;
        }
        Ok(Self { servers: servers.to_owned(), root: Root::new(path)? })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.servers, self.root)
    }
}

fn check_server(server: &str) -> Result<(), &'static str> {
    let Some((host, port)) = server.rsplit_once(':') else { return Err("has no port; write host:port") };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let right = match inner {
        Some(address) => !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-' || byte == b'_'),
    };
    if !right {
        return Err("has no host that could be one; an IPv6 address stands in brackets");
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => Err("has no port from 1 to 65535"),
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || byte == b'-';
    !name.is_empty() && name != "." && name != ".." && name.bytes().all(allowed)
}

fn refused(what: &str, problem: &str) -> CoordinationError {
    CoordinationError::Refused { what: what.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_servers_and_a_path() {
        for (text, servers, root) in [
            ("zookeeper://localhost:2181/gregor", "localhost:2181", "/gregor"),
            ("zookeeper://a.b:1,c-d:65535,10.0.0.1:2181/x/y_z/0", "a.b:1,c-d:65535,10.0.0.1:2181", "/x/y_z/0"),
            ("zookeeper://[::1]:2181/g", "[::1]:2181", "/g"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.servers.as_str(), url.root.as_str()), (servers, root), "{text}");
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_is_wrong_with_it() {
        for (text, said) in [
            ("", "write zookeeper://"),
            ("local", "write zookeeper://"),
            ("http://a:1/b", "write zookeeper://"),
            ("zookeeper://", "names no server"),
            ("zookeeper:///gregor", "names no server"),
            ("zookeeper://a:1", "names no node"),
            ("zookeeper://a:1/", "names no node"),
            ("zookeeper://a/gregor", "has no port; write host:port"),
            ("zookeeper://a:/gregor", "no port from 1 to 65535"),
            ("zookeeper://a:0/gregor", "no port from 1 to 65535"),
            ("zookeeper://a:65536/gregor", "no port from 1 to 65535"),
            ("zookeeper://a:1,/gregor", "has the server \"\""),
            ("zookeeper://:1/gregor", "no host"),
            ("zookeeper://a b:1/gregor", "no host"),
            ("zookeeper://::1:1/gregor", "brackets"),
            ("zookeeper://me:secret@a:1/gregor", "user and password apart"),
            ("zookeeper://a:1//gregor", "single slashes"),
            ("zookeeper://a:1/gregor/", "single slashes"),
            ("zookeeper://a:1/gregor/../b", "single slashes"),
            ("zookeeper://a:1/gre\u{301}gor", "single slashes"),
            ("zookeeper://a:1/zookeeper/config", "ZooKeeper's own"),
        ] {
            let Err(CoordinationError::Refused { what, problem }) = Url::parse(text) else { panic!("{text:?} was taken") };
            assert!(format!("{what} {problem}").contains(said), "{text:?}: {what} {problem}");
        }
        assert!(Url::parse(&format!("zookeeper://a:1/{}", "x".repeat(600))).is_err());
        assert!(Url::parse(&format!("zookeeper://{}a:1/x", "a:1,".repeat(40))).is_err());
    }
}
