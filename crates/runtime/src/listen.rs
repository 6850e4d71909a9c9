//! Listening sockets: one blocking thread each accepts connections and deals
//! them out to the shards in turn.
//!
//! Never spins and never lets a connection hang: without a descriptor for it,
//! without room in a mailbox, or above the share of descriptors that clients
//! may have, a client is told 421 and let go. No `SO_REUSEPORT`: a second
//! program on the same port is an error, not a silent half. An address that the
//! machine lacks is none: by DHCP it comes later, and while it is moved by
//! somebody far away, the daemon is what they talk to.
//!
//! Invariant: a slot is counted exactly as long as its connection lives.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::StartError;
use crate::inbox::{Inbox, Mail};

/// Connections the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 4_096;
/// Pause after an error that would come again at once.
const PAUSE: Duration = Duration::from_millis(20);
/// Said to a client there is no room for (RFC 5321 §3.8).
const NO_ROOM: &[u8] = b"421 4.3.2 Too many connections, try again later\r\n";

/// Counts connections of clients, up to a bound.
#[derive(Debug)]
pub(crate) struct Slots {
    taken: AtomicUsize,
    max: usize,
}

/// One connection's place among the clients; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

/// The running listeners.
#[derive(Default)]
pub(crate) struct Listeners {
    addresses: Vec<SocketAddr>,
    sockets: Vec<Arc<Socket>>,
    threads: Vec<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
}

impl Slots {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max })
    }

    /// A place, unless all are taken.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Slot> {
        let room = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).ok()?;
        Some(Slot(self.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Listeners {
    /// Binds every address; accepts nothing yet.
    ///
    /// # Errors
    /// [`StartError::LocalListen`] for the first address that cannot be had.
    pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Self, StartError> {
        let mut listeners = Self::default();
        for address in addresses {
            let listen = |reason| StartError::LocalListen { address: *address, reason };
            let socket = bind(*address).map_err(|error| listen(hint(&error)))?;
            let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket());
            listeners.addresses.push(bound.unwrap_or(*address));
            listeners.sockets.push(Arc::new(socket));
        }
        Ok(listeners)
    }

    /// The addresses in use; port 0 has become a real one.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Begins to accept.
    ///
    /// # Errors
    /// [`StartError::LocalThread`], [`StartError::LocalDescriptors`].
    pub(crate) fn start(
        &mut self,
        inboxes: &[Arc<Inbox>],
        slots: &Arc<Slots>,
    ) -> Result<(), StartError> {
        for (listener, (socket, local)) in (0..).zip(self.sockets.iter().zip(&self.addresses)) {
            let accepting = Accepting {
                socket: socket.clone(),
                local: *local,
                listener,
                inboxes: inboxes.to_vec(),
                next: 0,
                slots: slots.clone(),
                spare: spare(),
                stopping: self.stopping.clone(),
            };
            let thread = std::thread::Builder::new()
                .name("accept".into())
                .spawn(move || accepting.run())
                .map_err(|error| StartError::LocalThread {
                    what: "a listener",
                    reason: error.to_string(),
                })?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Accepts nothing more; the ports are free when this returns.
    pub(crate) fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        for socket in self.sockets.drain(..) {
            // Ends the thread's wait; a listening socket has no peer to tell.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            // A panic would have ended the program.
            let _ = thread.join();
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.stop();
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' last packets.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]:25` beside `0.0.0.0:25` is no conflict.
        socket.set_only_v6(true)?;
    }
    // Passed on to every connection that is accepted: replies leave as soon as
    // they are written.
    socket.set_tcp_nodelay(true)?;
    bind_anyhow(&socket, address)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Binds to an address, also to one that the machine does not have now: what is
/// sent there once it has it arrives. For listeners only: what goes out from an
/// address that is not ours is an error.
fn bind_anyhow(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let plainly = socket.bind(&address.into());
    if !plainly.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable) {
        return plainly;
    }
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&address.into())
}

fn hint(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another program has this port",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE (AmbientCapabilities= of the \
             service)"
        }
        _ => return error.to_string(),
    };
    format!("{error}; {advice}")
}

/// A descriptor to give up when there is no other.
fn spare() -> Option<OwnedFd> {
    File::open("/dev/null").ok().map(OwnedFd::from)
}

struct Accepting {
    socket: Arc<Socket>,
    local: SocketAddr,
    listener: u16,
    inboxes: Vec<Arc<Inbox>>,
    next: usize,
    slots: Arc<Slots>,
    spare: Option<OwnedFd>,
    stopping: Arc<AtomicBool>,
}

