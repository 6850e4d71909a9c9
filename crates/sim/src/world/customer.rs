//! Clients as they are out there: they pipeline or wait, send by DATA or BDAT,
//! in pieces, slowly, ahead of replies; they say what makes no sense, leave in
//! the middle or just fall silent, and come back with what was put off.
//!
//! Never waits for more than its replies: a client that is owed one waits for
//! ever, and it is the shard's part to end that.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::{ConnId, MessageId, Monotonic};
use shard::event::Event;

use super::lines::{mail_line, next_reply, rcpt_line, stuffed};
use super::{Thing, World};
use crate::observation::{Letter, Link, Observation, Verb};

/// How a client goes about it.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Commands go out together.
    pub pipelines: bool,
    /// Content goes out in so many chunks by BDAT; 0: by DATA.
    pub chunks: u32,
    /// Bytes that travel at once.
    pub piece: usize,
    /// Time between two such pieces.
    pub gap: Duration,
    /// Time on the way.
    pub delay: Duration,
    /// Said before any mail, each line of it answered by one reply.
    pub nonsense: Vec<Vec<u8>>,
    /// Leaves after so many replies.
    pub leaves_after: Option<u32>,
    /// Sends this many percent of a content, and leaves.
    pub cuts_at: Option<u8>,
    /// Leaving is silence: nobody is told.
    pub silently: bool,
    /// Says HELO, and uses no extension.
    pub helo: bool,
}

impl Manner {
    /// A client that does as it should.
    pub fn plain(delay: Duration) -> Self {
        Self {
            pipelines: false,
            chunks: 0,
            piece: usize::MAX,
            gap: Duration::ZERO,
            delay,
            nonsense: Vec::new(),
            leaves_after: None,
            cuts_at: None,
            silently: false,
            helo: false,
        }
    }
}

/// A client's session.
#[derive(Debug)]
pub struct Customer {
    manner: Manner,
    letters: VecDeque<(u32, Arc<Letter>)>,
    current: Option<Current>,
    /// Bytes of the shard that are no whole reply yet.
    heard: Vec<u8>,
    /// Replies that are owed, in order.
    owed: VecDeque<(Verb, u32)>,
    replies: u32,
    gone: Gone,
    /// The client itself has left, whatever the shard does.
    deserted: bool,
    paused: bool,
    held: VecDeque<Sent>,
    /// Nothing arrives before these, at the shard and here.
    there: Monotonic,
    here: Monotonic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    No,
    /// Fallen silent.
    Silent,
    /// Sent away.
    Away,
}

/// The message under way.
#[derive(Debug)]
struct Current {
    number: u32,
    letter: Arc<Letter>,
    mail: u16,
    rcpt: Vec<u16>,
}

/// Something on its way to the shard.
#[derive(Debug)]
pub(super) struct Sent {
    bytes: Vec<u8>,
    /// The message whose last byte this is.
    ends: Option<(u32, Arc<Letter>)>,
}

/// A reply on its way to the client.
#[derive(Debug)]
pub(super) struct Told {
    verb: Verb,
    number: u32,
    code: u16,
    id: Option<MessageId>,
}

impl Customer {
    pub(super) fn is_closed(&self) -> bool {
        self.gone == Gone::Away
    }

    /// What the client would hand in again: it was put off, or nobody knows.
    fn unfinished(&mut self) -> Vec<Arc<Letter>> {
        let current = self.current.take().map(|current| current.letter);
        current.into_iter().chain(self.letters.drain(..).map(|(_, letter)| letter)).collect()
    }
}

fn named(shard: usize, conn: ConnId) -> Link {
    Link { shard: shard as u16, conn: conn.0 }
}

impl World {
    /// A client comes to hand in letters, each under its number.
    pub fn visit(
        &mut self,
        shard: usize,
        peer: IpAddr,
        letters: VecDeque<(u32, Arc<Letter>)>,
        manner: Manner,
    ) {
        let conn = ConnId(self.network.next_inbound);
        self.network.next_inbound += 2;
        let delay = manner.delay;
        let customer = Customer {
            manner,
            letters,
            current: None,
            heard: Vec::new(),
            owed: [(Verb::Greeting, 0)].into(),
            replies: 0,
            gone: Gone::No,
            deserted: false,
            paused: false,
            held: VecDeque::new(),
            there: self.now.mono,
            here: self.now.mono,
        };
        self.network.customers.insert((shard, conn.0), customer);
        let peer = SocketAddr::new(peer, 40_000);
        let local: SocketAddr = ([127, 0, 0, 1], 2525).into();
        self.tell(shard, delay, Event::Accepted { conn, peer, local, listener: 0 });
    }

