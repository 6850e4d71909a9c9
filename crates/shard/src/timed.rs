//! How long the stages of a message's way take (`meter::Stage`): each is
//! recorded by the shard where it ends, from the moment that its beginning was
//! noted. A stage that ends badly is not recorded: refusals and time-outs have
//! lengths that say nothing of a delivery's.

use base::{ConnId, Micros, Now, Wall};
use dns::Token;
use meter::{Latencies, Stage, Traffic};

use crate::accept::Inbound;
use crate::dispatch::Lookups;
use crate::outbound::Outbound;
use crate::shard::{Shard, Turn};

/// What was timed, and what is being timed.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) latencies: Latencies,
    /// When the sync under way began.
    sync_since: Option<Micros>,
    /// Outcomes by name since they were last taken.
    pub(crate) traffic: Traffic,
}

impl Measured {
    /// Nothing; `seed` is secret to the run.
    pub(crate) fn new(seed: u64) -> Self {
        Self { latencies: Latencies::default(), sync_since: None, traffic: Traffic::new(seed) }
    }
}

impl Inbound {
    /// A session rests: a transaction has begun, goes on, or is over.
    pub(crate) fn note_begun(&mut self, now: Now) {
        self.begun = self.session.is_in_transaction().then(|| self.begun.unwrap_or(now.micros));
    }
}

impl Lookups {
    /// A question is asked, unless it was already.
    pub(crate) fn note_asked(&mut self, token: Token, now: Now) {
        self.asked.entry(token).or_insert(now.micros);
    }
}

impl Shard {
    /// A client gets the answer to its message: what follows is another
    /// transaction.
    pub(crate) fn time_accepted(&mut self, turn: &Turn<'_>, conn: ConnId, well: bool) {
        let begun = self.inbound.get_mut(&conn).and_then(|inbound| inbound.begun.take());
        if let Some(begun) = begun.filter(|_| well) {
            self.time(turn, Stage::Accept, begun);
        }
    }

    /// A step has ended: perhaps a sync is under way.
    pub(crate) fn note_sync(&mut self, turn: &Turn<'_>) {
        if self.spool.is_syncing() {
            self.measured.sync_since.get_or_insert(turn.now.micros);
        }
    }

    /// A sync has ended. Those of a footer, which nobody waits for, begin
    /// unnoticed.
    pub(crate) fn time_sync(&mut self, turn: &Turn<'_>, ok: bool) {
        if let Some(since) = self.measured.sync_since.take_if(|_| !self.spool.is_syncing())
            && ok
        {
            self.time(turn, Stage::Sync, since);
        }
    }

    /// A question has its answer.
    pub(crate) fn time_look_up(&mut self, turn: &Turn<'_>, token: Token) {
        if let Some(since) = self.lookups.asked.remove(&token) {
            self.time(turn, Stage::Dns, since);
        }
    }

    /// A transaction begins; for some mail it is the first.
    pub(crate) fn time_attempt(&mut self, turn: &Turn<'_>, out: &mut Outbound) {
        out.since = turn.now.micros;
        let first = out.batch.as_ref().and_then(|batch| batch.unsettled().next());
        let Some(view) = first.and_then(|key| self.queue.entry(turn.now, key)) else { return };
        if view.attempts == 0 {
            self.time_from_arrival(turn, Stage::Queue, view.arrived);
        }
    }

    /// A stage ends that began with the message's arrival.
    pub(crate) fn time_from_arrival(&mut self, turn: &Turn<'_>, stage: Stage, arrived: Wall) {
        let took = turn.now.wall.since(arrived).as_micros();
        self.measured.latencies.record(stage, u64::try_from(took).unwrap_or(u64::MAX));
    }

    /// A stage ends.
    pub(crate) fn time(&mut self, turn: &Turn<'_>, stage: Stage, since: Micros) {
        self.measured.latencies.record(stage, turn.now.micros.since(since));
    }
}
