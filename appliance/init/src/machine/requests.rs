//! What the daemon asks of PID 1, by files in a folder of its own: other
//! network settings, a reset, a new start; and what PID 1 tells it of the
//! machine, in the file `state` there.
//!
//! The folder's owner has no privileges and may put anything there, so nothing
//! in it is followed or waited for. Never decides: `init::trial` and
//! `init::reset` do. Invariant: settings on trial lie beside `network.conf` and
//! not in it, so that whatever ends a trial early ends it with the old ones.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use init::network::Network;
use init::reset::{self, Folder, Queue, goes};
use init::state::State;
use init::trial::{Outcome, PROPOSAL_BYTES_MAX, Proposal, Trial};

use super::consoles::Consoles;
use super::files;
use super::storage::{DAEMON_USER, FOLDER, NETWORK};

/// The folder.
pub const REQUESTS: &str = "/data/appliance";
/// Settings on trial, in root's folder.
const ON_TRIAL: &str = "/data/network.trial";
const PROPOSED: &str = "network.new";
const CONFIRMED: &str = "network.confirm";
const RESET: &str = "reset.new";
const RESTART: &str = "restart.new";
const STATE: &str = "state";

/// What PID 1 is to do.
pub enum Order {
    /// Start the machine anew, and why.
    Reboot(String),
    /// Use these settings from now on, with their text.
    Use(Network, String),
    /// Use those of `network.conf`.
    UseKept,
}

/// Requests, and what became of them.
#[derive(Debug, Default)]
pub struct Requests {
    trial: Trial,
    network_outcome: String,
    reset_outcome: String,
    told: String,
}

