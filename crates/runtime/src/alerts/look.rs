//! What each rule's value is just now: out of the answers that operators get,
//! the files of certificates, the clocks, and the name servers.
//!
//! Never decides whether a value is bad. Invariant: what cannot be learned is
//! left out, and then nothing changes.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use base::{Monotonic, Now, Wall};
use control::alert::{Rule, Seen};
use control::api::{SiteOrder, Sites};
use control::certificate;
use control::{By, Filter, Identity, Mode, Policy, Request};
use serde_json::Value;

use crate::machine;
use crate::server::Running;
use crate::tls_server::first_certificate;

/// How long the shards may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Rates are counted over so long.
const RATE_WINDOW: Duration = Duration::from_secs(600);
/// No connection succeeds for so long before time-outs are put down to port 25.
const PORT_WINDOW: Duration = Duration::from_secs(300);
/// Recipients that came to an end, below which their share says nothing.
const ENDS_MIN: u64 = 50;
/// Waiting recipients below which their age says nothing.
const WAITING_MIN: u64 = 20;
/// Recipients that a site without a relay has before it is watched.
const SITE_WAITING_MIN: u64 = 100;
/// Sites that are looked at in one state.
const SITES_MAX: u32 = 200;
/// How long name servers have to answer a question.
const DNS_TIME_MAX: Duration = Duration::from_secs(2);
/// How often certificates are read.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(60);

/// What was seen before.
pub(super) struct Look {
    counted: VecDeque<(Monotonic, Counted)>,
    last: Option<Now>,
    lines_lost: u64,
    down: BTreeMap<Box<str>, Monotonic>,
    certificates: Option<(Monotonic, Seen)>,
    /// Name servers were of no use at the last look.
    deaf: bool,
}

/// Counters at one look.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    delivered: u64,
    failed: u64,
    reached: u64,
    lookups: u64,
}

impl Look {
    pub(super) fn new(running: &Running) -> Self {
        Self {
            counted: VecDeque::new(),
            last: None,
            lines_lost: running.log_lines_lost(),
            down: BTreeMap::new(),
            certificates: None,
            deaf: false,
        }
    }

    /// Looks at everything that a rule is set for.
    pub(super) fn look(
        &mut self,
        running: &Running,
        policy: &Policy,
        now: Now,
    ) -> BTreeMap<Rule, Seen> {
        let mut seen = BTreeMap::new();
        let mut whole = |rule: Rule, value: Option<u64>| {
            if let Some(value) = value.filter(|_| policy.alerts.limit(rule).is_some()) {
                seen.insert(rule, vec![("".into(), value)]);
            }
        };
        whole(Rule::ClockStep, self.clock_step(now));
        whole(Rule::LinesLost, Some(self.lines_lost(running)));
        let status = running.command(Request::Status, ANSWER_TIME);
        if status.status == 200 {
            let before = self.counted.back().map(|(_, counted)| *counted);
            let counted = Counted::of(&status.body);
            self.count(now.mono, counted);
            whole(Rule::QueueSize, waiting(&status.body));
            whole(Rule::QueueFull, queue_full(&status.body, policy));
            whole(Rule::DiskFree, status.body["free_bytes"].as_u64());
            whole(Rule::FailureRate, self.failure_rate());
            let asked = before.is_some_and(|before| counted.lookups > before.lookups);
            if policy.alerts.limit(Rule::Resolver).is_some() && (asked || self.deaf) {
                self.deaf = !any_answers(policy);
                whole(Rule::Resolver, Some(u64::from(self.deaf)));
            }
        }
        whole(Rule::QueueAge, queue_age(running, now.wall));
        let [down, probing] = ["down", "probing"].map(|state| sites(running, state));
        if let (Some(down), Some(probing)) = (down, probing) {
            whole(Rule::Port25, self.port_25(now.mono, &down));
            let value = self.sites_down(now.mono, down.iter().chain(&probing));
            seen.insert(Rule::SiteDown, value);
        }
        if policy.alerts.limit(Rule::Certificate).is_some() {
            seen.insert(Rule::Certificate, self.certificates(policy, now));
        }
        self.last = Some(now);
        seen
    }

    /// By how much the wall clock moved more, or less, than time passed.
    fn clock_step(&self, now: Now) -> Option<u64> {
        let last = self.last?;
        let passed = now.mono.since(last.mono).as_millis() as i64;
        let shown = now.wall.as_millis() as i64 - last.wall.as_millis() as i64;
        Some((shown - passed).unsigned_abs())
    }

