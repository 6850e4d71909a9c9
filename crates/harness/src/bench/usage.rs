//! What a process and its children have used so far, and what their disk has
//! written, from the kernel's own accounts under /proc.
//!
//! Never asks the process. What a file does not say is absent, not zero.

use std::fs;
use std::path::Path;

use rustix::fs::{major, minor, stat};

/// What a tree of processes has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time in user mode, in microseconds.
    pub user: u64,
    /// Time in the kernel for it, in microseconds.
    pub system: u64,
    /// Memory of its own now, without mapped files, in bytes.
    pub anonymous: u64,
    /// All its memory now, mapped files too, in bytes.
    pub resident: u64,
    /// Descriptors open now.
    pub descriptors: u64,
    /// Bytes it has caused to be written to disks; those of children that have
    /// ended are lost.
    pub written: u64,
}

/// What a disk has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes written to it.
    pub written: u64,
    /// Times it was told to empty its cache.
    pub flushes: u64,
}

impl Usage {
    /// Of process `pid` and everything below it; zero where it has gone.
    pub fn of(pid: u32) -> Self {
        let mut sum = Self::default();
        tree(pid).into_iter().for_each(|pid| sum.add(pid));
        sum
    }

    /// Of process `pid` without what is below it.
    pub fn of_alone(pid: u32) -> Self {
        let mut alone = Self::default();
        alone.add(pid);
        alone
    }

    /// User and system time since `before`, in microseconds.
    pub fn cpu_since(&self, before: &Self) -> (u64, u64) {
        (self.user.saturating_sub(before.user), self.system.saturating_sub(before.system))
    }

    fn add(&mut self, pid: u32) {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        if let Some((user, system)) = cpu(&read("stat")) {
            self.user += user;
            self.system += system;
        }
        let status = read("status");
        let kilobytes = |key: &str| number_behind(&status, key).unwrap_or(0) * 1_024;
        self.anonymous += kilobytes("RssAnon:");
        self.resident += kilobytes("VmRSS:");
        self.written += number_behind(&read("io"), "\nwrite_bytes:").unwrap_or(0);
        let open = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.descriptors += open as u64;
    }
}

impl DiskUsage {
    /// Of the disk that `folder` lies on, where it lies on one.
    pub fn under(folder: &Path) -> Option<Self> {
        let device = stat(folder).ok()?.st_dev;
        let text = fs::read_to_string("/proc/diskstats").ok()?;
        Self::parse(&text, major(device), minor(device))
    }

    fn parse(text: &str, major: u32, minor: u32) -> Option<Self> {
        text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
            let same = number(0)? == u64::from(major) && number(1)? == u64::from(minor);
            // Sectors are counted in 512 bytes whatever the disk has; flushes
            // are counted since Linux 5.5.
            same.then_some(Self { written: number(9)? * 512, flushes: number(18).unwrap_or(0) })
        })
    }
}

/// User and system time of a stat file, its ended children with it, in
/// microseconds.
fn cpu(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let micros = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    Some(((ticks(11)? + ticks(13)?) * micros, (ticks(12)? + ticks(14)?) * micros))
}

fn number_behind(text: &str, key: &str) -> Option<u64> {
    text.split_once(key)?.1.split_whitespace().next()?.parse().ok()
}

/// A process and everything that lives below it.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut waiting = vec![pid];
    while let Some(pid) = waiting.pop() {
        found.push(pid);
        waiting.extend(children(pid));
    }
    found
}

/// Live children of a process, of all its threads.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_file_is_read_behind_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0";
        let tick = 1_000_000 / rustix::param::clock_ticks_per_second();
        assert_eq!(cpu(stat), Some((180 * tick, 70 * tick)));
        assert_eq!(cpu("7 (a"), None);
        assert_eq!(cpu("7 (a) S 1"), None);
    }

    #[test]
    fn a_disk_is_found_by_its_numbers() {
        let text = " 254 0 vda 1 2 3 4 5 6 100 7 0 8 9 10 11 12 13 42 5\n 254 1 vda1 1 1 1 1 1 1 8 1 1 1 1\n";
        assert_eq!(
            DiskUsage::parse(text, 254, 0),
            Some(DiskUsage { written: 51_200, flushes: 42 })
        );
        assert_eq!(DiskUsage::parse(text, 254, 1), Some(DiskUsage { written: 4_096, flushes: 0 }));
        assert_eq!(DiskUsage::parse(text, 8, 0), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = Usage::of(std::process::id());
        assert!(usage.resident >= usage.anonymous && usage.anonymous > 0, "{usage:?}");
        assert!(usage.descriptors >= 3);
        assert_eq!(Usage::of(u32::MAX), Usage::default());
    }
}
