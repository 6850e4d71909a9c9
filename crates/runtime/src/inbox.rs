//! What reaches a shard from outside its executor: mail from plain threads
//! (accepted sockets, commands, new segments) and batches from other shards.
//! One bell wakes the executor for both; neither can crowd the other out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use base::{ConnId, SegmentId, ShardId};
use control::{Ending, Policy, Suspensions, Watches};
use crossbeam::channel::Sender;
use shard::command::{Answer, Command};
use shard::event::{Came, Deposited};
use shard::mesh::MeshMessage;
use smtp::submission::Received;
use socket2::Socket;

use crate::listen::Slot;
use crate::mailbox::{Bell, Ear, Mailbox};
use crate::tls_server::ServerConfigs;
use crate::watch::Readers;

/// Items a shard's mailbox holds; a full one makes the poster wait or, for
/// new connections, try the next shard.
const MAIL_MAX: usize = 1_024;
/// Batches from other shards a shard holds; a full one leaves them in the
/// sender's memory.
pub(crate) const BATCHES_MAX: usize = 1_024;

/// Everything waiting for one shard.
pub(crate) struct Inbox {
    mail: Mailbox<Mail>,
    mesh: Mailbox<Batch>,
    bell: Bell,
}

/// What one shard says to another in one turn, in order.
pub(crate) type Batch = (ShardId, Vec<MeshMessage>);

/// One item from a plain thread.
pub(crate) enum Mail {
    /// A client connected.
    Accepted { socket: Socket, peer: SocketAddr, local: SocketAddr, listener: u16, slot: Slot },
    /// A command; the answer goes to the sender.
    Command { command: Box<Command>, answer: Sender<(ShardId, Answer)> },
    /// A message that came without a session; the answer goes to the sender.
    Submitted { came: Came, received: Box<Received>, answer: Sender<(ShardId, Answer)> },
    /// A new policy, and its certificates.
    Policy(Arc<Policy>, Arc<ServerConfigs>),
    /// Other suspensions.
    Suspensions(Arc<Suspensions>),
    /// Other things are looked at closely, and by others.
    Watches(Arc<Watches>, Readers),
    /// The keeper made a segment.
    SegmentReady { segment: SegmentId, bytes: u32 },
    /// A message was written into a mail folder, or not.
    Deposited { conn: ConnId, index: usize, outcome: Deposited },
    /// An errand is over.
    Ran { number: u64, ending: Ending },
    /// The keeper could not.
    NoSegment { reason: String },
    /// Room in the data folder's file system.
    Disk { free_bytes: u64, free_inodes: u64 },
    /// Accept nothing more and finish.
    Drain,
    /// End the executor.
    Stop,
}

impl Inbox {
    /// An empty inbox.
    ///
    /// # Errors
    /// When no descriptor is left for its bell.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            mail: Mailbox::new(MAIL_MAX),
            mesh: Mailbox::new(BATCHES_MAX),
            bell: Bell::new()?,
        })
    }

    /// Where the inbox's bell is heard; for the executor that empties it.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(crate) fn ear(&self) -> io::Result<Ear> {
        self.bell.ear()
    }

    /// Posts without waiting.
    ///
    /// # Errors
    /// Gives the mail back when the mailbox is full.
    pub(crate) fn post(&self, mail: Mail) -> Result<(), Mail> {
        self.mail.post(mail, &self.bell)
    }

    /// Posts from a plain thread that has nothing better to do than wait.
    /// Gives up, and says so, only when `keep_trying` does.
    pub(crate) fn post_patiently(&self, mail: Mail, keep_trying: impl Fn() -> bool) -> bool {
        let mut mail = mail;
        loop {
            match self.post(mail) {
                Ok(()) => return true,
                Err(back) => mail = back,
            }
            if !keep_trying() {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Posts a batch from another shard.
    ///
    /// # Errors
    /// Gives the batch back when the mailbox is full.
    pub(crate) fn post_batch(&self, batch: Batch) -> Result<(), Batch> {
        self.mesh.post(batch, &self.bell)
    }

    /// Waits until something was posted since the last wait; for the one task
    /// that empties the inbox.
    pub(crate) async fn rung(&self, ear: &Ear) {
        self.bell.rung(ear).await;
    }

    /// Wakes the task that empties the inbox.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    pub(crate) fn take(&self) -> Option<Mail> {
        self.mail.take()
    }

    pub(crate) fn take_batch(&self) -> Option<Batch> {
        self.mesh.take()
    }
}
