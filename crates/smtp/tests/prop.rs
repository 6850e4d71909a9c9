//! Properties of both sides, over random bytes, cuts and orders of events.

#[path = "prop/pair.rs"]
mod pair;

use std::sync::Arc;

use base::Monotonic;
use base::limits::REPLY_TEXT_BYTES_MAX;
use mail::{Body, Domain, Notify, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use smtp::chunking::ChunkReader;
use smtp::data::DataReader;
use smtp::reply::ReplyReader;
use smtp::submission::{Settings, TakeAll};
use smtp::{
    Answer, Client, Loss, Output, Phase, Progress, RecipientTo, Session, Timeouts, Tls,
    Transaction, client,
};

/// Bytes that make trouble, and few others.
fn nasty(bytes_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => Just(b'\r'), 4 => Just(b'\n'), 3 => Just(b'.'), 1 => Just(0), 2 => Just(b'a'),
        1 => Just(0xe9)
    ];
    let crlf = prop_oneof![3 => byte.prop_map(|byte| vec![byte]), 2 => Just(b"\r\n".to_vec())];
    vec(crlf, 0..bytes_max).prop_map(|pieces| pieces.concat())
}

/// `bytes` in pieces of the sizes that `cuts` gives, over and over.
fn cut<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut sizes = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let size = (*sizes.next()?).min(rest.len());
        let (piece, after) = rest.split_at(size);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// What stands before the final dot, and how many bytes that dot ends at, by
/// the words of RFC 5321 §4.1.1.4.
fn content_of(bytes: &[u8]) -> Option<(&[u8], usize)> {
    if bytes.starts_with(b".\r\n") {
        return Some((&[], 3));
    }
    let at = bytes.windows(5).position(|window| window == b"\r\n.\r\n")?;
    Some((&bytes[..at + 2], at + 5))
}

/// Whether `content` is lines and nothing else.
fn is_clean(content: &[u8]) -> bool {
    let text: Vec<u8> = content.iter().copied().filter(|byte| *byte != b'\r').collect();
    let lines = content.split(|byte| *byte == b'\n').count() - 1;
    let crlf = content.windows(2).filter(|window| window == b"\r\n").count();
    lines == crlf && content.len() - text.len() == crlf && !content.contains(&0)
}

fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let lines = wire.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
}

fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire
}

proptest! {
    /// Covers: A1.1, B84
    #[test]
    fn prop_data_ends_where_the_standard_says(
        bytes in nasty(40), cuts in vec(1usize..7, 1..5),
    ) {
        let mut reader = DataReader::new(1 << 20, 0);
        let mut used = 0;
        for piece in cut(&bytes, &cuts) {
            used += reader.take(piece);
            if reader.has_ended() {
                break;
            }
        }
        let expected = content_of(&bytes);
        prop_assert_eq!(reader.has_ended(), expected.is_some());
        if let Some((content, end)) = expected {
            prop_assert_eq!(used, end);
            match reader.finish() {
                Ok(read) => {
                    prop_assert!(is_clean(content));
                    prop_assert_eq!(&read.body[..], content);
                    prop_assert_eq!(read.size, unstuffed(content).len() as u64);
                    prop_assert_eq!(read.eight_bit, !content.is_ascii());
                }
                Err(_) => prop_assert!(!is_clean(content)),
            }
        }
    }

    /// Covers: A1.23, A6.9
    #[test]
    fn prop_chunks_come_back_unstuffed(bytes in nasty(40), cuts in vec(1usize..7, 1..5)) {
        let mut reader = ChunkReader::new(1 << 20, 0);
        cut(&bytes, &cuts).for_each(|piece| reader.take(piece));
        let mut expected = bytes.clone();
        if !expected.is_empty() && !expected.ends_with(b"\n") {
            expected.extend_from_slice(b"\r\n");
        }
        match reader.finish() {
            Ok(content) => {
                prop_assert!(is_clean(&expected));
                prop_assert_eq!(unstuffed(&content.body), &expected[..]);
                prop_assert_eq!(content_of(&content.body), None);
            }
            Err(_) => prop_assert!(!is_clean(&expected)),
        }
    }

    /// Covers: A2.5
    #[test]
    fn prop_replies_are_read_the_same_in_any_cuts(
        lines in vec((prop_oneof![Just("250"), Just("550"), Just("2"), Just("")],
                      prop_oneof![Just("-"), Just(" "), Just("")], vec(any::<u8>(), 0..20)), 0..8),
        cuts in vec(1usize..9, 1..5),
    ) {
        let mut bytes = Vec::new();
        for (code, separator, text) in lines {
            bytes.extend_from_slice(code.as_bytes());
            bytes.extend_from_slice(separator.as_bytes());
            bytes.extend_from_slice(&text);
            bytes.extend_from_slice(b"\r\n");
        }
        let read = |cuts: &[usize]| {
            let mut reader = ReplyReader::default();
            let mut replies = Vec::new();
            for piece in cut(&bytes, cuts) {
                reader.push(piece);
                loop {
                    match reader.next_reply() {
                        Ok(Some(found)) => replies.push(Ok(reader.reply(found))),
                        Ok(None) => break,
                        Err(fault) => {
                            replies.push(Err(fault));
                            return replies;
                        }
                    }
                }
            }
            replies
        };
        let whole = read(&[bytes.len().max(1)]);
        prop_assert_eq!(&read(&cuts), &whole);
        for reply in whole.into_iter().flatten() {
            prop_assert!(reply.text.len() <= REPLY_TEXT_BYTES_MAX);
            prop_assert!(!reply.text.chars().any(char::is_control));
        }
    }
}

