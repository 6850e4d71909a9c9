//! The appliance as an operator has it who is not there: configured, updated,
//! set to other addresses, started anew, reset and restored from its backup over
//! its control port, with a client's certificate, and by nobody without one.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::elsewhere::{Elsewhere, NOT_TAKEN};
use super::guest::{Boot, Guest};
use super::waiting::Waiting;
use super::{CLOCK_TIME, HEALTHY_TIME, healthy, time};
use crate::image;
use crate::image::broken::{self, Fault};
use crate::image::update::{Key, sign};

/// The version that it is sent.
const NEXT: &str = "998.0.0";
/// How long an update may take, a start with it.
const UPDATE_TIME: Duration = Duration::from_secs(600);
/// Two addresses by which it is still reached.
const FIXED: &str = "address = 10.0.2.15/24\naddress = 10.0.2.16/24\ngateway = 10.0.2.2\n\
                     nameserver = 10.0.2.3\n";

/// One by which it is not.
const ASTRAY: &str = "address = 192.0.2.10/24\n";

/// Seconds by which a hardware's clock may be wrong that was set: it counts them
/// whole, and an emulated machine stands still now and then.
const KEPT_MAX: f64 = 10.0;

/// All of it.
///
/// # Errors
/// The first that was refused, or was not although it had to be.
pub fn run(root: &Path, folder: &Path) -> io::Result<()> {
    let key = Key::of(&folder.join("key.pem"));
    key.make()?;
    let image = image::build_with(root, Some(&key))?;
    let elsewhere = Elsewhere::make(&image.daemon, &folder.join("keys"))?;
    let waiting = Waiting::start()?;
    let clock = time::serve()?;
    let disk = waiting.disk(&image, folder, &Elsewhere::configuration(), &clock)?;
    elsewhere.seed(&disk)?;
    let mut guest = healthy(&image, folder, &disk, Boot::Firmware)?;
    // Certificates have a time.
    guest.wait_for("clock: right", CLOCK_TIME)?;
    waiting.hand_over(&guest, 5)?;
    configured(&elsewhere, &guest)?;
    let backup = folder.join("backup.json").display().to_string();
    elsewhere.done(&guest, &["backup", &backup])?;
    let settings = folder.join("settings");
    fs::write(&settings, format!("{FIXED}{clock}"))?;
    addressed(&elsewhere, &mut guest, &settings)?;
    fs::write(&settings, ASTRAY)?;
    led_astray(&elsewhere, &mut guest, &settings)?;
    restarted(&elsewhere, &mut guest)?;
    let program = broken::program(&image, folder, NEXT, Fault::None)?;
    let (update, forged) = (folder.join("next.update"), folder.join("forged.update"));
    let stranger = Key::of(&folder.join("other.pem"));
    stranger.make()?;
    sign(&program, NEXT, &stranger, &forged)?;
    sign(&program, NEXT, &key, &update)?;
    updated(&elsewhere, &mut guest, &update, &forged)?;
    reset(&elsewhere, &mut guest)?;
    elsewhere.done(&guest, &["restore", &backup, "--comment", "as before the reset"])?;
    is_changed(&elsewhere, &guest, true)?;
    drop(guest);
    let guest = healthy(&image, folder, &disk, Boot::Firmware)?;
    is_changed(&elsewhere, &guest, true)?;
    println!("all that was set is back from its backup");
    waiting.all_arrive(&guest)
}

/// Verbs work with a certificate, and a change is in force; without one that is
/// known, nothing does.
fn configured(elsewhere: &Elsewhere, guest: &Guest) -> io::Result<()> {
    elsewhere.done(guest, &["status"])?;
    elsewhere.done(guest, &["config", "set", "delivery.retry", "[\"7s\"]"])?;
    elsewhere.done(guest, &["config", "commit", "--comment", "from elsewhere"])?;
    is_changed(elsewhere, guest, true)?;
    let refused = elsewhere.stranger()?.ask(guest, &["status"])?;
    println!("a stranger: {}", String::from_utf8_lossy(&refused.stderr).trim());
    if refused.status.code() != Some(NOT_TAKEN) {
        return Err(guest.blamed(&format!("a stranger was heard: {}", refused.status)));
    }
    println!("configured from elsewhere, and by no stranger");
    Ok(())
}

/// Other addresses are tried, and kept once they are confirmed.
fn addressed(elsewhere: &Elsewhere, guest: &mut Guest, settings: &Path) -> io::Result<()> {
    let file = settings.display().to_string();
    elsewhere.done(guest, &["appliance", "network", "set", &file, "--confirm", "2m"])?;
    println!("{}", guest.wait_for("eth0 has 10.0.2.16/24", HEALTHY_TIME)?);
    elsewhere.done(guest, &["appliance", "network", "confirm"])?;
    println!("{}", guest.wait_for("network settings: confirmed", HEALTHY_TIME)?);
    Ok(())
}

