//! Which waiting mail a command means.
//!
//! A filter is tested in two steps, because a shard knows ids, states and
//! destinations without touching a message, but senders and recipients only by
//! reading it: facts not read yet do not exclude ([`Filter::needs_envelope`]).

use std::time::Duration;

use base::MessageId;
use mail::Domain;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::units::Span;

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Everything, said aloud; needed where nothing else is named.
    pub all: bool,
    /// One message.
    pub id: Option<MessageId>,
    /// Recipients of this domain.
    pub domain: Option<Domain>,
    /// And of all domains below that one.
    pub below: bool,
    /// Mail from this address; `<>` or nothing between the quotes is the null
    /// sender.
    pub sender: Option<String>,
    /// Mail to this address.
    pub recipient: Option<String>,
    /// Destinations of this site, by the name that lists show.
    pub site: Option<String>,
    /// Mail that goes by this route, by its pattern; `default` is the main way.
    pub route: Option<String>,
    /// Mail that was accepted so long ago or longer.
    pub older: Option<Duration>,
    /// Mail in this state.
    pub state: Option<State>,
    /// Mail that an earlier attempt may have delivered, or mail of which that
    /// is excluded.
    pub in_doubt: Option<bool>,
}

/// What mail waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// For the time of its next attempt.
    Deferred,
    /// For its turn.
    Ready,
    /// Nothing: it is being tried.
    InFlight,
    /// For an operator.
    Held,
}

/// What is known of one recipient of a message.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The message.
    pub id: MessageId,
    /// What it waits for.
    pub state: State,
    /// Whether an earlier attempt may have delivered it.
    pub in_doubt: bool,
    /// The recipient's domain; none for an address literal.
    pub domain: Option<&'a str>,
    /// The site of its destination; none before it is resolved.
    pub site: Option<&'a str>,
    /// The name of its way; none while that is being found out anew.
    pub route: Option<&'a str>,
    /// Since it was accepted.
    pub age: Duration,
    /// The sender, empty for the null sender; none when not read yet.
    pub sender: Option<&'a str>,
    /// The recipient; none when not read yet.
    pub recipient: Option<&'a str>,
}

pub(super) const NOTHING_NAMED: &str = "name what is meant, by id, domain, sender, recipient, site, route, \
     older, state or in_doubt, or say \"all\": true";

impl Filter {
    /// Whether every condition holds, as far as the facts are known: a sender
    /// or recipient that is not read yet excludes nothing.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        let known = |want: &Option<String>, fact: Option<&str>| match (want, fact) {
            (Some(want), Some(fact)) => want.eq_ignore_ascii_case(fact),
            _ => true,
        };
        self.id.is_none_or(|id| id == facts.id)
            && self.state.is_none_or(|state| state == facts.state)
            && self.in_doubt.is_none_or(|in_doubt| in_doubt == facts.in_doubt)
            && self.domain.as_ref().is_none_or(|domain| {
                facts.domain.is_some_and(|fact| self.covers(domain.as_str(), fact))
            })
            && self.site.as_ref().is_none_or(|site| facts.site == Some(site))
            && self.route.as_ref().is_none_or(|route| facts.route == Some(route))
            && self.older.is_none_or(|older| facts.age >= older)
            && known(&self.sender, facts.sender)
            && known(&self.recipient, facts.recipient)
    }

    /// Whether a recipient's domain is the one that is meant, or below it where
    /// those are meant too.
    fn covers(&self, domain: &str, fact: &str) -> bool {
        let Some(front) = fact.len().checked_sub(domain.len()) else { return false };
        let (front, end) = fact.as_bytes().split_at(front);
        let fits = front.is_empty() || self.below && front.ends_with(b".");
        fits && end.eq_ignore_ascii_case(domain.as_bytes())
    }

    /// Whether [`Filter::matches`] is certain only with sender and recipient.
    pub fn needs_envelope(&self) -> bool {
        self.sender.is_some() || self.recipient.is_some()
    }

    /// Whether anything narrows the choice.
    pub fn is_everything(&self) -> bool {
        *self == Self { all: self.all, ..Self::default() }
    }

    /// A command that changes the queue must say what it means, once.
    pub(super) fn named_something(&self) -> Result<(), String> {
        match (self.is_everything(), self.all) {
            (true, false) => Err(NOTHING_NAMED.into()),
            (false, true) => Err("\"all\" and a condition contradict each other".into()),
            _ => Ok(()),
        }
    }
}

/// The conditions as `name=value`, or `all`; for logs.
impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |name: &str, value: Option<String>| value.map(|v| format!("{name}={v}"));
        let parts: Vec<String> = [
            self.all.then(|| "all".to_string()),
            shown("id", self.id.map(|id| id.to_string())),
            shown("domain", self.domain.as_ref().map(ToString::to_string)),
            self.below.then(|| "and below".to_string()),
            shown("sender", self.sender.clone()),
            shown("recipient", self.recipient.clone()),
            shown("site", self.site.clone()),
            shown("route", self.route.clone()),
            shown("older", self.older.map(|older| Span(older).to_string())),
            shown("state", self.state.map(|state| state.to_string())),
            shown("in_doubt", self.in_doubt.map(|doubt| doubt.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect();
        f.write_str(&parts.join(" "))
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deferred => "deferred",
            Self::Ready => "ready",
            Self::InFlight => "in-flight",
            Self::Held => "held",
        })
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "deferred" => Self::Deferred,
            "ready" => Self::Ready,
            "in-flight" => Self::InFlight,
            "held" => Self::Held,
            _ => return Err("state is one of deferred, ready, in-flight, held".into()),
        })
    }
}

/// An address as written in a filter: angle brackets are allowed.
pub(super) fn bare_mailbox(text: &str) -> &str {
    text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text)
}

pub(super) fn parsed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<MessageId>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| text.parse()).transpose().map_err(Error::custom)
}

pub(super) fn domain<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Domain>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| Domain::parse_utf8(&text)).transpose().map_err(Error::custom)
}

pub(super) fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Span>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let refused = |why: crate::units::UnitError| Error::custom(format!("a span {why}"));
    text.map(|text| text.parse()).transpose().map_err(refused)
}

pub(super) fn mailbox<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.map(|text| bare_mailbox(&text).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: A13.5
    #[test]
    fn a_domain_stands_for_itself_or_for_all_below_it_too() {
        let facts = |domain| Facts {
            id: MessageId::from_u64(7),
            state: State::Deferred,
            in_doubt: false,
            domain: Some(domain),
            site: None,
            route: None,
            age: Duration::ZERO,
            sender: None,
            recipient: None,
        };
        let alone =
            Filter { domain: Some(Domain::parse("b.example").unwrap()), ..Filter::default() };
        let below = Filter { below: true, ..alone.clone() };
        for (domain, by_itself, with_all) in [
            ("b.example", true, true),
            ("B.Example", true, true),
            ("a.b.example", false, true),
            ("x.a.b.example", false, true),
            ("ab.example", false, false),
            ("example", false, false),
            (".example", false, false),
            ("\u{fc}.example", false, false),
            ("b.example.org", false, false),
        ] {
            assert_eq!(alone.matches(&facts(domain)), by_itself, "{domain}");
            assert_eq!(below.matches(&facts(domain)), with_all, "{domain}");
        }
        assert_eq!(below.to_string(), "domain=b.example and below");
    }
}