    /// Bytes of a client arrive at its shard.
    pub(super) fn customer_sent(&mut self, shard: usize, conn: ConnId, sent: Sent) {
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        if customer.gone == Gone::Away {
            return;
        }
        if customer.paused {
            return customer.held.push_back(sent);
        }
        let client = named(shard, conn);
        self.see(Observation::ClientSpoke { client });
        if let Some((message, letter)) = sent.ends {
            self.see(Observation::Handed { client, message, letter });
        }
        self.step(shard, Event::Received { conn, bytes: &sent.bytes });
    }

    /// The shard reads no more from a client, or goes on.
    pub(super) fn pause(&mut self, shard: usize, conn: ConnId, paused: bool) {
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        customer.paused = paused;
        if !paused {
            // Ahead of what is still on its way: in order, and at once.
            for sent in std::mem::take(&mut customer.held).into_iter().rev() {
                self.early -= 1;
                let at = (self.now.mono, self.early);
                self.agenda.insert(at, Thing::FromCustomer(shard, conn, sent));
            }
        }
    }

    /// The shard said something to a client.
    pub(super) fn customer_is_told(&mut self, shard: usize, conn: ConnId, bytes: &[u8]) {
        let now = self.now.mono;
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        customer.heard.extend_from_slice(bytes);
        let at = (now + customer.manner.delay).max(customer.here);
        customer.here = at;
        let mut told = Vec::new();
        while let Some((code, id)) = next_reply(&mut customer.heard) {
            let (verb, number) = customer.owed.pop_front().unwrap_or((Verb::Other, 0));
            told.push(Told { verb, number, code, id });
        }
        for told in told {
            if told.verb == Verb::Dot && told.code / 100 == 2 {
                self.promised(shard, conn, told.number);
            }
            self.order += 1;
            self.agenda.insert((at, self.order), Thing::ToCustomer(shard, conn, told));
        }
    }

    /// A 2xx to the dot leaves a shard.
    fn promised(&mut self, shard: usize, conn: ConnId, message: u32) {
        if !self.eyes.open {
            return;
        }
        let customer = self.network.customers.get(&(shard, conn.0));
        let current = customer.and_then(|customer| customer.current.as_ref());
        let Some(current) = current.filter(|current| current.number == message) else { return };
        // Replies to RCPT may still be on their way to the client: then all
        // that is asked is what is known to be taken.
        let taken: Vec<bool> = current.rcpt.iter().map(|code| code / 100 == 2).collect();
        let letter = current.letter.clone();
        let durable = self.is_safe(message, &letter, &taken);
        let client = named(shard, conn);
        self.see(Observation::Promised { client, message, durable });
    }

    /// A reply reaches a client.
    pub(super) fn customer_hears(&mut self, shard: usize, conn: ConnId, told: Told) {
        let Told { verb, number, code, id } = told;
        let client = named(shard, conn);
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        if customer.gone == Gone::Silent || customer.deserted {
            return;
        }
        customer.replies += 1;
        if matches!(verb, Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Dot) {
            self.see(Observation::Answered { client, message: number, to: verb, code, id });
        }
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        if customer.manner.leaves_after.is_some_and(|after| customer.replies >= after) {
            return self.customer_leaves(shard, conn);
        }
        match verb {
            Verb::Greeting if code == 220 => {
                let word = if customer.manner.helo { "HELO" } else { "EHLO" };
                let line = format!("{word} client.example\r\n").into_bytes();
                self.customer_says(shard, conn, line, &[(Verb::Hello, 0)], None);
            }
            Verb::Hello if code == 250 => {
                let nonsense = std::mem::take(&mut customer.manner.nonsense);
                for line in nonsense {
                    self.customer_says(shard, conn, line, &[(Verb::Other, 0)], None);
                }
                self.next_letter(shard, conn);
            }
            Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Dot => {
                self.customer_goes_on(shard, conn, number, verb, code);
            }
            // Once nonsense has begun content, it ends it.
            Verb::Other if code == 354 => {
                self.customer_says(shard, conn, b".\r\n".to_vec(), &[(Verb::Other, 0)], None);
            }
            _ => {}
        }
    }

