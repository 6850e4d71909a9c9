//! Writes messages into mail folders, with blocking calls on a few threads of
//! their own, so that no shard ever waits for a file system.
//!
//! Never decides what becomes of a message. Invariants: a file in `new` is
//! whole and on stable storage before anybody is told; its name is the
//! message's, so that writing it once more changes nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::{ConnId, ShardId};
use crossbeam::channel::{Receiver, Sender};
use rustix::io::Errno;
use shard::effect::Deposit;
use shard::event::Deposited;

use crate::error::StartError;
use crate::inbox::{Inbox, Mail};

/// Threads that write: as many syncs may be under way at once.
const THREADS: usize = 4;

/// What one shard wants written. The queue of these is bounded by the
/// connections that a shard may have, each with one message.
pub(crate) struct Job {
    pub(crate) shard: ShardId,
    pub(crate) conn: ConnId,
    pub(crate) deposit: Box<Deposit>,
}

/// Starts the threads. They end when nobody can send any more; one that hangs
/// in a dead file system is left behind.
///
/// # Errors
/// [`StartError::LocalThread`] when no thread can be made.
pub(crate) fn start(
    inboxes: &Arc<[Arc<Inbox>]>,
    stopping: &Arc<AtomicBool>,
) -> Result<Sender<Job>, StartError> {
    let (sender, jobs) = crossbeam::channel::unbounded();
    for _ in 0..THREADS {
        let (jobs, inboxes, stopping) = (jobs.clone(), inboxes.clone(), stopping.clone());
        std::thread::Builder::new()
            .name("folders".into())
            .spawn(move || serve(&jobs, &inboxes, &stopping))
            .map_err(|error| StartError::LocalThread {
                what: "a writer of mail folders",
                reason: error.to_string(),
            })?;
    }
    Ok(sender)
}

fn serve(jobs: &Receiver<Job>, inboxes: &[Arc<Inbox>], stopping: &AtomicBool) {
    while let Ok(Job { shard, conn, deposit }) = jobs.recv() {
        let outcome = outcome(&deposit);
        let mail = Mail::Deposited { conn, index: deposit.index, outcome };
        let inbox = &inboxes[usize::from(shard.0)];
        inbox.post_patiently(mail, || !stopping.load(Ordering::Acquire));
    }
}

fn outcome(deposit: &Deposit) -> Deposited {
    let base = &*deposit.folder.base;
    if !fs::metadata(base).is_ok_and(|meta| meta.is_dir()) {
        return Deposited::Short(format!("the folder {base} for mail folders is not there"));
    }
    let Err(error) = write(deposit) else { return Deposited::Done };
    let reason = format!("cannot write to {}: {error}", deposit.folder.path);
    let ours = matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(
            Errno::NOSPC
                | Errno::MFILE
                | Errno::NFILE
                | Errno::NOMEM
                | Errno::IO
                | Errno::ROFS
                | Errno::STALE
        )
    );
    if ours { Deposited::Short(reason) } else { Deposited::Refused(reason) }
}

/// First into `tmp`, then whole into `new`, as everybody does who writes there.
fn write(deposit: &Deposit) -> io::Result<()> {
    let folder = Path::new(&*deposit.folder.path);
    let [tmp, new, cur] = ["tmp", "new", "cur"].map(|name| folder.join(name));
    if !(new.is_dir() && tmp.is_dir() && cur.is_dir()) {
        make(folder, Path::new(&*deposit.folder.base), [&tmp, &new, &cur])?;
    }
    if deposit.again && is_there(&new, &cur, &deposit.name)? {
        return Ok(());
    }
    let unfinished = tmp.join(&deposit.name);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let written = file
        .write_all(&deposit.front)
        .and_then(|()| file.write_all(&deposit.content))
        .and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&unfinished, new.join(&deposit.name))) {
        // The first error is the one worth telling.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    sync(&new)
}

/// Makes what is missing of a mail folder, durably.
fn make(folder: &Path, base: &Path, parts: [&PathBuf; 3]) -> io::Result<()> {
    for part in parts {
        DirBuilder::new().recursive(true).mode(0o700).create(part)?;
    }
    for above in folder.ancestors() {
        sync(above)?;
        if above == base {
            break;
        }
    }
    Ok(())
}

