//! The identity of a site: destinations that share their mail exchangers (or
//! relay hosts) are one site for connections, back-off and limits.
//!
//! Two names, because two questions. May this message use that connection?
//! Only if port, TLS, trust and source agree too: [`Site::key`]. Whose limit
//! does it count against? That of the hosts, whatever the TLS and the source:
//! [`Site::limit_key`]. A route or source that sets its own limits has its own
//! site and its own count.

use std::fmt::Write;

use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::log_in::Origin;
use crate::mode::{Mode, Smarthost, TlsMode, Trust};

/// The names of a site. Computed once per resolved next hop, not per message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// Connections and back-off are shared under this name.
    pub key: String,
    /// Connections and messages are counted under this name, over all shards.
    pub limit_key: String,
}

impl Site {
    /// The site of mail exchangers. `exchangers` is the identity of the MX set
    /// (its sorted names), or an address in text for a literal.
    pub fn of_exchangers(way: &Delivery, exit: Exit, exchangers: &str) -> Self {
        let limit_key = format!("mx:{exchangers}");
        let mut key = limit_key.clone();
        // Writing to a String cannot fail.
        if way.port != 25 {
            let _ = write!(key, ";port={}", way.port);
        }
        if way.tls != TlsMode::default() {
            let _ = write!(key, ";tls={}", way.tls);
        }
        if matches!(way.tls, TlsMode::Required | TlsMode::Implicit) {
            push_trust(&mut key, &way.trust);
        }
        Self { key, limit_key }.apart(way, exit)
    }

    /// The site of a way whose mail goes to one place; `None` in independent
    /// mode.
    pub fn of_relay(way: &Delivery, exit: Exit) -> Option<Self> {
        let hosts = match &way.mode {
            Mode::Relay(hosts) => hosts,
            Mode::Independent => return None,
            Mode::Socket(path) => return Some(Self::at(format!("lmtp:{path}")).apart(way, exit)),
            Mode::Folders(at) => return Some(Self::at(format!("maildir:{at}")).apart(way, exit)),
        };
        let mut limit_key = String::from(if way.lmtp { "lmtp:" } else { "relay:" });
        let mut key = limit_key.clone();
        for (place, smarthost) in hosts.iter().enumerate() {
            let Smarthost { host, port, tls, trust, .. } = smarthost;
            let comma = if place > 0 { "," } else { "" };
            let _ = write!(limit_key, "{comma}{host}:{port}");
            let _ = write!(key, "{comma}{host}:{port}");
            if *tls != TlsMode::default() {
                let _ = write!(key, "/{tls}");
            }
            if matches!(tls, TlsMode::Required | TlsMode::Implicit) && *trust != Trust::default() {
                let _ = write!(key, "/trust={trust}");
            }
            if let Some(pop) = &smarthost.pop {
                let _ = write!(key, "/pop={}:{},{:?}", pop.host, pop.port, pop.user);
            }
            if let Some(identity) = &smarthost.identity {
                let _ = write!(key, "/certificate={:?}", identity.certificate);
            }
            // Nobody's mail leaves under another's name.
            if let Some(auth) = way.log_in(smarthost, exit) {
                let _ = match &auth.origin {
                    Origin::File(file) => write!(key, "/auth={:?},{file:?}", auth.user),
                    Origin::Command(command) => {
                        write!(key, "/auth={:?},{:?}", auth.user, command.program.words())
                    }
                };
            }
        }
        Some(Self { key, limit_key }.apart(way, exit))
    }

    fn at(key: String) -> Self {
        Self { limit_key: key.clone(), key }
    }

    fn apart(mut self, way: &Delivery, exit: Exit) -> Self {
        if way.own_limits {
            let _ = write!(self.key, ";route={}", way.name);
            let _ = write!(self.limit_key, ";route={}", way.name);
        }
        // A connection cannot change its address, and each address has its
        // own standing with the site: one that is put off leaves others alone.
        if let Some(source) = way.source(exit) {
            let _ = write!(self.key, ";source={}", source.name);
            if source.own_limits() {
                let _ = write!(self.limit_key, ";source={}", source.name);
            }
        }
        self
    }
}

