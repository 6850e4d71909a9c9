//! One round: a server started anew, loaded, and held to account.
//!
//! Every part is started and ended here; nothing of a round is left for the
//! next one, so that rounds of several servers can follow each other in any
//! order.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::around::Around;
use super::child::pause;
use super::figures::{Cost, Round, Sample, slope};
use super::join::join;
use super::plan::{Kind, Plan};
use super::syscalls::Counter;
use super::target::{Place, Server, Target, free_port};
use super::usage::{DiskUsage, Usage};
use super::watch::Watch;
use crate::arrivals::Row;
use crate::clock;
use crate::source::{Outcome, Source, SourceReport};
use crate::tls::Identity;

/// Where and with what a round is played.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// The scenario.
    pub plan: &'a Plan,
    /// `ringpost`, which is also sink and name server.
    pub program: &'a Path,
    /// A folder that is there and empty, on the disk that is measured.
    pub folder: &'a Path,
    /// Whether system calls are counted, which slows everything down.
    pub counts_syscalls: bool,
}

/// Accounts as they stood when a measurement began.
struct Before {
    usage: Usage,
    disk: Option<DiskUsage>,
    syncs: Option<u64>,
    load: u64,
    /// Time of a server that was ended in the middle, user and system.
    spent: (u64, u64),
}

/// Plays the `number`-th round of `target`.
///
/// # Errors
/// A sentence: what could not be started or did not answer.
pub fn play(stage: Stage<'_>, target: &Target, number: u32) -> Result<Round, String> {
    let mut round = Round { target: target.name().to_owned(), number, ..Round::default() };
    let mut around = Around::start(stage.plan, stage.program, stage.folder)?;
    if matches!(target, Target::Ceiling) {
        let (sent, spent) = send(stage.plan, around.relay)?;
        around.wait_for(promised(stage.plan, &sent), stage.plan.silence());
        round.load_cpu = around.cpu() + spent;
        let rows = around.end()?;
        join(&mut round, stage.plan, &sent, &rows, false);
        return Ok(round);
    }
    let place = place(stage, &around)?;
    let held = matches!(stage.plan.kind, Kind::Drain | Kind::Restart);
    let server = target.start(&place, held)?;
    round.configuration.clone_from(&server.configuration);
    if stage.plan.kind == Kind::Idle {
        idle(&mut round, stage.plan, &server, place.listen)?;
        server.end()?;
        return Ok(round);
    }
    load(&mut round, stage, target, &place, (server, around))?;
    Ok(round)
}

/// Loads a server that is up, and sums up.
fn load(
    round: &mut Round,
    stage: Stage<'_>,
    target: &Target,
    place: &Place<'_>,
    (mut server, mut around): (Server, Around),
) -> Result<(), String> {
    let plan = stage.plan;
    let counter = match stage.counts_syscalls {
        true => Some(Counter::start(server.pid(), stage.folder)?),
        false => None,
    };
    let mut before = Before::now(&server, &around, stage.folder);
    let began = Instant::now();
    let mut watch = Watch::start(server.pid(), began).map_err(|error| error.to_string())?;
    let (sent, spent) = send(plan, place.listen)?;
    let wanted = promised(plan, &sent);
    let released = match plan.kind {
        Kind::Drain | Kind::Restart => {
            backlog(round, &before, &server, &sent);
            if plan.kind == Kind::Restart {
                before.restarted(&server);
                server.end()?;
                let again = Instant::now();
                server = target.start(place, false)?;
                round.extra.insert("restart_seconds".into(), again.elapsed().as_secs_f64());
                round.samples = watch.end();
                watch = Watch::start(server.pid(), began).map_err(|error| error.to_string())?;
            }
            let at = clock::nanos();
            server.release()?;
            Some(at)
        }
        _ => None,
    };
    let all_came = around.wait_for(wanted, plan.silence());
    round.samples.extend(watch.end());
    if server.has_ended() {
        round.troubles.insert("the server ended under load".to_owned(), 1);
    }
    let syscalls = counter.map(Counter::end).transpose()?;
    round.cost = Some(before.cost(&server, stage.folder, &round.samples, syscalls));
    round.load_cpu = around.cpu() - before.load + spent;
    if plan.kind == Kind::Soak {
        soaked(round, &sent);
    }
    server.end()?;
    let rows = around.end()?;
    join(round, plan, &sent, &rows, true);
    if let Some(at) = released {
        drained(round, &rows, at);
    }
    if !all_came && round.missing > 0 {
        let silence = plan.silence();
        round.troubles.insert(format!("gave up after {silence:?} without mail"), 1);
    }
    Ok(())
}

