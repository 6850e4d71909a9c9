//! What stories ask of a world: commands with their answers, log lines, and that
//! nothing is left open at the end.
//!
//! Never used by runs by seed, which look through the world's eyes alone.

use base::MessageId;
use control::Request;
use serde_json::Value;
use shard::command::Answer;
use std::time::Duration;

use super::World;

impl World {
    /// Sends a command to all shards and waits for the merged answer.
    pub fn command(&mut self, command: Request) -> Answer {
        let request = self.order(&command);
        let mut merged = None;
        self.run_until("an answer", |world| {
            merged = world.obeyed(request);
            merged.is_some()
        });
        merged.expect("it was waited for")
    }

    /// Lets time pass until something is so, at most ten days.
    pub fn run_until(&mut self, what: &str, mut so: impl FnMut(&mut Self) -> bool) {
        let end = self.now.mono + Duration::from_secs(10 * 86_400);
        while !so(self) {
            let next = self.next_moment().unwrap_or_else(|| panic!("nothing left, but no {what}"));
            assert!(next <= end, "ten days without {what}");
            self.go_on();
        }
    }

    /// The merged status.
    pub fn status(&mut self) -> Value {
        self.command(Request::Status).body
    }

    /// Log lines of one kind.
    pub fn logged(&self, event: &str) -> Vec<&Value> {
        self.log.iter().filter(|line| line["event"] == event).collect()
    }

    /// Everything has come to an end: no mail, no connection, no permit out.
    pub fn assert_over(&mut self) {
        // Idle connections close, syncs end, permits come home.
        self.run_for(Duration::from_secs(90));
        let status = self.status();
        assert_eq!(status["messages"], 0, "{status}");
        for state in ["ready", "deferred", "in_flight", "held"] {
            assert_eq!(status["recipients"][state], 0, "{state}: {status}");
        }
        assert_eq!(status["sessions"]["in"], 0);
        assert_eq!(status["sessions"]["out"], 0);
        assert_eq!(self.network.open(), 0, "connections are left open");
        for shard in &self.shards {
            assert_eq!(shard.limits_in_use(), 0, "permits have not come home");
        }
    }

    /// Ids of the messages that `queue list` knows, with their rows.
    pub fn rows(&mut self) -> Vec<Value> {
        let by = control::By::Message;
        let filter = control::Filter { all: true, ..control::Filter::default() };
        let answer = self.command(Request::QueueList { by, filter, limit: 10_000 });
        answer.body["messages"].as_array().expect("a list").clone()
    }

    /// Does something to one message, or to all.
    pub fn act(&mut self, act: control::QueueAct, id: Option<MessageId>) -> u64 {
        let filter = control::Filter { all: id.is_none(), id, ..control::Filter::default() };
        let answer =
            self.command(Request::QueueAct { act, filter, how: control::api::How::default() });
        answer.body["recipients"].as_u64().expect("a count")
    }
}
