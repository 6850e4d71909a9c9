//! What goes in front of a session that leaves through a proxy: SOCKS5 as
//! client, and the header of the PROXY protocol, version 2.
//!
//! Never waits and never decides whose fault a failure is beyond what the
//! proxy said. Invariants: no more is kept of a proxy's answer than its longest
//! form; what follows the answer is the session's and is handed on untouched.
//!
//! Read first: RFC 1928 §3, RFC 1928 §6, RFC 1929 §2; for the PROXY protocol
//! HAProxy's `proxy-protocol.txt`, section 2.2.

pub mod header;

use std::net::{IpAddr, SocketAddr};

use base::secret::Secret;

/// Longest user name and password, in octets (RFC 1929 §2).
pub const FIELD_BYTES_MAX: usize = 255;

/// One CONNECT through a SOCKS5 server.
#[derive(Debug)]
pub struct Socks5 {
    to: SocketAddr,
    log_in: Option<(Box<str>, Secret)>,
    state: State,
    /// Of an answer that is not whole yet; at most [`ANSWER_BYTES_MAX`].
    answer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Method,
    LogIn,
    Request,
    Ended,
}

/// What is to be done after bytes of the proxy.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The answer is not whole yet.
    Wait,
    /// Send this, then wait.
    Send(Vec<u8>),
    /// The connection stands; the rest is the peer's first bytes.
    Stands(Vec<u8>),
    /// It cannot stand.
    Failed(Refusal),
}

