//! Programs under guard: each writes to files of its own, is ended by its own
//! process id when its guard goes, and by the kernel should this test die.
//!
//! Never ends anything that it did not start.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::wait::until;

/// A folder of one story, removed with its guard. Programs that give up root
/// can enter it.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// An empty folder.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("ringpost-story-").tempdir();
        let folder = folder.expect("there is room for a temporary folder");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("the folder is our own");
        Self(folder)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file inside and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, text).expect("the folder is our own");
        path
    }

    /// Makes a folder inside that anybody may write to.
    pub fn open_folder(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).expect("the folder is our own");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("it is our own");
        path
    }
}

/// A program at work.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
    status: Option<ExitStatus>,
    farewell: Signal,
}

/// How long a program may take to end when asked kindly.
const FAREWELL: Duration = Duration::from_secs(10);

/// A command whose process dies with the test, whatever ends the test. The
/// program keeps the process id of what is started.
pub fn guarded(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program.as_ref());
    command
}

impl Process {
    /// Starts `command`; its output goes to files in `folder`.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let out = folder.join(format!("{name}.{number}.out"));
        let err = folder.join(format!("{name}.{number}.err"));
        let file = |path| Stdio::from(File::create(path).expect("the folder takes files"));
        command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
        let child = command.spawn().unwrap_or_else(|e| panic!("{name} cannot be started: {e}"));
        Self { name: name.to_owned(), child, out, err, status: None, farewell: Signal::KILL }
    }

    /// Asks with SIGTERM first when the guard goes, for programs with children.
    pub fn ended_kindly(mut self) -> Self {
        self.farewell = Signal::TERM;
        self
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        assert!(self.status.is_none(), "{} has ended, its id may be another's", self.name);
        kill_process(Pid::from_child(&self.child), signal).expect("a child can be signalled");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child can be waited for");
        }
        self.status
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until(&what, patience, || self.ended())
    }

    /// What it has written to its standard output.
    pub fn said(&self) -> String {
        read(&self.out)
    }

    /// The end of that, at most so many bytes.
    pub fn last_said(&self, bytes: u64) -> String {
        let mut text = Vec::new();
        let mut file = File::open(&self.out).expect("it was made before the program started");
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let start = SeekFrom::Start(length.saturating_sub(bytes));
        let read = file.seek(start).and_then(|_| file.read_to_end(&mut text));
        read.expect("a file can be read from any place");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// What it has written to its standard error.
    pub fn complained(&self) -> String {
        read(&self.err)
    }

    /// User and system time spent, of the process and its threads.
    pub fn cpu(&self) -> Duration {
        let stat = read(Path::new(&format!("/proc/{}/stat", self.pid())));
        // The name in parentheses may hold spaces; what follows does not.
        let fields: Vec<&str> = match stat.rsplit_once(')') {
            Some((_, rest)) => rest.split_whitespace().collect(),
            None => Vec::new(),
        };
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
        let ticks = ticks(11).zip(ticks(12)).expect("the process runs and has a stat file");
        Duration::from_millis((ticks.0 + ticks.1) * 1_000 / rustix::param::clock_ticks_per_second())
    }

    /// A figure of its status file in bytes, such as `RssAnon`.
    pub fn memory(&self, key: &str) -> u64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.pid())));
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("{} has no {key} in its status", self.name)) * 1_024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        self.signal(self.farewell);
        let deadline = Instant::now() + FAREWELL;
        while self.farewell != Signal::KILL && self.ended().is_none() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        if self.ended().is_none() {
            // It may end by itself just now; either way it is gone after this.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a program to its end and returns what it printed.
///
/// # Panics
/// It is not there (with the package that has it), or it fails.
pub fn run(command: &mut Command, package: &str) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}; install {package}"));
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (words(&output.stdout), words(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out
}

/// The path of a program that `package` brings.
///
/// # Panics
/// It is not there.
pub fn installed(program: &str, package: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/sbin", "/bin"];
    let path = folders.map(|folder| Path::new(folder).join(program));
    let path = path.into_iter().find(|path| path.exists());
    path.unwrap_or_else(|| panic!("{program} is not installed: apt-get install {package}"))
}

fn read(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}
