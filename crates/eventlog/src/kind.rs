//! The kinds of event: what each is called, at which level it is logged, which
//! fields it always has and which it may have.
//!
//! Words and fields are a contract with whoever reads the log by program: a
//! kind may gain fields; nothing is renamed.

use crate::field::Field;

mod table;

/// One kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A message was received.
    Accepted,
    /// A transaction for one message begins at a host; what came of it stands in one line for each recipient, with the same `id` and `session`.
    Attempt,
    /// A recipient got it.
    Delivered,
    /// A recipient will not get it.
    Failed,
    /// Given up.
    Expired,
    /// Taken out of the queue by an operator, without a report.
    Removed,
    /// An attempt failed for now; it is tried again.
    Deferred,
    /// Kept in the queue until it is released.
    Held,
    /// No longer held.
    Released,
    /// Still waiting, and the sender is told so.
    Delayed,
    /// Found at a start.
    InDoubt,
    /// A delivery report was written; it is a message of its own.
    Report,
    /// A report was due and is larger than a segment of the queue.
    ReportWithheld,
    /// A stored message cannot be read as it was accepted.
    Quarantined,
    /// All hosts of a route are down; this recipient's mail goes the default way.
    Fallback,
    /// A recipient's mail goes another way from now on, by an operator's order.
    Rerouted,
    /// A look-up of a domain's exchangers has ended.
    Lookup,
    /// A host could not be used; the next one of its site is tried, if there is one.
    HostFailed,
    /// A site cannot be used for now.
    SiteDown,
    /// A site can be used again.
    SiteUp,
    /// Our own means ran out.
    Shortage,
    /// A limit made something wait, or be refused for now.
    LimitReached,
    /// Somebody did not prove who they are.
    LogInRefused,
    /// A handshake with a client failed.
    ClientTlsFailed,
    /// A proxy in front of us did not say who its client is.
    ProxyRefused,
    /// A log-in at a POP3 server, which a relay host wants before it takes mail.
    PopLogIn,
    /// A source cannot be used for now.
    SourceSuspended,
    /// A link that is raised on demand is in another state.
    Link,
    /// A timetable's window has opened or closed.
    Schedule,
    /// Delivery was stopped for what the scope covers.
    Suspended,
    /// Delivery goes on for what the scope covers.
    Resumed,
    /// An operator did something to mail in the queue.
    Command,
    /// A request that changes something came over the control socket.
    Control,
    /// Somebody elsewhere was not let in to control the daemon.
    ControlRefused,
    /// What became of a revision of the configuration.
    Configuration,
    /// The daemon has started.
    Start,
    /// The daemon has stopped in order.
    Stop,
    /// What the start found in the queue.
    Recovered,
    /// The queue's storage gives trouble.
    Storage,
    /// A shard does not turn.
    ShardStalled,
    /// A shard that stood still turns again.
    ShardTurnsAgain,
    /// A shard stood still for too long.
    ShardLost,
    /// A file in the pickup folder cannot become mail.
    PickupRefused,
    /// The pickup folder cannot be used.
    PickupFailed,
    /// Lines of the log were dropped, because the writer or the disk could not take them.
    LinesLost,
    /// A webhook or the like does not take lines; they wait in the log's files.
    SinkDown,
    /// It takes lines again.
    SinkUp,
    /// Lines went from the log's files before a webhook or the like took them.
    SinkLost,
    /// Something needs somebody, or no longer does.
    Alert,
    /// A connection stands.
    Connected,
    /// TLS was agreed on.
    TlsUp,
    /// A client has proved who it is.
    LogIn,
    /// A line of a session; message content is left out.
    Dialogue,
    /// A name server is asked.
    Query,
    /// A name server has answered.
    Answer,
    /// Hosts in the order in which they are tried.
    Plan,
    /// Permits of a limit are asked for, or come.
    Permit,
}

/// The least level of the log at which a kind is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// At every level.
    Always,
    /// From `basic` on.
    Basic,
    /// At `detail`, or where detail was asked for.
    Detail,
}

/// What there is to know of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// The kind.
    pub kind: Kind,
    /// The value of `event`.
    pub word: &'static str,
    /// When it is written.
    pub level: Level,
    /// What it means, in a sentence.
    pub meaning: &'static str,
    /// Bits of the fields that are always there.
    pub(crate) always: u128,
    /// Bits of the fields that may be there.
    pub(crate) perhaps: u128,
}

impl Kind {
    /// All kinds, in the order of the reference.
    pub fn all() -> impl Iterator<Item = Self> {
        table::KINDS.iter().map(|one| one.kind)
    }

    /// The kind with this word in `event`.
    pub fn named(word: &str) -> Option<Self> {
        Self::all().find(|kind| kind.word() == word)
    }

    /// The value of `event`.
    pub fn word(self) -> &'static str {
        self.described().word
    }

    /// What there is to know of it.
    pub fn described(self) -> &'static Described {
        &table::KINDS[self as usize]
    }

    /// Whether nothing comes after it for its recipient.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Expired | Self::Removed)
    }

    /// Whether its lines may have a field.
    pub fn has(self, field: Field) -> bool {
        let Described { always, perhaps, .. } = self.described();
        (always | perhaps) & field.bit() != 0
    }
}

impl Described {
    /// The fields that are always there, in the order of the reference.
    pub fn always(&self) -> impl Iterator<Item = Field> {
        with_bits(self.always)
    }

    /// The fields that may be there.
    pub fn perhaps(&self) -> impl Iterator<Item = Field> {
        with_bits(self.perhaps)
    }
}

fn with_bits(bits: u128) -> impl Iterator<Item = Field> {
    Field::ALL.into_iter().filter(move |field| bits & field.bit() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_kinds() {
        for (place, kind) in Kind::all().enumerate() {
            let Described { word, always, perhaps, meaning, .. } = kind.described();
            assert_eq!(kind as usize, place, "{kind:?}");
            assert_eq!(Kind::named(word), Some(kind), "{word} is the word of one kind");
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{word}");
            assert_eq!(always & perhaps, 0, "{word}: always or perhaps");
            assert!(kind.has(Field::Time) && kind.has(Field::Event), "{word}");
            assert!(meaning.ends_with('.'), "{word}");
        }
    }

    #[test]
    fn every_field_is_in_use() {
        for field in Field::ALL {
            assert!(Kind::all().any(|kind| kind.has(field)), "{field:?}");
        }
    }
}