    fn lines_lost(&mut self, running: &Running) -> u64 {
        let lost = running.log_lines_lost();
        let before = std::mem::replace(&mut self.lines_lost, lost);
        lost.saturating_sub(before)
    }

    fn count(&mut self, now: Monotonic, counted: Counted) {
        self.counted.push_back((now, counted));
        // The oldest one kept is as old as the window, or a little older.
        while self.counted.get(1).is_some_and(|(at, _)| now.since(*at) >= RATE_WINDOW) {
            self.counted.pop_front();
        }
    }

    /// Percent of what came to an end in the window that failed for good.
    fn failure_rate(&self) -> Option<u64> {
        let ((_, first), (_, last)) = self.counted.front().zip(self.counted.back())?;
        let failed = last.failed.saturating_sub(first.failed);
        let all = failed + last.delivered.saturating_sub(first.delivered);
        Some(if all < ENDS_MIN { 0 } else { failed * 100 / all })
    }

    /// Sites that time out while no connection succeeds.
    fn port_25(&self, now: Monotonic, down: &[Value]) -> Option<u64> {
        let (_, last) = self.counted.back()?;
        let within = |(at, _): &&(Monotonic, Counted)| now.since(*at) >= PORT_WINDOW;
        let Some((_, first)) = self.counted.iter().rfind(within) else { return Some(0) };
        if last.reached > first.reached {
            return Some(0);
        }
        let silent = |row: &&Value| {
            let reason = row["reason"].as_str().unwrap_or_default();
            reason.contains("timed out") || reason.contains("took too long")
        };
        Some(down.iter().filter(silent).count() as u64)
    }

    /// How long each site that matters is down.
    fn sites_down<'v>(&mut self, now: Monotonic, rows: impl Iterator<Item = &'v Value>) -> Seen {
        let matters = |row: &&Value| {
            let name = row["name"].as_str().unwrap_or_default();
            let count = row["count"].as_u64().unwrap_or(0);
            count >= if name.starts_with("relay:") { 1 } else { SITE_WAITING_MIN }
        };
        let names: Vec<Box<str>> =
            rows.filter(matters).filter_map(|row| Some(row["name"].as_str()?.into())).collect();
        self.down.retain(|name, _| names.contains(name));
        let since = |name: Box<str>| {
            let since = *self.down.entry(name.clone()).or_insert(now);
            (name, now.since(since).as_millis() as u64)
        };
        let mut seen: Seen = names.into_iter().map(since).collect();
        // Only so many are watched: those that are down for longest.
        seen.sort_by_key(|(_, span)| std::cmp::Reverse(*span));
        seen
    }

    /// How long each certificate is still good.
    fn certificates(&mut self, policy: &Policy, now: Now) -> Seen {
        let fresh = |(at, _): &&(Monotonic, Seen)| now.mono.since(*at) < CERTIFICATES_EVERY;
        if let Some((_, seen)) = self.certificates.as_ref().filter(fresh) {
            return seen.clone();
        }
        let left = |(file, pem): (&str, &[u8])| {
            let end = certificate::not_after(&first_certificate(pem)?)?;
            Some((file.into(), end.since(now.wall).as_millis() as u64))
        };
        let seen: Seen = certificates(policy).into_iter().filter_map(left).collect();
        self.certificates = Some((now.mono, seen.clone()));
        seen
    }
}

impl Counted {
    fn of(status: &Value) -> Self {
        let of = |key: &str| status["counters"][key].as_u64().unwrap_or(0);
        Self {
            delivered: of("delivered"),
            failed: of("failed") + of("expired"),
            reached: of("connections_out"),
            lookups: of("lookups_asked"),
        }
    }
}

fn waiting(status: &Value) -> Option<u64> {
    let of = |key: &str| status["recipients"][key].as_u64();
    Some(of("ready")? + of("deferred")? + of("in_flight")? + of("held")?)
}

fn queue_full(status: &Value, policy: &Policy) -> Option<u64> {
    let part = |key: &str, most: u64| Some(status[key].as_u64()?.saturating_mul(100) / most.max(1));
    let queue = &policy.queue;
    Some(part("messages", queue.max_messages)?.max(part("bytes", queue.max_bytes)?))
}

