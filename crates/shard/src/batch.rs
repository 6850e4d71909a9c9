//! What one connection has under way: recipients of one message, and where the
//! bytes of that message come from.
//!
//! Never decides what becomes of a recipient. Invariant: an entry is here until
//! it is settled, put back or given away, and then no more.
//!
//! Read first: RFC 5321 §4.5.4.1, RFC 6152 §3.

use base::planted::{Bug, planted};
use base::{ConnId, MessageId, SegmentId};
use mail::Body;
use queue::EntryKey;
use smtp::{Client, RecipientTo, Transaction, Unfit};
use spool::{Message, Place};

use crate::effect::Effect;
use crate::shard::Turn;

/// Recipients of one message on their way over one connection.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) message: MessageId,
    pub(crate) place: Place,
    /// In the order of the transaction; `None` once settled.
    pub(crate) entries: Vec<Option<EntryKey>>,
    pub(crate) body: BodySource,
    /// The next hop got the DSN parameters.
    pub(crate) dsn: bool,
}

/// Where the bytes of a message come from.
#[derive(Debug)]
pub(crate) enum BodySource {
    /// From the segment, as stored.
    Stored {
        /// The segment.
        segment: SegmentId,
        /// First byte.
        offset: u32,
        /// Number of bytes.
        len: u32,
    },
    /// Made for a next hop that takes 7 bits only.
    Converted(Vec<u8>),
    /// Not known yet: the message is being brought into memory.
    Unread,
}

/// The least size of a message that takes `size` octets on the wire: no line
/// with a stuffed dot is shorter than `..` with its CRLF.
fn at_least(size: u64) -> u64 {
    size - size / 4
}

impl Batch {
    /// Octets of its content on the wire; 0 while it is not read.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.body {
            BodySource::Stored { len, .. } => u64::from(*len),
            BodySource::Converted(bytes) => bytes.len() as u64,
            BodySource::Unread => 0,
        }
    }

    /// Entries without a verdict, in order.
    pub(crate) fn unsettled(&self) -> impl DoubleEndedIterator<Item = EntryKey> + '_ {
        self.entries.iter().copied().flatten()
    }

    /// Whether the body can still be sent: since the transaction began, its
    /// segment may have been cleaned away.
    pub(crate) fn is_there(&self, turn: &Turn<'_>) -> bool {
        match self.body {
            BodySource::Converted(_) => true,
            BodySource::Unread => false,
            BodySource::Stored { .. } => {
                spool::message_at(&*turn.medium, self.message, self.place).is_ok()
            }
        }
    }

    /// Hands the envelope to the session: those of `indexes`.
    ///
    /// # Errors
    /// [`Unfit`]: the peer cannot take it as it is.
    pub(crate) fn offer(
        &mut self,
        turn: &Turn<'_>,
        client: &mut Client,
        stored: &Message<'_>,
        indexes: &[u16],
    ) -> Result<(), Unfit> {
        let recipients: Vec<RecipientTo<'_>> = indexes
            .iter()
            .filter_map(|index| stored.recipient(*index))
            .map(|r| RecipientTo { address: r.address, notify: r.notify, orcpt: r.orcpt })
            .collect();
        let (size, body) = match &self.body {
            BodySource::Stored { len, .. } => (u64::from(*len), stored.body_kind()),
            BodySource::Converted(bytes) => (bytes.len() as u64, Body::SevenBit),
            BodySource::Unread => unreachable!("a message is read before it is offered"),
        };
        let mut transaction = Transaction {
            sender: stored.sender(),
            recipients: &recipients,
            size,
            body,
            smtputf8: stored.smtputf8(),
            ret: stored.ret(),
            envid: stored.envid(),
        };
        let mut begun = client.begin(turn.now.mono, &transaction);
        if begun == Err(Unfit::PeerNeedsAscii) && self.wire(turn, stored).is_ascii() {
            // Asked for in case it were needed, as some clients always do: for
            // this message it is not (RFC 6531 §3.2).
            transaction.smtputf8 = false;
            begun = client.begin(turn.now.mono, &transaction);
        }
        if let Err(Unfit::PeerTooSmall { size_max, .. }) = begun
            && at_least(size) <= size_max
        {
            transaction.size = size - self.stuffed_dots(turn, stored);
            begun = client.begin(turn.now.mono, &transaction);
        }
        self.dsn = begun?.dsn;
        Ok(())
    }

    /// Dots that quote dots: on the wire, but no part of the size (RFC 1870 §5).
    /// Counted only where the peer's room depends on them.
    fn stuffed_dots(&self, turn: &Turn<'_>, stored: &Message<'_>) -> u64 {
        let lines = self.wire(turn, stored).split_inclusive(|byte| *byte == b'\n');
        lines.filter(|line| line.starts_with(b".")).count() as u64
    }

    /// Its content on the wire.
    fn wire<'a>(&'a self, turn: &'a Turn<'_>, stored: &Message<'_>) -> &'a [u8] {
        match &self.body {
            BodySource::Converted(bytes) => bytes,
            _ => stored.body(&*turn.medium).unwrap_or_default(),
        }
    }

    /// Makes a 7-bit form of the message, if there is one. False when there is
    /// none, or when it was made before.
    pub(crate) fn convert(&mut self, turn: &Turn<'_>, stored: &Message<'_>) -> bool {
        let BodySource::Stored { .. } = self.body else { return false };
        let Some(wire) = stored.body(&*turn.medium) else { return false };
        match mail::encode::to_seven_bit(wire) {
            Ok(converted) => {
                self.body = BodySource::Converted(converted.into_owned());
                true
            }
            Err(_) => false,
        }
    }

    /// Asks for the body to be sent. False: its way into the kernel will not
    /// be reported.
    pub(crate) fn send_body(&self, turn: &mut Turn<'_>, conn: ConnId) -> bool {
        match &self.body {
            BodySource::Stored { segment, offset, len } => {
                let (segment, offset, len) = (*segment, *offset, *len);
                let len = if planted(Bug::BodyTruncated) { len.min(0xffff) } else { len };
                turn.effects.push(Effect::SendBody { conn, segment, offset, len });
                true
            }
            BodySource::Converted(bytes) => {
                turn.effects.push(Effect::Send { conn, bytes: bytes.clone() });
                false
            }
            BodySource::Unread => unreachable!("a message is read before it is sent"),
        }
    }
}
