//! Requests to the control socket: method, target and body.
//!
//! Input: a method, the target, then the body. Oracle: a refusal is one of
//! three and its body is JSON; a request written out again reads as the same;
//! only a request that changes nothing passes for one.

use control::api::{LIMIT_MAX, Request};
use control::{By, Filter, QueueAct};
use serde_json::{Map, Value, json};

use crate::input::Input;

/// Runs the target.
pub fn control_api(data: &[u8]) {
    let mut input = Input::new(data);
    let method = input.pick(&["GET", "POST", "PUT", "HEAD", "get", ""]);
    let target = input.text();
    let body = input.rest();
    match Request::parse(method, &target, body) {
        Err(error) => {
            assert!(matches!(error.status(), 400 | 404 | 405));
            assert_eq!(error.allow().is_some(), error.status() == 405);
            let value: Value = serde_json::from_str(&error.to_json()).expect("an error is JSON");
            assert!(value["error"].as_str().is_some_and(|text| !text.is_empty()));
        }
        Ok(request) => {
            assert_eq!(request.reads_only(), method == "GET");
            check(&request);
            let Some((method_again, target, body)) = written(&request) else { return };
            assert_eq!(method, method_again, "{request}");
            let again = Request::parse(method_again, &target, &body);
            assert_eq!(again.as_ref(), Ok(&request), "{target}");
        }
    }
}

fn check(request: &Request) {
    match request {
        Request::QueueList { limit, .. } => assert!((1..=LIMIT_MAX).contains(limit)),
        Request::QueueAct { filter, .. } => {
            // A forgotten filter must not empty a queue.
            assert_eq!(filter.is_everything(), filter.all);
        }
        _ => {}
    }
}

/// The request as a client would write it, for those with something to write.
fn written(request: &Request) -> Option<(&'static str, String, Vec<u8>)> {
    Some(match request {
        Request::Status => ("GET", "/v1/status".to_owned(), Vec::new()),
        Request::Config(_) => return None,
        Request::QueueShow(id) => ("GET", format!("/v1/queue/{id}"), Vec::new()),
        Request::QueueList { by, filter, limit } => {
            let by = match by {
                By::Site => "site",
                By::Domain => "domain",
                By::Message => "message",
                By::Route => "route",
            };
            let mut target = format!("/v1/queue?by={by}&limit={limit}");
            for (name, value) in conditions(filter) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                target.push_str(&format!("&{name}={}", percent(&value)));
            }
            ("GET", target, Vec::new())
        }
        Request::QueueAct { act, filter, how } => {
            let word = match act {
                QueueAct::Flush => "flush",
                QueueAct::Hold => "hold",
                QueueAct::Release => "release",
                QueueAct::Remove => "remove",
                QueueAct::Bounce => "bounce",
                QueueAct::Reroute => "reroute",
            };
            let mut body: Map<String, Value> =
                conditions(filter).map(|(name, value)| (name.to_owned(), value)).collect();
            if filter.all {
                body.insert("all".to_owned(), json!(true));
            }
            body.insert("reason".to_owned(), json!(how.reason));
            body.insert("dry_run".to_owned(), json!(how.dry_run));
            // A null is refused, and only a removal may leave out what is tried.
            body.extend(how.to.as_ref().map(|to| ("to".to_owned(), json!(to))));
            body.extend(how.idle.then(|| ("idle".to_owned(), json!(true))));
            ("POST", format!("/v1/queue/{word}"), Value::Object(body).to_string().into_bytes())
        }
        _ => return None,
    })
}

fn conditions(filter: &Filter) -> impl Iterator<Item = (&'static str, Value)> {
    let text = |value: Option<String>| value.map(Value::String);
    let conditions = [
        ("id", text(filter.id.map(|id| id.to_string()))),
        ("domain", text(filter.domain.as_ref().map(ToString::to_string))),
        // Brackets are taken off once: an address may have its own.
        ("sender", text(filter.sender.as_ref().map(|sender| format!("<{sender}>")))),
        ("recipient", text(filter.recipient.as_ref().map(|recipient| format!("<{recipient}>")))),
        ("site", text(filter.site.clone())),
        ("route", text(filter.route.clone())),
        ("older", text(filter.older.map(|older| control::Span(older).to_string()))),
        ("state", text(filter.state.map(|state| state.to_string()))),
        ("in_doubt", filter.in_doubt.map(Value::Bool)),
    ];
    conditions.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
