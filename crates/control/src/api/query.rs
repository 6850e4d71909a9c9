//! Queries: `name=value` pairs joined by `&`, percent encoded, each name at
//! most once. That of `GET /v1/queue` has the conditions of a filter.

use mail::{Address, Domain};
use serde::Deserialize;

use super::filter::bare_mailbox;
use super::{ApiError, By, DnsCache, Filter, LIMIT_DEFAULT, LIMIT_MAX, Request};
use crate::units::Span;

pub(super) fn queue_list(query: &str) -> Result<Request, ApiError> {
    let (mut by, mut limit) = (By::default(), LIMIT_DEFAULT);
    let mut filter = Filter::default();
    let mut seen: Vec<String> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        if seen.contains(&name) {
            return Err(refuse(format!("`{name}` is given twice")));
        }
        match name.as_str() {
            "by" => by = by_word(&value)?,
            "limit" => limit = limit_number(&value)?,
            _ => condition(&mut filter, &name, value)?,
        }
        seen.push(name);
    }
    Ok(Request::QueueList { by, filter, limit })
}

/// The conditions of a filter, `after` and `limit`.
pub(super) fn queue_ids(query: &str) -> Result<Request, ApiError> {
    let (mut after, mut rest) = (None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("after", _)) if after.is_some() => {
                return Err(refuse("`after` is given twice"));
            }
            Some(("after", id)) => after = Some(decoded(id)?.parse().map_err(refuse)?),
            Some(("by", _)) => return Err(refuse("`by` is not known here: one row is a message")),
            _ => rest.push(pair),
        }
    }
    match queue_list(&rest.join("&"))? {
        Request::QueueList { filter, limit, .. } => Ok(Request::QueueIds { filter, after, limit }),
        _ => unreachable!("it reads nothing else"),
    }
}

/// `domain=…&limit=…`, each at most once.
pub(super) fn dns_cache(query: &str) -> Result<Request, ApiError> {
    let Request::QueueList { filter, limit, .. } = queue_list(query)? else {
        unreachable!("it reads nothing else")
    };
    let domain = filter.domain.clone();
    if filter != (Filter { domain: domain.clone(), ..Filter::default() }) {
        return Err(refuse("only domain and limit are known here"));
    }
    Ok(Request::DnsCache(DnsCache { domain, limit }))
}

/// `limit=…`.
pub(super) fn hosts(query: &str) -> Result<Request, ApiError> {
    match dns_cache(query)? {
        Request::DnsCache(DnsCache { domain: None, limit }) => Ok(Request::HostsList(limit)),
        _ => Err(refuse("only limit is known here")),
    }
}

/// `address=…`, with angle brackets or without.
pub(super) fn explain(query: &str) -> Result<Request, ApiError> {
    let wanted = || refuse("name one address: address=user@domain");
    let (name, value) = query.split_once('=').ok_or_else(wanted)?;
    if name != "address" || value.contains('&') {
        return Err(wanted());
    }
    let address = decoded(value)?;
    let address = Address::parse(bare_mailbox(&address), true).map_err(refuse)?;
    Ok(Request::Explain(address))
}

/// The body of `POST /v1/diagnose`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Diagnose {
    address: String,
}

/// It is no `GET`: it dials hosts.
pub(super) fn diagnose(order: Diagnose) -> Result<Request, ApiError> {
    let address = Address::parse(bare_mailbox(&order.address), true).map_err(refuse)?;
    Ok(Request::Diagnose(address))
}

/// `domains=keep`, as without it, or `domains=remove`.
pub(super) fn support_bundle(query: &str) -> Result<Request, ApiError> {
    match named(query, ["domains"])?[0].as_deref() {
        None | Some("keep") => Ok(Request::SupportBundle(false)),
        Some("remove") => Ok(Request::SupportBundle(true)),
        Some(_) => Err(refuse("domains is keep or remove")),
    }
}

/// The values of these names; any other name is refused.
pub(super) fn named<const N: usize>(
    query: &str,
    names: [&str; N],
) -> Result<[Option<String>; N], ApiError> {
    let mut values = [const { None }; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        let Some(place) = names.iter().position(|known| *known == name) else {
            return Err(unknown(&name, &names.join(", ")));
        };
        if values[place].replace(value).is_some() {
            return Err(refuse(format!("`{name}` is given twice")));
        }
    }
    Ok(values)
}

/// The rows of a list, [`LIMIT_DEFAULT`] where nothing is said.
pub(super) fn limit(limit: Option<String>) -> Result<u32, ApiError> {
    limit.map_or(Ok(LIMIT_DEFAULT), |limit| limit_number(&limit))
}

fn unknown(name: &str, known: &str) -> ApiError {
    let name: String = name.chars().take(64).collect();
    refuse(format!("`{}` is not known here; known: {known}", name.escape_debug()))
}

fn condition(filter: &mut Filter, name: &str, value: String) -> Result<(), ApiError> {
    match name {
        "id" => filter.id = Some(value.parse().map_err(refuse)?),
        "domain" => filter.domain = Some(Domain::parse_utf8(&value).map_err(refuse)?),
        "sender" => filter.sender = Some(bare_mailbox(&value).to_owned()),
        "recipient" => filter.recipient = Some(bare_mailbox(&value).to_owned()),
        "site" => filter.site = Some(value),
        "route" => filter.route = Some(value),
        "older" => {
            let Span(older) = value.parse().map_err(|why| refuse(format!("older {why}")))?;
            filter.older = Some(older);
        }
        "state" => filter.state = Some(value.parse().map_err(refuse)?),
        "in_doubt" => {
            let doubt = value.parse().map_err(|_| refuse("in_doubt is true or false"))?;
            filter.in_doubt = Some(doubt);
        }
        _ => {
            let known = "by, limit, id, domain, sender, recipient, site, route, older, state, \
                         in_doubt";
            return Err(unknown(name, known));
        }
    }
    Ok(())
}

fn by_word(value: &str) -> Result<By, ApiError> {
    Ok(match value {
        "site" => By::Site,
        "domain" => By::Domain,
        "route" => By::Route,
        "message" => By::Message,
        _ => return Err(refuse("by is one of site, domain, route, message")),
    })
}

fn limit_number(value: &str) -> Result<u32, ApiError> {
    let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let limit = value.parse().ok().filter(|limit| plain && (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| refuse(format!("limit is a number from 1 to {LIMIT_MAX}")))
}

/// Undoes percent encoding; `+` is a space.
pub(super) fn decoded(text: &str) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let (high, low) = match after {
                    [high, low, ..] => (hex(*high), hex(*low)),
                    _ => (None, None),
                };
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(refuse("a % in the query is not followed by two hex digits"));
                };
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| refuse("the query is not UTF-8"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn refuse(reason: impl ToString) -> ApiError {
    ApiError::PeerRequest(reason.to_string())
}
