//! What a reply, or the lack of one, means for a message's recipients.
//!
//! Never here: what to do about it (try another host, wait, bounce). Only the
//! first digit of a reply decides, but for the few codes that speak of the
//! connection or of too many recipients; what is no reply is never success.
//!
//! Read first: RFC 5321 §4.2.1, RFC 5321 §4.5.3.1.10, RFC 3463 §3.

use std::sync::Arc;

use base::planted::{Bug, planted};
use mail::Status;

use crate::reply::{Class, Code, Reply, ReplyFault};
use crate::sasl::SaslFault;
use crate::timeout::Phase;

/// What became of one recipient in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The peer took the message over: a 2yz to the final dot was read.
    Delivered {
        /// Its words.
        reply: Reply,
    },
    /// Not now.
    Deferred(Trouble),
    /// Never, as far as this host is concerned.
    Failed(Trouble),
    /// The whole message may have gone out, and no valid answer came: try
    /// again, knowing that this may make a second copy.
    InDoubt(Trouble),
    /// The peer takes no more recipients in this transaction; others were
    /// taken. Send again at once: this was no attempt.
    LaterTransaction {
        /// Its words.
        reply: Reply,
    },
}

/// Why a recipient was not delivered to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The enhanced code: the peer's own, or one made from its reply and the
    /// phase.
    pub status: Status,
    /// What the cause is about.
    pub scope: Scope,
    /// The cause.
    pub cause: Cause,
}

/// What a trouble is about, and so what else it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This recipient; another host would say the same.
    Recipient,
    /// This message; another host would say the same.
    Transaction,
    /// This host or the way to it; another host may do.
    Host,
}

/// Who says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The peer.
    #[error("{reply} (in reply to {phase})")]
    Reply {
        /// What it replied to.
        phase: Phase,
        /// Its words.
        reply: Reply,
    },
    /// We, because the session went wrong.
    #[error("{0}")]
    Fault(Fault),
}

/// How a session went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The connection was closed or broke.
    #[error("{loss} while waiting for {phase}")]
    PeerGone {
        /// What was awaited.
        phase: Phase,
        /// How it went.
        loss: Loss,
    },
    /// A deadline passed.
    #[error("timed out while waiting for {phase}")]
    PeerTimedOut {
        /// What was awaited.
        phase: Phase,
    },
    /// What came is no reply.
    #[error("{fault} while we waited for {phase}")]
    PeerGarbage {
        /// What was awaited.
        phase: Phase,
        /// What is wrong with it.
        fault: ReplyFault,
    },
    /// A reply whose code cannot be the answer to the command.
    #[error("the peer sent a reply out of place: {reply} (in reply to {phase})")]
    PeerWrongReply {
        /// What was awaited.
        phase: Phase,
        /// What came.
        reply: Reply,
    },
    /// A reply that nobody asked for: what it answers is not known any more.
    #[error("the peer sent a reply that nobody asked for, while we waited for {phase}")]
    PeerUnasked {
        /// What was awaited.
        phase: Phase,
    },
    /// Plain bytes behind the leave to start TLS: somebody on the way put them
    /// there.
    #[error("plain text was put between STARTTLS and the TLS handshake")]
    PeerInjected,
    /// The TLS handshake failed.
    #[error("TLS handshake: {reason}")]
    PeerTlsFailed {
        /// Why, in the words of the TLS library.
        reason: Arc<str>,
    },
    /// The peer offers STARTTLS and then refuses it.
    #[error("the peer refused STARTTLS: {reply}")]
    PeerTlsRefused {
        /// Its words.
        reply: Reply,
    },
    /// TLS is demanded and not offered.
    #[error("TLS is required, and the peer does not offer it")]
    PolicyTlsMissing,
    /// A log-in is demanded of us by our configuration and not offered.
    #[error("we are to log in, and the peer does not offer AUTH")]
    PolicyAuthMissing,
    /// The peer offers nothing that we may use over this connection.
    #[error("the peer offers no AUTH mechanism that may be used over this connection")]
    PolicyAuthUnsafe,
    /// The peer refused our log-in.
    #[error("the peer refused our log-in: {reply}")]
    PeerAuthRefused {
        /// Its words.
        reply: Reply,
    },
    /// The peer did not keep to the mechanism.
    #[error("AUTH: {fault}")]
    PeerAuth {
        /// What is wrong.
        fault: SaslFault,
    },
    /// We ended the session.
    #[error("the session was ended from our side")]
    LocalEnded,
}

/// How a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// An orderly end.
    #[error("the peer closed the connection")]
    PeerClosed,
    /// A reset.
    #[error("the peer reset the connection")]
    PeerReset,
    /// Anything else.
    #[error("the connection failed")]
    Failed,
}

