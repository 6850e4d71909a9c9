//! One connection to a next hop: what it carries, how far it is, and what it
//! is called in logs and reports.
//!
//! Holds state only: `connect` makes connections, `attempt` uses them.

use std::collections::VecDeque;
use std::sync::Arc;

use base::{Micros, Monotonic};
use control::Mode;
use eventlog::SessionName;
use queue::{Phase, SiteKey};
use smtp::Client;
use smtp::pop::Pop;
use smtp::proxy::Socks5;

use crate::armed::Armed;
use crate::batch::Batch;
use crate::epoch::Way;
use crate::plan::Candidate;
use crate::settle::{Ended, EndedAs};

/// One connection to a next hop, through all the hosts it tries.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) site: SiteKey,
    pub(crate) limit_key: Arc<str>,
    pub(crate) way: Way,
    /// What the queue takes the connection for.
    pub(crate) phase: Phase,
    /// The host of this connection.
    pub(crate) at: Candidate,
    /// The POP3 server that is dialled first, while that lasts.
    pub(crate) first: Option<Box<Candidate>>,
    /// Hosts to try if this one fails.
    pub(crate) rest: VecDeque<Candidate>,
    /// What a host said that failed only for now, and which it was.
    pub(crate) put_off: Option<Box<(Ended, Via)>>,
    pub(crate) link: Link,
    /// What the connection is called in the log; none in front of the first, and
    /// for mail folders.
    pub(crate) session: Option<SessionName>,
    /// The mail under way.
    pub(crate) batch: Option<Batch>,
    /// Messages sent over this connection.
    pub(crate) sent: u32,
    /// Some mail has had its verdict here, whatever it was.
    pub(crate) bore: bool,
    /// Its log-in has got another token once already, because a host refused
    /// the one before.
    pub(crate) renewed: bool,
    /// A body went out whose progress is not reported.
    pub(crate) body_unwatched: bool,
    pub(crate) opened: Monotonic,
    /// When the stage that is timed began: connect, handshake or transaction.
    pub(crate) since: Micros,
    pub(crate) armed: Armed,
}

/// Where an attempt went, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Via {
    /// The host that answered, or was tried last.
    pub(crate) host: Box<str>,
    /// The source; empty for the machine's choice.
    pub(crate) source: Box<str>,
    /// What takes it keeps mailboxes.
    pub(crate) in_mailbox: bool,
    /// What shares limits and back-off with it.
    pub(crate) site: Arc<str>,
    /// The connection.
    pub(crate) session: Option<SessionName>,
}

/// How far a connection is.
#[derive(Debug)]
pub(crate) enum Link {
    /// Nowhere yet: the host's log-in waits for its token.
    Token {
        /// Given up then.
        until: Monotonic,
    },
    /// Not yet connected.
    Connecting {
        /// Given up then.
        until: Monotonic,
    },
    /// Connected to a proxy, which is being asked for the host.
    Proxy {
        /// Given up then.
        until: Monotonic,
        /// How far the asking is.
        socks: Box<Socks5>,
    },
    /// TLS before the first byte.
    Handshake {
        /// Given up then.
        until: Monotonic,
    },
    /// A log-in at the POP3 server that comes first.
    Pop(Box<Pop>),
    /// A session.
    Session(Box<Client>),
    /// Mail folders: nobody is at the other end.
    Folder {
        /// Given up then.
        until: Option<Monotonic>,
        /// There is no more to write.
        over: bool,
    },
    /// A session without work.
    Idle {
        /// The session.
        client: Box<Client>,
        /// Ended then.
        until: Monotonic,
    },
}

impl Outbound {
    /// When the connection must be looked at.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        match &self.link {
            Link::Token { until } | Link::Connecting { until } => Some(*until),
            Link::Handshake { until } => Some(*until),
            Link::Proxy { until, .. } | Link::Idle { until, .. } => Some(*until),
            Link::Pop(pop) => Some(pop.deadline()),
            Link::Session(client) => client.deadline(),
            Link::Folder { until, .. } => *until,
        }
    }

    /// Whom it is connected to, or about to be.
    pub(crate) fn leg(&self) -> &Candidate {
        self.first.as_deref().unwrap_or(&self.at)
    }

    /// Where it leads, and from where.
    pub(crate) fn via(&self) -> Via {
        let source = self.way.source().map(|source| source.name.clone());
        let in_mailbox = self.way.lmtp || matches!(self.way.mode, Mode::Folders(_));
        Via {
            host: self.host().into(),
            source: source.unwrap_or_default(),
            in_mailbox,
            site: self.limit_key.clone(),
            session: self.session,
        }
    }

    /// What all the hosts tried amount to, the last of which failed with `last`:
    /// no and never only where none of them may be back.
    pub(crate) fn amounts_to(&self, last: &Ended) -> (Ended, Via) {
        match &self.put_off {
            Some(put_off) if last.kind == EndedAs::Failed => (**put_off).clone(),
            _ => (last.clone(), self.via()),
        }
    }

    /// `name [address]`, the literal or the path alone, for logs and reports.
    pub(crate) fn host(&self) -> String {
        self.at.shown()
    }
}
