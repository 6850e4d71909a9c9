//! Requests as a client sends them, good and bad.

use super::*;

const ID: &str = "0000000000001";

fn get(target: &str) -> Result<Request, ApiError> {
    Request::parse("GET", target, b"")
}

fn post(target: &str, body: &str) -> Result<Request, ApiError> {
    Request::parse("POST", target, body.as_bytes())
}

#[test]
fn every_path_is_read() {
    let id: MessageId = ID.parse().unwrap();
    let list = |by, limit| Request::QueueList { by, filter: Filter::default(), limit };
    assert_eq!(get("/v1/status"), Ok(Request::Status));
    assert_eq!(get("/v1/status/"), Ok(Request::Status));
    assert_eq!(get("/v1/config"), Ok(ConfigRequest::Show.into()));
    assert_eq!(get("/v1/queue"), Ok(list(By::Site, LIMIT_DEFAULT)));
    assert_eq!(get("/v1/queue?by=domain&limit=10000"), Ok(list(By::Domain, LIMIT_MAX)));
    assert_eq!(get(&format!("/v1/queue/{ID}")), Ok(Request::QueueShow(id)));
    for (word, act) in [
        ("flush", QueueAct::Flush),
        ("hold", QueueAct::Hold),
        ("release", QueueAct::Release),
        ("remove", QueueAct::Remove),
        ("bounce", QueueAct::Bounce),
        ("reroute", QueueAct::Reroute),
    ] {
        let request = post(&format!("/v1/queue/{word}"), "{\"all\": true}").unwrap();
        let filter = Filter { all: true, ..Filter::default() };
        assert_eq!(request, Request::QueueAct { act, filter, how: How::default() });
        assert!(!request.reads_only());
    }
    assert!(get("/v1/queue").unwrap().reads_only());
}

#[test]
fn a_filter_is_read_the_same_from_query_and_body() {
    let expected = Filter {
        all: false,
        id: Some(ID.parse().unwrap()),
        domain: Some(mail::Domain::parse("example.com").unwrap()),
        below: false,
        sender: Some(String::new()),
        recipient: Some("a+b@example.com".into()),
        site: Some("mx:a.example,b.example".into()),
        route: Some("*.example".into()),
        older: Some(std::time::Duration::from_secs(7_200)),
        state: Some(State::InFlight),
        in_doubt: Some(true),
    };
    let query = format!(
        "/v1/queue?id={ID}&domain=Example.com&sender=%3C%3e&recipient=a%2Bb@example.com\
         &site=mx:a.example,b.example&state=in-flight&in_doubt=true&route=*.example\
         &older=2h"
    );
    let Ok(Request::QueueList { filter, .. }) = get(&query) else { panic!("{:?}", get(&query)) };
    assert_eq!(filter, expected);
    let body = format!(
        r#"{{"id": "{ID}", "domain": "example.com", "sender": "<>", "recipient": "a+b@example.com",
            "site": "mx:a.example,b.example", "state": "in-flight", "in_doubt": true,
            "route": "*.example", "older": "2h"}}"#
    );
    let act = post("/v1/queue/hold", &body);
    let Ok(Request::QueueAct { filter, .. }) = act else { panic!("{act:?}") };
    assert_eq!(filter, expected);
}

