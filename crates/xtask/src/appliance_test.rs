//! `cargo xtask appliance-test`: the image, started in qemu, takes a message
//! at its forwarded port and delivers it to a sink on this machine.
//!
//! Emulated, never by KVM: it may be missing, or hang. Nothing is measured but
//! how long it took here. Every wait has an end; a start is repeated once, and
//! only when user space never came, which is the emulator's fault.

pub mod guest;
pub mod mail;
mod time;
mod updates;

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::image::{self, Image, broken};
use crate::machine;
use guest::{Boot, Drive, Guest, Hardware};
use mail::Sink;

/// What the tests of the image need beside the tools that build it.
pub const TOOLS: [machine::Program; 2] = [
    ("qemu-system-x86_64", "qemu-system-x86 seabios", "runs the appliance"),
    (guest::FIRMWARE, "ovmf", "the firmware of a virtual machine"),
];
/// How long PID 1 may take to speak.
pub const USERSPACE_TIME: Duration = Duration::from_secs(60);
/// How long the daemon may take to be well.
pub const HEALTHY_TIME: Duration = Duration::from_secs(180);
/// How long the clock may take to be right.
const CLOCK_TIME: Duration = Duration::from_secs(60);
/// How long a message may take through the guest.
const MAIL_TIME: Duration = Duration::from_secs(60);

/// Runs the test: by the kernel alone, with `--firmware` through OVMF and
/// systemd-boot, with `--hardware` from disks and through cards as real servers
/// have them, with `--rollback` through firmware and loader and a bad image,
/// with `--update` with images that it is sent.
///
/// # Errors
/// The first promise that was not kept, and where the guest's words are.
pub fn run(root: &Path, words: &[&str]) -> io::Result<()> {
    let test: fn(&Image, &Path) -> io::Result<()> = match words {
        [] => |image, folder| {
            through_the_guest(image, folder, &Hardware::emulated(Boot::Kernel), None)
        },
        ["--firmware"] => |image, folder| {
            through_the_guest(image, folder, &Hardware::emulated(Boot::Firmware), None)
        },
        ["--hardware"] => on_other_hardware,
        ["--rollback"] => a_bad_image_gives_way,
        ["--update"] => |_, folder| updates::run(&crate::workspace(), folder),
        _ => {
            let usage = "usage: cargo xtask appliance-test [--firmware | --hardware | --rollback | --update]";
            return Err(io::Error::other(usage));
        }
    };
    machine::provide(&TOOLS, "without them there is no test");
    let image = image::build(root)?;
    let folder = image::folder(root).join("test");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    test(&image, &folder)?;
    println!("appliance-test passed");
    Ok(())
}

/// A newer image whose daemon cannot be started uses up its boots, and the one
/// that was healthy before is started again, with its mail.
fn a_bad_image_gives_way(image: &Image, folder: &Path) -> io::Result<()> {
    let disk = folder.join("disk.img");
    image::copy_disk(&image.disk, &disk)?;
    let hardware = Hardware::emulated(Boot::Firmware);
    let mut guest = started(image, folder, &disk, &hardware)?;
    guest.wait_for("HEALTHY", HEALTHY_TIME)?;
    println!("{}", guest.wait_for("bless: ringpost_", HEALTHY_TIME)?);
    drop(guest);
    broken::install(image, &disk, folder)?;
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

/// NVMe with a fixed address, then AHCI with one by DHCP.
fn on_other_hardware(image: &Image, folder: &Path) -> io::Result<()> {
    let boot = Boot::Firmware;
    let nvme = Hardware { boot, disk: "nvme,serial=1", card: "e1000e", address: "10.0.2.20" };
    let network = "hostname = appliance.example\naddress = 10.0.2.20/24\n\
                   gateway = 10.0.2.2\nnameserver = 10.0.2.3\n";
    through_the_guest(image, folder, &nvme, Some(network))?;
    let ahci = Hardware { boot, disk: "ide-hd", card: "vmxnet3", address: "10.0.2.15" };
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
    let mut sink = Sink::start(&image.daemon)?;
    let disk = folder.join("disk.img");
    image::copy_disk(&image.disk, &disk)?;
    image::seed(&disk, folder, "ringpost.toml", &configuration(sink.port()))?;
    let clock = format!("timeserver = 10.0.2.2:{}\n", time::serve()?);
    image::seed(&disk, folder, "network.conf", &(network.unwrap_or_default().to_owned() + &clock))?;
    let mut guest = started(image, folder, &disk, hardware)?;
    let began = guest.began();
    let healthy = guest.wait_for("HEALTHY", HEALTHY_TIME)?;
    let time = began.elapsed();
    println!("healthy after {:.1} s: {healthy}", time.as_secs_f64());
    if hardware.boot == Boot::Firmware {
        println!("{}", guest.wait_for("bless: ringpost_", HEALTHY_TIME)?);
    }
    let port = format!("network: eth0 up {}/24", hardware.address);
    println!("{}", guest.wait_for(&port, HEALTHY_TIME)?);
    // Its hardware's clock shows another month.
    println!("{}", guest.wait_for("clock: was ", CLOCK_TIME)?);
    println!("{}", guest.wait_for("clock: right", CLOCK_TIME)?);
    let sent = Instant::now();
    mail::send_one(guest.port())?;
    sink.wait_for_one(MAIL_TIME).map_err(|error| guest.blamed(&error.to_string()))?;
    println!("a message came through after {:.1} s", sent.elapsed().as_secs_f64());
    Ok(())
}

/// A guest whose PID 1 has spoken.
fn started(image: &Image, folder: &Path, disk: &Path, hardware: &Hardware) -> io::Result<Guest> {
    for is_last in [false, true] {
        let mut guest = Guest::start(image, folder, Drive::File(disk), hardware)?;
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

/// Takes mail from the guest's own network, and relays it to the sink.
fn configuration(sink: u16) -> String {
    format!(
        "hostname = \"appliance.example\"\n\
         [submission]\nlisten = [\"0.0.0.0:25\"]\nallow = [\"10.0.2.0/24\"]\n\
         [queue]\nmin_free = \"64MiB\"\n\
         [delivery]\nmode = \"relay\"\nhosts = [\"10.0.2.2:{sink}\"]\n"
    )
}
