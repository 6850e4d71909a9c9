//! The bytes of a message on their way through the session, by DATA or BDAT.
//!
//! Never here: what spoils a message (`data`, `chunking`). Bytes go from the
//! caller's buffer straight into the message; deadlines move on with them, but
//! never beyond a least rate, so that one byte a minute does not hold a
//! session for ever.
//!
//! Read first: RFC 5321 §4.1.1.4, RFC 3030 §2, RFC 5321 §4.5.3.2.7.

use std::mem;
use std::time::Duration;

use base::Monotonic;
use mail::Status;

use super::commands::{capacity, out_of_order};
use super::{Hello, Policy, Received, Session, Settings, State, Transaction};
use crate::answer::Answer;
use crate::chunking::ChunkReader;
use crate::command::Chunk;
use crate::data::{Content, ContentFault};
use crate::direct::checked_header;

/// A chunk whose octets are coming in.
#[derive(Debug)]
pub(super) struct OpenChunk {
    bytes: u64,
    left: u64,
    last: bool,
    /// Why it will be refused when all of it is here.
    refusal: Option<Answer>,
    began: Monotonic,
    touched: bool,
}

/// The chunks of one message so far.
#[derive(Debug)]
pub(super) struct OpenChunks {
    pub(super) reader: ChunkReader,
    began: Monotonic,
    seen: u64,
}

