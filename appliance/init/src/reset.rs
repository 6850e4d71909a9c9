//! Reset to factory: what was asked for, and which names on the data partition
//! go.
//!
//! Never touches a file. Invariants: what the file system and the next start
//! need always stays; the queue goes only when that was asked for in so many
//! words. What stays is a list, so that a file that nobody thought of here goes
//! with the configuration it belongs to.

/// What is to become of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// It stays, with its log.
    Keep,
    /// It goes.
    Delete,
}

/// A folder whose names are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// The data partition's first one.
    Data,
    /// That of the queue in it.
    Queue,
}

/// Octets of a request.
pub const BYTES_MAX: usize = 256;
/// The queue's folder.
const QUEUE: &str = "queue";
/// The folder that the request lies in; it goes last, by itself.
const REQUESTS: &str = "appliance";
/// What a reset never takes: the file system's own folder, that of what is being
/// taken away, randomness for the next start, and why the machine went down before.
const STAYS: [&str; 6] =
    ["lost+found", "removed", "entropy", "last-panic", "last-kernel-panic", "last-reboot"];
/// In the queue's folder: revisions of the configuration, and what operators
/// stopped or silenced, lest a machine as from the factory deliver nothing and
/// nobody know why; and numbers of a time that is over.
const SET: [&str; 4] = ["config", "suspensions.json", "alerts.json", "statistics"];

/// Reads a request: one line, `queue = keep` or `queue = delete`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Queue, String> {
    let line = text.trim();
    let (key, value) = line.split_once('=').unwrap_or((line, ""));
    match (key.trim(), value.trim()) {
        ("queue", "keep") => Ok(Queue::Keep),
        ("queue", "delete") => Ok(Queue::Delete),
        _ => Err("it says neither `queue = keep` nor `queue = delete`".to_owned()),
    }
}

/// Whether `name` in `folder` goes in a reset.
pub fn goes(queue: Queue, folder: Folder, name: &str) -> bool {
    match folder {
        Folder::Data if name == QUEUE => queue == Queue::Delete,
        Folder::Data => name != REQUESTS && !STAYS.contains(&name),
        Folder::Queue => queue == Queue::Delete || SET.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_becomes_of_the_queue() {
        assert_eq!(parse("queue = keep\n"), Ok(Queue::Keep));
        assert_eq!(parse("queue=delete"), Ok(Queue::Delete));
        for text in
            ["", "queue", "queue = ", "queue = yes", "delete", "queue = keep\nqueue = delete"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_queue_stays_and_what_makes_this_machine_ours_goes() {
        let goes = |name: &str| goes(Queue::Keep, Folder::Data, name);
        for name in ["ringpost.toml", "network.conf", "network.trial", "tls", "users", "update"] {
            assert!(goes(name), "{name}");
        }
        for name in ["queue", "lost+found", "entropy", "last-panic", "appliance"] {
            assert!(!goes(name), "{name}");
        }
    }

    #[test]
    fn in_the_queues_folder_mail_and_log_stay() {
        for name in ["segments", "lock", "log", "sinks", "pickup", "control.sock"] {
            assert!(!goes(Queue::Keep, Folder::Queue, name), "{name}");
            assert!(goes(Queue::Delete, Folder::Queue, name), "{name}");
        }
        for name in ["config", "suspensions.json", "alerts.json", "statistics"] {
            assert!(goes(Queue::Keep, Folder::Queue, name), "{name}");
        }
    }

    #[test]
    fn the_queue_goes_when_that_was_asked_for() {
        assert!(goes(Queue::Delete, Folder::Data, "queue"));
        for name in ["lost+found", "entropy", "appliance"] {
            assert!(!goes(Queue::Delete, Folder::Data, name), "{name}");
        }
    }
}
