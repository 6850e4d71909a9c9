//! `[[local]]`: local domains, what their mail is handed to, who is known in
//! them, and what becomes of mail for all others.

use std::sync::Arc;

use mail::{Address, Host};
use toml::de::{DeTable, DeValue};

use super::cx::{Cx, Item, Keys, named};
use super::hosts::{FromWay, WrittenHost, hosts};
use super::way::{self, Way};
use super::{UNREAD, values};
use crate::delivery::Delivery;
use crate::local::{
    Accepted, Alias, Aliases, LOCALS_MAX, Local, Locals, Member, NAMES_MAX, Names, Nobody, Unknown,
};
use crate::maildir::Maildir;
use crate::mode::{Mode, Trust};
use crate::policy::Policy;
use crate::route::{Pattern, folded};

/// The port of LMTP where none is given (RFC 2033 §5 asks for one that is not
/// SMTP's).
const LMTP_PORT: u16 = 24;
/// Most domains of one entry.
const DOMAINS_MAX: usize = 10_000;
/// Longest path of a Unix socket, in octets: the kernel takes no more.
const SOCKET_BYTES_MAX: usize = 107;

/// An entry as written.
struct Written {
    patterns: Option<Vec<Pattern>>,
    target: Option<Target>,
    users: Option<Names>,
    aliases: Aliases,
    unknown: Unknown,
    way: Way,
}

/// What `deliver` names.
enum Target {
    Socket(Arc<str>),
    Lmtp(Arc<[WrittenHost]>),
    Smtp(Arc<[WrittenHost]>),
    Folders(Arc<Maildir>),
}

/// Reads all entries into a policy whose ways are set.
pub(super) fn locals(cx: &mut Cx<'_>, document: &DeTable<'_>, default: &Way, into: &mut Policy) {
    let (mut entries, mut places) = (Vec::new(), Vec::new());
    values::tables(cx, document, "local", LOCALS_MAX, |cx, item, number| {
        if let Some(read) = entry(cx, item, default) {
            entries.push(read);
            places.push(number);
        }
    });
    into.set_locals(entries);
    let Some(items) = document.get("local").and_then(|item| item.get_ref().as_array()) else {
        return;
    };
    for (place, number) in places.iter().enumerate() {
        let item = &items[number - 1];
        cx.within(format!("local[{number}]"), |cx| dead_ends(cx, item, &into.locals, place));
    }
    for (place, pattern, by) in into.locals.shadowed() {
        let (number, earlier) = (places[place], places[by]);
        let message = format!("names \"{pattern}\", whose mail local[{earlier}] takes already");
        let place = at(&items[number - 1], "match");
        cx.within(format!("local[{number}].match"), |cx| cx.warn(place, message));
    }
}

fn entry(cx: &mut Cx<'_>, item: &Item<'_>, default: &Way) -> Option<(Local, Delivery)> {
    let DeValue::Table(table) = item.get_ref() else {
        cx.error(item.span(), "must be a table, written [[local]]");
        return None;
    };
    let mut written = Written {
        patterns: None,
        target: None,
        users: None,
        aliases: Aliases::default(),
        unknown: Unknown::default(),
        way: way::of_local(default),
    };
    for (key, why) in [
        ("match", "lacks `match`, which says which domains are local"),
        ("deliver", "lacks `deliver`, which says what their mail is handed to"),
    ] {
        if table.get(key).is_none() {
            cx.error(item.span(), why);
        }
    }
    cx.entries(table, LOCAL, &mut written);
    let Written { patterns, target, users, aliases, unknown, way } = written;
    let (target, patterns) = (target?, patterns?);
    let folders = match &target {
        Target::Folders(folders) => Some(folders.clone()),
        _ => None,
    };
    let (mode, lmtp) = target.resolve();
    let local = Local { patterns: patterns.into(), users, aliases, unknown, folders };
    Some((local, way.to(mode, lmtp, table)))
}

pub(super) fn known_keys() -> Vec<String> {
    let mut keys = named("local.", LOCAL);
    keys.extend(named("local.deliver.", DELIVER));
    keys.extend(named("local.unknown.", FORWARD));
    keys
}