/// What a reply means for the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The command was done, or the message may come; at the final dot: the
    /// message is delivered.
    GoOn,
    /// The command was refused; the session can go on.
    Refused(Verdict),
    /// The session is over, and this is what whoever had no verdict gets.
    SessionOver(Verdict),
}

impl Trouble {
    /// A reply as a trouble.
    pub fn of_reply(phase: Phase, scope: Scope, reply: Reply) -> Self {
        let status = status_of(phase, &reply);
        Self { status, scope, cause: Cause::Reply { phase, reply } }
    }

    /// A fault of the session as a trouble; it always concerns the host.
    pub fn of_fault(fault: Fault) -> Self {
        let status = fault.status();
        Self { status, scope: Scope::Host, cause: Cause::Fault(fault) }
    }
}

impl Fault {
    /// The enhanced code that belongs to the fault, always of class 4.
    pub const fn status(&self) -> Status {
        match self {
            Self::PeerGone { .. } | Self::PeerTimedOut { .. } => Status::BAD_CONNECTION,
            Self::PeerGarbage { .. } | Self::PeerWrongReply { .. } | Self::PeerUnasked { .. } => {
                PROTOCOL
            }
            Self::PeerInjected | Self::PeerTlsFailed { .. } => Status::TLS_UNPROVEN,
            Self::PeerTlsRefused { .. } | Self::PolicyTlsMissing => Status::TLS_MISSING,
            Self::PolicyAuthMissing | Self::PolicyAuthUnsafe | Self::PeerAuth { .. } => {
                AUTH_IMPOSSIBLE
            }
            Self::PeerAuthRefused { .. } => AUTH_REFUSED,
            Self::LocalEnded => Status::SYSTEM_CLOSED,
        }
    }

    /// What the fault means for a recipient without a verdict; `dot_is_out`
    /// when the final dot may have reached the peer (RFC 5321 §4.2.5).
    pub fn verdict(self, dot_is_out: bool) -> Verdict {
        let trouble = Trouble::of_fault(self);
        if dot_is_out { Verdict::InDoubt(trouble) } else { Verdict::Deferred(trouble) }
    }
}

/// No way to log in that both sides take (RFC 3463 §3.8, X.7.4).
const AUTH_IMPOSSIBLE: Status = Status::new(4, 7, 4);
/// Our credentials were not taken (RFC 4954 §6, X.7.8).
const AUTH_REFUSED: Status = Status::new(4, 7, 8);

/// The peer broke the protocol.
const PROTOCOL: Status = Status::new(4, 5, 0);

/// Judges the reply to what was awaited in `phase`. `others_taken`: a
/// recipient before this one was taken in the same transaction.
pub fn judge(phase: Phase, reply: &Reply, others_taken: bool) -> Judgement {
    let code = reply.code;
    let scope = match phase {
        Phase::Mail | Phase::Data | Phase::Body | Phase::Dot => Scope::Transaction,
        Phase::Rcpt => Scope::Recipient,
        _ => Scope::Host,
    };
    if code == Code::SHUTTING_DOWN {
        let trouble = Trouble::of_reply(phase, Scope::Host, reply.clone());
        return Judgement::SessionOver(Verdict::Deferred(trouble));
    }
    let in_place = match phase {
        Phase::Data => code.class() != Class::Positive,
        Phase::Greeting | Phase::StartTls | Phase::Quit => code.class() != Class::Intermediate,
        Phase::Dot if planted(Bug::GoAheadIsDelivery) => !code.is_about_connection(),
        Phase::Dot if planted(Bug::QuitBehindDot) => code.class() != Class::Intermediate,
        _ => code.class() != Class::Intermediate && !code.is_about_connection(),
    };
    if !in_place {
        let fault = Fault::PeerWrongReply { phase, reply: reply.clone() };
        return Judgement::SessionOver(fault.verdict(phase == Phase::Dot));
    }
    if phase == Phase::Rcpt && others_taken && means_too_many(reply) {
        return Judgement::Refused(Verdict::LaterTransaction { reply: reply.clone() });
    }
    let trouble = || Trouble::of_reply(phase, scope, reply.clone());
    match code.class() {
        Class::Positive | Class::Intermediate => Judgement::GoOn,
        Class::Transient => Judgement::Refused(Verdict::Deferred(trouble())),
        Class::Permanent => Judgement::Refused(Verdict::Failed(trouble())),
    }
}

/// 452, and 552 to RCPT, say that the peer takes no more recipients now
/// (RFC 5321 §4.5.3.1.10), unless their enhanced code speaks of the mailbox.
fn means_too_many(reply: &Reply) -> bool {
    let number = reply.code.number();
    let of_mailbox = reply.status().is_some_and(|status| matches!(status.subject(), 1 | 2 | 7));
    (number == 452 || number == 552) && !of_mailbox
}

