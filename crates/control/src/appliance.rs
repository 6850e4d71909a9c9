//! What the daemon and the first process of the appliance say to each other: by
//! files in one folder, each whole or not there.
//!
//! Never reads or writes one. The form is an agreement with `appliance/init`,
//! which shares no code with anything here: a line `key = value` each, with `\n`
//! for a line end within a value and `\\` for the sign itself.

use std::collections::BTreeMap;

use base::Wall;
use mail::Timestamp;
use serde_json::{Value, json};

use crate::units::Span;

/// What the first process says of itself and the machine.
pub const STATE: &str = "state";
/// An update, as it was sent.
pub const UPDATE: &str = "update.new";
/// An update that is still coming.
pub const UPDATE_PART: &str = "update.new.part";
/// Settings of the network, to be tried.
pub const NETWORK: &str = "network.new";
/// Those on trial are right.
pub const NETWORK_CONFIRM: &str = "network.confirm";
/// Begin anew, as if nothing had been set.
pub const RESET: &str = "reset.new";
/// Start the machine anew.
pub const RESTART: &str = "restart.new";
/// What is taken up and goes away then, with its name in answers.
pub const ORDERS: [(&str, &str); 5] = [
    (UPDATE, "update"),
    (NETWORK, "network"),
    (NETWORK_CONFIRM, "network confirm"),
    (RESET, "reset"),
    (RESTART, "restart"),
];

/// What the first process keeps of how the daemon, the kernel and the machine
/// went down: files in the folder above, which are its own and which the daemon
/// may read.
pub const LAST_WORDS: [&str; 3] = ["last-panic", "last-kernel-panic", "last-reboot"];
/// Octets of each that are read.
pub const LAST_WORDS_BYTES_MAX: u64 = 64 << 10;

/// Largest update, in octets.
pub const UPDATE_BYTES_MAX: u64 = 132 << 20;
/// Largest state, in octets.
pub const STATE_BYTES_MAX: u64 = 256 << 10;

/// What the state says, for those who asked over the control socket; `waiting`
/// are orders that were given and not taken up.
pub fn shown(state: &str, waiting: &[&str]) -> Value {
    let said = read(state);
    let text = |key: &str| said.get(key).filter(|value| !value.is_empty());
    let flag = |key: &str| match text(key).map(String::as_str) {
        Some("yes") => Some(true),
        Some("no") => Some(false),
        _ => None,
    };
    let time = |key: &str| {
        let seconds: u64 = text(key)?.parse().ok()?;
        Some(Timestamp(Wall::from_millis(seconds.checked_mul(1_000)?)).to_string())
    };
    let addresses = text("addresses").map_or("", String::as_str).split(',');
    let addresses: Vec<&str> = addresses.map(str::trim).filter(|it| !it.is_empty()).collect();
    json!({
        "version": text("version"),
        "image": text("image"),
        "blessed": flag("blessed"),
        "booted_at": time("booted_at"),
        "boot_id": text("boot_id"),
        "addresses": addresses,
        "network": text("network"),
        "network_file": text("network_file"),
        "network_trial_until": time("network_trial_until"),
        "network_outcome": text("network_outcome"),
        "update_outcome": text("update_outcome"),
        "reset_outcome": text("reset_outcome"),
        "last_panic_at": time("last_panic_at"),
        "clock_error_ms": text("clock_error_ms").and_then(|it| it.parse::<i64>().ok()),
        "watchdog": flag("watchdog"),
        "waiting": waiting,
    })
}

/// Whether settings of the network are on trial.
pub fn is_on_trial(state: &str) -> bool {
    read(state).get("network").is_some_and(|network| network == "trial")
}

/// The order to try settings of the network for so long.
pub fn network_order(confirm: Span, text: &str) -> String {
    format!("confirm = {}\n{text}", confirm.0.as_secs())
}

/// The order to begin anew.
pub fn reset_order(keeps_queue: bool) -> String {
    format!("queue = {}\n", if keeps_queue { "keep" } else { "delete" })
}

/// The values by their keys; what is no such line is passed over.
fn read(state: &str) -> BTreeMap<&str, String> {
    let pairs = state.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim(), unescaped(value.trim()))).collect()
}

fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut signs = value.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => match signs.next() {
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const STATE: &str = "version = 1.4.0\nimage = ringpost_1.4.0.efi\nblessed = yes\n\
        booted_at = 1790000000\nboot_id = 3f\naddresses = 192.0.2.10, 2001:db8::1\n\
        network = trial\nnetwork_file = hostname = a.example\\naddress = 192.0.2.10/24\\n# \\\\\n\
        network_trial_until = 1790000120\nnetwork_outcome =\nupdate_outcome = refused: x = y\n\
        last_panic_at = 1789999999\nclock_error_ms = -12\nwatchdog = no\n";

    #[test]
    fn a_state_is_shown_with_what_waits() {
        let shown = shown(STATE, &["update"]);
        assert_eq!(shown["version"], "1.4.0");
        assert_eq!((&shown["blessed"], &shown["watchdog"]), (&json!(true), &json!(false)));
        assert_eq!(shown["booted_at"], "2026-09-21T14:13:20.000Z");
        assert_eq!(shown["addresses"], json!(["192.0.2.10", "2001:db8::1"]));
        assert_eq!(shown["network_file"], "hostname = a.example\naddress = 192.0.2.10/24\n# \\");
        assert_eq!(shown["last_panic_at"], "2026-09-21T14:13:19.000Z");
        assert_eq!(shown["network_outcome"], Value::Null);
        assert_eq!(shown["update_outcome"], "refused: x = y");
        assert_eq!(
            (&shown["clock_error_ms"], &shown["waiting"]),
            (&json!(-12), &json!(["update"]))
        );
        assert!(is_on_trial(STATE) && !is_on_trial(""));
    }

    #[test]
    fn any_text_is_a_state() {
        for text in ["", "x", "=", "a = \\", "booted_at = 99999999999999999999\nblessed = maybe"] {
            let shown = shown(text, &[]);
            assert_eq!((&shown["booted_at"], &shown["blessed"]), (&Value::Null, &Value::Null));
        }
        for end in 0..STATE.len() {
            let _ = shown(&STATE[..end], &[]);
        }
    }

    #[test]
    fn orders_are_in_the_agreed_form() {
        let order = network_order(Span(Duration::from_secs(120)), "address = 192.0.2.1/24\n");
        assert_eq!(order, "confirm = 120\naddress = 192.0.2.1/24\n");
        assert_eq!(
            (reset_order(true), reset_order(false)),
            ("queue = keep\n".into(), "queue = delete\n".into())
        );
    }
}
