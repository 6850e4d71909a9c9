//! The machine's clock, set by what time servers say.
//!
//! Never decides whom to believe: `init::clock` does. The socket never waits.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use clock_steering::unix::UnixClock;
use clock_steering::{Clock, LeapIndicator};
use init::clock::{Action, Client, DIFFERENCE_MAX};
use init::sntp::PACKET_BYTES;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

use super::consoles::Consoles;

/// Packets heard in one turn.
const PACKETS_MAX: usize = 16;

/// The clock and who tells it the time.
#[derive(Debug, Default)]
pub struct Time {
    client: Client,
    socket: Option<UdpSocket>,
    booted_at: u64,
}

impl Time {
    /// When the machine was started, in seconds since 1970, as far as that is
    /// known `now`. The same number while the clock is not set.
    pub fn booted_at(&mut self, now: Duration) -> u64 {
        let booted_at = wall().saturating_sub(now).as_secs();
        if booted_at.abs_diff(self.booted_at) > 1 {
            self.booted_at = booted_at;
        }
        self.booted_at
    }

    /// By how many milliseconds the clock was behind when it was last compared.
    pub fn error_ms(&self) -> Option<i64> {
        self.client.error().map(|nanos| nanos / 1_000_000)
    }

    /// These servers are to be asked.
    pub fn set_servers(&mut self, now: Duration, servers: &[SocketAddr]) {
        self.client.set_servers(now, servers);
    }

    /// Whether the clock was never compared, and may be soon.
    pub fn is_awaited(&self) -> bool {
        self.client.is_awaited()
    }

    /// When `turn` is to be called at the latest.
    pub fn next(&self) -> Option<Duration> {
        self.client.next()
    }

    /// What to wait for.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Asks, hears, and sets the clock.
    pub fn turn(&mut self, consoles: &mut Consoles, now: Duration) {
        let mut actions = Vec::new();
        if let Some(socket) = &self.socket {
            // One octet more shows a packet that is too long, which is read all the same.
            let mut packet = [0; PACKET_BYTES + 1];
            for _ in 0..PACKETS_MAX {
                let Ok((count, from)) = socket.recv_from(&mut packet) else { break };
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                actions.extend(self.client.heard(now, from, &packet[..count]));
            }
        }
        actions.extend(self.client.tick(now, wall(), random));
        for action in actions {
            match action {
                Action::Ask { server, packet } => {
                    // What cannot be sent is not answered, and that is told.
                    let _ = self.send(server, &packet);
                }
                Action::Set(nanos) => set(consoles, nanos),
                Action::Keep => keep(consoles),
                Action::IsRight => consoles.say("clock: right"),
                Action::Unknown(why) => consoles.say(&format!("clock: {why}")),
            }
        }
    }

    fn send(&mut self, server: SocketAddr, packet: &[u8]) -> io::Result<()> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => {
                let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
                socket.set_nonblocking(true)?;
                none.insert(socket)
            }
        };
        let address = match server.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        match socket.send_to(packet, (address, server.port())) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                // The next question begins anew, with the ports there are then.
                self.socket = None;
                Err(error)
            }
            done => done.map(drop),
        }
    }
}

fn set(consoles: &mut Consoles, nanos: i64) {
    let wrong = Duration::from_nanos(nanos.unsigned_abs());
    let right = if nanos < 0 { wall().checked_sub(wrong) } else { wall().checked_add(wrong) };
    let set = right.map(|time| clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from(time)));
    let direction = if nanos < 0 { "ahead" } else { "behind" };
    match set {
        Some(Ok(())) => {
            consoles.say(&format!("clock: was {:.3} s {direction}", wrong.as_secs_f64()))
        }
        failed => consoles.say(&format!("clock: cannot be set: {failed:?}")),
    }
}

/// Tells the kernel that its clock is right. It writes such a clock to the
/// hardware's own, at once and every eleven minutes, until nobody has told it so
/// for some hours: a start at which no time server answers begins with that.
fn keep(consoles: &mut Consoles) {
    let clock = UnixClock::CLOCK_REALTIME;
    let kept = clock
        .error_estimate_update(DIFFERENCE_MAX, DIFFERENCE_MAX)
        .and_then(|()| clock.set_leap_seconds(LeapIndicator::NoWarning));
    if let Err(error) = kept {
        consoles.say(&format!("clock: the hardware's is left as it is: {error}"));
    }
}

/// Since 1970, by our own clock.
fn wall() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_REALTIME).expect("every kernel has this clock");
    Duration::from(time)
}

/// A number that nobody can guess.
fn random() -> u64 {
    let mut eight = [0; 8];
    let read = fs::File::open("/dev/urandom").and_then(|mut pool| pool.read_exact(&mut eight));
    read.expect("every kernel has random numbers");
    u64::from_ne_bytes(eight)
}