const LOCAL: &Keys<Written> = &[
    ("match", |cx, item, w| w.patterns = domains(cx, item)),
    ("deliver", |cx, item, w| deliver(cx, item, &mut w.target)),
    ("users", |cx, item, w| users(cx, item, w.users.get_or_insert_default())),
    ("users_file", |cx, item, w| users_file(cx, item, w.users.get_or_insert_default())),
    ("aliases", |cx, item, w| aliases(cx, item, &mut w.aliases)),
    ("aliases_file", |cx, item, w| aliases_file(cx, item, &mut w.aliases)),
    ("unknown", |cx, item, w| cx.set(&mut w.unknown, item, unknown)),
    ("retry", |cx, item, w| way::read(cx, item, "retry", &mut w.way)),
    ("jitter", |cx, item, w| way::read(cx, item, "jitter", &mut w.way)),
    ("lifetime", |cx, item, w| way::read(cx, item, "lifetime", &mut w.way)),
    ("max_attempts", |cx, item, w| way::read(cx, item, "max_attempts", &mut w.way)),
    ("timeout", |cx, item, w| way::read(cx, item, "timeout", &mut w.way)),
    ("connections", |cx, item, w| way::read(cx, item, "connections", &mut w.way)),
    ("rate", |cx, item, w| way::read(cx, item, "rate", &mut w.way)),
    ("on_failure", |cx, item, w| way::read(cx, item, "on_failure", &mut w.way)),
    ("delay_notice", |cx, item, w| way::read(cx, item, "delay_notice", &mut w.way)),
];

/// The keys that a local domain has in common with ways.
pub(crate) const OF_WAY: [&str; 9] = [
    "retry",
    "jitter",
    "lifetime",
    "max_attempts",
    "timeout",
    "connections",
    "rate",
    "on_failure",
    "delay_notice",
];

const DELIVER: &Keys<Option<Target>> = &[
    ("lmtp", |cx, item, target| *target = lmtp(cx, item)),
    ("smtp", |cx, item, target| *target = hosts(cx, item).map(Target::Smtp)),
    ("maildir", |cx, item, target| {
        *target = values::parsed::<Maildir>(cx, item).map(|at| Target::Folders(Arc::new(at)));
    }),
];

const FORWARD: &Keys<Option<Address>> =
    &[("forward", |cx, item, to| *to = values::address(cx, item))];

