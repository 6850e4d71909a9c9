//! What PID 1 tells the daemon of the machine: lines of `key = value`, which
//! the control API passes on.
//!
//! Never writes the file. Invariant: one value is one line, whatever is in it,
//! so nothing that came from elsewhere looks like another key.

use std::fmt::Write;

/// Characters of a sentence in it; the running `network.conf` is longer.
pub const SENTENCE_CHARACTERS_MAX: usize = 400;

/// How the network is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkKind {
    /// By DHCP.
    #[default]
    Dhcp,
    /// With addresses of `network.conf`.
    Fixed,
    /// With settings that are to be confirmed.
    Trial,
}

/// All of it. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The running version.
    pub version: String,
    /// The file that the loader booted.
    pub image: String,
    /// Whether that was found good.
    pub is_blessed: bool,
    /// When the machine was started, in seconds since 1970.
    pub booted_at: u64,
    /// The kernel's name for this start.
    pub boot_id: String,
    /// Addresses with their networks.
    pub addresses: Vec<String>,
    /// How they came to be.
    pub network: NetworkKind,
    /// The running `network.conf`.
    pub network_file: String,
    /// When the trial ends, in seconds since 1970; only during one.
    pub network_trial_until: Option<u64>,
    /// What became of settings that came last.
    pub network_outcome: String,
    /// What became of the update that came last.
    pub update_outcome: String,
    /// What became of a reset that was asked for.
    pub reset_outcome: String,
    /// When the last crash was of which words are kept, in seconds since 1970.
    pub last_panic_at: Option<u64>,
    /// By how many milliseconds the clock was behind when it was last compared;
    /// ahead if negative.
    pub clock_error_ms: Option<i64>,
    /// Whether a hardware watchdog is petted.
    pub watchdog: bool,
}

impl State {
    /// The file's text.
    pub fn text(&self) -> String {
        let network = match self.network {
            NetworkKind::Dhcp => "dhcp",
            NetworkKind::Fixed => "fixed",
            NetworkKind::Trial => "trial",
        };
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let mut lines = vec![
            ("version", sentence(&self.version)),
            ("image", sentence(&self.image)),
            ("blessed", yes(self.is_blessed)),
            ("booted_at", self.booted_at.to_string()),
            ("boot_id", sentence(&self.boot_id)),
            ("addresses", one_line(&self.addresses.join(","))),
            ("network", network.to_owned()),
            ("network_file", one_line(&self.network_file)),
        ];
        lines.extend(self.network_trial_until.map(|at| ("network_trial_until", at.to_string())));
        lines.extend([
            ("network_outcome", sentence(&self.network_outcome)),
            ("update_outcome", sentence(&self.update_outcome)),
            ("reset_outcome", sentence(&self.reset_outcome)),
            ("last_panic_at", known(self.last_panic_at)),
            ("clock_error_ms", known(self.clock_error_ms)),
            ("watchdog", yes(self.watchdog)),
        ]);
        let mut text = String::new();
        for (key, value) in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }
}

fn sentence(words: &str) -> String {
    one_line(&words.chars().take(SENTENCE_CHARACTERS_MAX).collect::<String>())
}

fn known(number: Option<impl ToString>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// `\` is doubled, the end of a line is `\n`; other controls go.
fn one_line(words: &str) -> String {
    let mut line = String::with_capacity(words.len());
    for character in words.trim_end_matches('\n').chars() {
        match character {
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\t' => line.push(' '),
            plain if !plain.is_control() => line.push(plain),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_one_line() {
        let state = State {
            version: "1.2.3".to_owned(),
            network: NetworkKind::Trial,
            network_file: "# a \\ b\naddress = 192.0.2.1/24\n".to_owned(),
            network_trial_until: Some(1_800_000_000),
            addresses: vec!["192.0.2.1/24".to_owned(), "2001:db8::1/64".to_owned()],
            last_panic_at: Some(1_790_000_000),
            clock_error_ms: Some(-7),
            watchdog: true,
            ..State::default()
        };
        let text = state.text();
        for line in [
            "version = 1.2.3",
            "blessed = no",
            "addresses = 192.0.2.1/24,2001:db8::1/64",
            "network = trial",
            "network_file = # a \\\\ b\\naddress = 192.0.2.1/24",
            "network_trial_until = 1800000000",
            "last_panic_at = 1790000000",
            "clock_error_ms = -7",
            "watchdog = yes",
            "image = ",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in {text}");
        }
        assert_eq!(text.lines().count(), 15);
    }

    #[test]
    fn without_a_trial_there_is_no_time_of_its_end() {
        let text = State::default().text();
        assert!(!text.contains("network_trial_until"));
        assert!(text.contains("clock_error_ms = \n"));
        assert!(text.contains("last_panic_at = \n"), "it never crashed");
        assert_eq!(text.lines().count(), 14);
    }

    #[test]
    fn no_value_looks_like_another_key() {
        let state = State {
            update_outcome: "refused: x\nblessed = yes\r\u{1b}[2J".to_owned(),
            network_outcome: "y".repeat(SENTENCE_CHARACTERS_MAX + 1),
            ..State::default()
        };
        let text = state.text();
        assert_eq!(text.lines().filter(|line| line.starts_with("blessed")).count(), 1);
        assert!(text.contains("update_outcome = refused: x\\nblessed = yes[2J\n"));
        let longest = text.lines().map(str::len).max().unwrap();
        assert_eq!(longest, "network_outcome = ".len() + SENTENCE_CHARACTERS_MAX);
    }
}
