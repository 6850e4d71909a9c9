//! What no single key can show: contradictions between keys, and settings that
//! work but are hardly meant.

use std::ops::Range;
use std::time::Duration;

use mail::Address;
use toml::de::DeTable;

use super::cx::Cx;
use super::way::{Route, Way};
use crate::delivery::Delivery;
use crate::policy::{Policy, REPORTER, note_timetable};
use crate::timetable::TIMETABLES_MAX;
use crate::units::{Size, Span};

/// Room that a segment needs beside the largest message: its own head, the
/// envelope of many recipients, outcomes.
pub(super) const SEGMENT_HEADROOM: u64 = 1 << 20;
/// The answer to the final dot may take so long (RFC 5321 §4.5.3.2.6).
const DATA_DONE_USUAL: Duration = Duration::from_secs(600);

/// Checks everything but the ways.
pub(super) fn contradictions(cx: &mut Cx<'_>, policy: &Policy, hostname_set: bool) {
    let (submission, queue) = (&policy.submission, &policy.queue);
    let needed = submission.max_message.saturating_add(SEGMENT_HEADROOM);
    if u64::from(queue.segment) < needed {
        let key = first_set(cx, &["queue.segment", "submission.max_message"]);
        let message = format!(
            "does not fit: a segment of {} holds no message of max_message = {} and 1MiB beside it",
            Size(queue.segment.into()),
            Size(submission.max_message)
        );
        cx.error_at(key, message);
    }
    if queue.max_bytes < submission.max_message {
        let key = first_set(cx, &["queue.max_bytes", "submission.max_message"]);
        let message = format!(
            "does not fit: a queue of max_bytes = {} never takes a message of max_message = {}",
            Size(queue.max_bytes),
            Size(submission.max_message)
        );
        cx.error_at(key, message);
    }
    let addresses: Vec<_> = submission.addresses().collect();
    for (place, listener) in addresses.iter().enumerate() {
        // Port 0 is any free port, a different one each time.
        if listener.port() != 0 && addresses[..place].contains(listener) {
            cx.error_at("submission.listen", format!("names {listener} twice"));
        }
    }
    let secure = submission.listen.iter().any(|listener| listener.identity.is_some());
    if submission.users.is_some() && !secure && submission.auth_in_clear.is_empty() {
        let message = "is of no use: no listener has TLS, and a password is taken inside TLS only";
        cx.warn_at("submission.users", message);
    }
    if submission.allow.is_empty() && submission.users.is_none() && !submission.listen.is_empty() {
        cx.warn_at("submission.allow", "is empty: nobody may hand mail in");
    }
    name(cx, policy, hostname_set);
}

/// Others refuse a greeting without a full name (RFC 5321 §4.1.4), and mail that
/// bears the name goes over paths of bounded length (RFC 5321 §4.5.3.1.3).
fn name(cx: &mut Cx<'_>, policy: &Policy, hostname_set: bool) {
    let name = policy.hostname.as_str();
    if let Err(error) = Address::parse(format!("{REPORTER}@{name}"), false) {
        let message = format!("is too long for reports from {REPORTER} at that name: {error}");
        cx.error_at("hostname", message);
    }
    if name.contains('.') && !name.ends_with(".localdomain") {
        return;
    }
    let message = match hostname_set {
        true => format!("is `{name}`, which is no full name; many servers refuse it"),
        false => format!(
            "is not set, and this machine's name `{name}` is no full name; many servers refuse it"
        ),
    };
    cx.warn_at("hostname", message);
}

/// Resolves the ways, and finds those that contradict themselves or are never
/// reached.
pub(super) fn ways(cx: &mut Cx<'_>, policy: &mut Policy, default: &Way, routes: Vec<Route>) {
    let mut places = Vec::with_capacity(routes.len());
    let mut resolved = Vec::with_capacity(routes.len());
    for Route { pattern, way, place, number } in routes {
        let delivery = cx.within(format!("route[{number}]"), |cx| way.resolve(cx, policy));
        places.push((number, place));
        resolved.push((pattern, delivery));
    }
    let in_relay_mode = default.routes_in_relay_mode;
    let mut default = cx.within("delivery", |cx| default.clone().resolve(cx, policy));
    let ways = resolved.iter().zip(&places).map(|((_, way), (number, place))| {
        (way, format!("route[{number}].schedule"), place.clone())
    });
    let place = cx.place_of("delivery.schedule");
    timetables(cx, std::iter::once((&default, "delivery.schedule".into(), place)).chain(ways));
    // The default way's limits are what the limits of others are compared to.
    default.own_limits = false;
    let data_done = default.timeouts.data_done;
    if data_done < DATA_DONE_USUAL {
        let message = format!(
            "waits {} for the answer to a message; a server that needs longer, up to 10m, \
             may deliver it and be sent it again",
            Span(data_done)
        );
        cx.warn_at("delivery.timeout", message);
    }
    policy.routes_in_relay_mode = in_relay_mode;
    policy.set_ways(default, resolved);
    for (route, by) in policy.shadowed() {
        let (number, place) = places[route.0 as usize - 1].clone();
        let (earlier, _) = places[by.0 as usize - 1];
        let pattern = &policy.patterns()[by.0 as usize - 1];
        let message =
            format!("is never reached: route[{earlier}], \"{pattern}\", takes all its mail");
        cx.within(format!("route[{number}].match"), |cx| cx.warn(place, message));
    }
}

/// Each of them is looked at again and again.
fn timetables<'w>(
    cx: &mut Cx<'_>,
    ways: impl Iterator<Item = (&'w Delivery, String, Range<usize>)>,
) {
    let mut known = Vec::new();
    for (way, key, place) in ways {
        let Some(table) = &way.schedule else { continue };
        note_timetable(&mut known, table);
        if known.len() > TIMETABLES_MAX {
            known.truncate(TIMETABLES_MAX);
            let message =
                format!("is one more than the {TIMETABLES_MAX} different ones that may be");
            cx.within(key, |cx| cx.error(place, message));
        }
    }
}

/// Finds routes whose mail local domains take.
pub(super) fn hidden_routes(cx: &mut Cx<'_>, document: &DeTable<'_>, policy: &Policy) {
    let Some(routes) = document.get("route").and_then(|item| item.get_ref().as_array()) else {
        return;
    };
    // The numbers agree where no route was refused; then there are errors.
    if policy.locals.is_empty() || routes.len() != policy.patterns().len() {
        return;
    }
    for ((number, item), pattern) in (1..).zip(routes.iter()).zip(policy.patterns()) {
        if let Some(by) = policy.locals.covers(pattern) {
            let place = item.get_ref().get("match").map_or_else(|| item.span(), |at| at.span());
            let message =
                format!("is never reached: local[{}] takes all mail for \"{pattern}\"", by + 1);
            cx.within(format!("route[{number}].match"), |cx| cx.warn(place, message));
        }
    }
}

/// The first of `keys` that the file sets, or the first of all.
fn first_set(cx: &Cx<'_>, keys: &[&'static str]) -> &'static str {
    keys.iter().find(|key| cx.is_set(key)).unwrap_or(&keys[0])
}
