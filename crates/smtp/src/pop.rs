//! The log-in at a POP3 server that some relays want before they take mail from
//! an address: greeting, TLS where it is asked for, USER, PASS, QUIT.
//!
//! Looks at no message and deletes none. Never here: connecting, and how long a
//! log-in is remembered. Invariants: each step has a deadline; a reply has a
//! bound; who asked for TLS sends neither name nor password before it stands.
//!
//! Read first: RFC 1939 §7, RFC 2595 §4, RFC 2449 §8.1.2.

use std::fmt;
use std::time::Duration;

use base::Monotonic;
use base::secret::Secret;

/// Octets of a reply with its line end (RFC 2449 §4).
const REPLY_BYTES_MAX: usize = 512;
/// Characters of a server's words that are kept.
const WORDS_CHARS_MAX: usize = 200;

/// What a log-in is made of.
#[derive(Clone, Debug)]
pub struct PopSettings {
    /// The name, without control characters.
    pub user: Box<str>,
    /// The password, one line.
    pub secret: Secret,
    /// TLS is asked for by STLS before anything else is said. Without it the
    /// connection is as it should be: plain, or TLS from the first octet.
    pub stls: bool,
    /// Wait for the greeting and for each reply.
    pub reply: Duration,
    /// Wait for the TLS handshake.
    pub tls: Duration,
}

/// A log-in under way.
#[derive(Debug)]
pub struct Pop {
    settings: PopSettings,
    step: Step,
    line: Vec<u8>,
    until: Monotonic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Greeting,
    Stls,
    Handshake,
    User,
    Pass,
    Over,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum PopOutput {
    /// The server's turn.
    Wait,
    /// Send a command.
    Send {
        /// The line.
        bytes: Vec<u8>,
        /// It holds the name or the password.
        secret: bool,
    },
    /// Begin the TLS handshake, then call [`Pop::secured`].
    StartTls,
    /// We are known. Send this and close.
    LoggedIn(Vec<u8>),
    /// It has failed. Close.
    Failed(PopFault),
}

/// Why a log-in failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PopFault {
    /// The server said no, in these words.
    PeerRefused(&'static str, String),
    /// What came is no reply of a POP3 server, or comes where none is due.
    PeerNonsense(&'static str),
    /// Nothing came in time.
    PeerSilent(&'static str),
}

impl Pop {
    /// A log-in over a connection that stands.
    pub fn new(settings: PopSettings, now: Monotonic) -> Self {
        let until = now + settings.reply;
        Self { settings, step: Step::Greeting, line: Vec::new(), until }
    }

    /// When to call [`Pop::timeout`].
    pub fn deadline(&self) -> Monotonic {
        self.until
    }

    /// Octets of the server.
    pub fn received(&mut self, now: Monotonic, bytes: &[u8]) -> PopOutput {
        if matches!(self.step, Step::Handshake | Step::Over) {
            return PopOutput::Wait;
        }
        let room = REPLY_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room + 1)]);
        let Some(end) = self.line.iter().position(|byte| *byte == b'\n') else {
            return match self.line.len() > REPLY_BYTES_MAX {
                true => self.fail(PopFault::PeerNonsense(self.step.name())),
                false => PopOutput::Wait,
            };
        };
        // One reply to one command: whoever says more speaks out of turn, and
        // behind STLS that is somebody else's word (RFC 2595 §4).
        if end + 1 < self.line.len() || bytes.len() > room {
            return self.fail(PopFault::PeerNonsense(self.step.name()));
        }
        let line = std::mem::take(&mut self.line);
        self.reply(now, line.trim_ascii_end())
    }

    /// The TLS handshake is done.
    pub fn secured(&mut self, now: Monotonic) -> PopOutput {
        match self.step {
            Step::Handshake => self.say_user(now),
            _ => PopOutput::Wait,
        }
    }

