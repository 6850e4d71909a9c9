//! Images that fail in every way that is known: each comes back by itself to
//! the one that was healthy before, with its mail.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::guest::{Boot, Drive, Guest, Hardware};
use super::waiting::Waiting;
use super::{HEALTHY_TIME, healthy, time};
use crate::image::Image;
use crate::image::broken::{self, Fault};

const OWN: &str = env!("CARGO_PKG_VERSION");
/// Messages in the queue meanwhile.
const MESSAGES: usize = 20;
/// How long a fault may go unseen: a daemon that is silent has two minutes.
const FAULT_TIME: Duration = Duration::from_secs(600);

/// Each fault, the version of its image, and the words by which it is seen; one
/// that hangs says nothing more.
const FAULTS: [(Fault, &str, Option<&str>); 4] = [
    (Fault::NoDaemon, "999.0.1", Some("REBOOT the daemon cannot be started")),
    (Fault::Panic, "999.0.2", Some("Kernel panic")),
    (Fault::Hang, "999.0.3", None),
    (Fault::SilentDaemon, "999.0.4", Some("REBOOT the daemon of a new image hung")),
];

/// Installs one after the other, each with one boot to prove itself.
///
/// # Errors
/// The first after which the old one was not there again.
pub fn run(image: &Image, folder: &Path) -> io::Result<()> {
    let waiting = Waiting::start()?;
    let disk = waiting.disk(image, folder, "", &time::serve()?)?;
    let mut guest = healthy(image, folder, &disk, Boot::Firmware)?;
    guest.wait_for(&format!("bless: ringpost_{OWN}.efi"), HEALTHY_TIME)?;
    waiting.hand_over(&guest, MESSAGES)?;
    drop(guest);
    for (fault, version, words) in FAULTS {
        println!("{fault:?}");
        broken::install(image, &disk, folder, version, fault)?;
        let drive = Drive::File(&disk);
        let mut guest = Guest::start(image, folder, drive, &Hardware::emulated(Boot::Firmware))?;
        if fault != Fault::Panic {
            println!("{}", guest.wait_for(&format!("version={version}"), HEALTHY_TIME)?);
        }
        if let Some(words) = words {
            println!("{}", guest.wait_for(words, FAULT_TIME)?);
        }
        println!("{}", guest.wait_for(&format!("version={OWN}"), FAULT_TIME)?);
        println!("{}", guest.wait_for("HEALTHY", HEALTHY_TIME)?);
        println!("back after {:.0} s", guest.began().elapsed().as_secs_f64());
        waiting.hand_over(&guest, 1)?;
        drop(guest);
        let (used_up, there) = (format!("ringpost_{version}+0-1.efi"), broken::installed(&disk)?);
        if !there.contains(&used_up) || !there.contains(&format!("ringpost_{OWN}.efi")) {
            return Err(io::Error::other(format!("on the EFI partition: {}", there.join(" "))));
        }
    }
    let guest = healthy(image, folder, &disk, Boot::Firmware)?;
    waiting.all_arrive(&guest)
}
