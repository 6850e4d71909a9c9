//! AUTH: in its place and out of it, right and wrong.

use base::limits::AUTH_LINE_BYTES_MAX;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::sasl::server::{Keys, Users};
use crate::submission::log_in::WRONG_MAX;

/// tim with the password `pencil`; everybody else is refused.
#[derive(Default)]
struct Tim {
    ended: Vec<(Option<String>, bool)>,
    heard: String,
    away: bool,
    crowded: bool,
}

impl Users for Tim {
    fn keys(&mut self, user: &str) -> Keys {
        Keys::derive(if user == "tim" { b"pencil" } else { b"" }, b"salt", 4_096)
    }

    fn is_password(&mut self, user: &str, password: &[u8]) -> Option<bool> {
        Some((user, password) == ("tim", b"pencil"))
    }

    fn nonce(&mut self) -> [u8; 16] {
        [1; 16]
    }
}

impl Policy for Tim {
    fn users(&mut self) -> Result<&mut dyn Users, Answer> {
        match self.away {
            true => Err(Answer::new(454, Status::new(4, 7, 0), "Later")),
            false => Ok(self),
        }
    }

    fn log_in_ended(&mut self, user: Option<&str>, proved: bool) -> Result<(), Answer> {
        self.ended.push((user.map(str::to_owned), proved));
        match self.crowded {
            true => Err(Answer::new(454, Status::new(4, 7, 0), "Too many sessions")),
            false => Ok(()),
        }
    }

    fn heard(&mut self, line: &[u8]) {
        self.heard += &format!("{}|", String::from_utf8_lossy(line));
    }
}

struct Dialogue {
    session: Session,
    now: Monotonic,
    tim: Tim,
    closed: bool,
}

impl Dialogue {
    fn new(build: impl FnOnce(Session) -> Session) -> Self {
        let now = Monotonic::from_millis(1_000);
        let settings = Settings { log_in: true, ..settings() };
        let session = build(Session::new(Arc::new(settings), now));
        let mut dialogue = Self { session, now, tim: Tim::default(), closed: false };
        dialogue.send("EHLO c\r\n");
        dialogue
    }

    /// Inside TLS, behind EHLO.
    fn secure() -> Self {
        Self::new(|session| session.with_tls(Tls::Up))
    }

    fn send(&mut self, bytes: &str) -> String {
        self.session.push(bytes.as_bytes());
        self.run(Vec::new())
    }

    fn run(&mut self, mut out: Vec<u8>) -> String {
        if matches!(self.session.advance(self.now, &mut out, &mut self.tim), Progress::Close) {
            self.closed = true;
        }
        String::from_utf8(out).unwrap()
    }

    fn codes(&mut self, bytes: &str) -> String {
        codes(&self.send(bytes))
    }

    /// Waits for what is said at the deadline.
    fn wait(&mut self) -> (Duration, String) {
        let deadline = self.session.deadline().unwrap();
        let waited = deadline.since(self.now);
        self.now = deadline;
        let mut out = Vec::new();
        if self.session.timeout(self.now, &mut out) {
            self.closed = true;
            return (waited, codes(&String::from_utf8(out).unwrap()));
        }
        (waited, codes(&self.run(out)))
    }
}

fn coded(response: &str) -> String {
    STANDARD.encode(response)
}

/// Proves: RFC 4954 §3, RFC 4954 §4
/// Covers: A5.8, A3.11
#[test]
fn log_ins_are_offered_and_served_inside_tls_only() {
    let mut clear = Dialogue::new(|session| session.with_tls(Tls::Offered));
    assert!(!clear.send("EHLO c\r\n").contains("AUTH"));
    let plain = coded("\0tim\0pencil");
    assert_eq!(clear.codes(&format!("AUTH PLAIN {plain}\r\n")), "538/5.7.11");
    assert!(clear.tim.ended.is_empty() && clear.session.user().is_none());
    assert_eq!(Talk::ready().codes("AUTH PLAIN\r\n"), "502/5.5.1", "nobody has a password");

    let mut secure = Dialogue::secure();
    assert!(secure.send("EHLO c\r\n").contains("250 AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"));
    assert_eq!(secure.codes(&format!("AUTH plain {plain}\r\n")), "235/2.7.0");
    assert_eq!(secure.session.user().map(|user| &**user), Some("tim"));
    let mut allowed = Dialogue::new(|session| session.with_log_in_in_the_clear());
    assert!(allowed.send("EHLO c\r\n").contains("AUTH"));
    assert_eq!(allowed.codes(&format!("AUTH PLAIN {plain}\r\n")), "235/2.7.0");
}

