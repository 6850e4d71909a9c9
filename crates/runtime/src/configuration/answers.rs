//! What is answered about the configuration: texts, differences, routes,
//! findings, refusals.
//!
//! Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::credentials::credentials;
use control::revisions::{Fate, Revision};
use control::{ConfigRequest, Delivery, Diagnostic, Mode, Policy, Refused, Severity, diff, help};
use eventlog::rfc3339;
use mail::Address;
use serde_json::{Value, json};

use super::candidates::owner;
use super::{Shared, State};
use crate::control_socket::Peer;
use crate::http::HttpResponse;

impl Shared {
    /// Answers what changes nothing.
    pub(super) fn read(
        &self,
        state: &State,
        request: ConfigRequest,
        peer: &Peer,
    ) -> Result<Value, HttpResponse> {
        match request {
            ConfigRequest::Candidate => {
                let mut answer = self.described(state, peer)?;
                answer["text"] = json!(self.candidate(state, peer)?.0);
                Ok(answer)
            }
            ConfigRequest::Diff { from, to } => self.differences(state, from, to, peer),
            ConfigRequest::Revisions(limit) => {
                let latest = state.history.latest_first().take(limit as usize);
                let rows: Vec<_> = latest.map(|revision| row(state, revision)).collect();
                Ok(json!({ "revisions": rows }))
            }
            ConfigRequest::Revision(number) => {
                let text = self.text(state, number)?;
                let revision = state.history.find(number).expect("its text was found");
                let mut answer = row(state, revision);
                answer["text"] = json!(text);
                Ok(answer)
            }
            ConfigRequest::Routes(limit) => {
                let policy = self.candidate_policy(state, peer)?;
                Ok(json!({ "routes": routes(&policy, limit as usize) }))
            }
            ConfigRequest::RouteTest(address) => {
                let policy = self.candidate_policy(state, peer)?;
                Ok(tested(&policy, &address))
            }
            ConfigRequest::Credentials => Ok(credentials(&state.policy)),
            ConfigRequest::Help(path) => match help::below(&path) {
                found if found.is_empty() => {
                    Err(refusal(404, &format!("{path} {}", help::unknown(&path))))
                }
                found => Ok(help::to_json(&found)),
            },
            _ => Ok(self.shown(state)),
        }
    }

    fn shown(&self, state: &State) -> Value {
        let now = self.running.clock().now();
        let unconfirmed = state.history.unconfirmed().map(
            |(number, until)| json!({ "revision": number, "until": rfc3339(now.wall_at(until)) }),
        );
        json!({
            "toml": state.policy.effective_toml(),
            "revision": state.history.current(),
            "in_force": state.history.in_force(),
            "unconfirmed": unconfirmed,
        })
    }

    fn differences(
        &self,
        state: &State,
        from: Option<u64>,
        to: Option<u64>,
        peer: &Peer,
    ) -> Result<Value, HttpResponse> {
        let from = from.unwrap_or(state.history.current());
        let old = self.text(state, from)?;
        let (new, new_name) = match to {
            Some(number) => (self.text(state, number)?, name(number)),
            None => (self.candidate(state, peer)?.0, "candidate".to_owned()),
        };
        Ok(json!({ "from": from, "to": to, "diff": diff(&old, &new, &name(from), &new_name) }))
    }

    /// What a client's candidate would put in force; what is in force where
    /// nothing was changed.
    fn candidate_policy(&self, state: &State, peer: &Peer) -> Result<Arc<Policy>, HttpResponse> {
        let current = state.history.current();
        if state.candidates.of(&owner(peer)).is_none() && current == state.history.in_force() {
            return Ok(state.policy.clone());
        }
        let (text, _) = self.candidate(state, peer)?;
        let config = self.load.checked(&text, &BTreeMap::new()).map_err(|found| refused(&found))?;
        Ok(Arc::new(config.policy))
    }
}

fn row(state: &State, revision: &Revision) -> Value {
    let Revision { number, base, time, uid, pid, origin, comment } = revision;
    json!({
        "revision": number,
        "base": base,
        "time": rfc3339(*time),
        "uid": uid,
        "pid": pid,
        "origin": origin.to_string(),
        "certificate": origin.maker(),
        "comment": comment,
        "state": state.history.standing(revision).to_string(),
    })
}

