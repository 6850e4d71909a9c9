//! Runs programs for shards, on a few threads of their own, so that no shard
//! ever waits for one. No shell, a clean environment, no input, a process group
//! of its own that is killed when its time is over.
//!
//! Never decides what a program's end means, and never shows what it wrote.
//! Invariants: at most [`THREADS`] programs run at once, at most [`WAITING_MAX`]
//! more wait; each errand is answered once; of what a program writes no more
//! than [`OUTPUT_BYTES_MAX`] is kept, however much that is.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base::ShardId;
use base::secret::Secret;
use control::Ending;
use crossbeam::channel::{Receiver, Sender, TrySendError};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_open,
    waitid,
};
use shard::errand::{Errand, OUTPUT_BYTES_MAX, Output};

use crate::error::StartError;
use crate::inbox::{Inbox, Mail};

/// Programs that run at once.
pub(crate) const THREADS: usize = 4;
/// Errands that wait for their turn; more are refused.
pub(crate) const WAITING_MAX: usize = 256;
/// The whole environment of a program.
const PATH: &CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often a waiting thread looks whether the daemon ends.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a killed program is waited for: one that hangs in the kernel is
/// left behind.
const DYING_MAX: Duration = Duration::from_secs(5);
/// Reads from what a program left in the pipe; its children may write for ever.
const LAST_READS_MAX: usize = 32;

/// What one shard wants run.
pub(crate) struct Job {
    pub(crate) shard: ShardId,
    pub(crate) number: u64,
    pub(crate) errand: Box<Errand>,
}

/// Where shards leave what they want run.
#[derive(Clone)]
pub(crate) struct Runner(Sender<Job>);

impl Runner {
    /// Leaves a job; answered through the shard's inbox.
    ///
    /// # Errors
    /// The job's number and its end, when it will not be run.
    pub(crate) fn run(&self, job: Job) -> Result<(), (u64, Ending)> {
        self.0.try_send(job).map_err(|refused| {
            let (job, reason) = match refused {
                TrySendError::Full(job) => (job, "too many programs wait for their turn"),
                TrySendError::Disconnected(job) => (job, "the daemon is stopping"),
            };
            (job.number, Ending::NotStarted(reason.into()))
        })
    }
}

/// Starts the threads. They end when nobody can leave a job any more.
///
/// # Errors
/// [`StartError::LocalThread`] when no thread can be made.
pub(crate) fn start(
    inboxes: &Arc<[Arc<Inbox>]>,
    stopping: &Arc<AtomicBool>,
) -> Result<(Runner, Vec<JoinHandle<()>>), StartError> {
    let (sender, jobs) = crossbeam::channel::bounded(WAITING_MAX);
    let mut threads = Vec::with_capacity(THREADS);
    for _ in 0..THREADS {
        let (jobs, inboxes, stopping) = (jobs.clone(), inboxes.clone(), stopping.clone());
        let thread = std::thread::Builder::new()
            .name("errands".into())
            .spawn(move || serve(&jobs, &inboxes, &stopping))
            .map_err(|error| StartError::LocalThread {
                what: "a runner of programs",
                reason: error.to_string(),
            })?;
        threads.push(thread);
    }
    Ok((Runner(sender), threads))
}

fn serve(jobs: &Receiver<Job>, inboxes: &[Arc<Inbox>], stopping: &AtomicBool) {
    while let Ok(Job { shard, number, errand }) = jobs.recv() {
        let ending = match stopping.load(Ordering::Acquire) {
            true => Ending::NotStarted("the daemon is stopping".into()),
            false => run(&errand, stopping).unwrap_or_else(|e| Ending::NotStarted(e.to_string())),
        };
        let mail = Mail::Ran { number, ending };
        let inbox = &inboxes[usize::from(shard.0)];
        inbox.post_patiently(mail, || !stopping.load(Ordering::Acquire));
    }
}

/// Runs one program to its end, or to the end of its time.
fn run(errand: &Errand, stopping: &AtomicBool) -> io::Result<Ending> {
    let mut running = Running::begin(errand)?;
    let until = Instant::now() + errand.timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if running.wait(left.min(LOOK_EVERY))? {
            return running.ended();
        }
        let stops = stopping.load(Ordering::Acquire);
        if stops && errand.outlives {
            return Ok(Ending::NotStarted("the daemon is stopping".into()));
        }
        if stops || Instant::now() >= until {
            running.kill();
            return Ok(Ending::Overdue);
        }
    }
}

