//! What a diagnosis found: the steps in their order, each with its time, and
//! the first that keeps mail from going.
//!
//! Invariants: bounded by the steps of a diagnosis, each of which says at most
//! [`SAID_BYTES_MAX`] octets; what a peer said is escaped.

use std::time::Duration;

use base::Monotonic;
use mail::Address;
use serde_json::{Value, json};

use crate::epoch::Way;

/// Octets of what is said of one step.
const SAID_BYTES_MAX: usize = 1_024;

/// How a step came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Result {
    /// Nothing stands in the way here.
    Good,
    /// Worth knowing, and nothing that stops this diagnosis.
    Noted,
    /// Mail does not go on from here, at this host or at all.
    Failed,
}

/// The steps so far.
#[derive(Debug)]
pub(super) struct Report {
    head: Value,
    /// The site's name, once it is known.
    pub(super) site: String,
    began: Monotonic,
    /// When the last step ended.
    last: Monotonic,
    steps: Vec<Value>,
    /// Place of the first step that stops everything.
    stop: Option<usize>,
    /// Place of the first step that failed at one host.
    failed_at_host: Option<usize>,
    /// A host has gone all the way.
    reached: bool,
}

impl Report {
    pub(super) fn new(now: Monotonic, address: &Address, way: &Way, hop: &str) -> Self {
        let head = json!({
            "address": address.to_string(),
            "route": &*way.name,
            "next_hop": hop,
            "source": way.source().map(|source| source.name.to_string()),
        });
        let mut report = Self {
            head,
            site: String::new(),
            began: now,
            last: now,
            steps: Vec::new(),
            stop: None,
            failed_at_host: None,
            reached: false,
        };
        let said = match way.is_default() {
            true => "no route takes it: it goes the default way".to_owned(),
            false => format!("route {} takes it", way.name),
        };
        report.add(now, "route", Result::Good, &said);
        report
    }

    /// A step about the mail as a whole: where it fails nothing goes.
    pub(super) fn add(&mut self, now: Monotonic, step: &str, result: Result, said: &str) {
        if result == Result::Failed {
            self.stop.get_or_insert(self.steps.len());
        }
        self.push(now, step, None, result, said);
    }

    /// The same for a good one with an answer in parts.
    pub(super) fn add_answer(
        &mut self,
        now: Monotonic,
        step: &str,
        said: &str,
        answer: Vec<Value>,
    ) {
        self.push(now, step, None, Result::Good, said);
        if let Some(row) = self.steps.last_mut() {
            row["answer"] = answer.into();
        }
    }

    /// A step at one host: where it fails another host may do.
    pub(super) fn add_of(
        &mut self,
        now: Monotonic,
        step: &str,
        host: &str,
        result: Result,
        said: &str,
    ) {
        if result == Result::Failed {
            self.failed_at_host.get_or_insert(self.steps.len());
        }
        self.push(now, step, Some(host), result, said);
    }

    /// A host would have taken MAIL.
    pub(super) fn reached(&mut self) {
        self.reached = true;
    }

    fn push(&mut self, now: Monotonic, step: &str, host: Option<&str>, result: Result, said: &str) {
        let mut text = String::new();
        smtp::reply::escape(said.as_bytes(), &mut text);
        debug_assert!(text.len() <= SAID_BYTES_MAX);
        let result = match result {
            Result::Good => "good",
            Result::Noted => "noted",
            Result::Failed => "failed",
        };
        self.steps.push(json!({
            "step": step,
            "host": host,
            "result": result,
            "said": text,
            "took_ms": millis(now.since(self.last)),
        }));
        self.last = now;
    }

    /// The answer.
    pub(super) fn to_json(&self, now: Monotonic) -> Value {
        let at_host = self.failed_at_host.filter(|_| !self.reached);
        let blocker = self.stop.or(at_host).map(|place| {
            let row = &self.steps[place];
            json!({ "step": row["step"], "host": row["host"], "said": row["said"] })
        });
        let mut body = self.head.clone();
        body["site"] = (!self.site.is_empty()).then_some(&*self.site).into();
        body["steps"] = self.steps.clone().into();
        body["blocker"] = blocker.into();
        body["took_ms"] = millis(now.since(self.began)).into();
        body
    }
}

/// `items` in one line.
pub(super) fn listed(items: impl Iterator<Item = String>, between: &str) -> String {
    items.collect::<Vec<_>>().join(between)
}

/// The lines of a peer's reply in one.
pub(super) fn lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SAID_BYTES_MAX)]);
    listed(text.lines().filter(|line| !line.is_empty()).map(str::to_owned), " / ")
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
