//! Lines as messages of syslog and entries of the journal: by datagrams, each
//! of which holds one, and by streams, in which each has its length in front.
//!
//! None of these protocols says that a message was taken. A datagram counts as
//! taken when the kernel took it, a batch on a stream when all of it was
//! written to a connection that the other side had not closed. Invariant: a
//! dead server is waited for as long as the deadline says, and holds nothing
//! else up.
//!
//! Read first: RFC 5424 §6, RFC 5425 §4, RFC 5426 §3, RFC 6587 §3.4.1.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use control::{Syslog, SyslogTo};
use eventlog::{Batch, SyslogOrigin, journal_entry, local_message, push_framed, syslog_message};
use rustix::event::PollFlags;

use super::connection::{Connection, Dialer};
use super::outlet::{Outlet, Untaken};
use super::patient::{Deadline, Lookups};

/// Octets of a datagram over UDP; what is longer is cut (RFC 5426 §3.2).
const DATAGRAM_BYTES_MAX: usize = 8 << 10;
/// Octets of one to the machine's own syslog or journal, which refuses what does
/// not fit at all, however often it is tried; what is longer is cut.
const LOCAL_BYTES_MAX: usize = 64 << 10;

/// Sends to one place.
pub(super) struct SyslogOutlet {
    /// What is said of a line.
    form: fn(&[u8], &SyslogOrigin) -> Option<Vec<u8>>,
    origin: SyslogOrigin,
    timeout: Duration,
    stop: Arc<AtomicBool>,
    way: Way,
}

enum Way {
    Udp { host: Box<str>, port: u16, lookups: Lookups, socket: Option<UdpSocket> },
    Local { path: Box<str>, socket: Option<UnixDatagram> },
    Stream { dialer: Box<Dialer>, kept: Option<Connection> },
}

impl SyslogOutlet {
    pub(super) fn new(syslog: &Syslog, hostname: &str, stop: &Arc<AtomicBool>) -> Self {
        let stream = |host: &str, port, trust| Way::Stream {
            dialer: Box::new(Dialer::new(host, port, trust)),
            kept: None,
        };
        let way = match &syslog.to {
            SyslogTo::Udp(host, port) => {
                let (lookups, socket) = (Lookups::default(), None);
                Way::Udp { host: host.clone(), port: *port, lookups, socket }
            }
            SyslogTo::Tcp(host, port) => stream(host, *port, None),
            SyslogTo::Tls(host, port) => stream(host, *port, Some(syslog.trust.clone())),
            SyslogTo::Unix(path) | SyslogTo::Journal(path) => {
                Way::Local { path: path.clone(), socket: None }
            }
        };
        let origin = SyslogOrigin {
            hostname: hostname.into(),
            pid: std::process::id(),
            facility: syslog.facility,
        };
        let form = match &syslog.to {
            SyslogTo::Journal(_) => journal_entry,
            SyslogTo::Unix(_) => local_message,
            SyslogTo::Udp(..) | SyslogTo::Tcp(..) | SyslogTo::Tls(..) => syslog_message,
        };
        Self { form, origin, timeout: syslog.timeout, stop: stop.clone(), way }
    }
}

impl Outlet for SyslogOutlet {
    fn send(&mut self, batch: &Batch, _: &str) -> Result<String, Untaken> {
        let deadline = Deadline::after(self.timeout, &self.stop);
        // Lines of a batch are whole, and so there is something to say of each.
        let message = |line| (self.form)(line, &self.origin).unwrap_or_default();
        let messages: Vec<Vec<u8>> = batch.lines().map(message).collect();
        let mut taken = 0;
        let sent = self.way.send(&messages, &deadline, &mut taken);
        let untaken = |error: io::Error| Untaken { taken, reason: error.to_string() };
        sent.map(|()| "written".to_owned()).map_err(untaken)
    }
}

impl Way {
    /// Sends all of `messages`; counts those that went before an error.
    fn send(
        &mut self,
        messages: &[Vec<u8>],
        deadline: &Deadline,
        taken: &mut usize,
    ) -> io::Result<()> {
        match self {
            Self::Udp { host, port, lookups, socket } => {
                let kept = match socket.take() {
                    Some(kept) => kept,
                    None => open_udp(&lookups.addresses(host, *port, deadline)?)?,
                };
                let send =
                    |message: &[u8]| kept.send(&message[..message.len().min(DATAGRAM_BYTES_MAX)]);
                datagrams(&kept, messages, deadline, taken, send)?;
                *socket = Some(kept);
            }
            Self::Local { path, socket } => {
                let kept = match socket.take() {
                    Some(kept) => kept,
                    None => open_local(path)?,
                };
                let send =
                    |message: &[u8]| kept.send(&message[..message.len().min(LOCAL_BYTES_MAX)]);
                datagrams(&kept, messages, deadline, taken, send)?;
                *socket = Some(kept);
            }
            Self::Stream { dialer, kept } => {
                let mut connection = match kept.take().and_then(|kept| kept.still_open(deadline)) {
                    Some(open) => open,
                    None => dialer.dial(deadline)?,
                };
                let mut bytes = Vec::new();
                messages.iter().for_each(|message| push_framed(&mut bytes, message));
                connection.write_all(&bytes)?;
                connection.flush()?;
                *taken = messages.len();
                *kept = Some(connection);
            }
        }
        Ok(())
    }
}

/// Sends one datagram after the other; waits where there is no room.
fn datagrams(
    socket: &impl AsFd,
    messages: &[Vec<u8>],
    deadline: &Deadline,
    taken: &mut usize,
    send: impl Fn(&[u8]) -> io::Result<usize>,
) -> io::Result<()> {
    while let Some(message) = messages.get(*taken) {
        match send(message) {
            Ok(_) => *taken += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                deadline.wait(socket, PollFlags::OUT)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn open_udp(addresses: &[SocketAddr]) -> io::Result<UdpSocket> {
    let first = addresses.first().ok_or_else(|| io::Error::other("its name has no address"))?;
    let any: IpAddr = match first {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(first)?;
    Ok(socket)
}

fn open_local(path: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}