impl Requests {
    /// Finishes what a start finds: a reset that was asked for, and a trial that
    /// the end of the last run cut off. `pet` is called while that lasts.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn begin(consoles: &mut Consoles, pet: &mut impl FnMut()) -> io::Result<Self> {
        let mut requests = Self::default();
        let asked = files::given(&place(RESET), reset::BYTES_MAX);
        if let Some(Ok(queue)) = asked.map(|text| text.and_then(|text| reset::parse(&text))) {
            carry_out(queue, pet);
            let queue = if queue == Queue::Keep { "stayed" } else { "went too" };
            requests.reset_outcome = format!("carried out; the queue {queue}");
            consoles.say(&format!("reset: {}", requests.reset_outcome));
        }
        if fs::symlink_metadata(ON_TRIAL).is_ok() {
            files::remove(Path::new(ON_TRIAL));
            // One that came during it has missed its time as well.
            files::remove(&place(PROPOSED));
            let why = "undone: the machine started anew before it was confirmed";
            requests.tell_network(consoles, why);
        }
        // Of the last run, and answered by this one.
        [CONFIRMED, RESTART, STATE].into_iter().for_each(|name| files::remove(&place(name)));
        let folder = Path::new(REQUESTS);
        if !folder.is_dir() {
            files::remove(folder);
            DirBuilder::new().mode(0o700).create(folder)?;
        }
        chown(folder, Some(DAEMON_USER), Some(DAEMON_USER))?;
        files::sync_folder(folder)?;
        files::remove_rest(pet);
        Ok(requests)
    }

    /// Whether settings are on trial, and until when since the machine's start.
    pub fn trial_ends(&self) -> Option<Duration> {
        self.trial.ends()
    }

    /// What became of network settings that came last.
    pub fn network_outcome(&self) -> &str {
        &self.network_outcome
    }

    /// What became of a reset that was asked for.
    pub fn reset_outcome(&self) -> &str {
        &self.reset_outcome
    }

    /// Looks at what came. Settings are tried only where `may_try`: before the
    /// daemon is well nobody could confirm them.
    pub fn look(&mut self, consoles: &mut Consoles, now: Duration, may_try: bool) -> Option<Order> {
        if let Some(order) = self.restart().or_else(|| self.reset(consoles)) {
            return Some(order);
        }
        let proposed = if may_try { self.propose(consoles, now) } else { None };
        proposed.or_else(|| self.settle(consoles, now))
    }

    /// Writes the file `state` if it says something else now.
    pub fn tell(&mut self, state: &State) {
        let text = state.text();
        if text == self.told {
            return;
        }
        // On a disk that fails it is written again with the next change.
        let _ = files::tell(&place(STATE), text.as_bytes(), 0o644);
        self.told = text;
    }

    fn restart(&self) -> Option<Order> {
        fs::symlink_metadata(place(RESTART)).ok()?;
        // First of all: what stays is found by the next start, which starts anew.
        taken(RESTART);
        Some(Order::Reboot("asked for".to_owned()))
    }

    /// The next start carries it out, before anything runs that could mind.
    fn reset(&mut self, consoles: &mut Consoles) -> Option<Order> {
        let text = files::given(&place(RESET), reset::BYTES_MAX)?;
        match text.and_then(|text| reset::parse(&text)) {
            Ok(_) => Some(Order::Reboot("to reset to factory".to_owned())),
            Err(why) => {
                taken(RESET);
                self.reset_outcome = format!("refused: {why}");
                consoles.say(&format!("reset: {}", self.reset_outcome));
                None
            }
        }
    }

    fn propose(&mut self, consoles: &mut Consoles, now: Duration) -> Option<Order> {
        let text = files::given(&place(PROPOSED), PROPOSAL_BYTES_MAX)?;
        // Older than this trial, whatever it was to confirm.
        taken(CONFIRMED);
        let kept = text.and_then(|text| Proposal::parse(&text)).and_then(|proposal| {
            let kept = files::replace(Path::new(ON_TRIAL), proposal.text.as_bytes(), 0o640);
            kept.map(|()| proposal).map_err(|error| error.to_string())
        });
        taken(PROPOSED);
        match kept {
            Ok(Proposal { confirm, text, network }) => {
                self.trial.begin(now, confirm);
                self.tell_network(consoles, &format!("on trial for {} s", confirm.as_secs()));
                Some(Order::Use(network, text))
            }
            Err(why) => {
                self.tell_network(consoles, &format!("refused: {why}"));
                None
            }
        }
    }

    /// Ends the trial if it is time, or was confirmed.
    fn settle(&mut self, consoles: &mut Consoles, now: Duration) -> Option<Order> {
        let is_confirmed = fs::symlink_metadata(place(CONFIRMED)).is_ok();
        let outcome = self.trial.look(now, is_confirmed);
        if is_confirmed {
            // After the settings are kept: power that goes in between must not
            // leave a confirmation for others.
            let kept = outcome.map(|_| keep());
            taken(CONFIRMED);
            match kept {
                None => consoles.say("network: nothing is there to be confirmed"),
                Some(Ok(())) => self.tell_network(consoles, "confirmed"),
                Some(Err(error)) => {
                    self.tell_network(consoles, &format!("undone: it cannot be kept: {error}"));
                    return Some(Order::UseKept);
                }
            }
        }
        if outcome != Some(Outcome::Undone) {
            return None;
        }
        let trial = Path::new(ON_TRIAL);
        files::remove(trial);
        // Found again by a start, it would end what is proposed after it.
        let _ = files::sync_folder(trial);
        self.tell_network(consoles, "undone: nobody confirmed it in time");
        Some(Order::UseKept)
    }

    fn tell_network(&mut self, consoles: &mut Consoles, outcome: &str) {
        outcome.clone_into(&mut self.network_outcome);
        consoles.say(&format!("network settings: {outcome}"));
    }
}

/// Makes the settings on trial those that count, in one step.
fn keep() -> io::Result<()> {
    let place = Path::new(FOLDER).join(NETWORK);
    fs::rename(ON_TRIAL, &place)?;
    files::sync_folder(&place)
}

/// Takes away what makes this machine somebody's; the request goes last, so
/// that a reset that was cut off is carried out again.
fn carry_out(queue: Queue, pet: &mut impl FnMut()) {
    let data = Path::new(FOLDER);
    for (folder, which) in [(data.join("queue"), Folder::Queue), (data.to_owned(), Folder::Data)] {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            pet();
            if goes(queue, which, &entry.file_name().to_string_lossy()) {
                files::remove(&entry.path());
            }
        }
    }
    let requests = fs::read_dir(REQUESTS).into_iter().flatten().flatten();
    for entry in requests.filter(|entry| entry.file_name() != RESET) {
        files::remove(&entry.path());
    }
    files::remove_rest(pet);
    nix::unistd::sync();
    taken(RESET);
}

/// A request that was taken up, durably: it must not be found again.
fn taken(name: &str) {
    let place = place(name);
    if fs::symlink_metadata(&place).is_ok() {
        files::remove(&place);
        let _ = files::sync_folder(&place);
    }
}

fn place(name: &str) -> PathBuf {
    Path::new(REQUESTS).join(name)
}
