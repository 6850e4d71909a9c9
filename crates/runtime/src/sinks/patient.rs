//! Connections of plain threads, with a deadline for everything that they do,
//! which also end when the daemon does.
//!
//! Never called on a shard: look-ups and connections wait. Invariant: nothing
//! here lasts longer than its deadline, or than a moment once `stop` is set.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

/// How often a wait looks whether the daemon ends.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long something may take, and what ends it before.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    until: Instant,
    stop: Arc<AtomicBool>,
}

/// Looks names up as the machine does, one at a time: the machine's own way
/// cannot be interrupted.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    busy: Arc<AtomicBool>,
}

/// A TCP connection under a deadline.
#[derive(Debug)]
pub(super) struct Patient {
    stream: TcpStream,
    deadline: Deadline,
}

impl Deadline {
    /// So long from now, or until `stop`.
    pub(super) fn after(time: Duration, stop: &Arc<AtomicBool>) -> Self {
        Self { until: Instant::now() + time, stop: stop.clone() }
    }

    /// How long the next piece of waiting may be.
    ///
    /// # Errors
    /// The time is over, or the daemon ends.
    pub(super) fn slice(&self) -> io::Result<Duration> {
        if self.stop.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the daemon is stopping"));
        }
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")),
            left => Ok(left.min(LOOK_EVERY)),
        }
    }

    /// The same with at most one part of `parts` of what is left.
    fn part(&self, parts: usize) -> Self {
        let left = self.until.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(parts.max(1)).unwrap_or(u32::MAX);
        Self { until: Instant::now() + share, stop: self.stop.clone() }
    }

    /// Waits until a socket is ready for `what`.
    ///
    /// # Errors
    /// Those of [`Deadline::slice`], and what the system says.
    pub(super) fn wait(&self, socket: &impl AsFd, what: PollFlags) -> io::Result<()> {
        loop {
            let slice = Timespec::try_from(self.slice()?).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(socket, what)], Some(&slice)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Lookups {
    /// The addresses of a host, in the machine's order.
    ///
    /// # Errors
    /// There are none, or not in time, or an earlier look-up still lasts.
    pub(super) fn addresses(
        &self,
        host: &str,
        port: u16,
        deadline: &Deadline,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(io::Error::other("an earlier look-up of its name still lasts"));
        }
        let (tell, told) = crossbeam::channel::bounded(1);
        let (asked, busy) = ((host.to_owned(), port), self.busy.clone());
        std::thread::Builder::new().name("look-up".into()).spawn(move || {
            let found = asked.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            busy.store(false, Ordering::Release);
            let _ = tell.send(found);
        })?;
        loop {
            match told.recv_timeout(deadline.slice()?) {
                Ok(found) => {
                    let found = found?;
                    let none = || io::Error::other("its name has no address");
                    return if found.is_empty() { Err(none()) } else { Ok(found) };
                }
                Err(error) if error.is_timeout() => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl Patient {
    /// Connects to the first of `addresses` that answers.
    ///
    /// # Errors
    /// Why the last of them did not.
    pub(super) fn connect(addresses: &[SocketAddr], deadline: &Deadline) -> io::Result<Self> {
        let mut last = io::Error::other("there is no address");
        for (tried, address) in addresses.iter().enumerate() {
            deadline.slice()?;
            match connect_to(*address, &deadline.part(addresses.len() - tried)) {
                Ok(stream) => return Ok(Self { stream, deadline: deadline.clone() }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The socket itself, which never waits.
    pub(super) fn at_once(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Puts another deadline in force.
    pub(super) fn set(&mut self, deadline: &Deadline) {
        self.deadline = deadline.clone();
    }
}

fn connect_to(address: SocketAddr, deadline: &Deadline) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            deadline.wait(&socket, PollFlags::OUT)?;
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
        }
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

impl Read for Patient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.deadline.wait(&self.stream, PollFlags::IN)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.deadline.wait(&self.stream, PollFlags::OUT)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn deadline(time: Duration) -> Deadline {
        Deadline::after(time, &Arc::default())
    }

    #[test]
    fn who_never_answers_is_left_and_so_is_everybody_at_the_end() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = [silent.local_addr().unwrap()];
        let short = deadline(Duration::from_millis(50));
        let mut stream = Patient::connect(&address, &short).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let stop = Arc::new(AtomicBool::new(true));
        stream.set(&Deadline::after(Duration::from_secs(3_600), &stop));
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        // It takes some bytes, and then no more.
        stream.set(&deadline(Duration::from_millis(50)));
        let error = stream.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn the_next_address_is_tried_where_one_refuses() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let long = deadline(Duration::from_secs(20));
        Patient::connect(&[nobody, taken.local_addr().unwrap()], &long).unwrap();
        assert_eq!(
            Patient::connect(&[nobody], &long).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert!(Patient::connect(&[], &long).is_err());
    }

    #[test]
    fn addresses_need_no_look_up_and_names_have_one() {
        let lookups = Lookups::default();
        let long = deadline(Duration::from_secs(20));
        let found = lookups.addresses("2001:db8::1", 7, &long).unwrap();
        assert_eq!(found, ["[2001:db8::1]:7".parse().unwrap()]);
        assert!(lookups.addresses("localhost", 7, &long).unwrap()[0].ip().is_loopback());
        lookups.busy.store(true, Ordering::Release);
        assert!(lookups.addresses("localhost", 7, &long).is_err(), "one at a time");
    }
}
