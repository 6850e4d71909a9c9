//! The machine as PID 1 holds it: its parts, and the loop in which they meet.
//!
//! Never keeps a machine alive that does no work: what cannot go on is a
//! sentence for the console, and a new start.

mod blessing;
mod coldplug;
mod consoles;
mod daemon;
mod files;
mod growth;
mod links;
mod mounts;
mod ports;
mod removal;
mod requests;
mod storage;
mod time;
pub mod update;
mod watchdog;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use init::health::{Cure, cure};
use init::network::Network;
use init::pulse;
use init::restart::{Ends, Next};
use init::state::{NetworkKind, State};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::time::{ClockId, clock_gettime};

use blessing::Blessing;
use coldplug::Coldplug;
use consoles::Consoles;
use daemon::Daemon;
use ports::Ports;
use requests::{Order, Requests};
use storage::Storage;
use time::Time;
use update::Updates;
use watchdog::Watchdog;

pub use consoles::complain;

/// How long disks may take to appear.
const DISKS_TIME: Duration = Duration::from_secs(120);
/// How long the disk that the loader told of may take; then another one will do.
const OTHER_DISK_TIME: Duration = Duration::from_secs(30);
/// How long the daemon waits for a first address; a missing cable is no reason
/// not to take mail from those who are there.
const ADDRESS_TIME: Duration = Duration::from_secs(15);
/// How long it waits, once there is an address, for a first word of the time
/// servers; without any of them it does not.
const CLOCK_TIME: Duration = Duration::from_secs(15);
/// How long the daemon has to pass on what was told last, such as what became of
/// an update, before it is stopped.
const FAREWELL_TIME: Duration = Duration::from_secs(2);
/// How long a stop of the daemon may take, drain included.
const STOP_TIME: Duration = Duration::from_secs(40);
/// The longest turn of the loop: the watchdog wants to be petted.
const TURN: Duration = Duration::from_secs(1);
/// How often the daemon is asked how it is: before its first good answer, and
/// after.
const HEALTH_TURNS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// After so long without a good answer it is said so: two questions.
const SILENT_TIME: Duration = Duration::from_secs(25);
const VERSION: &str = "/etc/ringpost-version";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// All that PID 1 holds.
pub struct Machine {
    consoles: Consoles,
    watchdog: Watchdog,
    coldplug: Coldplug,
    storage: Option<Storage>,
    ports: Ports,
    time: Time,
    signals: SignalFd,
    daemon: Option<Daemon>,
    ends: Ends,
    start_at: Option<Duration>,
    health_at: Duration,
    good_at: Duration,
    pulse_at: Duration,
    was_healthy: bool,
    blessing: Blessing,
    updates: Updates,
    requests: Requests,
    /// The text of the `network.conf` that is used.
    network_file: String,
    /// What never changes while the machine runs.
    state: State,
}

impl Machine {
    /// Takes the machine over: mounts what the kernel offers, finds consoles.
    pub fn begin() -> Self {
        let troubles = mounts::kernel_file_systems();
        let mut consoles = Consoles::open();
        consoles.say(&format!(
            "USERSPACE boot={} version={} kernel={}",
            files::word(BOOT_ID),
            files::word(VERSION),
            files::word("/proc/sys/kernel/osrelease"),
        ));
        troubles.iter().for_each(|trouble| consoles.say(trouble));
        mounts::kernel_settings(&mut consoles);
        let coldplug = Coldplug::open(&mut consoles);
        mounts::firmware();
        Self {
            watchdog: Watchdog::default(),
            coldplug,
            storage: None,
            ports: Ports::default(),
            time: Time::default(),
            signals: take_signals(),
            daemon: None,
            ends: Ends::default(),
            start_at: None,
            health_at: Duration::ZERO,
            good_at: Duration::ZERO,
            pulse_at: pulse::turn(Duration::ZERO),
            was_healthy: false,
            blessing: Blessing::find(),
            updates: Updates::default(),
            requests: Requests::default(),
            network_file: String::new(),
            state: State {
                version: files::word(VERSION),
                boot_id: files::word(BOOT_ID),
                ..State::default()
            },
            consoles,
        }
    }

