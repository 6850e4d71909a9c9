//! What a run ran on: processors, memory, kernel, disk, file system. A figure
//! without its machine is a rumour.
//!
//! Never names the host, its addresses or its users.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor, stat};
use serde::{Deserialize, Serialize};

/// The machine, and the disk under the data folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processors.
    pub processor: String,
    /// Processors that may be used.
    pub processors: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Kernel release.
    pub kernel: String,
    /// Whether the kernel says that it runs under a hypervisor.
    pub is_virtual: bool,
    /// Frequency governor of the first processor, where there is one.
    pub governor: Option<String>,
    /// Device under the data folder, such as `vda`.
    pub device: Option<String>,
    /// Its model, where it tells.
    pub device_model: Option<String>,
    /// Whether it turns.
    pub rotational: Option<bool>,
    /// What it says of its cache: `write back` or `write through`.
    pub write_cache: Option<String>,
    /// Type of the file system.
    pub file_system: String,
    /// Its mount options.
    pub mount_options: String,
}

impl Machine {
    /// This one, with the disk under `folder`.
    pub fn here(folder: &Path) -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let line = |text: &str, key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key));
            found.and_then(|rest| rest.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = line(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kilobytes: u64 = memory.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let flags = line(&cpuinfo, "flags").unwrap_or_default();
        let block = block_device(folder);
        let of_block = |name: &str| block.as_ref().and_then(|path| text(&path.join(name)));
        let (file_system, mount_options) = mounted(&read("/proc/self/mountinfo"), folder);
        Self {
            processor: line(&cpuinfo, "model name").unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            memory: kilobytes * 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            is_virtual: flags.split(' ').any(|flag| flag == "hypervisor"),
            governor: text(Path::new("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
            device: block
                .as_ref()
                .and_then(|path| fs::canonicalize(path).ok())
                .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            device_model: of_block("device/model"),
            rotational: of_block("queue/rotational").map(|text| text == "1"),
            write_cache: of_block("queue/write_cache"),
            file_system,
            mount_options,
        }
    }

    /// The machine in one line.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{} × {}, {:.0} GiB, Linux {}{}, {} on {}",
            self.processors,
            if self.processor.is_empty() { "processor" } else { &self.processor },
            self.memory as f64 / f64::from(1 << 30),
            self.kernel,
            if self.is_virtual { " (virtual)" } else { "" },
            self.file_system,
            self.device.as_deref().unwrap_or("no disk"),
        );
        if let Some(cache) = &self.write_cache {
            line.push_str(&format!(" ({cache})"));
        }
        line
    }
}

/// The folder under /sys of the whole disk that `folder` lies on.
fn block_device(folder: &Path) -> Option<PathBuf> {
    let device = stat(folder).ok()?.st_dev;
    let path = PathBuf::from(format!("/sys/dev/block/{}:{}", major(device), minor(device)));
    let path = fs::canonicalize(path).ok()?;
    // A partition lies in the folder of its disk, which has the queue.
    if path.join("queue").exists() { Some(path) } else { path.parent().map(Path::to_owned) }
}

/// Type and options of the file system that `folder` lies on.
fn mounted(mountinfo: &str, folder: &Path) -> (String, String) {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let mut best = (0, String::new(), String::new());
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split(' ').collect();
        let mut right = right.split(' ');
        let (Some(point), Some(options), Some(kind)) = (left.get(4), left.get(5), right.next())
        else {
            continue;
        };
        if folder.starts_with(point) && point.len() >= best.0 {
            let of_super = right.nth(1).unwrap_or_default();
            best = (point.len(), kind.to_owned(), format!("{options},{of_super}"));
        }
    }
    (best.1, best.2)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let info = "20 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
                    21 20 0:20 / /proc rw,nosuid - proc proc rw\n\
                    22 20 0:21 / /data rw - xfs /dev/vdb rw,noquota\n";
        assert_eq!(mounted(info, Path::new("/data/x")), ("xfs".into(), "rw,rw,noquota".into()));
        assert_eq!(mounted(info, Path::new("/dat")).0, "ext4");
        assert_eq!(mounted("", Path::new("/")), (String::new(), String::new()));
    }

    #[test]
    fn this_machine_has_a_kernel_and_processors() {
        let machine = Machine::here(Path::new("/"));
        assert!(machine.processors >= 1 && machine.memory > 0 && !machine.kernel.is_empty());
        assert!(machine.line().contains(&machine.kernel));
    }
}
