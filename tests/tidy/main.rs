//! The rules of the house that no compiler knows: length, floors, unsafe,
//! words, heads, cites, a map and tables that are true. `crates/STYLE.md` has the
//! reasons.
//!
//! Never looks outside the workspace, and changes nothing. Each check returns
//! every breach it finds, with place and cure; each has a test that it finds
//! one.

mod catalogue;
mod clippy;
mod events;
mod features;
mod floors;
mod heads;
mod length;
mod map;
mod planted;
mod rfc;
mod rust;
mod words;

/// Fails with all of `breaches`, one a line.
fn report(breaches: Vec<String>) {
    assert!(breaches.is_empty(), "{} breaches:\n  {}", breaches.len(), breaches.join("\n  "));
}
