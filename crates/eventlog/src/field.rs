//! The fields of events: what each is called, what it holds, what it means.
//!
//! Invariant: a field means the same in every event that has it.

/// One field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// When the event was written down.
    Time,
    /// Which kind of event.
    Event,
    /// The message.
    Id,
    /// The session.
    Session,
    /// The client's address.
    Client,
    /// The client's port.
    Port,
    /// The way in of a message without a session.
    By,
    /// Who is logged in, or tried to be.
    User,
    /// The sender.
    From,
    /// The recipient.
    To,
    /// Number of recipients.
    Recipients,
    /// Index of the recipient in the envelope.
    Recipient,
    /// Octets.
    Size,
    /// TLS version and cipher.
    Tls,
    /// Found in the queue at a start.
    Recovered,
    /// Which attempt.
    Attempt,
    /// Who answered.
    Host,
    /// Where it led.
    Site,
    /// By which route.
    Route,
    /// From where.
    Source,
    /// Through what.
    Proxy,
    /// Enhanced status code.
    Status,
    /// What was said.
    Reply,
    /// Milliseconds since reception.
    DelayMs,
    /// When it is tried again.
    Next,
    /// Perhaps delivered.
    InDoubt,
    /// The id of a report.
    Report,
    /// Starts that found it unanswered.
    Crashes,
    /// Why.
    Reason,
    /// What went wrong.
    Error,
    /// A mail domain.
    Domain,
    /// What a look-up came to.
    Result,
    /// Its exchangers.
    Mx,
    /// In or out.
    Way,
    /// What the peer said.
    Heard,
    /// What we said.
    Said,
    /// What an order covers.
    Scope,
    /// How long something lasts.
    Until,
    /// What was done.
    Act,
    /// Only counted.
    DryRun,
    /// A request of the control socket.
    Request,
    /// Whose.
    Uid,
    /// By which process.
    Pid,
    /// A timetable.
    Schedule,
    /// Open or closed.
    State,
    /// How a link is.
    Link,
    /// What became of a revision.
    What,
    /// Its number.
    Revision,
    /// Which limit.
    Limit,
    /// What it limits.
    Of,
    /// How much.
    Most,
    /// The program.
    Version,
    /// Number of shards.
    Shards,
    /// One shard.
    Shard,
    /// A segment of the queue.
    Segment,
    /// Number of segments.
    Segments,
    /// Number of messages.
    Messages,
    /// A torn end.
    Cut,
    /// A file's name.
    File,
    /// Number of lines.
    Lines,
    /// How often.
    Count,
    /// Where lines go beyond the log's files.
    Sink,
    /// A type of DNS record.
    Type,
    /// What a name server said.
    Answer,
    /// Permits asked for, or granted.
    Permits,
    /// A count in a time.
    Rate,
    /// A rule of alerts.
    Alert,
    /// Whether it was raised or cleared.
    Turn,
    /// Nobody is told.
    Silenced,
    /// By whose certificate.
    Certificate,
}

/// What a field holds, as JSON and beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Any text; control characters are escaped.
    Text,
    /// `2026-11-21T22:15:30.125Z`.
    Time,
    /// A message id: 13 letters and digits.
    Id,
    /// A session's name: `6740a1b2-0-17`.
    Session,
    /// `5.1.1`.
    Status,
    /// A whole number from 0.
    Number,
    /// `true`; the field is absent otherwise.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Field {
    /// All fields, in the order of the reference.
    pub const ALL: [Self; FIELDS.len()] = {
        let (mut all, mut at) = ([Self::Time; FIELDS.len()], 0);
        while at < FIELDS.len() {
            all[at] = FIELDS[at].0;
            at += 1;
        }
        all
    };

    /// The key in the line.
    pub const fn key(self) -> &'static str {
        FIELDS[self as usize].1
    }

    /// What it holds.
    pub const fn shape(self) -> Shape {
        FIELDS[self as usize].2
    }

    /// What it means, in a sentence.
    pub const fn meaning(self) -> &'static str {
        FIELDS[self as usize].3
    }

    /// The field's own bit.
    pub(crate) const fn bit(self) -> u128 {
        1 << self as u8
    }
}

