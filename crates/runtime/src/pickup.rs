//! The pickup folder: files that become mail. A thread of its own looks into
//! it, so that no shard ever waits for the file system.
//!
//! What ends in `.eml` is ready: whoever writes one writes it under another name
//! and renames it. It is claimed by a rename into `taken/`, removed once it is on
//! stable storage, and put back while there is no room; what can never be sent
//! goes to `bad/`, its reason beside it. Invariants: nothing is removed that is
//! not stored; what cannot be claimed is not sent; one turn handles a bounded
//! number of files and bytes. After a crash between storing and removing a file
//! is sent again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use base::limits::HEADER_BYTES_MAX;
use control::api::Submission;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use eventlog::{Field, Kind, Line};
use shard::command::Answer;

use crate::server::Running;
use crate::submit::Offered;

/// Files handled in one turn, which share syncs.
const FILES_PER_TURN: usize = 64;
/// Bytes of them after which a turn takes no further one.
const BYTES_PER_TURN: u64 = 64 << 20;
/// Between two looks into an empty folder.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Before the next look while there is no room for mail.
const PAUSE_FULL: Duration = Duration::from_secs(5);
/// For one message to reach stable storage.
const STORE_TIME_MAX: Duration = Duration::from_secs(60);

/// The thread that looks into the folder. Dropping it ends it.
pub struct Pickup {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pickup {
    /// Begins to look into the folder that the configuration names, if it names
    /// one; a relative name is taken from `data`.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(running: Arc<Running>, data: PathBuf) -> io::Result<Self> {
        let (stop, stopping) = crossbeam::channel::bounded(0);
        let mut looking = Looking { running, data, known: None, complaint: String::new() };
        let thread = std::thread::Builder::new()
            .name("pickup".into())
            .spawn(move || looking.run(&stopping))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Pickup {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Looking {
    running: Arc<Running>,
    data: PathBuf,
    /// The folder looked into, once what an earlier life left in it was put back.
    known: Option<PathBuf>,
    /// What was complained about last.
    complaint: String,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Done,
    More,
    Full,
}

/// A file that is ours for now.
struct Claimed {
    name: String,
    path: PathBuf,
}

impl Looking {
    fn run(&mut self, stopping: &Receiver<()>) {
        loop {
            let turn = match self.turn() {
                Ok(turn) => {
                    self.complaint.clear();
                    turn
                }
                Err(why) => {
                    self.complain(&why);
                    Turn::Full
                }
            };
            let pause = match turn {
                Turn::Done => LOOK_EVERY,
                Turn::More => Duration::ZERO,
                Turn::Full => PAUSE_FULL,
            };
            if stopping.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Handles some files. An error is about the folder as a whole.
    fn turn(&mut self) -> Result<Turn, String> {
        let policy = self.running.in_force();
        let Some(folder) = policy.pickup.folder.as_deref().map(|name| self.data.join(name)) else {
            self.known = None;
            return Ok(Turn::Done);
        };
        let told = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
        if self.known.as_ref() != Some(&folder) {
            for part in [TAKEN, BAD] {
                let part = folder.join(part);
                fs::create_dir_all(&part).map_err(|e| told(&part, e))?;
                if !fs::symlink_metadata(&part).is_ok_and(|meta| meta.is_dir()) {
                    return Err(format!("{} is no folder", part.display()));
                }
            }
            self.put_back(&folder).map_err(|e| told(&folder, e))?;
            self.known = Some(folder.clone());
        }
        let largest = policy.submission.max_message + HEADER_BYTES_MAX as u64;
        let (mut offered, mut bytes, mut full) = (Vec::new(), 0, false);
        let entries = fs::read_dir(&folder).map_err(|e| told(&folder, e))?;
        let ready =
            entries.filter_map(|entry| ready_name(&entry.ok()?.file_name().into_string().ok()?));
        let mut ready = ready.peekable();
        while offered.len() < FILES_PER_TURN && bytes < BYTES_PER_TURN && !full {
            let Some(name) = ready.next() else { break };
            let path = folder.join(TAKEN).join(&name);
            fs::rename(folder.join(&name), &path).map_err(|e| told(&path, e))?;
            let claimed = Claimed { name, path };
            match self.offer(&claimed, largest) {
                Ok((one, size)) => {
                    bytes += size;
                    offered.push((claimed, one));
                }
                Err(refusal) => full |= self.settle(&folder, &claimed, refusal),
            }
        }
        let more = ready.peek().is_some();
        for (claimed, one) in offered {
            full |= self.settle(&folder, &claimed, one.answer());
        }
        Ok(if full {
            Turn::Full
        } else if more {
            Turn::More
        } else {
            Turn::Done
        })
    }

    /// What an earlier life had claimed, and may not have stored.
    fn put_back(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder.join(TAKEN))? {
            let entry = entry?;
            fs::rename(entry.path(), folder.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Reads a file and offers it to a shard; gives its bytes too.
    fn offer(&self, claimed: &Claimed, largest: u64) -> Result<(Offered, u64), Answer> {
        let refused = |why: &str| Answer::new(422, serde_json::json!({ "error": why }));
        let told = |e: io::Error| refused(&format!("it cannot be read: {e}"));
        use rustix::fs::{Mode, OFlags, open};
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = open(&claimed.path, flags, Mode::empty()).map_err(|e| told(e.into()))?;
        let file = File::from(file);
        let meta = file.metadata().map_err(told)?;
        if !meta.is_file() {
            return Err(refused("it is no plain file"));
        }
        let mut text = Vec::new();
        file.take(largest + 1).read_to_end(&mut text).map_err(told)?;
        let size = text.len() as u64;
        if size > largest {
            return Err(refused("it is larger than a message may be"));
        }
        let (envelope, text) = mail::pickup::read(&text).map_err(|e| refused(&e.to_string()))?;
        let by = format!("picked up from uid {}", meta.uid());
        let offered = self.running.offer(Submission { envelope, text }, &by, STORE_TIME_MAX)?;
        Ok((offered, size))
    }

    /// Does with a file what its answer calls for. True: there is no room now.
    fn settle(&mut self, folder: &Path, claimed: &Claimed, answer: Answer) -> bool {
        let full = answer.status == 503;
        let done = match answer.status {
            200 => fs::remove_file(&claimed.path),
            503 => fs::rename(&claimed.path, folder.join(&claimed.name)),
            _ => {
                self.set_aside(folder, claimed, answer.body["error"].as_str().unwrap_or("refused"))
            }
        };
        if let Err(error) = done {
            self.complain(&format!("{}: {error}", claimed.path.display()));
        }
        full
    }

    /// What can never be sent.
    fn set_aside(&self, folder: &Path, claimed: &Claimed, why: &str) -> io::Result<()> {
        let bad = folder.join(BAD);
        let reason = bad.join(format!("{}.txt", claimed.name));
        match fs::remove_file(&reason) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Never through a link that somebody put there.
        File::create_new(&reason)?.write_all(format!("{why}\n").as_bytes())?;
        fs::rename(&claimed.path, bad.join(&claimed.name))?;
        let line = Line::new(self.running.clock().now().wall, Kind::PickupRefused);
        self.running.log(line.text(Field::File, &claimed.name).text(Field::Reason, why));
        Ok(())
    }

    /// Says once what keeps going wrong.
    fn complain(&mut self, why: &str) {
        if self.complaint != why {
            self.complaint = why.to_owned();
            let line = Line::new(self.running.clock().now().wall, Kind::PickupFailed);
            self.running.log(line.text(Field::Error, why));
        }
    }
}

const TAKEN: &str = "taken";
const BAD: &str = "bad";

/// The name of a file that is ready.
fn ready_name(name: &str) -> Option<String> {
    let ready = name.ends_with(".eml") && !name.starts_with('.');
    ready.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_whole_is_ready() {
        assert_eq!(ready_name("a.eml").as_deref(), Some("a.eml"));
        for name in ["a.eml.tmp", ".a.eml", "a.txt", "taken", "bad", "eml"] {
            assert_eq!(ready_name(name), None, "{name}");
        }
    }
}
