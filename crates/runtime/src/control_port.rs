//! The port for control from elsewhere: what the control socket answers, over
//! TLS, to clients with a certificate of the authority that the policy names.
//! Blocking threads, bounded in number, apart from the executors.
//!
//! Never decides what a request means. Listens where the policy in force says,
//! with the certificates that it holds, and follows it when that changes.
//! Invariants: nobody is heard before the handshake has proved who they are, nor
//! once they may not any more, however long their connection has stood;
//! those who never prove it, from one network, keep nobody out, and fill no log.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::Monotonic;
use control::{Authority, RemoteControl, certificate};
use eventlog::{Field, Kind, Line};
use rustls::ServerConfig;

use crate::control_socket::{Door, Handler, Peer, converse};
use crate::error::StartError;
use crate::http::{self, HttpResponse, Lines};
use crate::port::{Port, Service};
use crate::server::Running;
use crate::tls_server;
use crate::tls_stream::TlsStream;

/// Connections at once, with those whose handshake is under way; more are
/// closed.
const CONNECTIONS_MAX: usize = 64;
/// Clients that are served at once; more are answered 503.
const CLIENTS_MAX: usize = 32;
/// Handshakes under way with one address, or one /64; more are closed.
const HANDSHAKES_MAX: u32 = 8;
/// Time for one.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Lines about those who were not let in, in one minute.
const REFUSALS_MAX: u32 = 10;

/// The port. Dropping it ends it.
#[derive(Debug)]
pub struct ControlPort {
    _port: Port,
}

impl ControlPort {
    /// Listens where the policy of `running` says, now and whenever it says
    /// otherwise. What cannot be listened on is told of in the log, and tried
    /// again.
    ///
    /// # Errors
    /// [`StartError::LocalThread`].
    pub fn start(running: Arc<Running>, handler: Handler) -> Result<Self, StartError> {
        let (wanting, complaining) = (running.clone(), running.clone());
        let gate = Arc::new(Gate {
            running,
            handler,
            handshakes: Handshakes::default(),
            clients: AtomicUsize::new(0),
            refusals: Mutex::default(),
            made: Mutex::default(),
        });
        let service = Service {
            name: "control-port",
            connections_max: CONNECTIONS_MAX,
            busy: "",
            is_private: false,
            waits: true,
            serving: Arc::new(move |stream| gate.serve(stream)),
        };
        let wanted = Box::new(move || {
            let control = wanting.policy().control.clone();
            control.map_or_else(Vec::new, |control| control.listen.clone())
        });
        let complain = Box::new(move |error: StartError| {
            let line = Line::new(complaining.clock().now().wall, Kind::ControlRefused);
            complaining.log(line.show(Field::Error, format_args!("{error}; tried again")));
        });
        Ok(Self { _port: Port::start(service, wanted, complain)? })
    }
}

/// Where clients are let in, or not.
struct Gate {
    running: Arc<Running>,
    handler: Handler,
    handshakes: Handshakes,
    clients: AtomicUsize,
    refusals: Mutex<Refusals>,
    /// What was made of the settings in force last.
    made: Mutex<Option<(Arc<RemoteControl>, Arc<ServerConfig>)>>,
}

impl Gate {
    /// Serves a client to its end.
    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let (Ok(from), Some((control, config))) = (stream.peer_addr(), self.config()) else {
            return;
        };
        if !self.handshakes.begin(from.ip()) {
            return self.refuse(from, "too many handshakes are under way with this address");
        }
        let accepted = TlsStream::accept(stream, config, HANDSHAKE_TIME_MAX);
        self.handshakes.end(from.ip());
        let mut stream = match accepted {
            Ok(stream) => stream,
            Err(why) => return self.refuse(from, &why),
        };
        let named = stream.certificate().and_then(|shown| certificate::subject(shown));
        let certificate = named.unwrap_or_default().into();
        let peer = Peer::Remote { address: from.ip(), certificate };
        let name = stream.certificate().and_then(|shown| certificate::common_name(shown));
        let (running, authority) = (self.running.clone(), control.authority.clone());
        let handler = LetIn { running, authority, name }.guards(self.handler.clone());
        if self.clients.fetch_add(1, Ordering::AcqRel) < CLIENTS_MAX {
            converse(&mut stream, Door::Remote, &peer, &handler);
        } else {
            let busy = HttpResponse::error(503, "too many connections to the control port");
            let _ = http::write(&mut stream, &busy, false);
        }
        self.clients.fetch_sub(1, Ordering::AcqRel);
        stream.end();
    }

    /// The settings in force, and what they ask of clients; none where the port is
    /// off by now.
    fn config(&self) -> Option<(Arc<RemoteControl>, Arc<ServerConfig>)> {
        let control = self.running.policy().control.clone()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, config)) = &*made
            && **of == *control
        {
            return Some((control, config.clone()));
        }
        // It was tried before the policy came into force.
        let config = tls_server::control_config(&control).ok()?;
        *made = Some((control.clone(), config.clone()));
        Some((control, config))
    }

    fn refuse(&self, from: SocketAddr, why: &str) {
        let now = self.running.clock().now();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(unsaid) = refusals.said(now.mono) else { return };
        let line = Line::new(now.wall, Kind::ControlRefused)
            .show(Field::Client, from.ip())
            .number(Field::Port, from.port())
            .text(Field::Error, why);
        let line = if unsaid > 0 { line.number(Field::Count, unsaid + 1) } else { line };
        self.running.log(line);
    }
}

