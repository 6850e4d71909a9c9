//! The client's side of a session: any bytes of a mail exchanger, at any
//! moment, with time, lost connections and slow writes between them.
//!
//! Input: two bytes of settings, then steps. Oracle: a model that reads the
//! peer's replies one by one beside the session. "Delivered" needs a 2xx to
//! MAIL, to the recipient and to the final dot, and a 3xx to DATA, in this
//! order and no reply more; each recipient gets one verdict; after the end
//! nothing is sent; every wait has an end; a step makes a bounded number of
//! outputs.
//!
//! Read first: RFC 5321 §4.2.5, RFC 2920 §3.1, RFC 3207 §4.2.

use std::time::Duration;

use base::Monotonic;
use base::limits::COMMAND_LINE_BYTES_MAX;
use mail::{Body, Notify};
use smtp::client::Settings;
use smtp::{Client, Loss, Output, Phase, RecipientTo, Timeouts, Tls, Transaction, Verdict};

use crate::input::Input;

/// Runs the target.
pub fn smtp_session(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = input.byte();
    let recipients = 1 + input.below(4);
    let tls = [Tls::None, Tls::Opportunistic, Tls::Required, Tls::Implicit];
    let settings = Settings {
        ehlo_name: "out.example".into(),
        tls: tls[usize::from(settings & 3)],
        timeouts: Timeouts::default(),
        pipelining: settings & 4 == 0,
        log_in: None,
        lmtp: false,
    };
    let now = Monotonic::from_millis(5);
    let mut world = World {
        may_ask_for_tls: matches!(settings.tls, Tls::Opportunistic | Tls::Required),
        client: Client::new(settings, now),
        now,
        recipients,
        begun: 0,
        heard: Vec::new(),
        fates: Vec::new(),
        body_is_due: false,
        body_is_out: false,
        tls_is_due: false,
        closed: false,
        left: None,
    };
    world.settle();
    while !input.is_empty() {
        world.step(&mut input);
        world.settle();
    }
    world.wait_for_the_end();
}

struct World {
    client: Client,
    now: Monotonic,
    may_ask_for_tls: bool,
    /// Of each message.
    recipients: usize,
    /// Messages begun.
    begun: usize,
    /// What the peer said since the last message began.
    heard: Vec<u8>,
    /// Whether each recipient of the message under way has its verdict.
    fates: Vec<bool>,
    body_is_due: bool,
    /// The message and its dot were handed out, and reached the kernel.
    body_is_out: bool,
    tls_is_due: bool,
    closed: bool,
    /// What the session was told last of octets that did not reach the kernel,
    /// since the message began.
    left: Option<u64>,
}

/// Messages sent in one run.
const MESSAGES_MAX: usize = 6;

