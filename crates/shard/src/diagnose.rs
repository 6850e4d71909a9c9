//! `diagnose ADDRESS`: walks the way of mail to an address step by step, up to
//! but not including MAIL: route, suspensions, limits, look-ups, and each host
//! with greeting, EHLO, TLS and log-in, by the same rules as delivery. What
//! `explain` says from memory is tried out here.
//!
//! Never touches waiting mail and leaves nothing behind: no host is noted as
//! down, no site as failed, no attempt is counted. Invariants: one diagnosis at
//! a time in a shard; each step and the whole have a deadline; a connection of
//! it holds a permit like any other, so that limits hold.

mod host;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::{ConnId, Monotonic};
use control::{Mode, Site};
use dns::{Exchange, Hosts, Resolution, Token};
use mail::{Address, Domain, Host};

use crate::armed::{Armed, Timer};
use crate::command::Answer;
use crate::dispatch::{FixedHost, Hosting, LOOP, NO_ADDRESS, NO_DOMAIN, NULL_MX, literal};
use crate::effect::Effect;
use crate::epoch::Way;
use crate::event::Event;
use crate::explain::Heading;
use crate::permit::Spend;
use crate::shard::{Shard, Turn};
use host::Visit;
use report::{Report, Result as Came};

/// A whole diagnosis; less than what the control socket waits for an answer.
pub(crate) const WHOLE_TIME_MAX: Duration = Duration::from_secs(45);
/// One step at a host, however long delivery would wait for it.
pub(crate) const STEP_TIME_MAX: Duration = Duration::from_secs(15);
/// Waiting for a permit: connections with mail end when they are done with it.
const PERMIT_TIME_MAX: Duration = Duration::from_secs(5);

/// A diagnosis under way.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    request: u64,
    way: Way,
    until: Monotonic,
    stage: Stage,
    report: Report,
    armed: Armed,
}

#[derive(Debug)]
enum Stage {
    /// The domain's exchangers are looked up.
    Exchange(Token),
    /// Relay hosts are looked up, in the configuration's order.
    Relay(Vec<(Option<Token>, Option<Hosts>)>),
    /// The hosts are known; a permit is waited for.
    Permit { hosts: Hosting, limit_key: Arc<str>, until: Monotonic },
    /// Hosts are visited, one after the other.
    Visiting(Box<Visit>),
}

impl Shard {
    /// Begins a diagnosis; the answer follows when it is over.
    pub(crate) fn diagnose(&mut self, turn: &mut Turn<'_>, request: u64, address: Address) {
        let answer = match self.heading(turn, &address) {
            Err(answer) => answer,
            Ok(heading) if !heading.first => Answer::not_found("another shard delivers this"),
            Ok(_) if self.draining => Answer::busy("the daemon is shutting down"),
            Ok(_) if self.diagnosis.is_some() => {
                Answer::busy("another diagnosis is under way; ask again in a minute")
            }
            Ok(heading) => return self.begin_diagnosis(turn, request, &address, heading),
        };
        turn.effects.push(Effect::Reply { request, answer });
    }

