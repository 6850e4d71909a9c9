//! Readers of single values: each returns the value, or reports in plain words
//! what should have been written.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use mail::{Address, Domain};
use toml::de::{DeTable, DeValue};

use super::cx::{Cx, Item};
use crate::units::{Size, Span, UnitError};

/// Longest text quoted in a message, in characters.
const QUOTE_CHARS_MAX: usize = 80;

/// Any text.
pub(super) fn text<'i>(cx: &mut Cx<'_>, item: &'i Item<'_>) -> Option<&'i str> {
    let DeValue::String(text) = item.get_ref() else {
        cx.error(item.span(), format!("must be text in quotes, not {}", kind(item)));
        return None;
    };
    Some(text)
}

/// `true` or `false`.
pub(super) fn boolean(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<bool> {
    let value = item.get_ref().as_bool();
    if value.is_none() {
        cx.error(item.span(), format!("must be true or false, not {}", kind(item)));
    }
    value
}

/// A whole number within `range`.
pub(super) fn number<T>(cx: &mut Cx<'_>, item: &Item<'_>, range: RangeInclusive<T>) -> Option<T>
where
    T: TryFrom<u64> + PartialOrd + Display,
{
    let DeValue::Integer(digits) = item.get_ref() else {
        cx.error(item.span(), format!("must be a whole number, not {}", kind(item)));
        return None;
    };
    let value = u64::from_str_radix(digits.as_str(), digits.radix()).ok();
    let value = value.and_then(|value| T::try_from(value).ok());
    let value = value.filter(|value| range.contains(value));
    if value.is_none() {
        let (from, to) = range.into_inner();
        cx.error(item.span(), format!("must be from {from} to {to}"));
    }
    value
}

/// A span of time within `range`.
pub(super) fn span(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    if let DeValue::Integer(number) = item.get_ref() {
        let seconds = number.as_str().parse().unwrap_or(30);
        cx.error(item.span(), UnitError::PolicySpanWithoutUnit(seconds).to_string());
        return None;
    }
    let span = parsed::<Span>(cx, item)?.0;
    if range.contains(&span) {
        return Some(span);
    }
    let (from, to) = range.into_inner();
    cx.error(item.span(), format!("must be from {} to {}", Span(from), Span(to)));
    None
}

/// A number of bytes within `range`, with a unit, or plain.
pub(super) fn size(cx: &mut Cx<'_>, item: &Item<'_>, range: RangeInclusive<u64>) -> Option<u64> {
    let bytes = match item.get_ref() {
        DeValue::Integer(_) => number(cx, item, 0..=u64::MAX)?,
        _ => parsed::<Size>(cx, item)?.0,
    };
    if range.contains(&bytes) {
        return Some(bytes);
    }
    let (from, to) = range.into_inner();
    cx.error(item.span(), format!("must be from {} to {}", Size(from), Size(to)));
    None
}

/// A text that `T` reads.
pub(super) fn parsed<T>(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<T>
where
    T: FromStr,
    T::Err: Display,
{
    let text = text(cx, item)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            cx.error(item.span(), format!("{} {error}", quoted(text)));
            None
        }
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(cx: &mut Cx<'_>, item: &Item<'_>, words: &[(&str, T)]) -> Option<T> {
    let text = text(cx, item)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let words: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    cx.error(item.span(), format!("must be one of {}, not {}", words.join(", "), quoted(text)));
    None
}

/// A list of at most `count_max` values, or a single value without brackets.
/// With a fault in one of them, the whole list counts as unread.
pub(super) fn list<T>(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    count_max: usize,
    mut read: impl FnMut(&mut Cx<'_>, &Item<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let DeValue::Array(items) = item.get_ref() else {
        return read(cx, item).map(|value| vec![value]);
    };
    if items.len() > count_max {
        cx.error(item.span(), format!("must have at most {count_max} entries"));
        return None;
    }
    let values: Vec<_> = items.iter().map(|item| read(cx, item)).collect();
    values.into_iter().collect()
}

/// The tables of `[[name]]`, at most `count_max`, each with its number from 1.
pub(super) fn tables(
    cx: &mut Cx<'_>,
    document: &DeTable<'_>,
    name: &'static str,
    count_max: usize,
    mut read: impl FnMut(&mut Cx<'_>, &Item<'_>, usize),
) {
    let Some(item) = document.get(name) else { return };
    let DeValue::Array(items) = item.get_ref() else {
        let message = format!("must be written as [[{name}]]");
        return cx.within(name, |cx| cx.error(item.span(), message));
    };
    if items.len() > count_max {
        let message = format!("has more than {count_max} entries");
        return cx.within(name, |cx| cx.error(item.span(), message));
    }
    for (number, item) in (1..).zip(items.iter()) {
        cx.within(format!("{name}[{number}]"), |cx| read(cx, item, number));
    }
}

/// A domain name.
pub(super) fn domain(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Domain> {
    let text = text(cx, item)?;
    Domain::parse_utf8(text)
        .map_err(|error| {
            cx.error(item.span(), format!("{} is no host name: {error}", quoted(text)))
        })
        .ok()
}

/// A mailbox.
pub(super) fn address(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Address> {
    let text = text(cx, item)?;
    Address::parse(text, false)
        .map_err(|error| cx.error(item.span(), format!("{} is no mailbox: {error}", quoted(text))))
        .ok()
}

/// An IP address.
pub(super) fn ip(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<IpAddr> {
    let text = text(cx, item)?;
    let ip = text.parse().ok();
    if ip.is_none() {
        cx.error(item.span(), format!("{} is no IP address", quoted(text)));
    }
    ip
}

/// An IP address and a port, `192.0.2.1:25` or `[2001:db8::1]:25`; the port
/// may be left out where there is a usual one.
pub(super) fn socket(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    usual_port: Option<u16>,
) -> Option<SocketAddr> {
    let text = text(cx, item)?;
    let whole = text.parse::<SocketAddr>().ok();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = |port| bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
    let socket = whole.or_else(|| usual_port.and_then(with_port));
    if socket.is_none() {
        let port = usual_port.unwrap_or(2525);
        let message = format!(
            "{} is no IP address with a port, such as \"192.0.2.1:{port}\" or \"[2001:db8::1]:{port}\"",
            quoted(text)
        );
        cx.error(item.span(), message);
    }
    socket
}

/// What stands in a message for a value that an operator wrote.
pub(super) fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(QUOTE_CHARS_MAX).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("\"{}{more}\"", start.escape_debug())
}

/// The kind of a value, with its article.
fn kind(item: &Item<'_>) -> &'static str {
    match item.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
