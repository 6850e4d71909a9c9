//! The families of metrics: name, type, meaning. One table, so that boards and
//! rules can be held to what is exposed.

/// One family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// What it tells, in one line.
    pub help: &'static str,
}

/// Types of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets, with their sum.
    Histogram,
}

impl Type {
    /// What the format calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Type::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Type::Gauge, help }
}

/// All families.
pub const FAMILIES: &[Family] = &[
    gauge("ringpost_build_info", "Version of the program."),
    gauge("ringpost_start_time_seconds", "When the daemon was started, since 1970."),
    gauge("ringpost_ready", "Whether the daemon is ready for mail."),
    gauge("ringpost_storage_up", "Whether the queue takes mail: storage is sound and has room."),
    gauge("ringpost_disk_free_bytes", "Room on the file system of the data folder."),
    counter("ringpost_log_lines_lost_total", "Lines that the event log had to drop."),
    gauge("ringpost_log_bytes", "Size of all files of the event log."),
    gauge("ringpost_log_reader_lines_behind", "Lines that a webhook or syslog has not taken yet."),
    counter("ringpost_log_reader_lines_lost_total", "Lines that went before one had taken them."),
    gauge("ringpost_suspensions", "Suspensions of delivery in force."),
    counter("ringpost_messages_accepted_total", "Messages answered with 250."),
    counter("ringpost_recipients_accepted_total", "Recipients of messages answered with 250."),
    counter("ringpost_accepted_bytes_total", "Size of messages answered with 250, as received."),
    counter("ringpost_transactions_refused_total", "Transactions of clients refused, by reply."),
    gauge("ringpost_client_sessions", "Sessions with clients now."),
    counter("ringpost_client_sessions_total", "Connections of clients, refused ones included."),
    counter("ringpost_client_sessions_refused_total", "Connections of clients refused at a bound."),
    counter("ringpost_client_tls_handshakes_total", "TLS handshakes with clients, by result."),
    counter("ringpost_log_ins_total", "Log-ins of clients, by result."),
    gauge("ringpost_intake_held_bytes", "Memory taken by messages that clients are sending."),
    counter("ringpost_recipients_total", "Recipients by outcome; all but deferred are final."),
    counter("ringpost_in_doubt_total", "Recipients that may have been delivered unconfirmed."),
    counter("ringpost_reports_total", "Reports to senders, sent, or withheld as none may be sent."),
    gauge("ringpost_connections", "Connections to next hops now, those being made included."),
    counter("ringpost_connections_total", "Connections made to next hops."),
    counter("ringpost_connect_failures_total", "Connections to next hops that could not be made."),
    counter("ringpost_tls_handshakes_total", "TLS handshakes with next hops, by result."),
    counter("ringpost_local_shortages_total", "Waits for want of means of our own."),
    counter("ringpost_dns_lookups_total", "Look-ups of next hops, answered from the cache or not."),
    gauge("ringpost_dns_cache_names", "Mail domains and hosts in the cache of answers."),
    counter("ringpost_syncs_total", "Syncs of the queue's segments."),
    gauge("ringpost_queue_recipients", "Recipients that wait, by state."),
    gauge("ringpost_queue_messages", "Messages with recipients that are not done."),
    gauge("ringpost_queue_bytes", "Size of messages with recipients that are not done."),
    gauge("ringpost_queue_oldest_age_seconds", "Age of the oldest waiting recipient."),
    gauge("ringpost_sites", "Sites known, those without mail included."),
    gauge("ringpost_next_hops", "Next hops known, those without mail included."),
    counter("ringpost_shard_busy_seconds_total", "Processor time of the shard's thread."),
    gauge("ringpost_shard_queue_recipients", "Recipients that wait at the shard."),
    gauge("ringpost_shard_client_sessions", "Sessions with clients at the shard."),
    gauge("ringpost_shard_connections", "Connections to next hops of the shard."),
    Family {
        name: "ringpost_stage_duration_seconds",
        kind: Type::Histogram,
        help: "How long the stages of a message's way took.",
    },
    gauge("ringpost_site_queue_recipients", "Recipients that wait, by site and state."),
    gauge("ringpost_site_queue_oldest_age_seconds", "Age of the site's oldest recipient."),
    counter("ringpost_site_recipients_total", "Recipients by site and outcome, while it is shown."),
    gauge("ringpost_domain_queue_recipients", "Recipients that wait, by next hop and state."),
    gauge("ringpost_domain_queue_oldest_age_seconds", "Age of the next hop's oldest recipient."),
    counter(
        "ringpost_domain_recipients_total",
        "Recipients by their domain and outcome, while it is shown.",
    ),
];
