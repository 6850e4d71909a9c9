//! Everything a shard can ask for, as one closed enum. The runtime carries the
//! effects of a step out in order and decides nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base::{ConnId, SegmentId, ShardId};

use crate::command::Answer;
use crate::errand::Errand;
use crate::mesh::MeshMessage;

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Open a TCP connection; answered by `Connected` or `ConnectFailed`. The
    /// core numbers outbound connections oddly (1, 3, 5, …).
    Connect {
        /// The new connection.
        conn: ConnId,
        /// Where to.
        to: SocketAddr,
        /// The own address to leave from; none leaves the choice to the machine.
        from: Option<IpAddr>,
    },
    /// Connect to a Unix socket; answered as `Connect` is.
    ConnectSocket {
        /// The new connection.
        conn: ConnId,
        /// The socket's path.
        path: Arc<str>,
    },
    /// Write a message into a mail folder, whole and lasting, or not at all;
    /// answered by `Deposited`.
    Deposit {
        /// Stands for the folders, as if they were a peer.
        conn: ConnId,
        /// What and where.
        deposit: Box<Deposit>,
    },
    /// Append bytes to a connection's output.
    Send {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Append a piece of a segment to a connection's output. The bytes never
    /// change and stay until the core retires the segment.
    SendBody {
        /// The connection.
        conn: ConnId,
        /// The segment.
        segment: SegmentId,
        /// First byte.
        offset: u32,
        /// Number of bytes.
        len: u32,
    },
    /// Stop reading from a connection (`true`), or go on (`false`).
    Pause {
        /// The connection.
        conn: ConnId,
        /// Whether to stop.
        paused: bool,
    },
    /// Close once the output so far is out; the runtime forgets the connection
    /// at once and reports nothing more. Unsent output is given up after 10 s.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Close at once, output and all; nothing more is reported.
    Abort {
        /// The connection.
        conn: ConnId,
    },
    /// Start a TLS handshake as client once the output so far is out.
    StartTls {
        /// The connection.
        conn: ConnId,
        /// What the peer must prove.
        check: TlsCheck,
    },
    /// Start a TLS handshake as server, with the certificate of the connection's
    /// listener, once the output so far is out. What arrives from now on belongs
    /// to it.
    AcceptTls {
        /// The connection.
        conn: ConnId,
    },
    /// What was received belongs in front of what comes: to the handshake that
    /// was asked for right before.
    Unread {
        /// The connection.
        conn: ConnId,
        /// What was received.
        bytes: Vec<u8>,
    },
    /// Send a DNS query from a fresh socket with a random port, connected to
    /// `server`; everything that comes back is an `Answer`.
    Query {
        /// Names the socket; never used twice.
        query: u64,
        /// The name server.
        server: SocketAddr,
        /// TCP with a length prefix, or one datagram.
        tcp: bool,
        /// The message without length prefix.
        bytes: Vec<u8>,
    },
    /// Close a query's socket.
    QueryDone {
        /// The query's number.
        query: u64,
    },
    /// Bring a piece of a segment into memory without stopping the shard;
    /// answered by `Prefetched`.
    Prefetch {
        /// Names the request.
        token: u64,
        /// The segment.
        segment: SegmentId,
        /// First byte.
        offset: u32,
        /// Number of bytes.
        len: u32,
    },
    /// Hand something to another shard. Never lost, in order per pair.
    Mesh {
        /// The receiver; may be the sender.
        to: ShardId,
        /// What to say.
        message: MeshMessage,
    },
    /// Run a program, beside everything else; answered by `Ran`.
    Run {
        /// Names the errand; never used twice by one shard.
        number: u64,
        /// What and for how long.
        errand: Box<Errand>,
    },
    /// Answer a command.
    Reply {
        /// The command's request number.
        request: u64,
        /// The answer.
        answer: Answer,
    },
    /// Append lines to the log.
    Log {
        /// Whole lines, each one JSON object with its line end.
        lines: Vec<u8>,
    },
    /// Show lines to those who are attached; lost where they are too slow.
    Trace {
        /// Whom, by the slots of their watches.
        slots: control::Slots,
        /// Whole lines, as they would stand in the log.
        lines: Vec<u8>,
    },
    /// Draining has ended: the shard may be stopped.
    Drained,
}

/// One message for one mail folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Names the recipient within the connection's message.
    pub index: usize,
    /// The folder, made where only the end of its path is missing.
    pub folder: control::Folder,
    /// The file's name, the same each time.
    pub name: String,
    /// What stands in front of the content.
    pub front: Vec<u8>,
    /// The rest of the file.
    pub content: Arc<[u8]>,
    /// It may be there already, perhaps moved on by a reader: then nothing is
    /// written.
    pub again: bool,
}

/// What a TLS peer must prove, and how it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsCheck {
    /// Name for SNI and, where checked, for the certificate; an address where
    /// the next hop is a literal.
    pub name: String,
    /// Roots that may have signed; `None` accepts every certificate
    /// (opportunistic, RFC 7435).
    pub trust: Option<control::Trust>,
    /// What we prove ourselves with if the peer asks.
    pub identity: Option<Arc<control::Identity>>,
}
