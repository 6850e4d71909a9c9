//! The exchangers spoken to by hand, stage by stage.

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn connect(sinks: &Sinks) -> Self {
        let stream = TcpStream::connect(sinks.first()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Sends `text` and returns the last line of one reply; empty at the end.
    fn say(&mut self, text: &str) -> String {
        if !text.is_empty() {
            self.reader.get_mut().write_all(text.as_bytes()).unwrap();
        }
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).is_err() || line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    fn code(&mut self, text: &str) -> String {
        self.say(text).chars().take(3).collect()
    }

    /// The codes of a whole session with one message.
    fn session(&mut self) -> Vec<String> {
        let steps = [
            "",
            "EHLO x\r\n",
            "MAIL FROM:<a@x.example>\r\n",
            "RCPT TO:<b@y.example>\r\n",
            "DATA\r\n",
            "Subject: hi\r\n\r\nbody\r\n.\r\n",
            "RSET\r\n",
            "QUIT\r\n",
        ];
        let mut codes = Vec::new();
        for step in steps {
            codes.push(self.code(step));
            if codes.last().is_some_and(|code| code.is_empty()) {
                break;
            }
        }
        codes
    }

    /// Whether the connection ends, or something is said, before the read gives up.
    fn speaks_or_ends(&mut self) -> bool {
        self.reader.get_mut().read(&mut [0; 1]).is_ok()
    }

    /// Whether nothing is said for a moment; late words are not noticed.
    fn is_silent(&mut self) -> bool {
        let stream = self.reader.get_ref();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let kind = self.reader.get_mut().read(&mut [0; 1]).map_err(|error| error.kind());
        matches!(kind, Err(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }
}

fn sinks(rules: Vec<Rule>) -> Sinks {
    Sinks::start(SinkSettings { rules, keep_max: 10, ..SinkSettings::default() }).unwrap()
}

const USUAL: [&str; 8] = ["220", "250", "250", "250", "354", "250", "250", "221"];

#[test]
fn without_rules_everything_is_taken() {
    let sinks = sinks(Vec::new());
    assert_eq!(Client::connect(&sinks).session(), USUAL);
    let report = sinks.report();
    assert_eq!((report.foreign, report.connections, report.peak), (1, 1, 1));
    assert_eq!(report.kept[0].content, b"Subject: hi\r\n\r\nbody\r\n");
    assert_eq!(report.kept[0].sender(), "a@x.example");
}

/// Each stage, its place in [`USUAL`], a reply there, the codes up to the end
/// or to a refused DATA (content after that would be read as commands), and
/// the messages taken.
#[test]
fn a_reply_replaces_the_usual_one_at_each_stage() {
    let stages = [
        (Stage::Greeting, "554 5.3.2 no", "554 503 503 503 503", 0),
        (Stage::Ehlo, "502 5.5.1 no", "220 502 250 250 354 250 250 221", 1),
        (Stage::Mail, "451 4.3.0 no", "220 250 451 503 554", 0),
        (Stage::Rcpt, "550 5.1.1 no", "220 250 250 550 554", 0),
        (Stage::Data, "451 4.3.0 no", "220 250 250 250 451", 0),
        (Stage::Dot, "552 5.3.4 no", "220 250 250 250 354 552 250 221", 0),
        (Stage::Answer, "251 2.0.0 yes", "220 250 250 250 354 251 250 221", 1),
        (Stage::Rset, "500 5.5.1 no", "220 250 250 250 354 250 500 221", 1),
        (Stage::Quit, "250 2.0.0 yes", "220 250 250 250 354 250 250 250", 1),
    ];
    for (stage, reply, codes, taken) in stages {
        let sinks = sinks(vec![Rule::reply(stage, reply)]);
        let expected: Vec<&str> = codes.split(' ').collect();
        let mut got = Client::connect(&sinks).session();
        got.truncate(expected.len());
        assert_eq!(got, expected, "{stage:?}");
        assert_eq!(sinks.report().foreign, taken, "{stage:?}");
    }
}

#[test]
fn the_connection_drops_at_each_stage() {
    let stages = [
        (Stage::Greeting, 0, 0),
        (Stage::Ehlo, 1, 0),
        (Stage::Mail, 2, 0),
        (Stage::Rcpt, 3, 0),
        (Stage::Data, 4, 0),
        (Stage::Content, 5, 0),
        (Stage::Dot, 5, 0),
        (Stage::Answer, 5, 1),
        (Stage::Rset, 6, 1),
        (Stage::Quit, 7, 1),
    ];
    for act in [Act::Drop, Act::Reset] {
        for (stage, place, taken) in stages {
            let sinks = sinks(vec![Rule::new(stage, act.clone())]);
            let codes = Client::connect(&sinks).session();
            assert_eq!(codes.len(), place + 1, "{stage:?}");
            assert_eq!(codes[place], "", "{stage:?}");
            assert_eq!(codes[..place], USUAL[..place], "{stage:?}");
            assert_eq!(sinks.report().foreign, taken, "{stage:?}");
        }
    }
}

#[test]
fn a_stalled_stage_is_silent_and_keeps_the_connection() {
    for act in [Act::Stall, Act::StopReading] {
        let sinks = sinks(vec![Rule::new(Stage::Rcpt, act)]);
        let mut client = Client::connect(&sinks);
        for step in ["", "EHLO x\r\n", "MAIL FROM:<a@x>\r\n"] {
            client.say(step);
        }
        client.reader.get_mut().write_all(b"RCPT TO:<b@y>\r\nNOOP\r\n").unwrap();
        assert!(client.is_silent());
        assert_eq!(sinks.progress().open, 1);
    }
}

#[test]
fn a_delay_puts_the_usual_reply_off() {
    let span = Duration::from_millis(60);
    let sinks = sinks(vec![Rule::new(Stage::Mail, Act::Delay(span))]);
    let mut client = Client::connect(&sinks);
    let began = Instant::now();
    assert_eq!(client.session(), USUAL);
    assert!(began.elapsed() >= span);
}

#[test]
fn starttls_is_offered_by_rule_and_its_handshake_stalls_or_breaks() {
    let acts = [(Act::Accept, true), (Act::Drop, false), (Act::Reply("garbage".into()), false)];
    for (act, silent) in acts {
        let sinks = sinks(vec![Rule::new(Stage::Handshake, act.clone())]);
        let mut client = Client::connect(&sinks);
        client.say("");
        assert_eq!(client.say("EHLO x\r\n"), "250 STARTTLS");
        assert_eq!(client.code("STARTTLS\r\n"), "220");
        client.reader.get_mut().write_all(b"\x16\x03\x01 client hello").unwrap();
        assert!(if silent { client.is_silent() } else { client.speaks_or_ends() }, "{act:?}");
    }
    let sinks = sinks(Vec::new());
    let mut client = Client::connect(&sinks);
    client.say("");
    assert_eq!(client.say("EHLO x\r\n"), "250 DSN");
    assert_eq!(client.code("STARTTLS\r\n"), "500");
}

#[test]
fn recipients_beyond_a_bound_get_452_and_a_421_closes() {
    let beyond = |stage, text, count| Rule::reply(stage, text).when(When::Beyond(count));
    let sinks = sinks(vec![
        beyond(Stage::Rcpt, "452 4.5.3 Too many recipients", 2),
        beyond(Stage::Mail, "421 4.7.0 Enough", 1),
    ]);
    let mut client = Client::connect(&sinks);
    for step in ["", "EHLO x\r\n", "MAIL FROM:<>\r\n"] {
        client.say(step);
    }
    let codes: Vec<String> = (0..4).map(|n| client.code(&format!("RCPT TO:<{n}@y>\r\n"))).collect();
    assert_eq!(codes, ["250", "250", "452", "452"]);
    assert_eq!(client.code("DATA\r\n"), "354");
    assert_eq!(client.code(".\r\n"), "250");
    assert_eq!(sinks.report().kept[0].recipients().collect::<Vec<_>>(), ["0@y", "1@y"]);
    assert_eq!(client.code("MAIL FROM:<>\r\n"), "421");
    assert_eq!(client.code(""), "");
}

#[test]
fn rules_can_change_while_a_session_runs() {
    let sinks = sinks(Vec::new());
    let mut client = Client::connect(&sinks);
    assert_eq!(client.code(""), "220");
    assert_eq!(client.code("EHLO x\r\n"), "250");
    sinks.set_rules(vec![Rule::reply(Stage::Mail, "450 4.2.0 later")]);
    assert_eq!(client.code("MAIL FROM:<>\r\n"), "450");
    sinks.set_rules(Vec::new());
    assert_eq!(client.code("MAIL FROM:<>\r\n"), "250");
}

#[test]
fn bytes_may_come_one_by_one_or_all_at_once() {
    let text = "EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n..a\r\n.\r\nQUIT\r\n";
    for chunk in [1, 3, text.len()] {
        let sinks = sinks(Vec::new());
        let mut client = Client::connect(&sinks);
        client.reader.get_mut().set_nodelay(true).unwrap();
        for piece in text.as_bytes().chunks(chunk) {
            client.reader.get_mut().write_all(piece).unwrap();
        }
        let codes: Vec<String> = (0..7).map(|_| client.code("")).collect();
        assert_eq!(codes, ["220", "250", "250", "250", "354", "250", "221"]);
        assert_eq!(sinks.report().kept[0].content, b".a\r\n");
    }
}

#[test]
fn bare_line_feeds_and_endless_lines_are_refused() {
    let sinks = sinks(Vec::new());
    let mut client = Client::connect(&sinks);
    client.say("");
    assert_eq!(client.code("NOOP\n"), "500");
    assert_eq!(client.code(&"x".repeat(70_000)), "");
}

#[test]
fn many_addresses_share_one_port_and_are_counted_apart() {
    let addresses: Vec<IpAddr> = (1..=40).map(|last| IpAddr::from([127, 0, 9, last])).collect();
    let settings =
        SinkSettings { addresses: addresses.clone(), threads: 2, ..SinkSettings::default() };
    let sinks = Sinks::start(settings).unwrap();
    for address in &addresses[..3] {
        let stream = TcpStream::connect((*address, sinks.port())).unwrap();
        let mut client = Client { reader: BufReader::new(stream) };
        assert_eq!(client.session(), USUAL);
    }
    let hosts = sinks.report().hosts;
    assert_eq!(hosts.iter().map(|host| host.messages).sum::<u64>(), 3);
    assert_eq!((hosts[2].connections, hosts[2].peak, hosts[3].connections), (1, 1, 0));
    assert!(
        Sinks::start(SinkSettings { addresses: Vec::new(), ..SinkSettings::default() }).is_err()
    );
}