const NOW: Monotonic = Monotonic::from_millis(5);

fn hostname() -> Domain {
    Domain::parse("mx.example").expect("a name")
}

/// One thing that a peer, the network or the caller does.
fn happen(
    client: &mut Client,
    now: &mut Monotonic,
    kind: u8,
    bytes: &[u8],
    hello: &[u8],
    due: bool,
) {
    match kind {
        0 => client.received(*now, bytes),
        1 => client.received(*now, hello),
        2 | 3 => client.received(*now, b"250 ok\r\n"),
        4 => client.received(*now, b"220 ok\r\n"),
        5 => client.received(*now, b"354 ok\r\n"),
        6 => client.received(*now, b"550 no\r\n"),
        7 => client.received(*now, b"45"),
        8 => client.received(*now, b"2 no\r\n"),
        9 => client.drained(*now, u64::from(bytes.len() > 6)),
        10 => client.tls_established(*now),
        11 if due => client.continue_body(*now),
        12 if bytes.len() > 10 => {
            *now = client.deadline().unwrap_or(*now);
            client.timeout(*now);
        }
        13 if bytes.len() > 10 => client.closed(*now, Loss::PeerReset),
        14.. => match client.phase() {
            Phase::Greeting | Phase::StartTls => client.received(*now, b"220 ok\r\n"),
            Phase::Hello => client.received(*now, hello),
            Phase::Tls => client.tls_established(*now),
            Phase::Data => client.received(*now, b"354 ok\r\n"),
            Phase::Body if due => client.continue_body(*now),
            Phase::Body => client.drained(*now, 0),
            Phase::Idle => {}
            _ => client.received(*now, b"250 ok\r\n"),
        },
        _ => {}
    }
}

