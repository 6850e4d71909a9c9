//! The support bundle: what the daemon and its machine say of themselves, in
//! one answer, for somebody who helps; without the people whose mail it is.
//!
//! Asks what anybody may ask over the socket for reading, and adds nothing that
//! is secret there. Invariants: each part is bounded; all texts pass through
//! [`Disguise`], those of the machine too.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use control::Request;
use eventlog::Disguise;
use serde_json::{Map, Value, json};

use crate::appliance::Appliance;
use crate::control_socket::{Handler, Peer};
use crate::http::HttpResponse;

/// What is asked, and what it is called in the bundle.
const PARTS: [(&str, &str); 19] = [
    ("status", "/v1/status"),
    ("health", "/v1/health"),
    ("configuration", "/v1/config"),
    ("revisions", "/v1/revisions?limit=20"),
    ("routes", "/v1/routes?limit=200"),
    ("queue_by_site", "/v1/queue?by=site&limit=200"),
    ("queue_by_domain", "/v1/queue?by=domain&limit=200"),
    ("queue_by_route", "/v1/queue?by=route&limit=200"),
    ("messages", "/v1/queue?by=message&limit=200"),
    ("sessions", "/v1/sessions?limit=200"),
    ("limits", "/v1/limits?limit=50"),
    ("hosts", "/v1/hosts?limit=200"),
    ("name_servers", "/v1/dns/servers"),
    ("suspensions", "/v1/suspensions"),
    ("detail", "/v1/detail"),
    ("webhooks", "/v1/webhooks"),
    ("failures", "/v1/failures?limit=50"),
    ("metrics", "/v1/metrics"),
    ("log", "/v1/log?limit=1000"),
];
/// What the machine says, by file.
const FILES: [(&str, &str); 6] = [
    ("kernel", "/proc/version"),
    ("memory", "/proc/meminfo"),
    ("load", "/proc/loadavg"),
    ("limits", "/proc/self/limits"),
    ("process", "/proc/self/status"),
    ("pressure", "/proc/pressure/io"),
];
/// Bytes of each that are read.
const FILE_BYTES_MAX: u64 = 8 << 10;

/// What an appliance is asked besides.
const OF_APPLIANCE: (&str, &str) = ("appliance", "/v1/appliance");

/// The bundle; `answer` answers what it is made of.
pub fn bundle(
    answer: &Handler,
    peer: &Peer,
    data: &Path,
    appliance: &Appliance,
    hides_domains: bool,
) -> HttpResponse {
    let last_words = appliance.last_words();
    let mut parts = Map::new();
    for (name, target) in PARTS.into_iter().chain(last_words.as_ref().map(|_| OF_APPLIANCE)) {
        let asked = Request::parse("GET", target, b"");
        let Ok(request) = asked else { unreachable!("{target} is one of the endpoints") };
        let body = answer(request, peer.clone()).body;
        parts.insert(name.into(), serde_json::from_str(&body).unwrap_or(Value::String(body)));
    }
    let mut bundle = json!({
        "ringpost": env!("CARGO_PKG_VERSION"),
        "domains": if hides_domains { "removed" } else { "kept" },
        "machine": machine(data, last_words),
        "parts": parts,
    });
    let mut disguise = Disguise::new(hides_domains);
    learn(&bundle, "", &mut disguise, hides_domains);
    rewrite(&mut bundle, &disguise);
    HttpResponse::json(200, &bundle)
}

fn machine(data: &Path, last_words: Option<Map<String, Value>>) -> Value {
    let mut facts = Map::new();
    facts.extend(last_words.map(|words| ("last_words".into(), Value::Object(words))));
    for (name, path) in FILES {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|f| f.take(FILE_BYTES_MAX).read_to_end(&mut text));
        if read.is_ok() {
            facts.insert(name.into(), String::from_utf8_lossy(&text).into());
        }
    }
    if let Ok(disk) = rustix::fs::statvfs(data) {
        facts.insert(
            "data_folder".into(),
            json!({
                "bytes": disk.f_blocks.saturating_mul(disk.f_frsize),
                "free_bytes": disk.f_bavail.saturating_mul(disk.f_frsize),
                "free_inodes": disk.f_favail,
            }),
        );
    }
    Value::Object(facts)
}

