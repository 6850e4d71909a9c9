//! Everything a shard can be told, as one closed enum. The runtime and the
//! simulator speak to the core only by these.
//!
//! Contract: events of one connection come in order; after [`Event::Closed`],
//! [`Event::ConnectFailed`] or the effect `Abort` nothing more comes for that
//! connection. An event for something the shard has forgotten is ignored.

use std::net::SocketAddr;
use std::sync::Arc;

use base::{ConnId, SegmentId, ShardId};
use control::{Ending, Policy, Suspensions, Watches};

use crate::command::Command;
use crate::mesh::MeshMessage;

/// One thing that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The moment named by `Shard::next_deadline` has come.
    Tick,
    /// A checked configuration takes effect between two steps.
    Policy(Arc<Policy>),
    /// Other suspensions are in force.
    Suspensions(Arc<Suspensions>),
    /// Other things are looked at closely.
    Watches(Arc<Watches>),
    /// A client connected to a submission listener. The runtime numbers
    /// inbound connections evenly (0, 2, 4, …).
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// The client's address.
        peer: SocketAddr,
        /// The listener's address.
        local: SocketAddr,
        /// The listener's place in `submission.listen`.
        listener: u16,
    },
    /// A connection asked for by `Effect::Connect` stands.
    Connected {
        /// The connection.
        conn: ConnId,
        /// The address it leaves from.
        local: SocketAddr,
    },
    /// A connection asked for by `Effect::Connect` could not be made.
    ConnectFailed {
        /// The connection; forgotten by the runtime.
        conn: ConnId,
        /// Why.
        failure: ConnectFailure,
    },
    /// Bytes arrived, decrypted where TLS is up.
    Received {
        /// The connection.
        conn: ConnId,
        /// What arrived, in order, nothing left out.
        bytes: &'a [u8],
    },
    /// A message asked for by `Effect::Deposit` is written, or not.
    Deposited {
        /// The connection.
        conn: ConnId,
        /// The recipient.
        index: usize,
        /// How it went.
        outcome: Deposited,
    },
    /// Output reached the kernel. Reported whenever that happens to a
    /// connection with a `SendBody` under way, and once when nothing of it is
    /// left.
    Drained {
        /// The connection.
        conn: ConnId,
        /// Bytes that did not reach it yet.
        left: u64,
    },
    /// The peer closed, or the connection broke.
    Closed {
        /// The connection; forgotten by the runtime.
        conn: ConnId,
        /// An orderly end (FIN) or the error's text.
        error: Option<String>,
    },
    /// A client shows a certificate, and has proved that it is its own; told
    /// right before `TlsEstablished`.
    ClientCertificate {
        /// The connection.
        conn: ConnId,
        /// The SHA-256 of the certificate.
        sha256: [u8; 32],
    },
    /// The handshake asked for by `Effect::StartTls` or `Effect::AcceptTls`
    /// succeeded.
    TlsEstablished {
        /// The connection.
        conn: ConnId,
        /// For the log: protocol version and cipher suite.
        description: String,
    },
    /// The handshake asked for failed; the connection still stands until the core aborts it.
    TlsFailed {
        /// The connection.
        conn: ConnId,
        /// Why, as text for log and deferral.
        reason: String,
        /// The peer's certificate did not satisfy the demanded check (as
        /// against a broken handshake).
        certificate: bool,
    },
    /// An answer to `Effect::Query` arrived on its socket: a whole datagram,
    /// or a whole message of a TCP stream without its length prefix.
    Answer {
        /// The query's number.
        query: u64,
        /// The message as received.
        bytes: &'a [u8],
    },
    /// The socket of `Effect::Query` broke (refused, unreachable, closed).
    QueryFailed {
        /// The query's number.
        query: u64,
        /// Why.
        reason: String,
    },
    /// The sync started by `Medium::start_sync` ended.
    Synced {
        /// The segment it was asked for.
        segment: SegmentId,
        /// Whether everything appended before its start is on stable storage.
        ok: bool,
    },
    /// A segment asked for by `Medium::request_segment` is allocated, zeroed,
    /// durable and mapped.
    SegmentReady {
        /// Its number.
        segment: SegmentId,
        /// Its size in bytes.
        bytes: u32,
    },
    /// No segment could be made (disk full, bad disk). Ask again later.
    NoSegment {
        /// Why, as text.
        reason: String,
    },
    /// The read asked for by `Effect::Prefetch` is over.
    Prefetched {
        /// The effect's token.
        token: u64,
        /// False: the segment is gone, or the medium cannot read the bytes.
        /// True also when a shortage of our own (descriptors, memory) kept us
        /// from reading ahead: that says nothing against the mail, which then
        /// costs a page fault.
        ok: bool,
    },
    /// How much room the data folder's file system has; told every second.
    Disk {
        /// Free bytes for this user.
        free_bytes: u64,
        /// Free inodes for this user.
        free_inodes: u64,
    },
    /// Something from another shard, or from itself through the mesh.
    Mesh {
        /// The sender.
        from: ShardId,
        /// What it says.
        message: MeshMessage,
    },
    /// An errand asked for by `Effect::Run` is over.
    Ran {
        /// The effect's number.
        number: u64,
        /// How it ended.
        ending: Ending,
    },
    /// A message that came without a session; answered by `Effect::Reply` when
    /// it is on stable storage, or refused.
    Submitted {
        /// Names the waiting caller.
        request: u64,
        /// How it came.
        came: Came,
        /// The message.
        received: Box<smtp::submission::Received>,
    },
    /// A command from the control socket; answered by `Effect::Reply`.
    Command {
        /// Names the waiting caller.
        request: u64,
        /// What is asked.
        command: Command,
    },
    /// Accept nothing more, finish what is under way, then `Effect::Drained`.
    Drain,
}

/// How a message came that comes without a session.
#[derive(Debug)]
pub enum Came {
    /// As a new one. How and from whom, for its trace field: printable ASCII
    /// without parentheses.
    By(Box<str>),
    /// Out of another queue, with its past; its text stays as it is.
    Exported(Box<mail::exported::Past>),
}

/// How writing into a mail folder went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deposited {
    /// The message is there, on stable storage.
    Done,
    /// Not in this folder, for now: quota, rights.
    Refused(String),
    /// Nowhere now: the disk is full or not there, or we lack descriptors.
    /// Never counts as an attempt.
    Short(String),
}

/// Why a connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The peer or the network said no (refused, unreachable, reset).
    Peer(String),
    /// We could not even try (no descriptor, no local port). Never counts as
    /// an attempt.
    Local(String),
    /// The own address to leave from is not there. Never counts as an attempt.
    Source(String),
}
