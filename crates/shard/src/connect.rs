//! Connections to next hops: which host of a site, whether one may be opened,
//! and what happens while it is not yet a session. The hosts of a site are
//! tried in order within one attempt; mail that a broken session left over
//! moves on to the next host with it (design §5).
//!
//! Invariants: a connection holds one permit and counts once as open at its
//! site, however many hosts it tries; no address from a stranger is dialled
//! that is forbidden, whatever was true when its name was looked up.
//!
//! Read first: RFC 5321 §5.1, RFC 5321 §4.5.3.2.

use base::ConnId;
use base::planted::{Bug, planted};
use control::TlsMode;
use eventlog::{Field, Kind, Line};
use mail::Status;
use meter::Stage;
use queue::{Phase, SiteKey};
use smtp::{Client, Fault, Loss, Tls};

use crate::armed::{Armed, Timer};
use crate::batch::Batch;
use crate::dispatch::Hosting;
use crate::effect::{Effect, TlsCheck};
use crate::epoch::Way;
use crate::event::ConnectFailure;
use crate::outbound::{Link, Outbound};
use crate::permit::Spend;
use crate::plan::{Candidate, connecting};
use crate::settle::{Ended, EndedAs};
use crate::shard::{Shard, Turn};

impl Shard {
    /// The queue wants one more connection to `site`.
    pub(crate) fn open(&mut self, turn: &mut Turn<'_>, site: SiteKey) {
        let Some(target) = self.targets.get(&site) else {
            unreachable!("a site is opened only after a destination was resolved to it");
        };
        let (limit_key, way) = (target.limit_key.clone(), target.way.clone());
        if self.logged.watching.is_some() {
            self.look_at_site(site, &limit_key);
        }
        if self.leaves_otherwise(turn, site, &way) || self.site_waits_for_link(turn, site, &way) {
            return;
        }
        if self.waits_unblocked(turn, site, &way) {
            return;
        }
        match self.permits.take_connection(&limit_key) {
            Spend::Taken => {}
            spend => {
                if let Spend::Ask(want) = spend {
                    self.ask_permits(turn, &limit_key, &way, want);
                }
                return self.wait_for_permit(turn, site, &limit_key, &way);
            }
        }
        let mut rest = self.plan(turn, site);
        if self.detailed() {
            self.tell_plan(turn, &limit_key, rest.iter());
        }
        let Some(at) = rest.pop_front() else {
            return self.nowhere_to_go(turn, site, &limit_key);
        };
        if self.waits_for_log_in(turn, site, &limit_key, (&at, &way)) {
            return;
        }
        self.note_probe(turn, site, &way);
        let into_folders = matches!(self.targets[&site].hosts, Hosting::Folders(_));
        let out = Outbound {
            site,
            limit_key,
            way,
            phase: Phase::Dispatched,
            at,
            first: None,
            rest,
            put_off: None,
            link: Link::Connecting { until: turn.now.mono },
            session: None,
            batch: None,
            sent: 0,
            bore: false,
            renewed: false,
            body_unwatched: false,
            opened: turn.now.mono,
            since: turn.now.micros,
            armed: Armed::default(),
        };
        let mut out = Box::new(out);
        if !into_folders {
            return self.dial(turn, out);
        }
        out.link = Link::Folder { until: None, over: false };
        let conn = self.next_conn();
        self.next_batch(turn, conn, &mut out);
        self.drive(turn, conn, out);
    }

