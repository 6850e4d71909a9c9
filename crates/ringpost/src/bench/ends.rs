//! The two ends of a load, and the name server between them, each a process of
//! its own: `bench source`, `bench sink`, `bench dns`.
//!
//! A sink and a name server say `listening ADDRESS`, then `ready`, and end with
//! SIGTERM or SIGINT.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use clap::{Args, ValueEnum};
use harness::{
    Identity, LogIn, NameServer, Pace, Rule, SinkSettings, SinkSummary, Sinks, Sizes, Source,
    SourceSettings, SourceSummary, Spread, Tls, Workload, World, arrivals,
};
use runtime::signals::Signals;
use serde::Serialize;

use super::Laboratory;

/// How often a process says how far it is.
const BLINK: Duration = Duration::from_millis(100);

/// `ringpost bench source`
#[derive(Clone, Debug, Args)]
pub struct SourceArgs {
    /// The server to load, an address with a port
    target: SocketAddr,
    #[command(flatten)]
    laboratory: Laboratory,
    /// Messages to send
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    messages: u64,
    /// Sessions held at the same time
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    sessions: u32,
    /// Threads that drive them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Messages of one session before it is opened anew; 0 for no end
    #[arg(long, default_value_t = 0)]
    messages_per_session: u64,
    /// Wait for each answer before the next command
    #[arg(long)]
    no_pipelining: bool,
    /// Open loop: so many messages are due each second, answered or not, and each one's time
    /// counts from when it was due
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Sizes: 2KiB; 1KiB..90KiB, evenly between; "10x2KiB 3x50KiB", by weight
    #[arg(long, default_value = "2KiB")]
    size: Sizes,
    /// Recipients of each message
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    recipients: u32,
    /// Recipient domains, d001.example and on
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    domains: u32,
    /// How recipients spread over them: even, zipf, or hot=90 (of 100 to the first)
    #[arg(long, default_value = "even")]
    spread: Spread,
    /// Encryption; any certificate is taken
    #[arg(long, value_enum, default_value = "none")]
    tls: TlsArg,
    /// Log in as this user, by AUTH PLAIN
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// A file whose first line is the password
    #[arg(long, requires = "user")]
    password_file: Option<PathBuf>,
    /// Seed of sizes, contents and recipients
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the whole report as JSON, every histogram with it
    #[arg(long)]
    json: bool,
}

/// How sessions are encrypted.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TlsArg {
    /// Not at all
    None,
    /// STARTTLS
    Starttls,
    /// From the first byte
    Implicit,
}

/// `ringpost bench sink`
#[derive(Clone, Debug, Args)]
pub struct SinkArgs {
    #[command(flatten)]
    laboratory: Laboratory,
    /// Addresses to listen on; without any, those of --sites
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<IpAddr>,
    /// Port of all of them; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Listen for so many sites, 127.77.0.1 and on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sites: u32,
    /// Threads that serve them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Offer STARTTLS, with a certificate made on the spot
    #[arg(long)]
    tls: bool,
    /// Behaviour, first match wins, such as "rcpt until=60s reply=450 4.7.1 Greylisted",
    /// "dot @127.77.0.3 delay=2s", "greeting crowded=5 reply=421 4.7.0 Too many"
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<Rule>,
    /// Leave every arrival in this file at the end
    #[arg(long, value_name = "FILE")]
    arrivals: Option<PathBuf>,
    /// Say `taken N` as mail arrives
    #[arg(long)]
    progress: bool,
    /// End with the process that started it
    #[arg(long, hide = true)]
    with_parent: bool,
}

/// `ringpost bench dns`
#[derive(Clone, Debug, Args)]
pub struct DnsArgs {
    #[command(flatten)]
    laboratory: Laboratory,
    /// Where to answer, UDP and TCP; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Domains, d001.example and on
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    domains: u32,
    /// Sites they are spread over, 127.77.0.1 and on, each with one exchanger
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sites: u32,
    /// End with the process that started it
    #[arg(long, hide = true)]
    with_parent: bool,
}

/// Sends everything; exit 0 when all was accepted, 1 when not.
pub fn source(args: &SourceArgs) -> Result<ExitCode, String> {
    args.laboratory.check(&[args.target.ip()])?;
    raise_descriptors();
    let workload = Workload {
        messages: args.messages,
        domains: args.domains,
        spread: args.spread,
        sizes: args.size.clone(),
        recipients: args.recipients,
        seed: args.seed,
    };
    let source = Source::start(args.target, &workload, args.settings()?)
        .map_err(|error| format!("the source cannot be started: {error}"))?;
    let report = source.wait();
    let summary = SourceSummary::new(&workload, &report);
    if args.json {
        print_json(&summary);
    } else {
        print_source(&summary);
    }
    Ok(ExitCode::from(u8::from(summary.accepted < args.messages)))
}