/// Proves: RFC 9110 §15.5.6
/// Covers: A13.2
#[test]
fn refusals_say_what_is_wrong() {
    let long = "x".repeat(REQUEST_BYTES_MAX + 1);
    for (result, status, words) in [
        (get("/"), 404, "nothing at /"),
        (get("/v2/status"), 404, "nothing at /v2/status"),
        (get("/v1/"), 404, "nothing at /v1/"),
        (get("/v1/queue/a/b"), 404, "nothing"),
        (get("/v1/\n\u{1b}"), 404, "nothing at /v1/\\n\\u{1b}"),
        (post("/v1/status", ""), 405, "use GET here"),
        (post("/v1/queue", ""), 405, "use GET here"),
        (get("/v1/queue/flush"), 405, "use POST here"),
        (get("/v1/queue/nothing"), 400, "a message id is 13"),
        (get("/v1/status?a=1"), 400, "takes no query"),
        (Request::parse("GET", "/v1/queue", b"{}"), 400, "takes no body"),
        (get("/v1/queue?by=color"), 400, "by is one of"),
        (get("/v1/queue?limit=0"), 400, "from 1 to 10000"),
        (get("/v1/queue?limit=10001"), 400, "from 1 to 10000"),
        (get("/v1/queue?limit=+5"), 400, "from 1 to 10000"),
        (get("/v1/queue?limit=5&limit=5"), 400, "`limit` is given twice"),
        (get("/v1/queue?colour=red"), 400, "`colour` is not known here"),
        (get("/v1/queue?state=lost"), 400, "state is one of"),
        (get("/v1/queue?domain=a..b"), 400, "empty label"),
        (get("/v1/explain"), 400, "name one address"),
        (get("/v1/explain?address=a"), 400, ""),
        (get("/v1/explain?address=a@b.c&address=d@e.f"), 400, "name one address"),
        (get("/v1/queue?site=%f"), 400, "two hex digits"),
        (get("/v1/queue?site=%ff"), 400, "not UTF-8"),
        (post("/v1/queue/flush", ""), 400, "name what is meant"),
        (post("/v1/queue/flush", "{}"), 400, "name what is meant"),
        (post("/v1/queue/flush", "{\"all\": false}"), 400, "name what is meant"),
        (post("/v1/queue/flush", "{\"all\": true, \"domain\": \"a.b\"}"), 400, "contradict"),
        (post("/v1/queue/flush", "{\"colour\": 1}"), 400, "unknown field `colour`"),
        (post("/v1/queue/flush", "{\"id\": \"short\"}"), 400, "a message id is 13"),
        (post("/v1/queue/flush", "[1"), 400, "the body is refused"),
        (post("/v1/queue/flush?x=1", "{}"), 400, "takes no query"),
        (post("/v1/queue/flush", &long), 400, "too large"),
        (get(&long), 400, "too large"),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.allow().is_some(), status == 405);
        assert!(error.to_json().starts_with("{\"error\":\""), "{}", error.to_json());
    }
}

