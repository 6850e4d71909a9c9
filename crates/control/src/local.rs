//! Local domains: their mail is handed to mailboxes of our own side and never
//! looked up; who is known there, and what becomes of mail for all others.
//!
//! Tables and decisions only. Invariants: an expansion ends, whatever aliases
//! lead to each other, and gives at most [`EXPANSION_MAX`] addresses, each
//! once; without local domains nothing here costs anything.
//!
//! Read first: RFC 5321 §3.9.1, RFC 3461 §5.2.7.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mail::Address;

use crate::maildir::Maildir;
use crate::route::{Pattern, RouteTable, folded};

/// Most addresses that one recipient may become.
pub const EXPANSION_MAX: usize = 1_000;
/// Most aliases behind each other.
pub const DEPTH_MAX: usize = 16;
/// Most entries of `[[local]]`.
pub const LOCALS_MAX: usize = 10_000;
/// Most users or aliases of one entry.
pub const NAMES_MAX: usize = 1_000_000;

/// The local domains of a policy, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Locals {
    table: RouteTable,
    /// The entry that each pattern is of.
    owners: Box<[u32]>,
    entries: Box<[Arc<Local>]>,
}

/// One `[[local]]`: domains, and who is known in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// Its domains; at least one.
    pub patterns: Box<[Pattern]>,
    /// Who is known; none: everybody.
    pub users: Option<Names>,
    /// Names that stand for other addresses.
    pub aliases: Aliases,
    /// What becomes of mail for all others.
    pub unknown: Unknown,
    /// The folders of its mailboxes, where that is what it is handed to.
    pub folders: Option<Arc<Maildir>>,
}

/// Local parts, as a set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    /// As the configuration itself lists them.
    pub listed: Box<[Box<str>]>,
    /// A file with more of them.
    pub file: Option<Box<str>>,
    /// The file was not read: everybody is known.
    pub unread: bool,
    /// All of them, as they are compared.
    pub all: BTreeSet<Box<str>>,
}

/// A name and what it stands for, both as written.
pub type Alias = (Box<str>, Box<[Box<str>]>);

/// What names stand for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aliases {
    /// As the configuration itself lists them.
    pub listed: Box<[Alias]>,
    /// A file with more of them.
    pub file: Option<Box<str>>,
    /// By local part or whole address, as they are compared.
    pub all: BTreeMap<Box<str>, Box<[Member]>>,
}

/// One address that an alias stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Member {
    /// This one.
    Address(Address),
    /// The mailbox of this name in the same domain.
    SameDomain(Box<str>),
}

/// What becomes of mail for nobody who is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Unknown {
    /// Refused at RCPT.
    #[default]
    Reject,
    /// Taken and returned.
    Bounce,
    /// Taken and held.
    Hold,
    /// Somebody else gets it.
    Forward(Address),
}

/// Whom mail for one recipient is accepted for.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// For the recipient itself.
    AsIs,
    /// For these; at least one, each once.
    Instead(Vec<Address>),
}

/// Why nobody would get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// No such user.
    Unknown,
    /// Aliases lead to more addresses than there may be, or in a circle.
    Endless,
}

/// What becomes of an accepted recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is delivered.
    Deliver,
    /// It is returned.
    Bounce,
    /// It is held.
    Hold,
}

impl Locals {
    /// The table of `entries`.
    pub fn new(entries: Vec<Local>) -> Self {
        let entries: Box<[Arc<Local>]> = entries.into_iter().map(Arc::new).collect();
        let patterns = || (0u32..).zip(&*entries);
        let table = RouteTable::new(patterns().flat_map(|(_, local)| &*local.patterns));
        let owners =
            patterns().flat_map(|(place, local)| local.patterns.iter().map(move |_| place));
        Self { table, owners: owners.collect(), entries: entries.clone() }
    }

