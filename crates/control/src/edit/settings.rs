//! Single settings: given a value where they stand, or put where they belong;
//! taken out with their line.
//!
//! Never touches a comment: one above a setting that goes stays where it is.

use toml_edit::{Document, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::path::{Path, refused};
use super::{EditError, no_toml, routes};

/// Gives a setting its value.
pub(super) fn set(document: &mut DocumentMut, path: &Path, value: &str) -> Result<(), EditError> {
    let (last, sections) = path.keys.split_last().expect("a path has a part");
    let mut table: &mut dyn TableLike = match &path.entry {
        Some(entry) => routes::table(document, entry)?,
        None => document.as_table_mut(),
    };
    let in_document = path.entry.is_none();
    for (depth, section) in sections.iter().enumerate() {
        if !table.contains_key(section) {
            // Sections are written with a head of their own, what is inside
            // them on one line.
            let empty = match in_document && depth == 0 {
                true => Item::Table(Table::new()),
                false => Item::Value(Value::InlineTable(InlineTable::new())),
            };
            table.insert(section, empty);
        }
        let item = table.get_mut(section).expect("it was put there if it was not");
        table = item.as_table_like_mut().ok_or_else(|| {
            refused(
                &path.written,
                "cannot be set, because what it is in has a single value for all",
            )
        })?;
    }
    put(table, last, super::value(value));
    Ok(())
}

/// Puts `value` where `key` stands, with the comment behind it, or at the end.
pub(super) fn put(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        Some(item) => *item = Item::Value(value),
        None => {
            table.insert(key, Item::Value(value));
        }
    }
}

/// The text without a setting.
pub(super) fn unset(text: &str, path: &Path) -> Result<String, EditError> {
    let spans = Document::parse(text).map_err(no_toml)?;
    let (last, sections) = path.keys.split_last().expect("a path has a part");
    let not_set = || refused(&path.written, "is not set");
    let mut item = match &path.entry {
        Some(entry) => routes::item(spans.as_item(), entry)?,
        None => spans.as_item(),
    };
    for section in sections {
        item = item.get(section).ok_or_else(not_set)?;
    }
    let gone = item.get(last).ok_or_else(not_set)?;
    let on_its_line = item.as_table().filter(|_| gone.is_value());
    let key = on_its_line.and_then(|table| table.key(last)).and_then(|key| key.span());
    if let (Some(key), Some(value)) = (key, gone.span()) {
        let start = text[..key.start].rfind('\n').map_or(0, |end| end + 1);
        let end = text[value.end..].find('\n').map_or(text.len(), |end| value.end + end + 1);
        return Ok([&text[..start], &text[end..]].concat());
    }
    // Inside of one line, or a section of its own.
    let mut document = super::document(text)?;
    let mut table: &mut dyn TableLike = match &path.entry {
        Some(entry) => routes::table(&mut document, entry)?,
        None => document.as_table_mut(),
    };
    for section in sections {
        let item = table.get_mut(section).ok_or_else(not_set)?;
        table = item.as_table_like_mut().ok_or_else(not_set)?;
    }
    table.remove(last);
    Ok(document.to_string())
}
