//! Postfix's own test programs: `smtp-source`, which sends, and `smtp-sink`,
//! which takes and can write down every message.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use super::config::free_port;
use super::process::{Process, Scratch, guarded, installed};
use super::wait::{PATIENCE, until};

/// A running `smtp-sink`.
#[derive(Debug)]
pub struct SmtpSink {
    address: SocketAddr,
    process: Process,
    dump: PathBuf,
    _scratch: Scratch,
}

impl SmtpSink {
    /// Takes everything and counts it.
    pub fn counting() -> Self {
        Self::start(false)
    }

    /// Takes everything and writes it down.
    pub fn dumping() -> Self {
        Self::start(true)
    }

    fn start(dumps: bool) -> Self {
        let program = installed("smtp-sink", "postfix");
        let scratch = Scratch::new();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let dump = scratch.open_folder("dump").join("all");
        let mut command = guarded(program);
        command.args(["-c", "-u", "postfix", "-m", "1000"]);
        if dumps {
            command.arg("-D").arg(&dump);
        }
        command.arg(address.to_string()).arg("1000");
        let mut process = Process::start("smtp-sink", scratch.path(), &mut command);
        until("smtp-sink to listen", PATIENCE, || {
            let ended = process.ended();
            assert!(ended.is_none(), "smtp-sink: {ended:?}: {}", process.complained());
            TcpStream::connect(address).ok()
        });
        Self { address, process, dump, _scratch: scratch }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Messages taken, by its own count, printed anew with each.
    pub fn count(&self) -> u64 {
        let said = self.process.last_said(256);
        let whole = said.rsplit_once('\r').map_or("", |(whole, _)| whole);
        let last = whole.rsplit("mesg=").next().unwrap_or_default();
        last.parse().unwrap_or(0)
    }

    /// How often each recipient got mail, by what it wrote down.
    pub fn recipients(&self) -> BTreeMap<String, u64> {
        let mut recipients = BTreeMap::new();
        let Ok(file) = File::open(&self.dump) else { return recipients };
        for line in BufReader::new(file).split(b'\n') {
            let line = line.expect("the file can be read");
            if let Some(rcpt) = line.strip_prefix(b"X-Rcpt-Args: ") {
                let rcpt = String::from_utf8_lossy(rcpt);
                let rcpt = rcpt.split(' ').next().unwrap_or_default().trim_matches(['<', '>']);
                *recipients.entry(rcpt.to_owned()).or_insert(0) += 1;
            }
        }
        recipients
    }
}

/// What `smtp-source` is to send.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Messages, each to a recipient of its own: `1rcpt@d001.example` and on.
    pub messages: u64,
    /// Bytes of each.
    pub bytes: u64,
    /// Sessions at the same time.
    pub sessions: u64,
}

impl Load {
    /// Sends everything to `target`, and fails if any of it is refused.
    pub fn send(&self, target: SocketAddr, patience: Duration) {
        let scratch = Scratch::new();
        let mut command = guarded(installed("smtp-source", "postfix"));
        command.args(["-s", &self.sessions.to_string(), "-m", &self.messages.to_string()]);
        command.args(["-l", &self.bytes.to_string(), "-N", "-d", "-f", "sender@source.example"]);
        command.args(["-t", "rcpt@d001.example", &target.to_string()]);
        let mut source = Process::start("smtp-source", scratch.path(), &mut command);
        let status = source.wait(patience);
        assert!(status.success(), "smtp-source: {status}: {}", source.complained());
    }
}
