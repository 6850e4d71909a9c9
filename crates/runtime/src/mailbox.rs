//! A bounded mailbox that any thread may post to and one glommio task empties.
//! Posting to a sleeping executor wakes it; a burst wakes it once.
//!
//! Never blocks and never loses: a full mailbox gives the item back. No lock:
//! an array queue, a flag, and an eventfd the executor polls like a socket.
//!
//! Why no waker: an executor of glommio 0.12 that is woken from another thread
//! can fall asleep with the woken task still in its queue. The wake's own
//! completion reads as a demand to yield; `run_task_queues` then runs nothing,
//! says so, and the executor parks. Ping-pong between two busy executors
//! stalled that way once in some 20 000 wakes. A poll of an ordinary
//! descriptor has no such window.
//!
//! Invariant: an item whose `post` returned Ok is seen by a `take` after the
//! next return of `rung`.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::ArrayQueue;
use glommio::io::PollableFd;
use rustix::event::EventfdFlags;

/// Wakes one glommio task from any thread.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    descriptor: OwnedFd,
}

/// Where a bell is heard: lives on the executor of the task that waits.
#[derive(Debug)]
pub struct Ear {
    descriptor: PollableFd<OwnedFd>,
}

/// A bounded queue into one executor.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: ArrayQueue<T>,
}

impl Bell {
    /// A bell nobody has rung.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let descriptor = rustix::event::eventfd(0, flags)?;
        Ok(Self { rung: AtomicBool::new(false), descriptor })
    }

    /// An ear for this bell; to be called on the executor that will wait. One
    /// per bell.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn ear(&self) -> io::Result<Ear> {
        Ok(Ear { descriptor: PollableFd::new(self.descriptor.try_clone()?)? })
    }

    /// Wakes the task, once per wait however often it is called.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Fails only when the counter is full, and then it is readable.
            let _ = rustix::io::write(&self.descriptor, &1u64.to_ne_bytes());
        }
    }

    /// Waits until the bell was rung since the last wait.
    pub async fn rung(&self, ear: &Ear) {
        // The counter is emptied before the flag is read: a ring in between is
        // found in the flag, one after it in the counter.
        while !self.rung.swap(false, Ordering::AcqRel) {
            let _ = ear.descriptor.readable().await;
            let _ = rustix::io::read(ear.descriptor.get_ref(), &mut [0u8; 8]);
        }
    }
}

impl<T> Mailbox<T> {
    /// An empty mailbox for at most `items_max` items.
    pub fn new(items_max: usize) -> Self {
        Self { queue: ArrayQueue::new(items_max) }
    }

    /// Puts `item` in and rings `bell`.
    ///
    /// # Errors
    /// Gives the item back when the mailbox is full; the receiver is awake
    /// then and making room.
    pub fn post(&self, item: T, bell: &Bell) -> Result<(), T> {
        let posted = self.queue.push(item);
        bell.ring();
        posted
    }

    /// Takes the oldest item out.
    pub fn take(&self) -> Option<T> {
        self.queue.pop()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;

    #[test]
    fn a_full_mailbox_gives_the_item_back() {
        let (mailbox, bell) = (Mailbox::new(2), Bell::new().unwrap());
        assert_eq!(mailbox.post(1, &bell), Ok(()));
        assert_eq!(mailbox.post(2, &bell), Ok(()));
        assert_eq!(mailbox.post(3, &bell), Err(3));
        assert_eq!(mailbox.take(), Some(1));
        assert_eq!(mailbox.post(3, &bell), Ok(()));
        assert_eq!((mailbox.take(), mailbox.take(), mailbox.take()), (Some(2), Some(3), None));
    }

    #[test]
    fn a_plain_thread_wakes_a_sleeping_executor_every_time() {
        const ROUNDS: u32 = 300;
        let shared = Arc::new((Mailbox::new(4), Bell::new().unwrap()));
        let (echo_in, echo_out) = std::sync::mpsc::channel();
        let receiver = shared.clone();
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(64 << 10)
            .spawn(move || async move {
                let (mailbox, bell) = &*receiver;
                let ear = bell.ear().unwrap();
                loop {
                    bell.rung(&ear).await;
                    while let Some(round) = mailbox.take() {
                        echo_in.send(round).unwrap();
                        if round + 1 == ROUNDS {
                            return;
                        }
                    }
                }
            })
            .unwrap();
        for round in 0..ROUNDS {
            // Each round waits for the answer before the next, so the executor
            // is asleep, or about to be, whenever the next item comes.
            shared.0.post(round, &shared.1).unwrap();
            let echoed = echo_out.recv_timeout(Duration::from_secs(10)).unwrap();
            assert_eq!(echoed, round);
        }
        executor.join().unwrap();
    }
}