/// Proves: RFC 4954 §4
/// Covers: A5.9
#[test]
fn each_way_of_saying_it_works() {
    let plain = coded("\0tim\0pencil");
    for lines in [
        vec![format!("AUTH PLAIN {plain}"), "235/2.7.0".into()],
        vec!["AUTH PLAIN".into(), "334".into(), plain, "235/2.7.0".into()],
        vec![
            "AUTH LOGIN".into(),
            "334".into(),
            coded("tim"),
            "334".into(),
            coded("pencil"),
            "235/2.7.0".into(),
        ],
        vec![
            format!("AUTH LOGIN {}", coded("tim")),
            "334".into(),
            coded("pencil"),
            "235/2.7.0".into(),
        ],
    ] {
        let mut talk = Dialogue::secure();
        for pair in lines.chunks(2) {
            assert_eq!(talk.codes(&format!("{}\r\n", pair[0])), pair[1], "{lines:?}");
        }
        assert_eq!(talk.tim.ended, [(Some("tim".into()), true)]);
        let heard = &talk.tim.heard;
        assert!(
            !heard.contains("dGlt") && !heard.contains("cGVuY2ls") && !heard.contains("AHRp"),
            "{heard}"
        );
    }
}

/// Proves: RFC 4954 §4
/// Covers: A5.9
#[test]
fn out_of_order_cancelled_misspelt_and_unknown_have_their_reply_each() {
    let mut talk = Dialogue::secure();
    for (said, codes) in [
        ("AUTH", "501/5.5.4"),
        ("AUTH PLAIN a b", "501/5.5.4"),
        ("AUTH CRAM-MD5", "504/5.5.4"),
        ("AUTH NONSENSE", "504/5.5.4"),
        ("AUTH PLAIN\r\n*", "334 501/5.7.0"),
        ("AUTH PLAIN\r\n#", "334 501/5.5.2"),
        ("AUTH PLAIN #", "501/5.5.2"),
        ("MAIL FROM:<a@b.example>\r\nAUTH PLAIN\r\nRSET", "250/2.1.0 503/5.5.1 250/2.0.0"),
    ] {
        assert_eq!(talk.codes(&format!("{said}\r\n")), codes, "{said}");
    }
    assert!(talk.tim.ended.is_empty(), "none of these was a try");
    talk.tim.away = true;
    assert_eq!(talk.codes("AUTH PLAIN\r\n"), "454/4.7.0");
    talk.tim.away = false;
    assert_eq!(talk.codes(&format!("AUTH PLAIN {}\r\n", coded("\0tim\0pencil"))), "235/2.7.0");
    assert_eq!(talk.codes("AUTH PLAIN\r\n"), "503/5.5.1");
    let mut unknown = Dialogue::new(|session| session.with_tls(Tls::Up));
    unknown.send("HELO c\r\n");
    assert_eq!(unknown.codes("AUTH PLAIN\r\n"), "503/5.5.1", "HELO offers nothing");
}

