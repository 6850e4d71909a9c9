//! MX answer → the exchangers of a domain, in order; and what a domain's
//! exchangers turn out to be once their addresses are known.
//!
//! Never here: look-ups, connecting, a fall-back to A records where there are
//! MX records (RFC 5321 §5.1 forbids it). Invariant of what is found: 1 to 16
//! hosts, each with 1 to 8 addresses, by preference, then by name.
//!
//! Read first: RFC 5321 §5.1, RFC 7505, RFC 2181 §10.3.

use std::net::IpAddr;
use std::sync::Arc;

use base::limits::EXCHANGERS_MAX;
use base::{Monotonic, Rng};
use mail::Domain;

use crate::answer::{Mx, Records};
use crate::error::Reason;
use crate::hosts::{Addresses, Family, Merged};
use crate::resolver::Lookup;

/// Where the mail of a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// To these hosts.
    Found(Arc<Exchangers>),
    /// Nowhere: the domain takes no mail (RFC 7505 §3). Permanent.
    NullMx,
    /// The domain does not exist. Permanent.
    NoDomain,
    /// There are MX records but no usable host, or neither MX records nor
    /// addresses. Permanent.
    NoAddress,
    /// Back to us: we are the most preferred exchanger. Permanent.
    Loop,
    /// Nobody could tell. Never permanent, never an attempt.
    Unknown {
        /// Why.
        reason: Reason,
        /// When asking again makes sense.
        retry_after: Monotonic,
    },
}

/// The exchangers of a domain; shared by all who send there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchangers {
    /// By preference, then by name; see [`Exchangers::ordered`].
    pub hosts: Vec<Exchanger>,
    /// Until when this may be used.
    pub expires: Monotonic,
    /// The identity of the MX set: the names in order of the alphabet, joined
    /// by commas. Hosts without addresses are named too, so that a passing
    /// trouble of theirs does not make another site of it.
    pub site_key: String,
    /// There were no MX records; the only host is the domain itself.
    pub implicit: bool,
    /// Nobody could tell the addresses of another host of the set: why, and when
    /// asking again makes sense.
    pub unknown: Option<(Reason, Monotonic)>,
}

/// One host that takes mail for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanger {
    /// Its name, as the MX record has it.
    pub name: Domain,
    /// Lower is tried first.
    pub preference: u16,
    /// 1 to 8 addresses, families in turns, in the order to try.
    pub addresses: Vec<IpAddr>,
}

impl Exchangers {
    /// The order in which this delivery tries the hosts, as indexes: by
    /// preference, equal ones shuffled anew each time (RFC 5321 §5.1).
    pub fn ordered(&self, rng: &mut Rng) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.hosts.len()).collect();
        for equals in
            order.chunk_by_mut(|a, b| self.hosts[*a].preference == self.hosts[*b].preference)
        {
            rng.shuffle(equals);
        }
        order
    }
}

/// What names us, so that mail does not loop back (RFC 5321 §5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Our host names.
    pub names: Vec<Domain>,
    /// Our addresses, less those that may be dialled on purpose.
    pub addresses: Vec<IpAddr>,
}

/// What an MX answer leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// These hosts' addresses are wanted.
    Hosts { hosts: Vec<(Domain, u16)>, implicit: bool },
    /// No addresses are needed.
    Ended(Exchange),
}

/// Reads the MX answer of `domain`.
pub(crate) fn candidates(domain: &Domain, lookup: &Lookup, own: &Own) -> Next {
    let records = match lookup {
        Lookup::Unknown { reason, until } => {
            let unknown = Exchange::Unknown { reason: *reason, retry_after: *until };
            return Next::Ended(unknown);
        }
        Lookup::None { nxdomain: true, .. } => return Next::Ended(Exchange::NoDomain),
        Lookup::None { nxdomain: false, .. } if own.names.contains(domain) => {
            return Next::Ended(Exchange::Loop);
        }
        Lookup::None { nxdomain: false, .. } => {
            return Next::Hosts { hosts: vec![(domain.clone(), 0)], implicit: true };
        }
        Lookup::Found { records, .. } => records,
    };
    let Records::Mx(records) = &**records else {
        panic!("the resolver answers an MX question with MX records");
    };
    exchangers(records, own)
}

