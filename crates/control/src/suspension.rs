//! What an operator has stopped: all delivery, or that to a domain, to a site,
//! by a route or from a source, each with a reason and perhaps an end.
//!
//! An order about running mail, not a setting: it is no part of the policy and
//! outlives changes of it. Mail that is stopped waits as it is: no attempt is
//! made or counted, its lifetime goes on. Never touches what is under way.
//!
//! Invariants: one suspension per scope; at most [`SUSPENSIONS_MAX`]; one
//! whose end has come stops nothing, whether it was taken off the list or not.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use base::Wall;
use mail::Domain;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::exit::Source;

/// Suspensions that may stand at once.
pub const SUSPENSIONS_MAX: usize = 10_000;
/// Bytes of a reason.
pub const REASON_BYTES_MAX: usize = 200;
/// Bytes of a site's or a route's name.
pub const NAME_BYTES_MAX: usize = 16 << 10;

/// What is stopped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything that leaves.
    All,
    /// Mail to recipients of this domain, whichever way it goes.
    Domain(Domain),
    /// Mail to a site, by the name that lists show.
    Site(Box<str>),
    /// Mail that goes by a route, by its pattern; `default` is the main way.
    Route(Box<str>),
    /// Mail that leaves from a source, by its name or one of its addresses.
    Source(Box<str>),
}

/// One order to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// What is stopped.
    pub scope: Scope,
    /// Why, in the operator's words.
    pub reason: Box<str>,
    /// Since when.
    pub since: Wall,
    /// Until when; none: until it is resumed.
    pub until: Option<Wall>,
}

/// Where a recipient's mail is about to go, as far as is known.
#[derive(Clone, Copy, Debug)]
pub struct Whereabouts<'a> {
    /// The recipient's domain; none for a literal, or for all that one relay
    /// takes.
    pub domain: Option<&'a str>,
    /// The name of its way.
    pub route: &'a str,
    /// The name of its site; none before it is resolved.
    pub site: Option<&'a str>,
    /// The source that it leaves from, if it has one.
    pub source: Option<&'a Source>,
}

/// All orders to stop. Compared and swapped as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspensions {
    list: BTreeMap<Scope, Suspension>,
}

/// Why an order is refused, or a stored list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SuspensionError {
    /// As many stand as may.
    #[error("{SUSPENSIONS_MAX} suspensions stand, more may not; resume some")]
    LocalFull,
    /// The stored list is not one.
    #[error("the stored list of suspensions cannot be read: {0}")]
    LocalDamaged(String),
}

impl Suspensions {
    /// Adds an order; one of the same scope is replaced.
    ///
    /// # Errors
    /// [`SuspensionError::LocalFull`] at [`SUSPENSIONS_MAX`].
    pub fn suspend(&mut self, suspension: Suspension) -> Result<(), SuspensionError> {
        let known = self.list.contains_key(&suspension.scope);
        if !known && self.list.len() >= SUSPENSIONS_MAX {
            return Err(SuspensionError::LocalFull);
        }
        self.list.insert(suspension.scope.clone(), suspension);
        Ok(())
    }

    /// Takes an order back; `None` when there is none of this scope.
    pub fn resume(&mut self, scope: &Scope) -> Option<Suspension> {
        self.list.remove(scope)
    }

    /// Takes those off the list whose end has come.
    pub fn forget_ended(&mut self, now: Wall) {
        self.list.retain(|_, suspension| suspension.is_on(now));
    }

    /// What stops mail that is about to go there; the widest order first.
    pub fn find(&self, now: Wall, at: &Whereabouts<'_>) -> Option<&Suspension> {
        if self.list.is_empty() {
            return None;
        }
        let of = |scope: Scope| self.list.get(&scope).filter(|one| one.is_on(now));
        of(Scope::All)
            .or_else(|| self.of_domain(now, at.domain?))
            .or_else(|| of(Scope::Site(at.site?.into())))
            .or_else(|| of(Scope::Route(at.route.into())))
            .or_else(|| self.of_source(now, at.source?))
    }

    /// What stops all that leaves from `source`, and only that.
    pub fn of_source(&self, now: Wall, source: &Source) -> Option<&Suspension> {
        // Sources come last in the order of scopes.
        if !matches!(self.list.keys().next_back(), Some(Scope::Source(_))) {
            return None;
        }
        let of =
            |name: &str| self.list.get(&Scope::Source(name.into())).filter(|one| one.is_on(now));
        let mut addresses = source.addresses.iter();
        of(&source.name).or_else(|| addresses.find_map(|own| of(&own.to_string())))
    }

