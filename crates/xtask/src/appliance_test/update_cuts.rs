//! The power goes during updates: while one is put beside the running image, at
//! the start of the new one, while that proves itself. Something that was
//! healthy always starts, the update is done or begins anew, and no mail is lost.
//!
//! The disk has a cache that forgets what was not flushed. The moments are
//! counted in requests to the disk, spread over as many as an update takes that
//! nothing disturbs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::guest::{Boot, Guest};
use super::waiting::Waiting;
use super::{HEALTHY_TIME, healthy, time};
use crate::image::broken::{self, Fault};
use crate::image::update::{Key, sign};
use crate::image::{self, Image, esp};
use crate::power_cuts::disk::{Chance, VolatileDisk};
use crate::power_cuts::nbd::Server;
use crate::power_cuts::{plugged_in, unplugged};

/// Cuts of a short run.
pub const CUTS: u32 = 3;
const SEED: u64 = 1;
/// Messages that wait at first, and that come with each update.
const MESSAGES: (usize, usize) = (20, 2);
/// How long a whole update may take: two starts and the copy between them.
const UPDATE_TIME: Duration = Duration::from_secs(600);
const CHECKED: &str = "update: being checked";

/// So many updates, each cut off once.
///
/// # Errors
/// Nothing healthy started, an update was lost, or mail was.
pub fn run(_: &Image, folder: &Path, cuts: u32) -> io::Result<()> {
    let key = Key::of(&folder.join("key.pem"));
    key.make()?;
    let image = image::build_with(&crate::workspace(), Some(&key))?;
    let waiting = Waiting::start()?;
    let path = waiting.disk(&image, folder, "", &time::serve()?)?;
    let mut guest = healthy(&image, folder, &path, Boot::Firmware)?;
    guest.wait_for("bless: ringpost_", HEALTHY_TIME)?;
    waiting.hand_over(&guest, MESSAGES.0)?;
    drop(guest);
    let disk = VolatileDisk::open(&path, false, SEED)?;
    let server = Server::start(&folder.join("disk.sock"), disk)?;
    let trial =
        Trial { image: &image, folder, path, key: &key, server, waiting, chance: Chance(SEED) };
    trial.run(cuts)
}

struct Trial<'a> {
    image: &'a Image,
    folder: &'a Path,
    path: PathBuf,
    key: &'a Key,
    server: Server,
    waiting: Waiting,
    chance: Chance,
}

impl Trial<'_> {
    fn run(mut self, cuts: u32) -> io::Result<()> {
        let whole = self.undisturbed("998.0.0")?;
        println!("an update takes {whole} requests to the disk");
        for cut in 1..=cuts {
            let version = format!("998.0.{cut}");
            let share = whole / u64::from(cuts);
            let moment = share * u64::from(cut - 1) + self.chance.below(share.max(1));
            let guest = self.sent(&version)?;
            let begun = self.server.requests();
            // Where the start takes fewer this time, it is cut at its end.
            self.server.wait(begun + moment, UPDATE_TIME);
            let way = unplugged(guest, &self.server, &mut self.chance)?;
            println!("{cut:>4}: cut after {moment} requests, {way:?}");
            let guest = self.recovered(&version)?;
            self.waiting.hand_over(&guest, MESSAGES.1)?;
            // What was told last need not have been flushed, as in life.
            unplugged(guest, &self.server, &mut self.chance)?;
            esp::check(&self.path)?;
        }
        let guest = self.start()?;
        self.waiting.all_arrive(&guest)
    }

    /// One update that nothing cuts off; the requests that it took.
    fn undisturbed(&mut self, version: &str) -> io::Result<u64> {
        let mut guest = self.sent(version)?;
        let begun = self.server.requests();
        guest.wait_for(&format!("bless: ringpost_{version}.efi"), UPDATE_TIME)?;
        let whole = self.server.requests() - begun;
        self.waiting.hand_over(&guest, MESSAGES.1)?;
        unplugged(guest, &self.server, &mut self.chance)?;
        Ok(whole)
    }

    /// A guest that has begun with an update of this version.
    fn sent(&mut self, version: &str) -> io::Result<Guest> {
        let program = broken::program(self.image, self.folder, version, Fault::None)?;
        let update = self.folder.join("new");
        sign(&program, version, self.key, &update)?;
        std::fs::remove_file(program)?;
        esp::forget_free_count(&self.path)?;
        image::seed_file(&self.path, &update, "update")?;
        let mut guest = self.start()?;
        guest.wait_for(CHECKED, HEALTHY_TIME)?;
        Ok(guest)
    }

    fn start(&mut self) -> io::Result<Guest> {
        let mut guest = plugged_in(self.image, self.folder, &self.server, Boot::Firmware)?;
        guest.wait_for("HEALTHY", HEALTHY_TIME)?;
        Ok(guest)
    }

    /// Starts what is there, and sees the update to its end: it was done, goes
    /// on with its boots, or begins anew.
    fn recovered(&mut self, version: &str) -> io::Result<Guest> {
        let mut guest = self.start()?;
        let running = guest.said("version=").pop().unwrap_or_default();
        println!("      {running}");
        if running.contains(&format!("version={version} ")) {
            // Marked as good now, or before the cut.
            guest.wait_for("bless: ", HEALTHY_TIME)?;
        } else {
            guest.wait_for(CHECKED, UPDATE_TIME)?;
            guest.wait_for(&format!("bless: ringpost_{version}.efi"), UPDATE_TIME)?;
            println!("      begun anew, and done");
        }
        Ok(guest)
    }
}
