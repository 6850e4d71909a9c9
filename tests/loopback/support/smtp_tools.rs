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
use super::wait::{PATIENCE, until, until_or_explain};

/// A running `smtp-sink`.
#[derive(Debug)]
pub struct SmtpSink {
    address: SocketAddr,
    process: Process,
    dump: PathBuf,
    _scratch: Scratch,
}

/// What a sink does beside taking mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sinking {
    /// Counts, and writes every message down.
    Dumping,
    /// Counts.
    Counting,
    /// Counts and writes down, and speaks LMTP.
    ByLmtp,
}

impl SmtpSink {
    /// Takes everything.
    pub fn start(what: Sinking) -> Self {
        let program = installed("smtp-sink", "postfix");
        let scratch = Scratch::new();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let dump = scratch.open_folder("dump").join("all");
        let mut command = guarded(program);
        command.args(["-u", "postfix", "-m", "1000"]);
        match what {
            Sinking::Dumping => command.arg("-c").arg("-D").arg(&dump),
            Sinking::Counting => command.arg("-c"),
            Sinking::ByLmtp => command.arg("-c").arg("-L").arg("-D").arg(&dump),
        };
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

    /// Waits until it has taken so many messages.
    pub fn wait_for(&self, messages: u64, patience: Duration) {
        let enough = || (self.count() >= messages).then_some(());
        until_or_explain("smtp-sink's count", patience, enough, || self.count().to_string());
    }

    /// Messages taken, by its own count, printed anew with each.
    pub fn count(&self) -> u64 {
        let said = self.process.last_said(256);
        let whole = said.rsplit_once('\r').map_or("", |(whole, _)| whole);
        let last = whole.rsplit("mesg=").next().unwrap_or_default();
        last.parse().unwrap_or(0)
    }

    /// Everything it wrote down.
    pub fn text(&self) -> String {
        let bytes = std::fs::read(&self.dump).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
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
