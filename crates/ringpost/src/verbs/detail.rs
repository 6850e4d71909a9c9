//! `ringpost log detail …` and `ringpost trace live`: looking closely at a
//! domain, an address, a sender or a message, for a while in the event log or
//! live.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use eventlog::{Field, Kind, read};
use serde_json::{Map, Value, json};

use super::{ask, encoded, text, told};
use crate::Socket;
use crate::client;
use crate::print::{Table, clean};

/// `ringpost log detail …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DetailArgs {
    #[command(subcommand)]
    verb: Option<DetailVerb>,
    /// Everything that is said
    #[arg(long, conflicts_with_all = ["domain", "ip", "sender", "source", "message", "direction"])]
    all: bool,
    #[command(flatten)]
    focus: FocusArgs,
    /// For this long, at most 24h
    #[arg(long = "for", default_value = "10m")]
    span: String,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost log detail list|stop`
#[derive(Debug, Subcommand)]
enum DetailVerb {
    /// What is told in detail, and until when
    List(Socket),
    /// End one of them, or all
    Stop {
        /// Its number, as the list shows it
        #[arg(required_unless_present = "all")]
        number: Option<u64>,
        /// All of them
        #[arg(long, conflicts_with = "number")]
        all: bool,
        #[command(flatten)]
        socket: Socket,
    },
}

/// `ringpost trace live`
#[derive(Debug, Args)]
pub struct LiveArgs {
    #[command(flatten)]
    focus: FocusArgs,
    /// Sessions with clients only
    #[arg(long = "in", conflicts_with_all = ["outbound", "direction"])]
    inbound: bool,
    /// Sessions with next hops only
    #[arg(long = "out", conflicts_with = "direction")]
    outbound: bool,
    /// End after so many lines
    #[arg(short = 'n', long)]
    lines: Option<u64>,
    #[command(flatten)]
    socket: Socket,
}

/// What is looked at; everything given must hold.
#[derive(Debug, Args)]
struct FocusArgs {
    /// Mail to this domain, and its look-ups
    #[arg(long)]
    domain: Option<String>,
    /// Sessions with this address, or with a block as 192.0.2.0/24
    #[arg(long)]
    ip: Option<String>,
    /// Mail from this address, or from @domain; <> for reports
    #[arg(long)]
    sender: Option<String>,
    /// Mail that leaves from this source
    #[arg(long)]
    source: Option<String>,
    /// This message, by its id
    #[arg(long)]
    message: Option<String>,
    /// in: sessions of clients only; out: with next hops only
    #[arg(long)]
    direction: Option<String>,
}

impl FocusArgs {
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("domain", &self.domain),
            ("ip", &self.ip),
            ("sender", &self.sender),
            ("source", &self.source),
            ("message", &self.message),
            ("direction", &self.direction),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// `ringpost log detail …`
pub fn detail(args: &DetailArgs) -> ExitCode {
    match &args.verb {
        Some(DetailVerb::List(socket)) => ask(socket, "GET", "/v1/detail", None, table),
        Some(DetailVerb::Stop { number, socket, .. }) => {
            let body = match number {
                Some(number) => json!({ "number": number }),
                None => json!({ "all": true }),
            };
            ask(socket, "POST", "/v1/detail/stop", Some(&body), table)
        }
        None => {
            let named = args.focus.pairs().map(|(name, value)| (name.into(), json!(value)));
            let mut body: Map<String, Value> = named.collect();
            body.insert("for".into(), json!(args.span));
            if args.all {
                body.insert("all".into(), json!(true));
            }
            ask(&args.socket, "POST", "/v1/detail", Some(&Value::Object(body)), table)
        }
    }
}

/// `ringpost trace live`
pub fn live(args: &LiveArgs) -> ExitCode {
    let way = match (args.inbound, args.outbound) {
        (true, _) => Some(("direction", "in")),
        (_, true) => Some(("direction", "out")),
        _ => None,
    };
    let pairs = args.focus.pairs().chain(way);
    let query: Vec<String> =
        pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let path = format!("/v1/trace?{}", query.join("&"));
    let mut left = args.lines.unwrap_or(u64::MAX);
    let mut out = io::stdout().lock();
    let followed = client::follow(&args.socket.at(), &path, |line| {
        let shown = match args.socket.json {
            true => String::from_utf8_lossy(line).into_owned(),
            false => spoken(line),
        };
        // A reader that has seen enough is no failure.
        if writeln!(out, "{shown}").and_then(|()| out.flush()).is_err() {
            return ControlFlow::Break(());
        }
        left = left.saturating_sub(1);
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match followed {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => told(failure),
    }
}

/// A line for people: dialogue as a dialogue, anything else as a sentence.
fn spoken(line: &[u8]) -> String {
    let of = |field| read::value(line, field);
    let is_dialogue = of(Field::Event).is_some_and(|word| word == Kind::Dialogue.word());
    let words = match (of(Field::Said), of(Field::Heard)) {
        _ if !is_dialogue => None,
        (Some(said), _) => Some(('>', said)),
        (None, heard) => heard.map(|heard| ('<', heard)),
    };
    let shown = match words {
        Some((arrow, words)) => {
            let value = |field| of(field).unwrap_or_default();
            let (time, session) = (value(Field::Time), value(Field::Session));
            format!("{time}  {session:<16} {:<3} {arrow} {words}", value(Field::Way))
        }
        None => {
            eventlog::sentence(line).unwrap_or_else(|| String::from_utf8_lossy(line).into_owned())
        }
    };
    clean(&shown)
}

fn table(body: &Value) -> String {
    let rows = body["detail"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return "nothing is told in detail\n".into();
    }
    let mut table = Table::new(&["NUMBER", "WHAT", "TO", "SINCE", "UNTIL"]);
    for row in rows {
        let to = if row["attached"] == true { "somebody attached" } else { "the log" };
        let [number, what, since, until] =
            ["number", "what", "since", "until"].map(|key| text(&row[key]));
        table.row(vec![number, what, to.into(), since, until]);
    }
    table.to_text()
}

#[cfg(test)]
mod tests {
    use base::Wall;
    use eventlog::Line;

    use super::*;

    #[test]
    fn a_dialogue_reads_as_one() {
        let line = |whose, words: &str| {
            let line = Line::new(Wall::from_millis(0), Kind::Dialogue).text(Field::Way, "out");
            let line = line.text(Field::Session, "6740a1b2-0-17").text(whose, words).end();
            spoken(line.trim_ascii_end())
        };
        let begin = "1970-01-01T00:00:00.000Z  6740a1b2-0-17    out ";
        assert_eq!(line(Field::Said, "EHLO a"), format!("{begin}> EHLO a"));
        assert!(line(Field::Heard, "220 \u{1b}[2J").starts_with(&format!("{begin}< 220 ")));
        assert!(!line(Field::Heard, "220 \u{1b}[2J").contains('\u{1b}'));
        let lost = Line::new(Wall::from_millis(0), Kind::LinesLost).number(Field::Lines, 3_u64);
        assert!(spoken(lost.end().trim_ascii_end()).contains("lines 3"));
    }

    #[test]
    fn the_list_says_what_where_and_until_when() {
        let row = json!({ "number": 3, "what": "domain=a.example", "attached": false,
                          "since": "now", "until": "then" });
        let shown = table(&json!({ "detail": [row] }));
        assert!(shown.contains("domain=a.example") && shown.contains("the log"), "{shown}");
        assert_eq!(table(&json!({ "detail": [] })), "nothing is told in detail\n");
    }
}
