//! Which way an address goes: patterns and the table that finds the first one
//! that matches, in the order of the file.
//!
//! `domain` matches that domain only, `*.domain` its subdomains only (not the
//! domain itself), `user@domain` one mailbox, `*` everything. An address
//! literal stands in its brackets. Mailbox names are compared without regard
//! to ASCII case and quoting: an operator who routes `sales@` means `Sales@`
//! too; what goes over the wire is the address as received (RFC 5321 §2.4).
//!
//! Invariant: [`RouteTable::find`] equals a scan of the list from the front;
//! it costs one hash per label of the domain, whatever the number of routes.
//! Each table slot holds the lowest position of its pattern, so the first match
//! is the minimum over the slots that an address can reach.

use std::fmt;

use base::Map;
use base::limits::LOCAL_PART_BYTES_MAX;
use mail::{Address, Domain, Host};
use thiserror::Error;

/// Which addresses a route takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Every address.
    All,
    /// Every mailbox of this domain or literal.
    Exact(Host),
    /// Every mailbox of every subdomain, at any depth.
    Subdomains(Domain),
    /// One mailbox; the local part is kept as written.
    Mailbox(Address),
}

/// What is wrong with a written pattern, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Nothing written.
    #[error("is empty; write a domain, \"*.domain\", \"user@domain\" or \"*\"")]
    PolicyEmpty,
    /// A star elsewhere than alone or as the first label.
    #[error("may have a star only alone or as \"*.\" in front of a domain")]
    PolicyStar,
    /// Not a domain.
    #[error("does not hold a valid domain: {0}")]
    PolicyDomain(String),
    /// Not a mailbox.
    #[error("does not hold a valid mailbox: {0}")]
    PolicyMailbox(String),
}

/// The routes of a policy, ready for look-ups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteTable {
    domains: Map<Box<str>, Slot>,
    /// First `*`.
    all: Option<u32>,
    /// Longest domain of a `*.domain`: longer ancestors need no look-up.
    subdomains_bytes_max: usize,
    len: u32,
}

/// What is known of one domain or literal; positions in the file.
#[derive(Clone, Debug, PartialEq)]
struct Slot {
    exact: u32,
    subdomains: u32,
    mailboxes: Option<Box<Map<Box<str>, u32>>>,
}

const NOWHERE: u32 = u32::MAX;

impl RouteTable {
    /// A table of `patterns` in the order of the file. At most `u32::MAX - 1`.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Self {
        let mut table = Self::default();
        for pattern in patterns {
            table.push(pattern);
        }
        table
    }

    /// Number of routes.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Position of the first route that takes `address`, from 0.
    pub fn find(&self, address: &Address) -> Option<u32> {
        self.first(address.host(), Some(address.local()))
    }

    /// Position of the first pattern that takes everything `pattern` takes.
    pub fn covers(&self, pattern: &Pattern) -> Option<u32> {
        self.shadow(NOWHERE, pattern)
    }

    /// Position of an earlier route that takes everything `pattern` takes,
    /// where `pattern` stands at `position`. Such a route can never be reached.
    pub fn shadow(&self, position: u32, pattern: &Pattern) -> Option<u32> {
        let first = match pattern {
            Pattern::All => self.all,
            Pattern::Exact(host) => self.first(host, None),
            Pattern::Mailbox(address) => self.find(address),
            Pattern::Subdomains(domain) => {
                let own = self.domains.get(domain.as_str()).map_or(NOWHERE, |s| s.subdomains);
                let best = own.min(self.first_ancestor(domain)).min(self.all.unwrap_or(NOWHERE));
                (best != NOWHERE).then_some(best)
            }
        };
        first.filter(|first| *first < position)
    }

    fn push(&mut self, pattern: &Pattern) {
        assert!(self.len < NOWHERE, "fewer routes than positions");
        let position = self.len;
        self.len += 1;
        match pattern {
            Pattern::All => self.all = Some(self.all.unwrap_or(position)),
            Pattern::Exact(host) => {
                let slot = self.slot(host);
                slot.exact = slot.exact.min(position);
            }
            Pattern::Subdomains(domain) => {
                let bytes = domain.as_str().len();
                self.subdomains_bytes_max = self.subdomains_bytes_max.max(bytes);
                let slot = self.domains.entry(domain.as_str().into()).or_default();
                slot.subdomains = slot.subdomains.min(position);
            }
            Pattern::Mailbox(address) => {
                let mut folded = FoldedLocal::default();
                let local = folded.fold(address.local());
                let mailboxes = self.slot(address.host()).mailboxes.get_or_insert_default();
                mailboxes.entry(local.into()).or_insert(position);
            }
        }
    }

    fn slot(&mut self, host: &Host) -> &mut Slot {
        match host {
            Host::Name(domain) => self.domains.entry(domain.as_str().into()).or_default(),
            Host::Literal(_) => self.domains.entry(host.to_string().into()).or_default(),
        }
    }

    /// The first route for a host; without a local part only those that take
    /// every mailbox.
    fn first(&self, host: &Host, local: Option<&str>) -> Option<u32> {
        let mut best = self.all.unwrap_or(NOWHERE);
        let slot = match host {
            Host::Name(domain) => {
                best = best.min(self.first_ancestor(domain));
                self.domains.get(domain.as_str())
            }
            Host::Literal(_) => self.domains.get(host.to_string().as_str()),
        };
        if let Some(slot) = slot {
            best = best.min(slot.exact);
            if let (Some(mailboxes), Some(local)) = (&slot.mailboxes, local) {
                let mut folded = FoldedLocal::default();
                let named = mailboxes.get(folded.fold(local)).copied();
                best = best.min(named.unwrap_or(NOWHERE));
            }
        }
        (best != NOWHERE).then_some(best)
    }

    /// The first `*.ancestor` over the proper ancestors of `domain`.
    fn first_ancestor(&self, domain: &Domain) -> u32 {
        let mut best = NOWHERE;
        let mut rest = domain.as_str();
        if self.subdomains_bytes_max == 0 {
            return best;
        }
        while let Some(dot) = rest.find('.') {
            rest = &rest[dot + 1..];
            if rest.len() > self.subdomains_bytes_max {
                continue;
            }
            if let Some(slot) = self.domains.get(rest) {
                best = best.min(slot.subdomains);
            }
        }
        best
    }
}

