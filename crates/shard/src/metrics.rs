//! Plain counters of one shard since its start. No I/O, no atomics: one shard
//! writes them, `status` adds up all shards.

use serde_json::{Value, json};

/// Counts since the start of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
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
}

impl Metrics {
    /// As JSON, every counter by name.
    pub fn to_json(&self) -> Value {
        json!({
            "messages_accepted": self.messages_accepted,
            "recipients_accepted": self.recipients_accepted,
            "bytes_accepted": self.bytes_accepted,
            "refused_for_now": self.refused_for_now,
            "refused_for_good": self.refused_for_good,
            "delivered": self.delivered,
            "deferred": self.deferred,
            "failed": self.failed,
            "expired": self.expired,
            "removed": self.removed,
            "reports_sent": self.reports_sent,
            "reports_withheld": self.reports_withheld,
            "in_doubt": self.in_doubt,
            "sessions_in": self.sessions_in,
            "sessions_refused": self.sessions_refused,
            "clients_secured": self.clients_secured,
            "clients_not_secured": self.clients_not_secured,
            "log_ins": self.log_ins,
            "log_ins_refused": self.log_ins_refused,
            "connections_out": self.connections_out,
            "connects_failed": self.connects_failed,
            "tls_established": self.tls_established,
            "tls_failed": self.tls_failed,
            "local_shortages": self.local_shortages,
            "syncs": self.syncs,
        })
    }
}
