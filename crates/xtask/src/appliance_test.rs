//! `cargo xtask appliance-test`: the image, started in qemu, takes a message
//! at its forwarded port and delivers it to a sink on this machine.
//!
//! Emulated, never by KVM: it may be missing, or hang. Nothing is measured but
//! how long it took here. Every wait has an end; a start is repeated once, and
//! only when user space never came, which is the emulator's fault.

mod control;
mod elsewhere;
mod faults;
mod growth;
pub mod guest;
pub mod mail;
mod network;
mod reset;
mod soak;
mod time;
mod update_cuts;
mod updates;
mod waiting;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::image::broken::Fault;
use crate::image::{self, Image, broken};
use crate::machine;
use guest::{Boot, Drive, Guest, Hardware, Wire};
use mail::Sink;

/// What the tests of the image need beside the tools that build it.
pub const TOOLS: [machine::Program; 3] = [
    ("qemu-system-x86_64", "qemu-system-x86 seabios", "runs the appliance"),
    (guest::FIRMWARE, "ovmf", "the firmware of a virtual machine"),
    ("fsck.fat", "dosfstools", "looks at the EFI partition after power cuts"),
];
/// How long PID 1 may take to speak.
pub const USERSPACE_TIME: Duration = Duration::from_secs(120);
/// How long the daemon may take to be well.
pub const HEALTHY_TIME: Duration = Duration::from_secs(300);
/// How long the clock may take to be right.
const CLOCK_TIME: Duration = Duration::from_secs(120);
/// How long a message may take through the guest.
const MAIL_TIME: Duration = Duration::from_secs(120);

/// This machine's loopback addresses, as the emulator's network shows them.
pub const HOST: &str = "10.0.2.2";
const HOST_IPV6: &str = "[fec0::2]";

/// What is run, by its flag; some take a number.
const STORIES: [(&str, Story); 11] = [
    ("--firmware", Story::Plain(|image, folder| simple(image, folder, Boot::Firmware))),
    ("--hardware", Story::Plain(on_other_hardware)),
    ("--rollback", Story::Plain(a_bad_image_gives_way)),
    ("--update", Story::Plain(|_, folder| updates::run(&crate::workspace(), folder))),
    ("--control", Story::Plain(|_, folder| control::run(&crate::workspace(), folder))),
    ("--faults", Story::Plain(faults::run)),
    ("--network", Story::Plain(network::run)),
    ("--reset", Story::Plain(reset::run)),
    ("--growth", Story::Counted(growth::CUTS, growth::run)),
    ("--update-cuts", Story::Counted(update_cuts::CUTS, update_cuts::run)),
    ("--soak", Story::Counted(soak::SECONDS, soak::run)),
];

/// A test of the image, in a folder of its own.
#[derive(Clone, Copy)]
enum Story {
    Plain(fn(&Image, &Path) -> io::Result<()>),
    /// With a number, and how large it is unless told otherwise.
    Counted(u32, fn(&Image, &Path, u32) -> io::Result<()>),
}

/// Runs the test: by the kernel alone, with `--firmware` through OVMF and
/// systemd-boot, with `--hardware` from disks and through cards as real servers
/// have them, with the others what the manual of `cargo xtask` says.
///
/// # Errors
/// The first promise that was not kept, and where the guest's words are.
pub fn run(root: &Path, words: &[&str]) -> io::Result<()> {
    let usage = || {
        let flags: Vec<&str> = STORIES.iter().map(|(flag, _)| *flag).collect();
        let flags = flags.join(" | ");
        io::Error::other(format!("usage: cargo xtask appliance-test [{flags}] [NUMBER]"))
    };
    let story = match words.first() {
        None => Story::Plain(|image, folder| simple(image, folder, Boot::Kernel)),
        Some(flag) => {
            let found = STORIES.iter().find(|(name, _)| name == flag);
            found.map(|(_, story)| *story).ok_or_else(usage)?
        }
    };
    let number = match (story, &words[words.len().min(1)..]) {
        (Story::Plain(_), []) => 0,
        (Story::Counted(number, _), []) => number,
        (Story::Counted(..), [number]) => number.parse().map_err(|_| usage())?,
        _ => return Err(usage()),
    };
    machine::provide(&TOOLS, "without them there is no test");
    let image = image::build(root)?;
    let folder = image::folder(root).join("test");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    match story {
        Story::Plain(story) => story(&image, &folder)?,
        Story::Counted(_, story) => story(&image, &folder, number)?,
    }
    println!("appliance-test passed");
    Ok(())
}

/// A newer image whose daemon cannot be started uses up its boots, and the one
/// that was healthy before is started again, with its mail.
fn a_bad_image_gives_way(image: &Image, folder: &Path) -> io::Result<()> {
    let disk = seeded(image, folder, &[])?;
    let hardware = Hardware::emulated(Boot::Firmware);
    let mut guest = started(image, folder, &disk, &hardware)?;
    guest.wait_for("HEALTHY", HEALTHY_TIME)?;
    println!("{}", guest.wait_for("bless: ringpost_", HEALTHY_TIME)?);
    drop(guest);
    broken::install(image, &disk, folder, broken::VERSION, Fault::NoDaemon)?;
    println!("installed: {}", broken::installed(&disk)?.join(" "));
    let mut guest = started(image, folder, &disk, &hardware)?;
    let began = guest.began();
    println!("{}", guest.wait_for(&format!("version={}", broken::VERSION), USERSPACE_TIME)?);
    println!("{}", guest.wait_for("REBOOT", HEALTHY_TIME)?);
    println!("{}", guest.wait_for("HEALTHY", HEALTHY_TIME)?);
    println!("back after {:.1} s", began.elapsed().as_secs_f64());
    drop(guest);
    let left = broken::installed(&disk)?;
    let (good, bad) = (
        format!("ringpost_{}.efi", env!("CARGO_PKG_VERSION")),
        format!("ringpost_{}+0-1.efi", broken::VERSION),
    );
    println!("installed: {}", left.join(" "));
    if left == [good, bad] {
        return Ok(());
    }
    Err(io::Error::other("the loader or PID 1 counted otherwise"))
}

