//! The steps of one resolution: ask for MX, ask for addresses, conclude.
//!
//! Never here: the doors of the room (`resolution`). Invariant: a work waits
//! for `open` look-ups, each with one waiter; a waiter whose work has ended is
//! passed over.

use super::*;

impl Dns {
    pub(super) fn start(&mut self, now: Monotonic, key: Key) {
        let (domain, kind) = match &self.work(key).want {
            Want::Mail(domain) => (domain.clone(), Part::Mx),
            Want::Host(domain) => (domain.clone(), Part::Ipv4(0)),
        };
        match (Name::of(&domain), kind) {
            (None, Part::Mx) => {
                self.end(now, key, Known::Mail(Exchange::NoDomain), now + BUSY_TIME)
            }
            (None, _) => {
                let none = Known::Host(Hosts::None { nxdomain: true });
                self.end(now, key, none, now + BUSY_TIME);
            }
            (Some(name), Part::Mx) => {
                if let Some(lookup) = self.ask(now, key, &name, Part::Mx) {
                    self.take_mx(now, key, &lookup);
                }
            }
            (Some(_), _) => self.ask_addresses(now, key, vec![(domain, 0)]),
        }
    }

    /// Hands what the resolver found out to the works that wait for it.
    pub(super) fn advance(&mut self, now: Monotonic) {
        while let Some((token, lookup)) = self.resolver.poll_answer() {
            for waiter in self.waiters.remove(&token).unwrap_or_default() {
                let Some(work) = self.works.get_mut(waiter.work) else { continue };
                match waiter.part {
                    Part::Mx => {
                        work.open -= 1;
                        self.take_mx(now, waiter.work, &lookup);
                        continue;
                    }
                    Part::Ipv4(at) => work.hosts[at].2.ipv4 = Some(lookup.clone()),
                    Part::Ipv6(at) => work.hosts[at].2.ipv6 = Some(lookup.clone()),
                }
                work.open -= 1;
                self.conclude(now, waiter.work);
            }
        }
    }

    /// Ends what only waits for addresses it could do without.
    pub(super) fn stop_waiting(&mut self, now: Monotonic) {
        while let Some((at, key)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            let work = self.work(key);
            work.timer = None;
            work.late = true;
            self.conclude(now, key);
        }
    }

    fn take_mx(&mut self, now: Monotonic, key: Key, lookup: &Lookup) {
        let Want::Mail(domain) = self.work(key).want.clone() else {
            unreachable!("only mail asks for MX");
        };
        match candidates(&domain, lookup, &self.own) {
            Next::Ended(exchange) => {
                self.end(now, key, Known::Mail(exchange), lookup.expires());
            }
            Next::Hosts { hosts, implicit } => {
                let work = self.work(key);
                work.implicit = implicit;
                work.mx_expires = lookup.expires();
                self.ask_addresses(now, key, hosts);
            }
        }
    }

    /// Asks for both families of all hosts at once.
    fn ask_addresses(&mut self, now: Monotonic, key: Key, hosts: Vec<(Domain, u16)>) {
        let family = self.family;
        for (at, (name, preference)) in hosts.into_iter().enumerate() {
            let asked = Name::of(&name);
            self.work(key).hosts.push((name, preference, Addresses::default()));
            let Some(asked) = asked else { continue };
            if family.asks_ipv6() {
                self.work(key).hosts[at].2.ipv6 = self.ask(now, key, &asked, Part::Ipv6(at));
            }
            if family.asks_ipv4() {
                self.work(key).hosts[at].2.ipv4 = self.ask(now, key, &asked, Part::Ipv4(at));
            }
        }
        let timer = now + STRAGGLER_WAIT;
        self.work(key).timer = Some(timer);
        self.timers.insert((timer, key));
        self.conclude(now, key);
    }

    /// The answer if it is known; otherwise the work waits for it.
    fn ask(&mut self, now: Monotonic, key: Key, name: &Name, part: Part) -> Option<Lookup> {
        let kind = match part {
            Part::Mx => Kind::Mx,
            Part::Ipv4(_) => Kind::A,
            Part::Ipv6(_) => Kind::Aaaa,
        };
        match self.resolver.lookup(now, name, kind) {
            Asked::Cached(lookup) => Some(lookup),
            Asked::Pending(token) => {
                self.waiters.entry(token).or_default().push(Waiter { work: key, part });
                self.work(key).open += 1;
                None
            }
        }
    }

