//! The hosts of a diagnosis, one after the other: connect, greeting, EHLO, TLS,
//! log-in, QUIT; never MAIL.
//!
//! The session is the one that delivery uses, with the settings that delivery
//! would give it; only its deadlines are shorter.

use std::collections::VecDeque;
use std::sync::Arc;

use base::{ConnId, Monotonic};
use control::{ProxyKind, TlsMode};
use smtp::proxy::{Socks5, Step, proxy_header};
use smtp::{Cause, Client, Closure, Fault, Hint, Loss, Output, Phase, Verdict};

use super::report::{Result as Came, lines};
use super::{Diagnosis, STEP_TIME_MAX, Stage};
use crate::connect::tls_check;
use crate::effect::Effect;
use crate::event::{ConnectFailure, Event};
use crate::outbound::Link;
use crate::plan::{Candidate, connecting};
use crate::shard::{Shard, Turn};

/// Octets of a peer's words that are kept while a step lasts.
const HEARD_BYTES_MAX: usize = 4_096;

/// The host at hand, and those to come.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) limit_key: Arc<str>,
    rest: VecDeque<Candidate>,
    at: Option<(ConnId, Candidate)>,
    link: Link,
    /// What the peer said in this step.
    heard: Vec<u8>,
    /// How TLS came up.
    tls: String,
    /// The session was ready for MAIL.
    ready: bool,
    /// The step before a goodbye that was not ours, and what was said in it.
    turned: Option<(&'static str, String)>,
}

impl Visit {
    pub(super) fn new(limit_key: Arc<str>, rest: VecDeque<Candidate>, now: Monotonic) -> Self {
        let link = Link::Connecting { until: now };
        let (heard, tls) = (Vec::new(), String::new());
        Self { limit_key, rest, at: None, link, heard, tls, ready: false, turned: None }
    }

    /// The connection, while there is one.
    pub(super) fn conn(&self) -> Option<ConnId> {
        self.at.as_ref().map(|(conn, _)| *conn)
    }

    /// Forgets the host at hand; the connection is the caller's to end.
    pub(super) fn leave(&mut self) -> Option<ConnId> {
        self.at.take().map(|(conn, _)| conn)
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        match &self.link {
            Link::Token { until } | Link::Connecting { until } => Some(*until),
            Link::Handshake { until } => Some(*until),
            Link::Proxy { until, .. } | Link::Idle { until, .. } => Some(*until),
            Link::Pop(pop) => Some(pop.deadline()),
            Link::Session(client) => client.deadline(),
            Link::Folder { until, .. } => *until,
        }
    }

    /// What is waited for.
    pub(super) fn step(&self) -> &'static str {
        match &self.link {
            Link::Token { .. } => "token",
            Link::Connecting { .. } | Link::Folder { .. } => "connect",
            Link::Proxy { .. } => "proxy",
            Link::Handshake { .. } => "tls",
            Link::Pop(_) => "pop",
            Link::Session(client) | Link::Idle { client, .. } => name(client.phase()),
        }
    }
}

impl Shard {
    /// The next host, or the end.
    pub(super) fn visit_next(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>) {
        let visit = visit(&mut it);
        match visit.rest.pop_front() {
            Some(at) => self.call_on(turn, it, at),
            None => self.end_diagnosis(turn, it),
        }
    }

    fn call_on(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>, mut at: Candidate) {
        let token = self.give_token(turn, &mut at);
        let printed = at.auth.as_ref().is_some_and(|auth| auth.command().is_some());
        let conn = self.next_conn();
        visit(&mut it).at = Some((conn, at.clone()));
        match token {
            Ok(true) if printed => {
                self.note_visit(turn, &mut it, "token", Came::Good, Some("the log-in has one"));
            }
            Ok(true) => {}
            Ok(false) => {
                visit(&mut it).link = Link::Token { until: turn.now.mono + STEP_TIME_MAX };
                return self.keep_diagnosis(it);
            }
            Err(no_token) => return self.visit_failed(turn, it, "token", &no_token.reason),
        }
        let until = turn.now.mono + it.way.timeouts.connect.min(STEP_TIME_MAX);
        turn.effects.push(connecting(conn, &at, &it.way));
        let visit = visit(&mut it);
        visit.link = Link::Connecting { until };
        visit.heard.clear();
        visit.tls.clear();
        (visit.ready, visit.turned) = (false, None);
        self.keep_diagnosis(it);
    }