fn simple(image: &Image, folder: &Path, boot: Boot) -> io::Result<()> {
    through_the_guest(image, folder, &Hardware::emulated(boot), None)
}

/// NVMe with fixed addresses, from which it delivers by IPv6, then AHCI with one
/// by DHCP.
fn on_other_hardware(image: &Image, folder: &Path) -> io::Result<()> {
    let (boot, wire) = (Boot::Firmware, Wire::Emulated);
    let nvme = Hardware { boot, disk: "nvme,serial=1", card: "e1000e", address: "10.0.2.20", wire };
    let network = "hostname = appliance.example\naddress = 10.0.2.20/24\n\
                   gateway = 10.0.2.2\nnameserver = 10.0.2.3\naddress = fec0::20/64\n";
    through_the_guest(image, folder, &nvme, Some(network))?;
    let ahci = Hardware { boot, disk: "ide-hd", card: "vmxnet3", address: "10.0.2.15", wire };
    through_the_guest(image, folder, &ahci, None)
}

/// One message from this machine through the guest and back to this machine.
fn through_the_guest(
    image: &Image,
    folder: &Path,
    hardware: &Hardware,
    network: Option<&str>,
) -> io::Result<()> {
    println!("{hardware:?}");
    let (here, seen_there) = network.map_or(("127.0.0.1", HOST), |_| ("::1", HOST_IPV6));
    let mut sink = Sink::start(&image.daemon, here)?;
    let network = network.unwrap_or_default().to_owned() + &time::serve()?;
    let configuration = relaying(seen_there, sink.port());
    let seeds = [("ringpost.toml", &*configuration), ("network.conf", &network)];
    let disk = seeded(image, folder, &seeds)?;
    let mut guest = started(image, folder, &disk, hardware)?;
    let began = guest.began();
    let healthy = guest.wait_for("HEALTHY", HEALTHY_TIME)?;
    let time = began.elapsed();
    println!("healthy after {:.1} s: {healthy}", time.as_secs_f64());
    // Its hardware's clock shows another month, of which the daemon knows nothing.
    println!("{}", guest.already("clock: was ")?);
    println!("{}", guest.already("clock: right")?);
    if hardware.boot == Boot::Firmware {
        println!("{}", guest.wait_for("bless: ringpost_", HEALTHY_TIME)?);
    }
    let port = format!("network: eth0 up {}/24", hardware.address);
    println!("{}", guest.wait_for(&port, HEALTHY_TIME)?);
    let sent = Instant::now();
    mail::send_one(guest.port())?;
    sink.wait_for_one(MAIL_TIME).map_err(|error| guest.blamed(&error.to_string()))?;
    let took = sent.elapsed().as_secs_f64();
    println!("a message came through to {seen_there} after {took:.1} s");
    let picture = folder.join("console.png");
    guest.picture(&picture)?;
    println!("its screen: {}", picture.display());
    Ok(())
}

/// A disk with the image on it, and these texts where a first start finds them;
/// an empty one is left out.
///
/// # Errors
/// What a tool says.
pub fn seeded(image: &Image, folder: &Path, seeds: &[(&str, &str)]) -> io::Result<PathBuf> {
    let disk = folder.join("disk.img");
    image::copy_disk(&image.disk, &disk)?;
    for (name, text) in seeds.iter().filter(|(_, text)| !text.is_empty()) {
        image::seed(&disk, folder, name, text)?;
    }
    Ok(disk)
}

fn started(image: &Image, folder: &Path, disk: &Path, hardware: &Hardware) -> io::Result<Guest> {
    awake(|| Guest::start(image, folder, Drive::File(disk), hardware))
}

/// A guest whose PID 1 has spoken. One that never got so far has written
/// nothing, and is started once more: the emulator's fault.
///
/// # Errors
/// It cannot be started, or was silent again.
pub fn awake(start: impl Fn() -> io::Result<Guest>) -> io::Result<Guest> {
    for is_last in [false, true] {
        let mut guest = start()?;
        match guest.wait_for("USERSPACE", USERSPACE_TIME) {
            Ok(line) => {
                println!("userspace after {:.1} s: {line}", guest.began().elapsed().as_secs_f64());
                return Ok(guest);
            }
            Err(error) if is_last => return Err(error),
            Err(error) => println!("{error}\nonce more"),
        }
    }
    unreachable!("the last start returns")
}

/// A guest whose daemon is well.
fn healthy(image: &Image, folder: &Path, disk: &Path, boot: Boot) -> io::Result<Guest> {
    let mut guest = started(image, folder, disk, &Hardware::emulated(boot))?;
    println!("{}", guest.wait_for("HEALTHY", HEALTHY_TIME)?);
    Ok(guest)
}

/// The configuration of a guest that takes mail from its own network and relays
/// it to a sink of this host; its last section is that of delivery.
pub fn relaying(host: &str, sink: u16) -> String {
    format!(
        "hostname = \"appliance.example\"\n\
         [submission]\nlisten = [\"0.0.0.0:25\"]\nallow = [\"10.0.2.0/24\"]\n\
         [queue]\nmin_free = \"64MiB\"\n\
         [delivery]\nmode = \"relay\"\nhosts = [\"{host}:{sink}\"]\n"
    )
}