    fn begin_diagnosis(
        &mut self,
        turn: &mut Turn<'_>,
        request: u64,
        address: &Address,
        heading: Heading,
    ) {
        let now = turn.now.mono;
        let Heading { way, hop, destination, .. } = heading;
        let mut report = Report::new(now, address, &way, &hop);
        let relay = Site::of_relay(&way, way.exit()).and_then(|s| self.queue.find_site(&s.key));
        let site = destination.and_then(|key| self.queue.site_of(key)).or(relay);
        match self.suspends(turn, address, &way, site) {
            Some(order) => report.add(now, "suspensions", Came::Failed, &order),
            None => report.add(now, "suspensions", Came::Good, "none stops this mail"),
        }
        if let Some(table) = &way.schedule {
            match self.outside_windows(turn.now.wall, &way) {
                Some((_, shut)) => report.add(now, "schedule", Came::Failed, &shut),
                None => report.add(now, "schedule", Came::Good, &format!("{table} is open")),
            }
        }
        let shut = self.tell_link(turn, &way, &mut report);
        if let Some((known, said)) = crate::local::told(&self.policy, address) {
            let came = if known { Came::Good } else { Came::Failed };
            report.add(now, "user", came, &said);
        }
        let row = destination.and_then(|key| self.queue.row_of(turn.now, key));
        match row.as_ref().and_then(crate::explain::blocker) {
            Some(waits) => {
                let until = row.as_ref().and_then(|row| crate::explain::until_of(row.status));
                let until = until.map(|at| format!(" until {}", eventlog::rfc3339(at)));
                let waits = format!("waiting mail waits{}: {waits}", until.unwrap_or_default());
                report.add(now, "queue", Came::Noted, &waits);
            }
            None => report.add(now, "queue", Came::Good, "no waiting mail is kept back"),
        }
        let until = now + WHOLE_TIME_MAX;
        let stage = Stage::Relay(Vec::new());
        let armed = Armed::default();
        let mut it = Box::new(Diagnosis { request, way, until, stage, report, armed });
        if shut {
            return self.end_diagnosis(turn, it);
        }
        match &it.way.mode {
            Mode::Relay(_) => self.look_relay_up(turn, it),
            Mode::Socket(path) => {
                let hosts = Hosting::Fixed(vec![FixedHost::at_socket(path.clone())]);
                match Site::of_relay(&it.way, it.way.exit()) {
                    Some(site) => self.ask_to_connect(turn, it, hosts, site),
                    None => self.end_diagnosis(turn, it),
                }
            }
            Mode::Folders(at) => {
                let said = format!("mail is written to {at}; there is nobody to call");
                it.report.add(now, "deliver", Came::Noted, &said);
                self.end_diagnosis(turn, it);
            }
            Mode::Independent => match literal(&hop) {
                Some(ip) => {
                    it.report.add(now, "look-up", Came::Good, "the address names its host");
                    let site = Site::of_exchangers(&it.way, it.way.exit(), &ip.to_string());
                    let hosts = Hosting::Fixed(vec![FixedHost::literal(&it.way, ip)]);
                    self.ask_to_connect(turn, it, hosts, site);
                }
                None => self.look_domain_up(turn, it, &hop),
            },
        }
    }

    /// Says if the link is not up. True: nobody can be reached, by name or not.
    fn tell_link(&self, turn: &Turn<'_>, way: &Way, report: &mut Report) -> bool {
        let words = self.link_words(turn.now, way);
        if let Some(words) = &words {
            report.add(turn.now.mono, "link", Came::Failed, words);
        }
        words.is_some()
    }

    fn look_domain_up(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>, hop: &str) {
        let domain = Domain::parse(hop).expect("next hops in independent mode are mail domains");
        match self.dns.resolve_mail(turn.now.mono, &domain) {
            Resolution::Cached(exchange) => self.exchange_told(turn, it, &exchange, true),
            Resolution::Pending(token) => {
                it.stage = Stage::Exchange(token);
                self.keep_diagnosis(it);
            }
        }
    }

    /// The look-up of a domain has ended; perhaps it is the one waited for.
    pub(crate) fn diagnosis_found(
        &mut self,
        turn: &mut Turn<'_>,
        token: Token,
        exchange: &Exchange,
    ) {
        let waits = |it: &mut Box<Diagnosis>| matches!(&it.stage, Stage::Exchange(asked) if *asked == token);
        if let Some(it) = self.diagnosis.take_if(waits) {
            self.exchange_told(turn, it, exchange, false);
        }
    }

