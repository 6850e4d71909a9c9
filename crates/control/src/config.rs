//! Configuration: text in, a checked [`Policy`] out, or everything that is
//! wrong with it at once, each with line, column, key and reason.
//!
//! Reads no file itself: those that it names (passwords) are asked of the
//! caller. Keys and their meaning are those of the reference
//! (`ringpost.toml`); an unknown key, a number without a unit, a contradiction
//! are errors, because a typing error in a mail server shows itself only days
//! later. What works but is hardly meant (a route that can't be reached) is a
//! warning.
//!
//! Invariants: an empty text gives [`Policy::new`]; [`Policy::effective_toml`]
//! read again gives the same policy.

mod alerts;
mod check;
mod cx;
mod diagnostic;
mod hosts;
pub(crate) mod local;
mod log_in;
mod metrics;
mod on_demand;
mod pop;
mod proxy;
mod remote;
mod reports;
mod retry;
mod schedule;
mod sections;
mod sinks;
mod sources;
mod submission;
mod values;
pub(crate) mod way;

use mail::Domain;
use thiserror::Error;

use crate::policy::Policy;
pub use cx::ReadFile;
pub use diagnostic::{Diagnostic, Severity};

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it decides.
    pub policy: Policy,
    /// What is odd about it, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// A configuration with at least one error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", diagnostic::listing(.diagnostics))]
pub struct Refused {
    /// Errors and warnings, in the order of the file; at most
    /// [`DIAGNOSTICS_MAX`], with a last one that counts the rest.
    pub diagnostics: Vec<Diagnostic>,
}

/// Largest configuration read, in bytes.
pub const CONFIG_BYTES_MAX: usize = 32 << 20;
/// Largest file that a configuration names, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most routes of one configuration.
pub const ROUTES_MAX: usize = 250_000;
/// Most diagnostics reported of one configuration.
pub const DIAGNOSTICS_MAX: usize = 100;

impl Config {
    /// Reads a configuration without the files that it names: whatever they
    /// hold counts as sound. `machine_name` stands in where `hostname` is not
    /// set.
    ///
    /// # Errors
    /// [`Refused`] with everything found; after a fault in the TOML itself
    /// nothing else is looked at.
    pub fn parse(text: &str, machine_name: &Domain) -> Result<Self, Refused> {
        Self::parse_with(text, machine_name, &mut |_| Ok(UNREAD.to_vec()))
    }

    /// Reads a configuration and the files that it names. `files` gives a
    /// file's content, or why there is none.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse_with<'f>(
        text: &'f str,
        machine_name: &Domain,
        files: &'f mut ReadFile<'f>,
    ) -> Result<Self, Refused> {
        let mut cx = cx::Cx::new(text, files);
        let policy = match cx.document() {
            Some(document) => sections::policy(&mut cx, &document, machine_name),
            None => Policy::new(machine_name.clone()),
        };
        let (refused, diagnostics) = cx.finish();
        if refused {
            return Err(Refused { diagnostics });
        }
        Ok(Self { policy, warnings: diagnostics })
    }
}

/// The paths of all keys, sections included, in no certain order. Those of
/// routes are those of `delivery`, and `route.match`.
pub fn known_keys() -> Vec<String> {
    sections::known_keys()
}

/// What stands for the content of a file that is not read.
const UNREAD: &[u8] = b"unread";

#[cfg(test)]
mod tests;
