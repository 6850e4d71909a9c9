//! What the control socket answers is what its description says: every path
//! and method of the description is asked of a real daemon with mail in its
//! queue, and each answer held against its schema.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::config::free_port;
use crate::support::schema::misfits;
use crate::support::{Client, Config, Daemon, control, submit};

fn description() -> Value {
    let path = tests::workspace().join("crates/control/openapi.json");
    let text = fs::read_to_string(path).expect("the description is there");
    serde_json::from_str(&text).expect("the description is JSON")
}

/// The name of the session of a client that is connected.
fn client_session(daemon: &Daemon) -> String {
    let sessions = daemon.show("/v1/sessions");
    let rows = sessions["sessions"].as_array().expect("a list");
    let client = rows.iter().find(|row| row["way"] == "in").expect("a client is connected");
    client["session"].as_str().expect("a name").to_owned()
}

/// Asks, and holds the answer against what is described for its status.
fn ask(
    daemon: &Daemon,
    asked: &mut BTreeSet<String>,
    request: (&str, &str, &str, Value),
) -> (u16, Value) {
    let (method, path, target, body) = request;
    let description = description();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, answer) = daemon.ask(method, target, &body);
    let responses = &description["paths"][path][method.to_ascii_lowercase()]["responses"];
    let status_words = status.to_string();
    let response = responses.get(&status_words).unwrap_or(&responses["default"]);
    let schema = &response["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {path} is not described");
    let found = misfits(&description, schema, &answer);
    assert!(found.is_empty(), "{method} {target} {status}: {found:#?}");
    if matches!(status, 200 | 202) {
        asked.insert(format!("{method} {path}"));
    }
    (status, answer)
}

/// What is read without a word about what is wanted.
const READ: [&str; 25] = [
    "/v1/alerts",
    "/v1/syslog",
    "/v1/history",
    "/v1/health",
    "/v1/ready",
    "/v1/webhooks",
    "/v1/sessions",
    "/v1/limits",
    "/v1/sites",
    "/v1/log",
    "/v1/failures",
    "/v1/detail",
    "/v1/support-bundle",
    "/v1/config",
    "/v1/config/candidate",
    "/v1/config/diff",
    "/v1/suspensions",
    "/v1/dns/cache",
    "/v1/dns/servers",
    "/v1/hosts",
    "/v1/egress",
    "/v1/revisions",
    "/v1/routes",
    "/v1/help",
    "/v1/credentials",
];

/// Nobody listens there.
const HOOK: &str = "name = \"audit\"\nurl = \"http://127.0.0.1:9/\"";