/// What a quarter of the waiting mail is older than, in milliseconds.
fn queue_age(running: &Running, _: Wall) -> Option<u64> {
    let asked = Request::QueueList { by: By::Route, filter: Filter::default(), limit: SITES_MAX };
    let answer = running.command(asked, ANSWER_TIME);
    let rows = answer.body["routes"].as_array().filter(|_| answer.status == 200)?;
    let mut older: BTreeMap<u64, u64> = BTreeMap::new();
    for (name, count) in rows.iter().filter_map(|row| row["ages"].as_object()).flatten() {
        let under = name.strip_prefix("under_").and_then(|rest| rest.strip_suffix('m'));
        let bound = under.map_or(Some(u64::MAX), |minutes| minutes.parse().ok());
        *older.entry(bound?).or_default() += count.as_u64().unwrap_or(0);
    }
    Some(quarter_older_than(&older) * 60_000)
}

/// The largest bound, in minutes, that a quarter of all is older than.
fn quarter_older_than(under: &BTreeMap<u64, u64>) -> u64 {
    let all: u64 = under.values().sum();
    if all < WAITING_MIN {
        return 0;
    }
    let mut old = all;
    let mut age = 0;
    for (bound, count) in under {
        old -= count;
        if *bound != u64::MAX && old * 4 >= all {
            age = *bound;
        }
    }
    age
}

/// The rows of the sites in one state, the fullest first.
fn sites(running: &Running, state: &str) -> Option<Vec<Value>> {
    let asked = Sites {
        state: Some(state.to_owned()),
        sort: SiteOrder::Count,
        limit: SITES_MAX,
        ..Sites::default()
    };
    let mut answer = running.command(Request::Sites(Box::new(asked)), ANSWER_TIME);
    match answer.body["sites"].take() {
        Value::Array(rows) if answer.status == 200 => Some(rows),
        _ => None,
    }
}

/// All certificates that we prove ourselves with, or that others have to: each
/// once, by its file, with what that held. The daemon may stand in another folder
/// than its configuration, so that the names alone would lead nowhere.
fn certificates(policy: &Policy) -> Vec<(&str, &[u8])> {
    let intake = &policy.submission;
    let of_listeners = intake.listen.iter().filter_map(|it| it.identity.as_ref());
    let mut own: Vec<&Identity> =
        intake.tls.iter().chain(of_listeners).map(|identity| &**identity).collect();
    own.extend(policy.control.iter().map(|control| &*control.identity));
    for way in policy.ways() {
        let Mode::Relay(hosts) = &way.mode else { continue };
        own.extend(hosts.iter().filter_map(|host| host.identity.as_deref()));
    }
    let mut files: Vec<_> = own.iter().map(|it| (&*it.certificate, &*it.chain)).collect();
    let authority = policy.control.iter().map(|control| &control.authority);
    files.extend(authority.map(|it| (&*it.file, &*it.certificates)));
    files.sort_unstable();
    files.dedup();
    files
}

/// Whether any name server answers a question at all, whatever it answers.
fn any_answers(policy: &Policy) -> bool {
    let servers = match policy.dns.servers.is_empty() {
        true => machine::name_servers(),
        false => policy.dns.servers.clone(),
    };
    let asked: Vec<UdpSocket> = servers.iter().filter_map(|server| ask(*server).ok()).collect();
    let wait = DNS_TIME_MAX / asked.len().max(1) as u32;
    asked.iter().any(|socket| {
        let waits = socket.set_read_timeout(Some(wait)).is_ok();
        waits && socket.recv(&mut [0; 512]).is_ok_and(|length| length >= QUESTION.len() - 5)
    })
}