proptest! {
    /// Whatever happens, the client does not panic, keeps one verdict for each
    /// recipient, and says nothing after its end.
    ///
    /// Covers: B44, B48
    #[test]
    fn prop_client_survives_anything(
        events in vec((0u8..28, vec(any::<u8>(), 0..12)), 0..60), pipelining: bool,
    ) {
        let settings = client::Settings {
            ehlo_name: "out.example".into(),
            tls: Tls::Opportunistic,
            timeouts: Timeouts::default(),
            pipelining: true,
            log_in: None,
            lmtp: false,
        };
        let mut client = Client::new(settings, NOW);
        let hello: &[u8] =
            if pipelining { b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n" } else { b"250 mx\r\n" };
        let recipient = RecipientTo { address: "c@d.example", notify: Notify::UNSET, orcpt: None };
        let recipients = [recipient; 3];
        let (mut ready, mut due, mut closed, mut now) = (false, false, false, NOW);
        let mut fates: Vec<bool> = Vec::new();
        for (kind, bytes) in events {
            happen(&mut client, &mut now, kind, &bytes, hello, due);
            due &= client.phase() == Phase::Body && client.deadline().is_none();
            while let Some(output) = client.poll() {
                prop_assert!(!closed, "{output:?} after the end");
                match output {
                    Output::Ready => ready = true,
                    Output::BodyDue => due = true,
                    Output::Recipient { index, .. } => {
                        prop_assert!(!std::mem::replace(&mut fates[index], true));
                    }
                    Output::Done => {
                        prop_assert!(fates.iter().all(|known| *known));
                        ready = true;
                    }
                    Output::Closed(_) => {
                        prop_assert!(fates.iter().all(|known| *known));
                        closed = true;
                    }
                    Output::Send(_) | Output::Body | Output::StartTls => {}
                }
                if closed {
                    (ready, due) = (false, false);
                }
                if std::mem::take(&mut ready) {
                    fates = vec![false; 3];
                    let transaction = Transaction {
                        sender: "",
                        recipients: &recipients,
                        size: 9,
                        body: Body::SevenBit,
                        smtputf8: false,
                        ret: None,
                        envid: None,
                    };
                    client.begin(now, &transaction).expect("the message fits");
                }
            }
            prop_assert_eq!(closed, client.deadline().is_none() && !due);
        }
    }

    /// Whatever a client sends, in any cuts: the same replies and messages, and
    /// every line of a reply well formed.
    ///
    /// Covers: A1.1, A1.19, A3.2, A6.6, B84, B94
    #[test]
    fn prop_server_survives_anything(
        pieces in vec(prop_oneof![
            Just(b"EHLO a.example\r\n".to_vec()),
            Just(b"MAIL FROM:<a@b.example>\r\n".to_vec()),
            Just(b"RCPT TO:<c@d.example> NOTIFY=NEVER\r\n".to_vec()),
            Just(b"DATA\r\n".to_vec()),
            Just(b"BDAT 5\r\n".to_vec()),
            Just(b"BDAT 3 LAST\r\n".to_vec()),
            Just(b"RSET\r\n".to_vec()),
            Just(b".\r\n".to_vec()),
            Just(b"\r\n.\r\n".to_vec()),
            vec(any::<u8>(), 0..20),
            nasty(6),
        ], 0..30),
        cuts in vec(1usize..40, 1..6),
    ) {
        let bytes = pieces.concat();
        let settings = Arc::new(Settings::new(hostname()));
        let serve = |cuts: &[usize]| {
            let mut session = Session::new(settings.clone(), NOW);
            let (mut out, mut bodies) = (Vec::new(), Vec::new());
            for piece in std::iter::once(&b""[..]).chain(cut(&bytes, cuts)) {
                session.push(piece);
                loop {
                    match session.advance(NOW, &mut out, &mut TakeAll) {
                        Progress::Message(received) => {
                            bodies.push(received.body);
                            session.answer(NOW, &Answer::new(250, Status::OK, "Ok"), &mut out);
                        }
                        Progress::NeedInput | Progress::StartTls => break,
                        Progress::Close => return (out, bodies),
                    }
                }
            }
            (out, bodies)
        };
        let (out, bodies) = serve(&[bytes.len().max(1)]);
        let (out_cut, bodies_cut) = serve(&cuts);
        prop_assert_eq!(&bodies, &bodies_cut);
        prop_assert_eq!(out.escape_ascii().to_string(), out_cut.escape_ascii().to_string());
        for line in out.split_inclusive(|byte| *byte == b'\n') {
            prop_assert!(line.ends_with(b"\r\n"));
            prop_assert!(line.len() <= 512);
            prop_assert!(line[..line.len() - 2].iter().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert!(line[..3].iter().all(u8::is_ascii_digit));
        }
        for body in bodies {
            prop_assert!(is_clean(&body));
            prop_assert!(body.is_empty() || body.ends_with(b"\r\n"));
            prop_assert_eq!(content_of(&body), None);
        }
    }
}
