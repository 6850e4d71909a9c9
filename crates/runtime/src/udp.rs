//! DNS queries: a fresh socket each, connected to the server, from a port the
//! kernel draws at random; or TCP with a two-byte length prefix. Whatever
//! comes back is handed on until the core closes the query.
//!
//! Never parses a message, never retries, never times out: all that is the
//! core's.
//!
//! Read first: RFC 1035 §4.2, RFC 5452 §4, RFC 7766 §8.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use glommio::io::PollableFd;
use rustix::net::{RecvFlags, SendFlags};
use shard::event::{ConnectFailure, Event};
use socket2::{Domain, Protocol, Socket, Type};

use crate::aftermath::Aftermath;
use crate::dial;
use crate::driver::{Driver, Handle};

/// The socket of one query.
pub(crate) type QuerySocket = Rc<PollableFd<Socket>>;

/// Octets of a message over TCP with its prefix (RFC 1035 §4.2.2).
const STREAM_MESSAGE_BYTES_MAX: usize = 2 + u16::MAX as usize;

impl Driver {
    pub(crate) fn query(&mut self, query: u64, server: SocketAddr, tcp: bool, bytes: &[u8]) {
        let socket = match begin(server, tcp, bytes) {
            Ok(socket) => Rc::new(socket),
            Err(error) => return self.query_failed_later(query, &error),
        };
        self.queries.insert(query, socket.clone());
        if tcp {
            let mut request = Vec::with_capacity(2 + bytes.len());
            // `begin` has refused what does not fit into the prefix.
            request.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            request.extend_from_slice(bytes);
            self.spawn(converse(self.handle(), query, socket, request));
        } else {
            self.spawn(listen(self.handle(), query, socket));
        }
    }

    pub(crate) fn query_done(&mut self, query: u64) {
        if let Some(socket) = self.queries.remove(&query) {
            // Ends the wait of the query's task, which then lets go.
            let _ = socket.get_ref().shutdown(std::net::Shutdown::Both);
        }
    }

    fn query_failed_later(&mut self, query: u64, error: &io::Error) {
        self.told_later(Aftermath::QueryFailed { query, reason: error.to_string() });
    }

    fn query_failed(&mut self, query: u64, error: &io::Error) {
        if self.queries.remove(&query).is_some() {
            self.step(Event::QueryFailed { query, reason: error.to_string() });
        }
    }

    /// Takes every datagram that is there. False when the query is over.
    fn receive_answers(&mut self, query: u64) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let open = loop {
            let Some(socket) = self.queries.get(&query) else { break false };
            match rustix::net::recv(socket.get_ref(), &mut scratch[..], RecvFlags::DONTWAIT) {
                Ok((_, read)) => self.step(Event::Answer { query, bytes: &scratch[..read] }),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break true,
                Err(error) => {
                    self.query_failed(query, &error.into());
                    break false;
                }
            }
        };
        self.scratch = scratch;
        open
    }
}

fn begin(server: SocketAddr, tcp: bool, bytes: &[u8]) -> io::Result<PollableFd<Socket>> {
    if bytes.len() > usize::from(u16::MAX) {
        return Err(io::Error::other("a query is longer than DNS allows"));
    }
    let socket = if tcp {
        dial::begin(&dial::Peer::Host { to: server, from: None }).map_err(
            |failure| match failure {
                ConnectFailure::Peer(reason)
                | ConnectFailure::Local(reason)
                | ConnectFailure::Source(reason) => io::Error::other(reason),
            },
        )?
    } else {
        ask(server, bytes)?
    };
    Ok(PollableFd::new(socket)?)
}

fn ask(server: SocketAddr, bytes: &[u8]) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(server), kind, Some(Protocol::UDP))?;
    // Connected: the kernel drops what others send, and reports refusals.
    socket.connect(&server.into())?;
    let sent = rustix::net::send(&socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    if sent != bytes.len() {
        return Err(io::Error::other("a query left in part"));
    }
    Ok(socket)
}

async fn listen(driver: Handle, query: u64, socket: QuerySocket) {
    loop {
        let _ = socket.readable().await;
        if !driver.borrow_mut().receive_answers(query) {
            return;
        }
    }
}

/// One query over TCP: everything out, then messages in.
async fn converse(driver: Handle, query: u64, socket: QuerySocket, request: Vec<u8>) {
    let outcome = match send_all(&driver, query, &socket, &request).await {
        Ok(()) => receive_messages(&driver, query, &socket).await,
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        driver.borrow_mut().query_failed(query, &error);
    }
}

fn is_open(driver: &Handle, query: u64) -> bool {
    driver.borrow().queries.contains_key(&query)
}

async fn send_all(
    driver: &Handle,
    query: u64,
    socket: &QuerySocket,
    request: &[u8],
) -> io::Result<()> {
    let mut sent = 0;
    while sent < request.len() && is_open(driver, query) {
        let _ = socket.writable().await;
        if sent == 0 {
            dial::end(socket.get_ref())?;
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(socket.get_ref(), &request[sent..], flags) {
            Ok(more) => sent += more,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn receive_messages(driver: &Handle, query: u64, socket: &QuerySocket) -> io::Result<()> {
    let mut received = Vec::new();
    while is_open(driver, query) {
        let _ = socket.readable().await;
        let mut driver = driver.borrow_mut();
        let room = STREAM_MESSAGE_BYTES_MAX - received.len();
        let scratch_len = driver.scratch.len().min(room);
        match rustix::net::recv(
            socket.get_ref(),
            &mut driver.scratch[..scratch_len],
            RecvFlags::DONTWAIT,
        ) {
            Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((_, read)) => received.extend_from_slice(&driver.scratch[..read]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(len) = whole_message(&received) {
            if driver.queries.contains_key(&query) {
                driver.step(Event::Answer { query, bytes: &received[2..len] });
            }
            received.drain(..len);
        }
    }
    Ok(())
}

/// The length of the first message with its prefix, once it is all there.
fn whole_message(received: &[u8]) -> Option<usize> {
    let (prefix, rest) = received.split_first_chunk::<2>()?;
    let len = usize::from(u16::from_be_bytes(*prefix));
    (rest.len() >= len).then_some(2 + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: A12.4
    #[test]
    fn a_message_is_whole_only_with_its_last_octet() {
        assert_eq!(whole_message(&[]), None);
        assert_eq!(whole_message(&[0]), None);
        assert_eq!(whole_message(&[0, 0]), Some(2));
        assert_eq!(whole_message(&[0, 2, 7]), None);
        assert_eq!(whole_message(&[0, 2, 7, 8, 9]), Some(4));
        let mut largest = vec![0xff; STREAM_MESSAGE_BYTES_MAX];
        assert_eq!(whole_message(&largest), Some(STREAM_MESSAGE_BYTES_MAX));
        largest.pop();
        assert_eq!(whole_message(&largest), None);
    }
}