    /// The deadline may have come.
    pub fn timeout(&mut self, now: Monotonic) -> PopOutput {
        match self.step {
            Step::Over => PopOutput::Wait,
            step if self.until <= now => self.fail(PopFault::PeerSilent(step.name())),
            _ => PopOutput::Wait,
        }
    }

    fn reply(&mut self, now: Monotonic, line: &[u8]) -> PopOutput {
        let good = line.starts_with(b"+OK");
        if !good && !line.starts_with(b"-ERR") {
            return self.fail(PopFault::PeerNonsense(self.step.name()));
        }
        let words = words(&line[if good { 3 } else { 4 }..]);
        // The password was right, only the mailbox is in use (RFC 2449 §8.1.2).
        let in_use = self.step == Step::Pass && words.to_ascii_uppercase().starts_with("[IN-USE]");
        if !good && !in_use {
            return self.fail(PopFault::PeerRefused(self.step.name(), words));
        }
        match self.step {
            Step::Greeting if self.settings.stls => {
                self.say(now, Step::Stls, b"STLS\r\n".to_vec(), false)
            }
            Step::Greeting => self.say_user(now),
            Step::Stls => {
                self.step = Step::Handshake;
                self.until = now + self.settings.tls;
                PopOutput::StartTls
            }
            Step::User => {
                let bytes = [b"PASS ", self.settings.secret.expose(), b"\r\n"].concat();
                self.say(now, Step::Pass, bytes, true)
            }
            Step::Pass => {
                self.step = Step::Over;
                PopOutput::LoggedIn(b"QUIT\r\n".to_vec())
            }
            Step::Handshake | Step::Over => PopOutput::Wait,
        }
    }

    fn say_user(&mut self, now: Monotonic) -> PopOutput {
        let bytes = format!("USER {}\r\n", self.settings.user).into_bytes();
        self.say(now, Step::User, bytes, true)
    }

    fn say(&mut self, now: Monotonic, step: Step, bytes: Vec<u8>, secret: bool) -> PopOutput {
        self.step = step;
        self.until = now + self.settings.reply;
        PopOutput::Send { bytes, secret }
    }

    fn fail(&mut self, fault: PopFault) -> PopOutput {
        self.step = Step::Over;
        PopOutput::Failed(fault)
    }
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Greeting => "the greeting",
            Self::Stls => "STLS",
            Self::Handshake => "the TLS handshake",
            Self::User => "USER",
            Self::Pass => "PASS",
            Self::Over => "the end",
        }
    }
}

impl fmt::Display for PopFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerRefused(step, words) => write!(f, "{step} was refused: {words}"),
            Self::PeerNonsense(step) => write!(f, "no reply of a POP3 server to {step}"),
            Self::PeerSilent(step) => write!(f, "timed out at {step}"),
        }
    }
}