/// A client who was let in.
struct LetIn {
    running: Arc<Running>,
    /// Whose certificate it has shown.
    authority: Authority,
    /// The common name in that.
    name: Option<String>,
}

impl LetIn {
    /// Whether it would be let in again, as far as the settings decide that.
    fn may(&self) -> bool {
        let policy = self.running.policy();
        let Some(RemoteControl { authority, names, .. }) = policy.control.as_deref() else {
            return false;
        };
        let named = || names.iter().any(|name| Some(&**name) == self.name.as_deref());
        *authority == self.authority && (names.is_empty() || named())
    }

    /// Answers by `handler` for as long as the client may.
    fn guards(self, handler: Handler) -> Handler {
        let client = Arc::new(self);
        Arc::new(move |request, peer| {
            if !client.may() {
                let refused = HttpResponse::error(403, "this certificate may not any more");
                return HttpResponse { is_last: true, ..refused };
            }
            let mut response = handler(request, peer);
            let client = client.clone();
            response.lines = response.lines.map(|Lines(mut next)| {
                Lines(Box::new(move || match client.may() {
                    true => next(),
                    false => Err(io::ErrorKind::PermissionDenied.into()),
                }))
            });
            response
        })
    }
}

/// How many handshakes are under way, by what one client has.
#[derive(Default)]
struct Handshakes(Mutex<BTreeMap<IpAddr, u32>>);

impl Handshakes {
    /// Whether one with this address may begin.
    fn begin(&self, address: IpAddr) -> bool {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(network(address)).or_default();
        let may = *count < HANDSHAKES_MAX;
        *count += u32::from(may);
        may
    }

    fn end(&self, address: IpAddr) {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network(address);
        if let Some(count) = under_way.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&network);
            }
        }
    }
}

/// What one client has: an address, or a whole /64.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

/// How often somebody was not let in, and how much of that was said.
#[derive(Debug, Default)]
struct Refusals {
    minute: Option<Monotonic>,
    said: u32,
    unsaid: u64,
}

impl Refusals {
    /// One more: how many were not said before it, where it is to be said.
    fn said(&mut self, now: Monotonic) -> Option<u64> {
        if self.minute.is_none_or(|begun| now.since(begun) >= Duration::from_secs(60)) {
            (self.minute, self.said) = (Some(now), 0);
        }
        if self.said >= REFUSALS_MAX {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One host has as many addresses of IPv6 as it likes, and once took all
    /// connections of the port with handshakes that it never went on with.
    #[test]
    fn handshakes_are_bounded_for_each_client_however_many_addresses_it_has() {
        let handshakes = Handshakes::default();
        let of = |text: String| text.parse::<IpAddr>().unwrap();
        let begun = (0..100).filter(|n| handshakes.begin(of(format!("2001:db8:0:7::{n:x}"))));
        assert_eq!(begun.count(), HANDSHAKES_MAX as usize);
        for other in ["2001:db8:0:8::1", "192.0.2.1", "192.0.2.2", "::ffff:192.0.2.2"] {
            assert!(handshakes.begin(of(other.into())), "{other}");
        }
        handshakes.end(of("2001:db8:0:7::63".into()));
        assert!(handshakes.begin(of("2001:db8:0:7::ffff".into())), "one has ended");
        let shared = handshakes.0.lock().unwrap();
        assert_eq!(shared.get(&of("192.0.2.2".into())), Some(&2), "it is the same host");
    }

    #[test]
    fn refusals_are_told_up_to_a_bound_and_counted_beyond_it() {
        let mut refusals = Refusals::default();
        let at = |s: u64| Monotonic::from_millis(s * 1_000);
        for _ in 0..REFUSALS_MAX {
            assert_eq!(refusals.said(at(1)), Some(0));
        }
        assert_eq!((refusals.said(at(2)), refusals.said(at(60))), (None, None));
        assert_eq!(refusals.said(at(61)), Some(2));
        assert_eq!(refusals.said(at(62)), Some(0));
    }
}