    /// A program for a token has ended: perhaps the one that is waited for.
    pub(crate) fn diagnosis_token_came(&mut self, turn: &mut Turn<'_>) {
        let waits = |it: &mut Box<Diagnosis>| match &it.stage {
            Stage::Visiting(visit) => matches!(visit.link, Link::Token { .. }),
            _ => false,
        };
        let Some(mut it) = self.diagnosis.take_if(waits) else { return };
        match visit(&mut it).at.take() {
            Some((_, at)) => self.call_on(turn, it, at),
            None => self.visit_next(turn, it),
        }
    }

    /// Something happened to the connection.
    pub(crate) fn diagnosis_event(&mut self, turn: &mut Turn<'_>, event: Event<'_>) {
        let Some(mut it) = self.diagnosis.take() else { return };
        let now = turn.now.mono;
        let visit = visit(&mut it);
        match event {
            Event::Connected { .. } => return self.visit_connected(turn, it),
            Event::ConnectFailed { failure, .. } => {
                let (ConnectFailure::Peer(why)
                | ConnectFailure::Local(why)
                | ConnectFailure::Source(why)) = failure;
                return self.visit_failed(turn, it, "connect", &why);
            }
            Event::Received { bytes, .. } if matches!(visit.link, Link::Proxy { .. }) => {
                return self.visit_proxy_said(turn, it, bytes);
            }
            Event::Received { bytes, .. } => {
                let room = HEARD_BYTES_MAX - visit.heard.len();
                visit.heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
                return self.visit_goes_on(turn, it, |client| client.received(now, bytes));
            }
            Event::Drained { left, .. } => {
                return self.visit_goes_on(turn, it, |client| client.drained(now, left));
            }
            Event::Closed { error, .. } => {
                let loss = if error.is_some() { Loss::Failed } else { Loss::PeerClosed };
                if matches!(visit.link, Link::Session(_)) {
                    return self.visit_goes_on(turn, it, |client| client.closed(now, loss));
                }
                let step = visit.step();
                return self.visit_failed(turn, it, step, &loss.to_string());
            }
            Event::TlsEstablished { description, .. } => {
                let must = visit
                    .at
                    .as_ref()
                    .is_some_and(|(_, at)| matches!(at.tls, TlsMode::Required | TlsMode::Implicit));
                let proof = match must {
                    true => "the certificate is valid by the way's rule",
                    false => "the certificate is not checked: TLS is opportunistic",
                };
                visit.tls = format!("{description}; {proof}");
                if matches!(visit.link, Link::Handshake { .. }) {
                    self.note_visit(turn, &mut it, "tls", Came::Good, None);
                    return self.visit_session(turn, it, &[]);
                }
                return self.visit_goes_on(turn, it, |client| client.tls_established(now));
            }
            Event::TlsFailed { reason, .. } => {
                if matches!(visit.link, Link::Handshake { .. }) {
                    let fault = Fault::PeerTlsFailed { reason: reason.into() };
                    return self.visit_failed(turn, it, "tls", &fault.to_string());
                }
                return self.visit_goes_on(turn, it, |client| client.tls_failed(now, reason));
            }
            _ => {}
        }
        self.keep_diagnosis(it);
    }

    /// The connection stands: through a proxy, or to the host itself.
    fn visit_connected(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>) {
        let source = it.way.source().cloned();
        let proxy = source.as_ref().and_then(|source| source.proxy.as_ref());
        let (Some(source), Some(proxy)) = (&source, proxy) else {
            return self.visit_reached(turn, it, &[]);
        };
        let visit = visit(&mut it);
        let Some((conn, at)) = &visit.at else { return self.keep_diagnosis(it) };
        let (conn, to) = (*conn, at.addr);
        match &proxy.kind {
            ProxyKind::Socks5(log_in) => {
                let log_in = log_in.as_ref().map(|it| (it.user.clone(), it.secret.clone()));
                let (socks, bytes) = Socks5::new(to, log_in);
                let until = visit.deadline().unwrap_or(turn.now.mono);
                visit.link = Link::Proxy { until, socks: Box::new(socks) };
                turn.effects.push(Effect::Send { conn, bytes });
                self.note_visit(turn, &mut it, "proxy", Came::Good, Some("it is there"));
                self.keep_diagnosis(it);
            }
            ProxyKind::Haproxy => {
                let header = source.address_for(to.ip()).and_then(|from| proxy_header(from, to));
                if let Some(bytes) = header {
                    turn.effects.push(Effect::Send { conn, bytes });
                }
                self.visit_reached(turn, it, &[]);
            }
        }
    }

