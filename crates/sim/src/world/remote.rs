//! The far end of one connection: an exchanger's side of the dialogue, by its
//! host's script.
//!
//! Shares no code with the client it talks to, so that a fault common to both
//! sides of `smtp` cannot hide. Strict: only CRLF ends a line, only CRLF.CRLF
//! the content; each command has one reply, in order.

use std::sync::Arc;

use base::{Monotonic, Now};
use mail::{Body, Notify};
use smtp::Extension;

use super::host::{Act, Got, Host, Stage, Temper};
use crate::observation::{Addressee, Command, Taken, Text, Verb, notify};

/// The far end of one connection.
#[derive(Debug)]
pub struct Remote {
    tls: bool,
    deaf: bool,
    /// What the client called itself.
    hello: Option<String>,
    /// Greeted by EHLO: what the host offers may be used.
    extended: bool,
    input: Vec<u8>,
    open: Option<Open>,
    /// Content so far, between 354 and the final dot.
    content: Option<Content>,
    messages: u32,
}

/// A transaction.
#[derive(Debug)]
struct Open {
    sender: Text,
    ret: u8,
    envid: Option<Text>,
    /// What the body was declared to be.
    kind: Body,
    to: Vec<Addressee>,
    asked: u32,
}

#[derive(Debug, Default)]
struct Content {
    /// As it came, dots and all.
    wire: Vec<u8>,
    touched: bool,
}

/// What a host does about what it heard, in order.
#[derive(Debug, Default)]
pub struct Reaction {
    /// What was heard and taken.
    pub facts: Vec<Fact>,
    /// What it says.
    pub says: Vec<Reply>,
    /// Whether it closes then.
    pub closes: bool,
}

/// What an exchanger learned.
#[derive(Debug)]
pub enum Fact {
    /// A command.
    Heard(Command),
    /// Some content.
    Progress,
    /// A message, kept.
    Took(Arc<Taken>),
}

/// One reply on its way.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What it answers.
    pub to: Verb,
    /// Its code.
    pub code: u16,
    /// All its lines.
    pub bytes: Vec<u8>,
}

impl Remote {
    /// The far end of a connection that has just been made, and its greeting.
    pub fn new(host: &mut Host) -> (Self, Reaction) {
        let mut remote = Self {
            tls: false,
            deaf: false,
            hello: None,
            extended: false,
            input: Vec::new(),
            open: None,
            content: None,
            messages: 0,
        };
        let mut reaction = Reaction::default();
        let full = host.kind.connections_max.is_some_and(|most| host.open > most);
        match host.strikes(Stage::Greeting) {
            None if full => remote.say(host, &mut reaction, Verb::Greeting, 421, "too many"),
            None => remote.say(host, &mut reaction, Verb::Greeting, 220, "mx.remote.example"),
            Some(act) => remote.act(host, &mut reaction, Verb::Greeting, act),
        }
        (remote, reaction)
    }

    /// Whether it will never react again.
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// The far end is gone, and nobody is told.
    pub fn vanish(&mut self) {
        self.deaf = true;
    }

