//! Log-ins whose token a program prints: the program is run when a token is
//! needed and none is good, once for all connections that need it; they wait
//! for it before the host is dialled.
//!
//! Invariants: of one log-in one program is under way at a time; mail that
//! waits for a token, or goes back because there is none, counts no attempt; a
//! program that failed is not run again before its wait is over; at most
//! [`KNOWN_MAX`] log-ins are known. Nothing here shows a token.

use std::sync::Arc;
use std::time::Duration;

use base::{ConnId, Map, Monotonic};
use control::{Ending, LogIn, Token, TokenCommand};
use eventlog::{Field, Kind, Line};
use queue::Health;

use crate::effect::Effect;
use crate::errand::{Errand, Output};
use crate::outbound::{Link, Outbound};
use crate::plan::Candidate;
use crate::shard::{Shard, Turn};

/// Most log-ins whose tokens are known.
const KNOWN_MAX: usize = 10_000;
/// How long a token is kept that does not say when it expires.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// A token is good until so long before it expires, or a tenth of its lifetime
/// if that is less: it must last until the host has seen it.
const MARGIN: Duration = Duration::from_secs(60);
/// Waits before a program that failed is run again: the first, and the longest.
const WAIT_FIRST: Duration = Duration::from_secs(10);
const WAIT_LONGEST: Duration = Duration::from_secs(600);
/// Longest wait for a program's turn, beside its own time.
const TURN_MAX: Duration = Duration::from_secs(30);

/// Whose token it is: all that runs one program for one name shares it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Credential {
    user: Box<str>,
    command: TokenCommand,
}

/// The tokens, by credential.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: Map<Credential, Known>,
    /// Programs under way, by errand.
    errands: Map<u64, Credential>,
}

#[derive(Debug)]
struct Known {
    state: State,
    /// Failures in a row.
    failures: u16,
}

#[derive(Debug)]
enum State {
    Coming,
    Good { token: Token, until: Monotonic },
    Failed { reason: Arc<str>, until: Monotonic },
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoToken {
    /// In words.
    pub(crate) reason: Arc<str>,
    /// Its program is not run again before.
    pub(crate) until: Monotonic,
}

/// What is known of a token.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Good(Token),
    /// Its program runs.
    Coming,
    /// Its program is to be run: [`Tokens::begin`].
    Wanted,
    Failed(NoToken),
}

impl Credential {
    fn of(auth: &LogIn) -> Option<Self> {
        Some(Self { user: auth.user.clone(), command: auth.command()?.clone() })
    }
}

impl Tokens {
    fn find(&self, now: Monotonic, whose: &Credential) -> Found {
        match self.known.get(whose).map(|known| &known.state) {
            Some(State::Coming) => Found::Coming,
            Some(State::Good { token, until }) if *until > now => Found::Good(token.clone()),
            Some(State::Failed { reason, until }) if *until > now => {
                Found::Failed(NoToken { reason: reason.clone(), until: *until })
            }
            _ => Found::Wanted,
        }
    }

    /// The program of a credential is run as errand `number`.
    fn begin(&mut self, whose: &Credential, number: u64) {
        if !self.known.contains_key(whose) && self.known.len() >= KNOWN_MAX {
            self.make_room();
        }
        let failures = self.known.get(whose).map_or(0, |known| known.failures);
        self.known.insert(whose.clone(), Known { state: State::Coming, failures });
        self.errands.insert(number, whose.clone());
    }

    /// Forgets whatever is over first. What is under way is few: its number is
    /// bounded by whoever runs programs.
    fn make_room(&mut self) {
        let end = |known: &Known| match known.state {
            State::Coming => None,
            State::Good { until, .. } | State::Failed { until, .. } => Some(until),
        };
        let first = self.known.iter().filter_map(|(whose, known)| Some((end(known)?, whose)));
        let first = first.min_by_key(|(end, _)| *end).map(|(_, whose)| whose.clone());
        if let Some(whose) = first {
            self.known.remove(&whose);
        }
    }

