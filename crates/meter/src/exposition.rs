//! Everything that is counted, in Prometheus's text format, version 0.0.4.
//!
//! Names are a contract like settings: boards and rules of operators hold them.
//! Invariants: each family stands in [`FAMILIES`] and is written once, with
//! HELP and TYPE; the number of series does not depend on the number of
//! domains: so many names, and all others as `(other)`.
//!
//! Read first: the text format at prometheus.io/docs/instrumenting/exposition_formats

mod families;
mod text;

use base::Wall;

use crate::exposed::Exposed;
use crate::latency::STAGES;
use crate::reading::{Place, Reading, States};
use crate::tally::OUTCOMES;

pub use families::{FAMILIES, Family, Type};
use text::Text;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The label of all names that do not stand singly.
pub const OTHER: &str = "(other)";

/// What is exposed beside a reading.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The program's version.
    pub version: &'a str,
    /// When it was started.
    pub started: Wall,
    /// The time.
    pub now: Wall,
    /// Whether it is ready for mail.
    pub ready: bool,
    /// Lines that the event log had to drop.
    pub log_lines_lost: u64,
    /// Bytes of the event log's files.
    pub log_bytes: u64,
    /// Who reads the log on behind its files: webhooks, syslog servers.
    pub log_readers: &'a [LogReader],
    /// Suspensions in force.
    pub suspensions: u64,
    /// Sites by what became of their recipients.
    pub sites: &'a Exposed,
    /// Domains by what became of their recipients.
    pub domains: &'a Exposed,
    /// Sites, and domains, that stand singly among those where mail waits.
    pub names: usize,
}

/// One who reads the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReader {
    /// What it is called: `webhook NAME`.
    pub name: String,
    /// Lines that it has not taken yet; none while that cannot be told.
    pub behind: Option<u64>,
    /// Lines that went from the log before it had taken them.
    pub lost: u64,
}

/// The whole text.
pub fn exposition(reading: &Reading, facts: &Facts<'_>) -> String {
    let mut text = Text::new();
    program(&mut text, reading, facts);
    intake(&mut text, reading);
    outcomes(&mut text, reading);
    connections(&mut text, reading);
    queue(&mut text, reading, facts);
    shards(&mut text, reading);
    latencies(&mut text, reading);
    names(&mut text, reading, facts);
    text.end()
}

fn program(text: &mut Text, reading: &Reading, facts: &Facts<'_>) {
    text.family("ringpost_build_info").sample(&[("version", facts.version)], 1);
    text.family("ringpost_start_time_seconds").seconds(&[], facts.started.as_millis() * 1_000);
    text.family("ringpost_ready").sample(&[], facts.ready.into());
    let stores = reading.loads.iter().all(|load| load.stores);
    text.family("ringpost_storage_up").sample(&[], stores.into());
    let free = reading.loads.iter().map(|load| load.free_bytes).min();
    // Unknown until the disk was looked at for the first time.
    let free = free.filter(|free| *free < u64::MAX);
    let family = text.family("ringpost_disk_free_bytes");
    free.into_iter().for_each(|free| family.sample(&[], free));
    text.family("ringpost_log_lines_lost_total").sample(&[], facts.log_lines_lost);
    text.family("ringpost_log_bytes").sample(&[], facts.log_bytes);
    let family = text.family("ringpost_log_reader_lines_behind");
    for one in facts.log_readers {
        one.behind.into_iter().for_each(|behind| family.sample(&[("reader", &one.name)], behind));
    }
    let family = text.family("ringpost_log_reader_lines_lost_total");
    facts.log_readers.iter().for_each(|one| family.sample(&[("reader", &one.name)], one.lost));
    text.family("ringpost_suspensions").sample(&[], facts.suspensions);
}

fn intake(text: &mut Text, reading: &Reading) {
    let counters = &reading.counters;
    text.family("ringpost_messages_accepted_total").sample(&[], counters.messages_accepted);
    text.family("ringpost_recipients_accepted_total").sample(&[], counters.recipients_accepted);
    text.family("ringpost_accepted_bytes_total").sample(&[], counters.bytes_accepted);
    let family = text.family("ringpost_transactions_refused_total");
    family.sample(&[("reply", "4xx")], counters.refused_for_now);
    family.sample(&[("reply", "5xx")], counters.refused_for_good);
    let clients = reading.sum(|load| load.clients);
    text.family("ringpost_client_sessions").sample(&[], clients);
    text.family("ringpost_client_sessions_total").sample(&[], counters.sessions_in);
    text.family("ringpost_client_sessions_refused_total").sample(&[], counters.sessions_refused);
    let family = text.family("ringpost_client_tls_handshakes_total");
    family.sample(&[("result", "done")], counters.clients_secured);
    family.sample(&[("result", "failed")], counters.clients_not_secured);
    let family = text.family("ringpost_log_ins_total");
    family.sample(&[("result", "done")], counters.log_ins);
    family.sample(&[("result", "failed")], counters.log_ins_refused);
    let held = reading.sum(|load| load.intake_bytes);
    text.family("ringpost_intake_held_bytes").sample(&[], held);
}