    /// Bytes arrived.
    pub fn hear(&mut self, host: &mut Host, now: Now, bytes: &[u8]) -> Reaction {
        let mut reaction = Reaction::default();
        if self.content.is_some() {
            reaction.facts.push(Fact::Progress);
        }
        let mut rest = bytes;
        while !self.deaf && !rest.is_empty() {
            let end = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
            let (piece, after) = rest.split_at(end);
            rest = after;
            if self.content.is_some() {
                self.content_piece(host, now, piece, &mut reaction);
            } else {
                self.input.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    let line = std::mem::take(&mut self.input);
                    self.line(host, now, &line, &mut reaction);
                }
            }
        }
        reaction
    }

    /// The handshake is done: a fresh session without greeting.
    pub fn secured(&mut self) {
        (self.tls, self.hello, self.open) = (true, None, None);
        self.input.clear();
    }

    fn line(&mut self, host: &mut Host, now: Now, line: &[u8], reaction: &mut Reaction) {
        let text = String::from_utf8_lossy(line);
        let Some(text) = text.strip_suffix("\r\n") else {
            reaction.facts.push(Fact::Heard(Command::Other));
            return self.say(host, reaction, Verb::Other, 500, "bare LF");
        };
        let command = Command::read(text);
        let verb = command.verb();
        reaction.facts.push(Fact::Heard(command.clone()));
        match command {
            Command::Hello => self.hello(host, text, reaction),
            Command::StartTls if host.starttls && !self.tls => {
                self.say(host, reaction, verb, 220, "go ahead");
            }
            Command::Mail(sender) => self.mail(host, sender, text, reaction),
            Command::Rcpt(to) => self.rcpt(host, now.mono, to, text, reaction),
            Command::Data => self.data(host, reaction),
            Command::Reset => {
                self.open = None;
                self.say(host, reaction, verb, 250, "forgotten");
            }
            Command::Quit => self.say(host, reaction, verb, 221, "bye"),
            Command::StartTls | Command::Dot | Command::Other => {
                self.say(host, reaction, verb, 502, "not known here");
            }
        }
    }

    fn hello(&mut self, host: &mut Host, text: &str, reaction: &mut Reaction) {
        let says = |word: &str| text.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(word));
        if says("LHLO") != host.kind.lmtp {
            return self.say(host, reaction, Verb::Hello, 500, "wrong protocol");
        }
        let esmtp = says("EHLO") || says("LHLO");
        if esmtp && let Some(act) = host.strikes(Stage::Ehlo) {
            return self.act(host, reaction, Verb::Hello, act);
        }
        if esmtp && host.kind.no_ehlo {
            return self.say(host, reaction, Verb::Hello, 502, "not known here");
        }
        self.hello = Some(text.split(' ').nth(1).unwrap_or_default().to_owned());
        self.extended = esmtp;
        self.open = None;
        let mut bytes = Vec::new();
        if esmtp {
            bytes.extend_from_slice(b"250-mx.remote.example\r\n");
            let size = host.kind.size_max.unwrap_or(50 << 20);
            for (extension, keyword) in OFFERS {
                if host.extensions.has(extension) {
                    bytes.extend_from_slice(format!("250-{keyword}\r\n").as_bytes());
                }
            }
            if host.extensions.has(Extension::Size) {
                bytes.extend_from_slice(format!("250-SIZE {size}\r\n").as_bytes());
            }
            if host.starttls && !self.tls {
                bytes.extend_from_slice(b"250-STARTTLS\r\n");
            }
        }
        bytes.extend_from_slice(b"250 HELP\r\n");
        reaction.says.push(Reply { to: Verb::Hello, code: 250, bytes });
    }

    fn mail(&mut self, host: &mut Host, sender: Text, text: &str, reaction: &mut Reaction) {
        if self.hello.is_none() || self.open.is_some() {
            return self.say(host, reaction, Verb::Mail, 503, "not now");
        }
        if let Some(act) = host.strikes(Stage::Mail) {
            return self.act(host, reaction, Verb::Mail, act);
        }
        let spent = host.kind.messages_max.is_some_and(|most| self.messages >= most);
        if spent {
            return self.say(host, reaction, Verb::Mail, 421, "enough for now");
        }
        let ret = parameter(text, "RET").map_or(0, |ret| ret.as_bytes()[0]);
        let envid = parameter(text, "ENVID").map(Text::from);
        let eight_bit = parameter(text, "BODY").is_some_and(|body| body == "8BITMIME");
        let kind = if eight_bit { Body::EightBit } else { Body::SevenBit };
        self.open = Some(Open { sender, ret, envid, kind, to: Vec::new(), asked: 0 });
        self.say(host, reaction, Verb::Mail, 250, "sender");
    }

    fn rcpt(
        &mut self,
        host: &mut Host,
        now: Monotonic,
        to: Text,
        text: &str,
        reaction: &mut Reaction,
    ) {
        let Some(open) = &mut self.open else {
            return self.say(host, reaction, Verb::Rcpt, 503, "MAIL first");
        };
        if let Some(act) = host.strikes(Stage::Rcpt) {
            return self.act(host, reaction, Verb::Rcpt, act);
        }
        if host.temper.as_mut().is_some_and(Temper::strikes) {
            return self.say(host, reaction, Verb::Rcpt, 451, "not just now");
        }
        open.asked += 1;
        let too_many = host.kind.recipients_max.is_some_and(|most| open.asked > most);
        let pair = (open.sender.clone(), to.clone());
        let (code, words) = match host.kind {
            _ if too_many => (452, "too many recipients"),
            kind if kind.mailboxes && to.starts_with("no-") => (550, "no such user"),
            kind if kind.mailboxes && to.starts_with("later-") => (451, "come back later"),
            kind => match kind.greylisting {
                Some(wait) if now.since(*host.grey.entry(pair).or_insert(now)) < wait => {
                    (451, "greylisted")
                }
                _ => {
                    let orcpt = parameter(text, "ORCPT").map(Text::from);
                    let notify = parameter(text, "NOTIFY").map_or(notify::ABSENT, notify_bits);
                    open.to.push(Addressee { address: to, notify, orcpt });
                    (250, "recipient")
                }
            },
        };
        self.say(host, reaction, Verb::Rcpt, code, words);
    }

    fn data(&mut self, host: &mut Host, reaction: &mut Reaction) {
        if self.open.as_ref().is_none_or(|open| open.to.is_empty()) {
            return self.say(host, reaction, Verb::Data, 503, "no recipient");
        }
        if let Some(act) = host.strikes(Stage::Data) {
            return self.act(host, reaction, Verb::Data, act);
        }
        self.content = Some(Content::default());
        self.say(host, reaction, Verb::Data, 354, "go on");
    }

    /// A line of content, or a piece of one.
    fn content_piece(&mut self, host: &mut Host, now: Now, piece: &[u8], reaction: &mut Reaction) {
        let Some(content) = &mut self.content else { return };
        if !std::mem::replace(&mut content.touched, true)
            && let Some(act) = host.strikes(Stage::Body)
        {
            return self.act(host, reaction, Verb::Dot, act);
        }
        content.wire.extend_from_slice(piece);
        if !piece.ends_with(b"\n") {
            return;
        }
        let wire = &content.wire;
        let ended = wire.ends_with(b"\r\n.\r\n") || wire.as_slice() == b".\r\n";
        if ended {
            let mut wire = std::mem::take(&mut content.wire);
            wire.truncate(wire.len() - 3);
            self.content = None;
            self.dot(host, now, &wire, reaction);
        }
    }

    fn dot(&mut self, host: &mut Host, now: Now, wire: &[u8], reaction: &mut Reaction) {
        reaction.facts.push(Fact::Heard(Command::Dot));
        let open = self.open.take().expect("content follows a transaction");
        self.messages += 1;
        let struck = host.strikes(Stage::Dot);
        let kept = matches!(struck, None | Some(Act::LoseReply | Act::Swallow));
        if kept {
            let copy = open.taken(wire, host, self.extended);
            if host.remembers {
                let hello = self.hello.clone().unwrap_or_default();
                let got = got(&copy, hello, wire, now, self.tls);
                host.got.push(Got { kind: open.kind, ..got });
            }
            reaction.facts.push(Fact::Took(Arc::new(copy)));
        }
        match struck {
            None => self.say(host, reaction, Verb::Dot, 250, "taken"),
            Some(act) => self.act(host, reaction, Verb::Dot, act),
        }
        if host.kind.hangs_up && host.kind.messages_max == Some(self.messages) {
            (reaction.closes, self.deaf) = (true, true);
        }
        // LMTP: a reply for each recipient.
        let others = if host.kind.lmtp { open.to.len() - 1 } else { 0 };
        for _ in 0..others {
            match host.strikes(Stage::Dot) {
                _ if self.deaf => {}
                None => self.say(host, reaction, Verb::Dot, 250, "taken"),
                Some(act) => self.act(host, reaction, Verb::Dot, act),
            }
        }
    }

    /// What a rule does.
    fn act(&mut self, host: &Host, reaction: &mut Reaction, to: Verb, act: Act) {
        match act {
            Act::Say(code, words) => return self.say(host, reaction, to, code, words),
            Act::SayLast(code, words) => {
                self.say(host, reaction, to, code, words);
                reaction.closes = true;
            }
            Act::Drop | Act::LoseReply => reaction.closes = true,
            Act::Stall | Act::Swallow | Act::Shortage => {}
            Act::Babble => {
                let bytes = b"HTTP/1.1 400 Bad Request\r\n\x1b[2J\r\n".to_vec();
                reaction.says.push(Reply { to: Verb::Other, code: 0, bytes });
                reaction.closes = true;
            }
        }
        self.deaf = true;
    }

    fn say(&mut self, host: &Host, reaction: &mut Reaction, to: Verb, code: u16, words: &str) {
        let line = match (host.kind.wordy, code, to) {
            (_, 354, _) | (_, _, Verb::Greeting) => format!("{code} {words}\r\n"),
            (false, ..) => format!("{code} {}.0.0 {words}\r\n", code / 100),
            (true, ..) => format!("{code}-{words}\r\n{code}-\r\n{code} that is all\r\n"),
        };
        reaction.says.push(Reply { to, code, bytes: line.into_bytes() });
        if matches!(code, 421 | 221) {
            reaction.closes = true;
            self.deaf = true;
        }
    }
}

