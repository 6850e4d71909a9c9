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
    assert_eq!(get("/v1/config"), Ok(Request::ConfigShow));
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
