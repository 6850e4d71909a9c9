//! What the server itself tells the log: its start and its end, and who asked
//! for what over the control socket.

use std::sync::PoisonError;
use std::time::Duration;

use control::Policy;
use eventlog::{Field, Kind, Line};
use meter::exposition::LogReader;
use shard::command::Answer;

use super::Running;
use crate::control_socket::Peer;
use crate::log_files::LogSettings;
use crate::log_sink::LogSink;
use crate::machine;
use crate::sinks::Sinks;

/// Octets that the log has of a request. Whoever asks may name what there is not, at
/// any length; a line must still fit into a datagram to the machine's own syslog,
/// and into what readers of the log take for one.
const REQUEST_BYTES_MAX: usize = 8 << 10;

impl Running {
    /// Writes a line about a command that changes something.
    pub fn log_command(&self, request: &str, peer: &Peer) {
        let request = &request[..request.floor_char_boundary(REQUEST_BYTES_MAX)];
        let line = Line::new(self.clock.now().wall, Kind::Control).text(Field::Request, request);
        let line = match peer {
            Peer::Local { .. } => line,
            Peer::Remote { address, .. } => line.show(Field::Client, address),
        };
        self.log(peer.in_log(line));
    }

    /// Writes a line into the log.
    pub(crate) fn log(&self, line: Line) {
        if let Some(log) = &*self.log.lock().unwrap_or_else(PoisonError::into_inner) {
            log.line(line);
        }
    }

    /// Puts other settings of the log, and of those who read behind it, in
    /// force.
    pub(super) fn set_log(&self, policy: &Policy) {
        if let Some(log) = &*self.log.lock().unwrap_or_else(PoisonError::into_inner) {
            log.set(LogSettings::of(policy));
        }
        if let Some(sinks) = &mut *self.sinks.lock().unwrap_or_else(PoisonError::into_inner) {
            sinks.set(policy);
        }
    }

    /// How far each webhook is.
    pub fn webhooks(&self) -> Answer {
        self.of_sinks(Sinks::webhooks)
    }

    /// How far each syslog server is.
    pub fn syslogs(&self) -> Answer {
        self.of_sinks(Sinks::syslogs)
    }

    /// How far all who read the log are, in numbers.
    pub(crate) fn log_readers(&self) -> Vec<LogReader> {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.as_ref().map_or_else(Vec::new, Sinks::numbers)
    }

    fn of_sinks(&self, what: fn(&Sinks) -> serde_json::Value) -> Answer {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        match &*sinks {
            Some(sinks) => Answer::ok(what(sinks)),
            None => Answer::busy("the daemon is stopping"),
        }
    }

    /// Lines that the log had to drop since the start.
    pub fn log_lines_lost(&self) -> u64 {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.as_ref().map_or(0, LogSink::lost)
    }

    pub(super) fn log_start(&self, messages: u64) {
        let line = Line::new(self.clock.now().wall, Kind::Start)
            .text(Field::Version, env!("CARGO_PKG_VERSION"))
            .number(Field::Pid, std::process::id())
            .number(Field::Shards, self.inboxes.len() as u64);
        self.log(line.number(Field::Messages, messages));
        self.log_missing_addresses();
    }

    /// Tells of listeners for mail that nobody reaches for now. Other ports tell
    /// of themselves.
    fn log_missing_addresses(&self) {
        for address in self.listening().into_iter().filter(|it| machine::lacks(*it)) {
            let reason = format_args!(
                "this machine does not have the address of {address}; mail is taken there once it \
                 does"
            );
            self.log(Line::new(self.clock.now().wall, Kind::Shortage).show(Field::Reason, reason));
        }
    }

    pub(super) fn log_stop(&self, time: Duration) {
        let why = if time.is_zero() { "at once" } else { "drained" };
        self.log(Line::new(self.clock.now().wall, Kind::Stop).text(Field::Reason, why));
    }
}