    fn visit_proxy_said(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>, bytes: &[u8]) {
        let visit = visit(&mut it);
        let (Link::Proxy { socks, .. }, Some((conn, _))) = (&mut visit.link, &visit.at) else {
            return self.keep_diagnosis(it);
        };
        match socks.received(bytes) {
            Step::Wait => self.keep_diagnosis(it),
            Step::Send(bytes) => {
                turn.effects.push(Effect::Send { conn: *conn, bytes });
                self.keep_diagnosis(it);
            }
            Step::Stands(first) => self.visit_reached(turn, it, &first),
            Step::Failed(refusal) => self.visit_failed(turn, it, "proxy", &refusal.to_string()),
        }
    }

    /// The host is reached.
    fn visit_reached(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>, first: &[u8]) {
        self.note_visit(turn, &mut it, "connect", Came::Good, Some("the connection stands"));
        let until = turn.now.mono + it.way.timeouts.tls.min(STEP_TIME_MAX);
        let visit = visit(&mut it);
        let Some((conn, at)) = &visit.at else { return self.keep_diagnosis(it) };
        if at.tls == TlsMode::Implicit {
            visit.link = Link::Handshake { until };
            turn.effects.push(Effect::StartTls { conn: *conn, check: tls_check(at) });
            return self.keep_diagnosis(it);
        }
        self.visit_session(turn, it, first);
    }

    fn visit_session(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>, first: &[u8]) {
        let Some((_, at)) = &visit(&mut it).at else { return self.keep_diagnosis(it) };
        let at = at.clone();
        let mut settings = self.session_settings(turn, &at, &it.way);
        let times = &mut settings.timeouts;
        for time in [&mut times.greeting, &mut times.hello, &mut times.tls, &mut times.quit] {
            *time = (*time).min(STEP_TIME_MAX);
        }
        let visit = visit(&mut it);
        visit.heard.clear();
        visit.heard.extend_from_slice(first);
        visit.link = Link::Session(Box::new(Client::new(settings, turn.now.mono)));
        let now = turn.now.mono;
        self.visit_goes_on(turn, it, |client| {
            if !first.is_empty() {
                client.received(now, first);
            }
        });
    }

    /// Gives the session its input, and does what it wants.
    fn visit_goes_on(
        &mut self,
        turn: &mut Turn<'_>,
        mut it: Box<Diagnosis>,
        input: impl FnOnce(&mut Client),
    ) {
        let Link::Session(client) = &mut visit(&mut it).link else {
            return self.keep_diagnosis(it);
        };
        let mut phase = client.phase();
        input(client);
        loop {
            let visit = visit(&mut it);
            let (Link::Session(client), Some((conn, at))) = (&mut visit.link, &visit.at) else {
                unreachable!("a session has a connection, and ends below");
            };
            let conn = *conn;
            let next = client.phase();
            let output = client.poll();
            if let Some(Output::Closed(closure)) = output {
                return self.visit_over(turn, it, closure);
            }
            match output {
                Some(Output::StartTls) => {
                    turn.effects.push(Effect::StartTls { conn, check: tls_check(at) });
                }
                Some(Output::Send(bytes)) => turn.effects.push(Effect::Send { conn, bytes }),
                Some(Output::Ready) => {
                    client.quit(turn.now.mono);
                    visit.ready = true;
                    it.report.reached();
                }
                Some(other) => unreachable!("no transaction was begun: {other:?}"),
                None if phase != next => {}
                None => break,
            }
            if phase != next {
                self.left_phase(turn, &mut it, phase, next);
                phase = next;
            }
        }
        self.keep_diagnosis(it);
    }

    /// A phase of the session has passed.
    fn left_phase(&self, turn: &Turn<'_>, it: &mut Diagnosis, phase: Phase, next: Phase) {
        let visit = visit(it);
        if next == Phase::Quit && !visit.ready {
            // Whether this step was refused, or what it said made the session
            // end, is known with the session's end.
            visit.turned = Some((name(phase), lines(&std::mem::take(&mut visit.heard))));
        } else if phase != Phase::Idle {
            self.note_visit(turn, it, name(phase), Came::Good, None);
        }
    }

