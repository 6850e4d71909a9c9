//! What somebody outside the program can see of a run: clients, exchangers,
//! name servers, the disk, the log, the operator. Oracles judge by this alone.
//!
//! Never a value of the product's inside: a lie told there must stand against
//! what others saw. Invariants: building one costs a few words and shared
//! texts; the hash of a history depends on what is seen alone, never on
//! addresses in memory or on the order of a map; each prints as one line.

mod feed;
mod letter;
mod log_line;
mod show;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base::{MessageId, Monotonic, Now, SegmentId};

use crate::rules::Rules;
pub(crate) use letter::marked;
pub use letter::{Addressee, Letter, MARK, Taken, notify};
pub use log_line::{LogEvent, LogLine};

/// A shared text.
pub type Text = Arc<str>;

/// One thing seen, and when.
#[derive(Clone, Debug)]
pub struct Stamped {
    /// When.
    pub at: Now,
    /// At which step of the run.
    pub step: u64,
    /// What.
    pub what: Observation,
}

/// A connection, of a client or to an exchanger. A crash ends them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// The shard it belongs to.
    pub shard: u16,
    /// Its number there.
    pub conn: u64,
}

/// One thing seen.
#[derive(Clone, Debug)]
pub enum Observation {
    /// A configuration is in force from here on.
    Configured(Arc<Rules>),
    /// One was refused: the one before stays.
    ConfigurationRefused,
    /// Who takes whose mail, from here on.
    Topology(Arc<[Site]>),
    /// A client's connection was brought to a shard.
    ClientCame {
        /// The connection.
        client: Link,
        /// From where.
        peer: IpAddr,
    },
    /// A client has sent the last byte of a message.
    Handed {
        /// The connection.
        client: Link,
        /// The world's own number of the message.
        message: u32,
        /// What was sent.
        letter: Arc<Letter>,
    },
    /// A client got a reply to a command of a transaction.
    Answered {
        /// The connection.
        client: Link,
        /// The message it was about.
        message: u32,
        /// To which command: `Mail`, `Rcpt`, `Data` or `Dot`.
        to: Verb,
        /// The reply's code.
        code: u16,
        /// The queue's id, where the reply to the dot names one.
        id: Option<MessageId>,
    },
    /// A shard sends the 2xx to a dot, and this is what stable storage held at
    /// that moment.
    Promised {
        /// The connection.
        client: Link,
        /// The world's own number of the message.
        message: u32,
        /// Whether the medium's durable image has the message whole, with all
        /// recipients.
        durable: bool,
    },
    /// A client's connection is over; `by_us`: the shard closed it.
    ClientGone {
        /// The connection.
        client: Link,
        /// Who ended it.
        by_us: bool,
    },
    /// A client sent something (of any kind): its silence begins anew.
    ClientSpoke {
        /// The connection.
        client: Link,
    },
    /// A shard dials.
    Dialled {
        /// The connection.
        link: Link,
        /// Where to.
        to: SocketAddr,
        /// From which own address, where it chose one.
        from: Option<IpAddr>,
    },
    /// A dialled connection stands (the shard is told so).
    Stands {
        /// The connection.
        link: Link,
    },
    /// A dialled connection does not come about (the shard is told so);
    /// `ours`: for want of our own means.
    DialFailed {
        /// The connection.
        link: Link,
        /// Whose fault it was.
        ours: bool,
    },
    /// A handshake is over (the shard is told so).
    Secured {
        /// The connection.
        link: Link,
        /// Whether it succeeded.
        ok: bool,
    },
    /// A connection to an exchanger is over.
    Ended {
        /// The connection.
        link: Link,
        /// Who ended it.
        by: Side,
    },
    /// A command left a shard and reached an exchanger.
    Heard {
        /// The connection.
        link: Link,
        /// When it left the shard; not after now.
        left: Monotonic,
        /// What it was.
        command: Command,
    },
    /// A reply of an exchanger reached a shard, whole.
    Said {
        /// The connection.
        link: Link,
        /// What it answers; `Greeting` for the first.
        to: Verb,
        /// Its code.
        code: u16,
    },
    /// An exchanger has a whole message and keeps it, whatever becomes of its
    /// answer: this copy is delivered.
    Took {
        /// The connection.
        link: Link,
        /// The message as it came.
        copy: Arc<Taken>,
    },
    /// Some bytes of content reached an exchanger: progress.
    Progress {
        /// The connection.
        link: Link,
    },
    /// A question went to a name server.
    Asked {
        /// By which shard.
        shard: u16,
        /// The name, lower case, without the last dot.
        name: Text,
        /// The type's number.
        kind: u16,
    },
    /// What a shard got for a question.
    Resolved {
        /// Which shard.
        shard: u16,
        /// The name, lower case, without the last dot.
        name: Text,
        /// The type's number.
        kind: u16,
        /// What it got.
        how: Resolved,
    },
    /// Our own means ran out.
    Shortage {
        /// At which shard.
        shard: u16,
        /// What ran out.
        what: Shortage,
        /// For which connection, if for one.
        link: Option<Link>,
    },
    /// A line of the log.
    Logged {
        /// Whose.
        shard: u16,
        /// What it says.
        line: Arc<LogLine>,
    },
    /// An operator gave an order.
    Ordered {
        /// Its number.
        order: u64,
        /// What to do.
        act: Act,
        /// To whom.
        whom: Whom,
    },
    /// An order was answered.
    Obeyed {
        /// Its number.
        order: u64,
        /// Status of the answer: 200 for done.
        code: u16,
        /// Recipients it took effect on.
        count: u64,
    },
    /// The disk did what disks do.
    Disk {
        /// To which segment, if to one.
        segment: Option<SegmentId>,
        /// What it did.
        what: Disk,
    },
    /// The program ends at once; `power`: the machine too.
    Crashed {
        /// Whether what was not synced may be lost.
        power: bool,
    },
    /// A start after a crash, with so many shards.
    Recovered {
        /// Shards now.
        shards: u16,
        /// What recovery reported.
        report: Arc<Recovery>,
    },
    /// Counts of one shard.
    Gauged {
        /// Which.
        shard: u16,
        /// The counts.
        gauges: Gauges,
    },
    /// All faults have been taken away for good.
    Calm,
    /// The run is over.
    Over {
        /// What was left open.
        left: Left,
    },
}

