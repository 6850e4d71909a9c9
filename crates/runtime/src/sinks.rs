//! Where lines of the log go beyond its files: readers of those files, each on
//! a thread of its own, apart from the shards and from the log's writer.
//!
//! What nobody takes lies where it lies anyway, in the log, within the log's
//! own bound; what falls off there unread is counted and told. Invariant: no
//! shard and no writer ever waits for a reader.

mod bookmark_file;
mod connection;
mod http_client;
mod outlet;
mod patient;
mod shown;
mod syslog;
mod webhook;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use control::Policy;
use crossbeam::channel::Sender;
use meter::exposition::LogReader;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::log_readers::Readers;
use crate::log_sink::LogSink;
use outlet::Spec;
use shown::Shown;
use worker::Setup;

/// All readers.
pub(crate) struct Sinks {
    /// The data folder.
    folder: PathBuf,
    readers: Arc<Readers>,
    log: LogSink,
    clock: Clock,
    /// By name.
    running: BTreeMap<String, Handle>,
}

/// One reader's thread.
struct Handle {
    spec: Spec,
    shown: Arc<Shown>,
    stop: Arc<AtomicBool>,
    orders: Sender<Spec>,
    thread: Option<JoinHandle<()>>,
}

/// The highest number of a file of the log that any reader has seen; 0 where
/// there is none.
pub(crate) fn highest_number(folder: &Path) -> u64 {
    bookmark_file::highest_number(&bookmarks(folder))
}

fn bookmarks(folder: &Path) -> PathBuf {
    folder.join("sinks")
}

impl Sinks {
    /// Starts the readers that a policy has, on the log in `folder`.
    pub(crate) fn start(
        folder: &Path,
        readers: Arc<Readers>,
        log: LogSink,
        clock: Clock,
        policy: &Policy,
    ) -> Self {
        let mut sinks =
            Self { folder: folder.to_owned(), readers, log, clock, running: BTreeMap::new() };
        sinks.set(policy);
        sinks
    }

    /// Puts other settings in force: readers that are no longer wanted end,
    /// those that are there go on where they are.
    pub(crate) fn set(&mut self, policy: &Policy) {
        let mut wanted: BTreeMap<String, Spec> =
            specs(policy).map(|spec| (spec.name(), spec)).collect();
        self.running.retain(|name, handle| {
            let Some(spec) = wanted.remove(name) else { return false };
            if spec != handle.spec && handle.orders.send(spec.clone()).is_ok() {
                handle.spec = spec;
            }
            true
        });
        for (name, spec) in wanted {
            let handle = self.begin(spec);
            self.running.insert(name, handle);
        }
    }

    /// How the webhooks are, in the order of their names.
    pub(crate) fn webhooks(&self) -> Value {
        let name = |spec: &Spec| match spec {
            Spec::Webhook(hook) => Some(hook.name.clone()),
            Spec::Syslog(..) => None,
        };
        json!({ "webhooks": self.rows(name) })
    }

    /// How the syslog servers are, in the order of their names.
    pub(crate) fn syslogs(&self) -> Value {
        let name = |spec: &Spec| match spec {
            Spec::Syslog(log, _) => Some(log.name.clone()),
            Spec::Webhook(_) => None,
        };
        json!({ "syslog": self.rows(name) })
    }

    /// How far all are, in numbers.
    pub(crate) fn numbers(&self) -> Vec<LogReader> {
        let end = self.readers.try_end();
        let numbers = |(name, handle): (&String, &Handle)| handle.shown.numbers(name, end);
        self.running.iter().map(numbers).collect()
    }

    fn rows(&self, name: impl Fn(&Spec) -> Option<Box<str>>) -> Vec<Value> {
        let row = |handle: &Handle| {
            let name = name(&handle.spec)?;
            Some(handle.shown.row(&name, &handle.spec.target(), self.readers.try_end()))
        };
        self.running.values().filter_map(row).collect()
    }

    fn begin(&self, spec: Spec) -> Handle {
        let (orders, ordered) = crossbeam::channel::unbounded();
        let (shown, stop): (Arc<Shown>, Arc<AtomicBool>) = Default::default();
        let bookmarks = bookmarks(&self.folder);
        // What is wrong with it is told by the reader.
        let _ = std::fs::create_dir_all(&bookmarks);
        let setup = Setup {
            spec: spec.clone(),
            log_folder: self.folder.join("log"),
            bookmarks,
            readers: self.readers.clone(),
            log: self.log.clone(),
            clock: self.clock,
            begin: *self.readers.end(),
            shown: shown.clone(),
            stop: stop.clone(),
            orders: ordered,
        };
        let thread =
            std::thread::Builder::new().name("sink".into()).spawn(move || worker::run(setup));
        if let Err(error) = &thread {
            shown.failed(
                self.clock.now().wall,
                &format!("its thread cannot be started: {error}"),
                None,
            );
        }
        Handle { spec, shown, stop, orders, thread: thread.ok() }
    }
}

fn specs(policy: &Policy) -> impl Iterator<Item = Spec> + '_ {
    let hostname = policy.hostname.as_str();
    let syslogs = policy.syslogs.iter().cloned();
    let syslogs = syslogs.map(move |log| Spec::Syslog(log, hostname.into()));
    policy.webhooks.iter().cloned().map(Spec::Webhook).chain(syslogs)
}

/// All end at the same time.
impl Drop for Sinks {
    fn drop(&mut self) {
        self.running.values().for_each(|handle| handle.stop.store(true, Ordering::Release));
    }
}

/// Ends the thread, within a moment.
impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.orders = crossbeam::channel::bounded(0).0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