    /// The session with a host is over.
    fn visit_over(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>, closure: Closure) {
        let Some((_, at)) = &visit(&mut it).at else { return self.keep_diagnosis(it) };
        let again = (closure.hint == Some(Hint::WithoutTls) && at.tls == TlsMode::Opportunistic)
            .then(|| Candidate { without_tls: true, ..at.clone() });
        let trouble = match closure.verdict {
            Some(
                Verdict::Deferred(trouble) | Verdict::Failed(trouble) | Verdict::InDoubt(trouble),
            ) => trouble,
            // We asked for the end.
            _ => {
                self.note_visit(turn, &mut it, "quit", Came::Good, None);
                self.hang_up(turn, &mut it);
                return self.visit_next(turn, it);
            }
        };
        let step = step_of(&trouble.cause);
        let before = visit(&mut it).turned.take().filter(|(before, _)| *before != step);
        if let Some((before, said)) = before {
            self.note_visit(turn, &mut it, before, Came::Good, Some(&said));
        }
        let said = trouble.cause.to_string();
        match again {
            Some(at) => {
                let said = format!("{said}; delivery goes on without TLS, which is opportunistic");
                self.note_visit(turn, &mut it, step, Came::Noted, Some(&said));
                self.hang_up(turn, &mut it);
                self.call_on(turn, it, at);
            }
            None => self.visit_failed(turn, it, step, &said),
        }
    }

    /// A host will not do.
    fn visit_failed(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>, step: &str, why: &str) {
        self.note_visit(turn, &mut it, step, Came::Failed, Some(why));
        self.hang_up(turn, &mut it);
        self.visit_next(turn, it);
    }

    /// A deadline at a host may have come.
    pub(super) fn visit_due(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>) {
        let now = turn.now.mono;
        let visit = visit(&mut it);
        if visit.deadline().is_none_or(|at| at > now) {
            return self.keep_diagnosis(it);
        }
        if matches!(visit.link, Link::Session(_)) {
            return self.visit_goes_on(turn, it, |client| client.timeout(now));
        }
        let step = visit.step();
        self.visit_failed(turn, it, step, "timed out");
    }

    /// Writes a step at the host at hand down; without words, what it said.
    fn note_visit(
        &self,
        turn: &Turn<'_>,
        it: &mut Diagnosis,
        step: &str,
        result: Came,
        said: Option<&str>,
    ) {
        let Diagnosis { stage: Stage::Visiting(visit), report, .. } = it else {
            unreachable!("steps at hosts are taken at hosts");
        };
        let host = visit.at.as_ref().map(|(_, at)| at.shown()).unwrap_or_default();
        let heard = std::mem::take(&mut visit.heard);
        let said = match said {
            Some(said) => said.to_owned(),
            None if step == "tls" => std::mem::take(&mut visit.tls),
            None => lines(&heard),
        };
        report.add_of(turn.now.mono, step, &host, result, &said);
    }

    fn hang_up(&self, turn: &mut Turn<'_>, it: &mut Diagnosis) {
        if let Some(conn) = visit(it).leave() {
            turn.effects.push(Effect::Abort { conn });
        }
    }
}

fn visit(it: &mut Diagnosis) -> &mut Visit {
    let Stage::Visiting(visit) = &mut it.stage else {
        unreachable!("hosts are visited once they may be");
    };
    visit
}

/// The step that a session failed in.
fn step_of(cause: &Cause) -> &'static str {
    let fault = match cause {
        Cause::Reply { phase, .. } => return name(*phase),
        Cause::Fault(fault) => fault,
    };
    match fault {
        Fault::PeerGone { phase, .. }
        | Fault::PeerTimedOut { phase }
        | Fault::PeerGarbage { phase, .. }
        | Fault::PeerWrongReply { phase, .. }
        | Fault::PeerUnasked { phase } => name(*phase),
        Fault::PolicyTlsMissing | Fault::PeerTlsRefused { .. } | Fault::PeerInjected => "starttls",
        Fault::PeerTlsFailed { .. } => "tls",
        Fault::LocalEnded => "session",
        _ => "auth",
    }
}

/// What a phase of a session is called in a report.
fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "connect",
        Phase::Greeting => "greeting",
        Phase::Hello => "ehlo",
        Phase::StartTls => "starttls",
        Phase::Tls => "tls",
        Phase::Auth => "auth",
        Phase::Quit => "quit",
        // Never met: no transaction is begun.
        Phase::Mail
        | Phase::Rcpt
        | Phase::Data
        | Phase::Body
        | Phase::Dot
        | Phase::Reset
        | Phase::Idle => "session",
    }
}