fn outcomes(text: &mut Text, reading: &Reading) {
    let counters = &reading.counters;
    let family = text.family("ringpost_recipients_total");
    for (outcome, count) in [
        ("delivered", counters.delivered),
        ("deferred", counters.deferred),
        ("failed", counters.failed),
        ("expired", counters.expired),
        ("removed", counters.removed),
    ] {
        family.sample(&[("outcome", outcome)], count);
    }
    text.family("ringpost_in_doubt_total").sample(&[], counters.in_doubt);
    let family = text.family("ringpost_reports_total");
    family.sample(&[("fate", "sent")], counters.reports_sent);
    family.sample(&[("fate", "withheld")], counters.reports_withheld);
}

fn connections(text: &mut Text, reading: &Reading) {
    let counters = &reading.counters;
    let open = reading.sum(|load| load.connections);
    text.family("ringpost_connections").sample(&[], open);
    text.family("ringpost_connections_total").sample(&[], counters.connections_out);
    text.family("ringpost_connect_failures_total").sample(&[], counters.connects_failed);
    let family = text.family("ringpost_tls_handshakes_total");
    family.sample(&[("result", "done")], counters.tls_established);
    family.sample(&[("result", "failed")], counters.tls_failed);
    text.family("ringpost_local_shortages_total").sample(&[], counters.local_shortages);
    let family = text.family("ringpost_dns_lookups_total");
    family.sample(&[("cache", "hit")], counters.lookups_cached);
    family.sample(&[("cache", "miss")], counters.lookups_asked);
    let known = reading.sum(|load| load.names_known);
    text.family("ringpost_dns_cache_names").sample(&[], known);
    text.family("ringpost_syncs_total").sample(&[], counters.syncs);
}

fn queue(text: &mut Text, reading: &Reading, facts: &Facts<'_>) {
    states(text, "ringpost_queue_recipients", None, &reading.queued());
    let messages = reading.sum(|load| load.messages);
    text.family("ringpost_queue_messages").sample(&[], messages);
    text.family("ringpost_queue_bytes").sample(&[], reading.sum(|load| load.bytes));
    let age = facts.now.since(reading.waiting.oldest.unwrap_or(facts.now));
    text.family("ringpost_queue_oldest_age_seconds").seconds(&[], age.as_micros() as u64);
    text.family("ringpost_sites").sample(&[], reading.sum(|load| load.sites));
    text.family("ringpost_next_hops").sample(&[], reading.sum(|load| load.next_hops));
}

fn shards(text: &mut Text, reading: &Reading) {
    let mut loads: Vec<_> = reading.loads.iter().collect();
    loads.sort_by_key(|load| load.shard);
    let names: Vec<String> = loads.iter().map(|load| load.shard.0.to_string()).collect();
    let each = || loads.iter().zip(&names).map(|(load, name)| (*load, [("shard", &**name)]));
    let family = text.family("ringpost_shard_busy_seconds_total");
    each().for_each(|(load, name)| family.seconds(&name, load.busy.since(Default::default())));
    let family = text.family("ringpost_shard_queue_recipients");
    each().for_each(|(load, name)| family.sample(&name, load.queued.total()));
    let family = text.family("ringpost_shard_client_sessions");
    each().for_each(|(load, name)| family.sample(&name, load.clients));
    let family = text.family("ringpost_shard_connections");
    each().for_each(|(load, name)| family.sample(&name, load.connections));
}

/// Upper bounds of the buckets in microseconds: from a fast sync to a day.
pub const BOUNDS_US: [u64; 25] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    14_400_000_000,
    43_200_000_000,
    86_400_000_000,
];

fn latencies(text: &mut Text, reading: &Reading) {
    let family = text.family("ringpost_stage_duration_seconds");
    for stage in STAGES {
        family.histogram(("stage", stage.name()), reading.latencies.of(stage), &BOUNDS_US);
    }
}

fn names(text: &mut Text, reading: &Reading, facts: &Facts<'_>) {
    let all = reading.queued();
    for (label, places, queued, age, counts, exposed) in [
        (
            "site",
            &reading.waiting.sites,
            "ringpost_site_queue_recipients",
            "ringpost_site_queue_oldest_age_seconds",
            "ringpost_site_recipients_total",
            facts.sites,
        ),
        (
            "domain",
            &reading.waiting.domains,
            "ringpost_domain_queue_recipients",
            "ringpost_domain_queue_oldest_age_seconds",
            "ringpost_domain_recipients_total",
            facts.domains,
        ),
    ] {
        let shown = &places[..places.len().min(facts.names)];
        let mut rest = all;
        for Place { name, queued: here, .. } in shown {
            states(text, queued, Some((label, &**name)), here);
            rest = rest.without(here);
        }
        states(text, queued, Some((label, OTHER)), &rest);
        let family = text.family(age);
        for Place { name, oldest, .. } in shown {
            let age = facts.now.since(oldest.unwrap_or(facts.now));
            family.seconds(&[(label, &**name)], age.as_micros() as u64);
        }
        let family = text.family(counts);
        let others = std::iter::once((OTHER, exposed.others()));
        for (name, tally) in exposed.names().chain(others) {
            for outcome in OUTCOMES {
                let labels = [(label, name), ("outcome", outcome.name())];
                family.sample(&labels, tally.of(outcome));
            }
        }
    }
}

/// Recipients by state, with a name or without.
fn states(text: &mut Text, family: &'static str, name: Option<(&str, &str)>, states: &States) {
    let family = text.family(family);
    for (state, count) in states.each() {
        match name {
            Some(name) => family.sample(&[name, ("state", state)], count),
            None => family.sample(&[("state", state)], count),
        }
    }
}

#[cfg(test)]
mod tests;
