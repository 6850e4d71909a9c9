//! Texts without the people in them: addresses become `user-1@…`, the same
//! address always the same, so that lines can still be joined. For what an
//! operator hands to somebody who helps.
//!
//! Two passes: first everything is learned from, then everything is rewritten,
//! so that a name is found also where a peer says it without its domain.
//! Invariant: no address that was learned, and no local part of one, is left.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Local parts that name an office and nobody.
const OFFICES: [&str; 3] = ["postmaster", "mailer-daemon", "abuse"];
/// Shorter local parts are words of the language more often than names.
const NAME_BYTES_MIN: usize = 2;
/// What names of files end in, and no domain does.
const FILES: [&str; 11] =
    ["toml", "pem", "key", "crt", "sock", "log", "zst", "eml", "txt", "json", "secret"];
/// What stands for a name without its domain.
const SOMEBODY: &str = "(user)";

/// What is hidden, and what it is called instead.
#[derive(Debug, Default)]
pub struct Disguise {
    /// Domains are hidden, too.
    hides_domains: bool,
    users: BTreeMap<String, usize>,
    locals: BTreeMap<String, ()>,
    domains: BTreeMap<String, usize>,
    clients: BTreeMap<IpAddr, usize>,
}

impl Disguise {
    /// Knows nobody yet.
    pub fn new(hides_domains: bool) -> Self {
        Self { hides_domains, ..Self::default() }
    }

    /// Learns the addresses in a text.
    pub fn learn(&mut self, text: &str) {
        let mut rest = text;
        while let Some((begin, end)) = address_in(rest) {
            let address = rest[begin..end].to_ascii_lowercase();
            if let Some((local, domain)) = address.rsplit_once('@') {
                let local = local.trim_matches('"').to_owned();
                self.learn_domain(domain);
                if local.len() >= NAME_BYTES_MIN && !OFFICES.contains(&&*local) {
                    self.locals.insert(local, ());
                }
            }
            let next = self.users.len() + 1;
            self.users.entry(address).or_insert(next);
            rest = &rest[end..];
        }
    }

    /// Learns a domain, or the name of a host.
    pub fn learn_domain(&mut self, name: &str) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let Some((_, last)) = name.rsplit_once('.') else { return };
        let is_word = last.len() > 1 && last.bytes().all(|byte| byte.is_ascii_alphabetic());
        if (is_word || last.starts_with("xn--")) && !FILES.contains(&last) {
            let next = self.domains.len() + 1;
            self.domains.entry(name).or_insert(next);
        }
    }

    /// Learns every domain in a text that is about domains.
    pub fn learn_domains(&mut self, text: &str) {
        words(text, |word, is_word| {
            if is_word {
                self.learn_domain(word);
            }
        });
    }

    /// Learns a client's IP address, but for those of this machine.
    pub fn learn_client(&mut self, text: &str) {
        let address = text.parse::<std::net::SocketAddr>().map(|address| address.ip());
        let Ok(ip) = address.or_else(|_| text.parse::<IpAddr>()) else { return };
        if !ip.to_canonical().is_loopback() {
            let next = self.clients.len() + 1;
            self.clients.entry(ip).or_insert(next);
        }
    }

    /// The text with everybody in disguise.
    pub fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((begin, end)) = address_in(rest) {
            self.plain(&rest[..begin], &mut out);
            self.address(&rest[begin..end], &mut out);
            rest = &rest[end..];
        }
        self.plain(rest, &mut out);
        out
    }

    fn address(&self, address: &str, out: &mut String) {
        let lower = address.to_ascii_lowercase();
        let (local, domain) = lower.rsplit_once('@').unwrap_or((&lower, ""));
        match self.users.get(&lower) {
            _ if OFFICES.contains(&local) => out.push_str(local),
            Some(number) => out.push_str(&format!("user-{number}")),
            None => out.push_str("user"),
        }
        out.push('@');
        self.plain(domain, out);
    }

    /// A piece of text without addresses.
    fn plain(&self, text: &str, out: &mut String) {
        words(text, |word, is_word| {
            let lower = word.to_ascii_lowercase();
            let bare = lower.trim_end_matches('.');
            let client = || bare.parse::<IpAddr>().ok().and_then(|ip| self.clients.get(&ip));
            if !is_word {
                out.push_str(word);
            } else if let Some(number) = client() {
                out.push_str(&format!("client-{number}"));
            } else if let Some(number) = self.domains.get(bare).filter(|_| self.hides_domains) {
                out.push_str(&format!("domain-{number}.invalid"));
            } else if self.locals.contains_key(bare) {
                out.push_str(SOMEBODY);
            } else {
                out.push_str(word);
            }
        });
    }
}

