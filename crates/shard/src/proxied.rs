//! Connections through a proxy, until the host behind it is reached. What the
//! proxy says of the host is the host's; that the proxy is dead, refuses us or
//! talks nonsense is our own shortage, and its source is passed over.

use base::ConnId;
use control::ProxyKind;
use smtp::proxy::{Refusal, Socks5, Step, proxy_header};

use crate::connect::unreachable;
use crate::effect::Effect;
use crate::outbound::{Link, Outbound};
use crate::shard::{Shard, Turn};

impl Shard {
    /// The connection to the proxy stands: it is told where to go on to, still
    /// within the deadline of connecting.
    pub(crate) fn meet_proxy(&mut self, turn: &mut Turn<'_>, conn: ConnId, mut out: Box<Outbound>) {
        let Some(source) = out.way.source().cloned() else {
            unreachable!("who goes through a proxy has a source");
        };
        let to = out.leg().addr;
        match source.proxy.as_ref().map(|proxy| &proxy.kind) {
            Some(ProxyKind::Socks5(log_in)) => {
                let log_in = log_in.as_ref().map(|it| (it.user.clone(), it.secret.clone()));
                let (socks, bytes) = Socks5::new(to, log_in);
                let until = out.deadline().unwrap_or(turn.now.mono);
                out.link = Link::Proxy { until, socks: Box::new(socks) };
                turn.effects.push(Effect::Send { conn, bytes });
                self.keep(turn, conn, out);
            }
            Some(ProxyKind::Haproxy) => {
                // Addresses of another family were not planned with.
                let header = source.address_for(to.ip()).and_then(|from| proxy_header(from, to));
                if let Some(bytes) = header {
                    turn.effects.push(Effect::Send { conn, bytes });
                }
                self.reached(turn, conn, out, &[]);
            }
            None => self.reached(turn, conn, out, &[]),
        }
    }

    /// Bytes of a proxy that was asked for the host.
    pub(crate) fn proxy_said(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        mut out: Box<Outbound>,
        bytes: &[u8],
    ) {
        let Link::Proxy { socks, .. } = &mut out.link else { return self.keep(turn, conn, out) };
        match socks.received(bytes) {
            Step::Wait => self.keep(turn, conn, out),
            Step::Send(bytes) => {
                turn.effects.push(Effect::Send { conn, bytes });
                self.keep(turn, conn, out);
            }
            Step::Stands(first) => self.reached(turn, conn, out, &first),
            Step::Failed(refusal) => {
                turn.effects.push(Effect::Abort { conn });
                match refusal {
                    Refusal::PeerUnreached(_) => {
                        self.metrics.connects_failed += 1;
                        let why = unreachable(&format!("cannot connect: {refusal}"));
                        self.next_host(turn, out, &why);
                    }
                    _ => self.proxy_failed(turn, out, &refusal.to_string()),
                }
            }
        }
    }

    /// The proxy is of no use: nothing can leave by this source for now.
    pub(crate) fn proxy_failed(&mut self, turn: &mut Turn<'_>, out: Box<Outbound>, why: &str) {
        let proxy = out.way.proxy().map(|proxy| proxy.to_string()).unwrap_or_default();
        self.source_failed(turn, out, &format!("{proxy}: {why}"));
    }
}