impl Open {
    fn taken(&self, wire: &[u8], host: &Host, extended: bool) -> Taken {
        Taken {
            sender: self.sender.clone(),
            to: self.to.clone(),
            ret: self.ret,
            envid: self.envid.clone(),
            content: unstuffed(wire).into(),
            eight_bit: extended && host.extensions.has(Extension::EightBitMime),
            dsn: extended && host.extensions.has(Extension::Dsn),
        }
    }
}

const OFFERS: [(Extension, &str); 6] = [
    (Extension::Pipelining, "PIPELINING"),
    (Extension::EightBitMime, "8BITMIME"),
    (Extension::SmtpUtf8, "SMTPUTF8"),
    (Extension::EnhancedStatusCodes, "ENHANCEDSTATUSCODES"),
    (Extension::Chunking, "CHUNKING"),
    (Extension::Dsn, "DSN"),
];

fn got(copy: &Taken, hello: String, wire: &[u8], at: Now, tls: bool) -> Got {
    let bits = |to: &Addressee| Notify::from_bits(to.notify).unwrap_or(Notify::UNSET);
    Got {
        at,
        hello,
        notify: copy.to.iter().map(bits).collect(),
        sender: copy.sender.to_string(),
        recipients: copy.to.iter().map(|to| to.address.to_string()).collect(),
        body: String::from_utf8_lossy(wire).into_owned(),
        kind: Body::SevenBit,
        tls,
    }
}

