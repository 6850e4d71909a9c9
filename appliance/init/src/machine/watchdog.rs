//! The hardware watchdog: as long as the loop of PID 1 turns it is petted, and
//! when it is not, the machine starts anew.
//!
//! Never closed: its end would be ours. Without the hardware there is none; the
//! kernel's own panic timer still stands.

use std::fs::{File, OpenOptions};
use std::io::Write;

/// The watchdog, once its driver is loaded.
#[derive(Debug, Default)]
pub struct Watchdog(Option<File>);

impl Watchdog {
    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Says that we live; opens the device when it has appeared.
    pub fn pet(&mut self) {
        if self.0.is_none() {
            self.0 = OpenOptions::new().write(true).open("/dev/watchdog").ok();
        }
        if let Some(device) = &mut self.0 {
            // A device that refuses ends in what it is for.
            let _ = device.write_all(b"1");
        }
    }
}