/// A server's words as they may be shown.
fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let plain = text.trim().chars().map(|c| if c.is_control() { '?' } else { c });
    plain.take(WORDS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic::from_millis(1_000);

    fn pop(stls: bool) -> Pop {
        let reply = Duration::from_secs(30);
        let (user, secret) = ("tim".into(), Secret::new(b"s3 cret"));
        Pop::new(PopSettings { user, secret, stls, reply, tls: Duration::from_secs(5) }, NOW)
    }

    fn send(text: &str, secret: bool) -> PopOutput {
        PopOutput::Send { bytes: text.as_bytes().to_vec(), secret }
    }

    /// Proves: RFC 1939 §7
    /// Covers: A5.18
    /// Shows: S2.4
    #[test]
    fn name_and_password_are_told_step_by_step() {
        let mut pop = pop(false);
        assert_eq!(pop.received(NOW, b"+OK rea"), PopOutput::Wait);
        assert_eq!(pop.received(NOW, b"dy\r\n"), send("USER tim\r\n", true));
        assert_eq!(pop.received(NOW, b"+OK\r\n"), send("PASS s3 cret\r\n", true));
        assert_eq!(
            pop.received(NOW, b"+OK 2 messages\r\n"),
            PopOutput::LoggedIn(b"QUIT\r\n".into())
        );
        assert_eq!(pop.received(NOW, b"+OK bye\r\n"), PopOutput::Wait);
        assert_eq!(pop.timeout(NOW + Duration::from_secs(99)), PopOutput::Wait);
    }

    /// Proves: RFC 2595 §4
    /// Covers: A5.18
    #[test]
    fn nothing_is_told_before_tls_stands() {
        let mut it = pop(true);
        assert_eq!(it.received(NOW, b"+OK\r\n"), send("STLS\r\n", false));
        assert_eq!(it.received(NOW, b"+OK go\r\n"), PopOutput::StartTls);
        assert_eq!(it.deadline(), NOW + Duration::from_secs(5));
        assert_eq!(it.secured(NOW), send("USER tim\r\n", true));
        // Without TLS there is no log-in at all.
        let mut it = pop(true);
        it.received(NOW, b"+OK\r\n");
        let refused = PopFault::PeerRefused("STLS", "no such command".into());
        assert_eq!(it.received(NOW, b"-ERR no such command\r\n"), PopOutput::Failed(refused));
        // Words that somebody put behind the reply are not TLS.
        let mut it = pop(true);
        it.received(NOW, b"+OK\r\n");
        let nonsense = PopOutput::Failed(PopFault::PeerNonsense("STLS"));
        assert_eq!(it.received(NOW, b"+OK\r\n+OK\r\n"), nonsense);
    }

    /// Proves: RFC 2449 §8.1.2
    /// Covers: A5.18
    #[test]
    fn a_mailbox_in_use_is_a_log_in_and_a_wrong_password_is_none() {
        for (reply, good) in [
            ("-ERR [IN-USE] locked\r\n", true),
            ("-ERR [in-use]\r\n", true),
            ("-ERR [AUTH] wrong\x07\r\n", false),
        ] {
            let mut pop = pop(false);
            pop.received(NOW, b"+OK\r\n");
            pop.received(NOW, b"+OK\r\n");
            match pop.received(NOW, reply.as_bytes()) {
                PopOutput::LoggedIn(_) => assert!(good, "{reply}"),
                PopOutput::Failed(fault) => {
                    assert!(!good, "{reply}");
                    assert_eq!(fault.to_string(), "PASS was refused: [AUTH] wrong?");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn silence_and_nonsense_end_it_and_a_reply_has_a_bound() {
        let mut it = pop(false);
        assert_eq!(it.timeout(NOW + Duration::from_secs(29)), PopOutput::Wait);
        let silent = PopOutput::Failed(PopFault::PeerSilent("the greeting"));
        assert_eq!(it.timeout(NOW + Duration::from_secs(30)), silent);
        for nonsense in ["220 smtp\r\n", "\r\n", "+OK\r\nx"] {
            let failed = PopOutput::Failed(PopFault::PeerNonsense("the greeting"));
            assert_eq!(pop(false).received(NOW, nonsense.as_bytes()), failed, "{nonsense:?}");
        }
        let long = |len: usize| format!("+OK {}\r\n", "x".repeat(len - 6));
        let at_bound = pop(false).received(NOW, long(REPLY_BYTES_MAX).as_bytes());
        assert_eq!(at_bound, send("USER tim\r\n", true));
        for bytes in [long(REPLY_BYTES_MAX + 1), "x".repeat(REPLY_BYTES_MAX + 1)] {
            let failed = PopOutput::Failed(PopFault::PeerNonsense("the greeting"));
            assert_eq!(pop(false).received(NOW, bytes.as_bytes()), failed);
            // The same however it is cut.
            let mut by_one = pop(false);
            let last = bytes.bytes().map(|byte| by_one.received(NOW, &[byte]));
            assert!(last.into_iter().any(|said| said == failed));
        }
    }
}
