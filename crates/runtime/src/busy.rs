//! How busy the shards are: processor time of their threads, from the kernel's
//! own accounts.
//!
//! Costs a shard nothing: it is read by whoever asks. Decides nothing.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

/// What glommio calls the thread of a shard, in front of a number that grows.
const THREAD: &str = "shard-";

/// Puts `cpu_ms` into the rows of `by_shard` of a status: processor time of
/// each shard's thread so far, in milliseconds. Where threads cannot be told
/// apart, nothing is put there.
pub fn add_to(status: &mut Value) {
    let Some(Value::Array(rows)) = status.get_mut("by_shard") else { return };
    let times = shard_times();
    if times.len() != rows.len() {
        return;
    }
    for (row, ms) in rows.iter_mut().zip(times) {
        row["cpu_ms"] = ms.into();
    }
}

/// Processor time of this process's shards, in their order. A shard's thread
/// has helpers of the same name.
fn shard_times() -> Vec<u64> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    for thread in threads.flatten() {
        let read = |file| fs::read_to_string(thread.path().join(file)).ok();
        let number = read("comm").and_then(|name| number_of(&name));
        let spent = read("schedstat").and_then(|text| on_cpu_ms(&text));
        if let (Some(number), Some(ms)) = (number, spent) {
            *found.entry(number).or_default() += ms;
        }
    }
    found.into_values().collect()
}

fn number_of(name: &str) -> Option<u64> {
    name.trim_end().strip_prefix(THREAD)?.parse().ok()
}

/// The first of the three numbers is nanoseconds on a processor.
fn on_cpu_ms(schedstat: &str) -> Option<u64> {
    let nanoseconds: u64 = schedstat.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1_000_000)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use serde_json::json;

    use super::*;

    #[test]
    fn threads_of_shards_are_found_by_their_names() {
        let threads: Vec<_> = ["shard-7", "shard-12"]
            .into_iter()
            .map(|name| {
                let (end, wait) = mpsc::channel::<()>();
                let builder = std::thread::Builder::new().name(name.into());
                let (up, begun) = mpsc::channel::<()>();
                let thread = builder.spawn(move || {
                    let _ = up.send(());
                    let _ = wait.recv();
                });
                begun.recv().unwrap();
                (end, thread.unwrap())
            })
            .collect();
        // Other tests of this process may have shards of their own.
        assert!(shard_times().len() >= threads.len());
        let mut status = json!({ "by_shard": [{ "shard": 0 }] });
        add_to(&mut status);
        assert!(status["by_shard"][0].get("cpu_ms").is_none(), "they are not that shard's");
        for (end, thread) in threads {
            drop(end);
            thread.join().unwrap();
        }
        assert_eq!(on_cpu_ms("123456789 5 6\n"), Some(123));
        assert_eq!(on_cpu_ms(""), None);
    }
}