impl Session {
    /// Feeds bytes of a message without a stay in the input buffer; hands back
    /// what does not belong to it.
    pub(super) fn take_content<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match &mut self.state {
            State::Data { reader, touched, .. } => {
                *touched = true;
                &bytes[reader.take(bytes)..]
            }
            State::Chunk(open) => {
                let used = bytes.len().min(usize::try_from(open.left).unwrap_or(usize::MAX));
                open.left -= used as u64;
                open.touched = true;
                let chunks = self.transaction.as_mut().and_then(|open| open.chunks.as_mut());
                if let (Some(chunks), None) = (chunks, &open.refusal) {
                    chunks.seen = chunks.seen.saturating_add(used as u64);
                    chunks.reader.take(&bytes[..used]);
                }
                &bytes[used..]
            }
            _ => bytes,
        }
    }

    /// Takes what is there of a message behind DATA; whether it has ended.
    pub(super) fn data(&mut self, rest: &mut &[u8], now: Monotonic) -> bool {
        if !rest.is_empty() {
            *rest = self.take_content(rest);
        }
        let State::Data { reader, began, touched } = &mut self.state else { return false };
        if mem::take(touched) {
            self.deadline = content_deadline(&self.settings, *began, reader.bytes_seen(), now);
        }
        reader.has_ended()
    }

    /// Takes what is there of a chunk; whether all of it has come.
    pub(super) fn chunk(&mut self, rest: &mut &[u8], now: Monotonic) -> bool {
        if !rest.is_empty() {
            *rest = self.take_content(rest);
        }
        let State::Chunk(open) = &mut self.state else { return false };
        let (all_here, touched) = (open.left == 0, mem::take(&mut open.touched));
        if touched && open.refusal.is_some() {
            // What is only counted off has an end, too: it may be all the octets
            // that a number can name.
            let seen = open.bytes - open.left;
            self.deadline = content_deadline(&self.settings, open.began, seen, now);
        } else if touched {
            self.set_command_deadline(now);
        }
        all_here
    }

    /// The deadline of a command, or of the next octets of a chunk: within a
    /// message that comes in chunks all of them share one time.
    pub(super) fn set_command_deadline(&mut self, now: Monotonic) {
        let chunks = self.transaction.as_ref().and_then(|open| open.chunks.as_ref());
        self.deadline = match chunks {
            Some(chunks) => content_deadline(&self.settings, chunks.began, chunks.seen, now),
            None => now + self.settings.command_timeout,
        };
    }

    /// The final dot has come.
    pub(super) fn data_ended(
        &mut self,
        now: Monotonic,
        out: &mut Vec<u8>,
    ) -> Option<Box<Received>> {
        let State::Data { reader, .. } = mem::replace(&mut self.state, State::Command) else {
            return None;
        };
        self.deadline = now + self.settings.command_timeout;
        let transaction = self.transaction.take()?;
        self.owe(transaction.taken);
        self.received(transaction, reader.finish(), out)
    }

    /// Opens a BDAT chunk. Whatever is wrong with it is said when all of its
    /// octets are here, so that none of them is taken for a command.
    pub(super) fn begin_chunk(&mut self, chunk: Chunk, now: Monotonic, policy: &mut dyn Policy) {
        let refusal = self.chunk_refusal(now, policy);
        self.state = State::Chunk(OpenChunk {
            bytes: chunk.bytes,
            left: chunk.bytes,
            last: chunk.last,
            refusal,
            began: now,
            touched: false,
        });
    }

    /// All octets of a chunk have come.
    pub(super) fn chunk_ended(
        &mut self,
        now: Monotonic,
        out: &mut Vec<u8>,
    ) -> Option<Box<Received>> {
        let State::Chunk(open) = mem::replace(&mut self.state, State::Command) else {
            return None;
        };
        // A chunk that is not the last has one reply whatever the protocol.
        let taken = self.transaction.as_ref().map_or(0, |open| open.taken);
        self.owe(if open.last { taken } else { 1 });
        let fault = self.transaction.as_ref().and_then(|t| t.chunks.as_ref()?.reader.fault());
        if let Some(refusal) = open.refusal.or(fault.map(ContentFault::answer)) {
            self.spoil(open.last);
            self.say_of_message(&refusal, out);
            self.set_command_deadline(now);
            return None;
        }
        self.set_command_deadline(now);
        if !open.last {
            let text = format!("{} octets received", open.bytes);
            self.say(&Answer::new(250, Status::OK, text), out);
            return None;
        }
        let mut transaction = self.transaction.take()?;
        let chunks = transaction.chunks.take()?;
        self.received(transaction, chunks.reader.finish(), out)
    }

    fn chunk_refusal(&mut self, now: Monotonic, policy: &mut dyn Policy) -> Option<Answer> {
        let size_max = self.settings.message_bytes_max;
        let Some(transaction) = &mut self.transaction else {
            return Some(out_of_order("MAIL first"));
        };
        if transaction.spoilt {
            return Some(out_of_order("The message was refused; RSET first"));
        }
        if transaction.envelope.recipients.is_empty() {
            return Some(Answer::new(503, Status::BAD_COMMAND, "No valid recipients"));
        }
        if transaction.chunks.is_none() {
            if let Err(refusal) = policy.content(&transaction.envelope, transaction.declared) {
                return Some(refusal);
            }
            let capacity = capacity(transaction.declared);
            let reader = ChunkReader::new(size_max, capacity);
            transaction.chunks = Some(OpenChunks { reader, began: now, seen: 0 });
        }
        None
    }

    /// A chunk was refused: the rest of its message goes the same way
    /// (RFC 3030 §2), and with the last chunk the transaction is over.
    fn spoil(&mut self, last: bool) {
        if last {
            self.transaction = None;
        } else if let Some(transaction) = &mut self.transaction {
            transaction.chunks = None;
            transaction.spoilt = true;
        }
    }

    /// Hands a whole message out, or refuses it; the transaction is over in
    /// both cases.
    fn received(
        &mut self,
        transaction: Transaction,
        content: Result<Content, ContentFault>,
        out: &mut Vec<u8>,
    ) -> Option<Box<Received>> {
        let content = match content {
            Ok(content) => content,
            Err(fault) => {
                self.say_of_message(&fault.answer(), out);
                return None;
            }
        };
        let header = match checked_header(&content.body) {
            Ok(header) => header,
            Err(refusal) => {
                self.say_of_message(&refusal, out);
                return None;
            }
        };
        let Hello { name, esmtp } = self.hello.clone()?;
        self.state = State::Waiting;
        Some(Box::new(Received {
            envelope: transaction.envelope,
            body: content.body,
            size: content.size,
            eight_bit: content.eight_bit,
            header,
            hello: name,
            esmtp,
        }))
    }
}

/// A stall ends the session, and so does a rate below the least. Octets
/// beyond the size limit buy no time.
fn content_deadline(settings: &Settings, began: Monotonic, seen: u64, now: Monotonic) -> Monotonic {
    let counted = seen.min(settings.message_bytes_max);
    let earned = counted / settings.content_bytes_per_second_min.max(1);
    let total = began + settings.command_timeout + Duration::from_secs(earned);
    total.min(now + settings.command_timeout)
}
