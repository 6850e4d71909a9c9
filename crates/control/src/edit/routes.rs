//! Routes: put in, moved, changed, taken out. A route is its head, its keys,
//! and the comment that stands right above it; these go together.
//!
//! Entries of `[[local]]` are found in the same way; only their settings change.
//!
//! Never reads a route's settings. Invariant: the other routes keep their order.

use std::collections::BTreeMap;

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

use super::path::{Entry, of_route, refused};
use super::{EditError, document, settings};
use crate::route::Pattern;

/// The list of routes.
const ROUTE: &str = "route";

/// The text with one more route.
pub(super) fn add(
    text: &str,
    pattern: &str,
    set: &BTreeMap<String, String>,
    before: Option<&str>,
) -> Result<String, EditError> {
    let mut document = document(text)?;
    let parsed: Result<Pattern, _> = pattern.parse();
    parsed.map_err(|error| refused(&format!("\"{pattern}\""), &error.to_string()))?;
    let mut table = Table::new();
    table.insert("match", Item::Value(Value::from(pattern)));
    for (key, value) in set {
        put_key(&mut table, pattern, key, value)?;
    }
    let all = all(&mut document, ROUTE)?;
    let place = before.map_or(Ok(all.len()), |before| find(all, ROUTE, before))?;
    put_in(&mut document, place, table)?;
    Ok(document.to_string())
}

/// The text with other settings of a route.
pub(super) fn edit(
    text: &str,
    route: &str,
    set: &BTreeMap<String, Option<String>>,
) -> Result<String, EditError> {
    let mut text = text.to_owned();
    // By its number it is still found when its pattern has changed.
    let number = number(&text, route)?;
    for (key, value) in set {
        let mut path = of_route(route, key)?;
        path.entry = Some(Entry { list: ROUTE, name: number.clone() });
        text = match value {
            Some(value) => {
                let mut document = document(&text)?;
                settings::set(&mut document, &path, value)?;
                document.to_string()
            }
            None if key == "match" => {
                return Err(refused(&path.written, "is what makes it a route"));
            }
            None => settings::unset(&text, &path)?,
        };
    }
    Ok(text)
}

/// The text with a route in another place.
pub(super) fn r#move(text: &str, route: &str, before: Option<&str>) -> Result<String, EditError> {
    let mut document = document(text)?;
    let all = all(&mut document, ROUTE)?;
    let from = find(all, ROUTE, route)?;
    let to = before.map_or(Ok(all.len()), |before| find(all, ROUTE, before))?;
    let table = all.remove(from);
    put_in(&mut document, if from < to { to - 1 } else { to }, table)?;
    Ok(document.to_string())
}

/// The text without a route.
pub(super) fn remove(text: &str, route: &str) -> Result<String, EditError> {
    let mut document = document(text)?;
    let all = all(&mut document, ROUTE)?;
    let place = find(all, ROUTE, route)?;
    all.remove(place);
    Ok(document.to_string())
}

/// The table of a route or local domain.
pub(super) fn table<'d>(
    document: &'d mut DocumentMut,
    entry: &Entry,
) -> Result<&'d mut Table, EditError> {
    let all = all(document, entry.list)?;
    let place = find(all, entry.list, &entry.name)?;
    Ok(all.get_mut(place).expect("it was found there"))
}

/// The same in a document that is only read.
pub(super) fn item<'d>(document: &'d Item, entry: &Entry) -> Result<&'d Item, EditError> {
    let Entry { list, name } = entry;
    let none = || EditError::PeerRoute(format!("there is no {list} {name}"));
    let all = document.get(list).ok_or_else(none)?;
    let tables = all.as_array_of_tables().ok_or_else(|| written_inline(list))?;
    let place = find(tables, list, name)?;
    all.get(place).ok_or_else(none)
}

/// The number of a route, from 1.
fn number(text: &str, route: &str) -> Result<String, EditError> {
    let mut document = document(text)?;
    Ok((find(all(&mut document, ROUTE)?, ROUTE, route)? + 1).to_string())
}