    /// From bare kernel to a daemon that was started.
    ///
    /// # Errors
    /// A sentence on what cannot be mended from here.
    pub fn start(&mut self) -> Result<(), String> {
        let (storage, requests) = self.find_storage()?;
        if !self.watchdog.is_there() {
            self.coldplug.load_controllers_watchdog(&mut self.consoles);
        }
        let (network, text) = storage.network(&mut self.consoles);
        (self.storage, self.requests) = (Some(storage), requests);
        self.updates = Updates::open();
        self.use_network(network, text);
        self.turn_while(ADDRESS_TIME, |machine| !machine.ports.has_address())?;
        if !self.ports.has_address() {
            self.consoles.say("network: no address yet; mail that waits keeps waiting");
        }
        // Mail has its times: a clock that is years ahead would expire it all.
        self.turn_while(CLOCK_TIME, |machine| {
            machine.ports.has_address() && machine.time.is_awaited()
        })?;
        self.start_at = Some(now());
        Ok(())
    }

    /// Turns while this holds, at most for so long.
    ///
    /// # Errors
    /// Why the machine is to start anew.
    fn turn_while(&mut self, time: Duration, holds: impl Fn(&Self) -> bool) -> Result<(), String> {
        let ends = now() + time;
        while holds(self) && now() < ends {
            self.turn().map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Runs until the machine is to start anew; says why.
    pub fn run(&mut self) -> String {
        loop {
            if let Some(why) = self.turn() {
                return why;
            }
            if self.start_at.is_some_and(|at| at <= now()) {
                self.start_at = None;
                if let Some(why) = self.start_daemon() {
                    return why;
                }
            }
            if let Some(why) = self.look_after_health().or_else(|| self.take_requests()) {
                return why;
            }
            // An image that has not proved itself installs no other.
            if self.was_healthy {
                self.updates.look(&mut self.consoles);
            }
            self.tell_state();
            self.pulse();
        }
    }

    /// Stops what runs and starts the machine anew.
    pub fn end(&mut self, why: &str) -> ! {
        self.consoles.say(&format!("REBOOT {why}"));
        self.tell_state();
        self.turn_while_daemon_runs(FAREWELL_TIME);
        if let Some(daemon) = &self.daemon {
            daemon.signal(Signal::SIGTERM);
            self.turn_while_daemon_runs(STOP_TIME);
        }
        if let Some(storage) = self.storage.take() {
            storage.leave(&mut self.consoles, why);
        }
        // Comes back only when the kernel refuses; then a panic starts it anew.
        let refused = reboot(RebootMode::RB_AUTOBOOT);
        panic!("the kernel does not start the machine anew: {refused:?}");
    }

    fn turn_while_daemon_runs(&mut self, time: Duration) {
        let ends = now() + time;
        while self.daemon.is_some() && now() < ends {
            self.turn();
        }
    }

    fn find_storage(&mut self) -> Result<(Storage, Requests), String> {
        let began = now();
        let ends = began + DISKS_TIME;
        loop {
            self.coldplug.load_all(&mut self.consoles);
            self.watchdog.pet();
            let trouble = match Storage::find(now() >= began + OTHER_DISK_TIME) {
                Ok(found) => {
                    let pet = || self.watchdog.pet();
                    return found.open(&mut self.consoles, pet);
                }
                Err(trouble) => trouble,
            };
            if now() >= ends {
                return Err(trouble);
            }
            self.wait(&[self.coldplug.as_fd()], TURN);
            self.coldplug.drain();
        }
    }

    /// The machine has these addresses from now on, and no other.
    fn use_network(&mut self, network: Network, text: String) {
        let name = network.hostname.as_deref().unwrap_or("ringpost");
        if let Err(error) = nix::unistd::sethostname(name) {
            self.consoles.say(&format!("network: host name {name}: {error}"));
        }
        if network.vlan.is_some() {
            self.coldplug.load("8021q", &mut self.consoles);
        }
        self.network_file = text;
        self.ports.replace(&mut self.consoles, network, now());
        self.tell_time_servers();
    }

    /// Who is to be asked for the time: nobody before there is an address, lest the
    /// first question be in vain.
    fn tell_time_servers(&mut self) {
        let servers = if self.ports.has_address() { self.ports.time_servers() } else { Vec::new() };
        self.time.set_servers(now(), &servers);
    }

    /// Does what the daemon asks for; a reason if that is a new start of the
    /// machine.
    fn take_requests(&mut self) -> Option<String> {
        match self.requests.look(&mut self.consoles, now(), self.was_healthy)? {
            Order::Reboot(why) => return Some(why),
            Order::Use(network, text) => self.use_network(network, text),
            Order::UseKept => {
                let storage = self.storage.as_ref().expect("requests lie on open storage");
                let (network, text) = storage.network(&mut self.consoles);
                self.use_network(network, text);
            }
        }
        None
    }

    /// Tells the daemon of the machine.
    fn tell_state(&mut self) {
        let booted_at = self.time.booted_at(now());
        let trial_ends = self.requests.trial_ends();
        let network = match (trial_ends, self.ports.are_fixed()) {
            (Some(_), _) => NetworkKind::Trial,
            (None, true) => NetworkKind::Fixed,
            (None, false) => NetworkKind::Dhcp,
        };
        let state = State {
            image: self.blessing.image().to_owned(),
            is_blessed: self.blessing.is_done(),
            booted_at,
            addresses: self.ports.addresses(),
            network,
            network_file: self.network_file.clone(),
            network_trial_until: trial_ends.map(|ends| booted_at + ends.as_secs()),
            network_outcome: self.requests.network_outcome().to_owned(),
            update_outcome: self.updates.outcome().to_owned(),
            reset_outcome: self.requests.reset_outcome().to_owned(),
            last_panic_at: self.storage.as_ref().and_then(Storage::last_panic_at),
            clock_error_ms: self.time.error_ms(),
            watchdog: self.watchdog.is_there(),
            ..self.state.clone()
        };
        self.requests.tell(&state);
    }

    /// Waits for the next event, at most [`TURN`], and does what it asks for;
    /// a reason if that is a new start of the machine.
    fn turn(&mut self) -> Option<String> {
        self.watchdog.pet();
        let began = now();
        let next = self.ports.next().into_iter().chain(self.time.next()).chain(self.start_at);
        let wait = next.map(|at| at.saturating_sub(began)).fold(TURN, Duration::min);
        let mut sources = vec![self.signals.as_fd(), self.coldplug.as_fd()];
        sources.extend(self.ports.as_fds());
        sources.extend(self.time.as_fd());
        sources.extend(self.daemon.iter().filter_map(Daemon::as_fd));
        self.wait(&sources, wait);
        drop(sources);
        if self.coldplug.drain() {
            self.coldplug.load_all(&mut self.consoles);
            self.ports.look(&mut self.consoles, now());
        }
        if self.ports.turn(&mut self.consoles, now()) {
            // It reads the name servers again.
            self.daemon.iter().for_each(|daemon| daemon.signal(Signal::SIGHUP));
        }
        self.tell_time_servers();
        self.time.turn(&mut self.consoles, now());
        if let Some(daemon) = &mut self.daemon {
            daemon.listen(&mut self.consoles);
        }
        let asked = self.read_signals();
        self.reap().or(asked)
    }

    fn wait(&self, sources: &[BorrowedFd<'_>], time: Duration) {
        let mut fds: Vec<PollFd> =
            sources.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
        // An interruption is as good as an event: all are looked at anyway.
        let _ = poll(&mut fds, time);
    }

    /// Ctrl-Alt-Del and a power button's SIGTERM are orders; a child's end is
    /// seen by [`Self::reap`].
    fn read_signals(&mut self) -> Option<String> {
        let mut asked = None;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo != Signal::SIGCHLD as u32 {
                asked = Some(format!("asked for by signal {}", signal.ssi_signo));
            }
        }
        asked
    }

    /// Buries what ended, orphans included; decides what is next for the daemon.
    fn reap(&mut self) -> Option<String> {
        let mut outcome = None;
        let untold = |machine: &Self| machine.daemon.as_ref().and_then(Daemon::untold_end);
        while let Some(end) = daemon::next_end().or_else(|| untold(self)) {
            let ours = self.daemon.take_if(|daemon| daemon.is(end.pid));
            let Some(mut daemon) = ours else {
                outcome = outcome.or(self.updates.ended(&mut self.consoles, end.pid));
                continue;
            };
            daemon.listen(&mut self.consoles);
            self.consoles.say(&format!("daemon ended: {}", end.how));
            // An orderly end must not take the place of why it crashed before.
            if let (Some(storage), false) = (&self.storage, end.is_orderly) {
                storage.keep_last_words(&end.how, &daemon.last_words());
            }
            match self.ends.ended(now()) {
                Next::StartAt(at) => self.start_at = Some(at),
                Next::Reboot => outcome = Some("the daemon ended too often".to_owned()),
            }
        }
        outcome
    }

    fn start_daemon(&mut self) -> Option<String> {
        let storage = self.storage.as_ref().expect("the daemon starts on open storage");
        self.good_at = now();
        match Daemon::start(storage) {
            Ok(daemon) => {
                self.daemon = Some(daemon);
                None
            }
            Err(error) => Some(format!("the daemon cannot be started: {error}")),
        }
    }

    /// Shows how the machine is, when it is time to.
    fn pulse(&mut self) {
        let up = now();
        if up < self.pulse_at {
            return;
        }
        self.pulse_at = up + pulse::turn(up);
        let silent = up.saturating_sub(self.good_at);
        let health = if self.was_healthy && silent < SILENT_TIME {
            "healthy".to_owned()
        } else {
            format!("no answer for {} s", silent.as_secs())
        };
        let (version, addresses) = (&self.state.version, self.ports.addresses().join(" "));
        let own = files::usage("self");
        let daemon = self.daemon.as_ref().map_or_else(|| "none".to_owned(), Daemon::usage);
        let clock = self.time.error_ms().map_or_else(
            || "clock not compared".to_owned(),
            |ms| format!("clock off by {} ms", ms.unsigned_abs()),
        );
        self.consoles.say(&format!(
            "state: {health}, version {version}, {addresses}, up {}; PID 1 {own}, daemon {daemon}; \
             {clock}",
            pulse::span(up),
        ));
    }

    /// Asks the daemon how it is when it is time to; one that has hung is killed,
    /// and the rest follows from its end. A reason if the machine is to start
    /// anew.
    fn look_after_health(&mut self) -> Option<String> {
        let daemon = self.daemon.as_ref().filter(|_| now() >= self.health_at)?;
        if daemon.is_good() {
            self.good_at = now();
            if !self.was_healthy {
                self.was_healthy = true;
                let addresses = self.ports.addresses().join(" ");
                self.consoles.say(&format!("HEALTHY addresses={addresses}"));
                self.blessing.bless(&mut self.consoles, Path::new("/run/esp"));
                self.ports.tell(&mut self.consoles);
            }
        } else {
            let is_proven = self.was_healthy || self.blessing.is_done();
            match cure(now().saturating_sub(self.good_at), is_proven) {
                Cure::Wait => {}
                Cure::Kill => {
                    self.consoles.say("daemon hung: killed");
                    daemon.signal(Signal::SIGKILL);
                    self.good_at = now();
                }
                Cure::Reboot => return Some("the daemon of a new image hung".to_owned()),
            }
        }
        let (first, later) = HEALTH_TURNS;
        self.health_at = now() + if self.was_healthy { later } else { first };
        None
    }
}

/// Signals as something to wait for. Children get an empty mask from std.
fn take_signals() -> SignalFd {
    let mut set = SigSet::empty();
    [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPWR]
        .into_iter()
        .for_each(|signal| set.add(signal));
    // Ctrl-Alt-Del becomes SIGINT to us instead of a new start in mid-write;
    // where the kernel refuses, the old way is no worse than no way.
    let _ = set_cad_enabled(false);
    set.thread_block().expect("signals of our own thread can be blocked");
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .expect("a descriptor for signals is there at the start")
}

/// Time since the machine's start.
fn now() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every kernel has this clock");
    Duration::from(time)
}