/// Those that nobody can confirm are undone, and the confirmed ones are back.
fn led_astray(elsewhere: &Elsewhere, guest: &mut Guest, settings: &Path) -> io::Result<()> {
    guest.forget();
    let file = settings.display().to_string();
    let words = ["appliance", "network", "set", &file, "--confirm", "15s"];
    // It waits to see whether the machine is still reached.
    let said = elsewhere.ask(guest, &words)?;
    let words = String::from_utf8_lossy(&said.stdout).into_owned();
    if said.status.success() || !words.contains("undone") {
        return Err(guest.blamed(&format!("{}, said {words}", said.status)));
    }
    println!("{}", guest.wait_for("eth0 has 192.0.2.10/24", HEALTHY_TIME)?);
    println!("{}", guest.wait_for("network settings: undone", HEALTHY_TIME)?);
    guest.forget();
    println!("{}", guest.wait_for("eth0 has 10.0.2.16/24", HEALTHY_TIME)?);
    let told = elsewhere.done(guest, &["appliance", "status"])?;
    println!("{}", told.trim());
    Ok(())
}

/// What was confirmed lasts; why the machine started anew is told; the hardware's
/// clock, which began months behind, has kept the time.
fn restarted(elsewhere: &Elsewhere, guest: &mut Guest) -> io::Result<()> {
    guest.forget();
    elsewhere.done(guest, &["appliance", "restart"])?;
    println!("{}", guest.wait_for("USERSPACE", HEALTHY_TIME)?);
    guest.forget();
    println!("{}", guest.wait_for("HEALTHY", HEALTHY_TIME)?);
    println!("{}", guest.wait_for("eth0 up 10.0.2.15/24 10.0.2.16/24", HEALTHY_TIME)?);
    guest.wait_for("clock: right", CLOCK_TIME)?;
    let set = guest.said("clock: was ");
    println!("{}", set.join("\n"));
    if set.iter().any(|line| seconds(line).is_none_or(|wrong| wrong > KEPT_MAX)) {
        return Err(guest.blamed("the hardware's clock did not keep the time"));
    }
    let bundle = elsewhere.done(guest, &["support", "bundle", "-"])?;
    if bundle.contains("\"last-reboot\"") && bundle.contains("asked for\\n") {
        return Ok(());
    }
    Err(guest.blamed("the support bundle does not say why the machine started anew"))
}

/// By how much a clock was wrong that was set.
fn seconds(line: &str) -> Option<f64> {
    line.split_once("clock: was ")?.1.split_once(' ')?.0.parse().ok()
}

/// A forged one is refused, a good one runs in the end.
fn updated(
    elsewhere: &Elsewhere,
    guest: &mut Guest,
    update: &Path,
    forged: &Path,
) -> io::Result<()> {
    let refused = elsewhere.ask(guest, &["appliance", "update", &forged.display().to_string()])?;
    println!("forged: {}", String::from_utf8_lossy(&refused.stderr).trim());
    if refused.status.success() {
        return Err(guest.blamed("a forged update was taken"));
    }
    guest.forget();
    let said = elsewhere.done(guest, &["appliance", "update", &update.display().to_string()])?;
    println!("{}", said.trim());
    println!("{}", guest.wait_for(&format!("version={NEXT}"), UPDATE_TIME)?);
    println!("{}", guest.wait_for(&format!("bless: ringpost_{NEXT}.efi"), UPDATE_TIME)?);
    guest.wait_for("clock: right", CLOCK_TIME).map(drop)
}

/// Everything but the queue goes.
fn reset(elsewhere: &Elsewhere, guest: &mut Guest) -> io::Result<()> {
    guest.forget();
    let words = ["appliance", "reset", "--queue", "keep", "--name", "appliance.example"];
    elsewhere.done(guest, &words)?;
    println!("{}", guest.wait_for("reset: carried out; the queue stayed", UPDATE_TIME)?);
    // What was said behind the last words that were waited for.
    guest.forget();
    println!("{}", guest.wait_for("HEALTHY", UPDATE_TIME)?);
    println!("{}", guest.wait_for("eth0 up 10.0.2.15/24", HEALTHY_TIME)?);
    // Its configuration is that of a first start again.
    guest.wait_for("clock: right", CLOCK_TIME)?;
    is_changed(elsewhere, guest, false)
}

/// Whether what was changed at first is in force.
fn is_changed(elsewhere: &Elsewhere, guest: &Guest, wanted: bool) -> io::Result<()> {
    let shown = elsewhere.done(guest, &["config", "show"])?;
    if shown.contains("\"7s\"") == wanted {
        return Ok(());
    }
    let is = if wanted { "not in force" } else { "in force again" };
    Err(guest.blamed(&format!("the change is {is}: {shown}")))
}
