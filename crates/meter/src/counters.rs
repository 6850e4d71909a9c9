//! Plain counters of one shard since its start. No I/O, no atomics: one shard
//! writes them, readers add up all shards.

/// Counts since the start of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages answered with 250.
    pub messages_accepted: u64,
    /// Recipients of those messages.
    pub recipients_accepted: u64,
    /// Bytes of those messages as received.
    pub bytes_accepted: u64,
    /// Transactions refused with a 4xx for our own sake (full, storage, memory).
    pub refused_for_now: u64,
    /// Transactions refused with a 5xx.
    pub refused_for_good: u64,
    /// Recipients delivered.
    pub delivered: u64,
    /// Deferrals.
    pub deferred: u64,
    /// Recipients failed for good.
    pub failed: u64,
    /// Recipients given up for age or attempts.
    pub expired: u64,
    /// Recipients removed by command.
    pub removed: u64,
    /// Failure, delay and relay reports sent.
    pub reports_sent: u64,
    /// Reports not sent, as nobody may get one (null sender, NOTIFY).
    pub reports_withheld: u64,
    /// Recipients marked in-doubt.
    pub in_doubt: u64,
    /// Connections accepted from clients.
    pub sessions_in: u64,
    /// Connections to clients refused at a bound.
    pub sessions_refused: u64,
    /// Handshakes done with clients.
    pub clients_secured: u64,
    /// Handshakes with clients that failed.
    pub clients_not_secured: u64,
    /// Clients that logged in.
    pub log_ins: u64,
    /// Wrong passwords.
    pub log_ins_refused: u64,
    /// Connections made to next hops.
    pub connections_out: u64,
    /// Connections to next hops that failed before the greeting.
    pub connects_failed: u64,
    /// Handshakes done.
    pub tls_established: u64,
    /// Handshakes broken.
    pub tls_failed: u64,
    /// Waits for want of our own means; never an attempt.
    pub local_shortages: u64,
    /// Syncs of the segment.
    pub syncs: u64,
    /// Look-ups of next hops that the cache answered.
    pub lookups_cached: u64,
    /// Look-ups of next hops that name servers were asked for.
    pub lookups_asked: u64,
}

impl Counters {
    /// Each by its name.
    pub fn each(&self) -> [(&'static str, u64); 27] {
        [
            ("messages_accepted", self.messages_accepted),
            ("recipients_accepted", self.recipients_accepted),
            ("bytes_accepted", self.bytes_accepted),
            ("refused_for_now", self.refused_for_now),
            ("refused_for_good", self.refused_for_good),
            ("delivered", self.delivered),
            ("deferred", self.deferred),
            ("failed", self.failed),
            ("expired", self.expired),
            ("removed", self.removed),
            ("reports_sent", self.reports_sent),
            ("reports_withheld", self.reports_withheld),
            ("in_doubt", self.in_doubt),
            ("sessions_in", self.sessions_in),
            ("sessions_refused", self.sessions_refused),
            ("clients_secured", self.clients_secured),
            ("clients_not_secured", self.clients_not_secured),
            ("log_ins", self.log_ins),
            ("log_ins_refused", self.log_ins_refused),
            ("connections_out", self.connections_out),
            ("connects_failed", self.connects_failed),
            ("tls_established", self.tls_established),
            ("tls_failed", self.tls_failed),
            ("local_shortages", self.local_shortages),
            ("syncs", self.syncs),
            ("lookups_cached", self.lookups_cached),
            ("lookups_asked", self.lookups_asked),
        ]
    }

    /// Adds those of another shard.
    pub fn merge(&mut self, other: &Self) {
        self.messages_accepted += other.messages_accepted;
        self.recipients_accepted += other.recipients_accepted;
        self.bytes_accepted += other.bytes_accepted;
        self.refused_for_now += other.refused_for_now;
        self.refused_for_good += other.refused_for_good;
        self.delivered += other.delivered;
        self.deferred += other.deferred;
        self.failed += other.failed;
        self.expired += other.expired;
        self.removed += other.removed;
        self.reports_sent += other.reports_sent;
        self.reports_withheld += other.reports_withheld;
        self.in_doubt += other.in_doubt;
        self.sessions_in += other.sessions_in;
        self.sessions_refused += other.sessions_refused;
        self.clients_secured += other.clients_secured;
        self.clients_not_secured += other.clients_not_secured;
        self.log_ins += other.log_ins;
        self.log_ins_refused += other.log_ins_refused;
        self.connections_out += other.connections_out;
        self.connects_failed += other.connects_failed;
        self.tls_established += other.tls_established;
        self.tls_failed += other.tls_failed;
        self.local_shortages += other.local_shortages;
        self.syncs += other.syncs;
        self.lookups_cached += other.lookups_cached;
        self.lookups_asked += other.lookups_asked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_each_under_its_name() {
        let mut one = Counters { messages_accepted: 3, syncs: 1, ..Counters::default() };
        let other = Counters { messages_accepted: 4, in_doubt: 2, ..Counters::default() };
        one.merge(&other);
        let some: Vec<_> = one.each().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(some, [("messages_accepted", 7), ("in_doubt", 2), ("syncs", 1)]);
        let mut names = one.each().map(|(name, _)| name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "no name twice");
    }
}
