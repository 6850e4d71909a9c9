//! Messages as files: what is written comes back, what is broken is refused.

use super::*;

fn message() -> Exported {
    let recipient = |text: &str| Recipient::new(Address::parse(text, true).unwrap());
    let noted = Recipient {
        notify: Notify::parse(b"SUCCESS,DELAY").unwrap(),
        orcpt: Some("rfc822;first+40c.example".into()),
        ..recipient("\"a;b\\\" c\"@c.example")
    };
    let answer = LastAnswer {
        status: Status::parse(b"4.2.0").unwrap(),
        text: "450 \"greylisted\"; try = later \\ \u{e4}".into(),
        host: "mx1.c.example [192.0.2.1]:25".into(),
    };
    let standing = Standing {
        held: true,
        in_doubt: true,
        delay_noticed: true,
        crashes: 1,
        attempts: 7,
        next: Wall::from_millis(1_795_298_400_123),
        expires: Some(Wall::from_millis(1_795_898_400_123)),
        answer: Some(answer),
    };
    Exported {
        id: "0000000100001000".into(),
        envelope: Envelope {
            sender: ReversePath::parse("<s@a.example>", false).unwrap(),
            recipients: vec![recipient("b@b.example"), noted, recipient("j\u{f6}rg@d.example")],
            body: Body::EightBit,
            smtputf8: true,
            ret: Some(Return::Headers),
            envid: Some("QQ+2B314".into()),
        },
        past: Past {
            arrived: Wall::from_millis(1_795_000_000_007),
            client: Some("2001:db8::1".parse().unwrap()),
            helo: "client; \"odd\"".into(),
            standings: vec![Standing::default(), standing, Standing::default()],
        },
    }
}

fn file(exported: &Exported, wire: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(exported, wire, &mut out);
    out
}

/// Shows: A38
#[test]
fn what_is_written_comes_back_whatever_the_message_holds() {
    let wire = b"X-Receiver: <evil@e.example>\r\nX-Ringpost-Recipient: held\r\n\r\n..dot\r\n...\r\nend\r\n";
    let exported = message();
    let file = file(&exported, wire);
    let (back, text) = read(&file).unwrap();
    assert_eq!(back, exported);
    let plain =
        b"X-Receiver: <evil@e.example>\r\nX-Ringpost-Recipient: held\r\n\r\n.dot\r\n..\r\nend\r\n";
    assert_eq!(text, plain);
    let head = &file[..file.len() - plain.len()];
    assert!(head.split(|byte| *byte == b'\n').all(|line| line.len() < 800), "lines stay short");
    let unix = String::from_utf8(file.clone()).unwrap().replace("\r\n", "\n");
    assert_eq!(read(unix.as_bytes()).unwrap().0, exported, "as an editor may leave it");
    let mut bounce = message();
    bounce.envelope.sender = ReversePath::Null;
    bounce.past.client = None;
    bounce.past.helo = "".into();
    assert_eq!(read(&self::file(&bounce, b"..\r\n")).unwrap(), (bounce, &b".\r\n"[..]));
}

/// A file that was exported can be dropped into a pickup folder too: the
/// envelope is the same, and what only we understand stays with us.
#[test]
fn a_pickup_folder_understands_the_envelope() {
    let wire = b"From: s@a.example\r\nTo: list@a.example\r\n\r\nx\r\n";
    let exported = message();
    let (envelope, text) = crate::pickup::read(&file(&exported, wire)).unwrap();
    assert_eq!(envelope.sender, exported.envelope.sender);
    let to = |envelope: &Envelope| {
        envelope.recipients.iter().map(|to| to.address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(to(&envelope), to(&exported.envelope));
    assert_eq!(text, wire);
}

#[test]
fn what_is_not_understood_is_refused_with_its_reason() {
    let whole = String::from_utf8(file(&message(), b"x\r\n")).unwrap();
    for (from, to, words) in [
        ("X-Ringpost-Export", "Subject", "does not begin with"),
        ("Export: 1;", "Export: 2;", "version \"2\""),
        ("recipients=3", "recipients=4", "X-Receiver is missing"),
        ("recipients=3", "recipients=0", "X-Receiver is missing"),
        ("recipients=3", "recipients=65536", "recipients cannot be read"),
        (";\r\n recipients=3", "", "recipients is missing"),
        ("arrived=2026", "arrived=2O26", "arrived is a time"),
        ("body=8BITMIME", "body=BINARYMIME", "does not exist"),
        ("; smtputf8", "; smtputf9", "\"smtputf9\" is not known"),
        ("; smtputf8", "; smtputf8; smtputf8", "twice"),
        ("client=2001:db8::1", "client=nobody", "client cannot be read"),
        ("odd\\\"\"", "odd\\\"\" odd", "a semicolon is missing"),
        ("<s@a.example>", "<s@>", "X-Sender: "),
        ("<b@b.example>", "<b@>", "X-Receiver: "),
        ("X-Ringpost-Recipient: held", "X-Ringpost-Recipient: lost", "`held` or `waiting`"),
        ("attempts=7", "attempts=70000", "attempts cannot be read"),
        ("status=4.2.0", "status=greylisted", "no status code"),
        ("notify=\"SUCCESS", "notify=\"NEVER,SUCCESS", "stands alone"),
        ("rfc822;", "rfc822", "address type"),
        ("later \\\\ \u{e4}\"", "later", "a quote has no end"),
    ] {
        assert!(whole.contains(from), "{from}");
        let error = read(whole.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{from} -> {to}: {error}");
    }
    assert_eq!(read(b""), Err(ExportedError::PeerForm));
}

#[test]
fn a_message_is_narrowed_to_what_was_taken_out() {
    let mut exported = message();
    let odd = exported.envelope.recipients[1].address.to_string();
    assert!(exported.narrow(&[&odd, "nobody@b.example"]));
    assert_eq!(exported.envelope.recipients, message().envelope.recipients[1..2]);
    assert_eq!(exported.past.standings, message().past.standings[1..2]);
    let mut twice = message();
    twice.envelope.recipients[2] = twice.envelope.recipients[0].clone();
    assert!(twice.narrow(&["b@b.example"]));
    assert_eq!(twice.envelope.recipients.len(), 1);
    assert!(!twice.narrow(&[]));
}

#[test]
fn fields_are_read_up_to_their_bound() {
    let whole = file(&message(), b"x\r\n");
    let at = memchr::memmem::find(&whole, b"\r\nX-Sender:").unwrap();
    let fields = whole.len() - b"x\r\n".len();
    for (more, fits) in [(0, true), (1, false)] {
        let mut long = whole.clone();
        long.splice(at..at, std::iter::repeat_n(b' ', FIELDS_BYTES_MAX - fields + more));
        let read = read(&long).map(|(read, _)| read);
        let wanted = if fits { Ok(message()) } else { Err(ExportedError::PeerTooLarge) };
        assert_eq!(read, wanted, "{more}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let whole = file(&message(), b"x\r\n");
    let mut rng = base::Rng::new(11);
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            let at = rng.next_u64() as usize % bytes.len().max(1);
            match rng.next_u64() % 3 {
                0 if at < bytes.len() => bytes[at] = rng.next_u64() as u8,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        if let Ok((exported, text)) = read(&bytes) {
            let again = file(&exported, b"");
            assert_eq!(read(&again).unwrap().0, exported, "{}", String::from_utf8_lossy(&again));
            assert!(text.len() <= bytes.len());
        }
    }
}