    /// Every address of the site is forbidden: its mail can never go there.
    fn nowhere_to_go(&mut self, turn: &mut Turn<'_>, site: SiteKey, limit_key: &str) {
        if self.is_unreached(site) {
            return self.unreached(turn, site, limit_key);
        }
        if self.waits_for_names(turn, site, limit_key) {
            return;
        }
        let reason = match &self.targets[&site].hosts {
            Hosting::Exchangers(exchangers) => {
                let first = exchangers.hosts.first().and_then(|h| {
                    let ip = *h.addresses.first()?;
                    Some(format!("mail exchanger {} [{ip}] is {}", h.name, self.forbids(ip)?))
                });
                first.unwrap_or_else(|| "no usable mail exchanger".into())
            }
            Hosting::Fixed(_) | Hosting::Folders(_) => "the address may not be connected to".into(),
        };
        let mut entries = Vec::new();
        let way = self.targets[&site].way.clone();
        let most = way.recipients_per_message as usize;
        self.close_permit(turn, limit_key);
        if let Some(batch) = self.queue.take_blamed(site, Phase::Dispatched, most, &mut entries) {
            for key in entries {
                let failed = crate::mesh::SettledAs::Failed;
                self.settle_unsent(turn, key, failed, Status::UNROUTABLE, &reason);
            }
            self.reject(batch.destination, Status::UNROUTABLE, reason);
        }
        self.queue.connection_closed(site, Phase::Busy);
    }

    /// Connects to the next host of the plan, or to what comes before it.
    pub(crate) fn dial(&mut self, turn: &mut Turn<'_>, out: Box<Outbound>) {
        let Some(mut out) = self.with_token(turn, out) else { return };
        out.first = match self.first_leg(turn, &out) {
            Ok(first) => first,
            Err(reason) => return self.next_host(turn, out, &unreachable(&reason)),
        };
        let conn = self.next_conn();
        out.session = Some(self.session_name(conn));
        let until = turn.now.mono + out.way.timeouts.connect;
        (out.link, out.since) = (Link::Connecting { until }, turn.now.micros);
        (out.sent, out.body_unwatched) = (0, false);
        if self.logged.watching.is_some() {
            self.look_at_host(turn, conn, &out);
        }
        turn.effects.push(connecting(conn, out.leg(), &out.way));
        self.keep(turn, conn, out);
    }

    /// Puts a connection back into the table, with its deadline.
    pub(crate) fn keep(&mut self, turn: &Turn<'_>, conn: ConnId, mut out: Box<Outbound>) {
        debug_assert!(out.deadline().is_none_or(|at| at >= turn.now.mono) || out.batch.is_some());
        let deadline = out.deadline();
        out.armed.set(&mut self.timers, deadline, Timer::Conn(conn));
        self.outbound.insert(conn, out);
    }

    /// Takes a connection out of the table to work on it.
    pub(crate) fn pick(&mut self, conn: ConnId) -> Option<Box<Outbound>> {
        self.outbound.remove(&conn)
    }

    /// The TCP connection stands.
    pub(crate) fn connected(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let Some(out) = self.pick(conn) else { return };
        self.exchanger_heard(turn, &out);
        match out.way.proxy() {
            Some(_) => self.meet_proxy(turn, conn, out),
            None => self.reached(turn, conn, out, &[]),
        }
    }

    /// The connection to the host stands, perhaps through a proxy; `first` is
    /// what the host has said by then.
    pub(crate) fn reached(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        mut out: Box<Outbound>,
        first: &[u8],
    ) {
        self.metrics.connections_out += 1;
        self.time(turn, Stage::Connect, out.since);
        out.since = turn.now.micros;
        if self.detailed() {
            self.tell_connected(turn, conn, &out);
        }
        if out.leg().tls == TlsMode::Implicit {
            out.link = Link::Handshake { until: turn.now.mono + out.way.timeouts.tls };
            turn.effects.push(Effect::StartTls { conn, check: tls_check(out.leg()) });
            return self.keep(turn, conn, out);
        }
        self.begin_session(turn, conn, out, first);
    }

    /// The connection can carry SMTP.
    fn begin_session(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        mut out: Box<Outbound>,
        first: &[u8],
    ) {
        if out.first.is_some() {
            return self.begin_log_in(turn, conn, out, first);
        }
        let settings = self.session_settings(turn, &out.at, &out.way);
        let mut client = Box::new(Client::new(settings, turn.now.mono));
        if !first.is_empty() {
            client.received(turn.now.mono, first);
        }
        out.link = Link::Session(client);
        self.drive(turn, conn, out);
    }