/// Sends everything; what became of it, and what the source used of the
/// processor in microseconds.
fn send(plan: &Plan, target: SocketAddr) -> Result<(SourceReport, u64), String> {
    let own = || {
        let usage = Usage::of_alone(std::process::id());
        usage.user + usage.system
    };
    let before = own();
    let source = Source::start(target, &plan.workload(), plan.source())
        .map_err(|error| format!("the source cannot be started: {error}"))?;
    let sent = source.wait();
    Ok((sent, own() - before))
}

/// Deliveries that are due at healthy sites.
fn promised(plan: &Plan, sent: &SourceReport) -> u64 {
    let mut round = Round::default();
    join(&mut round, plan, sent, &[], true);
    round.promised
}

/// What a server needs to be started.
fn place<'a>(stage: Stage<'a>, around: &Around) -> Result<Place<'a>, String> {
    let folder = stage.folder.join("server");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let certificate = match stage.plan.tls {
        true => Some(identity(&folder)?),
        false => None,
    };
    Ok(Place {
        plan: stage.plan,
        folder,
        listen: SocketAddr::from(([127, 0, 0, 1], free_port()?)),
        relay: around.relay,
        port: around.port,
        dns: around.dns,
        certificate,
    })
}

fn identity(folder: &Path) -> Result<(PathBuf, PathBuf), String> {
    let fail = |error: std::io::Error| format!("no certificate: {error}");
    let identity = Identity::new(&["localhost", "127.0.0.1"]).map_err(fail)?;
    let files = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&files.0, &identity.certificate).map_err(fail)?;
    std::fs::write(&files.1, &identity.key).map_err(fail)?;
    Ok(files)
}

impl Before {
    fn now(server: &Server, around: &Around, folder: &Path) -> Self {
        Self {
            syncs: server.syncs(),
            usage: Usage::of(server.pid()),
            disk: DiskUsage::under(folder),
            load: around.cpu(),
            spent: (0, 0),
        }
    }

    /// Closes the accounts of a server that is about to end: the next one
    /// begins at nothing.
    fn restarted(&mut self, server: &Server) {
        self.spent = Usage::of(server.pid()).cpu_since(&self.usage);
        self.usage = Usage::default();
        self.syncs = None;
    }

    fn cost(
        &self,
        server: &Server,
        folder: &Path,
        samples: &[Sample],
        syscalls: Option<u64>,
    ) -> Cost {
        let usage = Usage::of(server.pid());
        let disk = self.disk.zip(DiskUsage::under(folder));
        let syncs = self.syncs.zip(server.syncs());
        let (user, system) = usage.cpu_since(&self.usage);
        let (user, system) = (user + self.spent.0, system + self.spent.1);
        let most = |of: fn(&Sample) -> u64| samples.iter().map(of).max().unwrap_or(0);
        Cost {
            user,
            system,
            anonymous_peak: most(|sample| sample.anonymous),
            resident_peak: most(|sample| sample.resident),
            descriptors_peak: most(|sample| sample.descriptors),
            written: usage.written.saturating_sub(self.usage.written),
            disk_written: disk.map(|(before, now)| now.written.saturating_sub(before.written)),
            disk_flushes: disk.map(|(before, now)| now.flushes.saturating_sub(before.flushes)),
            syncs: syncs.map(|(before, now)| now.saturating_sub(before)),
            syscalls,
        }
    }
}