fn put_key(table: &mut Table, route: &str, key: &str, value: &str) -> Result<(), EditError> {
    let path = of_route(route, key)?;
    let [key] = path.keys.as_slice() else {
        let reason = "is part of a setting; give the whole one when a route is added";
        return Err(refused(&path.written, reason));
    };
    settings::put(table, key, super::value(value));
    Ok(())
}

/// All entries of a list; an empty one where there are none.
fn all<'d>(document: &'d mut DocumentMut, list: &str) -> Result<&'d mut ArrayOfTables, EditError> {
    let item = document.entry(list).or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut().ok_or_else(|| written_inline(list))
}

fn written_inline(list: &str) -> EditError {
    let reason = format!("entries can be edited only where they are written as [[{list}]]");
    EditError::PeerRoute(reason)
}

/// The place of an entry, from 0, by its number from 1 or by its pattern.
fn find(all: &ArrayOfTables, list: &str, route: &str) -> Result<usize, EditError> {
    let none = |known: &str| EditError::PeerRoute(format!("there is no {list} {route}{known}"));
    if let Ok(number) = route.parse::<usize>() {
        let known = format!("; there are {}", all.len());
        return number
            .checked_sub(1)
            .filter(|place| *place < all.len())
            .ok_or_else(|| none(&known));
    }
    let wanted: Result<Pattern, _> = route.parse();
    let wanted = wanted.map_err(|_| none(", and no pattern is written so"))?;
    let is_it = |table: &Table| {
        let written = table.get("match");
        let listed = written.and_then(Item::as_array).into_iter().flatten();
        let mut texts =
            written.and_then(Item::as_str).into_iter().chain(listed.filter_map(Value::as_str));
        texts.any(|text| text.parse().is_ok_and(|pattern: Pattern| pattern == wanted))
    };
    let mut places = all.iter().enumerate().filter(|(_, table)| is_it(table)).map(|(at, _)| at);
    match (places.next(), places.next()) {
        (Some(place), None) => Ok(place),
        (None, _) => Err(none("")),
        (Some(first), Some(second)) => Err(EditError::PeerRoute(format!(
            "{list} {route} is there more than once, as number {} and {}; name it by its number",
            first + 1,
            second + 1
        ))),
    }
}

/// Puts a route in: into the list, and into the text, in front of the route at
/// `place`, or behind the last one.
fn put_in(document: &mut DocumentMut, place: usize, mut table: Table) -> Result<(), EditError> {
    let end = last_place(document.as_table()) + 1;
    let all = all(document, ROUTE)?;
    // Tables are written by the places they were read at, those with the same
    // place in the order of the list.
    let at = match (all.get_mut(place), place) {
        (Some(next), _) => {
            set_apart(next);
            next.position().unwrap_or(end)
        }
        (None, 0) => end,
        (None, _) => all.get(place - 1).map_or(end, last_place),
    };
    set_apart(&mut table);
    set_places(&mut table, at);
    all.insert(place, table);
    Ok(())
}

/// An empty line in front of a route's head, or of the comment above it.
fn set_apart(table: &mut Table) {
    let prefix = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or("\n");
    if !prefix.starts_with('\n') {
        let apart = format!("\n{prefix}");
        table.decor_mut().set_prefix(apart);
    }
}

fn set_places(table: &mut Table, at: isize) {
    table.set_position(Some(at));
    for (_, item) in table.iter_mut() {
        if let Item::Table(inner) = item {
            set_places(inner, at);
        }
    }
}

fn last_place(table: &Table) -> isize {
    let own = table.position().unwrap_or(0);
    let inner = table.iter().map(|(_, item)| match item {
        Item::Table(table) => last_place(table),
        Item::ArrayOfTables(all) => all.iter().map(last_place).max().unwrap_or(0),
        _ => 0,
    });
    inner.max().unwrap_or(0).max(own)
}