    fn exchange_told(
        &mut self,
        turn: &mut Turn<'_>,
        mut it: Box<Diagnosis>,
        exchange: &Exchange,
        cached: bool,
    ) {
        let now = turn.now.mono;
        let origin = if cached { "in the cache" } else { "answered just now" };
        let told = match exchange {
            Exchange::Found(_) => None,
            Exchange::NullMx => Some(NULL_MX.to_owned()),
            Exchange::NoDomain => Some(NO_DOMAIN.to_owned()),
            Exchange::NoAddress => Some(NO_ADDRESS.to_owned()),
            Exchange::Loop => Some(LOOP.to_owned()),
            Exchange::Unknown { reason, .. } => {
                Some(format!("no name server could tell: {reason}"))
            }
        };
        if let Some(told) = told {
            it.report.add(now, "look-up", Came::Failed, &format!("{told} ({origin})"));
            return self.end_diagnosis(turn, it);
        }
        let Exchange::Found(exchangers) = exchange else { unreachable!("all else was told") };
        let records = if exchangers.implicit { "no MX records, but addresses" } else { "MX" };
        let names = report::listed(
            exchangers.hosts.iter().map(|host| {
                let addresses = report::listed(host.addresses.iter().map(ToString::to_string), " ");
                format!("{} {} ({addresses})", host.preference, host.name)
            }),
            ", ",
        );
        let said = format!("{records}: {names} ({origin})");
        it.report.add_answer(now, "look-up", &said, crate::names::shown(exchange).1);
        let site = Site::of_exchangers(&it.way, it.way.exit(), &exchangers.site_key);
        let hosts = Hosting::Exchangers(exchangers.clone());
        self.ask_to_connect(turn, it, hosts, site);
    }

    fn look_relay_up(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>) {
        let Mode::Relay(smarthosts) = it.way.mode.clone() else {
            unreachable!("only relay ways come here");
        };
        let mut slots = Vec::with_capacity(smarthosts.len());
        for smarthost in smarthosts.iter() {
            if let Some(pop) = &smarthost.pop {
                let said = format!(
                    "{} wants a log-in at the POP3 server {} first, which is not tried here",
                    smarthost.host, pop.host
                );
                it.report.add(turn.now.mono, "pop", Came::Noted, &said);
            }
            slots.push(match &smarthost.host {
                Host::Literal(ip) => (None, Some(found(*ip, it.until))),
                Host::Name(name) => match self.dns.resolve_host(turn.now.mono, name) {
                    Resolution::Cached(hosts) => (None, Some(hosts)),
                    Resolution::Pending(token) => (Some(token), None),
                },
            });
        }
        it.stage = Stage::Relay(slots);
        self.relay_told(turn, it);
    }

    /// The look-up of a host has ended; perhaps it is one of those waited for.
    pub(crate) fn diagnosis_found_host(
        &mut self,
        turn: &mut Turn<'_>,
        token: Token,
        hosts: &Hosts,
    ) {
        let Some(Diagnosis { stage: Stage::Relay(slots), .. }) = self.diagnosis.as_deref_mut()
        else {
            return;
        };
        let mut met = false;
        for (_, slot) in slots.iter_mut().filter(|(asked, _)| *asked == Some(token)) {
            *slot = Some(hosts.clone());
            met = true;
        }
        if let Some(it) = self.diagnosis.take_if(|_| met) {
            self.relay_told(turn, it);
        }
    }

    /// Goes on once all relay hosts' look-ups have ended.
    fn relay_told(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>) {
        let now = turn.now.mono;
        let (Stage::Relay(slots), Mode::Relay(smarthosts)) = (&it.stage, &it.way.mode) else {
            unreachable!("only relay ways come here");
        };
        if slots.iter().any(|(_, slot)| slot.is_none()) {
            return self.keep_diagnosis(it);
        }
        let mut fixed = Vec::new();
        for (smarthost, hosts) in
            smarthosts.iter().zip(slots.iter().filter_map(|(_, s)| s.as_ref()))
        {
            let name = smarthost.host.to_string();
            match hosts {
                Hosts::Found(host) => {
                    let list = report::listed(host.addresses.iter().map(ToString::to_string), " ");
                    it.report.add_of(now, "look-up", &name, Came::Good, &list);
                    fixed.push(FixedHost::relay(&it.way, smarthost, &host.addresses));
                }
                Hosts::None { .. } => {
                    it.report.add_of(now, "look-up", &name, Came::Failed, "it has no address");
                }
                Hosts::Unknown { reason, .. } => {
                    let said = format!("no name server could tell: {reason}");
                    it.report.add_of(now, "look-up", &name, Came::Failed, &said);
                }
            }
        }
        match Site::of_relay(&it.way, it.way.exit()) {
            Some(site) if !fixed.is_empty() => {
                self.ask_to_connect(turn, it, Hosting::Fixed(fixed), site);
            }
            _ => self.end_diagnosis(turn, it),
        }
    }

