//! Configurations as an operator writes them: drawn from a seed as plain facts
//! ([`Rules`]), and written out as the file that says the same.
//!
//! Never reads back what the product made of the file, but for a file that a
//! person gives: then the facts are taken from the policy.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use base::Rng;
use control::{Mode, NotifyTo, OnFailure, Policy};

use crate::rules::{Failing, Rules, Timeouts, Told, Way};
use crate::scenario::{DOMAINS_MAX, Scenario, domain_name, host_ip, pick};

/// What the oracles need not know of a configuration.
#[derive(Clone, Debug)]
struct Extras {
    tls: &'static str,
    max_messages: u64,
    lookup_timeout_ms: u64,
    lookup_attempts: u32,
    shards: u16,
}

/// A configuration: its facts and its text.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The facts.
    pub rules: Rules,
    /// The file.
    pub text: String,
}

impl Configuration {
    /// A configuration by chance.
    pub fn draw(revision: u64, scenario: &Scenario, rng: &mut Rng) -> Self {
        let relays = rng.below(5) == 0;
        let mut default = Way { pattern: "default".into(), ..way(rng, scenario) };
        if relays {
            default.hosts = relay_hosts(rng, scenario);
        }
        let routes = (0..rng.below(3)).map(|_| route(rng, scenario, &default)).collect();
        let told = [Told::Sender, Told::Sender, Told::Sender, Told::Postmaster, Told::Nobody];
        let rules = Rules {
            revision,
            routes,
            default,
            exact_after_power: scenario.exact_after_power,
            holds_doubted: rng.below(4) == 0,
            clients: pick(rng, &[1_000, 1_000, 40, 8]),
            clients_per_peer: pick(rng, &[500, 500, 6]),
            client_timeout: Duration::from_secs(pick(rng, &[300, 300, 60, 15])),
            message_bytes: pick(rng, &[50 << 20, 64 << 10]),
            recipients: pick(rng, &[1_000, 100]),
            failure: pick(rng, &told),
            delay: pick(rng, &told),
            success: pick(rng, &told),
            postmaster: "postmaster@from0.example".into(),
        };
        let extras = Extras {
            tls: pick(rng, &["none", "opportunistic", "opportunistic", "required"]),
            max_messages: pick(rng, &[10_000_000, 10_000_000, 40]),
            lookup_timeout_ms: pick(rng, &[3_000, 3_000, 400]),
            lookup_attempts: pick(rng, &[4, 2, 7]),
            shards: scenario.shards,
        };
        let text = text(&rules, &extras);
        Self { rules, text }
    }

    /// A configuration that a person gave, with what the product reads in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn given(text: &str) -> Result<Self, String> {
        let policy = crate::world::read_policy(text)?;
        Ok(Self { rules: facts(&policy), text: text.to_owned() })
    }
}

fn way(rng: &mut Rng, scenario: &Scenario) -> Way {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let lifetime = pick(rng, &[5, 10, 10, 20, 20, 30, 60, 120]);
    let retries: [&[u64]; 5] = [&[1, 3], &[1, 2, 4, 8, 16], &[5, 10, 20, 40, 60], &[2, 30], &[6]];
    let notice = pick(rng, &[None, Some(240), Some(12), Some(3)]);
    Way {
        connections: pick(rng, &[1, 2, 3, 5, 20]),
        messages_per_connection: pick(rng, &[1, 2, 5, 100]),
        recipients_per_message: pick(rng, &[1, 2, 3, 100]),
        rate: pick(rng, &[None, None, Some((10, minutes(1))), Some((60, minutes(10)))]),
        lifetime: minutes(lifetime),
        retry: pick(rng, &retries).iter().map(|n| minutes(*n)).collect(),
        jitter_percent: pick(rng, &[10, 0, 30]),
        max_attempts: pick(rng, &[0, 0, 0, 3]),
        failing: pick(
            rng,
            &[Failing::Retry, Failing::Retry, Failing::Retry, Failing::Hold, Failing::Bounce],
        ),
        fallback: rng.below(2) == 0,
        delay_notice: notice.map(minutes),
        timeouts: scenario.timeouts,
        idle: Duration::from_secs(pick(rng, &[0, 5, 60])),
        ..Way::default()
    }
}

