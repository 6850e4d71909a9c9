//! Mail that waits in the guest's queue while things happen to the machine, and
//! that must all arrive in the end.
//!
//! Its sink is closed until then, so every message stays in the queue.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::guest::Guest;
use super::{HOST, relaying, seeded};
use crate::image::Image;
use crate::power_cuts::load::{Load, Sent};
use crate::power_cuts::sink::Sink;

/// How long the guest may take for messages.
const LOAD_TIME: Duration = Duration::from_secs(300);
/// When nothing has arrived for so long, nothing more will.
const QUIET: Duration = Duration::from_secs(90);

/// The mail of a test, and where it goes.
pub struct Waiting {
    sink: Sink,
    sent: Arc<Sent>,
    gone: BTreeSet<u64>,
}

impl Waiting {
    /// No mail yet.
    ///
    /// # Errors
    /// There is no port for the sink.
    pub fn start() -> io::Result<Self> {
        let sink = Sink::start()?;
        sink.close(true);
        Ok(Self { sink, sent: Arc::default(), gone: BTreeSet::new() })
    }

    /// A disk for a guest that takes mail from its own network and relays it here,
    /// again and again; with `more` lines in its configuration, and this
    /// `network.conf`.
    ///
    /// # Errors
    /// What a tool says.
    pub fn disk(
        &self,
        image: &Image,
        folder: &Path,
        more: &str,
        network: &str,
    ) -> io::Result<PathBuf> {
        let configuration = format!("{}retry = [\"2s\"]\n{more}", relaying(HOST, self.sink.port()));
        seeded(image, folder, &[("ringpost.toml", &configuration), ("network.conf", network)])
    }

    /// Whatever comes is taken from now on.
    pub fn open(&self) {
        self.sink.close(false);
    }

    /// Hands over mail until it is ended; each of its clients rests for `pause`
    /// after a message.
    pub fn load(&self, guest: &Guest, pause: Duration) -> Load {
        Load::start(guest.port(), &self.sent, pause)
    }

    /// Hands over so many messages more; all are acknowledged.
    ///
    /// # Errors
    /// The guest does not take them.
    pub fn hand_over(&self, guest: &Guest, count: usize) -> io::Result<()> {
        let enough = self.sent.count() + count;
        let load = self.load(guest, Duration::ZERO);
        let taken = self.sent.wait(enough, LOAD_TIME);
        load.end();
        if taken { Ok(()) } else { Err(guest.blamed("it takes no mail")) }
    }

    /// What was handed over so far is gone, because somebody wanted that.
    pub fn forget(&mut self) {
        self.gone = self.sent.acknowledged();
    }

    /// Opens the sink, and waits until all that was acknowledged is there.
    ///
    /// # Errors
    /// What is lost, came in another form, or although it was to be gone.
    pub fn all_arrive(&self, guest: &Guest) -> io::Result<()> {
        self.open();
        let expected: BTreeSet<u64> =
            self.sent.acknowledged().difference(&self.gone).copied().collect();
        loop {
            let there = self.sink.arrivals();
            let missing = expected.iter().filter(|number| !there.contains_key(number)).count();
            if missing == 0 {
                break;
            }
            if !self.sink.wait_for_more(expected.len() - missing, &expected, QUIET) {
                return Err(guest.blamed(&format!("{missing} acknowledged messages are lost")));
            }
        }
        if let Some(altered) = self.sink.altered().first() {
            return Err(io::Error::other(format!("altered: {altered}")));
        }
        if let Some(number) = self.sink.arrivals().keys().find(|it| self.gone.contains(it)) {
            return Err(io::Error::other(format!("message {number} was to be gone")));
        }
        println!("all {} messages have arrived", expected.len());
        Ok(())
    }
}
