//! TLS with clients that hand mail in: what their listener has of it, and what
//! follows on a handshake.
//!
//! Never decides when a handshake begins: that is the session's.
//!
//! Read first: RFC 3207 §4, RFC 8314 §3.3.

use base::ConnId;
use control::TlsMode;
use smtp::submission::Tls;

use crate::delivery_log::Line;
use crate::shard::{Shard, Turn};

impl Shard {
    /// What TLS is at a listener; none at one that the policy has no more.
    pub(crate) fn tls_at(&self, listener: u16) -> TlsMode {
        let listener = self.policy.submission.listen.get(usize::from(listener));
        listener.map_or(TlsMode::None, |listener| listener.tls)
    }

    /// A handshake with a client has succeeded.
    pub(crate) fn client_secured(&mut self, turn: &mut Turn<'_>, conn: ConnId, description: &str) {
        let Some(inbound) = self.inbound.get_mut(&conn) else { return };
        inbound.session.secured(turn.now.mono);
        let peer = inbound.peer;
        self.metrics.clients_secured += 1;
        if self.detailed() {
            let line = Line::new(turn.now.wall, "tls").number("session", conn.0);
            turn.log(line.show("client", peer).text("tls", description));
        }
        self.run_session(turn, conn, Vec::new());
    }

    /// A handshake with a client has failed: no word in the clear behind it.
    pub(crate) fn client_not_secured(&mut self, turn: &mut Turn<'_>, conn: ConnId, reason: &str) {
        let Some(inbound) = self.inbound.get(&conn) else { return };
        let line = Line::new(turn.now.wall, "client-tls-failed").show("client", inbound.peer);
        turn.log(line.number("session", conn.0).text("error", reason));
        self.metrics.clients_not_secured += 1;
        self.finish_session(turn, conn, Vec::new());
    }
}

/// What a session begins with at a listener that does not speak TLS at once.
pub(crate) fn starttls(mode: TlsMode) -> Tls {
    match mode {
        TlsMode::None | TlsMode::Implicit => Tls::None,
        TlsMode::Opportunistic => Tls::Offered,
        TlsMode::Required => Tls::Required,
    }
}