impl Pattern {
    /// Whether the pattern takes `address`; the definition that the table
    /// follows.
    pub fn matches(&self, address: &Address) -> bool {
        match self {
            Self::All => true,
            Self::Exact(host) => address.host() == host,
            Self::Subdomains(parent) => match address.host() {
                Host::Name(domain) => domain
                    .as_str()
                    .strip_suffix(parent.as_str())
                    .is_some_and(|front| front.ends_with('.')),
                Host::Literal(_) => false,
            },
            Self::Mailbox(mailbox) => {
                let (mut ours, mut theirs) = (FoldedLocal::default(), FoldedLocal::default());
                address.host() == mailbox.host()
                    && ours.fold(mailbox.local()) == theirs.fold(address.local())
            }
        }
    }
}

impl std::str::FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::PolicyEmpty);
        }
        if text == "*" {
            return Ok(Self::All);
        }
        if text.contains('@') {
            return match Address::parse(text, true) {
                Ok(address) => Ok(Self::Mailbox(address)),
                Err(error) => Err(PatternError::PolicyMailbox(error.to_string())),
            };
        }
        let (subdomains, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(PatternError::PolicyStar);
        }
        let fault = |error: &dyn fmt::Display| PatternError::PolicyDomain(error.to_string());
        if subdomains {
            return Domain::parse_utf8(name).map(Self::Subdomains).map_err(|error| fault(&error));
        }
        Host::parse(name).map(Self::Exact).map_err(|error| fault(&error))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Exact(host) => host.fmt(f),
            Self::Subdomains(domain) => write!(f, "*.{domain}"),
            Self::Mailbox(address) => address.fmt(f),
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self { exact: NOWHERE, subdomains: NOWHERE, mailboxes: None }
    }
}

/// A local part as mailbox names are compared here: without quotes, in lower
/// case.
pub(crate) fn folded(local: &str) -> String {
    FoldedLocal::default().fold(local).to_owned()
}

/// Room for one local part without quotes and upper case, on the stack.
struct FoldedLocal {
    bytes: [u8; LOCAL_PART_BYTES_MAX],
    long: String,
}

impl Default for FoldedLocal {
    fn default() -> Self {
        Self { bytes: [0; LOCAL_PART_BYTES_MAX], long: String::new() }
    }
}

impl FoldedLocal {
    fn fold<'a>(&'a mut self, local: &'a str) -> &'a str {
        let inner = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let quoted = inner.is_some();
        let bare = inner.unwrap_or(local);
        if bare.len() > self.bytes.len() || (quoted && bare.contains('\\')) {
            self.long = if quoted { unescape(bare) } else { bare.to_owned() };
            self.long.make_ascii_lowercase();
            return &self.long;
        }
        let folded = &mut self.bytes[..bare.len()];
        folded.copy_from_slice(bare.as_bytes());
        folded.make_ascii_lowercase();
        std::str::from_utf8(folded).expect("folding ASCII case keeps UTF-8 valid")
    }
}

/// A quoted string's content without its quoted pairs (RFC 5321 §4.1.2).
fn unescape(quoted: &str) -> String {
    let mut chars = quoted.chars();
    let mut plain = String::with_capacity(quoted.len());
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

#[cfg(test)]
mod tests;
