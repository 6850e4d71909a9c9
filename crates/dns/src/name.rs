//! A domain name as DNS has it: any octets in labels, as against
//! [`mail::Domain`], which holds only what may stand in an address.
//!
//! Never here: look-ups, compression (hickory reads and writes that). Invariant:
//! the octets are a well-formed, uncompressed, lower-case wire name of at most
//! 255 octets, so equal octets mean equal names (RFC 4343 §3).
//!
//! Read first: RFC 1035 §3.1, RFC 4343.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr;
use mail::Domain;

/// A domain name in lower-case wire form. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// The name of a mail domain; `None` where its wire form would pass 255
    /// octets, so that no such name can exist (RFC 1035 §2.3.4).
    pub fn of(domain: &Domain) -> Option<Self> {
        Self::from_labels(domain.as_str().split('.').map(str::as_bytes))
    }

    /// The name under which an address' names stand.
    pub fn reverse(address: IpAddr) -> Self {
        let name = match address {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(ip) => {
                let bits = u128::from(ip);
                let digits = (0..32).map(|place| format!("{:x}.", (bits >> (4 * place)) & 0xf));
                digits.collect::<String>() + "ip6.arpa"
            }
        };
        let labels = name.split('.').map(str::as_bytes);
        Self::from_labels(labels).expect("32 labels of one octet and two more fit a name")
    }

    /// The name as hickory decoded it.
    pub(crate) fn from_wire(name: &rr::Name) -> Option<Self> {
        Self::from_labels(name.iter())
    }

    /// The name for hickory to encode.
    pub(crate) fn to_wire(&self) -> rr::Name {
        rr::Name::from_labels(self.labels()).expect("a name holds labels of 1 to 63 octets only")
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Octets of the name on the wire.
    pub(crate) fn wire_bytes(&self) -> usize {
        self.0.len()
    }

    /// The labels without the root's, leftmost first.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first()?;
            let (label, tail) = tail.split_at_checked(usize::from(*length))?;
            rest = tail;
            (!label.is_empty()).then_some(label)
        })
    }

    /// The name as a mail domain; `None` where a label holds what no host name
    /// holds, and for the root.
    pub fn to_domain(&self) -> Option<Domain> {
        let mut text = String::with_capacity(self.0.len());
        for label in self.labels() {
            // A dot inside a label must not turn one label into two.
            if label.contains(&b'.') {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(std::str::from_utf8(label).ok()?);
        }
        Domain::parse(&text).ok()
    }

    fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut wire = [0u8; NAME_BYTES_MAX];
        let mut end = 0;
        for label in labels {
            let length = u8::try_from(label.len()).ok().filter(|n| (1..=63).contains(n))?;
            *wire.get_mut(end)? = length;
            wire.get_mut(end + 1..end + 1 + label.len())?.copy_from_slice(label);
            end += 1 + label.len();
        }
        *wire.get_mut(end)? = 0;
        // Length octets are below 64 and no letters: folding passes them by.
        wire[..end].make_ascii_lowercase();
        Some(Self(Arc::from(&wire[..=end])))
    }
}

/// Presentation form without the last dot; `.` for the root. Octets that are
/// not printable stand as `\DDD` (RFC 1035 §5.1).
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (place, label) in self.labels().enumerate() {
            if place > 0 {
                f.write_str(".")?;
            }
            for byte in label {
                match byte {
                    b'.' | b'\\' | b'"' => write!(f, "\\{}", char::from(*byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// Octets of a name on the wire (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: A12.6
    #[test]
    fn names_round_trip_and_fold() {
        let domain = Domain::parse("_x.example.com").unwrap();
        let name = Name::of(&domain).unwrap();
        assert_eq!(name.to_string(), "_x.example.com");
        assert_eq!(name.to_domain(), Some(domain));
        let shouted = rr::Name::from_ascii("_X.Example.COM.").unwrap();
        assert_eq!(Name::from_wire(&shouted), Some(name.clone()));
        assert_eq!(name.to_wire(), shouted);
    }

    /// Covers: A12.6
    #[test]
    fn odd_octets_are_kept_but_make_no_domain() {
        let odd = rr::Name::from_labels([&b"a.b"[..], b"\x00\xff", b"example"]).unwrap();
        let name = Name::from_wire(&odd).unwrap();
        assert_eq!(name.to_string(), "a\\.b.\\000\\255.example");
        assert_eq!(name.to_domain(), None);
        assert_eq!(name.to_wire(), odd);
        let root = Name::from_wire(&rr::Name::root()).unwrap();
        assert!(root.is_root());
        assert_eq!(root.to_domain(), None);
        assert_eq!(root.to_string(), ".");
    }

    /// Proves: RFC 1035 §2.3.4
    /// Covers: A12.6
    #[test]
    fn the_bound_of_255_octets_holds() {
        let label = "a".repeat(63);
        let fits = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert!(Name::of(&Domain::parse(&fits).unwrap()).is_some());
        assert!(Name::of(&Domain::parse(&format!("{fits}a")).unwrap()).is_none());
    }
}
