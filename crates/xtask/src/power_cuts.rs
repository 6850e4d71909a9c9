//! `cargo xtask power-cuts`: the appliance loses its power again and again
//! while it takes and delivers mail, on a disk whose cache forgets what was not
//! flushed. No acknowledged message may be lost, and only mail that was on its
//! way in the last moments may come twice.
//!
//! Two controls must lose mail, else the test could not fail: a disk that lies
//! about flushes, and a file system told to flush nothing.
//!
//! Emulated, never by KVM. Every wait has an end; the moments of the cuts come
//! from a seed and from what has happened, never from how fast it happens.

pub mod disk;
pub mod load;
pub mod nbd;
mod shared;
pub mod sink;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::appliance_test::guest::{Boot, Drive, Guest, Hardware};
use crate::appliance_test::{HEALTHY_TIME, HOST, TOOLS, awake, relaying, seeded};
use crate::image::{self, Image, call, tool};
use crate::machine;
use disk::{Chance, Cut, VolatileDisk};
use load::{Load, Sent};
use sink::{Arrival, Sink};

/// Cuts of a short run.
const CUTS: u32 = 10;
/// A control that has not lost anything by then is none.
const CONTROL_CUTS: u32 = 5;
/// Messages that a start of the guest acknowledges before its power goes, at
/// most; at least one.
const MESSAGES_MAX: u64 = 200;
/// Requests that the disk answers at most before an early cut: about as many as
/// a start of the daemon needs.
const REQUESTS_MAX: u64 = 1_500;
/// How long an early cut waits for them: a start that needs fewer is cut at rest.
const EARLY_TIME: Duration = Duration::from_secs(60);
/// How long the messages may take.
const LOAD_TIME: Duration = Duration::from_secs(120);
/// One cut of so many falls wherever it falls; the others, amid writes.
const BLIND_CUTS: u64 = 4;
/// Sectors that such a cut finds not flushed, at least; one message needs more.
const UNFLUSHED_MAX: u64 = 8;
/// How long it waits for them: under load, they come with each flush.
const UNFLUSHED_TIME: Duration = Duration::from_secs(5);
/// When nothing has arrived for so long, nothing more will.
const QUIET: Duration = Duration::from_secs(30);
/// How long before a cut a message that comes twice may have come first: an
/// outcome is synced within 100 ms, an emulated machine may stand still.
const DOUBT: Duration = Duration::from_secs(5);

/// How a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// An honest disk.
    Honest,
    /// The disk lies about flushes.
    LyingDisk,
    /// The file system does not flush.
    NoFlush,
}