    /// Whether no domain is local.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Local> {
        self.entries.iter().map(|local| &**local)
    }

    /// The place of the entry that an address is of, from 0; none where it is
    /// not local.
    pub fn find(&self, address: &Address) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        self.table.find(address).map(|position| self.owners[position as usize] as usize)
    }

    /// The entry that all mail of `pattern` goes to, if there is one.
    pub fn covers(&self, pattern: &Pattern) -> Option<usize> {
        self.table.covers(pattern).map(|position| self.owners[position as usize] as usize)
    }

    /// For each entry, the earlier one that takes all mail of its `pattern`.
    pub fn shadowed(&self) -> Vec<(usize, &Pattern, usize)> {
        let patterns = self.iter().flat_map(|local| &*local.patterns);
        let numbered = (0u32..).zip(patterns);
        let found = numbered.filter_map(|(position, pattern)| {
            let by = self.table.shadow(position, pattern)?;
            let owner = |position: u32| self.owners[position as usize] as usize;
            Some((owner(position), pattern, owner(by)))
        });
        found.collect()
    }

    /// Whether the same domains are local, by the same entries.
    pub fn same_domains(&self, other: &Self) -> bool {
        self.owners == other.owners && self.table == other.table
    }

    /// Whom mail for `address` is accepted for.
    ///
    /// # Errors
    /// [`Nobody`], if for none.
    pub fn accept(&self, address: &Address) -> Result<Accepted, Nobody> {
        let Some(local) = self.entry(address) else { return Ok(Accepted::AsIs) };
        if local.members(address).is_none() {
            if local.knows(address) {
                return Ok(Accepted::AsIs);
            }
            match local.unknown {
                Unknown::Reject => return Err(Nobody::Unknown),
                Unknown::Bounce | Unknown::Hold => return Ok(Accepted::AsIs),
                Unknown::Forward(_) => {}
            }
        }
        let mut expansion = Expansion::default();
        self.expand(address, 0, &mut expansion)?;
        match expansion.found.is_empty() {
            true => Err(Nobody::Endless),
            false => Ok(Accepted::Instead(expansion.found)),
        }
    }

    /// What becomes of a recipient that was accepted, as it stands.
    pub fn fate(&self, address: &Address) -> Fate {
        match self.entry(address) {
            None => Fate::Deliver,
            Some(local) if local.knows(address) => Fate::Deliver,
            Some(Local { unknown: Unknown::Hold, .. }) => Fate::Hold,
            Some(_) => Fate::Bounce,
        }
    }

    fn entry(&self, address: &Address) -> Option<&Local> {
        self.find(address).map(|place| &*self.entries[place])
    }

    /// Adds what `address` stands for. What an alias leads to and nobody knows
    /// is added as it is: it comes back to the sender rather than vanish.
    fn expand(
        &self,
        address: &Address,
        depth: usize,
        expansion: &mut Expansion,
    ) -> Result<(), Nobody> {
        if depth > DEPTH_MAX {
            return Err(Nobody::Endless);
        }
        let Some(local) = self.entry(address) else { return expansion.add(address) };
        let name = format!("{}@{}", folded(address.local()), address.host());
        let is_new = expansion.opened.insert(name);
        match (local.members(address), &local.unknown) {
            (Some(members), _) if is_new => {
                for member in members {
                    if let Some(member) = member.seen_from(address) {
                        self.expand(&member, depth + 1, expansion)?;
                    }
                }
                Ok(())
            }
            // An alias that leads to itself means the mailbox of its name.
            (Some(_), _) if !local.knows(address) => Ok(()),
            (None, Unknown::Forward(to)) if is_new && !local.knows(address) => {
                self.expand(to, depth + 1, expansion)
            }
            _ => expansion.add(address),
        }
    }
}

/// What was found so far.
#[derive(Default)]
struct Expansion {
    found: Vec<Address>,
    listed: BTreeSet<String>,
    opened: BTreeSet<String>,
}

impl Expansion {
    fn add(&mut self, address: &Address) -> Result<(), Nobody> {
        if self.listed.insert(address.to_string()) {
            if self.found.len() >= EXPANSION_MAX {
                return Err(Nobody::Endless);
            }
            self.found.push(address.clone());
        }
        Ok(())
    }
}

impl Local {
    /// Whether an address of its domains has a mailbox.
    pub fn knows(&self, address: &Address) -> bool {
        if self.folders.as_ref().is_some_and(|folders| folders.folder(address).is_none()) {
            return false;
        }
        match &self.users {
            None => true,
            Some(users) if users.unread => true,
            Some(users) => users.all.contains(folded(address.local()).as_str()),
        }
    }

    /// Whether somebody gets mail for an address of its domains.
    pub fn takes(&self, address: &Address) -> bool {
        self.has_alias(address) || self.knows(address) || self.unknown != Unknown::Reject
    }

    /// Whether an address of its domains is an alias.
    pub fn has_alias(&self, address: &Address) -> bool {
        self.members(address).is_some()
    }

    /// What an address of its domains stands for: a whole address before a
    /// name in any of them.
    fn members(&self, address: &Address) -> Option<&[Member]> {
        if self.aliases.all.is_empty() {
            return None;
        }
        let mut name = folded(address.local());
        let bytes = name.len();
        name.push('@');
        name.push_str(&address.host().to_string());
        let all = &self.aliases.all;
        all.get(name.as_str()).or_else(|| all.get(&name[..bytes])).map(|members| &**members)
    }
}

impl Member {
    /// The address, of an alias that `alias` is.
    fn seen_from(&self, alias: &Address) -> Option<Address> {
        match self {
            Self::Address(address) => Some(address.clone()),
            Self::SameDomain(name) => Address::parse(format!("{name}@{}", alias.host()), true).ok(),
        }
    }
}

#[cfg(test)]
mod tests;
