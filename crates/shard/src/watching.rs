//! What operators look at closely: which sessions, look-ups and permits meet
//! what they named, and where each line about them goes.
//!
//! What was said before a session became one that is meant (by its MAIL FROM,
//! for instance) is kept for a while and shown then. A session is meant for as
//! long as the message that it carries is: another one over the same connection
//! is looked at anew.
//!
//! Never there while nobody looks: it is one branch then. Never decides what is
//! said. Invariants: what is kept is bounded for each session and for all; each
//! line goes once to each place that it is meant for.

mod book;

use std::net::SocketAddr;
use std::sync::Arc;

use base::ConnId;
use control::{Slots, Watches};
use eventlog::Line;
use mail::{Address, Host};
use queue::SiteKey;

use crate::armed::Timer;
use crate::batch::Batch;
use crate::outbound::Outbound;
use crate::shard::{Shard, Turn};

pub(crate) use book::Watching;
use book::{DOMAINS_MAX, LOG, Looked, give, named, note};

impl Shard {
    /// Other orders to look are in force from now on.
    pub(crate) fn order_watches(&mut self, turn: &mut Turn<'_>, watches: Arc<Watches>) {
        if watches.is_empty() {
            self.logged.watching = None;
        } else {
            let old = self.logged.watching.take();
            let begins = old.is_none();
            let mut watching = old.unwrap_or_else(|| Box::new(Watching::new(watches.clone())));
            watching.adopt(watches);
            self.logged.watching = Some(watching);
            if begins {
                self.look_at_all(turn);
            }
            self.rematch_all(turn);
        }
        self.settle_detail();
        let end = self.logged.watching.as_ref().and_then(|it| it.watches.next_end());
        let end = end.map(|end| turn.now.mono_at(end));
        self.logged.watches_armed.set(&mut self.timers, end, Timer::Watches);
    }

    /// The end of one may have come.
    pub(crate) fn watches_due(&mut self, turn: &mut Turn<'_>) {
        let Some(watching) = &self.logged.watching else { return };
        let mut left = Watches::clone(&watching.watches);
        left.forget_ended(turn.now.wall);
        self.order_watches(turn, Arc::new(left));
    }

    /// Sessions that were there before somebody looked.
    fn look_at_all(&mut self, turn: &Turn<'_>) {
        let Some(mut watching) = self.logged.watching.take() else { return };
        for (conn, inbound) in &self.inbound {
            watching.sessions.insert(*conn, Looked::of_client(inbound.peer.ip()));
        }
        for (conn, out) in &self.outbound {
            let mut looked = Looked::of_host(out);
            if let Some(batch) = &out.batch {
                self.note_message(turn, &mut looked, batch);
            }
            watching.sessions.insert(*conn, looked);
        }
        self.logged.watching = Some(watching);
    }

    fn rematch_all(&mut self, turn: &mut Turn<'_>) {
        let Some(watching) = &mut self.logged.watching else { return };
        let mut conns: Vec<ConnId> = watching.sessions.keys().copied().collect();
        conns.sort_unstable();
        for conn in conns {
            watching.rematch(turn, conn);
        }
    }

    /// A client's session begins.
    pub(crate) fn look_at_client(&mut self, turn: &mut Turn<'_>, conn: ConnId, peer: SocketAddr) {
        let Some(watching) = &mut self.logged.watching else { return };
        watching.sessions.insert(conn, Looked::of_client(peer.ip()));
        watching.rematch(turn, conn);
    }

    /// A session with a next hop is about to begin.
    pub(crate) fn look_at_host(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &Outbound) {
        if self.logged.watching.is_none() {
            return;
        }
        self.forget_looked(conn);
        let mut looked = Looked::of_host(out);
        match &out.batch {
            Some(batch) => self.note_message(turn, &mut looked, batch),
            None => looked.domains = self.waiting_domains(out.site),
        }
        let Some(watching) = &mut self.logged.watching else { return };
        watching.sessions.insert(conn, looked);
        watching.rematch(turn, conn);
    }

    /// A transaction begins at a next hop.
    pub(crate) fn look_at_batch(&mut self, turn: &mut Turn<'_>, conn: ConnId, batch: &Batch) {
        let Some(mut looked) = self.logged.watching.as_mut().and_then(|it| it.begin(conn)) else {
            return;
        };
        self.note_message(turn, &mut looked, batch);
        let Some(watching) = &mut self.logged.watching else { return };
        watching.sessions.insert(conn, looked);
        watching.rematch(turn, conn);
    }

    /// A client begins a transaction, or tries to.
    pub(crate) fn client_begins(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let Some(watching) = &mut self.logged.watching else { return };
        if let Some(looked) = watching.begin(conn) {
            watching.sessions.insert(conn, looked);
            watching.rematch(turn, conn);
        }
    }