/// Why a proxy made no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The proxy could not reach the peer.
    #[error("the proxy says: {0}")]
    PeerUnreached(&'static str),
    /// The proxy would not serve us.
    #[error("the proxy refuses: {0}")]
    LocalProxyRefused(&'static str),
    /// The proxy does not speak SOCKS5.
    #[error("the proxy's answer is no SOCKS5")]
    LocalProxyGarbled,
}

const VERSION: u8 = 5;
const NO_LOG_IN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
/// Version, reply, reserved, a name with its length, port (RFC 1928 §6).
const ANSWER_BYTES_MAX: usize = 4 + 1 + 255 + 2;

impl Socks5 {
    /// A CONNECT to `to`, and what is to be sent first. Name and password are
    /// cut at [`FIELD_BYTES_MAX`] octets; who configures them checks that.
    pub fn new(to: SocketAddr, log_in: Option<(Box<str>, Secret)>) -> (Self, Vec<u8>) {
        let hello = match log_in {
            None => vec![VERSION, 1, NO_LOG_IN],
            Some(_) => vec![VERSION, 2, NO_LOG_IN, USER_AND_PASSWORD],
        };
        (Self { to, log_in, state: State::Method, answer: Vec::new() }, hello)
    }

    /// Whether the proxy was asked for the peer: what fails from now on without
    /// its word may be the peer's doing.
    pub fn has_asked(&self) -> bool {
        matches!(self.state, State::Request | State::Ended)
    }

    /// Takes in bytes of the proxy. After [`Step::Stands`] and
    /// [`Step::Failed`] nothing more comes of it.
    pub fn received(&mut self, bytes: &[u8]) -> Step {
        let room = ANSWER_BYTES_MAX - self.answer.len();
        let (bytes, over) = bytes.split_at(bytes.len().min(room));
        self.answer.extend_from_slice(bytes);
        let step = match self.state {
            State::Method => self.method(),
            State::LogIn => self.logged_in(),
            State::Request => self.answered(),
            State::Ended => Step::Failed(Refusal::LocalProxyGarbled),
        };
        match step {
            Step::Stands(mut rest) => {
                self.state = State::Ended;
                rest.extend_from_slice(over);
                Step::Stands(rest)
            }
            Step::Failed(refusal) => {
                self.state = State::Ended;
                Step::Failed(refusal)
            }
            // It answers only what was asked, and never so much.
            _ if !over.is_empty() => {
                self.state = State::Ended;
                Step::Failed(Refusal::LocalProxyGarbled)
            }
            step => step,
        }
    }

    /// RFC 1928 §3.
    fn method(&mut self) -> Step {
        let [version, method] = self.answer[..] else { return self.short(2) };
        self.answer.clear();
        match (version, method, &self.log_in) {
            (VERSION, NO_LOG_IN, _) => self.request(),
            (VERSION, USER_AND_PASSWORD, Some((user, secret))) => {
                let mut bytes = vec![1];
                for field in [user.as_bytes(), secret.expose()] {
                    let field = &field[..field.len().min(FIELD_BYTES_MAX)];
                    bytes.push(field.len() as u8);
                    bytes.extend_from_slice(field);
                }
                self.state = State::LogIn;
                Step::Send(bytes)
            }
            (VERSION, 0xff, _) => Step::Failed(Refusal::LocalProxyRefused("another log-in")),
            _ => Step::Failed(Refusal::LocalProxyGarbled),
        }
    }

    /// RFC 1929 §2.
    fn logged_in(&mut self) -> Step {
        let [_, status] = self.answer[..] else { return self.short(2) };
        self.answer.clear();
        match status {
            0 => self.request(),
            _ => Step::Failed(Refusal::LocalProxyRefused("the user or the password is wrong")),
        }
    }

    /// RFC 1928 §4.
    fn request(&mut self) -> Step {
        let mut bytes = vec![VERSION, 1, 0];
        match self.to.ip() {
            IpAddr::V4(ip) => {
                bytes.push(1);
                bytes.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                bytes.push(4);
                bytes.extend_from_slice(&ip.octets());
            }
        }
        bytes.extend_from_slice(&self.to.port().to_be_bytes());
        self.state = State::Request;
        Step::Send(bytes)
    }

    /// RFC 1928 §6.
    fn answered(&mut self) -> Step {
        let answer = &self.answer;
        if answer.first().is_some_and(|version| *version != VERSION) {
            return Step::Failed(Refusal::LocalProxyGarbled);
        }
        let Some(reply) = answer.get(1) else { return Step::Wait };
        if let Some(refusal) = refusal(*reply) {
            return Step::Failed(refusal);
        }
        let address = match (answer.get(3), answer.get(4)) {
            (None, _) | (Some(3), None) => return Step::Wait,
            (Some(1), _) => 4,
            (Some(4), _) => 16,
            (Some(3), Some(len)) => 1 + usize::from(*len),
            (Some(_), _) => return Step::Failed(Refusal::LocalProxyGarbled),
        };
        let whole = 4 + address + 2;
        if answer.len() < whole {
            return Step::Wait;
        }
        Step::Stands(self.answer.split_off(whole))
    }

    /// An answer of two octets that is shorter, or longer.
    fn short(&self, whole: usize) -> Step {
        if self.answer.len() < whole {
            return Step::Wait;
        }
        Step::Failed(Refusal::LocalProxyGarbled)
    }
}

/// What a reply code says, if it is none of success. What concerns one peer
/// alone must not look like a failure of the proxy.
fn refusal(reply: u8) -> Option<Refusal> {
    Some(match reply {
        0 => return None,
        1 => Refusal::PeerUnreached("general failure"),
        2 => Refusal::LocalProxyRefused("not allowed by its rules"),
        3 => Refusal::PeerUnreached("network unreachable"),
        4 => Refusal::PeerUnreached("host unreachable"),
        5 => Refusal::PeerUnreached("connection refused"),
        6 => Refusal::PeerUnreached("timed out"),
        7 => Refusal::LocalProxyRefused("it makes no connections"),
        8 => Refusal::PeerUnreached("address family not supported"),
        _ => Refusal::LocalProxyGarbled,
    })
}

/// The header that tells a proxy from where to connect to where; it answers
/// nothing. `None` where the two are not of one family.
pub fn proxy_header(from: IpAddr, to: SocketAddr) -> Option<Vec<u8>> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    const VERSION_2_PROXY: u8 = 0x21;
    let mut bytes = SIGNATURE.to_vec();
    bytes.push(VERSION_2_PROXY);
    match (from, to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend_from_slice(&[0x11, 0, 12]);
            bytes.extend_from_slice(&from.octets());
            bytes.extend_from_slice(&to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend_from_slice(&[0x21, 0, 36]);
            bytes.extend_from_slice(&from.octets());
            bytes.extend_from_slice(&to.octets());
        }
        _ => return None,
    }
    // Any port will do for the proxy.
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&to.port().to_be_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests;
