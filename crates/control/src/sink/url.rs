//! URLs of HTTP, as far as something is posted to them.
//!
//! Never here: percent encoding; what is written is sent.

use std::fmt;
use std::str::FromStr;

/// Longest URL, in octets.
pub const URL_BYTES_MAX: usize = 2_048;

/// A URL of HTTP, taken apart. No user and no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `https`.
    pub tls: bool,
    /// Name or address, an IPv6 address without its brackets.
    pub host: Box<str>,
    /// The port, the usual one where none is written.
    pub port: u16,
    /// Path and query, from the first slash on.
    pub target: Box<str>,
}

/// Why a text is no URL that mail events could be posted to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither of the two schemes.
    #[error("must begin with https:// or http://")]
    PolicyScheme,
    /// Too long, or not printable ASCII.
    #[error("must have at most {URL_BYTES_MAX} printable ASCII characters and no spaces")]
    PolicyCharacters,
    /// No host, or none that could be one.
    #[error("names no host")]
    PolicyHost,
    /// No port.
    #[error("has a port that is none")]
    PolicyPort,
    /// A user or password before the host.
    #[error("holds a user; nothing secret belongs in a URL")]
    PolicyUser,
    /// A fragment, which is never sent.
    #[error("ends in a fragment (#…), which is never sent")]
    PolicyFragment,
}

impl Url {
    /// Whether it cannot lead beyond this machine.
    pub fn is_loopback(&self) -> bool {
        let ip = self.host.parse::<std::net::IpAddr>();
        ip.map_or_else(|_| self.host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
    }

    /// Host and port as the `Host` field of a request has them.
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.to_string(),
        };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::PolicyCharacters);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::PolicyScheme)?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::PolicyScheme),
        };
        if rest.contains('#') {
            return Err(UrlError::PolicyFragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::PolicyUser);
        }
        let (host, port) = host_and_port(authority)?;
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(digits) => {
                digits.parse().ok().filter(|port| *port > 0).ok_or(UrlError::PolicyPort)?
            }
        };
        let target =
            if target.starts_with('/') { target.into() } else { format!("/{target}").into() };
        Ok(Self { tls, host: host.into(), port, target })
    }
}

/// Host, and port if one is written.
pub(super) fn host_and_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(UrlError::PolicyHost)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::PolicyHost)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(UrlError::PolicyPort),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match !host.is_empty() && host.len() <= 253 && host.bytes().all(plain) {
        true => Ok((host, port)),
        false => Err(UrlError::PolicyHost),
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(bool, String, u16, String), UrlError> {
        let Url { tls, host, port, target } = text.parse()?;
        Ok((tls, host.into(), port, target.into()))
    }

    #[test]
    fn a_url_is_taken_apart_and_written_as_it_was() {
        let parts =
            |tls, host: &str, port, target: &str| Ok((tls, host.into(), port, target.into()));
        assert_eq!(read("https://a.example"), parts(true, "a.example", 443, "/"));
        assert_eq!(read("http://a.example:81/x?y=z"), parts(false, "a.example", 81, "/x?y=z"));
        assert_eq!(read("https://[2001:db8::1]:8443/"), parts(true, "2001:db8::1", 8443, "/"));
        assert_eq!(read("http://a?b"), parts(false, "a", 80, "/?b"));
        for text in ["https://a.example/", "http://a:81/x?y=z", "https://[2001:db8::1]/h"] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_fault_of_a_url_has_its_own_words() {
        for (text, why) in [
            ("a.example/x", UrlError::PolicyScheme),
            ("ftp://a.example", UrlError::PolicyScheme),
            ("https://a b", UrlError::PolicyCharacters),
            ("https://ä.example", UrlError::PolicyCharacters),
            ("https:///x", UrlError::PolicyHost),
            ("https://[::g]/", UrlError::PolicyHost),
            ("https://[::1", UrlError::PolicyHost),
            ("https://a%41/", UrlError::PolicyHost),
            ("https://a:0/", UrlError::PolicyPort),
            ("https://a:x/", UrlError::PolicyPort),
            ("https://[::1]x/", UrlError::PolicyPort),
            ("https://user:word@a/", UrlError::PolicyUser),
            ("https://a/#x", UrlError::PolicyFragment),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
        let long = format!("https://a/{}", "x".repeat(URL_BYTES_MAX));
        assert_eq!(read(&long), Err(UrlError::PolicyCharacters));
    }

    #[test]
    fn loopback_is_told_from_elsewhere() {
        for (text, loopback) in [
            ("http://127.0.0.9/", true),
            ("http://[::1]:80/", true),
            ("http://LocalHost/", true),
            ("http://localhost.example/", false),
            ("http://192.0.2.1/", false),
        ] {
            assert_eq!(text.parse::<Url>().unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
