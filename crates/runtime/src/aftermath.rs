//! What effects bring about at once, kept until the step that caused it is over:
//! the core is never told from within a step.

use base::{ConnId, ShardId};
use control::Ending;
use shard::event::{ConnectFailure, Deposited, Event};
use shard::mesh::MeshMessage;

/// An event that owns its data, kept until the step that caused it is over.
pub(crate) enum Aftermath {
    ConnectFailed {
        conn: ConnId,
        failure: ConnectFailure,
    },
    Closed {
        conn: ConnId,
        error: Option<String>,
    },
    TlsFailed {
        conn: ConnId,
        reason: String,
        certificate: bool,
    },
    QueryFailed {
        query: u64,
        reason: String,
    },
    NoSegment {
        reason: String,
    },
    Deposited {
        conn: ConnId,
        index: usize,
        outcome: Deposited,
    },
    Ran {
        number: u64,
        ending: Ending,
    },
    Mesh {
        message: MeshMessage,
    },
    /// Bytes wait in the connection.
    Unread {
        conn: ConnId,
    },
}

impl Aftermath {
    /// The event, on this shard.
    ///
    /// # Panics
    /// For bytes that wait: they are in the connection.
    pub(crate) fn event(self, from: ShardId) -> Event<'static> {
        match self {
            Self::Unread { .. } => unreachable!("the connection has the bytes"),
            Self::ConnectFailed { conn, failure } => Event::ConnectFailed { conn, failure },
            Self::Closed { conn, error } => Event::Closed { conn, error },
            Self::TlsFailed { conn, reason, certificate } => {
                Event::TlsFailed { conn, reason, certificate }
            }
            Self::QueryFailed { query, reason } => Event::QueryFailed { query, reason },
            Self::NoSegment { reason } => Event::NoSegment { reason },
            Self::Deposited { conn, index, outcome } => Event::Deposited { conn, index, outcome },
            Self::Ran { number, ending } => Event::Ran { number, ending },
            Self::Mesh { message } => Event::Mesh { from, message },
        }
    }
}