/// Key, shape and meaning of each field, in the order of the reference.
const FIELDS: [(Field, &str, Shape, &str); 70] = [
    (Field::Time, "time", Shape::Time, "When it happened, by the machine's clock, in UTC."),
    (Field::Event, "event", Shape::Text, "Which kind of event this is."),
    (Field::Id, "id", Shape::Id, "The message. `ringpost trace ID` tells its whole life."),
    (
        Field::Session,
        "session",
        Shape::Session,
        "The session, inbound or outbound: the same in all lines about one connection, never used twice.",
    ),
    (Field::Client, "client", Shape::Text, "The client's IP address."),
    (Field::Port, "port", Shape::Number, "The client's port."),
    (
        Field::By,
        "by",
        Shape::Text,
        "How a message came that was not handed in over SMTP, and who brought it.",
    ),
    (Field::User, "user", Shape::Text, "Who is logged in, or a known user who tried."),
    (Field::From, "from", Shape::Text, "The sender of the envelope; empty for reports."),
    (Field::To, "to", Shape::Text, "The recipient; in `accepted` the first one."),
    (Field::Recipients, "recipients", Shape::Number, "How many recipients it is about."),
    (
        Field::Recipient,
        "recipient",
        Shape::Number,
        "Place of the recipient in the envelope, from 0.",
    ),
    (Field::Size, "size", Shape::Number, "Octets of the message as it was handed in."),
    (Field::Tls, "tls", Shape::Text, "Version and cipher of TLS."),
    (
        Field::Recovered,
        "recovered",
        Shape::Flag,
        "Written at a start for a message that was found in the queue and whose line may have been lost.",
    ),
    (
        Field::Attempt,
        "attempt",
        Shape::Number,
        "Which attempt this was or is, from 1; 0 before any.",
    ),
    (Field::Host, "host", Shape::Text, "Name and address of the host at the other end."),
    (
        Field::Site,
        "site",
        Shape::Text,
        "What shares limits and back-off: the exchangers or relay hosts that mail of the next hop goes to.",
    ),
    (Field::Route, "route", Shape::Text, "The route that mail goes by; empty for the default way."),
    (Field::Source, "source", Shape::Text, "The configured source that mail leaves from."),
    (
        Field::Proxy,
        "proxy",
        Shape::Text,
        "The proxy that a connection goes through, or came through.",
    ),
    (Field::Status, "status", Shape::Status, "The enhanced status code (RFC 3463)."),
    (
        Field::Reply,
        "reply",
        Shape::Text,
        "The remote's answer, or our own words where there was none.",
    ),
    (Field::DelayMs, "delay_ms", Shape::Number, "Milliseconds since the message was accepted."),
    (Field::Next, "next", Shape::Time, "When it is tried again, at the earliest."),
    (
        Field::InDoubt,
        "in_doubt",
        Shape::Flag,
        "The message may have been delivered: its end was sent and no answer came.",
    ),
    (Field::Report, "report", Shape::Id, "The message that carries the report."),
    (
        Field::Crashes,
        "crashes",
        Shape::Number,
        "How many starts have found the attempt without an outcome.",
    ),
    (Field::Reason, "reason", Shape::Text, "Why, in words."),
    (Field::Error, "error", Shape::Text, "What went wrong, in words."),
    (Field::Domain, "domain", Shape::Text, "The mail domain that was looked up."),
    (
        Field::Result,
        "result",
        Shape::Word(&["found", "null-mx", "no-domain", "no-address", "loop", "unknown"]),
        "What the look-up came to.",
    ),
    (Field::Mx, "mx", Shape::Text, "The exchangers found; in `plan` the hosts, in their order."),
    (
        Field::Way,
        "way",
        Shape::Word(&["in", "out"]),
        "Whether a client connected to us (`in`) or we to a next hop (`out`).",
    ),
    (Field::Heard, "heard", Shape::Text, "A line that the peer said."),
    (Field::Said, "said", Shape::Text, "A line that we said. Passwords are left out."),
    (Field::Scope, "scope", Shape::Text, "What it covers."),
    (Field::Until, "until", Shape::Time, "When it ends by itself; absent where it does not."),
    (Field::Act, "act", Shape::Text, "What was done with mail in the queue."),
    (Field::DryRun, "dry_run", Shape::Flag, "Only counted, nothing was done."),
    (Field::Request, "request", Shape::Text, "The request, as the control socket got it."),
    (Field::Uid, "uid", Shape::Number, "The user on this machine who asked."),
    (Field::Pid, "pid", Shape::Number, "The process that asked, or the daemon's own in `start`."),
    (Field::Schedule, "schedule", Shape::Text, "The timetable."),
    (Field::State, "state", Shape::Word(&["open", "closed"]), "Whether mail may leave."),
    (
        Field::Link,
        "link",
        Shape::Word(&["down", "raising", "up", "closing", "lowering", "failed", "stuck"]),
        "How the link of the source is; `failed`: it cannot be raised, `stuck`: it cannot be lowered.",
    ),
    (Field::What, "what", Shape::Text, "What became of the revision."),
    (Field::Revision, "revision", Shape::Number, "Number of the revision of the configuration."),
    (Field::Limit, "limit", Shape::Text, "Which limit."),
    (Field::Of, "of", Shape::Text, "Whom or what it limits."),
    (Field::Most, "most", Shape::Number, "What the limit allows."),
    (Field::Version, "version", Shape::Text, "Version of the program."),
    (Field::Shards, "shards", Shape::Number, "Number of shards."),
    (Field::Shard, "shard", Shape::Number, "The shard."),
    (Field::Segment, "segment", Shape::Number, "The segment of the queue."),
    (Field::Segments, "segments", Shape::Number, "How many segments of the queue were read."),
    (Field::Messages, "messages", Shape::Number, "How many messages."),
    (Field::Cut, "cut", Shape::Text, "Torn ends of segments that were cut off, after a power cut."),
    (Field::File, "file", Shape::Text, "Name of the file."),
    (Field::Lines, "lines", Shape::Number, "How many lines."),
    (Field::Count, "count", Shape::Number, "How many times since the line before about the same."),
    (Field::Sink, "sink", Shape::Text, "Where lines go beyond the log's files: `webhook NAME`."),
    (Field::Type, "type", Shape::Text, "The type of DNS record that was asked for."),
    (
        Field::Answer,
        "answer",
        Shape::Text,
        "What the name server said: its code, and the records in their order.",
    ),
    (
        Field::Permits,
        "permits",
        Shape::Text,
        "How much of the limit was asked for, granted or called back.",
    ),
    (Field::Rate, "rate", Shape::Text, "The rate that is allowed, as `1000/1m`."),
    (Field::Alert, "alert", Shape::Text, "The rule, by its name in the configuration."),
    (
        Field::Turn,
        "turn",
        Shape::Word(&["raised", "cleared"]),
        "Whether the alert was raised or cleared.",
    ),
    (Field::Silenced, "silenced", Shape::Flag, "An operator has asked that nobody is told."),
    (
        Field::Certificate,
        "certificate",
        Shape::Text,
        "Whom the certificate was made out to that was shown by who asked from elsewhere.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_each_key_is_used_once() {
        for (place, field) in Field::ALL.iter().enumerate() {
            assert_eq!(*field as usize, place, "{field:?}");
            let key = field.key();
            assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{key}");
            assert_eq!(Field::ALL.iter().filter(|other| other.key() == key).count(), 1, "{key}");
            assert!(field.meaning().ends_with('.'), "{key}");
        }
        assert!(Field::ALL.len() <= 128, "one bit each");
    }
}
