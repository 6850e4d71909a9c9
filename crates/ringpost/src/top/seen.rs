//! What the daemon says, as far as the screen shows it. Answers are read
//! leniently: what is missing is nothing, so that an older daemon is shown too.
//!
//! Never asks. Invariant: no text from here has a control character in it.

use serde_json::Value;

use crate::print::clean;

/// One look at the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub host: String,
    pub uptime_ms: u64,
    /// Messages taken since its start.
    pub accepted: u64,
    /// Recipients since its start.
    pub delivered: u64,
    pub deferred: u64,
    /// Failed for good or given up.
    pub failed: u64,
    /// Recipients that wait, by state.
    pub ready: u64,
    pub put_off: u64,
    pub in_flight: u64,
    pub held: u64,
    pub sessions_in: u64,
    pub sessions_out: u64,
    pub free_bytes: u64,
    pub mail_bytes: u64,
    /// `ok`, `no room` or `failed`.
    pub storage: String,
    pub draining: bool,
    pub shards: Vec<ShardSeen>,
    pub sites: Vec<SiteSeen>,
    /// Sites that match, of which `sites` are the first.
    pub sites_total: u64,
    pub failures: Vec<FailureSeen>,
    /// What is stopped, a line each.
    pub orders: Vec<String>,
    /// Alerts that stand and are not silenced, a line each.
    pub alerts: Vec<String>,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardSeen {
    /// Processor time of its thread, in milliseconds.
    pub cpu_ms: u64,
    pub waiting: u64,
}

/// One site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteSeen {
    pub name: String,
    pub state: String,
    pub until: String,
    pub count: u64,
    pub ready: u64,
    pub deferred: u64,
    pub in_flight: u64,
    pub held: u64,
    pub connections: u64,
    /// Why mail last had to wait: the remote's words, or ours.
    pub words: String,
}

/// What went wrong, with how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureSeen {
    pub count: u64,
    pub event: String,
    pub site: String,
    pub words: String,
}

impl Seen {
    /// Reads the answers.
    pub fn of(
        status: &Value,
        sites: &Value,
        failures: &Value,
        orders: &Value,
        alerts: &Value,
    ) -> Self {
        let loud = |row: &&Value| row["silenced"] != true;
        let alerts = alerts["alerts"].as_array().into_iter().flatten().filter(loud);
        let counters = &status["counters"];
        let recipients = &status["recipients"];
        Self {
            host: word(&status["hostname"]),
            uptime_ms: number(&status["uptime_ms"]),
            accepted: number(&counters["messages_accepted"]),
            delivered: number(&counters["delivered"]),
            deferred: number(&counters["deferred"]),
            failed: number(&counters["failed"]) + number(&counters["expired"]),
            ready: number(&recipients["ready"]),
            put_off: number(&recipients["deferred"]),
            in_flight: number(&recipients["in_flight"]),
            held: number(&recipients["held"]),
            sessions_in: number(&status["sessions"]["in"]),
            sessions_out: number(&status["sessions"]["out"]),
            free_bytes: number(&status["free_bytes"]),
            mail_bytes: number(&status["bytes"]),
            storage: word(&status["storage"]),
            draining: status["draining"] == true || number(&status["draining"]) > 0,
            shards: rows(&status["by_shard"], shard),
            sites: rows(&sites["sites"], site),
            sites_total: number(&sites["total"]),
            failures: rows(&failures["failures"], failure),
            orders: rows(&orders["suspensions"], order),
            alerts: alerts.map(|row| word(&row["reason"])).collect(),
        }
    }

    /// Recipients that wait.
    pub fn waiting(&self) -> u64 {
        self.ready + self.put_off + self.in_flight + self.held
    }
}

fn shard(row: &Value) -> ShardSeen {
    ShardSeen { cpu_ms: number(&row["cpu_ms"]), waiting: number(&row["waiting"]) }
}

fn site(row: &Value) -> SiteSeen {
    SiteSeen {
        name: word(&row["name"]),
        state: word(&row["state"]),
        until: word(&row["until"]),
        count: number(&row["count"]),
        ready: number(&row["ready"]),
        deferred: number(&row["deferred"]),
        in_flight: number(&row["in_flight"]),
        held: number(&row["held"]),
        connections: number(&row["connections"]),
        words: word(&row["reason"]),
    }
}

fn failure(row: &Value) -> FailureSeen {
    let mut site = word(&row["sites"][0]);
    let others = row["sites"].as_array().map_or(0, Vec::len) as u64 + number(&row["sites_more"]);
    if others > 1 {
        site.push_str(&format!(" and {} more", others - 1));
    }
    FailureSeen {
        count: number(&row["count"]),
        event: word(&row["event"]),
        site,
        words: word(&row["words"]),
    }
}

fn order(row: &Value) -> String {
    match word(&row["scope"]).as_str() {
        "all" => format!("all delivery: {}", word(&row["reason"])),
        scope => format!("{scope} {}: {}", word(&row["name"]), word(&row["reason"])),
    }
}

fn rows<T>(list: &Value, read: fn(&Value) -> T) -> Vec<T> {
    list.as_array().map_or_else(Vec::new, |rows| rows.iter().map(read).collect())
}

fn word(value: &Value) -> String {
    clean(value.as_str().unwrap_or_default())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
