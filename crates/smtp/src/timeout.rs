//! How long a client waits, phase by phase.
//!
//! Never here: a clock. A [`Timeouts`] is only numbers; the session turns one
//! into a deadline when a phase begins, so that a peer that sends one byte at
//! a time ends no later than a peer that sends none.
//!
//! Read first: RFC 5321 §4.5.3.2.

use std::fmt;
use std::time::Duration;

/// What a client session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The TCP connection. Kept by whoever connects; no session exists yet.
    Connect,
    /// The 220 of the peer.
    Greeting,
    /// The reply to EHLO or HELO.
    Hello,
    /// The reply to STARTTLS.
    StartTls,
    /// The TLS handshake.
    Tls,
    /// A reply of the log-in.
    Auth,
    /// The reply to MAIL.
    Mail,
    /// The reply to RCPT.
    Rcpt,
    /// The reply to DATA.
    Data,
    /// Our own bytes of the message, while the peer takes them.
    Body,
    /// The reply to the final dot.
    Dot,
    /// The reply to RSET.
    Reset,
    /// The reply to QUIT.
    Quit,
    /// Nothing: between two messages.
    Idle,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::Greeting => "the greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Tls => "the TLS handshake",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Body => "the message",
            Self::Dot => "the end of the message",
            Self::Reset => "RSET",
            Self::Quit => "QUIT",
            Self::Idle => "the next message",
        })
    }
}

/// One time per phase, each for the whole reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TCP connection; 30 s.
    pub connect: Duration,
    /// For the greeting (RFC 5321 §4.5.3.2.1); 5 min.
    pub greeting: Duration,
    /// For the reply to EHLO, HELO or STARTTLS, and to each line of a log-in;
    /// 5 min.
    pub hello: Duration,
    /// For the whole TLS handshake; 30 s.
    pub tls: Duration,
    /// For the reply to MAIL (RFC 5321 §4.5.3.2.2); 5 min.
    pub mail: Duration,
    /// For the reply to each RCPT (RFC 5321 §4.5.3.2.3); 5 min.
    pub rcpt: Duration,
    /// For the reply to DATA (RFC 5321 §4.5.3.2.4); 2 min.
    pub data: Duration,
    /// Without progress while the message is sent (RFC 5321 §4.5.3.2.5); 3 min.
    pub block: Duration,
    /// For the reply to the final dot (RFC 5321 §4.5.3.2.6); 10 min.
    pub dot: Duration,
    /// For the reply to RSET or QUIT, which change nothing; 10 s.
    pub quit: Duration,
    /// Octets per second that a peer must take of a message on average, so
    /// that sending one ends even at a peer that takes a byte a minute; 1 024,
    /// at least 1.
    pub body_bytes_per_second_min: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            connect: Duration::from_secs(30),
            greeting: 5 * MINUTE,
            hello: 5 * MINUTE,
            tls: Duration::from_secs(30),
            mail: 5 * MINUTE,
            rcpt: 5 * MINUTE,
            data: 2 * MINUTE,
            block: 3 * MINUTE,
            dot: 10 * MINUTE,
            quit: Duration::from_secs(10),
            body_bytes_per_second_min: 1_024,
        }
    }
}

impl Timeouts {
    /// The same time for every phase.
    pub fn all(span: Duration) -> Self {
        Self {
            connect: span,
            greeting: span,
            hello: span,
            tls: span,
            mail: span,
            rcpt: span,
            data: span,
            block: span,
            dot: span,
            quit: span,
            ..Self::default()
        }
    }

    /// The time for `phase`; none while nothing is awaited.
    pub fn of(&self, phase: Phase) -> Option<Duration> {
        Some(match phase {
            Phase::Connect => self.connect,
            Phase::Greeting => self.greeting,
            Phase::Hello | Phase::StartTls | Phase::Auth => self.hello,
            Phase::Tls => self.tls,
            Phase::Mail => self.mail,
            Phase::Rcpt => self.rcpt,
            Phase::Data => self.data,
            Phase::Body => self.block,
            Phase::Dot => self.dot,
            Phase::Reset | Phase::Quit => self.quit,
            Phase::Idle => return None,
        })
    }

    /// The longest that sending a message of `bytes` octets may take.
    pub fn body_total(&self, bytes: u64) -> Duration {
        self.block + Duration::from_secs(bytes / self.body_bytes_per_second_min.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: RFC 5321 §4.5.3.2
    /// Covers: A2.13
    #[test]
    fn defaults_are_not_below_the_standard() {
        let timeouts = Timeouts::default();
        for (phase, minutes) in [
            (Phase::Greeting, 5),
            (Phase::Hello, 5),
            (Phase::Mail, 5),
            (Phase::Rcpt, 5),
            (Phase::Data, 2),
            (Phase::Body, 3),
            (Phase::Dot, 10),
        ] {
            assert!(timeouts.of(phase) >= Some(Duration::from_secs(minutes * 60)), "{phase}");
        }
        assert_eq!(timeouts.of(Phase::Idle), None);
    }

    /// Covers: A2.13
    #[test]
    fn one_time_for_all_and_a_total_that_grows_with_the_message() {
        let timeouts = Timeouts::all(Duration::from_secs(7));
        for phase in [Phase::Connect, Phase::Tls, Phase::Dot, Phase::Quit, Phase::StartTls] {
            assert_eq!(timeouts.of(phase), Some(Duration::from_secs(7)), "{phase}");
        }
        assert_eq!(timeouts.body_total(10_240), Duration::from_secs(17));
        let careless = Timeouts { body_bytes_per_second_min: 0, ..timeouts };
        assert_eq!(careless.body_total(3), Duration::from_secs(10));
    }
}
