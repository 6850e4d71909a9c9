//! What shards say to each other. The mesh loses nothing and keeps the order
//! between each pair of shards; nothing here is a reference into a shard.

use std::sync::Arc;

use base::{MessageId, Monotonic, ShardId, Wall};
use control::throttle::{Limits, Verdict, Want};
use control::{Need, News};
use eventlog::SessionName;
use mail::Status;
use smtp::command::Node;
use spool::{Place, Restated};

use crate::why::{Question, Told};

/// One message between shards.
#[derive(Debug)]
pub enum MeshMessage {
    /// Writer to owner: recipients to deliver.
    HandOff(Vec<Descriptor>),
    /// Owner to writer: the messages are not where the descriptors say; hand
    /// them out anew, or drop those that have ended.
    Misplaced(Vec<Descriptor>),
    /// Writer to owner: these outcomes are on stable storage, so the attempt
    /// records that go with them are no longer needed.
    Recorded {
        /// The message.
        message: MessageId,
        /// Its recipients.
        recipients: Vec<u16>,
    },
    /// To a writer: standings of its mail were written once more elsewhere,
    /// because their segment goes.
    Restated(Vec<Restated>),
    /// Owner to writer: what became of recipients.
    Settled(Vec<Settlement>),
    /// Owner to home shard: permits wanted beyond those held.
    PermitAsk {
        /// The limited thing.
        key: Box<str>,
        /// What is allowed, as the asker's policy has it.
        limits: Limits,
        /// What is wanted.
        want: Want,
    },
    /// Owner to home shard: connections closed.
    PermitReturn {
        /// The limited thing.
        key: Box<str>,
        /// How many.
        count: u32,
    },
    /// Home shard to owner: a grant or a recall.
    PermitVerdict {
        /// The limited thing.
        key: Arc<str>,
        /// What was decided.
        verdict: Verdict,
    },
    /// To the home of a limit: this shard has all connections that it allows,
    /// and mail for more.
    AllInUse {
        /// The limited thing.
        key: Box<str>,
        /// What it allows.
        most: u32,
    },
    /// To all shards: since an exchanger answered last, a site was silent.
    Silent {
        /// Its name.
        site: Box<str>,
        /// When the connection was begun, by the clock that all shards share.
        since: Monotonic,
    },
    /// To all shards: an exchanger has answered.
    Heard {
        /// When, by the clock that all shards share.
        at: Monotonic,
    },
    /// An operator's question of one shard that another can answer.
    Ask(Box<Question>),
    /// The answer.
    Told(Box<Told>),
    /// To all shards: a client asked by ETRN that this mail is tried now.
    Etrn {
        /// Whose.
        node: Node,
        /// Who asked.
        by: Box<str>,
    },
    /// To the home of a link that is raised on demand: what a shard needs of it.
    LinkNeed {
        /// The link.
        link: Arc<str>,
        /// What is needed.
        need: Need,
    },
    /// From the home of such a link to all shards: how it is.
    LinkNews {
        /// The link.
        link: Arc<str>,
        /// How it is.
        news: News,
    },
}

/// One recipient on its way to the shard that delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The message.
    pub message: MessageId,
    /// Where its record stands now.
    pub place: Place,
    /// Index of the recipient in the envelope.
    pub recipient: u16,
    /// Attempts made so far.
    pub attempts: u16,
    /// When the message was accepted.
    pub arrived: Wall,
    /// Not before this time; the past means now.
    pub due: Wall,
    /// Kept until released.
    pub held: bool,
    /// Sent without a durable outcome once before.
    pub in_doubt: bool,
    /// The delay notice has gone out.
    pub delay_noticed: bool,
    /// It had its turn when its message turned out to have been moved.
    pub taken: bool,
    /// The route that it was queued by, as the queue numbers them, if it was
    /// queued before.
    pub route: Option<u32>,
}

/// What became of one recipient in one attempt, or without one.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The message.
    pub message: MessageId,
    /// Index of the recipient in the envelope.
    pub recipient: u16,
    /// Number of the attempt that this settles; attempts made, if none.
    pub attempt: u16,
    /// The result.
    pub result: SettledAs,
    /// Sent, and no answer came: it may have been delivered.
    pub in_doubt: bool,
    /// The status code that goes with it.
    pub status: Status,
    /// The remote's words, or ours.
    pub text: Box<str>,
    /// The host that said so; empty when none was reached.
    pub host: Box<str>,
    /// The source that the attempt left from; empty for the machine's choice.
    pub source: Box<str>,
    /// What the host shares limits and back-off with.
    pub site: Option<Arc<str>>,
    /// The way that its mail went, by the number that the queue has of it.
    pub route: Option<u32>,
    /// The connection that the attempt went over.
    pub session: Option<SessionName>,
    /// The shard that delivers the recipient.
    pub owner: ShardId,
}

/// The kinds of result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettledAs {
    /// The remote took it; `dsn_passed_on`: and the duty to report, too.
    Delivered {
        /// The next hop offered DSN and got the parameters.
        dsn_passed_on: bool,
        /// It went into a mailbox: nobody passes it on.
        in_mailbox: bool,
    },
    /// Permanent failure.
    Failed,
    /// Lifetime or attempts used up.
    Expired,
    /// Removed by an operator, with no report.
    Removed,
    /// Try again at this time.
    Deferred(Wall),
    /// Kept until released.
    Held,
    /// No longer held.
    Released,
    /// Still waiting, and it is time to say so to the sender.
    Delayed {
        /// When it will be given up.
        until: Wall,
    },
}
