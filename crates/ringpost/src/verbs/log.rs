//! `ringpost log …` and `ringpost trace ID`: the event log read back, from its
//! files, so that it answers when no daemon runs, too; of a daemon elsewhere by
//! asking it.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use base::{MessageId, Set, Wall};
use clap::{Args, Subcommand};
use control::Span;
use eventlog::{Field, Filter, Kind, read};
use runtime::log_reader::{Follower, search};

use crate::print::clean;
use crate::remote::{At, RemoteArgs};

mod elsewhere;

/// Sessions of one message whose lines are looked for.
const SESSIONS_MAX: usize = 1_000;

/// `ringpost log …`
#[derive(Debug, Subcommand)]
pub enum LogVerb {
    /// The last lines, and with --follow those that come
    Tail {
        /// Go on with what comes, until interrupted
        #[arg(short, long)]
        follow: bool,
        /// Lines at first
        #[arg(short = 'n', long, default_value_t = 10)]
        lines: usize,
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        folder: Folder,
    },
    /// All lines of which every given condition is true, also from compressed files
    Search {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        folder: Folder,
    },
    /// Tell everything that is said, asked and granted about a domain, an address, a sender or a message, for a while
    Detail(super::detail::DetailArgs),
    /// Every kind of event with its fields, as Markdown
    Events {
        /// As JSON Schema
        #[arg(long)]
        schema: bool,
    },
}

/// Which lines are meant.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// About this message, or the report that tells of it
    #[arg(long, value_parser = message)]
    id: Option<MessageId>,
    /// From or to this address
    #[arg(long)]
    address: Option<String>,
    /// From or to this domain, or its look-ups
    #[arg(long)]
    domain: Option<String>,
    /// Of this site, or of this host by name or address
    #[arg(long)]
    site: Option<String>,
    /// Of this session
    #[arg(long)]
    session: Option<String>,
    /// Of this kind, such as deferred; may be given more than once
    #[arg(long, value_parser = kind)]
    event: Vec<Kind>,
    /// From this time on: 2026-11-21T22:15, or a span ago, such as 2h
    #[arg(long, value_parser = time)]
    since: Option<Wall>,
    /// Before this time
    #[arg(long, value_parser = time)]
    until: Option<Wall>,
}

/// Where the log is.
#[derive(Debug, Args)]
pub struct Folder {
    /// The daemon's data folder [default: ringpost-data]
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    remote: Box<RemoteArgs>,
}

/// The same, found out.
enum Log {
    /// Its files.
    Files(PathBuf),
    /// A daemon elsewhere.
    Asked(At),
}

/// `ringpost trace ID`, `ringpost trace live`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TraceArgs {
    #[command(subcommand)]
    live: Option<TraceVerb>,
    /// The message's id
    #[arg(value_parser = message, required = true)]
    id: Option<MessageId>,
    /// All other lines of its sessions, too
    #[arg(long)]
    sessions: bool,
    /// Print the lines as they stand in the log
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    folder: Folder,
}

/// `ringpost trace live`
#[derive(Debug, Subcommand)]
enum TraceVerb {
    /// What is said from now on in sessions in and out, from their first byte, until interrupted
    Live(super::detail::LiveArgs),
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        Filter {
            id: self.id,
            address: self.address.clone(),
            domain: self.domain.clone(),
            site: self.site.clone(),
            session: self.session.clone(),
            kinds: self.event.clone(),
            from: self.since,
            until: self.until,
        }
    }
}

impl Folder {
    fn log(&self) -> Log {
        match self.remote.at(self.data.clone(), crate::DATA.into()) {
            At::Socket(data) => Log::Files(data.join("log")),
            elsewhere => Log::Asked(elsewhere),
        }
    }
}

/// `ringpost log …`
pub fn run(verb: &LogVerb) -> ExitCode {
    match verb {
        LogVerb::Tail { follow, lines, filter, folder } => match folder.log() {
            Log::Files(folder) => told(tail(&folder, &filter.filter(), *lines, *follow)),
            Log::Asked(at) => elsewhere::lines(&at, &filter.filter(), Some(*lines), *follow),
        },
        LogVerb::Search { filter, folder } => match folder.log() {
            Log::Files(folder) => told(searched(&folder, &filter.filter())),
            Log::Asked(at) => elsewhere::lines(&at, &filter.filter(), None, false),
        },
        LogVerb::Detail(args) => super::detail::detail(args),
        LogVerb::Events { schema } => {
            let text = if *schema { eventlog::schema() } else { eventlog::page() };
            told(io::stdout().write_all(text.as_bytes()).map(|()| true))
        }
    }
}

