//! Clients that ask that waiting mail is tried now (ETRN): who may, and how
//! often. What is done is what `queue flush` does, on every shard.
//!
//! Never here: the dialogue (`smtp`), the walk over the queue (`admin`).
//! Invariants: nobody waits for another shard; a domain's mail is walked over
//! once in [`AGAIN_AFTER`] at each shard, whoever asks and wherever; so are at
//! most [`NODES_MAX`] domains.
//!
//! Read first: RFC 1985 §5.

use std::net::IpAddr;
use std::time::Duration;

use base::{Map, Monotonic, ShardId};
use control::{Filter, Network, Policy};
use mail::Status;
use smtp::Answer;
use smtp::command::Node;

use crate::mesh::MeshMessage;
use crate::shard::{Shard, Turn};

/// How long the same is not asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Domains asked for within that time.
const NODES_MAX: usize = 100;

/// What a shard knows of who asked for what; there only where somebody may.
#[derive(Debug)]
pub(crate) struct Etrns {
    allowed: Vec<Network>,
    begun: Map<Node, Monotonic>,
}

impl Etrns {
    /// What the policy says, with what `old` remembers.
    pub(crate) fn of(policy: &Policy, old: Option<Box<Self>>, seed: u64) -> Option<Box<Self>> {
        let allowed = policy.submission.etrn.clone();
        if allowed.is_empty() {
            return None;
        }
        let begun = old.map_or_else(|| base::map::seeded(seed), |old| old.begun);
        Some(Box::new(Self { allowed, begun }))
    }

    /// Somebody at `client` asks for what waits for `node`.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn ask(
        &mut self,
        client: IpAddr,
        node: &Node,
        now: Monotonic,
    ) -> Result<(), Answer> {
        if !self.allowed.iter().any(|network| network.contains(client)) {
            let text = format!("Node {node} not allowed: not from your address");
            return Err(Answer::new(459, Status::new(4, 7, 1), text));
        }
        if self.begin(node, now) {
            return Ok(());
        }
        let text = format!("Unable to queue messages for node {node}: asked for too often");
        Err(Answer::new(458, Status::new(4, 7, 1), text))
    }

    /// Whether it is time to walk over the mail of `node`, as from now it is
    /// not.
    fn begin(&mut self, node: &Node, now: Monotonic) -> bool {
        if !self.begun.contains_key(node) && self.begun.len() < NODES_MAX {
            self.begun.insert(node.clone(), now);
            return true;
        }
        self.begun.retain(|_, since| now < *since + AGAIN_AFTER);
        let may = !self.begun.contains_key(node) && self.begun.len() < NODES_MAX;
        if may {
            self.begun.insert(node.clone(), now);
        }
        may
    }
}

impl Shard {
    /// A client's wish is granted: all shards are told.
    pub(crate) fn etrn_granted(&mut self, turn: &mut Turn<'_>, node: &Node, by: &str) {
        for to in 0..self.shards {
            let message = MeshMessage::Etrn { node: node.clone(), by: by.into() };
            self.send(turn, ShardId(to), message);
        }
    }

    /// A client of the shard `from` asks for the mail of `node`.
    pub(crate) fn etrn_heard(&mut self, turn: &mut Turn<'_>, from: ShardId, node: Node, by: &str) {
        let mine = from == self.id;
        let begin = |etrns: &mut Box<Etrns>| mine || etrns.begin(&node, turn.now.mono);
        if self.etrns.as_mut().is_some_and(begin) {
            let reason = format!("ETRN {node} by {by}");
            let filter =
                Filter { domain: Some(node.domain), below: node.below, ..Filter::default() };
            self.start_flush(turn, filter, &reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_millis(millis)
    }

    fn etrns() -> Box<Etrns> {
        let mut policy = Policy::new(mail::Domain::parse("box.example").unwrap());
        assert!(Etrns::of(&policy, None, 7).is_none(), "off by default");
        policy.submission.etrn = vec!["10.0.0.0/8".parse().unwrap()];
        Etrns::of(&policy, None, 7).unwrap()
    }

    fn node(name: &str) -> Node {
        smtp::command::parse_etrn(name.as_bytes()).unwrap()
    }

    fn asked(etrns: &mut Etrns, client: &str, name: &str, now: Monotonic) -> u16 {
        let answer = etrns.ask(client.parse().unwrap(), &node(name), now);
        answer.map_or_else(|refusal| refusal.code.number(), |()| 250)
    }

    /// Proves: RFC 1985 §5.1
    /// Covers: A13.4
    #[test]
    fn who_may_asks_for_the_same_once_in_a_minute() {
        let mut etrns = etrns();
        assert_eq!(asked(&mut etrns, "192.0.2.1", "a.example", at(5)), 459);
        assert_eq!(asked(&mut etrns, "10.1.1.1", "a.example", at(5)), 250, "that cost nothing");
        assert_eq!(asked(&mut etrns, "10.1.1.2", "A.example", at(6)), 458, "whoever asks");
        assert_eq!(asked(&mut etrns, "10.1.1.1", "@a.example", at(6)), 250, "that is more");
        assert_eq!(asked(&mut etrns, "10.1.1.1", "a.example", at(60_004)), 458);
        assert_eq!(asked(&mut etrns, "10.1.1.1", "a.example", at(60_005)), 250);
        assert_eq!(asked(&mut etrns, "10.1.1.1", "a.example", at(60_006)), 458, "from then on");
    }

    #[test]
    fn so_many_domains_are_asked_for_and_remembered() {
        let mut etrns = etrns();
        for n in 0..NODES_MAX {
            assert_eq!(asked(&mut etrns, "10.0.0.1", &format!("d{n}.example"), at(0)), 250);
        }
        assert_eq!(asked(&mut etrns, "10.0.0.1", "one.more.example", at(59_999)), 458);
        assert_eq!(etrns.begun.len(), NODES_MAX);
        assert_eq!(asked(&mut etrns, "10.0.0.1", "one.more.example", at(60_000)), 250);
        assert_eq!(etrns.begun.len(), 1, "the old ones made room");
    }
}
