//! Permits on the move: what this shard asks of limits' homes, and what it
//! decides as the home of some. The counting is [`control::throttle`]'s, the
//! spending `permit`'s; here is who tells whom.

use std::sync::Arc;

use base::ShardId;
use base::planted::{Bug, planted};
use control::throttle::{LimitView, Limits, Verdict, Want};
use queue::SiteKey;

use crate::armed::Timer;
use crate::epoch::Way;
use crate::logged::Reached;
use crate::mesh::MeshMessage;
use crate::outbound::Outbound;
use crate::shard::{Shard, Turn};

/// Messages of one connection between two looks at whether its limit binds.
const LIMIT_LOOKED_AT: u32 = 4;
/// What the limit of connections is called.
const CONNECTIONS: &str = "connections";

impl Shard {
    /// Asks the home of `key` for permits or tokens.
    pub(crate) fn ask_permits(&mut self, turn: &mut Turn<'_>, key: &str, way: &Way, want: Want) {
        if self.detailed() {
            self.tell_ask(turn, key, want);
        }
        let limits = way.limits(self.epochs.revision());
        let home = control::owner(key, self.shards);
        self.send(turn, home, MeshMessage::PermitAsk { key: key.into(), limits, want });
    }

    /// A site may not have another connection for now. With some it goes on
    /// with those; without any it waits as a whole.
    pub(crate) fn wait_for_permit(
        &mut self,
        turn: &mut Turn<'_>,
        site: SiteKey,
        key: &str,
        way: &Way,
    ) {
        // The one asked for counts as open already.
        match self.queue.site(site).map_or(0, |site| site.open - 1) {
            0 => self.queue.pause(site, None),
            open => self.queue.cap_connections(site, Some(open)),
        }
        self.wait_for_verdict(site, key);
        self.queue.connection_closed(site, queue::Phase::Dispatched);
        // Sites that differ in source or log-in alone share a limit, and the
        // home sees one shard: what one of them holds idle the others need.
        if self.holds_its_share(key, way) {
            let conns = self.idle_of(key);
            if let Some(out) = conns.first().and_then(|conn| self.pick(*conn)) {
                self.dismiss(turn, conns[0], out);
            }
        }
    }

    /// A connection goes on. If it is the last that may be and mail is left,
    /// nobody asks for more: the limit's home learns of it, which alone tells
    /// of the limit.
    pub(crate) fn note_all_in_use(&mut self, turn: &mut Turn<'_>, out: &Outbound) {
        if !out.sent.is_multiple_of(LIMIT_LOOKED_AT) {
            return;
        }
        let (of, most) = (&*out.limit_key, out.way.limits(0).connections);
        let left = || self.queue.site(out.site).is_some_and(|site| site.counts.ready > 0);
        if self.permits.in_use(of) < most || !left() {
            return;
        }
        let home = control::owner(of, self.shards);
        if home == self.id {
            self.log_all_in_use(turn, of, most);
        } else if self.logs_mail() && self.logged.is_news(turn.now.mono, CONNECTIONS, of) {
            self.send(turn, home, MeshMessage::AllInUse { key: of.into(), most });
        }
    }

    /// All connections that a limit allows are in use, and mail waits for more.
    pub(crate) fn log_all_in_use(&mut self, turn: &mut Turn<'_>, of: &str, most: u32) {
        let most = Some(most.into());
        self.log_limit(turn, &Reached { limit: CONNECTIONS, of, most, rate: None });
    }

    /// Whether this shard has no claim to more of a limit than it uses.
    pub(crate) fn holds_its_share(&self, key: &str, way: &Way) -> bool {
        self.permits.in_use(key) >= self.share(way.limits(0).connections)
    }

    /// Whether a connection that has nothing to do should end, because another
    /// site waits for the permit, or its link closes.
    pub(crate) fn is_waited_for(&self, key: &str, site: SiteKey, way: &Way) -> bool {
        let others = self.waiting.get(key).is_some_and(|list| list.iter().any(|s| *s != site));
        others && self.holds_its_share(key, way) || self.is_shut(way)
    }

    /// Connections without work under a limit, in order.
    pub(crate) fn idle_of(&self, key: &str) -> Vec<base::ConnId> {
        let is_of = |site: &&SiteKey| self.targets.get(*site).is_some_and(|t| &*t.limit_key == key);
        let sites = self.idle.keys().filter(is_of);
        let mut conns: Vec<_> = sites.flat_map(|site| self.idle[site].iter().copied()).collect();
        conns.sort_unstable();
        conns
    }

    /// Wakes `site` at the next decision about `key`.
    pub(crate) fn wait_for_verdict(&mut self, site: SiteKey, key: &str) {
        let waiting = self.waiting.entry(key.into()).or_default();
        if !waiting.contains(&site) {
            waiting.push(site);
        }
    }

    /// A connection has closed: its permit goes home.
    pub(crate) fn close_permit(&mut self, turn: &mut Turn<'_>, key: &str) {
        let count = self.permits.connection_closed(key);
        self.return_permits(turn, key, count);
    }