    /// A program has ended: whose it was, and why there is no token, if so.
    fn ended(
        &mut self,
        now: Monotonic,
        number: u64,
        ending: Ending,
    ) -> Option<(Credential, Option<NoToken>)> {
        let whose = self.errands.remove(&number)?;
        let printed = ending.done(whose.command.timeout, false);
        let token = printed
            .and_then(|printed| Token::read(printed.expose()).map_err(|fault| fault.to_string()));
        let known = self.known.get_mut(&whose)?;
        let reason = match token {
            Ok(token) => {
                let until = now + kept_for(&token);
                *known = Known { state: State::Good { token, until }, failures: 0 };
                return Some((whose, None));
            }
            Err(reason) => reason,
        };
        let doubled = WAIT_FIRST * 2u32.pow(u32::from(known.failures.min(10)));
        let until = now + doubled.min(WAIT_LONGEST);
        known.failures = known.failures.saturating_add(1);
        let program = &whose.command.program;
        let reason: Arc<str> =
            format!("no token for {} from {program}: {reason}", whose.user).into();
        known.state = State::Failed { reason: reason.clone(), until };
        Some((whose, Some(NoToken { reason, until })))
    }

    /// A host refused a token: the next one who needs it gets another.
    fn refused(&mut self, whose: &Credential, auth: &LogIn) {
        let is_it = |known: &Known| match &known.state {
            State::Good { token, .. } => token.secret == auth.secret,
            _ => false,
        };
        if self.known.get(whose).is_some_and(is_it) {
            self.known.remove(whose);
        }
    }

    /// Forgets failures, and how often there were: programs are run at once.
    pub(crate) fn forget_failures(&mut self) {
        self.known.retain(|_, known| !matches!(known.state, State::Failed { .. }));
    }
}

fn kept_for(token: &Token) -> Duration {
    token.lasts.map_or(KEPT_FOR, |lasts| lasts - MARGIN.min(lasts / 10))
}

impl Shard {
    /// Gives a host's log-in its token. False: it is on its way.
    ///
    /// # Errors
    /// There is none just now.
    pub(crate) fn give_token(
        &mut self,
        turn: &mut Turn<'_>,
        at: &mut Candidate,
    ) -> Result<bool, NoToken> {
        let Some(auth) = at.auth.as_ref() else { return Ok(true) };
        let Some(whose) = Credential::of(auth) else { return Ok(true) };
        match self.tokens.find(turn.now.mono, &whose) {
            Found::Good(token) => {
                at.auth = Some(Arc::new(auth.with_secret(token.secret)));
                Ok(true)
            }
            Found::Coming => Ok(false),
            Found::Failed(no_token) => Err(no_token),
            Found::Wanted => {
                let TokenCommand { program, timeout } = whose.command.clone();
                let number = self.next_errand();
                self.tokens.begin(&whose, number);
                let output = Output::Written;
                let errand = Box::new(Errand { program, timeout, output, outlives: false });
                turn.effects.push(Effect::Run { number, errand });
                Ok(false)
            }
        }
    }

    /// The connection with the token that its host's log-in needs, if it needs
    /// one. None: it waits for it, or could not go on.
    pub(crate) fn with_token(
        &mut self,
        turn: &mut Turn<'_>,
        mut out: Box<Outbound>,
    ) -> Option<Box<Outbound>> {
        match self.give_token(turn, &mut out.at) {
            Ok(true) => return Some(out),
            Ok(false) => {
                let auth = out.at.auth.as_ref();
                let timeout = auth.and_then(|auth| auth.command()).map(|it| it.timeout);
                let until = turn.now.mono + timeout.unwrap_or_default() + TURN_MAX;
                out.link = Link::Token { until };
                let conn = self.next_conn();
                out.session = Some(self.session_name(conn));
                self.keep(turn, conn, out);
            }
            Err(no_token) => self.go_without_token(turn, out, &no_token),
        }
        None
    }