    /// The next transaction, or the end.
    fn next_letter(&mut self, shard: usize, conn: ConnId) {
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        let Some((number, letter)) = customer.letters.pop_front() else {
            return self.customer_says(shard, conn, b"QUIT\r\n".to_vec(), &[(Verb::Quit, 0)], None);
        };
        let rcpt = vec![0; letter.to.len()];
        let current = Current { number, letter: letter.clone(), mail: 0, rcpt };
        customer.current = Some(current);
        let manner = &customer.manner;
        let (pipelines, chunks) = (manner.pipelines && !manner.helo, manner.chunks);
        let mut bytes = mail_line(&letter, manner.helo);
        let mut owed = vec![(Verb::Mail, number)];
        if pipelines {
            for index in 0..letter.to.len() {
                bytes.extend_from_slice(&rcpt_line(&letter, index, false));
                owed.push((Verb::Rcpt, number));
            }
            if chunks == 0 {
                bytes.extend_from_slice(b"DATA\r\n");
                owed.push((Verb::Data, number));
            }
        }
        self.customer_says(shard, conn, bytes, &owed, None);
        if pipelines && chunks > 0 {
            self.customer_chunks(shard, conn);
        }
    }

    /// A reply within a transaction.
    fn customer_goes_on(&mut self, shard: usize, conn: ConnId, number: u32, verb: Verb, code: u16) {
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        let manner = customer.manner.clone();
        // Of one that has ended, replies to what was sent ahead say nothing.
        let current = customer.current.as_mut().filter(|current| current.number == number);
        let Some(current) = current else { return };
        let letter = current.letter.clone();
        let waits = !manner.pipelines || manner.helo;
        match verb {
            Verb::Mail => current.mail = code,
            Verb::Rcpt => {
                if let Some(slot) = current.rcpt.iter_mut().find(|slot| **slot == 0) {
                    *slot = code;
                }
            }
            Verb::Data if code == 354 => return self.customer_content(shard, conn),
            // A chunk that was taken is no end.
            Verb::Data if code == 250 => return,
            _ => return self.letter_ends(shard, conn, code),
        }
        if code == 421 || (waits && verb == Verb::Mail && code / 100 != 2) {
            return self.letter_ends(shard, conn, code);
        }
        if !waits {
            return;
        }
        match current.rcpt.iter().position(|code| *code == 0) {
            Some(next) => {
                let line = rcpt_line(&letter, next, manner.helo);
                self.customer_says(shard, conn, line, &[(Verb::Rcpt, number)], None);
            }
            None if current.rcpt.iter().all(|code| code / 100 != 2) => {
                self.letter_ends(shard, conn, code);
            }
            None if manner.chunks > 0 && !manner.helo => self.customer_chunks(shard, conn),
            None => {
                let line = b"DATA\r\n".to_vec();
                self.customer_says(shard, conn, line, &[(Verb::Data, number)], None);
            }
        }
    }

    /// The content behind DATA.
    fn customer_content(&mut self, shard: usize, conn: ConnId) {
        let Some(customer) = self.network.customers.get(&(shard, conn.0)) else { return };
        let Some(current) = &customer.current else { return };
        let (number, letter) = (current.number, current.letter.clone());
        let mut wire = stuffed(&letter.content);
        if let Some(percent) = customer.manner.cuts_at {
            wire.truncate(wire.len() * usize::from(percent) / 100);
            self.customer_says(shard, conn, wire, &[], None);
            return self.customer_leaves(shard, conn);
        }
        wire.extend_from_slice(b".\r\n");
        self.customer_says(shard, conn, wire, &[(Verb::Dot, number)], Some((number, letter)));
    }

    /// The content in chunks.
    fn customer_chunks(&mut self, shard: usize, conn: ConnId) {
        let Some(customer) = self.network.customers.get(&(shard, conn.0)) else { return };
        let Some(current) = &customer.current else { return };
        let (number, letter) = (current.number, current.letter.clone());
        let (count, cuts) = (customer.manner.chunks as usize, customer.manner.cuts_at);
        let size = letter.content.len().div_ceil(count).max(1);
        let chunks: Vec<&[u8]> = letter.content.chunks(size).collect();
        let last = chunks.len().saturating_sub(1);
        for (n, chunk) in chunks.into_iter().enumerate() {
            let word = if n == last { " LAST" } else { "" };
            let mut bytes = format!("BDAT {}{word}\r\n", chunk.len()).into_bytes();
            bytes.extend_from_slice(chunk);
            if cuts.is_some() {
                bytes.truncate(bytes.len() / 2);
                self.customer_says(shard, conn, bytes, &[], None);
                return self.customer_leaves(shard, conn);
            }
            let verb = if n == last { Verb::Dot } else { Verb::Data };
            let ends = (n == last).then(|| (number, letter.clone()));
            self.customer_says(shard, conn, bytes, &[(verb, number)], ends);
        }
    }

