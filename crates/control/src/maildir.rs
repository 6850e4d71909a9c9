//! Mail folders: where the one of a mailbox lies, by a path with fields.
//!
//! Touches no file. Invariant: whatever an address is, the path made of it lies
//! below the fixed beginning of the template: no part of it is `.` or `..`,
//! hidden, empty, or holds a slash.

use std::fmt;
use std::str::FromStr;

use mail::{Address, Host};
use thiserror::Error;

use crate::route::folded;

/// Longest template and longest path, in octets; a file's name comes behind.
const PATH_BYTES_MAX: usize = 3_000;
/// Longest name of one folder, in octets, as file systems have it.
const NAME_BYTES_MAX: usize = 255;

/// A path with fields, such as `/var/mail/{domain}/{user}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Maildir {
    template: Box<str>,
    /// Octets in front of the first folder that is made where it is missing.
    base: usize,
}

/// One mailbox's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// What must be there; where it is not, the machine is not as its operator
    /// means it to be.
    pub base: Box<str>,
    /// The whole path; what is missing below `base` is made.
    pub path: Box<str>,
}

/// What is wrong with a template, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MaildirError {
    /// It does not begin with a slash.
    #[error("is no absolute path; write one such as \"/var/mail/{{domain}}/{{user}}\"")]
    PolicyRelative,
    /// A part that is empty, `.` or `..`.
    #[error("has an empty folder name, \".\" or \"..\" in it")]
    PolicyDots,
    /// Braces that are no field.
    #[error("has braces that are no field; there are {{user}} and {{domain}}")]
    PolicyField,
    /// Longer than any path may be, or not printable.
    #[error("is longer than a path may be, or has a control character")]
    PolicyLong,
}

impl Maildir {
    /// The folder of a mailbox; none where the address does not make a folder's
    /// name.
    pub fn folder(&self, address: &Address) -> Option<Folder> {
        let user = folded(address.local());
        let domain = match address.host() {
            Host::Name(domain) => domain.to_string(),
            Host::Literal(_) => return None,
        };
        if self.template.contains(USER) && !is_name(&user) {
            return None;
        }
        let path = self.template.replace(DOMAIN, &domain).replace(USER, &user);
        let fits = |name: &str| name.len() <= NAME_BYTES_MAX;
        if path.len() > PATH_BYTES_MAX || !path.split('/').all(fits) {
            return None;
        }
        Some(Folder { base: self.template[..self.base].into(), path: path.into() })
    }
}

const USER: &str = "{user}";
const DOMAIN: &str = "{domain}";

/// Whether a user's name can be a folder's without being mistaken for anything
/// else: `{domain}` as a name would be replaced, a leading dot hides.
fn is_name(user: &str) -> bool {
    let plain = |c: char| c != '/' && c != '{' && c != '}' && !c.is_control();
    !user.is_empty() && !user.starts_with('.') && user.chars().all(plain)
}

impl FromStr for Maildir {
    type Err = MaildirError;

    fn from_str(text: &str) -> Result<Self, MaildirError> {
        let Some(inner) = text.strip_prefix('/') else { return Err(MaildirError::PolicyRelative) };
        if text.len() > PATH_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(MaildirError::PolicyLong);
        }
        let template = text.trim_end_matches('/');
        let dots = |name: &str| name.is_empty() || name == "." || name == "..";
        if inner.trim_end_matches('/').split('/').any(dots) {
            return Err(MaildirError::PolicyDots);
        }
        if template.replace(USER, "").replace(DOMAIN, "").contains(['{', '}']) {
            return Err(MaildirError::PolicyField);
        }
        let fields = template.find('{').unwrap_or(template.len());
        let base = template[..fields].rfind('/').unwrap_or(0).max(1);
        Ok(Self { template: template.into(), base })
    }
}

impl fmt::Display for Maildir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(template: &str, address: &str) -> Option<(String, String)> {
        let maildir: Maildir = template.parse().unwrap();
        let folder = maildir.folder(&Address::parse(address, true).unwrap())?;
        Some((folder.base.to_string(), folder.path.to_string()))
    }

    #[test]
    fn a_mailbox_has_a_folder_whatever_the_case_of_its_name() {
        let pair = |base: &str, path: &str| Some((base.to_owned(), path.to_owned()));
        let template = "/var/mail/{domain}/{user}";
        let expected = pair("/var/mail", "/var/mail/a.example/ann");
        assert_eq!(folder(template, "Ann@A.example"), expected);
        assert_eq!(folder(template, "\"ann\"@a.example"), expected);
        assert_eq!(folder("/m/x-{user}/", "b@a.example"), pair("/m", "/m/x-b"));
        assert_eq!(folder("/{user}", "b@a.example"), pair("/", "/b"));
        assert_eq!(folder("/srv/all", "b@a.example"), pair("/srv", "/srv/all"));
    }

    /// Nobody writes outside the template by the name of a user.
    ///
    /// Covers: A14.6
    #[test]
    fn a_name_that_is_no_folder_has_none() {
        let template = "/var/mail/{user}/{domain}";
        let long = format!("{}@a.example", "x".repeat(300));
        for address in [
            "\"../x\"@a.example",
            "\"..\"@a.example",
            "\".hidden\"@a.example",
            "a/b@a.example",
            "{domain}@a.example",
            "ann@[192.0.2.1]",
        ] {
            assert_eq!(folder(template, address), None, "{address}");
        }
        assert!(Address::parse(&long, true).is_err() || folder(template, &long).is_none());
    }

    #[test]
    fn a_faulty_template_is_refused_in_words() {
        for (template, fault) in [
            ("var/mail", MaildirError::PolicyRelative),
            ("", MaildirError::PolicyRelative),
            ("/var//{user}", MaildirError::PolicyDots),
            ("/var/../{user}", MaildirError::PolicyDots),
            ("/", MaildirError::PolicyDots),
            ("/var/{name}", MaildirError::PolicyField),
            ("/var/{user", MaildirError::PolicyField),
            ("/va\nr", MaildirError::PolicyLong),
        ] {
            assert_eq!(template.parse::<Maildir>(), Err(fault), "{template}");
        }
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
        assert_eq!(long.parse::<Maildir>(), Err(MaildirError::PolicyLong));
        assert!(long[..PATH_BYTES_MAX].parse::<Maildir>().is_ok(), "the bound");
    }
}
