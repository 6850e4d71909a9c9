//! What takes the lines of a reader.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use control::{Syslog, Webhook};
use eventlog::{Batch, Filter, Kind, Level};

use super::syslog::SyslogOutlet;
use super::webhook::WebhookOutlet;

/// Takes batches, on a thread of its own.
pub(super) trait Outlet {
    /// Sends what is in a batch; gives what the other end said. `id` is the same
    /// for the same lines at the same place.
    ///
    /// # Errors
    /// [`Untaken`].
    fn send(&mut self, batch: &Batch, id: &str) -> Result<String, Untaken>;
}

/// A batch that was not taken, or not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Untaken {
    /// So many lines from the front were.
    pub(super) taken: usize,
    /// Why not all.
    pub(super) reason: String,
}

/// What a reader is for, as the configuration says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Spec {
    /// A web server.
    Webhook(Webhook),
    /// A syslog server or the journal, and what we call ourselves there.
    Syslog(Syslog, Box<str>),
}

/// Most messages of syslog at once, and how long they wait for each other.
const SYSLOG_LINES: usize = 500;
const SYSLOG_WAIT: Duration = Duration::from_millis(50);

/// How lines come together, and how often they are tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Most lines of a batch.
    pub(super) lines: usize,
    /// How long a batch waits for more.
    pub(super) wait: Duration,
    /// The longest wait between two attempts.
    pub(super) retry: Duration,
}

impl Spec {
    /// What it is called in the log and on the disk; unique.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Webhook(hook) => format!("webhook {}", hook.name),
            Self::Syslog(log, _) => format!("syslog {}", log.name),
        }
    }

    /// Where its lines go, for operators.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Webhook(hook) => hook.url.to_string(),
            Self::Syslog(log, _) => log.to.to_string(),
        }
    }

    /// How its lines come together.
    pub(super) fn pace(&self) -> Pace {
        match self {
            Self::Webhook(hook) => {
                Pace { lines: hook.batch as usize, wait: hook.wait, retry: hook.retry }
            }
            Self::Syslog(log, _) => {
                Pace { lines: SYSLOG_LINES, wait: SYSLOG_WAIT, retry: log.retry }
            }
        }
    }

    /// Which lines it wants.
    pub(super) fn filter(&self) -> Filter {
        match self {
            Self::Webhook(hook) => filter(&hook.selection),
            Self::Syslog(log, _) => filter(&log.selection),
        }
    }

    /// What takes them. It ends what it does when `stop` is set.
    pub(super) fn outlet(&self, stop: &Arc<AtomicBool>) -> Box<dyn Outlet> {
        match self {
            Self::Webhook(hook) => Box::new(WebhookOutlet::new(hook, stop)),
            Self::Syslog(log, hostname) => Box::new(SyslogOutlet::new(log, hostname, stop)),
        }
    }
}

fn filter(selection: &control::Selection) -> Filter {
    let usual = |kind: &Kind| kind.described().level != Level::Detail;
    let named: Vec<Kind> = selection.events.iter().filter_map(|word| Kind::named(word)).collect();
    Filter {
        kinds: if named.is_empty() { Kind::all().filter(usual).collect() } else { named },
        domain: selection.domain.as_deref().map(str::to_owned),
        site: selection.site.as_deref().map(str::to_owned),
        ..Filter::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `control` cannot see `eventlog`, nor the other way round.
    #[test]
    fn the_words_of_the_configuration_are_those_of_the_log() {
        let words: Vec<&str> = Kind::all().map(Kind::word).collect();
        assert_eq!(
            control::sink::EVENTS,
            words,
            "put new kinds into crates/control/src/sink/words.rs"
        );
    }

    #[test]
    fn without_kinds_all_but_the_detail_is_wanted() {
        let wanted = filter(&control::Selection::default());
        let line = |event: &str| format!("{{\"time\":\"x\",\"event\":\"{event}\"}}");
        assert!(wanted.matches(line("delivered").as_bytes()));
        assert!(!wanted.matches(line("dialogue").as_bytes()));
        let one = control::Selection { events: ["dialogue".into()].into(), ..Default::default() };
        assert!(filter(&one).matches(line("dialogue").as_bytes()));
        assert!(!filter(&one).matches(line("delivered").as_bytes()));
    }
}
