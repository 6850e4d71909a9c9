//! What each rule's value is just now: out of the answers that operators get,
//! the certificates in use, the clocks, and the name servers.
//!
//! Never decides whether a value is bad. Invariant: what cannot be learned is
//! left out, and then nothing changes.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use base::{Monotonic, Now};
use control::alert::{Rule, Seen, Sight};
use control::api::{LIMIT_MAX, SiteOrder, Sites};
use control::{By, Delivery, Filter, Mode, Policy, Request};
use serde_json::Value;

use super::certificates;
use crate::machine;
use crate::server::Running;

/// How long the shards may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Rates are counted over so long.
const RATE_WINDOW: Duration = Duration::from_secs(600);
/// Recipients that came to an end, below which their share says nothing.
const ENDS_MIN: u64 = 50;
/// Waiting recipients below which their age says nothing.
const WAITING_MIN: u64 = 20;
/// Recipients that a site has before it is watched.
const SITE_WAITING_MIN: u64 = 100;
/// Sites that are looked at in one state.
const SITES_MAX: u32 = 200;
/// How long name servers have to answer a question.
const DNS_TIME_MAX: Duration = Duration::from_secs(2);

/// What was seen before.
pub(super) struct Look {
    counted: VecDeque<(Monotonic, Counted)>,
    last: Option<Now>,
    lines_lost: u64,
    /// Since when sites and routes are down.
    down: BTreeMap<(Rule, Box<str>), Monotonic>,
    /// Name servers were of no use at the last look.
    deaf: bool,
}

/// Counters at one look.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    delivered: u64,
    failed: u64,
    lookups: u64,
}

impl Look {
    pub(super) fn new(running: &Running) -> Self {
        Self {
            counted: VecDeque::new(),
            last: None,
            lines_lost: running.log_lines_lost(),
            down: BTreeMap::new(),
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
                seen.insert(rule, vec![Sight::of("", value)]);
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
            whole(Rule::Port25, status.body["silent_sites"].as_u64());
            let asked = before.is_some_and(|before| counted.lookups > before.lookups);
            if policy.alerts.limit(Rule::Resolver).is_some() {
                whole(Rule::Resolver, Some(self.resolver(asked, || any_answers(policy))));
            }
        }
        if let Some(routes) = routes(running) {
            whole(Rule::QueueAge, Some(queue_age(&routes)));
            let relays: Vec<&Value> = routes.iter().filter(|row| relays(policy, row)).collect();
            let down = self.routes_down(now.mono, &relays);
            let [sites, probed] = ["down", "probing"].map(|state| sites(running, state));
            if let (Some(sites), Some(probed)) = (sites, probed) {
                // One cause is told once.
                let told = policy.alerts.limit(Rule::RouteDown).is_some();
                let apart = |row: &&Value| !(told && is_of_route(row, &relays, &down));
                let rows = sites.iter().chain(&probed).filter(apart);
                seen.insert(Rule::SiteDown, self.sites_down(now.mono, rows));
            }
            seen.insert(Rule::RouteDown, down);
        }
        if policy.alerts.limit(Rule::Certificate).is_some() {
            seen.insert(Rule::Certificate, certificates::seen(policy, now.wall));
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

    /// 1 when look-ups are needed and none is answered. Servers are asked only
    /// where somebody has something to look up, or they were of no use before;
    /// else nothing is wrong, which ends what was.
    fn resolver(&mut self, asked: bool, any_answers: impl FnOnce() -> bool) -> u64 {
        if asked || self.deaf {
            self.deaf = !any_answers();
        }
        u64::from(self.deaf)
    }

    /// How long each site that matters is down.
    fn sites_down<'v>(&mut self, now: Monotonic, rows: impl Iterator<Item = &'v Value>) -> Seen {
        let matters = |row: &&Value| row["count"].as_u64().unwrap_or(0) >= SITE_WAITING_MIN;
        self.spans_down(now, Rule::SiteDown, rows.filter(matters))
    }

    /// For how long none of a relay's hosts takes mail. While that is being
    /// found out, nothing has changed.
    fn routes_down(&mut self, now: Monotonic, rows: &[&Value]) -> Seen {
        let known = |row: &Value| {
            let name = row["name"].as_str().unwrap_or_default();
            self.down.contains_key(&(Rule::RouteDown, name.into()))
        };
        let is_down = |row: &Value| match row["state"].as_str() {
            Some("down") => true,
            Some("waiting") => known(row),
            _ => false,
        };
        let down: Vec<&Value> = rows.iter().copied().filter(|row| is_down(row)).collect();
        self.spans_down(now, Rule::RouteDown, down.into_iter())
    }

    /// How long each of these rows has been among those of a rule.
    fn spans_down<'v>(
        &mut self,
        now: Monotonic,
        rule: Rule,
        rows: impl Iterator<Item = &'v Value>,
    ) -> Seen {
        let sight = |row: &Value| {
            let words = row["reason"].as_str().unwrap_or_default().into();
            Some(Sight { words, ..Sight::of(row["name"].as_str()?, 0) })
        };
        let mut seen: Seen = rows.filter_map(sight).collect();
        self.down.retain(|(other, name), _| {
            *other != rule || seen.iter().any(|sight| sight.subject == *name)
        });
        for sight in &mut seen {
            let since = *self.down.entry((rule, sight.subject.clone())).or_insert(now);
            sight.value = now.since(since).as_millis() as u64;
        }
        // Only so many are watched: those that are down for longest.
        seen.sort_by_key(|sight| std::cmp::Reverse(sight.value));
        seen
    }
}

