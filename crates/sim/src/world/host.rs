//! Mail exchangers with scripts: each takes mail like any other, but for what
//! its rules say at a stage and what kind of host it is.
//!
//! Never here: the dialogue itself (`remote`).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use base::{Monotonic, Now, Rng};
use mail::{Body, Notify};
use smtp::{Extension, Extensions};

use crate::observation::Text;

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
    /// This reply, and then the end of the connection.
    SayLast(u16, &'static str),
    /// The connection goes; at `Connect` it is refused.
    Drop,
    /// Nothing more comes.
    Stall,
    /// At `Connect`: our own machine lacks the means.
    Shortage,
    /// At `Dot`: the message is kept, and the reply lost with the connection.
    LoseReply,
    /// At `Dot`: the message is kept, and the reply never comes.
    Swallow,
    /// Something that is no reply at all, then the end of the connection.
    Babble,
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
    /// What MAIL declared the body to be.
    pub kind: Body,
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
    /// What kind of host it is beyond its rules.
    pub kind: Kind,
    /// Whether [`Host::got`] is kept.
    pub remembers: bool,
    /// What is a matter of chance with it.
    pub temper: Option<Temper>,
    pub(super) extensions: Extensions,
    rules: Vec<Rule>,
    /// When each pair of sender and recipient was first put off.
    pub(super) grey: BTreeMap<(Text, Text), Monotonic>,
}

/// What is a matter of chance with a host, drawn from a generator of its own.
#[derive(Clone, Debug)]
pub struct Temper {
    rng: Rng,
    /// Milliseconds from the end of a content to the answer to it.
    pub thinks_ms: RangeInclusive<u64>,
    /// Of a thousand recipients so many are put off.
    pub puts_off: u64,
}

/// Ways of a host that last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    /// Connections at once; who comes beyond hears 421.
    pub connections_max: Option<u32>,
    /// Recipients of one message; the rest hears 452.
    pub recipients_max: Option<u32>,
    /// Messages of one connection; then it says 421.
    pub messages_max: Option<u32>,
    /// It hangs up then without a word.
    pub hangs_up: bool,
    /// Octets of one message, announced.
    pub size_max: Option<u64>,
    /// A sender and recipient not seen before hear 451 for this long.
    pub greylisting: Option<Duration>,
    /// Replies come in several lines and without enhanced codes.
    pub wordy: bool,
    /// EHLO is not known here.
    pub no_ehlo: bool,
    /// It speaks LMTP and nothing else.
    pub lmtp: bool,
    /// Mailboxes answer by their names: `no-…` is unknown, `later-…` is told
    /// to come back for ever.
    pub mailboxes: bool,
}

impl Temper {
    /// A host that puts nobody off and takes its time with each content.
    pub fn new(seed: u64, thinks_ms: RangeInclusive<u64>) -> Self {
        Self { rng: Rng::new(seed), thinks_ms, puts_off: 0 }
    }

    /// How long it thinks about a content.
    pub(super) fn thinks(&mut self) -> Duration {
        let (low, high) = (*self.thinks_ms.start(), *self.thinks_ms.end());
        Duration::from_millis(low + self.rng.below(high.saturating_sub(low) + 1))
    }

    /// Whether it puts a recipient off.
    pub(super) fn strikes(&mut self) -> bool {
        self.puts_off > 0 && self.rng.below(1_000) < self.puts_off
    }
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
            kind: Kind::default(),
            remembers: true,
            temper: None,
            extensions: Extensions::SUBMISSION,
            rules: Vec::new(),
            grey: BTreeMap::new(),
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
        self.kind.size_max = Some(bytes);
        self
    }

    /// A host that takes so many connections at once, and says 421 to more.
    pub fn with_connections(mut self, connections: u32) -> Self {
        self.kind.connections_max = Some(connections);
        self
    }

    /// Adds a rule for the next `times` times to a host that stands.
    pub fn rule(&mut self, at: Stage, act: Act, times: u32) {
        self.rules.push(Rule { at, act, skip: 0, times });
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