/// `ringpost trace …`
pub fn trace(args: &TraceArgs) -> ExitCode {
    match (&args.live, args.id) {
        (Some(TraceVerb::Live(live)), _) => super::detail::live(live),
        (None, Some(id)) => match args.folder.log() {
            Log::Files(folder) => told(life(args, &folder, id)),
            Log::Asked(at) => elsewhere::life(&at, id, args.sessions, args.json),
        },
        (None, None) => unreachable!("an id is required where there is no other word"),
    }
}

/// The whole life of a message; false if the log knows nothing of it.
fn life(args: &TraceArgs, folder: &Path, id: MessageId) -> io::Result<bool> {
    let mut sessions = Set::<String>::default();
    if args.sessions {
        search(folder, &Filter { id: Some(id), ..Filter::default() }, |line| {
            if let Some(session) = read::value(line, Field::Session)
                && sessions.len() < SESSIONS_MAX
            {
                sessions.insert(session.into());
            }
            ControlFlow::Continue(())
        })?;
    }
    let of_message = Filter { id: Some(id), ..Filter::default() };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found = false;
    search(folder, &Filter::default(), |line| {
        let wanted = of_message.matches(line) || is_of(line, &sessions);
        if !wanted {
            return ControlFlow::Continue(());
        }
        found = true;
        let written = match read_sentence(line).filter(|_| !args.json) {
            Some(sentence) => put(&mut out, sentence.as_bytes()),
            None => put(&mut out, line),
        };
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    out.flush()?;
    Ok(found)
}

fn searched(folder: &Path, filter: &Filter) -> io::Result<bool> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found = false;
    search(folder, filter, |line| {
        found = true;
        match put(&mut out, line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    out.flush()?;
    Ok(found)
}

/// A line of one of these sessions that is about no other message.
fn is_of(line: &[u8], sessions: &Set<String>) -> bool {
    !sessions.is_empty()
        && read::value(line, Field::Id).is_none()
        && read::value(line, Field::Session).is_some_and(|session| sessions.contains(&*session))
}

fn read_sentence(line: &[u8]) -> Option<String> {
    eventlog::sentence(line).map(|sentence| clean(&sentence))
}

fn tail(folder: &Path, filter: &Filter, most: usize, follow: bool) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut follower = Follower::new(folder);
    let mut last = VecDeque::new();
    let mut keep = |line: &[u8]| {
        if filter.matches(line) {
            last.push_back(line.to_vec());
            if last.len() > most {
                last.pop_front();
            }
        }
    };
    if follow {
        // The open file is enough: what was closed is not followed.
        follower.read(&mut keep)?;
    } else {
        search(folder, filter, |line| {
            keep(line);
            ControlFlow::Continue(())
        })?;
    }
    for line in &last {
        put(&mut out, line)?;
    }
    out.flush()?;
    if !follow {
        return Ok(!last.is_empty());
    }
    loop {
        let mut written = Ok(());
        follower.read(|line| {
            if written.is_ok() && filter.matches(line) {
                written = put(&mut out, line);
            }
        })?;
        written.and_then(|()| out.flush())?;
        follower.wait();
    }
}

fn put(out: &mut impl Write, line: &[u8]) -> io::Result<()> {
    out.write_all(line)?;
    out.write_all(b"\n")
}

fn told(outcome: io::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringpost: the log cannot be read: {error}");
            ExitCode::from(3)
        }
    }
}

fn message(text: &str) -> Result<MessageId, String> {
    let not = "a message id is 13 letters and digits, without i, l, o and u";
    text.parse().map_err(|_| not.into())
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::named(text)
        .ok_or_else(|| "there is no such event: `ringpost log events` lists all".into())
}

fn time(text: &str) -> Result<Wall, String> {
    if let Ok(Span(ago)) = text.parse() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        return Ok(Wall::from_millis(0) + now.saturating_sub(ago));
    }
    read::parse_time_begun(text)
        .ok_or_else(|| "neither a time, as 2026-11-21T22:15, nor a span, as 2h".into())
}