fn exchangers(records: &[Mx], own: &Own) -> Next {
    if let [only] = records
        && only.exchange.is_root()
    {
        return Next::Ended(Exchange::NullMx);
    }
    let mut hosts: Vec<(Domain, u16)> = Vec::with_capacity(records.len());
    for record in records {
        let Some(name) = record.exchange.to_domain() else { continue };
        if own.names.contains(&name) {
            // Equal ones go too, and records come by preference.
            hosts.retain(|(_, preference)| *preference < record.preference);
            if hosts.is_empty() {
                return Next::Ended(Exchange::Loop);
            }
            break;
        }
        if is_usable(&name) && hosts.iter().all(|(known, _)| *known != name) {
            hosts.push((name, record.preference));
        }
    }
    hosts.truncate(EXCHANGERS_MAX);
    if hosts.is_empty() {
        return Next::Ended(Exchange::NoAddress);
    }
    Next::Hosts { hosts, implicit: false }
}

/// Whether an MX target can be a host out there. An address in letters is no
/// name (`mail::Domain` refuses it), a single label is a matter of somebody's
/// search list, and `localhost` is here (RFC 6761 §6.3).
fn is_usable(name: &Domain) -> bool {
    let name = name.as_str();
    name.contains('.') && !name.ends_with(".localhost")
}

/// All that was answered about one domain.
pub(crate) struct Answers<'a> {
    /// Until when the MX answer may be used.
    pub mx_expires: Monotonic,
    /// There were no MX records.
    pub implicit: bool,
    /// The hosts by preference, with what is known of their addresses.
    pub hosts: &'a [(Domain, u16, Addresses)],
    /// No answer is still to come.
    pub whole: bool,
}

/// The outcome once every host's addresses are known or known to be unknown,
/// and until when it may be used.
pub(crate) fn conclude(
    now: Monotonic,
    answers: Answers<'_>,
    own: &Own,
    family: Family,
) -> (Exchange, Monotonic) {
    let Answers { mx_expires, implicit, hosts, whole: mut whole_answer } = answers;
    let late = !whole_answer;
    let mut found: Vec<Exchanger> = Vec::with_capacity(hosts.len());
    let mut expires = mx_expires;
    let mut unknown: Option<(Reason, Monotonic)> = None;
    let mut preferred_unknown = u16::MAX;
    let mut no_domain = implicit;
    for (name, preference, addresses) in hosts {
        match addresses.merge(family) {
            Merged::Found { addresses, expires: until, whole } => {
                expires = expires.min(until);
                whole_answer &= whole;
                found.push(Exchanger { name: name.clone(), preference: *preference, addresses });
            }
            // What is still to come is not known to be nothing.
            Merged::None { .. } if late && addresses.are_open(family) => {
                unknown = unknown.or(Some((Reason::PeerTimeout, now + PARTIAL_TTL_MAX)));
            }
            Merged::None { nxdomain, expires: until } => {
                expires = expires.min(until);
                no_domain &= nxdomain;
            }
            Merged::Unknown { reason, until } => {
                let until = unknown.map_or(until, |(_, earlier)| earlier.min(until));
                unknown = Some((reason, until));
                preferred_unknown = preferred_unknown.min(*preference);
            }
        }
    }
    if !whole_answer || unknown.is_some() {
        // Use what was found, but look again soon.
        expires = expires.min(now + PARTIAL_TTL_MAX);
    }
    let us = cut_at_us(&mut found, own);
    let exchange = match (unknown, us) {
        _ if !found.is_empty() => {
            let mut names: Vec<&str> = hosts.iter().map(|(name, _, _)| name.as_str()).collect();
            names.sort_unstable();
            let site_key = names.join(",");
            let all = Exchangers { hosts: found, expires, site_key, implicit, unknown };
            Exchange::Found(Arc::new(all))
        }
        // Mail for hosts that are preferred to us only waits for their names.
        (_, Some(us)) if preferred_unknown >= us => Exchange::Loop,
        (Some((reason, retry_after)), _) => {
            return (Exchange::Unknown { reason, retry_after }, retry_after);
        }
        (None, _) if no_domain => Exchange::NoDomain,
        (None, _) => Exchange::NoAddress,
    };
    (exchange, expires)
}

/// Drops the hosts that have one of our addresses, and all that are not
/// preferred to them; gives the preference at which we stand, if we do.
fn cut_at_us(found: &mut Vec<Exchanger>, own: &Own) -> Option<u16> {
    let is_own = |host: &Exchanger| host.addresses.iter().any(|ip| own.addresses.contains(ip));
    let us = found.iter().find(|host| is_own(host)).map(|host| host.preference)?;
    found.retain(|host| host.preference < us);
    Some(us)
}

/// How long a result is kept when some of its addresses could not be learned.
const PARTIAL_TTL_MAX: std::time::Duration = std::time::Duration::from_secs(60);

#[cfg(test)]
mod tests;
