//! Scrapes: how large they get, and that they follow the conventions.

use std::collections::BTreeSet;

use base::ShardId;

use super::*;
use crate::latency::Stage;
use crate::reading::{Load, Waiting};
use crate::statistics::{Kind, Traffic};
use crate::tally::{Outcome, Table};

/// A reading of a daemon with traffic to, and mail for, so many domains.
fn busy(domains: u64) -> (Reading, Table) {
    let mut reading = Reading::default();
    for shard in 0..16 {
        let queued = States { ready: domains, ..States::default() };
        reading.loads.push(Load { shard: ShardId(shard), queued, ..Load::default() });
    }
    for stage in STAGES {
        (0..100_000).for_each(|n| reading.latencies.record(stage, n * n));
    }
    let mut traffic = Traffic::new(3);
    for n in 0..domains {
        let name = format!("{}-{n}.example", "x".repeat(200));
        // The first ones have more.
        (0..1 + 1_000 / (n + 1)).for_each(|_| {
            traffic.count(Kind::Domain, &name, Outcome::Delivered);
        });
    }
    let places = (0..500u64).map(|n| Place {
        name: format!("{}-{n}.example", "y".repeat(200)).into(),
        queued: States { deferred: 500 - n, ..States::default() },
        oldest: Some(Wall::from_millis(n)),
    });
    let places: Vec<Place> = places.collect();
    reading.waiting = Waiting { sites: places.clone(), domains: places, oldest: None };
    let table = traffic.of(Kind::Domain).clone();
    (reading, table)
}

fn text(reading: &Reading, exposed: &Exposed, names: usize) -> String {
    let facts = Facts {
        version: "1.2.3",
        started: Wall::from_millis(1_000),
        now: Wall::from_millis(61_000),
        ready: true,
        log_lines_lost: 3,
        log_bytes: 4,
        log_readers: &[LogReader { name: "webhook \"a\"".into(), behind: Some(5), lost: 6 }],
        suspensions: 0,
        sites: exposed,
        domains: exposed,
        names,
    };
    exposition(reading, &facts)
}

/// Mail for 100 000 domains: what is scraped stays small, names are as many as
/// are wanted, and everything is in the sums.
///
/// Shows: A86
#[test]
fn a_scrape_of_a_hundred_thousand_domains_is_small() {
    let (reading, table) = busy(100_000);
    let mut exposed = Exposed::default();
    let mut book = Table::new(2_048, 0);
    book.absorb(&table, 0);
    exposed.absorb(&table, &book, 50, 0);
    let said = text(&reading, &exposed, 50);
    assert!(said.len() < 1_000_000, "{}", said.len());
    let series = said.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 2_500, "{series}");
    let delivered = |line: &&str| {
        line.starts_with("ringpost_domain_recipients_total") && line.contains("\"delivered\"")
    };
    let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
    let counted: u64 = said.lines().filter(delivered).map(value).sum();
    assert_eq!(said.lines().filter(delivered).count(), 51);
    let mut all = table.rest().total();
    all += table.rows().iter().map(|row| row.tally.total()).sum::<u64>();
    assert_eq!(counted, all);
    let first = format!("{}-0.example", "x".repeat(200));
    assert!(said.contains(&format!("domain=\"{first}\",outcome=\"delivered\"")));
}

#[test]
fn each_family_is_written_once_and_by_its_conventions() {
    let (reading, table) = busy(3);
    let mut exposed = Exposed::default();
    let mut book = Table::new(16, 0);
    book.absorb(&table, 0);
    exposed.absorb(&table, &book, 5, 0);
    let said = text(&reading, &exposed, 5);
    let names: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ').map(|(name, _)| name))
        .collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), unique.len());
    assert_eq!(unique, FAMILIES.iter().map(|family| family.name).collect());
    for Family { name, kind, help } in FAMILIES {
        assert_eq!(name.ends_with("_total"), *kind == Type::Counter, "{name}");
        assert!(help.ends_with('.') && !help.contains('\n') && help.len() < 90, "{name}: {help}");
        for part in ["_ms", "_us", "_micros", "_minutes", "_kb"] {
            assert!(!name.contains(part), "{name} is not in a base unit");
        }
    }
    let mut family = "";
    for line in said.lines() {
        if let Some(name) = line.strip_prefix("# HELP ") {
            family = name.split_once(' ').unwrap().0;
        }
        assert!(line.starts_with("# ") || line.starts_with(family), "{line} in {family}");
    }
    assert!(said.contains("\nringpost_start_time_seconds 1\n"));
    assert!(
        said.contains("\nringpost_site_queue_recipients{site=\"(other)\",state=\"ready\"} 48\n")
    );
}

/// Names of ours in a text, without what the format adds to histograms'.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("ringpost_"));
    let bare = |word: &str| -> String {
        let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|end| word.ends_with(end));
        suffix.and_then(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    ours.map(bare).collect()
}

/// Shows: A86
#[test]
fn boards_and_rules_name_only_what_is_exposed() {
    let board = include_str!("../../../../docs/monitoring/grafana.json");
    let rules = include_str!("../../../../docs/monitoring/ringpost.rules.yml");
    let known: BTreeSet<String> = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
    for (what, text, least) in [("board", board, 25), ("rules", rules, 12)] {
        let named = named(text);
        assert!(named.len() >= least, "{what}: {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "the {what} name {unknown:?}");
    }
    assert_eq!(named("rate(ringpost_x_bucket{le=\"1\"}[5m])").first().unwrap(), "ringpost_x");
}

#[test]
fn buckets_of_stages_grow_and_end_with_all() {
    let mut reading = Reading::default();
    (0..1_000u64).for_each(|n| reading.latencies.record(Stage::Sync, n * 50));
    let said = text(&reading, &Exposed::default(), 5);
    let buckets: Vec<u64> = said
        .lines()
        .filter(|line| line.contains("_bucket{stage=\"sync\""))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(buckets.len(), BOUNDS_US.len() + 1);
    assert!(buckets.windows(2).all(|pair| pair[0] <= pair[1]), "{buckets:?}");
    assert_eq!(buckets.last(), Some(&1_000));
    let at = |bound: u64| buckets[BOUNDS_US.iter().position(|b| *b == bound).unwrap()];
    assert!((194..=201).contains(&at(10_000)), "{}", at(10_000));
}
