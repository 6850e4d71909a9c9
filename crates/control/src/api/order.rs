//! The bodies of `POST /v1/queue/…`: a filter, and how the act is to be done.

use mail::Domain;
use serde::Deserialize;

use super::filter::{domain, mailbox, parsed, span};
use super::{ApiError, Filter, QueueAct, Request, State};
use crate::suspension::{NAME_BYTES_MAX, REASON_BYTES_MAX};
use crate::units::Span;

/// How an act on waiting mail is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Why, in the operator's words: in the log, and in reports to senders. At
    /// most [`REASON_BYTES_MAX`] bytes.
    pub reason: Box<str>,
    /// Only count what would be met.
    pub dry_run: bool,
    /// The route that mail is moved to; none: the one that takes it.
    pub to: Option<Box<str>>,
    /// Leave what is being tried just now; the answer lists the recipients met.
    pub idle: bool,
}

/// Everything that may stand in the body.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Body {
    all: bool,
    #[serde(deserialize_with = "parsed")]
    id: Option<base::MessageId>,
    #[serde(deserialize_with = "domain")]
    domain: Option<Domain>,
    #[serde(deserialize_with = "mailbox")]
    sender: Option<String>,
    #[serde(deserialize_with = "mailbox")]
    recipient: Option<String>,
    site: Option<String>,
    route: Option<String>,
    #[serde(deserialize_with = "span")]
    older: Option<Span>,
    state: Option<State>,
    in_doubt: Option<bool>,
    reason: String,
    dry_run: bool,
    to: Option<String>,
    idle: bool,
}

pub(super) fn queue_act(act: QueueAct, body: Body) -> Result<Request, ApiError> {
    let refuse = |reason: String| Err(ApiError::PeerRequest(reason));
    let Body { reason, dry_run, to, idle, .. } = body;
    let filter = Filter {
        all: body.all,
        id: body.id,
        domain: body.domain,
        below: false,
        sender: body.sender,
        recipient: body.recipient,
        site: body.site,
        route: body.route,
        older: body.older.map(|Span(span)| span),
        state: body.state,
        in_doubt: body.in_doubt,
    };
    filter.named_something().map_err(ApiError::PeerRequest)?;
    if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        return refuse(format!("a reason is one line of at most {REASON_BYTES_MAX} bytes"));
    }
    // It goes into reports, which are ASCII where nobody asked for more.
    if act == QueueAct::Bounce && !reason.is_ascii() {
        return refuse("the reason of a bounce stands in reports: write it in ASCII".into());
    }
    if to.is_some() && act != QueueAct::Reroute {
        return refuse("only reroute takes `to`".into());
    }
    if to.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        return refuse("this cannot be the name of a route".into());
    }
    // The list of all recipients of a queue would have no bound.
    if idle && (act != QueueAct::Remove || filter.id.is_none()) {
        return refuse("only remove takes `idle`, and with it `id`".into());
    }
    let how = How { reason: reason.into(), dry_run, to: to.map(Into::into), idle };
    Ok(Request::QueueAct { act, filter, how })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(act: QueueAct, body: &str) -> Result<Request, ApiError> {
        Request::parse("POST", &format!("/v1/queue/{act}"), body.as_bytes())
    }

    #[test]
    fn an_order_says_what_how_and_why() {
        let body = r#"{"route": "*.example", "older": "1h30m", "reason": "gone", "dry_run": true,
                       "to": "default"}"#;
        let Ok(Request::QueueAct { filter, how, .. }) = read(QueueAct::Reroute, body) else {
            panic!("it is a good order")
        };
        assert_eq!(filter.route.as_deref(), Some("*.example"));
        assert_eq!(filter.older, Some(std::time::Duration::from_secs(5_400)));
        let to = Some("default".into());
        assert_eq!(how, How { reason: "gone".into(), dry_run: true, to, idle: false });
    }

    #[test]
    fn an_order_that_makes_no_sense_is_refused() {
        let long = format!(r#"{{"all": true, "reason": "{}"}}"#, "x".repeat(201));
        for (act, body, words) in [
            (QueueAct::Flush, r#"{"all": true, "to": "default"}"#, "only reroute"),
            (QueueAct::Bounce, r#"{"reason": "no filter"}"#, "name what is meant"),
            (QueueAct::Bounce, r#"{"all": true, "reason": "ü"}"#, "ASCII"),
            (QueueAct::Remove, r#"{"all": true, "reason": "a\nb"}"#, "one line"),
            (QueueAct::Remove, r#"{"older": "2"}"#, "lacks a unit"),
            (QueueAct::Remove, &long, "at most 200 bytes"),
            (QueueAct::Remove, r#"{"all": true, "idle": true}"#, "only remove takes `idle`"),
            (QueueAct::Hold, r#"{"id": "0000000000001", "idle": true}"#, "only remove"),
        ] {
            let error = read(act, body).unwrap_err();
            assert!(error.to_string().contains(words), "{body}: {error}");
        }
    }
}
