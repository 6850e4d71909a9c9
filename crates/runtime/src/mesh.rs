//! The sending half of the mesh: what a shard says to others during a turn is
//! shipped as one batch per receiver at the turn's end.
//!
//! Never loses and never reorders between a pair of shards: where the
//! receiver's queue is full, batches wait here, in the sender's memory, and
//! are tried again at every turn's end and every [`RETRY`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base::ShardId;
use shard::mesh::MeshMessage;

use crate::inbox::Inbox;

/// How soon a full receiver is tried again when nothing else happens.
pub(crate) const RETRY: Duration = Duration::from_millis(1);

/// What one shard has to say to the others.
pub(crate) struct Mesh {
    own: ShardId,
    receivers: Vec<Receiver>,
    waiting: usize,
}

struct Receiver {
    inbox: Arc<Inbox>,
    staged: Vec<MeshMessage>,
    backlog: VecDeque<Vec<MeshMessage>>,
}

impl Mesh {
    /// For shard `own`, with the inboxes of all shards by number.
    pub(crate) fn new(own: ShardId, inboxes: &[Arc<Inbox>]) -> Self {
        let receivers = inboxes
            .iter()
            .map(|inbox| Receiver {
                inbox: inbox.clone(),
                staged: Vec::new(),
                backlog: VecDeque::new(),
            })
            .collect();
        Self { own, receivers, waiting: 0 }
    }

    /// Puts a message into this turn's batch for another shard.
    pub(crate) fn stage(&mut self, to: ShardId, message: MeshMessage) {
        assert_ne!(to, self.own, "mail to oneself does not travel");
        let receiver = self.receivers.get_mut(usize::from(to.0));
        let receiver = receiver.expect("the core knows how many shards there are");
        if receiver.staged.is_empty() {
            self.waiting += 1;
        }
        receiver.staged.push(message);
    }

    /// Ships the turn's batches, older ones first. Whether some must wait.
    pub(crate) fn ship(&mut self) -> bool {
        if self.waiting == 0 {
            return false;
        }
        self.waiting = 0;
        for receiver in &mut self.receivers {
            if !receiver.staged.is_empty() {
                receiver.backlog.push_back(std::mem::take(&mut receiver.staged));
            }
            while let Some(batch) = receiver.backlog.pop_front() {
                if let Err((_, batch)) = receiver.inbox.post_batch((self.own, batch)) {
                    receiver.backlog.push_front(batch);
                    self.waiting += 1;
                    break;
                }
            }
        }
        self.waiting > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::BATCHES_MAX;

    fn numbered(n: u32) -> MeshMessage {
        MeshMessage::PermitReturn { key: "site".into(), count: n }
    }

    fn number(message: &MeshMessage) -> u32 {
        match message {
            MeshMessage::PermitReturn { count, .. } => *count,
            other => panic!("not what was sent: {other:?}"),
        }
    }

    #[test]
    fn a_full_receiver_loses_nothing_and_keeps_the_order() {
        let inboxes = [Arc::new(Inbox::new().unwrap()), Arc::new(Inbox::new().unwrap())];
        let mut mesh = Mesh::new(ShardId(0), &inboxes);
        let batches = BATCHES_MAX as u32 + 5;
        for batch in 0..batches {
            mesh.stage(ShardId(1), numbered(2 * batch));
            mesh.stage(ShardId(1), numbered(2 * batch + 1));
            let must_wait = mesh.ship();
            assert_eq!(must_wait, batch as usize >= BATCHES_MAX, "at batch {batch}");
        }
        let mut seen = Vec::new();
        while seen.len() < 2 * batches as usize {
            let (from, batch) = inboxes[1].take_batch().expect("nothing is lost");
            assert_eq!(from, ShardId(0));
            seen.extend(batch.iter().map(number));
            mesh.ship();
        }
        assert_eq!(seen, (0..2 * batches).collect::<Vec<_>>());
        assert!(!mesh.ship());
        assert!(inboxes[0].take_batch().is_none());
    }
}
