//! The servers that are loaded: Ringpost, Postfix, whatever a small file says
//! how to start, and none at all for the ceiling.
//!
//! Each gets a folder of its own and a port on loopback, and is ended by its
//! guard. Never touches a server of the machine's own.

mod file;
pub mod postfix;
mod ringpost;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::child::{Child, pause};
use super::figures::CEILING;
use super::plan::Plan;
pub use file::FileTarget;

/// How long a server may take until it takes mail, over a full queue too.
pub const START_MAX: Duration = Duration::from_secs(300);

/// A server to be loaded.
#[derive(Clone, Debug)]
pub enum Target {
    /// No server: the source straight into the sink.
    Ceiling,
    /// This program's own daemon, or another build of it under its own name.
    Ringpost {
        /// What reports call it.
        name: String,
        /// The program.
        program: PathBuf,
    },
    /// The machine's Postfix, with queue and settings of its own.
    Postfix {
        /// Set up for speed, or as it comes.
        tuned: bool,
    },
    /// What a file says.
    File(FileTarget),
}

/// Where a server finds everything.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// What is measured.
    pub plan: &'a Plan,
    /// Its own folder, which exists.
    pub folder: PathBuf,
    /// Where it is to take mail.
    pub listen: SocketAddr,
    /// Where it relays to.
    pub relay: SocketAddr,
    /// The port of all exchangers.
    pub port: u16,
    /// The name server.
    pub dns: SocketAddr,
    /// PEM files to show clients, where there is TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A server under load.
#[derive(Debug)]
pub struct Server {
    /// Its configuration, for the report: `FOLDER` stands for its folder.
    pub configuration: String,
    child: Child,
    stop: Signal,
    kind: Running,
}

#[derive(Debug)]
enum Running {
    Ringpost(ringpost::Ringpost),
    Postfix(postfix::Postfix),
    File,
}

impl Target {
    /// Reads `ringpost`, `ringpost=PROGRAM`, `postfix`, `postfix-tuned` or the
    /// path of a file.
    ///
    /// # Errors
    /// There is no such file, or it is none that says how to start a server.
    pub fn parse(text: &str, own: &Path) -> Result<Self, String> {
        let ringpost = |name: &str, program: &Path| Self::Ringpost {
            name: name.to_owned(),
            program: program.to_owned(),
        };
        match text.split_once('=').unwrap_or((text, "")) {
            ("ringpost", "") => Ok(ringpost("ringpost", own)),
            ("postfix", "") => Ok(Self::Postfix { tuned: false }),
            ("postfix-tuned", "") => Ok(Self::Postfix { tuned: true }),
            (name, program) if name.starts_with("ringpost") && !program.is_empty() => {
                Ok(ringpost(name, Path::new(program)))
            }
            _ => FileTarget::read(Path::new(text)).map(Self::File),
        }
    }

    /// What reports call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Ceiling => CEILING,
            Self::Ringpost { name, .. } => name,
            Self::Postfix { tuned: false } => "postfix",
            Self::Postfix { tuned: true } => "postfix-tuned",
            Self::File(file) => file.name(),
        }
    }

    /// Starts it, with delivery stopped where `held`, and waits until it takes
    /// mail.
    ///
    /// # Errors
    /// A sentence: it cannot be started, or does not hold mail.
    pub fn start(&self, place: &Place<'_>, held: bool) -> Result<Server, String> {
        let mut server = self.started(place, held)?;
        // Reports go to other people; where this machine has its files is no
        // business of theirs.
        let folder = place.folder.display().to_string();
        server.configuration = server.configuration.replace(&folder, "FOLDER");
        Ok(server)
    }

    fn started(&self, place: &Place<'_>, held: bool) -> Result<Server, String> {
        match self {
            Self::Ceiling => Err("the ceiling is no server".to_owned()),
            Self::Ringpost { program, .. } => ringpost::start(program, place, held),
            Self::Postfix { tuned } => postfix::start(place, *tuned, held),
            Self::File(_) if held => {
                Err("a server from a file cannot be told to hold its mail".to_owned())
            }
            Self::File(file) => file.start(place),
        }
    }
}

impl Server {
    /// The process whose tree is the server.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Whether it is gone.
    pub fn has_ended(&mut self) -> bool {
        self.child.has_ended()
    }

    /// Syncs so far, by its own count.
    pub fn syncs(&self) -> Option<u64> {
        match &self.kind {
            Running::Ringpost(ringpost) => ringpost.syncs(),
            Running::Postfix(_) | Running::File => None,
        }
    }

    /// Goes on with delivery.
    ///
    /// # Errors
    /// Its own words.
    pub fn release(&self) -> Result<(), String> {
        match &self.kind {
            Running::Ringpost(ringpost) => ringpost.release(),
            Running::Postfix(postfix) => postfix.release(),
            Running::File => Ok(()),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn end(self) -> Result<(), String> {
        if let Running::Postfix(_) = self.kind {
            postfix::Postfix::stop(self.child.pid());
        }
        self.child.end(self.stop).map(|_| ())
    }
}

/// Waits until somebody greets at `address`.
fn until_greeted(address: SocketAddr, child: &mut Child) -> Result<(), String> {
    let deadline = Instant::now() + START_MAX;
    while Instant::now() < deadline {
        if child.has_ended() {
            return Err("the server ended while it started".to_owned());
        }
        if let Ok(mut stream) = TcpStream::connect(address) {
            // What is not greeted is closed without a word.
            let _ = stream.write_all(b"QUIT\r\n");
            return Ok(());
        }
        pause(Duration::from_millis(5));
    }
    Err(format!("nobody listened at {address} within {START_MAX:?}"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A port of 127.0.0.1 that nobody listens on, below those the kernel hands
/// out by itself, so that it is still free when a server binds it.
///
/// # Errors
/// None is free.
pub fn free_port() -> Result<u16, String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() as u16 % 2_000 * 10;
    for _ in 0..20_000 {
        let port = 10_000 + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let here = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(here).is_ok() && UdpSocket::bind(here).is_ok() {
            return Ok(port);
        }
    }
    Err("no port of 127.0.0.1 is free".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_apart_by_name() {
        let own = Path::new("/usr/bin/ringpost");
        let name = |text: &str| Target::parse(text, own).map(|target| target.name().to_owned());
        assert_eq!(name("ringpost").as_deref(), Ok("ringpost"));
        assert_eq!(name("postfix-tuned").as_deref(), Ok("postfix-tuned"));
        assert_eq!(name("ringpost-old=/opt/ringpost").as_deref(), Ok("ringpost-old"));
        assert!(name("no-such-file.toml").is_err());
        assert!(matches!(
            Target::parse("ringpost-old=/opt/ringpost", own),
            Ok(Target::Ringpost { program, .. }) if program == Path::new("/opt/ringpost")
        ));
    }
}