fn routes(policy: &Policy, limit: usize) -> Vec<Value> {
    let mut shadowed = policy.shadowed().peekable();
    let rows = policy.route_ways().iter().take(limit).map(|way| {
        let by = shadowed.next_if(|(route, _)| *route == way.index).map(|(_, by)| by.0);
        let mut row = described(way);
        row["number"] = json!(way.index.0);
        row["match"] = json!(way.name);
        row["never_reached_behind"] = json!(by);
        row["ignored"] = json!(!policy.obeys_routes());
        row
    });
    rows.collect()
}

fn tested(policy: &Policy, address: &Address) -> Value {
    let way = policy.route(address);
    let mut answer = described(way);
    answer["address"] = json!(address.to_string());
    let named = !way.is_default() && !way.is_local;
    answer["number"] = json!(named.then_some(way.index.0));
    answer["match"] = json!(named.then_some(&way.name));
    answer["local"] = control::explain::local(policy, address);
    answer["ignored"] = json!(policy.ignored_route(address).map(|route| &route.name));
    answer
}

fn described(way: &Delivery) -> Value {
    let hosts: Vec<String> = match &way.mode {
        Mode::Independent => Vec::new(),
        Mode::Relay(hosts) => hosts.iter().map(|h| format!("{}:{}", h.host, h.port)).collect(),
        Mode::Socket(path) => vec![path.to_string()],
        Mode::Folders(at) => vec![at.to_string()],
    };
    let mode = match &way.mode {
        _ if way.is_local => "local",
        Mode::Independent => "independent",
        _ => "relay",
    };
    json!({ "mode": mode, "hosts": hosts })
}

/// What a text is called in a diff.
pub(super) fn name(revision: u64) -> String {
    format!("revision {revision}")
}

pub(super) fn diff(old: &str, new: &str, from: &str, to: &str) -> Value {
    json!(diff::unified(old, new, from, to))
}

pub(super) fn fate_word(fate: Fate) -> &'static str {
    match fate {
        Fate::Rules => "committed",
        Fate::Unconfirmed(_) => "committed-unconfirmed",
        Fate::NextStart => "committed-for-next-start",
        Fate::WhenIdle => "committed-when-idle",
    }
}

/// Findings as JSON.
pub(super) fn findings(found: &[Diagnostic]) -> Value {
    let one = |finding: &Diagnostic| {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        json!({
            "line": finding.line,
            "column": finding.column,
            "key": finding.key,
            "message": finding.message,
            "severity": severity,
        })
    };
    found.iter().map(one).collect()
}

pub(super) fn refusal(status: u16, reason: &str) -> HttpResponse {
    HttpResponse::error(status, reason)
}

/// A configuration with faults.
pub(super) fn refused(refused: &Refused) -> HttpResponse {
    let body = json!({
        "error": "the configuration has faults",
        "findings": findings(&refused.diagnostics),
    });
    HttpResponse::json(422, &body)
}

/// A change that only a restart can make.
pub(super) fn needs_start(settings: &[&str]) -> HttpResponse {
    let error = format!(
        "{} takes effect at the next start only; commit with `next_start` to have all of it wait \
         for that",
        settings.join(", ")
    );
    let body = json!({ "error": error, "needs_start": settings });
    HttpResponse::json(409, &body)
}

pub(super) fn not_stored(error: &std::io::Error) -> HttpResponse {
    refusal(507, &format!("the revision cannot be stored, and nothing has changed: {error}"))
}

/// A refusal in words, one finding a line.
pub(super) fn as_text(refusal: &HttpResponse) -> String {
    let body: Value = serde_json::from_str(&refusal.body).unwrap_or_default();
    let mut text = body["error"].as_str().unwrap_or("refused").to_owned();
    for finding in body["findings"].as_array().into_iter().flatten() {
        let message = finding["message"].as_str().unwrap_or_default();
        let key = finding["key"].as_str().unwrap_or_default();
        text.push_str(&format!(
            "\nline {}, column {}: {key} {message}",
            finding["line"], finding["column"]
        ));
    }
    text
}