/// Proves: RFC 5321 §4.5.3.1.4
/// Covers: A1.18
#[test]
fn a_line_of_a_log_in_has_its_own_bound() {
    let at_bound = |first: usize| "A".repeat(AUTH_LINE_BYTES_MAX - first - 2);
    // What is read as a whole is no base64: that is said, and nothing of length.
    let codes_of = |line: String| Dialogue::secure().codes(&line);
    assert_eq!(codes_of(format!("AUTH PLAIN {}\r\n", at_bound(11) + "#")), "500/5.5.2");
    let said = Dialogue::secure().send(&format!("AUTH PLAIN {}\r\n", at_bound(11)));
    assert!(said.starts_with("501 5.5.2 Response is no base64"), "{said}");
    for (more, codes) in [("", "501/5.5.2"), ("A", "500/5.5.6")] {
        let mut talk = Dialogue::secure();
        talk.send("AUTH PLAIN\r\n");
        assert_eq!(talk.codes(&format!("{more}{}\r\n", at_bound(0))), codes);
    }
    let mut endless = Dialogue::secure();
    endless.send("AUTH PLAIN\r\n");
    // In pieces it is told the same, however many they are.
    for _ in 0..3 {
        assert_eq!(endless.send(&"A".repeat(AUTH_LINE_BYTES_MAX)), "");
    }
    assert_eq!(endless.codes("A\r\nNOOP\r\n"), "500/5.5.6 250/2.0.0");
    // Other commands keep theirs.
    let long = format!("NOOP {}\r\n", "x".repeat(COMMAND_LINE_BYTES_MAX));
    assert_eq!(Dialogue::secure().codes(&long), "500/5.5.2");
}

/// Covers: A5.10, B91
/// Shows: A67
#[test]
fn wrong_passwords_slow_down_and_then_end_the_session() {
    let mut talk = Dialogue::secure();
    let wrong = format!("AUTH PLAIN {}\r\n", coded("\0tim\0pen"));
    for place in 0..WRONG_MAX {
        // Nothing that was sent ahead runs before the answer.
        assert_eq!(talk.codes(&format!("{wrong}NOOP\r\n")), "");
        let (waited, said) = talk.wait();
        assert_eq!(waited, Duration::from_secs(1 << place));
        let rest = if place + 1 == WRONG_MAX { "421/4.7.0" } else { "250/2.0.0" };
        assert_eq!(said, format!("535/5.7.8 {rest}"));
    }
    assert!(talk.closed && talk.tim.ended.iter().all(|(_, proved)| !proved));
    // A shutdown does not wait for the answer.
    let mut talk = Dialogue::secure();
    talk.send(&wrong);
    talk.session.shut_down();
    assert_eq!(talk.codes(""), "421/4.3.2");
}

#[test]
fn who_is_proved_may_still_be_put_off_and_a_certificate_proves_as_well() {
    let mut talk = Dialogue::secure();
    talk.tim.crowded = true;
    let plain = format!("AUTH PLAIN {}\r\n", coded("\0tim\0pencil"));
    assert_eq!(talk.codes(&plain), "454/4.7.0");
    assert_eq!(talk.session.user(), None);
    talk.session.prove("app".into());
    assert_eq!(talk.codes(&plain), "503/5.5.1");
    assert_eq!(talk.session.user().map(|user| &**user), Some("app"));
}

/// Proves: RFC 3207 §4.2
/// Covers: A5.2
#[test]
fn a_log_in_in_the_clear_is_forgotten_by_tls() {
    let mut talk =
        Dialogue::new(|session| session.with_tls(Tls::Offered).with_log_in_in_the_clear());
    assert_eq!(talk.codes(&format!("AUTH PLAIN {}\r\n", coded("\0tim\0pencil"))), "235/2.7.0");
    talk.send("STARTTLS\r\n");
    talk.session.secured(talk.now);
    assert_eq!(talk.session.user(), None);
}

/// Proves: RFC 4954 §5
/// Covers: A5.11
#[test]
fn who_is_said_to_have_written_it_is_read_and_not_believed() {
    let mut talk = Dialogue::secure();
    for (value, codes) in [
        ("<>", "250/2.1.0"),
        ("e+3Dmc2@b.example", "250/2.1.0"),
        ("", "501/5.5.4"),
        ("a+b", "501/5.5.4"),
    ] {
        let said = talk.codes(&format!("MAIL FROM:<a@b.example> AUTH={value}\r\n"));
        assert_eq!(said, codes, "{value}");
        talk.send("RSET\r\n");
    }
    assert_eq!(Talk::ready().codes("MAIL FROM:<a@b.example> AUTH=<>\r\n"), "555/5.5.4");
}
