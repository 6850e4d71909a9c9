//! Operators: commands to all shards and the one answer made of theirs.
//!
//! Invariant: a crash takes orders with it; nobody answers them.

use std::collections::BTreeMap;

use base::{ConnId, MessageId};
use control::api::How;
use control::{Filter, QueueAct, Request};
use serde_json::Value;
use shard::command::{Answer, merge};
use shard::event::{Came, ConnectFailure, Event};
use std::net::IpAddr;
use std::time::Duration;

use super::World;
use crate::observation::{self, Gauges, Link, Observation, Whom};

/// Orders under way.
#[derive(Debug, Default)]
pub(super) struct Orders {
    last: u64,
    open: BTreeMap<u64, (Request, Vec<Answer>)>,
    /// Orders that a watching world gave, which are told of when answered.
    watched: BTreeMap<u64, u16>,
}

impl Orders {
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.watched.clear();
    }
}

impl World {
    /// Sends a command to all shards; gives its number.
    pub(super) fn order(&mut self, command: &Request) -> u64 {
        self.orders.last += 1;
        let request = self.orders.last;
        self.orders.open.insert(request, (command.clone(), Vec::new()));
        for shard in 0..self.shards.len() {
            let command = command.clone();
            self.tell(shard, Duration::ZERO, Event::Command { request, command });
        }
        request
    }

    /// The merged answer, once all shards have given theirs.
    pub(super) fn obeyed(&mut self, request: u64) -> Option<Answer> {
        let shards = self.shards.len();
        let whole = self.orders.open.get(&request).is_some_and(|(_, got)| got.len() == shards);
        let (command, answers) =
            if whole { self.orders.open.remove(&request)? } else { return None };
        Some(merge(&command, answers))
    }

    /// Brings a message to a shard without a session; gives its number.
    pub fn send_beside(&mut self, shard: usize, received: Box<smtp::submission::Received>) -> u64 {
        self.orders.last += 1;
        let request = self.orders.last;
        self.orders.open.insert(request, (Request::Status, Vec::new()));
        let came = Came::By("over the control socket from uid 0".into());
        self.tell(shard, Duration::ZERO, Event::Submitted { request, came, received });
        request
    }

    /// The answer about it, once there is one.
    pub fn answer_beside(&mut self, request: u64) -> Option<Answer> {
        let (_, answers) = self.orders.open.get_mut(&request)?;
        answers.pop()
    }

    /// One shard's answer.
    pub(super) fn answered(&mut self, request: u64, answer: Answer) {
        if let Some((_, answers)) = self.orders.open.get_mut(&request) {
            answers.push(answer);
        }
        if !self.orders.watched.contains_key(&request) {
            return;
        }
        if let Some(answer) = self.obeyed(request) {
            self.orders.watched.remove(&request);
            let count = answer.body["recipients"].as_u64().unwrap_or_default();
            self.see(Observation::Obeyed { order: request, code: answer.status, count });
            if answer.body["counters"].is_object() {
                self.gauge(&answer.body);
            }
        }
    }

    /// An operator acts on the queue.
    pub(crate) fn act_on(&mut self, act: QueueAct, whom: Whom) {
        let filter = match &whom {
            Whom::All => Filter { all: true, ..Filter::default() },
            Whom::Message(id) => Filter { id: Some(*id), ..Filter::default() },
            Whom::Domain(name) => {
                Filter { domain: mail::Domain::parse(name).ok(), ..Filter::default() }
            }
            Whom::Sender(text) => Filter { sender: Some(text.to_string()), ..Filter::default() },
            Whom::Recipient(text) => {
                Filter { recipient: Some(text.to_string()), ..Filter::default() }
            }
        };
        let order = self.order(&Request::QueueAct { act, filter, how: How::default() });
        self.orders.watched.insert(order, 0);
        let act = match act {
            QueueAct::Flush => observation::Act::Flush,
            QueueAct::Hold => observation::Act::Hold,
            QueueAct::Release => observation::Act::Release,
            QueueAct::Remove => observation::Act::Remove,
            QueueAct::Bounce | QueueAct::Reroute => unreachable!("no fault draws it"),
        };
        self.see(Observation::Ordered { order, act, whom });
    }

    /// An operator looks: at the status, at lists, at one message.
    pub(crate) fn look(&mut self, what: u64, id: Option<MessageId>) {
        let all = || Filter { all: true, ..Filter::default() };
        let request = match (what % 5, id) {
            (0, Some(id)) => Request::QueueShow(id),
            (1, _) => Request::QueueList { by: control::By::Message, filter: all(), limit: 50 },
            (2, _) => {
                Request::QueueList { by: control::By::Site, filter: Filter::default(), limit: 20 }
            }
            (3, _) => {
                Request::QueueList { by: control::By::Domain, filter: Filter::default(), limit: 20 }
            }
            _ => Request::Status,
        };
        let order = self.order(&request);
        self.orders.watched.insert(order, 0);
    }

    /// Counts out of a status.
    fn gauge(&mut self, status: &Value) {
        let bounds = &self.policy.submission;
        let shards = self.shards.len() as u64;
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        // Each shard's share is at least 1, and those refused are told so.
        let clients_max = u64::from(bounds.max_connections).max(shards);
        let messages_max = self.policy.queue.max_messages.max(shards);
        let gauges = Gauges {
            counts: vec![
                ("clients", number(&status["sessions"]["in"]), None),
                ("clients served", self.network.open_clients() as u64, Some(clients_max * 4 + 64)),
                ("links", number(&status["sessions"]["out"]), None),
                ("messages", number(&status["messages"]), Some(messages_max * 2 + 1_000)),
                ("next hops", number(&status["next_hops"]), Some(20_000)),
                ("sites", number(&status["sites"]), Some(20_000)),
            ],
        };
        self.see(Observation::Gauged { shard: 0, gauges });
    }

    /// What a shard is told of a connection of its own.
    pub(super) fn see_event(&mut self, shard: usize, event: &Event<'_>) {
        let link = |conn: &ConnId| Link { shard: shard as u16, conn: conn.0 };
        match event {
            Event::Connected { conn, .. } => self.see(Observation::Stands { link: link(conn) }),
            Event::ConnectFailed { conn, failure } => {
                self.not_made(shard, *conn, matches!(failure, ConnectFailure::Local(_)));
            }
            Event::TlsEstablished { conn, .. } => {
                self.see(Observation::Secured { link: link(conn), ok: true });
            }
            Event::TlsFailed { conn, .. } => {
                self.see(Observation::Secured { link: link(conn), ok: false });
            }
            _ => {}
        }
    }

    /// A client's connection is brought to a shard.
    pub(super) fn customer_comes(&mut self, shard: usize, conn: ConnId, peer: IpAddr) {
        let client = Link { shard: shard as u16, conn: conn.0 };
        self.see(Observation::ClientCame { client, peer });
    }
}
