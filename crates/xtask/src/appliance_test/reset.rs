//! Reset to factory: what made the machine somebody's goes, the queue stays;
//! or goes too, where that was asked for.

use std::io;
use std::path::Path;

use super::guest::Boot;
use super::waiting::Waiting;
use super::{HEALTHY_TIME, healthy};
use crate::image::{Image, data};

/// Messages that wait at a reset.
const MESSAGES: usize = 20;

/// Both kinds, each with mail waiting.
///
/// # Errors
/// What went, or stayed, against what was asked for.
pub fn run(image: &Image, folder: &Path) -> io::Result<()> {
    let mut waiting = Waiting::start()?;
    let disk = waiting.disk(image, folder, "", "")?;
    for is_kept in [true, false] {
        let guest = healthy(image, folder, &disk, Boot::Kernel)?;
        waiting.hand_over(&guest, MESSAGES)?;
        drop(guest);
        // What an operator may have left there, and a name that nobody knows.
        data::put(&disk, folder, "/", "network.conf", "hostname = mine.example\n")?;
        data::put(&disk, folder, "/", "users", "ann\n")?;
        if !data::names(&disk, "/queue")?.iter().any(|name| name == "config") {
            return Err(io::Error::other("there are no revisions to take away"));
        }
        let queue = if is_kept { "keep" } else { "delete" };
        let request = format!("queue = {queue}\n");
        data::put(&disk, folder, "/appliance", "reset.new", &request)?;
        data::put(&disk, folder, "/queue/config", "marked", "before the reset\n")?;
        let mut guest = healthy(image, folder, &disk, Boot::Kernel)?;
        println!("{}", guest.wait_for("reset: carried out", HEALTHY_TIME)?);
        println!("{}", guest.wait_for("data: ringpost.toml taken from", HEALTHY_TIME)?);
        drop(guest);
        let (first, config) = (data::names(&disk, "/")?, data::names(&disk, "/queue/config")?);
        let left =
            ["network.conf", "users"].iter().find(|name| first.iter().any(|it| it == **name));
        if left.is_some() || config.iter().any(|name| name == "marked") {
            return Err(io::Error::other(format!("it left {first:?} and {config:?}")));
        }
        if !data::names(&disk, "/appliance")?.iter().all(|name| name == "state") {
            return Err(io::Error::other("a request was not taken away"));
        }
        if !is_kept {
            waiting.forget();
        }
    }
    let guest = healthy(image, folder, &disk, Boot::Kernel)?;
    waiting.hand_over(&guest, MESSAGES)?;
    waiting.all_arrive(&guest)
}