    /// How a session with a host of a way behaves.
    pub(crate) fn session_settings(
        &mut self,
        turn: &Turn<'_>,
        at: &Candidate,
        way: &Way,
    ) -> smtp::client::Settings {
        let tls = match at.tls {
            _ if at.without_tls => Tls::None,
            TlsMode::None => Tls::None,
            TlsMode::Opportunistic => Tls::Opportunistic,
            TlsMode::Required => Tls::Required,
            TlsMode::Implicit => Tls::Implicit,
        };
        let log_in = at.auth.as_ref().map(|auth| {
            crate::settings::log_in(auth, at.tls, [self.rng.next_u64(), self.rng.next_u64()])
        });
        smtp::client::Settings {
            ehlo_name: way.ehlo_name().into(),
            tls,
            timeouts: crate::settings::session_timeouts(&way.timeouts),
            pipelining: !self.peers.pipelining_broken(turn.now.mono, at.addr),
            log_in,
            lmtp: way.lmtp,
        }
    }

    /// The handshake asked for is done.
    pub(crate) fn tls_up(&mut self, turn: &mut Turn<'_>, conn: ConnId, description: &str) {
        let Some(mut out) = self.pick(conn) else { return };
        self.metrics.tls_established += 1;
        self.time(turn, Stage::Tls, out.since);
        self.peers.note_tls(turn.now.mono, out.leg().addr, description);
        if self.detailed() {
            let line = Line::new(turn.now.wall, Kind::TlsUp);
            let line = line.session(self.session_name(conn));
            let line = line.text(Field::Host, &out.host()).text(Field::Tls, description);
            self.tell(turn, conn, line);
        }
        match &mut out.link {
            Link::Session(client) => {
                client.tls_established(turn.now.mono);
                self.drive(turn, conn, out);
            }
            Link::Pop(pop) => {
                let said = pop.secured(turn.now.mono);
                self.go_on_with_log_in(turn, conn, out, said);
            }
            Link::Handshake { .. } => self.begin_session(turn, conn, out, &[]),
            Link::Token { .. }
            | Link::Connecting { .. }
            | Link::Proxy { .. }
            | Link::Folder { .. }
            | Link::Idle { .. } => self.keep(turn, conn, out),
        }
    }

    /// The handshake asked for has failed.
    pub(crate) fn tls_down(&mut self, turn: &mut Turn<'_>, conn: ConnId, reason: &str) {
        let Some(mut out) = self.pick(conn) else { return };
        self.metrics.tls_failed += 1;
        if let Link::Session(client) = &mut out.link {
            client.tls_failed(turn.now.mono, reason);
            return self.drive(turn, conn, out);
        }
        turn.effects.push(Effect::Abort { conn });
        let fault = Fault::PeerTlsFailed { reason: reason.into() };
        self.next_host(turn, out, &Ended::of_fault(fault));
    }

    /// The TCP connection could not be made.
    pub(crate) fn connect_failed(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        failure: ConnectFailure,
    ) {
        let Some(mut out) = self.pick(conn) else { return };
        match failure {
            // Perhaps only this address is out of our reach, as all of IPv6 is
            // on many machines: nobody is to blame, and the next one may do.
            ConnectFailure::Local(reason) if !planted(Bug::ShortageCounted) => {
                match out.rest.pop_front() {
                    Some(next) => self.dial_instead(turn, out, next),
                    None => self.shortage(turn, out, &reason),
                }
            }
            ConnectFailure::Peer(reason) if out.way.proxy().is_some() => {
                self.proxy_failed(turn, out, &reason);
            }
            ConnectFailure::Source(reason) => match out.rest.pop_front() {
                Some(next) => self.dial_instead(turn, out, next),
                None => self.source_failed(turn, out, &reason),
            },
            ConnectFailure::Peer(reason) | ConnectFailure::Local(reason) => {
                self.metrics.connects_failed += 1;
                match &*reason {
                    text if text.contains("refused") => self.exchanger_heard(turn, &out),
                    text if text.contains("timed out") => self.exchanger_silent(turn, &out),
                    _ => {}
                }
                self.next_host(turn, out, &unreachable(&format!("cannot connect: {reason}")));
            }
        }
    }