    /// What stops mail to recipients of `domain`, and only to them.
    pub fn of_domain(&self, now: Wall, domain: &str) -> Option<&Suspension> {
        if !self.names_domains() {
            return None;
        }
        let domain = Domain::parse(domain).ok()?;
        self.list.get(&Scope::Domain(domain)).filter(|one| one.is_on(now))
    }

    /// Whether mail of one next hop may have to be told apart by recipient.
    pub fn names_domains(&self) -> bool {
        let first = self.list.keys().find(|scope| **scope != Scope::All);
        matches!(first, Some(Scope::Domain(_)))
    }

    /// The first end that is still to come.
    pub fn next_end(&self, now: Wall) -> Option<Wall> {
        self.list.values().filter_map(|one| one.until).filter(|until| *until > now).min()
    }

    /// All of them, in the order of their scopes.
    pub fn iter(&self) -> impl Iterator<Item = &Suspension> {
        self.list.values()
    }

    /// How many there are, ended ones included.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is stopped.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The list as it is stored.
    pub fn to_stored(&self) -> String {
        let row = |one: &Suspension| Row {
            scope: one.scope.kind().into(),
            name: one.scope.name().into(),
            reason: one.reason.clone(),
            since: one.since.as_millis(),
            until: one.until.map(Wall::as_millis),
        };
        let stored = Stored { version: 1, suspensions: self.iter().map(row).collect() };
        serde_json::to_string(&stored).expect("plain text and numbers are JSON")
    }

    /// A stored list.
    ///
    /// # Errors
    /// [`SuspensionError::LocalDamaged`].
    pub fn from_stored(text: &[u8]) -> Result<Self, SuspensionError> {
        let damaged = |why: String| SuspensionError::LocalDamaged(why);
        let stored: Stored =
            serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        if stored.version != 1 {
            return Err(damaged(format!("it has version {}", stored.version)));
        }
        let mut list = Self::default();
        for row in stored.suspensions {
            let scope = Scope::new(&row.scope, &row.name).map_err(damaged)?;
            let (since, until) = (Wall::from_millis(row.since), row.until.map(Wall::from_millis));
            list.suspend(Suspension { scope, reason: row.reason, since, until })?;
        }
        Ok(list)
    }
}

/// A list as stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    suspensions: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    scope: String,
    name: String,
    reason: Box<str>,
    since: u64,
    until: Option<u64>,
}

impl Suspension {
    /// Whether it stops anything at `now`.
    pub fn is_on(&self, now: Wall) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What stands as the reason of mail that waits: `suspended (route *.example):
/// their move`.
impl fmt::Display for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "suspended ({})", self.scope)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

impl Scope {
    /// A scope of its kind and name.
    ///
    /// # Errors
    /// A sentence, when there is no such kind or the name cannot be one.
    pub fn new(kind: &str, name: &str) -> Result<Self, String> {
        let plain = !name.is_empty() && !name.chars().any(char::is_control);
        let named = plain && name.len() <= NAME_BYTES_MAX;
        match kind {
            "all" => Ok(Self::All),
            "domain" => Domain::parse_utf8(name).map(Self::Domain).map_err(|e| e.to_string()),
            "site" if named => Ok(Self::Site(name.into())),
            "route" if named => Ok(Self::Route(name.into())),
            // Addresses in one form, whatever was written.
            "source" if named => Ok(Self::Source(
                name.parse().map_or_else(|_| name.into(), |ip: IpAddr| ip.to_string().into()),
            )),
            "site" | "route" | "source" => Err(format!("this cannot be the name of a {kind}")),
            _ => Err("the scope is one of all, domain, site, route, source".into()),
        }
    }

