//! Backups: what was set goes out as one text, and comes in as one revision with
//! its files, or not at all.
//!
//! Invariants: everything is tried before anything changes; no file is replaced
//! that the configuration in force does not name, so that a backup cannot write
//! over what is the daemon's own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base::hex;
use control::api::config::Activate;
use control::api::{Restore, Terms};
use control::backup::{Backup, Provenance, is_within};
use control::config::FILE_BYTES_MAX;
use control::{ConfigRequest, Request};
use eventlog::rfc3339;
use segment::small_file;
use serde_json::{Value, json};

use super::files::Pending;
use super::{Change, Shared, State, answers, origin};
use crate::control_socket::{Handler, Peer};
use crate::http::HttpResponse;

/// Makes and takes backups.
pub struct Backups {
    shared: Arc<Shared>,
    /// What is stopped and silenced once this revision is confirmed.
    waiting: Mutex<Option<(u64, Vec<Request>)>>,
}

/// Orders that were refused, of which an answer tells.
const REFUSED_TOLD_MAX: usize = 100;

/// What came of orders.
#[derive(Default)]
struct Given {
    taken: usize,
    refused: usize,
    /// The first that were refused, and why.
    first: Vec<Value>,
}

/// What came of a restore that was taken.
struct Taken {
    answer: Value,
    orders: Vec<Request>,
}

impl Backups {
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared, waiting: Mutex::default() }
    }

    /// Answers what is about backups, and follows what is confirmed; `None` for
    /// anything else. `others` answers that.
    pub fn answer(&self, request: &Request, peer: &Peer, others: &Handler) -> Option<HttpResponse> {
        let running = &self.shared.running;
        let answered = match request {
            Request::Backup => {
                running.log_command(&request.to_string(), peer);
                self.backup(peer, others).map(|body| HttpResponse::json(200, &body))
            }
            Request::Restore(restore) => {
                running.log_command(&request.to_string(), peer);
                self.restore(restore, peer, others).map(|body| HttpResponse::json(200, &body))
            }
            Request::Config(config) if matches!(**config, ConfigRequest::Confirm(_)) => {
                Ok(self.confirmed(others(request.clone(), peer.clone()), peer, others))
            }
            _ => return None,
        };
        Some(answered.unwrap_or_else(|refusal| refusal))
    }

    fn backup(&self, peer: &Peer, others: &Handler) -> Result<Value, HttpResponse> {
        let (mut backup, of) = self.shared.saved()?;
        let asked = |request: Request, key: &str| {
            let answer: Value =
                serde_json::from_str(&others(request, peer.clone()).body).unwrap_or_default();
            answer[key].as_array().cloned().unwrap_or_default()
        };
        let suspensions = asked(Request::SuspensionsList, "suspensions");
        let silences = asked(Request::AlertsList, "silences");
        backup.suspensions = suspensions.iter().map(suspension).collect();
        backup.silences = silences.iter().map(silence).collect();
        let sealed = backup.sealed(&of, sha256);
        sealed.map_err(|error| answers::refusal(422, &error.to_string()))
    }

    fn restore(
        &self,
        restore: &Restore,
        peer: &Peer,
        others: &Handler,
    ) -> Result<Value, HttpResponse> {
        let opened = Backup::opened(&restore.backup, sha256);
        let backup = opened.map_err(|error| answers::refusal(422, &error.to_string()))?;
        let taken = self.shared.restored(backup, restore.terms.clone(), peer)?;
        let mut answer = taken.answer;
        match restore.terms.confirm {
            None => give(taken.orders, peer, others).told(&mut answer),
            Some(_) => {
                answer["orders"] = json!(taken.orders.len());
                let number = answer["revision"].as_u64().unwrap_or_default();
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                *waiting = Some((number, taken.orders));
            }
        }
        Ok(answer)
    }

    /// What waited for this confirmation, if it was one, is stopped and silenced.
    fn confirmed(&self, response: HttpResponse, peer: &Peer, others: &Handler) -> HttpResponse {
        let mut body: Value = serde_json::from_str(&response.body).unwrap_or_default();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = |(number, _): &mut (u64, Vec<Request>)| body["revision"] == *number;
        let orders = if response.status == 200 { waiting.take_if(of_it) } else { None };
        drop(waiting);
        let Some((_, orders)) = orders else { return response };
        give(orders, peer, others).told(&mut body);
        HttpResponse::json(200, &body)
    }
}

/// Gives orders. Those whose time is over meanwhile are refused as any other.
fn give(orders: Vec<Request>, peer: &Peer, others: &Handler) -> Given {
    let mut given = Given::default();
    for order in orders {
        let answer = others(order.clone(), peer.clone());
        if answer.status == 200 {
            given.taken += 1;
            continue;
        }
        given.refused += 1;
        if given.first.len() < REFUSED_TOLD_MAX {
            let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let error = said["error"].as_str().unwrap_or("no reason given");
            given.first.push(json!({ "order": order.to_string(), "error": error }));
        }
    }
    given
}

impl Given {
    /// Notes it in an answer.
    fn told(self, answer: &mut Value) {
        answer["orders"] = json!(self.taken);
        if self.refused > 0 {
            answer["refused"] = json!({ "count": self.refused, "first": self.first });
        }
    }
}

