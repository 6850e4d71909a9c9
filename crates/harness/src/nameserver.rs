//! A small name server on loopback, UDP and TCP: zones as data, named
//! failures, every question counted. It answers as the resolver that a mail
//! server asks: it follows aliases itself and sets RA.
//!
//! Never asks anybody, and answers only for what its zones hold: any other
//! name does not exist.
//!
//! RFCs to read first: RFC 1035 §4.2, RFC 2308 §2, RFC 7766 §8.

mod answer;
#[cfg(test)]
mod tests;
mod zone;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use zone::{Fate, Node, Zones};

use answer::{Answer, Transport};

/// Longest question or answer, and the UDP buffer.
const MESSAGE_BYTES_MAX: usize = 65_535;
/// TCP connections served at the same time; more are closed as they come.
const TCP_CONNECTIONS_MAX: usize = 64;
/// A silent TCP connection is closed after this.
const TCP_IDLE_MAX: Duration = Duration::from_secs(5);
/// Ports tried until one is free for UDP and TCP.
const PORT_TRIES_MAX: usize = 32;

/// A running name server; it stops when this is dropped.
#[derive(Debug)]
pub struct NameServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

/// How often one question was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Over UDP.
    pub udp: u64,
    /// Over TCP.
    pub tcp: u64,
}

#[derive(Debug)]
struct Shared {
    zones: Mutex<Arc<Zones>>,
    /// By lower-case name without the last dot, and type.
    asked: Mutex<BTreeMap<(String, String), Asked>>,
    stop: AtomicBool,
    tcp_open: AtomicUsize,
}

impl NameServer {
    /// Serves `zones` on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port is free for both UDP and TCP, or threads cannot be started.
    pub fn start(zones: Zones) -> io::Result<Self> {
        Self::start_at(IpAddr::V4(Ipv4Addr::LOCALHOST), 0, zones)
    }

    /// Serves `zones` on `address` and `port`; 0 chooses a free port.
    ///
    /// # Errors
    /// The port is not free for both UDP and TCP, or threads cannot be started.
    pub fn start_at(address: IpAddr, port: u16, zones: Zones) -> io::Result<Self> {
        let (udp, tcp) = bind(address, port)?;
        let address = udp.local_addr()?;
        let shared = Arc::new(Shared {
            zones: Mutex::new(Arc::new(zones)),
            asked: Mutex::new(BTreeMap::new()),
            stop: AtomicBool::new(false),
            tcp_open: AtomicUsize::new(0),
        });
        let mut server = Self { shared: Arc::clone(&shared), address, threads: Vec::new() };
        let for_udp = Arc::clone(&shared);
        server.spawn("dns-udp", move || serve_udp(&udp, &for_udp))?;
        server.spawn("dns-tcp", move || serve_tcp(&tcp, &shared))?;
        Ok(server)
    }

    /// Where it listens, UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces everything served.
    pub fn set_zones(&self, zones: Zones) {
        *self.shared.zones.lock().expect("no holder of this lock can panic") = Arc::new(zones);
    }

    /// How often `name` was asked for with `kind` (`"MX"`, `"A"`, …).
    pub fn asked(&self, name: &str, kind: &str) -> Asked {
        let asked = self.shared.asked.lock().expect("no holder of this lock can panic");
        asked.get(&(zone::canonical(name), kind.to_owned())).copied().unwrap_or_default()
    }

    /// Questions answered or left alone, all together.
    pub fn asked_in_all(&self) -> Asked {
        let asked = self.shared.asked.lock().expect("no holder of this lock can panic");
        asked.values().fold(Asked::default(), |sum, one| Asked {
            udp: sum.udp + one.udp,
            tcp: sum.tcp + one.tcp,
        })
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Both threads wait for the network, so the network wakes them.
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let from = if self.address.is_ipv4() { any } else { "[::1]:0".parse().unwrap_or(any) };
        let _ = UdpSocket::bind(from).and_then(|socket| socket.send_to(&[], self.address));
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            // A server that ended early shows as questions without answers.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The answer to `question`, which is counted.
    fn answer(&self, question: &[u8], transport: Transport) -> Answer {
        let zones = Arc::clone(&self.zones.lock().expect("no holder of this lock can panic"));
        let (asked, answer) = answer::answer(&zones, question, transport);
        if let Some(key) = asked {
            let mut asked = self.asked.lock().expect("no holder of this lock can panic");
            let count = asked.entry(key).or_default();
            match transport {
                Transport::Udp => count.udp += 1,
                Transport::Tcp => count.tcp += 1,
            }
        }
        answer
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

fn bind(address: IpAddr, port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if port == 0 { PORT_TRIES_MAX } else { 1 };
    loop {
        tries -= 1;
        let udp = UdpSocket::bind((address, port))?;
        match TcpListener::bind(udp.local_addr()?) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => {}
            outcome => return Ok((udp, outcome?)),
        }
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let mut later: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)> = BTreeMap::new();
    let mut count = 0;
    while !shared.stopped() {
        let now = Instant::now();
        while let Some(entry) = later.first_entry().filter(|entry| entry.key().0 <= now) {
            let (peer, bytes) = entry.remove();
            // A peer that is gone is its own loss, here and below.
            let _ = socket.send_to(&bytes, peer);
        }
        let wait = later.keys().next().map(|(at, _)| *at - now);
        if socket.set_read_timeout(wait).is_err() {
            return;
        }
        let Ok((bytes, peer)) = socket.recv_from(&mut buffer) else { continue };
        match shared.answer(&buffer[..bytes], Transport::Udp) {
            Answer::Silence => {}
            Answer::Now(bytes) => {
                let _ = socket.send_to(&bytes, peer);
            }
            Answer::After(span, bytes) => {
                count += 1;
                later.insert((Instant::now() + span, count), (peer, bytes));
            }
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stopped() {
        let Ok((stream, _)) = listener.accept() else { continue };
        if shared.tcp_open.fetch_add(1, Ordering::AcqRel) >= TCP_CONNECTIONS_MAX {
            shared.tcp_open.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let shared_there = Arc::clone(shared);
        let spawned =
            std::thread::Builder::new().name("dns-tcp-peer".to_owned()).spawn(move || {
                // The end of a connection, however it comes, ends its thread.
                let _ = serve_stream(stream, &shared_there);
                shared_there.tcp_open.fetch_sub(1, Ordering::AcqRel);
            });
        if spawned.is_err() {
            shared.tcp_open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn serve_stream(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(TCP_IDLE_MAX))?;
    stream.set_nodelay(true)?;
    while !shared.stopped() {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        let bytes = match shared.answer(&question, Transport::Tcp) {
            Answer::Silence => continue,
            Answer::Now(bytes) => bytes,
            Answer::After(span, bytes) => {
                std::thread::park_timeout(span);
                bytes
            }
        };
        let length = u16::try_from(bytes.len()).map_err(|_| ErrorKind::InvalidData)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&bytes);
        stream.write_all(&framed)?;
    }
    Ok(())
}