    fn return_permits(&mut self, turn: &mut Turn<'_>, key: &str, count: u32) {
        if count > 0 && !planted(Bug::PermitReturnDropped) {
            let home = control::owner(key, self.shards);
            self.send(turn, home, MeshMessage::PermitReturn { key: key.into(), count });
        }
    }

    /// A shard asks this one, as the home of a limit.
    pub(crate) fn asked_for_permits(
        &mut self,
        turn: &mut Turn<'_>,
        from: ShardId,
        key: &str,
        limits: Limits,
        want: Want,
    ) {
        let now = turn.now.mono;
        let rate = self.bank.view(from, key).and_then(|limit| limit.rate);
        let spent = rate.filter(|rate| want.tokens > 0 && rate.next_at > now);
        self.bank.ask(now, from, key, limits, want);
        self.tell_decisions(turn);
        if let Some(rate) = spent {
            let rate = Some(rate.rate);
            self.log_limit(turn, &Reached { limit: "rate", of: key, most: None, rate });
        }
        let all_out = |limit: &LimitView| limit.waiting > 0 && limit.out >= limit.connections;
        if want.connections > 0
            && let Some(limit) = self.bank.view(from, key).filter(all_out)
        {
            self.log_all_in_use(turn, key, limit.connections);
        }
    }

    /// A shard gives permits back to this one.
    pub(crate) fn permits_returned(
        &mut self,
        turn: &mut Turn<'_>,
        from: ShardId,
        key: &str,
        count: u32,
    ) {
        self.bank.give_back(turn.now.mono, from, key, count);
        self.tell_decisions(turn);
    }

    /// Lets the bank do what is due, and tells what it decided.
    pub(crate) fn tell_decisions(&mut self, turn: &mut Turn<'_>) {
        self.bank.advance(turn.now.mono);
        while let Some(decision) = self.bank.poll() {
            let message =
                MeshMessage::PermitVerdict { key: decision.key, verdict: decision.verdict };
            self.send(turn, decision.shard, message);
        }
        let deadline = self.bank.next_deadline();
        self.bank_armed.set(&mut self.timers, deadline, Timer::Bank);
    }

    /// The home of a limit has decided about this shard.
    pub(crate) fn permit_verdict(&mut self, turn: &mut Turn<'_>, key: &Arc<str>, verdict: Verdict) {
        if self.detailed() {
            self.tell_verdict(turn, key, verdict);
        }
        let back = self.permits.decided(key, verdict);
        self.return_permits(turn, key, back);
        if matches!(verdict, Verdict::Recall { .. }) {
            return self.close_idle(turn, key);
        }
        self.diagnosis_may_connect(turn, key);
        for site in self.waiting.remove(&**key).unwrap_or_default() {
            self.wake(site);
        }
        self.granted.push(key.clone());
    }

    /// A site may try again for what it was waiting for.
    fn wake(&mut self, site: SiteKey) {
        self.queue.cap_connections(site, None);
        self.queue.resume(site);
    }

    /// Permits that this step was granted and did not use go back.
    pub(crate) fn return_unused(&mut self, turn: &mut Turn<'_>) {
        for key in std::mem::take(&mut self.granted) {
            let count = self.permits.spare(&key);
            self.return_permits(turn, &key, count);
        }
    }

    /// Another shard waits: connections without work close at once.
    fn close_idle(&mut self, turn: &mut Turn<'_>, key: &str) {
        for conn in self.idle_of(key).into_iter().take(self.permits.too_many(key) as usize) {
            if let Some(out) = self.pick(conn) {
                self.dismiss(turn, conn, out);
            }
        }
    }

    /// After a change of policy every limit is told at once, and who waits for
    /// one looks whether there still is one.
    pub(crate) fn repeat_wants(&mut self, turn: &mut Turn<'_>) {
        let mut wants: Vec<(Box<str>, Want)> =
            self.permits.wants().map(|(key, want)| (key.into(), want)).collect();
        wants.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, want) in wants {
            let target = self.targets.values().find(|t| *t.limit_key == *key);
            let renewed = target.and_then(|target| {
                let way = self.epochs.renewed(&target.way)?;
                (*target.limit_key_by(&way)? == *key).then_some(way)
            });
            match renewed {
                Some(way) => self.ask_permits(turn, &key, &way, want),
                // Nothing goes by this limit any more.
                None => {
                    self.permits.forget_want(&key);
                    let limits = Limits { connections: 1, rate: None, revision: 0 };
                    let home = control::owner(&key, self.shards);
                    let want = Want::default();
                    self.send(turn, home, MeshMessage::PermitAsk { key, limits, want });
                }
            }
        }
        let mut sites: Vec<SiteKey> =
            std::mem::take(&mut self.waiting).into_values().flatten().collect();
        sites.sort_unstable();
        for site in sites {
            self.wake(site);
        }
    }
}