fn route(rng: &mut Rng, scenario: &Scenario, default: &Way) -> Way {
    let domain = domain_name(rng.below(DOMAINS_MAX));
    let pattern = match rng.below(4) {
        0 => format!("*.{}", domain.split_once('.').map_or("example", |(_, rest)| rest)),
        _ => domain,
    };
    let own_limits = rng.below(2) == 0;
    let drawn = way(rng, scenario);
    let mut route = Way { pattern: pattern.as_str().into(), own_limits, ..drawn };
    if !own_limits {
        (route.connections, route.rate) = (default.connections, default.rate);
    }
    if rng.below(2) == 0 || !default.hosts.is_empty() {
        route.hosts = relay_hosts(rng, scenario);
    }
    route
}

fn relay_hosts(rng: &mut Rng, scenario: &Scenario) -> Vec<SocketAddr> {
    let count = 1 + rng.below(2);
    let mut hosts: Vec<SocketAddr> = Vec::new();
    for _ in 0..count {
        let host = SocketAddr::new(host_ip(rng.below(scenario.hosts.len() as u64)).into(), 25);
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn text(rules: &Rules, extras: &Extras) -> String {
    let mut out = String::from("hostname = \"mail.sender.example\"\n");
    let Rules { clients, clients_per_peer, message_bytes, recipients, .. } = rules;
    let (in_doubt, doubted) = (
        if rules.exact_after_power { "power" } else { "program" },
        if rules.holds_doubted { "hold" } else { "retry" },
    );
    let told = |told: Told| match told {
        Told::Sender => "sender",
        Told::Postmaster => "postmaster",
        Told::Nobody => "none",
    };
    let timeout = span(rules.client_timeout);
    let (failure, delay, success) = (told(rules.failure), told(rules.delay), told(rules.success));
    let Extras { max_messages, lookup_timeout_ms, lookup_attempts, shards, .. } = extras;
    let written = write!(
        out,
        "shards = {shards}\n\
         [submission]\nmax_message = {message_bytes}\nmax_recipients = {recipients}\n\
         max_connections = {clients}\nmax_connections_per_peer = {clients_per_peer}\n\
         timeout = {timeout}\n\
         [queue]\nin_doubt = \"{in_doubt}\"\nin_doubt_policy = \"{doubted}\"\n\
         max_messages = {max_messages}\n\
         [dns]\ntimeout = \"{lookup_timeout_ms}ms\"\nattempts = {lookup_attempts}\n\
         [dsn]\nfailure = \"{failure}\"\ndelay = \"{delay}\"\nsuccess = \"{success}\"\n\
         postmaster = \"{}\"\n[delivery]\ntls = \"{}\"\n",
        rules.postmaster, extras.tls
    );
    written.expect("a String takes everything");
    write_way(&mut out, &rules.default, true);
    for route in &rules.routes {
        out += "[[route]]\n";
        writeln!(out, "match = \"{}\"", route.pattern).expect("a String takes everything");
        write_way(&mut out, route, route.own_limits);
    }
    out
}

fn write_way(out: &mut String, way: &Way, limits: bool) {
    let hosts: Vec<String> = way.hosts.iter().map(|host| format!("\"{host}\"")).collect();
    if hosts.is_empty() {
        out.push_str("mode = \"independent\"\n");
    } else {
        *out += &format!("mode = \"relay\"\nhosts = [{}]\n", hosts.join(", "));
    }
    if limits {
        *out += &format!("connections = {}\n", way.connections);
        match way.rate {
            Some((count, per)) => {
                *out += &format!("rate = \"{count}/{}\"\n", span(per).trim_matches('"'));
            }
            None => *out += "rate = \"none\"\n",
        }
    }
    let retry: Vec<String> = way.retry.iter().map(|wait| span(*wait)).collect();
    let failing = match way.failing {
        Failing::Retry => "retry",
        Failing::Hold => "hold",
        Failing::Bounce => "bounce",
    };
    let notice = way.delay_notice.map_or("\"none\"".to_owned(), span);
    *out += &format!(
        "messages_per_connection = {}\nrecipients_per_message = {}\nlifetime = {}\n\
         retry = [{}]\njitter = \"{}%\"\nmax_attempts = {}\non_failure = \"{failing}\"\n\
         fallback = {}\ndelay_notice = {notice}\nidle = {}\n",
        way.messages_per_connection,
        way.recipients_per_message,
        span(way.lifetime),
        retry.join(", "),
        way.jitter_percent,
        way.max_attempts,
        way.fallback,
        span(way.idle),
    );
    let t = &way.timeouts;
    *out += &format!(
        "timeout = {{ connect = {}, greeting = {}, ehlo = {}, tls = {}, mail = {}, rcpt = {}, \
         data = {}, data_block = {}, data_done = {}, rset = {}, quit = {} }}\n",
        span(t.connect),
        span(t.greeting),
        span(t.hello),
        span(t.tls),
        span(t.mail),
        span(t.rcpt),
        span(t.data),
        span(t.block),
        span(t.dot),
        span(t.quit),
        span(t.quit),
    );
}

fn span(span: Duration) -> String {
    format!("\"{}ms\"", span.as_millis())
}

/// The facts of a policy.
fn facts(policy: &Policy) -> Rules {
    let told = |told: NotifyTo| match told {
        NotifyTo::Sender => Told::Sender,
        NotifyTo::Postmaster => Told::Postmaster,
        NotifyTo::None => Told::Nobody,
    };
    let submission = &policy.submission;
    let mut ways = policy.ways().iter().map(way_facts);
    let default = Way { pattern: "default".into(), ..ways.next().unwrap_or_default() };
    let routes = policy.patterns().iter().zip(ways);
    let routes = routes.map(|(p, way)| Way { pattern: p.to_string().into(), ..way }).collect();
    Rules {
        revision: policy.revision,
        routes,
        default,
        exact_after_power: policy.queue.in_doubt == control::InDoubt::Power,
        holds_doubted: policy.queue.in_doubt_policy == control::InDoubtPolicy::Hold,
        clients: submission.max_connections,
        clients_per_peer: submission.max_connections_per_peer,
        client_timeout: submission.timeout,
        message_bytes: submission.max_message,
        recipients: submission.max_recipients,
        failure: told(policy.dsn.reports.failure),
        delay: told(policy.dsn.reports.delay),
        success: told(policy.dsn.reports.success),
        postmaster: policy.dsn.postmaster.to_string().into(),
    }
}

fn way_facts(way: &control::Delivery) -> Way {
    let hosts = match &way.mode {
        Mode::Independent | Mode::Socket(_) | Mode::Folders(_) => Vec::new(),
        Mode::Relay(hosts) => hosts
            .iter()
            .filter_map(|host| {
                Some(SocketAddr::new(host.host.to_string().parse().ok()?, host.port))
            })
            .collect(),
    };
    let t = &way.timeouts;
    Way {
        pattern: "".into(),
        hosts,
        own_limits: way.own_limits,
        connections: way.connections,
        messages_per_connection: way.messages_per_connection,
        recipients_per_message: way.recipients_per_message,
        rate: way.rate.map(|rate| (rate.count(), rate.per())),
        lifetime: way.lifetime,
        retry: way.retry.intervals().to_vec(),
        jitter_percent: way.retry.jitter_percent(),
        max_attempts: way.max_attempts,
        failing: match way.on_failure {
            OnFailure::Retry => Failing::Retry,
            OnFailure::Hold => Failing::Hold,
            OnFailure::Bounce => Failing::Bounce,
        },
        fallback: way.fallback,
        delay_notice: way.delay_notice,
        timeouts: Timeouts {
            connect: t.connect,
            greeting: t.greeting,
            hello: t.ehlo,
            tls: t.tls,
            mail: t.mail,
            rcpt: t.rcpt,
            data: t.data,
            block: t.data_block,
            dot: t.data_done,
            quit: t.quit.max(t.rset),
        },
        idle: way.idle,
    }
}
