//! Mail folders, and Unix sockets: what of this machine mail of local domains
//! is handed to.
//!
//! Never writes a file: what would be one is a name with its bytes, and lasts
//! through crashes.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::ConnId;
use shard::effect::Deposit;
use shard::event::{Deposited, Event};

use super::{LATENCY, World};

/// All mail folders of the machine.
#[derive(Debug, Default)]
pub struct Folders {
    /// The files, by their whole path.
    pub files: BTreeMap<String, String>,
    /// What becomes of the next deposits; nothing: they go well.
    pub next: VecDeque<Fault>,
    /// Deposits so far.
    pub asked: u32,
}

/// How a deposit goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The folder takes nothing now.
    Refused,
    /// The disk is full.
    Short,
    /// It is written, and the answer takes this long.
    Slow(Duration),
    /// It is written, and nobody says so.
    Silent,
}

impl World {
    pub(super) fn deposit(&mut self, shard: usize, conn: ConnId, deposit: &Deposit) {
        self.folders.asked += 1;
        let fault = self.folders.next.pop_front();
        let (after, outcome) = match fault {
            Some(Fault::Refused) => (LATENCY, Deposited::Refused("quota exceeded".into())),
            Some(Fault::Short) => (LATENCY, Deposited::Short("no space left on device".into())),
            Some(Fault::Slow(after)) => (after, Deposited::Done),
            None | Some(Fault::Silent) => (LATENCY, Deposited::Done),
        };
        if outcome == Deposited::Done {
            let path = format!("{}/new/{}", deposit.folder.path, deposit.name);
            let bytes = [&deposit.front[..], &deposit.content].concat();
            self.folders.files.insert(path, String::from_utf8_lossy(&bytes).into_owned());
        }
        if fault != Some(Fault::Silent) {
            let index = deposit.index;
            self.tell(shard, after, Event::Deposited { conn, index, outcome });
        }
    }

    /// Puts the host at an address behind a Unix socket too.
    pub fn socket(&mut self, path: &str, ip: [u8; 4]) {
        self.sockets.insert(path.into(), ip.into());
    }

    pub(super) fn connect_socket(&mut self, shard: usize, conn: ConnId, path: &Arc<str>) {
        let nobody = IpAddr::from([0, 0, 0, 0]);
        let ip = self.sockets.get(&**path).copied().unwrap_or(nobody);
        self.connect(shard, conn, SocketAddr::new(ip, 0), None);
    }
}
