//! Opens connections, by TCP or to Unix sockets, without waiting: socket, own address, connect; and
//! says whose fault a failure is.
//!
//! Never tries twice and never waits: whoever calls waits until the socket
//! can be written and then asks [`end`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use shard::event::ConnectFailure;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Who is connected to.
pub(crate) enum Peer {
    /// A host, from the own address `from` if one is given.
    Host { to: SocketAddr, from: Option<IpAddr> },
    /// Whoever listens at this path.
    Socket(Arc<str>),
}

impl Peer {
    /// Its address; unspecified where it has none.
    pub(crate) fn ip(&self) -> IpAddr {
        match self {
            Self::Host { to, .. } => to.ip(),
            Self::Socket(_) => NOWHERE.ip(),
        }
    }
}

/// The address of an end that has none.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Begins to connect.
///
/// # Errors
/// Where it fails at once.
pub(crate) fn begin(peer: &Peer) -> Result<Socket, ConnectFailure> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let (to, from) = match peer {
        Peer::Host { to, from } => (*to, *from),
        Peer::Socket(path) => return at_socket(path, kind),
    };
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))
        .map_err(|error| local("cannot open a socket", &error))?;
    // Replies and commands leave as soon as they are written; they are
    // gathered before.
    socket.set_tcp_nodelay(true).map_err(|error| local("cannot set TCP_NODELAY", &error))?;
    if let Some(from) = from {
        bind(&socket, from).map_err(|error| not_from(from, &error))?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok(socket),
        Err(error) => Err(failure(&error)),
    }
}

fn at_socket(path: &str, kind: Type) -> Result<Socket, ConnectFailure> {
    let socket = Socket::new(Domain::UNIX, kind, None)
        .map_err(|error| local("cannot open a socket", &error))?;
    let to = SockAddr::unix(path).map_err(|error| local("cannot connect", &error))?;
    match socket.connect(&to) {
        Ok(()) => Ok(socket),
        // Not a shortage that passes: whoever set the socket up has to mend it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(ConnectFailure::Peer(error.to_string()))
        }
        Err(error) => Err(failure(&error)),
    }
}

fn bind(socket: &Socket, from: IpAddr) -> io::Result<()> {
    // Without this the kernel keeps a port for this socket alone: 28 000 in
    // all, instead of as many for each destination.
    setsockopt(socket, sockopt::IpBindAddressNoPort, &true).map_err(io::Error::from)?;
    socket.bind(&SocketAddr::new(from, 0).into())
}

/// How the connection turned out: the address it leaves from, if it has one.
///
/// # Errors
/// What the socket reports.
pub(crate) fn end(socket: &Socket) -> io::Result<SocketAddr> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    Ok(socket.local_addr()?.as_socket().unwrap_or(NOWHERE))
}

/// Whose fault an error of connecting is.
pub(crate) fn failure(error: &io::Error) -> ConnectFailure {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let ours = matches!(
        errno,
        Some(
            Errno::MFILE
                | Errno::NFILE
                | Errno::NOBUFS
                | Errno::NOMEM
                | Errno::ADDRNOTAVAIL
                | Errno::ADDRINUSE
                | Errno::AGAIN
                | Errno::ACCESS
                | Errno::PERM
                | Errno::AFNOSUPPORT
                // The user watches too many sockets.
                | Errno::NOSPC
        )
    );
    if ours { local("cannot connect", error) } else { ConnectFailure::Peer(error.to_string()) }
}

/// The address is gone, or others have taken all there is of it.
fn not_from(from: IpAddr, error: &io::Error) -> ConnectFailure {
    let reason = format!("cannot leave from {from}: {error}");
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ADDRNOTAVAIL | Errno::INVAL) => ConnectFailure::Source(reason),
        _ => ConnectFailure::Local(reason),
    }
}

fn local(what: &str, error: &io::Error) -> ConnectFailure {
    ConnectFailure::Local(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use super::*;

    /// Covers: B61
    #[test]
    fn an_own_address_is_used_and_a_strange_one_is_our_fault() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let from = Ipv4Addr::new(127, 0, 0, 9);
        let socket = begin(&Peer::Host { to, from: Some(from.into()) }).unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), IpAddr::V4(from));
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(end(&socket).unwrap(), peer);

        let strange = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));
        let strange = Peer::Host { to, from: Some(strange) };
        let Err(ConnectFailure::Source(reason)) = begin(&strange) else {
            panic!("a connection left from an address that is not ours");
        };
        assert!(reason.contains("192.0.2.77"), "{reason}");
    }

    /// A server that is not there, or full, is not the mail's fault.
    #[test]
    fn a_unix_socket_is_connected_to_or_found_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path: Arc<str> = format!("{}/lmtp", folder.path().display()).into();
        let peer = Peer::Socket(path.clone());
        assert!(matches!(begin(&peer), Err(ConnectFailure::Peer(_))), "nothing is there");
        let listener = std::os::unix::net::UnixListener::bind(&*path).unwrap();
        let socket = begin(&peer).unwrap();
        assert_eq!(end(&socket).unwrap(), NOWHERE);
        assert!(listener.accept().is_ok());
        drop(listener);
        assert!(matches!(begin(&peer), Err(ConnectFailure::Peer(_))), "nobody listens");
        assert_eq!(peer.ip(), NOWHERE.ip());
    }

    /// Covers: B24, B38, B61
    #[test]
    fn blame_is_ours_for_shortages_and_the_peers_for_the_rest() {
        for errno in [Errno::MFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS] {
            assert!(matches!(failure(&errno.into()), ConnectFailure::Local(_)), "{errno:?}");
        }
        for errno in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT, Errno::CONNRESET] {
            assert!(matches!(failure(&errno.into()), ConnectFailure::Peer(_)), "{errno:?}");
        }
    }
}
