//! `PUT /v1/restore`: what a backup says is put in force; the terms stand in the
//! query, the backup as it is in the body.

use super::config::terms;
use super::query::named;
use super::{ApiError, Request};
use crate::units::Span;

/// A backup, not opened yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Restore {
    /// The backup, as it was written.
    pub backup: Vec<u8>,
    /// How the revision is made.
    pub terms: Terms,
}

/// How a revision is made of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What to remember about it.
    pub comment: String,
    /// Undone after this time unless confirmed.
    pub confirm: Option<Span>,
    /// As with a commit.
    pub next_start: bool,
}

impl std::fmt::Display for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(span) = self.confirm {
            write!(f, ", to be confirmed within {span}")?;
        }
        if self.comment.is_empty() { Ok(()) } else { write!(f, ": {}", self.comment) }
    }
}

/// Secrets are in it.
impl std::fmt::Debug for Restore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restore").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// Largest backup, in octets.
pub const BACKUP_BYTES_MAX: usize = 128 << 20;

/// `effect=…`: at-once, next-start, or a span for which it is on trial; and
/// `comment=…`.
pub(super) fn restore(query: &str, backup: &[u8]) -> Result<Request, ApiError> {
    let refuse = |why: &str| ApiError::PeerRequest(why.to_owned());
    let [effect, comment] = named(query, ["effect", "comment"])?;
    let (confirm, next_start) = match effect.as_deref() {
        None | Some("at-once") => (None, false),
        Some("next-start") => (None, true),
        Some(span) => {
            let span = span.parse().map_err(|why| {
                refuse(&format!("effect is at-once, next-start or a span of trial, which {why}"))
            })?;
            (Some(span), false)
        }
    };
    let comment = comment.unwrap_or_default();
    if backup.is_empty() {
        return Err(refuse("the backup is missing: it is the body of the request"));
    }
    terms(&comment, confirm, next_start)?;
    let terms = Terms { comment, confirm, next_start };
    Ok(Request::Restore(Box::new(Restore { backup: backup.to_vec(), terms })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terms_stand_in_the_query() {
        let put = |query: &str, body: &str| {
            Request::parse("PUT", &format!("/v1/restore?{query}"), body.as_bytes())
        };
        let read = put("effect=5m&comment=a%20move", "{}").unwrap();
        assert!(!read.reads_only() && !read.is_for_page());
        assert!(!format!("{read:?}").contains("123"), "no secret is shown");
        let Request::Restore(restore) = read else { panic!("{read:?}") };
        assert_eq!((&*restore.terms.comment, restore.terms.next_start), ("a move", false));
        assert!(restore.terms.confirm.is_some());
        for (query, body, words) in [
            ("", "", "the backup is missing"),
            ("effect=5", "x", "lacks a unit"),
            ("effect=later", "x", "at-once, next-start or a span"),
            ("effect=48h", "x", "confirm is a time up to"),
            ("base=1", "x", "not known here"),
        ] {
            let why = put(query, body).unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
        // Who may only look sees no secret.
        let backup = Request::parse("GET", "/v1/backup", b"").unwrap();
        assert!(!backup.reads_only() && !backup.is_for_page());
    }
}
