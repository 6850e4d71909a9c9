//! Mail exchangers with scripts: each takes mail like any other, but for what
//! its rules say at a stage. Built on the server side of `smtp`.

use std::sync::Arc;

use base::{Monotonic, Now};
use mail::{Address, Domain, Envelope, Notify, Recipient, ReversePath, Status};
use smtp::submission::{Policy, Progress, Received, Session, Settings};
use smtp::{Answer, Extension, Extensions};

/// Where in a session a rule strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before there is a connection.
    Connect,
    /// The first reply.
    Greeting,
    /// The reply to EHLO.
    Ehlo,
    /// The TLS handshake.
    Handshake,
    /// The reply to MAIL.
    Mail,
    /// The reply to RCPT.
    Rcpt,
    /// The reply to DATA.
    Data,
    /// The first bytes of the content.
    Body,
    /// The reply to the content.
    Dot,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// This reply.
    Say(u16, &'static str),
    /// The connection goes; at `Connect` it is refused.
    Drop,
    /// Nothing more comes.
    Stall,
    /// At `Connect`: our own machine lacks the means.
    Shortage,
    /// At `Dot`: the message is kept, and the reply lost with the connection.
    LoseReply,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    at: Stage,
    act: Act,
    skip: u32,
    times: u32,
}

/// A message that a host took.
#[derive(Clone, Debug)]
pub struct Got {
    pub at: Now,
    /// What the sender of the mail called itself.
    pub hello: String,
    pub sender: String,
    pub recipients: Vec<String>,
    /// Who wants to hear of what, for each recipient.
    pub notify: Vec<Notify>,
    pub body: String,
    pub tls: bool,
}

/// One host.
#[derive(Debug)]
pub struct Host {
    /// What it took, in order.
    pub got: Vec<Got>,
    /// When somebody began to connect.
    pub connects: Vec<Monotonic>,
    /// Connections that stand.
    pub open: u32,
    /// The most that ever stood at once.
    pub peak: u32,
    /// Whether it offers STARTTLS.
    pub starttls: bool,
    /// Bytes that it takes in a millisecond.
    pub pace: usize,
    size_max: u64,
    open_max: u32,
    extensions: Extensions,
    rules: Vec<Rule>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A host that takes everything.
    pub fn new() -> Self {
        Self {
            got: Vec::new(),
            connects: Vec::new(),
            open: 0,
            peak: 0,
            starttls: false,
            pace: usize::MAX,
            size_max: 50 << 20,
            open_max: u32::MAX,
            extensions: Extensions::SUBMISSION,
            rules: Vec::new(),
        }
    }

    /// Adds a rule for ever.
    pub fn always(mut self, at: Stage, act: Act) -> Self {
        self.rules.push(Rule { at, act, skip: 0, times: u32::MAX });
        self
    }

    /// Adds a rule for the next `times` times.
    pub fn next(mut self, at: Stage, act: Act, times: u32) -> Self {
        self.rules.push(Rule { at, act, skip: 0, times });
        self
    }

    /// Adds a rule that lets the first `skip` by.
    pub fn after(mut self, skip: u32, at: Stage, act: Act) -> Self {
        self.rules.push(Rule { at, act, skip, times: u32::MAX });
        self
    }

    /// A host without an extension.
    pub fn without(mut self, extension: Extension) -> Self {
        self.extensions = self.extensions.without(extension);
        self
    }

    /// A host that offers STARTTLS.
    pub fn with_tls(mut self) -> Self {
        self.starttls = true;
        self
    }

    /// A host that takes so many bytes in a millisecond.
    pub fn slow(mut self, pace: usize) -> Self {
        self.pace = pace;
        self
    }

    /// A host that takes messages of at most so many bytes.
    pub fn with_size(mut self, bytes: u64) -> Self {
        self.size_max = bytes;
        self
    }

    /// A host that takes so many connections at once, and says 421 to more.
    pub fn with_connections(mut self, connections: u32) -> Self {
        self.open_max = connections;
        self
    }

    /// Forgets all rules.
    pub fn mend(&mut self) {
        self.rules.clear();
    }

    /// All recipients of all messages, as often as they came.
    pub fn delivered_to(&self) -> Vec<&str> {
        let mut all: Vec<&str> =
            self.got.iter().flat_map(|got| got.recipients.iter().map(String::as_str)).collect();
        all.sort_unstable();
        all
    }

    /// What the rules say here.
    pub fn strikes(&mut self, at: Stage) -> Option<Act> {
        for rule in self.rules.iter_mut().filter(|rule| rule.at == at) {
            if rule.skip > 0 {
                rule.skip -= 1;
                return None;
            }
            if rule.times > 0 {
                rule.times -= 1;
                return Some(rule.act);
            }
        }
        None
    }
}

/// The far end of one connection.
#[derive(Debug)]
pub struct Remote {
    session: Session,
    tls: bool,
    content: bool,
    deaf: bool,
}

/// What a host does about what it heard.
#[derive(Debug, Default)]
pub struct Reaction {
    pub says: Vec<u8>,
    pub closes: bool,
}

/// The host's rules, asked by the session.
struct Gate<'a> {
    host: &'a mut Host,
    content: bool,
    end: Option<Act>,
}

impl Gate<'_> {
    fn ask(&mut self, stage: Stage) -> Result<(), Answer> {
        match self.host.strikes(stage) {
            None => Ok(()),
            Some(Act::Say(code, text)) => Err(answer(code, text)),
            Some(act) => {
                self.end = Some(act);
                Err(answer(421, "going"))
            }
        }
    }
}

