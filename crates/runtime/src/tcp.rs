//! Connections of one shard, by TCP or a Unix socket: connect, read, write, close. Sockets are read
//! when `readiness` reports them; a connection has a task of its own only until
//! it stands and while its output waits for room.
//!
//! Never sets a timeout on a peer: deadlines are the core's. How connections
//! end from our side is in `closing.rs`.
//!
//! Invariant: a connection that is in the table is known to the core; events
//! of one connection are told in order, and none after it left the table.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use base::{ConnId, SegmentId};
use glommio::io::PollableFd;
use rustix::net::RecvFlags;
use shard::effect::TlsCheck;
use shard::event::Event;
use socket2::Socket;

use crate::aftermath::Aftermath;
use crate::closing::give_up;
use crate::dial::{self, Peer};
use crate::driver::{Driver, Handle};
use crate::listen::Slot;
use crate::output::{Output, Sent};
use crate::readiness::{Report, Reports};
use crate::tls::{Fed, TlsFailure, TlsSession};

/// One open connection.
pub(crate) struct Connection {
    pub(crate) socket: Rc<PollableFd<Socket>>,
    pub(crate) peer: IpAddr,
    /// Where a client came in: a place in `submission.listen`.
    pub(crate) listener: u16,
    /// A client's place, held until the socket is closed.
    pub(crate) slot: Option<Slot>,
    pub(crate) output: Output,
    pub(crate) tls: Option<Box<TlsSession>>,
    /// What was read and told, and belongs to the handshake.
    early: Vec<u8>,
    /// The core wants no input now.
    pub(crate) paused: bool,
    /// There may be more to read although nothing is going to be reported.
    pub(crate) unread: bool,
    /// The peer has ended: to be read until that is found.
    pub(crate) ending: bool,
    /// In the driver's list of connections with something to send.
    pub(crate) dirty: bool,
    /// A task waits for room in the socket.
    pub(crate) writing: bool,
    /// A body is under way: the core follows its progress.
    pub(crate) body: bool,
    /// The core has closed it and hears nothing more.
    pub(crate) closing: bool,
    /// Why nothing can be sent any more; told when the input ends.
    pub(crate) broken: Option<String>,
}

impl Connection {
    fn new(socket: Rc<PollableFd<Socket>>, peer: IpAddr, slot: Option<Slot>) -> Self {
        Self {
            socket,
            peer,
            listener: 0,
            slot,
            output: Output::default(),
            tls: None,
            early: Vec::new(),
            paused: false,
            unread: false,
            ending: false,
            dirty: false,
            writing: false,
            body: false,
            closing: false,
            broken: None,
        }
    }

    pub(crate) fn socket(&self) -> &Rc<PollableFd<Socket>> {
        &self.socket
    }

    /// Bytes that have not reached the kernel. What a TLS session holds counts
    /// as one: how much it is cannot be asked.
    fn left(&self) -> u64 {
        let held = self.tls.as_ref().is_some_and(|tls| tls.is_established() && tls.wants_write());
        self.output.left() + u64::from(held)
    }

    /// Sends the notice of the end, where TLS is up; a socket without room
    /// for it goes without.
    fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
            let _ = self.output.send_notice(self.socket.get_ref(), tls);
        }
    }
}

impl Driver {
    pub(crate) fn accepted(
        &mut self,
        conn: ConnId,
        socket: Socket,
        (peer, local, listener): (SocketAddr, SocketAddr, u16),
        slot: Slot,
    ) {
        if self.readiness.watch(conn, &socket).is_err() {
            return;
        }
        let Ok(socket) = PollableFd::new(socket) else { return };
        let mut connection = Connection::new(Rc::new(socket), peer.ip(), Some(slot));
        connection.listener = listener;
        self.connections.insert(conn, connection);
        self.step(Event::Accepted { conn, peer, local, listener });
    }

    pub(crate) fn connect(&mut self, conn: ConnId, peer: &Peer) {
        let opened = dial::begin(peer).and_then(|socket| {
            PollableFd::new(socket).map_err(|error| dial::failure(&io::Error::from(error)))
        });
        match opened {
            Ok(socket) => {
                let socket = Rc::new(socket);
                let connection = Connection::new(socket.clone(), peer.ip(), None);
                self.connections.insert(conn, connection);
                self.spawn(dial(self.handle(), conn, socket));
            }
            Err(failure) => self.told_later(Aftermath::ConnectFailed { conn, failure }),
        }
    }

    /// The connection, unless the core may no longer use it.
    pub(crate) fn usable(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(&conn).filter(|connection| !connection.closing)
    }