    /// Ends a work that waits for nothing more, or for nothing it needs.
    fn conclude(&mut self, now: Monotonic, key: Key) {
        let family = self.family;
        let work = self.works.get(key).expect("a work lives until it ends");
        if work.open > 0 && !(work.late && work.can_do_without(family)) {
            return;
        }
        let whole_work = work.open == 0;
        let (known, expires) = match &work.want {
            Want::Mail(_) => {
                let answers = Answers {
                    mx_expires: work.mx_expires,
                    implicit: work.implicit,
                    hosts: &work.hosts,
                    whole: whole_work,
                };
                let (exchange, expires) = conclude(now, answers, &self.own, family);
                (Known::Mail(exchange), expires)
            }
            Want::Host(_) => match work.hosts[0].2.merge(family) {
                Merged::Found { addresses, expires, whole } => {
                    let whole = whole && whole_work;
                    let expires = if whole { expires } else { expires.min(now + PARTIAL_TIME) };
                    (Known::Host(Hosts::Found(Arc::new(Host { addresses, expires }))), expires)
                }
                Merged::None { nxdomain, expires } => {
                    (Known::Host(Hosts::None { nxdomain }), expires)
                }
                Merged::Unknown { reason, until } => {
                    (Known::Host(Hosts::Unknown { reason, retry_after: until }), until)
                }
            },
        };
        self.end(now, key, known, expires);
    }

    fn end(&mut self, now: Monotonic, key: Key, known: Known, expires: Monotonic) {
        let work = self.works.remove(key).expect("a work ends once");
        if let Some(timer) = work.timer {
            self.timers.remove(&(timer, key));
        }
        self.wanted.remove(&work.want);
        let fresh = Kept { known, good_until: expires };
        let kept = self.or_stale(now, &work.want, fresh, expires);
        let known = kept.known.clone();
        self.known.insert(now, work.want.clone(), kept, expires);
        let resolved = match (work.want, known) {
            (Want::Mail(domain), Known::Mail(exchange)) => Resolved::Mail(domain, exchange),
            (Want::Host(domain), Known::Host(hosts)) => Resolved::Host(domain, hosts),
            _ => unreachable!("a work ends with what it wanted"),
        };
        self.resolved.push_back((Token(key), resolved));
    }

    /// What was found out; where that is nothing, what was known before, until
    /// it makes sense to ask again.
    fn or_stale(&self, now: Monotonic, want: &Want, fresh: Kept, until: Monotonic) -> Kept {
        let nobody_tells = match fresh.known {
            Known::Mail(Exchange::Unknown { reason, .. })
            | Known::Host(Hosts::Unknown { reason, .. }) => reason != Reason::LocalBusy,
            _ => false,
        };
        let usable = |old: &&Kept| nobody_tells && now < old.good_until + self.stale_max;
        let Some(old) = self.known.peek(want).map(|(old, _)| old).filter(usable) else {
            return fresh;
        };
        let known = match &old.known {
            Known::Mail(Exchange::Found(exchangers)) => {
                let stale = Exchangers { expires: until, ..Exchangers::clone(exchangers) };
                Known::Mail(Exchange::Found(Arc::new(stale)))
            }
            Known::Host(Hosts::Found(host)) => {
                let stale = Host { expires: until, ..Host::clone(host) };
                Known::Host(Hosts::Found(Arc::new(stale)))
            }
            // Only what carries mail is worth more than not knowing.
            _ => return fresh,
        };
        Kept { known, good_until: old.good_until }
    }

    fn work(&mut self, key: Key) -> &mut Work {
        self.works.get_mut(key).expect("a work lives until it ends")
    }
}

impl Work {
    /// Whether the hosts to try first are known, with addresses: what is still
    /// open is their other family, or hosts to fall back on. A preferred host
    /// is never passed over because its name server is slow (RFC 5321 §5.1).
    fn can_do_without(&self, family: Family) -> bool {
        let equals = self.hosts.chunk_by(|(_, a, _), (_, b, _)| a == b);
        for group in equals {
            let mut found = false;
            for (_, _, addresses) in group {
                match addresses.merge(family) {
                    Merged::Found { .. } => found = true,
                    _ if addresses.are_open(family) => return false,
                    _ => {}
                }
            }
            if found {
                return true;
            }
        }
        false
    }
}
