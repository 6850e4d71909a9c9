//! The thread that serves connections: epoll, many listeners, many sessions.
//!
//! Several such threads may share the same listeners; a connection stays with
//! the thread that accepted it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base::{Key, Slab};

use super::Shared;
use super::script::Script;
use super::session::{Desk, Next, Session, Tools};
use crate::poll::{Interest, Poller, WAKE};
use crate::wire::{Got, Wire};

/// Connections of one thread; more are closed as they come.
const CONNECTIONS_MAX: usize = 65_536;

pub(crate) struct Server {
    shared: Arc<Shared>,
    poller: Poller,
    /// Tokens below 2^32 are listeners; keys of the slab are above.
    listeners: Arc<Vec<(IpAddr, TcpListener)>>,
    connections: Slab<Connection>,
    pauses: BTreeMap<(Instant, u64), Key>,
    script: Arc<Script>,
    script_number: u64,
    tools: Tools,
    scratch: Vec<u8>,
}

struct Connection {
    wire: Wire,
    session: Session,
    host: usize,
    mode: Mode,
    interest: Interest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Serving,
    Paused,
    /// Reads and throws away.
    Deaf,
    /// Closes when its output is out.
    Closing,
    /// Waits for the peer to go.
    Frozen,
}

impl Server {
    pub(crate) fn new(
        shared: Arc<Shared>,
        listeners: Arc<Vec<(IpAddr, TcpListener)>>,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        for (index, (_, listener)) in listeners.iter().enumerate() {
            poller.add(listener, index as u64, Interest::Accept)?;
        }
        let (script_number, script) = shared.script();
        Ok(Self {
            shared,
            poller,
            listeners,
            connections: Slab::new(CONNECTIONS_MAX),
            pauses: BTreeMap::new(),
            script,
            script_number,
            tools: Tools::new(),
            scratch: Vec::new(),
        })
    }

    pub(crate) fn waker(&self) -> crate::poll::Waker {
        self.poller.waker()
    }

    /// Serves until told to stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        while !self.shared.stop.load(Ordering::Acquire) {
            let until_pause_ends = self
                .pauses
                .first_key_value()
                .map(|((at, _), _)| at.saturating_duration_since(Instant::now()));
            self.poller.wait(until_pause_ends, &mut ready)?;
            if self.shared.script_number.load(Ordering::Acquire) != self.script_number {
                (self.script_number, self.script) = self.shared.script();
            }
            for token in ready.drain(..) {
                if token == WAKE {
                    continue;
                } else if token < 1 << 32 {
                    self.accept(token as usize);
                } else {
                    self.serve(Key::from_u64(token));
                }
            }
            self.end_pauses();
        }
        Ok(())
    }

    fn accept(&mut self, host: usize) {
        let (address, listener) = &self.listeners[host];
        // Another thread may have been faster, or descriptors are short: the
        // listener stays ready either way.
        let Ok((stream, _)) = listener.accept() else { return };
        let counts = &self.shared.hosts[host];
        counts.connections.fetch_add(1, Ordering::Relaxed);
        let open = counts.open.fetch_add(1, Ordering::Relaxed) + 1;
        counts.peak.fetch_max(open, Ordering::Relaxed);
        let open = self.shared.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.peak.fetch_max(open, Ordering::Relaxed);
        let address = *address;
        let mut output = Vec::new();
        let desk = desk(&self.shared, &self.script, &mut self.tools, host);
        let (session, next) = Session::open(address, &mut output, &desk);
        let mut wire = Wire::new(stream);
        wire.output = output;
        let (mode, interest) = (Mode::Serving, Interest::Read);
        let connection = Connection { wire, session, host, mode, interest };
        let prepared = connection.wire.stream.set_nonblocking(true).is_ok();
        let Some(key) = self.connections.insert(connection).ok().filter(|_| prepared) else {
            self.shared.closed(host);
            return;
        };
        let stream = &self.connections.get(key).expect("just inserted").wire.stream;
        if self.poller.add(stream, key.as_u64(), Interest::Read).is_err() {
            return self.close(key);
        }
        self.settle(key, next);
    }

    fn serve(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.wire.read(&mut self.scratch) {
            Got::End => self.close(key),
            Got::Bytes => self.pump(key),
            Got::Nothing => self.settle(key, Next::Go),
        }
    }

    /// Lets the session work on what came in.
    fn pump(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let mut next = Next::Go;
        match connection.mode {
            Mode::Serving => {
                let host = connection.host;
                let mut desk = desk(&self.shared, &self.script, &mut self.tools, host);
                let wire = &mut connection.wire;
                let consumed;
                (consumed, next) =
                    connection.session.advance(&wire.input, &mut wire.output, &mut desk);
                let (messages, recipients) = desk.taken;
                wire.consume(consumed);
                if messages > 0 {
                    self.shared.took(connection.host, messages, recipients);
                }
            }
            Mode::Deaf | Mode::Closing => connection.wire.input.clear(),
            Mode::Paused | Mode::Frozen => {}
        }
        self.settle(key, next);
    }

    /// Carries out how a session goes on, and sends what stands there.
    fn settle(&mut self, key: Key, next: Next) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match next {
            Next::Go => {}
            Next::Close => connection.mode = Mode::Closing,
            Next::Deaf => connection.mode = Mode::Deaf,
            Next::StopReading => connection.mode = Mode::Frozen,
            Next::Secure => {
                let tls = self.shared.tls.as_ref().expect("STARTTLS is offered with TLS only");
                // What came behind STARTTLS in the clear counts for nothing.
                connection.wire.input.clear();
                if connection.wire.secure_as_server(tls).is_err() {
                    return self.close(key);
                }
            }
            Next::Reset => {
                // Linger of zero makes the close a reset.
                let zero = Some(Duration::ZERO);
                let _ = rustix::net::sockopt::set_socket_linger(&connection.wire.stream, zero);
                return self.close(key);
            }
            Next::Pause(span) => {
                connection.mode = Mode::Paused;
                self.pauses.insert((Instant::now() + span, key.as_u64()), key);
            }
        }
        let sent = match connection.mode {
            Mode::Paused => true,
            _ => match connection.wire.flush() {
                Ok(sent) => sent,
                Err(_) => return self.close(key),
            },
        };
        let wanted = match connection.mode {
            Mode::Closing if sent => return self.close(key),
            Mode::Paused | Mode::Frozen if sent => Interest::Nothing,
            _ if sent => Interest::Read,
            _ => Interest::ReadWrite,
        };
        if wanted != connection.interest {
            connection.interest = wanted;
            let changed = self.poller.change(&connection.wire.stream, key.as_u64(), wanted);
            if changed.is_err() {
                self.close(key);
            }
        }
    }

    fn end_pauses(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.pauses.first_entry().filter(|entry| entry.key().0 <= now) {
            let key = entry.remove();
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.mode = Mode::Serving;
            self.pump(key);
        }
    }

    fn close(&mut self, key: Key) {
        if let Some(connection) = self.connections.remove(key) {
            self.shared.closed(connection.host);
        }
    }
}

fn desk<'a>(shared: &'a Shared, script: &'a Script, tools: &'a mut Tools, host: usize) -> Desk<'a> {
    Desk {
        script,
        ledger: &shared.ledger,
        hostname: &shared.hostname,
        extensions: &shared.extensions,
        speaks_tls: shared.tls.is_some(),
        open: shared.hosts[host].open.load(Ordering::Relaxed),
        tools,
        now: Instant::now(),
        taken: (0, 0),
    }
}
