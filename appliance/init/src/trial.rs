//! Network settings on trial: what somebody far away proposed, and how long it
//! has to be confirmed, lest a wrong address lock everybody out.
//!
//! Never reads a clock or a file. Invariant: every trial ends, confirmed or
//! undone; what was confirmed last is what counts after any restart, so a trial
//! is never read at one.
//!
//! ```text
//! confirm = 120                        # seconds, 10 to 3600
//! address = 192.0.2.10/24              # and the rest of a network.conf
//! ```

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::network::{BYTES_MAX, Network};

/// Seconds in which a trial may have to be confirmed: enough to reach the
/// machine at its new address, and no night without it.
pub const CONFIRM_SECONDS: RangeInclusive<u64> = 10..=3_600;
/// Octets of a proposal: its first line and a `network.conf`.
pub const PROPOSAL_BYTES_MAX: usize = BYTES_MAX + 64;

/// Settings that are to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// How long they have to be confirmed.
    pub confirm: Duration,
    /// The `network.conf` as it was written.
    pub text: String,
    /// What it says.
    pub network: Network,
}

impl Proposal {
    /// Reads a proposal.
    ///
    /// # Errors
    /// What is wrong with it; lines are those of the `network.conf` in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        if rest.len() > BYTES_MAX {
            return Err(format!("more than {BYTES_MAX} octets"));
        }
        let value = match first.split_once('=') {
            Some((key, value)) if key.trim() == "confirm" => value.trim(),
            _ => return Err("its first line is not `confirm = SECONDS`".to_owned()),
        };
        let seconds = value.parse().ok().filter(|seconds| CONFIRM_SECONDS.contains(seconds));
        let (least, most) = (CONFIRM_SECONDS.start(), CONFIRM_SECONDS.end());
        let seconds = seconds
            .ok_or_else(|| format!("confirm is `{value}`, not {least} to {most} seconds"))?;
        let network =
            Network::parse(rest).map_err(|bad| format!("line {}: {}", bad.line, bad.why))?;
        Ok(Self { confirm: Duration::from_secs(seconds), text: rest.to_owned(), network })
    }
}

/// The trial under way, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    ends: Option<Duration>,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody reached the machine: the settings stay.
    Confirmed,
    /// Nobody did: those before count again.
    Undone,
}

impl Trial {
    /// Settings are tried from `now` on; a trial before is forgotten with its
    /// end.
    pub fn begin(&mut self, now: Duration, confirm: Duration) {
        self.ends = Some(now.saturating_add(confirm));
    }

    /// When it ends at the latest, since the machine's start; `look` is to be
    /// called then.
    pub fn ends(&self) -> Option<Duration> {
        self.ends
    }

    /// The time has come to `now`, and somebody has confirmed or not. Whoever
    /// confirms has reached the machine, so that counts in the last moment too.
    pub fn look(&mut self, now: Duration, is_confirmed: bool) -> Option<Outcome> {
        let ends = self.ends?;
        let outcome = match (is_confirmed, now >= ends) {
            (true, _) => Outcome::Confirmed,
            (false, true) => Outcome::Undone,
            (false, false) => return None,
        };
        self.ends = None;
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_proposal_is_a_time_and_a_network_conf() {
        let text = "confirm = 60\n# ours\naddress = 192.0.2.10/24\n";
        let proposal = Proposal::parse(text).unwrap();
        assert_eq!(proposal.confirm, seconds(60));
        assert_eq!(proposal.text, "# ours\naddress = 192.0.2.10/24\n");
        assert_eq!(proposal.network.addresses.len(), 1);
        // Back to DHCP is a proposal like any other.
        assert_eq!(Proposal::parse("confirm=10").unwrap().text, "");
    }

    #[test]
    fn what_is_wrong_is_told_with_the_line_of_the_file_in_it() {
        let refused = |text: &str| Proposal::parse(text).unwrap_err();
        assert!(refused("").contains("confirm"));
        assert!(refused("address = 192.0.2.10/24\n").contains("first line"));
        for time in ["9", "3601", "x", "", "-60", "99999999999999999999999"] {
            refused(&format!("confirm = {time}\n"));
        }
        for time in [10, 3_600] {
            assert!(Proposal::parse(&format!("confirm = {time}\n")).is_ok());
        }
        let bad = refused("confirm = 60\n\nadress = 192.0.2.10/24\n");
        assert!(bad.starts_with("line 2: `adress`"), "{bad}");
    }

    #[test]
    fn a_proposal_is_bounded() {
        let filled = |bytes: usize| format!("confirm = 60\n{}", "#".repeat(bytes));
        assert!(Proposal::parse(&filled(BYTES_MAX)).is_ok());
        assert!(Proposal::parse(&filled(BYTES_MAX + 1)).is_err());
        assert!(filled(BYTES_MAX).len() <= PROPOSAL_BYTES_MAX);
    }

    #[test]
    fn a_trial_ends_confirmed_or_undone_and_once() {
        let mut trial = Trial::default();
        assert_eq!(trial.look(seconds(5), true), None, "nothing to confirm");
        trial.begin(seconds(10), seconds(60));
        assert_eq!(trial.ends(), Some(seconds(70)));
        assert_eq!(trial.look(seconds(69), false), None);
        assert_eq!(trial.look(seconds(70), false), Some(Outcome::Undone));
        assert_eq!(trial.look(seconds(71), true), None, "too late");
        trial.begin(seconds(80), seconds(60));
        assert_eq!(trial.look(seconds(81), true), Some(Outcome::Confirmed));
        assert_eq!(trial.look(seconds(500), false), None);
    }

    #[test]
    fn who_confirms_has_reached_the_machine_in_the_last_moment_too() {
        let mut trial = Trial::default();
        trial.begin(seconds(10), seconds(60));
        assert_eq!(trial.look(seconds(100), true), Some(Outcome::Confirmed));
    }

    #[test]
    fn another_proposal_begins_its_own_time() {
        let mut trial = Trial::default();
        trial.begin(seconds(10), seconds(60));
        trial.begin(seconds(50), seconds(60));
        assert_eq!(trial.look(seconds(70), false), None);
        assert_eq!(trial.look(seconds(110), false), Some(Outcome::Undone));
    }
}