/// Whether a message is in a folder, read or not: readers move it and put
/// their marks behind a colon.
fn is_there(new: &Path, cur: &Path, name: &str) -> io::Result<bool> {
    if new.join(name).try_exists()? {
        return Ok(true);
    }
    for entry in fs::read_dir(cur)? {
        let other = entry?.file_name();
        let rest = other.to_str().and_then(|other| other.strip_prefix(name));
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':')) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deposit(base: &Path, user: &str, again: bool) -> Deposit {
        let path = format!("{}/mail/{user}", base.display());
        Deposit {
            index: 0,
            folder: control::Folder {
                base: format!("{}", base.display()).into(),
                path: path.into(),
            },
            name: "1.M2R3N4.host".into(),
            front: b"Return-Path: <>\n".to_vec(),
            content: b"A: b\n\nc\n".as_slice().into(),
            again,
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Shows: S3.3
    #[test]
    fn a_message_is_written_once_however_often_it_comes() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("mail/ann");
        for again in [false, false, true] {
            assert_eq!(outcome(&deposit(base.path(), "ann", again)), Deposited::Done);
            assert_eq!(names(&folder.join("new")), ["1.M2R3N4.host"]);
            assert!(names(&folder.join("tmp")).is_empty());
        }
        let file = folder.join("new/1.M2R3N4.host");
        assert_eq!(fs::read_to_string(&file).unwrap(), "Return-Path: <>\nA: b\n\nc\n");
        fs::rename(&file, folder.join("cur/1.M2R3N4.host:2,S")).unwrap();
        assert_eq!(outcome(&deposit(base.path(), "ann", true)), Deposited::Done);
        assert!(names(&folder.join("new")).is_empty(), "somebody has read it");
        assert_eq!(outcome(&deposit(base.path(), "ann", false)), Deposited::Done);
        assert_eq!(names(&folder.join("new")).len(), 1, "nobody was in doubt");
    }

    /// What a crash left behind in `tmp` is in nobody's way.
    #[test]
    fn an_unfinished_file_is_written_anew() {
        let base = tempfile::tempdir().unwrap();
        let tmp = base.path().join("mail/ann/tmp");
        fs::create_dir_all(&tmp).unwrap();
        fs::write(tmp.join("1.M2R3N4.host"), "torn").unwrap();
        assert_eq!(outcome(&deposit(base.path(), "ann", true)), Deposited::Done);
        assert!(names(&tmp).is_empty());
    }

    /// A missing disk is nobody's attempt; a folder that is none is that
    /// mailbox's own trouble.
    #[test]
    fn blame_is_ours_for_the_disk_and_the_mailboxs_for_the_rest() {
        let base = tempfile::tempdir().unwrap();
        let gone = outcome(&deposit(&base.path().join("unmounted"), "ann", false));
        assert!(matches!(&gone, Deposited::Short(reason) if reason.contains("is not there")));
        fs::create_dir(base.path().join("mail")).unwrap();
        fs::write(base.path().join("mail/bob"), "a file").unwrap();
        let refused = outcome(&deposit(base.path(), "bob", false));
        assert!(matches!(&refused, Deposited::Refused(reason) if reason.contains("mail/bob")));
    }

    #[test]
    fn answers_reach_the_shard_that_asked() {
        let base = tempfile::tempdir().unwrap();
        let inboxes: Arc<[Arc<Inbox>]> =
            [Arc::new(Inbox::new().unwrap()), Arc::new(Inbox::new().unwrap())].into();
        let jobs = start(&inboxes, &Arc::default()).unwrap();
        let deposit = Box::new(deposit(base.path(), "ann", false));
        jobs.send(Job { shard: ShardId(1), conn: ConnId(7), deposit }).unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            match inboxes[1].take() {
                Some(Mail::Deposited { conn, index: 0, outcome: Deposited::Done }) => {
                    assert_eq!(conn, ConnId(7));
                    break;
                }
                Some(_) => panic!("another answer"),
                None => assert!(std::time::Instant::now() < until, "no answer came"),
            }
            std::thread::yield_now();
        }
        assert!(inboxes[0].take().is_none());
    }
}
