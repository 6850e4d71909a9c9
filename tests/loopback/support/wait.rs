//! The one way to wait: ask again until the event is there, or fail with its
//! name when a generous bound has passed.
//!
//! Never lets time pass for its own sake.

use std::time::{Duration, Instant};

/// For events that should come at once, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks `look` until it finds something.
///
/// # Panics
/// Nothing was found within `patience`.
pub fn until<T>(what: &str, patience: Duration, look: impl FnMut() -> Option<T>) -> T {
    until_or_explain(what, patience, look, String::new)
}

/// The same; `explain` says how things stand when the time is over.
///
/// # Panics
/// Nothing was found within `patience`.
pub fn until_or_explain<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Option<T>,
    explain: impl Fn() -> String,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        let late = Instant::now() >= deadline;
        assert!(!late, "waited {patience:?} in vain for {what} {}", explain());
        std::thread::park_timeout(PAUSE);
    }
}
