//! What operators have changed and not committed yet: one text for each user
//! id, and for each name of a certificate, in memory only.
//!
//! Never touches what is in force. Bound: [`CANDIDATES_MAX`] at once; nobody's
//! is dropped for another's.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::api::config::Proposal;
use control::edit::{self, Edit};
use serde_json::{Value, json};

use super::{Shared, State, answers};
use crate::control_socket::Peer;
use crate::http::HttpResponse;

/// Candidates at once; each may be as long as a configuration.
pub(super) const CANDIDATES_MAX: usize = 8;

/// The candidates, each with its owner and the revision it was made from.
#[derive(Debug, Default)]
pub(super) struct Candidates(Vec<(Owner, u64, String)>);

/// Whose a candidate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A user's of this machine.
    User(u32),
    /// Of somebody elsewhere, by certificate.
    Certificate(Arc<str>),
}

/// Whose a client's candidate is.
pub(super) fn owner(peer: &Peer) -> Owner {
    match peer {
        Peer::Local { uid, .. } => Owner::User(*uid),
        Peer::Remote { certificate, .. } => Owner::Certificate(certificate.clone()),
    }
}

impl Candidates {
    /// Its text and its base.
    pub(super) fn of(&self, whose: &Owner) -> Option<(&str, u64)> {
        let found = self.0.iter().find(|(owner, _, _)| owner == whose);
        found.map(|(_, base, text)| (text.as_str(), *base))
    }

    /// Drops one's candidate; whether there was one.
    pub(super) fn discard(&mut self, whose: &Owner) -> bool {
        let before = self.0.len();
        self.0.retain(|(owner, _, _)| owner != whose);
        self.0.len() < before
    }

    /// Replaces one's candidate; `false` when there are too many of others.
    fn keep(&mut self, whose: Owner, base: u64, text: String) -> bool {
        self.discard(&whose);
        let fits = self.0.len() < CANDIDATES_MAX;
        if fits {
            self.0.push((whose, base, text));
        }
        fits
    }
}

impl Shared {
    /// A client's candidate, or what rules where there is none, and its base.
    pub(super) fn candidate(
        &self,
        state: &State,
        peer: &Peer,
    ) -> Result<(String, u64), HttpResponse> {
        match state.candidates.of(&owner(peer)) {
            Some((text, base)) => Ok((text.to_owned(), base)),
            None => {
                let current = state.history.current();
                Ok((self.text(state, current)?, current))
            }
        }
    }

    pub(super) fn propose(
        &self,
        state: &mut State,
        proposal: Proposal,
        peer: &Peer,
    ) -> Result<Value, HttpResponse> {
        let Proposal { text, base } = proposal;
        let base = base.unwrap_or(state.history.current());
        self.keep(state, peer, base, text)
    }

    pub(super) fn edit(
        &self,
        state: &mut State,
        edits: &[Edit],
        peer: &Peer,
    ) -> Result<Value, HttpResponse> {
        let (text, base) = self.candidate(state, peer)?;
        let edited = edit::apply(&text, edits);
        let edited = edited.map_err(|error| answers::refusal(422, &error.to_string()))?;
        self.keep(state, peer, base, edited)
    }

    fn keep(
        &self,
        state: &mut State,
        peer: &Peer,
        base: u64,
        text: String,
    ) -> Result<Value, HttpResponse> {
        if !state.candidates.keep(owner(peer), base, text) {
            let message =
                format!("{CANDIDATES_MAX} others have changed something and not committed");
            return Err(answers::refusal(409, &message));
        }
        self.described(state, peer)
    }

    /// A candidate: what it changes, and what is wrong with it.
    pub(super) fn described(&self, state: &State, peer: &Peer) -> Result<Value, HttpResponse> {
        let (text, base) = self.candidate(state, peer)?;
        let current = state.history.current();
        let ruling = self.text(state, current)?;
        let findings = match self.load.checked(&text, &BTreeMap::new()) {
            Ok(config) => config.warnings,
            Err(refused) => refused.diagnostics,
        };
        Ok(json!({
            "base": base,
            "current": current,
            "diff": answers::diff(&ruling, &text, &answers::name(current), "candidate"),
            "findings": answers::findings(&findings),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_their_own_up_to_the_bound() {
        let mut candidates = Candidates::default();
        let user = Owner::User;
        for uid in 1..CANDIDATES_MAX as u32 {
            assert!(candidates.keep(user(uid), 1, format!("# {uid}")));
        }
        let ann = Owner::Certificate("CN=ann".into());
        assert!(candidates.keep(ann.clone(), 1, "# ann".to_owned()));
        assert!(!candidates.keep(user(99), 1, String::new()));
        assert!(candidates.keep(ann.clone(), 2, "# again".to_owned()), "one's own is replaced");
        assert_eq!(candidates.of(&ann), Some(("# again", 2)));
        assert_eq!(candidates.of(&user(1)), Some(("# 1", 1)));
        assert!(candidates.discard(&user(1)) && !candidates.discard(&user(1)));
        assert!(candidates.keep(user(99), 1, String::new()));
    }
}
