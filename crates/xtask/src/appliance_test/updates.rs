//! Updates as the appliance gets them: one that somebody else signed, a good
//! one, and one that never becomes healthy.

use std::io;
use std::path::Path;

use super::guest::{Boot, Guest, Hardware};
use super::{HEALTHY_TIME, USERSPACE_TIME, seeded, started};
use crate::image::broken::Fault;
use crate::image::update::{Key, sign};
use crate::image::{self, Image, broken};

/// The version of the good one.
const NEXT: &str = "998.0.0";
const OWN: &str = env!("CARGO_PKG_VERSION");

/// Sends them one after the other, and sees what becomes of each.
///
/// # Errors
/// The first that was treated otherwise.
pub fn run(root: &Path, folder: &Path) -> io::Result<()> {
    let (key, stranger) = (Key::of(&folder.join("key.pem")), Key::of(&folder.join("other.pem")));
    key.make()?;
    stranger.make()?;
    let image = image::build_with(root, Some(&key))?;
    let disk = seeded(&image, folder, &[])?;
    let test = Test { image: &image, folder, disk: &disk };
    let (first, next) = (format!("ringpost_{OWN}.efi"), format!("ringpost_{NEXT}.efi"));
    let good = broken::program(&image, folder, NEXT, Fault::None)?;

    let mut guest = test.boot()?;
    guest.wait_for(&format!("bless: {first}"), HEALTHY_TIME)?;
    drop(guest);
    test.send(&good, NEXT, &stranger)?;
    let mut guest = test.boot()?;
    println!("{}", guest.wait_for("update: refused: its signature", HEALTHY_TIME)?);
    drop(guest);
    test.expect(&[&first])?;

    test.send(&good, NEXT, &key)?;
    let mut guest = test.boot()?;
    println!("{}", guest.wait_for(&format!("update: installed: {NEXT}"), HEALTHY_TIME)?);
    println!("{}", guest.wait_for(&format!("version={NEXT}"), HEALTHY_TIME)?);
    println!("{}", guest.wait_for(&format!("bless: {next}"), HEALTHY_TIME)?);
    drop(guest);
    test.expect(&[&first, &next])?;

    let bad = broken::program(&image, folder, broken::VERSION, Fault::NoDaemon)?;
    test.send(&bad, broken::VERSION, &key)?;
    let mut guest = test.boot()?;
    println!("{}", guest.wait_for(&format!("version={NEXT}"), USERSPACE_TIME)?);
    println!(
        "{}",
        guest.wait_for(&format!("update: installed: {}", broken::VERSION), HEALTHY_TIME)?
    );
    for boot in 1..=3 {
        guest.forget();
        println!("{}", guest.wait_for(&format!("version={}", broken::VERSION), HEALTHY_TIME)?);
        println!("{boot}: {}", guest.wait_for("REBOOT the daemon", HEALTHY_TIME)?);
    }
    guest.forget();
    println!("{}", guest.wait_for(&format!("version={NEXT}"), HEALTHY_TIME)?);
    println!("{}", guest.wait_for("HEALTHY", HEALTHY_TIME)?);
    drop(guest);
    test.expect(&[&first, &next, &format!("ringpost_{}+0-3.efi", broken::VERSION)])
}

struct Test<'a> {
    image: &'a Image,
    folder: &'a Path,
    disk: &'a Path,
}

impl Test<'_> {
    fn boot(&self) -> io::Result<Guest> {
        started(self.image, self.folder, self.disk, &Hardware::emulated(Boot::Firmware))
    }

    /// Puts an update where a person would.
    fn send(&self, program: &Path, version: &str, key: &Key) -> io::Result<()> {
        let update = self.folder.join("new");
        sign(program, version, key, &update)?;
        image::seed_file(self.disk, &update, "update")
    }

    fn expect(&self, names: &[&str]) -> io::Result<()> {
        let there = broken::installed(self.disk)?;
        println!("on the EFI partition: {}", there.join(" "));
        if there == names {
            return Ok(());
        }
        Err(io::Error::other(format!("expected {}", names.join(" "))))
    }
}
