//! Promise 7, changes are whole: an attempt that begins after a configuration
//! came into force goes by it, and one that was refused changes nothing. (That
//! limits, waits, lifetimes and counts change is judged where they are.)
//!
//! Which attempt began when shows by the log: after a recipient's last line, or
//! after it was handed in; or by the connection, which may be its second.

use base::Monotonic;

use crate::observation::{Command, Observation, Stamped};

use super::{Book, Fault, HEARSAY, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Change;

impl Oracle for Change {
    fn name(&self) -> &'static str {
        "changes are whole"
    }

    fn promise(&self) -> u8 {
        7
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        let Observation::Heard { link, command: Command::Rcpt(to), .. } = &seen.what else {
            return Ok(());
        };
        let (Some(who), Some(standing)) = (book.whose(to), book.links.get(link)) else {
            return Ok(());
        };
        let (mail, to, fate) = book.fate(who);
        let told = fate.line.as_ref().map_or(mail.handed.mono, |line| line.at.mono);
        // A hold or a release may be told of an attempt that is under way.
        let told = if standing.dots == 0 { told.min(standing.since) } else { told };
        let began = began(told, book);
        let mut rules = book.rules_since(began).peekable();
        if rules.peek().is_none() {
            return Ok(());
        }
        if rules.any(|rules| book.leads_to(rules, began, &to.address, standing.to)) {
            return Ok(());
        }
        let what = format!("tried at {}, where no rule in force leads", standing.to);
        Err(Fault::new(what).with(who.0).to(&to.address))
    }
}

/// The earliest moment at which the attempt under way can have begun.
fn began(last_told: Monotonic, book: &Book) -> Monotonic {
    let started = book.crashes.last().map_or(Monotonic::default(), |(at, _)| *at);
    (last_told - HEARSAY).max(started)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Site;
    use crate::oracle::play::{Play, REMOTE, TO};
    use crate::rules::{Rules, Way};
    use std::net::SocketAddr;
    use std::sync::Arc;

    const RELAY: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)), 25);

    fn begun() -> Play {
        let mut play = Play::of(Change);
        let domains = vec!["one.example".into()];
        let site = Site { name: "one".into(), domains, addresses: vec![REMOTE.ip()] };
        play.see(Observation::Topology(Arc::from([site])));
        play.rules(|_| ());
        play.after(10).accepted(1, &[TO]);
        play
    }

    fn relayed(rules: &mut Rules) {
        let hosts = vec![RELAY];
        let way = Way { pattern: "one.example".into(), hosts, fallback: false, ..Way::default() };
        rules.routes.push(way);
    }

    #[test]
    fn an_attempt_goes_by_the_rules_it_began_under() {
        let mut play = begun();
        play.after(10).rules(relayed);
        play.after(10).dialled(1);
        play.envelope(1, &[TO]);
        play.after(10).line("deferred", TO, 1, "");
        play.after(300).dialled_to(3, RELAY);
        play.envelope(3, &[TO]);
        play.fine();
    }

    #[test]
    fn the_next_attempt_under_old_rules_is_caught() {
        let mut play = begun();
        play.line("deferred", TO, 1, "");
        play.after(10).rules(relayed);
        play.after(10).line("deferred", TO, 2, "");
        play.after(300).dialled(1);
        play.envelope(1, &[TO]);
        play.caught("where no rule in force leads");
    }

    #[test]
    fn what_was_refused_changes_nothing() {
        let mut play = begun();
        play.see(Observation::ConfigurationRefused);
        play.after(10).dialled_to(1, RELAY);
        play.envelope(1, &[TO]);
        play.caught("where no rule in force leads");
    }
}
