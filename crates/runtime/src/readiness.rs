//! Which of a shard's sockets have something to read: one epoll instance per
//! shard, edge-triggered, itself polled through the ring.
//!
//! Why not a poll on the ring for each read: it costs a submission and, since
//! completions interrupt the thread they are for, an interrupt for every
//! arrival while the shard is busy. Here arrivals gather silently and the next
//! look takes all of them in one call, into one turn.
//!
//! Never reads. Invariant: a socket that was reported must be read until it
//! gave less than was asked for; only what comes after that is reported again.

use std::io;
use std::os::fd::OwnedFd;

use base::ConnId;
use glommio::io::PollableFd;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::Socket;

/// Sockets reported in one look.
const REPORTS_MAX: usize = 256;

/// The sockets that a shard watches.
#[derive(Debug)]
pub(crate) struct Readiness {
    epoll: PollableFd<OwnedFd>,
}

/// Reports of one look.
pub(crate) struct Reports(Vec<Event>);

/// A socket that has something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) conn: ConnId,
    /// The peer has ended, or the connection is broken: no further report will
    /// come, so it must be read to its end.
    pub(crate) last: bool,
}

impl Readiness {
    /// Watches nothing; to be made on the executor that will wait.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: PollableFd::new(epoll::create(CreateFlags::CLOEXEC)?)? })
    }

    /// Watches a socket until it is closed. One that has something to read
    /// already is reported.
    ///
    /// # Errors
    /// When the kernel has no memory for it or the user watches too much.
    pub(crate) fn watch(&self, conn: ConnId, socket: &Socket) -> io::Result<()> {
        let wanted = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(self.epoll.get_ref(), socket, EventData::new_u64(conn.0), wanted)?)
    }

    /// Waits until there is something to report.
    pub(crate) async fn some(&self) {
        // An error of the wait would show in the look as well.
        let _ = self.epoll.readable().await;
    }

    /// Takes what there is to report now, at most as much as `reports` holds.
    pub(crate) fn look(&self, reports: &mut Reports) {
        let Reports(events) = reports;
        events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Fails only when interrupted; the next wait ends at once then.
        let spare = rustix::buffer::spare_capacity(events);
        let _ = epoll::wait(self.epoll.get_ref(), spare, Some(&at_once));
    }
}

impl Reports {
    /// Room for one look.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(REPORTS_MAX))
    }

    /// Room for nothing.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Report> {
        let end = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        self.0.iter().map(move |&Event { flags, data }| Report {
            conn: ConnId(data.u64()),
            last: flags.intersects(end),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;

    fn on_an_executor(story: impl AsyncFnOnce() + Send + 'static) {
        LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(64 << 10)
            .spawn(move || story())
            .unwrap()
            .join()
            .unwrap();
    }

    fn pair() -> (Socket, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Socket::from(OwnedFd::from(near)), far)
    }

    fn seen(readiness: &Readiness) -> Vec<Report> {
        let mut reports = Reports::new();
        readiness.look(&mut reports);
        reports.iter().collect()
    }

    #[test]
    fn an_arrival_is_reported_once_and_the_next_one_again() {
        on_an_executor(async || {
            let readiness = Readiness::new().unwrap();
            let (near, mut far) = pair();
            far.write_all(b"before").unwrap();
            readiness.watch(ConnId(7), &near).unwrap();
            let report = Report { conn: ConnId(7), last: false };
            readiness.some().await;
            assert_eq!(seen(&readiness), [report]);
            assert_eq!(seen(&readiness), []);
            far.write_all(b"after").unwrap();
            readiness.some().await;
            assert_eq!(seen(&readiness), [report]);
        });
    }

    #[test]
    fn an_end_is_told_with_what_came_before_it() {
        on_an_executor(async || {
            let readiness = Readiness::new().unwrap();
            let (near, mut far) = pair();
            readiness.watch(ConnId(8), &near).unwrap();
            far.write_all(b"QUIT\r\n").unwrap();
            drop(far);
            readiness.some().await;
            assert_eq!(seen(&readiness), [Report { conn: ConnId(8), last: true }]);
        });
    }

    #[test]
    fn more_sockets_than_one_look_takes_are_all_reported_and_a_closed_one_is_not() {
        on_an_executor(async || {
            let readiness = Readiness::new().unwrap();
            let pairs: Vec<_> = (0..REPORTS_MAX as u64 + 10)
                .map(|n| {
                    let (near, mut far) = pair();
                    readiness.watch(ConnId(n), &near).unwrap();
                    far.write_all(b"x").unwrap();
                    // The first is gone before anybody looks.
                    (n > 0).then_some((near, far))
                })
                .collect();
            let mut conns = Vec::new();
            for _ in 0..2 {
                readiness.some().await;
                conns.extend(seen(&readiness).into_iter().map(|report| report.conn.0));
            }
            conns.sort_unstable();
            assert_eq!(conns, (1..REPORTS_MAX as u64 + 10).collect::<Vec<_>>());
            drop(pairs);
        });
    }
}
