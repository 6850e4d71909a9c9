//! TLS with clients that hand mail in, and their protocol: what their listener
//! has of both, and what follows on a handshake.
//!
//! Never decides when a handshake begins: that is the session's.
//!
//! Read first: RFC 3207 §4, RFC 8314 §3.3.

use std::sync::Arc;

use base::ConnId;
use control::TlsMode;
use control::users::Fingerprint;
use eventlog::{Field, Kind, Line};
use smtp::submission::Tls;

use crate::quota::Who;
use crate::shard::{Shard, Turn};

impl Shard {
    /// What TLS is at a listener; none at one that the policy has no more.
    pub(crate) fn tls_at(&self, listener: u16) -> TlsMode {
        let listener = self.policy.submission.listen.get(usize::from(listener));
        listener.map_or(TlsMode::None, |listener| listener.tls)
    }

    /// Whether LMTP is spoken at a listener.
    pub(crate) fn speaks_lmtp(&self, listener: u16) -> bool {
        let listener = self.policy.submission.listen.get(usize::from(listener));
        listener.is_some_and(|listener| listener.lmtp)
    }

    /// A client is showing a certificate, and has proved that it is its own.
    pub(crate) fn client_shows(&mut self, conn: ConnId, certificate: Fingerprint) {
        if let Some(inbound) = self.inbound.get_mut(&conn) {
            inbound.certificate = Some(certificate);
        }
    }

    /// Who a certificate stands for, if it may have another session.
    fn who_shows(&mut self, turn: &Turn<'_>, certificate: &Fingerprint) -> Option<Arc<str>> {
        let users = self.policy.submission.users.as_ref()?;
        let user: Arc<str> = users.of_certificate(certificate)?.into();
        let enters = match &mut self.quotas {
            Some(quotas) => quotas.enter_user(&user, turn.now.mono),
            None => true,
        };
        enters.then_some(user)
    }

    /// A handshake with a client has succeeded.
    pub(crate) fn client_secured(&mut self, turn: &mut Turn<'_>, conn: ConnId, description: &str) {
        let Some(mut inbound) = self.inbound.remove(&conn) else { return };
        // Whoever logged in before has to do so again.
        self.leave(&Who { network: None, user: inbound.who.user.take() });
        inbound.session.secured(turn.now.mono);
        let peer = inbound.peer;
        self.metrics.clients_secured += 1;
        let certificate = inbound.certificate.take();
        if let Some(user) = certificate.and_then(|shown| self.who_shows(turn, &shown)) {
            self.metrics.log_ins += 1;
            if self.detailed() {
                let line = Line::new(turn.now.wall, Kind::LogIn).show(Field::Client, peer.ip());
                let line = line.session(self.session_name(conn));
                self.tell(turn, conn, line.text(Field::User, &user));
            }
            inbound.who.user = self.quotas.as_ref().map(|_| user.clone());
            inbound.session.prove(user);
        }
        self.inbound.insert(conn, inbound);
        if self.detailed() {
            let line = Line::new(turn.now.wall, Kind::TlsUp);
            let line = line.session(self.session_name(conn));
            let line = line.show(Field::Client, peer.ip()).text(Field::Tls, description);
            self.tell(turn, conn, line);
        }
        self.run_session(turn, conn, Vec::new());
    }

    /// A handshake with a client has failed: no word in the clear behind it.
    pub(crate) fn client_not_secured(&mut self, turn: &mut Turn<'_>, conn: ConnId, reason: &str) {
        let Some(inbound) = self.inbound.get(&conn) else { return };
        let line = Line::new(turn.now.wall, Kind::ClientTlsFailed)
            .show(Field::Client, inbound.peer.ip())
            .number(Field::Port, inbound.peer.port())
            .session(self.session_name(conn));
        turn.log(line.text(Field::Error, reason));
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
