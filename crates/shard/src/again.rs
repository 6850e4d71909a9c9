//! A session that has ended for something that may go better at once: the same
//! host once more, without TLS where that is opportunistic, without sending
//! ahead, with a new token, or over a new connection where this one was used up.
//!
//! Invariant: each is done once at a host, the last once for each connection that
//! took mail; what has expired is not tried again.

use base::ConnId;
use control::TlsMode;
use mail::Status;
use smtp::{Cause, Closure, Fault, Hint, Phase, Verdict};

use crate::effect::Effect;
use crate::outbound::Outbound;
use crate::plan::Candidate;
use crate::settle::{Ended, EndedAs};
use crate::shard::{Shard, Turn};

impl Shard {
    /// Dials the same host once more if its session's end suggests that;
    /// otherwise gives the connection back.
    pub(crate) fn once_more(
        &mut self,
        turn: &mut Turn<'_>,
        mut out: Box<Outbound>,
        closure: &Closure,
    ) -> Option<Box<Outbound>> {
        let expired = out.batch.as_ref().is_some_and(|batch| self.has_expired(turn, batch));
        match closure.hint.filter(|_| !expired || closure.verdict.is_none()) {
            _ if !expired && out.batch.is_some() && out.sent > 0 && is_used_up(closure) => {}
            Some(Hint::WithoutTls) if out.at.tls == TlsMode::Opportunistic => {
                self.peers.note_tls_broken(turn.now.mono, out.at.addr);
                out.at.without_tls = true;
            }
            Some(Hint::WithoutPipelining) => {
                self.peers.note_pipelining_broken(turn.now.mono, out.at.addr);
            }
            _ if !expired && refuses_log_in(closure) && self.renews_token(&mut out) => {}
            _ => return Some(out),
        }
        out.armed.clear(&mut self.timers);
        self.dial(turn, out);
        None
    }

    /// How an attempt ended that a host refused. Where the host demands the TLS
    /// that did not work with it lately, not for good: the next session tries TLS
    /// again.
    pub(crate) fn spared(&mut self, at: &Candidate, verdict: &Verdict, ended: Ended) -> Ended {
        if !at.without_tls || !demands_tls(verdict) {
            return ended;
        }
        self.peers.forget_tls_broken(at.addr);
        Ended { kind: EndedAs::Deferred, status: ended.status.with_class(4), ..ended }
    }
}

/// Whether a host refuses for want of TLS (RFC 3207 §4).
fn demands_tls(verdict: &Verdict) -> bool {
    let Verdict::Failed(trouble) = verdict else { return false };
    let Cause::Reply { reply, .. } = &trouble.cause else { return false };
    matches!(reply.code.number(), 523 | 530) || trouble.status == Status::new(5, 7, 10)
}

/// Whether a connection that took mail ended before more was sent over it, as
/// hosts do that take so many messages over one, or none after a while: that
/// says nothing of the host, and a new connection asks it.
fn is_used_up(closure: &Closure) -> bool {
    let Some(Verdict::Deferred(trouble)) = &closure.verdict else { return false };
    let phase = match &trouble.cause {
        Cause::Reply { phase, reply } if reply.code.number() == 421 => phase,
        Cause::Fault(Fault::PeerGone { phase, .. }) => phase,
        _ => return false,
    };
    matches!(phase, Phase::Idle | Phase::Mail | Phase::Rcpt | Phase::Data)
}

/// What becomes of a connection whose session has ended.
pub(crate) fn parting(conn: ConnId, closure: &Closure) -> Effect {
    match closure.cut_off {
        // An orderly close sends what is left first, the final dot with it.
        true => Effect::Abort { conn },
        false => Effect::Close { conn },
    }
}

/// Whether we ended the session, which is no fault of the host's.
pub(crate) fn is_our_end(verdict: &Verdict) -> bool {
    let (Verdict::Deferred(trouble) | Verdict::InDoubt(trouble)) = verdict else { return false };
    trouble.cause == Cause::Fault(Fault::LocalEnded)
}

/// Whether the host said that the log-in is wrong, and not merely for now.
fn refuses_log_in(closure: &Closure) -> bool {
    let Some(Verdict::Deferred(trouble)) = &closure.verdict else { return false };
    match &trouble.cause {
        Cause::Fault(Fault::PeerAuthRefused { reply }) => reply.code.number() >= 500,
        _ => false,
    }
}
