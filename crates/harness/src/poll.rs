//! A thin epoll: which connections have something to say. Level-triggered, one
//! number per descriptor, no callbacks.
//!
//! Never owns a connection: a descriptor leaves the set when it is closed.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;

/// Number under which [`Waker`] wakes a poller; no connection may use it.
pub(crate) const WAKE: u64 = u64::MAX;

const EVENTS_MAX: usize = 256;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Bytes or the end of the stream.
    Read,
    /// Room to write, and what comes in.
    ReadWrite,
    /// Only that the peer is gone.
    Nothing,
    /// A listening socket shared by several pollers: one of them is woken.
    Accept,
}

/// A set of descriptors and the numbers they are known by.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    waker: Arc<OwnedFd>,
}

/// Wakes its poller from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(crate) fn wake(&self) {
        // Fails only when the counter is at its top, and then it wakes too.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &waker, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        Ok(Self { epoll, waker })
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.waker))
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags(interest))?)
    }

    pub(crate) fn change(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), flags(interest))?)
    }

    /// Replaces `ready` by the numbers that have something to say; waits up
    /// to `timeout`, for ever without one.
    pub(crate) fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let mut events = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        // Rounded up to the kernel's milliseconds, lest the last one is spun away.
        let timeout = timeout.map(|span| Timespec {
            tv_sec: span.as_secs().min(3_600) as i64,
            tv_nsec: i64::from(span.subsec_nanos().div_ceil(1_000_000).min(999)) * 1_000_000,
        });
        let events = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in events {
            let token = event.data.u64();
            if token == WAKE {
                let _ = rustix::io::read(&self.waker, &mut [0u8; 8]);
            }
            ready.push(token);
        }
        Ok(())
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    match interest {
        Interest::Read => epoll::EventFlags::IN,
        Interest::ReadWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT,
        Interest::Nothing => epoll::EventFlags::empty(),
        Interest::Accept => epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE,
    }
}