impl Policy for Gate<'_> {
    fn mail(&mut self, _: &Envelope, _: Option<u64>) -> Result<(), Answer> {
        self.ask(Stage::Mail)
    }

    fn rcpt(&mut self, _: &Envelope, _: &Recipient) -> Result<(), Answer> {
        self.ask(Stage::Rcpt)
    }

    fn content(&mut self, _: &Envelope, _: Option<u64>) -> Result<(), Answer> {
        self.ask(Stage::Data)?;
        self.content = true;
        Ok(())
    }
}

impl Remote {
    /// The far end of a connection that has just been made, and its greeting.
    pub fn new(host: &mut Host, now: Now) -> (Self, Reaction) {
        let strikes = host.strikes(Stage::Greeting);
        let full = host.open > host.open_max;
        let session = match strikes {
            None if full => {
                Session::refusing(settings(host), answer(421, "too many connections"), now.mono)
            }
            None => Session::new(settings(host), now.mono),
            Some(Act::Say(code, text)) => {
                Session::refusing(settings(host), answer(code, text), now.mono)
            }
            Some(act) => {
                let session = Session::new(settings(host), now.mono);
                let remote = Self { session, tls: false, content: false, deaf: true };
                return (remote, Reaction { closes: act == Act::Drop, ..Reaction::default() });
            }
        };
        let mut remote = Self { session, tls: false, content: false, deaf: false };
        let reaction = remote.hear(host, now, b"");
        (remote, reaction)
    }

    /// Whether it will never react again.
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Bytes arrived.
    pub fn hear(&mut self, host: &mut Host, now: Now, bytes: &[u8]) -> Reaction {
        if self.deaf {
            return Reaction::default();
        }
        if self.content && !bytes.is_empty() {
            self.content = false;
            if let Some(act) = host.strikes(Stage::Body) {
                return self.end(act, Vec::new());
            }
        }
        let greets = bytes.starts_with(b"EHLO");
        if greets && let Some(act) = host.strikes(Stage::Ehlo) {
            return match act {
                Act::Say(code, text) => {
                    let mut says = Vec::new();
                    answer(code, text).write(&mut says);
                    Reaction { says, closes: false }
                }
                act => self.end(act, Vec::new()),
            };
        }
        if bytes == b"STARTTLS\r\n" {
            return Reaction { says: b"220 2.0.0 Go ahead\r\n".to_vec(), closes: false };
        }
        let reaction = self.run(host, now, bytes);
        let offers = greets && host.starttls && !self.tls;
        if offers { offering_tls(reaction) } else { reaction }
    }

    /// The handshake is done: a fresh session without greeting.
    pub fn secured(&mut self, host: &mut Host, now: Now) {
        self.session = Session::new(settings(host), now.mono);
        self.tls = true;
        let _ = self.run(host, now, b"");
    }

    fn run(&mut self, host: &mut Host, now: Now, bytes: &[u8]) -> Reaction {
        self.session.push(bytes);
        let mut says = Vec::new();
        loop {
            let mut gate = Gate { host, content: false, end: None };
            let progress = self.session.advance(now.mono, &mut says, &mut gate);
            self.content |= gate.content;
            if let Some(act) = gate.end {
                return self.end(act, Vec::new());
            }
            match progress {
                Progress::NeedInput => return Reaction { says, closes: false },
                Progress::Close => return Reaction { says, closes: true },
                Progress::Message(received) => {
                    self.content = false;
                    let reply = match host.strikes(Stage::Dot) {
                        Some(Act::Say(code, text)) => answer(code, text),
                        None => {
                            self.keep(host, now, &received);
                            answer(250, "taken")
                        }
                        Some(act) => {
                            if act == Act::LoseReply {
                                self.keep(host, now, &received);
                            }
                            return self.end(act, says);
                        }
                    };
                    self.session.answer(now.mono, &reply, &mut says);
                }
            }
        }
    }

    fn keep(&self, host: &mut Host, at: Now, received: &Received) {
        let envelope = &received.envelope;
        let sender = match &envelope.sender {
            ReversePath::Null => String::new(),
            ReversePath::Address(address) => address.to_string(),
        };
        let address = |recipient: &Recipient| -> String { Address::to_string(&recipient.address) };
        host.got.push(Got {
            at,
            hello: received.hello.to_string(),
            sender,
            recipients: envelope.recipients.iter().map(address).collect(),
            notify: envelope.recipients.iter().map(|recipient| recipient.notify).collect(),
            body: String::from_utf8_lossy(&received.body).into_owned(),
            tls: self.tls,
        });
    }

    fn end(&mut self, act: Act, says: Vec<u8>) -> Reaction {
        self.deaf = true;
        Reaction { says, closes: matches!(act, Act::Drop | Act::LoseReply) }
    }
}

fn offering_tls(mut reaction: Reaction) -> Reaction {
    if !reaction.says.starts_with(b"250-") {
        return reaction;
    }
    let first = reaction.says.windows(2).position(|pair| pair == b"\r\n");
    let at = first.expect("a reply to EHLO has lines") + 2;
    reaction.says.splice(at..at, *b"250-STARTTLS\r\n");
    reaction
}

fn settings(host: &Host) -> Arc<Settings> {
    let name = Domain::parse("mx.remote.example").expect("a name");
    Arc::new(Settings {
        extensions: host.extensions,
        message_bytes_max: host.size_max,
        ..Settings::new(name)
    })
}

/// A reply with the enhanced code that says the least.
fn answer(code: u16, text: &'static str) -> Answer {
    Answer::new(code, Status::new((code / 100) as u8, 0, 0), text)
}