    /// `all`, `domain`, `site`, `route` or `source`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Domain(_) => "domain",
            Self::Site(_) => "site",
            Self::Route(_) => "route",
            Self::Source(_) => "source",
        }
    }

    /// The name within the kind; empty for all.
    pub fn name(&self) -> &str {
        match self {
            Self::All => "",
            Self::Domain(domain) => domain.as_str(),
            Self::Site(name) | Self::Route(name) | Self::Source(name) => name,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            _ => write!(f, "{} {}", self.kind(), self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_millis(1_000_000);

    fn source() -> Source {
        let addresses = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        Source { addresses: addresses.into(), ..Source::new("out1") }
    }

    fn there(source: &Source) -> Whereabouts<'_> {
        Whereabouts {
            domain: Some("a.example"),
            route: "*.example",
            site: Some("mx:a"),
            source: Some(source),
        }
    }

    fn order(kind: &str, name: &str, until: Option<u64>) -> Suspension {
        let scope = Scope::new(kind, name).unwrap();
        let until = until.map(Wall::from_millis);
        Suspension { scope, reason: "their move".into(), since: NOW, until }
    }

    fn list(orders: &[Suspension]) -> Suspensions {
        let mut list = Suspensions::default();
        orders.iter().for_each(|one| list.suspend(one.clone()).unwrap());
        list
    }

    #[test]
    fn each_scope_stops_its_own() {
        for (kind, name, other) in [
            ("all", "", ""),
            ("domain", "A.Example", "b.example"),
            ("site", "mx:a", "mx:b"),
            ("route", "*.example", "default"),
            ("source", "out1", "out2"),
            ("source", "2001:DB8:0::1", "192.0.2.2"),
        ] {
            let found = list(&[order(kind, name, None)]);
            assert_eq!(found.find(NOW, &there(&source())).map(|one| one.scope.kind()), Some(kind));
            if !other.is_empty() {
                assert_eq!(list(&[order(kind, other, None)]).find(NOW, &there(&source())), None);
            }
        }
        assert_eq!(Suspensions::default().find(NOW, &there(&source())), None);
    }

    #[test]
    fn an_end_ends_it_and_the_next_is_known() {
        let now = NOW.as_millis();
        let mut orders = list(&[
            order("domain", "a.example", Some(now + 10)),
            order("route", "*.example", Some(now + 20)),
        ]);
        assert!(orders.names_domains());
        assert_eq!(orders.next_end(NOW), Some(Wall::from_millis(now + 10)));
        let later = Wall::from_millis(now + 10);
        assert_eq!(
            orders.find(later, &there(&source())).map(|one| one.scope.kind()),
            Some("route")
        );
        assert_eq!(orders.next_end(later), Some(Wall::from_millis(now + 20)));
        orders.forget_ended(later);
        assert_eq!(orders.len(), 1);
        assert!(!orders.names_domains());
        assert_eq!(orders.find(Wall::from_millis(now + 20), &there(&source())), None);
    }

    #[test]
    fn one_order_per_scope_and_a_bound() {
        let mut orders = list(&[order("all", "", None), order("all", "", Some(7))]);
        assert_eq!(orders.len(), 1);
        for n in 1..SUSPENSIONS_MAX {
            orders.suspend(order("site", &format!("mx:{n}"), None)).unwrap();
        }
        let one_more = orders.suspend(order("site", "mx:more", None));
        assert_eq!(one_more, Err(SuspensionError::LocalFull));
        assert_eq!(orders.suspend(order("site", "mx:1", Some(8))), Ok(()));
        assert!(orders.resume(&Scope::All).is_some());
        assert!(orders.resume(&Scope::All).is_none());
    }

    #[test]
    fn a_stored_list_is_read_back_and_a_damaged_one_refused() {
        let orders = list(&[
            order("all", "", Some(5)),
            order("domain", "a.example", None),
            order("site", "relay:[2001:db8::1]:25", None),
            order("route", "user@a.example", None),
            order("source", "192.0.2.1", None),
        ]);
        assert_eq!(Suspensions::from_stored(orders.to_stored().as_bytes()), Ok(orders));
        for damaged in [
            "",
            "{}",
            r#"{"version":2,"suspensions":[]}"#,
            r#"{"version":1,"suspensions":[{"scope":"x","name":"","reason":"","since":1,"until":null}]}"#,
            r#"{"version":1,"suspensions":[{"scope":"site","name":"","reason":"","since":1,"until":null}]}"#,
        ] {
            assert!(Suspensions::from_stored(damaged.as_bytes()).is_err(), "{damaged}");
        }
    }

    #[test]
    fn the_reason_names_scope_and_words() {
        let text = order("route", "*.example", None).to_string();
        assert_eq!(text, "suspended (route *.example): their move");
        assert!(Scope::new("site", "a\nb").is_err());
        assert!(Scope::new("site", &"x".repeat(NAME_BYTES_MAX + 1)).is_err());
    }
}
