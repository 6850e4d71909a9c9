//! Wakes one task of the same executor: a flag and a waker, no atomics.

use std::cell::{Cell, RefCell};
use std::task::{Poll, Waker};

/// A flag one task waits for and any code on the same thread sets.
#[derive(Debug, Default)]
pub(crate) struct LocalBell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl LocalBell {
    /// Wakes the waiting task, or lets the next wait end at once.
    pub(crate) fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Waits until the bell was rung since the last wait. For one task.
    pub(crate) async fn rung(&self) {
        std::future::poll_fn(|context| {
            if self.rung.replace(false) {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future;

    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_not_lost_and_counts_once() {
        let bell = LocalBell::default();
        bell.ring();
        bell.ring();
        future::block_on(bell.rung());
        assert!(future::block_on(future::poll_once(bell.rung())).is_none());
        bell.ring();
        assert!(future::block_on(future::poll_once(bell.rung())).is_some());
    }
}