/// A program at work.
struct Running {
    /// Its process, and the group of all that it starts.
    process: Pid,
    /// Readable once it has ended.
    end: OwnedFd,
    /// None once nobody writes any more.
    pipe: Option<PipeReader>,
    output: Vec<u8>,
}

impl Running {
    fn begin(errand: &Errand) -> io::Result<Self> {
        let (pipe, output) = io::pipe()?;
        let nothing = File::options().read(true).write(true).open("/dev/null")?;
        let complaints = match errand.output {
            Output::All => output.as_raw_fd(),
            Output::Written => nothing.as_raw_fd(),
        };
        let mut files = PosixSpawnFileActions::init()?;
        for (from, to) in [(nothing.as_raw_fd(), 0), (output.as_raw_fd(), 1), (complaints, 2)] {
            files.add_dup2(from, to)?;
        }
        // What is blocked and ignored here is for us alone.
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(
            PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
        )?;
        attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
        attributes.set_sigmask(&SigSet::empty())?;
        attributes.set_sigdefault(&SigSet::all())?;
        let words: Result<Vec<CString>, _> =
            errand.program.words().iter().map(|word| CString::new(&**word)).collect();
        let words = words.map_err(io::Error::other)?;
        let path = &words[0];
        let started = posix_spawn(path.as_c_str(), &files, &attributes, &words, &[PATH])?;
        let process = Pid::from_raw(started.as_raw()).ok_or(io::ErrorKind::Other)?;
        let end = pidfd_open(process, PidfdFlags::empty());
        let end = end.inspect_err(|_| {
            // Nobody could wait for it.
            let _ = kill_process_group(process, Signal::KILL);
            let _ = waitid(WaitId::Pid(process), WaitIdOptions::EXITED);
        })?;
        Ok(Self { process, end, pipe: Some(pipe), output: Vec::new() })
    }

    /// Takes in output for a while. True when the program has ended.
    fn wait(&mut self, span: Duration) -> io::Result<bool> {
        let mut sources = vec![PollFd::new(&self.end, PollFlags::IN)];
        sources.extend(self.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let span = Timespec::try_from(span).map_err(io::Error::other)?;
        match poll(&mut sources, Some(&span)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |source: Option<&PollFd<'_>>| source.is_some_and(|it| !it.revents().is_empty());
        let (ended, written) = (ready(sources.first()), ready(sources.get(1)));
        if written {
            self.read()?;
        }
        Ok(ended)
    }

    /// Takes in what is there; only when something is.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut bytes = [0; 4_096];
        let count = pipe.read(&mut bytes)?;
        if count == 0 {
            self.pipe = None;
        }
        let room = OUTPUT_BYTES_MAX - self.output.len();
        self.output.extend_from_slice(&bytes[..count.min(room)]);
        Ok(())
    }

    /// The program has ended: what it wrote last, and how it ended. Children
    /// that it left behind may hold the pipe open, so its end is not waited for.
    fn ended(mut self) -> io::Result<Ending> {
        for _ in 0..LAST_READS_MAX {
            let Some(pipe) = &self.pipe else { break };
            let mut source = [PollFd::new(pipe, PollFlags::IN)];
            if poll(&mut source, Some(&Timespec::default()))? == 0 {
                break;
            }
            self.read()?;
        }
        let status = waitid(WaitId::Pid(self.process), WaitIdOptions::EXITED)?;
        let output = Secret::new(&self.output);
        let signal = status.as_ref().and_then(WaitIdStatus::terminating_signal);
        Ok(match status.and_then(|status| status.exit_status()) {
            Some(code) => Ending::Exited { code, output },
            None => Ending::Signalled(signal.unwrap_or_default()),
        })
    }

    /// Ends the program and all that it started.
    fn kill(mut self) {
        // It has gone by itself if nobody is there to kill.
        let _ = kill_process_group(self.process, Signal::KILL);
        let last = Instant::now() + DYING_MAX;
        while Instant::now() < last && matches!(self.wait(LOOK_EVERY), Ok(false)) {}
        // What has not ended by now stays behind.
        let _ = waitid(WaitId::Pid(self.process), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

#[cfg(test)]
mod tests;
