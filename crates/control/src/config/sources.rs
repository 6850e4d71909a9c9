//! `[[source]]` and `[[pool]]`: ways out and what they are called.

use std::net::IpAddr;
use std::sync::Arc;

use toml::de::DeTable;

use super::cx::{Cx, Item, Keys, named};
use super::{on_demand, proxy, values};
use crate::exit::{Exits, NAME_BYTES_MAX, POOL_SOURCES_MAX, Pool, SOURCES_MAX, Source, WEIGHT_MAX};
use crate::units::Rate;

/// Means no source or pool where one is named.
pub(super) const NONE: &str = "none";

/// Reads all sources, then the pools, which name them.
pub(super) fn exits(cx: &mut Cx<'_>, document: &DeTable<'_>) -> Exits {
    let mut exits = Exits::default();
    values::tables(cx, document, "source", SOURCES_MAX, |cx, item, _| {
        let mut source = Source::new("");
        cx.table(item, SOURCE, &mut source);
        proxy::check(cx, item, &source);
        if is_new(cx, item, &exits, &source.name) {
            exits.sources.push(Arc::new(source));
        }
    });
    values::tables(cx, document, "pool", SOURCES_MAX, |cx, item, _| {
        let mut pool = WrittenPool::default();
        cx.table(item, POOL, &mut pool);
        if is_new(cx, item, &exits, &pool.name) {
            exits.pools.extend(members(cx, item, &exits, pool).map(Arc::new));
        }
    });
    exits
}

const SOURCE: &Keys<Source> = &[
    ("name", |cx, item, source| cx.set(&mut source.name, item, name)),
    ("address", |cx, item, source| cx.set(&mut source.addresses, item, addresses)),
    ("hostname", |cx, item, source| {
        cx.set(&mut source.hostname, item, |cx, item| values::domain(cx, item).map(Some));
    }),
    ("connections", |cx, item, source| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::number(cx, item, 1..=100_000);
        cx.set(&mut source.connections, item, |cx, item| read(cx, item).map(Some));
    }),
    ("rate", |cx, item, source| {
        cx.set(&mut source.rate, item, |cx, item| values::parsed::<Rate>(cx, item).map(Some));
    }),
    ("socks5", |cx, item, source| proxy::set(cx, item, source, proxy::socks5)),
    ("haproxy", |cx, item, source| proxy::set(cx, item, source, proxy::haproxy)),
    ("on_demand", |cx, item, source| {
        cx.set(&mut source.on_demand, item, |cx, item| on_demand::on_demand(cx, item).map(Some));
    }),
];

/// The paths of all keys of sources and pools.
pub(super) fn known_keys() -> Vec<String> {
    let mut keys = named("source.", SOURCE);
    keys.extend(proxy::known_keys());
    keys.extend(on_demand::known_keys());
    keys.extend(named("pool.", POOL));
    keys.extend(named("pool.sources.", MEMBER));
    keys
}

/// A pool whose sources are not looked for yet.
#[derive(Default)]
struct WrittenPool {
    name: Box<str>,
    members: Vec<Member>,
    /// `sources` was there and could be read.
    given: bool,
}

#[derive(Default)]
struct Member {
    source: Box<str>,
    weight: Option<u32>,
    place: std::ops::Range<usize>,
}

const POOL: &Keys<WrittenPool> = &[
    ("name", |cx, item, pool| cx.set(&mut pool.name, item, name)),
    ("sources", |cx, item, pool| {
        let members = values::list(cx, item, POOL_SOURCES_MAX, member);
        if members.as_ref().is_some_and(Vec::is_empty) {
            cx.error(item.span(), "must name at least one source");
        }
        pool.given = true;
        pool.members = members.unwrap_or_default();
    }),
];

const MEMBER: &Keys<Member> = &[
    ("source", |cx, item, member| cx.set(&mut member.source, item, name)),
    ("weight", |cx, item, member| member.weight = values::number(cx, item, 1..=WEIGHT_MAX)),
];

