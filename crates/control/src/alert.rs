//! Alerts: which rules there are, what each looks at, and from which value on
//! somebody is told: `[alerts]`.
//!
//! Never here: where values come from, and who is told. `watch.rs` decides when
//! an alert is raised and cleared.

use std::time::Duration;

use mail::Address;

use crate::units::{Size, Span};

mod watch;

pub use watch::{Change, Raised, Seen, Sight, Silence, Turn, Watch, WatchError};

/// One thing that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A quarter of the waiting mail is older.
    QueueAge,
    /// Waiting recipients.
    QueueSize,
    /// How full the queue is, by its own bounds.
    QueueFull,
    /// Mail that failed for good, of all that came to an end.
    FailureRate,
    /// A site with much mail is down.
    SiteDown,
    /// None of the hosts that a route relays to takes mail.
    RouteDown,
    /// Sites that do not answer while no connection succeeds at all.
    Port25,
    /// What is free on the disk.
    DiskFree,
    /// How long a certificate is still good.
    Certificate,
    /// The wall clock was set.
    ClockStep,
    /// No name server answers.
    Resolver,
    /// Lines of the log were dropped.
    LinesLost,
}

/// What a rule's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Span,
    /// So many.
    Count,
    /// Parts of a hundred.
    Percent,
    /// Octets.
    Size,
}

/// What there is to know of a rule.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// The rule.
    pub rule: Rule,
    /// What it is called, in the log and in the configuration.
    pub word: &'static str,
    /// What its value is.
    pub unit: Unit,
    /// From where on it is raised.
    pub usual: u64,
    /// Bad is below the limit instead of above.
    pub below: bool,
    /// A single bad value raises it.
    pub at_once: bool,
    /// Only what is in trouble is seen at all, with how long it has been: it is
    /// good once it is seen no more, and not when that begins anew.
    pub while_seen: bool,
    /// What a bad value means, in a few words.
    pub meaning: &'static str,
}

/// How many rules there are.
pub const RULES: usize = 12;

const HOUR: u64 = 3_600_000;

/// The rules, in their order.
pub const RULE_TABLE: [Described; RULES] = [
    of(
        Rule::QueueAge,
        "queue_age",
        Unit::Span,
        4 * HOUR,
        "a quarter of the waiting mail is so old",
    ),
    of(Rule::QueueSize, "queue_size", Unit::Count, 100_000, "so many recipients wait"),
    of(Rule::QueueFull, "queue_full", Unit::Percent, 80, "the queue is so full"),
    of(Rule::FailureRate, "failure_rate", Unit::Percent, 25, "so much mail fails for good"),
    Described {
        at_once: true,
        while_seen: true,
        ..of(Rule::SiteDown, "site_down", Unit::Span, HOUR / 2, "it has been down for so long")
    },
    Described {
        at_once: true,
        while_seen: true,
        ..of(
            Rule::RouteDown,
            "route_down",
            Unit::Span,
            HOUR / 6,
            "none of its hosts has taken mail for so long",
        )
    },
    of(
        Rule::Port25,
        "port_25",
        Unit::Count,
        5,
        "so many sites time out and none answers: port 25 looks blocked here",
    ),
    Described {
        below: true,
        ..of(Rule::DiskFree, "disk_free", Unit::Size, 3 << 30, "so little is free on the disk")
    },
    Described {
        below: true,
        at_once: true,
        ..of(
            Rule::Certificate,
            "certificate",
            Unit::Span,
            14 * 24 * HOUR,
            "it is good for so long only",
        )
    },
    Described {
        at_once: true,
        ..of(Rule::ClockStep, "clock_step", Unit::Span, 5_000, "the clock was set by so much")
    },
    of(Rule::Resolver, "resolver", Unit::Count, 1, "no name server answers"),
    Described {
        at_once: true,
        ..of(Rule::LinesLost, "lines_lost", Unit::Count, 1, "the event log lost so many lines")
    },
];

const fn of(
    rule: Rule,
    word: &'static str,
    unit: Unit,
    usual: u64,
    meaning: &'static str,
) -> Described {
    let (below, at_once, while_seen) = (false, false, false);
    Described { rule, word, unit, usual, below, at_once, while_seen, meaning }
}

/// `[alerts]`
#[derive(Clone, Debug, PartialEq)]
pub struct AlertSettings {
    /// Who gets mail when an alert is raised and when it is cleared.
    pub mail_to: Box<[Address]>,
    /// How long a value must be bad before it is told; default 1 min.
    pub raise_after: Duration,
    /// How long it must be good before that is told; default 5 min.
    pub clear_after: Duration,
    /// From where on each rule is raised, in the order of [`RULE_TABLE`]; none:
    /// it is not watched.
    pub limits: [Option<u64>; RULES],
}

impl Rule {
    /// What there is to know of it.
    pub fn described(self) -> &'static Described {
        &RULE_TABLE[self as usize]
    }

    /// What it is called.
    pub fn word(self) -> &'static str {
        self.described().word
    }

    /// The rule of this name.
    pub fn named(word: &str) -> Option<Self> {
        RULE_TABLE.iter().find(|known| known.word == word).map(|known| known.rule)
    }
}

impl Unit {
    /// A value as people read it.
    pub fn shown(self, value: u64) -> String {
        match self {
            // Nobody needs the odd milliseconds of a minute.
            Self::Span if value >= 60_000 => Span(Duration::from_secs(value / 1_000)).to_string(),
            Self::Span => Span(Duration::from_millis(value)).to_string(),
            Self::Count => value.to_string(),
            Self::Percent => format!("{value}%"),
            Self::Size => Size(value).to_string(),
        }
    }
}

impl AlertSettings {
    /// From where on a rule is raised.
    pub fn limit(&self, rule: Rule) -> Option<u64> {
        self.limits[rule as usize]
    }
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            mail_to: Box::default(),
            raise_after: Duration::from_secs(60),
            clear_after: Duration::from_secs(300),
            limits: RULE_TABLE.map(|known| Some(known.usual)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_rules() {
        for (place, known) in RULE_TABLE.iter().enumerate() {
            assert_eq!(known.rule as usize, place, "{}", known.word);
            assert_eq!(Rule::named(known.word), Some(known.rule));
            assert_eq!(known.rule.word(), known.word);
        }
        assert_eq!(Rule::named("nothing"), None);
    }

    #[test]
    fn values_are_shown_with_their_units() {
        let shown = [
            Unit::Span.shown(90_999),
            Unit::Span.shown(1_250),
            Unit::Count.shown(5),
            Unit::Percent.shown(80),
            Unit::Size.shown(3 << 30),
        ];
        assert_eq!(shown, ["1m30s", "1s250ms", "5", "80%", "3GiB"]);
    }
}
