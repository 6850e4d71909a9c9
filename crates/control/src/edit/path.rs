//! Paths of settings as an operator writes them: `dns.timeout`,
//! `delivery.timeout.mail`, `route[3].hosts`, `route["*.example.com"].tls`.
//!
//! Invariant: a path that is read leads to a setting that the configuration
//! knows; what is misspelt is told with the nearest right name.

use super::EditError;
use crate::help;

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// As it was written, for answers.
    pub(super) written: String,
    /// The route that it is in: its place, from 1, or its pattern.
    pub(super) route: Option<String>,
    /// The keys that lead to it; from the route, if it is in one.
    pub(super) keys: Vec<String>,
}

pub(super) fn parse(written: &str) -> Result<Path, EditError> {
    let (route, rest) = match written.strip_prefix("route[") {
        Some(rest) => {
            let (route, rest) = name_of_route(rest).ok_or_else(|| {
                refused(written, "must be written as route[3].KEY or route[\"PATTERN\"].KEY")
            })?;
            (Some(route), rest)
        }
        None => (None, written),
    };
    let keys: Vec<String> = rest.split('.').map(str::to_owned).collect();
    let section = if route.is_some() { "route." } else { "" };
    known(&format!("{section}{rest}"), written)?;
    if route.is_none() && keys[0] == "route" {
        return Err(refused(written, "needs the route, such as route[1].hosts"));
    }
    Ok(Path { written: written.to_owned(), route, keys })
}

/// The key of a route as one path.
pub(super) fn of_route(route: &str, key: &str) -> Result<Path, EditError> {
    known(&format!("route.{key}"), key)?;
    let keys = key.split('.').map(str::to_owned).collect();
    Ok(Path { written: format!("route[{route}].{key}"), route: None, keys })
}

fn known(path: &str, written: &str) -> Result<(), EditError> {
    match help::find(path) {
        Some(help) if help.is_section() => {
            Err(refused(written, "is a section; name one of its settings"))
        }
        Some(_) => Ok(()),
        None => Err(refused(written, &help::unknown(path))),
    }
}

pub(super) fn refused(path: &str, reason: &str) -> EditError {
    let path: String = path.chars().take(200).collect();
    EditError::PeerPath { path: path.escape_debug().to_string(), reason: reason.to_owned() }
}

/// What stands behind `route[`: the route, and the keys behind the dot.
fn name_of_route(rest: &str) -> Option<(String, &str)> {
    if let Some(quoted) = rest.strip_prefix('"') {
        // A pattern may hold a quoted mailbox; the last quote before "]." ends it.
        let end = quoted.rfind("\"].")?;
        return Some((quoted[..end].to_owned(), &quoted[end + 3..]));
    }
    let (route, keys) = rest.split_once("].")?;
    Some((route.to_owned(), keys))
}