    /// The hosts are known: a permit for a connection to them.
    fn ask_to_connect(
        &mut self,
        turn: &mut Turn<'_>,
        mut it: Box<Diagnosis>,
        hosts: Hosting,
        site: Site,
    ) {
        it.report.site = site.key;
        let until = turn.now.mono + PERMIT_TIME_MAX;
        it.stage = Stage::Permit { hosts, limit_key: site.limit_key.into(), until };
        self.try_permit(turn, it);
    }

    /// The home of a limit has decided about this shard.
    pub(crate) fn diagnosis_may_connect(&mut self, turn: &mut Turn<'_>, key: &str) {
        let waits = |it: &mut Box<Diagnosis>| matches!(&it.stage, Stage::Permit { limit_key, .. } if **limit_key == *key);
        if let Some(it) = self.diagnosis.take_if(waits) {
            self.try_permit(turn, it);
        }
    }

    fn try_permit(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>) {
        let Stage::Permit { limit_key, .. } = &it.stage else {
            unreachable!("a permit is asked for once the hosts are known");
        };
        let limit_key = limit_key.clone();
        match self.permits.take_connection(&limit_key) {
            Spend::Taken => {}
            spend => {
                if let Spend::Ask(want) = spend {
                    self.ask_permits(turn, &limit_key, &it.way, want);
                }
                if self.holds_its_share(&limit_key, &it.way) {
                    let idle = self.idle_of(&limit_key).first().copied();
                    if let Some((conn, out)) = idle.and_then(|conn| Some((conn, self.pick(conn)?)))
                    {
                        self.dismiss(turn, conn, out);
                    }
                }
                return self.keep_diagnosis(it);
            }
        }
        it.report.add(turn.now.mono, "limits", Came::Good, "they allow a connection");
        let stage = std::mem::replace(&mut it.stage, Stage::Relay(Vec::new()));
        let Stage::Permit { hosts, .. } = stage else { unreachable!("looked at above") };
        let order = hosts.order(&mut self.rng);
        let rest = self.candidates(turn, &hosts, &it.way, &order);
        self.tell_passed_over(turn, &mut it, &hosts);
        let visit = Visit::new(limit_key, rest, turn.now.mono);
        it.stage = Stage::Visiting(Box::new(visit));
        self.visit_next(turn, it);
    }

    /// Addresses that delivery would not dial, with the reason.
    fn tell_passed_over(&self, turn: &Turn<'_>, it: &mut Diagnosis, hosts: &Hosting) {
        let told: Vec<(String, SocketAddr, bool)> = match hosts {
            Hosting::Exchangers(exchangers) => {
                let of = |host: &dns::Exchanger| {
                    let at = |ip: &std::net::IpAddr| SocketAddr::new(*ip, it.way.port);
                    let name = host.name.to_string();
                    let rows =
                        host.addresses.iter().map(at).map(move |at| (name.clone(), at, true));
                    rows.collect::<Vec<_>>()
                };
                exchangers.hosts.iter().flat_map(of).collect()
            }
            Hosting::Fixed(hosts) => hosts
                .iter()
                .flat_map(|host| host.addresses.iter().map(move |at| (host, *at)))
                .map(|(host, at)| (host.name.to_string(), at, host.from_stranger))
                .collect(),
            Hosting::Folders(_) => Vec::new(),
        };
        for (name, at, from_stranger) in told {
            let forbidden = if from_stranger { self.forbids(at.ip()) } else { None };
            let why = match forbidden {
                Some(why) => format!("never dialled on a stranger's word: it is {why}"),
                None if !it.way.reaches(at.ip()) => {
                    "the source has no address of its family".into()
                }
                None => continue,
            };
            let host = format!("{name} [{}]", at.ip());
            it.report.add_of(turn.now.mono, "address", &host, Came::Failed, &why);
        }
    }