/// `"name"`, or a table with a weight.
fn member(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Member> {
    let mut member = Member { place: item.span(), ..Member::default() };
    if !item.get_ref().is_table() {
        member.source = name(cx, item)?;
        return Some(member);
    }
    cx.table(item, MEMBER, &mut member);
    if member.source.is_empty() {
        cx.error(item.span(), "lacks `source`");
    }
    Some(member)
}

/// The pool, if all its sources are there, each once.
fn members(cx: &mut Cx<'_>, item: &Item<'_>, exits: &Exits, written: WrittenPool) -> Option<Pool> {
    if !written.given {
        cx.error(item.span(), "lacks `sources`");
    }
    let mut members: Vec<(Arc<Source>, u32)> = Vec::with_capacity(written.members.len());
    for Member { source, weight, place } in &written.members {
        let names = || exits.sources.iter().map(|source| &*source.name);
        match exits.source(source) {
            Some(found) if members.iter().any(|(other, _)| other.name == found.name) => {
                let message = format!("names {} twice", values::quoted(source));
                cx.within("sources", |cx| cx.error(place.clone(), message));
            }
            Some(found) => members.push((found.clone(), weight.unwrap_or(1))),
            None if source.is_empty() => {}
            None => cx.within("sources", |cx| cx.unnamed(place.clone(), source, names())),
        }
    }
    (!members.is_empty()).then(|| Pool { name: written.name, members: members.into() })
}

/// Whether an entry has a name, and one that no other has.
fn is_new(cx: &mut Cx<'_>, item: &Item<'_>, exits: &Exits, name: &str) -> bool {
    if name.is_empty() {
        cx.error(item.span(), "lacks a valid `name`");
    } else if exits.names().any(|other| other == name) {
        let message = format!("is called {}, as another is", values::quoted(name));
        cx.error(item.span(), message);
    } else {
        return true;
    }
    false
}

/// A short word: it stands in names of sites and in log lines.
pub(super) fn name(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Box<str>> {
    let text = values::text(cx, item)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(plain) || text == NONE {
        let message = format!(
            "{} is no name; write 1 to {NAME_BYTES_MAX} letters, digits, \"-\", \"_\" and \".\", \
             and not \"{NONE}\"",
            values::quoted(text)
        );
        cx.error(item.span(), message);
        return None;
    }
    Some(text.into())
}

/// One address of each family at most.
fn addresses(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Box<[IpAddr]>> {
    let addresses = values::list(cx, item, 2, values::ip)?;
    if let [one, other] = addresses[..]
        && one.is_ipv4() == other.is_ipv4()
    {
        cx.error(item.span(), "may hold one IPv4 and one IPv6 address; use a [[pool]] for more");
        return None;
    }
    Some(addresses.into())
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use crate::config::Config;

    fn read(text: &str) -> Result<Config, String> {
        let machine = Domain::parse("box.example").unwrap();
        Config::parse(text, &machine).map_err(|refused| refused.to_string())
    }

    const TWO: &str = "[[source]]\nname = \"a\"\naddress = \"192.0.2.1\"\n\
                       [[source]]\nname = \"b\"\naddress = [\"192.0.2.2\", \"2001:db8::2\"]\n\
                       hostname = \"out.example\"\nconnections = 3\nrate = \"10/1m\"\n";

    #[test]
    fn a_pool_or_a_single_source_is_named_by_a_way() {
        let text = format!(
            "{TWO}[[pool]]\nname = \"both\"\nsources = [\"a\", {{ source = \"b\", weight = 3 }}]\n\
             [delivery]\nsource = \"both\"\n\
             [[route]]\nmatch = \"x.example\"\nsource = \"b\"\n\
             [[route]]\nmatch = \"y.example\"\nsource = \"none\"\n\
             [[route]]\nmatch = \"z.example\"\n"
        );
        let policy = read(&text).unwrap().policy;
        let names = policy.ways().iter().map(|way| {
            let members = way.source.as_ref().map(|pool| &pool.members[..]).unwrap_or_default();
            members.iter().map(|(source, weight)| format!("{}:{weight}", source.name)).collect()
        });
        let names: Vec<Vec<String>> = names.collect();
        assert_eq!(names, [vec!["a:1", "b:3"], vec!["b:1"], vec![], vec!["a:1", "b:3"]]);
        let shown = policy.effective_toml();
        assert_eq!(read(&shown).unwrap().policy, policy, "{shown}");
    }

    #[test]
    fn each_fault_of_a_source_or_pool_has_its_own_words() {
        let pool = |rest: &str| format!("{TWO}[[pool]]\nname = \"p\"\n{rest}\n");
        for (text, words) in [
            ("[[source]]\naddress = \"192.0.2.1\"".to_owned(), "lacks a valid `name`"),
            (format!("{TWO}[[source]]\nname = \"a\""), "is called \"a\", as another is"),
            (format!("{TWO}[[pool]]\nname = \"b\"\nsources = \"a\""), "as another is"),
            ("[[source]]\nname = \"none\"".to_owned(), "is no name"),
            ("[[source]]\nname = \"a b\"".to_owned(), "is no name"),
            (format!("[[source]]\nname = \"{}\"", "x".repeat(65)), "is no name"),
            (
                "[[source]]\nname = \"a\"\naddress = [\"192.0.2.1\", \"192.0.2.2\"]".to_owned(),
                "one IPv4 and one IPv6",
            ),
            ("[[source]]\nname = \"a\"\nadress = \"192.0.2.1\"".to_owned(), "`address`?"),
            ("source = 1".to_owned(), "must be written as [[source]]"),
            (pool(""), "lacks `sources`"),
            (pool("sources = []"), "at least one source"),
            (pool("sources = [\"a\", \"a\"]"), "names \"a\" twice"),
            (pool("sources = [{ weight = 1 }]"), "lacks `source`"),
            (pool("sources = [{ source = \"a\", weight = 0 }]"), "must be from 1 to 1000"),
            (pool("sources = [\"c\"]"), "names \"c\", which is not there; did you mean `a`?"),
            (format!("{TWO}[delivery]\nsource = \"bulk\""), "names \"bulk\", which is not there"),
        ] {
            let found = read(&text).unwrap_err();
            assert!(found.contains(words), "{text}: {found}");
        }
    }
}