/// The content without the dots that the wire needs (RFC 5321 §4.5.2).
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(wire.len());
    for line in wire.split_inclusive(|b| *b == b'\n') {
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    content
}

impl Command {
    /// Reads a command line without its CRLF.
    fn read(line: &str) -> Self {
        let word = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "EHLO" | "HELO" | "LHLO" => Self::Hello,
            "STARTTLS" => Self::StartTls,
            "MAIL" => Self::Mail(path(line)),
            "RCPT" => Self::Rcpt(path(line)),
            "DATA" => Self::Data,
            "RSET" => Self::Reset,
            "QUIT" => Self::Quit,
            _ => Self::Other,
        }
    }
}

/// What stands between the angle brackets; a quoted local part may hold some.
fn path(line: &str) -> Text {
    let from = line.find('<').map_or(line.len(), |at| at + 1);
    let (mut quoted, mut escaped) = (false, false);
    let end = line[from..].find(|c| match c {
        _ if std::mem::take(&mut escaped) => false,
        '\\' => {
            escaped = quoted;
            false
        }
        '"' => {
            quoted = !quoted;
            false
        }
        c => c == '>' && !quoted,
    });
    line[from..end.map_or(line.len(), |end| from + end)].into()
}

/// The value of a parameter.
fn parameter<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, parameters) = line.rsplit_once('>')?;
    parameters.split(' ').find_map(|word| {
        let (key, value) = word.split_once('=')?;
        (key.eq_ignore_ascii_case(name) && !value.is_empty()).then_some(value)
    })
}

fn notify_bits(words: &str) -> u8 {
    words.split(',').fold(notify::ABSENT, |bits, word| {
        bits | match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify::SUCCESS,
            "FAILURE" => notify::FAILURE,
            "DELAY" => notify::DELAY,
            "NEVER" => notify::NEVER,
            _ => 0,
        }
    })
}
