//! SMTP: replies read, messages taken, content watched.

use std::sync::Arc;

use ::smtp::reply::ReplyReader;
use ::smtp::submission::{Settings, TakeAll};
use ::smtp::{Answer, Progress, Session};
use base::Monotonic;
use mail::{Domain, Status};

use crate::Work;

const REPLIES: &[u8] = b"220 mx.example.net ESMTP ready\r\n\
    250-mx.example.net greets you\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ETRN\r\n\
    250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n\
    250 CHUNKING\r\n\
    250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n\
    250 2.0.0 Ok: queued as 4XyZ1234\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n221 2.0.0 Bye\r\n";

/// Reads the replies of a session, in one piece as they come from a socket.
pub(crate) fn reply() -> Work {
    Box::new(|| {
        let mut reader = ReplyReader::default();
        reader.push(REPLIES);
        let mut count = 0;
        while let Ok(Some(found)) = reader.next_reply() {
            count += u64::from(reader.reply(found).code.number() > 0);
        }
        count
    })
}

/// Takes a message over a session that is open.
pub(crate) fn submission() -> Work {
    let name = Domain::parse("mail.example.com").expect("a name");
    let now = Monotonic::from_millis(1_000);
    let mut session = Session::new(Arc::new(Settings::new(name)), now);
    let mut out = Vec::new();
    let mut policy = TakeAll;
    session.push(b"EHLO client.example.com\r\n");
    assert!(matches!(session.advance(now, &mut out, &mut policy), Progress::NeedInput));
    let mut flight = b"MAIL FROM:<ann@example.com> BODY=8BITMIME\r\n\
        RCPT TO:<bob@example.net>\r\nDATA\r\n"
        .to_vec();
    flight.extend_from_slice(&content(2_048));
    flight.extend_from_slice(b".\r\n");
    let taken = Answer::new(250, Status::new(2, 0, 0), "Kept");
    Box::new(move || {
        out.clear();
        session.push(&flight);
        let mut count = 0;
        while let Progress::Message(_) = session.advance(now, &mut out, &mut policy) {
            count += 1;
            session.answer(now, &taken, &mut out);
        }
        count
    })
}

/// Watches content for its end.
pub(crate) fn data() -> Work {
    let mut wire = content(50 * 1_024);
    wire.extend_from_slice(b".\r\n");
    let name = Domain::parse("mail.example.com").expect("a name");
    let now = Monotonic::from_millis(1_000);
    let mut session = Session::new(Arc::new(Settings::new(name)), now);
    let (mut out, mut policy) = (Vec::new(), TakeAll);
    session.push(b"EHLO client.example.com\r\n");
    let begin = b"MAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n";
    let taken = Answer::new(250, Status::new(2, 0, 0), "Kept");
    Box::new(move || {
        out.clear();
        session.push(begin);
        let mut count = 0;
        // As from a socket that is read 16 KiB at a time.
        for piece in wire.chunks(16 * 1_024) {
            session.push(piece);
            while let Progress::Message(_) = session.advance(now, &mut out, &mut policy) {
                count += 1;
                session.answer(now, &taken, &mut out);
            }
        }
        count
    })
}

/// A message of about so many bytes with a usual header, a dotted line now and
/// then, stuffed as it goes over the wire.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    let mut text = b"From: Ann <ann@example.com>\r\nTo: Bob <bob@example.net>\r\n\
        Subject: what was agreed\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n\
        Message-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n\r\n"
        .to_vec();
    let mut line = 0;
    while text.len() < bytes {
        line += 1;
        let begin: &[u8] = if line % 16 == 0 { b".." } else { b"a" };
        text.extend_from_slice(begin);
        text.extend(std::iter::repeat_n(b'x', 60 + line % 15));
        text.extend_from_slice(b"\r\n");
    }
    text
}