/// Everybody who is named in a value; `key` is what it stands under.
fn learn(value: &Value, key: &str, disguise: &mut Disguise, hides_domains: bool) {
    match value {
        Value::String(text) => {
            disguise.learn(text);
            if hides_domains {
                disguise.learn_domains(text);
            }
            if matches!(key, "client" | "peer") {
                disguise.learn_client(text);
            }
        }
        Value::Array(all) => all.iter().for_each(|it| learn(it, key, disguise, hides_domains)),
        Value::Object(all) => {
            all.iter().for_each(|(key, it)| learn(it, key, disguise, hides_domains));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn rewrite(value: &mut Value, disguise: &Disguise) {
    match value {
        Value::String(text) => *text = disguise.text(text),
        Value::Array(all) => all.iter_mut().for_each(|it| rewrite(it, disguise)),
        Value::Object(all) => {
            // Keys are ours but for lists by name.
            let old = std::mem::take(all);
            *all = old
                .into_iter()
                .map(|(key, mut it)| {
                    rewrite(&mut it, disguise);
                    let named = key.contains(['@', '.']);
                    (if named { disguise.text(&key) } else { key }, it)
                })
                .collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Shows: S2.27
    #[test]
    fn all_parts_are_there_and_nobody_is_named() {
        let answer: Handler = Arc::new(|request, _| {
            HttpResponse::json(
                200,
                &json!({ "asked": request.to_string(), "from": "ann@corp.example",
                         "client": "192.0.2.9", "reply": "550 no ann here",
                         "ann@corp.example": 1 }),
            )
        });
        let peer = Peer::Local { pid: 1, uid: 0 };
        for (hides, domain) in [(false, "corp.example"), (true, "domain-")] {
            let none = Appliance::new(None);
            let bundle = bundle(&answer, &peer, Path::new("/"), &none, hides).body;
            let named = format!("@{domain}");
            assert!(bundle.contains("user-") && bundle.contains(&named), "{bundle}");
            for hidden in ["ann@", "no ann", "192.0.2.9"] {
                assert!(!bundle.contains(hidden), "{hidden}: {bundle}");
            }
            assert_eq!(bundle.contains("corp.example"), !hides);
            let bundle: Value = serde_json::from_str(&bundle).unwrap();
            assert_eq!(bundle["parts"].as_object().map(Map::len), Some(PARTS.len()));
            assert!(bundle["machine"]["kernel"].as_str().unwrap().contains("Linux"));
            assert!(bundle["machine"]["data_folder"]["bytes"].as_u64().unwrap() > 0);
        }
    }

    /// Why an appliance had gone down lay on its disk, and nobody could read it:
    /// there is no shell.
    #[test]
    fn an_appliance_tells_of_itself_and_of_how_it_went_down() {
        let disk = tempfile::tempdir().unwrap();
        let appliance = Appliance::new(Some(disk.path().join("appliance")));
        std::fs::write(disk.path().join("last-panic"), "ann@corp.example broke it\n").unwrap();
        let answer: Handler = Arc::new(|request, _| {
            HttpResponse::json(200, &json!({ "asked": request.to_string() }))
        });
        let peer = Peer::Local { pid: 1, uid: 0 };
        let bundle = bundle(&answer, &peer, Path::new("/"), &appliance, false).body;
        assert!(!bundle.contains("ann@"), "{bundle}");
        let bundle: Value = serde_json::from_str(&bundle).unwrap();
        let parts = bundle["parts"].as_object().unwrap();
        assert_eq!(parts.len(), PARTS.len() + 1);
        assert_eq!(parts["appliance"]["asked"], "appliance status");
        let words = bundle["machine"]["last_words"]["last-panic"]["words"].as_str().unwrap();
        assert!(words.ends_with("@corp.example broke it\n"), "{words}");
    }
}
