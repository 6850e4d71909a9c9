//! System calls of a server, counted by `perf` where that is installed and
//! allowed.
//!
//! Counting slows every call down a little, so it is done in a round of its
//! own whose other figures are not used.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::child::pause;
use super::usage::tree;

/// How long `perf` may take to begin and to end.
const PERF_MAX: Duration = Duration::from_secs(10);

/// A count that runs.
#[derive(Debug)]
pub struct Counter {
    perf: Child,
    file: PathBuf,
}

impl Counter {
    /// Counts the calls of `pid` and everything below it, now and later.
    ///
    /// # Errors
    /// `perf` is not there.
    pub fn start(pid: u32, folder: &Path) -> Result<Self, String> {
        let file = folder.join("syscalls");
        let pids: Vec<String> = tree(pid).iter().map(u32::to_string).collect();
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ";", "-e", "raw_syscalls:sys_enter", "-o"]).arg(&file);
        perf.args(["-p", &pids.join(",")]);
        perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let perf = perf.spawn().map_err(|error| format!("perf cannot count: {error}"))?;
        // It says nothing when it has begun.
        pause(Duration::from_millis(500));
        Ok(Self { perf, file })
    }

    /// The count.
    ///
    /// # Errors
    /// `perf` may not count here.
    pub fn end(mut self) -> Result<u64, String> {
        if let Some(pid) = Pid::from_raw(self.perf.id() as i32) {
            // If it is gone, its file says why, or is not there.
            let _ = kill_process(pid, Signal::INT);
        }
        let deadline = Instant::now() + PERF_MAX;
        while matches!(self.perf.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.perf.kill();
            }
            pause(Duration::from_millis(10));
        }
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        count(&text).ok_or_else(|| format!("perf may not count system calls here: {}", text.trim()))
    }
}

/// The count in what `perf stat -x ;` writes.
fn count(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(';').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_and_a_refusal_is_none() {
        let text = "# started on Sun\n\n12345;;raw_syscalls:sys_enter;1000;100.00;;\n";
        assert_eq!(count(text), Some(12_345));
        assert_eq!(count("<not counted>;;raw_syscalls:sys_enter;0;0;;\n"), None);
        assert_eq!(count(""), None);
    }
}