/// Who serves the root? (RFC 1035 §4.1)
const QUESTION: [u8; 17] = [0x52, 0x50, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

fn ask(server: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(&QUESTION)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Certificates are named as the configuration has them, which is not where
    /// the daemon stands: it once looked for them there, and saw none end.
    #[test]
    fn certificates_are_seen_wherever_the_daemon_stands() {
        let made = rcgen::generate_simple_self_signed(["mx.example".into()]).unwrap();
        let pem = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
        let mut files = |_: &str| Ok(pem.clone().into_bytes());
        let text = "[submission]\ntls = { certificate = \"a.pem\", key = \"a.key\" }\n\
                    [control]\nlisten = [\"127.0.0.1\"]\ncertificate = \"a.pem\"\n\
                    key = \"a.key\"\nclient_authority = \"b.pem\"\n";
        let machine = mail::Domain::parse("box.example").unwrap();
        let policy = control::Config::parse_with(text, &machine, &mut files).unwrap().policy;
        let now = Now::new(mono(1), Wall::from_millis(1));
        let seen = empty().certificates(&policy, now);
        let names: Vec<&str> = seen.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["a.pem", "b.pem"]);
        assert!(seen.iter().all(|(_, left)| *left > 1_000), "{seen:?}");
    }

    fn mono(s: u64) -> Monotonic {
        Monotonic::from_millis(s * 1_000)
    }

    fn empty() -> Look {
        let (counted, down) = (VecDeque::new(), BTreeMap::new());
        Look { counted, last: None, lines_lost: 0, down, certificates: None, deaf: false }
    }

    #[test]
    fn failures_are_a_share_of_what_ended_in_the_window() {
        let mut look = empty();
        let at = |delivered, failed| Counted { delivered, failed, ..Counted::default() };
        look.count(mono(0), at(1_000, 1_000));
        look.count(mono(5), at(1_020, 1_020));
        assert_eq!(look.failure_rate(), Some(0), "too few");
        look.count(mono(10), at(1_060, 1_020));
        assert_eq!(look.failure_rate(), Some(25));
        // What is out of the window is forgotten.
        look.count(mono(606), at(1_160, 1_020));
        look.count(mono(612), at(1_160, 1_020));
        assert_eq!((look.failure_rate(), look.counted.len()), (Some(0), 3));
    }

    #[test]
    fn port_25_looks_blocked_when_nothing_succeeds_for_long() {
        let mut look = empty();
        let row = |reason: &str| json!({ "reason": reason });
        let down = vec![row("cannot connect: timed out"), row("cannot connect: refused")];
        look.count(mono(0), Counted { reached: 7, ..Counted::default() });
        assert_eq!(look.port_25(mono(10), &down), Some(0), "not for long enough");
        look.count(mono(300), Counted { reached: 7, ..Counted::default() });
        assert_eq!(look.port_25(mono(300), &down), Some(1));
        look.count(mono(301), Counted { reached: 8, ..Counted::default() });
        assert_eq!(look.port_25(mono(301), &down), Some(0));
    }

    #[test]
    fn a_site_counts_with_much_mail_and_a_relay_with_any() {
        let mut look = empty();
        let row = |name: &str, count: u64| json!({ "name": name, "count": count });
        let rows = [row("mx:few", 99), row("mx:many", 100), row("relay:r", 1)];
        let seen = look.sites_down(mono(5), rows.iter());
        assert_eq!(seen, [("mx:many".into(), 0), ("relay:r".into(), 0)]);
        let seen = look.sites_down(mono(8), rows[2..].iter());
        assert_eq!(seen, [("relay:r".into(), 3_000)]);
        assert_eq!(look.sites_down(mono(9), rows[1..].iter())[1], ("mx:many".into(), 0));
    }

    #[test]
    fn the_age_of_a_quarter_of_the_mail() {
        let of = |counts: [(u64, u64); 4]| quarter_older_than(&counts.into());
        assert_eq!(of([(5, 80), (10, 0), (20, 19), (u64::MAX, 1)]), 0);
        assert_eq!(of([(5, 75), (10, 0), (20, 24), (u64::MAX, 1)]), 10);
        assert_eq!(of([(5, 0), (10, 0), (20, 0), (u64::MAX, 100)]), 20);
        assert_eq!(of([(5, 0), (10, 0), (20, 0), (u64::MAX, 19)]), 0, "too few");
    }

    #[test]
    fn a_clock_that_was_set_shows_its_step() {
        let mut look = empty();
        let now = |mono_s, wall_s: u64| Now::new(mono(mono_s), Wall::from_millis(wall_s * 1_000));
        assert_eq!(look.clock_step(now(1, 100)), None);
        look.last = Some(now(1, 100));
        assert_eq!(look.clock_step(now(6, 105)), Some(0));
        assert_eq!(look.clock_step(now(6, 165)), Some(60_000));
        assert_eq!(look.clock_step(now(6, 40)), Some(65_000));
    }

    #[test]
    fn a_name_server_is_heard_whatever_it_says() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let asked = ask(server.local_addr().unwrap()).unwrap();
        let mut question = [0; 64];
        let (length, from) = server.recv_from(&mut question).unwrap();
        assert_eq!(question[..length], QUESTION);
        server.send_to(&question[..12], from).unwrap();
        assert_eq!(asked.recv(&mut [0; 512]).unwrap(), 12);
    }
}
