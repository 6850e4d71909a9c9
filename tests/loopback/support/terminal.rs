//! A real terminal, without a window: a shell in tmux, typed to and looked at.
//!
//! Never waits without an end. The server of tmux is a process of ours that
//! ends with its guard, and what runs in it ends with its terminal.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::process::{Process, Scratch, guarded, installed, run};
use super::wait::{PATIENCE, until, until_or_explain};

/// A terminal with a shell in it.
#[derive(Debug)]
pub struct Terminal {
    tmux: PathBuf,
    scratch: Scratch,
    _server: Process,
}

impl Terminal {
    /// Starts one of that size.
    ///
    /// # Panics
    /// tmux is not installed, or does not start.
    pub fn start(width: u16, height: u16) -> Self {
        let tmux = installed("tmux", "tmux");
        let scratch = Scratch::new();
        let settings = "set -g exit-empty off\n\
                        set -g default-terminal tmux-256color\nset -g status off\n\
                        set -sg escape-time 0\n";
        let settings = scratch.write("tmux.conf", settings);
        let socket = scratch.join("tmux.sock");
        let mut server = guarded(&tmux);
        server.arg("-D").arg("-S").arg(&socket).arg("-f").arg(settings).env("LC_ALL", "C.UTF-8");
        let server = Process::start("tmux", scratch.path(), &mut server);
        until("tmux to listen", PATIENCE, || socket.exists().then_some(()));
        let terminal = Self { tmux, scratch, _server: server };
        let (x, y) = (width.to_string(), height.to_string());
        terminal.tell(&["new-session", "-d", "-x", &x, "-y", &y, "env", "PS1=$ ", "sh"]);
        terminal
    }

    /// Types a line and Enter.
    pub fn line(&self, text: &str) {
        self.tell(&["send-keys", "-l", text]);
        self.press("Enter");
    }

    /// Presses a key, by tmux's name for it, or types letters.
    pub fn press(&self, key: &str) {
        self.tell(&["send-keys", key]);
    }

    /// Makes it another size.
    pub fn resize(&self, width: u16, height: u16) {
        self.tell(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// What stands there.
    pub fn screen(&self) -> String {
        self.tell(&["capture-pane", "-p"])
    }

    /// Waits until what stands there is as wanted, and gives it.
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let look = || Some(self.screen()).filter(|screen| wanted(screen));
        until_or_explain(what, PATIENCE, look, || format!("; it shows:\n{}", self.screen()))
    }

    /// How the shell finds its terminal: what `stty -a` says.
    pub fn settings(&self) -> String {
        let to = self.scratch.join("stty");
        let _ = fs::remove_file(&to);
        self.line(&format!("stty -a > {0}.part; mv {0}.part {0}", to.display()));
        until("what stty says", PATIENCE, || fs::read_to_string(&to).ok())
    }

    /// A path in its folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn tell(&self, words: &[&str]) -> String {
        let mut command = Command::new(&self.tmux);
        command.arg("-S").arg(self.scratch.join("tmux.sock")).args(words);
        run(command.env("LC_ALL", "C.UTF-8"), "tmux")
    }
}
