//! Synthetic histories for the tests of oracles: somebody outside says what was
//! seen, one oracle judges.

use std::cell::Cell;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::{MessageId, Monotonic, Now, Wall};

use crate::observation::{
    Addressee, Command, Letter, Link, LogLine, Observation, Recovery, Side, Stamped, Taken, Verb,
};
use crate::rules::{Rules, Way};

use super::{Book, Oracle, Verdict};

/// The first recipient of most stories.
pub(crate) const TO: &str = "b@one.example";
/// Who sends.
pub(crate) const FROM: &str = "a@from.example";
/// Where mail goes.
pub(crate) const REMOTE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)), 25);

/// A history under way, kept as a list so that a story can branch.
pub(crate) struct Play {
    fresh: fn() -> Box<dyn Oracle>,
    oracle: Box<dyn Oracle>,
    book: Book,
    past: Vec<Stamped>,
    now: Now,
    verdict: Verdict,
    judged: Cell<bool>,
}

impl Play {
    /// A client's connection.
    pub(crate) const CLIENT: Link = Link { shard: 0, conn: 2 };

    /// Begins a history before this oracle.
    pub(crate) fn of<O: Oracle + Default + Debug + 'static>(_: O) -> Self {
        let fresh = || -> Box<dyn Oracle> { Box::new(O::default()) };
        let now = Now::new(Monotonic::from_millis(100_000_000), Wall::from_millis(1 << 40));
        let (oracle, book) = (fresh(), Book::default());
        let verdict = Ok(());
        Self { fresh, oracle, book, past: Vec::new(), now, verdict, judged: Cell::new(false) }
    }

    /// The same history once more, to go on differently.
    pub(crate) fn again(&self) -> Self {
        let mut play = Self {
            fresh: self.fresh,
            oracle: (self.fresh)(),
            book: Book::default(),
            past: Vec::new(),
            now: self.now,
            verdict: Ok(()),
            judged: Cell::new(false),
        };
        self.past.iter().for_each(|seen| play.judge(seen.clone()));
        play.now = self.now;
        play
    }

    /// Seconds go by.
    pub(crate) fn after(&mut self, seconds: u64) -> &mut Self {
        let span = Duration::from_secs(seconds);
        self.now = Now::new(self.now.mono + span, self.now.wall + span);
        self
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Now {
        self.now
    }

    /// Something is seen now.
    pub(crate) fn see(&mut self, what: Observation) {
        let step = self.past.len() as u64;
        self.judge(Stamped { at: self.now, step, what });
    }

    fn judge(&mut self, seen: Stamped) {
        if self.verdict.is_ok() {
            self.verdict = self.oracle.see(&self.book, &seen);
            self.book.see(&seen);
            if self.verdict.is_ok() && matches!(seen.what, Observation::Over { .. }) {
                self.verdict = self.oracle.end(&self.book, &seen);
            }
        }
        self.past.push(seen);
    }

    /// The history is over, and nothing was wrong with it.
    pub(crate) fn fine(self) {
        self.still_fine();
    }

    /// So far, nothing is wrong with it.
    pub(crate) fn still_fine(&self) {
        self.judged.set(true);
        assert_eq!(self.verdict, Ok(()));
    }

    /// The history is over, and this was wrong with it.
    pub(crate) fn caught(self, words: &str) {
        self.judged.set(true);
        match &self.verdict {
            Err(fault) => assert!(fault.what.contains(words), "{fault:?}, not {words}"),
            Ok(()) => panic!("not caught: {words}"),
        }
    }

    /// A client has sent a message.
    pub(crate) fn handed(&mut self, message: u32, to: &[&str]) {
        let to = to.iter().map(|to| Addressee::new(to)).collect();
        self.handed_as(message, |letter| Letter { to, ..letter });
    }

    /// A client has sent a message, made as told.
    pub(crate) fn handed_as(&mut self, message: u32, make: impl FnOnce(Letter) -> Letter) {
        let letter = make(Letter {
            sender: FROM.into(),
            to: vec![Addressee::new(TO)],
            ret: 0,
            envid: None,
            content: content(message),
        });
        let client = Self::CLIENT;
        for _ in &letter.to {
            let (to, code) = (Verb::Rcpt, 250);
            self.see(Observation::Answered { client, message, to, code, id: None });
        }
        self.see(Observation::Handed { client, message, letter: Arc::new(letter) });
    }

    /// A message gets its answer.
    pub(crate) fn answered(&mut self, message: u32, code: u16) {
        let id = (code == 250).then(|| id(message));
        let (client, to) = (Self::CLIENT, Verb::Dot);
        if code == 250 {
            self.see(Observation::Promised { client, message, durable: true });
        }
        self.see(Observation::Answered { client, message, to, code, id });
    }

    /// A message is handed in and accepted.
    pub(crate) fn accepted(&mut self, message: u32, to: &[&str]) {
        self.handed(message, to);
        self.answered(message, 250);
    }

    /// A line about a recipient.
    pub(crate) fn line(&mut self, event: &str, to: &str, attempt: u16, reply: &str) {
        self.line_with(event, to, attempt, reply, |line| line);
    }

    /// A line about a recipient, changed as told.
    pub(crate) fn line_with(
        &mut self,
        event: &str,
        to: &str,
        attempt: u16,
        reply: &str,
        change: impl FnOnce(LogLine) -> LogLine,
    ) {
        let text = serde_json::json!({
            "event": event, "from": FROM, "to": to, "attempt": attempt, "reply": reply,
        });
        let line = change(LogLine::parse(&text.to_string()).unwrap());
        self.see(Observation::Logged { shard: 0, line: Arc::new(line) });
    }

    /// A start with rules made as told.
    pub(crate) fn rules(&mut self, make: impl FnOnce(&mut Rules)) {
        let mut rules = Rules::default();
        make(&mut rules);
        self.see(Observation::Configured(Arc::new(rules)));
    }

    /// Rules with this lifetime in seconds.
    pub(crate) fn lifetime(&mut self, seconds: u64) {
        let lifetime = Duration::from_secs(seconds);
        self.rules(|rules| rules.default = Way { lifetime, ..Way::default() });
    }

    /// The connection of a number.
    pub(crate) fn link(conn: u64) -> Link {
        Link { shard: 0, conn }
    }

    /// A shard dials.
    pub(crate) fn dialled(&mut self, conn: u64) {
        self.dialled_to(conn, REMOTE);
    }

    /// A shard dials somebody.
    pub(crate) fn dialled_to(&mut self, conn: u64, to: SocketAddr) {
        self.see(Observation::Dialled { link: Self::link(conn), to, from: None });
    }

    /// A connection is over, by us.
    pub(crate) fn ended(&mut self, conn: u64) {
        self.see(Observation::Ended { link: Self::link(conn), by: Side::Us });
    }

    /// An exchanger hears a command.
    pub(crate) fn heard(&mut self, conn: u64, command: Command) {
        let link = Self::link(conn);
        self.see(Observation::Heard { link, left: self.now.mono, command });
    }

    /// A reply reaches the shard.
    pub(crate) fn said(&mut self, conn: u64, to: Verb, code: u16) {
        self.see(Observation::Said { link: Self::link(conn), to, code });
    }

    /// MAIL and RCPT of a transaction are heard and answered.
    pub(crate) fn envelope(&mut self, conn: u64, to: &[&str]) {
        self.heard(conn, Command::Mail(FROM.into()));
        self.said(conn, Verb::Mail, 250);
        for to in to {
            self.heard(conn, Command::Rcpt((*to).into()));
            self.said(conn, Verb::Rcpt, 250);
        }
    }

    /// An exchanger takes a copy of a message.
    pub(crate) fn copy(&mut self, conn: u64, message: u32, to: &[&str]) {
        let mut bytes = format!("Received: from x by y with ESMTP id {}\r\n", id(message));
        bytes.push_str(std::str::from_utf8(&content(message)).unwrap());
        let to: Vec<Addressee> = to.iter().map(|to| Addressee::new(to)).collect();
        self.copy_as(conn, |copy| Taken { to, content: bytes.into_bytes().into(), ..copy });
    }

    /// An exchanger takes a copy, made as told.
    pub(crate) fn copy_as(&mut self, conn: u64, make: impl FnOnce(Taken) -> Taken) {
        let copy = make(Taken {
            sender: FROM.into(),
            to: Vec::new(),
            ret: 0,
            envid: None,
            content: Arc::from(&b""[..]),
            eight_bit: true,
            dsn: true,
        });
        self.see(Observation::Took { link: Self::link(conn), copy: Arc::new(copy) });
    }

    /// A whole delivery over a new connection, its 250 heard.
    pub(crate) fn delivery(&mut self, conn: u64, message: u32, to: &[&str]) {
        self.dialled(conn);
        self.envelope(conn, to);
        self.heard(conn, Command::Dot);
        self.copy(conn, message, to);
        self.said(conn, Verb::Dot, 250);
        self.ended(conn);
    }

    /// The program or the machine ends and starts again, nothing in doubt.
    pub(crate) fn crash(&mut self, power: bool) {
        self.crash_doubting(power, &[]);
    }

    /// The same, with these recipients listed: message and place.
    pub(crate) fn crash_doubting(&mut self, power: bool, doubts: &[(u32, u16)]) {
        self.see(Observation::Crashed { power });
        let in_doubt = doubts.iter().map(|(message, place)| (id(*message), *place)).collect();
        let report = Arc::new(Recovery { in_doubt, ..Recovery::default() });
        self.see(Observation::Recovered { shards: 1, report });
    }
}

impl Drop for Play {
    /// A story that nobody looked at proves nothing.
    fn drop(&mut self) {
        assert!(self.judged.get() || std::thread::panicking(), "nobody judged this history");
    }
}

/// The content of a message.
pub(crate) fn content(message: u32) -> Arc<[u8]> {
    format!("Subject: x\r\nX-Story: {message}\r\n\r\nHello\r\n").into_bytes().into()
}

/// The id of a message.
pub(crate) fn id(message: u32) -> MessageId {
    MessageId::from_u64(u64::from(message) << 32 | 4_096)
}