fn push_trust(key: &mut String, trust: &Trust) {
    if *trust != Trust::default() {
        let _ = write!(key, ";trust={trust}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{Pool, Source};
    use mail::Host;
    use std::sync::Arc;

    fn relay(hosts: &[(&str, u16, TlsMode)]) -> Delivery {
        let hosts = hosts.iter().map(|(host, port, tls)| Smarthost {
            host: Host::parse(host).unwrap(),
            port: *port,
            tls: *tls,
            trust: Trust::default(),
            identity: None,
            auth: None,
            by_sender: false,
            pop: None,
        });
        Delivery { mode: Mode::Relay(hosts.collect()), ..Delivery::default() }
    }

    #[test]
    fn domains_behind_one_mx_set_are_one_site() {
        let site =
            Site::of_exchangers(&Delivery::default(), Exit::default(), "mx1.example,mx2.example");
        assert_eq!(site.key, "mx:mx1.example,mx2.example");
        assert_eq!(site.limit_key, site.key);
    }

    #[test]
    fn other_tls_means_other_connections_but_the_same_limit() {
        let plain = Site::of_exchangers(&Delivery::default(), Exit::default(), "mx.example");
        let strict = Delivery {
            tls: TlsMode::Required,
            trust: Trust::System,
            port: 2525,
            ..Delivery::default()
        };
        let strict = Site::of_exchangers(&strict, Exit::default(), "mx.example");
        assert_eq!(strict.key, "mx:mx.example;port=2525;tls=required;trust=system");
        assert_eq!(strict.limit_key, plain.limit_key);
    }

    #[test]
    fn trust_matters_only_where_a_certificate_must_be_valid() {
        let way = Delivery { trust: Trust::System, ..Delivery::default() };
        assert_eq!(Site::of_exchangers(&way, Exit::default(), "mx.example").key, "mx:mx.example");
    }

    #[test]
    fn a_route_with_its_own_limits_counts_apart() {
        let way = Delivery { own_limits: true, name: "*.example".into(), ..Delivery::default() };
        let site = Site::of_exchangers(&way, Exit::default(), "mx.example");
        assert_eq!(site.limit_key, "mx:mx.example;route=*.example");
        assert_eq!(site.key, site.limit_key);
    }

    #[test]
    fn each_source_has_its_own_connections_and_its_own_limit_only_if_it_says_so() {
        let limited = Source { connections: Some(2), ..Source::new("b") };
        let members = [Source::new("a"), limited].map(|source| (Arc::new(source), 1));
        let pool = Pool { name: "pool".into(), members: members.into() };
        let way = Delivery { source: Some(Arc::new(pool)), ..Delivery::default() };
        let site = |place| Site::of_exchangers(&way, Exit::by_source(place), "mx.example");
        assert_eq!(site(0).key, "mx:mx.example;source=a");
        assert_eq!(site(0).limit_key, "mx:mx.example");
        assert_eq!(site(1).limit_key, "mx:mx.example;source=b");
        assert_eq!(way.limits(Exit::by_source(0), 7).connections, way.connections);
        assert_eq!(way.limits(Exit::by_source(1), 7).connections, 2);
    }

    #[test]
    fn a_relay_is_named_by_its_hosts_in_order() {
        let way = relay(&[
            ("smtp.isp.example", 587, TlsMode::Required),
            ("[192.0.2.1]", 25, TlsMode::Opportunistic),
        ]);
        let site = Site::of_relay(&way, Exit::default()).unwrap();
        assert_eq!(site.key, "relay:smtp.isp.example:587/required,[192.0.2.1]:25");
        assert_eq!(site.limit_key, "relay:smtp.isp.example:587,[192.0.2.1]:25");
        assert_eq!(Site::of_relay(&Delivery::default(), Exit::default()), None);
    }
}
