//! A program that the harness starts and ends: what it says, line by line, and
//! the one way to wait for it.
//!
//! Ends with its guard, and with this process whatever ends that (where
//! `setpriv` of util-linux is there). Never ends anything else.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child as Process, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take to end once it was asked to.
const FAREWELL: Duration = Duration::from_secs(60);
/// Between two looks at something that cannot call.
const LOOK: Duration = Duration::from_millis(10);

/// A running program.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: Process,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Child {
    /// Starts `program` with `arguments` in its own environment and `folder`,
    /// its complaints to a file there.
    ///
    /// # Errors
    /// A sentence with the program's name.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        folder: &Path,
    ) -> Result<Self, String> {
        let fail = |error: std::io::Error| format!("{name} ({}): {error}", program.display());
        let complaints = std::fs::File::create(folder.join(format!("{name}.err"))).map_err(fail)?;
        let mut command = guarded(program);
        command.args(arguments).current_dir(folder);
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints);
        let mut process = command.spawn().map_err(fail)?;
        let output = process.stdout.take().expect("the output is piped");
        let lines = listen(output);
        Ok(Self { name: name.to_owned(), process, lines, said: Vec::new() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next line it says, within `patience`.
    pub fn line(&mut self, patience: Duration) -> Option<String> {
        let line = self.lines.recv_timeout(patience).ok()?;
        self.said.push(line.clone());
        Some(line)
    }

    /// Everything it has said that was not fetched yet.
    pub fn lines(&mut self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Waits until it says `word`; what it said before.
    ///
    /// # Errors
    /// It ended, or did not say it in time.
    pub fn until(&mut self, word: &str, patience: Duration) -> Result<Vec<String>, String> {
        let deadline = Instant::now() + patience;
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line == word => return Ok(before),
                Ok(line) => before.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("{} did not say {word:?} in {patience:?}", self.name));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("{} ended early: {}", self.name, before.join("; ")));
                }
            }
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Asks it to end with `signal`, and waits; the last it had to say.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn end(mut self, signal: Signal) -> Result<Vec<String>, String> {
        self.tell(signal);
        let status = self.wait(FAREWELL);
        let lines = self.lines();
        status.map(|_| lines).ok_or_else(|| format!("{} had to be killed", self.name))
    }

    /// Sends a signal.
    pub fn tell(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.process.id() as i32) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => pause(LOOK),
                _ => return None,
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.tell(Signal::TERM);
            if self.wait(Duration::from_secs(5)).is_none() {
                // Nothing more can be done if even that fails.
                let _ = self.process.kill();
                let _ = self.process.wait();
            }
        }
    }
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started, or fails; its own words.
pub fn call(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let words = arguments.join(" ");
    Err(format!("{} {words}: {} {}", program.display(), text(&output.stderr), text(&output.stdout)))
}

/// Waits without an event, for what cannot call: a port, a file under /proc.
pub fn pause(span: Duration) {
    let deadline = Instant::now() + span;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

fn guarded(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if setpriv.exists() {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Its lines, read by a thread of their own so that it is never held up.
fn listen(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    let reading = move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    };
    // Without the thread the program seems to say nothing, and that is told.
    let _ = std::thread::Builder::new().name("child-output".to_owned()).spawn(reading);
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Child {
        let arguments = ["-c".to_owned(), script.to_owned()];
        Child::start("shell", Path::new("/bin/sh"), &arguments, &[], folder).unwrap()
    }

    #[test]
    fn what_a_child_says_comes_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell("echo one; echo ready; echo two; cat", folder.path());
        let patience = Duration::from_secs(20);
        assert_eq!(child.until("ready", patience), Ok(vec!["one".to_owned()]));
        assert_eq!(child.line(patience).as_deref(), Some("two"));
        assert!(child.end(Signal::TERM).is_ok());
    }

    #[test]
    fn a_child_that_ends_early_is_told_apart_from_a_slow_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell("echo no", folder.path());
        let told = child.until("ready", Duration::from_secs(20)).unwrap_err();
        assert!(told.contains("ended early: no"), "{told}");
        // It keeps its output open and says nothing.
        let mut child = shell("exec tail -f /dev/null", folder.path());
        let told = child.until("ready", Duration::from_millis(1)).unwrap_err();
        assert!(told.contains("did not say"), "{told}");
    }

    #[test]
    fn a_program_that_fails_is_told_in_its_own_words() {
        let told = call(Path::new("/bin/sh"), &["-c", "echo broken >&2; exit 3"]).unwrap_err();
        assert!(told.contains("broken"), "{told}");
        assert_eq!(call(Path::new("/bin/sh"), &["-c", "echo fine"]), Ok("fine".to_owned()));
        assert!(call(Path::new("/no/such/program"), &[]).is_err());
    }
}
