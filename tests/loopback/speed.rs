//! Speed, side by side in one run on one machine: smtp-source, 50 sessions,
//! 2 KiB, relayed to smtp-sink, through Ringpost and through Postfix with its
//! defaults in turn, both keeping each message durably first. Then a lone
//! client without PIPELINING, whose answer to the dot is held against the time
//! of a sync.
//!
//! Every run tries the measurement itself with little mail. With
//! RINGPOST_SPEED=20000, run alone, so many messages are sent and the figures
//! of every round are held to their bounds:
//!
//! ```text
//! RINGPOST_SPEED=20000 cargo test -p tests --test loopback speed -- --nocapture
//! ```

use std::fmt::Write;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use harness::{SinkSettings, Sinks};

use crate::support::postfix::Postfix;
use crate::support::process::Scratch;
use crate::support::smtp_tools::{Load, Sinking, SmtpSink};
use crate::support::{Client, Config, Daemon, text_to};

const MESSAGES: u64 = 500;
const ROUNDS: u32 = 2;
const LONE_MESSAGES: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(900);

const CPU_MAX: Duration = Duration::from_micros(120);
const RATIO_MIN: f64 = 10.0;
const SYNCS_MAX: f64 = 3.0;

/// What the environment asks for.
fn measured() -> Option<u64> {
    std::env::var("RINGPOST_SPEED").ok().and_then(|text| text.parse().ok())
}

#[test]
fn side_by_side_with_postfix() {
    let messages = measured().unwrap_or(MESSAGES);
    let mut rounds = vec![ceiling(messages)];
    for _ in 0..ROUNDS {
        rounds.push(ringpost(messages));
        rounds.push(postfix(messages));
    }
    let rates = |server: &str| {
        let of_server = rounds.iter().filter(|round| round.server == server);
        let rates: Vec<f64> = of_server.map(|round| round.rate(messages)).collect();
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        (least, rates.iter().copied().fold(0.0, f64::max))
    };
    // Our slowest round against the fastest of Postfix: every round has to hold.
    let ratio = rates("ringpost").0 / rates("postfix").1;
    println!("{}our slowest to its fastest: {ratio:.1}", table(&rounds, messages));
    if measured().is_some() {
        let cpu = rounds.iter().filter(|round| round.server == "ringpost").map(|round| round.cpu);
        let cpu = cpu.max().unwrap_or_default() / messages as u32;
        assert!(cpu <= CPU_MAX, "{cpu:?} of CPU per message");
        assert!(ratio >= RATIO_MIN, "only {ratio:.1} times as fast");
    }
}

#[test]
fn a_lone_client_waits_for_little_more_than_a_sync() {
    let (wait, sync) = lone_client();
    let share = wait.as_secs_f64() / sync.as_secs_f64();
    println!("lone client: 250 after {wait:?}, a sync takes {sync:?}: {share:.2} syncs (medians)");
    if measured().is_some() {
        assert!(share <= SYNCS_MAX, "{share:.2} syncs");
    }
}

/// One round through one server.
struct Round {
    server: &'static str,
    took: Duration,
    cpu: Duration,
}

impl Round {
    fn rate(&self, messages: u64) -> f64 {
        messages as f64 / self.took.as_secs_f64()
    }
}

fn table(rounds: &[Round], messages: u64) -> String {
    let mut text = format!("{:<10} {:>12} {:>16}\n", "server", "messages/s", "CPU µs/message");
    for round in rounds {
        let rate = round.rate(messages);
        let cpu = round.cpu.as_micros() as f64 / messages as f64;
        writeln!(text, "{:<10} {rate:>12.0} {cpu:>16.1}", round.server)
            .expect("a String takes everything");
    }
    text
}

/// From the start of the source until the sink has everything.
fn through(server: SocketAddr, sink: &SmtpSink, messages: u64) -> Duration {
    let began = Instant::now();
    Load { messages, bytes: 2_048, sessions: 50 }.send(server, PATIENCE);
    sink.wait_for(messages, PATIENCE);
    began.elapsed()
}

fn ringpost(messages: u64) -> Round {
    let sink = SmtpSink::start(Sinking::Counting);
    let daemon = Daemon::start(Config::relay(sink.address()).with_default_sizes());
    let before = daemon.process().cpu();
    let took = through(daemon.address(), &sink, messages);
    Round { server: "ringpost", took, cpu: daemon.process().cpu() - before }
}

fn postfix(messages: u64) -> Round {
    let sink = SmtpSink::start(Sinking::Counting);
    let postfix = Postfix::relaying(sink.address());
    let before = postfix.cpu();
    let took = through(postfix.address(), &sink, messages);
    Round { server: "postfix", took, cpu: postfix.cpu() - before }
}

/// The source straight into the sink: no server can be faster here.
fn ceiling(messages: u64) -> Round {
    let sink = SmtpSink::start(Sinking::Counting);
    let took = through(sink.address(), &sink, messages);
    Round { server: "(ceiling)", took, cpu: Duration::ZERO }
}

/// How long the answer to the dot takes, and a sync of the same size by
/// itself, in the middle. One after the other in turn: disk and processors are
/// as warm for the one as for the other.
fn lone_client() -> (Duration, Duration) {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let daemon = Daemon::start(Config::relay(sinks.first()).with_default_sizes());
    let mut client = Client::greet(daemon.address());
    let to = ["a@d001.example"];
    let padding = "x".repeat(70);
    let content = text_to("a@b.example", &to) + &format!("{padding}\r\n").repeat(26);
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch);
    let (mut waits, mut syncs) = (Vec::new(), Vec::new());
    for number in 0..LONE_MESSAGES {
        client.expect("MAIL FROM:<a@b.example>", 250);
        client.expect("RCPT TO:<a@d001.example>", 250);
        client.expect("DATA", 354);
        let began = Instant::now();
        client.expect(&format!("{content}."), 250);
        waits.push(began.elapsed());
        syncs.push(disk.sync(number));
    }
    let synced = daemon.show("/v1/status")["counters"]["syncs"].as_u64();
    assert!(synced >= Some(LONE_MESSAGES), "answered without a sync: {synced:?}");
    (middle(waits), middle(syncs))
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A file that has its blocks.
struct Disk(File);

impl Disk {
    fn new(scratch: &Scratch) -> Self {
        let file = File::create(scratch.join("sync")).expect("the folder takes files");
        file.write_all_at(&vec![0; 4 << 20], 0).expect("there is room");
        file.sync_all().expect("the disk works");
        Self(file)
    }

    /// How long a write of 2 KiB with fdatasync takes.
    fn sync(&self, number: u64) -> Duration {
        let began = Instant::now();
        self.0.write_all_at(&[b'x'; 2_048], number * 2_048).expect("there is room");
        self.0.sync_data().expect("the disk works");
        began.elapsed()
    }
}
