//! Listeners for submission: one blocking thread each, which hands accepted
//! sockets to the shards in turn.
//!
//! Never speaks SMTP, but for the one line that a client gets when no
//! descriptor is left for it. Invariants: an accepted socket is handed over or
//! closed; running out of descriptors neither spins nor stops the listener.

use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::error::StartError;
use crate::inbox::{Inbox, Mail};

/// Connections the kernel holds for a listener.
const BACKLOG: i32 = 4_096;
/// What a client hears that cannot be served now.
const BUSY: &[u8] = b"421 4.3.2 too many connections, try again later\r\n";
/// Pause when the kernel refuses to accept for want of its own means.
const BREATH: Duration = Duration::from_millis(20);

/// One listening socket and its thread.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Arc<Socket>,
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on `address` (port 0: any free one) and starts to accept.
    ///
    /// # Errors
    /// [`StartError::LocalListen`], [`StartError::LocalThread`].
    pub(crate) fn start(
        address: SocketAddr,
        inboxes: Arc<[Arc<Inbox>]>,
        turn: Arc<AtomicUsize>,
    ) -> Result<Self, StartError> {
        let told = |error: io::Error| StartError::LocalListen { address, reason: hint(&error) };
        let socket = Arc::new(open(address).map_err(told)?);
        let bound = socket.local_addr().map_err(told)?.as_socket().unwrap_or(address);
        let stopping = Arc::new(AtomicBool::new(false));
        let (ours, stop) = (socket.clone(), stopping.clone());
        let thread = std::thread::Builder::new()
            .name("accept".into())
            .spawn(move || accept(&ours, bound, &inboxes, &turn, &stop))
            .map_err(|e| StartError::LocalThread { what: "a listener", reason: e.to_string() })?;
        Ok(Self { socket, address: bound, stopping, thread: Some(thread) })
    }

    /// The address it took.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Makes the accept return at once.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Not SO_REUSEPORT: two daemons must not share a port without a word.
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there already".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE".into()
        }
        _ => error.to_string(),
    }
}

fn accept(
    listener: &Socket,
    local: SocketAddr,
    inboxes: &[Arc<Inbox>],
    turn: &AtomicUsize,
    stopping: &AtomicBool,
) {
    let mut spare = File::open("/dev/null").ok();
    while !stopping.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((socket, peer)) => {
                let Some(peer) = peer.as_socket() else { continue };
                if socket.set_nonblocking(true).is_ok() {
                    let _ = socket.set_tcp_nodelay(true);
                    hand_over(socket, peer, local, inboxes, turn);
                }
            }
            Err(_) if stopping.load(Ordering::Acquire) => return,
            Err(error) if out_of_descriptors(&error) => {
                // The spare one lets us take the client and tell it, instead
                // of leaving it in the backlog.
                drop(spare.take());
                if let Ok((socket, _)) = listener.accept() {
                    let _ = socket.send(BUSY);
                }
                spare = File::open("/dev/null").ok();
                std::thread::sleep(BREATH);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => std::thread::sleep(BREATH),
        }
    }
}

fn out_of_descriptors(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

/// To the next shard, or to any that has room.
fn hand_over(
    socket: Socket,
    peer: SocketAddr,
    local: SocketAddr,
    inboxes: &[Arc<Inbox>],
    turn: &AtomicUsize,
) {
    let first = turn.fetch_add(1, Ordering::Relaxed);
    let mut mail = Mail::Accepted { socket, peer, local };
    for step in 0..inboxes.len() {
        match inboxes[(first + step) % inboxes.len()].post(mail) {
            Ok(()) => return,
            Err(back) => mail = back,
        }
    }
    if let Mail::Accepted { socket, .. } = mail {
        let _ = socket.send(BUSY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::time::Instant;

    #[test]
    fn clients_go_to_the_shards_in_turn_and_a_stop_ends_the_thread() {
        let inboxes: Arc<[Arc<Inbox>]> =
            (0..2).map(|_| Arc::new(Inbox::new().unwrap())).collect();
        let any = "127.0.0.1:0".parse().unwrap();
        let listener =
            Listener::start(any, inboxes.clone(), Arc::new(AtomicUsize::new(0))).unwrap();
        let clients: Vec<TcpStream> =
            (0..4).map(|_| TcpStream::connect(listener.address()).unwrap()).collect();
        let until = Instant::now() + Duration::from_secs(10);
        let mut seen = [0, 0];
        while seen != [2, 2] && Instant::now() < until {
            for (shard, count) in seen.iter_mut().enumerate() {
                if let Some(Mail::Accepted { .. }) = inboxes[shard].take() {
                    *count += 1;
                }
            }
            std::thread::yield_now();
        }
        assert_eq!(seen, [2, 2]);
        let taken = Listener::start(listener.address(), inboxes, Arc::default());
        let said = taken.unwrap_err().to_string();
        assert!(said.contains("another program listens there already"), "{said}");
        drop(listener);
        drop(clients);
    }
}