    /// What became known of the message that a client hands in.
    pub(crate) fn client_names(&mut self, turn: &mut Turn<'_>, conn: ConnId, named: Named) {
        let Some(watching) = &mut self.logged.watching else { return };
        let Some(looked) = watching.sessions.get_mut(&conn) else { return };
        match named {
            Named::Sender(sender) => looked.sender = Some(sender),
            Named::Recipient(domain) => looked.add_domain(&domain),
        }
        watching.rematch(turn, conn);
    }

    /// A client's session has ended.
    pub(crate) fn look_away(&mut self, conn: ConnId) {
        if let Some(watching) = &mut self.logged.watching {
            watching.forget(conn);
        }
    }

    /// A line at level `detail` about a session.
    pub(crate) fn tell(&mut self, turn: &mut Turn<'_>, conn: ConnId, line: Line) {
        let log = if self.logs_all() { LOG } else { 0 };
        let Some(watching) = &mut self.logged.watching else { return turn.log(line) };
        let line = line.end();
        let to = watching.of_session(conn, &line, log);
        give(turn, to, &line);
    }

    /// A line at level `detail` about a name that is looked up.
    pub(crate) fn tell_of_name(&mut self, turn: &mut Turn<'_>, name: &str, line: Line) {
        self.tell_of(turn, line, |watching| watching.of_name(name));
    }

    /// A line at level `detail` about a limit.
    pub(crate) fn tell_of_limit(&mut self, turn: &mut Turn<'_>, key: &str, line: Line) {
        self.tell_of(turn, line, |watching| named(&watching.limits, key));
    }

    fn tell_of(&mut self, turn: &mut Turn<'_>, line: Line, slots: impl FnOnce(&Watching) -> Slots) {
        let log = if self.logs_all() { LOG } else { 0 };
        let Some(watching) = &self.logged.watching else { return turn.log(line) };
        let to = log | watching.places(slots(watching));
        give(turn, to, &line.end());
    }

    /// A connection is about to be opened for the mail that waits for a site:
    /// its limit belongs to those domains.
    pub(crate) fn look_at_site(&mut self, site: SiteKey, limit_key: &str) {
        if self.logged.watching.as_ref().is_none_or(|it| !it.follows_names()) {
            return;
        }
        let domains = self.waiting_domains(site);
        let Some(watching) = &mut self.logged.watching else { return };
        let slots = domains.iter().fold(0, |slots, name| slots | watching.of_name(name));
        note(&mut watching.limits, slots, limit_key);
    }

    /// A host is an exchanger of a domain: its addresses are looked up next.
    pub(crate) fn look_at_exchanger(&mut self, of: &str, host: &str) {
        let Some(watching) = &mut self.logged.watching else { return };
        let slots = watching.of_name(of);
        note(&mut watching.hosts, slots, host);
    }

    /// Domains whose ready mail waits for a site.
    fn waiting_domains(&self, site: SiteKey) -> Vec<Box<str>> {
        let waiting = self.queue.waiting_at(site).into_iter();
        let named = waiting.filter_map(|key| Some(self.queue.destination(key)?.0.name.into()));
        named.take(DOMAINS_MAX).collect()
    }

    fn note_message(&self, turn: &Turn<'_>, looked: &mut Looked, batch: &Batch) {
        let Ok(stored) = spool::message_at(&*turn.medium, batch.message, batch.place) else {
            return;
        };
        looked.message = Some(batch.message);
        looked.sender = Some(stored.sender().into());
        let views = batch.unsettled().filter_map(|key| self.queue.entry(turn.now, key));
        for recipient in views.filter_map(|view| stored.recipient(view.recipient)) {
            if let Some((_, domain)) = recipient.address.rsplit_once('@') {
                looked.add_domain(domain);
            }
        }
    }

    /// Sessions that have ended are forgotten when they are many; `conn` is not
    /// in its table just now.
    fn forget_looked(&mut self, conn: ConnId) {
        let Self { logged, inbound, outbound, .. } = self;
        let Some(watching) = &mut logged.watching else { return };
        let there =
            |it: &ConnId| *it == conn || inbound.contains_key(it) || outbound.contains_key(it);
        watching.forget_ended(inbound.len() + outbound.len(), there);
    }
}

/// What a client says of its message.
pub(crate) enum Named {
    /// The reverse-path; empty for reports.
    Sender(Box<str>),
    /// The domain of a recipient.
    Recipient(Box<str>),
}

impl Named {
    /// The domain of an address.
    pub(crate) fn domain_of(address: &Address) -> Self {
        Self::Recipient(match address.host() {
            Host::Name(domain) => domain.as_str().into(),
            Host::Literal(ip) => format!("[{ip}]").into(),
        })
    }
}