impl Counted {
    fn of(status: &Value) -> Self {
        let of = |key: &str| status["counters"][key].as_u64().unwrap_or(0);
        Self {
            delivered: of("delivered"),
            failed: of("failed") + of("expired"),
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

/// The rows of all routes that mail waits for.
fn routes(running: &Running) -> Option<Vec<Value>> {
    let asked = Request::QueueList { by: By::Route, filter: Filter::default(), limit: LIMIT_MAX };
    let mut answer = running.command(asked, ANSWER_TIME);
    match answer.body["routes"].take() {
        Value::Array(rows) if answer.status == 200 => Some(rows),
        _ => None,
    }
}

/// Whether a row is that of a route whose hosts the configuration names.
fn relays(policy: &Policy, row: &Value) -> bool {
    let named = |way: &&Delivery| row["name"].as_str() == Some(&*way.name);
    let way = policy.ways().iter().find(named);
    way.is_some_and(|way| !matches!(way.mode, Mode::Independent))
}

/// Whether a site is one of those for which a route of `down` is down.
fn is_of_route(site: &Value, routes: &[&Value], down: &Seen) -> bool {
    let is_down =
        |row: &&&Value| down.iter().any(|one| row["name"].as_str() == Some(&*one.subject));
    let mut down = routes.iter().filter(is_down);
    let names =
        |row: &&Value| row["sites_down"].as_array().is_some_and(|s| s.contains(&site["name"]));
    down.any(names)
}

/// What a quarter of the waiting mail is older than, in milliseconds.
fn queue_age(rows: &[Value]) -> u64 {
    let mut older: BTreeMap<u64, u64> = BTreeMap::new();
    for (name, count) in rows.iter().filter_map(|row| row["ages"].as_object()).flatten() {
        let under = name.strip_prefix("under_").and_then(|rest| rest.strip_suffix('m'));
        let bound = under.map_or(u64::MAX, |minutes| minutes.parse().unwrap_or(u64::MAX));
        *older.entry(bound).or_default() += count.as_u64().unwrap_or(0);
    }
    quarter_older_than(&older) * 60_000
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
    use base::Wall;
    use control::alert::{AlertSettings, Turn, Watch};
    use serde_json::json;

    use super::*;

    fn mono(s: u64) -> Monotonic {
        Monotonic::from_millis(s * 1_000)
    }

    fn empty() -> Look {
        let (counted, down) = (VecDeque::new(), BTreeMap::new());
        Look { counted, last: None, lines_lost: 0, down, deaf: false }
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
    fn a_site_counts_with_much_mail() {
        let mut look = empty();
        let row = |name: &str, count: u64| json!({ "name": name, "count": count, "reason": "no" });
        let rows = [row("mx:few", 99), row("mx:many", 100), row("mx:more", 101)];
        let spans = |seen: Seen| -> Vec<(Box<str>, u64)> {
            assert!(seen.iter().all(|sight| &*sight.words == "no"));
            seen.into_iter().map(|sight| (sight.subject, sight.value)).collect()
        };
        let seen = spans(look.sites_down(mono(5), rows.iter()));
        assert_eq!(seen, [("mx:many".into(), 0), ("mx:more".into(), 0)]);
        let seen = spans(look.sites_down(mono(8), rows[2..].iter()));
        assert_eq!(seen, [("mx:more".into(), 3_000)]);
        assert_eq!(spans(look.sites_down(mono(9), rows[1..].iter()))[1], ("mx:many".into(), 0));
    }

    /// A relay that is looked up anew is not back, and one without mail is not
    /// down; its sites are told of with it and not beside it.
    ///
    /// Shows: S2.14
    #[test]
    fn a_route_is_down_until_a_host_takes_mail_or_none_waits() {
        let mut look = empty();
        let row = |state: &str| json!({ "name": "*", "state": state, "sites_down": ["relay:r"] });
        let mut span = |at: u64, rows: &[Value]| {
            let rows: Vec<&Value> = rows.iter().collect();
            look.routes_down(mono(at), &rows).first().map(|sight| sight.value)
        };
        assert_eq!(span(1, &[row("waiting")]), None, "nobody has tried yet");
        assert_eq!(span(2, &[row("down")]), Some(0));
        assert_eq!(span(5, &[row("waiting")]), Some(3_000), "its name is looked up again");
        assert_eq!(span(6, &[row("up")]), None);
        assert_eq!(span(7, &[row("down")]), Some(0));
        assert_eq!(span(8, &[]), None);
        let (site, routes) = (json!({ "name": "relay:r" }), [row("down")]);
        let (routes, down) = ([&routes[0]], vec![Sight::of("*", 0)]);
        assert!(is_of_route(&site, &routes, &down) && !is_of_route(&site, &routes, &Vec::new()));
        assert!(!is_of_route(&json!({ "name": "mx:a" }), &routes, &down));
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

    /// What the runtime sees where somebody sets the clock: told at once, by how
    /// much, and over when it goes on as clocks do.
    ///
    /// Shows: S2.14
    #[test]
    fn a_clock_that_was_set_is_told_and_over_by_itself() {
        let (mut look, mut watch) = (empty(), Watch::default());
        let settings =
            AlertSettings { clear_after: Duration::from_secs(10), ..AlertSettings::default() };
        let mut at = |mono_s: u64, wall_s: u64| {
            let now = Now::new(mono(mono_s), Wall::from_millis(wall_s * 1_000));
            let step = look.clock_step(now);
            look.last = Some(now);
            let seen = step.map(|step| (Rule::ClockStep, vec![Sight::of("", step)]));
            watch.look(now, &settings, &seen.into_iter().collect())
        };
        assert_eq!((at(0, 1_000), at(5, 1_005)), (vec![], vec![]));
        let raised = at(10, 4_610);
        assert_eq!((raised.len(), raised[0].turn), (1, Turn::Raised));
        assert_eq!(raised[0].reason, "the clock was set by so much: 1h (limit 5s)");
        assert_eq!((at(15, 4_615), at(20, 4_620)), (vec![], vec![]));
        assert_eq!(at(25, 4_625)[0].turn, Turn::Cleared);
    }

    /// Found by a story: without look-ups nothing was seen of the rule, and what
    /// had been raised stood for good.
    #[test]
    fn name_servers_are_well_until_look_ups_fail_and_from_the_first_answer_on() {
        let mut look = empty();
        let never = || -> bool { panic!("nobody wants to know") };
        assert_eq!(look.resolver(false, never), 0);
        assert_eq!(look.resolver(true, || false), 1);
        assert_eq!(look.resolver(false, || false), 1, "they are asked again");
        assert_eq!(look.resolver(false, || true), 0);
        assert_eq!(look.resolver(false, never), 0);
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