fn domains(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Vec<Pattern>> {
    let patterns = values::list(cx, item, DOMAINS_MAX, |cx, item| {
        let pattern = values::parsed::<Pattern>(cx, item)?;
        if matches!(&pattern, Pattern::Exact(Host::Name(_)) | Pattern::Subdomains(_)) {
            return Some(pattern);
        }
        cx.error(item.span(), "must be a domain or \"*.domain\"; a whole domain is local or not");
        None
    })?;
    if patterns.is_empty() {
        cx.error(item.span(), "must name at least one domain");
        return None;
    }
    Some(patterns)
}

fn deliver(cx: &mut Cx<'_>, item: &Item<'_>, target: &mut Option<Target>) {
    cx.table(item, DELIVER, target);
    if item.get_ref().as_table().is_some_and(|table| table.len() != 1) {
        cx.error(item.span(), "must name one of `lmtp`, `smtp` and `maildir`");
    }
}

/// The path of a Unix socket, or hosts.
fn lmtp(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Target> {
    let path = item.get_ref().as_str().filter(|text| text.starts_with('/'));
    let Some(path) = path else { return hosts(cx, item).map(Target::Lmtp) };
    if path.len() > SOCKET_BYTES_MAX || path.contains('\0') {
        let message = format!("may have at most {SOCKET_BYTES_MAX} octets and no zero");
        cx.error(item.span(), message);
        return None;
    }
    Some(Target::Socket(path.into()))
}

/// `"reject"`, `"bounce"`, `"hold"`, or `{ forward = "…" }`.
fn unknown(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Unknown> {
    if item.get_ref().is_table() {
        let mut to = None;
        cx.table(item, FORWARD, &mut to);
        if item.get_ref().get("forward").is_none() {
            cx.error(item.span(), "lacks `forward`");
        }
        return to.map(Unknown::Forward);
    }
    match values::text(cx, item)? {
        "reject" => Some(Unknown::Reject),
        "bounce" => Some(Unknown::Bounce),
        "hold" => Some(Unknown::Hold),
        other => {
            let message = "must be \"reject\", \"bounce\", \"hold\" or { forward = ADDRESS }, not";
            cx.error(item.span(), format!("{message} {}", values::quoted(other)));
            None
        }
    }
}

fn users(cx: &mut Cx<'_>, item: &Item<'_>, names: &mut Names) {
    let read = |cx: &mut Cx<'_>, item: &Item<'_>| {
        let name = values::text(cx, item)?;
        if let Err(fault) = local_part(name) {
            cx.error(item.span(), fault);
            return None;
        }
        Some(Box::<str>::from(name))
    };
    if let Some(listed) = values::list(cx, item, NAMES_MAX, read) {
        names.all.extend(listed.iter().map(|name| folded(name).into()));
        names.listed = listed.into();
    }
}

/// A name on each line; what follows a `#` is a remark.
fn users_file(cx: &mut Cx<'_>, item: &Item<'_>, names: &mut Names) {
    let Some((path, text)) = file(cx, item) else { return };
    names.unread = text.as_bytes() == UNREAD;
    names.file = Some(path.into());
    for (number, line) in (1..).zip(text.lines().filter(|_| !names.unread)) {
        let name = line.split('#').next().unwrap_or_default().trim();
        if name.is_empty() {
            continue;
        }
        if let Err(fault) = local_part(name) {
            let path = values::quoted(path);
            return cx.error(item.span(), format!("names {path}, whose line {number} {fault}"));
        }
        if names.all.len() >= NAMES_MAX {
            return cx.error(item.span(), format!("holds more than {NAMES_MAX} names"));
        }
        names.all.insert(folded(name).into());
    }
}

/// `{ name = ["address", "other name"], … }`
fn aliases(cx: &mut Cx<'_>, item: &Item<'_>, into: &mut Aliases) {
    let DeValue::Table(table) = item.get_ref() else {
        return cx.error(item.span(), "must be a table of names and what they stand for");
    };
    let (listed, faults) = members_of(table);
    for (place, fault) in faults {
        cx.error(place, fault);
    }
    for (name, written) in &listed {
        into.all.insert(alias_key(name), members(written));
    }
    into.listed = listed.into();
}

/// The same as a file of such lines.
fn aliases_file(cx: &mut Cx<'_>, item: &Item<'_>, into: &mut Aliases) {
    let Some((path, text)) = file(cx, item) else { return };
    into.file = Some(path.into());
    if text.as_bytes() == UNREAD {
        return;
    }
    let fault = match DeTable::parse(&text) {
        Err(fault) => Some(fault.message().lines().next().unwrap_or_default().to_owned()),
        Ok(table) => {
            let (listed, faults) = members_of(table.get_ref());
            for (name, written) in &listed {
                // What the configuration itself says goes before.
                into.all.entry(alias_key(name)).or_insert_with(|| members(written));
            }
            let line = |at: usize| text[..at].matches('\n').count() + 1;
            faults.first().map(|(place, fault)| format!("line {} {fault}", line(place.start)))
        }
    };
    if let Some(fault) = fault {
        let path = values::quoted(path);
        cx.error(item.span(), format!("names {path}, which cannot be used: {fault}"));
    }
}

fn members_of(table: &DeTable<'_>) -> (Vec<Alias>, Vec<(std::ops::Range<usize>, String)>) {
    let (mut listed, mut faults) = (Vec::new(), Vec::new());
    if table.len() > NAMES_MAX {
        faults.push((0..0, format!("holds more than {NAMES_MAX} names")));
        return (listed, faults);
    }
    for (name, value) in table {
        let written: Option<Vec<Box<str>>> = match value.get_ref() {
            DeValue::String(one) => Some(vec![one.as_ref().into()]),
            DeValue::Array(all) => {
                all.iter().map(|one| one.get_ref().as_str().map(Box::from)).collect()
            }
            _ => None,
        };
        let name: &str = name.get_ref();
        let sound = |text: &str| match text.contains('@') {
            true => Address::parse(text, true).map(drop).map_err(|error| error.to_string()),
            false => local_part(text).map_err(str::to_owned),
        };
        let fault = match &written {
            None => Some(format!("{name:?} must stand for an address or a list of them")),
            Some(written) if written.is_empty() => Some(format!("{name:?} stands for nobody")),
            Some(written) => std::iter::once(name)
                .chain(written.iter().map(|one| &**one))
                .find_map(|text| sound(text).err().map(|why| format!("{text:?} {why}"))),
        };
        match (fault, written) {
            (None, Some(written)) => listed.push((name.into(), written.into())),
            (fault, _) => faults.push((value.span(), fault.unwrap_or_default())),
        }
    }
    (listed, faults)
}

fn alias_key(name: &str) -> Box<str> {
    match Address::parse(name, true) {
        Ok(address) => format!("{}@{}", folded(address.local()), address.host()).into(),
        Err(_) => folded(name).into(),
    }
}

fn members(written: &[Box<str>]) -> Box<[Member]> {
    let member = |text: &str| match Address::parse(text, true) {
        Ok(address) => Member::Address(address),
        Err(_) => Member::SameDomain(text.into()),
    };
    written.iter().map(|text| member(text)).collect()
}

/// Whether a name can stand in front of an `@`.
fn local_part(name: &str) -> Result<(), &'static str> {
    match Address::parse(format!("{name}@x.example"), true) {
        Ok(address) if address.local() == name => Ok(()),
        _ => Err("is no name as it stands before an @"),
    }
}

/// The path and text of a file.
fn file<'i>(cx: &mut Cx<'_>, item: &'i Item<'_>) -> Option<(&'i str, String)> {
    let path = values::text(cx, item)?;
    let read = cx.file(path).and_then(|bytes| {
        let fault = || format!("names {}, which is not UTF-8", values::quoted(path));
        String::from_utf8(bytes).map_err(|_| fault())
    });
    match read {
        Ok(text) => Some((path, text)),
        Err(reason) => {
            cx.error(item.span(), reason);
            None
        }
    }
}

/// Aliases that lead to too many or to nobody, and a rule that leads nowhere.
fn dead_ends(cx: &mut Cx<'_>, item: &Item<'_>, locals: &Locals, place: usize) {
    let Some(local) = locals.iter().nth(place) else { return };
    let host = local.patterns.iter().find_map(|pattern| match pattern {
        Pattern::Exact(host) => Some(host.clone()),
        Pattern::Subdomains(domain) => Some(Host::Name(domain.clone())),
        _ => None,
    });
    let Some(host) = host else { return };
    for name in local.aliases.all.keys() {
        let text = if name.contains('@') { name.to_string() } else { format!("{name}@{host}") };
        let Ok(address) = Address::parse(&text, true) else { continue };
        // One entry may name subdomains only: the alias is looked up there.
        if locals.find(&address) != Some(place) {
            continue;
        }
        let message = match locals.accept(&address) {
            Err(Nobody::Endless) => "leads in a circle, or to more addresses than there may be",
            Err(Nobody::Unknown) => "leads to nobody",
            Ok(Accepted::AsIs | Accepted::Instead(_)) => continue,
        };
        let key = if local.aliases.listed.is_empty() { "aliases_file" } else { "aliases" };
        cx.within(key, |cx| cx.error(at(item, key), format!("{name:?} {message}")));
    }
    if let Unknown::Forward(to) = &local.unknown
        && let Some(there) = locals.find(to).and_then(|place| locals.iter().nth(place))
        && !there.knows(to)
        && !there.has_alias(to)
    {
        let message = format!("forwards to {to}, who is not known there");
        cx.within("unknown", |cx| cx.error(at(item, "unknown"), message));
    }
    let postmaster = Address::parse(format!("postmaster@{host}"), false);
    if postmaster.is_ok_and(|to| locals.find(&to) == Some(place) && !local.takes(&to)) {
        let message = "has no user or alias `postmaster`, whom every mail domain must have";
        cx.warn(at(item, "users"), message);
    }
}

/// Where a key of an entry stands.
fn at(item: &Item<'_>, key: &str) -> std::ops::Range<usize> {
    item.get_ref().get(key).map_or_else(|| item.span(), toml::Spanned::span)
}

impl Target {
    /// How it is reached, and whether by LMTP.
    fn resolve(self) -> (Mode, bool) {
        let trust = Trust::default();
        let relay = |hosts: Arc<[WrittenHost]>, port| {
            let way = FromWay { port, tls: None, trust: &trust, auth: &None, by_sender: false };
            Mode::Relay(hosts.iter().map(|written| written.resolve(&way)).collect())
        };
        match self {
            Self::Socket(path) => (Mode::Socket(path), true),
            Self::Lmtp(hosts) => (relay(hosts, Some(LMTP_PORT)), true),
            Self::Smtp(hosts) => (relay(hosts, None), false),
            Self::Folders(folders) => (Mode::Folders(folders), false),
        }
    }
}

#[cfg(test)]
mod tests;