/// Shows: S2.27
#[test]
fn every_answer_is_as_described() {
    let nobody = format!("127.0.0.1:{}", free_port()).parse().expect("an address");
    let route = "match = \"never.example\"\nlifetime = \"1d\"";
    let config = Config::relay(nobody).route("match = \"*\"").route(route);
    let mut daemon = Daemon::prepare(config.table("webhook", HOOK)).of_appliance();
    daemon.launch();
    submit(daemon.address(), "a@source.example", &["b@d001.example", "c@d002.example"]);
    daemon.until_settled("b@d001.example", 1);
    let mut asked = BTreeSet::new();
    let mut get = |path: &str, query: &str| {
        ask(&daemon, &mut asked, ("GET", path, &format!("{path}{query}"), Value::Null))
    };
    get("/v1/status", "");
    for by in ["site", "domain", "route"] {
        get("/v1/queue", &format!("?by={by}"));
    }
    let (_, list) = get("/v1/queue", "?by=message");
    let id = list["messages"][0]["id"].as_str().expect("it waits").to_owned();
    for path in READ {
        get(path, "");
    }
    get("/v1/routes/test", "?address=a@b.example");
    get("/v1/explain", "?address=a@b.example");
    for of in ["b@d001.example", "d001.example", &id] {
        get("/v1/why", &format!("?of={of}"));
    }
    assert_eq!(get("/v1/help", "?path=nothing").0, 404);
    let mut send = |method: &str, path: &str, target: &str, body: Value| {
        ask(&daemon, &mut asked, (method, path, target, body))
    };
    send("GET", "/v1/queue/{id}", &format!("/v1/queue/{id}"), Value::Null);
    send("GET", "/v1/revisions/{number}", "/v1/revisions/1", Value::Null);
    for word in ["hold", "release", "reroute", "flush", "bounce", "remove"] {
        let path = format!("/v1/queue/{word}");
        send("POST", &path, &path, json!({ "all": true, "dry_run": true }));
        assert_eq!(send("POST", &path, &path, json!({})).0, 400);
    }
    let mut post = |path: &str, body: Value| send("POST", path, path, body);
    let (_client, _) = Client::connect(daemon.address());
    post("/v1/sessions/abort", json!({ "session": client_session(&daemon) }));
    post("/v1/diagnose", json!({ "address": "b@d001.example" }));
    post("/v1/suspend", json!({ "domain": "q.example", "reason": "a try", "for": "1h" }));
    post("/v1/resume", json!({ "domain": "q.example" }));
    post("/v1/alerts/silence", json!({ "rule": "queue_age", "for": "1h", "reason": "a try" }));
    post("/v1/alerts/unsilence", json!({ "rule": "queue_age" }));
    post("/v1/hosts/pin", json!({ "address": nobody, "as": "down" }));
    for path in ["/v1/hosts/forget", "/v1/dns/flush"] {
        post(path, json!({ "all": true }));
    }
    let edits = json!([{ "set": { "path": "dns.attempts", "value": "9" } }]);
    post("/v1/config/edit", json!({ "edits": edits }));
    assert_eq!(post("/v1/config/commit", json!({ "confirm": "10m" })).0, 200);
    send("GET", "/v1/config", "/v1/config", Value::Null);
    let mut post = |path: &str, body: Value| send("POST", path, path, body);
    assert_eq!(post("/v1/config/confirm", json!({})).0, 200);
    assert_eq!(post("/v1/config/confirm", json!({})).0, 409);
    assert_eq!(post("/v1/config/rollback", json!({ "revision": 1 })).0, 200);
    assert_eq!(post("/v1/config/commit", json!({ "text": "", "base": 1 })).0, 409);
    assert_eq!(post("/v1/config/commit", json!({ "text": "x = 1", "base": 3 })).0, 422);
    let candidate = "/v1/config/candidate";
    assert_eq!(send("PUT", candidate, candidate, json!({ "text": "hostname = 1\n" })).0, 200);
    send("POST", "/v1/config/discard", "/v1/config/discard", Value::Null);

    messages_as_they_are(&daemon, &mut asked, &id);
    looked_at_closely(&daemon, &mut asked);
    ordered(&daemon, &mut asked);
    let described = operations();
    let left: Vec<_> = described.difference(&asked).collect();
    assert!(left.is_empty(), "never answered with 200 here: {left:?}");
}

/// Everything that is described, by method and path.
fn operations() -> BTreeSet<String> {
    let mut described = BTreeSet::new();
    for (path, methods) in description()["paths"].as_object().expect("paths by name") {
        for method in methods.as_object().expect("methods by name").keys() {
            described.insert(format!("{} {path}", method.to_ascii_uppercase()));
        }
    }
    described
}

/// Messages in and out, as files and whole; numbers in their forms.
fn messages_as_they_are(daemon: &Daemon, asked: &mut BTreeSet<String>, id: &str) {
    let (_, file) = daemon.ask("GET", &format!("/v1/queue/{id}/file"), "");
    let (status, taken) =
        daemon.ask("POST", "/v1/queue/import", file.as_str().expect("a message, not JSON"));
    assert!(status == 200 && taken["id"].is_string(), "{taken}");
    let list = ("GET", "/v1/queue/messages", "/v1/queue/messages?limit=1", Value::Null);
    assert_eq!(ask(daemon, asked, list).1["ids"].as_array().map(Vec::len), Some(1));
    let target = "/v1/messages?sender=&recipient=b@c.example";
    ask(daemon, asked, ("POST", "/v1/messages", target, json!("x")));
    let path = "/v1/queue/remove";
    let idle = json!({ "id": taken["id"], "idle": true });
    assert!(ask(daemon, asked, ("POST", path, path, idle)).1["met"].is_array());
    for by in ["domain", "site", "route", "source", "day"] {
        let target = format!("/v1/stats?by={by}");
        ask(daemon, asked, ("GET", "/v1/stats", &target, Value::Null));
    }
    let (status, metrics) = daemon.ask("GET", "/v1/metrics", "");
    assert!(status == 200 && metrics.as_str().is_some_and(|text| text.starts_with("# HELP")));
    let texts = ["GET /v1/metrics", "GET /v1/queue/{id}/file", "POST /v1/queue/import"];
    asked.extend(texts.map(String::from));
}