    /// What became of a letter is known.
    fn letter_ends(&mut self, shard: usize, conn: ConnId, code: u16) {
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        let Some(current) = customer.current.take() else { return };
        let letter = &current.letter;
        let to = |put_off: &dyn Fn(u16) -> bool| {
            let codes = current.rcpt.iter();
            let kept = letter.to.iter().zip(codes).filter(|(_, code)| put_off(**code));
            kept.map(|(to, _)| to.clone()).collect::<Vec<_>>()
        };
        let again = match (current.mail / 100, code / 100) {
            (4, _) => to(&|_| true),
            (_, 4) => to(&|code| code / 100 != 5),
            _ => to(&|code| code / 100 == 4),
        };
        if !again.is_empty() {
            self.again.push(Arc::new(Letter { to: again, ..Letter::clone(letter) }));
        }
        let taken = code == 250;
        if code == 421 {
            return;
        }
        if !taken {
            self.customer_says(shard, conn, b"RSET\r\n".to_vec(), &[(Verb::Reset, 0)], None);
        }
        self.next_letter(shard, conn);
    }

    fn customer_says(
        &mut self,
        shard: usize,
        conn: ConnId,
        bytes: Vec<u8>,
        owed: &[(Verb, u32)],
        mut ends: Option<(u32, Arc<Letter>)>,
    ) {
        let now = self.now.mono;
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        customer.owed.extend(owed);
        let manner = &customer.manner;
        let piece = manner.piece.max(bytes.len() / PIECES_MAX + 1);
        let mut at = (now + manner.delay).max(customer.there);
        let count = bytes.len().div_ceil(piece);
        for (n, piece) in bytes.chunks(piece).enumerate() {
            let ends = if n + 1 == count { ends.take() } else { None };
            let sent = Sent { bytes: piece.to_vec(), ends };
            self.order += 1;
            self.agenda.insert((at, self.order), Thing::FromCustomer(shard, conn, sent));
            customer.there = at;
            at = at + manner.gap;
        }
    }

    /// The client goes, with a word or without.
    fn customer_leaves(&mut self, shard: usize, conn: ConnId) {
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        (customer.gone, customer.deserted) = (Gone::Silent, true);
        let again = customer.unfinished();
        if !customer.manner.silently {
            let at = customer.there.max(self.now.mono + customer.manner.delay);
            let closed = Event::Closed { conn, error: None };
            self.order += 1;
            self.agenda.insert((at, self.order), Thing::Event(shard, closed));
        }
        self.again.extend(again);
    }

    /// The shard learns that a client has left.
    pub(super) fn customer_has_left(&mut self, shard: usize, conn: ConnId) {
        let customer = self.network.customers.remove(&(shard, conn.0));
        self.again.extend(customer.map(|mut customer| customer.unfinished()).unwrap_or_default());
        self.see(Observation::ClientGone { client: named(shard, conn), by_us: false });
    }

    /// The shard closes a client's connection; what it said before arrives.
    pub(super) fn customer_is_sent_away(&mut self, shard: usize, conn: ConnId) {
        let now = self.now.mono;
        let Some(customer) = self.network.customers.get_mut(&(shard, conn.0)) else { return };
        let at = (now + customer.manner.delay).max(customer.here);
        customer.gone = Gone::Away;
        self.order += 1;
        self.agenda.insert((at, self.order), Thing::ClientGone(shard, conn));
    }

    /// A client has heard all, and the connection is over.
    pub(super) fn customer_is_away(&mut self, shard: usize, conn: ConnId) {
        let Some(mut customer) = self.network.customers.remove(&(shard, conn.0)) else { return };
        self.again.extend(customer.unfinished());
        self.see(Observation::ClientGone { client: named(shard, conn), by_us: true });
    }

    /// The program has ended, and with it all connections of clients.
    pub(super) fn customers_are_cut_off(&mut self) {
        for mut customer in std::mem::take(&mut self.network.customers).into_values() {
            self.again.extend(customer.unfinished());
        }
    }
}

/// A client sends one thing in so many pieces at most.
const PIECES_MAX: usize = 100;
