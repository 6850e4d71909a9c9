//! The line that every console shows now and then, so that whoever looks at a
//! screen sees how the machine is: how often, and what the kernel says of a
//! process.
//!
//! Never reads the files.

use std::time::Duration;

/// So long after its start a machine tells of itself every minute, for whoever
/// sets it up; later every ten.
pub const EARLY: Duration = Duration::from_secs(900);

/// How long after a line the next one comes, on a machine that has run for `up`.
pub fn turn(up: Duration) -> Duration {
    Duration::from_secs(if up < EARLY { 60 } else { 600 })
}

/// KiB of memory that a process holds for itself, as `/proc/PID/status` says;
/// mapped files, such as the queue, are the kernel's to keep or to drop.
pub fn own_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// A span of time in words.
pub fn span(time: Duration) -> String {
    match time.as_secs() / 60 {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes @ 120..2_880 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_found_among_the_other_lines() {
        let status = "Name:\tinit\nVmRSS:\t  4000 kB\nRssAnon:\t    3072 kB\nThreads:\t1\n";
        assert_eq!(own_kib(status), Some(3_072));
        // Threads of the kernel have none.
        assert_eq!(own_kib("Name:\tkthreadd\n"), None);
        assert_eq!(own_kib("RssAnon:\t kB\n"), None);
    }

    #[test]
    fn lines_come_often_at_first() {
        assert_eq!(turn(Duration::ZERO), Duration::from_secs(60));
        assert_eq!(turn(EARLY), Duration::from_secs(600));
    }

    #[test]
    fn spans_are_short() {
        let minutes = |minutes: u64| span(Duration::from_secs(minutes * 60));
        assert_eq!(minutes(0), "0 min");
        assert_eq!(minutes(119), "119 min");
        assert_eq!(minutes(120), "2 h");
        assert_eq!(minutes(2_880), "2 days");
    }
}