/// The first address in a text, by its first byte and the one behind its last.
fn address_in(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = text[from..].find('@').map(|place| from + place) {
        let local = bytes[..at].iter().rev().take_while(|byte| in_local(**byte)).count();
        let quoted = bytes[..at].last() == Some(&b'"');
        let begin = match quoted {
            true => text[..at - 1].rfind('"').unwrap_or(at),
            false => at - local,
        };
        let is_domain = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(byte);
        let end = at + 1 + bytes[at + 1..].iter().take_while(is_domain).count();
        let end = end - usize::from(end > at + 1 && b".:".contains(&bytes[end - 1]));
        if begin < at && end > at + 1 {
            return Some((begin, end));
        }
        from = at + 1;
    }
    None
}

/// Octets of local parts that need no quotes (RFC 5321 §4.1.2), and those
/// beyond ASCII.
fn in_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&byte) || byte >= 0x80
}

/// Gives a text word by word, and what stands between.
fn words<'t>(text: &'t str, mut each: impl FnMut(&'t str, bool)) {
    let part = |c: char| c.is_alphanumeric() || "-._+:".contains(c);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = part(first) && first != ':';
        let end = rest.find(|c| (part(c) && (c != ':' || is_ipv6(rest))) != is_word);
        let (head, tail) = rest.split_at(end.filter(|end| *end > 0).unwrap_or(rest.len()));
        each(head, is_word);
        rest = tail;
    }
}

/// Whether a text begins with an IPv6 address, whose colons are part of it.
fn is_ipv6(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_hexdigit() && c != ':' && c != '.');
    text[..end.unwrap_or(text.len())].parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disguise(hides_domains: bool) -> Disguise {
        let mut disguise = Disguise::new(hides_domains);
        for text in ["Ann.Lee@corp.example", "<bob+tag@Corp.example>", "\"odd one\"@x.example"] {
            disguise.learn(text);
        }
        disguise.learn_domains("mx:mx1.corp.example,mx2.corp.example");
        disguise.learn_client("192.0.2.7:40000");
        disguise.learn_client("2001:db8::7");
        disguise.learn_client("127.0.0.1");
        disguise
    }

    /// Shows: S2.27
    #[test]
    fn people_are_hidden_and_can_still_be_told_apart() {
        let it = disguise(false);
        for (text, shown) in [
            ("from ann.lee@corp.example to", "from user-1@corp.example to"),
            ("<Ann.Lee@Corp.Example>", "<user-1@corp.example>"),
            ("bob+tag@corp.example.", "user-2@corp.example."),
            ("550 no mailbox Ann.Lee here", "550 no mailbox (user) here"),
            ("<\"odd one\"@x.example>: no", "<user-3@x.example>: no"),
            ("stranger@y.example", "user@y.example"),
            ("postmaster@corp.example", "postmaster@corp.example"),
            ("mx1.corp.example [192.0.2.7]:25", "mx1.corp.example [client-1]:25"),
            ("2001:db8::7 said: 250 2.0.0 ok", "client-2 said: 250 2.0.0 ok"),
            ("127.0.0.1:2525", "127.0.0.1:2525"),
            ("at @ and @ again, version 1.2.3", "at @ and @ again, version 1.2.3"),
        ] {
            assert_eq!(it.text(text), shown, "{text}");
        }
    }

    #[test]
    fn domains_are_hidden_where_that_is_wanted() {
        let it = disguise(true);
        assert_eq!(it.text("ann.lee@corp.example"), "user-1@domain-1.invalid");
        let sites = it.text("mx:mx1.corp.example,mx2.corp.example, a.pem 6.18.44-fc");
        assert_eq!(sites, "mx:domain-3.invalid,domain-4.invalid, a.pem 6.18.44-fc");
    }

    #[test]
    fn any_text_is_taken() {
        let mut it = disguise(true);
        for text in ["", "@", "@@", "a@", "@b", "\"@x", "é@ü.example \u{1f600}@", "::::", "a@b@c"]
        {
            it.learn(text);
            it.learn_domains(text);
            it.text(text);
        }
        assert_eq!(it.text("\u{e9}@x.example"), "user@domain-2.invalid");
    }
}
