//! What leads to a session, for the log's `detail` level: questions to name
//! servers and their answers, the order of the hosts, permits.
//!
//! Called only while such lines are wanted. Never decides anything.

use std::net::SocketAddr;

use base::ConnId;
use control::{Verdict, Want};
use dns::shown;
use eventlog::{Field, Kind, Line};

use crate::outbound::Outbound;
use crate::plan::Candidate;
use crate::shard::{Shard, Turn};

/// Hosts of a plan that are told.
const HOSTS_TOLD_MAX: usize = 16;

impl Shard {
    /// The connection to a host stands.
    pub(crate) fn tell_connected(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &Outbound) {
        let line = Line::new(turn.now.wall, Kind::Connected).text(Field::Way, "out");
        let line = line.session(self.session_name(conn));
        let source = out.way.source().map_or("", |source| &source.name);
        let line = line.text(Field::Host, &out.host()).text_if(Field::Source, source);
        self.tell(turn, conn, line.show_some(Field::Proxy, out.way.proxy()));
    }

    /// A name server is asked.
    pub(crate) fn tell_query(&mut self, turn: &mut Turn<'_>, server: SocketAddr, bytes: &[u8]) {
        let Some(asked) = shown::read(bytes) else { return };
        let line = Line::new(turn.now.wall, Kind::Query)
            .text(Field::Domain, &asked.name)
            .show(Field::Host, server)
            .text(Field::Type, &asked.kind);
        self.tell_of_name(turn, &asked.name, line);
    }

    /// A name server has answered, or somebody in its name.
    pub(crate) fn tell_answer(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) {
        let Some(answer) = shown::read(bytes) else { return };
        let line = Line::new(turn.now.wall, Kind::Answer)
            .text(Field::Domain, &answer.name)
            .text(Field::Type, &answer.kind)
            .text(Field::Answer, &answer.text);
        self.tell_of_name(turn, &answer.name, line);
        for host in &answer.hosts {
            self.look_at_exchanger(&answer.name, host);
        }
    }

    /// A connection is about to be opened.
    pub(crate) fn tell_plan<'c>(
        &mut self,
        turn: &mut Turn<'_>,
        limit_key: &str,
        hosts: impl Iterator<Item = &'c Candidate>,
    ) {
        let hosts: Vec<String> = hosts.take(HOSTS_TOLD_MAX).map(Candidate::shown).collect();
        let line = Line::new(turn.now.wall, Kind::Plan)
            .text(Field::Site, limit_key)
            .text(Field::Mx, &hosts.join(", "));
        self.tell_of_limit(turn, limit_key, line);
    }

    /// Permits of a limit are asked for.
    pub(crate) fn tell_ask(&mut self, turn: &mut Turn<'_>, key: &str, want: Want) {
        let Want { connections, tokens } = want;
        let text = format!("asked for: {connections} connections, {tokens} messages");
        self.tell_permit(turn, key, &text);
    }

    /// The home of a limit has decided.
    pub(crate) fn tell_verdict(&mut self, turn: &mut Turn<'_>, key: &str, verdict: Verdict) {
        let text = match verdict {
            Verdict::Connections(count) => format!("granted: {count} connections"),
            Verdict::Tokens { count, .. } => format!("granted: {count} messages"),
            Verdict::Recall { keep } => format!("called back: all but {keep} connections"),
        };
        self.tell_permit(turn, key, &text);
    }

    fn tell_permit(&mut self, turn: &mut Turn<'_>, key: &str, text: &str) {
        let line =
            Line::new(turn.now.wall, Kind::Permit).text(Field::Of, key).text(Field::Permits, text);
        self.tell_of_limit(turn, key, line);
    }
}