/// Domains that share their exchangers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Any name.
    pub name: Text,
    /// Domains, lower case.
    pub domains: Vec<Text>,
    /// Addresses of the exchangers.
    pub addresses: Vec<IpAddr>,
}

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// The connection itself.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The final dot.
    Dot,
    /// RSET.
    Reset,
    /// QUIT.
    Quit,
    /// Anything else.
    Other,
}

/// What an exchanger heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// EHLO or HELO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// MAIL, with the sender; empty for none.
    Mail(Text),
    /// RCPT, with the recipient.
    Rcpt(Text),
    /// DATA, or the first BDAT.
    Data,
    /// The end of the content.
    Dot,
    /// RSET.
    Reset,
    /// QUIT.
    Quit,
    /// Anything else.
    Other,
}

impl Command {
    /// Which command it is.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Hello => Verb::Hello,
            Self::StartTls => Verb::StartTls,
            Self::Mail(_) => Verb::Mail,
            Self::Rcpt(_) => Verb::Rcpt,
            Self::Data => Verb::Data,
            Self::Dot => Verb::Dot,
            Self::Reset => Verb::Reset,
            Self::Quit => Verb::Quit,
            Self::Other => Verb::Other,
        }
    }
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The shard, orderly or not.
    Us,
    /// The exchanger, or the network (the shard is told so).
    Them,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// An answer with what was asked for.
    Found,
    /// An answer that there is nothing of that type.
    Nothing,
    /// An answer that the name does not exist, or that it takes no mail.
    Never,
    /// An answer that says nothing: SERVFAIL, REFUSED, damaged.
    Unknown,
    /// No answer.
    Silence,
}

/// What ran out on our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Descriptors or local ports.
    Descriptors,
    /// Room for a segment.
    Room,
    /// Memory for a read ahead.
    Memory,
    /// Name servers.
    Resolver,
}

/// An operator's act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Try now.
    Flush,
    /// Keep.
    Hold,
    /// End a hold.
    Release,
    /// Take out for good, without a report.
    Remove,
}

/// On what an operator acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All mail.
    All,
    /// One message.
    Message(MessageId),
    /// Recipients of a domain.
    Domain(Text),
    /// Mail from an address; empty for the null sender.
    Sender(Text),
    /// Mail to an address.
    Recipient(Text),
}

/// What a disk did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// A sync ended well: everything below this offset is stable.
    Synced(u32),
    /// A sync failed.
    SyncFailed,
    /// A write failed.
    WriteFailed,
    /// A read failed.
    ReadFailed,
    /// No segment could be made.
    NoSegment,
    /// The disk is full from here on.
    Full,
    /// It has room again from here on.
    Roomy,
    /// Bytes were changed behind our back.
    Damaged,
}

/// What recovery reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Message and index of each recipient that may have got a copy.
    pub in_doubt: Vec<(MessageId, u16)>,
    /// Bytes that did not count.
    pub cut_bytes: u64,
    /// Places where something durable may be lost.
    pub damages: u32,
    /// Recipients brought back.
    pub recipients: u64,
}

/// Counts of one shard, with the bound of each where it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Name, count, bound.
    pub counts: Vec<(&'static str, u64, Option<u64>)>,
}

/// What was left open at the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Connections of clients.
    pub clients: u64,
    /// Connections to exchangers.
    pub links: u64,
    /// Messages in the spool, by the product's own count.
    pub messages: u64,
    /// Recipients in the queue, by the product's own count.
    pub recipients: u64,
    /// Permits that have not come home.
    pub permits: u64,
    /// The disk had failed for good, or the run was cut short: mail may be left.
    pub unfinished: bool,
}

#[cfg(test)]
mod tests;