/// What a full queue costs, and whether taking mail got slower as it filled.
fn backlog(round: &mut Round, before: &Before, server: &Server, sent: &SourceReport) {
    let usage = Usage::of(server.pid());
    let accepted = sent.count(Outcome::Accepted).max(1);
    let grown = usage.anonymous.saturating_sub(before.usage.anonymous) as f64;
    round.extra.insert("memory_per_queued_message".into(), grown / accepted as f64);
    let mut times: Vec<Instant> = sent.records.iter().map(|record| record.ended).collect();
    times.sort_unstable();
    let tenth = times.len() / 10;
    if tenth > 0 {
        let span = |from: usize, to: usize| times[to].duration_since(times[from]).as_secs_f64();
        let first = tenth as f64 / span(0, tenth).max(1e-9);
        let last = tenth as f64 / span(times.len() - 1 - tenth, times.len() - 1).max(1e-9);
        round.extra.insert("accept_rate_first_tenth".into(), first);
        round.extra.insert("accept_rate_last_tenth".into(), last);
    }
}

/// How fast the queue emptied once it might.
fn drained(round: &mut Round, rows: &[Row], released: u64) {
    let behind = || rows.iter().filter(|row| row.at >= released);
    let (first, last) = (behind().map(|row| row.at).min(), behind().map(|row| row.at).max());
    if let (Some(first), Some(last)) = (first, last) {
        let seconds = |at: u64| (at - released) as f64 / 1e9;
        let rate = behind().count() as f64 / seconds(last).max(1e-9);
        round.extra.insert("drain_rate".into(), rate);
        round.extra.insert("drain_seconds".into(), seconds(last));
        round.extra.insert("first_delivery_seconds".into(), seconds(first));
    }
}

/// What grew in the second half of a soak, and whether it got slower.
fn soaked(round: &mut Round, sent: &SourceReport) {
    let half = round.samples.len() / 2;
    let grown = |of: fn(&Sample) -> u64| {
        let late = round.samples[half..].iter();
        slope(&late.map(|sample| (sample.at as f64 / 1e3, of(sample) as f64)).collect::<Vec<_>>())
    };
    let memory = grown(|sample| sample.anonymous) * 3_600.0;
    let descriptors = grown(|sample| sample.descriptors) * 3_600.0;
    round.extra.insert("memory_growth_per_hour".into(), memory);
    round.extra.insert("descriptor_growth_per_hour".into(), descriptors);
    let quarter = sent.records.len() / 4;
    let p99 = |records: &[crate::source::Record]| {
        let mut times = crate::times::Gathering::new();
        for record in records.iter().filter(|record| record.outcome == Outcome::Accepted) {
            times.add(record.ended.saturating_duration_since(record.began));
        }
        times.times().p99 as f64
    };
    round.extra.insert("accept_p99_first_quarter".into(), p99(&sent.records[..quarter]));
    round.extra.insert("accept_p99_last_quarter".into(), p99(&sent.records[quarter * 3..]));
}

/// Sessions that greet and then say nothing.
fn idle(round: &mut Round, plan: &Plan, server: &Server, listen: SocketAddr) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("an idle session: {error}");
    let empty = Usage::of(server.pid());
    let mut sessions = Vec::with_capacity(plan.idle_sessions);
    for _ in 0..plan.idle_sessions {
        let mut stream = BufReader::new(TcpStream::connect(listen).map_err(fail)?);
        stream.get_ref().set_read_timeout(Some(Duration::from_secs(30))).map_err(fail)?;
        let mut line = String::new();
        stream.read_line(&mut line).map_err(fail)?;
        if !line.starts_with("220") {
            return Err(format!("session {} was not greeted: {}", sessions.len(), line.trim_end()));
        }
        stream.get_mut().write_all(b"NOOP\r\n").map_err(fail)?;
        stream.read_line(&mut line).map_err(fail)?;
        sessions.push(stream);
    }
    let before = Usage::of(server.pid());
    let began = Instant::now();
    let watch = Watch::start(server.pid(), began).map_err(|error| error.to_string())?;
    pause(Duration::from_secs(plan.idle_seconds));
    round.samples = watch.end();
    let (user, system) = Usage::of(server.pid()).cpu_since(&before);
    let percent = (user + system) as f64 / began.elapsed().as_micros() as f64 * 100.0;
    let grown = before.anonymous.saturating_sub(empty.anonymous) as f64;
    round.extra.insert("idle_sessions".into(), sessions.len() as f64);
    round.extra.insert("idle_cpu_percent".into(), percent);
    round.extra.insert("memory_per_idle_session".into(), grown / sessions.len().max(1) as f64);
    Ok(())
}
