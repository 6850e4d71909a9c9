//! Observations: cheap facts, one line each, one hash each.

use std::time::Duration;

use base::{Now, Wall};

use crate::digest::Hasher64;

use super::*;

fn of(what: &Observation) -> u64 {
    let mut hasher = Hasher64::new();
    let at = Now::new(Monotonic::from_millis(1), Wall::from_millis(2));
    Stamped { at, step: 3, what: what.clone() }.feed(&mut hasher);
    hasher.finish()
}

fn letter() -> Letter {
    Letter {
        sender: "a@b.example".into(),
        to: vec![Addressee::new("c@d.example")],
        ret: 0,
        envid: None,
        content: Arc::from(&b"Subject: x\r\nX-Story: 17\r\n\r\nHello\r\n"[..]),
    }
}

fn line(text: &str) -> Observation {
    Observation::Logged { shard: 0, line: Arc::new(LogLine::parse(text).unwrap()) }
}

/// One of each kind, and neighbours that differ in one fact.
fn all() -> Vec<Observation> {
    use Observation::*;
    let link = Link { shard: 1, conn: 3 };
    let client = Link { shard: 1, conn: 2 };
    let (sent, other) = (letter(), Letter { ret: b'F', ..letter() });
    let copy = Taken {
        sender: sent.sender.clone(),
        to: sent.to.clone(),
        ret: 0,
        envid: None,
        content: sent.content.clone(),
        eight_bit: true,
        dsn: true,
    };
    let report = Recovery { in_doubt: vec![(MessageId::from_u64(9), 1)], ..Recovery::default() };
    let gauges = Gauges { counts: vec![("waiting", 3, Some(4))] };
    vec![
        Configured(Arc::new(Rules::default())),
        ConfigurationRefused,
        Topology(Arc::from([Site {
            name: "s".into(),
            domains: vec!["d.example".into()],
            addresses: vec![[192, 0, 2, 1].into()],
        }])),
        ClientCame { client, peer: [127, 0, 0, 1].into() },
        Handed { client, message: 17, letter: Arc::new(sent) },
        Handed { client, message: 17, letter: Arc::new(other) },
        Answered { client, message: 17, to: Verb::Dot, code: 250, id: None },
        Answered {
            client,
            message: 17,
            to: Verb::Dot,
            code: 250,
            id: Some(MessageId::from_u64(0)),
        },
        Promised { client, message: 17, durable: true },
        ClientGone { client, by_us: true },
        ClientSpoke { client },
        Dialled { link, to: ([192, 0, 2, 1], 25).into(), from: None },
        Dialled { link, to: ([192, 0, 2, 1], 25).into(), from: Some([192, 0, 2, 9].into()) },
        Stands { link },
        DialFailed { link, ours: true },
        Secured { link, ok: true },
        Ended { link, by: Side::Them },
        Heard { link, left: Monotonic::from_millis(1), command: Command::Mail("a".into()) },
        Heard { link, left: Monotonic::from_millis(1), command: Command::Mail("b".into()) },
        Heard { link, left: Monotonic::from_millis(1), command: Command::Rcpt("a".into()) },
        Said { link, to: Verb::Dot, code: 250 },
        Took { link, copy: Arc::new(copy) },
        Progress { link },
        Asked { shard: 1, name: "d.example".into(), kind: 15 },
        Resolved { shard: 1, name: "d.example".into(), kind: 15, how: super::Resolved::Nothing },
        Resolved { shard: 1, name: "d.example".into(), kind: 15, how: super::Resolved::Unknown },
        Shortage { shard: 1, what: super::Shortage::Descriptors, link: Some(link) },
        line(r#"{"event":"delivered","to":"c@d.example","reply":"250 ok\r\nx"}"#),
        line(r#"{"event":"delivered","to":"c@d.example","reply":"250 ok"}"#),
        Ordered { order: 1, act: Act::Hold, whom: Whom::All },
        Ordered { order: 1, act: Act::Hold, whom: Whom::Domain("a".into()) },
        Ordered { order: 1, act: Act::Hold, whom: Whom::Sender("a".into()) },
        Obeyed { order: 1, code: 200, count: 4 },
        Disk { segment: Some(SegmentId(1)), what: super::Disk::Synced(7) },
        Disk { segment: None, what: super::Disk::Full },
        Crashed { power: false },
        Crashed { power: true },
        Recovered { shards: 2, report: Arc::new(report) },
        Gauged { shard: 1, gauges },
        Calm,
        Over { left: Left::default() },
    ]
}

#[test]
fn everything_seen_counts_in_the_hash() {
    let hashes: Vec<u64> = all().iter().map(of).collect();
    for (n, hash) in hashes.iter().enumerate() {
        assert!(!hashes[n + 1..].contains(hash), "{}", all()[n]);
    }
    assert_eq!(hashes, all().iter().map(of).collect::<Vec<_>>());
}

#[test]
fn time_and_step_count_too() {
    let of = |ms, step| {
        let mut hasher = Hasher64::new();
        let at = Now::new(Monotonic::from_millis(ms), Wall::from_millis(ms));
        Stamped { at, step, what: Observation::Calm }.feed(&mut hasher);
        hasher.finish()
    };
    assert_ne!(of(1, 1), of(2, 1));
    assert_ne!(of(1, 1), of(1, 2));
}

#[test]
fn each_is_one_line() {
    for what in all() {
        let shown = what.to_string();
        assert!(!shown.is_empty() && !shown.contains(['\n', '\r']), "{shown}");
    }
    let at =
        Now::new(Monotonic::from_millis(0) + Duration::from_millis(61_007), Wall::from_millis(0));
    let shown = Stamped { at, step: 12, what: Observation::Crashed { power: true } }.to_string();
    assert_eq!(shown, "    12      61.007s  THE POWER GOES");
}

#[test]
fn a_copy_is_known_by_its_mark_in_the_header_alone() {
    assert_eq!(letter::marked(&letter().content), Some(17));
    assert_eq!(letter::marked(b"Subject: x\r\n\r\nX-Story: 17\r\n"), None);
    assert_eq!(letter::marked(b"X-Story: seventeen\r\n\r\n"), None);
    assert_eq!(letter::marked(b""), None);
}
