//! What the operator sees: the same lines on every console of the machine.
//!
//! `/dev/console` is only the last of them; with a screen and a serial line the
//! screen would stay black. Never waits for a console: a line that does not fit
//! is lost there and stands in the kernel's log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;

use super::{files, now};

/// Characters of one line.
const LINE_CHARACTERS_MAX: usize = 400;

/// All consoles, and the kernel's log.
#[derive(Debug, Default)]
pub struct Consoles {
    screens: Vec<File>,
    log: Option<File>,
}

impl Consoles {
    /// Opens those that are there; `/dev` and `/sys` are mounted.
    pub fn open() -> Self {
        let names = files::text("/sys/class/tty/console/active");
        let open = |path: &str| {
            let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
            OpenOptions::new().write(true).custom_flags(flags.bits()).open(path).ok()
        };
        let screens: Vec<File> =
            names.split_whitespace().filter_map(|name| open(&format!("/dev/{name}"))).collect();
        let log = open("/dev/kmsg");
        Self { screens, log }
    }

    /// Shows one line, with the time since the machine's start.
    pub fn say(&mut self, line: &str) {
        let plain = |character: &char| !character.is_control();
        let line: String = line.chars().filter(plain).take(LINE_CHARACTERS_MAX).collect();
        let time = now();
        for screen in &mut self.screens {
            let text = format!("[{:8.2}] {line}\r\n", time.as_secs_f64());
            let _ = screen.write_all(text.as_bytes());
        }
        if let Some(log) = &mut self.log {
            let _ = log.write_all(format!("<6>ringpost: {line}\n").as_bytes());
        }
    }
}

/// A line for whoever started this by mistake.
pub fn complain(line: &str) {
    let _ = std::io::stderr().write_all(line.as_bytes());
}