/// Runs the cuts and both controls: `[--cuts N] [--seed N]`.
///
/// # Errors
/// What was lost or came twice, or a control that lost nothing.
pub fn run(root: &Path, words: &[&str]) -> io::Result<()> {
    let (mut cuts, mut seed) = (CUTS, 1);
    for pair in words.chunks(2) {
        match (pair, pair.get(1).and_then(|number| number.parse::<u32>().ok())) {
            (["--cuts", _], Some(number)) => cuts = number,
            (["--seed", _], Some(number)) => seed = number.into(),
            _ => {
                return Err(io::Error::other(
                    "usage: cargo xtask power-cuts [--cuts N] [--seed N]",
                ));
            }
        }
    }
    machine::provide(&TOOLS, "without them there is no test");
    let image = image::build(root)?;
    let folder = image::folder(root).join("power-cuts");
    let began = Instant::now();
    for (way, cuts) in
        [(Way::Honest, cuts), (Way::LyingDisk, CONTROL_CUTS), (Way::NoFlush, CONTROL_CUTS)]
    {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        Trial::prepare(&image, &folder, way, seed)?.run(cuts)?;
    }
    println!("power-cuts passed in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// A guest on a disk that has its power again, and whose PID 1 has spoken.
///
/// # Errors
/// As [`awake`].
pub fn plugged_in(
    image: &Image,
    folder: &Path,
    server: &nbd::Server,
    boot: Boot,
) -> io::Result<Guest> {
    awake(|| {
        server.switch_off();
        server.switch_on();
        Guest::start(image, folder, Drive::Socket(server.socket()), &Hardware::emulated(boot))
    })
}

/// Takes a guest's power away, and from its disk what it had not flushed, all of
/// it or a random part.
///
/// # Errors
/// What the file behind the disk gives.
pub fn unplugged(guest: Guest, server: &nbd::Server, chance: &mut Chance) -> io::Result<Cut> {
    server.switch_off();
    drop(guest);
    let cut = [Cut::Drop, Cut::Random][chance.below(2) as usize];
    server.disk().cut(cut)?;
    Ok(cut)
}

/// One disk and what becomes of it.
struct Trial<'a> {
    image: &'a Image,
    folder: &'a Path,
    way: Way,
    server: nbd::Server,
    sink: Sink,
    sent: Arc<Sent>,
    chance: Chance,
    /// When each start of the guest ended.
    ends: Vec<Instant>,
}

impl<'a> Trial<'a> {
    fn prepare(image: &'a Image, folder: &'a Path, way: Way, seed: u64) -> io::Result<Self> {
        let sink = Sink::start()?;
        // What is sent away comes again soon.
        let configuration = format!("{}retry = [\"2s\"]\n", relaying(HOST, sink.port()));
        let path = seeded(image, folder, &[("ringpost.toml", &configuration)])?;
        if way == Way::NoFlush {
            let data = format!("{}?offset={}", path.display(), image::DATA_AT);
            call(tool("tune2fs").args(["-E", "mount_opts=barrier=0"]).arg(data))?;
        }
        let disk = VolatileDisk::open(&path, way == Way::LyingDisk, seed)?;
        let server = nbd::Server::start(&folder.join("disk.sock"), disk)?;
        let (sent, chance) = (Arc::default(), Chance(seed));
        Ok(Self { image, folder, way, server, sink, sent, chance, ends: Vec::new() })
    }

    /// Cuts the power so often, and looks after each cut what is left.
    fn run(mut self, cuts: u32) -> io::Result<()> {
        println!("{:?}: up to {cuts} cuts", self.way);
        for cut in 1..=cuts {
            // Some never get as far: the way back from a cut can be cut, too.
            let early = self.chance.below(8) == 0;
            let lost = self.live(early)?;
            self.judge(cut, &lost)?;
            if self.way != Way::Honest && !lost.is_empty() {
                return Ok(());
            }
        }
        // The last cut is looked at as well.
        let lost = self.live(false)?;
        self.judge(cuts + 1, &lost)?;
        if self.way != Way::Honest && lost.is_empty() {
            return Err(io::Error::other(format!(
                "{:?} lost nothing: what does this prove?",
                self.way
            )));
        }
        let counts = self.server.disk().counts();
        if self.way == Way::Honest && counts.forgotten == 0 {
            return Err(io::Error::other("no cut took anything away: what does this prove?"));
        }
        println!(
            "{:?}: {} messages acknowledged, none lost; {} flushes, {} sectors forgotten",
            self.way,
            self.sent.count(),
            counts.flushes,
            counts.forgotten
        );
        Ok(())
    }

    /// One start of the guest until its power goes, `early` before it takes
    /// mail; what does not arrive of all that was acknowledged before.
    fn live(&mut self, early: bool) -> io::Result<BTreeSet<u64>> {
        let before = self.sent.acknowledged();
        self.sink.next_boot();
        let mut guest = plugged_in(self.image, self.folder, &self.server, Boot::Kernel)?;
        let lost = if early {
            let requests = self.chance.below(REQUESTS_MAX);
            self.server.wait(requests, EARLY_TIME);
            BTreeSet::new()
        } else {
            if let Err(error) = guest.wait_for("HEALTHY", HEALTHY_TIME) {
                if self.way == Way::Honest {
                    return Err(error);
                }
                // A control may lose more than mail.
                println!("not healthy any more");
                return Ok(before);
            }
            self.load(&mut guest, &before)?
        };
        unplugged(guest, &self.server, &mut self.chance)?;
        self.ends.push(Instant::now());
        Ok(lost)
    }

    /// Mail goes in and out until all of `before` is there, and some of this
    /// start is acknowledged.
    fn load(&mut self, guest: &mut Guest, before: &BTreeSet<u64>) -> io::Result<BTreeSet<u64>> {
        let load = Load::start(guest.port(), &self.sent, Duration::ZERO);
        let lost = self.arrived(before);
        let enough = self.sent.count() + 1 + self.chance.below(MESSAGES_MAX) as usize;
        if !self.sent.wait(enough, LOAD_TIME) {
            return Err(guest.blamed("it takes no mail any more"));
        }
        self.switch_off();
        guest.kill();
        load.end();
        Ok(lost)
    }

    /// A quick disk has little that is not flushed most of the time: cuts that only
    /// fell by chance once took nothing away in eleven starts.
    fn switch_off(&mut self) {
        let unflushed = 1 + self.chance.below(UNFLUSHED_MAX) as usize;
        if self.chance.below(BLIND_CUTS) > 0 {
            self.server.switch_off_amid(unflushed, UNFLUSHED_TIME);
        }
        self.server.switch_off();
    }

    /// Waits for messages; those that do not come although others could have.
    fn arrived(&self, expected: &BTreeSet<u64>) -> BTreeSet<u64> {
        loop {
            let there = self.sink.arrivals();
            let is_missing = |number: &&u64| !there.contains_key(number);
            let missing: BTreeSet<u64> = expected.iter().filter(is_missing).copied().collect();
            let found = expected.len() - missing.len();
            if missing.is_empty() || !self.sink.wait_for_more(found, expected, QUIET) {
                return missing;
            }
        }
    }

    fn judge(&self, cut: u32, lost: &BTreeSet<u64>) -> io::Result<()> {
        let arrivals = self.sink.arrivals();
        let twice = arrivals.values().filter(|times| times.len() > 1).count();
        println!(
            "{cut:>4}: {} acknowledged, {} arrived, {twice} of them twice, {} lost",
            self.sent.count(),
            arrivals.len(),
            lost.len()
        );
        if self.way != Way::Honest {
            return Ok(());
        }
        if !lost.is_empty() {
            return Err(io::Error::other(format!("acknowledged and lost: {lost:?}")));
        }
        if let Some(altered) = self.sink.altered().first() {
            return Err(io::Error::other(format!("altered: {altered}")));
        }
        let strange = arrivals.iter().find(|(_, times)| !self.in_doubt(times));
        match strange {
            None => Ok(()),
            Some((number, times)) => Err(io::Error::other(format!(
                "message {number} came again although its first arrival was known: {times:?}, cuts {:?}",
                self.ends
            ))),
        }
    }

    /// Whether each repetition followed a cut that came right after the arrival
    /// before it.
    fn in_doubt(&self, times: &[Arrival]) -> bool {
        times.windows(2).all(|pair| {
            let cut = self.ends.get(pair[0].boot as usize - 1);
            pair[1].boot > pair[0].boot && cut.is_some_and(|cut| *cut - pair[0].at < DOUBT)
        })
    }
}