impl Shared {
    /// The text in force, with the files that it names.
    fn saved(&self) -> Result<(Backup, Provenance), HttpResponse> {
        let state = self.state();
        let revision = state.history.in_force();
        let text = self.text(&state, revision)?;
        let (mut files, mut elsewhere) = (BTreeMap::new(), Vec::new());
        for name in self.load.named(&text) {
            if !is_within(&name) {
                elsewhere.push(name);
                continue;
            }
            let path = self.load.folder().join(&name);
            match small_file::read(&path, FILE_BYTES_MAX) {
                Ok(Some(bytes)) => {
                    files.insert(name, bytes);
                }
                Ok(None) => elsewhere.push(name),
                Err(error) => {
                    let why = format!("{} cannot be read: {error}", path.display());
                    return Err(answers::refusal(503, &why));
                }
            }
        }
        let of = Provenance {
            version: env!("CARGO_PKG_VERSION").into(),
            made: rfc3339(self.running.clock().now().wall),
            hostname: state.policy.hostname.to_string(),
            revision,
            elsewhere,
        };
        Ok((Backup { text, files, ..Backup::default() }, of))
    }

    fn restored(&self, backup: Backup, terms: Terms, peer: &Peer) -> Result<Taken, HttpResponse> {
        let Backup { text, files, suspensions, silences } = backup;
        let orders = orders(&suspensions, &silences)?;
        let mut state = self.state();
        let names: Vec<String> = files.keys().cloned().collect();
        self.may_replace(&state, &text, &files)?;
        let Terms { comment, confirm, next_start } = terms;
        let comment = if comment.is_empty() { "restored from a backup".into() } else { comment };
        let (base, origin) = (state.history.current(), origin(peer));
        let activate = Activate::AtOnce;
        let change = Change { text, base, origin, comment, confirm, next_start, activate, files };
        let mut answer = self.make(&mut state, change, peer)?;
        answer["files"] = json!(names);
        Ok(Taken { answer, orders })
    }

    /// Whether all files are the new configuration's, and those that would
    /// become others are that of the one in force.
    fn may_replace(
        &self,
        state: &State,
        text: &str,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), HttpResponse> {
        let named = self.load.named(text);
        if let Some(name) = files.keys().find(|name| !named.contains(*name)) {
            let why = format!("the backup has {name}, which its configuration does not name");
            return Err(answers::refusal(422, &why));
        }
        let ours = self.load.named(&self.text(state, state.history.in_force())?);
        let pending = Pending::of(self.load.folder(), files.clone());
        match pending.replaced().find(|name| !ours.contains(*name)) {
            None => Ok(()),
            Some(name) => {
                let why = format!(
                    "{} is there and no file of the configuration in force: it is not replaced. \
                     Move it away first",
                    self.load.folder().join(name).display()
                );
                Err(answers::refusal(409, &why))
            }
        }
    }
}

/// What is to be stopped and silenced, as requests.
fn orders(suspensions: &[Value], silences: &[Value]) -> Result<Vec<Request>, HttpResponse> {
    let parsed = |path: &str, body: &Value| {
        Request::parse("POST", path, body.to_string().as_bytes())
            .map_err(|error| answers::refusal(422, &format!("in the backup, {path}: {error}")))
    };
    let suspensions = suspensions.iter().map(|body| parsed("/v1/suspend", body));
    let silences = silences.iter().map(|body| parsed("/v1/alerts/silence", body));
    suspensions.chain(silences).collect()
}

/// The order that stops what a row says is stopped.
fn suspension(row: &Value) -> Value {
    let mut order = json!({ "reason": row["reason"] });
    match row["scope"].as_str().unwrap_or("all") {
        "all" => order["all"] = json!(true),
        kind => order[kind] = row["name"].clone(),
    }
    with_end(order, row)
}

fn silence(row: &Value) -> Value {
    let mut order = json!({ "reason": row["reason"] });
    match row["rule"].is_null() {
        true => order["all"] = json!(true),
        false => order["rule"] = row["rule"].clone(),
    }
    with_end(order, row)
}

fn with_end(mut order: Value, row: &Value) -> Value {
    if !row["until"].is_null() {
        order["until"] = row["until"].clone();
    }
    order
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many are refused, all are counted, and the first are named.
    #[test]
    fn orders_that_are_refused_are_named_up_to_a_bound() {
        let orders = |count: usize| {
            let body = |n| json!({ "domain": format!("d{n}.example"), "reason": "they move" });
            orders(&(0..count).map(body).collect::<Vec<_>>(), &[]).unwrap_or_default()
        };
        let others: Handler = Arc::new(|order, _| match order.to_string().contains("d0.") {
            true => HttpResponse::json(200, &json!({})),
            false => answers::refusal(409, "no room"),
        });
        let given = |count| {
            let mut answer = json!({});
            give(orders(count), &Peer::Local { pid: 1, uid: 0 }, &others).told(&mut answer);
            answer
        };
        assert_eq!(given(1), json!({ "orders": 1 }));
        for (count, named) in [(REFUSED_TOLD_MAX + 1, 100), (REFUSED_TOLD_MAX + 2, 100)] {
            let answer = given(count);
            assert_eq!(
                (&answer["orders"], &answer["refused"]["count"]),
                (&json!(1), &json!(count - 1))
            );
            let first = answer["refused"]["first"].as_array().unwrap();
            assert_eq!(first.len(), named);
            let row =
                json!({ "order": "suspend domain d1.example: they move", "error": "no room" });
            assert_eq!(first[0], row);
        }
    }
}
