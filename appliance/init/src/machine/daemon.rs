//! The daemon as a process of its own: started without privileges, listened
//! to, asked how it is, buried.
//!
//! Never waits for it: its words are read as they come, its health has a
//! deadline shorter than the watchdog's.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use init::health::{ANSWER_BYTES_MAX, Health, QUESTION, read};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::consoles::Consoles;
use super::files;
use super::requests::REQUESTS;
use super::storage::{DAEMON_USER, FOLDER, SETTINGS, Storage};

/// Lines kept for [`Daemon::last_words`], and characters of one.
const LINES_MAX: usize = 100;
const LINE_BYTES_MAX: usize = 1_000;
/// Reads of its words in one turn.
const READS_MAX: usize = 16;
/// How long an answer about its health may take.
const HEALTH_TIME: Duration = Duration::from_secs(5);

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    pid: Pid,
    words: Option<io::PipeReader>,
    half: Vec<u8>,
    lines: VecDeque<String>,
    is_ready: bool,
}

impl Daemon {
    /// Starts it on the data partition.
    ///
    /// # Errors
    /// When there is no process, pipe or program.
    pub fn start(_storage: &Storage) -> io::Result<Self> {
        let (words, mouth) = io::pipe()?;
        fcntl(&words, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let data = Path::new(FOLDER);
        let child = Command::new("/bin/ringpost")
            .arg("serve")
            .arg("--config")
            .arg(Path::new(SETTINGS).join("ringpost.toml"))
            .arg("--data")
            .arg(data.join("queue"))
            .arg("--appliance")
            .arg(REQUESTS)
            .current_dir(data)
            .stdin(Stdio::null())
            .stdout(OwnedFd::from(mouth.try_clone()?))
            .stderr(OwnedFd::from(mouth))
            .uid(DAEMON_USER)
            .gid(DAEMON_USER)
            .spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        let (half, lines) = (Vec::new(), VecDeque::new());
        Ok(Self { pid, words: Some(words), half, lines, is_ready: false })
    }

    /// Whether this is its process.
    pub fn is(&self, pid: Pid) -> bool {
        self.pid == pid
    }

    /// Its end, where nobody told of it: a signal that has no name, and with which
    /// its process was buried.
    pub fn untold_end(&self) -> Option<End> {
        let is_gone = kill(self.pid, None) == Err(Errno::ESRCH);
        let how = "killed by a signal without a name".to_owned();
        is_gone.then_some(End { pid: self.pid, how, is_orderly: false })
    }

    /// Sends it a signal; one that has just ended does not mind.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
    }

    /// What to wait for.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.words.as_ref().map(AsFd::as_fd)
    }

    /// Reads what it says, onto the consoles; a flood is read over many turns,
    /// lest the watchdog take us for hung.
    pub fn listen(&mut self, consoles: &mut Consoles) {
        let mut bytes = [0; 4 << 10];
        for _ in 0..READS_MAX {
            let Some(words) = &mut self.words else { return };
            match words.read(&mut bytes) {
                Ok(0) => self.words = None,
                Ok(count) => self.take(&bytes[..count], consoles),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.words = None,
            }
        }
    }

    /// Whether it takes mail and answers that it is well.
    pub fn is_good(&self) -> bool {
        self.is_ready && ask().is_ok_and(|answer| read(&answer) == Health::Good)
    }

    /// What it holds, in words.
    pub fn usage(&self) -> String {
        files::usage(&self.pid.to_string())
    }

    /// Its last lines.
    pub fn last_words(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn take(&mut self, bytes: &[u8], consoles: &mut Consoles) {
        for byte in bytes {
            if *byte != b'\n' && self.half.len() < LINE_BYTES_MAX {
                self.half.push(*byte);
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.half)).into_owned();
            self.is_ready |= line == "ready";
            consoles.say(&format!("daemon: {line}"));
            if self.lines.len() == LINES_MAX {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }
}

/// How a child ended.
#[derive(Clone, Debug)]
pub struct End {
    /// Its process.
    pub pid: Pid,
    /// In words.
    pub how: String,
    /// It said itself that all is well.
    pub is_orderly: bool,
}

/// The next child that ended; None if none has.
pub fn next_end() -> Option<End> {
    let end = |pid, how, is_orderly| Some(End { pid, how, is_orderly });
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, code)) => end(pid, format!("exit code {code}"), code == 0),
        Ok(WaitStatus::Signaled(pid, signal, _)) => end(pid, format!("killed by {signal}"), false),
        _ => None,
    }
}

/// One question over its socket, all of it within [`HEALTH_TIME`]: whoever has
/// the daemon may leave the socket full, or answer an octet at a time.
fn ask() -> io::Result<Vec<u8>> {
    let ends = Instant::now() + HEALTH_TIME;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let place = UnixAddr::new(&Path::new(FOLDER).join("queue/status.sock"))?;
    // A listener that takes nobody is an error at once.
    connect(socket.as_raw_fd(), &place)?;
    let mut stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(HEALTH_TIME))?;
    stream.write_all(QUESTION)?;
    let (mut answer, mut piece) = (Vec::new(), [0; 1 << 10]);
    while answer.len() < ANSWER_BYTES_MAX {
        let left = ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => break,
            count => answer.extend(&piece[..count]),
        }
    }
    Ok(answer)
}