impl SourceArgs {
    fn settings(&self) -> Result<SourceSettings, String> {
        let pace = match self.rate {
            None => Pace::Full,
            Some(per_second) if per_second > 0.0 => Pace::Fixed { per_second },
            Some(other) => return Err(format!("{other} messages per second are never due")),
        };
        let log_in = match (&self.user, &self.password_file) {
            (Some(user), Some(file)) => {
                let text = fs::read_to_string(file)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                let password = text.lines().next().unwrap_or_default().to_owned();
                Some(LogIn { user: user.clone(), password })
            }
            _ => None,
        };
        Ok(SourceSettings {
            sessions: self.sessions as usize,
            threads: self.threads as usize,
            messages_per_session: self.messages_per_session,
            pipelining: !self.no_pipelining,
            pace,
            tls: match self.tls {
                TlsArg::None => Tls::None,
                TlsArg::Starttls => Tls::StartTls,
                TlsArg::Implicit => Tls::Implicit,
            },
            log_in,
            ..SourceSettings::default()
        })
    }
}

/// Takes mail until it is told to stop, then says what came.
pub fn sink(args: &SinkArgs) -> Result<ExitCode, String> {
    let addresses = match args.listen.as_slice() {
        [] => World::new(args.sites, args.sites).addresses(),
        named => named.to_vec(),
    };
    args.laboratory.check(&addresses)?;
    let (signals, stopped) = end_by_signal(args.with_parent)?;
    let tls = if args.tls {
        let identity = Identity::new(&["sink.example"]).and_then(|identity| identity.server());
        Some(identity.map_err(|error| format!("no certificate: {error}"))?)
    } else {
        None
    };
    let sinks = Sinks::start(SinkSettings {
        addresses: addresses.clone(),
        port: args.port,
        threads: args.threads as usize,
        rules: args.rules.clone(),
        tls,
        ..SinkSettings::default()
    })
    .map_err(|error| format!("the exchangers cannot be started: {error}"))?;
    for address in addresses {
        println!("listening {}", SocketAddr::new(address, sinks.port()));
    }
    println!("ready");
    wait(signals, &stopped, || {
        if args.progress {
            println!("taken {}", sinks.progress().recipients);
        }
    });
    let report = sinks.report();
    if let Some(path) = &args.arrivals {
        let wrote = arrivals::write(path, &report.arrivals);
        wrote.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    print_json(&SinkSummary::new(&report));
    Ok(ExitCode::SUCCESS)
}

/// Answers until it is told to stop, then says how often it was asked.
pub fn dns(args: &DnsArgs) -> Result<ExitCode, String> {
    args.laboratory.check(&[args.listen.ip()])?;
    let (signals, stopped) = end_by_signal(args.with_parent)?;
    let world = World::new(args.domains, args.sites);
    let server = NameServer::start_at(args.listen.ip(), args.listen.port(), world.zones())
        .map_err(|error| format!("the name server cannot be started: {error}"))?;
    println!("listening {}", server.address());
    println!("ready");
    wait(signals, &stopped, || {});
    let asked = server.asked_in_all();
    print_json(&Asked { udp: asked.udp, tcp: asked.tcp });
    Ok(ExitCode::SUCCESS)
}

/// How often a name server was asked.
#[derive(Debug, Serialize)]
struct Asked {
    udp: u64,
    tcp: u64,
}

/// Takes the signals over, and ends with the parent where that is wanted.
fn end_by_signal(with_parent: bool) -> Result<(Arc<Signals>, Channel), String> {
    raise_descriptors();
    if with_parent {
        let with = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(with)
            .map_err(|error| format!("not tied to the parent: {error}"))?;
    }
    let signals = Signals::take().map_err(|error| format!("signals: {error}"))?;
    Ok((Arc::new(signals), channel()))
}

type Channel = (Sender<()>, Receiver<()>);

/// Calls `each` every now and then until a signal says stop.
fn wait(signals: Arc<Signals>, (sender, receiver): &Channel, each: impl Fn()) {
    let sender = sender.clone();
    let thread = std::thread::Builder::new().name("signals".to_owned());
    let waiting = thread.spawn(move || {
        signals.wait();
        // Nobody listens any more when the process is about to end anyway.
        let _ = sender.send(());
    });
    if waiting.is_err() {
        return;
    }
    while receiver.recv_timeout(BLINK) == Err(RecvTimeoutError::Timeout) {
        each();
    }
}

/// As many descriptors as the machine grants: each session needs one.
pub fn raise_descriptors() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    // With fewer, the connections that fail say so.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
}

/// Prints a value for programs.
pub fn print_json(value: &impl Serialize) {
    println!("{}", serde_json::to_string_pretty(value).expect("numbers and texts make JSON"));
}

fn print_source(summary: &SourceSummary) {
    println!(
        "accepted {} of {} messages in {:.2} s: {:.0}/s over {} connections",
        summary.accepted, summary.messages, summary.seconds, summary.rate, summary.connections
    );
    for (name, times) in [("first byte to 250", &summary.accept), ("dot to 250", &summary.dot)] {
        let ms = |micros: u64| micros as f64 / 1e3;
        println!(
            "{name:<18} p50 {:.2} ms  p90 {:.2} ms  p99 {:.2} ms  p99.9 {:.2} ms  max {:.2} ms",
            ms(times.p50),
            ms(times.p90),
            ms(times.p99),
            ms(times.p999),
            ms(times.max)
        );
    }
    println!("digest {} of {} promised deliveries", summary.digest, summary.promised);
    for (trouble, count) in &summary.troubles {
        println!("{count} times: {trouble}");
    }
}
