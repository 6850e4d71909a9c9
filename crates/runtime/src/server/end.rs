//! How a server ends: listeners, what is under way, executors, keeper, log.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base::ShardId;
use control::Request;
use crossbeam::channel::Receiver;

use super::Running;
use crate::inbox::Mail;

impl Running {
    /// Accepts nothing more and waits at most `time` for what is under way. A
    /// second call does nothing.
    pub fn drain(&self, time: Duration) {
        self.listeners().stop();
        if !self.is_running() || time.is_zero() {
            return;
        }
        let drained = self.drained.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(drained) = drained {
            self.wait_for_drained(&drained, Instant::now() + time);
        }
    }

    /// Drains for at most `time`, unless that was done, and ends all threads. A
    /// second call does nothing.
    pub fn stop(&self, time: Duration) {
        self.drain(time);
        for inbox in self.inboxes.iter() {
            inbox.post_patiently(Mail::Stop, || self.is_running());
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for shard in threads.shards {
            let _ = shard.join();
        }
        self.stopping.store(true, Ordering::Release);
        drop(self.watching.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.log_stop(time);
        drop(self.sinks.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.log.lock().unwrap_or_else(PoisonError::into_inner).take());
        for thread in threads.plain {
            let _ = thread.join();
        }
    }

    fn wait_for_drained(&self, drained: &Receiver<ShardId>, until: Instant) {
        for inbox in self.inboxes.iter() {
            inbox.post_patiently(Mail::Drain, || Instant::now() < until);
        }
        for _ in 0..self.inboxes.len() {
            if drained.recv_deadline(until).is_err() {
                return;
            }
        }
        // What shards said to each other last is under way: each command makes
        // every shard turn once, and a batch takes two turns at most.
        for _ in 0..2 {
            self.command(Request::Status, until.saturating_duration_since(Instant::now()));
        }
    }
}
