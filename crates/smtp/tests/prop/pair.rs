//! Our client and our server in memory: the one takes what the other sends.

use mail::{Envelope, Recipient};
use smtp::submission::Taken;
use smtp::{Extension, Extensions, Policy, Received, Verdict};

use super::*;

/// Refuses recipients by the first letter of their address.
struct ByLetter;

impl Policy for ByLetter {
    fn rcpt(&mut self, _: &Envelope, recipient: &Recipient) -> Result<Taken, Answer> {
        match recipient.address.local().as_bytes()[0] {
            b'x' => Err(Answer::new(550, Status::BAD_MAILBOX, "No such mailbox")),
            b't' => Err(Answer::new(450, Status::new(4, 2, 1), "Try later")),
            _ => Ok(Taken::AsIs),
        }
    }
}

/// A client and a server with a wire between them that cuts as it likes.
struct Pair<'a> {
    client: Client,
    server: Session,
    to_server: Vec<u8>,
    cuts: std::iter::Cycle<std::slice::Iter<'a, usize>>,
    received: Vec<Received>,
    verdicts: Vec<Option<Verdict>>,
    ready: bool,
    closed: bool,
}

impl<'a> Pair<'a> {
    fn new(offered: Extensions, recipients_max: usize, cuts: &'a [usize]) -> Self {
        let settings = Settings {
            extensions: offered,
            recipients_max,
            errors_max: 1_000,
            ..Settings::new(hostname())
        };
        let client = client::Settings {
            ehlo_name: "out.example".into(),
            tls: Tls::Opportunistic,
            timeouts: Timeouts::default(),
            pipelining: true,
            log_in: None,
            lmtp: false,
        };
        Self {
            client: Client::new(client, NOW),
            server: Session::new(Arc::new(settings), NOW),
            to_server: Vec::new(),
            cuts: cuts.iter().cycle(),
            received: Vec::new(),
            verdicts: Vec::new(),
            ready: false,
            closed: false,
        }
    }

    /// Lets both talk until nothing more is said.
    fn run(&mut self, body: &[u8]) {
        loop {
            self.client_turn(body);
            let size = (*self.cuts.next().expect("cuts repeat")).min(self.to_server.len());
            let quiet = size == 0;
            self.server.push(&self.to_server[..size]);
            self.to_server.drain(..size);
            let mut out = Vec::new();
            self.server_turn(&mut out);
            if quiet && out.is_empty() {
                return;
            }
            let mut rest = &out[..];
            while !rest.is_empty() {
                let (piece, after) =
                    rest.split_at((*self.cuts.next().expect("cuts repeat")).min(rest.len()));
                rest = after;
                self.client.received(NOW, piece);
                self.client_turn(body);
            }
        }
    }

    fn client_turn(&mut self, body: &[u8]) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Send(bytes) => {
                    self.to_server.extend_from_slice(&bytes);
                    self.client.recycle(bytes);
                }
                Output::Body => self.to_server.extend_from_slice(body),
                Output::BodyDue => self.client.continue_body(NOW),
                Output::Ready | Output::Done => self.ready = true,
                Output::Recipient { index, verdict } => {
                    assert!(self.verdicts[index].replace(verdict).is_none(), "two verdicts");
                }
                Output::StartTls => panic!("not offered"),
                Output::Closed(_) => self.closed = true,
            }
        }
        self.client.drained(NOW, 0);
        if self.client.phase() != Phase::Idle {
            assert!(self.client.deadline().is_some(), "a wait without end");
        }
    }

    fn server_turn(&mut self, out: &mut Vec<u8>) {
        loop {
            match self.server.advance(NOW, out, &mut ByLetter) {
                Progress::Message(received) => {
                    self.received.push(*received);
                    self.server.answer(NOW, &Answer::new(250, Status::OK, "Ok"), out);
                }
                Progress::NeedInput | Progress::StartTls | Progress::Close => return,
            }
        }
    }

    /// Sends one message; the recipients left for another transaction.
    fn send(&mut self, recipients: &[String], body: &[u8]) -> Vec<String> {
        assert!(std::mem::take(&mut self.ready), "not ready");
        let to: Vec<RecipientTo<'_>> = recipients
            .iter()
            .map(|address| RecipientTo { address, notify: Notify::FAILURE, orcpt: None })
            .collect();
        self.verdicts = vec![None; to.len()];
        let transaction = Transaction {
            sender: "\"odd sender\"@b.example",
            recipients: &to,
            size: unstuffed(body).len() as u64,
            body: if body.is_ascii() { Body::SevenBit } else { Body::EightBit },
            smtputf8: false,
            ret: None,
            envid: Some("id+2B1"),
        };
        self.client.begin(NOW, &transaction).expect("the message fits");
        self.run(body);
        let mut later = Vec::new();
        for (address, verdict) in recipients.iter().zip(&self.verdicts) {
            match (address.as_bytes()[0], verdict.as_ref().expect("all have a verdict")) {
                (b'x', Verdict::Failed(_)) | (b't', Verdict::Deferred(_)) => {}
                (b'g', Verdict::Delivered { .. }) => {}
                (_, Verdict::LaterTransaction { .. }) => later.push(address.clone()),
                (_, verdict) => panic!("{address}: {verdict:?}"),
            }
        }
        later
    }
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![1 => Just(b'.'), 3 => b' '..=b'~', 1 => 0x80u8..];
    let line = vec(byte, 0..30).prop_map(|mut line| {
        line.extend_from_slice(b"\r\n");
        line
    });
    vec(line, 0..12).prop_map(|lines| stuffed(&lines.concat()))
}

proptest! {
    /// Every message arrives byte for byte, for exactly those that were taken,
    /// whatever the cuts and the extensions.
    ///
    /// Covers: A1.23, A1.31, A2.31, A7.4, A7.5, B50
    #[test]
    fn prop_messages_arrive_whole(
        mails in vec((message(), vec("[gxt][a-z]{1,5}@d\\.example", 1..6)), 1..4),
        cuts in vec(1usize..200, 1..8),
        pipelining: bool,
        dsn: bool,
        recipients_max in 1usize..5,
    ) {
        let mut offered = Extensions::SUBMISSION;
        if !pipelining {
            offered = offered.without(Extension::Pipelining);
        }
        if !dsn {
            offered = offered.without(Extension::Dsn);
        }
        let mut pair = Pair::new(offered, recipients_max, &cuts);
        pair.run(&[]);
        for (body, recipients) in &mails {
            let mut good: Vec<String> =
                recipients.iter().filter(|address| address.starts_with('g')).cloned().collect();
            let mut left = recipients.clone();
            let before = pair.received.len();
            while !left.is_empty() {
                let later = pair.send(&left, body);
                prop_assert!(later.len() < left.len(), "no progress");
                left = later;
            }
            let mut got = Vec::new();
            for received in &pair.received[before..] {
                prop_assert_eq!(&received.body, body);
                prop_assert_eq!(received.envelope.sender.to_string(), "<\"odd sender\"@b.example>");
                for recipient in &received.envelope.recipients {
                    prop_assert_eq!(recipient.notify.is_set(), dsn);
                    prop_assert_eq!(recipient.orcpt.is_some(), dsn);
                    got.push(recipient.address.to_string());
                }
            }
            good.sort();
            got.sort();
            prop_assert_eq!(got, good);
        }
        pair.client.quit(NOW);
        pair.run(&[]);
        prop_assert!(pair.closed);
    }
}