/// The peer's enhanced code, or the one that its reply would have had.
fn status_of(phase: Phase, reply: &Reply) -> Status {
    if let Some(status) = reply.status() {
        return status;
    }
    let number = reply.code.number();
    let (subject, detail) = match (number, phase) {
        (421, _) => (3, 2),
        (450, Phase::Rcpt) => (2, 0),
        (451, _) => (3, 0),
        (452, Phase::Rcpt) => (5, 3),
        (452, _) => (3, 1),
        (454, Phase::StartTls) => (7, 0),
        (500 | 502 | 503, _) => (5, 1),
        (501 | 504 | 555, _) => (5, 4),
        (521 | 556, _) => (1, 10),
        (530 | 535 | 538, _) => (7, 0),
        (550, Phase::Rcpt) => (1, 1),
        (551, Phase::Rcpt) => (1, 6),
        (552, Phase::Rcpt) => (2, 2),
        (552, _) => (3, 4),
        (553, Phase::Rcpt) => (1, 3),
        (553, Phase::Mail) => (1, 7),
        _ => (0, 0),
    };
    // A 2yz or 3yz that stands for a trouble was out of place.
    let class = if number / 100 == 5 { 5 } else { 4 };
    Status::new(class, subject, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        let number = text[..3].parse().unwrap();
        Reply::new(Code::new(number), text[3..].trim_start())
    }

    fn word(verdict: &Verdict) -> String {
        let with = |word: &str, trouble: &Trouble| {
            format!("{word} {} {:?}", trouble.status, trouble.scope)
        };
        match verdict {
            Verdict::Delivered { .. } => "delivered".into(),
            Verdict::Deferred(trouble) => with("deferred", trouble),
            Verdict::Failed(trouble) => with("failed", trouble),
            Verdict::InDoubt(trouble) => with("in doubt", trouble),
            Verdict::LaterTransaction { .. } => "later".into(),
        }
    }

    fn judged(phase: Phase, text: &str, others_taken: bool) -> String {
        match judge(phase, &reply(text), others_taken) {
            Judgement::GoOn => "go on".into(),
            Judgement::Refused(verdict) => word(&verdict),
            Judgement::SessionOver(verdict) => format!("over, {}", word(&verdict)),
        }
    }

    /// Proves: RFC 5321 §4.2.1, RFC 3463 §3
    /// Covers: A2.5, A2.6, A2.7, A2.15, A2.27, A4.2, A4.3, A4.4
    #[test]
    fn replies_are_judged_by_phase_and_first_digit() {
        use Phase::*;
        for (phase, text, expected) in [
            (Greeting, "220 hi", "go on"),
            (Greeting, "299 odd", "go on"),
            (Greeting, "354 go", "over, deferred 4.5.0 Host"),
            (Greeting, "450 busy", "deferred 4.0.0 Host"),
            (Greeting, "554 no", "failed 5.0.0 Host"),
            (Greeting, "554 5.7.1 no", "failed 5.7.1 Host"),
            (Greeting, "421 no", "over, deferred 4.3.2 Host"),
            (Hello, "250 hi", "go on"),
            (Hello, "220 again", "over, deferred 4.5.0 Host"),
            (Hello, "502 what", "failed 5.5.1 Host"),
            (Hello, "451 later", "deferred 4.3.0 Host"),
            (StartTls, "220 go", "go on"),
            (StartTls, "454 no", "deferred 4.7.0 Host"),
            (Mail, "250 ok", "go on"),
            (Mail, "288 odd", "go on"),
            (Mail, "220 greeting", "over, deferred 4.5.0 Host"),
            (Mail, "354 go", "over, deferred 4.5.0 Host"),
            (Mail, "451 later", "deferred 4.3.0 Transaction"),
            (Mail, "499 odd", "deferred 4.0.0 Transaction"),
            (Mail, "452 4.3.1 full", "deferred 4.3.1 Transaction"),
            (Mail, "552 too big", "failed 5.3.4 Transaction"),
            (Mail, "553 who", "failed 5.1.7 Transaction"),
            (Mail, "530 5.7.0 STARTTLS first", "failed 5.7.0 Transaction"),
            (Mail, "421 4.7.0 slow down", "over, deferred 4.7.0 Host"),
            (Rcpt, "250 ok", "go on"),
            (Rcpt, "251 forwarded", "go on"),
            (Rcpt, "252 perhaps", "go on"),
            (Rcpt, "221 bye", "over, deferred 4.5.0 Host"),
            (Rcpt, "354 go", "over, deferred 4.5.0 Host"),
            (Rcpt, "450 grey", "deferred 4.2.0 Recipient"),
            (Rcpt, "450 4.7.1 grey", "deferred 4.7.1 Recipient"),
            (Rcpt, "452 many", "deferred 4.5.3 Recipient"),
            (Rcpt, "550 gone", "failed 5.1.1 Recipient"),
            (Rcpt, "550 5.2.1 off", "failed 5.2.1 Recipient"),
            (Rcpt, "550 4.2.1 mixed", "failed 5.2.1 Recipient"),
            (Rcpt, "551 moved", "failed 5.1.6 Recipient"),
            (Rcpt, "552 full", "failed 5.2.2 Recipient"),
            (Rcpt, "553 what", "failed 5.1.3 Recipient"),
            (Rcpt, "556 no mail", "failed 5.1.10 Recipient"),
            (Rcpt, "599 odd", "failed 5.0.0 Recipient"),
            (Rcpt, "421 bye", "over, deferred 4.3.2 Host"),
            (Data, "354 go", "go on"),
            (Data, "399 odd", "go on"),
            (Data, "250 ok", "over, deferred 4.5.0 Host"),
            (Data, "221 bye", "over, deferred 4.5.0 Host"),
            (Data, "451 later", "deferred 4.3.0 Transaction"),
            (Data, "554 nobody", "failed 5.0.0 Transaction"),
            (Data, "421 bye", "over, deferred 4.3.2 Host"),
            (Dot, "250 ok", "go on"),
            (Dot, "299 odd", "go on"),
            (Dot, "221 bye", "over, in doubt 4.5.0 Host"),
            (Dot, "220 hi", "over, in doubt 4.5.0 Host"),
            (Dot, "354 go", "over, in doubt 4.5.0 Host"),
            (Dot, "451 4.7.1 later", "deferred 4.7.1 Transaction"),
            (Dot, "552 too big", "failed 5.3.4 Transaction"),
            (Dot, "550 5.7.1 spam", "failed 5.7.1 Transaction"),
            (Dot, "421 bye", "over, deferred 4.3.2 Host"),
            (Reset, "250 ok", "go on"),
            (Reset, "221 bye", "over, deferred 4.5.0 Host"),
            (Quit, "221 bye", "go on"),
        ] {
            assert_eq!(judged(phase, text, false), expected, "{phase} {text}");
            if phase != Rcpt {
                assert_eq!(judged(phase, text, true), expected, "{phase} {text}");
            }
        }
    }

    /// Proves: RFC 5321 §4.5.3.1.10
    /// Covers: A2.14
    #[test]
    fn too_many_recipients_means_another_transaction() {
        for (text, alone, after_others) in [
            ("452 many", "deferred 4.5.3 Recipient", "later"),
            ("452 4.5.3 many", "deferred 4.5.3 Recipient", "later"),
            ("452 4.3.1 room", "deferred 4.3.1 Recipient", "later"),
            ("552 many", "failed 5.2.2 Recipient", "later"),
            ("552 5.5.3 many", "failed 5.5.3 Recipient", "later"),
            ("452 4.2.2 full", "deferred 4.2.2 Recipient", "deferred 4.2.2 Recipient"),
            ("552 5.2.2 full", "failed 5.2.2 Recipient", "failed 5.2.2 Recipient"),
            ("552 5.7.1 no", "failed 5.7.1 Recipient", "failed 5.7.1 Recipient"),
            ("450 4.5.3 x", "deferred 4.5.3 Recipient", "deferred 4.5.3 Recipient"),
        ] {
            assert_eq!(judged(Phase::Rcpt, text, false), alone, "{text}");
            assert_eq!(judged(Phase::Rcpt, text, true), after_others, "{text}");
        }
    }

    /// Proves: RFC 5321 §4.2.5
    /// Covers: A2.10
    #[test]
    fn faults_defer_before_the_dot_and_doubt_after_it() {
        let gone = Fault::PeerGone { phase: Phase::Dot, loss: Loss::PeerReset };
        assert_eq!(word(&gone.clone().verdict(false)), "deferred 4.4.2 Host");
        assert_eq!(word(&gone.clone().verdict(true)), "in doubt 4.4.2 Host");
        let text = "the peer reset the connection while waiting for the end of the message";
        assert_eq!(gone.to_string(), text);
        let refused = Cause::Reply { phase: Phase::Rcpt, reply: reply("550 5.1.1 gone") };
        assert_eq!(refused.to_string(), "550 5.1.1 gone (in reply to RCPT)");
    }

    /// Covers: A2.11, B44
    #[test]
    fn nothing_but_a_2yz_to_the_dot_is_success() {
        for number in 200..=599 {
            let reply = Reply::new(Code::new(number), "");
            let success = judge(Phase::Dot, &reply, true) == Judgement::GoOn;
            assert_eq!(success, number < 300 && number / 10 != 22, "{number}");
        }
    }
}
