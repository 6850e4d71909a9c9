//! The image on a disk that is larger than it: the data partition takes the rest
//! of it, once, also when the power goes while it does.
//!
//! The moments are counted in requests to the disk, spread over as many as the
//! growth takes that nothing disturbs.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::guest::{Boot, Guest};
use super::waiting::Waiting;
use super::{HEALTHY_TIME, time};
use crate::image::{Image, output, tool};
use crate::power_cuts::disk::{Chance, VolatileDisk};
use crate::power_cuts::nbd::Server;
use crate::power_cuts::{plugged_in, unplugged};

/// Cuts of a short run.
pub const CUTS: u32 = 3;
const SEED: u64 = 1;
/// The larger disk; it takes room here only where it is written.
const DISK_BYTES: u64 = 24 << 30;
/// What of it is the file system's in the end, at least.
const MIB_MIN: u64 = 23 << 10;
/// A start before the growth, the growth, and a start behind it.
const GROWTH_TIME: Duration = Duration::from_secs(600);

/// One growth that nothing disturbs, and so many that are cut off.
///
/// # Errors
/// The partition or its file system is not as large as the disk, or mail was lost.
pub fn run(image: &Image, folder: &Path, cuts: u32) -> io::Result<()> {
    let mut chance = Chance(SEED);
    let trial = Trial::prepare(image, folder)?;
    let mut guest = trial.start()?;
    println!("{}", guest.wait_for("REBOOT the data partition has grown to", GROWTH_TIME)?);
    guest.wait_for("and mounted, ", GROWTH_TIME)?;
    let whole = trial.server.requests();
    println!("growth and the start before it take {whole} requests to the disk");
    trial.is_grown(&mut guest)?;
    unplugged(guest, &trial.server, &mut chance)?;
    let table = output(tool("sgdisk").arg("--verify").arg(folder.join("disk.img")))?;
    if !table.contains("No problems found") {
        return Err(io::Error::other(table));
    }
    for cut in 1..=cuts {
        let trial = Trial::prepare(image, folder)?;
        let share = whole / u64::from(cuts);
        let moment = share * u64::from(cut - 1) + chance.below(share.max(1));
        let guest = trial.start()?;
        trial.server.wait(moment, GROWTH_TIME);
        let way = unplugged(guest, &trial.server, &mut chance)?;
        println!("{cut:>4}: cut after {moment} requests, {way:?}");
        let mut guest = trial.start()?;
        trial.is_grown(&mut guest)?;
    }
    Ok(())
}

struct Trial<'a> {
    image: &'a Image,
    folder: &'a Path,
    server: Server,
    waiting: Waiting,
}

impl<'a> Trial<'a> {
    fn prepare(image: &'a Image, folder: &'a Path) -> io::Result<Self> {
        let waiting = Waiting::start()?;
        let path = waiting.disk(image, folder, "", &time::serve()?)?;
        File::options().write(true).open(&path)?.set_len(DISK_BYTES)?;
        let disk = VolatileDisk::open(&path, false, SEED)?;
        let socket = folder.join("disk.sock");
        let _ = std::fs::remove_file(&socket);
        let server = Server::start(&socket, disk)?;
        Ok(Self { image, folder, server, waiting })
    }

    fn start(&self) -> io::Result<Guest> {
        plugged_in(self.image, self.folder, &self.server, Boot::Firmware)
    }

    /// It becomes healthy on a file system as large as the disk, and takes mail.
    fn is_grown(&self, guest: &mut Guest) -> io::Result<()> {
        guest.wait_for("HEALTHY", GROWTH_TIME)?;
        let mounted = guest.said("and mounted, ").pop().unwrap_or_default();
        println!("{mounted}");
        let mib = mounted.split(", ").last().and_then(|words| words.strip_suffix(" MiB"));
        if mib.and_then(|mib| mib.parse().ok()).is_none_or(|mib: u64| mib < MIB_MIN) {
            return Err(guest.blamed("it has not grown"));
        }
        // Marked as good now, or before the cut.
        guest.wait_for("bless: ", HEALTHY_TIME)?;
        self.waiting.hand_over(guest, 5)?;
        self.waiting.all_arrive(guest)
    }
}
