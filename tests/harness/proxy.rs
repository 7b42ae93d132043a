//! A network that fails: a proxy for one TCP server, through which a test cuts connections, swallows what one side says, or holds it back.
//! Refuses to touch what it forwards: it knows no protocol.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long a side that says nothing is listened to before the network is looked at again.
const LISTEN_TIME: Duration = Duration::from_millis(5);

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// All is forwarded.
    Whole,
    /// Every connection is closed, and none is taken.
    Cut,
    /// What the client says is swallowed: it does not arrive.
    RequestsLost,
    /// What the server says is swallowed: it was done, but nobody hears of it.
    RepliesLost,
    /// What the server says waits until the network changes.
    RepliesLate,
    /// The same from the moment on when the client says something that has these bytes in it; until then all is forwarded.
    RepliesLateAfter(&'static [u8]),
    /// The server's side of each connection is closed as soon as it has said something, which is not forwarded; the client's stays open.
    HalfClosed,
}

/// A running proxy.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

/// Sets the network from anywhere, for as long as the proxy runs.
#[derive(Clone)]
pub(crate) struct Switch(Arc<Shared>);

struct Shared {
    state: Mutex<(Network, Life)>,
    changed: Condvar,
    target: SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Runs,
    Ends,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Reply,
}

impl Proxy {
    /// Starts a proxy for the server at `target`, on a free port of the loopback.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { state: Mutex::new((Network::Whole, Life::Runs)), changed: Condvar::new(), target });
        let accepting = Arc::clone(&shared);
        let acceptor = Builder::new().name("proxy".to_owned()).spawn(move || accept(&listener, &accepting)).unwrap();
        Self { shared, address, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the network.
    pub(crate) fn set(&self, network: Network) {
        self.shared.set(network);
    }

    /// How the network is now.
    pub(crate) fn network(&self) -> Network {
        self.shared.state().0
    }

    /// A handle that changes the network.
    pub(crate) fn switch(&self) -> Switch {
        Switch(Arc::clone(&self.shared))
    }
}

impl Switch {
    /// Changes the network.
    pub(crate) fn set(&self, network: Network) {
        self.0.set(network);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().1 = Life::Ends;
        self.shared.changed.notify_all();
        // The acceptor waits for a connection: this is its last.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn set(&self, network: Network) {
        self.state.lock().unwrap().0 = network;
        self.changed.notify_all();
    }

    fn state(&self) -> (Network, Life) {
        *self.state.lock().unwrap()
    }

    /// Waits while the server's words are held back.
    fn wait_while_late(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |(network, life)| *network == Network::RepliesLate && *life == Life::Runs).unwrap());
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut pumps = Vec::new();
    while let Ok((client, _)) = listener.accept() {
        match shared.state() {
            (_, Life::Ends) => break,
            (Network::Cut, _) => drop(client),
            _ => {
                let Ok(server) = TcpStream::connect(shared.target) else { continue };
                let (client_again, server_again) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                pumps.push(pump(shared, Direction::Request, (client, server)));
                pumps.push(pump(shared, Direction::Reply, (server_again, client_again)));
            }
        }
        pumps.retain(|pump| !pump.is_finished());
    }
    for pump in pumps {
        let _ = pump.join();
    }
}

fn pump(shared: &Arc<Shared>, direction: Direction, (mut from, mut to): (TcpStream, TcpStream)) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    let body = move || {
        forward(&shared, direction, (&mut from, &mut to));
        let _ = from.shutdown(Shutdown::Both);
        if shared.state().0 != Network::HalfClosed {
            let _ = to.shutdown(Shutdown::Both);
        }
    };
    Builder::new().name("proxy-pump".to_owned()).spawn(body).unwrap()
}

/// Forwards until either side is gone or the network is cut.
fn forward(shared: &Shared, direction: Direction, (from, to): (&mut TcpStream, &mut TcpStream)) {
    from.set_read_timeout(Some(LISTEN_TIME)).unwrap();
    let mut bytes = vec![0_u8; 64 * 1024];
    loop {
        if matches!(shared.state(), (Network::Cut, _) | (_, Life::Ends)) {
            return;
        }
        let length = match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => continue,
            Err(_) => return,
        };
        if direction == Direction::Reply {
            shared.wait_while_late();
        }
        if let (Network::RepliesLateAfter(bait), Direction::Request) = (shared.state().0, direction)
            && bytes[..length].windows(bait.len()).any(|window| window == bait)
        {
            shared.set(Network::RepliesLate);
        }
        match (shared.state().0, direction) {
            (Network::Cut, _) => return,
            (Network::HalfClosed, Direction::Reply) => return,
            (Network::RequestsLost | Network::HalfClosed, Direction::Request) | (Network::RepliesLost, Direction::Reply) => {}
            _ => {
                if to.write_all(&bytes[..length]).is_err() {
                    return;
                }
            }
        }
    }
}