    /// The diagnosis waits, with its deadline.
    fn keep_diagnosis(&mut self, mut it: Box<Diagnosis>) {
        let deadline = match &it.stage {
            Stage::Exchange(_) | Stage::Relay(_) => it.until,
            Stage::Permit { until, .. } => it.until.min(*until),
            Stage::Visiting(visit) => visit.deadline().map_or(it.until, |at| at.min(it.until)),
        };
        it.armed.set(&mut self.timers, Some(deadline), Timer::Diagnosis);
        self.diagnosis = Some(it);
    }

    /// A deadline of the diagnosis may have come.
    pub(crate) fn diagnosis_due(&mut self, turn: &mut Turn<'_>) {
        let Some(mut it) = self.diagnosis.take() else { return };
        it.armed.fired();
        let now = turn.now.mono;
        match &it.stage {
            _ if it.until <= now => self.out_of_time(turn, it),
            Stage::Permit { until, .. } if *until <= now => {
                let said = "all connections that the limits allow are in use";
                it.report.add(now, "limits", Came::Failed, said);
                self.end_diagnosis(turn, it);
            }
            Stage::Visiting(_) => self.visit_due(turn, it),
            _ => self.keep_diagnosis(it),
        }
    }

    fn out_of_time(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>) {
        let what = match &it.stage {
            Stage::Exchange(_) | Stage::Relay(_) => "look-up",
            Stage::Permit { .. } => "limits",
            Stage::Visiting(visit) => visit.step(),
        };
        let said = "not over when the diagnosis ran out of time";
        it.report.add(turn.now.mono, what, Came::Failed, said);
        self.end_diagnosis(turn, it);
    }

    /// Ends the diagnosis, if there is one, with what is known by now.
    pub(crate) fn break_off_diagnosis(&mut self, turn: &mut Turn<'_>, why: &str) {
        if let Some(mut it) = self.diagnosis.take() {
            it.report.add(turn.now.mono, "diagnosis", Came::Failed, why);
            self.end_diagnosis(turn, it);
        }
    }

    /// Answers, and gives everything back.
    fn end_diagnosis(&mut self, turn: &mut Turn<'_>, mut it: Box<Diagnosis>) {
        it.armed.clear(&mut self.timers);
        if let Stage::Visiting(visit) = &mut it.stage {
            if let Some(conn) = visit.leave() {
                turn.effects.push(Effect::Abort { conn });
            }
            let key = visit.limit_key.clone();
            self.close_permit(turn, &key);
        }
        let answer = Answer::ok(it.report.to_json(turn.now.mono));
        turn.effects.push(Effect::Reply { request: it.request, answer });
    }

    /// Whether an event is about the diagnosis' own connection.
    pub(crate) fn diagnoses(&self, event: &Event<'_>) -> bool {
        let Some(Diagnosis { stage: Stage::Visiting(visit), .. }) = self.diagnosis.as_deref()
        else {
            return false;
        };
        visit.conn().is_some() && visit.conn() == conn_of(event)
    }
}

impl Diagnosis {
    /// Where it goes.
    pub(crate) fn way(&self) -> &Way {
        &self.way
    }
}

/// The connection that an event is about, of those that we open.
fn conn_of(event: &Event<'_>) -> Option<ConnId> {
    match event {
        Event::Connected { conn, .. }
        | Event::ConnectFailed { conn, .. }
        | Event::Received { conn, .. }
        | Event::Drained { conn, .. }
        | Event::Closed { conn, .. }
        | Event::TlsEstablished { conn, .. }
        | Event::TlsFailed { conn, .. } => Some(*conn),
        _ => None,
    }
}

fn found(ip: std::net::IpAddr, expires: Monotonic) -> Hosts {
    Hosts::Found(Arc::new(dns::Host { addresses: vec![ip], expires }))
}