#[test]
fn a_filter_asks_for_every_condition() {
    let facts = Facts {
        id: ID.parse().unwrap(),
        state: State::Deferred,
        in_doubt: true,
        domain: Some("example.com"),
        site: Some("mx:mx.example"),
        route: Some("default"),
        age: std::time::Duration::from_secs(60),
        sender: Some("A@example.org"),
        recipient: Some("b@example.com"),
    };
    let filter = |body: &str| match post("/v1/queue/hold", body) {
        Ok(Request::QueueAct { filter, .. }) => filter,
        other => panic!("{other:?}"),
    };
    for (body, matches) in [
        (r#"{"all": true}"#, true),
        (r#"{"id": "0000000000001"}"#, true),
        (r#"{"id": "0000000000002"}"#, false),
        (r#"{"in_doubt": true}"#, true),
        (r#"{"in_doubt": false}"#, false),
        (r#"{"domain": "EXAMPLE.com"}"#, true),
        (r#"{"domain": "sub.example.com"}"#, false),
        (r#"{"sender": "a@example.org"}"#, true),
        (r#"{"sender": "<>"}"#, false),
        (r#"{"recipient": "b@example.com", "state": "deferred"}"#, true),
        (r#"{"recipient": "b@example.com", "state": "held"}"#, false),
        (r#"{"site": "mx:mx.example"}"#, true),
        (r#"{"site": "mx:other.example"}"#, false),
        (r#"{"route": "default", "older": "1m"}"#, true),
        (r#"{"route": "*.example"}"#, false),
        (r#"{"older": "61s"}"#, false),
    ] {
        assert_eq!(filter(body).matches(&facts), matches, "{body}");
    }
    let unread = Facts { sender: None, recipient: None, site: None, domain: None, ..facts };
    assert!(filter(r#"{"sender": "<>"}"#).matches(&unread), "not read yet excludes nothing");
    assert!(filter(r#"{"sender": "<>"}"#).needs_envelope());
    assert!(!filter(r#"{"site": "mx:mx.example"}"#).matches(&unread), "no site is no match");
    assert!(!filter(r#"{"domain": "example.com"}"#).matches(&unread));
}

/// What an operator did can be read in the log.
#[test]
fn a_command_reads_as_it_was_meant() {
    let said = |path: &str, body: &str| post(path, body).map(|request| request.to_string());
    let body = r#"{"domain": "Example.com", "state": "in-flight", "in_doubt": false}"#;
    assert_eq!(
        said("/v1/queue/hold", body),
        Ok("queue hold domain=example.com state=in-flight in_doubt=false".into())
    );
    assert_eq!(said("/v1/queue/flush", r#"{"all": true}"#), Ok("queue flush all".into()));
    let body = r#"{"older": "2h", "reason": "gone", "dry_run": true}"#;
    assert_eq!(said("/v1/queue/bounce", body), Ok("queue bounce older=2h dry_run: gone".into()));
    let id = format!(r#"{{"id": "{ID}"}}"#);
    assert_eq!(said("/v1/queue/remove", &id), Ok(format!("queue remove id={ID}")));
}

fn put(target: &str, body: &str) -> Result<Request, ApiError> {
    Request::parse("PUT", target, body.as_bytes())
}

#[test]
fn the_configuration_is_asked_and_changed() {
    use super::config::*;
    use crate::edit::Edit;
    let config = |result: Result<Request, ApiError>| match result {
        Ok(Request::Config(request)) => *request,
        other => panic!("{other:?}"),
    };
    let minutes = |n: u64| crate::Span(std::time::Duration::from_secs(60 * n));
    assert_eq!(config(get("/v1/config/candidate")), ConfigRequest::Candidate);
    let diff = ConfigRequest::Diff { from: Some(3), to: None };
    assert_eq!(config(get("/v1/config/diff?from=3")), diff);
    assert_eq!(config(get("/v1/revisions?limit=5")), ConfigRequest::Revisions(5));
    assert_eq!(config(get("/v1/revisions/7")), ConfigRequest::Revision(7));
    assert_eq!(config(get("/v1/routes")), ConfigRequest::Routes(LIMIT_DEFAULT));
    let to = mail::Address::parse("a+b@example.com", false).unwrap();
    let test = ConfigRequest::RouteTest(Box::new(to));
    assert_eq!(config(get("/v1/routes/test?address=a%2Bb@example.com")), test);
    assert_eq!(config(get("/v1/help?path=dns")), ConfigRequest::Help("dns".into()));
    let proposal = Proposal { text: "# new".into(), base: Some(2) };
    let proposed = put("/v1/config/candidate", r##"{"text": "# new", "base": 2}"##);
    assert_eq!(config(proposed), ConfigRequest::Propose(proposal));
    let edits = r#"{"edits": [{"unset": {"path": "dns.timeout"}}]}"#;
    let unset = Edits { edits: vec![Edit::Unset { path: "dns.timeout".into() }] };
    assert_eq!(config(post("/v1/config/edit", edits)), ConfigRequest::Edit(unset));
    let commit = Commit { confirm: Some(minutes(10)), comment: "why".into(), ..Commit::default() };
    let body = r#"{"confirm": "10m", "comment": "why"}"#;
    assert_eq!(config(post("/v1/config/commit", body)), ConfigRequest::Commit(commit));
    assert_eq!(config(post("/v1/config/commit", "")), ConfigRequest::Commit(Commit::default()));
    let confirm = ConfigRequest::Confirm(Confirm { revision: Some(8) });
    assert_eq!(config(post("/v1/config/confirm", r#"{"revision": 8}"#)), confirm);
    assert_eq!(config(post("/v1/config/discard", "")), ConfigRequest::Discard);
    let rollback = Rollback { revision: Some(3), ..Rollback::default() };
    let body = r#"{"revision": 3}"#;
    assert_eq!(config(post("/v1/config/rollback", body)), ConfigRequest::Rollback(rollback));
}

#[test]
fn a_change_that_is_not_meant_so_is_refused() {
    let day = r#"{"confirm": "1d"}"#;
    assert!(post("/v1/config/commit", day).is_ok(), "at the bound");
    let comment = |bytes: usize| format!(r#"{{"comment": "{}"}}"#, "c".repeat(bytes));
    let most = crate::revisions::COMMENT_BYTES_MAX;
    assert!(post("/v1/config/commit", &comment(most)).is_ok(), "at the bound");
    let edits = |count: usize| {
        let edit = r#"{"unset": {"path": "shards"}}"#;
        format!(r#"{{"edits": [{}]}}"#, vec![edit; count].join(","))
    };
    let most_edits = crate::edit::EDITS_MAX;
    assert!(post("/v1/config/edit", &edits(most_edits)).is_ok(), "at the bound");
    for (result, words) in [
        (post("/v1/config/commit", r#"{"confirm": "1d1ms"}"#), "a time up to 1d"),
        (post("/v1/config/commit", r#"{"confirm": "0s"}"#), "a time up to 1d"),
        (post("/v1/config/commit", r#"{"confirm": "10"}"#), "lacks a unit"),
        (post("/v1/config/commit", &comment(most + 1)), "the comment is longer than 1024"),
        (post("/v1/config/commit", r#"{"text": ""}"#), "`base` must say"),
        (
            post("/v1/config/commit", r#"{"confirm": "1m", "next_start": true}"#),
            "waits for a start",
        ),
        (
            post("/v1/config/commit", r#"{"confirm": "1m", "activate": "when-idle"}"#),
            "takes neither confirm nor next_start",
        ),
        (post("/v1/config/commit", r#"{"activate": "soon"}"#), "unknown variant `soon`"),
        (post("/v1/config/commit", r#"{"colour": 1}"#), "unknown field `colour`"),
        (post("/v1/config/edit", &edits(most_edits + 1)), "edits must be 1 to 100"),
        (post("/v1/config/edit", r#"{"edits": []}"#), "edits must be 1 to 100"),
        (post("/v1/config/edit", r#"{"edits": [{"paint": {}}]}"#), "unknown variant `paint`"),
        (get("/v1/revisions/+7"), "named by its number"),
        (get("/v1/revisions/x"), "named by its number"),
        (get("/v1/config/diff?from=a"), "named by its number"),
        (get("/v1/config/diff?form=1"), "`form` is not known here; known: from, to"),
        (get("/v1/config/diff?from=1&from=1"), "`from` is given twice"),
        (get("/v1/routes?limit=0"), "from 1 to 10000"),
        (get("/v1/routes/test"), "say which `address`"),
        (post("/v1/config/discard", r#"{"all": true}"#), "unknown field `all`"),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.status(), 400, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = Request::parse("DELETE", "/v1/config/candidate", b"").unwrap_err();
    assert_eq!(error.allow(), Some("GET, PUT"));
}

/// A whole configuration fits where it belongs, and nowhere else.
#[test]
fn a_large_body_is_taken_only_where_a_configuration_is() {
    let body = format!(r#"{{"text": "{}"}}"#, "#".repeat(REQUEST_BYTES_MAX));
    assert!(put("/v1/config/candidate", &body).is_ok());
    assert!(post("/v1/config/edit", &body).unwrap_err().to_string().contains("too large"));
    let text = |bytes: usize| format!(r#"{{"text": "{}"}}"#, "#".repeat(bytes));
    let most = crate::config::CONFIG_BYTES_MAX;
    assert!(put("/v1/config/candidate", &text(most)).is_ok(), "at the bound");
    let error = put("/v1/config/candidate", &text(most + 1)).unwrap_err();
    assert!(error.to_string().contains("the text is longer"), "{error}");
}

/// What stands in the log about a change names no value.
#[test]
fn a_change_reads_in_the_log_as_what_it_was() {
    let said = |path: &str, body: &str| post(path, body).map(|request| request.to_string());
    let edits = r#"{"edits": [{"set": {"path": "hostname", "value": "secret"}},
                              {"route-move": {"route": "a.example", "before": "1"}}]}"#;
    let logged = "config edit: set hostname; route move a.example;";
    assert_eq!(said("/v1/config/edit", edits), Ok(logged.into()));
    let commit = r#"{"confirm": "10m", "comment": "new host"}"#;
    let logged = "config commit, to be confirmed within 10m: new host";
    assert_eq!(said("/v1/config/commit", commit), Ok(logged.into()));
    assert_eq!(said("/v1/config/rollback", r#"{"revision": 3}"#), Ok("config rollback 3".into()));
}
