//! Mail exchangers on loopback: many addresses, one port, few threads; every
//! message is checked and counted, behaviour comes from a script that can be
//! changed while connections run.
//!
//! Never relays, never looks anything up, and binds only what it is told to.

mod ledger;
mod script;
mod server;
mod session;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

pub use ledger::{Arrival, Fault, Kept, recipient_key};
pub use script::{Act, Rule, Stage, To, When};

use crate::poll::Waker;
use ledger::Ledger;
use script::Script;
use server::Server;

const BACKLOG: i32 = 4_096;
/// Free ports tried before giving up finding one that all addresses have.
const PORT_TRIES_MAX: usize = 32;

/// What exchangers to start.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// Addresses to listen on, each once.
    pub addresses: Vec<IpAddr>,
    /// Port of all of them; 0 chooses a free one.
    pub port: u16,
    /// Threads that serve them, at least 1.
    pub threads: usize,
    /// Name in greeting and EHLO.
    pub hostname: String,
    /// EHLO keywords offered. STARTTLS is offered where a rule is about it, and
    /// everywhere with `tls`.
    pub extensions: Vec<String>,
    /// What STARTTLS leads to; without it, rules play a broken handshake.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Behaviour at the start.
    pub rules: Vec<Rule>,
    /// Messages kept whole.
    pub keep_max: usize,
    /// A fault to commit on purpose.
    pub fault: Option<Fault>,
}

impl Default for SinkSettings {
    /// One exchanger on 127.0.0.1, a free port, one thread, everything accepted.
    fn default() -> Self {
        let extensions =
            ["PIPELINING", "SIZE 134217728", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"];
        Self {
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port: 0,
            threads: 1,
            hostname: "sink.example".to_owned(),
            extensions: extensions.map(str::to_owned).to_vec(),
            tls: None,
            rules: Vec::new(),
            keep_max: 0,
            fault: None,
        }
    }
}

/// Running exchangers; they stop when this is dropped.
#[derive(Debug)]
pub struct Sinks {
    shared: Arc<Shared>,
    port: u16,
    threads: Vec<(Waker, JoinHandle<io::Result<()>>)>,
}

/// Counts for a progress bar, readable from any thread at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkProgress {
    /// Messages taken.
    pub messages: u64,
    /// Recipients of these.
    pub recipients: u64,
    /// Connections now open.
    pub open: u64,
}

/// What one exchanger saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostReport {
    /// Its address.
    pub address: IpAddr,
    /// Connections accepted.
    pub connections: u64,
    /// Most connections open at one time.
    pub peak: u64,
    /// Messages taken.
    pub messages: u64,
    /// When the final dots of its first and its last message were read.
    pub seen: Option<(Instant, Instant)>,
}

/// What all exchangers together saw.
#[derive(Clone, Debug)]
pub struct SinkReport {
    /// Test messages by recipient, in order of arrival.
    pub arrivals: Vec<Arrival>,
    /// The first messages, whole.
    pub kept: Vec<Kept>,
    /// Messages taken that no composer wrote.
    pub foreign: u64,
    /// Host by host, in the order of the settings.
    pub hosts: Vec<HostReport>,
    /// Connections accepted.
    pub connections: u64,
    /// Most connections open at one time, all hosts together.
    pub peak: u64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    hosts: Vec<HostCounts>,
    open: AtomicU64,
    peak: AtomicU64,
    messages: AtomicU64,
    recipients: AtomicU64,
    ledger: Mutex<Ledger>,
    hostname: String,
    extensions: Vec<String>,
    tls: Option<Arc<rustls::ServerConfig>>,
    script: Mutex<Arc<Script>>,
    script_number: AtomicU64,
    stop: AtomicBool,
    /// The bell rings when as many recipients as this have been taken.
    awaited: AtomicU64,
    bell: (Mutex<()>, Condvar),
}

#[derive(Debug)]
struct HostCounts {
    address: IpAddr,
    connections: AtomicU64,
    open: AtomicU64,
    peak: AtomicU64,
    messages: AtomicU64,
    seen: Mutex<Option<(Instant, Instant)>>,
}

impl Sinks {
    /// Binds all addresses and starts to serve.
    ///
    /// # Errors
    /// An address cannot be bound, or threads cannot be started.
    pub fn start(settings: SinkSettings) -> io::Result<Self> {
        let (port, listeners) = bind_all(&settings.addresses, settings.port)?;
        let shared = Arc::new(Shared::new(settings.clone()));
        let mut sinks = Self { shared: Arc::clone(&shared), port, threads: Vec::new() };
        let listeners = Arc::new(listeners);
        for number in 0..settings.threads.max(1) {
            let server = Server::new(Arc::clone(&shared), Arc::clone(&listeners))?;
            let waker = server.waker();
            let thread = std::thread::Builder::new()
                .name(format!("sink-{number}"))
                .spawn(move || server.run())?;
            sinks.threads.push((waker, thread));
        }
        Ok(sinks)
    }