const HELLO: &[u8] =
    b"250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 DSN\r\n";

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() {
            0 => self.hear(b"220 ready\r\n"),
            1 => self.hear(HELLO),
            2 => self.hear(b"250 ok\r\n"),
            3 => self.hear(b"354 go\r\n"),
            4 => self.hear(b"550 5.1.1 no\r\n"),
            5 => self.hear(b"421 bye\r\n"),
            6 => self.hear(b"452 many\r\n"),
            7 => self.hear(b"250 mx\r\n"),
            8 => self.drained(0),
            9 => self.drained(1 + u64::from(input.byte())),
            10 => self.now = self.now + Duration::from_secs(u64::from(input.byte()) * 8),
            11 => {
                self.now = self.client.deadline().unwrap_or(self.now).max(self.now);
                self.client.timeout(self.now);
            }
            12 => self.client.closed(self.now, [Loss::PeerClosed, Loss::PeerReset][input.below(2)]),
            13 => self.client.quit(self.now),
            14 => self.client.tls_failed(self.now, "no"),
            15 => self.answer_well(),
            _ => self.hear(input.bytes()),
        }
        if self.client.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.client.timeout(self.now);
            let phase = self.client.phase();
            assert!(matches!(phase, Phase::Idle), "a wait went on: {phase:?}");
        }
    }

    fn drained(&mut self, left: u64) {
        self.left = Some(left);
        self.client.drained(self.now, left);
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        self.client.received(self.now, bytes);
    }

    /// What a good peer and a fast network would do next.
    fn answer_well(&mut self) {
        match self.client.phase() {
            Phase::Greeting | Phase::StartTls => self.hear(b"220 ok\r\n"),
            Phase::Hello => self.hear(HELLO),
            Phase::Data => self.hear(b"354 ok\r\n"),
            Phase::Body => self.drained(0),
            Phase::Tls => self.client.tls_established(self.now),
            Phase::Idle => {}
            _ => self.hear(b"250 ok\r\n"),
        }
        if std::mem::take(&mut self.tls_is_due) {
            self.client.tls_established(self.now);
        }
    }

    /// Does what the session asks for until it asks for nothing.
    fn settle(&mut self) {
        for _ in 0..64 {
            let Some(output) = self.client.poll() else {
                let rests = self.closed || self.body_is_due || self.client.phase() == Phase::Idle;
                let waits = self.client.deadline().is_some_and(|deadline| deadline > self.now);
                assert_eq!(waits, !rests, "a wait without end: {:?}", self.client.phase());
                return;
            };
            assert!(!self.closed, "{output:?} after the end");
            self.take(output);
        }
        panic!("the outputs do not end");
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Send(bytes) => {
                check_lines(&bytes);
                self.client.recycle(bytes);
            }
            Output::Body => {}
            Output::StartTls => {
                assert!(self.may_ask_for_tls && !self.client.in_tls());
                self.tls_is_due = true;
            }
            Output::Ready => self.begin(),
            Output::Done => {
                assert!(self.fates.iter().all(|known| *known), "a recipient has no verdict");
                self.begin();
            }
            Output::BodyDue => {
                self.client.continue_body(self.now);
                (self.body_is_out, self.left) = (true, None);
            }
            Output::Recipient { index, verdict } => self.verdict(index, &verdict),
            Output::Closed(closure) => {
                assert!(self.fates.iter().all(|known| *known), "a recipient has no verdict");
                let in_doubt = matches!(closure.verdict, Some(Verdict::InDoubt(_)));
                let delivered = matches!(closure.verdict, Some(Verdict::Delivered { .. }));
                assert!(!in_doubt && !delivered, "the end of a session says nothing of others");
                self.closed = true;
                self.body_is_due = false;
            }
        }
    }

    fn begin(&mut self) {
        self.fates.clear();
        self.heard.clear();
        self.body_is_out = false;
        if self.begun == MESSAGES_MAX {
            return;
        }
        let recipient = RecipientTo { address: "c@d.example", notify: Notify::UNSET, orcpt: None };
        let recipients = vec![recipient; self.recipients];
        let transaction = Transaction {
            sender: "a@b.example",
            recipients: &recipients,
            size: 9,
            body: Body::SevenBit,
            smtputf8: false,
            ret: None,
            envid: Some("QQ314159"),
        };
        if self.client.begin(self.now, &transaction).is_ok() {
            self.begun += 1;
            self.fates = vec![false; self.recipients];
        }
    }

    fn verdict(&mut self, index: usize, verdict: &Verdict) {
        assert!(!std::mem::replace(&mut self.fates[index], true), "two verdicts");
        match verdict {
            Verdict::Delivered { reply } => {
                let codes = codes(&self.heard).expect("only replies lead to a delivery");
                let expected = 1 + self.recipients + 2;
                assert!(self.body_is_out, "delivered before the message was sent");
                assert_eq!(self.left, Some(0), "a reply counts that came before the dot was out");
                assert!(codes.len() >= expected, "delivered without a reply to the dot: {codes:?}");
                let good = |code: u16| code / 100 == 2 && code / 10 != 22;
                assert!(
                    good(codes[0]) && good(codes[1 + index]),
                    "{index} was not taken: {codes:?}"
                );
                assert_eq!(codes[1 + self.recipients] / 100, 3, "no leave to send: {codes:?}");
                assert!(good(codes[expected - 1]), "delivered without a 2xx to the dot: {codes:?}");
                assert_eq!(codes[expected - 1], reply.code.number());
                let goodbye = codes[expected..].iter().all(|code| *code == 421);
                assert!(goodbye, "which reply was meant for the dot? {codes:?}");
            }
            Verdict::InDoubt(_) => assert!(self.body_is_out, "in doubt without a message"),
            Verdict::Failed(trouble) => {
                assert_eq!(trouble.status.class(), 5, "a failure for ever of {}", trouble.status);
            }
            Verdict::Deferred(_) | Verdict::LaterTransaction { .. } => {}
        }
    }

    /// The peer says no more: the session comes to its end by time alone.
    fn wait_for_the_end(&mut self) {
        for _ in 0..8 {
            self.client.quit(self.now);
            self.settle();
            match self.client.deadline() {
                Some(deadline) => self.now = deadline,
                None => break,
            }
            self.client.timeout(self.now);
            self.settle();
        }
        assert!(self.closed, "the session does not end");
        self.client.received(self.now, b"250 ok\r\n");
        self.client.closed(self.now, Loss::PeerClosed);
        assert_eq!(self.client.poll(), None, "something is done after the end");
    }
}

/// What is sent are whole command lines, or the final dot.
fn check_lines(bytes: &[u8]) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").expect("a command ends with CRLF");
        assert!(!text.is_empty() && line.len() <= COMMAND_LINE_BYTES_MAX);
        assert!(!text.iter().any(u8::is_ascii_control), "{}", line.escape_ascii());
    }
}

/// The codes of all whole replies in `bytes` up to a goodbye, behind which
/// nothing counts; none when something before it is no reply.
fn codes(bytes: &[u8]) -> Option<Vec<u16>> {
    let mut codes = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.ends_with(b"\n") && line.get(3) != Some(&b'-') {
            codes.push(str::from_utf8(line.get(..3)?).ok()?.parse().ok()?);
            if codes.last() == Some(&421) {
                break;
            }
        }
    }
    Some(codes)
}
