//! One non-blocking connection with its bytes in and out, in the clear or in
//! TLS, and the reading of SMTP replies. Shared by source and sink.
//!
//! Never decides anything about SMTP. Input and output are bounded by what
//! the callers let stand in them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

/// Bytes asked of the kernel in one read.
const READ_BYTES: usize = 64 * 1_024;
/// Octets of one reply before its sender is given up.
const REPLY_BYTES_MAX: usize = 64 * 1_024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    /// Bytes that came and were not consumed.
    pub(crate) input: Vec<u8>,
    /// Bytes to be sent.
    pub(crate) output: Vec<u8>,
    sent: usize,
    tls: Option<Box<Connection>>,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// More bytes stand in the input.
    Bytes,
    /// Nothing at the moment.
    Nothing,
    /// The peer is gone, or its stream has ended.
    End,
}

impl Wire {
    /// A connection over `stream`, which must be non-blocking.
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Costs latency only, so a refusal is no reason to stop.
        let _ = stream.set_nodelay(true);
        Self { stream, input: Vec::new(), output: Vec::new(), sent: 0, tls: None }
    }

    /// From here on in TLS, as client. Nothing may stand in the output that
    /// was meant to go in the clear.
    ///
    /// # Errors
    /// What rustls says.
    pub(crate) fn secure_as_client(&mut self, config: &Arc<ClientConfig>) -> io::Result<()> {
        let name = ServerName::try_from("sink.example").expect("this is a host name");
        let client = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        self.secure(client.into());
        Ok(())
    }

    /// From here on in TLS, as server. What stands in the output goes out in
    /// the clear first.
    ///
    /// # Errors
    /// What rustls says, or the connection is gone.
    pub(crate) fn secure_as_server(&mut self, config: &Arc<ServerConfig>) -> io::Result<()> {
        if !self.flush()? {
            return Err(io::Error::other("no room for the answer to STARTTLS"));
        }
        let server = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        self.secure(server.into());
        Ok(())
    }

    fn secure(&mut self, mut tls: Connection) {
        tls.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
    }

    /// Starts to connect to `target`; the outcome shows with the first read.
    pub(crate) fn connect(target: SocketAddr) -> io::Result<Self> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &target) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self::new(TcpStream::from(socket)))
    }

    /// Reads once, through `scratch`, which it sizes.
    pub(crate) fn read(&mut self, scratch: &mut Vec<u8>) -> Got {
        scratch.resize(READ_BYTES, 0);
        if let Some(tls) = &mut self.tls {
            return read_tls(tls, &mut self.stream, &mut self.input, scratch);
        }
        match self.stream.read(scratch) {
            Ok(0) => Got::End,
            Ok(count) => {
                self.input.extend_from_slice(&scratch[..count]);
                Got::Bytes
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Got::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Got::Nothing,
            Err(_) => Got::End,
        }
    }

    /// Sends what can be sent. True when all is out, false when the peer must
    /// make room first.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(&self.output)?;
            self.output.clear();
            return flush_tls(tls, &mut self.stream);
        }
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Drops `count` bytes from the front of the input.
    pub(crate) fn consume(&mut self, count: usize) {
        if count == self.input.len() {
            self.input.clear();
        } else if count > 0 {
            self.input.drain(..count);
        }
    }
}

/// As [`Wire::read`]; the end of the handshake alone is nothing.
fn read_tls(
    tls: &mut Connection,
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    scratch: &mut [u8],
) -> Got {
    let before = input.len();
    while input.len() - before < READ_BYTES {
        match tls.read_tls(stream) {
            Ok(0) => return if input.len() > before { Got::Bytes } else { Got::End },
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Got::End,
        }
        if tls.process_new_packets().is_err() {
            return Got::End;
        }
        // Its end without a word is as good as a word here.
        while let Ok(count @ 1..) = tls.reader().read(scratch) {
            input.extend_from_slice(&scratch[..count]);
        }
    }
    if input.len() > before { Got::Bytes } else { Got::Nothing }
}

fn flush_tls(tls: &mut Connection, stream: &mut TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// One whole reply at the front of `input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// More bytes are needed.
    Partial,
    /// Code of the last line, and bytes of all lines together.
    Whole {
        /// 100 to 599.
        code: u16,
        /// With the last CRLF.
        bytes: usize,
    },
    /// Not SMTP, or longer than any reply may be.
    Nonsense,
}

/// Reads the reply at the front of `input` (RFC 5321 §4.2).
pub(crate) fn reply(input: &[u8]) -> Reply {
    let mut start = 0;
    loop {
        let Some(end) = memchr::memchr(b'\n', &input[start..]) else {
            let too_long = input.len() > REPLY_BYTES_MAX;
            return if too_long { Reply::Nonsense } else { Reply::Partial };
        };
        let line = &input[start..start + end];
        start += end + 1;
        let digits = line.len() >= 3 && line[..3].iter().all(u8::is_ascii_digit);
        if !digits || !(b'1'..=b'5').contains(&line[0]) {
            return Reply::Nonsense;
        }
        if line.get(3) != Some(&b'-') {
            let code = line[..3].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
            return Reply::Whole { code, bytes: start };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        assert_eq!(reply(b""), Reply::Partial);
        assert_eq!(reply(b"250 ok\r"), Reply::Partial);
        assert_eq!(reply(b"250 ok\r\n250"), Reply::Whole { code: 250, bytes: 8 });
        assert_eq!(reply(b"250\r\n"), Reply::Whole { code: 250, bytes: 5 });
        assert_eq!(reply(b"250-a\r\n"), Reply::Partial);
        assert_eq!(reply(b"250-a\r\n451 b\r\n"), Reply::Whole { code: 451, bytes: 14 });
        assert_eq!(reply(b"hello\r\n"), Reply::Nonsense);
        assert_eq!(reply(b"999 x\r\n"), Reply::Nonsense);
        assert_eq!(reply(&[b'2'; REPLY_BYTES_MAX]), Reply::Partial);
        assert_eq!(reply(&[b'2'; REPLY_BYTES_MAX + 1]), Reply::Nonsense);
    }
}