    /// A program has ended. False when it was not for a token.
    pub(crate) fn token_ran(&mut self, turn: &mut Turn<'_>, number: u64, ending: &Ending) -> bool {
        let now = turn.now;
        let Some((whose, failed)) = self.tokens.ended(now.mono, number, ending.clone()) else {
            return false;
        };
        if let Some(NoToken { reason, .. }) = failed {
            self.metrics.local_shortages += 1;
            turn.log(Line::new(now.wall, Kind::Shortage).text(Field::Reason, &reason));
        }
        for conn in self.waiting_for_tokens(Some(&whose)) {
            if let Some(mut out) = self.pick(conn) {
                out.armed.clear(&mut self.timers);
                self.dial(turn, out);
            }
        }
        self.diagnosis_token_came(turn);
        true
    }

    /// Connections that wait for a token, in order.
    fn waiting_for_tokens(&self, whose: Option<&Credential>) -> Vec<ConnId> {
        let waits = |out: &Outbound| {
            let of = out.at.auth.as_ref().and_then(|auth| Credential::of(auth));
            matches!(out.link, Link::Token { .. }) && (whose.is_none() || of.as_ref() == whose)
        };
        let waiting = self.outbound.iter().filter(|(_, out)| waits(out));
        let mut conns: Vec<ConnId> = waiting.map(|(conn, _)| *conn).collect();
        conns.sort_unstable();
        conns
    }

    /// The token has not come in time: whoever runs programs has too many.
    pub(crate) fn token_overdue(&mut self, turn: &mut Turn<'_>, out: Box<Outbound>) {
        let reason = "no token: its program has not had its turn in time".into();
        let until = turn.now.mono + WAIT_FIRST;
        self.go_without_token(turn, out, &NoToken { reason, until });
    }

    /// There is no token for the host at hand: the next one with another log-in,
    /// or a wait of the site. It is our own shortage, so nobody's attempt.
    fn go_without_token(
        &mut self,
        turn: &mut Turn<'_>,
        mut out: Box<Outbound>,
        NoToken { reason, until }: &NoToken,
    ) {
        let of = |at: &Candidate| at.auth.as_ref().and_then(|auth| Credential::of(auth));
        let failed = of(&out.at);
        out.rest.retain(|at| of(at) != failed);
        let goes_on = !out.batch.as_ref().is_some_and(|batch| self.has_expired(turn, batch));
        if let Some(next) = out.rest.pop_front().filter(|_| goes_on) {
            out.armed.clear(&mut self.timers);
            out.at = next;
            return self.dial(turn, out);
        }
        let (site, limit_key, way) = (out.site, out.limit_key.clone(), out.way.clone());
        self.call_off(turn, out);
        let of = (site, &*limit_key, &way);
        if self.site_gave_out(turn, of, *until, reason) != Health::Down {
            // Its other connections would end so, too, once they log in.
            self.queue.pause(site, Some(*until));
        }
    }

    /// Ends a connection that was not made; its mail is ready again.
    fn call_off(&mut self, turn: &mut Turn<'_>, mut out: Box<Outbound>) {
        out.armed.clear(&mut self.timers);
        if let Some(batch) = out.batch.take() {
            for key in batch.unsettled().rev() {
                self.queue.ready_again(turn.now, key);
            }
        }
        self.close_permit(turn, &out.limit_key);
        self.queue.connection_closed(out.site, out.phase);
    }

    /// The daemon ends: nobody waits for a token any more.
    pub(crate) fn dismiss_tokenless(&mut self, turn: &mut Turn<'_>) {
        for conn in self.waiting_for_tokens(None) {
            if let Some(out) = self.pick(conn) {
                self.call_off(turn, out);
            }
        }
    }

    /// A host refused a connection's log-in. Whether another token is worth a
    /// try: once in an attempt.
    pub(crate) fn renews_token(&mut self, out: &mut Outbound) -> bool {
        let Some(auth) = &out.at.auth else { return false };
        let Some(whose) = Credential::of(auth) else { return false };
        if std::mem::replace(&mut out.renewed, true) {
            return false;
        }
        self.tokens.refused(&whose, auth);
        true
    }
}

#[cfg(test)]
mod tests;