impl Accepting {
    fn run(mut self) {
        while !self.stopping.load(Ordering::Acquire) {
            match self.accept() {
                Ok((socket, peer)) => self.deal(socket, peer),
                Err(Errno::MFILE | Errno::NFILE) => self.refuse_with_spare(),
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                // No memory for a socket, or the listener is being stopped.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn accept(&self) -> Result<(Socket, SocketAddr), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, peer) = rustix::net::acceptfrom_with(&*self.socket, flags)?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        Ok((Socket::from(socket), peer.ok_or(Errno::CONNABORTED)?))
    }

    /// Hands a connection to the next shard that has room.
    fn deal(&mut self, socket: Socket, peer: SocketAddr) {
        let Some(slot) = self.slots.take() else { return refuse(&socket) };
        let (local, listener) = (self.local, self.listener);
        let mut mail = Mail::Accepted { socket, peer, local, listener, slot };
        for _ in 0..self.inboxes.len() {
            let inbox = &self.inboxes[self.next % self.inboxes.len()];
            self.next = self.next.wrapping_add(1);
            match inbox.post(mail) {
                Ok(()) => return,
                Err(back) => mail = back,
            }
        }
        if let Mail::Accepted { socket, .. } = &mail {
            refuse(socket);
        }
    }

    /// Takes one waiting client by way of the spare descriptor, says that
    /// there is no room, and lets it go.
    fn refuse_with_spare(&mut self) {
        if self.spare.take().is_none() {
            std::thread::sleep(PAUSE);
        } else if let Ok((socket, _)) = self.accept() {
            refuse(&socket);
        }
        self.spare = spare();
    }
}

fn refuse(socket: &Socket) {
    // A client that does not even take this learns it by the close.
    let _ = rustix::net::send(socket, NO_ROOM, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;
    use crate::machine;

    fn any() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    fn connect(to: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn taken(inbox: &Inbox) -> (Socket, Slot) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while std::time::Instant::now() < deadline {
            if let Some(Mail::Accepted { socket, slot, .. }) = inbox.take() {
                return (socket, slot);
            }
            std::thread::yield_now();
        }
        panic!("nothing was accepted");
    }

    #[test]
    fn a_taken_port_is_named_with_a_reason() {
        let first = Listeners::bind(&[any()]).unwrap();
        let address = first.addresses()[0];
        let Err(StartError::LocalListen { address: named, reason }) = Listeners::bind(&[address])
        else {
            panic!("two listeners share a port");
        };
        assert_eq!(named, address);
        assert!(reason.contains("another program"), "{reason}");
    }

    /// An appliance that had been moved to another address once started anew for
    /// ever, and nobody could reach it to say where it listens: an address that
    /// the machine lacks was an error.
    #[test]
    fn an_address_that_the_machine_lacks_is_listened_at_and_one_that_is_taken_is_not() {
        for ip in ["192.0.2.3", "2001:db8::3"] {
            let lacked = SocketAddr::new(ip.parse().unwrap(), 0);
            assert!(machine::lacks(lacked), "{ip}");
            let listeners = Listeners::bind(&[lacked]).unwrap();
            let address = listeners.addresses()[0];
            assert!(address.ip() == lacked.ip() && address.port() != 0, "{address}");
            let error = Listeners::bind(&[address]).err().unwrap().to_string();
            assert!(error.contains("another program"), "{error}");
        }
    }

    /// Covers: A1.26, B89
    #[test]
    fn connections_are_dealt_out_in_turn_and_counted() {
        let mut listeners = Listeners::bind(&[any()]).unwrap();
        let inboxes = [Arc::new(Inbox::new().unwrap()), Arc::new(Inbox::new().unwrap())];
        let slots = Slots::new(3);
        listeners.start(&inboxes, &slots).unwrap();
        let to = listeners.addresses()[0];
        let _clients: Vec<_> = (0..3).map(|_| connect(to)).collect();
        let held = [taken(&inboxes[0]), taken(&inboxes[1]), taken(&inboxes[0])];
        assert_eq!(slots.taken.load(Ordering::Acquire), 3);

        let mut words = String::new();
        connect(to).read_to_string(&mut words).unwrap();
        assert!(words.starts_with("421 4.3.2 "), "{words}");
        drop(held);
        let mut again = connect(to);
        let (socket, _slot) = taken(&inboxes[1]);
        assert!(socket.tcp_nodelay().unwrap());
        rustix::net::send(&socket, b"220 ", SendFlags::NOSIGNAL).unwrap();
        again.read_exact(&mut [0; 4]).unwrap();
        again.write_all(b"QUIT\r\n").unwrap();
    }

    #[test]
    fn stopping_frees_the_port_at_once() {
        let mut listeners = Listeners::bind(&[any()]).unwrap();
        let address = listeners.addresses()[0];
        listeners.start(&[Arc::new(Inbox::new().unwrap())], &Slots::new(9)).unwrap();
        listeners.stop();
        assert!(TcpStream::connect(address).is_err());
        assert_eq!(Listeners::bind(&[address]).unwrap().addresses(), [address]);
    }
}