    pub(crate) fn mark_dirty(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(conn);
        }
    }

    pub(crate) fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        let Some(connection) = self.usable(conn) else { return };
        connection.output.push_bytes(bytes);
        self.mark_dirty(conn);
    }

    pub(crate) fn send_body(&mut self, conn: ConnId, segment: SegmentId, offset: u32, len: u32) {
        let pin = self.store.pin(segment);
        let Some(connection) = self.usable(conn) else { return };
        connection.output.push_body((segment, offset, len), pin);
        connection.body = true;
        self.mark_dirty(conn);
    }

    pub(crate) fn pause(&mut self, conn: ConnId, paused: bool) {
        let Some(connection) = self.usable(conn) else { return };
        connection.paused = paused;
        if !paused && connection.unread {
            self.read_later(conn);
        }
    }

    pub(crate) fn start_tls(&mut self, conn: ConnId, check: &TlsCheck) {
        let Some(peer) = self.usable(conn).map(|connection| connection.peer) else { return };
        let session = self.tls.session(check, peer);
        self.begin_tls(conn, session);
    }

    pub(crate) fn accept_tls(&mut self, conn: ConnId) {
        let Some(listener) = self.usable(conn).map(|connection| connection.listener) else {
            return;
        };
        let session = match self.server_tls.at(listener) {
            Some(config) => TlsSession::accepting(config),
            // A policy without it has come into force since.
            None => Err(TlsFailure {
                reason: "this listener has no certificate any more".into(),
                certificate: false,
            }),
        };
        self.begin_tls(conn, session);
    }

    fn begin_tls(&mut self, conn: ConnId, session: Result<TlsSession, TlsFailure>) {
        match session {
            Ok(session) => {
                let Some(connection) = self.usable(conn) else { return };
                // From here on input is TLS, whatever of the output before is
                // still on its way.
                connection.tls = Some(Box::new(session));
                connection.output.begin_tls();
                self.mark_dirty(conn);
            }
            Err(failure) => self.told_later(Aftermath::TlsFailed {
                conn,
                reason: failure.reason,
                certificate: failure.certificate,
            }),
        }
    }

    pub(crate) fn flush_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for conn in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            connection.dirty = false;
            if !connection.writing {
                self.write(conn);
            }
        }
        // What steps in between made dirty comes at the next turn's end.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    /// Sends what the socket takes. True while output must wait for room.
    fn write(&mut self, conn: ConnId) -> bool {
        let Some(connection) = self.connections.get_mut(&conn) else { return false };
        let before = connection.output.left();
        let sent = connection.output.send(
            connection.socket.get_ref(),
            connection.tls.as_deref_mut(),
            &*self.store,
        );
        let left = connection.left();
        let told = connection.body && !connection.closing && (left < before || left == 0);
        connection.body &= left > 0;
        match sent {
            Sent::All => {
                connection.writing = false;
                if connection.closing {
                    connection.say_goodbye();
                    self.end(conn);
                } else if told {
                    self.step(Event::Drained { conn, left });
                }
            }
            Sent::Waits => {
                if !connection.writing {
                    connection.writing = true;
                    self.write_later(conn);
                }
                if told {
                    self.step(Event::Drained { conn, left });
                }
                return self.connections.contains_key(&conn);
            }
            Sent::Broken(error) => self.broke(conn, &error),
        }
        false
    }

    fn write_later(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get(&conn) else { return };
        let (socket, closing) = (connection.socket.clone(), connection.closing);
        self.spawn(write_rest(self.handle(), conn, socket.clone()));
        if closing {
            self.spawn(give_up(self.handle(), conn, socket));
        }
    }

    /// Takes what is reported and reads it. Called behind the ring, so that
    /// one look is one turn.
    pub(crate) fn read_reported(&mut self) {
        let mut reports = std::mem::replace(&mut self.reports, Reports::none());
        self.readiness.look(&mut reports);
        for Report { conn, last } in reports.iter() {
            if last && let Some(connection) = self.connections.get_mut(&conn) {
                connection.ending = true;
            }
            self.read(conn);
        }
        self.reports = reports;
    }

    /// Reads on where more was there than one read took.
    pub(crate) fn read_unread(&mut self) {
        for conn in std::mem::take(&mut self.unread) {
            if self.usable(conn).is_some_and(|connection| std::mem::take(&mut connection.unread)) {
                self.read(conn);
            }
        }
    }

    /// Reads once and tells the core. What is left comes after the others
    /// have had their turn.
    fn read(&mut self, conn: ConnId) {
        let Some(connection) = self.usable(conn) else { return };
        if connection.paused {
            connection.unread = true;
            return;
        }
        connection.unread = false;
        let (socket, ending) = (connection.socket.clone(), connection.ending);
        let mut scratch = std::mem::take(&mut self.scratch);
        let more = match rustix::net::recv(socket.get_ref(), &mut scratch[..], RecvFlags::DONTWAIT)
        {
            Ok((_, 0)) => self.ended(conn, None),
            Ok((_, read)) => {
                self.received(conn, &scratch[..read]);
                ending || read == scratch.len()
            }
            Err(rustix::io::Errno::AGAIN) => false,
            Err(rustix::io::Errno::INTR) => true,
            Err(error) => self.ended(conn, Some(io::Error::from(error).to_string())),
        };
        self.scratch = scratch;
        if more && let Some(connection) = self.usable(conn) {
            connection.unread = true;
            if !connection.paused {
                self.read_later(conn);
            }
        }
    }

    fn read_later(&mut self, conn: ConnId) {
        self.unread.push(conn);
        if !self.in_turn() {
            self.bells.turn.ring();
        }
    }

    /// There is no more to read.
    fn ended(&mut self, conn: ConnId, error: Option<String>) -> bool {
        if let Some(connection) = self.connections.remove(&conn) {
            if connection.writing {
                // The peer has ended and does not read: let the writing task go.
                let _ = rustix::net::connect_unspec(connection.socket.get_ref());
            }
            self.step(Event::Closed { conn, error: connection.broken.or(error) });
        }
        false
    }

    /// Keeps what a handshake begins with until the step that asked is over.
    pub(crate) fn unread(&mut self, conn: ConnId, bytes: Vec<u8>) {
        if let Some(connection) = self.usable(conn) {
            connection.early = bytes;
            self.told_later(Aftermath::Unread { conn });
        }
    }

    pub(crate) fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        self.received_with(conn, bytes, &mut plain);
        self.plain = plain;
    }

    fn received_with(&mut self, conn: ConnId, bytes: &[u8], plain: &mut Vec<u8>) {
        let Some(connection) = self.usable(conn) else { return };
        let Some(tls) = &mut connection.tls else {
            return self.step(Event::Received { conn, bytes });
        };
        let mut joined = std::mem::take(&mut connection.early);
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
        }
        let bytes = if joined.is_empty() { bytes } else { &joined };
        let was_established = tls.is_established();
        let fed = tls.feed(bytes, plain);
        if tls.wants_write() || fed.established.is_some() {
            self.mark_dirty(conn);
        }
        self.tell_fed(conn, was_established, fed, plain);
    }

    fn tell_fed(&mut self, conn: ConnId, was_established: bool, fed: Fed, plain: &[u8]) {
        let established = was_established || fed.established.is_some();
        if let Some(description) = fed.established {
            let tls = self.usable(conn).and_then(|connection| connection.tls.as_ref());
            if let Some(sha256) = tls.and_then(|tls| tls.client_certificate()) {
                self.step(Event::ClientCertificate { conn, sha256 });
            }
            self.step(Event::TlsEstablished { conn, description });
        }
        if !plain.is_empty() && self.usable(conn).is_some() {
            self.step(Event::Received { conn, bytes: plain });
        }
        if self.usable(conn).is_none() {
            return;
        }
        match fed.failure {
            Some(failure) if !established => self.step(Event::TlsFailed {
                conn,
                reason: failure.reason,
                certificate: failure.certificate,
            }),
            Some(failure) => {
                self.abort(conn);
                self.step(Event::Closed { conn, error: Some(failure.reason) });
            }
            None if fed.closed => {
                // The peer may keep the TCP connection open for ever.
                if let Some(connection) = self.usable(conn) {
                    connection.output.clear();
                }
                self.close(conn);
                self.step(Event::Closed { conn, error: None });
            }
            None => {}
        }
    }
}

/// Waits for a connection to stand.
async fn dial(driver: Handle, conn: ConnId, socket: Rc<PollableFd<Socket>>) {
    let waited = socket.writable().await;
    let mut driver = driver.borrow_mut();
    if driver.usable(conn).is_none() {
        return;
    }
    let stands = waited.map_err(io::Error::from).and_then(|()| {
        let local = dial::end(socket.get_ref())?;
        driver.readiness.watch(conn, socket.get_ref())?;
        Ok(local)
    });
    match stands {
        Ok(local) => driver.step(Event::Connected { conn, local }),
        Err(error) => {
            driver.connections.remove(&conn);
            driver.step(Event::ConnectFailed { conn, failure: dial::failure(&error) });
        }
    }
}

/// Sends what did not fit, whenever there is room.
async fn write_rest(driver: Handle, conn: ConnId, socket: Rc<PollableFd<Socket>>) {
    loop {
        let _ = socket.writable().await;
        if !driver.borrow_mut().write(conn) {
            return;
        }
    }
}
