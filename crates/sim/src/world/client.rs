//! Clients that hand mail in: one transaction each, one command at a time.

use std::collections::VecDeque;
use std::net::SocketAddr;

use base::{ConnId, MessageId};
use shard::event::Event;

use super::{LATENCY, Thing, World};

/// What came of one submission.
#[derive(Clone, Debug, Default)]
pub struct Ticket {
    /// The reply to the content, or the first refusal.
    pub answer: Option<(u16, String)>,
    /// The name the message got.
    pub id: Option<MessageId>,
    /// When the answer came.
    pub at_ms: u64,
}

/// One client's session.
#[derive(Debug)]
pub struct Client {
    to_say: VecDeque<Vec<u8>>,
    heard: Vec<u8>,
    ticket: usize,
}

impl World {
    /// Begins to hand in a message; what comes of it stands in the ticket.
    pub fn submit(&mut self, shard: usize, from: &str, to: &[&str], body: &str) -> usize {
        let mut content = format!("From: {from}\r\nTo: somebody\r\nSubject: story\r\n\r\n");
        content.push_str(&body.replace('\n', "\r\n"));
        content.push_str("\r\n.\r\n");
        let mut to_say = VecDeque::from([
            b"EHLO client.example\r\n".to_vec(),
            format!("MAIL FROM:<{from}>\r\n").into_bytes(),
        ]);
        to_say.extend(to.iter().map(|to| format!("RCPT TO:<{to}>\r\n").into_bytes()));
        to_say.push_back(b"DATA\r\n".to_vec());
        to_say.push_back(content.into_bytes());
        to_say.push_back(b"QUIT\r\n".to_vec());
        self.session(shard, to_say)
    }

    /// Begins a session that says these things, each after the reply to the
    /// one before.
    pub fn session(&mut self, shard: usize, to_say: VecDeque<Vec<u8>>) -> usize {
        // Many clients, or one would come to the bound on its sessions.
        let ticket = self.network.tickets.len();
        self.session_from(shard, [127, 0, (ticket >> 8) as u8, ticket as u8], to_say)
    }

    /// The same for a client at an address; its connection has the number of
    /// the ticket, doubled.
    pub fn session_from(&mut self, shard: usize, ip: [u8; 4], to_say: VecDeque<Vec<u8>>) -> usize {
        let ticket = self.network.tickets.len();
        self.network.tickets.push(Ticket::default());
        let conn = ConnId(self.network.next_inbound);
        self.network.next_inbound += 2;
        let client = Client { to_say, heard: Vec::new(), ticket };
        self.network.clients.insert((shard, conn.0), client);
        let peer: SocketAddr = (ip, 40_000).into();
        let local: SocketAddr = ([127, 0, 0, 1], 2525).into();
        self.tell(shard, LATENCY, Event::Accepted { conn, peer, local, listener: 0 });
        ticket
    }

    /// Hands a message in and waits for the 250; gives its id.
    pub fn accept(&mut self, shard: usize, from: &str, to: &[&str]) -> MessageId {
        let ticket = self.submit(shard, from, to, "Hello.\n..leading dot");
        self.run_until("an answer to the content", |world| world.ticket(ticket).answer.is_some());
        let Ticket { answer, id, .. } = self.ticket(ticket);
        id.unwrap_or_else(|| panic!("not accepted: {answer:?}"))
    }

    /// What came of a submission so far.
    pub fn ticket(&self, ticket: usize) -> Ticket {
        self.network.tickets[ticket].clone()
    }

    pub(super) fn client_hears(&mut self, shard: usize, conn: ConnId, bytes: &[u8]) {
        let Some(client) = self.network.clients.get_mut(&(shard, conn.0)) else { return };
        client.heard.extend_from_slice(bytes);
        while let Some((code, text)) = next_reply(&mut client.heard) {
            let quits = client.to_say.len() == 1;
            let ticket = &mut self.network.tickets[client.ticket];
            if ticket.answer.is_none() && (code >= 400 || quits) {
                ticket.id = text.rsplit(' ').next().and_then(|id| id.trim().parse().ok());
                ticket.at_ms = self.now.mono.as_millis();
                ticket.answer = Some((code, text));
            }
            if code >= 400 && !quits {
                client.to_say = [b"QUIT\r\n".to_vec()].into();
            }
            let Some(line) = client.to_say.pop_front() else { return };
            for piece in line.chunks(self.network.piece) {
                let piece = piece.to_vec();
                self.order += 1;
                let at = (self.now.mono + LATENCY, self.order);
                self.agenda.insert(at, Thing::Received(shard, conn, piece, Vec::new()));
            }
        }
    }
}

/// Takes one whole reply off what was heard.
fn next_reply(heard: &mut Vec<u8>) -> Option<(u16, String)> {
    let text = String::from_utf8(heard.clone()).expect("replies are ASCII");
    let mut end = 0;
    for line in text.split_inclusive("\r\n") {
        end += line.len();
        if line.ends_with("\r\n") && line.as_bytes().get(3) == Some(&b' ') {
            heard.drain(..end);
            return Some((line[..3].parse().expect("a code"), text[..end - 2].to_owned()));
        }
    }
    None
}
