//! What the control socket can ask of the shards, and how their answers become
//! one. A command goes to every shard; each answers for its own part; the
//! caller of the control socket gets the merged answer.
//!
//! Invariant: merging is pure and does not depend on which shard answered
//! first.

use meter::Reading;
use serde_json::{Map, Value};

/// One checked request from the control socket.
pub type Command = control::Request;

/// One shard's answer, or the merged one.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status: 200, or 404 when the thing asked for is not here.
    pub status: u16,
    /// The JSON body.
    pub body: Value,
    /// A message as a file, instead of the body.
    pub file: Option<Vec<u8>>,
    /// What the shard has counted, beside the body.
    pub reading: Option<Box<Reading>>,
}

impl Answer {
    /// A good answer.
    pub fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    /// An answer with any status.
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, body, file: None, reading: None }
    }

    /// A good answer with what the shard has counted.
    pub fn counted(body: Value, reading: Reading) -> Self {
        Self { reading: Some(Box::new(reading)), ..Self::ok(body) }
    }

    /// A message as a file.
    pub fn file(file: Vec<u8>) -> Self {
        Self { file: Some(file), ..Self::ok(Value::Null) }
    }

    /// The request makes no sense: every shard says the same.
    pub fn refused(reason: &str) -> Self {
        Self::new(400, serde_json::json!({ "error": reason }))
    }

    /// The request makes sense, and cannot be done just now.
    pub fn busy(reason: &str) -> Self {
        Self::new(409, serde_json::json!({ "error": reason }))
    }

    /// A message was not taken: 503 for now, 413 or 422 for good.
    pub fn not_taken(answer: &smtp::Answer) -> Self {
        let status = match answer.code.number() {
            552 => 413,
            code if code >= 500 => 422,
            _ => 503,
        };
        Self::new(status, serde_json::json!({ "error": answer.text }))
    }

    /// "Not here": another shard may have it.
    pub fn not_found(reason: &str) -> Self {
        Self::new(404, serde_json::json!({ "error": reason }))
    }
}

/// Makes one answer of those of all shards, given in shard order. Numbers add
/// up, except times and free space, of which the extreme counts; lists are joined;
/// other values are the first shard's; a thing found by one shard is found.
pub fn merge(command: &Command, mut answers: Vec<Answer>) -> Answer {
    // Only the shard that wrote a message has it.
    if let Some(file) = answers.iter_mut().find_map(|answer| answer.file.take()) {
        return Answer::file(file);
    }
    let reading = answers.iter_mut().filter_map(|answer| answer.reading.take());
    let reading = reading.reduce(|mut sum, one| {
        sum.merge(*one);
        sum
    });
    let mut found = answers.iter().filter(|a| a.status == 200).peekable();
    if found.peek().is_none() {
        // Who has something to say is heard before those that only have it not.
        let spoken = answers.iter().position(|a| a.status != 404).unwrap_or_default();
        return answers
            .into_iter()
            .nth(spoken)
            .unwrap_or_else(|| Answer::not_found("no shard answered"));
    }
    let mut body = Value::Null;
    for answer in found {
        merge_value("", &mut body, &answer.body);
    }
    crate::view::finish(command, &mut body, reading.as_deref());
    Answer { reading, ..Answer::ok(body) }
}

/// Adds one row of a list to another of the same name.
pub(crate) fn join(into: &mut Value, from: &Value) {
    merge_value("", into, from);
}

fn merge_value(key: &str, into: &mut Value, from: &Value) {
    match (into, from) {
        (into @ Value::Null, from) => *into = from.clone(),
        (Value::Object(into), Value::Object(from)) => merge_object(into, from),
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (Value::Number(into), Value::Number(from)) => merge_number(key, into, from),
        _ => {}
    }
}

fn merge_object(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match into.get_mut(key) {
            Some(slot) => merge_value(key, slot, value),
            None => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

fn merge_number(key: &str, into: &mut serde_json::Number, from: &serde_json::Number) {
    let (Some(a), Some(b)) = (into.as_u64(), from.as_u64()) else { return };
    let merged = match key {
        "uptime_ms" => a.max(b),
        // The same everywhere, or known to one shard sooner than to another.
        "connections_max" | "silent_sites" => a.max(b),
        "free_bytes" | "oldest_ms" | "next_attempt_ms" | "since_ms" => a.min(b),
        _ => a.saturating_add(b),
    };
    *into = merged.into();
}