    fn dial_instead(&mut self, turn: &mut Turn<'_>, mut out: Box<Outbound>, next: Candidate) {
        out.armed.clear(&mut self.timers);
        self.leave_log_in(turn, &mut out);
        out.at = next;
        self.dial(turn, out);
    }

    /// A connection's deadline may have come.
    pub(crate) fn outbound_timer(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let Some(mut out) = self.pick(conn) else { return };
        out.armed.fired();
        let now = turn.now.mono;
        match &mut out.link {
            Link::Token { until } if *until <= now => self.token_overdue(turn, out),
            Link::Connecting { until } if *until <= now && out.way.proxy().is_some() => {
                turn.effects.push(Effect::Abort { conn });
                self.proxy_failed(turn, out, "timed out");
            }
            Link::Proxy { until, socks } if *until <= now && !socks.has_asked() => {
                turn.effects.push(Effect::Abort { conn });
                self.proxy_failed(turn, out, "timed out");
            }
            Link::Connecting { until } | Link::Proxy { until, .. } if *until <= now => {
                self.metrics.connects_failed += 1;
                turn.effects.push(Effect::Abort { conn });
                self.exchanger_silent(turn, &out);
                self.next_host(turn, out, &unreachable("cannot connect: timed out"));
            }
            Link::Handshake { until } if *until <= now => {
                turn.effects.push(Effect::Abort { conn });
                let fault = Fault::PeerTimedOut { phase: smtp::Phase::Tls };
                self.next_host(turn, out, &Ended::of_fault(fault));
            }
            Link::Idle { until, .. } if *until <= now => self.dismiss(turn, conn, out),
            Link::Pop(pop) => {
                let said = pop.timeout(now);
                self.go_on_with_log_in(turn, conn, out, said);
            }
            Link::Folder { until: Some(until), .. } if *until <= now => {
                self.deposit_doubted(turn, &mut out, "timed out");
                self.drive(turn, conn, out);
            }
            Link::Session(client) => {
                client.timeout(now);
                self.drive(turn, conn, out);
            }
            _ => self.keep(turn, conn, out),
        }
    }

    /// A next hop's connection broke or ended.
    pub(crate) fn outbound_closed(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        error: Option<&str>,
    ) {
        let Some(mut out) = self.pick(conn) else { return };
        let loss = match error {
            None => Loss::PeerClosed,
            Some(text) if text.contains("reset") => Loss::PeerReset,
            Some(_) => Loss::Failed,
        };
        if matches!(out.link, Link::Idle { .. }) {
            self.leave_idle(conn, &mut out);
        }
        match &mut out.link {
            Link::Session(client) => {
                client.closed(turn.now.mono, loss);
                self.drive(turn, conn, out);
            }
            Link::Folder { until: Some(_), .. } => {
                self.deposit_doubted(turn, &mut out, error.unwrap_or("ended"));
                self.drive(turn, conn, out);
            }
            Link::Proxy { .. } => self.proxy_failed(turn, out, &loss.to_string()),
            _ => self.next_host(turn, out, &unreachable(&loss.to_string())),
        }
    }

