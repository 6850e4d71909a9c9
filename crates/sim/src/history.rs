//! A failing run as a page to read: what was broken, the faults that are needed
//! for it, and what was seen, first of all about the message concerned.
//!
//! Never longer than 120 lines per part.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::observation::{Command, Link, Observation, Stamped};
use crate::oracle::Breach;
use crate::run::Outcome;

/// Lines of one part.
const LINES_MAX: usize = 120;

/// The page of a failing run; `without` are the faults that are not needed.
pub fn page(outcome: &Outcome, without: &BTreeSet<usize>) -> String {
    let mut out = String::new();
    let Some(breach) = &outcome.breach else { return out };
    let step = outcome.history.last().map_or(0, |last| last.step);
    let mut line = |text: String| writeln!(out, "{text}").expect("a String takes everything");
    line(format!("seed {} step {step}: {breach}", outcome.seed));
    line("faults that are needed:".into());
    for (place, fault) in outcome.faults.iter().enumerate() {
        if !without.contains(&place) {
            line(format!("  {fault}"));
        }
    }
    for (revision, text) in (1..).zip(&outcome.configurations) {
        line(format!("configuration {revision}:"));
        text.lines().for_each(|text| line(format!("  {text}")));
    }
    let mut trail = Trail::of(breach);
    let near: Vec<&Stamped> = outcome.history.iter().filter(|seen| trail.follows(seen)).collect();
    line("what was seen of it:".into());
    tail(&near, &mut line);
    line("what was seen last:".into());
    tail(&outcome.history.iter().collect::<Vec<_>>(), &mut line);
    out
}

fn tail(seen: &[&Stamped], line: &mut impl FnMut(String)) {
    let from = seen.len().saturating_sub(LINES_MAX);
    if from > 0 {
        line(format!("  ({from} lines before)"));
    }
    for one in &seen[from..] {
        line(format!("  {one}"));
    }
}

/// What belongs to a message: its own lines, and everything on the connections
/// that carry it while they do.
struct Trail {
    message: Option<u32>,
    recipient: Option<String>,
    id: Option<base::MessageId>,
    links: BTreeSet<Link>,
}

impl Trail {
    fn of(breach: &Breach) -> Self {
        Self {
            message: breach.message,
            recipient: breach.recipient.as_deref().map(str::to_owned),
            id: None,
            links: BTreeSet::new(),
        }
    }

    fn follows(&mut self, seen: &Stamped) -> bool {
        let is_mine = |number: &u32| Some(*number) == self.message;
        match &seen.what {
            Observation::Handed { message, .. } | Observation::Promised { message, .. } => {
                is_mine(message)
            }
            Observation::Answered { message, id, .. } => {
                if is_mine(message) && id.is_some() {
                    self.id = *id;
                }
                is_mine(message)
            }
            Observation::Logged { line, .. } => {
                (line.id.is_some() && line.id == self.id)
                    || self.recipient.as_deref().is_some_and(|to| *line.to == *to)
            }
            Observation::Heard { link, command, .. } => {
                match command {
                    Command::Rcpt(to) if self.recipient.as_deref() == Some(&**to) => {
                        self.links.insert(*link);
                    }
                    Command::Mail(_) => {
                        self.links.remove(link);
                    }
                    _ => {}
                }
                self.links.contains(link)
            }
            Observation::Took { link, copy } => {
                self.links.contains(link)
                    || (self.message.is_some() && copy.message() == self.message)
            }
            Observation::Said { link, .. } | Observation::Ended { link, .. } => {
                self.links.contains(link)
            }
            Observation::Crashed { .. }
            | Observation::Recovered { .. }
            | Observation::Configured(_)
            | Observation::Ordered { .. }
            | Observation::Obeyed { .. }
            | Observation::Calm
            | Observation::Over { .. } => true,
            _ => false,
        }
    }
}