/// What only an appliance can do; and backups, which it lives by.
fn ordered(daemon: &Daemon, asked: &mut BTreeSet<String>) {
    let mut ask = |method: &str, path: &str, body: Value| {
        let path = format!("/v1/appliance{path}");
        ask(daemon, asked, (method, &path, &path, body)).0
    };
    let state = "network = trial\naddresses = 192.0.2.1\nblessed = yes\nclock_error_ms = -3\n";
    daemon.scratch().write("appliance/state", state);
    assert_eq!(ask("GET", "", Value::Null), 200);
    assert_eq!(ask("PUT", "/update", json!("x")), 202);
    assert_eq!(ask("PUT", "/update", json!("x")), 409);
    let network = json!({ "text": "address = 192.0.2.1/24\n", "confirm": "2m" });
    assert_eq!(ask("PUT", "/network", network), 202);
    assert_eq!(ask("POST", "/network/confirm", Value::Null), 202);
    let reset = |host: &str| json!({ "queue": "keep", "host": host });
    assert_eq!(ask("POST", "/reset", reset("other.example")), 409);
    assert_eq!(ask("POST", "/reset", reset("ringpost.example")), 202);
    assert_eq!(ask("POST", "/restart", Value::Null), 202);
    saved(daemon, asked);
}

/// All that was set, out and in again.
fn saved(daemon: &Daemon, asked: &mut BTreeSet<String>) {
    let order = json!({ "domain": "q.example", "reason": "a try", "for": "1h" });
    ask(daemon, asked, ("POST", "/v1/suspend", "/v1/suspend", order));
    let (status, backup) = ask(daemon, asked, ("GET", "/v1/backup", "/v1/backup", Value::Null));
    assert!(status == 200 && backup["suspensions"][0]["domain"] == "q.example", "{backup}");
    let mut put = |query: &str, body: &Value| {
        let target = format!("/v1/restore?{query}");
        ask(daemon, asked, ("PUT", "/v1/restore", &target, body.clone())).0
    };
    assert_eq!(put("", &backup), 409, "nothing would change");
    let edits = json!({ "edits": [{ "set": { "path": "dns.attempts", "value": "8" } }] });
    daemon.ask("POST", "/v1/config/edit", &edits.to_string());
    assert_eq!(daemon.ask("POST", "/v1/config/commit", "{}").0, 200);
    assert_eq!(put("comment=back", &backup), 200);
    let mut changed = backup;
    changed["hostname"] = json!("bent.example");
    assert_eq!(put("", &changed), 422);
}

/// Detail for a while, and the answer that has no end.
fn looked_at_closely(daemon: &Daemon, asked: &mut BTreeSet<String>) {
    let order = json!({ "domain": "q.example", "for": "5m" });
    ask(daemon, asked, ("POST", "/v1/detail", "/v1/detail", order));
    let path = "/v1/detail/stop";
    ask(daemon, asked, ("POST", path, path, json!({ "all": true })));
    let socket = daemon.data().join("control.sock");
    let (head, _) = control::attached(&socket, "/v1/trace?direction=in");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("x-ndjson"), "{head}");
    asked.insert("GET /v1/trace".to_owned());
    let (head, _) = control::attached(&socket, "/v1/log/stream?lines=3&follow=true");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("x-ndjson"), "{head}");
    asked.insert("GET /v1/log/stream".to_owned());
}

/// The check itself finds what does not fit.
#[test]
fn what_is_not_as_described_is_found() {
    let schema = json!({
        "type": "object",
        "properties": { "n": { "type": "integer" }, "w": { "type": "string", "enum": ["a"] } },
        "required": ["n"],
        "additionalProperties": false,
    });
    let held = |value: Value| misfits(&Value::Null, &schema, &value).len();
    assert_eq!(held(json!({ "n": 1, "w": "a" })), 0);
    assert_eq!(held(json!({ "w": "a" })), 1, "n is missing");
    assert_eq!(held(json!({ "n": "1" })), 1, "n is no number");
    assert_eq!(held(json!({ "n": 1, "w": "b" })), 1, "no such word");
    assert_eq!(held(json!({ "n": 1, "more": 1 })), 1, "not described");
    assert_eq!(held(json!([])), 1, "no object");
}