    /// The port of all exchangers.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Address and port of the first exchanger.
    pub fn first(&self) -> SocketAddr {
        SocketAddr::new(self.shared.hosts[0].address, self.port)
    }

    /// Counts so far.
    pub fn progress(&self) -> SinkProgress {
        SinkProgress {
            messages: self.shared.messages.load(Ordering::Relaxed),
            recipients: self.shared.recipients.load(Ordering::Relaxed),
            open: self.shared.open.load(Ordering::Relaxed),
        }
    }

    /// Replaces the behaviour; running sessions follow with their next command.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        *self.shared.script.lock().expect("no holder of this lock can panic") =
            Arc::new(Script::new(rules));
        self.shared.script_number.fetch_add(1, Ordering::Release);
    }

    /// Waits until `recipients` have been taken in all, or for `timeout`.
    /// True when they have.
    pub fn wait_for(&self, recipients: u64, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (lock, bell) = &self.shared.bell;
        let mut guard = lock.lock().expect("no holder of this lock can panic");
        self.shared.awaited.store(recipients, Ordering::SeqCst);
        while self.shared.recipients.load(Ordering::SeqCst) < recipients {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (guard, _) = bell.wait_timeout(guard, left).expect("no holder of this lock can panic");
        }
        true
    }

    /// Everything seen so far; the exchangers run on.
    pub fn report(&self) -> SinkReport {
        let ledger = self.shared.ledger.lock().expect("no holder of this lock can panic");
        let hosts: Vec<HostReport> = self.shared.hosts.iter().map(HostCounts::report).collect();
        SinkReport {
            arrivals: ledger.arrivals.clone(),
            kept: ledger.kept.clone(),
            foreign: ledger.foreign,
            connections: hosts.iter().map(|host| host.connections).sum(),
            hosts,
            peak: self.shared.peak.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for (waker, thread) in self.threads.drain(..) {
            waker.wake();
            // A sink that ended early shows as mail that never came.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn new(settings: SinkSettings) -> Self {
        let ledger = Ledger::new(settings.keep_max, settings.fault);
        Self {
            hosts: settings.addresses.iter().map(|address| HostCounts::new(*address)).collect(),
            open: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            recipients: AtomicU64::new(0),
            ledger: Mutex::new(ledger),
            hostname: settings.hostname,
            extensions: settings.extensions,
            tls: settings.tls,
            script: Mutex::new(Arc::new(Script::new(settings.rules))),
            script_number: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            awaited: AtomicU64::new(u64::MAX),
            bell: (Mutex::new(()), Condvar::new()),
        }
    }

    fn script(&self) -> (u64, Arc<Script>) {
        let script = self.script.lock().expect("no holder of this lock can panic");
        (self.script_number.load(Ordering::Acquire), Arc::clone(&script))
    }

    fn took(&self, host: usize, messages: u64, recipients: u64) {
        let counts = &self.hosts[host];
        counts.messages.fetch_add(messages, Ordering::Relaxed);
        let now = Instant::now();
        let mut seen = counts.seen.lock().expect("no holder of this lock can panic");
        *seen = Some((seen.map_or(now, |seen| seen.0), now));
        drop(seen);
        self.messages.fetch_add(messages, Ordering::Relaxed);
        let taken = self.recipients.fetch_add(recipients, Ordering::SeqCst) + recipients;
        if taken >= self.awaited.load(Ordering::SeqCst) {
            let _guard = self.bell.0.lock().expect("no holder of this lock can panic");
            self.bell.1.notify_all();
        }
    }

    fn closed(&self, host: usize) {
        self.hosts[host].open.fetch_sub(1, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HostCounts {
    fn new(address: IpAddr) -> Self {
        let zero = || AtomicU64::new(0);
        let (connections, open, peak, messages) = (zero(), zero(), zero(), zero());
        Self { address, connections, open, peak, messages, seen: Mutex::new(None) }
    }

    fn report(&self) -> HostReport {
        HostReport {
            address: self.address,
            connections: self.connections.load(Ordering::Relaxed),
            peak: self.peak.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
            seen: *self.seen.lock().expect("no holder of this lock can panic"),
        }
    }
}

type Listeners = Vec<(IpAddr, TcpListener)>;

/// Binds every address on one port; for port 0 tries ports until all have it.
fn bind_all(addresses: &[IpAddr], port: u16) -> io::Result<(u16, Listeners)> {
    let mut tries = if port == 0 { PORT_TRIES_MAX } else { 1 };
    loop {
        tries -= 1;
        match bind_once(addresses, port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            outcome => return outcome,
        }
    }
}

fn bind_once(addresses: &[IpAddr], port: u16) -> io::Result<(u16, Listeners)> {
    let mut port = port;
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = bind(SocketAddr::new(*address, port))?;
        port = listener.local_addr()?.port();
        listeners.push((*address, listener));
    }
    if listeners.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a sink needs an address"));
    }
    Ok((port, listeners))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