    /// This host will not do: the next one, or the end of the attempt. The
    /// connection at the runtime is gone already.
    pub(crate) fn next_host(
        &mut self,
        turn: &mut Turn<'_>,
        mut out: Box<Outbound>,
        failure: &Ended,
    ) {
        out.armed.clear(&mut self.timers);
        let failed_first = self.leave_log_in(turn, &mut out);
        let text = failed_first.map(|at| format!("{at}: {}", failure.text));
        let failure = &Ended {
            text: text.map_or_else(|| failure.text.clone(), Into::into),
            ..failure.clone()
        };
        if out.at.socket.is_none() {
            self.peers.note_down(turn.now.mono, out.at.addr, &failure.text);
        }
        if self.logs_mail() {
            let line = Line::new(turn.now.wall, Kind::HostFailed).text(Field::Host, &out.host());
            let line = line.text(Field::Site, &out.limit_key).session_some(out.session);
            turn.log(line.text(Field::Reason, &failure.text));
        }
        // Another host may take as long as this one did: what has expired
        // meanwhile is not sent on.
        let goes_on = !out.batch.as_ref().is_some_and(|batch| self.has_expired(turn, batch));
        if failure.kind == EndedAs::Deferred {
            out.put_off = Some(Box::new((failure.clone(), out.via())));
        }
        match out.rest.pop_front().filter(|_| goes_on) {
            Some(next) => {
                out.at = next;
                self.dial(turn, out);
            }
            None => self.give_up(turn, out, failure),
        }
    }

    /// Whether the lifetime of all mail of a batch is over.
    pub(crate) fn has_expired(&self, turn: &Turn<'_>, batch: &Batch) -> bool {
        let views = batch.unsettled().filter_map(|key| self.queue.entry(turn.now, key));
        let mut views = views.peekable();
        views.peek().is_some() && views.all(|view| view.expires <= turn.now.wall)
    }

    /// No host of the site would do. One transaction's mail bears the attempt;
    /// the rest waits as one for the site (design §5).
    fn give_up(&mut self, turn: &mut Turn<'_>, out: Box<Outbound>, failure: &Ended) {
        let (failure, via) = out.amounts_to(failure);
        let Some(mut out) = self.blames_site(turn, out, &failure) else { return };
        let mut entries = Vec::new();
        if out.batch.is_none() && !out.bore && out.phase != Phase::Closing {
            let most = out.way.recipients_per_message as usize;
            self.queue.take_blamed(out.site, out.phase, most, &mut entries);
            out.phase = Phase::Busy;
        }
        let leaks = planted(Bug::SlotLeaked) && out.batch.is_some();
        if let Some(batch) = out.batch.take() {
            entries.extend(batch.unsettled());
        }
        let attempts = entries.first().and_then(|key| self.queue.entry(turn.now, *key));
        self.bear(turn, &entries, &failure, &via);
        if !leaks {
            self.close_permit(turn, &out.limit_key);
        }
        self.queue.connection_closed(out.site, out.phase);
        let failures = self.queue.site(out.site).map_or(0, |site| site.failures);
        let tried = attempts.map_or(1, |view| view.attempts.saturating_add(1));
        let step = tried.max(u16::try_from(failures + 1).unwrap_or(u16::MAX));
        let wait = out.way.wait_after(failure.trouble, step, self.rng.next_u64());
        let site = (out.site, &*out.limit_key, &out.way);
        self.site_gave_out(turn, site, turn.now.mono + wait, &failure.text);
        self.desert(out.site, &out.way);
    }

    /// A session has ended in good order, or without mail under way.
    pub(crate) fn release(&mut self, turn: &mut Turn<'_>, mut out: Box<Outbound>) {
        out.armed.clear(&mut self.timers);
        self.close_permit(turn, &out.limit_key);
        self.queue.connection_closed(out.site, out.phase);
    }
}

/// What the peer must prove in a handshake.
pub(crate) fn tls_check(at: &Candidate) -> TlsCheck {
    let must = matches!(at.tls, TlsMode::Required | TlsMode::Implicit);
    let name = at.host.trim_start_matches('[').trim_end_matches(']');
    TlsCheck {
        name: name.trim_start_matches("IPv6:").to_string(),
        trust: must.then(|| at.trust.clone()),
        identity: at.identity.clone(),
    }
}

pub(crate) fn unreachable(reason: &str) -> Ended {
    let trouble = control::Trouble::Unreachable;
    Ended { kind: EndedAs::Deferred, status: Status::NO_ANSWER, text: reason.into(), trouble }
}
