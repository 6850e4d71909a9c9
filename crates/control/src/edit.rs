//! Changes to single settings and routes, made in the text of a configuration,
//! so that comments, order and spelling of everything else stay as they are.
//!
//! Never decides whether the result is sound: that is [`crate::Config`]'s work.
//! Invariant: an edit that fails leaves nothing changed, and one that is done
//! gives a text that parses as TOML.

mod path;
mod routes;
mod settings;

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;
use toml_edit::{DocumentMut, Value};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Edit {
    /// Give a setting a value.
    Set {
        /// Such as `delivery.retry`, `route[3].hosts`, `route["*.example"].tls`.
        path: String,
        /// As TOML; a text may stand without its quotes.
        value: String,
    },
    /// Take a setting out of the text, so that its default holds.
    Unset {
        /// As with `set`.
        path: String,
    },
    /// Put a new route in.
    RouteAdd {
        /// What mail goes this way.
        r#match: String,
        /// Its settings; what is not named comes from the default way.
        #[serde(default)]
        set: BTreeMap<String, String>,
        /// The route that it is put in front of; at the end without one.
        #[serde(default)]
        before: Option<String>,
    },
    /// Change settings of a route.
    RouteEdit {
        /// Which: its place, from 1, or its pattern.
        route: String,
        /// Settings and their values; `null` takes one out.
        set: BTreeMap<String, Option<String>>,
    },
    /// Put a route elsewhere.
    RouteMove {
        /// Which.
        route: String,
        /// The route that it is put in front of; at the end without one.
        #[serde(default)]
        before: Option<String>,
    },
    /// Take a route out.
    RouteRemove {
        /// Which.
        route: String,
    },
}

/// Why an edit is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// The text is no TOML.
    #[error("the text cannot be edited, because it is no TOML: {0}")]
    PeerText(String),
    /// Unknown, or not to be had in this way.
    #[error("{path} {reason}")]
    PeerPath {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No such route, or several.
    #[error("{0}")]
    PeerRoute(String),
}

/// Most edits of one request: each reads the text anew.
pub const EDITS_MAX: usize = 100;

/// The text with all `edits` made, in their order.
///
/// # Errors
/// The first [`EditError`]; nothing is changed then.
pub fn apply(text: &str, edits: &[Edit]) -> Result<String, EditError> {
    let mut text = text.to_owned();
    for edit in edits {
        text = apply_one(&text, edit)?;
    }
    Ok(text)
}

fn apply_one(text: &str, edit: &Edit) -> Result<String, EditError> {
    match edit {
        Edit::Set { path, value } => {
            let mut document = document(text)?;
            settings::set(&mut document, &path::parse(path)?, value)?;
            Ok(document.to_string())
        }
        Edit::Unset { path } => settings::unset(text, &path::parse(path)?),
        Edit::RouteAdd { r#match, set, before } => {
            routes::add(text, r#match, set, before.as_deref())
        }
        Edit::RouteEdit { route, set } => routes::edit(text, route, set),
        Edit::RouteMove { route, before } => routes::r#move(text, route, before.as_deref()),
        Edit::RouteRemove { route } => routes::remove(text, route),
    }
}

/// What the request does, for a log line: paths, never values.
impl std::fmt::Display for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Set { path, .. } => write!(f, "set {path}"),
            Self::Unset { path } => write!(f, "unset {path}"),
            Self::RouteAdd { r#match, .. } => write!(f, "route add {match}"),
            Self::RouteEdit { route, .. } => write!(f, "route edit {route}"),
            Self::RouteMove { route, .. } => write!(f, "route move {route}"),
            Self::RouteRemove { route } => write!(f, "route remove {route}"),
        }
    }
}

fn document(text: &str) -> Result<DocumentMut, EditError> {
    text.parse::<DocumentMut>().map_err(no_toml)
}

fn no_toml(error: toml_edit::TomlError) -> EditError {
    EditError::PeerText(error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// A value as an operator types it: TOML, or else a text without its quotes.
fn value(written: &str) -> Value {
    let plain = |value: &Value| !matches!(value, Value::Datetime(_) | Value::Float(_));
    // Nothing is set to a date or a fraction: `1.2` begins an address.
    match written.trim().parse::<Value>() {
        Ok(value) if plain(&value) => value,
        _ => Value::from(written),
    }
}

#[cfg(test)]
mod tests;
