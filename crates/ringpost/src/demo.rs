//! `ringpost demo`: the main job with everything embedded. A daemon on its own
//! executors, a name server, mail exchangers and a load source, joined by real
//! sockets on loopback; what arrives is held against what was promised.
//!
//! Invariant: exit 0 only when every message that got its 250 arrived exactly
//! once, unaltered.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use control::Config;
use harness::{Fault, NameServer, Report, Scenario, Sinks, Source};
use indicatif::{ProgressBar, ProgressStyle};

use crate::serve;

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Messages to send
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    messages: u64,
    /// Recipient domains to spread them over
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    domains: u32,
    /// Seed of sizes, contents and recipients
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the daemon's data folder and print its path
    #[arg(long)]
    keep: bool,
    /// Let the exchangers commit a fault, to see that the check can fail
    #[arg(long, value_enum)]
    fault: Option<DemoFault>,
}

/// What an exchanger does to one message in the middle of the run.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DemoFault {
    /// Forgets it
    Lose,
    /// Takes it twice
    Double,
    /// Changes it
    Alter,
}

/// How long nothing may arrive before the run is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often the progress bar moves.
const BLINK: Duration = Duration::from_millis(50);

/// Runs the demo.
pub fn run(args: &DemoArgs) -> ExitCode {
    let folder = std::env::temp_dir().join(format!("ringpost-demo-{}", std::process::id()));
    let outcome = play(args, &folder);
    if args.keep {
        println!("data folder: {}", folder.display());
    } else {
        // Nothing of value is in it any more.
        let _ = std::fs::remove_dir_all(&folder);
    }
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            eprintln!("demo: {why}");
            ExitCode::from(70)
        }
    }
}

/// The whole play; whether everything arrived exactly once.
fn play(args: &DemoArgs, folder: &Path) -> Result<bool, String> {
    let mut scenario = Scenario::demo(args.messages, args.domains, args.seed);
    let nth = args.messages / 2;
    scenario.fault = args.fault.map(|fault| match fault {
        DemoFault::Lose => Fault::Lose(nth),
        DemoFault::Double => Fault::Double(nth),
        DemoFault::Alter => Fault::Alter(nth),
    });
    let names = scenario.start_nameserver().map_err(|e| format!("name server: {e}"))?;
    let sinks = scenario.start_sinks().map_err(|e| format!("mail exchangers: {e}"))?;
    let config = configuration(&names, &sinks)?;
    let mut daemon = serve::start(folder, Arc::new(config.policy)).map_err(|e| e.to_string())?;
    let target = daemon.listening().first().copied().ok_or("the daemon listens nowhere")?;
    println!(
        "daemon at {target}, name server at {}, {} mail exchangers on port {}",
        names.address(),
        scenario.addresses().len(),
        sinks.port()
    );
    let source = scenario.start_source(target).map_err(|e| format!("source: {e}"))?;
    watch(&source, &sinks, args.messages);
    let sent = source.wait();
    let verdict_in_time = wait_for_silence(&sinks, &sent, &scenario);
    daemon.stop(serve::DRAIN_TIME);
    let arrived = sinks.report();
    for line in Report::new(&sent, &arrived).lines() {
        println!("{line}");
    }
    let verdict = scenario.verify(&sent, &arrived);
    println!("{verdict}");
    if !verdict_in_time {
        println!("gave up after {} s without an arrival", SILENCE_MAX.as_secs());
    }
    let all_accepted = sent.troubles.is_empty();
    for (trouble, count) in &sent.troubles {
        println!("{count} times at the source: {trouble}");
    }
    Ok(verdict.is_exactly_once() && all_accepted)
}

/// The demo's daemon: everything as it comes, but for the demo's small world.
fn configuration(names: &NameServer, sinks: &Sinks) -> Result<Config, String> {
    let text = format!(
        "hostname = \"demo.ringpost.example\"\n\
         [submission]\nlisten = [\"127.0.0.1:0\"]\n\
         [queue]\nmin_free = \"64MiB\"\n\
         [delivery]\nport = {}\n\
         [egress]\npermit = [\"127.0.0.0/8\"]\n\
         [dns]\nservers = [\"{}\"]\n",
        sinks.port(),
        names.address()
    );
    let name = runtime::machine::host_name();
    Config::parse(&text, &name).map_err(|refused| refused.to_string())
}

/// Shows the mail flow until the source has finished.
fn watch(source: &Source, sinks: &Sinks, messages: u64) {
    let bar = ProgressBar::new(messages);
    let style = "{bar:40} {pos}/{len} arrived, {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let show = |done: bool| {
        let accepted = source.progress().accepted;
        bar.set_message(format!("{accepted} accepted{}", if done { "" } else { " …" }));
        bar.set_position(sinks.progress().messages.min(messages));
    };
    while !source.is_finished() {
        show(false);
        sinks.wait_for(sinks.progress().recipients + 1_000, BLINK);
    }
    let mut last = (sinks.progress().messages, std::time::Instant::now());
    while last.0 < messages && last.1.elapsed() < Duration::from_secs(2) {
        show(true);
        sinks.wait_for(sinks.progress().recipients + 1_000, BLINK);
        let now = sinks.progress().messages;
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
    }
    show(true);
    bar.finish();
}

/// Waits until everything promised has arrived, or nothing has for too long.
fn wait_for_silence(sinks: &Sinks, sent: &harness::SourceReport, scenario: &Scenario) -> bool {
    loop {
        let before = sinks.progress().recipients;
        if scenario.verify(sent, &sinks.report()).missing.count == 0 || scenario.fault.is_some() {
            return true;
        }
        if !sinks.wait_for(before + 1, SILENCE_MAX) {
            return false;
        }
    }
}
